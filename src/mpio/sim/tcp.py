"""TCP connections of the simulation: what `io` uses of a socket, with TCP's own ways of failing.

Bytes arrive in order or not at all. What is sent into a cut lane waits at the sender, and goes out again when its
back-off says so. A sender whose bytes are not read, or whose acknowledgements are lost, is blocked in the end. A reset
is sent once; if it is lost, the other end learns of it when it next sends something itself.
"""

import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable
from enum import Enum, auto

from mpio.model.task import Buffer
from mpio.sim.link import INITIATOR, TARGET, TO_INITIATOR, TO_TARGET, Lane, Link, next_attempt_ns
from mpio.sim.loop import VirtualFile, VirtualLoop

WINDOW_BYTES = 1 << 20
"""Sent and not yet read: send and receive buffer together."""
BACKLOG_MAX = 128
_LINGER_ABORT = struct.pack("ii", 1, 0)

Address = tuple[str, int]


class _Mark(Enum):
    FIN = auto()
    RESET = auto()


_Item = bytes | _Mark


class Connection:
    """Two streams and what is on the way between them."""

    def __init__(self, loop: VirtualLoop, link: Link, number: int, initiator: Address, target: Address) -> None:
        self.severed = False
        self._link = link
        self._number = number
        near, far = Stream(loop, self, initiator, target), Stream(loop, self, target, initiator)
        self.streams = {INITIATOR: near, TARGET: far}
        to_target, to_initiator = link.lanes[TO_TARGET], link.lanes[TO_INITIATOR]
        near.out = far.incoming = Pipe(loop, to_target, to_initiator, near, far)
        far.out = near.incoming = Pipe(loop, to_initiator, to_target, far, near)
        self.pipes = {TO_TARGET: near.out, TO_INITIATOR: far.out}
        link.connections[number] = self

    def lane_healed(self, direction: str, *, held: bool) -> None:
        """See `link.Carried`."""
        for own, pipe in self.pipes.items():
            if own == direction:
                pipe.go_on(held=held)
            else:
                pipe.acknowledge()

    def reset(self) -> None:
        """See `link.Carried`."""
        for stream in self.streams.values():
            stream.reset_from_afar()

    def sever(self, side: str) -> None:
        """See `link.Carried`."""
        self.severed = True
        for pipe in self.pipes.values():
            pipe.drop()
        self.streams[side].reset_from_afar()

    def severed_heal(self) -> None:
        """See `link.Carried`."""
        if self.severed:
            self.reset()

    def check_over(self) -> None:
        """Forget it once nothing can come of it any more."""
        if all(stream.gone for stream in self.streams.values()) and not any(p.busy for p in self.pipes.values()):
            self._link.connections.pop(self._number, None)


