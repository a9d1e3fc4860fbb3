"""When to say something about the margins that a bystander sees: before it is too late, and not too often.

o2hbmonitor (ocfs2-tools) warns when more than a given part of the time to the self-fence has gone without a heartbeat.
So does this, for every node at once: at that part, again for each further tenth, and when the node goes on after all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mpio.heartbeat.bystander import Change, Look, SlotView
from mpio.heartbeat.formats import sbd
from mpio.units import format_duration

STEP_PERCENT = 10  # between two warnings of one pause


class Level(StrEnum):
    """How bad it is."""

    NOTICE = "notice"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Note:
    """Something to be said of a node. `percent`: how much of its time to the self-fence was gone; None if not known."""

    level: Level
    node: int
    words: str
    age_ns: int | None = None
    margin_ns: int | None = None
    percent: float | None = None


@dataclass(slots=True)
class Tally:
    """What was seen of one node: heartbeats, the longest time between two of them, and the least margin that left."""

    name: str = ""
    heartbeats: int = 0
    longest_ns: int = 0
    least_margin_ns: int | None = None

    def note_margin(self, margin_ns: int) -> None:
        """Keep the least."""
        if self.least_margin_ns is None or margin_ns < self.least_margin_ns:
            self.least_margin_ns = margin_ns


@dataclass(slots=True)
class _Node:
    tally: Tally = field(default_factory=Tally)
    warned_percent: float = 0.0
    dead: bool = False


class Alarms:
    """Takes what a bystander saw, look by look.

    Args:
        percent: of the time to the self-fence, 1 to 99, from which on a pause is worth a warning.
    """

    def __init__(self, percent: float) -> None:
        self._percent = percent
        self._nodes: dict[int, _Node] = {}

    def tallies(self) -> dict[int, Tally]:
        """What was seen of each node, by number."""
        return {number: node.tally for number, node in sorted(self._nodes.items())}

    def look(self, views: Sequence[SlotView], changes: Sequence[Change]) -> list[Note]:
        """What there is to say after one look."""
        notes = []
        for change in changes:
            notes += self._of_change(change)
        for view in views:
            notes += self._of_view(view)
        return notes

    def _of_change(self, change: Change) -> list[Note]:
        node = self._nodes.setdefault(change.node, _Node())
        node.tally.name = change.beat.name or node.tally.name
        notes = []
        if change.gap_ns is not None:
            node.tally.heartbeats += 1
            if change.is_measured:
                node.tally.longest_ns = max(node.tally.longest_ns, change.gap_ns)
            notes += _went_on(node, change, change.gap_ns)
            node.warned_percent = 0.0
        if change.restarted:
            notes.append(Note(Level.NOTICE, change.node, "has started anew"))
        if change.new is not change.old or (change.beat.message is not None and change.new is Look.NAMED):
            notes += _looks_new(change)
        if change.new is Look.BEATING:
            node.dead = False
        return notes

    def _of_view(self, view: SlotView) -> list[Note]:
        deadline_ns = view.beat.deadline_ns
        if view.look not in (Look.BEATING, Look.DEAD) or view.age_ns is None or not deadline_ns or view.is_at_least:
            return []
        node = self._nodes.setdefault(view.node, _Node())
        node.tally.longest_ns = max(node.tally.longest_ns, view.age_ns)
        margin_ns = deadline_ns - view.age_ns
        node.tally.note_margin(margin_ns)
        if view.look is Look.DEAD:
            if node.dead:
                return []
            node.dead, node.warned_percent = True, 0.0
            words = f"no heartbeat for {format_duration(view.age_ns)}: the others call it dead"
            return [Note(Level.WARNING, view.node, words, view.age_ns, margin_ns, 100.0)]
        percent = 100 * view.age_ns / deadline_ns
        next_percent = min(node.warned_percent + STEP_PERCENT, 100) if node.warned_percent else self._percent
        if percent < next_percent or node.warned_percent >= 100:
            return []
        node.warned_percent = percent
        rest = f"fences itself in {format_duration(margin_ns)}" if margin_ns > 0 else "it has fenced itself by now"
        gone = f"{percent:.0f} % of {format_duration(deadline_ns)}"
        words = f"last heartbeat {format_duration(view.age_ns)} ago: {gone}, {rest}"
        return [Note(Level.WARNING, view.node, words, view.age_ns, margin_ns, percent)]


def _went_on(node: _Node, change: Change, gap_ns: int) -> list[Note]:
    deadline_ns = change.beat.deadline_ns
    if not deadline_ns:
        return []
    margin_ns = deadline_ns - gap_ns
    if change.is_measured:
        node.tally.note_margin(margin_ns)
    if not node.warned_percent:
        return []
    percent = 100 * gap_ns / deadline_ns
    after = "after" if change.is_measured else "after no more than"
    words = f"heartbeats again {after} {format_duration(gap_ns)}, {percent:.0f} % of {format_duration(deadline_ns)}"
    return [Note(Level.NOTICE, change.node, words, gap_ns, margin_ns, percent)]


def _looks_new(change: Change) -> list[Note]:
    message = change.beat.message
    if change.new is Look.NAMED and message is not None:
        if message.command is sbd.Command.EMPTY:
            return [Note(Level.NOTICE, change.node, "no message in its slot")]
        level = Level.WARNING if message.command in sbd.FATAL else Level.NOTICE
        return [Note(level, change.node, f"message {message.command.name.lower()} from {message.sender or 'nobody'}")]
    words = {
        Look.EMPTY: "its slot was cleared",
        Look.SILENT: "its slot is in use; not seen to change yet",
        Look.BEATING: "is beating",
        Look.LEFT: "has left",
        Look.HELD: "has fenced itself",
        Look.DAMAGED: "its slot is damaged",
        Look.UNREADABLE: "its slot can't be read",
    }.get(change.new, change.new.value)
    bad = change.new in (Look.HELD, Look.DAMAGED, Look.UNREADABLE)
    return [Note(Level.WARNING if bad else Level.NOTICE, change.node, words)]
