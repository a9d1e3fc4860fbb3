"""OCFS2's disk heartbeat: when a stalled node fences itself, and when the others take it for dead.

Every 2 s a thread per region reads all slots, writes its own, and on success sets a timer to 2 (T - 1) s. Sources:
Linux fs/ocfs2/cluster/{heartbeat,tcp_internal,quorum}.c, o2cb.sysconfig(5), o2cb(7).
"""

from dataclasses import replace

from mpio.model.cluster import O2cb
from mpio.model.stack import Version
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, term
from mpio.planner.clusters.stack import Stack, survives, tolerated
from mpio.planner.clusters.storage import CLOCK_RATE_ERROR, Case, Storage
from mpio.units import NS_PER_S

PERIOD_NS = 2 * NS_PER_S
"""O2HB_REGION_TIMEOUT_MS: from one heartbeat to the next."""
THRESHOLD_MIN = 7
"""The least that `o2cb configure` accepts; the kernel's own least is 3."""
NEGOTIATION_SINCE: Version = (4, 7)
"""The first kernel in which hung nodes ask the others before they fence themselves (commit e0cbb798)."""
BLOCKED_MAX_NS = 240 * NS_PER_S
"""A dead node should block the cluster no longer: field practice, not a limit of any program."""
_NS_PER_MS = 1_000_000
_SOURCE = "Linux fs/ocfs2/cluster/heartbeat.c"


def self_fence_ns(threshold: int) -> int:
    """How long after its last good heartbeat a node resets itself: 2 (T - 1) s."""
    return (threshold - 1) * PERIOD_NS


