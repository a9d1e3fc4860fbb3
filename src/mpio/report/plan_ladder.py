"""The ladder as a drawing: each scenario's worst case, term after term, against the deadlines that it must not pass.

Owns: that drawing, in a wide and a narrow layout. A scenario's terms are numbered; a table beside the drawing explains
the numbers. Deadlines carry letters, as in the terminal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mpio.report.plan_text import LETTERS, span
from mpio.report.sheet import Deadline, Rung, Sheet, axis_end_ns
from mpio.report.svg import Linear, drawing, element
from mpio.units import NS_PER_S, format_duration

_LETTER_WIDTH = 6.4  # of the 11-pixel font, on the safe side
_TOP, _BOTTOM = 26.0, 26.0
_BAR = 18.0


@dataclass(frozen=True, slots=True)
class Layout:
    """Pixels of one variant. `names_above`: the name stands on a line of its own above its bar."""

    width: float
    left: float
    right: float
    row: float
    names_above: bool
    ticks: int


WIDE = Layout(width=1000, left=330, right=20, row=30, names_above=False, ticks=10)
NARROW = Layout(width=400, left=8, right=14, row=46, names_above=True, ticks=5)


def ordered(deadlines: Sequence[Deadline]) -> list[tuple[str, Deadline]]:
    """Deadlines with their letters, the earliest first."""
    return list(zip(LETTERS, sorted(deadlines, key=lambda line: line.at_ns), strict=False))


def ladder(sheet: Sheet, layout: Layout) -> Markup:
    """The drawing. Raises ValueError for a sheet without scenarios."""
    if not sheet.rungs:
        raise ValueError("a ladder needs a scenario")
    lines = ordered(sheet.deadlines)
    end_ns = axis_end_ns(sheet.rungs, sheet.deadlines)
    scale = Linear(0, end_ns, layout.left, layout.width - layout.right)
    height = _TOP + layout.row * len(sheet.rungs) + _BOTTOM
    parts, labels = _axis(scale, layout, height), []
    y = _TOP
    for rung in sheet.rungs:
        bar_y = y + 20 if layout.names_above else y + (layout.row - _BAR) / 2
        parts += _bar(rung, [line for _, line in lines], scale, bar_y)
        labels += _label(rung, [line for _, line in lines], layout, y + 14 if layout.names_above else bar_y + 13)
        y += layout.row
    parts += [*_deadlines(lines, scale, y), *labels]
    described = "; ".join(f"{rung.words}: at worst {span(rung.budget.worst_ns)}" for rung in sheet.rungs)
    limits = "; ".join(f"{letter}: {line.words}, {format_duration(line.at_ns)}" for letter, line in lines)
    return drawing(layout.width, height, "Worst case of each scenario against each deadline",
                   f"{described}. Deadlines: {limits or 'none'}.", *parts)


def _axis(scale: Linear, layout: Layout, height: float) -> list[str]:
    parts = []
    for value in scale.ticks(layout.ticks):
        x = scale(value)
        parts += [element("line", x1=x, x2=x, y1=_TOP - 4, y2=height - _BOTTOM, class_="grid-line"),
                  element("text", text=format_duration(round(value)) if value else "0", x=x, y=_TOP - 10,
                          text_anchor="middle" if value else "start", class_="tick")]
    return parts


def _label(rung: Rung, lines: Sequence[Deadline], layout: Layout, y: float) -> list[str]:
    """The name, and how long it takes at worst."""
    past = any(rung.passes(line) for line in lines)
    name_x, anchor, worst_x = layout.left - 76, "end", layout.left - 10
    if layout.names_above:
        name_x, anchor, worst_x = layout.left, "start", layout.width - layout.right
    return [element("text", text=rung.words, x=name_x, y=y, text_anchor=anchor,
                    class_="rung-name" if rung.binds else "rung-name info"),
            element("text", text=span(rung.budget.worst_ns), x=worst_x, y=y, text_anchor="end",
                    class_="rung-worst over" if past else "rung-worst")]


def _bar(rung: Rung, lines: Sequence[Deadline], scale: Linear, y: float) -> list[str]:
    return [*_segments(rung, scale, y), *_best(rung, scale, y), *_overrun(rung, lines, scale, y),
            *_onward(rung, scale, y)]


def _segments(rung: Rung, scale: Linear, y: float) -> list[str]:
    """The terms one after the other; what binds nothing is pale."""
    parts, sum_ns = [], 0
    for index, term in enumerate(rung.budget.terms, 1):
        left, right = scale(sum_ns), scale(sum_ns + term.value_ns)
        sum_ns += term.value_ns
        if right <= left:
            break
        shade = f"term term-{index % 2}" if rung.binds else "term info-term"
        parts.append(element("rect", element("title", text=f"{index}. {term.name}: {format_duration(term.value_ns)} "
                                                           f"({term.source})"),
                             x=left, y=y, width=right - left, height=_BAR, class_=shade))
        if right - left > 14:
            parts.append(element("text", text=str(index), x=(left + right) / 2, y=y + 13, text_anchor="middle",
                                 class_="term-text"))
    return parts


def _best(rung: Rung, scale: Linear, y: float) -> list[str]:
    if not rung.budget.best_ns or rung.budget.best_ns == rung.budget.worst_ns or rung.budget.best_ns > scale.high:
        return []
    x = scale(rung.budget.best_ns)
    return [element("g", element("title", text=f"at best {format_duration(rung.budget.best_ns)}"),
                    element("line", x1=x, x2=x, y1=y - 2, y2=y + _BAR + 2, class_="best"))]


def _overrun(rung: Rung, lines: Sequence[Deadline], scale: Linear, y: float) -> list[str]:
    """What lies past the first deadline that is not met, marked along the bar's foot."""
    passed = [line.at_ns for line in lines if rung.passes(line)]
    if not passed:
        return []
    worst_ns = rung.budget.worst_ns
    left, right = scale(min(passed)), scale.end if worst_ns is None else scale(worst_ns)
    return [element("rect", x=left, y=y + _BAR - 4, width=max(right - left, 1.0), height=4, class_="overrun")]


def _onward(rung: Rung, scale: Linear, y: float) -> list[str]:
    """An arrow where the bar goes on past the axis."""
    worst_ns = rung.budget.worst_ns
    if worst_ns is not None and worst_ns <= scale.high:
        return []
    x, middle = scale.end, y + _BAR / 2
    return [element("path", d=f"M{x:.1f} {y:.1f}L{x + 9:.1f} {middle:.1f}L{x:.1f} {y + _BAR:.1f}Z", class_="onward")]


def _deadlines(lines: Sequence[tuple[str, Deadline]], scale: Linear, y: float) -> list[str]:
    parts = []
    last_x = -100.0
    for letter, line in lines:
        x = scale(line.at_ns)
        label_x = max(x, last_x + 2 * _LETTER_WIDTH)
        last_x = label_x
        parts.append(element(
            "g", element("title", text=f"{line.words}: {line.at_ns / NS_PER_S:g} s"),
            element("line", x1=x, x2=x, y1=_TOP - 4, y2=y + 4, class_=f"deadline {line.kind}"),
            element("text", text=letter, x=label_x, y=y + 18, text_anchor="middle", class_="deadline-text")))
    return parts
