"""What the timing models share: a cycle of reading all slots and writing the own one, and an end to all patience.

A stack is described by its times (`Pace`) and by what its limit counts from (`Since`). There is no cluster network here
but for the news of who is connected, no poison, and no quorum.
"""

from dataclasses import dataclass
from enum import Enum, auto

from mpio.events import Kind
from mpio.heartbeat.life import Life
from mpio.heartbeat.machine import (
    IO_MAX,
    Action,
    Cause,
    Connected,
    Disconnected,
    Extend,
    Held,
    Input,
    Leave,
    NodeState,
    Poison,
    Reachable,
    Read,
    ReadDone,
    Received,
    Status,
    Write,
    WriteDone,
)
from mpio.heartbeat.models.beat import Beat, parse, render
from mpio.heartbeat.models.peer import Peer
from mpio.units import format_duration

_MEMBER = (NodeState.RUNNING, NodeState.HUNG)
_ACTIVE = (NodeState.JOINING, *_MEMBER)


class Since(Enum):
    """What a node's limit counts from."""

    ISSUE = auto()
    """The issue of the last good write."""
    COMPLETION = auto()
    """Its completion."""
    STALL = auto()
    """The begin of the first cycle after it, as long as that is not done: only I/O that is out counts."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A stack's times, in ns.

    Attributes:
        period_ns: from one cycle to the next; counted from the write's issue with Since.ISSUE, else from the begin.
        limit_ns: a node ends after this; strictly less is survived.
        warn_ns: a heartbeat is late after this.
        watchdog_ns: the node is surely stopped so long after its limit began to count.
        dead_ns: others call this node dead when it has not changed for so long.
        patience_ns: a read is given up after this; 0 never. A write never is: it might land later.
        pause_ns: after a cycle that failed.
        play_ns: how late a cycle may begin because a daemon looks at the time only now and then.
    """

    period_ns: int
    limit_ns: int
    warn_ns: int
    watchdog_ns: int
    dead_ns: int
    patience_ns: int = 0
    pause_ns: int = 0
    play_ns: int = 0


