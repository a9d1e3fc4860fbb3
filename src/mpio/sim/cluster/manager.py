"""What a cluster manager does above SBD, as far as its timing goes: who is not heard any more is fenced, by one side.

A side may fence that has more than half of the nodes, or half of them. Of two halves the one with the lowest number
acts at once and the other one only after a delay (pcmk_delay_max), by when it is dead unless the first could not do it.
"""

from collections.abc import Callable

from mpio.sim.swarm.schedule import Process

GRACE_NS = 1_000_000_000
DELAY_NS = 8_000_000_000
"""Longer than a pill takes to be written and found: a loop, and some I/O that hangs for a while."""


class Manager:
    """One node's.

    Args:
        nodes: all configured ones. has_left: whether a node said goodbye to the cluster. poison: fences a node.
    """

    def __init__(
        self, process: Process, node: int, nodes: int, has_left: Callable[[int], bool], poison: Callable[[int], None],
    ) -> None:
        self._process = process
        self._node = node
        self._nodes = nodes
        self._has_left = has_left
        self._poison = poison
        self._heard: dict[int, None] = {}

    def connected(self, peer: int) -> None:
        """A peer is heard."""
        self._heard[peer] = None

    def disconnected(self, peer: int) -> None:
        """It is not heard any more."""
        self._heard.pop(peer, None)
        self._process.later(GRACE_NS, self._decide, peer, 0)

    def _decide(self, peer: int, waited: int) -> None:
        side = [self._node, *self._heard]
        if peer in self._heard or self._has_left(peer) or 2 * len(side) < self._nodes or min(side) != self._node:
            return
        if 2 * len(side) == self._nodes and 0 not in side and not waited:
            self._process.later(DELAY_NS, self._decide, peer, 1)
        else:
            self._poison(peer)
