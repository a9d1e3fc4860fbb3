"""A peer seen through its slot: alive, dead, left, another life."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.events import Kind
from mpio.heartbeat.formats import own
from mpio.heartbeat.formats.broken import Broken, Why
from mpio.heartbeat.machine import Happened, PeerState
from mpio.heartbeat.observer import GONE_MAX, Peer
from mpio.heartbeat.timing import Timing

TIMING = Timing(10, 100, 130, 10, 10, 1_000)
MINE = own.Timing(10, 100, 130)


def block(sequence: int, generation: int = 7, timing: own.Timing = MINE, *, held: bool = False) -> own.Slot:
    return own.Slot(bytes(16), 1, generation, sequence, timing, held=held)


def kinds(happened: list[Happened]) -> list[Kind]:
    return [item.kind for item in happened]


def live(timing: own.Timing = MINE) -> tuple[Peer, list[Happened]]:
    """A peer that changed last at 20."""
    peer = Peer(1, TIMING)
    happened = [item for at in (0, 10, 20) for item in peer.observe(block(at, timing=timing), at - 1, at)]
    assert peer.state is PeerState.LIVE
    return peer, happened


def test_two_changes_make_it_live() -> None:
    peer = Peer(1, TIMING)
    assert peer.observe(block(1), 0, 1) == []
    assert peer.state is PeerState.SILENT
    assert peer.observe(block(2), 10, 11) == []
    assert kinds(peer.observe(block(3), 20, 21)) == [Kind.PEER_LIVE]


def test_samples_alone_do_not_kill_nor_does_time_alone() -> None:
    peer, _ = live()
    for sample in range(60):
        assert peer.observe(block(20), 21 + sample, 22 + sample) == []
    assert peer.state is PeerState.LIVE
    other, _ = live()
    assert other.observe(block(20), 10_000, 10_001) == []
    assert other.state is PeerState.LIVE


def test_both_do_and_not_before() -> None:
    peer, _ = live()
    for at in range(30, 150, 10):
        assert peer.observe(block(20), at, at) == []
    assert peer.observe(block(20), 149, 155) == [], "issued a moment too early, though seen late enough"
    assert kinds(peer.observe(block(20), 150, 156)) == [Kind.PEER_DEAD]
    assert peer.status(156).dead_in_ns is None


def test_a_promise_not_to_judge_counts_anew() -> None:
    peer, _ = live()
    peer.hold_off(100)
    for at in range(110, 230, 10):
        assert peer.observe(block(20), at, at) == []
    assert kinds(peer.observe(block(20), 230, 231)) == [Kind.PEER_DEAD]


def test_a_goodbye_is_no_death_and_a_late_write_after_it_no_life() -> None:
    peer, _ = live()
    assert kinds(peer.observe(block(21, 0), 30, 31)) == [Kind.PEER_LEFT]
    assert peer.observe(block(21, 0), 40, 41) == []
    assert peer.observe(block(22), 50, 51) == []
    assert peer.state is PeerState.LEFT
    assert peer.status(51).generation == 0


def test_another_generation_is_another_life() -> None:
    peer, _ = live()
    happened = peer.observe(block(1, 8), 30, 31)
    assert happened == [Happened(Kind.PEER_RESTARTED, {"node": 1, "old": 7, "new": 8})]
    assert peer.observe(block(99, 7), 40, 41) == [], "a late write of the old one"
    assert peer.generation == 8
    assert kinds(peer.observe(block(2, 8), 50, 51)) == [Kind.PEER_LIVE]


def test_a_held_fence_is_believed_at_once_and_for_good() -> None:
    peer, _ = live()
    assert kinds(peer.observe(block(21, held=True), 30, 31)) == [Kind.POISON_ACKNOWLEDGED, Kind.PEER_DEAD]
    assert peer.observe(block(22), 40, 41) == []
    assert peer.is_held() == []
    assert peer.state is PeerState.DEAD


@pytest.mark.parametrize("why", [why for why in Why if why is not Why.EMPTY])
def test_nonsense_is_told_once_and_is_no_sample(why: Why) -> None:
    peer, _ = live()
    assert kinds(peer.observe(Broken(why, "words"), 30, 31)) == [Kind.PEER_UNREADABLE]
    for at in range(40, 2000, 10):
        assert peer.observe(Broken(why, "words"), at, at) == []
    assert peer.state is PeerState.LIVE
    assert peer.observe(block(21), 3000, 3001) == []
    assert peer.unreadable_since is None


def test_other_timing_is_told_and_a_longer_deadline_is_waited_for() -> None:
    longer = own.Timing(10, 400, 430)
    peer, happened = live(longer)
    assert kinds(happened) == [Kind.PEER_LIVE, Kind.PEER_MISMATCHED]
    assert peer.mismatched
    assert peer.dead_ns == 421  # (400 + 10 + 10) x 1.001, rounded up
    for at in range(30, 441, 10):
        assert peer.observe(block(20, timing=longer), at, at) == []
    assert kinds(peer.observe(block(20, timing=longer), 441, 442)) == [Kind.PEER_DEAD]


def test_a_slot_never_used_is_nobody() -> None:
    peer = Peer(1, TIMING)
    assert peer.observe(Broken(Why.EMPTY, "zeros"), 0, 1) == []
    assert peer.seen
    assert peer.state is PeerState.UNKNOWN
    assert peer.status(1).age_ns is None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.booleans(), st.integers(1, 40)), max_size=80))
def test_whatever_a_slot_shows(seen: list[tuple[int, int, bool, int]]) -> None:
    """A life that was called dead or has left is never live again; dead means unchanged for the whole time."""
    peer = Peer(1, TIMING)
    now, changed, last, over = 0, 0, (-1, -1), dict[int, None]()
    for generation, sequence, held, gap in seen:
        now += gap
        before = peer.generation
        happened = peer.observe(block(sequence, generation, held=held), now, now)
        if (generation, sequence) != last:
            changed, last = now, (generation, sequence)
        for item in happened:
            if item.kind is Kind.PEER_DEAD:
                assert held or now - changed >= TIMING.dead_ns
                over[peer.generation] = None
            elif item.kind is Kind.PEER_LEFT:
                over[before] = None
            elif item.kind is Kind.PEER_LIVE:
                assert peer.generation not in over
        assert (peer.state in (PeerState.LIVE, PeerState.SILENT)) is peer.alive
        assert len(peer._gone) <= GONE_MAX
