"""OCFS2's disk heartbeat as the kernel runs it (fs/ocfs2/cluster: heartbeat.c, quorum.c, tcp.c), one region.

One thread reads all slots, compares its own with what it wrote, writes the next block, judges the others while that is
on its way, waits, and sleeps until 2 s after it began. It has one I/O out at a time and never gives one up. The
self-fence counts from the *completion* of a write, 2 (T - 1) s; half way there the node asks the lowest live node
whether all hang, which re-arms everybody's timer if they do. Peers die after T equal samples, or by a new generation.

Where this differs from mpio's own heartbeat it is the kernel's way and kept, also where that is less safe: a block may
be on disk long before its completion is seen, so peers can count from a later moment than the self-fence does not.
What goes between nodes is worded by `negotiation`, not as o2net's wire; `Disconnected` is what o2net says after its
idle timeout. There are no pills: `Poison` is ignored.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from mpio.events import Kind
from mpio.heartbeat.formats import o2cb
from mpio.heartbeat.formats.broken import Broken
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
    PeerStatus,
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
from mpio.heartbeat.negotiation import Message, Word, parse, render
from mpio.heartbeat.quorum import o2cb_survives
from mpio.heartbeat.region import Holds, Layout
from mpio.model.cluster import O2cb as Timers
from mpio.units import NS_PER_S, format_duration

PERIOD_NS = 2 * NS_PER_S
LIVE_SAMPLES = 2
STEADY_ITERATIONS = 3
UNSTEADY_FACTOR = 3
"""How many times the steady iterations may pass until the start is given up."""
RECHECK_NS = NS_PER_S
"""How often the master looks whether all have asked."""
_MEMBER = (NodeState.RUNNING, NodeState.HUNG)
_ACTIVE = (NodeState.JOINING, *_MEMBER)


@dataclass(frozen=True, slots=True)
class Settings:
    """One node of a region. Raises ValueError for numbers that do not fit.

    Attributes:
        node, nodes: this node, and all of cluster.conf, this one included.
        generation: of this start: random, never 0.
        timers: of /etc/sysconfig/o2cb.
        layout: where the slots are. epoch_s: wall-clock seconds at `now` 0, for hb_seq.
        network: whether there is an interconnect; without it nobody negotiates with others, nor loses quorum.
    """

    node: int
    nodes: tuple[int, ...]
    generation: int
    timers: Timers = field(default_factory=Timers)
    layout: Layout = field(default_factory=lambda: Layout(Holds.O2CB))
    epoch_s: int = 0
    network: bool = True

    def __post_init__(self) -> None:
        if list(self.nodes) != sorted(frozenset(self.nodes)) or self.node not in self.nodes:
            raise ValueError(f"nodes: expected each once, ascending, with {self.node} among them; found {self.nodes}")
        if self.nodes[0] < 0 or self.nodes[-1] >= self.layout.slots:
            raise ValueError(f"nodes: expected numbers from 0 to {self.layout.slots - 1}; found {self.nodes}")
        if not 0 < self.generation < 1 << 64:
            raise ValueError("generation: expected a random number of 64 bits, not 0, which says that a node has left")
        if self.timers.heartbeat_threshold <= 2:
            raise ValueError(f"threshold: expected more than 2, found {self.timers.heartbeat_threshold}")

    @property
    def budget_ns(self) -> int:
        """From the completion of a heartbeat to the self-fence."""
        return PERIOD_NS * (self.timers.heartbeat_threshold - 1)

    @property
    def quorum_delay_ns(self) -> int:
        """From the loss of a connection to the quorum decision."""
        return PERIOD_NS * (self.timers.heartbeat_threshold + 2)


class _Slot:
    """One peer, with the kernel's own counters."""

    __slots__ = ("changed", "changed_at", "connected", "decide_at", "equal", "generation", "last", "node", "state",
                 "unreadable")

    def __init__(self, node: int) -> None:
        self.node = node
        self.state = PeerState.UNKNOWN
        self.last = 0
        self.generation = 0
        self.changed = 0
        self.equal = 0
        self.changed_at: int | None = None
        self.connected = False
        self.decide_at: int | None = None
        self.unreadable = False


