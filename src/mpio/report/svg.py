"""Inline SVG: elements that escape themselves, scales and round tick marks.

Owns: well-formed markup from plain values. Every text and attribute is escaped here and nowhere else, so a drawing
can be put into HTML as it is. Colours are CSS classes of the page, not attributes, so that they follow its theme.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

_ROUND_STEPS = (1.0, 2.0, 5.0)


def element(tag: str, *children: str | None, text: str | None = None, **attributes: object) -> str:
    """One element. `children` are markup made by this function, `text` is escaped; `class_` stands for class.

    Underscores in other attribute names become hyphens; an attribute that is None is left out; floats get two decimals.
    """
    shown = "".join(f' {_attribute_name(name)}="{escape(_attribute_text(value))}"'
                    for name, value in attributes.items() if value is not None)
    inner = ("" if text is None else escape(text)) + "".join(child for child in children if child)
    return f"<{tag}{shown}>{inner}</{tag}>" if inner else f"<{tag}{shown}/>"


def _attribute_name(name: str) -> str:
    return "viewBox" if name == "view_box" else name.rstrip("_").replace("_", "-")


def _attribute_text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def drawing(width: float, height: float, title: str, description: str, *children: str, class_: str = "") -> Markup:
    """A whole SVG, scalable in width, with its text alternative."""
    return Markup(element(  # noqa: S704 -- element() escapes every text and attribute
        "svg",
        element("title", text=title),
        element("desc", text=description),
        *children,
        view_box=f"0 0 {width:g} {height:g}", width=width, height=height, role="img",
        aria_label=f"{title}. {description}", class_=class_ or None,
    ))


def path_data(points: Sequence[tuple[float, float]]) -> str:
    """The `d` of a line through the points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear scale from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value; outside values are clamped to the ends."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, count_max: int) -> list[float]:
        """At most `count_max` round values (1, 2 or 5 times a power of ten apart) inside the scale."""
        span = self.high - self.low
        if span <= 0 or count_max < 1:
            return [self.low]
        step = round_up(span / count_max)
        first = math.ceil(self.low / step - 1e-9)
        return [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """A scale by powers of ten; values at or below zero land at the low end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value; outside values are clamped to the ends."""
        if value <= self.low:
            return self.start
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + min(share, 1.0) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """The powers of ten inside the scale."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        return [10.0 ** exponent for exponent in range(first, last + 1)]


def round_up(value: float) -> float:
    """The next number of the form 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next((factor * power for factor in _ROUND_STEPS if factor * power >= value * (1 - 1e-9)), 10.0 * power)


def round_down(value: float) -> float:
    """The last number up to `value` of the form 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in reversed(_ROUND_STEPS) if factor * power <= value * (1 + 1e-9))
