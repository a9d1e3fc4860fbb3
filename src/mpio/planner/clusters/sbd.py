"""SBD: how long a node feeds its watchdog without its disk, and how sure the sender of a poison pill can be.

A servant per disk reads the header, its slot and its mailbox each `loop` seconds, each read bounded by `io_timeout`; a
failed one ends it, and it starts anew after `restart_delay`. The watchdog is fed while enough servants are alive. Ages
are compared as whole seconds, hence a second of play. Sources: ClusterLabs/sbd src/sbd-{inquisitor,md,cluster}.c.
"""

from dataclasses import replace

from mpio.model.cluster import Corosync, Sbd
from mpio.planner.budget import Term
from mpio.planner.clusters.corosync import consensus_ns, effective_token_ns
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, term
from mpio.planner.clusters.stack import Stack, survives, tolerated, whole_seconds
from mpio.planner.clusters.storage import Case, Storage
from mpio.units import NS_PER_S

READS_NS = NS_PER_S
"""Allowance for the four to six short reads with which a servant starts, and for those before a mailbox is seen."""
TICK_NS = NS_PER_S
"""Ages are truncated to whole seconds."""
MARGIN_NS = 2 * NS_PER_S
"""The bounds follow from code with truncated seconds: less to spare than this is tight."""
_NS_PER_MS = 1_000_000
_SOURCE = "sbd src/sbd-inquisitor.c"


def restart_ns(cluster: Sbd) -> int:
    """R: from the end of a stall that ended the servant to its next sign of life."""
    wait = max(0, cluster.restart_delay + 1 - cluster.io_timeout)
    return (cluster.loop + wait + cluster.loop) * NS_PER_S + READS_NS


def tolerated_ns(cluster: Sbd) -> int:
    """The longest stall that resets nobody: either the servant outlives it, or it is back before the watchdog fires."""
    return max(0, _outlived_ns(cluster), _restarted_ns(cluster))


def _outlived_ns(cluster: Sbd) -> int:
    return cluster.io_timeout * NS_PER_S - TICK_NS


def _restarted_ns(cluster: Sbd) -> int:
    return (cluster.watchdog + cluster.io_timeout + cluster.loop) * NS_PER_S - TICK_NS - restart_ns(cluster)


def self_death_ns(cluster: Sbd) -> int:
    """From a poison pill on the disk to the death of a node that may not see it, at the latest: W + I + 2 l + reads."""
    return (cluster.watchdog + cluster.io_timeout + 2 * cluster.loop) * NS_PER_S + READS_NS


def confirmed_ns(cluster: Sbd, corosync: Corosync | None) -> int | None:
    """From the decision to fence until the sender takes the node for dead; None if that is Pacemaker's, not given."""
    if cluster.devices:
        return cluster.msgwait * NS_PER_S
    return None if corosync is None else corosync.stonith_watchdog_timeout * NS_PER_S


def delay_start_ns(cluster: Sbd, corosync: Corosync) -> int:
    """How long a rebooted node must wait until its fencing has ended: token + consensus + delay + msgwait."""
    fence_ns = (cluster.msgwait + corosync.pcmk_delay_max) * NS_PER_S
    return effective_token_ns(corosync) + consensus_ns(corosync) + fence_ns


def deadlines(cluster: Sbd, storage: Storage) -> tuple[Deadline, ...]:
    """In the order in which they pass; without a disk a stall leads to none."""
    if not cluster.devices:
        return ()
    watchdog_ns = cluster.watchdog * NS_PER_S
    warns = cluster.watchdog * 3 // 5 if cluster.watchdog >= 5 else 2
    age_ns = (cluster.io_timeout + cluster.loop) * NS_PER_S
    fires = "if the cluster's own servants are well the node lives on, but can't be fenced" if cluster.pacemaker else \
        "nothing feeds the watchdog, and it resets the node"
    return (tolerated(
        "sbd", tolerated_ns(cluster) - storage.noise_ns,
        "the disk's servant lives, or is back before the watchdog fires",
        f"W - 3 s where I is 3, l 1 and r 5: {_SOURCE}, derived",
    ), Deadline(
        "sbd.warning", "latency warning", Act.WARNS, Since.STALL, warns * NS_PER_S, (warns + cluster.loop) * NS_PER_S,
        "a line in the log", "3 W / 5: sbd(8)",
    ), Deadline(
        "sbd.self_fence", "watchdog fires", Act.FAILS if cluster.pacemaker else Act.FENCED, Since.HEARTBEAT,
        watchdog_ns + age_ns - TICK_NS, watchdog_ns + age_ns, fires,
        f"W + I + l - 1 to W + I + l after the last sign of life: {_SOURCE}",
        cluster.loop * NS_PER_S + storage.noise_ns,
    ), Deadline(
        "sbd.confirmed", "fencing confirmed", Act.DEAD, Since.REQUEST, cluster.msgwait * NS_PER_S,
        cluster.msgwait * NS_PER_S, "the sender of a poison pill takes its node for dead", "msgwait: sbd src/sbd-md.c",
    ))


