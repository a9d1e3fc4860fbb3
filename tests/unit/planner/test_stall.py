"""Bounds of a stall, term by term."""

from dataclasses import replace

import pytest

from mpio.model.settings import AGGRESSIVE, FAST, LINUX, PROFILES, SLES10, Settings
from mpio.planner.budget import Budget
from mpio.planner.stall import REISSUE_NS, Failure, reinstate_bound, stall_bound
from mpio.units import NS_PER_S, seconds

FAILURES: list[Failure] = ["blackhole", "reset", "reject", "hang", "outage"]


def s(value: float) -> int:
    return seconds(value)


@pytest.mark.parametrize(("settings", "failure", "writes", "best_s", "worst_s"), [
    (FAST, "blackhole", True, 0.5, 0.25 + 0.5 + 0.25 + 0.1),
    (FAST, "blackhole", False, 0.5, 0.25 + 0.5 + 0.1),
    (FAST, "reset", True, 0, 0.25 + 0.1),
    (FAST, "reject", True, 0, 0.25 + 0.25 + 0.1),
    (LINUX, "reject", False, 5, 5 + 5 + 0.1),
    (FAST, "hang", True, 5, 5 + 1 + 1 + 0.25 + 0.1),
    (LINUX, "blackhole", True, 5 + 5, 5 + 5 + 5 + 5 + 0.1),
    (LINUX, "reset", False, 5, 5 + 0.1),
    (AGGRESSIVE, "blackhole", False, 1 + 1, 1 + 1 + 1 + 0.1),
    (SLES10, "blackhole", True, 15 + 120, 10 + 15 + 120 + 5 + 0.1),
    (SLES10, "blackhole", False, 15 + 120, 10 + 15 + 120 + 0.1),
    (SLES10.replace(fence="none"), "blackhole", True, 15 + 120, 10 + 15 + 120 + 0.1),
])
def test_bounds(settings: Settings, failure: Failure, writes: bool, best_s: float, worst_s: float) -> None:
    budget = stall_bound(settings, failure, writes=writes)
    assert (budget.best_ns, budget.worst_ns) == (s(best_s), s(worst_s))


def test_the_fast_profile_keeps_its_promise() -> None:
    worst_ns = stall_bound(FAST).worst_ns
    assert worst_ns is not None
    assert worst_ns <= s(1.2)


@pytest.mark.parametrize("name", sorted(PROFILES))
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("writes", [False, True])
def test_budgets_add_up_and_name_their_sources(name: str, failure: Failure, writes: bool) -> None:
    budget = stall_bound(PROFILES[name], failure, writes=writes, outage_ns=s(10))
    assert budget.worst_ns == sum(term.value_ns for term in budget.terms)
    assert budget.best_ns == sum(term.best_ns for term in budget.terms)
    for term in budget.terms:
        assert 0 <= term.best_ns <= term.value_ns
        assert term.value_ns > 0
        assert term.source
        for word in term.source.replace(",", " ").split():
            if "_" in word and "planner" not in word:
                assert hasattr(FAST, word), word


def test_json_has_what_metrics_need() -> None:
    document = stall_bound(FAST).as_json()
    assert document["worst_ns"] == s(1.1)
    terms = document["terms"]
    assert isinstance(terms, list)
    assert all({"name", "value_ns", "source"} <= set(term) for term in terms)


def test_without_pings_the_command_timeout_has_to_do() -> None:
    settings = SLES10.replace(noop_out_interval=0, noop_out_timeout=0)
    assert stall_bound(settings, writes=False).worst_ns == s(30 + 15 + 30 + 120 + 0.1)


def test_pings_slower_than_the_command_timeout_do_not_count() -> None:
    settings = FAST.replace(noop_out_interval=100, noop_out_timeout=100)
    assert stall_bound(settings, writes=False).worst_ns == s(5 + 1 + 1 + 0.1)


