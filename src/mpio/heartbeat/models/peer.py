"""Another node as a timing model sees it."""

from mpio.events import Kind
from mpio.heartbeat.machine import Happened, PeerState, PeerStatus
from mpio.heartbeat.models.beat import Beat

LIVE_CHANGES = 2
"""Changes until a node is live: one may be an old write that lands late."""


class Peer:
    """Live after some changes; dead when unchanged for long enough, in time and in samples.

    Samples count because an observer that could not read must not blame others for it.
    """

    __slots__ = ("beat", "changed_at", "changes", "connected", "node", "samples", "state")

    def __init__(self, node: int) -> None:
        self.node = node
        self.state = PeerState.UNKNOWN
        self.beat: Beat | None = None
        self.changed_at: int | None = None
        self.changes = 0
        self.samples = 0
        self.connected = True

    @property
    def is_alive(self) -> bool:
        """Whether it may be alive."""
        return self.state in (PeerState.SILENT, PeerState.LIVE)

    def observe(self, beat: Beat | None, dead_ns: int, period_ns: int, now: int) -> list[Happened]:
        """A good read has shown its slot: `None` if there is no heartbeat in it. It is read once a period."""
        if beat is None or (self.beat is not None and beat == self.beat):
            return self._unchanged(dead_ns, period_ns, now)
        old, self.beat, self.samples = self.beat, beat, 0
        self.changed_at = now
        if beat.generation == 0:
            was_alive, self.state = self.is_alive, PeerState.LEFT
            return [Happened(Kind.PEER_LEFT, {"node": self.node})] if was_alive else []
        if old is None or old.generation != beat.generation:
            restarted, self.state = self.is_alive, PeerState.SILENT
            self.changes = 0 if old is None else 1
            fields = {"node": self.node, "old": 0 if old is None else old.generation, "new": beat.generation}
            return [Happened(Kind.PEER_RESTARTED, {**fields})] if restarted else []
        self.changes += 1
        if self.state is not PeerState.SILENT or self.changes < LIVE_CHANGES:
            return []
        self.state = PeerState.LIVE
        return [Happened(Kind.PEER_LIVE, {"node": self.node, "generation": beat.generation})]

    def status(self, dead_ns: int, now: int) -> PeerStatus:
        """What is known of it."""
        age = None if self.changed_at is None else now - self.changed_at
        dead_in = max(0, dead_ns - age) if self.is_alive and age is not None else None
        generation = 0 if self.beat is None else self.beat.generation
        return PeerStatus(self.node, self.state, age, dead_in, generation, self.connected)

    def _unchanged(self, dead_ns: int, period_ns: int, now: int) -> list[Happened]:
        self.samples += 1
        if not self.is_alive or self.beat is None or self.changed_at is None:
            return []
        if now - self.changed_at < dead_ns or self.samples * period_ns < dead_ns:
            return []
        self.state = PeerState.DEAD
        return [Happened(Kind.PEER_DEAD, {
            "node": self.node, "generation": self.beat.generation, "cause": f"{self.samples} equal samples"})]
