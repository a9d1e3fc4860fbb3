"""Giving the CPU away before a read, where the peer runs on the same machine and may be waiting for it.

Reading a large answer keeps a CPU busy for some 100 µs, and the scheduler lets it. Meanwhile a thread of the target
that sits behind us holds what its other threads wait for, on CPUs that do nothing (tgtd: the lock on its address
space). Let run first, it also has more for us to read at once. With somebody about who computes without end, giving
way costs a whole time slice; that shows in the first one, and then it is left for a while.
"""

import os
from collections.abc import Callable

LONG_NS = 2_000_000  # a target's thread is done within 1 ms, a time slice is 3 ms
PAUSE_NS = 250_000_000


class GiveWay:
    """Lets others run, as long as they give the CPU back soon.

    Args:
        clock: returns the present time in ns.
        sched_yield: as sched_yield(2).
    """

    def __init__(self, clock: Callable[[], int], sched_yield: Callable[[], None] = os.sched_yield) -> None:
        self._clock = clock
        self._sched_yield = sched_yield
        self._again_ns = clock()

    def __call__(self) -> None:
        """Let those run who wait for this CPU."""
        before = self._clock()
        if before < self._again_ns:
            return
        self._sched_yield()
        if self._clock() - before > LONG_NS:
            self._again_ns = before + PAUSE_NS
