"""From a measurement and what is known of failovers to findings: the middle of `mpio heartbeat measure`."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from mpio.check.failover_stall import FailoverStall, Source, longest, observed
from mpio.check.threshold import KINDS, Advice, Kind, Setting, Trial, advise, heartbeats, setting, try_out
from mpio.config.option import parse_option
from mpio.errors import InputError
from mpio.events import Kind as EventKind
from mpio.heartbeat.tail import Distribution, Tail, estimate, percentiles
from mpio.io.heartbeat_measure import Measured
from mpio.model.cluster import Cluster, O2cb, Sanlock, Sbd
from mpio.model.settings import Settings
from mpio.model.stack import LinuxStack
from mpio.planner.cluster import Storage
from mpio.planner.goals import changed
from mpio.planner.stall import Failure, stall_bound
from mpio.report.heartbeat_measured import Findings, tail_notes
from mpio.report.rundir import read_run
from mpio.units import NS_PER_S, format_duration

DRILLS_MAX = 100
_FAILURES: tuple[Failure, ...] = tuple(failure for failure in get_args(Failure) if failure != "outage")
_OWNERS: dict[str, tuple[Kind, Cluster]] = {
    "o2cb": ("o2cb", O2cb()), "sbd": ("sbd", Sbd()), "sanlock": ("sanlock", Sanlock())}


@dataclass(frozen=True, slots=True)
class Drilled:
    """What the run directories of drills say.

    Attributes:
        sources: their stalls, and the bounds of these. windows: when I/O stalled: (from, to), ns since 1970.
    """

    sources: tuple[Source, ...] = ()
    windows: tuple[tuple[int, int], ...] = ()

    def __add__(self, other: "Drilled") -> "Drilled":
        return Drilled(self.sources + other.sources, self.windows + other.windows)


def run_directories(places: Sequence[Path]) -> list[Path]:
    """Run directories, and for a directory that holds some (what `mpio drill --out` was given) all of these."""
    found: list[Path] = []
    for place in places:
        inner = [] if (place / "journal.jsonl").exists() or not place.is_dir() else sorted(
            child for child in place.iterdir() if (child / "journal.jsonl").exists())
        if len(inner) > DRILLS_MAX:
            raise InputError(str(place), f"expected at most {DRILLS_MAX} runs, found {len(inner)}: give single ones")
        found += inner or [place]
    return found


def is_running(directory: Path) -> bool:
    """Whether a drill has begun there, and has not said its verdict yet."""
    return (directory / "journal.jsonl").exists() and not (directory / "verdict.json").exists()


def read_drills(directories: Sequence[Path]) -> Drilled:
    """Raises InputError for a run directory that can't be read, or in which nothing stalled."""
    sources: list[Source] = []
    windows: list[tuple[int, int]] = []
    for directory in directories:
        run = read_run(directory)
        stalls = [stall for stall in run.stalls if stall.ios != 0]
        if not stalls:
            raise InputError(str(directory), "expected a drill in which I/O met a fault, found none")
        sources.append(observed([stall.worst_stall_ns for stall in stalls], f"in the drill {run.name}"))
        bounds = [stall.bound_ns for stall in stalls if stall.bound_ns is not None]
        if bounds:
            sources.append(Source(max(bounds), f"the planner's bound in the drill {run.name}"))
        started = next((event for event in run.journal if event.kind is EventKind.RUN_STARTED), None)
        epoch = None if started is None else started.fields.get("wall_epoch")
        if started is not None and isinstance(epoch, int | float):
            wall_ns = round(epoch * NS_PER_S) - started.t_ns
            windows += [(wall_ns + stall.cut_ns, wall_ns + stall.cut_ns + stall.worst_stall_ns) for stall in stalls]
    return Drilled(tuple(sources), tuple(windows))


def planned(settings: Settings, paths: int) -> Source | None:
    """The planner's bound for a map with these settings; None for one path, whose failure ends with its return."""
    if paths < 2:
        return None
    bounds = {failure: stall_bound(settings, failure).worst_ns for failure in _FAILURES}
    worst = max(_FAILURES, key=lambda failure: _endless_last(bounds[failure]))
    return Source(bounds[worst], f"the planner's bound for this map, {worst}")


def _endless_last(stall_ns: int | None) -> float:
    return float("inf") if stall_ns is None else stall_ns


def failover_stall(sources: Sequence[Source], measured: Measured) -> FailoverStall:
    """S of all opinions, and of the failovers that came while it was measured. Raises InputError."""
    took = [took_ns for _, took_ns in measured.failovers]
    seen = [observed(took, "that met a failover here", "heartbeat")] if took else []
    try:
        return longest([*sources, *seen])
    except ValueError as error:
        raise InputError("--stall", str(error)) from None


