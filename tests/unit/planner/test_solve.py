"""Plans against arithmetic of the tests' own: every answer keeps every goal, and none that is better does."""

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.planner import arithmetic as own

from mpio.model.cluster import LinuxHa, Ncs, O2cb, Sanlock, Sbd
from mpio.model.stack import TargetTimers
from mpio.planner.goals import Conflict, Goals, Plan
from mpio.planner.solve import solve

NS = own.NS
HZ = st.sampled_from([100, 250, 300, 1000])
LATENCIES = st.sampled_from([0.0, 0.0, 0.5, 3.0, 12.0, 25.5])


def planned(**wanted: Any) -> Plan:
    found = solve(Goals(**wanted))
    assert isinstance(found, Plan), found
    return found


def refused(**wanted: Any) -> Conflict:
    found = solve(Goals(**wanted))
    assert isinstance(found, Conflict), found
    return found


def stall_of(plan: Plan) -> int:
    stack, target = plan.stack, plan.goals.target
    assert stack.fast_io_fail_tmo is not None
    return own.path_stall(stack.noop_out_interval, stack.noop_out_timeout, stack.fast_io_fail_tmo, stack.hz,
                          target.nopin_interval)


# --- pings and recovery: against all there are

Triple = tuple[int, int, int]


def best_of_all(goals: Goals, limit: int | None) -> Triple | None:
    """Every interval, timeout and recovery in turn, the best by the order that `solve` states."""
    least = max(2, math.floor(goals.io_latency_max_s) + 1)
    longest = max(10, least)
    login = own.login(2, goals.target.login_exchange)
    wished = max(5, math.ceil(login / NS))
    ranked: list[tuple[tuple[object, ...], Triple]] = []
    for total in range(least, longest + 1):
        for interval in range(1, total):
            for recovery in range(1, wished + 1):
                triple = interval, total - interval, recovery
                if limit is not None and own.path_stall(*triple, goals.hz, goals.target.nopin_interval) > limit:
                    continue
                patient = recovery * NS >= login
                rank = (not patient, longest - total, abs(recovery - (wished if patient else 5)),
                        abs(total - 2 * interval), interval)
                ranked.append((rank, triple))
    return min(ranked)[1] if ranked else None


def triple_of(plan: Plan) -> Triple:
    assert plan.stack.fast_io_fail_tmo is not None
    return plan.stack.noop_out_interval, plan.stack.noop_out_timeout, plan.stack.fast_io_fail_tmo


@given(max_stall=st.integers(1, 90), latency=LATENCIES, hz=HZ, nopin=st.sampled_from([0.0, 5.0, 15.0]),
       exchange=st.sampled_from([0.0, 0.1, 2.5]))
@settings(max_examples=70, deadline=None)
@example(max_stall=20, latency=0.0, hz=250, nopin=15.0, exchange=0.1)
def test_no_other_pings_are_better(max_stall: int, latency: float, hz: int, nopin: float, exchange: float) -> None:
    target = TargetTimers(nopin_interval=nopin, login_exchange=exchange)
    goals = Goals(max_stall_s=max_stall, io_latency_max_s=latency, hz=hz, target=target)
    found, best = solve(goals), best_of_all(goals, max_stall * NS)
    assert (triple_of(found) if isinstance(found, Plan) else None) == best


@given(threshold=st.integers(3, 60), latency=LATENCIES, hz=HZ)
@settings(max_examples=80, deadline=None)
def test_no_other_pings_are_better_below_a_given_threshold(threshold: int, latency: float, hz: int) -> None:
    goals = Goals(cluster="ocfs2", fixed={"o2cb.heartbeat_threshold": threshold}, io_latency_max_s=latency, hz=hz)
    limit = (2 * (threshold - 1) - 2) * NS - round(latency * NS)
    found = solve(goals)
    assert (triple_of(found) if isinstance(found, Plan) else None) == best_of_all(goals, limit)


