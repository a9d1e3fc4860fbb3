"""The networks beside the storage's: one between the nodes, for small messages, and one to the clients.

Messages are late, lost, or both, and never altered: the real ones carry a MAC. Who hears whom follows from hellos, as
in a real agent: a peer counts as connected from its first message on until nothing has come for the idle time.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from mpio.sim.swarm.schedule import Process, Schedule

HELLO = b""


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """The nodes' network without faults: delay, up to so much more, how often hellos go out, what silence is a loss."""

    delay_ns: int
    jitter_ns: int
    hello_ns: int
    idle_ns: int


class ClusterNetwork:
    """What joins the nodes to each other and to the clients.

    Attributes:
        spec: as given.
        loss: permille of messages that get lost. extra_ns: delay beyond the usual.
    """

    def __init__(self, schedule: Schedule, spec: NetworkSpec, nodes: int, rng: random.Random) -> None:
        self.spec = spec
        self.loss = 0
        self.extra_ns = 0
        self._schedule = schedule
        self._rng = rng
        self._cuts = [[0] * nodes for _ in range(nodes)]  # reasons why nothing passes, by sender and receiver
        self._clients_lost = [0] * nodes
        self._sockets: dict[int, Socket] = {}

    def plug_in(self, socket: "Socket") -> None:
        """This is where a node's messages go from now on."""
        self._sockets[socket.node] = socket

    def cut(self, sender: int, receiver: int, step: int) -> None:
        """One reason more (`step` 1) or less (-1) why nothing passes."""
        self._cuts[sender][receiver] += step

    def lose_clients(self, node: int, step: int) -> None:
        """One reason more or less why clients do not reach a node."""
        self._clients_lost[node] += step

    def passes(self, sender: int, receiver: int) -> bool:
        """Whether a message gets through now."""
        return not self._cuts[sender][receiver]

    def reaches_clients(self, node: int) -> bool:
        """Whether the node's pings are answered now."""
        return not self._clients_lost[node]

    def send(self, sender: int, receiver: int, data: bytes) -> None:
        """Send a message."""
        rng, spec = self._rng, self.spec
        if self._cuts[sender][receiver] or (self.loss and rng.randrange(1000) < self.loss):
            return
        delay_ns = spec.delay_ns + self.extra_ns + (rng.randrange(spec.jitter_ns) if spec.jitter_ns else 0)
        self._schedule.at(self._schedule.now + delay_ns, self._arrive, sender, receiver, data)

    def _arrive(self, sender: int, receiver: int, data: bytes) -> None:
        socket = self._sockets.get(receiver)
        if socket is not None and self.passes(sender, receiver):
            socket.process.call(socket.take, sender, data)


class Socket:
    """One node's end, in one life of the node.

    Args:
        peers: whom to say hello to.
        on_message, on_connected, on_disconnected: what to call, with the peer's number first.
    """

    def __init__(
        self, network: ClusterNetwork, process: Process, node: int, peers: tuple[int, ...], *,
        on_message: Callable[[int, bytes], None], on_connected: Callable[[int], None],
        on_disconnected: Callable[[int], None],
    ) -> None:
        self.process = process
        self.node = node
        self._network = network
        self._peers = peers
        self._on_message = on_message
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._heard: dict[int, int] = {}  # when, by peers that are connected
        network.plug_in(self)
        self._hello()

    def send(self, peer: int, data: bytes) -> None:
        """Send a message that is not empty."""
        self._network.send(self.node, peer, data)

    def take(self, sender: int, data: bytes) -> None:
        """A message has come."""
        is_new = sender not in self._heard
        self._heard[sender] = self.process.clock()
        if is_new:
            self._on_connected(sender)
        if data:
            self._on_message(sender, data)

    def _hello(self) -> None:
        now = self.process.clock()
        for peer in self._peers:
            self._network.send(self.node, peer, HELLO)
        silent = [peer for peer, heard in self._heard.items() if now - heard >= self._network.spec.idle_ns]
        for peer in silent:
            del self._heard[peer]
            self._on_disconnected(peer)
        self.process.later(self._network.spec.hello_ns, self._hello)
