"""SBD's daemon on one disk (ClusterLabs sbd 1.5: sbd-inquisitor.c, sbd-md.c): a servant, an inquisitor and a watchdog.

The servant reads the header, its slot and its mailbox every loop and then shows liveness. A read that fails or takes
longer than the I/O timeout ends it; it is started anew at once if it had run longer than the restart delay, else only
when that has passed. The inquisitor wakes each loop and whenever the servant says or ends something. It feeds the
watchdog while the last liveness is less than I/O timeout + loop old, in whole seconds as the daemon counts them, or,
beside Pacemaker, while the cluster is healthy. The node is reset W after the last feed.

SBD has no heartbeats on disk: who lives is the cluster's to say, here `Connected`. A pill in the mailbox resets the
node that reads it. Nobody acknowledges: its sender takes the node for dead `msgwait` after the message was verified.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from mpio.events import Kind
from mpio.heartbeat.formats import sbd
from mpio.heartbeat.formats.broken import Broken
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
    PeerState,
    PeerStatus,
    Poison,
    Reachable,
    Read,
    ReadDone,
    Received,
    Status,
    Write,
    WriteDone,
)
from mpio.heartbeat.region import Holds, Layout
from mpio.model.cluster import Sbd as Timers
from mpio.units import NS_PER_S, format_duration

START_WAIT_NS = 120 * NS_PER_S
"""How long the disk may take to appear (`-s`)."""
SERVANT_IO_MAX = 12
"""I/O that may be out for a new servant to read. Else its read waits until one is back, as it would on the disk."""
_MEMBER = (NodeState.RUNNING, NodeState.HUNG)
_ACTIVE = (NodeState.JOINING, *_MEMBER)


@dataclass(frozen=True, slots=True)
class Settings:
    """One node of a disk. Raises ValueError for numbers that do not fit.

    Attributes:
        node: the number of this node's slot. names: of all nodes by slot, this one included.
        timers: those of the header and the daemon's options.
        layout: where the sectors are. clean_start: SBD_STARTMODE=clean, no start with a pill in the mailbox.
    """

    node: int
    names: Mapping[int, str]
    timers: Timers = field(default_factory=Timers)
    layout: Layout = field(default_factory=lambda: Layout(Holds.SBD))
    clean_start: bool = False

    def __post_init__(self) -> None:
        if self.node not in self.names:
            raise ValueError(f"names: expected one for node {self.node}; found {sorted(self.names)}")
        if not all(0 <= node < self.layout.slots for node in self.names):
            raise ValueError(f"names: expected slots from 0 to {self.layout.slots - 1}; found {sorted(self.names)}")
        for name in ("watchdog", "msgwait", "loop", "io_timeout"):
            if getattr(self.timers, name) < 1:
                raise ValueError(f"{name}: expected at least 1 s, found {getattr(self.timers, name)}")

    @property
    def budget_ns(self) -> int:
        """From the last liveness to the reset, at most: W + I + l."""
        return (self.timers.watchdog + self.timers.io_timeout + self.timers.loop) * NS_PER_S

    @property
    def unsafe(self) -> str:
        """Why a sender could take a node for dead that still writes; empty if it cannot. The daemon does not look."""
        timers = self.timers
        least = timers.watchdog + timers.io_timeout + 2 * timers.loop
        if timers.msgwait >= least:
            return ""
        return (f"msgwait: expected at least watchdog {timers.watchdog} + I/O timeout {timers.io_timeout} + 2 x loop "
                f"{timers.loop} = {least} s, found {timers.msgwait} s")


class _Step(Enum):
    """What the servant does."""

    ENDED = auto()
    OPEN = auto()
    """Reads header, slot and mailbox for the first time."""
    CLEAR = auto()
    """Empties its mailbox."""
    SLEEP = auto()
    HEADER = auto()
    SLOT = auto()
    MAILBOX = auto()


class _Errand:
    """A pill on its way: written, then verified, then waited for."""

    __slots__ = ("began", "dead_at", "is_back", "node", "tag")

    def __init__(self, node: int, now: int) -> None:
        self.node = node
        self.began = now
        self.tag = 0
        self.dead_at: int | None = None
        self.is_back = False  # the cluster has heard it anew since


class Sbd(Life):
    """The machine; see `machine.Heartbeat` for its calls."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.node)
        self.settings = settings
        timers = settings.timers
        self._watchdog_ns = timers.watchdog * NS_PER_S
        self._loop_ns = timers.loop * NS_PER_S
        self._patience_ns = timers.io_timeout * NS_PER_S
        self._layout = settings.layout
        self._mail = sbd.Message(sbd.Command.RESET, settings.names[settings.node])
        self._tag = 0
        self._out: dict[int, None] = {}
        self._step = _Step.ENDED
        self._awaited = 0
        self._clears_inbox = False
        self._due: int | None = None
        self._started_at: int | None = None
        self._live_at: int | None = None
        self._fed_at: int | None = None
        self._wake_at: int | None = None
        self._began_at = 0
        self._header: sbd.Header | None = None
        self._peers = {node: PeerState.UNKNOWN for node in settings.names if node != settings.node}
        self._changed_at: dict[int, int] = {}
        self._errands: dict[int, _Errand] = {}
        self._healthy = False
        self._failing = ""

    # the calls of the interface

    def start(self, now: int) -> list[Action]:
        """Start the inquisitor, and it the servant."""
        assert self.state is NodeState.IDLE, self.state
        self._began_at = now
        self._become(NodeState.JOINING, "started")
        if cause := self.settings.unsafe:
            self._tell(Kind.TIMING_UNSAFE, cause=cause)
        self._wake(now)
        return self._taken_actions()

    def handle(self, item: Input, now: int) -> list[Action]:
        """Take an input."""
        if self.state in (NodeState.LEFT, NodeState.REFUSED):
            return []
        self._fire(now)
        match item:
            case ReadDone():
                self._out.pop(item.tag, None)
                if not self._errand_done(item.tag, item.data, now):
                    self._read_done(item, now)
                if self._step is _Step.OPEN and not self._awaited and self.state in _ACTIVE:
                    self._open(now)
            case WriteDone():
                self._out.pop(item.tag, None)
                if not self._errand_written(item, now) and item.tag == self._awaited and self._step is _Step.CLEAR:
                    self._cleared(item, now)
            case Connected() | Disconnected():
                self._connection(item.peer, isinstance(item, Connected), now)
            case Poison():
                self._poison(item.node, now)
            case Leave():
                self._leave()
            case Received() | Held() | Reachable():
                pass
        return self._taken_actions()

    def handle_timer(self, now: int) -> list[Action]:
        """Reset, end a read that takes too long, loop, look after the servant, believe a fencing: what is due."""
        self._fire(now)
        if self.state in _ACTIVE and self._due is not None and now >= self._due:
            if self._step is _Step.SLEEP:
                self._read(_Step.HEADER, 0, now)
            elif self._step is _Step.CLEAR and not self._clears_inbox:
                self._sleep(now, shows_life=True)
            else:
                self._end_servant(f"I/O took longer than {self.settings.timers.io_timeout} s", now)
        if self.state in _ACTIVE and self._wake_at is not None and now >= self._wake_at:
            self._wake(now)
        for errand in list(self._errands.values()):
            if self.state in _MEMBER:
                self._errand_due(errand, now)
        return self._taken_actions()

    def next_deadline(self) -> int | None:
        """The first of the watchdog, the servant's and the inquisitor's next steps, and the ends of msgwait."""
        if self.state not in _ACTIVE:
            return None
        due = [errand.began + self._patience_ns if errand.dead_at is None else errand.dead_at
               for errand in self._errands.values()] if self.state in _MEMBER else []
        if self._fed_at is not None:
            due.append(self._fed_at + self._watchdog_ns)
        due.extend(at for at in (self._due, self._wake_at) if at is not None)
        return min(due, default=None)

    def status(self, now: int) -> Status:
        """How things stand. The margin is that until the watchdog fires if the disk shows no more life."""
        margin = None
        if self.state in _MEMBER and self._fed_at is not None and self._live_at is not None:
            fed = max(self._fed_at, self._live_at + self._patience_ns + self._loop_ns - NS_PER_S)
            margin = fed + self._watchdog_ns - now
        peers = tuple(
            PeerStatus(node, state, now - self._changed_at[node] if node in self._changed_at else None, None, 0,
                       state is PeerState.LIVE) for node, state in self._peers.items())
        quorum = self._healthy if self.settings.timers.pacemaker else True
        return Status(self.node, self.state, 0, margin, self.settings.budget_ns, quorum, 0, peers, self._cause,
                      self._reason)

    # the own life

    def _fire(self, now: int) -> None:
        """The watchdog."""
        if self.state not in _MEMBER or self._fed_at is None or now < self._fed_at + self._watchdog_ns:
            return
        since = format_duration(now - (self._live_at or 0))
        self._fence(Cause.STORAGE, f"watchdog not fed for {self.settings.timers.watchdog} s, {since} after the last "
                                   f"liveness: {self._failing or 'storage hangs'}")

    def _leave(self) -> None:
        """The watchdog is disarmed; nothing on disk tells of it."""
        if self.state is NodeState.IDLE or self.state in _ACTIVE:
            self._become(NodeState.LEFT, "asked to leave")

    # the inquisitor

    def _wake(self, now: int) -> None:
        """Look after the watchdog and the servant."""
        self._wake_at = now + self._loop_ns
        if self.state is NodeState.JOINING and now - self._began_at >= START_WAIT_NS:
            self._refuse(f"no disk within {format_duration(START_WAIT_NS)}: {self._failing or 'it hangs'}")
            return
        if self._step is _Step.ENDED and self._may_restart(now):
            self._started_at = now
            self._step, self._due = _Step.OPEN, now + self._patience_ns
            self._open(now)
        if self.state in _MEMBER:
            self._feed(now)

    def _may_restart(self, now: int) -> bool:
        if self._started_at is None:
            return True
        return (now - self._started_at) // NS_PER_S > self.settings.timers.restart_delay

    def _feed(self, now: int) -> None:
        assert self._live_at is not None
        timers = self.settings.timers
        disk = (now - self._live_at) // NS_PER_S < timers.io_timeout + timers.loop
        if disk or (timers.pacemaker and self._healthy):
            self._fed_at = now
            self._actions.append(Extend(now + self._watchdog_ns))
        if disk and self.state is NodeState.HUNG:
            self._become(NodeState.RUNNING, "the servant is back")
            self._tell(Kind.HEARTBEAT_RESUMED, margin_ns=self._watchdog_ns)
        elif not disk and self.state is NodeState.RUNNING:
            assert self._fed_at is not None
            margin = self._fed_at + self._watchdog_ns - now
            self._tell(Kind.HEARTBEAT_LATE, margin_ns=margin, budget_ns=self.settings.budget_ns)
            self._become(NodeState.HUNG, "no liveness of the servant")

    # the servant

    def _open(self, now: int) -> None:
        """A new servant's first read, once there is room for it."""
        if len(self._out) < SERVANT_IO_MAX:
            patience = self._due
            self._read(_Step.OPEN, 0, now, self._layout.mailbox(self.node) + self._layout.sector)
            self._due = patience

    def _read(self, step: _Step, offset: int, now: int, length: int | None = None) -> None:
        self._step, self._due = step, now + self._patience_ns
        self._tag += 1
        self._awaited = self._tag
        self._out[self._tag] = None
        self._actions.append(Read(self._tag, offset, self._layout.sector if length is None else length))

    def _end_servant(self, cause: str, now: int) -> None:
        if not self._failing:
            self._tell(Kind.HEARTBEAT_FAILED, cause=cause)
        self._failing = cause
        self._step, self._due, self._awaited = _Step.ENDED, None, 0
        self._wake(now)

    def _read_done(self, item: ReadDone, now: int) -> None:
        if item.tag != self._awaited or self.state not in _ACTIVE:
            return
        sector = self._layout.sector
        if item.data is None or len(item.data) != (len(item.data) if self._step is _Step.OPEN else sector):
            self._end_servant(item.error or "short read", now)
        elif self._step is _Step.OPEN:
            self._opened(item.data, now)
        elif self._step is _Step.HEADER:
            if self._header_is_good(item.data, now):
                self._read(_Step.SLOT, self._layout.slot(self.node), now)
        elif self._step is _Step.SLOT:
            if self._slot_is_good(item.data, now):
                self._read(_Step.MAILBOX, self._layout.mailbox(self.node), now)
        elif self._step is _Step.MAILBOX:
            self._mail_read(sbd.parse_message(item.data), now)

    def _opened(self, data: bytes, now: int) -> None:
        sector, mailbox = self._layout.sector, self._layout.mailbox(self.node)
        if len(data) != mailbox + sector:
            self._end_servant("short read", now)
            return
        slot = self._layout.slot(self.node)
        if not self._header_is_good(data[:sector], now) or not self._slot_is_good(data[slot:slot + sector], now):
            return
        message = sbd.parse_message(data[mailbox:mailbox + sector])
        if self.state is not NodeState.JOINING or message == sbd.NOTHING:
            self._mail_read(message, now, shows_life=False)
        elif isinstance(message, sbd.Message) and message.command in sbd.FATAL and self.settings.clean_start:
            self._refuse(f"found {message.command.name.lower()} of {message.sender} in the mailbox, and a clean start "
                         f"is asked for; clear it with 'sbd message {self._mail.sender} clear'")
        else:
            self._clear(now, inbox=True)

    def _header_is_good(self, data: bytes, now: int) -> bool:
        header = sbd.parse_header(data)
        timers = self.settings.timers
        if isinstance(header, Broken):
            self._end_servant(header.words, now)
            return False
        if self._header is None:
            found, expected = (header.watchdog, header.msgwait, header.loop), (
                timers.watchdog, timers.msgwait, timers.loop)
            if found != expected:
                self._refuse(f"header: expected watchdog, msgwait and loop {expected}, found {found} s; "
                             f"take the header's times, or create the disk again")
                return False
            self._header = header
        if header != self._header:
            self._end_servant("the header has changed", now)
            return False
        return True

    def _slot_is_good(self, data: bytes, now: int) -> bool:
        slot = sbd.parse_slot(data)
        if isinstance(slot, sbd.Slot) and slot.in_use and sbd.same_node(slot.name, self._mail.sender):
            return True
        found = slot.words if isinstance(slot, Broken) else f"{slot.name!r}" if slot.in_use else "a free slot"
        words = f"slot {self.node}: expected {self._mail.sender!r}, found {found}"
        if self.state is NodeState.JOINING:
            self._refuse(f"{words}; allocate a slot for it")
            return False
        if not self._failing:
            self._tell(Kind.SLOT_TAKEN, cause=words)
        self._end_servant(words, now)
        return False

    def _mail_read(self, message: sbd.Message | Broken, now: int, *, shows_life: bool = True) -> None:
        if isinstance(message, sbd.Message) and message.command in sbd.FATAL:
            self._tell(Kind.POISON_SEEN, sender=message.sender)
            self._fence(Cause.POISON, f"{message.command.name.lower()} from {message.sender}")
        elif isinstance(message, sbd.Message) and message.command is sbd.Command.EXIT:
            self._become(NodeState.LEFT, f"told to exit by {message.sender}")
        elif message != sbd.NOTHING:
            sender = message.sender if isinstance(message, sbd.Message) else ""
            command = message.command.name.lower() if isinstance(message, sbd.Message) else "unknown"
            self._tell(Kind.MESSAGE_SEEN, sender=sender, command=command)
            self._clear(now, inbox=not shows_life)
        else:
            self._sleep(now, shows_life=shows_life)

    def _clear(self, now: int, *, inbox: bool) -> None:
        """Empty the mailbox: the inbox of a servant that starts, or a message that it has seen to in its loop.

        A servant's loop shows life after that whatever became of the write; the next read tells.
        """
        self._step, self._due, self._clears_inbox = _Step.CLEAR, now + self._patience_ns, inbox
        self._tag += 1
        self._awaited = self._tag
        self._out[self._tag] = None
        data = sbd.render_message(sbd.NOTHING, self._layout.sector)
        self._actions.append(Write(self._tag, self._layout.mailbox(self.node), data))

    def _cleared(self, item: WriteDone, now: int) -> None:
        if self.state not in _ACTIVE:
            return
        if self._clears_inbox and item.error:
            self._end_servant(item.error, now)
        else:
            self._sleep(now, shows_life=not self._clears_inbox)

    def _sleep(self, now: int, *, shows_life: bool) -> None:
        """The end of a loop: show liveness, which wakes the inquisitor, and sleep."""
        self._step, self._due, self._awaited = _Step.SLEEP, now + self._loop_ns, 0
        if not shows_life:
            return
        self._live_at, self._failing = now, ""
        if self.state is NodeState.JOINING:
            self._become(NodeState.RUNNING, "the disk is read")
        self._wake(now)

    # the cluster, and pills for others

    def _connection(self, node: int, connected: bool, now: int) -> None:
        if node not in self._peers or self._peers[node] is (PeerState.LIVE if connected else PeerState.SILENT):
            return
        if not connected and self._peers[node] is not PeerState.LIVE:
            return
        self._peers[node] = PeerState.LIVE if connected else PeerState.SILENT
        self._changed_at[node] = now
        if connected and node in self._errands:
            self._errands[node].is_back = True
        self._tell(Kind.PEER_CONNECTED if connected else Kind.PEER_DISCONNECTED, node=node)
        total, heard = 1 + len(self._peers), 1 + sum(state is PeerState.LIVE for state in self._peers.values())
        healthy = total > 1 and (2 * heard > total)
        if healthy is not self._healthy:
            kind = Kind.QUORUM_GAINED if healthy else Kind.QUORUM_LOST
            self._tell(kind, cause=f"{heard} of {total} nodes")
        self._healthy = healthy

    def _poison(self, node: int, now: int) -> None:
        if self.state not in _MEMBER:
            return
        if node == self.node:
            self._fence(Cause.POISON, "asked to fence itself")
        elif node in self._peers and node not in self._errands and self._peers[node] is not PeerState.DEAD:
            self._errands[node] = _Errand(node, now)
            self._tell(Kind.POISON_SENT, node=node, generation=0)
            self._write_pill(self._errands[node], now)

    def _write_pill(self, errand: _Errand, now: int) -> None:
        errand.began = now
        if len(self._out) >= IO_MAX:
            return
        self._tag += 1
        errand.tag = self._tag
        self._out[self._tag] = None
        data = sbd.render_message(self._mail, self._layout.sector)
        self._actions.append(Write(self._tag, self._layout.mailbox(errand.node), data))

    def _errand_written(self, item: WriteDone, now: int) -> bool:
        errand = next((one for one in self._errands.values() if one.tag == item.tag), None)
        if errand is None or self.state not in _MEMBER:
            return errand is not None
        if not item.error:
            errand.began = now
            self._tag += 1
            errand.tag = self._tag
            self._out[self._tag] = None
            self._actions.append(Read(self._tag, self._layout.mailbox(errand.node), self._layout.sector))
        return True

    def _errand_done(self, tag: int, data: bytes | None, now: int) -> bool:
        """The pill, or another one, read back: from now on, msgwait. Else it is written again in a while."""
        errand = next((one for one in self._errands.values() if one.tag == tag), None)
        if errand is None or self.state not in _MEMBER:
            return errand is not None
        found = None if data is None or len(data) != self._layout.sector else sbd.parse_message(data)
        if isinstance(found, sbd.Message) and found.command in sbd.FATAL:
            errand.dead_at = now + self.settings.timers.msgwait * NS_PER_S
        return True

    def _errand_due(self, errand: _Errand, now: int) -> None:
        if errand.dead_at is None:
            if now >= errand.began + self._patience_ns:
                self._write_pill(errand, now)
        elif now >= errand.dead_at:
            del self._errands[errand.node]
            if not (errand.is_back and self._peers[errand.node] is PeerState.LIVE):  # else only its last life is over
                self._peers[errand.node] = PeerState.DEAD
            cause = f"poisoned, and msgwait of {self.settings.timers.msgwait} s has passed"
            self._tell(Kind.PEER_DEAD, node=errand.node, generation=0, cause=cause)