class Pipe:
    """One direction of a connection."""

    def __init__(self, loop: VirtualLoop, lane: Lane, back: Lane, source: "Stream", sink: "Stream") -> None:
        self._loop = loop
        self._lane = lane
        self._back = back
        self._source = source
        self._sink = sink
        self._waiting: deque[_Item] = deque()  # was lost, or stands behind what was
        self._since_ns = 0
        self._flying: deque[_Item] = deque()
        self._last_ns = 0
        self._unread = 0  # bytes that the window is short of
        self._read_unheard = 0  # of those, read, but the acknowledgement is lost
        self._generation = 0

    @property
    def busy(self) -> bool:
        """Whether something is still to come out of it."""
        return bool(self._waiting or self._flying)

    @property
    def room(self) -> int:
        """How many bytes the source may send."""
        return WINDOW_BYTES - self._unread

    def put(self, data: bytes) -> None:
        """Send bytes, as many as there is room for."""
        self._unread += len(data)
        self._send(data)

    def finish(self) -> None:
        """Send the end."""
        self._send(_Mark.FIN)

    def abort(self) -> None:
        """The source gives up: nothing is sent again; the reset is sent once."""
        if self._lane.holds:
            self._waiting.append(_Mark.RESET)  # the network has the rest already, and keeps this too
            return
        self._waiting.clear()
        if not self._lane.cut:
            self._fly(_Mark.RESET)

    def drop(self) -> None:
        """Nothing of it arrives."""
        self._waiting.clear()
        self._flying.clear()
        self._generation += 1

    def go_on(self, *, held: bool) -> None:
        """The lane passes again."""
        if held:
            self._send_again()
        elif self._waiting:
            when_ns = next_attempt_ns(self._since_ns, self._loop.now_ns)
            self._loop.call_at_ns(when_ns, self._attempt, self._generation)

    def read(self, count: int) -> None:
        """The sink has read so many bytes; the source may send as many more, once it hears of it."""
        self._read_unheard += count
        if not self._back.cut:
            self.acknowledge()

    def acknowledge(self) -> None:
        """The source hears what was read."""
        if self._read_unheard:
            self._unread -= self._read_unheard
            self._read_unheard = 0
            self._source.poke_writer()

    def interrupt(self) -> None:
        """Reset the sink, whatever the state of the lane and of the source."""
        when_ns = max(self._lane.arrival_ns(0), self._last_ns, self._loop.now_ns + 1)
        self._loop.call_at_ns(when_ns, self._interrupt)

    def _interrupt(self) -> None:
        self._sink.reset()
        self._sink.connection.check_over()

    def _send(self, item: _Item) -> None:
        if self._source.connection.severed:
            return
        if self._lane.cut or self._waiting:
            if not self._waiting:
                self._since_ns = self._loop.now_ns
            self._waiting.append(item)
        else:
            self._fly(item)

    def _attempt(self, generation: int) -> None:
        if generation == self._generation and not self._lane.cut:
            self._send_again()

    def _send_again(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for item in waiting:
            self._fly(item)
        self._source.connection.check_over()

    def _fly(self, item: _Item) -> None:
        if self._lane.rejects:
            if not self._back.cut:
                self._loop.call_at_ns(self._back.arrival_ns(0), self._source.reset)
            return
        for piece in self._lane.pieces(item) if isinstance(item, bytes) else (item,):
            when_ns = self._lane.arrival_ns(len(piece) if isinstance(piece, bytes) else 0)
            self._last_ns = max(self._last_ns, when_ns)
            self._flying.append(piece)
            self._loop.call_at_ns(self._last_ns, self._arrive, self._generation)

    def _arrive(self, generation: int) -> None:
        if generation != self._generation:
            return
        item = self._flying.popleft()
        sink = self._sink
        if item is _Mark.RESET:
            sink.reset()
        elif sink.gone:
            if isinstance(item, bytes) and not self._back.cut:  # nobody there: the kernel answers with a reset
                self._loop.call_at_ns(self._back.arrival_ns(0), self._source.reset)
        elif item is _Mark.FIN:
            sink.ended()
        else:
            assert isinstance(item, bytes)
            sink.received(item)
            return
        sink.connection.check_over()


class Stream(VirtualFile):
    """One end of a connection: see `io.net.Stream`.

    Attributes:
        connection: whose end it is. gone: closed, or reset, so that its kernel knows nothing of it any more.
        out, incoming: where it sends, and receives from.
    """

    out: Pipe
    incoming: Pipe

    def __init__(self, loop: VirtualLoop, connection: Connection, local: Address, peer: Address) -> None:
        super().__init__(loop)
        self.connection = connection
        self.gone = False
        self.peer = peer
        self._local = local
        self._chunks: deque[bytes] = deque()
        self._taken = 0  # of the first chunk
        self._unread = 0
        self._low_water = 1
        self._at_end = False
        self._error = 0
        self._closed = False
        self._aborts = False

    # --- what its owner does

    def recv_into(self, buffer: memoryview, /) -> int:
        """See `io.net.Stream`."""
        chunks, room, count = self._chunks, len(buffer), 0
        if len(chunks) == 1 and not self._taken and len(chunks[0]) <= room:  # mostly
            chunk = chunks.popleft()
            count = len(chunk)
            buffer[:count] = chunk
        while chunks and count < room:
            chunk = chunks[0]
            part = min(room - count, len(chunk) - self._taken)
            buffer[count:count + part] = chunk[self._taken:self._taken + part]
            count += part
            self._taken += part
            if self._taken == len(chunk):
                chunks.popleft()
                self._taken = 0
        if count:
            self._unread -= count
            self.incoming.read(count)
            return count
        if self._error:
            raise _os_error(self._error)
        if self._at_end:
            return 0
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def send(self, data: Buffer, /) -> int:
        """See `io.net.Stream`."""
        if self._error:
            raise _os_error(self._error)
        count = min(self.out.room, len(data))
        if count <= 0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.out.put(bytes(data if count == len(data) else memoryview(data)[:count]))
        return count

    def sendmsg(self, buffers: Iterable[Buffer], /) -> int:
        """See `io.net.Stream`."""
        return self.send(b"".join(buffers))

    def setblocking(self, flag: bool, /) -> None:
        """It never blocks."""

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None:
        """Options that make a difference here."""
        if level != socket.SOL_SOCKET:
            return
        if option == socket.SO_RCVLOWAT:
            assert isinstance(value, int)
            self._low_water = value
            self.poke()
        elif option == socket.SO_LINGER:
            self._aborts = value == _LINGER_ABORT

    def getsockname(self) -> Address:
        """See `io.net.Stream`."""
        return self._local

    def getpeername(self) -> Address:
        """See `io.net.Stream`."""
        return self.peer

    def close(self) -> None:
        """See `io.net.Stream`. With bytes unread, or after SO_LINGER 0, it is a reset."""
        if self._closed:
            return
        self._closed = True
        self.forget()
        if not self.gone:
            self.gone = True
            if self._aborts or self._unread:
                self.out.abort()
            else:
                self.out.finish()
        self.connection.check_over()

    def readable(self) -> bool:
        """See VirtualFile."""
        return self._unread >= self._low_water or self._at_end or self._error != 0

    def writable(self) -> bool:
        """See VirtualFile."""
        return self._error != 0 or self.out.room > 0

    # --- what comes from the network

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        self._chunks.append(data)
        self._unread += len(data)
        self.poke()

    def ended(self) -> None:
        """The other end will send no more."""
        self._at_end = True
        self.poke()

    def reset_from_afar(self) -> None:
        """Something on the way sends it a reset, which takes its time like everything else."""
        self.incoming.interrupt()

    def reset(self) -> None:
        """The connection is no more."""
        if self._error or self._closed:
            self.out.drop()
            return
        self.gone = True
        self._error = errno.ECONNRESET
        self.out.drop()
        self.poke()


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Listener(VirtualFile):
    """A listening socket: see `io.net.Listener`."""

    def __init__(self, loop: VirtualLoop, local: Address) -> None:
        super().__init__(loop)
        self.local = local
        self.closed = False
        self._queue: deque[Stream] = deque()

    @property
    def is_full(self) -> bool:
        """Whether the kernel drops further SYNs."""
        return len(self._queue) >= BACKLOG_MAX

    def connected(self, stream: Stream) -> None:
        """The kernel has a new connection for it."""
        self._queue.append(stream)
        self.poke()

    def accept(self) -> tuple[Stream, Address]:
        """See `io.net.Listener`."""
        if not self._queue:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        stream = self._queue.popleft()
        return stream, stream.peer

    def getsockname(self) -> Address:
        """See `io.net.Listener`."""
        return self.local

    def close(self) -> None:
        """See `io.net.Listener`."""
        self.closed = True
        self.forget()
        for stream in self._queue:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ABORT)
            stream.close()
        self._queue.clear()

    def readable(self) -> bool:
        """See VirtualFile."""
        return bool(self._queue)
