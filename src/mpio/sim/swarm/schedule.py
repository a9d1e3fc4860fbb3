"""Virtual time: a heap of calls, and processes that have a clock of their own and can be stopped for a while.

All instants are integer nanoseconds since the start of the run. Calls for the same instant run in the order in which
they were asked for, so a run is a function of its plan alone.
"""

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

from mpio.errors import MpioError

STEPS_MAX = 500_000  # calls of one run; a usual one has a few thousand
_MILLION = 1_000_000


class Runaway(MpioError):
    """The run does not come to an end: something calls itself without letting time pass, or far too often."""

    code = "runaway"


class Schedule:
    """Calls in the order of time.

    Attributes:
        now: the present instant.
        steps: calls made so far. connections: made so far.
    """

    def __init__(self) -> None:
        self.now = 0
        self.steps = 0
        self.connections = 0
        self._heap: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, when_ns: int, call: Callable[..., object], *args: object) -> None:
        """Call at an instant; one that is over counts as now."""
        self._count += 1
        heapq.heappush(self._heap, (max(self.now, when_ns), self._count, call, args))

    def run(self, until_ns: int, stop: Callable[[], bool]) -> bool:
        """Make the calls up to `until_ns`, or until `stop` says so after one of them. Returns whether it did.

        Raises Runaway after STEPS_MAX calls.
        """
        heap = self._heap
        while heap and heap[0][0] <= until_ns:
            self.now, _, call, args = heapq.heappop(heap)
            self.steps += 1
            if self.steps > STEPS_MAX:
                raise Runaway(f"{STEPS_MAX} calls, and no end at {self.now / 1e9:.3f} s")
            call(*args)
            if stop():
                return True
        self.now = max(self.now, until_ns)
        return False


class Process:
    """One process on its own machine: what it does, it does while it lives and is not stopped.

    Its clock runs `ppm` millionths fast (or slow, if negative). While it is paused the kernel takes what comes for
    it; afterwards it handles that first and then the timers that are due, as an event loop does.
    """

    def __init__(self, schedule: Schedule, ppm: int = 0) -> None:
        self.schedule = schedule
        self.alive = True
        self.pauses = 0  # how many reasons there are for it to stand still
        self._ppm = ppm
        self._input: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._timers: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()

    def clock(self) -> int:
        """Its own time."""
        now = self.schedule.now
        return now + now * self._ppm // _MILLION

    def call(self, call: Callable[..., object], *args: object) -> None:
        """Something came for it: handle it now, or after the pause."""
        if self.alive:
            if self.pauses:
                self._input.append((call, args))
            else:
                call(*args)

    def soon(self, call: Callable[..., object], *args: object) -> None:
        """Call at this instant, after what is under way."""
        self.schedule.at(self.schedule.now, self.call, call, *args)

    def at(self, local_ns: int, call: Callable[..., object], *args: object) -> None:
        """Call when its own clock shows this time."""
        when = -(-local_ns * _MILLION // (_MILLION + self._ppm))
        if when + when * self._ppm // _MILLION < local_ns:
            when += 1
        self.schedule.at(when, self._due, call, *args)

    def later(self, delay_ns: int, call: Callable[..., object], *args: object) -> None:
        """Call after a time on its own clock."""
        self.at(self.clock() + delay_ns, call, *args)

    def _due(self, call: Callable[..., object], *args: object) -> None:
        if self.alive:
            if self.pauses:
                self._timers.append((call, args))
            else:
                call(*args)

    def pause(self) -> None:
        """Stand still until as many `resume`."""
        self.pauses += 1

    def resume(self) -> None:
        """Go on, if there is no other reason to stand still."""
        self.pauses -= 1
        for queue in (self._input, self._timers):
            while queue and self.alive and not self.pauses:
                call, args = queue.popleft()
                call(*args)

    def kill(self) -> None:
        """It does nothing any more."""
        self.alive = False
        self._input.clear()
        self._timers.clear()


class Timer:
    """One deadline of a process that mostly moves away: it may fire early and in vain, but is never re-armed for that.

    Args:
        process: whose clock it goes by. ring: called when the deadline may have come; may arm it again.
    """

    def __init__(self, process: Process, ring: Callable[[], None]) -> None:
        self._process = process
        self._ring = ring
        self._armed: int | None = None

    def arm(self, deadline_ns: int | None) -> None:
        """Ring at this time of the process's clock, at the latest. None: nothing new."""
        if deadline_ns is not None and (self._armed is None or deadline_ns < self._armed):
            self._armed = deadline_ns
            self._process.at(deadline_ns, self._fire, deadline_ns)

    def _fire(self, deadline_ns: int) -> None:
        if self._armed == deadline_ns:
            self._armed = None
            self._ring()
