"""How long I/O stalled, as a drawing: one histogram for each settings over one logarithmic axis of time.

Owns: that drawing, in a wide and a narrow layout. A dot is the worst, a tick below the axis line the median, a line the
planned bound; the table beside the drawing has the numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mpio.check.verdict import Result
from mpio.report.account import Row, Spread
from mpio.report.simulate_text import SIGNS, axis, duration
from mpio.report.svg import Logarithmic, drawing, element
from mpio.units import format_duration

_TOP, _BOTTOM = 26.0, 10.0
_HISTOGRAM = 34.0
_DOT = 4.0
_LABEL = 40.0  # of a tick, on the safe side


@dataclass(frozen=True, slots=True)
class Layout:
    """Pixels of one variant. `names_above`: the name stands on a line of its own above its histogram."""

    width: float
    left: float
    right: float
    row: float
    bar: float
    names_above: bool


WIDE = Layout(width=1000, left=190, right=24, row=56, bar=6, names_above=False)
NARROW = Layout(width=400, left=10, right=16, row=72, bar=5, names_above=True)


def spread_chart(rows: Sequence[Row], layout: Layout) -> Markup:
    """The drawing; settings without any stall have an empty line."""
    scale = axis([row.spread for row in rows], layout.left, layout.width - layout.right)
    height = _TOP + layout.row * len(rows) + _BOTTOM
    parts = []
    for value in scale.ticks():
        x = scale(value)
        parts += [element("line", x1=x, x2=x, y1=_TOP - 4, y2=height - _BOTTOM, class_="grid-line"),
                  element("text", text=format_duration(round(value)), x=x, y=_TOP - 10, class_="tick",
                          text_anchor="middle" if x - _LABEL / 2 > 0 else "start")]
    for index, row in enumerate(rows):
        parts += _row(row, scale, layout, _TOP + layout.row * index)
    described = "; ".join(
        f"{row.subject.name}: median {duration(row.spread.median_ns)}, p99 {duration(row.spread.p99_ns)}, worst "
        f"{duration(row.spread.worst_ns)}, bound {duration(row.spread.bound_ns)}" for row in rows)
    return drawing(layout.width, height, "Stall of I/O in a fault, by settings", f"{described}.", *parts)


def _row(row: Row, scale: Logarithmic, layout: Layout, y: float) -> list[str]:
    foot = y + layout.row - 8
    text_y = y + 16 if layout.names_above else foot - 8
    x, anchor = (layout.left, "start") if layout.names_above else (layout.left - 14, "end")
    over = row.verdict is Result.FAIL
    parts = [element("line", x1=layout.left, x2=layout.width - layout.right, y1=foot, y2=foot, class_="axis"),
             element("text", text=f"{SIGNS[row.verdict]} {row.subject.name}", x=x, y=text_y, text_anchor=anchor,
                     class_="rung-name over" if over else "rung-name")]
    spread = row.spread
    if not spread.stalls_ns:
        return parts
    return [*parts, *_bars(spread, scale, layout.bar, foot), *_marks(spread, scale, foot)]


def _bars(spread: Spread, scale: Logarithmic, width: float, foot: float) -> list[str]:
    counts: dict[int, int] = {}
    for stall_ns in spread.stalls_ns:
        cell = int((scale(stall_ns) - scale.start) // width)
        counts[cell] = counts.get(cell, 0) + 1
    most = max(counts.values())
    return [element("rect", element("title", text=f"{count} of {len(spread.stalls_ns)} faults"),
                    x=scale.start + cell * width, y=foot - (height := max(2.0, _HISTOGRAM * count / most)),
                    width=width - 1, height=height, class_="stalls")
            for cell, count in sorted(counts.items())]


def _marks(spread: Spread, scale: Logarithmic, foot: float) -> list[str]:
    parts = []
    if spread.bound_ns is not None:
        x = scale(spread.bound_ns)
        parts.append(element("g", element("title", text=f"bound {duration(spread.bound_ns)}"),
                             element("line", x1=x, x2=x, y1=foot - _HISTOGRAM, y2=foot + 4, class_="bound")))
    if spread.median_ns is not None:
        x = scale(spread.median_ns)
        parts.append(element("g", element("title", text=f"median {duration(spread.median_ns)}"),
                             element("line", x1=x, x2=x, y1=foot, y2=foot + 7, class_="median")))
    if spread.worst_ns is not None:
        over = spread.share is not None and spread.share > 1
        parts.append(element("circle", element("title", text=f"worst {duration(spread.worst_ns)}"),
                             cx=scale(spread.worst_ns), cy=foot, r=_DOT, class_="worst over" if over else "worst"))
    return parts
