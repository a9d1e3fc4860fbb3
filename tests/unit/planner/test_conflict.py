"""Conflicts are real and minimal: their goals are impossible together, and possible without any one of them."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.planner import arithmetic as own

from mpio.model.stack import TargetTimers
from mpio.planner.conflict import minimal
from mpio.planner.goals import Conflict, Goals, Plan
from mpio.planner.solve import solve


def refused(**wanted: Any) -> Conflict:
    found = solve(Goals(**wanted))
    assert isinstance(found, Conflict), found
    return found


@st.composite
def hard_goals(draw: st.DrawFn) -> Goals:
    """Goals that are often impossible."""
    cluster = draw(st.sampled_from(["none", "ocfs2", "sbd", "sanlock", "ncs", "pacemaker"]))
    pins: dict[str, object] = {
        "noop_out_interval": draw(st.integers(0, 15)), "noop_out_timeout": draw(st.integers(0, 15)),
        "fast_io_fail_tmo": draw(st.one_of(st.none(), st.integers(1, 60))), "no_path_retry": draw(st.integers(1, 15)),
        "polling_interval": draw(st.integers(1, 10)), "timeout": draw(st.integers(5, 60)),
        "replacement_timeout": draw(st.sampled_from([-1, 5, 120])),
    }
    pins |= {"ocfs2": {"o2cb.heartbeat_threshold": draw(st.integers(7, 40))},
             "sbd": {"sbd.watchdog": draw(st.integers(5, 40)), "sbd.msgwait": draw(st.integers(10, 90))},
             "sanlock": {"sanlock.io_timeout": draw(st.integers(2, 15))},
             "ncs": {"ncs.tolerance": draw(st.integers(4, 40))}}.get(cluster, {})
    fixed = {name: value for name, value in pins.items() if draw(st.integers(0, 2)) == 0}
    return Goals(
        max_stall_s=draw(st.one_of(st.none(), st.integers(2, 60))),
        ride_out_s=draw(st.one_of(st.none(), st.integers(5, 120))),
        takeover_s=draw(st.one_of(st.none(), st.integers(10, 150))), cluster=cluster,
        paths=draw(st.sampled_from([1, 2, 2, 4])), io_latency_max_s=draw(st.sampled_from([0, 0, 4, 20])),
        serial_failures=draw(st.booleans()), hung_lun=draw(st.booleans()), fixed=fixed,
    )


def only(goals: Goals, names: tuple[str, ...]) -> Goals:
    return goals.without(*(name for name in goals.stated() if name not in names))


ONE_PATH = Goals(cluster="sanlock", paths=1, io_latency_max_s=4, takeover_s=68, fixed={
    "noop_out_interval": 0, "noop_out_timeout": 0, "fast_io_fail_tmo": None, "no_path_retry": 1, "polling_interval": 1,
    "timeout": 5})
"""A second path would make it harder: with one there is no failover that the cluster has to sit out."""


@given(goals=hard_goals())
@example(goals=ONE_PATH)
@settings(max_examples=60, deadline=None)
def test_a_conflict_is_impossible_and_nothing_in_it_can_be_spared(goals: Goals) -> None:
    found = solve(goals)
    if isinstance(found, Plan):
        assert all(item.slack_ns >= 0 for item in found.constraints)
        return
    assert found.goals
    core = only(goals, found.goals)
    assert set(core.stated()) == set(found.goals)
    assert isinstance(solve(core), Conflict)
    for name in found.goals:
        assert isinstance(solve(core.without(name)), Plan), name


@given(goals=hard_goals(), name=st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_fewer_goals_are_never_harder(goals: Goals, name: int) -> None:
    stated = goals.stated()
    if stated and isinstance(solve(goals), Plan):
        assert isinstance(solve(goals.without(stated[name % len(stated)])), Plan)


@given(max_stall=st.integers(3, 40), latency=st.integers(2, 40))
@settings(max_examples=60, deadline=None)
def test_stall_and_latency_conflict_exactly_where_arithmetic_says(max_stall: int, latency: int) -> None:
    shortest = min(own.path_stall(interval, latency + 1 - interval, 1, 250, 15) for interval in range(1, latency + 1))
    found = solve(Goals(max_stall_s=max_stall, io_latency_max_s=latency))
    assert isinstance(found, Conflict) == (shortest > max_stall * own.NS)
    if isinstance(found, Conflict):
        alone = own.path_stall(1, 1, 1, 250, 15) > max_stall * own.NS
        assert found.goals == (("max_stall_s",) if alone else ("max_stall_s", "io_latency_max_s"))
        assert f"max_stall {-(-shortest // own.NS)} s in place of {max_stall} s" in found.ways_out or alone


def test_words_and_ways_out_of_too_short_a_stall() -> None:
    found = refused(max_stall_s=5)
    assert found.goals == ("max_stall_s",)
    assert found.words == "impossible by itself: no path failure stalls I/O for more than 5 s"
    assert found.ways_out == (
        "max_stall 6 s in place of 5 s", "a target that does not ping by itself (LIO: nopin_timeout 0)")
    assert isinstance(solve(Goals(max_stall_s=5, target=TargetTimers(nopin_interval=0))), Plan)


def test_ways_out_lead_out() -> None:
    wanted: dict[str, Any] = {"max_stall_s": 30, "ride_out_s": 60, "fixed": {"no_path_retry": 5, "polling_interval": 5}}
    found = refused(**wanted)
    assert set(found.goals) == {"max_stall_s", "ride_out_s", "no_path_retry", "polling_interval"}
    assert found.ways_out == (
        "max_stall 63 s in place of 30 s", "ride_out 27 s in place of 60 s", "no_path_retry 16 in place of 5",
        "polling_interval 22 in place of 5")
    assert isinstance(solve(Goals(**wanted | {"max_stall_s": 63})), Plan)
    assert isinstance(solve(Goals(**wanted | {"max_stall_s": 62})), Conflict)
    assert isinstance(solve(Goals(**wanted | {"ride_out_s": 27})), Plan)
    assert isinstance(solve(Goals(**wanted | {"ride_out_s": 28})), Conflict)


@pytest.mark.parametrize(("wanted", "goals", "way"), [
    ({"max_stall_s": 10, "paths": 1}, ("max_stall_s", "paths"), "a second path"),
    ({"cluster": "ocfs2", "fixed": {"o2cb.heartbeat_threshold": 5, "noop_out_interval": 5}},
     ("cluster", "o2cb.heartbeat_threshold", "noop_out_interval"), "no ocfs2 above this storage"),
    ({"cluster": "sbd", "fixed": {"sbd.watchdog": 7}}, ("cluster", "sbd.watchdog"), "sbd.watchdog 35 in place of 7"),
    ({"cluster": "ncs", "fixed": {"no_path_retry": "queue"}}, ("cluster", "no_path_retry"),
     "no_path_retry fail in place of queue"),
    ({"max_stall_s": 15, "paths": 4, "serial_failures": True}, ("max_stall_s", "serial_failures"),
     "count on one path failing at a time"),
    ({"max_stall_s": 7, "hung_lun": True}, ("max_stall_s", "hung_lun"),
     "leave out LUNs that hang while their target answers pings"),
    ({"cluster": "sanlock", "takeover_s": 60}, ("takeover_s", "cluster"), "takeover 76 s in place of 60 s"),
])
def test_kinds_of_conflict(wanted: dict[str, Any], goals: tuple[str, ...], way: str) -> None:
    found = refused(**wanted)
    assert set(found.goals) == set(goals)
    assert way in found.ways_out


@given(st.sets(st.integers(0, 6), min_size=1), st.sets(st.sets(st.integers(0, 6)).map(frozenset), max_size=5))
def test_minimal_set_of_any_monotone_impossibility(first: set[int], others: set[frozenset[int]]) -> None:
    """Impossible is whatever contains one of some sets; what is found is one of them that has no other in it."""
    names = ("noop_out_interval", "noop_out_timeout", "timeout", "login_timeout", "abort_timeout", "max_retries",
             "polling_interval")
    cores = [{names[i] for i in core} for core in (first, *others)]
    goals = Goals(fixed=dict.fromkeys(names, 1))

    def is_impossible(reduced: Goals) -> bool:
        return any(core <= set(reduced.stated()) for core in cores)

    found = set(minimal(goals, is_impossible))
    assert found in cores
    assert not any(core < found for core in cores)
