"""o2cb: thresholds, negotiation and quorum of the kernel, and what real OCFS2 nodes were measured to do."""

from itertools import pairwise

import pytest
from tests.unit.heartbeat.world import Stall, World

from mpio.events import Kind
from mpio.heartbeat.machine import Cause, Leave
from mpio.heartbeat.o2cb import O2cb, Settings
from mpio.heartbeat.region import Holds, Layout
from mpio.model.cluster import O2cb as Timers


def machine(node: int, nodes: tuple[int, ...] = (0, 1), threshold: int = 31, life: int = 1) -> O2cb:
    layout = Layout(Holds.O2CB, 512, 8)
    return O2cb(Settings(node, nodes, 100 * life + node + 1, Timers(threshold), layout, 1_700_000_000))


def cluster(threshold: int, stalls: list[Stall], count: int = 2) -> World:
    world = World(stalls=stalls)
    nodes = tuple(range(count))
    for node in nodes:
        world.add(node, machine(node, nodes, threshold))
    return world


def survives(threshold: int, stall: float) -> bool:
    """One stall of node 1 at any phase of its heartbeat, in steps of 100 ms."""
    for phase in range(20):
        begin = 40 + phase / 10
        world = cluster(threshold, [Stall(1, begin, begin + stall)])
        world.run(begin + stall + 10)
        if world.fenced:
            assert list(world.fenced) == [1]
            return False
    return True


@pytest.mark.parametrize(("threshold", "limit"), [(7, 10), (31, 58), (61, 118)])
def test_the_largest_stall_that_a_threshold_rides_through(threshold: int, limit: float) -> None:
    """2 (T - 1) - 2 s; the figures of a simulation of the kernel's text are 9.95, 58 and 118."""
    assert survives(threshold, limit - 0.05)
    assert not survives(threshold, limit + 0.05)


@pytest.mark.parametrize(("threshold", "stall", "fenced"), [
    (7, 145.0, True),  # 10/15/120
    (7, 15.0, True),  # 5/5/5
    (7, 3.1, False),  # 1/1/1
    (31, 19.5, False),  # 5/5/5
    (31, 145.0, True),  # 10/15/120
    (61, 145.0, True),
    (61, 43.6, False),  # recovery_tmo 5 of multipathd
    (84, 161.0, False),  # the least that carries what 10/15/120 was measured to take
])
def test_settings_that_were_measured_on_real_nodes(threshold: int, stall: float, fenced: bool) -> None:
    world = cluster(threshold, [Stall(1, 41.3, 41.3 + stall)])
    world.run(400)
    assert list(world.fenced) == [1] * fenced
    if fenced:
        assert 2 * (threshold - 1) - 2 <= world.fenced[1] - 41.3 <= 2 * (threshold - 1)
        dead = world.kinds(Kind.PEER_DEAD, 0)[0]
        assert 0 < dead.at - world.fenced[1] <= 4.1


def test_alone_a_node_negotiates_with_itself_every_six_seconds() -> None:
    world = World(stalls=[Stall(1, 40, 100)])
    world.add(1, machine(1, threshold=7))
    world.run(150)
    assert not world.fenced
    told = [item.at for item in world.kinds(Kind.HEARTBEAT_NEGOTIATED)]
    assert len(told) >= 9
    assert all(later - earlier == pytest.approx(6) for earlier, later in pairwise(told))


def test_everybody_hangs_and_nobody_is_fenced() -> None:
    world = cluster(7, [Stall(None, 40, 200)], count=3)
    world.run(300)
    assert not world.fenced
    assert {item.node for item in world.kinds(Kind.HEARTBEAT_NEGOTIATED)} == {0, 1, 2}


def test_errors_instead_of_silence_fence_everybody() -> None:
    world = cluster(7, [Stall(None, 40, 200, error="EIO")], count=3)
    world.run(300)
    assert sorted(world.fenced) == [0, 1, 2]


def test_a_hung_network_leaves_the_hung_to_themselves() -> None:
    world = cluster(7, [Stall(None, 40, 200)])
    world.at(39, lambda: world.cut(0, 1))
    world.run(300)
    assert sorted(world.fenced) == [0, 1]


