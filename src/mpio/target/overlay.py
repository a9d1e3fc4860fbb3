"""A store that lays writes over another one and never changes that: a disk for a throw-away run.

What was written is kept in memory and gone when the target ends.
"""

from mpio.model.task import Buffer
from mpio.target.allocation import SECTOR_BYTES, BlockStatus
from mpio.target.store import BlockStore, RamStore


class OverlayStore:
    """See BlockStore.

    Args:
        base: what is read where nothing was written; a whole number of 512-byte sectors.

    Raises:
        ValueError: the size of the base does not fit.
    """

    atomic = True
    writable = True
    volatile = False

    def __init__(self, base: BlockStore) -> None:
        if base.size_bytes % SECTOR_BYTES:
            raise ValueError(f"expected a multiple of {SECTOR_BYTES} bytes, found {base.size_bytes}")
        self._base = base
        # Its map tells who has a sector: mapped, this store; anchored, this store, all zero; deallocated, the base
        self._layer = RamStore(base.size_bytes)
        self.size_bytes = base.size_bytes

    def read(self, offset: int, length: int) -> bytes:
        """The bytes, each from where it was written last. Raises StoreError."""
        pieces = []
        end = offset + length
        while offset < end:
            status, count = self._layer.allocation(offset, end - offset)
            source = self._base if status is BlockStatus.DEALLOCATED else self._layer
            pieces.append(source.read(offset, count))
            offset += count
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, offset: int, data: Buffer) -> None:
        """Write to memory."""
        self._layer.write(offset, data)

    def flush(self) -> None:
        """Memory has no stabler place to go to."""

    def discard(self, offset: int, length: int) -> None:
        """The range reads as zeroes, whatever the base has there."""
        self._layer.anchor(offset, length)

    def allocation(self, offset: int, length: int) -> tuple[BlockStatus, int]:
        """See ThinStore. What the base has counts as mapped."""
        status, count = self._layer.allocation(offset, length)
        return BlockStatus.DEALLOCATED if status is BlockStatus.ANCHORED else BlockStatus.MAPPED, count

    def close(self) -> None:
        """Forget what was written, and close the base."""
        self._layer.close()
        self._base.close()
