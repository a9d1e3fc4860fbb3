"""The account of a campaign for a terminal: the table of stalls by settings, what did not hold, and the run to look at.

Owns: layout with rich, and the words that the HTML page shares. Text from scenarios and settings is put in as plain
`Text`, never as markup. Nothing is said by colour alone.
"""

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mpio.check.verdict import Result
from mpio.report.account import Account, Complaint, Row, Spread
from mpio.report.svg import Logarithmic, round_down, round_up
from mpio.report.words import number, plural
from mpio.units import NS_PER_S, format_duration

COMPLAINTS_MAX = 30
FAULTS_MAX = 30
SIGNS: dict[Result, str] = {Result.PASS: "✓", Result.FAIL: "✗", Result.UNKNOWN: "?"}
WORDS: dict[Result, str] = {Result.PASS: "PASS", Result.FAIL: "FAIL", Result.UNKNOWN: "CANNOT TELL"}
STYLES: dict[Result, str] = {Result.PASS: "green", Result.FAIL: "red", Result.UNKNOWN: "yellow"}
_DETAIL_MAX = 300  # characters of a claim's detail
_LEVELS = "▁▂▃▄▅▆▇█"
_CELLS_MAX, _CELLS_MIN = 48, 16
_NARROWEST_NS = NS_PER_S // 1000
_NONE = "\u2013"


def print_account(account: Account, console: Console, replay: str) -> None:
    """Print it; `replay` is the command that repeats the worst run, "" without one."""
    for part in _parts(account, console.width, replay):
        console.print(part, highlight=False)


def sentence(account: Account) -> str:
    """The account in one sentence, without its verdict's own word."""
    runs = sum(row.runs for row in account.rows)
    parts = [f"{plural(runs, 'run')} of {account.scenario}"]
    if len(account.rows) > 1:
        parts[0] += f" under {len(account.rows)} settings"
    parts += [f"{plural(count, 'run')} {word}" for result, word in (
        (Result.FAIL, "failed"), (Result.UNKNOWN, "undecided"))
        if (count := sum(row.verdicts[result] for row in account.rows))]
    parts.append(plural(sum(len(row.spread.stalls_ns) for row in account.rows), "fault"))
    if len(account.rows) == 1 and (worst_ns := account.rows[0].spread.worst_ns) is not None:
        bound_ns = account.rows[0].spread.bound_ns
        parts.append(f"worst stall {duration(worst_ns)}" + (
            "" if bound_ns is None else f" of at most {duration(bound_ns)}"))
    bad = sum(count for row in account.rows for count in row.bad_blocks.values())
    if runs:
        parts.append(plural(bad, "bad block") if bad else "no bad block")
    if account.missing:
        parts.append(f"{plural(account.missing, 'run')} missing")
    return ", ".join(parts)


def duration(ns: int | None, missing: str = _NONE) -> str:
    """A duration that may be 0, or not be known."""
    return missing if ns is None else format_duration(ns) if ns else "0 s"


def percent(share: float | None) -> str:
    """A share of a bound."""
    return _NONE if share is None else f"{share * 100:.0f} %"


def bound_words(spread: Spread) -> str:
    """The bound of a distribution; without any fault, or without a promise, a dash."""
    return duration(spread.bound_ns if spread.stalls_ns else None)


def axis(spreads: Sequence[Spread], start: float, end: float) -> Logarithmic:
    """One scale of time for all: stalls of fast settings and of slow ones are powers of ten apart."""
    values = [value for spread in spreads for value in (*spread.stalls_ns, spread.bound_ns or 0) if value > 0]
    low = round_down(max(min(values, default=NS_PER_S), _NARROWEST_NS) * 0.9)
    return Logarithmic(low, round_up(max(max(values, default=NS_PER_S), low * 10) * 1.05), start, end)


def _parts(account: Account, width: int, replay: str) -> list[RenderableType]:
    parts: list[RenderableType] = [Text.assemble(
        (f"{SIGNS[account.verdict]} {WORDS[account.verdict]}", f"bold {STYLES[account.verdict]}"), " — ",
        sentence(account))]
    if account.lost:
        parts.append(Text(f"! {account.lost}; {plural(account.missing, 'run')} not done", style="yellow"))
    stalls = [row for row in account.rows if row.spread.stalls_ns]
    if stalls:
        parts += [*_heading("Stall of I/O in a fault"), _stalls(account.rows), *_drawing(account.rows, width)]
    if len(account.rows) == 1 and len(account.rows[0].by_fault) > 1:
        parts += [*_heading("By fault"), _faults(account.rows[0])]
    if account.verdict is not Result.PASS or not stalls:
        parts += [*_heading("Runs"), _runs(account.rows)]
    complaints = [(row, item) for row in account.rows for item in row.complaints]
    if complaints:
        parts += [*_heading("What did not hold"), _complaints(complaints[:COMPLAINTS_MAX], len(account.rows) > 1)]
        if len(complaints) > COMPLAINTS_MAX:
            parts.append(_indented(f"… the first {COMPLAINTS_MAX} of {len(complaints)}; --json has them all"))
    if replay:
        parts += [*_heading("Replay the worst run"), Padding(Text(replay, overflow="fold"), (0, 0, 0, 2))]
    return parts