def test_an_end_that_waits_for_an_answer_finds_out_with_its_next_words() -> None:
    quick_commands = FAST.replace(noop_out_interval=100, noop_out_timeout=100)
    assert stall_bound(quick_commands, "reject", writes=False).worst_ns == s(5 + 0.1)
    no_pings = LINUX.replace(noop_out_interval=0, noop_out_timeout=0)
    assert stall_bound(no_pings, "reject", writes=False).worst_ns == s(30 + 5 + 0.1)


@pytest.mark.parametrize("failure", ["blackhole", "reject", "hang"])
def test_what_no_timer_finds_has_no_bound(failure: Failure) -> None:
    settings = FAST.replace(timeout=0, noop_out_interval=0, noop_out_timeout=0)
    assert stall_bound(settings, failure).worst_ns is None
    assert stall_bound(settings, "reset").worst_ns is not None


def test_a_hang_that_answers_pings_has_no_bound_without_command_timeout() -> None:
    assert stall_bound(FAST.replace(timeout=0), "hang").worst_ns is None
    assert stall_bound(FAST.replace(timeout=0), "blackhole").worst_ns is not None


def test_a_session_that_is_waited_for_for_ever_has_no_bound() -> None:
    settings = LINUX.replace(fast_io_fail_tmo=None, replacement_timeout=-1)
    assert stall_bound(settings).worst_ns is None


def test_each_further_fence_method_may_have_to_be_tried() -> None:
    worst = [stall_bound(settings).worst_ns for settings in (
        FAST, FAST.replace(reservation_key=1), FAST.replace(exclusive=True))]
    assert worst == [s(1.1), s(1.35), s(1.6)]
    assert stall_bound(FAST, fence_ns=s(0.01)).worst_ns == s(0.86)


def outage(settings: Settings, seconds_: float) -> Budget:
    return stall_bound(settings, "outage", outage_ns=s(seconds_), writes=False)


def test_outage() -> None:
    budget = outage(FAST, 10)
    assert budget.best_ns == s(10)
    assert budget.worst_ns == s(10 + 2 + 1.25 + 0.05) + REISSUE_NS
    assert outage(FAST, 0.1).worst_ns == s(0.75 + 2 + 1.25 + 0.05) + REISSUE_NS  # noticed later than it lasts


@pytest.mark.parametrize(("retry", "length_s", "fails_after_s"), [
    ("fail", 10, 0.5), (3, 10, 3.5), (60, 10, None), ("queue", 1000, None), (60, 100, 60.5),
])
def test_when_no_path_retry_gives_up(retry: str | int, length_s: float, fails_after_s: float | None) -> None:
    budget = outage(FAST.replace(no_path_retry=retry), length_s)
    assert budget.fails_after_ns == (None if fails_after_s is None else s(fails_after_s))


def test_reinstate_bound() -> None:
    assert reinstate_bound(FAST).worst_ns == s(2 + 1.25 + 0.05)
    assert reinstate_bound(LINUX).worst_ns == s(15 + 3.75 + 0.05)


def test_a_path_whose_session_outlives_a_hang_is_back_with_its_next_check() -> None:
    assert reinstate_bound(FAST, "hang").worst_ns == s(2 + 1.25 + 0.05)
    assert reinstate_bound(LINUX.replace(polling_interval=60), "hang").worst_ns == s(60 + 0.1)


@pytest.mark.parametrize(("checker_timeout", "best_s"), [(10, 5), (10.5, 10)])
def test_a_path_that_its_checker_has_failed_already_is_not_waited_for(checker_timeout: float, best_s: float) -> None:
    budget = stall_bound(LINUX.replace(checker_timeout=checker_timeout))
    assert (budget.best_ns, budget.worst_ns) == (s(best_s), s(5 + 5 + 5 + 5 + 0.1))


def test_queueing_may_begin_when_the_checkers_have_failed_all_paths() -> None:
    settings = LINUX.replace(no_path_retry=1, checker_timeout=2)
    assert outage(settings, 60).fails_after_ns == s(2 + 5)


def test_budgets_are_values() -> None:
    budget = stall_bound(FAST)
    assert budget == replace(budget)
    assert s(1) == NS_PER_S
