"""What cluster stacks make of storage stalls: the one front for all of them.

    storage = Storage(stall_ns=budget.worst_ns)
    for item in inequalities([O2cb(heartbeat_threshold=7)], storage):
        print(item.verdict, item.words)

A host's stacks are given together, because some conditions join two of them (SBD's msgwait and Pacemaker's
stonith-timeout). The arithmetic of each is in `planner.clusters`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from mpio.model.cluster import Cluster, Corosync, LinuxHa, Mmp, Ncs, O2cb, Qdisk, Rac, Sanlock, Sbd
from mpio.planner.clusters import corosync, heartbeat, ncs, o2cb, others, sanlock, sbd
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, Verdict
from mpio.planner.clusters.storage import Storage

__all__ = [
    "KINDS", "Act", "Deadline", "Inequality", "Since", "Stake", "Storage", "Verdict", "deadlines", "defaults",
    "inequalities", "recommended", "required", "smallest", "takeover_ns", "tolerated_ns",
]

KINDS = ("none", "ocfs2", "sbd", "sanlock", "pacemaker", "ncs", "heartbeat", "rac", "zfs", "qdisk")
"""The kinds of cluster that `recommended`, `smallest` and `defaults` know."""


def deadlines(clusters: Iterable[Cluster], storage: Storage) -> tuple[Deadline, ...]:
    """When each stack acts, in the order of the stacks."""
    return tuple(item for cluster in clusters for item in _deadlines(cluster, storage))


def _deadlines(cluster: Cluster, storage: Storage) -> tuple[Deadline, ...]:
    match cluster:
        case O2cb():
            return o2cb.deadlines(cluster, storage)
        case Sbd():
            return sbd.deadlines(cluster, storage)
        case Corosync():
            return corosync.deadlines(cluster, storage)
        case Sanlock():
            return sanlock.deadlines(cluster, storage)
        case Ncs():
            return ncs.deadlines(cluster, storage)
        case LinuxHa():
            return heartbeat.deadlines(cluster, storage)
        case Rac():
            return others.rac_deadlines(cluster, storage)
        case Mmp():
            return others.mmp_deadlines(cluster, storage)
        case Qdisk():
            return others.qdisk_deadlines(cluster, storage)


def inequalities(clusters: Iterable[Cluster], storage: Storage) -> tuple[Inequality, ...]:
    """Every condition of every stack; each knows whether it holds."""
    clusters = tuple(clusters)
    beside = next((cluster for cluster in clusters if isinstance(cluster, Corosync)), None)
    return tuple(item for cluster in clusters for item in _inequalities(cluster, storage, beside))


def _inequalities(cluster: Cluster, storage: Storage, beside: Corosync | None) -> tuple[Inequality, ...]:
    match cluster:
        case O2cb():
            return o2cb.inequalities(cluster, storage)
        case Sbd():
            return sbd.inequalities(cluster, storage, beside)
        case Corosync():
            return corosync.inequalities(cluster, storage)
        case Sanlock():
            return sanlock.inequalities(cluster, storage)
        case Ncs():
            return ncs.inequalities(cluster, storage)
        case LinuxHa():
            return heartbeat.inequalities(cluster, storage)
        case Rac():
            return others.rac_inequalities(cluster, storage)
        case Mmp():
            return others.mmp_inequalities(cluster, storage)
        case Qdisk():
            return others.qdisk_inequalities(cluster, storage)


def required(clusters: Iterable[Cluster], storage: Storage) -> tuple[Cluster, ...]:
    """The same stacks, every timer that is too short raised to the smallest value that holds, all others kept.

    Raises ValueError if a stall never ends.
    """
    raised = [_required(cluster, storage) for cluster in clusters]
    for i, pill in enumerate(raised):
        for j, ring in enumerate(raised):
            if isinstance(pill, Sbd) and isinstance(ring, Corosync):
                raised[i], raised[j] = sbd.required_beside(pill, ring)
    return tuple(raised)


def _required(cluster: Cluster, storage: Storage) -> Cluster:
    match cluster:
        case O2cb():
            return o2cb.required(cluster, storage)
        case Sbd():
            return sbd.required(cluster, storage)
        case Corosync():
            return corosync.required(cluster, storage)
        case Sanlock():
            return sanlock.required(cluster, storage)
        case Ncs():
            return ncs.required(cluster, storage)
        case LinuxHa():
            return heartbeat.required(cluster, storage)
        case Rac():
            return others.rac_required(cluster, storage)
        case Mmp():
            return others.mmp_required(cluster, storage)
        case Qdisk():
            return others.qdisk_required(cluster, storage)


def defaults(kind: str, nodes: int = 2) -> tuple[Cluster, ...]:
    """A kind's stacks as their packages ship them. Raises ValueError for an unknown kind."""
    found: dict[str, tuple[Cluster, ...]] = {
        "none": (), "ocfs2": (O2cb(),), "sbd": (Sbd(), Corosync(nodes=nodes)), "sanlock": (Sanlock(),),
        "pacemaker": (Corosync(nodes=nodes),), "ncs": (Ncs(),), "heartbeat": (LinuxHa(),), "rac": (Rac(),),
        "zfs": (Mmp(),), "qdisk": (Qdisk(),),
    }
    if kind not in found:
        raise ValueError(f"cluster: expected one of {', '.join(KINDS)}; found {kind!r:.60}")
    return found[kind]


