"""From goals to one consistent set of settings, or to the goals that are in each other's way.

What is best, in this order; a later wish never costs an earlier one:

1. All goals hold and nothing that is fixed changes.
2. A restart of target or iscsid fails no path: the session's recovery outlasts a login.
3. noop_out_interval + noop_out_timeout as near to the shipped 10 s as may be: the fewest sessions dropped in vain. More
   only if a healthy target may be silent for so long.
4. fast_io_fail_tmo and replacement_timeout as near to the shipped 5 s as may be.
5. Interval and timeout of the pings as equal as may be, the timeout the longer.
6. polling_interval as near to 5 s as may be, then the longest login_timeout up to 15 s, then the smallest no_path_retry
   (with sanlock the one that lasts as long as the lease).
7. timeout, abort_timeout, max_retries and logout_timeout as long as shipped, or as near to it as may be; with a hung
   LUN to be stood, max_retries is 0.
8. The cluster's timers as its recipe recommends for these stalls; where a takeover in time or something fixed forbids
   that, those that stand the longest stall.

The search (`planner.search`) is exact over its domain. An infeasible set of goals becomes a `Conflict`.
"""

from mpio.model.cluster import Cluster, O2cb
from mpio.model.stack import LinuxStack
from mpio.planner import promise
from mpio.planner.conflict import conflict
from mpio.planner.constraints import constraints, inherent, wishes
from mpio.planner.goals import Conflict, Goals, Plan
from mpio.planner.reasons import negotiated, reasons
from mpio.planner.search import Found, Search
from mpio.units import NS_PER_S, format_duration

SHIPPED = LinuxStack()
"""What open-iscsi and multipath-tools ship, which a plan stays near to."""
_HUNG_TASK_NS = 120 * NS_PER_S
"""kernel.hung_task_timeout_secs as shipped."""


def solve(goals: Goals) -> Plan | Conflict:
    """The best settings for these goals, or why there are none."""
    found = Search(goals, SHIPPED).run()
    return conflict(goals) if found is None else _plan(goals, found)


def _plan(goals: Goals, found: Found) -> Plan:
    stack, clusters = found.stack, found.clusters
    kept = constraints(goals, stack, clusters)
    assert all(item.slack_ns >= 0 for item in kept), [item.words for item in kept if item.slack_ns < 0]
    wished = wishes(goals, stack, clusters)
    sysctl = _sysctl(goals, stack, clusters)
    notes = [f"Not kept: {item.words}." for item in wished if item.slack_ns < 0]
    storage = promise.storage(goals, stack)
    notes += [words for cluster in clusters if (words := negotiated(cluster, storage))]
    notes += [f"No setting mends this: {item.words}." for item in inherent(goals, stack, clusters)]
    return Plan(
        goals, stack, clusters, sysctl, (*kept, *(item for item in wished if item.slack_ns >= 0)),
        promise.budgets(goals, stack), reasons(goals, stack, clusters, sysctl), (*notes, *_notes(goals, stack)))


def _notes(goals: Goals, stack: LinuxStack) -> list[str]:
    found = []
    if goals.paths == 1:
        found.append("There is one path only: while it is away, I/O waits or fails, and nothing here can change that.")
    elif not goals.hung_lun:
        hangs_ns = promise.hung_lun(goals, stack).worst_ns
        length = "for ever" if hangs_ns is None else f"for up to {format_duration(hangs_ns)}"
        found.append(f"A LUN that hangs while its target answers pings stalls I/O {length}; the goals leave that out.")
    if goals.takeover_s is not None and goals.cluster == "none":
        found.append("Without a cluster nobody takes over: takeover_s has no meaning.")
    return found


def _sysctl(goals: Goals, stack: LinuxStack, clusters: tuple[Cluster, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    if any(isinstance(cluster, O2cb) for cluster in clusters):
        found |= {"kernel.panic": 30, "kernel.panic_on_oops": 1}
    longest_ns = promise.storage(goals, stack).longest_ns
    if longest_ns is None or longest_ns > _HUNG_TASK_NS:
        found["kernel.hung_task_panic"] = 0
    return found
