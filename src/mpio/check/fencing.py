"""Whether fencing did its work: nobody writes what another has taken over, and nobody is fenced without a cause.

Three questions, each with an answer that does not depend on how a heartbeat engine is built:

- Did a node write to shared data after another node had taken over its work? (`Takeovers`: split brain)
- Was there a reason for a fence that theory knows? (`is_explained`: heartbeats could fail for long enough)
- Did each fence that had to come do so in time? (`due_ns`)

All instants are of one true clock (ns); nodes' own clocks may differ from it by `Terms.rate_ppm`. Theory: with a
heartbeat every P that takes c, a deadline D from the issue of the last good one, and F until a fence holds, a node
whose storage answers throughout some P + 2 c is not fenced before D after that; one whose storage does not answer at
all is fenced D + F after its last good heartbeat.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mpio.check.breach import Breaches

_MILLION = 1_000_000

Life = tuple[int, int]
"""A node's number, and which of its lives: it may be fenced, reboot, and come back as another one."""


class Takeovers:
    """Who may write which unit of shared data.

    A unit has one owner, a life of a node. When another node takes the unit over, not a single write of the old owner
    may take effect any more, however long it has been on its way.

    Attributes:
        breaches: rules `split-brain`: a write of somebody else than the owner; `not-stopped`: a member was called dead
            while it could still write; `risen`: a life became a member after it had been called dead.
        landed_count: writes seen. taken: how often units changed hands.
    """

    def __init__(self) -> None:
        self.breaches = Breaches()
        self.landed_count = 0
        self.taken = 0
        self._owners: dict[int, Life] = {}
        self._running: dict[Life, None] = {}
        self._called: dict[Life, None] = {}

    def began(self, life: Life, t_ns: int) -> None:
        """The node is a member now, and may write."""
        self._running[life] = None
        if life in self._called:
            self.breaches.add("risen", t_ns, f"{_name(life)} becomes a member, which others have called dead")

    def ended(self, life: Life) -> None:
        """It can write nothing new any more: it has crashed, was reset, or has stopped all its I/O for good."""
        self._running.pop(life, None)

    def owner(self, unit: int) -> Life | None:
        """Who has it."""
        return self._owners.get(unit)

    def taken_over(self, unit: int, life: Life) -> None:
        """A life of a node begins to write a unit."""
        self.taken += unit in self._owners and self._owners[unit] != life
        self._owners[unit] = life

    def called_dead(self, observer: Life, victim: Life, t_ns: int) -> None:
        """Others take the victim for stopped from now on."""
        self._called[victim] = None
        if victim in self._running:
            self.breaches.add("not-stopped", t_ns, f"{_name(observer)} calls {_name(victim)} dead, which still runs")

    def landed(self, unit: int, writer: Life, t_ns: int) -> None:
        """A write took effect on the medium."""
        self.landed_count += 1
        owner = self._owners.get(unit)
        if owner is not None and owner != writer:
            self.breaches.add(
                "split-brain", t_ns, f"a write of {_name(writer)} to unit {unit} landed, which {_name(owner)} has "
                                     "taken over")


def _name(life: Life) -> str:
    return f"node {life[0]} (life {life[1]})"


@dataclass(frozen=True, slots=True)
class Terms:
    """The times that theory adds up, in ns.

    Attributes:
        period_ns: P, from one heartbeat to the next. cycle_ns: c, what one takes at most while nothing is wrong.
        deadline_ns: D, from the issue of the last good heartbeat (of its completion where `slack_ns` says so).
        fence_ns: F, until a fence holds. slack_ns: what a deadline may be later than D: timers, how it is counted.
        rate_ppm: how much a node's clock may differ from the true one.
    """

    period_ns: int
    cycle_ns: int
    deadline_ns: int
    fence_ns: int
    slack_ns: int = 0
    rate_ppm: int = 1000

    def longest(self, duration_ns: int) -> int:
        """A duration of a node's clock, as long as it can be in truth."""
        return duration_ns + duration_ns * self.rate_ppm // _MILLION + 1

    def shortest(self, duration_ns: int) -> int:
        """As short as it can be."""
        return duration_ns - duration_ns * self.rate_ppm // _MILLION - 1


@dataclass(frozen=True, slots=True)
class Trouble:
    """A time in which a node's heartbeats may fail; if it is `total`, all that begin in it do."""

    begin_ns: int
    end_ns: int
    total: bool = False


def merged(troubles: Iterable[Trouble]) -> list[Trouble]:
    """The times in which something is wrong, in order and apart from each other."""
    found: list[Trouble] = []
    for trouble in sorted(troubles, key=lambda trouble: trouble.begin_ns):
        if found and trouble.begin_ns <= found[-1].end_ns:
            last = found.pop()
            trouble = Trouble(last.begin_ns, max(last.end_ns, trouble.end_ns), last.total and trouble.total)
        found.append(trouble)
    return found


def is_explained(fenced_ns: int, troubles: Sequence[Trouble], terms: Terms) -> bool:
    """Whether a fence for want of good heartbeats at this instant had a cause.

    It had none if somewhere in the deadline before it there was a quiet time long enough for a whole heartbeat: the
    rest of the one under way, the pause, and the next one.
    """
    quiet_ns = terms.longest(terms.period_ns) + 2 * terms.cycle_ns
    at = fenced_ns - terms.shortest(terms.deadline_ns)
    for trouble in merged(troubles):
        if trouble.end_ns <= at:
            continue
        if trouble.begin_ns - at > quiet_ns or trouble.begin_ns >= fenced_ns:
            break
        at = trouble.end_ns
    return fenced_ns - at <= quiet_ns


def due_ns(begin_ns: int, terms: Terms) -> int:
    """When a fence holds at the latest if nothing of a node's reaches the storage from `begin_ns` on.

    The last good heartbeat was issued before.
    """
    return begin_ns + terms.longest(terms.deadline_ns + terms.slack_ns) + terms.fence_ns
