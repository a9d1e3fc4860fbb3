"""A moment that a cluster stack acts on: when a node warns, fences itself, is declared dead, is taken over from."""

from dataclasses import dataclass
from enum import StrEnum


class Since(StrEnum):
    """What a deadline is counted from."""

    HEARTBEAT = "the last good heartbeat"
    STALL = "the beginning of the stall"
    CONNECTION = "the loss of the connection"
    FAILURE = "the node's failure"
    REQUEST = "the request"


class Act(StrEnum):
    """What happens at a deadline."""

    TOLERATED = "tolerated"  # not an event: the longest stall that nothing follows from
    WARNS = "warns"
    ASKS = "asks the other nodes"
    FAILS = "a resource or a lease fails"
    FENCED = "the stalled node is fenced"
    DEAD = "the others take it for dead"
    SERVICE = "service goes on"


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a stack acts, at the earliest and at the latest.

    Attributes:
        id: the stack and the moment, as `o2cb.self_fence`. name: for people.
        earliest_ns, latest_ns: counted from `since`.
        phase_ns: the longest time by which a stall can begin later than `since`; of use only for HEARTBEAT and STALL.
        words: what happens then. source: where that is written.
    """

    id: str
    name: str
    act: Act
    since: Since
    earliest_ns: int
    latest_ns: int
    words: str
    source: str
    phase_ns: int = 0

    @property
    def of_stall_ns(self) -> tuple[int, int] | None:
        """Earliest and latest moment counted from the beginning of a stall; None if no stall leads to it."""
        if self.since not in (Since.HEARTBEAT, Since.STALL):
            return None
        return max(0, self.earliest_ns - self.phase_ns), self.latest_ns

    def as_json(self) -> dict[str, object]:
        """Everything, with `of_stall_ns` as a list or null."""
        of_stall = self.of_stall_ns
        return {
            "id": self.id, "name": self.name, "act": self.act.name.lower(), "since": self.since.name.lower(),
            "earliest_ns": self.earliest_ns, "latest_ns": self.latest_ns,
            "of_stall_ns": None if of_stall is None else list(of_stall), "words": self.words, "source": self.source,
        }
