"""A disk that can be slow, hang, refuse, and lose what was not flushed when the power goes. A `BlockStore`.

Blocks are atomic: a crash tears a write between blocks, never inside one.
"""

import random
from collections.abc import Callable

from mpio.model.task import Buffer
from mpio.proto.scsi.sense import READ_ERROR, WRITE_ERROR
from mpio.target.store import StoreError


class SwarmDisk:
    """Memory with a write-back cache in front, if `volatile`.

    Attributes:
        failing: reasons why it answers with errors now. writes: how many there were.
        on_landed: told of the offset and data of every effect.
    """

    def __init__(self, blocks: int, block_size: int, *, volatile: bool, rng: random.Random) -> None:
        self.size_bytes = blocks * block_size
        self.writable = True
        self.volatile = volatile
        self.failing = 0
        self.writes = 0
        self.on_landed: Callable[[int, Buffer], None] | None = None
        self._block_size = block_size
        self._live = bytearray(self.size_bytes)
        self._durable = bytearray(self.size_bytes) if volatile else self._live
        self._dirty: dict[int, None] = {}
        self._rng = rng

    def read(self, offset: int, length: int) -> bytes:
        """A copy of the bytes."""
        if self.failing:
            raise StoreError("the disk can't read", READ_ERROR)
        return bytes(self._live[offset:offset + length])

    def write(self, offset: int, data: Buffer) -> None:
        """Copy `data` in, or some of its first blocks if the disk fails."""
        self.writes += 1
        size = self._block_size
        if self.failing:
            blocks = self._rng.randrange(len(data) // size + 1)
            self._put(offset, memoryview(data)[:blocks * size])
            raise StoreError("the disk can't write", WRITE_ERROR)
        self._put(offset, data)

    def _put(self, offset: int, data: Buffer) -> None:
        self._live[offset:offset + len(data)] = data
        if self.on_landed is not None:
            self.on_landed(offset, data)
        if self.volatile:
            first = offset // self._block_size
            for block in range(first, first + len(data) // self._block_size):
                self._dirty[block] = None

    def flush(self) -> None:
        """Everything written so far is safe."""
        if self.failing:
            raise StoreError("the disk can't flush", WRITE_ERROR)
        size = self._block_size
        for block in self._dirty:
            at = block * size
            self._durable[at:at + size] = self._live[at:at + size]
        self._dirty.clear()

    def discard(self, offset: int, length: int) -> None:
        """Zero the bytes."""
        self.write(offset, bytes(length))

    def tear(self, offset: int, data: Buffer) -> None:
        """A write was under way when the power went: some of its first blocks may be there."""
        blocks = self._rng.randrange(len(data) // self._block_size + 1)
        self._put(offset, memoryview(data)[:blocks * self._block_size])

    def lose_power(self) -> dict[int, bytes]:
        """Of what was not flushed, each block is there or not. Returns those that are not, with what they hold now."""
        size = self._block_size
        fallen = {}
        for block in self._dirty:
            at = block * size
            if self._rng.random() < 0.5:
                self._durable[at:at + size] = self._live[at:at + size]
            else:
                fallen[block] = bytes(self._durable[at:at + size])
                self._live[at:at + size] = fallen[block]
        self._dirty.clear()
        return fallen

    def close(self) -> None:
        """Nothing to release."""
