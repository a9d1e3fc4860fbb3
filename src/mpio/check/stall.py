"""What each fault cost: the worst stall of the I/O that it touched, and its timeline, from journal and history.

A *stall* of a fault is the longest time, counted from the cut, that an I/O which overlapped the fault took to end: for
an I/O that was under way when the fault came, the part before the cut is not the fault's. A *gap* is the longest time
without any I/O ending while at least one was outstanding. The window of a fault lasts from the cut until its path was
reinstated after the heal (or until the run ended).
"""

import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from mpio.events import Event, Kind

_PATH = re.compile(r"(?:^|/)path:(\d{1,6})(?:/|$)")
_NODE = re.compile(r"node:(\d{1,6})(?:/|$)")
DETECTING = frozenset((Kind.PING_TIMED_OUT, Kind.CONNECTION_LOST, Kind.TASK_TIMED_OUT, Kind.CONNECT_FAILED,
                       Kind.LOGIN_REJECTED))


def path_of(source: str) -> int | None:
    """The path number in a source such as `map:disk0/path:1`, or None."""
    match = _PATH.search(source)
    return int(match[1]) if match else None


def node_of(source: str) -> int:
    """The node number in a source such as `node:2/map:disk0/path:1`; 1 where there is none."""
    match = _NODE.match(source)
    return int(match[1]) if match else 1


def node_source(node: int, source: str) -> str:
    """A source of a node, where there are several."""
    return f"node:{node}/{source}"


def of_node(events: Iterable[Event], node: int) -> list[Event]:
    """What happened on one node, its paths' faults among it."""
    return [event for event in events if node == (
        event.fields.get("node", 1) if event.kind in (Kind.FAULT_INJECTED, Kind.FAULT_HEALED)
        else node_of(event.source))]


class IoTimes:
    """When I/Os began and ended; 16 bytes each. `worst_ns` is the longest so far."""

    def __init__(self) -> None:
        self.worst_ns = 0
        self._start = array("q")
        self._end = array("q")
        self._sorted: tuple[Sequence[int], Sequence[int], Sequence[int]] | None = None

    def add(self, start_ns: int, end_ns: int) -> None:
        """One I/O."""
        self._start.append(start_ns)
        self._end.append(end_ns)
        self.worst_ns = max(self.worst_ns, end_ns - start_ns)
        self._sorted = None

    def __len__(self) -> int:
        return len(self._start)

    def latencies_ns(self) -> list[int]:
        """Of all I/Os, in ascending order."""
        return sorted(end - start for start, end in zip(self._start, self._end, strict=True))

    def _by_end(self) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        """Starts and ends in the order of ends, and for each the earliest start from there on."""
        if self._sorted is None:
            pairs = sorted(zip(self._end, self._start, strict=True))
            ends, starts = array("q", (end for end, _ in pairs)), array("q", (start for _, start in pairs))
            earliest = array("q", starts)
            for index in range(len(earliest) - 2, -1, -1):
                earliest[index] = min(earliest[index], earliest[index + 1])
            self._sorted = starts, ends, earliest
        return self._sorted

    def overlapping(self, from_ns: int, to_ns: int) -> int:
        """How many I/Os were under way at some time in the window."""
        starts, ends, earliest = self._by_end()
        count = 0
        for index in range(bisect_right(ends, from_ns), len(ends)):
            if earliest[index] >= to_ns:
                break
            count += starts[index] < to_ns
        return count

    def worst_stall_ns(self, from_ns: int, to_ns: int) -> int:
        """The longest time after `from_ns` that an I/O overlapping the window took; 0 without any."""
        starts, ends, earliest = self._by_end()
        worst = 0
        for index in range(bisect_right(ends, from_ns), len(ends)):
            if earliest[index] >= to_ns:
                break
            if starts[index] < to_ns:
                worst = max(worst, ends[index] - max(starts[index], from_ns))
        return worst

    def longest_gap_ns(self, from_ns: int, to_ns: int) -> int:
        """The longest time from `from_ns` on without any I/O ending while one was outstanding."""
        _, ends, earliest = self._by_end()
        longest, last = 0, from_ns
        for index in range(bisect_right(ends, from_ns), len(ends)):
            begin = max(last, earliest[index])
            if begin >= to_ns:
                break
            longest = max(longest, ends[index] - begin)
            last = ends[index]
        return longest

    def ended_between(self, from_ns: int, to_ns: int) -> int:
        """How many I/Os ended in the window."""
        _, ends, _ = self._by_end()
        return bisect_right(ends, to_ns) - bisect_right(ends, from_ns)


@dataclass(frozen=True, slots=True)
class Mark:
    """One instant of a fault's timeline, and the journal record that shows it."""

    what: str
    t_ns: int
    seq: int


@dataclass(frozen=True, slots=True)
class FaultTrace:
    """One fault on one path, and what followed.

    `end_ns`: reinstated, or superseded by the path's next fault, or the end of the run. `expect`: what the drill said
    that the fault should do to the path: `failover` (be found lost), `ride-through` (stay), or `any`.
    """

    fault: str
    path: int
    start_ns: int
    healed_ns: int | None
    end_ns: int
    expect: str = "any"
    marks: tuple[Mark, ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.fault} on path {self.path}"

    def at(self, what: str) -> int | None:
        """The instant of a mark, or None if it did not happen."""
        return next((mark.t_ns for mark in self.marks if mark.what == what), None)


