"""A Linux host's settings as the engine takes them, so that its own files can be simulated.

The names are the same and mean the same. What differs is what Linux does with some of them; it is said beside each.
"""

from typing import cast, get_args

from mpio.model.settings import GroupingPolicy, Selector, Settings
from mpio.model.stack import LinuxStack
from mpio.planner.linux_terms import pings

_POLICIES = {"group_by_tpg": "group_by_prio", "group_by_node_name": "multibus"}  # of one target all are one node


def engine_settings(stack: LinuxStack) -> Settings:
    """The settings of a map whose timers are this host's. mpio's own keep their defaults, and so does fencing.

    Raises:
        ValueError: a value is one that the engine does not take.
    """
    interval, timeout = pings(stack) or (0, 0)
    policy = _POLICIES.get(stack.path_grouping_policy, stack.path_grouping_policy)
    selector = stack.path_selector.split(" ")[0]
    return Settings(
        noop_out_interval=float(interval),
        noop_out_timeout=float(timeout),
        replacement_timeout=float(stack.replacement_timeout),
        login_timeout=float(stack.login_timeout),
        logout_timeout=float(stack.logout_timeout),
        abort_timeout=float(stack.abort_timeout),
        lu_reset_timeout=float(stack.lu_reset_timeout),
        default_time2wait=stack.default_time2wait,
        reconnect_delay=float(stack.default_time2wait),
        # multipathd applies neither `off` nor 0 to an iSCSI session
        fast_io_fail_tmo=float(stack.fast_io_fail_tmo) if stack.multipath and stack.fast_io_fail_tmo else None,
        polling_interval=float(stack.polling_interval),
        max_polling_interval=float(max(stack.polling_interval_max, stack.polling_interval)),
        checker_timeout=float(stack.checker_timeout_in_force),
        no_path_retry=stack.no_path_retry or "fail",  # 0 is fail
        failback=stack.failback if isinstance(stack.failback, str) else float(stack.failback),
        path_grouping_policy=cast("GroupingPolicy", policy if policy in get_args(GroupingPolicy) else "failover"),
        # Selectors that only kernels have (historical-service-time, io-affinity) do as service-time does among equals
        path_selector=cast("Selector", selector if selector in get_args(Selector) else "service-time"),
        timeout=float(stack.timeout),
        max_retries=max(stack.max_retries, 0),
    )
