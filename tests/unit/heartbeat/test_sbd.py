"""SBD: when the watchdog fires, what a stall needs, pills and msgwait."""

from itertools import pairwise

import pytest
from tests.unit.heartbeat.world import Stall, World

from mpio.events import Kind
from mpio.heartbeat.formats import sbd
from mpio.heartbeat.machine import Cause, Extend, Leave, Poison
from mpio.heartbeat.region import Holds, Layout, blank
from mpio.heartbeat.sbd import Sbd, Settings
from mpio.model.cluster import Sbd as Timers
from mpio.units import NS_PER_S, seconds

LAYOUT = Layout(Holds.SBD, 512, 4)
NAMES = {0: "alpha", 1: "beta"}


def disk(world: World, timers: Timers) -> None:
    header = sbd.Header(timers.watchdog, timers.allocate, timers.loop, timers.msgwait, 512, slots=4)
    for offset, data in blank(LAYOUT, header):
        world.disk[offset:offset + len(data)] = data
    for node, name in NAMES.items():
        at = LAYOUT.slot(node)
        world.disk[at:at + 512] = sbd.render_slot(sbd.Slot(name))


def mailbox(world: World, node: int) -> sbd.Message:
    at = LAYOUT.mailbox(node)
    found = sbd.parse_message(bytes(world.disk[at:at + 512]))
    assert isinstance(found, sbd.Message)
    return found


def put(world: World, node: int, command: sbd.Command) -> None:
    at = LAYOUT.mailbox(node)
    world.disk[at:at + 512] = sbd.render_message(sbd.Message(command, "gamma"))


def cluster(timers: Timers, stalls: list[Stall] | None = None, *, nodes: tuple[int, ...] = (0, 1),
            start: float = 0.0, latency_ns: int = 20_000_000) -> World:
    world = World(stalls=stalls or [], latency=lambda _node, _at: latency_ns)
    world.now = seconds(start)
    disk(world, timers)
    for node in nodes:
        world.add(node, Sbd(Settings(node, NAMES, timers, LAYOUT)))
    return world


def longest_gap(stall: float, io_timeout: int) -> float:
    """The longest time between two feeds of the watchdog around one stall, over all phases of loop and clock (s)."""
    timers = Timers(watchdog=1000, msgwait=2000, io_timeout=io_timeout, pacemaker=False)
    worst = 0
    for phase in range(13):
        for offset in range(3):
            begin = 40 + phase / 10
            world = cluster(timers, [Stall(0, begin, begin + stall)], nodes=(0,), start=offset / 3)
            world.run(begin + stall + 12)
            fed = [at for at, _, action in world.actions if isinstance(action, Extend)]
            worst = max(worst, *(later - earlier for earlier, later in pairwise(fed)))
    return worst / NS_PER_S


@pytest.mark.parametrize(("stall", "watchdog"), [(5, 5), (10, 9.5), (12, 14.5), (17, 16.5), (30, 32.5), (60, 62.5)])
def test_the_watchdog_that_a_stall_needs(stall: int, watchdog: float) -> None:
    """As simulated from sbd's text, in steps of half a second and from 5 s on."""
    gap = longest_gap(stall, 3)
    assert max(5, int(gap * 2 + 1) / 2) == watchdog


def test_a_stall_of_20_s_depends_on_when_the_servant_is_started_anew() -> None:
    """With timers that are never late, up to 1.5 s less than the figure of a simulation, 21.5."""
    assert 20 <= longest_gap(20, 3) <= 21.5


def test_a_servant_that_outlives_the_stall_needs_no_watchdog_for_it() -> None:
    assert longest_gap(20, 25) < 5


@pytest.mark.parametrize("phase", range(10))
def test_a_lost_disk_resets_the_node_within_a_second_of_the_rule(phase: int) -> None:
    """W + 3 to W + 4 after the last liveness."""
    begin = 30 + phase / 10
    world = cluster(Timers(5, 10, pacemaker=False), [Stall(0, begin, 500)], start=phase / 7)
    world.run(begin)
    since = world.machines[0]._live_at / NS_PER_S  # type: ignore[attr-defined]
    world.run(100)
    assert list(world.fenced) == [0]
    assert world.fences[0].cause is Cause.STORAGE
    assert 8 <= round(world.fenced[0] - since, 6) <= 9


def test_beside_a_healthy_cluster_a_node_survives_the_disk() -> None:
    world = cluster(Timers(5, 10), [Stall(None, 30, 300)])
    world.run(400)
    assert not world.fenced
    assert world.state(0) == world.state(1) == "running"


def test_it_does_not_once_the_cluster_is_lost_too() -> None:
    world = cluster(Timers(5, 10), [Stall(0, 30, 300)])
    world.run(50)
    world.cut(0, 1)
    world.run(100)
    assert list(world.fenced) == [0]


