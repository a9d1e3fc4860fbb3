"""mpio's own heartbeat: joining, leaving, riding through, fencing, pills, splits."""

from dataclasses import replace

import pytest
from tests.unit.heartbeat.world import Stall, World

from mpio.events import Kind
from mpio.heartbeat.formats import own
from mpio.heartbeat.machine import (
    Cause,
    Extend,
    Fence,
    Happened,
    Held,
    Leave,
    Poison,
    Reachable,
    Read,
    ReadDone,
    Write,
)
from mpio.heartbeat.own import Own, Settings
from mpio.heartbeat.region import Holds, Layout
from mpio.heartbeat.timing import Timing
from mpio.units import NS_PER_S, seconds

REGION = bytes(range(16))
TIMING = Timing.of(seconds(30))


def machine(node: int, nodes: tuple[int, ...] = (0, 1), life: int = 1, timing: Timing = TIMING, *,
            network: bool = True) -> Own:
    layout = Layout(Holds.OWN, 512, 8)
    return Own(Settings(node, nodes, 1000 * life + node + 1, REGION, timing, layout, f"node{node}", network))


def cluster(count: int = 2, stalls: list[Stall] | None = None, **more: object) -> World:
    world = World(stalls=stalls or [], **more)  # type: ignore[arg-type]
    nodes = tuple(range(count))
    for node in nodes:
        world.add(node, machine(node, nodes))
    return world


def test_nodes_on_an_empty_region_find_each_other_and_go_on() -> None:
    world = cluster(3)
    world.run(600)
    assert [world.state(node) for node in range(3)] == ["running"] * 3
    assert all(world.peer(a, b) == "live" for a in range(3) for b in range(3) if a != b)
    assert not world.fenced


def test_a_node_whose_storage_hangs_is_fenced_at_its_deadline_and_alone() -> None:
    world = cluster(2, [Stall(1, 100, 500)])
    world.run(300)
    assert list(world.fenced) == [1]
    assert world.fences[1].cause is Cause.STORAGE
    assert world.peer(0, 1) == "dead"
    dead = world.kinds(Kind.PEER_DEAD, 0)[0]
    assert world.fenced[1] <= dead.at


def test_everybody_hangs_and_nobody_is_fenced() -> None:
    world = cluster(3, [Stall(None, 100, 400)])
    world.run(600)
    assert not world.fenced
    assert world.kinds(Kind.HEARTBEAT_NEGOTIATED)
    assert [world.state(node) for node in range(3)] == ["running"] * 3


def test_leaving_is_seen_and_nobody_is_called_dead() -> None:
    world = cluster(2)
    world.run(30)
    world.give(1, Leave())
    world.run(120)
    assert world.state(1) == "left"
    assert world.peer(0, 1) == "left"
    assert not world.kinds(Kind.PEER_DEAD)


def test_a_pill_is_taken_and_acknowledged() -> None:
    world = cluster(2)
    world.run(30)
    world.give(0, Poison(1))
    world.run(40)
    assert world.fences[1].cause is Cause.POISON
    assert world.kinds(Kind.POISON_ACKNOWLEDGED, 0)
    assert world.peer(0, 1) == "dead"


def test_of_two_halves_the_one_that_clients_reach_goes_on() -> None:
    world = cluster(2)
    world.run(30)
    world.give(1, Reachable(2))
    world.run(40)
    world.split([0], [1])
    world.run(120)
    assert list(world.fenced) == [0]
    assert world.fences[0].cause is Cause.QUORUM
    assert world.machines[1].status(world.local(1)).quorum


def slot(world: World, node: int) -> own.Slot:
    found = own.parse_slot(bytes(world.disk[512 * (1 + node):512 * (2 + node)]))
    assert isinstance(found, own.Slot)
    return found


def test_the_deadline_counts_from_the_issue_not_from_the_late_answer() -> None:
    """A heartbeat is on disk at once, its answer comes 10 s later, and then nothing answers any more."""
    world = cluster(2)
    world.run(100)
    at = next(at for at, node, action in reversed(world.actions) if (node, type(action)) == (1, Write)) / NS_PER_S
    world.holds = False
    following = at + 2 - 0.0005  # within the next round: after the check of the slot was asked for
    world.stalls += [Stall(1, following, following + 10, lands=True), Stall(1, following + 10.004, 500)]
    world.run(200)
    assert list(world.fenced) == [1]
    last = max(at for at, node, action in world.actions if node == 1 and isinstance(action, Extend)) / NS_PER_S
    issued = [at / NS_PER_S for at, node, action in world.actions if node == 1 and isinstance(action, Write)]
    assert any(abs(world.fenced[1] - 30 - at) < 1e-6 for at in issued), "not the deadline after an issue"
    assert world.fenced[1] < last + 30
    dead = world.kinds(Kind.PEER_DEAD, 0)[0]
    assert world.fenced[1] + 3 <= dead.at <= world.fenced[1] + 12


