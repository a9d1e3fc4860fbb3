"""One end of a connection with a protocol engine of either role around it: what `io.channel` is for real sockets."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from mpio.model.task import Buffer
from mpio.sim.swarm.link import End
from mpio.sim.swarm.schedule import Timer

E_co = TypeVar("E_co", covariant=True)
T = TypeVar("T")


class Engine(Protocol[E_co]):
    """What both roles have."""

    wake: Callable[[], None] | None

    def receive(self, data: Buffer, now: int, /) -> None:
        """Take bytes."""

    def receive_eof(self, now: int, cause: str, /) -> None:
        """The TCP connection ended."""

    def data_to_send(self) -> list[Buffer]:
        """Everything that is ready to be sent, handed over once."""

    def handle_timer(self, now: int, /) -> None:
        """A deadline has passed, perhaps."""

    def next_deadline(self) -> int | None:
        """When to call `handle_timer`."""

    def next_event(self) -> E_co | None:
        """The next thing that happened, or None."""


class Endpoint(Generic[T]):
    """Moves bytes, time and events between a connection and an engine until `close`.

    Args:
        end: of the connection; the endpoint owns it from now on.
        engine: the protocol engine.
        clock: the time it is told.
        on_event: called with each event of the engine.
        after: called after the engine was given input and its events were handed out.
    """

    def __init__(
        self, end: End, engine: Engine[T], clock: Callable[[], int], on_event: Callable[[T], None],
        after: Callable[[], None] | None = None,
    ) -> None:
        self.closed = False
        self._end = end
        self._engine = engine
        self._clock = clock
        self._on_event = on_event
        self._after = after
        self._busy = False
        self._flush_scheduled = False
        self._finishing = False
        self._timer = Timer(end.process, self._ring)
        engine.wake = self._wake

    def open(self) -> None:
        """Begin: what has come already is received now."""
        self._end.adopt(self)
        if not self.closed:
            self.pump()

    def receive(self, data: bytes) -> None:
        """Bytes came."""
        if not (self.closed or self._finishing):
            self._busy = True
            self._engine.receive(data, self._clock())
            self.pump()

    def lost(self, cause: str) -> None:
        """The connection is over."""
        if not self.closed:
            self._busy = True
            self._engine.receive_eof(self._clock(), cause)
            self.pump()

    def writable(self) -> None:
        """There is room for more to send."""
        if not self.closed:
            self._flush()

    def pump(self) -> None:
        """Hand out events, send what is ready, arm the timer. Called after anything was done to the engine."""
        self._busy = True
        while (event := self._engine.next_event()) is not None:
            self._on_event(event)
        if self._after is not None:
            self._after()
        self._busy = False
        if not self.closed:
            self._flush()
        if not self.closed:
            self._timer.arm(self._engine.next_deadline())

    def finish(self) -> None:
        """Read nothing more; close in good order once everything that is ready has been sent."""
        self._finishing = True
        if not self._busy:
            self._flush()

    def close(self, *, abort: bool = True) -> None:
        """Close; `abort` throws away what was not sent yet."""
        if not self.closed:
            self.closed = True
            self._engine.wake = None
            self._end.close(abort=abort)

    def _wake(self) -> None:
        if not self._busy and not self._flush_scheduled:
            self._flush_scheduled = True
            self._end.process.soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._flush_scheduled = False
        if not self.closed:
            self.pump()

    def _flush(self) -> None:
        end = self._end
        while end.has_room:
            pieces = self._engine.data_to_send()
            if not pieces:
                if self._finishing:
                    self.close(abort=False)
                return
            end.out.send(b"".join(pieces))

    def _ring(self) -> None:
        if not self.closed:
            self._busy = True
            self._engine.handle_timer(self._clock())
            self.pump()
