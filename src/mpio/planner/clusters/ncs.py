"""Novell Cluster Services (OES): a node that is silent for too long is cast out by poison pill.

Its heartbeat goes over the network, but a node that waits for its storage is silent there too. Sources: OES Cluster
Services guide (cluster protocols, multipath), Micro Focus TID 7003637.
"""

from dataclasses import replace

from mpio.model.cluster import Ncs
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, stall_term, term
from mpio.planner.clusters.storage import Storage
from mpio.units import NS_PER_S

STACK = "ncs"
_GUIDE = "OES Cluster Services guide: cluster protocols"


def tolerated_ns(cluster: Ncs) -> int:
    """The longest stall with which a node is not cast out; it must stay below this."""
    node = cluster.tolerance - cluster.heartbeat
    master = cluster.slave_watchdog - cluster.master_watchdog
    return max(0, min(node, master)) * NS_PER_S


def deadlines(cluster: Ncs, storage: Storage) -> tuple[Deadline, ...]:
    """In the order in which they pass."""
    limit_ns = tolerated_ns(cluster)
    extra_ns = storage.latency_ns + storage.jitter_ns
    return (Deadline(
        "ncs.tolerated", "longest stall tolerated", Act.TOLERATED, Since.STALL, limit_ns, limit_ns,
        "a shorter silence is no failure", f"{_GUIDE}, derived",
    ), Deadline(
        "ncs.tolerance", "node cast out", Act.FENCED, Since.HEARTBEAT, cluster.tolerance * NS_PER_S,
        (cluster.tolerance + cluster.heartbeat) * NS_PER_S, "the master removes a silent node, which gets a poison pill",
        f"tolerance: {_GUIDE}", cluster.heartbeat * NS_PER_S + extra_ns,
    ), Deadline(
        "ncs.slave_watchdog", "master cast out", Act.FENCED, Since.HEARTBEAT, cluster.slave_watchdog * NS_PER_S,
        (cluster.slave_watchdog + cluster.master_watchdog) * NS_PER_S, "the other nodes remove a silent master",
        f"slave watchdog: {_GUIDE}", cluster.master_watchdog * NS_PER_S + extra_ns,
    ), Deadline(
        "ncs.dead", "node dead", Act.DEAD, Since.FAILURE, cluster.tolerance * NS_PER_S,
        (cluster.tolerance + cluster.heartbeat) * NS_PER_S, "its resources are started elsewhere", _GUIDE,
    ))


def inequalities(cluster: Ncs, storage: Storage) -> tuple[Inequality, ...]:
    """NC-01 for nodes and for the master, for each kind of stall; NC-02."""
    kinds: list[tuple[str, str, int | None]] = [("NC-01", "one path failure", storage.stall_ns)]
    if storage.serial_ns != 0:
        kinds.append(("N3", "paths that fail one after another", storage.serial_ns))
    if storage.outage_ns != 0:
        kinds.append(("APD", "an outage of the whole array", storage.outage_ns))
    found: list[Inequality] = []
    for id, name, stall_ns in kinds:
        stall = [*stall_term(stall_ns), term("latency", storage.latency_ns, "measured"),
                 term("jitter", storage.jitter_ns, "measured")]
        endless = stall_ns is None
        found += [condition(
            id, STACK, Stake.FENCE, f"{name} casts out no node",
            [*stall, term("heartbeat", cluster.heartbeat * NS_PER_S, "ncs.heartbeat")],
            [term("tolerance", cluster.tolerance * NS_PER_S, "ncs.tolerance")], _GUIDE, endless_left=endless,
            strict=True,
        ), condition(
            f"{id}m", STACK, Stake.FENCE, f"{name} casts out no master",
            [*stall, term("master watchdog", cluster.master_watchdog * NS_PER_S, "ncs.master_watchdog")],
            [term("slave watchdog", cluster.slave_watchdog * NS_PER_S, "ncs.slave_watchdog")], _GUIDE,
            endless_left=endless, strict=True,
        )]
    found.append(condition(
        "NC-02", STACK, Stake.SPLIT_BRAIN, "writes of a node without paths fail, and are not done later",
        [] if storage.queue_ns is None else [term("I/O waits for a path", storage.queue_ns, "no_path_retry")], [],
        "Micro Focus TID 7003637: no_path_retry fail", endless_left=storage.queue_ns is None,
    ))
    return tuple(found)


def required(cluster: Ncs, storage: Storage) -> Ncs:
    """This with tolerance and slave watchdog raised to more than the stall and one heartbeat."""
    longest_ns, outage_ns = storage.longest_ns, storage.outage_ns
    if longest_ns is None or outage_ns is None:
        raise ValueError("no tolerance outlasts a stall without end")
    silence_ns = max(longest_ns, outage_ns) + storage.latency_ns + storage.jitter_ns
    over = silence_ns // NS_PER_S + 1
    return replace(cluster, tolerance=max(cluster.tolerance, over + cluster.heartbeat),
                   slave_watchdog=max(cluster.slave_watchdog, over + cluster.master_watchdog))


def recommended(storage: Storage) -> Ncs:
    """1.5 times the stall and one heartbeat, for both; never less than the usual 8."""
    base = Ncs()
    needed = required(base, storage)
    longest_ns = max(storage.longest_ns or 0, storage.outage_ns or 0)
    value = -(-(longest_ns + base.heartbeat * NS_PER_S) * 3 // (2 * NS_PER_S))
    return replace(needed, tolerance=max(needed.tolerance, value), slave_watchdog=max(needed.slave_watchdog, value))