def test_no_single_stall_within_the_budget_fences() -> None:
    """P + S + c <= D: 28 s of 30 at any phase; a second more, and some phases fence."""
    for phase in range(8):
        begin = 40 + phase / 4
        assert not run_with(Stall(1, begin, begin + 27.9)).fenced
    assert any(run_with(Stall(1, 40 + phase / 4, 69 + phase / 4)).fenced for phase in range(8))


def run_with(stall: Stall) -> World:
    world = cluster(2, [stall])
    world.run(120)
    return world


def test_one_request_that_hangs_does_not_hold_up_the_heartbeat() -> None:
    """What was asked for again on another request is enough: the map goes round the dead path."""
    world = cluster(2, [Stall(1, 40, 40.0015)])
    world.at(40, lambda: world.stalls.append(Stall(1, 40, 100)))
    world.at(42.5, world.stalls.clear)
    world.run(150)
    assert not world.fenced
    assert not world.kinds(Kind.PEER_DEAD)


def test_errors_fence_and_are_not_negotiated_about() -> None:
    world = cluster(2, [Stall(None, 40, 200, error="EIO")])
    world.run(200)
    assert sorted(world.fenced) == [0, 1]
    assert not world.kinds(Kind.HEARTBEAT_NEGOTIATED)
    assert "storage fails" in world.fences[0].reason


def test_who_still_has_storage_does_not_negotiate_and_only_the_others_are_fenced() -> None:
    world = cluster(3, [Stall(0, 40, 200), Stall(1, 40, 200)])
    world.run(200)
    assert sorted(world.fenced) == [0, 1]
    assert world.state(2) == "running"


def test_a_new_life_waits_until_the_last_one_must_be_over() -> None:
    world = cluster(2)
    world.run(30)
    world.crash(1)
    world.run(32)
    world.add(1, machine(1, life=2))
    world.run(32 + TIMING.dead_ns / NS_PER_S - 3)
    assert slot(world, 1).generation == 1002, "the old life's"
    assert world.state(1) == "joining"
    world.run(120)
    assert slot(world, 1).generation == 2002
    assert world.state(1) == "running"
    assert [item.fields["generation"] for item in world.kinds(Kind.PEER_DEAD, 0)] in ([1002], [])
    assert world.peer(0, 1) == "live"


def test_after_a_goodbye_a_node_comes_back_at_once() -> None:
    world = cluster(2)
    world.run(30)
    world.give(1, Leave())
    world.run(31)
    world.add(1, machine(1, life=2))
    world.run(45)
    assert world.state(1) == "running"


def test_a_late_write_of_a_former_life_raises_nobody() -> None:
    world = cluster(2)
    world.run(30)
    old = bytes(world.disk[1024:1536])
    world.crash(1)
    world.run(100)
    assert world.peer(0, 1) == "dead"
    found = own.parse_slot(old)
    assert isinstance(found, own.Slot)
    for sequence in range(500, 510):
        world.disk[1024:1536] = own.render_slot(replace(found, sequence=sequence))
        world.run(world.now / NS_PER_S + 2)
    assert world.peer(0, 1) == "dead"
    assert len(world.kinds(Kind.PEER_DEAD, 0)) == 1


def test_two_nodes_with_one_number() -> None:
    """The second is refused before it has written anything, and the first goes on."""
    world = cluster(2)
    world.run(30)
    twin = machine(1, life=2)
    world.intrude(9, twin)
    world.run(60)
    assert twin.state.value == "refused"
    reason = twin.status(0).reason
    assert reason == "another node with number 1 (node1) writes slot 1: give each node a number of its own"
    assert not [action for _, node, action in world.actions if node == 9 and isinstance(action, Write)]
    assert world.state(1) == "running"
    assert not world.fenced


