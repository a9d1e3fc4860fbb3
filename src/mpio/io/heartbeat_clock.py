"""The clock that a node's deadlines run on: one that does not stop while the machine sleeps."""

import time


def boottime_ns() -> int:
    """Time since boot in ns, suspension included (CLOCK_BOOTTIME, clock_gettime(2)).

    Others count on while this machine sleeps, and `time.monotonic_ns` would not have noticed.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
