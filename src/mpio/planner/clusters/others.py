"""Stacks of which only a bound or two concern storage: Oracle Clusterware and ASM, ZFS multihost, qdiskd.

Sources: Oracle support notes 294430.1 and 1581684.1 as quoted, OpenZFS zfs(4), Red Hat Cluster Suite guides.
"""

from dataclasses import replace

from mpio.model.cluster import Mmp, Qdisk, Rac
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, stall_term, term
from mpio.planner.clusters.storage import Storage
from mpio.units import NS_PER_S

_NS_PER_MS = 1_000_000
MMP_PLAY_NS = NS_PER_S
RAC_PERIOD_NS = NS_PER_S


def _worst_ns(storage: Storage) -> int | None:
    stalls = [storage.longest_ns, storage.outage_ns]
    finite = [stall for stall in stalls if stall is not None]
    return max(finite) if len(finite) == len(stalls) else None


def _finite(storage: Storage, what: str) -> int:
    stall_ns = _worst_ns(storage)
    if stall_ns is None:
        raise ValueError(f"no {what} outlasts a stall without end")
    return stall_ns + storage.latency_ns + storage.jitter_ns


def _below(
    id: str, stack: str, stake: Stake, claim: str, storage: Storage, limit_ns: int, name: str, setting: str, source: str,
    *, extra_ns: int = 0, strict: bool = True,
) -> Inequality:
    stall_ns = _worst_ns(storage)
    left = [*stall_term(stall_ns), term("latency", storage.latency_ns, "measured"),
            term("jitter", storage.jitter_ns, "measured"), term("period", extra_ns, setting)]
    return condition(id, stack, stake, claim, left, [term(name, limit_ns, setting)], source,
                     endless_left=stall_ns is None, strict=strict)


def short_disk_timeout_ns(cluster: Rac) -> int:
    """The disk timeout while the cluster reconfigures: misscount less reboottime."""
    return (cluster.misscount - cluster.reboottime) * NS_PER_S


def rac_deadlines(cluster: Rac, storage: Storage) -> tuple[Deadline, ...]:
    """In the order in which they pass with the defaults."""
    short_ns, long_ns = short_disk_timeout_ns(cluster), cluster.disktimeout * NS_PER_S
    asm_ns, miss_ns = cluster.asm_hbeatiowait * NS_PER_S, cluster.misscount * NS_PER_S
    del storage
    return (
        Deadline("rac.tolerated", "longest stall tolerated", Act.TOLERATED, Since.STALL, short_ns, short_ns,
                 "not even a reconfiguration of the cluster evicts the node", "misscount - reboottime"),
        Deadline("rac.reconfiguring", "evicted while reconfiguring", Act.FENCED, Since.STALL, short_ns, short_ns,
                 "if the stall meets a reconfiguration", "ocssd.log: diskShortTimeout"),
        Deadline("rac.asm", "ASM dismounts", Act.FAILS, Since.STALL, asm_ns, asm_ns,
                 "disk groups of normal or high redundancy", "note 1581684.1"),
        Deadline("rac.disktimeout", "voting file offline", Act.FENCED, Since.STALL, long_ns, long_ns,
                 "a node that has lost most of its voting files is evicted", "note 294430.1"),
        Deadline("rac.dead", "node dead", Act.DEAD, Since.FAILURE, miss_ns, miss_ns,
                 "the others reconfigure without it", "misscount"),
    )


def rac_inequalities(cluster: Rac, storage: Storage) -> tuple[Inequality, ...]:
    """OR-01, OR-02, OR-03, and misscount against disktimeout."""
    return (
        _below("OR-01", "rac", Stake.FENCE, "a path failure during a reconfiguration evicts nobody", storage,
               short_disk_timeout_ns(cluster), "misscount - reboottime", "rac.misscount", "ocssd.log: diskShortTimeout"),
        _below("OR-02", "rac", Stake.FENCE, "a path failure takes no voting file offline", storage,
               cluster.disktimeout * NS_PER_S, "disktimeout", "rac.disktimeout", "note 294430.1"),
        _below("OR-03", "rac", Stake.SERVICE, "ASM dismounts no disk group", storage,
               cluster.asm_hbeatiowait * NS_PER_S, "_asm_hbeatiowait", "rac.asm_hbeatiowait", "note 1581684.1"),
        condition("OR-04", "rac", Stake.ADVICE, "the network's limit is below the disk's",
                  [term("misscount", cluster.misscount * NS_PER_S, "rac.misscount")],
                  [term("disktimeout", cluster.disktimeout * NS_PER_S, "rac.disktimeout")], "note 294430.1",
                  strict=True),
    )


def rac_required(cluster: Rac, storage: Storage) -> Rac:
    """This with every limit raised past the stall."""
    over = _finite(storage, "disktimeout") // NS_PER_S + 1
    misscount = max(cluster.misscount, over + cluster.reboottime)
    return replace(cluster, misscount=misscount, disktimeout=max(cluster.disktimeout, over, misscount + 1),
                   asm_hbeatiowait=max(cluster.asm_hbeatiowait, over))


