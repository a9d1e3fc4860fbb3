"""qdiskd, the quorum disk of Red Hat Cluster Suite 5 and 6: a node is out after tko missed intervals."""

from dataclasses import replace

from mpio.model.cluster import Qdisk
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, term
from mpio.planner.clusters.stack import Stack, survives, tolerated
from mpio.planner.clusters.storage import Storage
from mpio.units import NS_PER_S

_SOURCE = "Red Hat Cluster Suite guide: quorum disk"


def limit_ns(cluster: Qdisk) -> int:
    """Interval times tko."""
    return cluster.interval * cluster.tko * NS_PER_S


def deadlines(cluster: Qdisk, storage: Storage) -> tuple[Deadline, ...]:
    """Eviction of a stalled node, and of a dead one."""
    interval_ns, evicts_ns = cluster.interval * NS_PER_S, limit_ns(cluster)
    phase_ns = interval_ns + storage.noise_ns
    return (
        tolerated("qdisk", evicts_ns - phase_ns, "fewer than tko intervals are missed", _SOURCE),
        Deadline("qdisk.evicted", "node evicted", Act.FENCED, Since.HEARTBEAT, evicts_ns, evicts_ns + interval_ns,
                 "the quorum disk's master has it fenced", _SOURCE, phase_ns),
        Deadline("qdisk.dead", "node dead", Act.DEAD, Since.FAILURE, evicts_ns, evicts_ns + interval_ns,
                 "seen by the quorum disk's master", _SOURCE),
    )


def inequalities(cluster: Qdisk, storage: Storage) -> tuple[Inequality, ...]:
    """N1, N3, N4, APD, and CMAN's own timeout at twice the disk's."""
    evicts = term("interval x tko", limit_ns(cluster), "qdisk.tko")
    interval = term("interval", cluster.interval * NS_PER_S, "qdisk.interval")
    return (*(survives("qdisk", case, storage, evicts, _SOURCE, claim="nobody is evicted by", extra=(interval,))
              for case in storage.cases), condition(
        "QD-01", "qdisk", Stake.FENCE, "the disk decides before the network does",
        [term("2 interval x tko", 2 * limit_ns(cluster), "qdisk.tko")],
        [term("CMAN timeout", cluster.cman_timeout * NS_PER_S, "qdisk.cman_timeout")], _SOURCE,
    ))


def required(cluster: Qdisk, storage: Storage) -> Qdisk:
    """Tko and CMAN's timeout raised."""
    interval_ns = cluster.interval * NS_PER_S
    needed_ns = storage.finite_ns("qdisk.tko") + storage.noise_ns + interval_ns
    tko = max(cluster.tko, -(-needed_ns // interval_ns))
    return replace(cluster, tko=tko, cman_timeout=max(cluster.cman_timeout, 2 * cluster.interval * tko))


STACK: Stack[Qdisk] = Stack(
    "qdisk", deadlines, inequalities, required,
    shortest=lambda cluster: replace(cluster, tko=1, cman_timeout=2),
    heartbeat_name="qdiskd's interval x tko",
    heartbeat_ns=lambda cluster, _: limit_ns(cluster),
)
