"""What a measurement of heartbeats gave: as JSON, and for a terminal.

Owns: the versioned shape (docs/heartbeat.md), the words for settings under the names that files and tools have for
them, and the layout. Nothing is said by colour alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mpio.check.failover_stall import FailoverStall
from mpio.check.threshold import Advice, Colour, Setting, Trial
from mpio.heartbeat.tail import SAMPLES_WANTED, Tail
from mpio.heartbeat.timing import Timing
from mpio.heartbeat.trial import Subject
from mpio.model.cluster import O2cb, Sanlock, Sbd
from mpio.planner.clusters import o2cb, sanlock
from mpio.units import NS_PER_S, format_duration, to_seconds

VERSION = 1
NAMES = {"own": "mpio", "o2cb": "OCFS2", "sbd": "SBD", "sanlock": "sanlock"}
_LATENCIES = (("heartbeat", "latency_ns"), ("one read", "read_latency_ns"), ("late start", "lateness_ns"))
_SIGNS: Mapping[Colour, str] = {"green": "✓", "amber": "!", "red": "✗"}
_STYLES: Mapping[Colour, str] = {"green": "green", "amber": "yellow", "red": "red"}


@dataclass(frozen=True, slots=True)
class Findings:
    """All that `mpio heartbeat measure` has to say.

    Attributes:
        about: where and how it was measured: plain values, as in the JSON.
        measured: counts, and percentiles by name.
        stall: of a failover. node_years: that latencies look ahead to.
        advice: for each kind of heartbeat, and its trial if there was one.
        present: settings that are in force, with what they leave, by name.
        notes: what a reader has to know before he trusts it.
        trouble: what is not as it was before; empty if all is.
    """

    about: Mapping[str, object]
    measured: Mapping[str, object]
    stall: FailoverStall
    node_years: float
    advice: tuple[tuple[Advice, Trial | None], ...]
    present: tuple[Setting, ...]
    notes: tuple[str, ...]
    trouble: str = ""

    @property
    def is_bad(self) -> bool:
        """Whether a recommended setting failed its trial, a present one carries too little, or something is broken."""
        return bool(self.trouble) or any(trial is not None and trial.fenced for _, trial in self.advice) or \
            any(setting.colour == "red" for setting in self.present)

    def as_json(self) -> dict[str, object]:
        """The shape in docs/heartbeat.md."""
        return {
            "version": VERSION, **self.about, "measured": dict(self.measured),
            "stall": {"stall_ns": self.stall.stall_ns,
                      "sources": [{"stall_ns": item.stall_ns, "words": item.words} for item in self.stall.sources]},
            "node_years": self.node_years,
            "advice": [_advice_json(advice, trial) for advice, trial in self.advice],
            "present": [_setting_json(item) for item in self.present],
            "trouble": self.trouble or None, "notes": [*self.notes, *decision_notes(self.advice)],
            "result": "findings" if self.is_bad else "ok",
        }


def settings_of(subject: Subject) -> dict[str, int]:
    """A setting under the names of its own files, in their units."""
    match subject:
        case Timing():
            return {"period_ns": subject.period_ns, "deadline_ns": subject.deadline_ns, "dead_ns": subject.dead_ns}
        case O2cb():
            return {"O2CB_HEARTBEAT_THRESHOLD": subject.heartbeat_threshold}
        case Sbd():
            return {"watchdog": subject.watchdog, "msgwait": subject.msgwait}
        case Sanlock():
            return {"io_timeout": subject.io_timeout}


def words_of(subject: Subject) -> str:
    """A setting in a few words, with the seconds that it means."""
    match subject:
        case Timing():
            return f"deadline {format_duration(subject.deadline_ns)}"
        case O2cb():
            fence_ns = o2cb.self_fence_ns(subject.heartbeat_threshold)
            return f"T {subject.heartbeat_threshold} ({format_duration(fence_ns)})"
        case Sbd():
            return f"watchdog {subject.watchdog}, msgwait {subject.msgwait}"
        case Sanlock():
            return f"io_timeout {subject.io_timeout} ({format_duration(sanlock.renewal_fails_ns(subject))})"


def _setting_json(setting: Setting) -> dict[str, object]:
    beside = {} if setting.beside is None else {"stonith_timeout": setting.beside.stonith_timeout}
    return {
        "settings": {**settings_of(setting.subject), **beside}, "deadline_ns": setting.deadline_ns,
        "tolerated_ns": setting.tolerated_ns, "margin_ns": setting.margin_ns, "colour": setting.colour,
    }


def _advice_json(advice: Advice, trial: Trial | None) -> dict[str, object]:
    tail = advice.tail
    fit = None if tail.fit is None else {
        "from_ns": tail.fit.from_ns, "share": tail.fit.share, "peaks": tail.fit.peaks,
        "shape": tail.fit.pareto.shape, "scale_ns": tail.fit.pareto.scale_ns, "level_ns": tail.point_ns,
        "bound_ns": tail.bound_ns,
    }
    return {
        "kind": advice.kind, "period_ns": advice.period_ns, "stall_ns": advice.stall_ns,
        "latency_ns": tail.level_ns, "jitter_ns": advice.jitter_ns,
        "tail": {"samples": tail.samples, "longest_ns": tail.longest_ns, "fit": fit, "why_plain": tail.why_plain,
                 "bounded": tail.is_bounded, "short": tail.short, "unseen_share": tail.unseen},
        "recommended": _setting_json(advice.least), "bound_by": advice.bound_by,
        "with_room": _setting_json(advice.with_room), "shipped": _setting_json(advice.shipped),
        "overshoots_per_year": advice.overshoots, "overshoots_at_most": advice.at_most,
        "trial": None if trial is None else {
            "runs": trial.runs, "fenced": trial.fenced,
            "lower": None if trial.lower is None else settings_of(trial.lower),
            "fenced_lower": trial.fenced_lower,
        },
    }


# --- for a terminal


def print_findings(found: Findings, console: Console) -> None:
    """What was measured, what is reckoned with, what to set, and what that rests on."""
    console.print(Text(str(found.about["words"])))
    console.print(_latencies(found.measured))
    _heading(console, "Reckoned with")
    console.print(_reckoned(found))
    _heading(console, "Thresholds")
    console.print(_thresholds(found))
    if found.trouble:
        console.print(Text(f"✗ {found.trouble}", style="red"))
    for note in (*found.notes, *decision_notes(found.advice)):
        console.print(Text(f"! {note}", style="yellow"))


def _heading(console: Console, words: str) -> None:
    console.print()
    console.print(Text(words, style="bold"))


def _grid(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, show_header=any(columns), header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("")
    for column in columns:
        table.add_column(column)
    return table


def _latencies(measured: Mapping[str, object]) -> Table:
    names = ("p50", "p90", "p99", "p999", "max")
    table = _grid(*(name.replace("p999", "p99.9") for name in names))
    for words, key in _LATENCIES:
        values = measured[key]
        assert isinstance(values, dict)
        if values:
            table.add_row(f"  {words}", *(format_duration(values[name]) for name in names))
    return table


def _reckoned(found: Findings) -> Table:
    table = _grid("", "")
    for place, source in enumerate(found.stall.sources):
        sign = "failover" if place == 0 else ""
        table.add_row(f"  {sign}", format_duration(source.stall_ns or 0), Text(source.words))
    if not found.stall.sources:
        table.add_row("  failover", "0 s", "none: give --stall or --drill")
    for names, tail in tails(found.advice):
        table.add_row("  latency", format_duration(tail.level_ns), f"{names}: {tail_words(tail, found.node_years)}")
    if found.advice:
        table.add_row("  jitter", format_duration(found.advice[0][0].jitter_ns), "the latest start of a heartbeat")
    return table


def tails(advice: Sequence[tuple[Advice, Trial | None]]) -> list[tuple[str, Tail]]:
    """The different latencies, and whose they are."""
    found: dict[tuple[int, str], tuple[str, Tail]] = {}
    for item, _ in advice:
        key = (item.tail.level_ns, item.tail.why_plain)
        before = f"{found[key][0]}, " if key in found else ""
        found[key] = f"{before}{NAMES[item.kind]}", item.tail
    return list(found.values())


def tail_words(tail: Tail, node_years: float) -> str:
    """What a latency rests on."""
    if tail.fit is None:
        return (f"a quarter more than the longest of {tail.samples:,}. {tail.why_plain.capitalize()}. Up to "
                f"{100 * tail.unseen:.2g} % of heartbeats may take longer than the longest (95 %)")
    fitted = (f"a fitted tail above {format_duration(tail.fit.from_ns)} of {tail.fit.peaks} peaks, shape "
              f"{tail.fit.pareto.shape:.2f}")
    if not tail.is_bounded:
        return (f"exceeded once in {node_years:g} node-years by {fitted}; but so few heartbeats don't exclude "
                f"{format_duration(tail.bound_ns or 0)} (95 %): measure for longer")
    return (f"exceeded once in {node_years:g} node-years at most (95 %); {format_duration(tail.point_ns)} by {fitted}")


def _thresholds(found: Findings) -> Table:
    """One row for each setting; what is shipped only where it differs from the one with room."""
    runs = max((trial.runs for _, trial in found.advice if trial is not None), default=0)
    table = _grid("", "", "margin", f"fenced in {runs:,} runs" if runs else "")
    for advice, trial in found.advice:
        _row(table, f"  {NAMES[advice.kind]}", "at least", advice.least, "" if trial is None else f"{trial.fenced:,}")
        if trial is not None and trial.lower is not None:
            table.add_row("", "20 % lower", words_of(trial.lower), "", f"{trial.fenced_lower:,}")
        _row(table, "", "with room", advice.with_room, "")
        if advice.shipped.subject != advice.with_room.subject:
            _row(table, "", "as shipped", advice.shipped, "")
    for setting in found.present:
        _row(table, "  present", "", setting, "")
    return table


def _row(table: Table, whose: str, which: str, setting: Setting, fenced: str) -> None:
    sign = Text(f"{_SIGNS[setting.colour]} {to_seconds(setting.margin_ns):+.1f} s", style=_STYLES[setting.colour])
    table.add_row(whose, which, setting_words(setting), sign, fenced)


def setting_words(setting: Setting) -> str:
    """A setting, and the timer of Pacemaker's that goes with it."""
    beside = "" if setting.beside is None else f", stonith-timeout {setting.beside.stonith_timeout}"
    return words_of(setting.subject) + beside


def decision_notes(advice: Sequence[tuple[Advice, Trial | None]]) -> list[str]:
    """Where something else than the measurement decides."""
    floors = [NAMES[item.kind] for item, _ in advice if item.bound_by == "program"]
    if not floors:
        return []
    return [f"{', '.join(floors)}: this storage would carry less than programs take, so nothing fences a fifth lower"]


def tail_notes(tails: Sequence[Tail]) -> list[str]:
    """What to know of samples that are small."""
    samples = max((tail.samples for tail in tails if tail.short), default=0)
    if not samples:
        return []
    return [(f"short: {samples:,} of the {SAMPLES_WANTED:,} heartbeats that a forecast should rest on; measure for "
             "longer, over backups, snapshots and rebuilds")]


def progress_words(elapsed_ns: int, total_ns: int, rounds: int, percentiles: Mapping[str, int], extra: str) -> str:
    """One line while it runs."""
    shown = "  ".join(f"{name.replace('p999', 'p99.9')} {format_duration(value)}"
                      for name, value in percentiles.items())
    return (f"{elapsed_ns // NS_PER_S} of {format_duration(total_ns)}  {rounds:,} heartbeats  {shown}{extra}").rstrip()
