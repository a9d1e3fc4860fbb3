"""The block that a timing model writes: nothing of the stack's own format, only what its timing needs."""

from dataclasses import dataclass
from struct import Struct
from zlib import crc32

MAGIC = b"MPIOMDL\n"
_BEAT = Struct("<8sIHxxQQQ")
_CHECKSUM_AT = 8


@dataclass(frozen=True, slots=True)
class Beat:
    """One heartbeat.

    Attributes:
        node: its writer. generation: of its life, 0 says that it has left. count: one more with each write.
        dead_ns: how long it must be unchanged to be dead, by its writer's settings.
    """

    node: int
    generation: int
    count: int
    dead_ns: int


def render(beat: Beat, sector: int) -> bytes:
    """The whole sector."""
    body = bytearray(_BEAT.pack(MAGIC, 0, beat.node, beat.generation, beat.count, beat.dead_ns).ljust(sector, b"\0"))
    body[_CHECKSUM_AT:_CHECKSUM_AT + 4] = crc32(bytes(body)).to_bytes(4, "little")
    return bytes(body)


def parse(data: bytes) -> Beat | None:
    """The heartbeat in a sector; None if there is none, or a torn one."""
    if len(data) < _BEAT.size:
        return None
    magic, checksum, *fields = _BEAT.unpack_from(data)
    if magic != MAGIC or crc32(data[:_CHECKSUM_AT] + bytes(4) + data[_CHECKSUM_AT + 4:]) != checksum:
        return None
    return Beat(*fields)
