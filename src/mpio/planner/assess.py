"""The reverse of `solve`: what settings as they are imply, what they break, and the nearest change that mends it."""

import dataclasses

from mpio.config.recovery import fast_io_fail_skipped
from mpio.model.cluster import Cluster, O2cb
from mpio.model.stack import LinuxStack, TargetTimers
from mpio.planner import promise
from mpio.planner.cluster import Inequality, Stake, Verdict, inequalities, kind_of
from mpio.planner.conflict import conflict
from mpio.planner.constraints import constraints, wishes
from mpio.planner.fit import HARD
from mpio.planner.goals import Assessment, Finding, Goals, Safety, Severity
from mpio.planner.linux_terms import has_interval_fault, pings
from mpio.planner.nearest import nearest_safe
from mpio.planner.reasons import negotiated
from mpio.units import NS_PER_S, format_duration

RECOVERY_LONG_NS = 30 * NS_PER_S
"""A session that is waited for longer than this under multipath has mostly kept the shipped 120 s by mistake."""


def assess(
    stack: LinuxStack, clusters: tuple[Cluster, ...], target: TargetTimers, goals: Goals | None = None
) -> Assessment:
    """What these settings imply.

    Args:
        stack: the storage's settings in force.
        clusters: the clusters' above it.
        target: the target's own timers.
        goals: what is asked for besides that nobody is fenced; nothing is fixed, whatever they say.

    Returns:
        The assessment. Its verdict is `fences` if a condition is broken that must hold, a goal's too; `cannot tell` if
        there is neither a cluster nor a goal to judge by.
    """
    goals = _goals(stack, clusters, target, goals)
    found = constraints(goals, stack, clusters)
    broken = [item for item in found if item.slack_ns < 0]
    kept = [item for item in wishes(goals, stack, clusters) if item.slack_ns >= 0]  # the others are findings
    is_judged = bool(clusters or goals.stated())
    verdict: Safety = "fences" if broken else "safe" if is_judged else "cannot tell"
    changes = nearest_safe(goals, stack, clusters) if broken else {}
    return Assessment(
        stack, clusters, promise.budgets(goals, stack), (*found, *kept), verdict,
        (*(Finding(item.name, "critical", item.words) for item in broken), *_findings(goals, stack, clusters)),
        changes, conflict(goals, clusters) if broken and not changes else None)


def _goals(
    stack: LinuxStack, clusters: tuple[Cluster, ...], target: TargetTimers, goals: Goals | None
) -> Goals:
    goals = Goals() if goals is None else goals.without(*goals.fixed)
    kind = goals.cluster if goals.cluster != "none" or not clusters else kind_of(clusters[0])
    return dataclasses.replace(
        goals, target=target, cluster=kind, kernel=stack.kernel, multipath_tools=stack.multipath_tools, hz=stack.hz)


def _findings(goals: Goals, stack: LinuxStack, clusters: tuple[Cluster, ...]) -> list[Finding]:
    """What breaks nothing that must hold, and should be known."""
    found = [*_of_pings(stack), *_of_recovery(goals, stack), *_of_queue(goals, stack, clusters)]
    if has_interval_fault(stack.multipath_tools) and stack.polling_interval_max > stack.polling_interval:
        version = ".".join(map(str, stack.multipath_tools))
        found.append(Finding(
            "multipathd.interval", "medium", f"multipath-tools {version} checks a failed path only each "
            f"{stack.polling_interval_max} s (max_polling_interval), not each {stack.polling_interval} s"))
    if stack.noop_out_timeout >= stack.timeout and pings(stack) is not None:
        found.append(Finding("pings.command_timeout", "medium",
                             "noop_out_timeout should be shorter than the command timeout"))
    storage = promise.storage(goals, stack)
    found += [Finding("APD", "low", words) for cluster in clusters if (words := negotiated(cluster, storage))]
    judged = [(item, _severity(item)) for item in inequalities(clusters, storage)]
    found += [Finding(f"{item.stack}.{item.id}", severity, item.words) for item, severity in judged if severity]
    return found


def _severity(item: Inequality) -> Severity | None:
    """Of a condition that holds just so, that is only advice, or that no setting mends; None if all is well."""
    if item.verdict is Verdict.TIGHT:
        return "low"
    if item.verdict is Verdict.OK or (item.stake in HARD and not item.inherent):
        return None
    return "low" if item.inherent or item.stake is Stake.ADVICE else "medium"


def _of_pings(stack: LinuxStack) -> list[Finding]:
    in_force = pings(stack)
    if in_force is None:
        return [Finding("MP-03", "medium", "noop_out_interval and noop_out_timeout are 0: a silent path is found only "
                        "by the timeouts of its commands, and an idle one not at all")]
    if 0 in (stack.noop_out_interval, stack.noop_out_timeout):
        return [Finding("MP-03", "medium", f"only one of noop_out_interval and noop_out_timeout is 0: in force are "
                        f"{in_force[0]} and {in_force[1]} s")]
    return []


def _of_recovery(goals: Goals, stack: LinuxStack) -> list[Finding]:
    recovery_ns, login_ns = promise.recovery_ns(stack), promise.relogin_ns(goals, stack)
    if recovery_ns is None:
        return [Finding("MP-02", "high", "a lost session is waited for for ever: no path failure ever ends")]
    found = []
    if stack.multipath and recovery_ns > RECOVERY_LONG_NS:
        skipped = fast_io_fail_skipped(stack)
        why = f", because {skipped}" if skipped else ""
        found.append(Finding(
            "MP-02", "medium", f"I/O waits {format_duration(recovery_ns)} for a lost session though there are other "
            f"paths{why}"))
    if not promise.is_fast_io_fail_in_force(stack):
        found.append(Finding(
            "fast_io_fail", "medium", f"fast_io_fail_tmo is not in force: {fast_io_fail_skipped(stack)}"))
    if recovery_ns < login_ns:
        found.append(Finding(
            "resets", "medium", f"a restart of target or iscsid fails every path at once: a login takes up to "
            f"{format_duration(login_ns)}, I/O waits {format_duration(recovery_ns)} for it"))
    return found


def _of_queue(goals: Goals, stack: LinuxStack, clusters: tuple[Cluster, ...]) -> list[Finding]:
    if not stack.multipath:
        return [Finding("multipath", "medium", "no multipathd manages this LUN: a lost path is an error, not a stall")]
    negotiating = any(isinstance(item, O2cb) and item.negotiate for item in clusters)
    if stack.no_path_retry == "queue":
        return [Finding("no_path_retry", "low", "I/O without a path waits for ever, and a shutdown or lvm with it")]
    if negotiating and goals.ride_out_s is None:
        return [Finding("OC-14", "low", "an outage of the whole array fences every node: I/O fails, which ends O2CB's "
                        "negotiation")]
    return []
