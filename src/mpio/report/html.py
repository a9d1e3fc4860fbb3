"""The HTML report: one file that needs nothing else, no network and no script.

Owns: which parts of a run are shown and how many rows of each; the template owns the markup. Jinja's autoescape is
on, drawings escape themselves (`svg`), so that no name in a run can become markup.
"""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mpio import __version__
from mpio.events import Event, Kind
from mpio.report import words
from mpio.report.bars import stall_bar
from mpio.report.run import Run, Stall, Step, Term
from mpio.report.rundir import read_run
from mpio.report.timeline import NARROW, WIDE, run_timeline
from mpio.units import NS_PER_S, format_duration

JOURNAL_ROWS_MAX = 400
BLOCK_ROWS_MAX = 200
STALL_CARDS_MAX = 100
EVIDENCE_MAX = 12
CLAIM_ROWS_MAX = 200
NONE = "\u2013"

_FAULT_KINDS = (Kind.FAULT_INJECTED, Kind.FAULT_HEALED, Kind.NODE_CRASHED)
_BAD_KINDS = (Kind.IO_FAILED, Kind.OUTCOME_UNKNOWN, Kind.IDENTITY_REFUSED, Kind.FENCE_FAILED, Kind.QUEUEING_EXPIRED,
              Kind.NODE_FENCED, Kind.NODE_HALTED, Kind.PEER_DEAD)


@dataclass(frozen=True, slots=True)
class LadderRow:
    """One step of a fault, ready to be shown."""

    what: str
    meaning: str
    since_cut: str
    since_previous: str
    at: str


@dataclass(frozen=True, slots=True)
class StallCard:
    """One fault, ready to be shown."""

    number: int
    title: str
    stall: Stall
    bar: Markup
    terms: tuple[Term, ...]
    ladder: tuple[LadderRow, ...]


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One event, ready to be shown."""

    at: str
    seq: int
    source: str
    kind: str
    text: str
    weight: str  # "fault", "bad" or ""


def write_report(directory: Path, run: Run | None = None) -> Path:
    """Render a run directory's report.html, from `run` if it was read already. Raises InputError if it is not whole."""
    path = directory / "report.html"
    path.write_text(render_html(run or read_run(directory)), encoding="utf-8", errors="replace")
    return path


def render_html(run: Run) -> str:
    """The whole report as one HTML document."""
    start_ns, end_ns = words.span_ns(run)
    wide, narrow = run_timeline(run, WIDE), run_timeline(run, NARROW)
    events = [event for event in run.journal if words.is_important(event)]
    stalls = run.stalls[:STALL_CARDS_MAX]
    environment = Environment(loader=PackageLoader("mpio.report"), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"duration": format_duration, "number": words.number}
    return environment.get_template("report.html.j2").render(
        run=run,
        words=words,
        version=__version__,
        title=f"{words.VERDICT_WORDS[run.verdict]}: {words.run_name(run)}",
        sentence=words.sentence(run),
        duration=format_duration(end_ns - start_ns),
        worst=words.worst_stall(run),
        environment=words.environment_rows(run),
        claims=run.claims[:CLAIM_ROWS_MAX],
        evidence_max=EVIDENCE_MAX,
        wide=wide,
        narrow=narrow,
        cards=[stall_card(run, number, stall) for number, stall in enumerate(stalls, 1)],
        blocks=run.blocks[:BLOCK_ROWS_MAX],
        counts=words.count_rows(run),
        latency=[(name, format_duration(value)) for name, value in run.latency_ns.items()],
        path_columns=_path_columns(run),
        settings=words.setting_rows(run),
        journal=[_journal_row(event, start_ns) for event in _head_and_tail(events)],
        journal_total=len(events),
    )


def stall_card(run: Run, number: int, stall: Stall) -> StallCard:
    """One of the run's faults, ready to be shown."""
    start_ns, _ = words.span_ns(run)
    terms = words.bound_terms(run.bound, stall)
    return StallCard(number, words.fault_label(run, stall), stall, stall_bar(stall, terms), terms,
                     tuple(_ladder(stall, start_ns)))


def _ladder(stall: Stall, start_ns: int) -> list[LadderRow]:
    rows = []
    previous: Step | None = None
    for step in stall.timeline:
        rows.append(LadderRow(
            what=step.what,
            meaning=words.STEP_WORDS.get(step.what, ""),
            since_cut=words.relative(step.t_ns, stall.cut_ns),
            since_previous="" if previous is None else words.relative(step.t_ns, previous.t_ns),
            at=_clock(step.t_ns, start_ns),
        ))
        previous = step
    return rows


def _path_columns(run: Run) -> list[tuple[str, list[str]]]:
    """The table of paths, column by column: heading and one cell a path. Empty without figures of paths."""
    if not run.paths:
        return []
    names = list(dict.fromkeys(name for path in run.paths for name in path.counters))
    columns = [("path", [str(path.path) for path in run.paths]),
               ("name", [words.path_name(run, path.path, path.node) or NONE for path in run.paths])]
    if any(path.node is not None for path in run.paths):
        columns.insert(0, ("node", [NONE if path.node is None else str(path.node) for path in run.paths]))
    for name in names:
        cells, heading = [], name.replace("_", " ")
        for path in run.paths:
            value = path.counters.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                heading, cell = words.quantity(name, value)
            else:
                cell = NONE if value is None else words.setting_text(value)
            cells.append(cell)
        columns.append((heading, cells))
    return columns


def _head_and_tail(events: list[Event]) -> list[Event]:
    """The first and last events, if there are too many."""
    if len(events) <= JOURNAL_ROWS_MAX:
        return events
    half = JOURNAL_ROWS_MAX // 2
    return events[:half] + events[-half:]


def _journal_row(event: Event, start_ns: int) -> JournalRow:
    weight = "fault" if event.kind in _FAULT_KINDS else "bad" if event.kind in _BAD_KINDS else ""
    return JournalRow(_clock(event.t_ns, start_ns), event.seq, event.source, str(event.kind), words.event_text(event),
                      weight)


def _clock(t_ns: int, start_ns: int) -> str:
    return f"{(t_ns - start_ns) / NS_PER_S:.3f} s"