def test_of_two_nodes_the_higher_number_dies_after_the_quorum_delay() -> None:
    world = cluster(31, [])
    world.run(40)
    world.cut(0, 1)
    world.run(300)
    assert list(world.fenced) == [1]
    assert world.fenced[1] == pytest.approx(40 + 66)
    assert world.fences[1].cause is Cause.QUORUM


def test_the_majority_lives() -> None:
    world = cluster(7, [], count=3)
    world.run(40)
    world.split([0], [1, 2])
    world.run(100)
    assert list(world.fenced) == [0]


def test_leaving() -> None:
    world = cluster(31, [])
    world.run(30)
    world.give(1, Leave())
    world.run(40)
    assert world.state(1) == "left"
    assert world.peer(0, 1) == "left"
    assert not world.kinds(Kind.PEER_DEAD)


def test_two_nodes_with_one_number() -> None:
    world = World()
    world.add(0, machine(0))
    twin = machine(0, life=2)
    world.run(30.7)
    world.intrude(7, twin)
    world.run(200)
    assert world.kinds(Kind.SLOT_TAKEN, 0)
    assert world.kinds(Kind.SLOT_TAKEN, 7)
    assert twin.status(world.now).state == "refused"
    assert not world.fenced


def test_other_thresholds_are_told_of() -> None:
    world = World()
    world.add(0, machine(0, threshold=31))
    world.add(1, machine(1, threshold=61))
    world.run(30)
    found = [(item.node, item.fields["found"]) for item in world.kinds(Kind.PEER_MISMATCHED)]
    assert sorted(found) == [(0, "threshold 61"), (1, "threshold 31")]


def test_a_new_generation_is_the_death_of_the_old_one() -> None:
    world = cluster(31, [])
    world.run(30)
    world.crash(1)
    world.run(36)
    world.add(1, machine(1, life=2))
    world.run(60)
    assert world.kinds(Kind.PEER_RESTARTED, 0)[0].fields == {"node": 1, "old": 102, "new": 202}
    assert [item.fields["generation"] for item in world.kinds(Kind.PEER_DEAD, 0)] == [102]
    assert [item.fields["generation"] for item in world.kinds(Kind.PEER_LIVE, 0)] == [102, 202]
    assert world.peer(0, 1) == "live"


def test_a_damaged_block_counts_against_a_live_node_and_says_nothing_of_another() -> None:
    world = cluster(7, [])
    world.run(30)
    world.crash(1)
    world.disk[512:1024] = b"\1" * 512
    world.run(60)
    assert world.kinds(Kind.PEER_UNREADABLE, 0)
    assert world.peer(0, 1) == "dead"


def test_messages_that_are_lost_only_delay_the_negotiation() -> None:
    """The master looks every second; a node asks once per 2 (T - 1) s, so both must get through in that time."""
    world = cluster(7, [Stall(None, 40, 90)])
    world.latency = lambda node, _at: 1_000_000 + 400_000_000 * node
    world.run(150)
    assert not world.fenced
    assert world.state(0) == world.state(1) == "running"


def test_late_answers_are_counted_from_the_completion() -> None:
    """Which is why o2cb's peers can be ahead of its self-fence: on disk at 42 s, known of at 51, fenced at 63."""
    world = cluster(7, [Stall(1, 42.0015, 51, lands=True), Stall(1, 51.003, 500)])
    world.holds = False
    world.run(200)
    assert world.fenced[1] > 62
    assert world.kinds(Kind.PEER_DEAD, 0)[0].at < world.fenced[1]


def test_settings_that_do_not_fit() -> None:
    layout = Layout(Holds.O2CB, 512, 8)
    for node, nodes, generation, threshold, words in (
            (3, (0, 1), 1, 31, "with 3 among them"), (0, (0, 9), 1, 31, "from 0 to 7"),
            (0, (0,), 0, 31, "random number"), (0, (0,), 1, 2, "more than 2")):
        with pytest.raises(ValueError, match=words):
            Settings(node, nodes, generation, Timers(threshold), layout)
