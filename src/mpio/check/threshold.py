"""From measured heartbeats to thresholds: the least that carries them, what it rests on, and a trial of it.

A heartbeat must get through within P + S + x + J: its period, the stall of a failover, the latency that is exceeded
once in all the heartbeats looked ahead to, and the jitter of whoever issues it. The least setting is the planner's for
exactly these; the setting with room follows the planner's recipes, and never goes below what the packages ship.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from mpio.heartbeat.tail import Distribution, Tail
from mpio.heartbeat.timing import Timing
from mpio.heartbeat.trial import Stall, Subject, fences, period_ns
from mpio.model.cluster import Cluster, Corosync, O2cb, Sanlock, Sbd
from mpio.planner.cluster import STACKS, Storage, defaults, recommended, smallest, tolerated_ns
from mpio.planner.clusters import o2cb
from mpio.planner.clusters.stack import whole_seconds
from mpio.units import NS_PER_S

Kind = Literal["own", "o2cb", "sbd", "sanlock"]
KINDS: tuple[Kind, ...] = ("own", "o2cb", "sbd", "sanlock")
Colour = Literal["green", "amber", "red"]

YEAR_NS = 365 * 86_400 * NS_PER_S
GREEN_SHARE = 0.25
"""From this share of the deadline on a margin is comfortable."""
RUNS = 10_000
_ROUNDS = 10  # heartbeats of a run, at least
_ROUNDS_BEFORE = 2  # of them before the stall
_LOWER = 4, 5  # a fifth lower
_PLANNER_KINDS = {"o2cb": "ocfs2", "sbd": "sbd", "sanlock": "sanlock"}

Uniform = Callable[[], float]
"""A random number from 0 up to 1, as `random.Random(seed).random`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, and what it leaves.

    Attributes:
        subject: the heartbeat's settings. beside: Pacemaker's timers that have to go with SBD's; else None.
        deadline_ns: D, until a node fences itself: O2CB 2 (T - 1) s, SBD its watchdog, sanlock 8 N.
        tolerated_ns: the longest stall that it carries, with latency and jitter as measured.
        margin_ns: of that, what the failover's stall leaves.
    """

    subject: Subject
    beside: Corosync | None
    deadline_ns: int
    tolerated_ns: int
    margin_ns: int

    @property
    def colour(self) -> Colour:
        """Green from a quarter of the deadline on, red below 0."""
        if self.margin_ns < 0:
            return "red"
        return "green" if self.margin_ns >= GREEN_SHARE * self.deadline_ns else "amber"


@dataclass(frozen=True, slots=True)
class Trial:
    """How often a node fenced itself without cause, in so many runs with one failover each.

    Attributes:
        lower: the setting a fifth lower; None if there is none. fenced_lower: how often with that.
    """

    runs: int
    fenced: int
    lower: Subject | None
    fenced_lower: int


@dataclass(frozen=True, slots=True)
class Advice:
    """What to set for one kind of heartbeat.

    Attributes:
        kind: whose. tail: of its requests. stall_ns: S. jitter_ns: J. period_ns: P.
        least: the smallest setting that carries all this and that its programs take.
        bound_by: whether the measurement decides that, or the least that the programs take.
        with_room: after the recipes, and at least what the packages ship.
        shipped: what the packages ship.
        overshoots: heartbeats in a node-year that take too long for `least` without any failover. `at_most`: that is
            an upper bound and says only that none was seen; else it is what the fit expects.
    """

    kind: Kind
    tail: Tail
    stall_ns: int
    jitter_ns: int
    period_ns: int
    least: Setting
    bound_by: Literal["measurement", "program"]
    with_room: Setting
    shipped: Setting
    overshoots: float
    at_most: bool


def heartbeats(kind: Kind, node_years: float) -> float:
    """How many requests of this kind nodes issue in so many node-years, each its period after the last one."""
    reads = 3 if kind == "sbd" else 1
    return reads * node_years * YEAR_NS / period_ns(_shipped(kind))


def advise(kind: Kind, tail: Tail, stall_ns: int, jitter_ns: int) -> Advice:
    """What to set, given the tail of its requests' latency, a failover's stall, and the jitter."""
    storage = Storage(stall_ns=stall_ns, latency_ns=tail.level_ns, jitter_ns=jitter_ns)
    least = _least(kind, storage)
    quiet = _least(kind, Storage(stall_ns=0))
    overshoots, at_most = _overshoots(kind, tail, least[0], jitter_ns)
    return Advice(
        kind, tail, stall_ns, jitter_ns, period_ns(least[0]), setting(least, storage),
        "program" if least[0] == quiet[0] else "measurement",
        setting(_with_room(kind, storage), storage), setting((_shipped(kind), None), storage), overshoots, at_most,
    )


def setting(found: tuple[Subject, Corosync | None], storage: Storage) -> Setting:
    """A setting with what it leaves of the storage's stall."""
    subject, beside = found
    assert storage.stall_ns is not None
    tolerated = _tolerated_ns(subject, storage)
    return Setting(subject, beside, _deadline_ns(subject, storage), tolerated, tolerated - storage.stall_ns)


