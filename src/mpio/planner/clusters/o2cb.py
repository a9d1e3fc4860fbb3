"""OCFS2's disk heartbeat: when a stalled node fences itself, and when the others take it for dead.

Every 2 s a thread per region reads all slots, writes its own, and on success sets a timer to 2 (T - 1) s. Sources:
Linux fs/ocfs2/cluster/{heartbeat,tcp_internal,quorum}.c, o2cb.sysconfig(5), o2cb(7).
"""

from dataclasses import replace

from mpio.model.cluster import O2cb
from mpio.planner.budget import Term
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, stall_term, term
from mpio.planner.clusters.storage import CLOCK_RATE_ERROR, NEGOTIATION_SINCE, Storage
from mpio.units import NS_PER_S

STACK = "o2cb"
PERIOD_NS = 2 * NS_PER_S
"""O2HB_REGION_TIMEOUT_MS: from one heartbeat to the next."""
THRESHOLD_MIN = 7
"""The least that `o2cb configure` accepts; the kernel's own least is 3."""
SELF_FENCE_MAX_NS = 240 * NS_PER_S
"""Past this a dead node blocks the cluster for longer than people wait (rule OC-07)."""
_HEARTBEAT_C = "Linux fs/ocfs2/cluster/heartbeat.c"


def self_fence_ns(threshold: int) -> int:
    """How long after its last good heartbeat a node resets itself: 2 (T - 1) s."""
    return (threshold - 1) * PERIOD_NS


