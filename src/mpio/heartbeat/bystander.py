"""What a bystander sees of a region: whose slots change, how long ago they did, and when their owners run out of time.

A bystander has no slot and no vote. It knows a node's age only from its own reads: a slot that has not changed since
the first look is at least so old, not exactly. A gap in its own reads is nobody's age but its own (who can't see must
not blame): what falls into one is marked as such.

SBD's nodes write nothing while all is well, so its slots have names and messages, and no ages.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mpio.heartbeat.formats import o2cb, own, sbd
from mpio.heartbeat.formats.broken import Broken, Why
from mpio.heartbeat.region import Holds, Layout

CHANGES_TO_LIVE = 2  # as every personality asks for: one change may be an old write that lands late


class Look(StrEnum):
    """What a slot looks like."""

    EMPTY = "empty"
    """Never used."""
    SILENT = "silent"
    """In use, and not seen to change often enough."""
    BEATING = "beating"
    DEAD = "dead"
    """Did not change for its whole dead timeout while we looked."""
    LEFT = "left"
    """Its node said goodbye."""
    HELD = "held"
    """Its node has fenced itself, and says so."""
    NAMED = "named"
    """SBD's: allotted to a node."""
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Beat:
    """What a slot says, in whatever format: times in ns, None where the format or the slot has none."""

    generation: int = 0
    sequence: int = 0
    name: str = ""
    period_ns: int | None = None
    deadline_ns: int | None = None
    dead_ns: int | None = None
    member: bool = True
    held: bool = False
    score: int | None = None
    connected: tuple[int, ...] = ()
    poison: tuple[own.Poison, ...] = ()
    message: sbd.Message | None = None


