"""mpio's own heartbeat: one node of a cluster on shared storage, safe before it is available.

Each period is a round: read the own slot (does somebody else write it?), write the next heartbeat, read all slots. The
round is good if that last read shows what was written; the deadline of the self-fence then counts from the *issue* of
that write. The same read shows the peers, and pills meant for this node: whoever is poisoned either reads it with its
next good round or has none, and is fenced within its deadline in both cases. A round that hangs is not waited for:
after the timings' patience the next one is begun beside it.

What a pill's victim acknowledges is that it *is* stopped, never that it will be: only after the shell's `Held`.

A node joins in two steps. It looks at its own slot until that is surely free: a slot in use must not have changed for
the whole dead timeout. Then it heartbeats, and is a member once every other node is known to be live and connected,
dead or gone. A node with the wrong timing, or whose number is taken, is refused before it holds anything.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from mpio.events import Kind
from mpio.heartbeat import quorum
from mpio.heartbeat.formats import own
from mpio.heartbeat.formats.broken import Broken, Why
from mpio.heartbeat.life import Life
from mpio.heartbeat.machine import (
    Action,
    Cause,
    Connected,
    Disconnected,
    Extend,
    Held,
    Input,
    Leave,
    NodeState,
    PeerState,
    Poison,
    Reachable,
    Read,
    ReadDone,
    Received,
    Send,
    Status,
    Write,
    WriteDone,
)
from mpio.heartbeat.negotiation import Message, Negotiation, Word, parse, render
from mpio.heartbeat.observer import LIVE_CHANGES, Peer
from mpio.heartbeat.region import Holds, Layout
from mpio.heartbeat.split import Split, listed
from mpio.heartbeat.sweep import Slots, Sweep
from mpio.heartbeat.timing import Timing
from mpio.units import format_duration

ROUNDS_MAX = 8
"""Rounds that hang side by side; no more are begun until the storage gives one back."""
_SCORE_MAX = (1 << 32) - 1
_ACTIVE = (NodeState.JOINING, NodeState.RUNNING, NodeState.HUNG)
_MEMBER = (NodeState.RUNNING, NodeState.HUNG)


@dataclass(frozen=True, slots=True)
class Settings:
    """One node of a region. Raises ValueError for numbers that do not fit.

    Attributes:
        node: this node; nodes: all configured ones, this one included.
        generation: of this life: random, never 0, never the same twice.
        region: the identity in the region's header.
        timing: equal on all nodes. layout: where the slots are.
        name: for people.
        network: whether there is a cluster network; without, there is no negotiation and no split.
    """

    node: int
    nodes: tuple[int, ...]
    generation: int
    region: bytes
    timing: Timing = field(default_factory=Timing)
    layout: Layout = field(default_factory=lambda: Layout(Holds.OWN))
    name: str = ""
    network: bool = True

    def __post_init__(self) -> None:
        if list(self.nodes) != sorted(frozenset(self.nodes)) or self.node not in self.nodes:
            raise ValueError(f"nodes: expected each once, ascending, with {self.node} among them; found {self.nodes}")
        if self.nodes[0] < 0 or self.nodes[-1] >= self.layout.slots:
            raise ValueError(
                f"nodes: expected numbers from 0 to {self.layout.slots - 1}, as the region has {self.layout.slots} "
                f"slots; found {self.nodes}")
        if not self.generation:
            raise ValueError("generation: expected a random number, found 0, which says that a node has left")

    @property
    def on_disk(self) -> own.Timing:
        """The part of the timing that stands in the slot."""
        return own.Timing(self.timing.period_ns, self.timing.deadline_ns, self.timing.dead_ns)


class Step(Enum):
    """What a round waits for."""

    CHECK = auto()
    """The own slot, before anything is written."""
    WRITE = auto()
    SWEEP = auto()
    """All slots."""
    GOODBYE = auto()
    ACKNOWLEDGE = auto()


class _Round:
    """One heartbeat: from the check of the own slot to the sight of all."""

    __slots__ = ("sequence", "started", "sweep", "written_at")

    def __init__(self, now: int) -> None:
        self.started = now
        self.sequence = 0
        self.written_at = now
        self.sweep: Sweep | None = None


class Own(Life):
    """The machine; see `machine.Heartbeat` for its calls."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.node)
        self.settings = settings
        self.generation = settings.generation
        self.peers = {node: Peer(node, settings.timing) for node in settings.nodes if node != settings.node}
        self._timing = settings.timing
        self._layout = settings.layout
        self._slots = Slots(settings.region, settings.layout, settings.nodes)
        self._tag = 0
        self._out: dict[int, tuple[Step, _Round, int]] = {}
        self._sequence = 0
        self._verified = 0
        self._newest: _Round | None = None
        self._next_round: int | None = None
        self._observed_at = -1
        self._base: int | None = None
        self._announced_at: int | None = None
        self._joining_since = 0
        self._predecessor: own.Slot | Broken | None = None
        self._predecessor_since = 0
        self._slot_changes = 0
        self._good_rounds = 0
        self._failing = False
        self._taken = ""
        self._overtaken: tuple[int, ...] = ()
        self._score = 0
        self._pills: dict[int, tuple[int, int]] = {}
        """Generation that is meant, and the last heartbeat written without the pill, for each poisoned node."""
        self._negotiation = Negotiation(settings.node, settings.nodes, settings.generation, settings.timing.period_ns)
        self._split = Split(settings.timing)

    # the calls of the interface

    def start(self, now: int) -> list[Action]:
        """Begin to look whether the own slot is free."""
        assert self.state is NodeState.IDLE, self.state
        self._joining_since = now
        self._become(NodeState.JOINING, "started")
        self._begin_round(now)
        return self._taken_actions()

    def handle(self, item: Input, now: int) -> list[Action]:
        """Take an input."""
        if self.state in (NodeState.LEFT, NodeState.REFUSED):
            return []
        self._expire(now)
        match item:
            case ReadDone():
                self._read_done(item, now)
            case WriteDone():
                self._write_done(item, now)
            case Received():
                self._received(item, now)
            case Connected() | Disconnected():
                self._connection(item.peer, isinstance(item, Connected), now)
            case Reachable():
                self._reachable(item.score)
            case Poison():
                self._poison(item.node, now)
            case Leave():
                self._leave(now)
            case Held():
                self._held(now)
        return self._taken_actions()

    def handle_timer(self, now: int) -> list[Action]:
        """Fence, ask, begin a round: what is due."""
        self._expire(now)
        if self.state is NodeState.RUNNING and self._base is not None and now >= self._base + self._half:
            self._hang(now)
        if self.state is NodeState.HUNG and self._negotiation.ask_at is not None and now >= self._negotiation.ask_at:
            self._ask(now)
        if self._next_round is not None and now >= self._next_round:
            self._next_round = None
            if self.state in _ACTIVE:
                self._begin_round(now)
            elif self.state is NodeState.LEAVING and self._base is None:
                self._become(NodeState.LEFT, "could not say goodbye: the storage hangs")
            elif self.state is NodeState.LEAVING:
                self._say_goodbye(now)
        return self._taken_actions()

    def next_deadline(self) -> int | None:
        """The first of: the self-fence, the point of asking, the next question, the next round."""
        due = [] if self._next_round is None else [self._next_round]
        if self._base is not None and self.state in (*_MEMBER, NodeState.LEAVING):
            due.append(self._base + self._timing.deadline_ns)
            if self.state is NodeState.RUNNING:
                due.append(self._base + self._half)
        if self.state is NodeState.HUNG and self._negotiation.ask_at is not None:
            due.append(self._negotiation.ask_at)
        return min(due, default=None)

    def status(self, now: int) -> Status:
        """How things stand."""
        margin = None
        if self._base is not None and self.state in (*_MEMBER, NodeState.LEAVING):
            margin = self._base + self._timing.deadline_ns - now
        return Status(
            self.node, self.state, self.generation, margin, self._timing.deadline_ns, self._split.quorum, self._score,
            tuple(peer.status(now) for peer in self.peers.values()), self._cause, self._reason,
        )

    # the own life

    @property
    def _half(self) -> int:
        return self._timing.deadline_ns // 2

    def _expire(self, now: int) -> None:
        """The self-fence comes before everything else that is due."""
        if self._base is None or self.state not in (*_MEMBER, NodeState.LEAVING):
            return
        if now < self._base + self._timing.deadline_ns:
            return
        since = format_duration(now - self._base)
        if self._taken:
            self._fence(Cause.SLOT, f"no heartbeat of its own for {since}: {self._taken}")
        else:
            how = "storage fails" if self._failing else "storage hangs"
            self._fence(Cause.STORAGE, f"no good heartbeat for {since}: {how}")

    def _fence(self, cause: Cause, reason: str) -> None:
        self._next_round = None
        self._negotiation.end()
        super()._fence(cause, reason)

    def _refuse(self, reason: str) -> None:
        self._next_round = None
        super()._refuse(reason)

    def _held(self, now: int) -> None:
        if self.state is not NodeState.FENCED or not self._sequence:
            return
        self._sequence += 1
        self._out.clear()
        self._issue_write(_Round(now), Step.ACKNOWLEDGE, self._rendered(held=True), now)
        word = render(Message(Word.HELD, self.generation))
        self._actions.extend(Send(peer.node, word) for peer in self.peers.values() if peer.connected)

    def _leave(self, now: int) -> None:
        if self.state is NodeState.IDLE or (self.state is NodeState.JOINING and not self._sequence):
            self._next_round = None
            self._become(NodeState.LEFT, "left before it had written anything")
        elif self.state in _ACTIVE:
            self._negotiation.end()
            self._become(NodeState.LEAVING, "asked to leave")
            self._next_round = None if self._base is not None else now + self._timing.deadline_ns
            self._say_goodbye(now)

    def _say_goodbye(self, now: int) -> None:
        """Once no heartbeat is on its way that could land on top of it."""
        if any(step in (Step.WRITE, Step.GOODBYE) for step, _, _ in self._out.values()):
            return
        self._sequence += 1
        self._issue_write(_Round(now), Step.GOODBYE, self._rendered(generation=0), now)

    # rounds

    def _begin_round(self, now: int) -> None:
        if len(self._out) >= ROUNDS_MAX:
            return
        self._newest = _Round(now)
        self._next_round = now + max(self._timing.patience_ns, self._timing.period_ns)
        if self._announced_at is None:
            self._read_all(self._newest, now)
        else:
            self._issue_read(self._newest, Step.CHECK, *self._slots.one(self.node), now)

    def _end_round(self, round_: _Round, now: int) -> None:
        """Whatever came of it: the next one a period after its start, if no newer one has been begun."""
        if self.state in _ACTIVE and (round_ is self._newest or self._next_round is None):
            self._next_round = max(now, round_.started + self._timing.period_ns)

    def _fail_round(self, round_: _Round, cause: str, now: int) -> None:
        if not self._failing and self.state in (*_ACTIVE, NodeState.LEAVING):
            self._tell(Kind.HEARTBEAT_FAILED, cause=cause)
        self._failing = True
        self._negotiation.end()
        self._end_round(round_, now)

    def _issue_read(self, round_: _Round, step: Step, offset: int, length: int, now: int) -> None:
        self._tag += 1
        self._out[self._tag] = (step, round_, now)
        self._actions.append(Read(self._tag, offset, length))

    def _issue_write(self, round_: _Round, step: Step, data: bytes, now: int) -> None:
        self._tag += 1
        self._out[self._tag] = (step, round_, now)
        self._actions.append(Write(self._tag, self._layout.slot(self.node), data))

    def _rendered(self, *, generation: int | None = None, held: bool = False) -> bytes:
        pills = tuple(own.Poison(node, meant) for node, (meant, _) in self._pills.items())
        return own.render_slot(own.Slot(
            self.settings.region, self.node, self.generation if generation is None else generation, self._sequence,
            self.settings.on_disk, self.state in _MEMBER, held, self._score,
            tuple(node for node, peer in self.peers.items() if peer.connected), self.settings.name, pills,
        ), self._layout.sector)

    def _read_all(self, round_: _Round, now: int) -> None:
        round_.sweep = Sweep(self._slots, now)
        self._sweep_on(round_, round_.sweep, now)

    def _sweep_on(self, round_: _Round, sweep: Sweep, now: int) -> None:
        if sweep.next is not None:
            self._issue_read(round_, Step.SWEEP, *sweep.next, now)
        elif sweep.found:
            self._seen(round_, sweep, now)
        else:
            self._fail_round(round_, f"read of the slots: {sweep.errors[self.node]}", now)

    def _read_done(self, item: ReadDone, now: int) -> None:
        step, round_, _ = self._out.pop(item.tag, (None, None, 0))
        if step is None or round_ is None or self.state not in _ACTIVE:
            self._reaped(now)
        elif step is Step.CHECK:
            self._checked(round_, item, now)
        elif round_.sweep is not None:
            round_.sweep.take(item.data, item.error)
            self._sweep_on(round_, round_.sweep, now)

    def _write_done(self, item: WriteDone, now: int) -> None:
        step, round_, _ = self._out.pop(item.tag, (None, None, 0))
        if step is Step.GOODBYE and self.state is NodeState.LEAVING:
            if not item.error:
                self._next_round = None
                self._become(NodeState.LEFT, "said goodbye")
            elif self._base is None:
                self._become(NodeState.LEFT, f"could not say goodbye: {item.error}")
            else:
                self._next_round = now + self._timing.period_ns
        elif step is not Step.WRITE or round_ is None or self.state not in _ACTIVE:
            self._reaped(now)
        elif item.error:
            self._fail_round(round_, f"write of the own slot: {item.error}", now)
        else:
            self._read_all(round_, now)

    def _reaped(self, now: int) -> None:
        """An I/O that nobody waits for has ended: there may be room again, or nothing left to wait for."""
        if self.state is NodeState.LEAVING:
            self._say_goodbye(now)

    def _checked(self, round_: _Round, item: ReadDone, now: int) -> None:
        if item.data is None:
            self._fail_round(round_, f"read of the own slot: {item.error}", now)
            return
        found = self._slots.parsed(self.node, item.data)
        if self._is_intruder(found) or (self._verified and not self._is_own(found, self._verified)):
            self._distrust(found, self._verified)
        if self._is_intruder(found):
            self._end_round(round_, now)
            return
        self._sequence += 1
        overtaken = (older.sequence for step, older, _ in self._out.values() if step is Step.WRITE)
        self._overtaken = (*self._overtaken, *overtaken)[-ROUNDS_MAX:]
        round_.sequence, round_.written_at = self._sequence, now
        self._issue_write(round_, Step.WRITE, self._rendered(), now)

    def _is_intruder(self, found: own.Slot | Broken) -> bool:
        """Whether somebody else wrote this; the life of this number before this one may have, and late."""
        if isinstance(found, Broken) or found.generation in (0, self.generation):
            return False
        before = self._predecessor
        return not isinstance(before, own.Slot) or found.generation != before.generation

    def _is_own(self, found: own.Slot | Broken, sequence: int) -> bool:
        """Whether this is at least as new as a heartbeat that was written."""
        return isinstance(found, own.Slot) and found.generation == self.generation and found.sequence >= sequence

    def _distrust(self, found: own.Slot | Broken, expected: int) -> None:
        """The slot does not hold what it must: nothing is extended. An overtaken own write is nobody's fault."""
        if isinstance(found, own.Slot) and found.generation == self.generation and found.sequence in self._overtaken:
            return
        if self._is_intruder(found):
            words = _intruder(self.node, found)
        else:
            words = f"a write was lost: expected sequence {expected} in slot {self.node}, found {_what(found)}"
        if not self._taken:
            self._tell(Kind.SLOT_TAKEN, cause=words)
        self._taken = words
        if self.state is NodeState.JOINING and self._is_intruder(found):
            self._refuse(f"{words}: give each node a number of its own")

    def _seen(self, round_: _Round, sweep: Sweep, now: int) -> None:
        """All slots have been read: pills first, then the others, then the own slot."""
        if self._poisoned(sweep.found):
            return
        if sweep.issued >= self._observed_at:
            self._observed_at = now
            self._observe(sweep, now)
        mine = sweep.found.get(self.node)
        if mine is None:
            self._fail_round(round_, f"read of the own slot: {sweep.errors[self.node]}", now)
            return
        if self._announced_at is None:
            self._watch(mine, sweep.issued, now)
        else:
            self._verify(mine, round_, now)
        self._end_round(round_, now)
        if self.state is NodeState.JOINING:
            self._try_to_join(now)
        elif self.state in _MEMBER:
            self._look_for_split(now)

    def _observe(self, sweep: Sweep, now: int) -> None:
        for node, peer in self.peers.items():
            if node in sweep.found:
                self._actions.extend(peer.observe(sweep.found[node], sweep.issued, now))
            else:
                self._actions.extend(peer.unread(sweep.errors[node], now))
            if node in self._pills and (not peer.alive or peer.generation != self._pills[node][0]):
                del self._pills[node]

    def _verify(self, mine: own.Slot | Broken, round_: _Round, now: int) -> None:
        """The own slot after a write: only what is seen to be there counts."""
        if not self._is_own(mine, round_.sequence):
            self._distrust(mine, round_.sequence)
            return
        self._verified = max(self._verified, round_.sequence)
        self._failing, self._taken = False, ""
        self._good_rounds += 1
        if self._base is not None:
            self._extend(max(self._base, round_.written_at), now)
        elif self.state is NodeState.JOINING:
            assert self._announced_at is not None
            if now - self._announced_at >= self._timing.deadline_ns:
                self._refuse(f"no heartbeat for {format_duration(now - self._announced_at)} while joining: others may "
                             "have taken this life for dead; start again")
                return
            self._announced_at = round_.written_at

    def _extend(self, base: int, now: int) -> None:
        """A good heartbeat: the deadline counts from its issue."""
        assert self._base is not None
        least = self._base + self._timing.deadline_ns - now
        self._base = base
        self._actions.append(Extend(base + self._timing.deadline_ns))
        if self.state is NodeState.HUNG and now < base + self._half:
            self._negotiation.end()
            self._become(NodeState.RUNNING, "a good heartbeat")
            self._tell(Kind.HEARTBEAT_RESUMED, margin_ns=least)

    # joining

    def _watch(self, mine: own.Slot | Broken, issued: int, now: int) -> None:
        """Before the first write: is the slot free? One change may be a late write of this number's last life."""
        if isinstance(mine, Broken) and mine.why is not Why.EMPTY:
            self._refuse(f"slot {self.node} cannot be used: {mine.words}; create the region again")
            return
        self._failing = False
        before, self._predecessor = self._predecessor, mine
        if before is None or mine != before:
            self._predecessor_since = now
        if before is None:
            return
        in_use = isinstance(mine, own.Slot) and mine.generation != 0 and not mine.held
        self._slot_changes += mine != before
        if in_use and self._slot_changes >= LIVE_CHANGES:
            self._refuse(f"{_intruder(self.node, mine)}: give each node a number of its own")
        elif not in_use or issued - self._predecessor_since >= self._timing.dead_ns:
            self._announced_at = now

    def _try_to_join(self, now: int) -> None:
        if reason := self._unfit(now):
            self._refuse(reason)
            return
        if self._announced_at is None or self._good_rounds <= LIVE_CHANGES:
            return
        if any(not peer.seen or peer.state is PeerState.SILENT for peer in self.peers.values()):
            return
        if self.settings.network and any(peer.alive and not peer.connected for peer in self.peers.values()):
            return
        self._base = self._announced_at
        self._become(NodeState.RUNNING, "every other node is live and connected, or gone")
        self._actions.append(Extend(self._base + self._timing.deadline_ns))

    def _unfit(self, now: int) -> str:
        """Why this node cannot become a member; empty if it may."""
        patience = self._timing.dead_ns
        for peer in self.peers.values():
            if peer.mismatched and peer.slot is not None:
                theirs, mine = peer.slot.timing, self.settings.on_disk
                return (f"timing differs from that of node {peer.node}: expected deadline "
                        f"{format_duration(theirs.deadline_ns)}, dead {format_duration(theirs.dead_ns)}, period "
                        f"{format_duration(theirs.period_ns)}; found {format_duration(mine.deadline_ns)}, "
                        f"{format_duration(mine.dead_ns)}, {format_duration(mine.period_ns)}")
            if peer.unreadable_since is not None and now - peer.unreadable_since >= patience:
                return f"slot of node {peer.node} cannot be read: nobody could tell whether it lives"
            waited = now - self._joining_since >= 2 * patience
            if self.settings.network and waited and peer.state is PeerState.LIVE and not peer.connected:
                return f"node {peer.node} is live and the cluster network does not reach it"
        return ""

    # late, and negotiating

    def _hang(self, now: int) -> None:
        assert self._base is not None
        margin = self._base + self._timing.deadline_ns - now
        self._tell(Kind.HEARTBEAT_LATE, margin_ns=margin, budget_ns=self._timing.deadline_ns)
        self._become(NodeState.HUNG, "half of the time to the self-fence is gone")
        if self.settings.network and not self._failing and not self._taken:
            self._negotiation.begin(now)

    def _ask(self, now: int) -> None:
        for peer in self.peers.values():
            peer.hold_off(now)
        self._actions.extend(self._negotiation.ask(now))
        self._approved(self._negotiation.own_approval())

    def _approved(self, since: int | None) -> None:
        if since is None or self.state is not NodeState.HUNG or self._base is None or since <= self._base:
            return
        self._base = since
        until = since + self._timing.deadline_ns
        self._tell(Kind.HEARTBEAT_NEGOTIATED, by=self._negotiation.master, until_ns=until)
        self._actions.append(Extend(until))

    def _received(self, item: Received, now: int) -> None:
        peer, message = self.peers.get(item.sender), parse(item.data)
        if peer is None or message is None or self.state not in (*_ACTIVE, NodeState.LEAVING):
            return
        if message.word is Word.HELD:
            if message.generation == peer.generation:
                self._actions.extend(peer.is_held())
            return
        since, answers = self._negotiation.receive(item.sender, message, now)
        self._actions.extend(answers)
        self._approved(since)

    # pills

    def _poison(self, node: int, now: int) -> None:
        if self.state not in _MEMBER:
            return
        if node == self.node:
            self._fence(Cause.POISON, "asked to fence itself")
        elif node in self.peers:
            self._send_pill(self.peers[node], now)

    def _send_pill(self, peer: Peer, now: int) -> None:
        if not peer.alive or peer.node in self._pills or len(self._pills) >= own.POISON_MAX:
            return
        self._pills[peer.node] = (peer.generation, self._sequence)
        self._tell(Kind.POISON_SENT, node=peer.node, generation=peer.generation)
        if self._newest is not None and not self._out and self._next_round is not None:
            self._next_round = now

    def _poisoned(self, found: dict[int, own.Slot | Broken]) -> bool:
        """Whether some slot holds a pill for this life; then this node is fenced."""
        meant = own.Poison(self.node, self.generation)
        for node, slot in found.items():
            if isinstance(slot, own.Slot) and meant in slot.poison:
                sender = "the operator" if node == self._layout.slots else f"node {node}"
                self._tell(Kind.POISON_SEEN, sender=sender)
                cause = Cause.POISON if self._split.quorum or node == self._layout.slots else Cause.QUORUM
                self._fence(cause, f"poisoned by {sender}")
                return True
        return False

    # the cluster network

    def _connection(self, node: int, connected: bool, now: int) -> None:
        peer = self.peers.get(node)
        if peer is None or peer.connected is connected:
            return
        peer.connected = connected
        self._tell(Kind.PEER_CONNECTED if connected else Kind.PEER_DISCONNECTED, node=node)
        if self.state in _MEMBER:
            self._look_for_split(now)

    def _reachable(self, score: int) -> None:
        score = min(max(score, 0), _SCORE_MAX)
        if score != self._score:
            self._tell(Kind.REACHABILITY_CHANGED, old=self._score, new=score)
        self._score = score

    def _look_for_split(self, now: int) -> None:
        """Without a word with every live member there is no quorum; the lowest of them decides who goes on."""
        if not self.settings.network:
            return
        assert self._base is not None
        self._actions.extend(self._split.hear(self.peers))
        connected = tuple(node for node, peer in self.peers.items() if peer.connected)
        timely = now - self._base <= 3 * self._timing.period_ns
        losers = self._split.judge(quorum.View(self.node, connected, self._score, timely), self.peers, now)
        for node in losers:
            if node != self.node:
                self._send_pill(self.peers[node], now)
        if self.node in losers and all(sequence < self._verified for _, sequence in self._pills.values()):
            self._fence(Cause.QUORUM, f"network split: {listed(self._split.winners)} go on")


def _intruder(node: int, found: own.Slot | Broken) -> str:
    name = f" ({found.name})" if isinstance(found, own.Slot) and found.name else ""
    return f"another node with number {node}{name} writes slot {node}"


def _what(found: own.Slot | Broken) -> str:
    if isinstance(found, Broken):
        return found.words
    return f"sequence {found.sequence} of generation {found.generation:#x}"
