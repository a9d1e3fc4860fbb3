from hypothesis import given
from hypothesis import strategies as st

from mpio.proto.iscsi.keepalive import LATE_NS, Keepalive, Verdict

S = 1_000_000_000
instants = st.lists(st.integers(0, 100 * S), max_size=30).map(sorted)


def test_ping_then_dead() -> None:
    alive = Keepalive(5 * S, 2 * S)
    alive.received(0)
    assert alive.next_deadline() == 5 * S
    assert alive.check(5 * S - 1) is Verdict.NOTHING
    assert alive.check(5 * S) is Verdict.PING
    assert alive.check(5 * S) is Verdict.NOTHING
    assert alive.next_deadline() == 7 * S
    assert alive.check(7 * S) is Verdict.DEAD


def test_any_byte_saves() -> None:
    alive = Keepalive(5 * S, 2 * S)
    alive.received(0)
    alive.check(5 * S)
    alive.received(7 * S - 1)
    assert alive.check(7 * S) is Verdict.NOTHING
    assert alive.next_deadline() == 12 * S - 1


def test_off() -> None:
    alive = Keepalive(0, 0)
    assert alive.next_deadline() is None
    assert alive.check(1000 * S) is Verdict.NOTHING


def test_a_late_timer_does_not_accuse_but_only_once() -> None:
    alive = Keepalive(5 * S, 2 * S)
    alive.received(0)
    alive.check(5 * S)
    late = 7 * S + LATE_NS + 1
    assert alive.check(late) is Verdict.NOTHING
    assert alive.next_deadline() == late + LATE_NS + 1
    assert alive.check(late + 10 * S) is Verdict.DEAD


def test_the_grace_is_at_most_the_timeout() -> None:
    alive = Keepalive(5 * S, 2 * S)
    alive.received(0)
    alive.check(5 * S)
    assert alive.check(100 * S) is Verdict.NOTHING
    assert alive.next_deadline() == 102 * S
    assert alive.check(102 * S) is Verdict.DEAD


def test_the_grace_is_renewed_with_each_silence() -> None:
    alive = Keepalive(5 * S, 2 * S)
    for start in (0, 1000 * S):
        alive.received(start)
        assert alive.check(start + 5 * S) is Verdict.PING
        assert alive.check(start + 8 * S) is Verdict.NOTHING


def test_a_ping_that_is_itself_late_gives_the_whole_timeout() -> None:
    alive = Keepalive(5 * S, 2 * S)
    alive.received(0)
    assert alive.check(50 * S) is Verdict.PING
    assert alive.next_deadline() == 52 * S


@given(received=instants, checked=instants)
def test_never_dead_within_the_timeout_of_the_last_byte(received: list[int], checked: list[int]) -> None:
    alive = Keepalive(5 * S, 2 * S)
    last = 0
    for now, is_receive in sorted([(t, True) for t in received] + [(t, False) for t in checked]):
        if is_receive:
            alive.received(now)
            last = now
        else:
            verdict = alive.check(now)
            if verdict is Verdict.DEAD:
                assert now - last >= 7 * S
            deadline = alive.next_deadline()
            assert deadline is not None
            if verdict is not Verdict.DEAD:
                assert deadline > now, "a timer that is due must not stay due"
