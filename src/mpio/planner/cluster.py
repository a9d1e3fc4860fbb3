"""What cluster stacks make of storage stalls: the one front for all of them.

    storage = Storage(stall_ns=budget.worst_ns)
    for item in inequalities([O2cb(heartbeat_threshold=7)], storage):
        print(item.verdict, item.words)

A host's stacks are given together, because some conditions join two of them (SBD's msgwait and Pacemaker's
stonith-timeout). The arithmetic of each is in `planner.clusters`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from mpio.model.cluster import Cluster, Corosync, LinuxHa, Mmp, Ncs, O2cb, Qdisk, Rac, Sanlock, Sbd
from mpio.planner.clusters import corosync, heartbeat, mmp, ncs, o2cb, qdisk, rac, sanlock, sbd
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, Verdict
from mpio.planner.clusters.stack import Stack
from mpio.planner.clusters.storage import Storage

__all__ = [
    "KINDS", "STACKS", "Act", "Deadline", "Inequality", "Since", "Stake", "Storage", "Verdict", "deadlines",
    "defaults", "inequalities", "kind_of", "recommended", "required", "smallest", "takeover_ns", "tolerated_ns",
]

C = TypeVar("C")

KINDS: Mapping[str, tuple[type, ...]] = {
    "none": (), "ocfs2": (O2cb,), "sbd": (Sbd, Corosync), "sanlock": (Sanlock,), "pacemaker": (Corosync,),
    "ncs": (Ncs,), "heartbeat": (LinuxHa,), "rac": (Rac,), "zfs": (Mmp,), "qdisk": (Qdisk,),
}
"""The kinds of cluster that people name, and the stacks that each has."""

STACKS: Mapping[type, Stack[Any]] = {
    O2cb: o2cb.STACK, Sbd: sbd.STACK, Corosync: corosync.STACK, Sanlock: sanlock.STACK, Ncs: ncs.STACK,
    LinuxHa: heartbeat.STACK, Rac: rac.STACK, Mmp: mmp.STACK, Qdisk: qdisk.STACK,
}


def deadlines(clusters: Iterable[Cluster], storage: Storage) -> tuple[Deadline, ...]:
    """When each stack acts, in the order of the stacks."""
    return tuple(item for cluster in clusters for item in STACKS[type(cluster)].deadlines(cluster, storage))


def inequalities(clusters: Iterable[Cluster], storage: Storage) -> tuple[Inequality, ...]:
    """Every condition of every stack, then those that join two; each knows whether it holds."""
    clusters = tuple(clusters)
    alone = tuple(item for cluster in clusters for item in STACKS[type(cluster)].inequalities(cluster, storage))
    pill, ring = _one(clusters, Sbd), _one(clusters, Corosync)
    return alone if pill is None or ring is None else (*alone, *sbd.inequalities_beside(pill, ring))


def required(clusters: Iterable[Cluster], storage: Storage) -> tuple[Cluster, ...]:
    """The same stacks, every timer that is too short raised to the smallest value that holds, all others kept.

    Raises ValueError if a stall never ends.
    """
    raised: list[Cluster] = [STACKS[type(cluster)].required(cluster, storage) for cluster in clusters]
    pill, ring = _one(raised, Sbd), _one(raised, Corosync)
    if pill is None or ring is None:
        return tuple(raised)
    with_ring, with_pill = sbd.required_beside(pill, ring)
    return tuple(with_ring if item is pill else with_pill if item is ring else item for item in raised)


def defaults(kind: str, nodes: int = 2) -> tuple[Cluster, ...]:
    """A kind's stacks as their packages ship them. Raises ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"cluster: expected one of {', '.join(KINDS)}; found {kind!r:.60}")
    return tuple(Corosync(nodes=nodes) if stack is Corosync else stack() for stack in KINDS[kind])


def smallest(kind: str, storage: Storage, nodes: int = 2) -> tuple[Cluster, ...]:
    """A kind's stacks with each storage timer as short as programs and stalls allow. Raises ValueError."""
    return required([STACKS[type(cluster)].shortest(cluster) for cluster in defaults(kind, nodes)], storage)


def recommended(kind: str, storage: Storage, nodes: int = 2) -> tuple[Cluster, ...]:
    """A kind's stacks as their recipes want them, with room for load; they keep every condition that settings can.

    Raises ValueError for an unknown kind, and if a stall never ends.
    """
    match kind:
        case "ocfs2":
            return (o2cb.recommended(storage),)
        case "sbd":
            return sbd.recommended(storage, corosync.recommended(storage, nodes))
        case "pacemaker":
            return (corosync.recommended(storage, nodes),)
        case "sanlock":
            return (sanlock.recommended(storage),)
        case "ncs":
            return (ncs.recommended(storage),)
        case "heartbeat":
            return (heartbeat.recommended(storage),)
        case "rac":
            return (rac.recommended(storage),)
    return required(defaults(kind, nodes), storage)


def kind_of(cluster: Cluster) -> str:
    """The kind that has this stack alone; for SBD, which never is alone, `sbd`."""
    return next(kind for kind, stacks in KINDS.items() if stacks and stacks[0] is type(cluster))


def tolerated_ns(clusters: Iterable[Cluster], storage: Storage) -> int | None:
    """The longest stall that no stack acts on; None if none of them minds any."""
    limits = [item.earliest_ns for item in deadlines(clusters, storage) if item.act is Act.TOLERATED]
    return min(limits, default=None)


def takeover_ns(clusters: Iterable[Cluster], storage: Storage) -> int | None:
    """How long after a node's death the others know of it and may take over, at the latest; None if they never do.

    With SBD that is token, consensus and its own confirmation; else the longest time until a stack has it for dead.
    """
    clusters = tuple(clusters)
    dead = [item.latest_ns for item in deadlines(clusters, storage)
            if item.act is Act.DEAD and item.since in (Since.HEARTBEAT, Since.FAILURE)]
    pill, ring = _one(clusters, Sbd), _one(clusters, Corosync)
    confirmed_ns = None if pill is None else sbd.confirmed_ns(pill, ring)
    if confirmed_ns is not None:
        noticed_ns = 0 if ring is None else corosync.effective_token_ns(ring) + corosync.consensus_ns(ring)
        dead.append(noticed_ns + confirmed_ns)
    return max(dead, default=None)


def _one(clusters: Iterable[Cluster], stack: type[C]) -> C | None:
    """This host's settings of a stack, if it runs that."""
    return next((cluster for cluster in clusters if isinstance(cluster, stack)), None)
