"""Every inequality that goals make of a stack and a cluster, with its slack: what a plan keeps and settings may break.

One list for both directions: `solve` checks its answer against it, `assess` finds with it what is wrong. What must hold
is apart from what only should.
"""

from mpio.config.recovery import fast_io_fail_skipped
from mpio.model.cluster import Cluster
from mpio.model.stack import LinuxStack
from mpio.planner import promise
from mpio.planner.cluster import Inequality, Storage, Verdict, inequalities, takeover_ns
from mpio.planner.fit import HARD
from mpio.planner.goals import Constraint, Goals
from mpio.units import NS_PER_S, format_duration, seconds

FOREVER_NS = 10**9 * NS_PER_S
"""Stands for a side that has no end: some thirty years."""


def constraints(goals: Goals, stack: LinuxStack, clusters: tuple[Cluster, ...]) -> tuple[Constraint, ...]:
    """What must hold, that of the storage first. What no setting of a cluster can mend is left out."""
    storage = promise.storage(goals, stack)
    return (
        *_stalls(goals, stack), *_outages(goals, stack), *_pings(goals, stack),
        *(_of_cluster(item) for item in inequalities(clusters, storage) if item.stake in HARD and not item.inherent),
        *_takeover(goals, clusters, storage),
    )


def wishes(goals: Goals, stack: LinuxStack, clusters: tuple[Cluster, ...]) -> tuple[Constraint, ...]:
    """What should hold: a reset that fails no path, and the rules of clusters that fence nobody."""
    storage = promise.storage(goals, stack)
    return (
        _resets(goals, stack), *_command_timeout(stack), *_in_force(stack),
        *(_of_cluster(item) for item in inequalities(clusters, storage)
          if item.stake not in HARD and not item.inherent),
    )


def inherent(goals: Goals, stack: LinuxStack, clusters: tuple[Cluster, ...]) -> tuple[Inequality, ...]:
    """What is violated and no setting of the cluster can mend: of each stack what is farthest from being kept."""
    worst: dict[str, Inequality] = {}
    for item in inequalities(clusters, promise.storage(goals, stack)):
        if item.inherent and item.verdict is Verdict.VIOLATED:
            known = worst.get(item.stack)
            if known is None or (item.slack_ns or 0) < (known.slack_ns or 0):
                worst[item.stack] = item
    return tuple(worst.values())


def _stalls(goals: Goals, stack: LinuxStack) -> list[Constraint]:
    """`max_stall_s` against every failure of one path, and against several in turn."""
    if goals.max_stall_s is None:
        return []
    limit_ns = seconds(goals.max_stall_s)
    cases = {str(name): (budget, "max_stall_s") for name, budget in promise.stalls(goals, stack).items()}
    if goals.paths == 1:
        return [Constraint(
            "stall.only_path", FOREVER_NS, limit_ns, "with one path only, I/O waits for as long as that path is away",
            "there is no other path", "max_stall_s")]
    if (in_turn := promise.serial(goals, stack)) is not None:
        cases["serial"] = (in_turn, "serial_failures")
    return [
        Constraint(
            f"stall.{name}", _finite(budget.worst_ns), limit_ns,
            f"{name.replace('_', ' ')} stalls I/O for {_text(budget.worst_ns)}, of {_text(limit_ns)} allowed",
            " + ".join(dict.fromkeys(term.source for term in budget.terms)), goal)
        for name, (budget, goal) in cases.items()
    ]


def _outages(goals: Goals, stack: LinuxStack) -> list[Constraint]:
    """`ride_out_s`: I/O must wait for longer than the paths are away, and until one is found to be back."""
    found = []
    for item in promise.outages(goals, stack):
        needed_ns = _finite(item.budget.worst_ns)
        found.append(Constraint(
            f"outage.{item.name}", needed_ns, _finite(item.patience_ns),
            f"I/O goes on after {_text(needed_ns)} at the latest, and waits for {_text(item.patience_ns)}",
            "no_path_retry x polling_interval + the session's recovery", "ride_out_s"))
    return found


def _pings(goals: Goals, stack: LinuxStack) -> list[Constraint]:
    silence_ns = promise.silence_ns(stack)
    found: list[Constraint] = []
    if silence_ns is None:
        return found
    if goals.io_latency_max_s:
        found.append(Constraint(
            "pings.latency", seconds(goals.io_latency_max_s) + 1, silence_ns,
            f"a target that is silent for {format_duration(seconds(goals.io_latency_max_s))} keeps its sessions: "
            f"noop_out_interval + noop_out_timeout is {format_duration(silence_ns)}",
            "Linux drivers/scsi/libiscsi.c: iscsi_has_ping_timed_out", "io_latency_max_s"))
    return found


def _command_timeout(stack: LinuxStack) -> list[Constraint]:
    if promise.silence_ns(stack) is None:
        return []
    return [Constraint(
        "pings.command_timeout", (stack.noop_out_timeout + 1) * NS_PER_S, stack.timeout * NS_PER_S,
        "a lost ping ends the connection before a command times out: noop_out_timeout < timeout",
        "Linux drivers/scsi/libiscsi.c: iscsi_eh_cmd_timed_out")]


def _resets(goals: Goals, stack: LinuxStack) -> Constraint:
    login_ns, recovery_ns = promise.relogin_ns(goals, stack), promise.recovery_ns(stack)
    return Constraint(
        "resets", login_ns, _finite(recovery_ns),
        f"a restart of target or iscsid fails no path: a login takes {format_duration(login_ns)}, I/O waits for "
        f"{_text(recovery_ns)}", "default_time2wait; open-iscsi usr/initiator.c")


def _in_force(stack: LinuxStack) -> list[Constraint]:
    if promise.is_fast_io_fail_in_force(stack):
        return []
    return [Constraint("fast_io_fail", 1, 0, f"fast_io_fail_tmo is not applied: {fast_io_fail_skipped(stack)}",
                       "multipath-tools libmultipath/discovery.c: sysfs_set_session_tmo")]


def _of_cluster(item: Inequality) -> Constraint:
    left_ns = _finite(item.left_ns)
    more_ns = 1 if item.strict else 0
    return Constraint(f"{item.stack}.{item.id}", left_ns + more_ns, _finite(item.right_ns), item.words, item.source,
                      "cluster")


def _takeover(goals: Goals, clusters: tuple[Cluster, ...], storage: Storage) -> list[Constraint]:
    taken_over_ns = takeover_ns(clusters, storage)
    if goals.takeover_s is None or taken_over_ns is None:
        return []
    return [Constraint(
        "takeover", taken_over_ns, seconds(goals.takeover_s),
        f"others take over from a dead node after {format_duration(taken_over_ns)}", "the cluster's deadlines",
        "takeover_s")]


def _finite(value_ns: int | None) -> int:
    return FOREVER_NS if value_ns is None else value_ns


def _text(value_ns: int | None) -> str:
    return "ever" if value_ns is None else format_duration(value_ns)
