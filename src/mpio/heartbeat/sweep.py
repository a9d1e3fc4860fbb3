"""One look at all slots of a region of mpio's: in as few reads as can be, one by one if those fail.

A bad sector among the slots must not blind a node to all others, so a failed read of many slots is followed by a read
of each. A block that was written for another region is as good as none.
"""

from dataclasses import dataclass

from mpio.heartbeat.formats import own
from mpio.heartbeat.formats.broken import Broken, Why
from mpio.heartbeat.region import Layout

SPAN_MAX_BYTES = 64 << 10
"""Slots that are farther apart than this from the operator's are read without what is between."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Which slots are looked at: of `nodes`, ascending, and the operator's."""

    region: bytes
    layout: Layout
    nodes: tuple[int, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Theirs; the operator's is that of node `layout.slots`."""
        return (*self.nodes, self.layout.slots)

    def one(self, number: int) -> tuple[int, int]:
        """(offset, length) of a slot."""
        return self.layout.slot(number), self.layout.sector

    def spans(self) -> tuple[tuple[int, int], ...]:
        """(offset, length) of the reads that show them all."""
        begin, sector = self.layout.slot(self.nodes[0]), self.layout.sector
        end, operator = self.layout.slot(self.nodes[-1]) + sector, self.layout.slot(self.layout.slots)
        if operator + sector - begin <= SPAN_MAX_BYTES:
            return ((begin, operator + sector - begin),)
        return (begin, end - begin), (operator, sector)

    def parsed(self, number: int, data: bytes) -> own.Slot | Broken:
        """What a slot holds."""
        found = own.parse_slot(data)
        if isinstance(found, Broken):
            return found
        if found.region != self.region:
            return Broken(Why.EMPTY, "a block of another region")
        if found.node != (own.OPERATOR if number == self.layout.slots else number):
            return Broken(Why.FIELD, f"slot {number} holds a block of node {found.node}")
        return found


class Sweep:
    """One look.

    Attributes:
        issued: when the first read of it was asked for.
        found: what the slots hold that could be read, by number. errors: why the others could not.
    """

    __slots__ = ("_one_by_one", "_slots", "_todo", "errors", "found", "issued")

    def __init__(self, slots: Slots, now: int) -> None:
        self.issued = now
        self.found: dict[int, own.Slot | Broken] = {}
        self.errors: dict[int, str] = {}
        self._slots = slots
        self._todo = list(slots.spans())
        self._one_by_one = False

    @property
    def next(self) -> tuple[int, int] | None:
        """(offset, length) of the read to ask for; None: all has been seen."""
        return self._todo[0] if self._todo else None

    def take(self, data: bytes | None, error: str) -> None:
        """What the read of `next` gave."""
        offset, length = self._todo.pop(0)
        if data is None or len(data) != length:
            if self._one_by_one:
                self.errors[self._number(offset)] = error or "short read"
            else:
                self._one_by_one = True
                self._todo = [self._slots.one(number) for number in self._slots.numbers]
            return
        for number in self._slots.numbers:
            at = self._slots.layout.slot(number) - offset
            if 0 <= at < length:
                self.found[number] = self._slots.parsed(number, data[at:at + self._slots.layout.sector])

    def _number(self, offset: int) -> int:
        return next(number for number in self._slots.numbers if self._slots.layout.slot(number) == offset)
