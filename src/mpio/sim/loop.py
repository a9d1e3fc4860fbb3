"""An asyncio event loop in virtual time: nothing waits, and everything happens in an order that the program decides.

    with VirtualLoop() as loop:
        result = loop.run(main())

Time is a whole number of nanoseconds and jumps to the next timer when nothing is ready. Equal instants keep the order
in which they were asked for. What would reach the real world (threads, processes, signals, name look-ups, the kernel's
sockets) is refused by name. Files are virtual ones (`VirtualFile`); their readiness is told, not polled.

A `Node` is a process of the simulation. Callbacks that were set up inside of one belong to it: while it is paused
they wait, and the delays that it asks for pass by its own clock.
"""
# ruff: noqa: SLF001 - an event loop has to use the private parts of asyncio's handles

import asyncio
import contextvars
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar, TypeVarTuple, cast

from mpio.units import NS_PER_S

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STEPS_MAX = 50_000_000
"""Callbacks of one run. A simulated hour under load takes a few million; more is a loop that goes round and round."""
TIME_MAX_NS = (1 << 22) * NS_PER_S
"""48 days: up to there a float of seconds, as asyncio has them, tells nanoseconds apart."""
_PPM = 1_000_000
_FIRST_FILE = 1 << 20  # far above what a process gets from the kernel, so that none is taken for a real one
_CANCELLED_MIN = 256

_Handle = Any
"""asyncio.Handle or TimerHandle, whose private parts an event loop has to use."""

_NODE: contextvars.ContextVar["Node | None"] = contextvars.ContextVar("node", default=None)


class SimulationError(Exception):
    """The simulation can't go on: stuck, endless, or a callback failed."""


class RealWorldRefused(SimulationError, NotImplementedError):
    """Something real was asked for, which no seed could repeat."""


class _Event:
    """A timer of the simulation itself."""

    __slots__ = ("args", "callback")
    _cancelled = False

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.callback = callback
        self.args = args


class VirtualFile:
    """Something with a file number that can be waited for. Subclasses say when it is ready, and call `poke` then."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self.loop = loop
        self._number = loop.add_file(self)
        self._reader: _Callback | None = None
        self._writer: _Callback | None = None

    def fileno(self) -> int:
        """Its number, for `add_reader` and `add_writer`; -1 once it is closed."""
        return self._number

    def readable(self) -> bool:
        """Whether a reader would find something."""
        return False

    def writable(self) -> bool:
        """Whether a writer could write, or would find an error."""
        return False

    def poke(self) -> None:
        """It may have become readable or writable: let those run who wait for it."""
        reader = self._reader
        if reader is not None and not reader.queued and self.readable():
            reader.queue(self.loop)
        if self._writer is not None:
            self.poke_writer()

    def poke_writer(self) -> None:
        """It may have become writable."""
        writer = self._writer
        if writer is not None and not writer.queued and self.writable():
            writer.queue(self.loop)

    def forget(self) -> None:
        """It is closed."""
        self.loop.remove_file(self._number)
        self._number = -1
        self._reader = self._writer = None

    def watch(self, callback: "_Callback | None", *, write: bool) -> None:
        """Set or remove who waits."""
        if write:
            self._writer = callback
        else:
            self._reader = callback
        self.poke()

    def waited_for(self, *, write: bool) -> bool:
        """Whether anybody waits."""
        return (self._writer if write else self._reader) is not None

    def ready(self, callback: "_Callback", *, write: bool) -> bool:
        """Whether this callback is the one that waits, with reason."""
        current = self._writer if write else self._reader
        return current is callback and (self.writable() if write else self.readable())


class _Callback:
    """Who waits for a file: called again and again while it is ready, as with epoll."""

    __slots__ = ("args", "callback", "context", "file", "queued", "write")

    def __init__(self, file: VirtualFile, callback: Callable[..., object], args: tuple[Any, ...], *,
                 write: bool) -> None:
        self.file = file
        self.callback = callback
        self.args = args
        self.context = contextvars.copy_context()
        self.write = write
        self.queued = False

    def queue(self, loop: "VirtualLoop") -> None:
        """Run it: at once if this is the simulation's own doing and nothing else is under way, else soon."""
        self.queued = True
        if loop.in_event and not loop.paused_nodes:
            loop.in_event = False  # what this sets off comes after it, not within
            loop.steps += 1
            self.context.run(self.run)
        else:
            loop.call_soon(self.run, context=self.context)

    def run(self) -> None:
        self.queued = False
        if self.file.ready(self, write=self.write):
            self.callback(*self.args)
            self.file.poke()