@dataclass(frozen=True, slots=True)
class FaultStall:
    """A fault with what it cost. Bounds are None where none was computed."""

    trace: FaultTrace
    worst_stall_ns: int
    longest_gap_ns: int
    ios: int
    bound_ns: int | None
    best_ns: int | None
    terms: tuple[dict[str, object], ...] = ()

    def as_json(self) -> dict[str, object]:
        """The shape in verdict.json."""
        return {
            "fault": self.trace.fault, "path": self.trace.path, "start_ns": self.trace.start_ns,
            "worst_stall_ns": self.worst_stall_ns, "longest_gap_ns": self.longest_gap_ns, "ios": self.ios,
            "bound_ns": self.bound_ns, "best_ns": self.best_ns,
            "terms": list(self.terms),
            "timeline": [{"what": mark.what, "t_ns": mark.t_ns} for mark in self.trace.marks],
        }


def fault_traces(events: Iterable[Event], end_ns: int, grace_ns: int) -> list[FaultTrace]:
    """Every fault of the journal with its timeline, in the order of cuts.

    Args:
        events: the journal.
        end_ns: the end of the run.
        grace_ns: how long after its heal a fault may still be noticed; what is noticed later has another cause.
    """
    by_path: dict[int, list[Event]] = {}
    for event in events:
        path = event.fields.get("path") if event.kind in (Kind.FAULT_INJECTED, Kind.FAULT_HEALED) else None
        number = path if isinstance(path, int) else path_of(event.source)
        if number is not None:
            by_path.setdefault(number, []).append(event)
    traces: list[FaultTrace] = []
    for path, records in by_path.items():
        records.sort(key=lambda event: (event.t_ns, event.seq))
        cuts = [index for index, event in enumerate(records) if event.kind is Kind.FAULT_INJECTED]
        for cut, following in pairwise([*cuts, len(records)]):
            until_ns = records[following].t_ns if following < len(records) else end_ns
            traces.append(_trace(path, records[cut:following], until_ns, grace_ns))
    return sorted(traces, key=lambda trace: (trace.start_ns, trace.path))


def _trace(path: int, records: Sequence[Event], until_ns: int, grace_ns: int) -> FaultTrace:
    cut = records[0]
    marks = [Mark("cut", cut.t_ns, cut.seq)]

    def first(what: str, after_ns: int, matches: Callable[[Event], bool]) -> int | None:
        for event in records[1:]:
            if event.t_ns >= after_ns and matches(event):
                marks.append(Mark(what, event.t_ns, event.seq))
                return event.t_ns
        return None

    healed = first("healed", cut.t_ns, lambda event: event.kind is Kind.FAULT_HEALED)
    noticed_by_ns = until_ns if healed is None else healed + grace_ns
    # A path checker may find a path faulty whose session is well: then that is the detection
    detected = first("detected", cut.t_ns, lambda event: event.t_ns <= noticed_by_ns and (
        event.kind in DETECTING or is_failure(event)))
    end_ns = until_ns
    if detected is not None:
        first("failed", detected, is_failure)
        first("fenced", detected, lambda event: event.kind is Kind.FENCE_COMPLETED)
        first("rerouted", detected, lambda event: event.kind is Kind.IO_REROUTED)
        reconnected = first("reconnected", detected, lambda event: event.kind is Kind.LOGIN_COMPLETED)
        # Without a login too: a path that a command has failed, but whose session went on, is back by its checker
        reinstated = first("reinstated", reconnected or detected, lambda event: event.kind is Kind.PATH_REINSTATED)
        if reinstated is not None:
            end_ns = max(reinstated, healed or reinstated)
    elif healed is not None:
        end_ns = healed  # ridden through without a loss: over when healed
    fault, expect = str(cut.fields.get("fault")), str(cut.fields.get("expect", "any"))
    return FaultTrace(fault, path, cut.t_ns, healed, end_ns, expect,
                      tuple(sorted(marks, key=lambda mark: (mark.t_ns, mark.seq))))


def is_failure(event: Event) -> bool:
    """Whether a path went out of use in its map by this event."""
    return event.kind is Kind.PATH_STATE_CHANGED and event.fields.get("new") in ("failed", "faulty")


@dataclass(frozen=True, slots=True)
class Outage:
    """A time without any path: all were under a fault, or not back from one.

    The first fault was healed at `first_heal_ns`, which is `start_ns` if that was before the last path was lost.
    """

    start_ns: int
    end_ns: int
    first_heal_ns: int


def outages(traces: Sequence[FaultTrace], paths: Sequence[int]) -> list[Outage]:
    """When no path was there, in the order of time."""
    found: list[Outage] = []
    for start_ns in sorted({trace.start_ns for trace in traces}):
        if found and start_ns <= found[-1].end_ns:
            continue
        away = [trace for trace in traces
                if trace.start_ns <= start_ns <= trace.end_ns and trace.expect != "ride-through"]
        if paths and {trace.path for trace in away} >= set(paths):
            first_heal_ns = min(trace.end_ns if trace.healed_ns is None else trace.healed_ns for trace in away)
            end_ns = min(trace.end_ns for trace in away)
            found.append(Outage(start_ns, end_ns, max(start_ns, first_heal_ns)))
    return found


def false_failovers(events: Iterable[Event], traces: Sequence[FaultTrace]) -> list[Event]:
    """Losses and failures of paths that no fault was on: outside every window of that path."""
    windows: dict[int, list[tuple[int, int]]] = {}
    for trace in traces:
        windows.setdefault(trace.path, []).append((trace.start_ns, trace.end_ns))
    wrong = []
    for event in events:
        if event.kind in (Kind.PING_TIMED_OUT, Kind.CONNECTION_LOST) or is_failure(event):
            path = path_of(event.source)
            if path is not None and not any(a <= event.t_ns <= b for a, b in windows.get(path, [])):
                wrong.append(event)
    return wrong
