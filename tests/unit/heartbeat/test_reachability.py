"""The reachability score and its dampening."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.heartbeat.machine import Reachable
from mpio.heartbeat.reachability import Reachability

HOSTS = ("gateway", "router")


def settled() -> Reachability:
    reach = Reachability(HOSTS, multiplier=100, dampen_ns=50, attempts=3)
    assert reach.heard("gateway", True, 0) == []
    assert reach.heard("router", True, 0) == []
    assert reach.handle_timer(50) == [Reachable(200)]
    return reach


def test_the_first_score_waits_for_the_dampening_too() -> None:
    reach = settled()
    assert reach.score == reach.raw == 200
    assert reach.next_deadline() is None


def test_a_host_may_miss_all_attempts_but_one() -> None:
    reach = settled()
    for now in (100, 110):
        assert reach.heard("router", False, now) == []
        assert reach.raw == 200
    reach.heard("router", False, 120)
    assert reach.raw == 100
    assert reach.score == 200
    assert reach.next_deadline() == 170
    assert reach.handle_timer(169) == []
    assert reach.handle_timer(170) == [Reachable(100)]


def test_a_change_that_does_not_last_is_never_told() -> None:
    reach = settled()
    for now in (100, 110, 120):
        reach.heard("router", False, now)
    assert reach.heard("router", True, 160) == []
    assert reach.next_deadline() is None
    assert reach.score == 200


@pytest.mark.parametrize(("hosts", "more"), [
    ((), {}), (("a", "a"), {}), (("a",), {"multiplier": 0}), (("a",), {"attempts": 0}), (("a",), {"dampen_ns": -1})])
def test_what_cannot_be_a_ping_list(hosts: tuple[str, ...], more: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="ping list: expected"):
        Reachability(hosts, **more)


@given(st.lists(st.tuples(st.sampled_from(HOSTS), st.booleans(), st.integers(1, 30)), max_size=60))
def test_every_lasting_score_is_told_within_the_dampening(rounds: list[tuple[str, bool, int]]) -> None:
    reach = Reachability(HOSTS, dampen_ns=50, attempts=2)
    now, told, differs = 0, 0, None
    for host, answered, gap in rounds:
        deadline = reach.next_deadline()
        if deadline is not None and deadline <= now + gap:
            assert reach.handle_timer(deadline) == [Reachable(reach.raw)]
            told, differs = reach.raw, None
        now += gap
        for item in reach.heard(host, answered, now):
            told, differs = item.score, None
        differs = None if reach.raw == told else differs if differs is not None else now
        assert reach.score == told
        assert differs is None or now - differs < 50
