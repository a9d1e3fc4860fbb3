"""The stall that a threshold has to carry: the longest of all opinions."""

import pytest

from mpio.check.failover_stall import Source, longest, observed
from mpio.units import NS_PER_S


def test_the_longest_decides_and_comes_first() -> None:
    found = longest([Source(5, "a"), Source(9, "b"), Source(7, "c")])
    assert found.stall_ns == 9
    assert [item.words for item in found.sources] == ["b", "c", "a"]


def test_nothing_said_is_nothing() -> None:
    assert longest([]).stall_ns == 0


def test_what_was_observed_counts_for_a_quarter_more() -> None:
    found = observed([NS_PER_S, 4 * NS_PER_S], "in the drill x")
    assert found.stall_ns == 5 * NS_PER_S
    assert found.words == ("a quarter more than the longest of 2 failovers in the drill x, 4 s; "
                           "30 of each kind would be a sample")
    assert "sample" not in observed([NS_PER_S] * 30, "here").words
    assert "one failover" in observed([NS_PER_S], "here").words


def test_a_stall_without_end_has_no_threshold() -> None:
    with pytest.raises(ValueError, match="no threshold outlasts a stall without end: the planner"):
        longest([Source(1, "given"), Source(None, "the planner's bound")])