@dataclass(frozen=True, slots=True)
class SlotView:
    """One slot at some time.

    Attributes:
        age_ns: since its last change was seen; None where it never is. is_at_least: it was never seen to change, and
            the age is counted from the first look.
        margin_ns: until its node fences itself at the latest if nothing more comes. dead_in_ns: until the others call
            it dead, at the earliest.
        trouble: why there is nothing to be said, of a damaged or unreadable slot.
    """

    node: int
    look: Look
    beat: Beat
    age_ns: int | None = None
    is_at_least: bool = False
    margin_ns: int | None = None
    dead_in_ns: int | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A slot looks another way than before, or its node wrote: then `gap_ns` is the time since its write before.

    `is_measured` is False where the bystander could not look before the end of the gap: it may have been shorter.
    `restarted`: another life.
    """

    node: int
    old: Look
    new: Look
    beat: Beat
    gap_ns: int | None = None
    is_measured: bool = False
    restarted: bool = False


@dataclass(slots=True)
class _Slot:
    node: int
    beat: Beat = field(default_factory=Beat)
    used: bool = False
    trouble: str = ""
    broken: Look | None = None  # DAMAGED or UNREADABLE, while it is
    first_ns: int | None = None
    seen_ns: int | None = None  # the last look that showed it
    changed_ns: int | None = None
    changes: int = 0

    def look(self) -> Look:
        if self.broken is not None:
            return self.broken
        if not self.used:
            return Look.EMPTY
        if self.beat.message is not None:
            return Look.NAMED
        if self.beat.generation == 0:
            return Look.LEFT
        if self.beat.held:
            return Look.HELD
        return Look.BEATING if self.changes >= CHANGES_TO_LIVE else Look.SILENT


class Bystander:
    """Sees one region, look by look.

    Args:
        layout: what is where. interval_ns: how often looks are taken; twice that without one is a gap.
        region: the identity of a region of our own format.
    """

    def __init__(self, layout: Layout, interval_ns: int, region: bytes = b"") -> None:
        self.layout = layout
        self._region = region
        self._interval_ns = interval_ns
        self._slots = [_Slot(node) for node in range(layout.slots)]

    def see(self, sectors: Sequence[bytes | str], now: int) -> list[Change]:
        """One look at all slots.

        Args:
            sectors: for each slot its bytes (with SBD those of slot and mailbox), or why they could not be read.
            now: when the reads were issued.
        """
        changes = []
        for slot, data in zip(self._slots, sectors, strict=True):
            old = slot.look()
            change = self._see_slot(slot, data, now)
            if change is None and slot.look() is not old:
                change = Change(slot.node, old, slot.look(), slot.beat)
            if change is not None:
                changes.append(change)
        return changes

    def views(self, now: int) -> list[SlotView]:
        """Every slot that is not empty."""
        return [_view(slot, now) for slot in self._slots if slot.look() is not Look.EMPTY]

    def _see_slot(self, slot: _Slot, data: bytes | str, now: int) -> Change | None:
        """Note what is there. A Change if the node wrote since the look before."""
        look = slot.look()
        read = (
            (Look.UNREADABLE, data) if isinstance(data, str) else decode(self.layout, slot.node, data, self._region)
        )
        if isinstance(read, tuple):
            slot.broken, slot.trouble = read
            return None
        slot.broken, slot.trouble = None, ""
        blind_ns = now - (now if slot.seen_ns is None else slot.seen_ns)
        slot.seen_ns = now
        old, was_used = slot.beat, slot.used
        slot.beat, slot.used = read or Beat(), read is not None
        if slot.first_ns is None:
            slot.first_ns = now
            return None
        beat = slot.beat
        if was_used and (beat.generation, beat.sequence, beat.held, beat.message) == (
            old.generation, old.sequence, old.held, old.message,
        ):  # fmt: skip
            return None
        if not was_used and not slot.used:
            return None
        same_life = was_used and beat.generation == old.generation
        gap_ns = now - slot.changed_ns if same_life and slot.changed_ns is not None else None
        is_measured = gap_ns is not None and blind_ns <= 2 * self._interval_ns
        was_dead = gap_ns is not None and old.dead_ns is not None and gap_ns >= old.dead_ns
        slot.changes = slot.changes + 1 if same_life and not was_dead else 1
        slot.changed_ns = now
        restarted = was_used and 0 not in (old.generation, beat.generation) and not same_life
        return Change(slot.node, look, slot.look(), beat, gap_ns, is_measured, restarted)


def _view(slot: _Slot, now: int) -> SlotView:
    look, beat = slot.look(), slot.beat
    since = slot.first_ns if slot.changed_ns is None else slot.changed_ns
    if look not in (Look.SILENT, Look.BEATING) or since is None:
        return SlotView(slot.node, look, beat, trouble=slot.trouble)
    age_ns = now - since
    if beat.dead_ns is not None and age_ns >= beat.dead_ns:
        look = Look.DEAD
    return SlotView(
        slot.node, look, beat, age_ns, slot.changed_ns is None,
        None if beat.deadline_ns is None else beat.deadline_ns - age_ns,
        None if beat.dead_ns is None else beat.dead_ns - age_ns,
    )  # fmt: skip


def decode(layout: Layout, node: int, data: bytes, region: bytes = b"") -> Beat | tuple[Look, str] | None:
    """What a slot says; None if it was never used; or what is wrong with it. `region`: its identity, b"" for any."""
    if layout.holds is Holds.O2CB:
        return _decode_o2cb(node, data)
    if layout.holds is Holds.SBD:
        owner, message = sbd.parse_slot(data[:layout.sector]), sbd.parse_message(data[layout.sector:])
        if isinstance(owner, Broken):
            return Look.DAMAGED, owner.words
        if isinstance(message, Broken):
            return Look.DAMAGED, message.words
        return Beat(name=owner.name, message=message) if owner.in_use else None
    slot = own.parse_slot(data)
    if isinstance(slot, Broken):
        return None if slot.why is Why.EMPTY else (Look.DAMAGED, slot.words)
    if slot.node != node:
        return Look.DAMAGED, f"a heartbeat of node {slot.node} in the slot of node {node}"
    if region and slot.region != region:
        return Look.DAMAGED, f"a heartbeat for another region, {slot.region.hex()}"
    timing = slot.timing
    return Beat(
        slot.generation, slot.sequence, slot.name, timing.period_ns, timing.deadline_ns, timing.dead_ns, slot.member,
        slot.held, slot.score, slot.connected, slot.poison,
    )  # fmt: skip


def _decode_o2cb(node: int, data: bytes) -> Beat | tuple[Look, str] | None:
    block = o2cb.parse(data)
    if isinstance(block, Broken):
        return Look.DAMAGED, block.words
    if not block.is_used:
        return None
    if block.node != node:
        return Look.DAMAGED, f"a heartbeat of node {block.node} in the slot of node {node}"
    period_ns = o2cb.PERIOD_MS * 1_000_000
    dead_ns = block.dead_ms * 1_000_000
    return Beat(block.generation, block.sequence, "", period_ns, dead_ns - period_ns, dead_ns)
