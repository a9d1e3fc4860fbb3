"""SBD: how long a node feeds its watchdog without its disk, and how sure the sender of a poison pill can be.

A servant per disk reads the header, its slot and its mailbox each `loop` seconds, each read bounded by `io_timeout`; a
failed one ends it, and it starts anew after `restart_delay`. The watchdog is fed while enough servants are alive. Ages
are compared as whole seconds, hence a second of play. Sources: ClusterLabs/sbd src/sbd-{inquisitor,md,cluster}.c.
"""

from dataclasses import replace

from mpio.model.cluster import Corosync, Sbd
from mpio.planner.clusters.corosync import consensus_ns, effective_token_ns
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, stall_term, term
from mpio.planner.clusters.storage import Storage
from mpio.units import NS_PER_S

STACK = "sbd"
READS_NS = NS_PER_S
"""Allowance for the four to six short reads with which a servant starts, and for the mailbox read before an answer."""
TICK_NS = NS_PER_S
"""Ages are truncated to whole seconds."""
MARGIN_NS = 2 * NS_PER_S
"""The bounds follow from code with truncated seconds: less to spare than this is tight."""
_INQUISITOR = "sbd src/sbd-inquisitor.c"


def restart_ns(cluster: Sbd) -> int:
    """R: from the end of a stall that killed the servant to its next sign of life."""
    wait = max(0, cluster.restart_delay + 1 - cluster.io_timeout)
    return (cluster.loop + wait + cluster.loop) * NS_PER_S + READS_NS


def tolerated_ns(cluster: Sbd) -> int:
    """The longest stall that resets nobody: either the servant outlives it, or it is back before the watchdog fires."""
    lived_through_ns = cluster.io_timeout * NS_PER_S - TICK_NS
    restarted_ns = (cluster.watchdog + cluster.io_timeout + cluster.loop) * NS_PER_S - TICK_NS - restart_ns(cluster)
    return max(0, lived_through_ns, restarted_ns)


def self_death_ns(cluster: Sbd) -> int:
    """The longest time from a poison pill on the disk to the death of a node that may not see it: W + I + 2 l + 1 s."""
    return (cluster.watchdog + cluster.io_timeout + 2 * cluster.loop) * NS_PER_S + READS_NS


def stonith_timeout_ns(cluster: Sbd, corosync: Corosync) -> int:
    """What crmsh sets: max(1.2 (msgwait + delay), 60 s) + token + consensus."""
    fence_ns = (cluster.msgwait + corosync.pcmk_delay_max) * NS_PER_S * 6 // 5
    return max(fence_ns, 60 * NS_PER_S) + effective_token_ns(corosync) + consensus_ns(corosync)


def delay_start_ns(cluster: Sbd, corosync: Corosync) -> int:
    """How long a rebooted node must wait so that its fencing has ended: token + consensus + delay + msgwait."""
    fence_ns = (cluster.msgwait + corosync.pcmk_delay_max) * NS_PER_S
    return effective_token_ns(corosync) + consensus_ns(corosync) + fence_ns


def deadlines(cluster: Sbd, storage: Storage) -> tuple[Deadline, ...]:
    """In the order in which they pass. Without a disk only the watchdog and the assumed death are left."""
    watchdog_ns = cluster.watchdog * NS_PER_S
    if not cluster.devices:
        return ()
    warning = cluster.watchdog * 3 // 5 if cluster.watchdog >= 5 else 2
    age_ns = (cluster.io_timeout + cluster.loop) * NS_PER_S
    phase_ns = cluster.loop * NS_PER_S + storage.latency_ns + storage.jitter_ns
    what = "with the cluster's own servants healthy it lives on, and can't be fenced" if cluster.pacemaker else \
        "nothing feeds the watchdog, and it resets the node"
    fence_ns = cluster.msgwait * NS_PER_S
    limit_ns = tolerated_ns(cluster)
    return (Deadline(
        "sbd.tolerated", "longest stall tolerated", Act.TOLERATED, Since.STALL, limit_ns, limit_ns,
        "the disk's servant is back before the watchdog fires", f"W - 3 s with I 3, l 1, r 5: {_INQUISITOR}, derived",
    ), Deadline(
        "sbd.warning", "latency warning", Act.WARNS, Since.STALL, warning * NS_PER_S,
        (warning + cluster.loop) * NS_PER_S, "a line in the log, nothing else", "3 W / 5: sbd(8) -5",
    ), Deadline(
        "sbd.self_fence", "self-fence", Act.FENCED, Since.HEARTBEAT, watchdog_ns + age_ns - TICK_NS,
        watchdog_ns + age_ns, what, f"W + I + l - 1 to W + I + l after the last sign of life: {_INQUISITOR}", phase_ns,
    ), Deadline(
        "sbd.confirmed", "fencing confirmed", Act.DEAD, Since.REQUEST, fence_ns, fence_ns,
        "the sender of the poison pill takes the node for dead", "msgwait: sbd src/sbd-md.c",
    ))


