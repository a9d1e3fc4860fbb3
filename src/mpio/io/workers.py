"""A few threads for system calls that wait for a disk, so that the event loop need not.

Results are handed out on the event loop's thread, many at a time; or, where somebody has to wait for them, by `drain`.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

R = TypeVar("R")
E = TypeVar("E", bound=Exception)


class Workers(Generic[R, E]):
    """Threads that start with the first call and end with `close`.

    Args:
        count: how many calls go side by side; more wait.
        error: what the calls may raise; it is handed out as their result.
    """

    def __init__(self, count: int, error: type[E]) -> None:
        self._count = count
        self._error = error
        self._calls: SimpleQueue[tuple[Callable[[], R], Callable[[R | E], None]] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[Callable[[R | E], None], R | E]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._announced = False
        self._pending = 0

    def start(self, call: Callable[[], R], done: Callable[[R | E], None]) -> None:
        """Make a call in a thread; `done` gets its result on the loop that runs now, or in `drain`."""
        self._loop = asyncio.get_running_loop()
        self._pending += 1
        if len(self._threads) < min(self._count, self._pending):
            thread = threading.Thread(target=self._work, name="mpio-store", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._calls.put((call, done))

    def drain(self, timeout_s: float) -> bool:
        """Wait for all calls, and hand their results out. Whether none is left; each may take so long."""
        while self._pending:
            try:
                done, result = self._results.get(timeout=timeout_s)
            except Empty:
                return False
            self._pending -= 1
            done(result)
        return True

    def close(self) -> None:
        """End the threads, once they have done what they are at."""
        for _ in self._threads:
            self._calls.put(None)
        self._threads.clear()

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            call, done = item
            result: R | E
            try:
                result = call()
            except self._error as error:
                result = error
            self._results.put((done, result))
            if not self._announced and self._loop is not None:
                self._announced = True
                with contextlib.suppress(RuntimeError):  # the loop has ended: whoever still cares drains
                    self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._announced = False  # before looking: a result that comes now is announced again, or seen
        while True:
            try:
                done, result = self._results.get_nowait()
            except Empty:
                return
            self._pending -= 1
            done(result)
