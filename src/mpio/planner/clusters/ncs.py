"""Novell Cluster Services (OES): a node that is silent for too long is cast out by poison pill.

Its heartbeat goes over the network, but a node that waits for its storage is silent there too. Sources: OES Cluster
Services guide (cluster protocols, multipath), Micro Focus TID 7003637.
"""

from dataclasses import replace

from mpio.model.cluster import Ncs
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, term
from mpio.planner.clusters.stack import Stack, survives, tolerated, whole_seconds
from mpio.planner.clusters.storage import Case, Storage
from mpio.units import NS_PER_S

_GUIDE = "OES Cluster Services guide: cluster protocols"


def limit_s(cluster: Ncs) -> int:
    """A stall must stay below this: the shorter of the two limits, less one interval."""
    return min(cluster.tolerance - cluster.heartbeat, cluster.slave_watchdog - cluster.master_watchdog)


def deadlines(cluster: Ncs, storage: Storage) -> tuple[Deadline, ...]:
    """For a node, for the master, and for the resources of a dead node."""
    interval_ns, limit_ns = cluster.heartbeat * NS_PER_S, cluster.tolerance * NS_PER_S
    master_ns, slave_ns = cluster.master_watchdog * NS_PER_S, cluster.slave_watchdog * NS_PER_S
    return (tolerated(
        "ncs", limit_s(cluster) * NS_PER_S - storage.noise_ns, "a shorter silence is no failure", f"{_GUIDE}, derived",
    ), Deadline(
        "ncs.tolerance", "node cast out", Act.FENCED, Since.HEARTBEAT, limit_ns, limit_ns + interval_ns,
        "the master removes a silent node by poison pill", f"tolerance: {_GUIDE}", interval_ns + storage.noise_ns,
    ), Deadline(
        "ncs.slave_watchdog", "master cast out", Act.FENCED, Since.HEARTBEAT, slave_ns, slave_ns + master_ns,
        "the others remove a silent master", f"slave watchdog: {_GUIDE}", master_ns + storage.noise_ns,
    ), Deadline(
        "ncs.dead", "node dead", Act.DEAD, Since.FAILURE, limit_ns, limit_ns + interval_ns,
        "its resources are started elsewhere", _GUIDE,
    ))


def inequalities(cluster: Ncs, storage: Storage) -> tuple[Inequality, ...]:
    """NC-01 for a node and for the master, for each kind of stall; NC-02, that nothing is queued."""
    return (*(item for case in storage.cases for item in _of_case(cluster, storage, case)), condition(
        "NC-02", "ncs", Stake.SPLIT_BRAIN, "writes of a node without paths fail instead of landing after a takeover",
        [term("I/O waits for a path", storage.queue_ns, "no_path_retry")], [],
        "Micro Focus TID 7003637: no_path_retry fail",
    ))


def _of_case(cluster: Ncs, storage: Storage, case: Case) -> tuple[Inequality, Inequality]:
    code = "NC-01" if case.code == "N1" else case.code
    return (survives(
        "ncs", case, storage, term("tolerance", cluster.tolerance * NS_PER_S, "ncs.tolerance"), _GUIDE, code=code,
        claim="no node is cast out by", strict=True,
        extra=(term("heartbeat", cluster.heartbeat * NS_PER_S, "ncs.heartbeat"),),
    ), survives(
        "ncs", case, storage, term("slave watchdog", cluster.slave_watchdog * NS_PER_S, "ncs.slave_watchdog"), _GUIDE,
        code=f"{code}m", claim="no master is cast out by", strict=True,
        extra=(term("master watchdog", cluster.master_watchdog * NS_PER_S, "ncs.master_watchdog"),),
    ))


def required(cluster: Ncs, storage: Storage) -> Ncs:
    """Tolerance and slave watchdog raised above the stall and one interval."""
    over = (storage.finite_ns("ncs.tolerance") + storage.noise_ns) // NS_PER_S + 1
    return replace(cluster, tolerance=max(cluster.tolerance, over + cluster.heartbeat),
                   slave_watchdog=max(cluster.slave_watchdog, over + cluster.master_watchdog))


def recommended(storage: Storage) -> Ncs:
    """1.5 times the stall and one heartbeat, for both; never less than the usual 8."""
    needed = required(Ncs(), storage)
    silence_ns = storage.finite_ns("ncs.tolerance") + storage.noise_ns + needed.heartbeat * NS_PER_S
    value = whole_seconds(silence_ns * 3 // 2)
    return replace(needed, tolerance=max(needed.tolerance, value), slave_watchdog=max(needed.slave_watchdog, value))


STACK: Stack[Ncs] = Stack(
    "ncs", deadlines, inequalities, required,
    shortest=lambda cluster: replace(cluster, tolerance=1, slave_watchdog=1),
    heartbeat_name="the shorter of NCS's tolerance and slave watchdog",
    heartbeat_ns=lambda cluster, _: min(cluster.tolerance, cluster.slave_watchdog) * NS_PER_S,
)
