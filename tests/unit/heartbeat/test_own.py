"""mpio's own heartbeat: joining, leaving, riding through, fencing, pills, splits."""

from tests.unit.heartbeat.world import Stall, World

from mpio.events import Kind
from mpio.heartbeat.machine import Cause, Leave, Poison, Reachable
from mpio.heartbeat.own import Own, Settings
from mpio.heartbeat.region import Holds, Layout
from mpio.heartbeat.timing import Timing
from mpio.units import seconds

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
