"""Which parts of a store hold data: the allocation map of thin provisioning, one byte for 512 bytes.

Memory that nobody touched is not there yet, so a map of a mostly empty store costs next to nothing. Knows nothing of
logical blocks; offsets and lengths are bytes and multiples of 512.
"""

import mmap
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

SECTOR_BYTES = 512
_SHIFT = 9
_SCAN_SECTORS = 4 << 20  # what one look at a map examines at most: GET LBA STATUS must not hold everybody up
_MAP_NORESERVE = 0x4000  # Linux; a name in the mmap module only from Python 3.13 on


class BlockStatus(IntEnum):
    """What stands behind a block; the numbers are those of GET LBA STATUS (SBC-3 §5.4)."""

    MAPPED = 0
    DEALLOCATED = 1
    ANCHORED = 2
    """Nothing is stored, but room for it is kept."""


class ThinStore(Protocol):
    """What a block store has on top if it knows which of its bytes are in use."""

    def allocation(self, offset: int, length: int) -> tuple[BlockStatus, int]:
        """The status at an offset, and for how many bytes on it is the same, at most `length`; perhaps told short."""

    anchor: Callable[[int, int], None] | None
    """Like `discard`, but keeps the room; None if the store can't. Takes an offset and a length; raises StoreError."""


class SparseBytes:
    """Zeroes that take room only where something else was written. Index it like a bytearray.

    Raises:
        ValueError: if the address space does not hold so many bytes.
    """

    def __init__(self, size: int) -> None:
        try:
            self.bytes = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
        except (OSError, OverflowError) as error:
            raise ValueError(f"no address space for {size} bytes of memory: {error}") from None

    def zero(self, start: int, end: int) -> None:
        """Whole pages go back to the system, the rest is zeroed."""
        first_page = min(-(-start // mmap.PAGESIZE) * mmap.PAGESIZE, end)
        last_page = max(end // mmap.PAGESIZE * mmap.PAGESIZE, first_page)
        self.bytes[start:first_page] = bytes(first_page - start)
        if last_page > first_page:
            self.bytes.madvise(mmap.MADV_DONTNEED, first_page, last_page - first_page)  # private pages come back zero
        self.bytes[last_page:end] = bytes(end - last_page)

    def grow(self, size: int) -> None:
        """Have so many bytes; the new ones are zero. Raises ValueError if the address space does not hold them."""
        try:
            self.bytes.resize(size)
        except (OSError, OverflowError, SystemError) as error:
            raise ValueError(f"no address space for {size} bytes of memory: {error}") from None

    def fill(self, start: int, end: int, value: int) -> None:
        """Set every byte of a range, in pieces."""
        piece = bytes((value,)) * min(end - start, 1 << 20)
        while start < end:
            count = min(len(piece), end - start)
            self.bytes[start : start + count] = piece[:count]
            start += count


_NOTHING, _DATA, _ROOM = 0, 1, 2
_STATUS = {_NOTHING: BlockStatus.DEALLOCATED, _DATA: BlockStatus.MAPPED, _ROOM: BlockStatus.ANCHORED}
_RUN_FIRST = 4096


class AllocationMap:
    """The map of a store that starts empty.

    Attributes:
        sectors: the map itself; a write sets its sectors to ones. Written directly where each call counts.
    """

    def __init__(self, size_bytes: int) -> None:
        self._sparse = SparseBytes(-(-size_bytes // SECTOR_BYTES))
        self.sectors = self._sparse.bytes

    def grow(self, size_bytes: int) -> None:
        """The store is larger now; nothing is in its new part. Raises ValueError."""
        self._sparse.grow(-(-size_bytes // SECTOR_BYTES))

    def discard(self, offset: int, length: int) -> None:
        """Nothing is there any more."""
        self._sparse.zero(offset >> _SHIFT, offset + length >> _SHIFT)

    def anchor(self, offset: int, length: int) -> None:
        """Only room is there any more."""
        self._sparse.fill(offset >> _SHIFT, offset + length >> _SHIFT, _ROOM)

    def run(self, offset: int, length: int) -> tuple[BlockStatus, int]:
        """See ThinStore.allocation."""
        start = offset >> _SHIFT
        end = min(offset + length >> _SHIFT, start + _SCAN_SECTORS)
        value = self.sectors[start]
        at, step = start, _RUN_FIRST
        while at < end:
            piece = self.sectors[at : min(at + step, end)]
            rest = piece.lstrip(bytes((value,)))
            at += len(piece) - len(rest)
            if rest:
                break
            step = min(step * 4, 1 << 20)
        return _STATUS[value], at - start << _SHIFT

    def mapped_bytes(self) -> int:
        """How much of the store holds data; reads the whole map."""
        size = len(self.sectors)
        pieces = (self.sectors[at : at + (1 << 20)] for at in range(0, size, 1 << 20))
        return sum(piece.count(_DATA) for piece in pieces) << _SHIFT

    def close(self) -> None:
        """Give the memory back."""
        self.sectors.close()
