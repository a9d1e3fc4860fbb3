"""Faults for testing tests, in one word: `lost:N`, `stale:N`, `torn:N`, at the N-th write that changes anything."""

from mpio.target.filters import build
from mpio.target.filters.base import Filter

PLANTS = {"lost": "lost-write", "stale": "stale-read", "torn": "torn-write"}


def plant(text: str, lun: int) -> Filter:
    """The filter that strikes that one write to a LUN, and no other. Raises ValueError."""
    kind, _, count = text.partition(":")
    if kind not in PLANTS or not (count.isascii() and count.isdigit() and 0 < len(count) < 10 and int(count)):
        raise ValueError(f"expected one of {', '.join(PLANTS)} and the number of a write, found {text[:40]!r}")
    return build(PLANTS[kind], {"lun": lun, "skip": int(count) - 1, "count": 1})
