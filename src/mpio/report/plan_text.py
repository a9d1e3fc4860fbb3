"""A timing sheet for a terminal: the answer, the ladder, what holds by how much, and the settings.

Owns: layout with rich. Text that came from files is put in as plain `Text`, never as markup. Nothing is said by colour
alone: a bar that passes a deadline also carries the sign ✗, and each deadline's line its letter.
"""

import string
from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mpio.planner.budget import Term
from mpio.planner.linux_terms import LATENESS
from mpio.report.sheet import Check, Deadline, Judgement, Rule, Rung, Sheet, State, Verdict, axis_end_ns
from mpio.report.svg import Linear
from mpio.units import format_duration

FINDINGS_MAX = 100
LETTERS = string.ascii_uppercase
_BAR_MAX = 60
_BAR_MIN = 12
_STYLES: dict[Verdict, str] = {"ok": "bold green", "findings": "bold red"}
SIGNS: dict[Verdict, str] = {"ok": "✓", "findings": "✗"}
STATE_SIGNS: dict[State, str] = {"ok": "✓", "tight": "!", "violated": "✗"}
STATE_STYLES: dict[State, str] = {"ok": "green", "tight": "yellow", "violated": "red"}
JUDGEMENT_SIGNS: dict[Judgement, str] = {"too weak": "✗", "right": "✓", "too strong": "↑"}
_SEVERITY_SIGNS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "note": ("·", "dim")}


def print_sheet(sheet: Sheet, console: Console, *, full: bool = False) -> None:
    """Print a sheet, in the order in which one asks: what, how long, what to set, what holds.

    Unless it is to be `full`, what deadlines are not about is left out of the sums, and sources and rules of thumb are.
    """
    for part in _parts(sheet, console.width, full=full):
        console.print(part, highlight=False)


def _parts(sheet: Sheet, width: int, *, full: bool) -> list[RenderableType]:
    headline = Text.assemble((f"{SIGNS[sheet.verdict]} {sheet.headline}", _STYLES[sheet.verdict]), " — ",
                             sheet.sentence)
    parts: list[RenderableType] = [headline]
    if sheet.conflict:
        parts += [*_heading("These goals can't hold together"), *_list(sheet.conflict)]
    if sheet.ways_out:
        parts += [*_heading("What to give up for what"), *_list(sheet.ways_out)]
    if sheet.rungs:
        parts += [*_heading("Stall of an I/O, worst case, from the failure on"), *ladder(sheet, width)]
    if sheet.settings:
        parts += [*_heading("Settings"), _settings(sheet)]
    summed = [rung for rung in sheet.rungs if full or rung.binds]
    if summed:
        parts += [*_heading("Where the times come from"), _sums(summed)]
    if sheet.checks:
        parts += [*_heading("What must hold"), _checks(sheet.checks, full=full)]
    if sheet.rules and full:
        parts += [*_heading("Rules of thumb beside the exact bound"), _rules(sheet.rules)]
    if sheet.findings:
        parts += [*_heading("Findings"), _findings(sheet)]
    if not full and (sheet.rungs or sheet.rules):
        parts += [Text(), Text(f"{_judged(sheet.rules)}--full has every sum, source and rule of thumb.", style="dim")]
    return parts


def _judged(rules: Sequence[Rule]) -> str:
    """How many rules of thumb would do, in one sentence."""
    if not rules:
        return ""
    counts = [f"{count} {judgement}" for judgement in JUDGEMENT_SIGNS
              if (count := sum(rule.judgement == judgement for rule in rules))]
    return f"Of the rules of thumb for this, {', '.join(counts)}. "


def _heading(text: str) -> list[RenderableType]:
    return [Text(), Text(text, style="bold")]


def _list(lines: Sequence[str]) -> list[RenderableType]:
    return [_indented(Text(f"• {line}")) for line in lines]


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 2))


def ladder(sheet: Sheet, width: int) -> list[RenderableType]:
    """One bar for each scenario on one axis, with the deadlines as lines through all of them.

    Full blocks reach to the best case, shaded ones to the worst; an arrow says that a bar goes on past the axis.
    """
    lines = sorted(sheet.deadlines, key=lambda line: line.at_ns)[:len(LETTERS)]
    name_width = min(max(len(rung.words) for rung in sheet.rungs), max(20, width - 50))
    room = max(_BAR_MIN, min(_BAR_MAX, width - name_width - 22))
    end_ns = axis_end_ns(sheet.rungs, lines)
    scale = Linear(0, end_ns, 0, room)
    table = _grid()
    table.add_row(Text(), Text(), Text(), _axis(scale, room))
    for rung in sheet.rungs:
        past = any(rung.passes(line) for line in lines)
        sign = Text("✗" if past else "·" if not rung.binds else "✓",
                    style="red" if past else "dim" if not rung.binds else "green")
        table.add_row(sign, Text(rung.words, style="" if rung.binds else "dim"),
                      Text(_worst(rung), justify="right"), _bar(rung, lines, scale, room))
    if lines:
        table.add_row(Text(), Text(), Text(), _letters(lines, scale, room))
    legend = [_indented(Text.assemble((f"{letter} ", "bold"), f"{format_duration(line.at_ns)}  {line.words}"))
              for letter, line in zip(LETTERS, lines, strict=False)]
    key = "█ certain  ▒ possible  · for information: no deadline is about it"
    return [table, *legend, _indented(Text(key, style="dim"))]


def _worst(rung: Rung) -> str:
    return span(rung.budget.worst_ns)


def span(ns: int | None) -> str:
    """A time that may have no end."""
    return "for ever" if ns is None else format_duration(ns) if ns else "0 s"