def threshold_for(self_fence_ns: int) -> int:
    """The smallest T whose self-fence time is not less than this."""
    return -(-self_fence_ns // PERIOD_NS) + 1


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
    """In the order in which they pass."""
    threshold = cluster.heartbeat_threshold
    fence_ns = self_fence_ns(threshold)
    half_ns = fence_ns // 2
    phase_ns = PERIOD_NS + storage.latency_ns + storage.jitter_ns
    idle_ns = cluster.idle_timeout_ms * 1_000_000
    tolerated_ns = max(0, fence_ns - phase_ns)
    quorum_ns = idle_ns + quorum_delay_ns(threshold)
    found = [Deadline(
        "o2cb.tolerated", "longest stall tolerated", Act.TOLERATED, Since.STALL, tolerated_ns, tolerated_ns,
        "a heartbeat that stalls for no longer than this leaves the node alone", f"2 (T - 1) - 2 s: {_HEARTBEAT_C}",
    )]
    if negotiates(cluster, storage):
        found.append(Deadline(
            "o2cb.negotiate", "negotiation", Act.ASKS, Since.HEARTBEAT, half_ns,
            half_ns + storage.timer_lateness_ns(half_ns),
            "a node whose write hangs asks the lowest-numbered live node; if all of them hang, all timers start anew",
            f"{_HEARTBEAT_C}, since Linux 4.7", phase_ns,
        ))
    return (*found, Deadline(
        "o2cb.self_fence", "self-fence", Act.FENCED, Since.HEARTBEAT, fence_ns,
        fence_ns + storage.timer_lateness_ns(fence_ns),
        "the node resets itself (fence_method reset) or panics", f"2 (T - 1) s: {_HEARTBEAT_C}", phase_ns,
    ), Deadline(
        "o2cb.dead", "declared dead", Act.DEAD, Since.HEARTBEAT, threshold * PERIOD_NS, (threshold + 1) * PERIOD_NS,
        "the other nodes have seen the same heartbeat T times and recover its locks and journal",
        f"2 T to 2 T + 2 s: {_HEARTBEAT_C}", phase_ns,
    ), Deadline(
        "o2cb.quorum", "quorum decision", Act.FENCED, Since.CONNECTION, quorum_ns, quorum_ns,
        "nodes that lost each other but still write their heartbeats count; the smaller half fences itself, "
        "of two nodes the one with the higher number",
        "idle timeout + 2 (T + 2) s: Linux fs/ocfs2/cluster/tcp_internal.h, quorum.c",
    ), Deadline(
        "o2cb.split_over", "service after a network split", Act.SERVICE, Since.CONNECTION,
        quorum_ns + threshold * PERIOD_NS, quorum_ns + (threshold + 1) * PERIOD_NS,
        "the survivors have declared the loser dead; its journal is still to be recovered",
        "idle timeout + 4 T + 4 to 4 T + 6 s, derived",
    ))


def inequalities(cluster: O2cb, storage: Storage) -> tuple[Inequality, ...]:
    """N1, N3, N4 and an outage of all paths; S1 and S2; the rules about idle timeout and length."""
    threshold = cluster.heartbeat_threshold
    fence_ns = self_fence_ns(threshold)
    deadline = term("self-fence", fence_ns, "o2cb.heartbeat_threshold")
    around = _around(storage)
    source = f"{_HEARTBEAT_C}: the timer starts when a heartbeat has ended, the next begins up to 2 s later"
    found = [_survives("N1", "one path failure fences nobody", storage.stall_ns, around, deadline, source)]
    if storage.serial_ns != 0:
        found.append(_survives("N3", "paths that fail one after another fence nobody", storage.serial_ns, around,
                               deadline, source))
    if storage.flaps:
        twice = None if storage.stall_ns is None else 2 * storage.stall_ns
        found.append(_survives("N4", "a path that fails in reading and again in writing fences nobody", twice, around,
                               deadline, source))
    if storage.outage_ns != 0:
        found.append(_outage(cluster, storage, around, deadline))
    return (*found, *_split_brain(cluster, storage), condition(
        "OC-07", STACK, Stake.SERVICE, "a dead node blocks the cluster no longer than 4 min", [deadline],
        [term("limit", SELF_FENCE_MAX_NS, "rule OC-07")], "field practice",
    ), condition(
        "OC-09", STACK, Stake.FENCE, "a short network blip starts no fencing",
        [term("2 keepalives", 2 * cluster.keepalive_delay_ms * 1_000_000, "o2cb.keepalive_delay_ms")],
        [term("idle timeout", cluster.idle_timeout_ms * 1_000_000, "o2cb.idle_timeout_ms")], "o2cb(7)", strict=True,
    ))


def _around(storage: Storage) -> list[Term]:
    """What passes besides the stall between the timer's start and the end of the next heartbeat."""
    return [
        term("heartbeat period", PERIOD_NS, "O2HB_REGION_TIMEOUT_MS"),
        term("heartbeat latency", storage.latency_ns, "measured"),
        term("jitter", storage.jitter_ns, "measured"),
    ]


def _survives(
    id: str, claim: str, stall_ns: int | None, around: list[Term], deadline: Term, source: str
) -> Inequality:
    return condition(
        id, STACK, Stake.FENCE, claim, [*stall_term(stall_ns), *around], [deadline], source,
        endless_left=stall_ns is None, margin_ns=deadline.value_ns // 4,
    )


def _outage(cluster: O2cb, storage: Storage, around: list[Term], deadline: Term) -> Inequality:
    """The whole array is away. With negotiation the I/O only has to hang, not fail; without it D has to last."""
    claim = "an outage of the whole array fences nobody"
    outage_ns = storage.outage_ns
    plain = _survives("APD", claim, outage_ns, around, deadline, f"{_HEARTBEAT_C}: N1 with the outage as stall")
    slack_ns = plain.slack_ns
    if not negotiates(cluster, storage) or (slack_ns is not None and slack_ns >= 0):
        return plain
    fails_ns = storage.fails_after_ns
    return condition(
        "APD", STACK, Stake.FENCE, f"{claim}, as long as the nodes reach each other",
        stall_term(outage_ns, "outage"), [] if fails_ns is None else [term("I/O waits", fails_ns, "no_path_retry")],
        f"{_HEARTBEAT_C}: negotiation ends at the first I/O error", endless_left=outage_ns is None,
        endless_right=fails_ns is None,
    )


def _split_brain(cluster: O2cb, storage: Storage) -> list[Inequality]:
    threshold = cluster.heartbeat_threshold
    fence_ns = self_fence_ns(threshold)
    late_ns = storage.timer_lateness_ns(fence_ns)
    stops = [
        term("self-fence", fence_ns, "o2cb.heartbeat_threshold"),
        term("kernel timer late", late_ns, f"HZ {storage.hz}"),
        term("clock rates", round((fence_ns + late_ns) * CLOCK_RATE_ERROR), "two clocks, 0.1 %"),
    ]
    dead = [term("declared dead", threshold * PERIOD_NS, "o2cb.heartbeat_threshold")]
    claim = "a stalled node has stopped before the others take over"
    return [
        condition("S1", STACK, Stake.SPLIT_BRAIN, claim, stops, dead,
                  f"{_HEARTBEAT_C}: both ends are functions of T, 2 s apart", inherent=True),
        condition("S2", STACK, Stake.SPLIT_BRAIN, f"{claim}, even if its last heartbeat landed and the answer was lost",
                  [*stops, *stall_term(storage.stall_ns, "answer late")], dead,
                  "derived; reset before the paths return, or fence by persistent reservation", inherent=True,
                  endless_left=storage.stall_ns is None),
    ]


def required(cluster: O2cb, storage: Storage) -> O2cb:
    """This with T raised to the smallest value that survives; an outage only where negotiation does not carry it."""
    needed_ns = _needed_ns(cluster, storage)
    return replace(
        cluster,
        heartbeat_threshold=max(cluster.heartbeat_threshold, threshold_for(needed_ns)),
        idle_timeout_ms=max(cluster.idle_timeout_ms, 2 * cluster.keepalive_delay_ms + 1),
    )


def recommended(storage: Storage) -> O2cb:
    """D = max(1.5 S, S + 30 s), T from it; never less than is needed."""
    needed = required(O2cb(heartbeat_threshold=THRESHOLD_MIN), storage)
    stall_ns = storage.longest_ns
    assert stall_ns is not None
    target_ns = max(stall_ns * 3 // 2, stall_ns + 30 * NS_PER_S)
    return replace(needed, heartbeat_threshold=max(needed.heartbeat_threshold, threshold_for(target_ns)))


def _needed_ns(cluster: O2cb, storage: Storage) -> int:
    """The least self-fence time."""
    stall_ns = storage.longest_ns
    outage_ns = storage.outage_ns
    fails_ns = storage.fails_after_ns
    if negotiates(cluster, storage) and (fails_ns is None or (outage_ns is not None and outage_ns <= fails_ns)):
        outage_ns = 0  # everybody hangs, nobody fences
    if stall_ns is None or outage_ns is None:
        raise ValueError("no heartbeat threshold outlasts a stall without end")
    around_ns = PERIOD_NS + storage.latency_ns + storage.jitter_ns
    return max(stall_ns, outage_ns) + around_ns