@given(takeover=st.integers(10, 160), max_stall=st.one_of(st.none(), st.integers(6, 60)), hz=HZ)
@settings(max_examples=80, deadline=None)
def test_threshold_is_the_recommended_one_as_far_as_takeover_allows(
    takeover: int, max_stall: int | None, hz: int
) -> None:
    goals = Goals(cluster="ocfs2", takeover_s=takeover, max_stall_s=max_stall, hz=hz)
    highest = (takeover - 2) // 2  # declared dead after 2 T + 2 s at the latest
    limit = (2 * (highest - 1) - 2) * NS
    found = solve(goals)
    if isinstance(found, Conflict):
        assert highest < 7 or best_of_all(goals, min(limit, NS * (max_stall or 10**6))) is None
        return
    assert triple_of(found) == best_of_all(goals, min(limit, NS * (max_stall or 10**6)))
    assert found.clusters == (O2cb(heartbeat_threshold=min(highest, own.o2cb_recommended(stall_of(found)))),)


def among(fixed: dict[str, int], name: str) -> list[int]:
    return [fixed[name]] if name in fixed else list(range(1, 13))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_fixed_stays_and_the_rest_is_the_best_beside_it(data: st.DataObject) -> None:
    names = ["noop_out_interval", "noop_out_timeout", "fast_io_fail_tmo"]
    fixed = {name: data.draw(st.integers(1, 12), name) for name in names if data.draw(st.booleans())}
    max_stall = data.draw(st.integers(4, 60), "max_stall")
    found = solve(Goals(max_stall_s=max_stall, fixed=fixed))
    able = [
        (interval, timeout, recovery)
        for interval in among(fixed, "noop_out_interval") for timeout in among(fixed, "noop_out_timeout")
        for recovery in among(fixed, "fast_io_fail_tmo")
        if own.path_stall(interval, timeout, recovery, 250, 15) <= max_stall * NS
    ]
    assert isinstance(found, Plan) == bool(able)
    if isinstance(found, Plan):
        assert triple_of(found) in able
        assert all(getattr(found.stack, name) == value for name, value in fixed.items())
        patient = [triple for triple in able if triple[2] >= 5]
        assert not patient or triple_of(found)[2] >= 5


# --- outages

