"""The verdict and timeline of a run for a terminal.

Owns: layout with rich. Text from the run is put in as plain `Text`, never as markup, so that a bracket in a name
stays a bracket. Nothing is said by colour alone.
"""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mpio.report import words
from mpio.report.run import Claim, Run, Stall, VerdictKind
from mpio.units import format_duration

STALLS_MAX = 50
BLOCKS_MAX = 20
CLAIMS_MAX = 100
_BAR_WIDTH_MAX = 40

_STYLES: dict[VerdictKind, str] = {"pass": "bold green", "fail": "bold red", "unknown": "bold yellow"}


def print_run(run: Run, console: Console) -> None:
    """Print verdict, claims, what each fault did, bad blocks, counts and the replay command."""
    for part in _parts(run, console.width):
        console.print(part, highlight=False)


def _parts(run: Run, width: int) -> list[RenderableType]:
    headline = Text.assemble((f"{words.VERDICT_SIGNS[run.verdict]} {words.VERDICT_WORDS[run.verdict]}",
                              _STYLES[run.verdict]), " — ", words.sentence(run))
    parts: list[RenderableType] = [headline]
    parts += [Text(f"! {note}", style="yellow") for note in run.notes]
    if run.claims:
        parts += [Text(), Text("Claims", style="bold"), _claims(run.claims[:CLAIMS_MAX])]
        parts += _capped(CLAIMS_MAX, len(run.claims), "claim")
    for index, stall in enumerate(run.stalls[:STALLS_MAX], 1):
        parts += [Text(), *_stall(run, index, stall, width)]
    parts += _capped(STALLS_MAX, len(run.stalls), "fault")
    if run.blocks:
        parts += [Text(), Text("Bad blocks", style="bold"), _blocks(run)]
        parts += _capped(BLOCKS_MAX, len(run.blocks), "finding")
    counts = words.count_rows(run) + [(f"latency, {name}", format_duration(value))
                                      for name, value in run.latency_ns.items()]
    if counts:
        parts += [Text(), Text("Counts", style="bold"), _pairs(counts)]
    if run.elsewhere:
        parts += [Text(), Text("The same faults with other settings would have stalled I/O, by simulation,",
                               style="bold"), _elsewhere(run)]
    if run.replay:
        parts += [Text(), Text("Replay", style="bold"), Padding(Text(run.replay, overflow="fold"), (0, 0, 0, 2))]
    return parts


def _claims(claims: Sequence[Claim]) -> Table:
    table = _grid()
    for claim in claims:
        sign = Text(f"{words.VERDICT_SIGNS[claim.result]} {words.RESULT_WORDS[claim.result]}",
                    style=_STYLES[claim.result], no_wrap=True)
        table.add_row(sign, Text(claim.name), Text(claim.detail, style="dim"))
    return table


def _stall(run: Run, index: int, stall: Stall, width: int) -> list[RenderableType]:
    heading = Text.assemble((f"Fault {index}", "bold"), f"  {words.fault_label(run, stall)}")
    table = _grid()
    previous_ns: int | None = None
    for step in stall.timeline:
        took = "" if previous_ns is None else f"({words.relative(step.t_ns, previous_ns)})"
        table.add_row(Text(step.what), Text(words.relative(step.t_ns, stall.cut_ns), justify="right"),
                      Text(took, style="dim", justify="right"), Text(words.STEP_WORDS[step.what], style="dim"))
        previous_ns = step.t_ns
    return [heading, table, Padding(_bar(stall, width), (0, 0, 0, 2))]


def _bar(stall: Stall, width: int) -> RenderableType:
    """The worst stall as a share of its bound: a bar with the end of the bound marked."""
    measured = f"worst stall {format_duration(stall.worst_stall_ns)}"
    if not stall.bound_ns:
        return Text(f"{measured}, no bound")
    room = max(10, min(_BAR_WIDTH_MAX, width - 46))
    longest_ns = max(stall.worst_stall_ns, stall.bound_ns)
    filled = min(max(round(room * stall.worst_stall_ns / longest_ns), 1), room)
    bound_at = round(room * stall.bound_ns / longest_ns)
    style = "green" if stall.kept else "red"
    cells = "█" * filled + "░" * (room - filled)
    bar = Text(cells[:bound_at], style=style) + Text("▏", style="bold") + Text(cells[bound_at:], style=style)
    relation = "of at most" if stall.kept else "over its bound of"
    best = f", at best {format_duration(stall.best_ns)}" if stall.best_ns else ""
    return Group(bar, Text(f"{measured} {relation} {format_duration(stall.bound_ns)}{best}", style=style))


def _blocks(run: Run) -> Table:
    table = _grid()
    for block in run.blocks[:BLOCKS_MAX]:
        last = f" to {block.lba + block.blocks - 1}" if block.blocks > 1 else ""
        through = f"path {block.path}" if block.path else ""
        table.add_row(Text(block.kind, style="red"), Text(f"LBA {block.lba}{last}"), Text(through),
                      Text(f"expected {block.expected}, found {block.found}"))
    return table


def _elsewhere(run: Run) -> Table:
    table = _grid()
    for item in run.elsewhere:
        worst = "not at all" if not item.worst_ns else f"up to {format_duration(item.worst_ns)}"
        bound = "" if item.bound_ns is None else f"bound {format_duration(item.bound_ns)}"
        table.add_row(Text(item.name), Text(worst, justify="right"), Text(bound, style="dim"),
                      Text("these settings" if item.own else "", style="dim"))
    return table


def _pairs(rows: Sequence[tuple[str, str]]) -> Table:
    table = _grid()
    for name, value in rows:
        table.add_row(Text(name, style="dim"), Text(value, justify="right"))
    return table


def _grid() -> Table:
    return Table(box=None, show_header=False, padding=(0, 2), pad_edge=True)


def _capped(shown_max: int, count: int, what: str) -> list[RenderableType]:
    if count <= shown_max:
        return []
    return [Text(f"  … the first {shown_max} of {words.plural(count, what)}; the rest is in verdict.json", style="dim")]