class Cycle(Life):
    """The machine of all timing models. A stack gives its pace, which may change with what it sees."""

    def __init__(self, node: int, nodes: tuple[int, ...], generation: int, since: Since, sector: int = 512) -> None:
        if node not in nodes or list(nodes) != sorted(frozenset(nodes)):
            raise ValueError(f"nodes: expected each once, ascending, with {node} among them; found {nodes}")
        if not generation:
            raise ValueError("generation: expected a random number, found 0, which says that a node has left")
        super().__init__(node)
        self.generation = generation
        self.peers = {peer: Peer(peer) for peer in nodes if peer != node}
        self._first, self._count = nodes[0], nodes[-1] - nodes[0] + 1
        self._since = since
        self._sector = sector
        self._tag = 0
        self._given_up = 0
        self._reading: int | None = None  # tags of what the cycle waits for
        self._writing: int | None = None
        self._begun_at = 0
        self._written_at = 0
        self._next_cycle: int | None = None
        self._base: int | None = None
        self._sequence = 0
        self._said_goodbye = False

    def pace(self) -> Pace:
        """The stack's times as things stand."""
        raise NotImplementedError

    # the calls of the interface

    def start(self, now: int) -> list[Action]:
        """Join with the first good cycle."""
        assert self.state is NodeState.IDLE, self.state
        self._become(NodeState.JOINING, "started")
        self._begin(now)
        return self._taken_actions()

    def handle(self, item: Input, now: int) -> list[Action]:
        """Take an input."""
        self._expire(now)
        match item:
            case ReadDone():
                self._read_done(item, now)
            case WriteDone():
                self._write_done(item, now)
            case Connected() | Disconnected():
                if item.peer in self.peers:
                    self.peers[item.peer].connected = isinstance(item, Connected)
            case Leave():
                self._leave(now)
            case Received() | Reachable() | Poison() | Held():
                pass
        self._expire(now)  # a limit may have become shorter
        return self._taken_actions()

    def handle_timer(self, now: int) -> list[Action]:
        """End, warn, give a read up, begin a cycle: what is due."""
        self._expire(now)
        pace = self.pace()
        if self.state is NodeState.RUNNING and self._base is not None and now >= self._base + pace.warn_ns:
            self._become(NodeState.HUNG, "late")
            self._tell(Kind.HEARTBEAT_LATE, margin_ns=self._base + pace.limit_ns - now, budget_ns=pace.limit_ns)
        if self._reading is not None and pace.patience_ns and now >= self._begun_at + pace.patience_ns:
            self._reading = None
            self._given_up += 1
            self._next_cycle = now + pace.pause_ns
        if self._next_cycle is not None and now >= self._next_cycle and self._given_up < IO_MAX - 2:
            self._begin(now)
        return self._taken_actions()

    def next_deadline(self) -> int | None:
        """The first of what is due."""
        pace = self.pace()
        due = []
        if self._next_cycle is not None and self._given_up < IO_MAX - 2:
            due.append(self._next_cycle)
        if self._reading is not None and pace.patience_ns:
            due.append(self._begun_at + pace.patience_ns)
        if self._base is not None and self.state in (*_MEMBER, NodeState.LEAVING):
            due.append(self._base + pace.limit_ns)
            if self.state is NodeState.RUNNING:
                due.append(self._base + pace.warn_ns)
        return min(due, default=None)

    def status(self, now: int) -> Status:
        """How things stand."""
        limit = self.pace().limit_ns
        margin = None if self.state not in _MEMBER else limit if self._base is None else self._base + limit - now
        return Status(
            self.node, self.state, self.generation, margin, limit, True, 0,
            tuple(peer.status(self._dead_ns(peer), now) for peer in self.peers.values()), self._cause, self._reason,
        )

    # what comes of I/O

    def _begin(self, now: int) -> None:
        self._next_cycle = None
        self._begun_at = now
        if self._since is Since.STALL and self._base is None and self.state in _MEMBER:
            self._base = now
        self._tag += 1
        self._reading = self._tag
        self._actions.append(Read(self._tag, self._first * self._sector, self._count * self._sector))

    def _read_done(self, item: ReadDone, now: int) -> None:
        if item.tag != self._reading:
            self._given_up -= self._given_up > 0
            return
        self._reading = None
        if self.state not in _ACTIVE:
            return
        if item.data is None or len(item.data) != self._count * self._sector:
            self._fail(item.error or "a short read", now)
            return
        beats = [parse(item.data[at:at + self._sector]) for at in range(0, len(item.data), self._sector)]
        mine = beats[self.node - self._first]
        if self.state in _MEMBER and mine is not None and mine.generation != self.generation:
            self._tell(Kind.SLOT_TAKEN, cause=f"generation {mine.generation:#x}")
            self._fence(Cause.SLOT, f"another node writes the slot of node {self.node}")
            return
        period = self.pace().period_ns
        for peer in self.peers.values():
            self._actions += peer.observe(beats[peer.node - self._first], self._dead_ns(peer), period, now)
        self._written_at = now
        self._write(Beat(self.node, self.generation, self._sequence, self.pace().dead_ns))

    def _write(self, beat: Beat) -> None:
        self._sequence += 1
        self._tag += 1
        self._writing = self._tag
        self._actions.append(Write(self._tag, self.node * self._sector, render(beat, self._sector)))

    def _write_done(self, item: WriteDone, now: int) -> None:
        if item.tag != self._writing:
            return
        self._writing = None
        if self.state is NodeState.LEAVING:
            self._said(item.error)
        elif self.state in _ACTIVE and item.error:
            self._fail(item.error, now)
        elif self.state in _ACTIVE:
            self._succeed(now)

    def _succeed(self, now: int) -> None:
        pace = self.pace()
        if self.state is NodeState.HUNG and self._base is not None:
            self._tell(Kind.HEARTBEAT_RESUMED, margin_ns=self._base + pace.limit_ns - now)
        if self.state is not NodeState.RUNNING:
            self._become(NodeState.RUNNING, "heartbeats")
        counted = self._written_at if self._since is Since.ISSUE else now
        self._base = None if self._since is Since.STALL else counted
        begun = self._written_at if self._since is Since.ISSUE else self._begun_at
        self._next_cycle = max(now, begun + pace.period_ns) + pace.play_ns
        self._actions.append(Extend(counted + pace.watchdog_ns))

    def _fail(self, cause: str, now: int) -> None:
        self._tell(Kind.HEARTBEAT_FAILED, cause=cause)
        self._next_cycle = now + self.pace().pause_ns

    # the own life

    def _expire(self, now: int) -> None:
        if self._base is None or self.state not in (*_MEMBER, NodeState.LEAVING):
            return
        waited = now - self._base
        if waited < self.pace().limit_ns:
            return
        if self.state is NodeState.LEAVING:
            self._stop(NodeState.LEFT, "could not say goodbye: the storage hangs")
        else:
            self._fence(Cause.STORAGE, f"no heartbeat for {format_duration(waited)}")

    def _fence(self, cause: Cause, reason: str) -> None:
        self._rest()
        super()._fence(cause, reason)

    def _leave(self, now: int) -> None:
        if self.state is NodeState.IDLE or (self.state is NodeState.JOINING and not self._sequence):
            self._stop(NodeState.LEFT, "left before it had written anything")
        elif self.state in _ACTIVE:
            self._become(NodeState.LEAVING, "asked to leave")
            self._next_cycle = self._reading = None
            self._base = now if self._base is None else self._base
            if self._writing is None:  # else the heartbeat that is out would land on top of it
                self._write(self._goodbye())

    def _said(self, error: str) -> None:
        """A write of one that leaves has ended: the last heartbeat, or the goodbye itself."""
        if not self._said_goodbye:
            self._write(self._goodbye())
        elif error:
            self._stop(NodeState.LEFT, f"could not say goodbye: {error}")
        else:
            self._stop(NodeState.LEFT, "said goodbye")

    def _goodbye(self) -> Beat:
        self._said_goodbye = True
        return Beat(self.node, 0, self._sequence, self.pace().dead_ns)

    def _stop(self, state: NodeState, reason: str) -> None:
        self._rest()
        self._become(state, reason)

    def _rest(self) -> None:
        self._next_cycle = self._reading = self._writing = self._base = None

    def _dead_ns(self, peer: Peer) -> int:
        """By the peer's own settings, as soon as they are known."""
        return self.pace().dead_ns if peer.beat is None else peer.beat.dead_ns