class _Waits(Enum):
    """What the thread waits for."""

    SLEEP = auto()
    READ = auto()
    WRITE = auto()
    GOODBYE = auto()


class O2cb(Life):
    """The machine; see `machine.Heartbeat` for its calls."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.node)
        self.settings = settings
        self.slots = {node: _Slot(node) for node in settings.nodes if node != settings.node}
        self._layout = settings.layout
        self._span = settings.layout.span(settings.nodes[0], settings.nodes[-1])
        self._tag = 0
        self._waits = _Waits.SLEEP
        self._began = 0
        self._wake_at: int | None = None
        self._written: o2cb.Block | None = None
        self._own_ok = False
        self._membership_changed = False
        self._steady = STEADY_ITERATIONS
        self._unsteady = STEADY_ITERATIONS * UNSTEADY_FACTOR
        self._armed_at: int | None = None
        self._ask_at: int | None = None
        self._asked: dict[int, bool] = {}
        self._failed = ""
        self._taken = False

    # the calls of the interface

    def start(self, now: int) -> list[Action]:
        """Start the thread."""
        assert self.state is NodeState.IDLE, self.state
        self._become(NodeState.JOINING, "started")
        self._iterate(now)
        return self._taken_actions()

    def handle(self, item: Input, now: int) -> list[Action]:
        """Take an input."""
        if self.state in (NodeState.LEFT, NodeState.REFUSED):
            return []
        self._timers_due(now)
        match item:
            case ReadDone():
                self._read_done(item, now)
            case WriteDone():
                self._write_done(item, now)
            case Received():
                self._received(item, now)
            case Connected() | Disconnected():
                self._connection(item.peer, isinstance(item, Connected), now)
            case Leave():
                self._leave(now)
            case Poison() | Held() | Reachable():
                pass
        return self._taken_actions()

    def handle_timer(self, now: int) -> list[Action]:
        """Fence, negotiate, decide about quorum, begin an iteration: what is due."""
        self._timers_due(now)
        if self.state in _ACTIVE and self._wake_at is not None and now >= self._wake_at:
            self._iterate(now)
        return self._taken_actions()

    def next_deadline(self) -> int | None:
        """The first of the write timeout, the negotiation, a quorum decision and the next iteration."""
        due: list[int | None] = []
        if self.state in _MEMBER:
            due = [self._ask_at, *(slot.decide_at for slot in self.slots.values())]
        if self.state in _ACTIVE:
            due.append(self._wake_at)
        if self._armed_at is not None and self.state in (*_MEMBER, NodeState.LEAVING):
            due.append(self._armed_at + self.settings.budget_ns)
        return min((at for at in due if at is not None), default=None)

    def status(self, now: int) -> Status:
        """How things stand."""
        margin = None
        if self._armed_at is not None and self.state in (*_MEMBER, NodeState.LEAVING):
            margin = self._armed_at + self.settings.budget_ns - now
        quorum = not self.settings.network or all(
            slot.connected for slot in self.slots.values() if slot.state is PeerState.LIVE)
        return Status(
            self.node, self.state, self.settings.generation, margin, self.settings.budget_ns, quorum, 0,
            tuple(self._peer_status(slot, now) for slot in self.slots.values()), self._cause, self._reason,
        )

    # the own life

    def _peer_status(self, slot: _Slot, now: int) -> PeerStatus:
        age = None if slot.changed_at is None else now - slot.changed_at
        left = self.settings.timers.heartbeat_threshold - slot.equal
        dead_in = max(0, left * PERIOD_NS) if slot.state is PeerState.LIVE else None
        return PeerStatus(slot.node, slot.state, age, dead_in, slot.generation, slot.connected)

    def _leave(self, now: int) -> None:
        if self.state is NodeState.IDLE or (self.state is NodeState.JOINING and self._written is None):
            self._become(NodeState.LEFT, "left before it had written anything")
        elif self.state in _ACTIVE:
            self._become(NodeState.LEAVING, "asked to leave")
            if self._waits is _Waits.SLEEP:
                self._say_goodbye(now)

    def _say_goodbye(self, now: int) -> None:
        """The last block has generation 0. The thread ends whatever becomes of it."""
        self._wake_at = None
        self._waits = _Waits.GOODBYE
        self._write(0, now)

    # the thread

    def _iterate(self, now: int) -> None:
        self._began, self._wake_at = now, None
        self._waits = _Waits.READ
        self._tag += 1
        self._actions.append(Read(self._tag, *self._span))

    def _write(self, generation: int, now: int) -> None:
        sequence = (self.settings.epoch_s + now // NS_PER_S) & ((1 << 64) - 1) or 1
        dead_ms = self.settings.timers.heartbeat_threshold * o2cb.PERIOD_MS
        self._written = o2cb.Block(sequence, self.node, generation, dead_ms)
        self._tag += 1
        self._actions.append(
            Write(self._tag, self._layout.slot(self.node), o2cb.render(self._written, self._layout.sector)))

    def _read_done(self, item: ReadDone, now: int) -> None:
        if item.tag != self._tag or self._waits is not _Waits.READ or self.state not in (*_ACTIVE, NodeState.LEAVING):
            return
        if item.data is None or len(item.data) != self._span[1]:
            self._own_ok, self._membership_changed = False, False
            self._iterated(item.error or "short read", now)
            return
        blocks = {node: o2cb.parse(self._cut(item.data, node)) for node in self.settings.nodes}
        self._own_ok = self._check_own(blocks[self.node])
        self._waits = _Waits.WRITE
        self._write(self.settings.generation, now)
        changes = [self._check(slot, blocks[node], now) for node, slot in self.slots.items()]
        self._membership_changed = any(changes)

    def _write_done(self, item: WriteDone, now: int) -> None:
        if item.tag != self._tag:
            return
        if self._waits is _Waits.GOODBYE and self.state is NodeState.LEAVING:
            self._become(NodeState.LEFT, f"could not say goodbye: {item.error}" if item.error else "said goodbye")
        elif self._waits is _Waits.WRITE and self.state in (*_ACTIVE, NodeState.LEAVING):
            self._iterated(item.error, now)

    def _iterated(self, error: str, now: int) -> None:
        """The end of an iteration, good or bad."""
        if error and not self._failed:
            self._tell(Kind.HEARTBEAT_FAILED, cause=error)
        self._failed = error
        good = not error and self._own_ok
        if self.state is NodeState.JOINING:
            self._settle(good and not self._membership_changed)
        if good and self.state in _MEMBER:
            self._resumed(now)
            self._arm(now)
        self._waits = _Waits.SLEEP
        self._wake_at = max(now, self._began + PERIOD_NS)
        if self.state is NodeState.LEAVING:
            self._say_goodbye(now)

    def _settle(self, steady: bool) -> None:
        """Count iterations until the region is steady, or not to be."""
        self._steady -= steady
        self._unsteady -= 1
        if self._steady == 0:
            self._become(NodeState.RUNNING, f"{STEADY_ITERATIONS} good iterations without a change of membership")
        elif self._unsteady == 0:
            reason = f"no steady state in {STEADY_ITERATIONS * UNSTEADY_FACTOR} iterations"
            if self._failed or self._taken:
                reason += f": {self._failed or 'another node writes this slot'}"
            self._reason = reason
            self._tell(Kind.JOIN_REFUSED, cause=reason)
            self._become(NodeState.REFUSED, reason)

    def _resumed(self, now: int) -> None:
        if self.state is not NodeState.HUNG:
            return
        margin = 0 if self._armed_at is None else self._armed_at + self.settings.budget_ns - now
        self._become(NodeState.RUNNING, "a good heartbeat")
        self._tell(Kind.HEARTBEAT_RESUMED, margin_ns=margin)

    def _arm(self, now: int) -> None:
        """Both timers anew, from now: from the completion of a write, or from an approval."""
        self._armed_at = now
        self._ask_at = now + self.settings.budget_ns // 2
        self._asked.clear()
        self._actions.append(Extend(now + self.settings.budget_ns))

    def _cut(self, data: bytes, node: int) -> bytes:
        at = self._layout.slot(node) - self._span[0]
        return data[at:at + self._layout.sector]

    def _check_own(self, found: o2cb.Block | Broken) -> bool:
        """Whether the own slot holds what was written last. Before the first write there is nothing to compare."""
        if self._written is None:
            return False
        if found == self._written:
            self._taken = False
            return True
        if not self._taken:
            self._taken = True
            self._tell(Kind.SLOT_TAKEN, cause=_mismatch(found, self._written))
        return False

    # the peers

    def _check(self, slot: _Slot, found: o2cb.Block | Broken, now: int) -> bool:
        """Count a sample. Returns whether the peer came to life or died."""
        restarted, life = False, slot.generation
        if isinstance(found, Broken):
            if not slot.unreadable:
                slot.unreadable = True
                self._tell(Kind.PEER_UNREADABLE, node=slot.node, cause=found.words)
            if slot.state is not PeerState.LIVE:
                return False
            slot.equal += 1
        else:
            slot.unreadable = False
            restarted = self._sample(slot, found, now)
        if slot.state is not PeerState.LIVE:
            return self._may_live(slot, found, now)
        if restarted or slot.equal >= self.settings.timers.heartbeat_threshold:
            self._died(slot, life, restarted=restarted)
            return True
        if slot.changed:
            slot.changed = slot.equal = 0
        return False

    def _sample(self, slot: _Slot, found: o2cb.Block, now: int) -> bool:
        """Whether the generation changed."""
        if found.sequence != slot.last:
            slot.changed += 1
            slot.changed_at = now
        else:
            slot.equal += 1
        slot.last = found.sequence
        restarted = found.generation != slot.generation
        if restarted:
            slot.equal = 0
            if slot.state is PeerState.LIVE and found.generation:
                self._tell(Kind.PEER_RESTARTED, node=slot.node, old=slot.generation, new=found.generation)
        slot.generation = found.generation
        return restarted

    def _may_live(self, slot: _Slot, found: o2cb.Block | Broken, now: int) -> bool:
        if isinstance(found, Broken):
            return False
        if slot.state is PeerState.UNKNOWN and found.is_used:
            slot.state = PeerState.SILENT if found.generation else PeerState.LEFT
        if slot.changed < LIVE_SAMPLES or not found.generation:
            return False
        slot.state, slot.equal = PeerState.LIVE, 0
        self._tell(Kind.PEER_LIVE, node=slot.node, generation=slot.generation)
        if self.settings.network and not slot.connected:
            idle_ns = self.settings.timers.idle_timeout_ms * NS_PER_S // 1_000
            slot.decide_at = now + idle_ns + self.settings.quorum_delay_ns
        threshold = self.settings.timers.heartbeat_threshold
        if found.threshold != threshold:
            self._tell(Kind.PEER_MISMATCHED, node=slot.node, expected=f"threshold {threshold}",
                       found=f"threshold {found.threshold}")
        return True

    def _died(self, slot: _Slot, life: int, *, restarted: bool) -> None:
        slot.decide_at = None
        if restarted and not slot.generation:
            slot.state = PeerState.LEFT
            self._tell(Kind.PEER_LEFT, node=slot.node)
            slot.changed = 0
            return
        slot.state = PeerState.DEAD
        cause = "a new generation" if restarted else f"{slot.equal} equal samples"
        self._tell(Kind.PEER_DEAD, node=slot.node, generation=life, cause=cause)
        if not restarted:
            slot.changed = 0  # after a restart it is writing already, and that counts

    # timers, negotiation and quorum

    def _timers_due(self, now: int) -> None:
        if self.state not in (*_MEMBER, NodeState.LEAVING):
            return
        if self._armed_at is not None and now >= self._armed_at + self.settings.budget_ns:
            how = f"storage fails: {self._failed}" if self._failed else "storage hangs"
            if self._taken:
                how = "another node writes this slot"
            self._fence(Cause.SLOT if self._taken else Cause.STORAGE,
                        f"heartbeat write timeout after {format_duration(now - self._armed_at)}: {how}")
            return
        if self._ask_at is not None and now >= self._ask_at and self.state in _MEMBER:
            self._negotiate(now)
        due = [slot for slot in self.slots.values() if slot.decide_at is not None and now >= slot.decide_at]
        if due and self.state in _MEMBER:
            self._decide(due)

    def _negotiate(self, now: int) -> None:
        """Half of the time is gone: ask the lowest live node, or, as that, look whether all have asked."""
        assert self._armed_at is not None
        self._ask_at = None
        if self.state is NodeState.RUNNING:
            margin = self._armed_at + self.settings.budget_ns - now
            self._tell(Kind.HEARTBEAT_LATE, margin_ns=margin, budget_ns=self.settings.budget_ns)
            self._become(NodeState.HUNG, "half of the time to the self-fence is gone")
        if self._failed or not self.settings.timers.negotiate:
            return
        live = [node for node, slot in self.slots.items() if slot.state is PeerState.LIVE]
        if not self.settings.network and live:
            return
        master = min([self.node, *live])
        if master != self.node:
            self._actions.append(Send(master, render(Message(Word.ASKS, self.settings.generation))))
        elif all(self._asked.get(node) for node in live):
            self._tell(Kind.HEARTBEAT_NEGOTIATED, by=self.node, until_ns=now + self.settings.budget_ns)
            self._arm(now)
            approval = render(Message(Word.APPROVES, self.settings.generation))
            self._actions.extend(Send(node, approval) for node in live)
        else:
            self._ask_at = now + RECHECK_NS

    def _received(self, item: Received, now: int) -> None:
        message = parse(item.data)
        if message is None or item.sender not in self.slots or self.state not in _MEMBER:
            return
        if message.word is Word.ASKS:
            self._asked[item.sender] = True
        elif message.word is Word.APPROVES and self._armed_at is not None:
            self._tell(Kind.HEARTBEAT_NEGOTIATED, by=item.sender, until_ns=now + self.settings.budget_ns)
            self._arm(now)

    def _connection(self, node: int, connected: bool, now: int) -> None:
        slot = self.slots.get(node)
        if slot is None or slot.connected is connected:
            return
        slot.connected = connected
        self._tell(Kind.PEER_CONNECTED if connected else Kind.PEER_DISCONNECTED, node=node)
        if connected:
            if slot.decide_at is not None:
                self._tell(Kind.QUORUM_GAINED, cause=f"node {node} is heard again")
            slot.decide_at = None
        elif slot.state is PeerState.LIVE and self.state in _ACTIVE and self.settings.network:
            slot.decide_at = now + self.settings.quorum_delay_ns
            self._tell(Kind.QUORUM_LOST, cause=f"node {node} is live on disk, but not heard")

    def _decide(self, due: list[_Slot]) -> None:
        """The quorum decision, once no other lost connection is still waited for."""
        waits = [slot for slot in self.slots.values() if slot.decide_at is not None and slot not in due]
        live = [node for node, slot in self.slots.items() if slot.state is PeerState.LIVE]
        heard = [node for node in live if self.slots[node].connected]
        if waits:
            latest = max(slot.decide_at for slot in waits if slot.decide_at is not None)
            for slot in due:
                slot.decide_at = latest
            return
        for slot in due:
            slot.decide_at = None
        words = f"{1 + len(heard)} of {1 + len(live)} heartbeating nodes are connected"
        if o2cb_survives(self.node, live, heard):
            self._tell(Kind.QUORUM_GAINED, cause=words)
        else:
            self._fence(Cause.QUORUM, f"only {words}")


def _mismatch(found: o2cb.Block | Broken, written: o2cb.Block) -> str:
    """What the kernel logs of its own slot."""
    if isinstance(found, Broken):
        return f"own slot: {found.words}"
    if found.node != written.node:
        return f"own slot: expected node {written.node}, found node {found.node}"
    if found.generation != written.generation:
        return f"another node heartbeats here: generation {found.generation:#x}, expected {written.generation:#x}"
    return f"own slot: expected sequence {written.sequence}, found {found.sequence}: a write was lost"
