"""mpio's own heartbeat format, version 1: a header, a slot for each node, and one for an operator without a number.

    sector 0: header   sector 1 + n: slot of node n   sector 1 + slots: the operator's slot, for poison only

    every sector          header                   slot
     0  8  magic           32  4  sector size       32  2  node            104  4  score
     8  2  version         36  2  slots             34  1  held            112 32  connected nodes, a bit each
    10  2  kind            40  8  period            35  1  member          144 64  name
    12  4  CRC32C          48  8  deadline          40  8  generation      208 16 x 16  poison
    16 16  region          56  8  dead              48  8  sequence
                                                    56  8  period
                                                    64  8  deadline
                                                    72  8  dead

Little-endian, times in nanoseconds, the rest of the sector zeros; the CRC covers all of the sector, itself taken as 0.
An entry of poison has the node in its first 2 bytes and the generation in its last 8; 0 is no entry.

Every sector has one writer, so no message can overwrite another: who wants a node dead says so in its own slot, with
the generation it means, and the victim finds it there as it reads all slots. A later life of the same node is another
generation, and not meant. The victim's answer is `held` in its own slot, the last block that this generation writes.
The region's identity stands in every sector: what an earlier use of the disk left behind, or what was meant for another
disk, is not taken for a heartbeat.
"""

from dataclasses import dataclass
from struct import Struct

from google_crc32c import value as crc32c

from mpio.heartbeat.formats.broken import NODES_MAX, Broken, Why, check_range, check_sector, not_a_sector

MAGIC = b"MPIO-HB\n"
VERSION = 1
OPERATOR = NODES_MAX
"""The number in the operator's slot. No node has it."""
NAME_MAX = 63
POISON_MAX = 16
"""How many nodes one node can poison at a time."""

