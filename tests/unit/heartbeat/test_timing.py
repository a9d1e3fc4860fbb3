"""The inequality without which two halves could both write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.heartbeat.timing import Timing, least_dead_ns, unsafe
from mpio.units import seconds


def test_a_dead_timeout_that_is_too_short_is_refused_with_the_numbers() -> None:
    with pytest.raises(ValueError, match=r"dead timeout") as caught:
        Timing(seconds(2), seconds(30), seconds(32), seconds(1), seconds(1))
    text = str(caught.value)
    assert "deadline 30 s + fence 1 s + drain 1 s" in text
    assert "1000 ppm" in text
    assert "32.032 s" in text
    assert "found 32 s" in text


def test_the_shortest_that_is_safe_is_taken() -> None:
    timing = Timing(seconds(2), seconds(30), seconds(32.032), seconds(1), seconds(1))
    assert timing.dead_ns == timing.least_dead_ns
    assert unsafe(timing) == ""


@pytest.mark.parametrize(("more", "words"), [
    ({"period_ns": 0}, "period_ns: expected a time above 0"),
    ({"deadline_ns": -1}, "deadline_ns: expected a time above 0"),
    ({"fence_ns": -1}, "fence_ns: expected 0 or more"),
    ({"rate_ppm": -1}, "rate_ppm: expected 0 or more"),
    ({"deadline_ns": seconds(7)}, "at least 4 periods"),
    ({"io_timeout_ns": seconds(20)}, "less than a third of the deadline"),
])
def test_what_makes_no_sense_is_refused(more: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Timing(**more)


@given(st.integers(10**8, 10**12), st.integers(0, 10**10), st.integers(0, 10**10), st.integers(0, 5000))
def test_clocks_that_differ_by_rho_make_no_observer_early(deadline: int, fence: int, drain: int, ppm: int) -> None:
    """The observer's clock is fast by rho, the node's is not: its stop still comes first."""
    stopped = deadline + fence + drain
    dead = least_dead_ns(stopped, ppm)
    assert dead * 1_000_000 >= stopped * (1_000_000 + ppm)
    assert (dead - 1) * 1_000_000 < stopped * (1_000_000 + ppm)
    timing = Timing.of(deadline, deadline // 15, fence, drain, ppm)
    assert timing.dead_ns >= dead
    assert timing.dead_samples * timing.period_ns >= timing.dead_ns
