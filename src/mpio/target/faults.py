"""Faults planted in a block store, each once, so that a drill can prove that its checks would catch them.

A fault is armed by a count: it fires at the first write that is the n-th or a later one and that changes anything,
and never again. Only `write` counts; flush and discard pass through.
"""

from mpio.model.task import Buffer
from mpio.target.store import BlockStore


class PlantedFault:
    """A store around another that lets everything through; the base of the faults below.

    Attributes:
        fired: (offset, length) of the write that the fault struck, None before.
        writes: how many writes have come so far.
    """

    def __init__(self, store: BlockStore, nth_write: int) -> None:
        if nth_write < 1:
            raise ValueError(f"expected the number of a write, from 1; found {nth_write}")
        self._store = store
        self._nth_write = nth_write
        self.writes = 0
        self.fired: tuple[int, int] | None = None

    @property
    def size_bytes(self) -> int:
        """That of the store beneath."""
        return self._store.size_bytes

    @property
    def writable(self) -> bool:
        """That of the store beneath."""
        return self._store.writable

    @property
    def volatile(self) -> bool:
        """That of the store beneath."""
        return self._store.volatile

    def read(self, offset: int, length: int) -> bytes:
        """Read from the store beneath."""
        return self._store.read(offset, length)

    def write(self, offset: int, data: Buffer) -> None:
        """Write to the store beneath, but for the one write that the fault strikes."""
        self.writes += 1
        if self.fired is None and self.writes >= self._nth_write:
            before = self._store.read(offset, len(data))
            if before != data:
                self.fired = (offset, len(data))
                self._strike(offset, data, before)
                return
        self._store.write(offset, data)

    def _strike(self, offset: int, data: Buffer, before: bytes) -> None:  # noqa: ARG002 - for the faults below
        self._store.write(offset, data)

    def flush(self) -> None:
        """Flush the store beneath."""
        self._store.flush()

    def discard(self, offset: int, length: int) -> None:
        """Discard in the store beneath."""
        self._store.discard(offset, length)

    def close(self) -> None:
        """Close the store beneath."""
        self._store.close()


class DroppedWrite(PlantedFault):
    """One write is acknowledged and not done."""

    def _strike(self, offset: int, data: Buffer, before: bytes) -> None:
        pass


class TornWrite(PlantedFault):
    """One write is acknowledged and done up to the middle of the bytes that it changes."""

    def _strike(self, offset: int, data: Buffer, before: bytes) -> None:
        changed = [at for at, (old, new) in enumerate(zip(before, bytes(data), strict=True)) if old != new]
        self._store.write(offset, memoryview(data)[: changed[len(changed) // 2]])


class StaleRead(PlantedFault):
    """One write is done, but the next read of those bytes still finds what was there before; once."""

    def __init__(self, store: BlockStore, nth_write: int) -> None:
        super().__init__(store, nth_write)
        self._before: bytes | None = None

    def _strike(self, offset: int, data: Buffer, before: bytes) -> None:
        self._before = before
        self._store.write(offset, data)

    def read(self, offset: int, length: int) -> bytes:
        """Read, with the old bytes laid over the new ones the first time that they are read."""
        data = self._store.read(offset, length)
        if self._before is None or self.fired is None:
            return data
        start = max(offset, self.fired[0])
        end = min(offset + length, self.fired[0] + self.fired[1])
        if start >= end:
            return data
        stale = bytearray(data)
        stale[start - offset : end - offset] = self._before[start - self.fired[0] : end - self.fired[0]]
        self._before = None
        return bytes(stale)