def smallest(kind: str, storage: Storage, nodes: int = 2) -> tuple[Cluster, ...]:
    """A kind's stacks with each storage timer as short as programs and stalls allow. Raises ValueError."""
    return required([_shortest(cluster) for cluster in defaults(kind, nodes)], storage)


def _shortest(cluster: Cluster) -> Cluster:
    """With the timers that a stall decides at the least that their programs take."""
    match cluster:
        case O2cb():
            return replace(cluster, heartbeat_threshold=o2cb.THRESHOLD_MIN)
        case Sbd():
            return replace(cluster, watchdog=1, msgwait=2)
        case Corosync():
            return replace(cluster, monitor_timeout=1, stop_timeout=1, stonith_timeout=1)
        case Sanlock():
            return replace(cluster, io_timeout=1)
        case Ncs():
            return replace(cluster, tolerance=1, slave_watchdog=1)
        case LinuxHa():
            return replace(cluster, deadtime=1, warntime=0.5, initdead=1)
        case Rac():
            return replace(cluster, misscount=1, disktimeout=1, asm_hbeatiowait=1)
        case Mmp():
            return replace(cluster, fail_intervals=1, import_intervals=1)
        case Qdisk():
            return replace(cluster, tko=1, cman_timeout=1)


def recommended(kind: str, storage: Storage, nodes: int = 2) -> tuple[Cluster, ...]:
    """A kind's stacks as their own recipes want them, with room for load; they satisfy every condition.

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
            return (others.rac_recommended(storage),)
        case "zfs":
            return (others.mmp_recommended(storage),)
        case "qdisk":
            return (others.qdisk_recommended(storage),)
    return defaults(kind, nodes)


def tolerated_ns(clusters: Sequence[Cluster], storage: Storage) -> int | None:
    """The longest stall that no stack acts on; None if none of them cares."""
    limits = [item.earliest_ns for item in deadlines(clusters, storage) if item.act is Act.TOLERATED]
    return min(limits, default=None)


def takeover_ns(clusters: Sequence[Cluster], storage: Storage) -> int | None:
    """How long after a node's death the others take over, at the latest; None if no stack of these does.

    With SBD that is token, consensus and msgwait; else the longest time until a stack declares the node dead.
    """
    dead = {item.id: item.latest_ns for item in deadlines(clusters, storage) if item.act is Act.DEAD}
    if "sbd.confirmed" in dead and "corosync.token" in dead:
        dead["sbd.confirmed"] += dead["corosync.token"]
    return max(dead.values(), default=None)
