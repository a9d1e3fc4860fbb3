"""What a machine of o2cb can't do in its state it does not ask to be woken for: a shell would spin."""

from tests.unit.heartbeat.test_o2cb import cluster
from tests.unit.heartbeat.world import Stall, World

from mpio.heartbeat.machine import Leave
from mpio.units import seconds


def must_sleep(world: World, node: int, at: float) -> None:
    machine = world.machines[node]
    machine.handle_timer(seconds(at))
    deadline = machine.next_deadline()
    assert deadline is None or deadline > seconds(at)


def test_a_connection_that_is_lost_while_joining_is_not_decided_about_before_the_end_of_that() -> None:
    world = cluster(3, [Stall(1, 5, 100, error="I/O error")])
    world.run(6)
    world.cut(0, 1)
    world.run(15.9)
    assert world.state(1) == "joining"
    must_sleep(world, 1, 16.5)


def test_who_leaves_with_a_hung_disk_does_not_ask_whether_others_hang_too() -> None:
    world = cluster(7, [Stall(1, 30, 100)])
    world.run(33)
    world.give(1, Leave())
    assert world.state(1) == "leaving"
    must_sleep(world, 1, 37)