@given(outage=st.integers(31, 600), login=st.integers(2, 40), polling=st.integers(1, 30), linear=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_queue_is_the_shortest_that_lasts_through_the_outage(
    outage: int, login: int, polling: int, linear: bool
) -> None:
    kernel = (6, 12) if linear else (6, 1)
    plan = planned(ride_out_s=outage, kernel=kernel, fixed={"login_timeout": login, "polling_interval": polling})
    needed = own.outage_end(outage, 5, login, polling, linear=linear)
    retries = plan.stack.no_path_retry
    assert isinstance(retries, int)
    assert own.patience(5, retries, polling) >= needed > own.patience(5, retries - 1, polling)


@given(outage=st.integers(31, 200), retries=st.integers(2, 40), max_stall=st.integers(20, 120))
@settings(max_examples=60, deadline=None)
def test_with_a_given_queue_polls_and_recovery_make_up_for_it(outage: int, retries: int, max_stall: int) -> None:
    """Some polling and recovery last through the outage if and only if the solver finds some."""
    fixed = {"no_path_retry": retries, "noop_out_interval": 5, "noop_out_timeout": 5}
    found = solve(Goals(ride_out_s=outage, max_stall_s=max_stall, fixed=fixed))
    able = [
        (recovery, polling)
        for polling in range(1, 31) for recovery in range(1, max_stall)
        if own.path_stall(5, 5, recovery, 250, 15) <= max_stall * NS
        and own.patience(recovery, retries, polling) >= own.outage_end(outage, recovery, 3, polling)
    ]
    assert isinstance(found, Plan) == bool(able)
    if isinstance(found, Plan):
        nearest = min(abs(recovery - 5) for recovery, _ in able)
        assert abs(triple_of(found)[2] - 5) == nearest
        assert (triple_of(found)[2], found.stack.polling_interval) in able


def test_an_outage_of_novell_clusters_is_carried_by_the_wait_for_the_session() -> None:
    plan = planned(cluster="ncs", ride_out_s=60)
    assert plan.stack.no_path_retry == "fail"
    recovery = triple_of(plan)[2]
    polling, login = plan.stack.polling_interval, plan.stack.login_timeout
    assert recovery * NS >= own.outage_end(60, recovery, login, polling)
    assert (recovery - 1) * NS < own.outage_end(60, recovery - 1, login, polling)


# --- clusters

@given(kind=st.sampled_from(["sbd", "sanlock", "ncs"]), max_stall=st.one_of(st.none(), st.integers(7, 60)),
       ride_out=st.one_of(st.none(), st.integers(31, 120)), serial=st.booleans(), hz=HZ)
@settings(max_examples=70, deadline=None)
def test_clusters_stand_what_storage_does(
    kind: str, max_stall: int | None, ride_out: int | None, serial: bool, hz: int
) -> None:
    goals = Goals(cluster=kind, max_stall_s=max_stall, ride_out_s=ride_out, serial_failures=serial, paths=3, hz=hz)
    plan = solve(goals)
    if isinstance(plan, Conflict):
        assert max_stall is not None
        assert serial or ride_out is not None
        return
    stall = stall_of(plan) * (2 if serial else 1)
    assert max_stall is None or stall <= max_stall * NS
    stack = plan.stack
    if ride_out is not None:
        retries = stack.no_path_retry if isinstance(stack.no_path_retry, int) else 0
        end = own.outage_end(ride_out, triple_of(plan)[2], stack.login_timeout, stack.polling_interval)
        assert own.patience(triple_of(plan)[2], retries, stack.polling_interval) >= end
        stall = max(stall, end)
    for cluster in plan.clusters:
        match cluster:
            case Sbd():
                assert own.sbd_stands(cluster.watchdog, stall)
                assert cluster.msgwait >= max(2 * cluster.watchdog, cluster.watchdog + 6)
                assert stack.polling_interval_max < cluster.watchdog
            case Sanlock():
                assert own.sanlock_stands(cluster.io_timeout, stall)
                assert isinstance(stack.no_path_retry, int)
                waits = stack.no_path_retry * stack.polling_interval
                assert 8 * cluster.io_timeout - stack.polling_interval < waits <= 8 * cluster.io_timeout
            case Ncs():
                assert own.ncs_stands(cluster.tolerance, cluster.heartbeat, stall)
                assert own.ncs_stands(cluster.slave_watchdog, cluster.master_watchdog, stall)
                assert stack.no_path_retry == "fail"


@pytest.mark.parametrize(("kind", "wanted"), [
    ("ocfs2", O2cb(heartbeat_threshold=26)), ("ncs", Ncs(tolerance=32, slave_watchdog=32)), ("sanlock", Sanlock()),
    ("heartbeat", LinuxHa(warntime=22, deadtime=44, initdead=120)),
])
def test_plan_for_a_stall_of_20_s(kind: str, wanted: object) -> None:
    plan = planned(max_stall_s=20, cluster=kind)
    assert triple_of(plan) == (2, 5, 5)
    assert plan.clusters == (wanted,)


# --- everything that is left

@given(max_stall=st.integers(20, 400), hz=HZ)
@settings(max_examples=60, deadline=None)
def test_a_hung_lun_is_given_up_in_time(max_stall: int, hz: int) -> None:
    found = solve(Goals(max_stall_s=max_stall, hung_lun=True, hz=hz))
    if isinstance(found, Conflict):
        assert max_stall < 25
        return
    stack = found.stack
    hung = 3 * (stack.timeout * NS + own.lateness(stack.timeout, hz))
    dropped = (hung + stack.abort_timeout * NS + own.lateness(stack.abort_timeout, hz) + triple_of(found)[2] * NS
               + own.lateness(triple_of(found)[2], hz) + own.REISSUE)
    assert stack.max_retries == 0
    assert dropped <= max_stall * NS
    assert stack.timeout > stack.noop_out_timeout


def test_every_decided_setting_has_a_reason_and_every_constraint_slack() -> None:
    plan = planned(max_stall_s=20, ride_out_s=60, cluster="sbd", io_latency_max_s=2)
    assert {"noop_out_interval", "fast_io_fail_tmo", "no_path_retry", "sbd.watchdog", "sbd.msgwait",
            "corosync.stonith_timeout"} <= set(plan.reasons)
    assert all(words.endswith(".") for words in plan.reasons.values())
    assert all(item.slack_ns >= 0 for item in plan.constraints)
    assert {item.goal for item in plan.constraints} >= {"max_stall_s", "ride_out_s", "io_latency_max_s", "cluster"}


def test_a_shorter_recovery_than_a_login_is_told() -> None:
    plan = planned(max_stall_s=7)
    assert triple_of(plan)[2] < 5
    assert any("restart of target or iscsid" in note for note in plan.notes)


def test_an_outage_that_only_negotiation_carries_is_told() -> None:
    told = "A node that alone loses all its paths for longer is fenced."
    plan = planned(max_stall_s=20, ride_out_s=60, cluster="ocfs2")
    assert any(note.endswith(told) for note in plan.notes)
    assert "19.98 s" in plan.reasons["o2cb.heartbeat_threshold"]
    old = planned(max_stall_s=20, ride_out_s=60, cluster="ocfs2", kernel=(4, 4))
    assert not any(note.endswith(told) for note in old.notes)
    assert isinstance(old.clusters[0], O2cb)
    end = own.outage_end(60, 5, 15, 5)
    assert own.o2cb_stands(old.clusters[0].heartbeat_threshold, end)


def test_one_path_is_told_and_its_outage_ridden_out() -> None:
    plan = planned(paths=1, ride_out_s=60)
    assert any("one path only" in note for note in plan.notes)
    assert plan.stack.no_path_retry == 16


def test_pings_that_are_fixed_at_0_leave_it_to_the_command_timeout() -> None:
    plan = planned(max_stall_s=40, fixed={"noop_out_interval": 0})
    stack = plan.stack
    assert (stack.noop_out_interval, stack.noop_out_timeout) == (0, 0)
    stall = (2 * (stack.timeout * NS + own.lateness(stack.timeout, 250)) + stack.abort_timeout * NS
             + own.lateness(stack.abort_timeout, 250) + 5 * NS + own.lateness(5, 250) + own.REISSUE)
    assert stall <= 40 * NS


def test_multipathd_that_checks_failed_paths_late_gets_equal_intervals() -> None:
    assert planned(multipath_tools=(0, 11, 1), ride_out_s=60).stack.max_polling_interval == 5
    assert planned(multipath_tools=(0, 11, 2), ride_out_s=60).stack.max_polling_interval is None


@pytest.mark.parametrize(("wanted", "words"), [
    ({"max_stall_s": 0}, "max_stall_s: expected more than 0 to 86400 s, found 0"),
    ({"ride_out_s": math.nan}, "ride_out_s: expected more than 0"),
    ({"io_latency_max_s": -1}, "io_latency_max_s: expected 0 to 86400 s, found -1"),
    ({"cluster": "veritas"}, "cluster: expected one of none, ocfs2"),
    ({"nodes": 0}, "nodes: expected 1 to 255, found 0"),
    ({"paths": 65}, "paths: expected 1 to 64, found 65"),
    ({"fixed": {"noop": 1}}, "noop: a plan for cluster none has no such setting"),
    ({"fixed": {"sbd.watchdog": 1}}, "sbd.watchdog: a plan for cluster none has no such setting"),
    ({"fixed": {"timeout": -1}}, "timeout: expected a whole number from 0 to 2147483647; found -1"),
    ({"fixed": {"timeout": 1.5}}, "timeout: expected a whole number"),
    ({"fixed": {"no_path_retry": "never"}}, "no_path_retry: expected fail, queue, a whole number"),
    ({"fixed": {"multipath": 1}}, "multipath: expected yes or no, found 1"),
    ({"fixed": {"path_selector": 1}}, "path_selector: expected text, found 1"),
    ({"fixed": {"hz": 100}}, "hz: a plan for cluster none has no such setting"),
])
def test_goals_that_make_no_sense(wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Goals(**wanted)
    assert str(caught.value).startswith(words)
