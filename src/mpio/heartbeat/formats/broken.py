"""What a sector is that is no valid block, and what all formats know of sectors and nodes."""

from dataclasses import dataclass
from enum import Enum

NODES_MAX = 255
"""Nodes, and so slots, of a region: numbers are 0 to 254 (o2cb's and SBD's limit, and ours)."""
SECTOR_SIZES = (512, 1024, 2048, 4096)
"""Logical block sizes, in bytes, that a region can have."""


class Why(Enum):
    """Why a sector has no value. Who reads it reacts to each differently."""

    EMPTY = "empty"  # nothing but zeros where the format never has that
    SIZE = "size"  # no whole sector
    MAGIC = "magic"  # of another kind altogether
    VERSION = "version"  # of a version that this program does not know
    CHECKSUM = "checksum"  # torn or damaged
    FIELD = "field"  # whole, but a field has a value that means nothing


@dataclass(frozen=True, slots=True)
class Broken:
    """A sector without a valid block. `words` says what was expected and what was found."""

    why: Why
    words: str


def not_a_sector(data: bytes) -> Broken | None:
    """The finding that `data` is no whole sector; None if it is one."""
    if len(data) in SECTOR_SIZES:
        return None
    return Broken(Why.SIZE, f"expected a sector of {', '.join(map(str, SECTOR_SIZES))} bytes, found {len(data)} bytes")


def check_sector(sector: int) -> None:
    """Raise ValueError if there are no sectors of `sector` bytes."""
    if sector not in SECTOR_SIZES:
        raise ValueError(f"sector size: expected one of {', '.join(map(str, SECTOR_SIZES))}; found {sector}")


def check_range(name: str, value: int, least: int, most: int) -> None:
    """Raise ValueError if a field's value does not fit."""
    if not least <= value <= most:
        raise ValueError(f"{name}: expected {least} to {most}, found {value}")
