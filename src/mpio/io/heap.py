"""How the C library's heap treats freed memory, for processes that move large blocks all the time."""

import contextlib
import ctypes

MMAP_THRESHOLD_BYTES = 32 << 20
TRIM_THRESHOLD_BYTES = 64 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def keep_freed_memory() -> None:
    """Let the heap keep up to 64 MiB that was freed, in place of giving it back and asking for it again.

    Memory that comes from the kernel comes page by page, each with a fault and zeroed: for a buffer of 256 KiB that
    takes as long as filling it. For whole programs, not for a library. Does nothing where the C library is not glibc.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
