"""The bar that sets one fault's measured stall against the terms of its bound.

Owns: that drawing. Each term is a segment with a number; the numbers are explained in a table beside the bar.
"""

from collections.abc import Sequence

from markupsafe import Markup

from mpio.report.run import Stall, Term
from mpio.report.svg import Linear, drawing, element
from mpio.units import format_duration

WIDTH = 400.0
SEGMENTS_MAX = 12  # distinct fills; later terms share the last one
_LEFT, _RIGHT = 46.0, 4.0
_BAR = 18.0


def stall_bar(stall: Stall, terms: Sequence[Term]) -> Markup:
    """The measured stall above the stacked terms of its bound, on one scale."""
    bound_ns = stall.bound_ns or 0
    scale = Linear(0, max(stall.worst_stall_ns, bound_ns, 1) * 1.02, _LEFT, WIDTH - _RIGHT)
    measured = format_duration(stall.worst_stall_ns)
    end = scale(stall.worst_stall_ns)
    parts = [_label("stall", 14.0),
             element("rect", element("title", text=f"worst stall {measured}"), x=_LEFT, y=1, height=_BAR,
                     width=max(end - _LEFT, 1.0), class_="measured over" if stall.kept is False else "measured")]
    inside = end - _LEFT > 70
    parts.append(element("text", text=measured, x=end - 6 if inside else end + 6, y=14,
                         text_anchor="end" if inside else "start",
                         class_="measured-text" if inside else "tick"))
    if stall.bound_ns is None:
        return drawing(WIDTH, _BAR + 2, "Worst stall", f"{measured}; there is no bound to compare it with.", *parts)
    y, sum_ns = _BAR + 7, 0
    parts.append(_label("bound", y + 13))
    for index, term in enumerate(terms, 1):
        left, right = scale(sum_ns), scale(sum_ns + max(term.value_ns, 0))
        sum_ns += max(term.value_ns, 0)
        shade = f"term term-{min(index, SEGMENTS_MAX) % 2} "
        parts.append(element("rect", element("title", text=f"{term.name}: {format_duration(term.value_ns)}"),
                             x=left, y=y, width=right - left, height=_BAR, class_=shade.strip()))
        if right - left > 14:
            parts.append(element("text", text=str(index), x=(left + right) / 2, y=y + 13, text_anchor="middle",
                                 class_="term-text"))
    height = y + _BAR + 2
    if stall.best_ns:
        x = scale(stall.best_ns)
        parts.append(element("g", element("title", text=f"at best {format_duration(stall.best_ns)}"),
                             element("line", x1=x, x2=x, y1=0, y2=height, class_="best")))
    x = scale(bound_ns)
    parts.append(element("line", x1=x, x2=x, y1=0, y2=height, class_="bound"))
    best = f", at best {format_duration(stall.best_ns)}" if stall.best_ns else ""
    return drawing(WIDTH, height, "Worst stall beside its bound",
                   f"Measured {measured}, bound {format_duration(bound_ns)}{best}.", *parts, class_="bar")


def _label(text: str, y: float) -> str:
    return element("text", text=text, x=_LEFT - 8, y=y, text_anchor="end", class_="tick")