def inequalities(cluster: Sbd, storage: Storage) -> tuple[Inequality, ...]:
    """N2 (N1 with the servant's restart), N3, N4, APD; SB-02, SB-03 and SB-05."""
    watchdog = term("watchdog", cluster.watchdog * NS_PER_S, "sbd.watchdog")
    polls = condition(
        "SB-05", "sbd", Stake.ADVICE, "a repaired or idle path is seen before the watchdog fires",
        [term("max_polling_interval", storage.polling_interval_max_ns, "max_polling_interval")], [watchdog],
        "SUSE HA guide: storage protection", strict=True,
    )
    seen = (polls,) if storage.polling_interval_max_ns else ()
    if not cluster.devices:
        return seen
    msgwait = term("msgwait", cluster.msgwait * NS_PER_S, "sbd.msgwait")
    return (*(_survives(cluster, storage, case) for case in storage.cases), condition(
        "SB-02", "sbd", Stake.SPLIT_BRAIN, "msgwait is twice the watchdog",
        [term("2 watchdog", 2 * watchdog.value_ns, "sbd.watchdog")], [msgwait], "sbd(8), SUSE HA guide",
    ), condition(
        "SB-03", "sbd", Stake.SPLIT_BRAIN, "who was sent a poison pill is dead before its sender believes it",
        [watchdog, term("I/O timeout", cluster.io_timeout * NS_PER_S, "sbd.io_timeout"),
         term("2 loops", 2 * cluster.loop * NS_PER_S, "sbd.loop"), term("reads", READS_NS, "allowance")],
        [msgwait], f"{_SOURCE}, sbd-md.c, derived",
    ), *seen)


def _survives(cluster: Sbd, storage: Storage, case: Case) -> Inequality:
    """By the way that lets the node live longer: its servant outlives the stall, or is started anew after it."""
    code = "N2" if case.code == "N1" else case.code
    stake = Stake.FENCING if cluster.pacemaker else Stake.FENCE
    claim = "no disk is lost for too long by" if cluster.pacemaker else "nobody is reset by"
    io = term("I/O timeout", cluster.io_timeout * NS_PER_S, "sbd.io_timeout")
    tick = term("whole seconds", TICK_NS, _SOURCE)
    if _outlived_ns(cluster) > _restarted_ns(cluster):
        return survives("sbd", case, storage, io, f"{_SOURCE}, derived: the servant outlives the stall", code=code,
                        stake=stake, claim=claim, extra=(tick,))
    left = [term("stall", case.stall_ns, "the storage's budget"), *storage.noise,
            term("restart of the servant", restart_ns(cluster), "sbd.restart_delay"), tick]
    right = [term("watchdog", cluster.watchdog * NS_PER_S, "sbd.watchdog"), io,
             term("loop", cluster.loop * NS_PER_S, "sbd.loop")]
    return condition(code, "sbd", stake, f"{claim} {case.name}", left, right,
                     f"{_SOURCE}, derived: the servant ends and is started anew", margin_ns=MARGIN_NS)


