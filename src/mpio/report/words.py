"""The words of a report: verdict sentence, labels and numbers, the same in the terminal and in HTML.

Owns: what is said about a run. Knows nothing of how it is shown.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from mpio.events import Event, Kind
from mpio.model.settings import PROFILES
from mpio.report.lanes import place_name
from mpio.report.run import Bound, Claim, Plain, Run, Stall, Term, VerdictKind
from mpio.report.shape import clean
from mpio.units import format_duration

VERDICT_WORDS: dict[VerdictKind, str] = {"pass": "PASS", "fail": "FAIL", "unknown": "CANNOT TELL"}
VERDICT_SIGNS: dict[VerdictKind, str] = {"pass": "✓", "fail": "✗", "unknown": "?"}
RESULT_WORDS: dict[VerdictKind, str] = {"pass": "holds", "fail": "broken", "unknown": "cannot tell"}

STEP_WORDS = {
    "cut": "fault made",
    "detected": "loss noticed",
    "failed": "path given up",
    "fenced": "old writes can't land",
    "rerouted": "I/O sent elsewhere",
    "healed": "fault taken away",
    "reconnected": "logged in again",
    "reinstated": "carries I/O again",
}

_IMPORTANT = frozenset(Kind) - {Kind.PING_SENT, Kind.PRIORITY_CHANGED}
NAMED_CLAIMS_MAX = 3
_URL_PORTAL = re.compile(r"iscsi://(?:[^/@]*@)?([^/]+)/")
_EPOCH_MAX_S = 250_000_000_000  # the year 9892; `datetime` ends with 9999
_IO_COUNT = re.compile(r".+ (?:ok|fail|unknown|unfinished)")


def number(value: float) -> str:
    """An integer with thin spaces between thousands, as in 48 213; other numbers with three significant digits."""
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{round(value):,}".replace(",", "\u202f")
    return f"{value:.3g}"


def size(size_bytes: float) -> str:
    """Bytes in the unit that leaves few digits: '133 MiB', '1.5 GiB'. Short where `units.format_size` is exact."""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1000 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if value >= 100 or value.is_integer() else f"{value:.3g} {unit}"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 fault`, `2 faults`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def relative(t_ns: int, origin_ns: int) -> str:
    """An instant relative to another: '+812 ms', or with a minus sign; '0' at the origin."""
    delta_ns = t_ns - origin_ns
    if delta_ns == 0:
        return "0"
    return ("+" if delta_ns > 0 else "\u2212") + format_duration(abs(delta_ns))


def fault_label(run: Run, stall: Stall) -> str:
    """The fault and where it was: 'blackhole on path 1 (127.0.0.1:3260)'."""
    if stall.path is None:
        return stall.fault
    name = path_name(run, stall.path, stall.node)
    return f"{stall.fault} on {place_name(stall.node, stall.path)}" + (f" ({name})" if name else "")


def path_name(run: Run, path: int, node: int | None = None) -> str:
    """The path's own name where it has one besides its number, else ''. Of a target's URL the portal is enough."""
    for figures in run.paths:
        if figures.path == path and figures.node == node and figures.name != f"path {path}":
            match = _URL_PORTAL.match(figures.name)
            return match[1] if match else figures.name
    return ""


def run_name(run: Run) -> str:
    """The scenario's name where the journal has it, else the directory's."""
    for event in run.journal[:10]:
        if event.kind is Kind.RUN_STARTED and event.fields.get("scenario"):
            return clean(str(event.fields["scenario"]), 200)
    return run.name


def sentence(run: Run) -> str:
    """The verdict in one sentence, without the verdict's own word. Says only what was checked or counted."""
    parts = [] if run.verdict == "pass" else [_shortcoming(run)]
    parts.append(plural(len(run.stalls), "fault"))
    worst = worst_stall(run)
    if worst is not None:
        parts.append(f"worst stall {format_duration(worst.worst_stall_ns)}" + (
            "" if worst.bound_ns is None else f" of at most {format_duration(worst.bound_ns)}"))
    parts.append(plural(io_count(run), "I/O"))
    if run.verified_bytes:
        through = "the path" if len(run.paths) == 1 else "each path"
        parts.append(f"{size(run.verified_bytes)} verified through {through}")
    if run.blocks:
        parts.append(plural(len(run.blocks), "bad block"))
    elif io_count(run) and any(claim.result == "pass" and is_about_loss(claim) for claim in run.claims):
        parts.append("nothing lost")
    return ", ".join(parts)


def _shortcoming(run: Run) -> str:
    """Which claims are broken, or could not be decided."""
    wanted: VerdictKind = "fail" if run.verdict == "fail" else "unknown"
    names = [claim.name for claim in run.claims if claim.result == wanted]
    if not names:
        return "no single claim says why"
    shown = "; ".join(names[:NAMED_CLAIMS_MAX])
    more = f" and {len(names) - NAMED_CLAIMS_MAX} more" if len(names) > NAMED_CLAIMS_MAX else ""
    word = "broken" if wanted == "fail" else "undecided"
    return f"{len(names)} of {plural(len(run.claims), 'claim')} {word} ({shown}{more})"


def is_about_loss(claim: Claim) -> bool:
    """Whether a claim is about acknowledged data still being there."""
    return any(word in claim.name.lower() for word in ("lost", "loss"))


