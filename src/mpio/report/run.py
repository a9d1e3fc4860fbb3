"""A saved drill as plain data: what the renderers see.

Owns: the dataclasses that `rundir` fills and `text` and `html` read. All instants are nanoseconds of the run's own
clock, all sizes bytes. Nothing here knows files or formats.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mpio.events import Event

VerdictKind = Literal["pass", "fail", "unknown"]
Plain = str | int | float | bool | None

OPS = ("read", "write", "flush", "discard")
OUTCOMES = ("ok", "fail", "unknown")
STEPS = ("cut", "detected", "failed", "fenced", "rerouted", "healed", "reconnected", "reinstated")


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement that the drill checked."""

    name: str
    result: VerdictKind
    detail: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One rung of a fault's ladder."""

    what: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class Stall:
    """What one fault did: the longest wait of any I/O that met it, and what happened when."""

    fault: str
    path: int | None  # None: the fault is not one path's
    start_ns: int
    worst_stall_ns: int
    bound_ns: int | None  # None: nothing was promised
    best_ns: int | None
    timeline: tuple[Step, ...]
    terms: tuple["Term", ...] = ()  # of this fault's bound, where they are not the run's
    longest_gap_ns: int | None = None  # the longest time without any I/O ending while one was outstanding
    ios: int | None = None  # how many I/Os were under way at some time of the fault
    node: int | None = None  # None: the run has one node only

    @property
    def cut_ns(self) -> int:
        """When the fault was made: the instant that the ladder's times are relative to."""
        return next((step.t_ns for step in self.timeline if step.what == "cut"), self.start_ns)

    @property
    def healed_ns(self) -> int | None:
        """When the fault was taken away; None if it never was."""
        return next((step.t_ns for step in self.timeline if step.what == "healed"), None)

    @property
    def end_ns(self) -> int:
        """The last instant that the ladder knows."""
        return max((step.t_ns for step in self.timeline), default=self.start_ns + self.worst_stall_ns)

    @property
    def kept(self) -> bool | None:
        """Whether the bound was kept; None without a bound."""
        return None if self.bound_ns is None else self.worst_stall_ns <= self.bound_ns


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of the bound, and where its value comes from."""

    name: str
    value_ns: int
    source: str


@dataclass(frozen=True, slots=True)
class Bound:
    """The planner's promise for the settings in force."""

    terms: tuple[Term, ...]
    worst_ns: int
    best_ns: int


@dataclass(frozen=True, slots=True)
class BadBlock:
    """A run of blocks that do not hold what the history says they must. `path` is "" where the map chose it."""

    lba: int
    blocks: int
    kind: str
    expected: str
    found: str
    path: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What other settings would have made of the same faults, by simulation. `own`: these are the run's own."""

    name: str
    verdict: VerdictKind
    worst_ns: int | None
    bound_ns: int | None
    own: bool = False


@dataclass(frozen=True, slots=True)
class PathFigures:
    """Counters of one path; `throughput_bytes` are bytes per interval of `interval_ns` from `start_ns` on."""

    path: int
    name: str
    counters: Mapping[str, Plain]
    start_ns: int = 0
    interval_ns: int = 0
    throughput_bytes: tuple[int, ...] = ()
    node: int | None = None  # None: the run has one node only


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """One node with heartbeats. `margins_ns` is the time it had left until its self-fence, None while it had no lease.

    The first margin was seen at `start_ns`, the others `interval_ns` apart. `halted`: how it ended before its time.
    """

    node: int
    halted: str
    deadline_ns: int
    start_ns: int
    interval_ns: int
    margins_ns: tuple[int | None, ...]


@dataclass(slots=True)
class History:
    """The I/Os of the run, column by column, in the order of the file. `end_ns` is -1 where no answer ever came."""

    start_ns: "array[int]" = field(default_factory=lambda: array("q"))
    end_ns: "array[int]" = field(default_factory=lambda: array("q"))
    length: "array[int]" = field(default_factory=lambda: array("q"))
    op: bytearray = field(default_factory=bytearray)  # index into OPS
    outcome: bytearray = field(default_factory=bytearray)  # index into OUTCOMES
    lines_left_out: bool = False  # the file goes on past the limit of what is read

    def __len__(self) -> int:
        return len(self.start_ns)

    def count(self, outcome: str) -> int:
        """How many I/Os ended so."""
        return self.outcome.count(OUTCOMES.index(outcome))


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that a run directory says."""

    name: str  # of the directory, for titles
    verdict: VerdictKind
    claims: tuple[Claim, ...]
    stalls: tuple[Stall, ...]
    counts: Mapping[str, Plain]
    blocks: tuple[BadBlock, ...]
    settings: Mapping[str, Plain]
    profile: str | None
    bound: Bound | None
    latency_ns: Mapping[str, int]
    iops: float | None
    verified_bytes: int | None  # read back through each path after the last fault
    paths: tuple[PathFigures, ...]
    journal: tuple[Event, ...]
    history: History
    scenario: str  # text of scenario.toml, "" if there is none
    replay: str  # the command of repro.txt, "" if there is none
    notes: tuple[str, ...]  # what is incomplete in the directory, in words
    elsewhere: tuple[Elsewhere, ...] = ()  # from compare.json, if there is one
    nodes: tuple[NodeFigures, ...] = ()  # with heartbeats
    fences: Mapping[str, Plain] = field(default_factory=dict)  # lost nexuses with writes in doubt, by their end
