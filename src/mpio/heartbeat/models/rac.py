"""Oracle Clusterware's voting file as a timing model (Oracle note 294430.1, ocssd.log).

A disk heartbeat each second; a node whose I/O to the voting file is out for the disktimeout is evicted. While the
cluster reconfigures, which is as long as a living node is not heard over the network, the limit is the short one:
misscount less reboottime. A node is dead when its block has not changed for the disktimeout, or for misscount once it
is not heard any more. Who is evicted when the network alone is split is not modelled.
"""

from dataclasses import replace

from mpio.heartbeat.models.cycle import Cycle, Pace, Since
from mpio.heartbeat.models.peer import Peer
from mpio.model.cluster import Rac
from mpio.units import NS_PER_S


class RacNode(Cycle):
    """One node with one voting file."""

    def __init__(self, node: int, nodes: tuple[int, ...], generation: int, settings: Rac) -> None:
        super().__init__(node, nodes, generation, Since.STALL)
        long, short = settings.disktimeout * NS_PER_S, (settings.misscount - settings.reboottime) * NS_PER_S
        self._misscount_ns = settings.misscount * NS_PER_S
        self._steady = Pace(period_ns=NS_PER_S, limit_ns=long, warn_ns=long // 2, watchdog_ns=NS_PER_S + long,
                            dead_ns=long, pause_ns=NS_PER_S)
        self._short = replace(self._steady, limit_ns=min(long, short), warn_ns=min(long, short) // 2,
                              watchdog_ns=NS_PER_S + min(long, short))

    @property
    def is_reconfiguring(self) -> bool:
        """Whether a node that seems to live is not heard."""
        return any(peer.is_alive and not peer.connected for peer in self.peers.values())

    def pace(self) -> Pace:
        """With the long disk timeout or with the short one."""
        return self._short if self.is_reconfiguring else self._steady

    def _dead_ns(self, peer: Peer) -> int:
        return super()._dead_ns(peer) if peer.connected else self._misscount_ns