def inequalities_beside(cluster: Sbd, corosync: Corosync) -> tuple[Inequality, ...]:
    """What joins SBD's and Pacemaker's timers: SB-04, SB-06, SB-14 with a disk, SB-04 and SB-13 without."""
    stonith = term("stonith-timeout", corosync.stonith_timeout * NS_PER_S, "corosync.stonith_timeout")
    assumed = term("stonith-watchdog-timeout", corosync.stonith_watchdog_timeout * NS_PER_S,
                   "corosync.stonith_watchdog_timeout")
    fence_ns = (cluster.msgwait + corosync.pcmk_delay_max) * NS_PER_S if cluster.devices else assumed.value_ns
    name = "msgwait and delay" if cluster.devices else "stonith-watchdog-timeout"
    waits = condition(
        "SB-04", "sbd", Stake.FENCING, "Pacemaker waits for the end of a fencing",
        [term(f"1.2 {name}", fence_ns * 6 // 5, "sbd.msgwait")], [stonith], "sbd agent/sbd, SUSE HA guide, crmsh",
    )
    rest = _with_disk if cluster.devices else _diskless
    return (waits, *rest(cluster, corosync, assumed))


def _with_disk(cluster: Sbd, corosync: Corosync, assumed: Term) -> tuple[Inequality, ...]:
    alone = condition("SB-14", "sbd", Stake.ADVICE, "fencing by disk is not mixed with fencing by watchdog alone",
                      [assumed], [], "SUSE HA guide")
    if not cluster.delay_start:
        return (alone,)
    return (alone, condition(
        "SB-06", "sbd", Stake.SPLIT_BRAIN, "a rebooted node joins after its fencing has ended",
        [term("token, consensus, delay and msgwait", delay_start_ns(cluster, corosync), "sbd.msgwait")],
        [term("SBD_DELAY_START", cluster.delay_start * NS_PER_S, "sbd.delay_start")], "sbd(8)",
    ))


def _diskless(cluster: Sbd, corosync: Corosync, assumed: Term) -> tuple[Inequality, ...]:
    watchdog = term("watchdog", cluster.watchdog * NS_PER_S, "sbd.watchdog")
    dead = condition(
        "SB-13", "sbd", Stake.SPLIT_BRAIN, "a lost node is dead before the others believe it",
        [term("2 watchdog", 2 * watchdog.value_ns, "sbd.watchdog")], [assumed],
        "SUSE HA guide, pacemaker-controld(7)",
    )
    if not corosync.qdevice:
        return (dead,)
    sync_ns = corosync.qdevice_sync_timeout_ms * _NS_PER_MS
    return (dead, condition(
        "SB-13q", "sbd", Stake.FENCE, "SBD trusts the quorum that qdevice gives",
        [term("sync_timeout", sync_ns, "corosync.qdevice_sync_timeout_ms")], [watchdog], "sbd src/sbd-cluster.c",
        strict=True,
    ))


def required(cluster: Sbd, storage: Storage) -> Sbd:
    """Watchdog and msgwait raised to the smallest values that hold."""
    watchdog = max(cluster.watchdog, storage.polling_interval_max_ns // NS_PER_S + 1)
    if not cluster.devices:
        return replace(cluster, watchdog=watchdog)
    missing_ns = storage.finite_ns("sbd.watchdog") + storage.noise_ns - tolerated_ns(cluster)
    if missing_ns > 0:
        missing_ns = storage.finite_ns("sbd.watchdog") + storage.noise_ns - _restarted_ns(cluster)
        watchdog = max(watchdog, cluster.watchdog + whole_seconds(missing_ns))
    raised = replace(cluster, watchdog=watchdog)
    return replace(raised, msgwait=max(raised.msgwait, 2 * watchdog, whole_seconds(self_death_ns(raised))))


def required_beside(cluster: Sbd, corosync: Corosync) -> tuple[Sbd, Corosync]:
    """Pacemaker's own timers, and those of SBD that depend on Pacemaker's, raised to what the rest needs."""
    if cluster.devices:
        assumed, fence = 0, cluster.msgwait + corosync.pcmk_delay_max
        if cluster.delay_start:
            least = whole_seconds(delay_start_ns(cluster, corosync))
            cluster = replace(cluster, delay_start=max(cluster.delay_start, least))
    else:
        if corosync.qdevice:
            cluster = replace(cluster, watchdog=max(cluster.watchdog, corosync.qdevice_sync_timeout_ms // 1000 + 1))
        assumed = fence = max(corosync.stonith_watchdog_timeout, 2 * cluster.watchdog)
    return cluster, replace(corosync, stonith_watchdog_timeout=assumed,
                            stonith_timeout=max(corosync.stonith_timeout, -(-fence * 6 // 5)))


def recommended(storage: Storage, corosync: Corosync) -> tuple[Sbd, Corosync]:
    """W = S + 5 s rounded up to 5, M = 2 W, a delayed start, stonith-timeout as crmsh: max(1.2 M, 60 s) + ring."""
    needed = required(Sbd(), storage)
    stall_ns = storage.finite_ns("sbd.watchdog") + storage.noise_ns
    least_ns = max(stall_ns + 5 * NS_PER_S, needed.watchdog * NS_PER_S)
    watchdog = 5 * -(-least_ns // (5 * NS_PER_S))
    raised = required(replace(needed, watchdog=watchdog, msgwait=2 * watchdog), storage)
    delay_ns = delay_start_ns(raised, corosync)
    fence_ns = (raised.msgwait + corosync.pcmk_delay_max) * NS_PER_S * 6 // 5
    stonith_ns = max(fence_ns, 60 * NS_PER_S) + effective_token_ns(corosync) + consensus_ns(corosync)
    return (
        replace(raised, delay_start=whole_seconds(delay_ns)),
        replace(corosync, stonith_timeout=whole_seconds(stonith_ns), stonith_watchdog_timeout=0),
    )


STACK: Stack[Sbd] = Stack(
    "sbd", deadlines, inequalities, required,
    shortest=lambda cluster: replace(cluster, watchdog=1, msgwait=2),
    heartbeat_name="SBD's watchdog",
    heartbeat_ns=lambda cluster, _: cluster.watchdog * NS_PER_S if cluster.devices else None,
)
