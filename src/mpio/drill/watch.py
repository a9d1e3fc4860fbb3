"""Waiting for things to happen to paths and nodes: a live index over the journal."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

from mpio.check.stall import DETECTING, is_failure, node_of, path_of
from mpio.events import Event, Journal, Kind

Place = tuple[int, int]
"""A node, and a path of it; path 0 for the node itself."""

T = TypeVar("T")

_MOMENTS = {Kind.IO_REROUTED: "rerouted", Kind.LOGIN_COMPLETED: "reconnected", Kind.PATH_REINSTATED: "reinstated"}


class Watch:
    """Remembers when each moment last happened to each path and node, and wakes whoever waits.

    Must be made on the event loop that the journal is written from.
    """

    def __init__(self, journal: Journal, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._latest: dict[tuple[Place, str], int] = {}
        self._wakers: dict[asyncio.Event, None] = {}  # in the order of coming, which a set would not keep
        journal.sinks.append(self._see)

    def _see(self, event: Event) -> None:
        path, node = path_of(event.source), node_of(event.source)
        if path is not None:
            place = (node, path)
            if event.kind in DETECTING:
                self._latest[place, "detected"] = event.t_ns
            if is_failure(event):
                self._latest[place, "failed"] = event.t_ns
            if event.kind in _MOMENTS:
                self._latest[place, _MOMENTS[event.kind]] = event.t_ns
        elif event.kind is Kind.NODE_FENCED:
            self._latest[(node, 0), "fenced"] = event.t_ns
        elif event.kind is Kind.PEER_DEAD and isinstance(peer := event.fields.get("node"), int):
            self._latest[(peer, 0), "declared-dead"] = event.t_ns
        else:
            return
        for waker in self._wakers:
            waker.set()

    def happened(self, place: Place, moment: str, since_ns: int) -> bool:
        """Whether the moment came to the place at `since_ns` or later."""
        return self._latest.get((place, moment), since_ns - 1) >= since_ns

    async def until(self, moment: str, since_ns: dict[Place, int], timeout_ns: int) -> list[Place]:
        """Wait until the moment has come to each place since its instant. Returns those that it did not come to."""
        return await self.until_true(
            lambda: [place for place, t_ns in since_ns.items() if not self.happened(place, moment, t_ns)], timeout_ns)

    async def until_true(self, missing: Callable[[], Iterable[T]], timeout_ns: int) -> list[T]:
        """Wait until nothing is missing, looking again after every event of a place. Returns what still is."""
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
