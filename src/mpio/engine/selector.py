"""Path selectors: which path of the active group takes the next command.

As in dm-multipath (drivers/md/dm-ps-*.c). All paths of a group count as equally fast. A path that has
`queue_depth` commands in flight is passed over; if all have, the command waits in the map.
"""

from collections.abc import Sequence
from typing import Protocol

from mpio.engine.path import Path
from mpio.model.settings import Settings


class PathSelector(Protocol):
    """Chooses among the usable paths of one group."""

    def choose(self, paths: Sequence[Path], length: int) -> Path | None:
        """The path for a command that moves `length` bytes, or None if none has room."""
        ...


class RoundRobin:
    """Each path in turn, `rr_min_io_rq` commands at a time."""

    def __init__(self, rr_min_io_rq: int = 1) -> None:
        self._repeat = max(rr_min_io_rq, 1)
        self._turn = 0
        self._left = self._repeat

    def choose(self, paths: Sequence[Path], length: int) -> Path | None:  # noqa: ARG002 - all selectors are told
        """The path whose turn it is; one without room loses the rest of its turn."""
        count = len(paths)
        for _ in range(count):
            if self._left == 0:
                self._turn += 1
                self._left = self._repeat
            path = paths[self._turn % count]
            if path.in_flight < path.depth:
                self._left -= 1
                return path
            self._left = 0
        return None


class QueueLength:
    """The path with the fewest commands in flight; ties go round."""

    def __init__(self) -> None:
        self._first = 0

    def choose(self, paths: Sequence[Path], length: int) -> Path | None:  # noqa: ARG002 - all selectors are told
        """Least `in_flight`."""
        count = len(paths)
        best: Path | None = None
        best_load = 0
        for step in range(count):
            path = paths[(self._first + step) % count]
            load = path.in_flight
            if load < path.depth and (best is None or load < best_load):
                best, best_load = path, load
        self._first += 1
        return best


class ServiceTime:
    """The path with the fewest bytes in flight, which is done soonest where all are equally fast; ties go round."""

    def __init__(self) -> None:
        self._first = 0

    def choose(self, paths: Sequence[Path], length: int) -> Path | None:  # noqa: ARG002 - the same for every path
        """Least `in_flight_bytes`, then least `in_flight`."""
        count = len(paths)
        if count == 1:  # no choice
            path = paths[0]
            return path if path.in_flight < path.depth else None
        first = self._first = (self._first + 1) % count if count else 0
        best: Path | None = None
        best_bytes = 0
        for at in range(first, first + count):
            path = paths[at if at < count else at - count]
            load = path.in_flight_bytes
            if path.in_flight < path.depth and (
                best is None or load < best_bytes or (load == best_bytes and path.in_flight < best.in_flight)
            ):
                best, best_bytes = path, load
        return best


def make_selector(settings: Settings) -> PathSelector:
    """The selector that `path_selector` names."""
    if settings.path_selector == "round-robin":
        return RoundRobin(settings.rr_min_io_rq)
    if settings.path_selector == "queue-length":
        return QueueLength()
    return ServiceTime()
