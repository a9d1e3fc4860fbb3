"""Where the blocks of a logical unit are kept: the protocol, and the store in memory.

Offsets and lengths are bytes, and the caller has checked that they lie within the store. A store that keeps its bytes
in a file or on a block device does I/O, and so lives in `mpio.io.file_store`.
"""

from typing import Protocol

from mpio.errors import MpioError
from mpio.model.task import Buffer
from mpio.proto.scsi.sense import Sense
from mpio.target.allocation import AllocationMap, BlockStatus, SparseBytes

_ZERO_CHUNK = bytes(1 << 20)
_ONES_MAX = 1 << 14
_ONES = b"\1" * _ONES_MAX


class StoreError(MpioError):
    """The store could not read or write. `sense` is what the initiator is told."""

    code = "store"

    def __init__(self, message: str, sense: Sense) -> None:
        super().__init__(message)
        self.sense = sense


class BlockStore(Protocol):
    """Bytes that can be read and written. All methods but `close` may raise StoreError."""

    @property
    def size_bytes(self) -> int:
        """How many bytes it has."""

    @property
    def writable(self) -> bool:
        """Whether `write` and `discard` may be called."""

    @property
    def volatile(self) -> bool:
        """Whether written bytes are safe only after `flush` (a write-back cache)."""

    def read(self, offset: int, length: int) -> bytes:
        """A copy of the bytes: what is on its way to an initiator must not change under it."""

    def write(self, offset: int, data: Buffer) -> None:
        """Write all of `data`, which may change once this returns."""

    def flush(self) -> None:
        """Bring everything written so far to stable storage."""

    def discard(self, offset: int, length: int) -> None:
        """Give the space back. The bytes read as zeroes from now on."""

    def close(self) -> None:
        """Release what it holds; nothing else is called after that."""


class RamStore:
    """A store in memory, zero at first. Only pages that were written take room, so it may be far larger than that.

    It knows which of its blocks were written (ThinStore), and a write is there at once or not at all (`atomic`).

    Raises:
        ValueError: if the address space does not hold so many bytes.
    """

    atomic = True

    def __init__(self, size_bytes: int) -> None:
        if size_bytes <= 0:
            raise ValueError(f"expected a size of at least one byte, found {size_bytes}")
        self._sparse = SparseBytes(size_bytes)
        self._bytes = self._sparse.bytes
        self.map = AllocationMap(size_bytes)
        self._sectors = self.map.sectors
        self.size_bytes = size_bytes
        self.writable = True
        self.volatile = False

    def read(self, offset: int, length: int) -> bytes:
        """A copy of the bytes."""
        return self._bytes[offset : offset + length]

    def write(self, offset: int, data: Buffer) -> None:
        """Copy `data` in."""
        end = offset + len(data)
        self._bytes[offset:end] = data
        first, last = offset >> 9, end + 511 >> 9
        self._sectors[first:last] = _ONES[: last - first] if last - first <= _ONES_MAX else b"\1" * (last - first)

    def flush(self) -> None:
        """Memory has no stabler place to go to."""

    def discard(self, offset: int, length: int) -> None:
        """Whole pages go back to the system, the rest is zeroed."""
        self._sparse.zero(offset, offset + length)
        self.map.discard(offset, length)

    def grow(self, size_bytes: int) -> None:
        """See growth.GrowingStore."""
        self.map.grow(size_bytes)
        self._sparse.grow(size_bytes)
        self.size_bytes = size_bytes

    def anchor(self, offset: int, length: int) -> None:
        """Like `discard`, and the map says that the room is kept."""
        self._sparse.zero(offset, offset + length)
        self.map.anchor(offset, length)

    def allocation(self, offset: int, length: int) -> tuple[BlockStatus, int]:
        """See ThinStore."""
        return self.map.run(offset, length)

    def close(self) -> None:
        """Give the memory back."""
        self._bytes.close()
        self.map.close()


def write_zeroes(store: BlockStore, offset: int, length: int) -> None:
    """Zero a range by writing, in pieces; for stores that can't discard. Raises StoreError."""
    end = offset + length
    while offset < end:
        piece = memoryview(_ZERO_CHUNK)[: end - offset]
        store.write(offset, piece)
        offset += len(piece)