def present_settings(texts: Sequence[str], kinds: Sequence[Kind]) -> dict[Kind, Cluster]:
    """The settings of --present, each in its stack as shipped. Raises InputError."""
    values: dict[str, object] = {}
    for text in texts:
        try:
            name, value = parse_option(text)
        except ValueError as error:
            raise InputError("--present", str(error)) from None
        values[name] = value
    found: dict[Kind, Cluster] = {}
    for name in values:
        owner = name.partition(".")[0]
        if owner not in _OWNERS or _OWNERS[owner][0] not in kinds:
            known = [owner for owner in _OWNERS if _OWNERS[owner][0] in kinds]
            raise InputError("--present", (
                f"{name}: expected a setting of {' or '.join(known)}" if known else
                f"{name}: there is none of this --personality"))
        kind, shipped = _OWNERS[owner]
        found[kind] = changed(LinuxStack(), (found.get(kind, shipped),), values)[1][0]
    return found


def kinds_of(personality: str) -> tuple[Kind, ...]:
    """Whose thresholds a personality asks for."""
    return KINDS if personality == "all" else tuple(kind for kind in KINDS if kind == personality)


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be found out of a measurement."""

    kinds: tuple[Kind, ...]
    node_years: float
    runs: int
    seed: int
    present: dict[Kind, Cluster]


def advise_all(
    question: Question, measured: Measured, stall: FailoverStall, about: dict[str, object], notes: Sequence[str],
    trouble: str = "",
) -> Findings:
    """Thresholds for all kinds that were asked for, each tried. There is at least one round."""
    jitter_ns = max(measured.lateness, default=0)
    advice: list[tuple[Advice, Trial | None]] = []
    present: list[Setting] = []
    tails: list[Tail] = []
    for kind in question.kinds:
        latencies = latencies_for(kind, measured)
        tail = estimate(latencies, heartbeats(kind, question.node_years))
        found = advise(kind, tail, stall.stall_ns, jitter_ns)
        uniform = random.Random(f"{question.seed}/{kind}").random
        trial = try_out(found, Distribution(latencies, tail.fit), question.runs, uniform) if question.runs else None
        advice.append((found, trial))
        tails.append(tail)
        subject = question.present.get(kind)
        if isinstance(subject, O2cb | Sbd | Sanlock):
            storage = Storage(stall_ns=stall.stall_ns, latency_ns=tail.level_ns, jitter_ns=jitter_ns)
            present.append(setting((subject, None), storage))
    return Findings(
        about, _counts(measured), stall, question.node_years, tuple(advice), tuple(present),
        (*notes, *_notes(measured, stall), *tail_notes(tails)), trouble)


def latencies_for(kind: Kind, measured: Measured) -> Sequence[int]:
    """How long what this heartbeat waits for took: SBD for single reads, mpio for a second read after its write."""
    if kind == "sbd":
        return measured.reads
    if kind == "own" and len(measured.reads) == len(measured.rounds):
        return [took_ns + again_ns for took_ns, again_ns in zip(measured.rounds, measured.reads, strict=True)]
    return measured.rounds


def _counts(measured: Measured) -> dict[str, object]:
    return {
        "heartbeats": len(measured.rounds), "elapsed_ns": measured.elapsed_ns,
        "latency_ns": percentiles(measured.rounds), "read_latency_ns": percentiles(measured.reads),
        "lateness_ns": percentiles(measured.lateness),
        "failovers": len(measured.failovers),
        "failover_longest_ns": max((took_ns for _, took_ns in measured.failovers), default=0),
        "errors": measured.errors, "first_error": measured.first_error or None, "unended_ns": measured.unended_ns,
    }


def _notes(measured: Measured, stall: FailoverStall) -> list[str]:
    notes = []
    if measured.unended_ns:
        notes.append(f"the last heartbeat had not ended after {format_duration(measured.unended_ns)}: it counts with "
                     "that, and may have taken longer")
    if measured.full:
        notes.append(f"ended after {len(measured.rounds):,} heartbeats: there is no room for more")
    if measured.errors:
        notes.append(f"{measured.errors} requests failed, the first: {measured.first_error}; a heartbeat that fails is "
                     "as good as none")
    if not stall.sources:
        notes.append("no failover is reckoned with: add its stall with --stall (mpio plan computes it), or the run "
                     "directory of a drill with --drill")
    if measured.failovers:
        notes.append(f"{len(measured.failovers)} heartbeats met a failover and count as that, not as latency")
    return notes
