"""One connected TCP socket around one protocol engine of either role.

Owns: reading into the engine's own buffer, gathering its output into few system calls, its one timer, and the end
of the connection. Knows nothing of iSCSI. The engine is told of bytes and time, and is asked for bytes and deadlines.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from mpio.io.coalesce import Coalescer
from mpio.io.give_way import GiveWay
from mpio.io.net import Stream
from mpio.model.task import Buffer
from mpio.units import NS_PER_S

FINISH_S = 2.0  # for a peer to take the last words of a connection
READS_MAX = 16  # before others get their turn
LARGE_BYTES = 32 << 10
IOV_MAX = 512  # buffers a sendmsg call; the kernel takes 1024
_LINGER_ABORT = struct.pack("ii", 1, 0)

E_co = TypeVar("E_co", covariant=True)


class Engine(Protocol[E_co]):
    """What a channel needs of a protocol engine; `InitiatorConnection` and `TargetConnection` have it."""

    wake: Callable[[], None] | None

    def receive_buffer(self) -> memoryview:
        """Where the next bytes are to be read into."""

    def receive_done(self, count: int, now: int, /) -> None:
        """`count` bytes were read into the buffer."""

    def receive_eof(self, now: int, cause: str, /) -> None:
        """The TCP connection ended."""

    def data_to_send(self) -> list[Buffer]:
        """Everything that is ready to be sent, handed over once."""

    def handle_timer(self, now: int, /) -> None:
        """A deadline has passed, perhaps."""

    def next_deadline(self) -> int | None:
        """When to call `handle_timer`, in ns, or None."""

    def next_event(self) -> E_co | None:
        """The next thing that happened, or None."""


T = TypeVar("T")


class Channel(Generic[T]):
    """Moves bytes, time and events between a socket and an engine until `close`.

    Attributes:
        closed: whether the socket is closed. on_close: called once when it is.

    Args:
        sock: connected and non-blocking; the channel owns it from now on.
        engine: the protocol engine.
        clock: returns the present time in ns.
        on_event: called with each event of the engine.
        after: called after the engine was given input and its events were handed out.
        owed: see `Coalescer`, where it is known what the peer owes: then reads are coalesced.
        give_way: called before reads that others may rather come before, if the peer is one of them.
    """

    def __init__(
        self,
        sock: Stream,
        engine: Engine[T],
        clock: Callable[[], int],
        on_event: Callable[[T], None],
        after: Callable[[], None] | None = None,
        owed: Callable[[int], tuple[int, int]] | None = None,
        give_way: GiveWay | None = None,
    ) -> None:
        self.engine = engine
        self.closed = False
        self.on_close: Callable[[], object] | None = None
        self._sock = sock
        self._fd = sock.fileno()
        self._clock = clock
        self._on_event = on_event
        self._after = after
        self._give_way = give_way
        self._loop = asyncio.get_running_loop()
        self._unsent: list[Buffer] = []
        self._blocked = False  # the socket's send buffer is full; a writer callback is registered
        self._busy = False  # inside an engine call, whose output is flushed at its end
        self._flush_scheduled = False
        self._finishing = False
        self._finish_timer: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._coalescer = Coalescer(sock, owed, self._readable) if owed is not None else None
        engine.wake = self._wake
        self._loop.add_reader(self._fd, self._readable)

    def pump(self) -> None:
        """Hand out events, send what is ready, arm the timer. Called after anything was done to the engine."""
        self._busy = True
        next_event = self.engine.next_event
        while (event := next_event()) is not None:
            self._on_event(event)
        if self._after is not None:
            self._after()
        self._busy = False
        if not self.closed:
            self._flush()
        if not self.closed:
            self._arm()

    def finish(self) -> None:
        """Read nothing more; close once everything that is ready has been sent, or after FINISH_S."""
        if self.closed or self._finishing:
            return
        self._finishing = True
        self._loop.remove_reader(self._fd)
        self._finish_timer = self._loop.call_later(FINISH_S, self.close)
        if not self._busy:
            self._flush()

    def close(self, *, abort: bool = True) -> None:
        """Close the socket; `abort` throws away what was not sent yet, so that none of it can arrive later."""
        if self.closed:
            return
        self.closed = True
        self.engine.wake = None
        for timer in (self._timer, self._finish_timer):
            if timer is not None:
                timer.cancel()
        if self._coalescer is not None:
            self._coalescer.stop()
        self._loop.remove_reader(self._fd)
        if self._blocked:
            self._loop.remove_writer(self._fd)
        if abort:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ABORT)
        self._sock.close()
        self._unsent.clear()
        if self.on_close is not None:
            self.on_close()

    def _readable(self) -> None:
        engine = self.engine
        if self._give_way is not None:
            self._give_way()
        for _ in range(READS_MAX):
            buffer = engine.receive_buffer()
            try:
                count = self._sock.recv_into(buffer)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._ended(error.strerror or str(error))
                return
            if count == 0:
                self._ended("closed by the peer")
                return
            if self._coalescer is not None:
                self._coalescer.received(count)
            self._busy = True
            engine.receive_done(count, self._clock())
            if count < len(buffer):
                break  # behind a filled one more waits: a large segment in its place, or a small batch
            if count >= LARGE_BYTES:
                self.pump()  # what its end has set off need not wait for the others
                if self.closed:
                    return
                if self._give_way is not None:
                    self._give_way()
        self.pump()

    def _ended(self, cause: str) -> None:
        self._loop.remove_reader(self._fd)
        self._busy = True
        self.engine.receive_eof(self._clock(), cause)
        self.pump()

    def _wake(self) -> None:
        if not self._busy and not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._flush_scheduled = False
        if not self.closed:
            self.pump()

    def _flush(self) -> None:
        if self._blocked:
            return  # what the engine has stays there, and so is known not to have been sent
        buffers = self._unsent or self.engine.data_to_send()
        send = self._sock.send
        while buffers:
            try:
                count = send(buffers[0]) if len(buffers) == 1 else self._sock.sendmsg(buffers[:IOV_MAX])
            except (BlockingIOError, InterruptedError):
                count = 0
            except OSError as error:
                self._unsent = []
                self._loop.call_soon(self._send_failed, error.strerror or str(error))
                return
            if count:
                buffers = _drop_front(buffers, count) or self.engine.data_to_send()
            else:
                self._unsent = buffers
                self._blocked = True
                self._loop.add_writer(self._fd, self._writable)
                return
        self._unsent = []
        if self._finishing:
            self.close(abort=False)

    def _send_failed(self, cause: str) -> None:
        if not self.closed:
            self._ended(cause)

    def _writable(self) -> None:
        self._loop.remove_writer(self._fd)
        self._blocked = False
        self._flush()

    def _arm(self) -> None:
        deadline = self.engine.next_deadline()
        if deadline is None:
            return
        if self._timer is not None:
            # Deadlines mostly move away with each PDU: let an early timer fire in vain rather than re-arm it each time.
            if self._timer_ns <= deadline:
                return
            self._timer.cancel()
        self._timer_ns = deadline
        delay_ns = deadline - self._clock()
        self._timer = self._loop.call_later(max(delay_ns, 0) / NS_PER_S, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._busy = True
        now = self._clock()
        if now >= self._timer_ns:
            self.engine.handle_timer(now)
        self.pump()


def _drop_front(buffers: list[Buffer], count: int) -> list[Buffer]:
    """What is left of the buffers after the first `count` bytes of them were sent."""
    for index, buffer in enumerate(buffers):
        if count < len(buffer):
            return [memoryview(buffer)[count:], *buffers[index + 1 :]]
        count -= len(buffer)
    return []
