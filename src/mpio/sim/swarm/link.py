"""TCP over cables that fail: bytes that come late, in pieces, again, or never, but never out of order.

A `Cable` joins one host to one portal and carries all connections between them. Each of its two directions is a
`Lane`. What a lane loses, TCP sends again after 0.2 s, 0.6 s, 1.4 s …, as long as the sender still holds the
connection; what a lane holds back comes later, even from a sender that has given up. A reset is never sent again, so
the far end of a connection that was given up during an outage may not learn of it until it speaks.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from typing import Protocol

from mpio.sim.swarm.schedule import Process, Schedule

RETRY_FIRST_NS = 200_000_000  # Linux' least retransmission timeout
RETRY_MAX_NS = 120_000_000_000
SYN_RETRY_NS = 1_000_000_000
PIECES_MAX = 4
SEND_BUFFER_BYTES = 64 << 10  # of a socket; small, so that runs of a few KiB meet it


class Mode(Enum):
    """What a lane does with what is on its way."""

    PASS = auto()
    LOSE = auto()
    HOLD = auto()


class _Control(Enum):
    FIN = auto()
    RESET = auto()


_Item = tuple[int, bytes | _Control]
"""What travels: its number in the order of sending, and bytes or an end."""


@dataclass(frozen=True, slots=True)
class LaneSpec:
    """How a lane is without faults: delay, up to so much more at random, and permille of sends that come in pieces."""

    delay_ns: int
    jitter_ns: int
    pieces: int


class Lane:
    """One direction of a cable.

    Attributes:
        mode: see Mode; set by `lose`, `hold` and their ends, which nest.
        loss: permille of segments that are lost once and more. extra_ns: delay beyond the usual.
        ns_per_byte: of transmission, 0 for none.
    """

    def __init__(self, schedule: Schedule, spec: LaneSpec, rng: random.Random) -> None:
        self.schedule = schedule
        self.loss = 0
        self.extra_ns = 0
        self.ns_per_byte = 0
        self.losing = 0
        self.holding = 0
        self._spec = spec
        self._rng = rng
        self._free_at = 0
        self._held: deque[tuple[Pipe, _Item]] = deque()

    @property
    def mode(self) -> Mode:
        """What becomes of what arrives now."""
        if self.losing:
            return Mode.LOSE
        return Mode.HOLD if self.holding else Mode.PASS

    def arrival(self, length: int) -> int:
        """When a segment that is sent now comes out."""
        start = max(self.schedule.now, self._free_at)
        if self.ns_per_byte:
            start = self._free_at = start + length * self.ns_per_byte
        delay = self._spec.delay_ns + self.extra_ns
        if self._spec.jitter_ns:
            delay += self._rng.randrange(self._spec.jitter_ns)
        if self.loss:
            retry_ns = RETRY_FIRST_NS
            while self._rng.randrange(1000) < self.loss and retry_ns < RETRY_MAX_NS:
                delay += retry_ns
                retry_ns *= 2
        return start + delay

    def cut(self, data: bytes) -> list[bytes]:
        """The segments that bytes travel in: one, or some that are cut anywhere."""
        rng, share = self._rng, self._spec.pieces
        if not share or len(data) == 1 or rng.randrange(1000) >= share:
            return [data]
        cuts = sorted(rng.randrange(1, len(data)) for _ in range(rng.randint(1, PIECES_MAX - 1)))
        edges = dict.fromkeys((0, *cuts, len(data)))
        return [data[start:end] for start, end in pairwise(edges)]

    def keep_back(self, pipe: "Pipe", item: _Item) -> None:
        """Hold an item until `release`."""
        self._held.append((pipe, item))

    def release(self) -> None:
        """One reason less to hold things back; with the last one they come out, in order."""
        self.holding -= 1
        while self._held and not self.holding:
            pipe, item = self._held.popleft()
            pipe.arrive(item)


class Pipe:
    """One direction of one connection.

    Attributes:
        receiver: the end that it leads to.
        in_flight: bytes sent and not yet arrived.
        is_cut: a box on the way has forgotten the connection; nothing passes any more.
        abandoned: the sender does not hold the connection any more: nothing is sent again.
    """

    def __init__(self, lane: Lane) -> None:
        self.receiver: End
        self.sender: End
        self.in_flight = 0
        self.is_cut = False
        self.abandoned = False
        self._lane = lane
        self._last_ns = 0
        self._sent = 0
        self._taken = 0
        self._early: dict[int, bytes | _Control] = {}  # arrived before what was sent before it
        self._lost: deque[_Item] = deque()
        self._retry_ns = RETRY_FIRST_NS

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.in_flight += len(data)
        for piece in self._lane.cut(data):
            self._launch(piece, len(piece))

    def finish(self) -> None:
        """Send the end of the stream."""
        self._launch(_Control.FIN, 0)

    def reset(self) -> None:
        """Give the connection up: what was lost on the way is not sent again, and the peer is told, once."""
        self.abandoned = True
        self._lost.clear()
        self._launch(_Control.RESET, 0)

    def _launch(self, what: bytes | _Control, length: int) -> None:
        self._last_ns = max(self._last_ns, self._lane.arrival(length))
        self._lane.schedule.at(self._last_ns, self.arrive, (self._sent, what))
        self._sent += 1

    def arrive(self, item: _Item) -> None:
        """An item is at the far end of the lane, if the lane lets it out."""
        mode = self._lane.mode
        if self.is_cut:
            return
        if mode is Mode.HOLD:
            self._lane.keep_back(self, item)
        elif mode is Mode.LOSE or self._lost:
            if item[1] is not _Control.RESET and not self.abandoned:
                self._lost.append(item)
                if len(self._lost) == 1:
                    self._retry_ns = RETRY_FIRST_NS
                    self._lane.schedule.at(self._lane.schedule.now + self._retry_ns, self._send_again)
        else:
            self._deliver(item)

    def _send_again(self) -> None:
        if self.abandoned or self.is_cut:
            self._lost.clear()
        if not self._lost:
            return
        if self._lane.mode is Mode.LOSE:
            self._retry_ns = min(2 * self._retry_ns, RETRY_MAX_NS)
            self._lane.schedule.at(self._lane.schedule.now + self._retry_ns, self._send_again)
            return
        items, self._lost = self._lost, deque()
        for item in items:
            self.arrive(item)

    def _deliver(self, item: _Item) -> None:
        """It is there. A reset counts at once, everything else in the order of sending."""
        number, what = item
        if what is _Control.RESET:
            self.receiver.end("connection reset by peer")
            return
        self._early[number] = what
        while self._taken in self._early:
            what = self._early.pop(self._taken)
            self._taken += 1
            if isinstance(what, bytes):
                self.in_flight -= len(what)
                self.sender.sent()
                self.receiver.take(what)
            else:
                self.receiver.end("closed by the peer")


class Owner(Protocol):
    """What an end hands its bytes to."""

    def receive(self, data: bytes) -> None:
        """Bytes came."""

    def lost(self, cause: str) -> None:
        """The connection is over."""

    def writable(self) -> None:
        """There is room for more to send."""


class End:
    """One side of a connection: a socket.

    Attributes:
        process: whose it is. number: of the connection, the same at both ends. owner: what its bytes go to.
        out: what it sends by. closed: whether the process has let go of it.
    """

    def __init__(self, process: Process, out: Pipe, number: int) -> None:
        self.process = process
        self.number = number
        self.out = out
        self.owner: Owner | None = None
        self.closed = False
        self._unread: list[bytes] = []
        self._over: str | None = None
        self._blocked = False
        out.sender = self

    def adopt(self, owner: Owner) -> None:
        """Let somebody have the bytes; what came before comes now."""
        self.owner = owner
        unread, self._unread = self._unread, []
        for data in unread:
            self.process.call(owner.receive, data)
        if self._over is not None:
            self.process.call(owner.lost, self._over)

    @property
    def has_room(self) -> bool:
        """Whether more may be sent; if not, `writable` is called once it may."""
        self._blocked = self.out.in_flight >= SEND_BUFFER_BYTES
        return not self._blocked

    def sent(self) -> None:
        """Something that was sent has arrived."""
        if self._blocked and not self.closed and self.owner is not None and self.has_room:
            self.process.soon(self.owner.writable)

    def take(self, data: bytes) -> None:
        """Bytes have arrived. To a socket that is closed the answer is a reset."""
        if self.closed or not self.process.alive:
            self.out.reset()
        elif self.owner is None:
            self._unread.append(data)
        else:
            self.process.call(self.owner.receive, data)

    def end(self, cause: str) -> None:
        """The peer has closed or reset the connection."""
        if not self.closed and self._over is None:
            self._over = cause
            if self.owner is not None:
                self.process.call(self.owner.lost, cause)

    def close(self, *, abort: bool) -> None:
        """Let go of it: with a reset, or in good order after all that was sent."""
        if not self.closed:
            self.closed = True
            if abort:
                self.out.reset()
            else:
                self.out.finish()


class Listener(Protocol):
    """What accepts connections at a portal."""

    listening: bool

    def accept(self, end_of: Callable[[Process], End], portal: int) -> None:
        """A connection has been made; `end_of` gives its end to a process."""


class Cable:
    """What joins a host to a portal.

    Attributes:
        out, back: the lanes from and to the host. refusing: reasons for which connects are refused. swapped: reasons
            for which it leads elsewhere.
        listener: what answers at the other end.
    """

    def __init__(self, schedule: Schedule, spec: LaneSpec, rng: random.Random, portal: int, listener: Listener) -> None:
        self.out = Lane(schedule, spec, rng)
        self.back = Lane(schedule, spec, rng)
        self.refusing = 0
        self.swapped = 0
        self.listener = listener
        self._portal = portal
        self._schedule = schedule
        self._live: list[tuple[End, End]] = []

    def connect(self, process: Process, done: Callable[[End | str], None]) -> "Attempt":
        """Open a connection from a process of the host; `done` gets its end, or why there is none."""
        return Attempt(self, self._schedule, process, done)

    def join(self, process: Process) -> End:
        """The connection is made: its near end; the far one goes to the listener."""
        out, back = Pipe(self.out), Pipe(self.back)
        self._schedule.connections += 1
        number = self._schedule.connections
        near = End(process, out, number)
        back.receiver = near

        def end_of(far_process: Process) -> End:
            far = End(far_process, back, number)
            out.receiver = far
            self._live = [pair for pair in self._live if not (pair[0].closed and pair[1].closed)]
            self._live.append((near, far))
            return far

        self.listener.accept(end_of, self._portal)
        return near

    def cut_all(self) -> list[End]:
        """A box on the way forgets all connections: nothing of them passes any more, and nobody is told.

        Returns the host's ends of them.
        """
        live, self._live = self._live, []
        for near, far in live:
            near.out.is_cut = far.out.is_cut = True
        return [near for near, _ in live]

    def lose_host(self) -> None:
        """The host is gone without a word: what it has sent travels on, and nothing that comes for it is answered."""
        live, self._live = self._live, []
        for near, far in live:
            near.out.abandoned = True
            far.out.is_cut = True

    def reset_all(self) -> None:
        """Both ends of all connections are told that they are over; what is on the way is dropped."""
        live, self._live = self._live, []
        for near, far in live:
            for end in (near, far):
                end.out.is_cut = True
                end.end("connection reset by peer")


class Attempt:
    """A connect under way: SYN, sent again after 1, 3, 7 … s while it, or its answer, is lost."""

    def __init__(
        self, cable: Cable, schedule: Schedule, process: Process, done: Callable[[End | str], None],
    ) -> None:
        self._cable = cable
        self._schedule = schedule
        self._process = process
        self._done = done
        self._cancelled = False
        self._end: End | None = None
        self._retry_ns = SYN_RETRY_NS
        self._send()

    def cancel(self) -> None:
        """Give up; a connection that was made is reset."""
        self._cancelled = True
        if self._end is not None:
            self._end.close(abort=True)

    def _send(self) -> None:
        if not self._cancelled:
            self._schedule.at(self._cable.out.arrival(0), self._arrive)

    def _arrive(self) -> None:
        cable = self._cable
        if self._cancelled or not self._process.alive:
            return
        if cable.out.mode is not Mode.PASS or cable.back.mode is not Mode.PASS:
            self._schedule.at(self._schedule.now + self._retry_ns, self._send)
            self._retry_ns *= 2
            return
        answer: End | str = "connection refused"
        if not cable.refusing and cable.listener.listening:
            answer = self._end = cable.join(self._process)
        self._schedule.at(cable.back.arrival(0), self._answer, answer)

    def _answer(self, answer: End | str) -> None:
        if not self._cancelled:
            self._process.call(self._done, answer)