def inequalities(cluster: Sbd, storage: Storage, corosync: Corosync | None = None) -> tuple[Inequality, ...]:
    """N2, N3, N4, outage; SB-02 to SB-06, SB-13 and SB-14. Those with corosync's values only if these are given."""
    found: list[Inequality] = []
    if cluster.devices:
        found.append(_survives(cluster, storage, "N2", "one path failure resets nobody", storage.stall_ns))
        if storage.serial_ns != 0:
            found.append(_survives(cluster, storage, "N3", "paths that fail one after another reset nobody",
                                   storage.serial_ns))
        if storage.flaps:
            twice = None if storage.stall_ns is None else 2 * storage.stall_ns
            found.append(_survives(cluster, storage, "N4", "a path that fails twice in a cycle resets nobody", twice))
        if storage.outage_ns != 0:
            found.append(_survives(cluster, storage, "APD", "an outage of the whole array resets nobody",
                                   storage.outage_ns))
        found += _poison_pill(cluster)
    if storage.polling_interval_max_ns:
        found.append(condition(
            "SB-05", STACK, Stake.ADVICE, "a repaired or idle path is seen before the watchdog fires",
            [term("max_polling_interval", storage.polling_interval_max_ns, "max_polling_interval")],
            [term("watchdog", cluster.watchdog * NS_PER_S, "sbd.watchdog")], "SUSE HA guide, storage protection",
            strict=True,
        ))
    if corosync is not None:
        found += _with_disk(cluster, corosync) if cluster.devices else _diskless(cluster, corosync)
    return tuple(found)


def _survives(cluster: Sbd, storage: Storage, id: str, claim: str, stall_ns: int | None) -> Inequality:
    io_ns = cluster.io_timeout * NS_PER_S
    stall = [
        *stall_term(stall_ns), term("latency", storage.latency_ns, "measured"),
        term("jitter", storage.jitter_ns, "measured"), term("whole seconds", TICK_NS, _INQUISITOR),
    ]
    stake = Stake.FENCING if cluster.pacemaker else Stake.FENCE
    if tolerated_ns(cluster) <= io_ns - TICK_NS:
        left, right = stall, [term("async I/O timeout", io_ns, "sbd.io_timeout")]
    else:
        left = [*stall, term("restart of the servant", restart_ns(cluster), "sbd.restart_delay")]
        right = [
            term("watchdog", cluster.watchdog * NS_PER_S, "sbd.watchdog"),
            term("async I/O timeout", io_ns, "sbd.io_timeout"), term("loop", cluster.loop * NS_PER_S, "sbd.loop"),
        ]
    return condition(id, STACK, stake, claim, left, right, f"{_INQUISITOR}, derived", endless_left=stall_ns is None,
                     margin_ns=MARGIN_NS)


def _poison_pill(cluster: Sbd) -> list[Inequality]:
    watchdog = term("watchdog", cluster.watchdog * NS_PER_S, "sbd.watchdog")
    msgwait = term("msgwait", cluster.msgwait * NS_PER_S, "sbd.msgwait")
    return [
        condition("SB-02", STACK, Stake.SPLIT_BRAIN, "msgwait is twice the watchdog",
                  [term("2 watchdog", 2 * watchdog.value_ns, "sbd.watchdog")], [msgwait], "sbd(8), SUSE HA guide"),
        condition("SB-03", STACK, Stake.SPLIT_BRAIN, "who was sent a poison pill is dead before the sender believes it",
                  [watchdog, term("async I/O timeout", cluster.io_timeout * NS_PER_S, "sbd.io_timeout"),
                   term("2 loops", 2 * cluster.loop * NS_PER_S, "sbd.loop"), term("reads", READS_NS, "allowance")],
                  [msgwait], f"{_INQUISITOR}, sbd-md.c, derived"),
    ]