def test_a_pill_resets_its_node_and_its_sender_waits_for_msgwait() -> None:
    world = cluster(Timers(5, 10))
    world.run(30)
    world.give(0, Poison(1))
    world.run(60)
    assert world.fences[1].cause is Cause.POISON
    assert world.fenced[1] < 33
    dead = world.kinds(Kind.PEER_DEAD, 0)
    assert [item.fields["node"] for item in dead] == [1]
    assert 40 <= dead[0].at < 41
    assert mailbox(world, 1) == sbd.Message(sbd.Command.RESET, "alpha")


@pytest.mark.parametrize("is_back", [True, False])
def test_who_is_back_before_msgwait_is_over_lives_though_its_last_life_is_dead(*, is_back: bool) -> None:
    world = cluster(Timers(5, 10))
    world.run(30)
    world.give(0, Poison(1))
    world.run(34)
    assert list(world.fenced) == [1]
    world.cut(0, 1)
    if is_back:
        world.at(36, lambda: world.cut(0, 1, heal=True))
    world.run(60)
    assert [item.fields["node"] for item in world.kinds(Kind.PEER_DEAD, 0)] == [1]
    assert world.peer(0, 1) == ("live" if is_back else "dead")


def test_a_pill_that_cannot_be_written_kills_nobody_in_anybodys_mind() -> None:
    world = cluster(Timers(5, 10), [Stall(0, 30, 100)])
    world.run(31)
    world.give(0, Poison(1))
    world.run(99)
    assert not world.kinds(Kind.PEER_DEAD)


def test_commands_in_the_mailbox() -> None:
    world = cluster(Timers(5, 10))
    world.run(10)
    put(world, 0, sbd.Command.TEST)
    put(world, 1, sbd.Command.EXIT)
    world.run(15)
    assert mailbox(world, 0) == sbd.NOTHING
    assert world.kinds(Kind.MESSAGE_SEEN, 0)[0].fields == {"sender": "gamma", "command": "test"}
    assert world.state(1) == "left"


@pytest.mark.parametrize("command", sbd.FATAL)
def test_a_clean_start_refuses_old_pills_and_another_clears_them(command: sbd.Command) -> None:
    world = World()
    timers = Timers(5, 10)
    disk(world, timers)
    put(world, 0, command)
    put(world, 1, command)
    world.add(0, Sbd(Settings(0, NAMES, timers, LAYOUT, clean_start=True)))
    world.add(1, Sbd(Settings(1, NAMES, timers, LAYOUT)))
    world.run(10)
    assert world.state(0) == "refused"
    assert world.state(1) == "running"
    assert mailbox(world, 1) == sbd.NOTHING


def test_what_is_wrong_with_the_disk_is_said() -> None:
    world = World()
    disk(world, Timers(15, 30))
    world.add(0, Sbd(Settings(0, NAMES, Timers(5, 10), LAYOUT)))
    world.run(5)
    assert "expected watchdog, msgwait and loop (5, 10, 1), found (15, 30, 1)" in world.machines[0].status(0).reason
    other = World()
    disk(other, Timers(5, 10))
    other.add(1, Sbd(Settings(1, {1: "delta"}, Timers(5, 10), LAYOUT)))
    other.run(5)
    assert "expected 'delta', found 'beta'" in other.machines[1].status(0).reason


def test_a_slot_that_changes_hands_and_a_header_that_changes_end_the_servant() -> None:
    for at, data in ((LAYOUT.slot(0), sbd.render_slot(sbd.Slot("other"))), (0, bytes(512))):
        world = cluster(Timers(5, 10, pacemaker=False))
        world.run(10)
        world.disk[at:at + 512] = data
        world.run(60)
        assert 0 in world.fenced
        assert bool(world.kinds(Kind.SLOT_TAKEN, 0)) is bool(at)


def test_no_disk_for_two_minutes_refuses_the_start() -> None:
    world = cluster(Timers(5, 10), [Stall(None, 0, 500)])
    world.run(130)
    assert world.state(0) == "refused"
    assert not world.fenced


def test_leaving_disarms_the_watchdog() -> None:
    world = cluster(Timers(5, 10), [Stall(0, 30, 500)])
    world.run(31)
    world.give(0, Leave())
    world.run(100)
    assert world.state(0) == "left"
    assert not world.fenced


@pytest.mark.parametrize(("timers", "words"), [
    (Timers(5, 10), ""), (Timers(15, 30), ""), (Timers(5, 9), "= 10 s, found 9 s"),
    (Timers(15, 30, io_timeout=20), "watchdog 15 + I/O timeout 20 + 2 x loop 1 = 37 s, found 30 s")])
def test_a_msgwait_that_is_too_short_is_told_of(timers: Timers, words: str) -> None:
    world = cluster(timers)
    world.run(1)
    told = [str(item.fields["cause"]) for item in world.kinds(Kind.TIMING_UNSAFE, 0)]
    assert bool(told) is bool(words)
    assert all(words in cause for cause in told)