def test_two_nodes_with_one_number_that_start_together_are_not_both_members() -> None:
    for offset in (0.0, 0.0004, 0.0021, 0.7, 1.3):
        world = World()
        world.add(0, machine(0, (0,)))
        world.run(offset)
        twin = machine(0, (0,), life=2)
        world.intrude(9, twin)
        world.run(60)
        states = sorted([world.state(0), twin.state.value])
        assert "refused" in states
        assert states != ["running", "running"]


def test_who_overwrites_a_running_nodes_slot_stops_it() -> None:
    world = cluster(2)
    world.run(30)
    foreign = replace(slot(world, 1), generation=77, name="thief")
    for second in range(40):
        world.at(30.5 + second, lambda: world.disk.__setitem__(slice(1024, 1536), own.render_slot(foreign)))
    world.run(100)
    assert world.fences[1].cause is Cause.SLOT
    assert "number 1 (thief)" in world.fences[1].reason


def test_storage_that_loses_writes_is_not_trusted() -> None:
    world = cluster(2)
    world.run(30)
    stale = bytes(world.disk[1024:1536])
    for tick in range(80_000):
        world.at(30 + tick / 1000 + 0.0003, lambda: world.disk.__setitem__(slice(1024, 1536), stale))
    world.run(100)
    assert world.fences[1].cause is Cause.SLOT
    assert "a write was lost" in world.fences[1].reason


def test_a_newcomer_with_other_timing_is_refused() -> None:
    world = World()
    world.add(0, machine(0))
    world.run(30)
    world.add(1, machine(1, timing=Timing.of(seconds(60))))
    world.run(120)
    assert world.state(1) == "refused"
    assert "timing differs from that of node 0: expected deadline 30 s" in world.machines[1].status(0).reason
    assert world.kinds(Kind.PEER_MISMATCHED, 1)
    assert not [action for _, node, action in world.actions if node == 1 and isinstance(action, Extend)]
    assert world.state(0) == "running"


def test_a_slot_that_cannot_be_read_accuses_nobody_and_lets_nobody_new_in() -> None:
    world = BadSector(holds=False)
    nodes = (0, 1, 2)
    for node in (0, 1):
        world.add(node, machine(node, nodes))
    world.run(30)
    world.bad = 1
    world.run(200)
    assert world.state(0) == "running"
    assert world.peer(0, 1) == "live"
    assert world.kinds(Kind.PEER_UNREADABLE, 0)[0].fields["node"] == 1
    assert list(world.fenced) == [1], "who cannot read its own slot cannot go on"
    assert not world.kinds(Kind.PEER_DEAD)
    world.add(2, machine(2, nodes))
    world.run(400)
    assert world.state(2) == "refused"
    assert "slot of node 1 cannot be read" in world.machines[2].status(0).reason


class BadSector(World):
    """A disk on which reads that touch a node's slot fail."""

    bad: int | None = None

    def _io(self, node: int, action: Read | Write) -> None:
        if self.bad is not None and isinstance(action, Read):
            at = 512 * (1 + self.bad)
            if action.offset <= at < action.offset + action.length:
                self._later(node, self.now + 1_000_000, ReadDone(action.tag, None, "medium error"))
                return
        super()._io(node, action)


def test_damaged_and_foreign_slots_are_not_overwritten() -> None:
    for data in (b"somebody's data".ljust(512, b"."), bytes(511) + b"\1"):
        world = World()
        world.disk[1024:1536] = data
        world.add(1, machine(1))
        world.run(30)
        assert world.state(1) == "refused"
        assert bytes(world.disk[1024:1536]) == data


def test_a_block_of_another_region_is_an_empty_slot() -> None:
    world = World()
    world.disk[1024:1536] = own.render_slot(own.Slot(bytes(16), 1, 5, 9, own.Timing(1, 2, 3)))
    world.add(1, machine(1))
    world.run(30)
    assert world.state(1) == "running"


def test_a_pill_of_the_operator() -> None:
    world = cluster(2)
    world.run(30)
    at = 512 * 9
    pill = own.Slot(REGION, own.OPERATOR, 0, 1, own.Timing(1, 2, 3), poison=(own.Poison(1, 1002), own.Poison(0, 5)))
    world.disk[at:at + 512] = own.render_slot(pill)
    world.run(40)
    assert list(world.fenced) == [1]
    assert world.fences[1] == Fence(Cause.POISON, "poisoned by the operator")