def _with_disk(cluster: Sbd, corosync: Corosync) -> list[Inequality]:
    found = [condition(
        "SB-04", STACK, Stake.FENCING, "Pacemaker waits for the end of a fencing",
        [term("1.2 (msgwait + delay)", (cluster.msgwait + corosync.pcmk_delay_max) * NS_PER_S * 6 // 5, "sbd.msgwait")],
        [term("stonith-timeout", corosync.stonith_timeout * NS_PER_S, "corosync.stonith_timeout")],
        "SUSE HA guide, sbd agent/sbd",
    ), condition(
        "SB-14", STACK, Stake.ADVICE, "fencing by disk and by watchdog alone are not mixed",
        [term("stonith-watchdog-timeout", corosync.stonith_watchdog_timeout * NS_PER_S,
              "corosync.stonith_watchdog_timeout")], [], "SUSE HA guide",
    )]
    if cluster.delay_start:
        found.append(condition(
            "SB-06", STACK, Stake.SPLIT_BRAIN, "a rebooted node joins after its fencing has ended",
            [term("token + consensus + delay + msgwait", delay_start_ns(cluster, corosync), "sbd.msgwait")],
            [term("SBD_DELAY_START", cluster.delay_start * NS_PER_S, "sbd.delay_start")], "sbd(8)",
        ))
    return found


def _diskless(cluster: Sbd, corosync: Corosync) -> list[Inequality]:
    watchdog = term("watchdog", cluster.watchdog * NS_PER_S, "sbd.watchdog")
    found = [condition(
        "SB-13", STACK, Stake.SPLIT_BRAIN, "a lost node is dead before the others believe it",
        [term("2 watchdog", 2 * watchdog.value_ns, "sbd.watchdog")],
        [term("stonith-watchdog-timeout", corosync.stonith_watchdog_timeout * NS_PER_S,
              "corosync.stonith_watchdog_timeout")], "SUSE HA guide, pacemaker-controld(7)",
    ), condition(
        "SB-04", STACK, Stake.FENCING, "Pacemaker waits for the end of a fencing",
        [term("1.2 stonith-watchdog-timeout", corosync.stonith_watchdog_timeout * NS_PER_S * 6 // 5,
              "corosync.stonith_watchdog_timeout")],
        [term("stonith-timeout", corosync.stonith_timeout * NS_PER_S, "corosync.stonith_timeout")], "crmsh",
    )]
    if corosync.qdevice:
        found.append(condition(
            "SB-13q", STACK, Stake.FENCE, "SBD trusts the quorum that qdevice gives",
            [term("sync_timeout", corosync.qdevice_sync_timeout_ms * 1_000_000, "corosync.qdevice_sync_timeout_ms")],
            [watchdog], "sbd src/sbd-cluster.c", strict=True,
        ))
    return found


def required(cluster: Sbd, storage: Storage) -> Sbd:
    """This with watchdog and msgwait raised to the smallest values that hold."""
    watchdog = max(cluster.watchdog, storage.polling_interval_max_ns // NS_PER_S + 1)
    if not cluster.devices:
        return replace(cluster, watchdog=watchdog)
    stall_ns, outage_ns = storage.longest_ns, storage.outage_ns
    if stall_ns is None or outage_ns is None:
        raise ValueError("no watchdog outlasts a stall without end")
    longest_ns = max(stall_ns, outage_ns) + storage.latency_ns + storage.jitter_ns
    if longest_ns > tolerated_ns(cluster):
        needed_ns = longest_ns + TICK_NS + restart_ns(cluster) - (cluster.io_timeout + cluster.loop) * NS_PER_S
        watchdog = max(watchdog, -(-needed_ns // NS_PER_S))
    raised = replace(cluster, watchdog=watchdog)
    return replace(raised, msgwait=max(raised.msgwait, 2 * watchdog, self_death_ns(raised) // NS_PER_S))


def required_beside(cluster: Sbd, corosync: Corosync) -> tuple[Sbd, Corosync]:
    """Pacemaker's own timers, and what of SBD's depends on them, raised to what the rest needs."""
    if cluster.devices:
        watchdog_timeout, fence_s = 0, cluster.msgwait + corosync.pcmk_delay_max
        if cluster.delay_start:
            least = -(-delay_start_ns(cluster, corosync) // NS_PER_S)
            cluster = replace(cluster, delay_start=max(cluster.delay_start, least))
    else:
        if corosync.qdevice:
            cluster = replace(cluster, watchdog=max(cluster.watchdog, corosync.qdevice_sync_timeout_ms // 1000 + 1))
        watchdog_timeout = fence_s = max(corosync.stonith_watchdog_timeout, 2 * cluster.watchdog)
    return cluster, replace(corosync, stonith_watchdog_timeout=watchdog_timeout,
                            stonith_timeout=max(corosync.stonith_timeout, -(-fence_s * 6 // 5)))


def recommended(storage: Storage, corosync: Corosync) -> tuple[Sbd, Corosync]:
    """W = S + 5 s rounded up to 5, M = 2 W, stonith-timeout as crmsh, a delayed start; never less than is needed."""
    needed = required(Sbd(watchdog=5, msgwait=10), storage)
    stall_ns = storage.longest_ns
    assert stall_ns is not None
    least_ns = max(stall_ns + 5 * NS_PER_S, needed.watchdog * NS_PER_S)
    watchdog = -(-least_ns // (5 * NS_PER_S)) * 5
    raised = replace(needed, watchdog=watchdog, msgwait=2 * watchdog)
    raised = required(raised, storage)
    raised = replace(raised, delay_start=-(-delay_start_ns(raised, corosync) // NS_PER_S))
    return raised, replace(corosync, stonith_timeout=-(-stonith_timeout_ns(raised, corosync) // NS_PER_S),
                           stonith_watchdog_timeout=0)