def worst_stall(run: Run) -> Stall | None:
    """The stall that came closest to its bound or went furthest past it; the longest where none has one."""
    def nearness(stall: Stall) -> tuple[float, int]:
        return (stall.worst_stall_ns / stall.bound_ns if stall.bound_ns else 0.0, stall.worst_stall_ns)
    return max(run.stalls, key=nearness, default=None)


def io_count(run: Run) -> int:
    """I/Os of the run: as counted by operation and outcome, else as many as the history has."""
    counted = [count for name, count in run.counts.items() if isinstance(count, int) and _IO_COUNT.fullmatch(name)]
    return sum(counted) if counted else len(run.history)


def span_ns(run: Run) -> tuple[int, int]:
    """First and last instant of the run, over journal, history and ladders. (0, 1) if nothing has a time."""
    starts = [event.t_ns for event in run.journal[:1]]
    ends = [event.t_ns for event in run.journal[-1:]]
    if len(run.history):
        starts.append(min(run.history.start_ns))
        ends += [max(run.history.end_ns), max(run.history.start_ns)]
    starts += [stall.cut_ns for stall in run.stalls]
    ends += [stall.end_ns for stall in run.stalls]
    first_ns = min(starts, default=0)
    return first_ns, max([*ends, first_ns + 1])


def bound_terms(bound: Bound | None, stall: Stall) -> tuple[Term, ...]:
    """The bound's terms where they are this stall's; else the stall's bound as one term of its own."""
    if stall.bound_ns is None:
        return ()
    if stall.terms and sum(term.value_ns for term in stall.terms) == stall.bound_ns:
        return stall.terms
    if bound is not None and bound.terms and sum(term.value_ns for term in bound.terms) == stall.bound_ns:
        return bound.terms
    return (Term("bound", stall.bound_ns, "verdict.json, without its terms"),)


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting in force, and what its profile says."""

    name: str
    value: str
    profile_value: str | None  # None: the profile has no such setting, or there is no profile
    differs: bool


def setting_rows(run: Run) -> list[SettingRow]:
    """All settings of the run, those that differ from the profile first."""
    profile = PROFILES.get(run.profile or "")
    rows = []
    for name, value in run.settings.items():
        if profile is None or not hasattr(profile, name):
            rows.append(SettingRow(name, setting_text(value), None, differs=False))
            continue
        expected = getattr(profile, name)
        expected_text = setting_text(",".join(expected) if isinstance(expected, tuple) else expected)
        shown = setting_text(value)
        if isinstance(expected, tuple):  # a list in JSON
            shown = shown.replace('"', "").replace(" ", "").strip("[]()")
        rows.append(SettingRow(name, shown, expected_text, differs=shown != expected_text))
    return sorted(rows, key=lambda row: not row.differs)


def setting_text(value: Plain) -> str:
    """A setting's value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "off"
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


_FENCE_WORDS = {"relogin": "fenced by the path's return", "reinstate": "fenced by reinstatement",
                "preempt": "fenced by PREEMPT AND ABORT", "lun_reset": "fenced by LUN reset",
                "failed": "fences that failed", "outcome_unknown": "writes of unknown outcome"}


def count_rows(run: Run) -> list[tuple[str, str]]:
    """The counts with readable names and units."""
    rows = []
    for name, value in run.counts.items():
        if isinstance(value, int) and not isinstance(value, bool):
            label, shown = quantity(name, value)
        else:
            label, shown = name.replace("_", " "), setting_text(value)
        rows.append((label, shown))
    return rows + fence_rows(run)


def fence_rows(run: Run) -> list[tuple[str, str]]:
    """What became of writes in doubt, as far as there were any."""
    rows = []
    for name, value in run.fences.items():
        if isinstance(value, int) and value:
            label = _FENCE_WORDS.get(name, f"fenced by {name.replace('_', ' ')}")
            rows.append((label, number(value)))
    return rows


def quantity(name: str, value: float) -> tuple[str, str]:
    """A counter's label and value: the unit that ends the name moves to the value."""
    for suffix, show in (("_bytes", size), ("_ns", format_duration)):
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("_", " "), show(round(value))
    if name.endswith("_s"):
        return name.removesuffix("_s").replace("_", " "), f"{value:g} s"
    return name.replace("_", " "), number(value)


def environment_rows(run: Run) -> list[tuple[str, str]]:
    """What the first record of the run says about where it ran."""
    for event in run.journal:
        if event.kind is Kind.RUN_STARTED:
            return [("began" if name == "wall_epoch" else name.replace("_", " "), _environment_text(name, value))
                    for name, value in event.fields.items() if value is not None]
    return []


def _environment_text(name: str, value: Plain) -> str:
    """A value of the run's first record; the wall clock's seconds since 1970 as a date."""
    if name == "wall_epoch" and isinstance(value, int | float) and 0 <= value < _EPOCH_MAX_S:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return str(value)


def event_text(event: Event) -> str:
    """The fields of an event in one line: 'up → blocked, cause: no answer to a ping'."""
    fields = dict(event.fields)
    parts = []
    if "old" in fields and "new" in fields:
        parts.append(f"{fields.pop('old')} → {fields.pop('new')}")
    for name, value in fields.items():
        if value is None or value == "":
            continue
        if name.endswith("_ns") and isinstance(value, int):
            parts.append(f"{name.removesuffix('_ns')}: {format_duration(value)}")
        else:
            parts.append(f"{name}: {value}")
    return clean(", ".join(parts), 400)


def is_important(event: Event) -> bool:
    """Whether an event belongs into a report for people."""
    return event.kind in _IMPORTANT