def rac_recommended(storage: Storage) -> Rac:
    """misscount at least S + 4, disktimeout at least 1.5 S, never below the defaults."""
    needed = rac_required(Rac(), storage)
    stall_ns = _finite(storage, "disktimeout")
    return replace(needed, misscount=max(needed.misscount, -(-stall_ns // NS_PER_S) + 4),
                   disktimeout=max(needed.disktimeout, -(-stall_ns * 3 // (2 * NS_PER_S)),
                                   -(-stall_ns // NS_PER_S) + 5))


def mmp_limit_ns(cluster: Mmp) -> int | None:
    """How long a pool lives without a heartbeat of its own; None for ever."""
    return cluster.interval_ms * cluster.fail_intervals * _NS_PER_MS or None


def mmp_deadlines(cluster: Mmp, storage: Storage) -> tuple[Deadline, ...]:
    """The pool's suspension, and how long an import looks for another user."""
    del storage
    limit_ns = mmp_limit_ns(cluster)
    import_ns = cluster.interval_ms * cluster.import_intervals * _NS_PER_MS
    found = []
    if limit_ns is not None:
        tolerated_ns = max(0, limit_ns - MMP_PLAY_NS)
        found = [
            Deadline("mmp.tolerated", "longest stall tolerated", Act.TOLERATED, Since.STALL, tolerated_ns, tolerated_ns,
                     "the pool goes on", "zfs(4)"),
            Deadline("mmp.suspended", "pool suspended", Act.FAILS, Since.HEARTBEAT, limit_ns, limit_ns,
                     "all I/O to the pool stops", "zfs(4): zfs_multihost_fail_intervals", MMP_PLAY_NS),
        ]
    return (*found, Deadline("mmp.import", "import allowed", Act.DEAD, Since.REQUEST, import_ns, import_ns,
                             "another host has seen no activity", "zfs(4): zfs_multihost_import_intervals"))


def mmp_inequalities(cluster: Mmp, storage: Storage) -> tuple[Inequality, ...]:
    """ZF-01, and that an import looks for longer than a pool can be silent."""
    limit_ns = mmp_limit_ns(cluster)
    if limit_ns is None:
        return ()
    return (
        _below("ZF-01", "mmp", Stake.SERVICE, "a path failure suspends no pool", storage, limit_ns,
               "interval x fail_intervals", "mmp.fail_intervals", "zfs(4)", extra_ns=MMP_PLAY_NS, strict=False),
        condition("ZF-02", "mmp", Stake.SPLIT_BRAIN, "an import waits twice as long as a pool may be silent",
                  [term("2 interval x fail_intervals", 2 * limit_ns, "mmp.fail_intervals")],
                  [term("interval x import_intervals", cluster.interval_ms * cluster.import_intervals * _NS_PER_MS,
                        "mmp.import_intervals")], "zfs(4)"),
    )


def mmp_required(cluster: Mmp, storage: Storage) -> Mmp:
    """This with both numbers of intervals raised; 0 stays."""
    if not cluster.fail_intervals:
        return cluster
    needed_ns = _finite(storage, "multihost interval") + MMP_PLAY_NS
    fail = max(cluster.fail_intervals, -(-needed_ns // (cluster.interval_ms * _NS_PER_MS)))
    return replace(cluster, fail_intervals=fail, import_intervals=max(cluster.import_intervals, 2 * fail))


def mmp_recommended(storage: Storage) -> Mmp:
    """What is required, from the defaults on."""
    return mmp_required(Mmp(), storage)


def qdisk_deadlines(cluster: Qdisk, storage: Storage) -> tuple[Deadline, ...]:
    """Eviction after tko missed intervals."""
    limit_ns = cluster.interval * cluster.tko * NS_PER_S
    period_ns = cluster.interval * NS_PER_S + storage.latency_ns + storage.jitter_ns
    tolerated_ns = max(0, limit_ns - period_ns)
    return (
        Deadline("qdisk.tolerated", "longest stall tolerated", Act.TOLERATED, Since.STALL, tolerated_ns, tolerated_ns,
                 "fewer than tko intervals are missed", "qdiskd: interval x tko"),
        Deadline("qdisk.evicted", "node evicted", Act.FENCED, Since.HEARTBEAT, limit_ns,
                 limit_ns + cluster.interval * NS_PER_S, "the quorum disk's master has it fenced",
                 "qdiskd: interval x tko", period_ns),
        Deadline("qdisk.dead", "node dead", Act.DEAD, Since.FAILURE, limit_ns, limit_ns + cluster.interval * NS_PER_S,
                 "seen by the quorum disk's master", "qdiskd: interval x tko"),
    )


def qdisk_inequalities(cluster: Qdisk, storage: Storage) -> tuple[Inequality, ...]:
    """N1, and CMAN's own timeout at twice the disk's."""
    limit_ns = cluster.interval * cluster.tko * NS_PER_S
    return (
        _below("N1", "qdisk", Stake.FENCE, "one path failure evicts nobody", storage, limit_ns, "interval x tko",
               "qdisk.tko", "Red Hat Cluster Suite guide", extra_ns=cluster.interval * NS_PER_S, strict=False),
        condition("QD-01", "qdisk", Stake.FENCE, "the disk decides before the network does",
                  [term("2 interval x tko", 2 * limit_ns, "qdisk.tko")],
                  [term("CMAN timeout", cluster.cman_timeout * NS_PER_S, "qdisk.cman_timeout")],
                  "Red Hat Cluster Suite guide"),
    )


def qdisk_required(cluster: Qdisk, storage: Storage) -> Qdisk:
    """This with tko and CMAN's timeout raised."""
    needed_ns = _finite(storage, "quorum disk") + cluster.interval * NS_PER_S
    tko = max(cluster.tko, -(-needed_ns // (cluster.interval * NS_PER_S)))
    return replace(cluster, tko=tko, cman_timeout=max(cluster.cman_timeout, 2 * cluster.interval * tko))


def qdisk_recommended(storage: Storage) -> Qdisk:
    """What is required, from the defaults on."""
    return qdisk_required(Qdisk(), storage)
