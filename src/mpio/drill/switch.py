"""A network of the nodes in memory: a switch with a port for each, whose wire can be cut or slow.

Carries datagrams as UDP does: without a promise. The cluster network and the client network of a drill are such
switches; only the paths to the LUN are TCP connections through relays.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mpio.drill.fabric import Fault, check_fault
from mpio.errors import InputError
from mpio.heartbeat.machine import Reachable
from mpio.heartbeat.reachability import Reachability
from mpio.units import NS_PER_S

MS_PER_S = 1_000
WAITING_MAX = 1_000  # datagrams on their way; more are lost, as in a full buffer


@dataclass(slots=True)
class _Way:
    """One direction of a wire."""

    cut: bool = False
    delay_s: float = 0.0


class Port:
    """Where one node is plugged in; the heartbeats' `Datagrams`."""

    def __init__(self, switch: "Switch", number: int) -> None:
        self._switch = switch
        self.number = number
        self.receive: Callable[[bytes], None] | None = None

    def open(self, receive: Callable[[bytes], None]) -> None:
        """Hand in what comes, from now on."""
        self.receive = receive

    def send(self, peer: int, data: bytes) -> None:
        """Send, maybe."""
        self._switch.carry(self.number, peer, data)

    def close(self) -> None:
        """Nothing comes or goes any more."""
        self.receive = None


class Switch:
    """Ports by number; a port is made when it is first asked for. `name` is for the journal."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ports: dict[int, Port] = {}
        self._out: dict[int, _Way] = {}
        self._in: dict[int, _Way] = {}
        self._faults: dict[int, Fault] = {}
        self._waiting: dict[asyncio.TimerHandle, None] = {}

    def port(self, number: int) -> Port:
        """The node's port."""
        if number not in self._ports:
            self._ports[number] = Port(self, number)
            self._out[number], self._in[number] = _Way(), _Way()
        return self._ports[number]

    def carry(self, sender: int, receiver: int, data: bytes) -> None:
        """A datagram on its way: lost where a wire is cut when it is sent, or when it arrives."""
        port = self._ports.get(receiver)
        if port is None or self._out[sender].cut or self._in[receiver].cut or len(self._waiting) >= WAITING_MAX:
            return

        def arrive() -> None:
            del self._waiting[timer]
            if port.receive is not None and not self._in[receiver].cut:
                port.receive(data)

        delay_s = self._out[sender].delay_s + self._in[receiver].delay_s
        timer = asyncio.get_running_loop().call_later(delay_s, arrive)
        self._waiting[timer] = None

    def inject(self, number: int, fault: Fault) -> str:
        """Put a fault on a node's wire: `blackhole` or `delay`. Raises InputError."""
        if number in self._faults:
            raise InputError("fault", f"the {self._name} network of node {number} already has the fault "
                                      f"{self._faults[number]}; heal it first")
        params = check_fault(fault)
        way = _Way(cut=True) if fault.kind == "blackhole" else _Way(delay_s=float(params["ms"]) / MS_PER_S)
        direction = params["direction"]  # the node is the initiator
        if direction in ("both", "to_target"):
            self._out[number] = way
        if direction in ("both", "to_initiator"):
            self._in[number] = way
        self._faults[number] = fault
        return f"{self._name} network of node {number}: {Fault(fault.kind, params)}"

    def heal(self, number: int) -> str:
        """Lift the fault of a node's wire, if it has one."""
        if self._faults.pop(number, None) is None:
            return f"the {self._name} network of node {number} has no fault"
        self._out[number], self._in[number] = _Way(), _Way()
        return f"{self._name} network of node {number}: clear"

    def close(self) -> None:
        """What is on its way is lost."""
        for timer in self._waiting:
            timer.cancel()
        self._waiting.clear()


class Pinger:
    """Asks the clients again and again whether they hear this node.

    Args:
        port: of the node, on the client network. clients: by name, at which port of the network; they `echo`.
        interval_ns: from one round to the next, and how long an answer may take.
        reachability: makes a score of it. tell: gets the score when there is news.
    """

    def __init__(self, port: Port, clients: Mapping[str, int], interval_ns: int, reachability: Reachability,
                 tell: Callable[[Reachable], None], clock: Callable[[], int]) -> None:
        self._port = port
        self._clients = clients
        self._interval_s = interval_ns / NS_PER_S
        self._reachability = reachability
        self._tell = tell
        self._clock = clock
        self._round = 0
        self._answered: dict[str, None] = {}

    async def run(self) -> None:
        """Ask, wait, tell, until cancelled."""
        self._port.open(self._heard)
        while True:
            self._round += 1
            self._answered = {}
            for name, number in self._clients.items():
                self._port.send(number, self._question(name))
            await asyncio.sleep(self._interval_s)
            for name in self._clients:
                for news in self._reachability.heard(name, name in self._answered, self._clock()):
                    self._tell(news)

    def _question(self, client: str) -> bytes:
        return f"{self._port.number} {client} {self._round}".encode()

    def _heard(self, data: bytes) -> None:
        for client in self._clients:
            if data == self._question(client):
                self._answered[client] = None


def echo(switch: Switch, client: int) -> None:
    """Plug in a client that answers whoever asks. Its number must not be a node's."""
    port = switch.port(client)
    port.open(lambda data: port.send(int(data.split()[0]), data))
