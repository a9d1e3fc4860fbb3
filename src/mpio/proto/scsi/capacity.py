"""READ CAPACITY(10) and (16): number and size of the logical blocks (SBC-3 §5.15, §5.16)."""

import struct
from dataclasses import dataclass

from mpio.errors import RemoteProtocolError
from mpio.model.task import Buffer

_LAST_LBA_10_MAX = 0xFFFF_FFFF
CAPACITY_10_BYTES = 8
CAPACITY_16_BYTES = 32
_CAPACITY_16_NEEDED = 12  # what SBC-2 targets send at least


@dataclass(frozen=True, slots=True)
class Capacity:
    """Size of a logical unit.

    Attributes:
        blocks: number of logical blocks. block_size: bytes.
        physical_exponent: log2 of logical blocks per physical block.
        thin: unmapping is managed (LBPME). reads_zero: unmapped blocks read as zeroes (LBPRZ).
    """

    blocks: int
    block_size: int
    physical_exponent: int = 0
    thin: bool = False
    reads_zero: bool = False

    def build_10(self) -> bytes:
        """8 bytes; all ones for the last LBA mean that READ CAPACITY(16) is needed."""
        return struct.pack(">II", min(self.blocks - 1, _LAST_LBA_10_MAX), self.block_size)

    def build_16(self) -> bytes:
        """32 bytes."""
        flags = (0x80 if self.thin else 0) | (0x40 if self.reads_zero else 0)
        return struct.pack(">QIBBB17x", self.blocks - 1, self.block_size, 0, self.physical_exponent, flags)

    @classmethod
    def parse_10(cls, data: Buffer) -> "Capacity | None":
        """Read READ CAPACITY(10); None if the LU is too large for it. Raises RemoteProtocolError."""
        if len(data) < CAPACITY_10_BYTES:
            raise RemoteProtocolError(f"READ CAPACITY(10) data of {len(data)} bytes", clause="SBC-3 §5.15.2")
        last, block_size = struct.unpack_from(">II", data)
        return None if last == _LAST_LBA_10_MAX else cls(last + 1, _checked(block_size))

    @classmethod
    def parse_16(cls, data: Buffer) -> "Capacity":
        """Read READ CAPACITY(16). Raises RemoteProtocolError."""
        if len(data) < _CAPACITY_16_NEEDED:
            raise RemoteProtocolError(f"READ CAPACITY(16) data of {len(data)} bytes", clause="SBC-3 §5.16.2")
        padded = bytes(data[:CAPACITY_16_BYTES]).ljust(CAPACITY_16_BYTES, b"\0")
        last, block_size = struct.unpack_from(">QI", padded)
        flags = padded[14]
        return cls(last + 1, _checked(block_size), padded[13] & 0xF, bool(flags & 0x80), bool(flags & 0x40))


def _checked(block_size: int) -> int:
    if not 256 <= block_size <= 1 << 20:
        raise RemoteProtocolError(f"a logical block of {block_size} bytes", clause="SBC-3 §5.16.2")
    return block_size
