"""SBD's disk (ClusterLabs sbd, version 2): a header, and for each node a slot with its name and a mailbox.

    sector 0                              sector 1 + 2 n            sector 2 + 2 n
     0  8  SBD_SBD_                        0  1  in use              0  1  command
     8  1  version, 2                      1 64  node's name         1 64  sender's name
     9  1  slots, 255
    12  4  sector size
    16  4  watchdog, s    20  4  allocate, s    24  4  loop, s    28  4  msgwait, s
    32  1  minor version  33 16  UUID, if that is not 0

Numbers are big-endian, as only the header has any. The rest of each sector is zeros. There are no checksums: a torn
sector shows only where a field makes no sense. Names are at most 63 bytes and compared without regard to case.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from mpio.heartbeat.formats.broken import NODES_MAX, Broken, Why, check_range, check_sector, not_a_sector

MAGIC = b"SBD_SBD_"
VERSION = 2
NAME_MAX = 63

_HEADER = Struct(">8sBB2xIIIIIB16s")
_NAMED = Struct("B64s")
_U32_MAX = 0xFFFF_FFFF


class Command(IntEnum):
    """What a mailbox tells its node. `sbd message` knows them by these names, and EMPTY as "clear"."""

    EMPTY = 0
    TEST = 1
    RESET = 2
    OFF = 3
    EXIT = 4
    CRASHDUMP = 5


FATAL = (Command.RESET, Command.OFF, Command.CRASHDUMP)
"""Commands after which a node must not write any more."""


@dataclass(frozen=True, slots=True)
class Header:
    """What `sbd create` was told; times in seconds. `uuid` is 16 bytes, kept only if `minor_version` is not 0."""

    watchdog: int = 5
    allocate: int = 2
    loop: int = 1
    msgwait: int = 10
    sector: int = 512
    uuid: bytes = bytes(16)
    slots: int = NODES_MAX
    minor_version: int = 1


@dataclass(frozen=True, slots=True)
class Slot:
    """Whose slot it is. A free one has no name."""

    name: str
    in_use: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """What is in a mailbox."""

    command: Command
    sender: str = ""


FREE = Slot("", in_use=False)
NOTHING = Message(Command.EMPTY)


def slot_sector(node: int) -> int:
    """The sector of slot `node`, counted from the header."""
    return 1 + 2 * node


def mailbox_sector(node: int) -> int:
    """The sector of that slot's mailbox."""
    return 2 + 2 * node


def same_node(one: str, other: str) -> bool:
    """Whether two names are the same to SBD, which folds the case of ASCII letters only."""
    return _folded(one) == _folded(other)


def find_slot(slots: Iterable[Slot], name: str) -> int | None:
    """The first slot that `name` owns."""
    return next((number for number, slot in enumerate(slots) if slot.in_use and same_node(slot.name, name)), None)


def render_header(header: Header) -> bytes:
    """Sector 0. Raises ValueError for values that do not fit."""
    check_sector(header.sector)
    check_range("slots", header.slots, 1, NODES_MAX)
    check_range("minor version", header.minor_version, 0, 255)
    for name in ("watchdog", "allocate", "loop", "msgwait"):
        check_range(name, getattr(header, name), 0, _U32_MAX)
    check_range("bytes of the UUID", len(header.uuid), 16, 16)
    return _HEADER.pack(
        MAGIC, VERSION, header.slots, header.sector, header.watchdog, header.allocate, header.loop, header.msgwait,
        header.minor_version, header.uuid if header.minor_version else bytes(16),
    ).ljust(header.sector, b"\0")


def parse_header(data: bytes) -> Header | Broken:
    """What sector 0 says. As sbd, it does not look at what later versions may have put behind the fields."""
    if broken := not_a_sector(data):
        return broken
    magic, version, slots, sector, watchdog, allocate, loop, msgwait, minor, uuid = _HEADER.unpack_from(data)
    if magic != MAGIC:
        if not any(data):
            return Broken(Why.EMPTY, "expected a header of SBD, found nothing but zeros")
        return Broken(Why.MAGIC, f"expected a header of SBD that begins with {MAGIC!r}, found {magic!r}")
    if version != VERSION:
        return Broken(Why.VERSION, f"expected version {VERSION} of SBD's format, found version {version}")
    if sector != len(data):
        return Broken(Why.FIELD, f"a header of SBD for sectors of {sector} bytes on a disk with {len(data)}")
    if not slots:
        return Broken(Why.FIELD, "a header of SBD with 0 slots")
    return Header(watchdog, allocate, loop, msgwait, sector, uuid if minor else bytes(16), slots, minor)


def render_slot(slot: Slot, sector: int = 512) -> bytes:
    """A slot's sector. Raises ValueError for names that do not fit."""
    return _render_named(int(slot.in_use), slot.name, sector)


def parse_slot(data: bytes) -> Slot | Broken:
    """Whose slot this is."""
    found = _parse_named(data)
    if isinstance(found, Broken):
        return found
    in_use, name = found
    return Slot(name, in_use=in_use != 0)


def render_message(message: Message, sector: int = 512) -> bytes:
    """A mailbox's sector. Raises ValueError for names that do not fit."""
    return _render_named(message.command, message.sender, sector)


def parse_message(data: bytes) -> Message | Broken:
    """What is in a mailbox. sbd clears what it does not know, and does nothing for a byte above 127."""
    found = _parse_named(data)
    if isinstance(found, Broken):
        return found
    command, sender = found
    try:
        return Message(Command(command), sender)
    except ValueError:
        return Broken(Why.FIELD, f"expected a command from 0 to {max(Command)} in a mailbox of SBD, found {command}")


def _render_named(number: int, name: str, sector: int) -> bytes:
    check_sector(sector)
    encoded = name.encode("utf-8", "surrogateescape")
    check_range("bytes of the name", len(encoded), 0, NAME_MAX)
    if b"\0" in encoded:
        raise ValueError("name: expected text without zero bytes")
    return _NAMED.pack(number, encoded).ljust(sector, b"\0")


def _parse_named(data: bytes) -> tuple[int, str] | Broken:
    if broken := not_a_sector(data):
        return broken
    number, field = _NAMED.unpack_from(data)
    name, end, _ = field.partition(b"\0")
    if not end:
        return Broken(Why.FIELD, f"expected a name of at most {NAME_MAX} bytes and a zero, found {field!r}")
    return number, name.decode("utf-8", "surrogateescape")


def _folded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")[:NAME_MAX].lower()