def _stalls(rows: Sequence[Row]) -> Table:
    table = _table(["", "settings"], ["median", "p99", "worst", "bound", "of bound", "faults"])
    for row in rows:
        spread = row.spread
        over = spread.share is not None and spread.share > 1
        table.add_row(Text(SIGNS[row.verdict], style=STYLES[row.verdict]), Text(row.subject.name),
                      duration(spread.median_ns), duration(spread.p99_ns),
                      Text(duration(spread.worst_ns), style="red" if over else ""), bound_words(spread),
                      percent(spread.share) + (" ✗" if over else ""), number(len(spread.stalls_ns)))
    return table


def _faults(row: Row) -> Table:
    table = _table(["fault"], ["median", "p99", "worst", "bound", "of bound", "runs"])
    for name, spread in row.by_fault[:FAULTS_MAX]:
        table.add_row(Text(name), duration(spread.median_ns), duration(spread.p99_ns),
                      duration(spread.worst_ns), bound_words(spread), percent(spread.share),
                      number(len(spread.stalls_ns)))
    return table


def _runs(rows: Sequence[Row]) -> Table:
    """Runs by verdict, and of all that can go wrong what went wrong somewhere."""
    columns: dict[str, list[str]] = {
        "passed": [number(row.verdicts[Result.PASS]) for row in rows],
        "failed": [number(row.verdicts[Result.FAIL]) for row in rows],
        "undecided": [number(row.verdicts[Result.UNKNOWN]) for row in rows],
        "false failover in": [number(row.false_failovers) for row in rows],
        "I/Os failed": [number(row.failed_ios) for row in rows],
        "I/Os unknown": [number(row.unknown_ios) for row in rows],
        "bad blocks": [bad_words(row) for row in rows],
    }
    shown = {name: cells for name, cells in columns.items() if name == "passed" or set(cells) != {"0"}}
    table = _table(["verdict", "settings"], list(shown))
    for index, row in enumerate(rows):
        table.add_row(Text(f"{SIGNS[row.verdict]} {WORDS[row.verdict]}", style=STYLES[row.verdict], no_wrap=True),
                      Text(row.subject.name), *(cells[index] for cells in shown.values()))
    return table


def bad_words(row: Row) -> str:
    """Bad blocks by kind: `3 ghost, 1 lost`, or 0."""
    return ", ".join(f"{number(count)} {kind}" for kind, count in row.bad_blocks.items()) or "0"


def _drawing(rows: Sequence[Row], width: int) -> list[RenderableType]:
    """How often stalls were how long: a column of blocks for each stretch of one logarithmic axis."""
    name_width = min(max(len(row.subject.name) for row in rows), 24)
    cells = min(_CELLS_MAX, max(_CELLS_MIN, width - name_width - 8))
    scale = axis([row.spread for row in rows], 0, cells)
    grid = Table(box=None, show_header=False, padding=(0, 2), pad_edge=True)
    for row in rows:
        grid.add_row(Text(row.subject.name, overflow="ellipsis", no_wrap=True), _histogram(row.spread, scale, cells))
    ticks = [" "] * (cells + 8)
    for value in scale.ticks():
        at, words = round(scale(value)), format_duration(round(value))
        if at + len(words) <= len(ticks):
            ticks[at:at + len(words)] = words
    grid.add_row("", Text("".join(ticks).rstrip(), style="dim"))
    return [Text(), grid, _indented("▁█ how many faults stalled I/O so long   ▏ bound, as planned")]


def _histogram(spread: Spread, scale: Logarithmic, cells: int) -> Text:
    counts = [0] * (cells + 1)
    for stall_ns in spread.stalls_ns:
        counts[min(int(scale(stall_ns)), cells)] += 1
    most = max(counts, default=0)
    text = [" " if not count else _LEVELS[min(len(_LEVELS) - 1, count * len(_LEVELS) // (most + 1))]
            for count in counts]
    if spread.bound_ns is not None and spread.stalls_ns:
        at = min(int(scale(spread.bound_ns)), cells)
        if text[at] == " ":
            text[at] = "▏"
        else:
            text.insert(at + 1, "▏")
    return Text("".join(text).rstrip(), style="cyan")


def _complaints(found: Sequence[tuple[Row, Complaint]], many: bool) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2), pad_edge=True)
    for row, item in found:
        where = [Text(row.subject.name)] if many else []
        table.add_row(Text(f"{SIGNS[item.result]} {item.claim}", style=STYLES[item.result]), *where,
                      Text(plural(item.runs, "run")),
                      Text(f"seed {item.seed}: {_short(item.detail)}", style="dim"))
    return table


def _short(text: str) -> str:
    return text if len(text) <= _DETAIL_MAX else text[:_DETAIL_MAX - 1] + "…"


def _table(left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=True, header_style="dim")
    for heading in left:
        table.add_column(heading)
    for heading in right:
        table.add_column(heading, justify="right")
    return table


def _heading(text: str) -> list[RenderableType]:
    return [Text(), Text(text, style="bold")]


def _indented(text: str) -> Padding:
    return Padding(Text(text, style="dim"), (0, 0, 0, 2))
