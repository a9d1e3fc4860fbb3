"""Novell/OES Cluster Services as a timing model (OES Cluster Services guide: cluster protocols).

Its heartbeats go over the network, but a node that waits for its storage is silent there too; so a heartbeat here is a
block that has been written. The master casts out a node that is silent for the tolerance, the others a master that is
silent for the slave watchdog: by a poison pill, which is `Fence` here, when it would be given. The master is the living
node with the lowest number. Nothing keeps a silent node from writing before it reads its pill: that is why NCS wants
I/O to fail, and never to wait, when its paths are gone.
"""

from mpio.heartbeat.models.cycle import Cycle, Pace, Since
from mpio.model.cluster import Ncs
from mpio.units import NS_PER_S


class NcsNode(Cycle):
    """One node."""

    def __init__(self, node: int, nodes: tuple[int, ...], generation: int, settings: Ncs) -> None:
        super().__init__(node, nodes, generation, Since.COMPLETION)
        self._as_slave = _pace(settings.heartbeat, settings.tolerance)
        self._as_master = _pace(settings.master_watchdog, settings.slave_watchdog)

    @property
    def is_master(self) -> bool:
        """Whether no living node has a lower number."""
        return not any(peer.is_alive for peer in self.peers.values() if peer.node < self.node)

    def pace(self) -> Pace:
        """A master's or another's."""
        return self._as_master if self.is_master else self._as_slave


def _pace(interval: int, limit: int) -> Pace:
    period, silent = interval * NS_PER_S, limit * NS_PER_S
    return Pace(period_ns=period, limit_ns=silent, warn_ns=silent // 2, watchdog_ns=silent, dead_ns=silent,
                pause_ns=period)