def lowered(subject: Subject) -> Subject | None:
    """The same a fifth lower, in the unit of its program; None if that is no lower, or nothing."""
    part, whole = _LOWER
    try:
        match subject:
            case Timing():
                return Timing.of(subject.deadline_ns * part // whole, subject.period_ns)
            case O2cb():
                deadline_ns = o2cb.self_fence_ns(subject.heartbeat_threshold) * part // whole
                threshold = deadline_ns // o2cb.PERIOD_NS + 1
                return replace(subject, heartbeat_threshold=threshold) if threshold > 1 else None
            case Sbd():
                watchdog = subject.watchdog * part // whole
                return replace(subject, watchdog=watchdog, msgwait=2 * watchdog) if watchdog else None
            case Sanlock():
                timeout = subject.io_timeout * part // whole
                return replace(subject, io_timeout=timeout) if timeout else None
    except ValueError:  # mpio's own deadline has to be four periods
        return None


def try_out(advice: Advice, latencies: Distribution, runs: int, uniform: Uniform) -> Trial:
    """Runs with the least setting, and with one a fifth lower, each under latencies and failovers of its own."""
    lower = lowered(advice.least.subject)
    fenced, fenced_lower = (
        0 if subject is None else count_fences(subject, advice.stall_ns, latencies, runs, uniform)
        for subject in (advice.least.subject, lower))
    return Trial(runs, fenced, lower, fenced_lower)


def count_fences(subject: Subject, stall_ns: int, latencies: Distribution, runs: int, uniform: Uniform) -> int:
    """How many of so many runs end with a fence.

    Each has one failover at any phase of the heartbeat; every second one takes the full stall, the others less.
    """
    period = period_ns(subject)
    fenced = 0
    for run in range(runs):
        begin_ns = round((_ROUNDS_BEFORE + uniform()) * period)
        long_ns = stall_ns if run % 2 == 0 else round(stall_ns * uniform())
        stall = Stall(begin_ns, begin_ns + long_ns)
        fenced += fences(subject, stall, _ROUNDS, lambda: latencies.at(uniform()), uniform())
    return fenced


def _least(kind: Kind, storage: Storage) -> tuple[Subject, Corosync | None]:
    if kind != "own":
        return _split(smallest(_PLANNER_KINDS[kind], storage))
    period = Timing().period_ns
    needed_ns = period + storage.finite_ns("deadline") + storage.noise_ns
    return Timing.of(max(4 * period, whole_seconds(needed_ns) * NS_PER_S)), None


def _with_room(kind: Kind, storage: Storage) -> tuple[Subject, Corosync | None]:
    """The recipe's, each timer raised to what is shipped."""
    if kind == "own":
        stall_ns = storage.finite_ns("deadline") + storage.noise_ns
        room_ns = max(stall_ns * 3 // 2, stall_ns + 30 * NS_PER_S)
        return Timing.of(max(Timing().deadline_ns, whole_seconds(room_ns) * NS_PER_S)), None
    subject, beside = _split(recommended(_PLANNER_KINDS[kind], storage))
    if isinstance(subject, O2cb):
        subject = replace(subject, heartbeat_threshold=max(subject.heartbeat_threshold, O2cb().heartbeat_threshold))
    return subject, beside


def _shipped(kind: Kind) -> Subject:
    return Timing() if kind == "own" else _split(defaults(_PLANNER_KINDS[kind]))[0]


def _split(clusters: tuple[Cluster, ...]) -> tuple[Subject, Corosync | None]:
    """The heartbeat's settings, and Pacemaker's."""
    subject, *rest = clusters
    assert isinstance(subject, O2cb | Sbd | Sanlock)
    beside = rest[0] if rest else None
    assert beside is None or isinstance(beside, Corosync)
    return subject, beside


def _deadline_ns(subject: Subject, storage: Storage) -> int:
    if isinstance(subject, Timing):
        return subject.deadline_ns
    found = STACKS[type(subject)].heartbeat_ns(subject, storage)
    assert found is not None
    return found


def _tolerated_ns(subject: Subject, storage: Storage) -> int:
    if isinstance(subject, Timing):
        return max(0, subject.deadline_ns - subject.period_ns - storage.noise_ns)
    found = tolerated_ns([subject], storage)
    assert found is not None
    return found


def _overshoots(kind: Kind, tail: Tail, least: Subject, jitter_ns: int) -> tuple[float, bool]:
    """What is left of latency when there is no failover: all that the setting tolerates, less the jitter."""
    allowed_ns = _tolerated_ns(least, Storage(stall_ns=0, jitter_ns=jitter_ns))
    yearly = heartbeats(kind, 1)
    if tail.fit is None or allowed_ns <= tail.fit.from_ns:
        return yearly * tail.unseen, True
    return yearly * tail.fit.beyond(allowed_ns), False
