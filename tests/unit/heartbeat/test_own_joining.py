"""A node whose storage hangs while it joins must not become a member in a life that others may have called dead."""

import pytest
from tests.unit.heartbeat.test_own import cluster
from tests.unit.heartbeat.world import Stall

from mpio.events import Kind


@pytest.mark.parametrize("begin", [2.5, 4.5, 6.5])
def test_a_life_that_was_called_dead_while_it_joined_does_not_become_a_member(begin: float) -> None:
    world = cluster(2, [Stall(1, begin, begin + 70, lands=True)])
    world.run(300)
    assert world.kinds(Kind.PEER_DEAD, 0)
    assert world.state(1) == "refused"
    assert str(world.kinds(Kind.JOIN_REFUSED, 1)[0].fields["cause"]).startswith("no heartbeat")
    assert world.state(0) == "running"


def test_a_short_stall_while_joining_is_waited_for() -> None:
    world = cluster(2, [Stall(1, 4.5, 20, lands=True)])
    world.run(300)
    assert world.state(1) == "running"
    assert not world.kinds(Kind.PEER_DEAD)
