"""Figures over time from a history of I/Os: latency and throughput per column of a drawing.

Owns: the reduction of any number of I/Os to a fixed number of columns, so that a drawing's size does not depend on
the length of the run. Pure arithmetic; instants in nanoseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from mpio.report.run import OUTCOMES, History, NodeFigures, PathFigures, Stall

_OK = OUTCOMES.index("ok")


@dataclass(frozen=True, slots=True)
class Column:
    """The latencies of the I/Os that started in one column's time."""

    median_ns: float
    worst_ns: int


def latency_columns(history: History, start_ns: int, end_ns: int, count: int) -> list[Column | None]:
    """Per column the median and worst latency of the I/Os that started in it; None where none did."""
    latencies: list[list[int]] = [[] for _ in range(count)]
    span_ns = max(end_ns - start_ns, 1)
    for begun, ended in zip(history.start_ns, history.end_ns, strict=True):
        if ended >= 0:
            index = (begun - start_ns) * count // span_ns
            latencies[min(max(index, 0), count - 1)].append(ended - begun)
    return [Column(median(values), max(values)) if values else None for values in latencies]


def throughput_columns(history: History, start_ns: int, end_ns: int, count: int) -> list[float]:
    """Bytes per second of successful I/Os, by the time that they completed."""
    moved = [0] * count
    span_ns = max(end_ns - start_ns, 1)
    for ended, length, outcome in zip(history.end_ns, history.length, history.outcome, strict=True):
        if outcome == _OK and ended >= 0:
            moved[min(max((ended - start_ns) * count // span_ns, 0), count - 1)] += length
    seconds = span_ns / count / 1e9
    return [value / seconds for value in moved]


def path_throughput_columns(figures: PathFigures, start_ns: int, end_ns: int, count: int) -> list[float]:
    """One path's bytes per second, resampled from its own intervals: each column averages what it covers."""
    width_ns = max(end_ns - start_ns, 1) / count
    moved = [0.0] * count
    for index, value in enumerate(figures.throughput_bytes):
        if value == 0:
            continue
        begun = (figures.start_ns + index * figures.interval_ns - start_ns) / width_ns
        ended = begun + figures.interval_ns / width_ns
        for column in range(max(int(begun), 0), min(int(ended) + 1, count)):
            share = (min(ended, column + 1) - max(begun, column)) / (ended - begun)
            moved[column] += value * max(share, 0.0)
    return [value / (width_ns / 1e9) for value in moved]


def margin_columns(figures: NodeFigures, start_ns: int, end_ns: int, count: int) -> list[float | None]:
    """Per column the least margin that was seen in it; None where the node had none, or nobody looked."""
    least: list[float | None] = [None] * count
    span_ns = max(end_ns - start_ns, 1)
    for index, margin_ns in enumerate(figures.margins_ns):
        column = (figures.start_ns + index * figures.interval_ns - start_ns) * count // span_ns
        if margin_ns is not None and 0 <= column < count:
            known = least[column]
            least[column] = margin_ns if known is None else min(known, margin_ns)
    return least


@dataclass(frozen=True, slots=True)
class OddIo:
    """An I/O that failed or whose outcome is not known."""

    start_ns: int
    latency_ns: int | None  # None: no answer ever came
    outcome: str


def odd_ios(history: History, count_max: int) -> tuple[list[OddIo], int]:
    """The first `count_max` I/Os that did not end well, and how many there are in all."""
    odd: list[OddIo] = []
    total = len(history.outcome) - history.outcome.count(_OK)
    if total:
        for index, outcome in enumerate(history.outcome):
            if outcome != _OK:
                begun, ended = history.start_ns[index], history.end_ns[index]
                odd.append(OddIo(begun, ended - begun if ended >= 0 else None, OUTCOMES[outcome]))
                if len(odd) >= count_max:
                    break
    return odd, total


def longest_ios(history: History, stalls: Sequence[Stall]) -> list[tuple[int, int] | None]:
    """From when (not before the cut) until when each stall's longest wait was; None where no I/O waited so long."""
    longest: list[tuple[int, int] | None] = [None] * len(stalls)
    windows = [(stall.cut_ns, stall.end_ns) for stall in stalls]
    if not windows:
        return longest
    floor_ns = min(stall.worst_stall_ns for stall in stalls) // 2  # shorter ones are no stall's worst
    for begun, ended in zip(history.start_ns, history.end_ns, strict=True):
        if ended < 0 or ended - begun < floor_ns:
            continue
        for index, (low, high) in enumerate(windows):
            best, since = longest[index], max(begun, low)
            if since <= high and ended >= low and (best is None or ended - since > best[1] - best[0]):
                longest[index] = (since, ended)
    return longest
