"""One peer as this node sees it through its slot: live, dead, left, or another life of the same number.

A peer is dead when its slot showed no change in enough samples *and* for the whole dead timeout, counted from the
completion of the read that showed the last change to the issue of the read that shows it unchanged: both ends are on
the safe side. What cannot be read, or makes no sense, is no sample: nobody is accused of this node's own trouble. A
life that has ended stays ended: a late write of an old generation does not bring it back, only a new one does.
"""

from mpio.events import Kind
from mpio.heartbeat.formats import own
from mpio.heartbeat.formats.broken import Broken, Why
from mpio.heartbeat.machine import Happened, PeerState, PeerStatus
from mpio.heartbeat.timing import Timing, least_dead_ns
from mpio.units import format_duration

LIVE_CHANGES = 2
"""Changes until a silent peer is live."""
GONE_MAX = 8
"""How many ended lives of a number are remembered."""


class Peer:
    """One other node.

    Attributes:
        node, state, generation: who, what, and which life of it. `slot`: the last one seen, of whatever life.
        changed_at: completion of the read that showed the last change; None before the first.
        since: from when the dead timeout counts; later than `changed_at` after a promise not to judge.
        samples, changes: equal ones since then; changes seen in this life.
        connected: whether the cluster network reaches it.
        seen: whether its slot has been read at all. unreadable_since: when it was not, for the first time in a row.
        mismatched: whether its timing differs from this node's.
    """

    __slots__ = (
        "_gone", "_timing", "changed_at", "changes", "connected", "generation", "mismatched", "node", "samples", "seen",
        "since", "slot", "state", "unreadable_since",
    )

    def __init__(self, node: int, timing: Timing) -> None:
        self.node = node
        self.state = PeerState.UNKNOWN
        self.generation = 0
        self.slot: own.Slot | None = None
        self.changed_at: int | None = None
        self.since = 0
        self.samples = 0
        self.changes = 0
        self.connected = False
        self.seen = False
        self.unreadable_since: int | None = None
        self.mismatched = False
        self._timing = timing
        self._gone: tuple[int, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether it may be alive: it is live, or not silent for long enough."""
        return self.state in (PeerState.LIVE, PeerState.SILENT)

    @property
    def dead_ns(self) -> int:
        """How long it must be unchanged: this node's dead timeout, or more if its own deadline needs more."""
        if self.slot is None:
            return self._timing.dead_ns
        stopped_ns = self.slot.timing.deadline_ns + self._timing.fence_ns + self._timing.drain_ns
        return max(self._timing.dead_ns, least_dead_ns(stopped_ns, self._timing.rate_ppm))

    def hold_off(self, now: int) -> None:
        """Count the dead timeout anew: a promise not to call it dead before that has run out once more."""
        self.since = max(self.since, now)
        self.samples = 0

    def is_late(self, now: int) -> bool:
        """Whether its heartbeat is overdue: its storage cannot be called safe."""
        return self.changed_at is None or now - self.changed_at > 3 * self._timing.period_ns

    def unread(self, cause: str, now: int) -> list[Happened]:
        """Its slot could not be read, though others could."""
        if self.unreadable_since is not None:
            return []
        self.unreadable_since = now
        return [Happened(Kind.PEER_UNREADABLE, {"node": self.node, "cause": cause})]

    def observe(self, found: own.Slot | Broken, issued: int, now: int) -> list[Happened]:
        """Its slot was read: by a read issued at `issued` that ended `now`."""
        if isinstance(found, Broken) and found.why is Why.EMPTY and self.slot is None:
            self.seen = True
            return []
        if isinstance(found, Broken):
            return self.unread(found.words, now)
        was_seen, self.seen = self.seen, True
        self.unreadable_since = None
        if found.generation == 0:
            return self._said_goodbye(found, now)
        if found.generation in self._gone or (self.state is PeerState.DEAD and found.generation == self.generation):
            return self._equal(issued) if self.alive else []
        if found.generation != self.generation:
            return self._new_life(found, now, changes=int(was_seen))
        if found.held:
            return self.is_held()
        if self.slot is not None and found.sequence == self.slot.sequence:
            return self._equal(issued)
        return self._changed(found, now)

    def is_held(self) -> list[Happened]:
        """It says itself that it is fenced and that this holds."""
        if not self.alive:
            return []
        acknowledged = Happened(Kind.POISON_ACKNOWLEDGED, {"node": self.node})
        return [acknowledged, *self._dead("it acknowledged that it is fenced")]

    def status(self, now: int) -> PeerStatus:
        """What is known of it."""
        age = None if self.changed_at is None else now - self.changed_at
        dead_in = max(0, self.since + self.dead_ns - now) if self.alive else None
        generation = 0 if self.state is PeerState.LEFT else self.generation
        score = None if self.slot is None else self.slot.score
        return PeerStatus(self.node, self.state, age, dead_in, generation, self.connected, score)

    def _said_goodbye(self, found: own.Slot, now: int) -> list[Happened]:
        if self.state is PeerState.LEFT:
            return []
        was_known = self.alive
        self._bury()
        self.state, self.slot, self.changed_at = PeerState.LEFT, found, now
        return [Happened(Kind.PEER_LEFT, {"node": self.node})] if was_known else []

    def _new_life(self, found: own.Slot, now: int, changes: int) -> list[Happened]:
        happened: list[Happened] = []
        if self.alive:
            happened.append(Happened(Kind.PEER_RESTARTED, {
                "node": self.node, "old": self.generation, "new": found.generation}))
        self._bury()
        self.state, self.generation, self.slot = PeerState.SILENT, found.generation, found
        self.changes = changes
        self.changed_at, self.since, self.samples = now, now, 0
        self.mismatched = False
        if found.held:
            self.state = PeerState.DEAD
        return happened

    def _changed(self, found: own.Slot, now: int) -> list[Happened]:
        self.slot, self.changed_at, self.samples = found, now, 0
        self.since = max(self.since, now)
        self.changes += 1
        if self.state is not PeerState.SILENT or self.changes < LIVE_CHANGES:
            return []
        self.state = PeerState.LIVE
        return [Happened(Kind.PEER_LIVE, {"node": self.node, "generation": self.generation}), *self._compared(found)]

    def _compared(self, found: own.Slot) -> list[Happened]:
        mine = own.Timing(self._timing.period_ns, self._timing.deadline_ns, self._timing.dead_ns)
        if found.timing == mine:
            return []
        self.mismatched = True
        return [Happened(Kind.PEER_MISMATCHED, {
            "node": self.node, "expected": _words(mine), "found": _words(found.timing)})]

    def _equal(self, issued: int) -> list[Happened]:
        self.samples += 1
        if not self.alive or self.samples < self._timing.dead_samples or issued - self.since < self.dead_ns:
            return []
        return self._dead(f"unchanged for {format_duration(issued - self.since)}, {self.samples} samples")

    def _dead(self, cause: str) -> list[Happened]:
        self.state = PeerState.DEAD
        return [Happened(Kind.PEER_DEAD, {"node": self.node, "generation": self.generation, "cause": cause})]

    def _bury(self) -> None:
        """This life has ended."""
        if self.generation and self.generation not in self._gone:
            self._gone = (*self._gone, self.generation)[-GONE_MAX:]
        self.generation = 0


def _words(timing: own.Timing) -> str:
    return (f"period {format_duration(timing.period_ns)}, deadline {format_duration(timing.deadline_ns)}, "
            f"dead {format_duration(timing.dead_ns)}")
