"""Stamped blocks: data that says of itself where it belongs, who wrote it, and when.

Every logical block that a drill writes is one stamp:

    0   8  magic
    8   8  run id
    16  8  LBA
    24  4  writer
    28  8  sequence of the write, counted per writer
    36  …  payload: a slice of a pool of random bytes, another one for each (LBA, sequence)
    -12 8  sequence again
    -4  4  CRC-32 (ISO-HDLC) over all that stands before it

so that one look tells a missing write (an older sequence) from a torn one (head and tail disagree, or the checksum is
wrong) and from a misdirected one (another LBA). Little endian. A block is checked for itself: that neighbouring blocks
of one multi-block write carry different sequences is legal, because SCSI promises no atomicity across blocks.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from mpio.model.task import Buffer

MAGIC = b"mpioBLK1"
_HEAD = struct.Struct("<8sQQIQ")
_TAIL = struct.Struct("<QI")
_CRC = struct.Struct("<I")
BLOCK_SIZE_MIN = 512
_POOL_STRIDE = 61  # coprime to the pool's length, so that neighbouring sequences start at unlike places


class Defect(IntEnum):
    """What takes the place of a sequence number when a block holds no sound stamp of this run for its LBA."""

    UNSTAMPED = -1
    """No magic: not something that a drill wrote."""
    BLANK = -2
    """Zeros throughout: as a new LU holds them."""
    TORN = -3
    """The checksum is wrong, or head and tail come from two writes."""
    MISDIRECTED = -4
    """A sound stamp of this run that names another LBA."""
    FOREIGN = -5
    """A sound stamp of another run: what was there before."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What one block says of itself; `sound` is False when the checksum or the two sequences disagree."""

    run_id: int
    lba: int
    writer: int
    sequence: int
    tail_sequence: int
    sound: bool


class Stamper:
    """Makes and reads the stamped blocks of one run.

    Args:
        run_id: 64 bits, another one for each run, so that leftovers of an earlier run are not taken for this one's.
        block_size: bytes of a logical block, from 512.
        pool: random bytes for payloads, at least two blocks.
    """

    def __init__(self, run_id: int, block_size: int, pool: bytes) -> None:
        if block_size < BLOCK_SIZE_MIN:
            raise ValueError(f"expected a block size from {BLOCK_SIZE_MIN} bytes, found {block_size}")
        if len(pool) < 2 * block_size:
            raise ValueError(f"expected a pool of at least {2 * block_size} bytes, found {len(pool)}")
        self.run_id = run_id
        self.block_size = block_size
        self._payload_bytes = block_size - _HEAD.size - _TAIL.size
        self._pool = pool
        self._starts = len(pool) - self._payload_bytes

    def make(self, lba: int, count: int, writer: int, sequence: int) -> bytearray:
        """`count` stamped blocks from `lba` on, as one write carries them."""
        size, payload_bytes, pool, starts, run_id = (
            self.block_size, self._payload_bytes, self._pool, self._starts, self.run_id)
        pack_head, pack_tail, crc32 = _HEAD.pack, _TAIL.pack, zlib.crc32
        data = bytearray(size * count)
        at = 0
        for block in range(lba, lba + count):
            start = (block + sequence * _POOL_STRIDE) * _POOL_STRIDE % starts
            body = pack_head(MAGIC, run_id, block, writer, sequence) + pool[start:start + payload_bytes]
            body += pack_tail(sequence, 0)[:8]
            data[at:at + size] = body + _CRC.pack(crc32(body))
            at += size
        return data

    def scan(self, lba: int, data: Buffer) -> list[int]:
        """The sequence of each block in `data`, which was read from `lba` on, or a (negative) Defect."""
        size, run_id = self.block_size, self.run_id
        unpack_head, unpack_tail, crc32 = _HEAD.unpack_from, _TAIL.unpack_from, zlib.crc32
        view = memoryview(data)
        found: list[int] = []
        tail_at = size - _TAIL.size
        for at in range(0, len(view) - size + 1, size):
            magic, run, block, _, sequence = unpack_head(view, at)
            tail_sequence, crc = unpack_tail(view, at + tail_at)
            if magic == MAGIC and sequence == tail_sequence and crc32(view[at:at + size - 4]) == crc:
                if run != run_id:
                    found.append(Defect.FOREIGN)
                elif block != lba:
                    found.append(Defect.MISDIRECTED)
                else:
                    found.append(sequence)
            elif magic == MAGIC:
                found.append(Defect.TORN)
            else:
                found.append(Defect.UNSTAMPED if any(view[at:at + size]) else Defect.BLANK)
            lba += 1
        return found

    def inspect(self, block: Buffer) -> Stamp | None:
        """What one block says of itself, sound or not; None without the magic."""
        magic, run, lba, writer, sequence = _HEAD.unpack_from(block, 0)
        if magic != MAGIC:
            return None
        tail_sequence, crc = _TAIL.unpack_from(block, self.block_size - _TAIL.size)
        sound = sequence == tail_sequence and zlib.crc32(memoryview(block)[:self.block_size - 4]) == crc
        return Stamp(run, lba, writer, sequence, tail_sequence, sound)

    def describe(self, block: Buffer) -> str:
        """One line for people: what this block holds."""
        stamp = self.inspect(block)
        if stamp is None:
            head = bytes(memoryview(block)[:16]).hex(" ")
            return f"no stamp, starts with {head}" if any(memoryview(block)) else "zeros"
        text = f"LBA {stamp.lba} of writer {stamp.writer}, sequence {stamp.sequence}"
        if stamp.run_id != self.run_id:
            text += f", of another run ({stamp.run_id:016x})"
        if stamp.sequence != stamp.tail_sequence:
            text += f" at its head and {stamp.tail_sequence} at its tail"
        elif not stamp.sound:
            text += ", wrong checksum"
        return text
