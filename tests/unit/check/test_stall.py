"""Stalls, timelines, outages and false failovers from journals and I/O times; bounds of faults that come together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.check.bounds import Bounds, measure
from mpio.check.stall import FaultTrace, IoTimes, Outage, false_failovers, fault_traces, outages, path_of
from mpio.events import Event, Journal, Kind
from mpio.model.settings import FAST, LINUX
from mpio.planner.stall import REISSUE_NS, stall_bound
from mpio.units import seconds as s

END = s(100)


@pytest.mark.parametrize(("source", "path"), [
    ("map:disk0/path:1", 1), ("host:a/map:b/path:12/session:3", 12), ("path:4", 4), ("map:path", None), ("drill", None),
    ("map:x/mypath:3", None),
])
def test_paths_in_sources(source: str, path: int | None) -> None:
    assert path_of(source) == path


# --- I/O times

def times(*pairs: tuple[int, int]) -> IoTimes:
    log = IoTimes()
    for start, end in pairs:
        log.add(start, end)
    return log


def test_the_stall_counts_from_the_cut() -> None:
    log = times((0, 3), (5, 40), (12, 90), (95, 99), (200, 500))
    assert log.worst_stall_ns(10, 100) == 90 - 12
    assert log.worst_stall_ns(30, 100) == 60  # the part before the cut is not the fault's
    assert log.worst_stall_ns(100, 150) == 0
    assert log.overlapping(10, 100) == 3
    assert log.ended_between(10, 100) == 3
    assert log.longest_gap_ns(10, 100) == 90 - 40
    assert log.longest_gap_ns(100, 190) == 0  # nothing was outstanding
    assert log.latencies_ns() == [3, 4, 35, 78, 300]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 50)), max_size=30), st.integers(0, 100),
       st.integers(1, 60))
def test_stalls_and_gaps_as_defined(ios: list[tuple[int, int]], start: int, length: int) -> None:
    pairs = [(begin, begin + took) for begin, took in ios]
    log = times(*pairs)
    end = start + length
    touched = [(a, b) for a, b in pairs if a < end and b > start]
    assert log.worst_stall_ns(start, end) == max((b - max(a, start) for a, b in touched), default=0)
    assert log.overlapping(start, end) == len(touched)
    assert log.longest_gap_ns(start, end) <= log.worst_stall_ns(start, end)


# --- timelines

Record = tuple[float, str, Kind, dict[str, object]]


def story(*records: Record) -> list[Event]:
    journal = Journal()
    for at, source, kind, fields in records:
        journal.record(s(at), source, kind, **fields)  # type: ignore[arg-type]
    return list(journal)


def cut(at: float, path: int, fault: str = "blackhole", expect: str = "failover") -> Record:
    return at, "drill", Kind.FAULT_INJECTED, {"fault": fault, "path": path, "how": "", "expect": expect}


def heal(at: float, path: int) -> Record:
    return at, "drill", Kind.FAULT_HEALED, {"fault": "blackhole", "path": path}


def on(at: float, path: int, kind: Kind, **fields: object) -> Record:
    return at, f"map:d/path:{path}", kind, fields


FAILOVER = (
    on(0.5, 1, Kind.LOGIN_COMPLETED), cut(1, 1), on(1.7, 2, Kind.CONNECTION_LOST), on(1.75, 1, Kind.PING_TIMED_OUT),
    on(1.75, 1, Kind.CONNECTION_LOST), on(1.75, 1, Kind.PATH_STATE_CHANGED, old="up", new="failed"),
    on(1.8, 1, Kind.FENCE_COMPLETED, method="reinstate"), on(1.81, 1, Kind.IO_REROUTED, count=3), heal(4, 1),
    on(4.2, 1, Kind.LOGIN_COMPLETED), on(4.2, 1, Kind.PATH_REINSTATED))


def test_the_timeline_of_a_failover() -> None:
    (trace,) = fault_traces(story(*FAILOVER), END, s(1))
    assert [(mark.what, mark.t_ns) for mark in trace.marks] == [
        ("cut", s(1)), ("detected", s(1.75)), ("failed", s(1.75)), ("fenced", s(1.8)), ("rerouted", s(1.81)),
        ("healed", s(4)), ("reconnected", s(4.2)), ("reinstated", s(4.2))]
    assert (trace.path, trace.fault, trace.healed_ns, trace.end_ns) == (1, "blackhole", s(4), s(4.2))


def test_a_fault_ends_with_the_next_one_or_with_the_run() -> None:
    first, second, third = fault_traces(story(cut(1, 1), heal(2, 1), cut(3, 1), cut(5, 2)), END, s(1))
    assert (first.end_ns, second.end_ns, third.end_ns) == (s(2), END, END)  # ridden through; never healed
    assert first.at("detected") is None
    flap = fault_traces(story(cut(1, 1), on(1.1, 1, Kind.CONNECTION_LOST), heal(2, 1), cut(3, 1)), END, s(1))
    assert flap[0].end_ns == s(3)


def test_a_path_that_is_back_before_the_heal() -> None:
    (trace,) = fault_traces(story(
        cut(1, 1, "half_open"), on(1.1, 1, Kind.CONNECTION_LOST), on(1.3, 1, Kind.LOGIN_COMPLETED),
        on(1.3, 1, Kind.PATH_REINSTATED), heal(4, 1)), END, s(1))
    assert trace.end_ns == s(4)
    assert trace.at("reinstated") == s(1.3)


def test_a_fault_that_only_the_path_checker_notices() -> None:
    (trace,) = fault_traces(story(
        cut(1, 1, "hang"), on(2, 1, Kind.PATH_STATE_CHANGED, old="up", new="faulty"), heal(4, 1),
        on(4.5, 1, Kind.PATH_STATE_CHANGED, old="faulty", new="up"), on(4.5, 1, Kind.PATH_REINSTATED)), END, s(1))
    assert (trace.at("detected"), trace.at("failed"), trace.at("reconnected")) == (s(2), s(2), None)
    assert (trace.at("reinstated"), trace.end_ns) == (s(4.5), s(4.5))


def test_false_failovers_are_those_outside_of_every_fault() -> None:
    events = story(*FAILOVER, on(6, 1, Kind.PING_TIMED_OUT))
    traces = fault_traces(events, END, s(1))
    assert [(event.source, event.t_ns) for event in false_failovers(events, traces)] == [
        ("map:d/path:2", s(1.7)), ("map:d/path:1", s(6))]


def test_a_fault_may_be_noticed_shortly_after_its_heal() -> None:
    events = story(cut(1, 1), heal(1.5, 1), on(2.4, 1, Kind.CONNECTION_LOST))
    (soon,) = fault_traces(events, END, s(1))
    assert soon.at("detected") == s(2.4)
    assert false_failovers(events, [soon]) == []
    events = story(cut(1, 1), heal(1.5, 1), on(2.6, 1, Kind.CONNECTION_LOST))
    (late,) = fault_traces(events, END, s(1))
    assert late.at("detected") is None
    assert len(false_failovers(events, [late])) == 1


# --- outages and bounds

def trace(path: int, start: float, healed: float, back: float, *, fault: str = "blackhole", expect: str = "failover",
          ) -> FaultTrace:
    return FaultTrace(fault, path, s(start), s(healed), s(back), expect)


def test_outages() -> None:
    assert outages([trace(1, 1, 5, 6), trace(2, 7, 8, 9)], (1, 2)) == []
    assert outages([trace(1, 1, 5, 6), trace(2, 3, 8, 9)], (1, 2)) == [Outage(s(3), s(6), s(5))]
    assert outages([trace(1, 1, 2, 6), trace(2, 3, 8, 9)], (1, 2)) == [Outage(s(3), s(6), s(3))]  # healed, not back
    both = [trace(1, 1, 5, 6), trace(2, 1, 5, 5.5)]
    assert outages(both, (1, 2)) == [Outage(s(1), s(5.5), s(5))]
    assert outages(both, (1, 2, 3)) == []
    assert outages([trace(1, 1, 5, 6, expect="ride-through"), trace(2, 1, 5, 6)], (1, 2)) == []


def bound(settings: object, traces: list[FaultTrace], paths: tuple[int, ...] = (1, 2)) -> list[int | None]:
    bounds = Bounds(settings, traces, paths, writes=True)  # type: ignore[arg-type]
    limits = [bounds.stall(item) for item in traces]
    return [None if limit is None else limit.worst_ns for limit in limits]


def test_a_single_fault_has_the_planners_bound() -> None:
    assert bound(FAST, [trace(1, 1, 5, 6)]) == [stall_bound(FAST).worst_ns]
    assert bound(FAST, [trace(1, 1, 1, 2, fault="reset")]) == [stall_bound(FAST, "reset").worst_ns]
    assert bound(FAST, [trace(1, 1, 5, 6), trace(2, 20, 25, 26)]) == [stall_bound(FAST).worst_ns] * 2
    assert bound(LINUX.replace(fast_io_fail_tmo=None, replacement_timeout=-1), [trace(1, 1, 5, 6)]) == [None]


def test_an_outage_has_the_bound_of_its_length() -> None:
    expected = stall_bound(FAST, "outage", outage_ns=s(4)).worst_ns
    assert bound(FAST, [trace(1, 1, 5, 5.2), trace(2, 1, 5, 5.3)]) == [expected] * 2
    later = bound(FAST, [trace(1, 1, 5, 5.2), trace(2, 3, 5, 5.3)])
    assert later == [stall_bound(FAST, "outage", outage_ns=s(2)).worst_ns] * 2


def test_what_nothing_can_fence_waits_for_its_own_path() -> None:
    traces = [trace(1, 1, 5, 6), trace(2, 20, 20, 21, fault="reset")]
    bounds = Bounds(FAST, traces, (1, 2), writes=True, unfenced=[1, 2])
    limits = [bounds.stall(item) for item in traces]
    assert [limit.worst_ns for limit in limits if limit is not None] == [
        stall_bound(FAST, "outage", outage_ns=s(4), writes=False).worst_ns,
        stall_bound(FAST, "outage", outage_ns=0, writes=False).worst_ns]
    for settings, writes in ((FAST.replace(fence="none"), True), (FAST, False)):
        limit = Bounds(settings, traces, (1, 2), writes=writes, unfenced=[1, 2]).stall(traces[0])
        assert limit is not None
        assert limit.worst_ns == stall_bound(settings, writes=False).worst_ns


def test_faults_that_follow_closely_add_up() -> None:
    single = stall_bound(FAST).worst_ns
    assert single is not None
    first, second = bound(FAST, [trace(1, 1, 5, 6), trace(2, 1.5, 5, 6)], (1, 2, 3))
    assert first == second == s(0.5) + single
    same_time = bound(FAST, [trace(1, 1, 5, 6), trace(2, 1, 5, 6)], (1, 2, 3))
    assert same_time == [single + REISSUE_NS] * 2


def test_the_terms_of_every_bound_sum_to_it() -> None:
    traces = [trace(1, 1, 5, 6), trace(2, 1.5, 5, 6), trace(3, 1.6, 1.6, 2, fault="reset"), trace(1, 20, 30, 31),
              trace(2, 20, 30, 31), trace(3, 22, 22, 23, fault="reset")]
    for stall in measure(traces, times((s(1), s(1.9))), Bounds(FAST, traces, (1, 2, 3), writes=True)):
        assert stall.bound_ns == sum(term["value_ns"] for term in stall.terms)  # type: ignore[misc]
        assert stall.as_json()["bound_ns"] == stall.bound_ns


def test_what_is_ridden_through_has_no_bound() -> None:
    (stall,) = measure([trace(1, 1, 5, 6, fault="delay", expect="ride-through")], times((s(1), s(2))),
                       Bounds(FAST, [], (1, 2), writes=True))
    assert stall.bound_ns is None
    assert stall.worst_stall_ns == s(1)
