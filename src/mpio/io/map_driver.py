"""Drives a map: tells it the time, hands on what it wants done, and keeps its timer."""

import asyncio
from collections.abc import Callable

from mpio.engine.fencing import Action
from mpio.engine.map import MultipathMap
from mpio.units import NS_PER_S


class MapDriver:
    """The shell around one map. It is passed several times per I/O, and so is among the modules that are compiled.

    Args:
        multipath_map: the map.
        clock: the monotonic time, ns.
        carry_out: does what the map wants done.
    """

    def __init__(self, multipath_map: MultipathMap, clock: Callable[[], int],
                 carry_out: Callable[[Action], None]) -> None:
        self._map = multipath_map
        self._clock = clock
        self._carry_out = carry_out
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

    def tick(self) -> int:
        """The time, told to the map as well: completions that reach it through a connection carry none."""
        self._map.now = now = self._clock()
        return now

    def pump(self) -> None:
        """Let the map do what is due, hand on its actions, arm the timer."""
        multipath_map = self._map
        deadline = multipath_map.next_deadline()
        if deadline is not None and deadline <= multipath_map.now:
            multipath_map.handle_timer(multipath_map.now)
        while (action := multipath_map.next_action()) is not None:
            self._carry_out(action)
        self.arm()

    def arm(self) -> None:
        """Have the timer ring at the map's next deadline at the latest."""
        deadline = self._map.next_deadline()
        if deadline is None or (self._timer is not None and self._timer_ns <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = deadline
        delay_s = max(deadline - self._clock(), 0) / NS_PER_S
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def stop(self) -> None:
        """No timer any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _on_timer(self) -> None:
        self._timer = None
        self._map.handle_timer(self._clock())
        self.pump()
