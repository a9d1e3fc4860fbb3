"""Linux-HA Heartbeat (ha.cf): no disk channel, so storage reaches it only through a host that freezes.

Sources: ha.cf(5) and its sample, and its users' recipe: deadtime twice the longest gap, warntime half of deadtime,
initdead twice deadtime.
"""

from dataclasses import replace

from mpio.model.cluster import LinuxHa
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, term
from mpio.planner.clusters.stack import Stack, survives, tolerated, whole_seconds
from mpio.planner.clusters.storage import Storage
from mpio.units import seconds

INITDEAD_MIN_S = 120
"""The sample file's value: networks take long to come up."""
_HA_CF = "ha.cf(5)"
_RECIPE = "tuning recipe of its users"


def longest_gap_ns(cluster: LinuxHa, storage: Storage) -> int | None:
    """The longest silence of a living host: one interval, and the stall if the host freezes with its storage."""
    quiet_ns = seconds(cluster.keepalive) + storage.noise_ns
    if not storage.holds_host:
        return quiet_ns
    longest_ns = storage.longest_ns
    return None if longest_ns is None else quiet_ns + longest_ns


def deadlines(cluster: LinuxHa, storage: Storage) -> tuple[Deadline, ...]:
    """In the order in which they pass; from a stall only if the host freezes with its storage."""
    warns_ns, dead_ns = seconds(cluster.warntime), seconds(cluster.deadtime)
    phase_ns = seconds(cluster.keepalive) + storage.noise_ns
    dead = Deadline(
        "heartbeat.dead", "declared dead", Act.DEAD, Since.FAILURE, dead_ns, dead_ns,
        "the other node fences it if it can, and takes its resources", _HA_CF,
    )
    if not storage.holds_host:
        return (dead,)
    return (tolerated(
        "heartbeat", dead_ns - phase_ns, "the next heartbeat comes before deadtime", f"{_HA_CF}, derived",
    ), Deadline(
        "heartbeat.warning", "late heartbeat", Act.WARNS, Since.HEARTBEAT, warns_ns, warns_ns, "a line in the log",
        _HA_CF, phase_ns,
    ), Deadline(
        "heartbeat.frozen", "frozen host declared dead", Act.FENCED, Since.HEARTBEAT, dead_ns, dead_ns,
        "the other node fences it if it can, and takes its resources", _HA_CF, phase_ns,
    ), dead)


def inequalities(cluster: LinuxHa, storage: Storage) -> tuple[Inequality, ...]:
    """For a host that can freeze N1, N3, N4 and APD; the recipe as LH-01 in three parts."""
    dead = term("deadtime", seconds(cluster.deadtime), "heartbeat.deadtime")
    keepalive = term("keepalive", seconds(cluster.keepalive), "heartbeat.keepalive")
    gap_ns = longest_gap_ns(cluster, storage)
    return (*(survives(
        "heartbeat", case, storage, dead, f"{_HA_CF}, derived: root, swap or logs are on the same storage",
        claim="no living host looks dead by", extra=(keepalive,),
    ) for case in (storage.cases if storage.holds_host else ())), condition(
        "LH-01", "heartbeat", Stake.ADVICE, "deadtime is twice the longest gap",
        [term("2 longest gaps", None if gap_ns is None else 2 * gap_ns, "heartbeat.keepalive")], [dead], _RECIPE,
    ), condition(
        "LH-01w", "heartbeat", Stake.ADVICE, "deadtime is twice warntime",
        [term("2 warntime", 2 * seconds(cluster.warntime), "heartbeat.warntime")], [dead], _RECIPE,
    ), condition(
        "LH-01i", "heartbeat", Stake.FENCE, "no node that boots is taken for dead",
        [term("2 deadtime", 2 * dead.value_ns, "heartbeat.deadtime")],
        [term("initdead", seconds(cluster.initdead), "heartbeat.initdead")], _HA_CF,
    ))


def required(cluster: LinuxHa, storage: Storage) -> LinuxHa:
    """Deadtime raised to twice the longest gap and twice warntime, initdead to twice deadtime."""
    if storage.holds_host:
        storage.finite_ns("heartbeat.deadtime")
    gap_ns = longest_gap_ns(cluster, storage)
    assert gap_ns is not None
    raised = replace(cluster, deadtime=_at_least(cluster.deadtime, 2 * max(gap_ns, seconds(cluster.warntime))))
    return replace(raised, initdead=_at_least(raised.initdead, 2 * seconds(raised.deadtime)))


def _at_least(value_s: float, least_ns: int) -> float:
    """The value if it is long enough, else the next whole second."""
    return value_s if seconds(value_s) >= least_ns else whole_seconds(least_ns)


def recommended(storage: Storage) -> LinuxHa:
    """The recipe with the stall in the gap even if root is elsewhere: more waits for storage than one thinks."""
    needed = required(LinuxHa(), replace(storage, holds_host=True))
    return replace(needed, warntime=needed.deadtime / 2, initdead=max(INITDEAD_MIN_S, 2 * needed.deadtime))


STACK: Stack[LinuxHa] = Stack(
    "heartbeat", deadlines, inequalities, required,
    shortest=lambda cluster: replace(cluster, deadtime=1, warntime=0.5, initdead=2),
    heartbeat_name="Heartbeat's deadtime",
    heartbeat_ns=lambda cluster, storage: seconds(cluster.deadtime) if storage.holds_host else None,
)