def test_an_acknowledgement_comes_only_after_the_fence_holds() -> None:
    world = cluster(2)
    world.holds = False
    world.run(30)
    world.give(0, Poison(1))
    world.run(60)
    assert 1 in world.fenced
    assert world.peer(0, 1) == "live"
    assert not slot(world, 1).held
    world.give(1, Held())
    world.run(61)
    assert slot(world, 1).held
    assert world.peer(0, 1) == "dead"


def test_without_an_acknowledgement_the_sender_waits_for_the_dead_timeout() -> None:
    world = cluster(2)
    world.holds = False
    world.run(30)
    world.give(0, Poison(1))
    world.run(120)
    dead = world.kinds(Kind.PEER_DEAD, 0)[0]
    assert dead.at >= 30 + TIMING.dead_ns / NS_PER_S - TIMING.period_ns / NS_PER_S
    assert "unchanged" in str(dead.fields["cause"])


def test_a_pill_for_one_life_is_not_for_the_next() -> None:
    world = cluster(2)
    world.run(30)
    world.give(0, Poison(1))
    world.run(40)
    world.crash(0)
    world.add(1, machine(1, life=2))
    world.run(200)
    assert world.state(1) == "running"


def test_the_side_with_storage_wins_over_the_side_that_clients_reach() -> None:
    world = cluster(2, [Stall(1, 40, 500)])
    world.run(30)
    world.give(1, Reachable(5))
    world.run(45)
    world.split([0], [1])
    world.run(200)
    assert list(world.fenced) == [1]


def test_of_three_the_pair_goes_on_and_of_four_the_lowest() -> None:
    for groups, losers in ((([0], [1, 2]), [0]), (([0, 2], [1, 3]), [1, 3])):
        world = cluster(sum(map(len, groups)))
        world.run(30)
        world.split(*groups)
        world.run(150)
        assert sorted(world.fenced) == losers
        winner = next(node for node in world.machines if node not in losers)
        assert world.machines[winner].status(world.now).quorum


def test_a_split_that_heals_soon_fences_nobody() -> None:
    world = cluster(2)
    world.run(30)
    world.split([0], [1])
    world.run(33)
    assert not world.machines[0].status(world.now).quorum
    world.split([0], [1], heal=True)
    world.run(120)
    assert not world.fenced
    assert world.machines[0].status(world.now).quorum


def test_a_newcomer_without_a_network_does_not_harm_the_members() -> None:
    world = World()
    nodes = (0, 1, 2)
    for node in (1, 2):
        world.add(node, machine(node, nodes))
    world.run(30)
    world.cut(0, 1)
    world.cut(0, 2)
    newcomer = machine(0, nodes)
    world.add(0, newcomer)
    world.give(0, Reachable(9))
    world.run(200)
    assert newcomer.state.value == "refused"
    assert "the cluster network does not reach it" in newcomer.status(0).reason
    assert not world.fenced


def test_without_a_network_there_is_no_quorum_to_lose() -> None:
    world = World()
    for node in (0, 1):
        world.add(node, machine(node, network=False))
    world.cut(0, 1)
    world.run(100)
    assert [world.state(node) for node in (0, 1)] == ["running"] * 2
    assert world.machines[0].status(world.now).quorum


def test_a_process_that_was_stopped_too_long_is_fenced_before_it_does_anything() -> None:
    world = cluster(2)
    world.run(30)
    paused = world.machines[1]
    actions = paused.handle_timer(world.now + seconds(45))
    assert [action for action in actions if not isinstance(action, Happened)] == [
        Fence(Cause.STORAGE, paused.status(0).reason)]


def test_settings_that_do_not_fit() -> None:
    for node, nodes, generation, words in ((3, (0, 1), 1, "with 3 among them"), (0, (1, 0), 1, "ascending"),
                                           (0, (0, 8), 1, "the region has 8 slots"), (0, (0,), 0, "random number")):
        with pytest.raises(ValueError, match=words):
            Settings(node, nodes, generation, REGION, TIMING, Layout(Holds.OWN, 512, 8))


def test_sectors_of_4096_bytes_and_slots_far_apart() -> None:
    world = World(size=2 << 20)
    layout = Layout(Holds.OWN, 4096, 255)
    for node in (3, 200):
        world.add(node, Own(Settings(node, (3, 200), node, REGION, TIMING, layout)))
    world.run(60)
    assert world.peer(3, 200) == world.peer(200, 3) == "live"
