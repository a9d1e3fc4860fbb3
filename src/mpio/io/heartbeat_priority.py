"""A heartbeat's process before others: its memory stays in RAM, and it runs when it has to. As far as one may."""

import ctypes
import os

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4  # mlockall(2); on fault: stacks of threads are not filled beforehand
_PRIORITY = 1  # the lowest of the real-time ones: before everything usual, after everything else that is urgent


def raise_priority() -> list[str]:
    """Lock the memory and take a real-time priority (SCHED_RR). Returns what could not be had, for people."""
    missing = []
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        why = os.strerror(ctypes.get_errno())
        missing.append(f"memory is not locked ({why}): a node that swaps may be late")
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    except OSError as error:
        missing.append(f"no real-time priority ({error.strerror}): a busy machine may make this node late")
    return missing