class Node:
    """A process of the simulation.

    Args:
        loop: whose time it lives in.
        name: for messages.
        clock_ppm: how much faster its clock goes than the loop's, in millionths.

    Attributes:
        paused: nothing of it runs.
    """

    def __init__(self, loop: "VirtualLoop", name: str, *, clock_ppm: int = 0) -> None:
        self.name = name
        self.paused = False
        self._loop = loop
        self._rate = _PPM + clock_ppm
        self._backlog: deque[_Handle] = deque()
        self._context = contextvars.copy_context()
        self._context.run(_NODE.set, self)
        if clock_ppm:
            loop.clocks_differ = True

    def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call a function as this process: what it sets up belongs to it."""
        return self._context.copy().run(function, *args)

    def clock(self) -> int:
        """Its monotonic clock, in ns."""
        return self._loop.now_ns * self._rate // _PPM

    def delay_ns(self, own_ns: int) -> int:
        """How long a delay by its clock takes."""
        return -(-own_ns * _PPM // self._rate)

    def pause(self) -> None:
        """Stop it, as SIGSTOP does."""
        if not self.paused:
            self.paused = True
            self._loop.paused_nodes += 1

    def resume(self) -> None:
        """Go on where it was: everything that came meanwhile comes now, in order."""
        if self.paused:
            self.paused = False
            self._loop.paused_nodes -= 1
            self._loop.take_back(self._backlog)

    def discard(self) -> None:
        """It is dead: what waits for it never runs."""
        self._backlog.clear()
        self.resume()

    def put_off(self, handle: _Handle) -> None:
        """Keep a callback until it goes on."""
        self._backlog.append(handle)


class _Task(asyncio.Task[T]):
    """A task whose hash is its number, so that sets of tasks have the same order in every run."""

    _number: int

    def __new__(cls, _coro: object, *, loop: "VirtualLoop", **_details: object) -> Self:
        self = super().__new__(cls)
        self._number = next(loop.task_numbers)
        return self

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module.

    Args:
        tie_seed: if given, timers of the same instant fire in an order drawn from it, to show that nobody depends
            on theirs.
        steps_max: callbacks after which the run is taken for endless.

    Attributes:
        now_ns: the time. steps: callbacks run so far.
        paused_nodes, clocks_differ, task_numbers, in_event: for nodes, tasks and files.
    """

    _stopping: bool

    def __init__(self, *, tie_seed: int | None = None, steps_max: int = STEPS_MAX) -> None:
        super().__init__()
        self.now_ns = 0
        self.steps = 0
        self.paused_nodes = 0
        self.in_event = False
        self.clocks_differ = False
        self.task_numbers = itertools.count()
        self._steps_max = steps_max
        self._timers: list[tuple[int, float, int, _Handle | _Event]] = []
        self._timer_count = 0
        self._cancelled = 0
        self._ties = None if tie_seed is None else random.Random(tie_seed)
        self._ready: deque[_Handle] = deque()  # BaseEventLoop's, as are _stopping and _run_once
        self._files: dict[int, VirtualFile] = {}
        self._file_numbers = itertools.count(_FIRST_FILE)
        self._crash: BaseException | None = None
        self.set_task_factory(cast("Any", self._make_task))
        self.set_exception_handler(self._crashed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run to the end, then cancel what is left, the oldest first.

        Raises:
            SimulationError: nothing will ever happen again, or far too much does, or a callback failed.
        """
        try:
            return self.run_until_complete(main)
        finally:
            left = sorted(asyncio.all_tasks(self), key=hash)
            for task in left:
                task.cancel()
            if left and self._crash is None:
                self.run_until_complete(_ended(left))

    # --- time

    def time(self) -> float:
        """Virtual seconds."""
        return self.now_ns / NS_PER_S

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's; the delay is rounded up to whole ns, so that no timer is early."""
        return self._set_timer(-int(-delay * NS_PER_S // 1), callback, args, context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """As `call_later`, with an instant."""
        return self._set_timer(-int(-when * NS_PER_S // 1) - self.now_ns, callback, args, context)

    def call_at_ns(self, when_ns: int, callback: Callable[..., object], *args: Any) -> None:
        """Of the simulation itself: exactly then, in no node, and never taken back."""
        self._push(when_ns, _Event(callback, args))

    def _set_timer(
        self, delay_ns: int, callback: Callable[..., object], args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> asyncio.TimerHandle:
        if self.clocks_differ:
            node = _NODE.get() if context is None else context.get(_NODE)
            if node is not None:
                delay_ns = node.delay_ns(delay_ns)
        when_ns = self.now_ns + delay_ns
        handle: _Handle = asyncio.TimerHandle(when_ns / NS_PER_S, callback, args, self, context)
        handle._scheduled = True  # so that its cancelling is counted
        self._push(when_ns, handle)
        return cast("asyncio.TimerHandle", handle)

    def _push(self, when_ns: int, handle: _Handle | _Event) -> None:
        self._timer_count += 1
        tie = 0.0 if self._ties is None else self._ties.random()
        heapq.heappush(self._timers, (when_ns, tie, self._timer_count, handle))

    def _timer_handle_cancelled(self, handle: _Handle) -> None:
        if handle._scheduled:
            self._cancelled += 1
            if self._cancelled > _CANCELLED_MIN and 2 * self._cancelled > len(self._timers):
                self._timers[:] = [timer for timer in self._timers if not timer[3]._cancelled]
                heapq.heapify(self._timers)
                self._cancelled = 0

    # --- one turn

    def _run_once(self) -> None:
        """Until somebody stops the loop: what is ready, then the next timer, and so on."""
        ready = self._ready
        while True:
            while ready:
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                if self.paused_nodes:
                    node = handle._context.get(_NODE)
                    if node is not None and node.paused:
                        node.put_off(handle)
                        continue
                self.steps += 1
                try:  # as `Handle._run`, without the call
                    handle._context.run(handle._callback, *handle._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as crash:  # noqa: BLE001 - told at the end of the turn
                    self._crashed(self, {"exception": crash})
            if self._stopping and self._crash is None:
                return
            if self._crash is not None:
                raise SimulationError(f"a callback failed: {self._crash!r}") from self._crash
            if self.steps > self._steps_max:
                raise SimulationError(f"more than {self._steps_max} callbacks in {self.time():g} simulated seconds")
            self._next_timer()

    def _next_timer(self) -> None:
        timers = self._timers
        while timers:
            when_ns, _, _, handle = heapq.heappop(timers)
            if handle._cancelled:
                self._cancelled -= 1
                continue
            if when_ns > self.now_ns:
                if when_ns > TIME_MAX_NS:
                    raise SimulationError(f"nothing happens before {when_ns / NS_PER_S:g} s: the end of simulated time")
                self.now_ns = when_ns
            if isinstance(handle, _Event):
                self.steps += 1
                self.in_event = True
                try:
                    handle.callback(*handle.args)
                except Exception as crash:  # noqa: BLE001 - as those of other callbacks
                    self._crashed(self, {"exception": crash})
                self.in_event = False
            else:
                handle._scheduled = False
                self._ready.append(handle)
            return
        waiting = [task.get_name() for task in sorted(asyncio.all_tasks(self), key=hash)]
        raise SimulationError(
            f"nothing will ever happen again after {self.time():g} s; waiting: {', '.join(waiting) or 'nobody'}")

    def take_back(self, backlog: deque[_Handle]) -> None:
        """The callbacks of a node that goes on."""
        self._ready.extend(backlog)
        backlog.clear()

    def _crashed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if self._crash is None:
            self._crash = context.get("exception") or SimulationError(str(context.get("message")))

    def _make_task(
        self, _loop: asyncio.AbstractEventLoop, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], **details: Any
    ) -> asyncio.Task[T]:
        return _Task(cast("Any", coro), loop=self, **details)

    # --- files

    def add_file(self, file: VirtualFile) -> int:
        """Give it a number."""
        number = next(self._file_numbers)
        self._files[number] = file
        return number

    def remove_file(self, number: int) -> None:
        """The number is void."""
        self._files.pop(number, None)

    def add_reader(self, fd: Any, callback: Callable[[*Ts], Any], *args: *Ts) -> None:
        """Call back whenever the file is readable."""
        file = self._file(fd, "add_reader")
        file.watch(_Callback(file, callback, args, write=False), write=False)

    def remove_reader(self, fd: Any) -> bool:
        """No more. Returns whether there was anything to remove."""
        return self._unwatch(fd, write=False)

    def add_writer(self, fd: Any, callback: Callable[[*Ts], Any], *args: *Ts) -> None:
        """Call back whenever the file is writable."""
        file = self._file(fd, "add_writer")
        file.watch(_Callback(file, callback, args, write=True), write=True)

    def remove_writer(self, fd: Any) -> bool:
        """No more. Returns whether there was anything to remove."""
        return self._unwatch(fd, write=True)

    def _unwatch(self, fd: Any, *, write: bool) -> bool:
        file = self._files.get(fd if isinstance(fd, int) else fd.fileno())
        if file is None or not file.waited_for(write=write):
            return False
        file.watch(None, write=write)
        return True

    def _file(self, fd: Any, call: str) -> VirtualFile:
        file = self._files.get(fd if isinstance(fd, int) else fd.fileno())
        if file is None:
            _refuse(f"{call} of a file that is not of the simulation")
        return file

    def _write_to_self(self) -> None:
        _refuse("call from another thread")


async def _ended(tasks: list[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def _refuse(what: str) -> NoReturn:
    raise RealWorldRefused(f"a simulation has no {what}")


def _refusing(what: str) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        _refuse(what)

    return refuse


for _name, _what in {
    "run_in_executor": "threads", "getaddrinfo": "name look-ups", "getnameinfo": "name look-ups",
    "create_connection": "real connections", "create_server": "real listeners",
    "create_datagram_endpoint": "real datagrams", "create_unix_connection": "real connections",
    "create_unix_server": "real listeners", "subprocess_shell": "processes", "subprocess_exec": "processes",
    "connect_read_pipe": "real pipes", "connect_write_pipe": "real pipes", "sock_connect": "real sockets",
    "sock_accept": "real sockets", "sock_recv": "real sockets", "sock_recv_into": "real sockets",
    "sock_sendall": "real sockets", "add_signal_handler": "signals",
}.items():
    setattr(VirtualLoop, _name, _refusing(_what))
