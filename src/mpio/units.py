"""Units of time and size: conversions between what people write and what the engines count.

Owns: integer nanoseconds for all instants and durations, integer bytes for all sizes, and their text forms.
Knows nothing of clocks. A name that ends in `_ns`, `_bytes`, `_blocks` or `_s` says its unit.
"""

import re

NS_PER_S = 1_000_000_000

_DURATION_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "min": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
}
_SIZE_UNITS_BYTES = {
    "": 1,
    "b": 1,
    "k": 1 << 10,
    "kib": 1 << 10,
    "m": 1 << 20,
    "mib": 1 << 20,
    "g": 1 << 30,
    "gib": 1 << 30,
    "t": 1 << 40,
    "tib": 1 << 40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", re.ASCII)
_DIGITS_MAX = 24  # longer numbers are mistakes, and int() of a huge text is slow


def seconds(value: float) -> int:
    """Seconds to integer nanoseconds, rounded to the nearest."""
    return round(value * NS_PER_S)


def to_seconds(ns: int) -> float:
    """Nanoseconds to seconds as a float, for people and JSON only."""
    return ns / NS_PER_S


def _quantity(text: str, units: dict[str, int], default_unit: str, what: str, example: str) -> int:
    match = _QUANTITY.fullmatch(text)
    if match is None or len(match[1]) > _DIGITS_MAX:
        raise ValueError(f"expected {what} such as {example}, found {text[:40]!r}")
    unit = match[2].lower() or default_unit
    if unit not in units:
        raise ValueError(f"expected {what} such as {example}, found the unit {match[2]!r} in {text[:40]!r}")
    return round(float(match[1]) * units[unit]) if "." in match[1] else int(match[1]) * units[unit]


def parse_duration(text: str) -> int:
    """Parse '25s', '300ms', '2m' or a bare number of seconds into nanoseconds. Raises ValueError."""
    return _quantity(text, _DURATION_UNITS_NS, "s", "a duration", "'300ms' or '25s'")


def parse_size(text: str) -> int:
    """Parse '4KiB', '64M' (binary), '1MB' (decimal) or bare bytes into bytes. Raises ValueError."""
    return _quantity(text, _SIZE_UNITS_BYTES, "", "a size", "'4KiB' or '64MiB'")


def format_duration(ns: int) -> str:
    """Shortest readable form with three significant digits: '850 ms', '1.2 s', '45 µs'."""
    magnitude = abs(ns)
    if magnitude >= NS_PER_S:
        return f"{_significant(ns / NS_PER_S, 4)} s"
    if magnitude >= 1_000_000:
        return f"{_significant(ns / 1_000_000, 3)} ms"
    if magnitude >= 1_000:
        return f"{_significant(ns / 1_000, 3)} µs"
    return f"{ns} ns"


def _significant(value: float, digits: int) -> str:
    """At least so many significant digits, and never an exponent."""
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def format_size(size_bytes: int) -> str:
    """Binary units without loss where the size is a whole number of them: '4 KiB', '64 MiB', '1000 B'."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= factor and size_bytes % factor == 0:
            return f"{size_bytes // factor} {unit}"
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} B"
