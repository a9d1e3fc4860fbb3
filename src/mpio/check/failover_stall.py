"""The stall of a failover that a threshold has to carry: given, modelled or observed, whichever is longest."""

from collections.abc import Sequence
from dataclasses import dataclass

from mpio.units import format_duration

OBSERVED_WANTED = 30
"""Failovers of each kind that one should have seen before trusting the longest of them."""


@dataclass(frozen=True, slots=True)
class Source:
    """One opinion on the stall. `stall_ns` is None for a stall without end; `words` say whose opinion it is."""

    stall_ns: int | None
    words: str


@dataclass(frozen=True, slots=True)
class FailoverStall:
    """S and all that was said of it; the first of `sources` is the one that decides. Without any it is 0."""

    stall_ns: int
    sources: tuple[Source, ...]


def observed(stalls_ns: Sequence[int], where: str, what: str = "failover") -> Source:
    """The longest of some failovers, and a quarter more: S >= 1.25 S_obs. There is at least one."""
    longest_ns = max(stalls_ns)
    count = f"{len(stalls_ns)} {what}s" if len(stalls_ns) != 1 else f"one {what}"
    few = f"; {OBSERVED_WANTED} of each kind would be a sample" if len(stalls_ns) < OBSERVED_WANTED else ""
    return Source(longest_ns * 5 // 4,
                  f"a quarter more than the longest of {count} {where}, {format_duration(longest_ns)}{few}")


def longest(sources: Sequence[Source]) -> FailoverStall:
    """S: the longest of all. Raises ValueError if one is without end."""
    for source in sources:
        if source.stall_ns is None:
            raise ValueError(f"no threshold outlasts a stall without end: {source.words}")
    ordered = sorted(sources, key=lambda source: -(source.stall_ns or 0))
    return FailoverStall(ordered[0].stall_ns or 0 if ordered else 0, tuple(ordered))
