"""Who may write, and when a fence has a cause."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mpio.check.fencing import Takeovers, Terms, Trouble, due_ns, is_explained, merged

S = 1_000_000_000
TERMS = Terms(period_ns=S, cycle_ns=S // 10, deadline_ns=10 * S, fence_ns=S // 2)
A, B = (0, 1), (1, 1)


def rules(check: Takeovers) -> list[str]:
    return [breach.rule for breach in check.breaches.kept]


def owned_by_a() -> Takeovers:
    check = Takeovers()
    check.began(A, 0)
    check.began(B, 0)
    check.taken_over(0, A)
    check.landed(0, A, 1)
    return check


def test_a_late_write_after_a_takeover_is_split_brain() -> None:
    check = owned_by_a()
    check.ended(A)
    check.called_dead(B, A, 5)
    check.taken_over(0, B)
    check.landed(0, B, 6)
    assert not rules(check)
    check.landed(0, A, 7)
    assert rules(check) == ["split-brain"]
    assert (check.taken, check.landed_count) == (1, 3)


def test_a_later_life_of_the_same_node_is_another_owner() -> None:
    check = owned_by_a()
    check.ended(A)
    check.taken_over(0, (0, 2))
    check.landed(0, (0, 2), 6)
    check.landed(0, A, 7)
    assert rules(check) == ["split-brain"]


def test_calling_a_running_member_dead_is_found_before_anything_is_written() -> None:
    check = owned_by_a()
    check.called_dead(B, A, 5)
    assert rules(check) == ["not-stopped"]


def test_a_life_that_was_called_dead_must_not_become_a_member() -> None:
    check = Takeovers()
    check.called_dead(B, A, 5)
    check.began(A, 6)
    assert rules(check) == ["risen"]


def test_a_fence_without_any_trouble_has_no_cause() -> None:
    assert not is_explained(100 * S, [], TERMS)


def test_a_fence_after_a_long_outage_has_one() -> None:
    assert is_explained(100 * S, [Trouble(90 * S + S // 2, 101 * S)], TERMS)


def test_an_outage_that_left_time_for_a_heartbeat_is_none() -> None:
    assert not is_explained(100 * S, [Trouble(92 * S, 101 * S)], TERMS)
    assert not is_explained(100 * S, [Trouble(80 * S, 97 * S)], TERMS)


def test_two_outages_with_too_little_between_them_are_one() -> None:
    assert is_explained(100 * S, [Trouble(89 * S, 95 * S), Trouble(96 * S, 101 * S)], TERMS)
    assert not is_explained(100 * S, [Trouble(89 * S, 94 * S), Trouble(96 * S, 101 * S)], TERMS)


TROUBLES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 30)).map(lambda pair: Trouble(pair[0] * S, sum(pair) * S)), max_size=6)


@given(TROUBLES)
def test_merged_times_are_apart_in_order_and_cover_the_same(troubles: list[Trouble]) -> None:
    found = merged(troubles)
    for one, other in itertools.pairwise(found):
        assert one.end_ns < other.begin_ns
    for second in range(95):
        at = second * S + S // 2
        assert any(t.begin_ns <= at < t.end_ns for t in troubles) == any(t.begin_ns <= at < t.end_ns for t in found)


@given(TROUBLES, st.integers(10, 90), TROUBLES)
def test_more_trouble_never_takes_a_cause_away(troubles: list[Trouble], at: int, more: list[Trouble]) -> None:
    if is_explained(at * S, troubles, TERMS):
        assert is_explained(at * S, troubles + more, TERMS)


@given(TROUBLES, st.integers(20, 90))
def test_a_cause_means_that_no_quiet_time_was_long_enough(troubles: list[Trouble], at: int) -> None:
    """Against a naive look, every tenth of a second."""
    fenced = at * S
    begin = fenced - TERMS.shortest(TERMS.deadline_ns)
    quiet = longest = 0
    for t in range(begin, fenced, S // 10):
        quiet = 0 if any(x.begin_ns <= t < x.end_ns for x in troubles) else quiet + S // 10
        longest = max(longest, quiet)
    allowed = TERMS.longest(TERMS.period_ns) + 2 * TERMS.cycle_ns
    if longest > allowed + S // 5:
        assert not is_explained(fenced, troubles, TERMS)
    if longest < allowed - S // 5:
        assert is_explained(fenced, troubles, TERMS)


@given(st.integers(0, 100))
def test_a_fence_is_due_after_deadline_and_fence_by_the_slowest_clock(begin: int) -> None:
    due = due_ns(begin * S, TERMS)
    assert due - begin * S >= TERMS.deadline_ns + TERMS.fence_ns
    assert due - begin * S <= (TERMS.deadline_ns + TERMS.fence_ns) * 1.002
