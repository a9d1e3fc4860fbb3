"""What the search rests on: along each setting stalls and patience only grow, so halving misses nothing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpio.model.cluster import O2cb, Sbd
from mpio.model.stack import LinuxStack, TargetTimers
from mpio.planner import promise
from mpio.planner.cluster import Storage
from mpio.planner.fit import Fitter, greatest
from mpio.planner.goals import Goals, changed, settable, setting
from mpio.planner.linux import predict
from mpio.units import NS_PER_S

SECONDS = st.integers(1, 200)
stacks = st.builds(
    LinuxStack, noop_out_interval=SECONDS, noop_out_timeout=SECONDS, fast_io_fail_tmo=SECONDS,
    replacement_timeout=SECONDS, login_timeout=st.integers(1, 60), logout_timeout=st.integers(1, 15),
    timeout=st.integers(1, 120), abort_timeout=st.integers(1, 30), max_retries=st.integers(0, 5),
    polling_interval=st.integers(1, 30), no_path_retry=st.one_of(st.just("fail"), st.integers(1, 60)),
    hz=st.sampled_from([100, 250, 300, 1000]), kernel=st.sampled_from([(3, 10), (4, 4), (5, 4), (6, 1), (6, 12)]),
    multipath_tools=st.sampled_from([(0, 4, 9), (0, 7, 9), (0, 9, 4), (0, 11, 1), (0, 14, 3)]),
)
targets = st.builds(
    TargetTimers, nopin_interval=st.sampled_from([0, 5, 15, 60]), nopin_response=st.sampled_from([5, 30]))
wishes = st.builds(
    Goals, target=targets, ride_out_s=st.integers(1, 300), hung_lun=st.booleans(), serial_failures=st.booleans(),
    paths=st.integers(2, 4),
)


def longest(goals: Goals, stack: LinuxStack) -> int:
    budgets = [*promise.stalls(goals, stack).values()]
    in_turn = promise.serial(goals, stack)
    worst = promise.longest(*budgets, *([in_turn] if in_turn else [])).worst_ns
    assert worst is not None
    return worst


@given(goals=wishes, stack=stacks)
@settings(max_examples=200, deadline=None)
def test_no_path_failure_outlasts_those_that_are_looked_at(goals: Goals, stack: LinuxStack) -> None:
    most = longest(Goals(target=goals.target), stack)
    for scenario in promise.PATH_FAILURES:
        worst = predict(stack, goals.target, scenario).worst_ns
        assert worst is not None
        assert worst <= most


@pytest.mark.parametrize("name", ["noop_out_interval", "noop_out_timeout", "fast_io_fail_tmo", "replacement_timeout",
                                  "timeout", "abort_timeout", "max_retries", "logout_timeout"])
@given(goals=wishes, stack=stacks.filter(lambda stack: stack.no_path_retry == "fail"), more=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_stalls_only_grow(name: str, goals: Goals, stack: LinuxStack, more: int) -> None:
    longer: Any = getattr(stack, name) + more
    assert longest(goals, stack.replace(**{name: longer})) >= longest(goals, stack)


def slack_ns(goals: Goals, stack: LinuxStack) -> int:
    found = [item.slack_ns for item in promise.outages(goals, stack)]
    return min(value for value in found if value is not None)


@given(goals=wishes, stack=stacks)
@settings(max_examples=150, deadline=None)
def test_a_queue_adds_itself_to_patience_and_to_nothing_else(goals: Goals, stack: LinuxStack) -> None:
    queue_ns, waits_ns = promise.queue_ns(stack), promise.recovery_ns(stack)
    assert queue_ns is not None
    assert waits_ns is not None
    bare = stack.replace(no_path_retry="fail", fast_io_fail_tmo=None, replacement_timeout=waits_ns // NS_PER_S)
    assert slack_ns(goals, stack) == slack_ns(goals, bare) + queue_ns


@given(goals=wishes, stack=stacks, more=st.integers(1, 100))
@settings(max_examples=150, deadline=None)
def test_a_longer_recovery_adds_itself_to_patience_at_least(goals: Goals, stack: LinuxStack, more: int) -> None:
    bare = stack.replace(no_path_retry="fail", fast_io_fail_tmo=None)
    longer = bare.replace(replacement_timeout=bare.replacement_timeout + more)
    assert slack_ns(goals, longer) >= slack_ns(goals, bare) + more * NS_PER_S


@given(goals=wishes, stack=stacks, less=st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_a_shorter_login_timeout_never_makes_an_outage_longer(goals: Goals, stack: LinuxStack, less: int) -> None:
    shorter = stack.replace(login_timeout=max(1, stack.login_timeout - less))
    ends = [[item.budget.worst_ns or 0 for item in promise.outages(goals, each)] for each in (shorter, stack)]
    assert max(ends[0]) <= max(ends[1])


@given(goals=wishes, stack=stacks)
@settings(max_examples=150, deadline=None)
def test_the_shortest_pings_make_no_outage_harder(goals: Goals, stack: LinuxStack) -> None:
    shortest = stack.replace(noop_out_interval=1, noop_out_timeout=1)
    assert slack_ns(goals, shortest) >= min(slack_ns(goals, stack), 0)


@given(goals=wishes, stack=stacks.filter(lambda stack: stack.no_path_retry != 1))
@settings(max_examples=100, deadline=None)
def test_patience_less_outage_goes_one_way_along_polling(goals: Goals, stack: LinuxStack) -> None:
    """So its greatest value is at one of the ends."""
    plain = stack.replace(multipath_tools=(0, 9, 4))
    slacks = [slack_ns(goals, plain.replace(polling_interval=value)) for value in (1, 2, 5, 11, 20, 30)]
    assert max(slacks) == max(slacks[0], slacks[-1])


@given(low=st.integers(-50, 50), width=st.integers(-2, 100), limit=st.integers(-100, 200))
def test_greatest_by_halving(low: int, width: int, limit: int) -> None:
    numbers = [number for number in range(low, low + width + 1) if number <= limit]
    assert greatest(low, low + width, lambda number: number <= limit) == (max(numbers) if numbers else None)


@given(stall_s=st.integers(0, 300), threshold=st.integers(3, 120))
@settings(max_examples=60, deadline=None)
def test_kept_settings_are_only_raised(stall_s: int, threshold: int) -> None:
    storage = Storage(stall_ns=stall_s * NS_PER_S)
    fitted = Fitter(Goals(cluster="ocfs2"), (O2cb(heartbeat_threshold=threshold),), {}).fit(storage)
    needed = -(-(stall_s + 2) // 2) + 1
    assert fitted == (O2cb(heartbeat_threshold=max(threshold, needed)),)


def test_a_cluster_that_can_carry_nothing() -> None:
    fitter = Fitter(Goals(cluster="sbd", fixed={"corosync.token_ms": 1000}))
    assert not fitter.carries(0)
    assert fitter.fit(Storage(stall_ns=0)) is None


def test_settings_by_name() -> None:
    stack, clusters = changed(LinuxStack(), (Sbd(),), {"timeout": 9, "sbd.watchdog": 7, "o2cb.heartbeat_threshold": 1})
    assert stack == LinuxStack(timeout=9)
    assert clusters == (Sbd(watchdog=7),)
    assert setting(stack, clusters, "sbd.watchdog") == 7
    with pytest.raises(KeyError):
        setting(stack, clusters, "o2cb.heartbeat_threshold")
    assert settable("sbd")["sbd.watchdog"] == 5
    assert "corosync.nodes" not in settable("sbd")
