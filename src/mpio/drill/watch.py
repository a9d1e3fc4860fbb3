"""Waiting for things to happen to paths: a live index over the journal."""

import asyncio
from collections.abc import Callable, Iterable

from mpio.check.stall import DETECTING, is_failure, path_of
from mpio.events import Event, Journal, Kind

_MOMENTS = {Kind.IO_REROUTED: "rerouted", Kind.LOGIN_COMPLETED: "reconnected", Kind.PATH_REINSTATED: "reinstated"}


class Watch:
    """Remembers when each moment last happened to each path, and wakes whoever waits.

    Must be made on the event loop that the journal is written from.
    """

    def __init__(self, journal: Journal, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._latest: dict[tuple[int, str], int] = {}
        self._wakers: dict[asyncio.Event, None] = {}  # in the order of coming, which a set would not keep
        journal.sinks.append(self._see)

    def _see(self, event: Event) -> None:
        path = path_of(event.source)
        if path is None:
            return
        if event.kind in DETECTING:
            self._latest[path, "detected"] = event.t_ns
        if is_failure(event):
            self._latest[path, "failed"] = event.t_ns
        if event.kind in _MOMENTS:
            self._latest[path, _MOMENTS[event.kind]] = event.t_ns
        for waker in self._wakers:
            waker.set()

    def happened(self, path: int, moment: str, since_ns: int) -> bool:
        """Whether the moment came to the path at `since_ns` or later."""
        return self._latest.get((path, moment), since_ns - 1) >= since_ns

    async def until(self, moment: str, since_ns: dict[int, int], timeout_ns: int) -> list[int]:
        """Wait until the moment has come to each path since its instant. Returns the paths that it did not come to."""
        return await self.until_true(
            lambda: [path for path, t_ns in since_ns.items() if not self.happened(path, moment, t_ns)], timeout_ns)

    async def until_true(self, missing: Callable[[], Iterable[int]], timeout_ns: int) -> list[int]:
        """Wait until nothing is missing, looking again after every event of a path. Returns what still is."""
        deadline_ns = self._clock() + timeout_ns
        waker = asyncio.Event()
        self._wakers[waker] = None
        try:
            while (left := list(missing())) and (remaining_ns := deadline_ns - self._clock()) > 0:
                waker.clear()
                try:
                    async with asyncio.timeout(remaining_ns / 1e9):
                        await waker.wait()
                except TimeoutError:
                    pass
            return left
        finally:
            self._wakers.pop(waker, None)