_COMMON = Struct("<8sHHI16s")
_HEADER = Struct("<IHxxQQQ")
_SLOT = Struct("<HBB4xQQQQQ24xI4x32s64s")
_POISON = Struct("<H6xQ")
_CHECKSUM_AT = 12
_KIND_HEADER, _KIND_SLOT = 1, 2
_POISON_AT = _COMMON.size + _SLOT.size
_U32_MAX, _U64_MAX = (1 << 32) - 1, (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Timing:
    """Times that all nodes of a region must share, in ns.

    Attributes:
        period_ns: from one heartbeat to the next.
        deadline_ns: a node fences itself this long after it issued its last good heartbeat.
        dead_ns: others take a node for dead this long after they saw its last change.
    """

    period_ns: int
    deadline_ns: int
    dead_ns: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a region was made for. `region` is its identity, 16 random bytes."""

    region: bytes
    timing: Timing
    sector: int = 512
    slots: int = NODES_MAX


@dataclass(frozen=True, slots=True)
class Poison:
    """The wish that a node dies in this life; another generation of it is not meant."""

    node: int
    generation: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One node's heartbeat.

    Attributes:
        region: identity of the region that the block was written for.
        node: its writer, 0 to 254, or OPERATOR.
        generation: random for each start, never 0; 0 says that the node has left.
        sequence: one more with each write.
        timing: what the writer goes by.
        member: the writer may do I/O of its own and has a say in a network split; one that is still joining is none.
        held: the writer of this generation has fenced itself and does no more I/O: the answer to poison.
        score: how well clients are reached, more is better.
        connected: the nodes that it hears over the cluster network, ascending.
        name: for people, at most 63 bytes.
        poison: whom it wants dead, at most POISON_MAX.
    """

    region: bytes
    node: int
    generation: int
    sequence: int
    timing: Timing
    member: bool = False
    held: bool = False
    score: int = 0
    connected: tuple[int, ...] = ()
    name: str = ""
    poison: tuple[Poison, ...] = ()


def slot_sector(node: int) -> int:
    """The sector of a node's slot, counted from the header. The operator's is that of node `slots`."""
    return 1 + node


def render_header(header: Header) -> bytes:
    """Sector 0. Raises ValueError for values that do not fit."""
    check_range("slots", header.slots, 1, NODES_MAX)
    _check_timing(header.timing)
    times = (header.timing.period_ns, header.timing.deadline_ns, header.timing.dead_ns)
    return _sealed(_KIND_HEADER, header.region, _HEADER.pack(header.sector, header.slots, *times), header.sector)


def parse_header(data: bytes) -> Header | Broken:
    """What sector 0 says."""
    region = _unsealed(_KIND_HEADER, data)
    if isinstance(region, Broken):
        return region
    sector, slots, *times = _HEADER.unpack_from(data, _COMMON.size)
    if sector != len(data):
        return Broken(Why.FIELD, f"a header of mpio for sectors of {sector} bytes on a disk with {len(data)}")
    header = Header(region, Timing(*times), sector, slots)
    try:
        check_range("slots", slots, 1, NODES_MAX)
        _check_timing(header.timing)
    except ValueError as error:
        return Broken(Why.FIELD, f"a header of mpio with {error}")
    return header


def render_slot(slot: Slot, sector: int = 512) -> bytes:
    """A slot's sector. Raises ValueError for values that do not fit."""
    _check_slot(slot)
    connected = 0
    for node in slot.connected:
        connected |= 1 << node
    body = _SLOT.pack(
        slot.node, slot.held, slot.member, slot.generation, slot.sequence, slot.timing.period_ns,
        slot.timing.deadline_ns, slot.timing.dead_ns, slot.score, connected.to_bytes(32, "little"), _encoded(slot.name),
    )
    poison = b"".join(_POISON.pack(item.node, item.generation) for item in slot.poison)
    return _sealed(_KIND_SLOT, slot.region, body + poison, sector)


def parse_slot(data: bytes) -> Slot | Broken:
    """The heartbeat in a sector."""
    region = _unsealed(_KIND_SLOT, data)
    if isinstance(region, Broken):
        return region
    node, held, member, generation, sequence, period, deadline, dead, score, connected, name = _SLOT.unpack_from(
        data, _COMMON.size)
    bits = int.from_bytes(connected, "little")
    entries = (_POISON.unpack_from(data, _POISON_AT + index * _POISON.size) for index in range(POISON_MAX))
    text, end, _ = name.partition(b"\0")
    slot = Slot(
        region, node, generation, sequence, Timing(period, deadline, dead), member == 1, held == 1, score,
        tuple(node for node in range(NODES_MAX + 1) if bits >> node & 1), text.decode("utf-8", "surrogateescape"),
        tuple(Poison(node, generation) for node, generation in entries if generation),
    )
    try:
        check_range("held", held, 0, 1)
        check_range("member", member, 0, 1)
        check_range("bytes of the name", len(text) if end else len(name), 0, NAME_MAX)
        _check_slot(slot)
    except ValueError as error:
        return Broken(Why.FIELD, f"a slot of mpio with {error}")
    return slot


def _check_timing(timing: Timing) -> None:
    for name in ("period_ns", "deadline_ns", "dead_ns"):
        check_range(name, getattr(timing, name), 1, _U64_MAX)


def _check_slot(slot: Slot) -> None:
    check_range("node", slot.node, 0, OPERATOR)
    check_range("generation", slot.generation, 0, _U64_MAX)
    check_range("sequence", slot.sequence, 0, _U64_MAX)
    check_range("score", slot.score, 0, _U32_MAX)
    check_range("bytes of the name", len(_encoded(slot.name)), 0, NAME_MAX)
    _check_timing(slot.timing)
    if b"\0" in _encoded(slot.name):
        raise ValueError("name: expected text without zero bytes")
    for node in slot.connected:
        check_range("connected node", node, 0, NODES_MAX - 1)
    if list(slot.connected) != sorted(frozenset(slot.connected)):
        raise ValueError(f"connected nodes: expected them once each and ascending, found {slot.connected}")
    check_range("poisoned nodes", len(slot.poison), 0, POISON_MAX)
    for item in slot.poison:
        check_range("poisoned node", item.node, 0, NODES_MAX - 1)
        check_range("poisoned generation", item.generation, 1, _U64_MAX)


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _sealed(kind: int, region: bytes, body: bytes, sector: int) -> bytes:
    """A whole sector of what all have in common and `body`, with its CRC."""
    check_sector(sector)
    check_range("bytes of the region's identity", len(region), 16, 16)
    data = bytearray((_COMMON.pack(MAGIC, VERSION, kind, 0, region) + body).ljust(sector, b"\0"))
    data[_CHECKSUM_AT:_CHECKSUM_AT + 4] = int(crc32c(bytes(data))).to_bytes(4, "little")
    return bytes(data)


def _unsealed(kind: int, data: bytes) -> bytes | Broken:
    """The region's identity, if this is a whole sector of this format and of this kind."""
    if broken := not_a_sector(data):
        return broken
    magic, version, found_kind, found, region = _COMMON.unpack_from(data)
    if magic != MAGIC:
        if not any(data):
            return Broken(Why.EMPTY, "expected a sector of mpio, found nothing but zeros")
        return Broken(Why.MAGIC, f"expected a sector of mpio that begins with {MAGIC!r}, found {magic!r}")
    if version != VERSION:
        return Broken(Why.VERSION, f"expected version {VERSION} of mpio's format, found version {version}")
    expected = int(crc32c(b"".join((data[:_CHECKSUM_AT], bytes(4), data[_CHECKSUM_AT + 4:]))))
    if found != expected:
        return Broken(Why.CHECKSUM, f"sector of mpio with checksum {found:#010x} where {expected:#010x} was expected")
    if found_kind != kind:
        names = {_KIND_HEADER: "header", _KIND_SLOT: "slot"}
        return Broken(Why.FIELD, f"expected a {names[kind]} of mpio, found a {names.get(found_kind, found_kind)}")
    return bytes(region)
