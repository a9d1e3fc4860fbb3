"""The clock of a target's filters: tells them when something of theirs is due."""

import asyncio
from collections.abc import Callable

from mpio.target.filters.chain import FilterChain
from mpio.units import NS_PER_S


class FilterTimer:
    """One timer of the event loop for all filters of a target, until `close`.

    Args:
        chain: the filters, with none in it yet.
        clock: time in ns.
    """

    def __init__(self, chain: FilterChain, clock: Callable[[], int]) -> None:
        self._chain = chain
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        chain.clock = clock
        chain.wake = self._arm

    def close(self) -> None:
        """Nothing of the filters' is done any more."""
        self._chain.wake = None
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._chain.next_deadline()
        if deadline is not None:
            delay_ns = max(deadline - self._clock(), 0)
            self._timer = self._loop.call_later(delay_ns / NS_PER_S, self._due)

    def _due(self) -> None:
        self._timer = None
        self._chain.handle_timer(self._clock())
        self._arm()
