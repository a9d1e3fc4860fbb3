"""ZFS's activity check (multihost=on): a pool that can't write its own heartbeat is suspended. Source: zfs(4)."""

from dataclasses import replace

from mpio.model.cluster import Mmp
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, term
from mpio.planner.clusters.stack import Stack, survives, tolerated
from mpio.planner.clusters.storage import Storage
from mpio.units import NS_PER_S

PLAY_NS = NS_PER_S
"""What the limit should have above the stall: the heartbeats of a pool are spread over its disks and its interval."""
_NS_PER_MS = 1_000_000
_SOURCE = "zfs(4): zfs_multihost_interval, fail_intervals, import_intervals"


def limit_ns(cluster: Mmp) -> int:
    """How long a pool lives without a heartbeat of its own; 0 if it is never suspended."""
    return cluster.interval_ms * cluster.fail_intervals * _NS_PER_MS


def import_ns(cluster: Mmp) -> int:
    """How long an import looks for another user of the pool."""
    return cluster.interval_ms * cluster.import_intervals * _NS_PER_MS


def deadlines(cluster: Mmp, storage: Storage) -> tuple[Deadline, ...]:
    """The pool's suspension, and when another host may have it."""
    suspends_ns, found_ns = limit_ns(cluster), import_ns(cluster)
    phase_ns = PLAY_NS + storage.noise_ns
    suspension = (tolerated("mmp", suspends_ns - phase_ns, "the pool goes on", _SOURCE), Deadline(
        "mmp.suspended", "pool suspended", Act.FAILS, Since.HEARTBEAT, suspends_ns, suspends_ns,
        "all I/O to the pool stops until it is cleared by hand", _SOURCE, phase_ns,
    ))
    return (*(suspension if suspends_ns else ()), Deadline(
        "mmp.import", "import goes on", Act.DEAD, Since.REQUEST, found_ns, found_ns,
        "another host has seen no activity", _SOURCE,
    ))


def inequalities(cluster: Mmp, storage: Storage) -> tuple[Inequality, ...]:
    """ZF-01 for each kind of stall, and that an import looks twice as long as a pool may be silent."""
    suspends_ns = limit_ns(cluster)
    if not suspends_ns:
        return ()
    suspends = term("interval x fail_intervals", suspends_ns, "mmp.fail_intervals")
    return (*(survives(
        "mmp", case, storage, suspends, _SOURCE, code="ZF-01" if case.code == "N1" else case.code, stake=Stake.SERVICE,
        claim="no pool is suspended by", extra=(term("play", PLAY_NS, "allowance"),),
    ) for case in storage.cases), condition(
        "ZF-02", "mmp", Stake.SPLIT_BRAIN, "an import looks twice as long as a pool may be silent",
        [term("2 interval x fail_intervals", 2 * suspends_ns, "mmp.fail_intervals")],
        [term("interval x import_intervals", import_ns(cluster), "mmp.import_intervals")], _SOURCE,
    ))


def required(cluster: Mmp, storage: Storage) -> Mmp:
    """Both numbers of intervals raised; a pool that is never suspended stays so."""
    if not cluster.fail_intervals:
        return cluster
    needed_ns = storage.finite_ns("mmp.fail_intervals") + storage.noise_ns + PLAY_NS
    fails = max(cluster.fail_intervals, -(-needed_ns // (cluster.interval_ms * _NS_PER_MS)))
    return replace(cluster, fail_intervals=fails, import_intervals=max(cluster.import_intervals, 2 * fails))


STACK: Stack[Mmp] = Stack(
    "mmp", deadlines, inequalities, required,
    shortest=lambda cluster: replace(cluster, fail_intervals=1, import_intervals=2),
    heartbeat_name="ZFS's multihost limit",
    heartbeat_ns=lambda cluster, _: limit_ns(cluster) or None,
)
