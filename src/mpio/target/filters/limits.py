"""Which commands a filter strikes: by opcode, LBA, LUN, portal, initiator, chance, number and time."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from mpio.model.address import Portal
from mpio.target.filters import opcodes
from mpio.target.filters.parameters import DURATION, INTEGER, SHARE, TEXTS, Kind, parameter, shown
from mpio.target.filters.request import Occasion, Request

_LBA_MAX = 2**64 - 1
_MASK = 2**64 - 1


def _opcode(value: object) -> tuple[int, ...]:
    items = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else [value]
    return opcodes.parse([str(item).strip() for item in items])


def _lba(value: object) -> tuple[int, int]:
    words = value.split("-") if isinstance(value, str) else [str(value)]
    if len(words) > 2 or not all(word.isascii() and word.isdigit() and len(word) <= 20 for word in words):
        raise ValueError(f"expected an LBA or a range such as '0-2047', found {shown(value)}")
    first, last = int(words[0]), int(words[-1])
    if not first <= last <= _LBA_MAX:
        raise ValueError(f"expected a range from a lower to a higher LBA, found {shown(value)}")
    return first, last


def _numbers(value: object) -> tuple[int, ...]:
    items = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else [value]
    return tuple(INTEGER[0](item) for item in items)


def _portals(value: object) -> tuple[Portal, ...]:
    return tuple(Portal.parse(text) for text in TEXTS[0](value))


_OPCODES: Kind = (_opcode, "name or number, or several")
_LBAS: Kind = (_lba, "LBA or range")
_LUNS: Kind = (_numbers, "number, or several")
_PORTALS: Kind = (_portals, "HOST:PORT, or several")


@dataclass(kw_only=True)
class Limits:
    """What a filter is limited to. What is not given does not limit.

    A filter counts, for `skip` and `count`, only what fits all the rest but chance.

    Attributes:
        seen: how many fitted. struck: how many of them the filter got.
    """

    opcode: tuple[int, ...] = parameter(_OPCODES, "commands: by name such as READ_10 (also 0x28), or a family: read, "
                                        "write, medium, any", None)
    lba: tuple[int, int] | None = parameter(_LBAS, "commands that touch any of these blocks", None)
    lun: tuple[int, ...] | None = parameter(_LUNS, "LUNs", None)
    portal: tuple[Portal, ...] | None = parameter(_PORTALS, "portals that the session came in by, as addresses", None)
    group: tuple[int, ...] | None = parameter(_LUNS, "portal group tags", None)
    initiator: tuple[str, ...] | None = parameter(TEXTS, "initiator names; `*` stands for anything", None)
    rate: float = parameter(SHARE, "the share of them that chance picks", 1)
    skip: int = parameter(INTEGER, "how many of them go free first", 0)
    count: int | None = parameter(INTEGER, "how many are struck; then no more", None)
    after_ns: int = parameter(DURATION, "begins so long after it was added", "0s")
    lasts_ns: int | None = parameter(DURATION, "how long it goes on from there", None)
    seed: int = parameter(INTEGER, "of chance: the same seed and commands, the same ones struck", 1)

    seen: int = field(default=0, init=False)
    struck: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._state = self.seed & _MASK

    @property
    def is_spent(self) -> bool:
        """Whether `count` is reached."""
        return self.count is not None and self.struck >= self.count

    def fits_session(self, occasion: Occasion) -> bool:
        """Whether portal, group and initiator do."""
        if self.portal is not None and occasion.portal not in self.portal:
            return False
        if self.group is not None and occasion.tpgt not in self.group:
            return False
        if self.initiator is None:
            return True
        return any(fnmatchcase(occasion.initiator, name.lower()) for name in self.initiator)

    def fits(self, request: Request) -> bool:
        """Whether a command does."""
        if self.opcode is not None and request.opcode not in self.opcode:
            return False
        if self.lun is not None and request.lun not in self.lun:
            return False
        if self.lba is not None and not request.touches(*self.lba):
            return False
        return self.fits_session(request)

    def strike(self) -> bool:
        """Count one that fits; whether it is to be struck."""
        if self.is_spent:
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.rate < 1 and self._chance() >= self.rate):
            return False
        self.struck += 1
        return True

    def _chance(self) -> float:
        """From 0 to 1, by splitmix64: the same sequence for a seed, everywhere."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
        return (z ^ z >> 31) / 2**64
