"""Lateness of the kernel's timers, TCP's back-off, pauses between SYNs."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.planner.timers import lateness_ns, retransmission_ns, syn_gap_s
from mpio.units import NS_PER_S, seconds, to_seconds

HZ = (100, 250, 300, 1000)


@pytest.mark.parametrize(("delay_s", "late_s"), [
    (1, (0.080, 0.032, 0.027, 0.064)),
    (2, (0.080, 0.032, 0.213, 0.064)),
    (5, (0.080, 0.256, 0.213, 0.512)),
    (10, (0.640, 0.256, 0.213, 0.512)),
    (15, (0.640, 0.256, 1.707, 0.512)),
    (20, (0.640, 2.048, 1.707, 0.512)),
    (30, (0.640, 2.048, 1.707, 0.512)),
    (60, (5.120, 2.048, 1.707, 4.096)),
    (120, (5.120, 2.048, 13.653, 4.096)),
])
def test_lateness_by_delay_and_hz(delay_s: int, late_s: tuple[float, ...]) -> None:
    assert tuple(round(to_seconds(lateness_ns(delay_s, hz)), 3) for hz in HZ) == late_s


def test_old_wheels_are_finer() -> None:
    assert lateness_ns(120, 250, (4, 4)) == seconds(120 / 256) + NS_PER_S // 250 < lateness_ns(120, 250, (4, 8))


def test_no_delay_is_never_late() -> None:
    assert lateness_ns(0, 250) == 0


@given(st.integers(1, 86_400), st.sampled_from(HZ))
def test_lateness_is_a_seventh_of_the_delay_at_most(delay_s: int, hz: int) -> None:
    """A bucket is an eighth of the level's beginning at most, which is 63/64 of a whole number of buckets."""
    assert NS_PER_S // hz <= lateness_ns(delay_s, hz) <= max(seconds(delay_s) * 8 // 63, NS_PER_S // hz)


@pytest.mark.parametrize(("login_timeout", "linear_s", "plain_s"), [
    (3, 1, 2), (5, 1, 2), (10, 3, 4), (15, 4, 8), (30, 11, 15), (60, 25, 29),
])
def test_longest_pause_between_syns(login_timeout: int, linear_s: int, plain_s: int) -> None:
    assert (syn_gap_s(login_timeout, (6, 12)), syn_gap_s(login_timeout, (6, 1))) == (linear_s, plain_s)


@pytest.mark.parametrize(("outage_s", "best_s", "worst_s"), [
    (0.1, 0.2, 0.25), (0.2, 0.2, 0.25), (1, 1.4, 1.75), (4, 6.2, 7.75), (8, 12.6, 15.75), (13, 13, 26.21),
])
def test_retransmission_after_an_outage(outage_s: float, best_s: float, worst_s: float) -> None:
    best_ns, worst_ns = retransmission_ns(seconds(outage_s))
    assert to_seconds(best_ns) == pytest.approx(best_s)
    assert to_seconds(worst_ns) == pytest.approx(worst_s, abs=0.01)


@given(st.integers(1, 600_000), st.integers(200, 250))
def test_every_back_off_lies_inside(outage_ms: int, timeout_ms: int) -> None:
    resumes_ms = next(t for k in itertools.count(1) if (t := timeout_ms * (2**k - 1)) >= outage_ms)
    best_ns, worst_ns = retransmission_ns(outage_ms * 1_000_000)
    assert best_ns <= resumes_ms * 1_000_000 <= worst_ns
    assert worst_ns <= 2 * outage_ms * 1_000_000 + seconds(0.25)