def threshold_for(timeout_ns: int) -> int:
    """The smallest T whose self-fence time is not less than this."""
    return -(-timeout_ns // PERIOD_NS) + 1


def advertised_dead_ms(threshold: int) -> int:
    """hb_dead_ms as it stands in each heartbeat block: 2000 T, not T - 1."""
    return 2000 * threshold


def quorum_delay_ns(threshold: int) -> int:
    """How long a node waits after giving up a peer's connection before it counts who is left: 2 (T + 2) s."""
    return (threshold + 2) * PERIOD_NS


def negotiates(cluster: O2cb, storage: Storage) -> bool:
    """Whether hung nodes ask each other first, so that nobody fences while everybody hangs."""
    return cluster.negotiate and storage.kernel >= NEGOTIATION_SINCE


def deadlines(cluster: O2cb, storage: Storage) -> tuple[Deadline, ...]:
    """In the order in which they pass; the last two follow from a lost connection, not from a stall."""
    threshold = cluster.heartbeat_threshold
    fence_ns = self_fence_ns(threshold)
    half_ns = fence_ns // 2
    phase_ns = PERIOD_NS + storage.noise_ns
    quorum_ns = cluster.idle_timeout_ms * _NS_PER_MS + quorum_delay_ns(threshold)
    asks = Deadline(
        "o2cb.negotiate", "negotiation", Act.ASKS, Since.HEARTBEAT, half_ns,
        half_ns + storage.timer_lateness_ns(half_ns),
        "a node whose write hangs asks the lowest-numbered live node; if all of them hang, all timers start anew",
        f"{_SOURCE}, since Linux 4.7", phase_ns,
    )
    return (tolerated(
        "o2cb", fence_ns - phase_ns, "a heartbeat that stalls for no longer leaves its node alone",
        f"2 (T - 1) - 2 s: {_SOURCE}, derived",
    ), *([asks] if negotiates(cluster, storage) else []), Deadline(
        "o2cb.self_fence", "self-fence", Act.FENCED, Since.HEARTBEAT, fence_ns,
        fence_ns + storage.timer_lateness_ns(fence_ns), "the node resets itself (fence_method reset) or panics",
        f"2 (T - 1) s: {_SOURCE}", phase_ns,
    ), Deadline(
        "o2cb.dead", "declared dead", Act.DEAD, Since.HEARTBEAT, threshold * PERIOD_NS, (threshold + 1) * PERIOD_NS,
        "the other nodes have seen the same heartbeat T times; they recover its locks and journal",
        f"2 T to 2 T + 2 s: {_SOURCE}", phase_ns,
    ), Deadline(
        "o2cb.quorum", "quorum decision", Act.FENCED, Since.CONNECTION, quorum_ns, quorum_ns,
        "nodes that lost each other but still write heartbeats count: the smaller half fences itself, "
        "of two nodes the one with the higher number",
        "idle timeout + 2 (T + 2) s: Linux fs/ocfs2/cluster/tcp_internal.h, quorum.c",
    ), Deadline(
        "o2cb.split_over", "service after a network split", Act.SERVICE, Since.CONNECTION,
        quorum_ns + threshold * PERIOD_NS, quorum_ns + (threshold + 1) * PERIOD_NS,
        "the others have declared the loser dead; its journal is still to be recovered",
        "idle timeout + 4 T + 4 to 4 T + 6 s, derived",
    ))


def inequalities(cluster: O2cb, storage: Storage) -> tuple[Inequality, ...]:
    """N1, N3, N4 and APD; S1 and S2; how long a dead node blocks the others, and the network's idle timeout."""
    fence_ns = self_fence_ns(cluster.heartbeat_threshold)
    return (
        *(_survives(cluster, storage, case) for case in storage.cases), *_split_brain(cluster, storage),
        condition(
            "OC-07", "o2cb", Stake.SERVICE, "a dead node blocks the cluster no longer than 4 min",
            [term("self-fence", fence_ns, "o2cb.heartbeat_threshold")],
            [term("4 min", BLOCKED_MAX_NS, "field practice")], "field practice",
        ),
        condition(
            "OC-09", "o2cb", Stake.FENCE, "a network blip starts no fencing",
            [term("2 keepalive delays", 2 * cluster.keepalive_delay_ms * _NS_PER_MS, "o2cb.keepalive_delay_ms")],
            [term("idle timeout", cluster.idle_timeout_ms * _NS_PER_MS, "o2cb.idle_timeout_ms")], "o2cb(7)",
            strict=True,
        ),
    )


def _survives(cluster: O2cb, storage: Storage, case: Case) -> Inequality:
    if case.code == "APD" and _negotiation_carries(cluster, storage):
        return condition(
            "APD", "o2cb", Stake.FENCE, f"nobody is fenced by {case.name} while the nodes reach each other",
            [term("outage", case.stall_ns, "the storage's budget")],
            [term("I/O waits", storage.fails_after_ns, "no_path_retry")],
            f"{_SOURCE}: nodes that all hang start their timers anew, until the first I/O error",
        )
    fence_ns = self_fence_ns(cluster.heartbeat_threshold)
    return survives(
        "o2cb", case, storage, term("self-fence", fence_ns, "o2cb.heartbeat_threshold"),
        f"{_SOURCE}: the timer starts when a heartbeat has ended, the next one up to 2 s later",
        extra=(term("heartbeat period", PERIOD_NS, "O2HB_REGION_TIMEOUT_MS"),), margin_ns=fence_ns // 4,
    )


def _negotiation_carries(cluster: O2cb, storage: Storage) -> bool:
    """Whether an outage of the whole array fences nobody at any T: all nodes hang, and none gets an error."""
    outage_ns, fails_ns = storage.outage_ns, storage.fails_after_ns
    hangs = fails_ns is None or (outage_ns is not None and outage_ns <= fails_ns)
    return negotiates(cluster, storage) and hangs


def _split_brain(cluster: O2cb, storage: Storage) -> tuple[Inequality, Inequality]:
    """S1 and S2. Both ends depend on T alone and lie 2 s apart, so no setting helps where they do not hold."""
    threshold = cluster.heartbeat_threshold
    fence_ns = self_fence_ns(threshold)
    late_ns = storage.timer_lateness_ns(fence_ns)
    stops = [
        term("self-fence", fence_ns, "o2cb.heartbeat_threshold"),
        term("kernel timer late", late_ns, f"HZ {storage.hz}"),
        term("clock rates", round((fence_ns + late_ns) * CLOCK_RATE_ERROR), "two clocks, 0.1 % apart"),
    ]
    dead = [term("declared dead", threshold * PERIOD_NS, "o2cb.heartbeat_threshold")]
    claim = "a stalled node has stopped before the others take over"
    return (
        condition("S1", "o2cb", Stake.SPLIT_BRAIN, claim, stops, dead, _SOURCE, inherent=True),
        condition(
            "S2", "o2cb", Stake.SPLIT_BRAIN, f"{claim}, even if its last heartbeat landed and the answer came late",
            [*stops, term("answer late", storage.stall_ns, "the storage's budget")], dead,
            f"{_SOURCE}, derived; harmless as long as its I/O stays stuck: fence by persistent reservation if it can "
            "be released", inherent=True,
        ),
    )


def required(cluster: O2cb, storage: Storage) -> O2cb:
    """T raised to the smallest value that survives; an outage counts only where negotiation does not carry it."""
    if _negotiation_carries(cluster, storage):
        storage = replace(storage, outage_ns=0)
    needed_ns = storage.finite_ns("o2cb.heartbeat_threshold") + PERIOD_NS + storage.noise_ns
    return replace(
        cluster,
        heartbeat_threshold=max(cluster.heartbeat_threshold, threshold_for(needed_ns)),
        idle_timeout_ms=max(cluster.idle_timeout_ms, 2 * cluster.keepalive_delay_ms + 1),
    )


def recommended(storage: Storage) -> O2cb:
    """T for a self-fence time of max(1.5 S, S + 30 s); never less than is needed."""
    needed = required(O2cb(heartbeat_threshold=THRESHOLD_MIN), storage)
    if _negotiation_carries(needed, storage):
        storage = replace(storage, outage_ns=0)
    stall_ns = storage.finite_ns("o2cb.heartbeat_threshold") + storage.noise_ns
    target_ns = max(stall_ns * 3 // 2, stall_ns + 30 * NS_PER_S)
    return replace(needed, heartbeat_threshold=max(needed.heartbeat_threshold, threshold_for(target_ns)))


STACK: Stack[O2cb] = Stack(
    "o2cb", deadlines, inequalities, required,
    shortest=lambda cluster: replace(cluster, heartbeat_threshold=THRESHOLD_MIN),
    heartbeat_name="O2CB's self-fence time",
    heartbeat_ns=lambda cluster, _: self_fence_ns(cluster.heartbeat_threshold),
)
