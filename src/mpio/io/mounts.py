"""What kind of file system a file is on."""

import os
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_IN_MEMORY = frozenset(("tmpfs", "ramfs", "hugetlbfs"))


def is_in_memory(fd: int) -> bool:
    """Whether an open file is on a file system without a disk, so that reading it never waits."""
    device = os.fstat(fd).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    for line in lines:  # proc(5): … major:minor … - type source options
        words, _, rest = line.partition(" - ")
        fields = words.split()
        if len(fields) > 2 and fields[2] == number and rest.split(" ", 1)[0] in _IN_MEMORY:
            return True
    return False