def _bar(rung: Rung, lines: Sequence[Deadline], scale: Linear, room: int) -> Text:
    budget = rung.budget
    worst_ns = budget.worst_ns
    best = round(scale(budget.best_ns))
    filled = room if worst_ns is None else max(round(scale(worst_ns)), 1 if worst_ns else 0)
    cells = ["█" if index < best else "▒" if index < filled else " " for index in range(room)]
    if worst_ns is None or worst_ns > scale.high:
        cells[-1] = "▶"
    deadline_at = min((_column(line, scale, room) for line in lines if rung.passes(line)), default=room)
    marks = {_column(line, scale, room) for line in lines}
    limits = {_column(line, scale, room) for line in lines if line.kind != "event"}
    bar = Text()
    for index, cell in enumerate(cells):
        if index in marks and cell != "▶":
            bar.append("│" if cell == " " else "┃", style="bold" if index in limits else "dim")
        else:
            bar.append(cell, style="red" if index >= deadline_at else "cyan" if rung.binds else "dim")
    return bar


def _column(line: Deadline, scale: Linear, room: int) -> int:
    return min(round(scale(line.at_ns)), room - 1)


def _axis(scale: Linear, room: int) -> Text:
    """Round times along the top."""
    cells = [" "] * (room + 8)
    taken = -1
    for value in scale.ticks(max(2, room // 10)):
        at, label = round(scale(value)), format_duration(round(value)) if value else "0"
        if at > taken and at + len(label) <= len(cells):
            cells[at:at + len(label)] = label
            taken = at + len(label)
    return Text("".join(cells).rstrip(), style="dim", no_wrap=True)


def _letters(lines: Sequence[Deadline], scale: Linear, room: int) -> Text:
    """Each deadline's letter below its line; letters that would fall on one cell stand side by side."""
    cells = [" "] * (room + len(lines))
    for index, line in enumerate(lines):
        at = _column(line, scale, room)
        while cells[at] != " ":
            at += 1
        cells[at] = LETTERS[index]
    return Text("".join(cells).rstrip(), style="bold", no_wrap=True)


def _sums(rungs: Sequence[Rung]) -> Table:
    """Every scenario as the sum of its terms, worst and best."""
    table = _grid()
    for rung in rungs:
        budget = rung.budget
        terms = " + ".join(f"{format_duration(value_ns)} {name}" for name, value_ns in _folded(budget.terms))
        best = "" if budget.best_ns == budget.worst_ns else f"; at best {format_duration(budget.best_ns)}"
        fails = "" if budget.fails_after_ns is None else f"; fails after {format_duration(budget.fails_after_ns)}"
        total = f"{_worst(rung)} = {terms or 'nothing to wait for'}"
        table.add_row(Text(rung.words), Text.assemble(total, (best + fails, "dim")))
    return table


def _folded(terms: Sequence[Term]) -> list[tuple[str, int]]:
    """Terms with their worst values; the lateness of all timers is one of them."""
    late = [term for term in terms if term.name.startswith(LATENESS)]
    rows = [(term.name, term.value_ns) for term in terms if term not in late]
    return [*rows, *([("lateness of timers", sum(term.value_ns for term in late))] if late else [])]


def _checks(checks: Sequence[Check], *, full: bool) -> Table:
    table = _grid()
    for check in checks:
        sign = Text(STATE_SIGNS[check.state], style=STATE_STYLES[check.state])
        slack = "" if check.slack_ns is None else _slack(check.slack_ns)
        detail = Text(check.words)
        sides = f"{span(check.left_ns)} {'>' if check.state == 'violated' else '≤'} {span(check.right_ns)}"
        if check.source and full:
            detail.append(f"  [{check.source}]", style="dim")
        table.add_row(sign, Text(check.name, no_wrap=True), Text(sides, style="bold", no_wrap=True),
                      Text(slack, justify="right", no_wrap=True), detail)
    return table


def _rules(rules: Sequence[Rule]) -> Table:
    table = _grid()
    for rule in rules:
        sign = Text(f"{JUDGEMENT_SIGNS[rule.judgement]} {rule.judgement}", no_wrap=True)
        bound = "no value is safe" if rule.exact_ns is None else f"safe from {format_duration(rule.exact_ns)} on"
        asked = f"asks for {rule.setting} {span(rule.wanted_ns)}, it is {span(rule.found_ns)}, {bound}. {rule.why}"
        table.add_row(sign, Text.assemble(f"{rule.words}  ", (asked, "dim")))
    return table


def _slack(slack_ns: int) -> str:
    if slack_ns == 0:
        return "exact"
    return f"{format_duration(slack_ns)} left" if slack_ns > 0 else f"{format_duration(-slack_ns)} over"


def _settings(sheet: Sheet) -> Table:
    table = _grid()
    for row in sheet.settings:
        value = Text(row.value, style="bold", no_wrap=True)
        if row.old is not None:
            value = Text.assemble((f"{row.old} → ", "dim"), (row.value, "bold yellow"))
        about = Text(row.reason)
        if row.origin:
            about.append(f"  [{row.origin}]" if row.reason else row.origin, style="dim")
        table.add_row(Text(row.name), value, about)
    return table


def _findings(sheet: Sheet) -> Table:
    table = _grid()
    for finding in sheet.findings[:FINDINGS_MAX]:
        sign, style = _SEVERITY_SIGNS[finding.severity]
        words = Text(finding.words)
        if finding.hint:
            words.append(f"; {finding.hint}", style="dim")
        table.add_row(Text(sign, style=style), words)
    if len(sheet.findings) > FINDINGS_MAX:
        table.add_row(Text(), Text(f"and {len(sheet.findings) - FINDINGS_MAX} more; --json has them all", style="dim"))
    return table


def _grid() -> Table:
    return Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0), expand=False)

