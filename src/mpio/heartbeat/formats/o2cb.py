"""OCFS2's disk heartbeat: one block per node, as the kernel's o2hb has it (fs/ocfs2/cluster/ocfs2_heartbeat.h).

    0  8  hb_seq         seconds at preparation, compared for inequality only
    8  1  hb_node
    9  3  padding
   12  4  hb_cksum       CRC of the whole sector, this field taken as 0
   16  8  hb_generation  random for each start; 0 in the last block of a clean leave
   24  4  hb_dead_ms     2000 times the writer's threshold
   28     zeros to the end of the sector

All fields are little-endian. The CRC is the kernel's crc32_le with seed 0: CRC-32 without inversion at either end.
A sector of zeros has a valid CRC, so an empty slot is a block too: `Block.is_used` tells them apart.
"""

from dataclasses import dataclass
from struct import Struct
from zlib import crc32

from mpio.heartbeat.formats.broken import Broken, Why, check_range, check_sector, not_a_sector

PERIOD_MS = 2_000
"""From one heartbeat to the next (O2HB_REGION_TIMEOUT_MS)."""

_BLOCK = Struct("<QB3xIQI")
_CHECKSUM_AT = 12
_ALL_ONES = 0xFFFF_FFFF
_U64_MAX = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Block:
    """One node's heartbeat.

    Attributes:
        sequence: 64 bits; differs from the one before. 0 is never written.
        node: 0 to 255; the kernel writes its own number, and nothing but the CRC vouches for it.
        generation: 64 bits; 0 says that the node has left.
        dead_ms: after how many milliseconds without change its writer takes others for dead.
    """

    sequence: int
    node: int
    generation: int
    dead_ms: int

    @property
    def is_used(self) -> bool:
        """Whether a node has ever written this slot."""
        return self.sequence != 0 or self.generation != 0

    @property
    def threshold(self) -> int:
        """The writer's dead threshold, in iterations."""
        return self.dead_ms // PERIOD_MS


def checksum(data: bytes) -> int:
    """The kernel's crc32_le of `data` with seed 0."""
    return crc32(data, _ALL_ONES) ^ _ALL_ONES


def render(block: Block, sector: int = 512) -> bytes:
    """The sector of `block`. Raises ValueError for values that do not fit and sector sizes that do not exist."""
    check_sector(sector)
    check_range("sequence", block.sequence, 0, _U64_MAX)
    check_range("node", block.node, 0, 255)
    check_range("generation", block.generation, 0, _U64_MAX)
    check_range("dead_ms", block.dead_ms, 0, _ALL_ONES)
    head = bytearray(_BLOCK.pack(block.sequence, block.node, 0, block.generation, block.dead_ms))
    rest = bytes(sector - _BLOCK.size)
    head[_CHECKSUM_AT:_CHECKSUM_AT + 4] = checksum(bytes(head) + rest).to_bytes(4, "little")
    return bytes(head) + rest


def parse(data: bytes) -> Block | Broken:
    """The block in a sector. As the kernel does, it trusts whatever carries the right CRC."""
    if broken := not_a_sector(data):
        return broken
    sequence, node, found, generation, dead_ms = _BLOCK.unpack_from(data)
    expected = checksum(b"".join((data[:_CHECKSUM_AT], bytes(4), data[_CHECKSUM_AT + 4:])))
    if found != expected:
        return Broken(Why.CHECKSUM, f"heartbeat block with checksum {found:#010x} where {expected:#010x} was expected")
    return Block(sequence, node, generation, dead_ms)
