"""One node of a cluster: a map, a heartbeat machine over it, an application, and a watchdog; in lives, one by one.

A life ends with a crash or a fence; the node is then gone without a word, and boots again. What it has sent by then
travels on. The watchdog and the fence's own delay are hardware: they work while the node stands still.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mpio.engine.map import Request
from mpio.errors import LocalProtocolError
from mpio.events import Kind
from mpio.heartbeat.machine import (
    Action,
    Connected,
    Disconnected,
    Extend,
    Fence,
    Happened,
    Heartbeat,
    Held,
    Input,
    Leave,
    NodeState,
    Poison,
    Reachable,
    Read,
    ReadDone,
    Received,
    Send,
    Write,
    WriteDone,
)
from mpio.model.settings import Settings
from mpio.sim.cluster.manager import Manager
from mpio.sim.cluster.network import ClusterNetwork, Socket
from mpio.sim.cluster.work import Work
from mpio.sim.swarm.host import SwarmHost
from mpio.sim.swarm.judge import Judge
from mpio.sim.swarm.link import Cable
from mpio.sim.swarm.schedule import Process, Schedule, Timer

READY_POLL_NS = 5_000_000
REPING_NS = 100_000_000
_MILLION = 1_000_000
_OUT = (NodeState.LEFT, NodeState.REFUSED)
_SERVING = (NodeState.RUNNING, NodeState.HUNG)


class NodeHost(SwarmHost):
    """A host whose map is used by the node."""

    @property
    def is_ready(self) -> bool:
        """Whether the map knows its LU, and can be used."""
        return self.map.identity is not None

    def read(self, offset: int, length: int, done: Callable[[bytes | None, str], None]) -> None:
        """Read; `done` gets the bytes, or None and why."""
        buffer = bytearray(length)

        def ended(request: Request) -> None:
            error = request.error
            done(bytes(buffer) if error is None else None, "" if error is None else str(error))

        try:
            self.map.submit_read(offset, memoryview(buffer), ended, self.tick())
        except LocalProtocolError as error:
            done(None, str(error))
        self._arm()

    def write(self, offset: int, data: bytes, done: Callable[[str, bool], None]) -> None:
        """Write; `done` gets why it failed, or nothing, and whether a failed one may still land."""
        def ended(request: Request) -> None:
            error = request.error
            done("" if error is None else str(error), error is not None and request.may_have_landed)

        try:
            self.map.submit_write(offset, data, ended, self.tick(), fua=True)
        except LocalProtocolError as error:
            done(str(error), False)
        self._arm()


class Observer(Protocol):
    """Who is told what nodes do; instants are true time."""

    def booted(self, node: "Node") -> None:
        """A life has begun."""

    def gone(self, node: "Node", cause: str) -> None:
        """The life can send nothing new any more."""

    def happened(self, node: "Node", event: Happened) -> None:
        """The machine says so."""

    def fenced(self, node: "Node", fence: Fence) -> None:
        """The machine has ordered its fence."""

    def watchdog_bit(self, node: "Node") -> None:
        """Nobody has fed the watchdog."""

    def extended(self, node: "Node", until_ns: int) -> None:
        """The lease is longer now; local time."""

    def heartbeat_sent(self, node: "Node", offset: int, data: bytes) -> None:
        """A block of the heartbeat region is about to be written."""

    def heartbeat_done(self, node: "Node", data: bytes) -> None:
        """The node knows that it has been."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What a node is.

    Attributes:
        number: its own. peers: the others. settings: of its map. target_name: what it logs in to.
        ppm: how fast its clock runs. cables: to the portals.
        make: its heartbeat machine, for a generation.
        region_at: where the heartbeat region begins on the LU, bytes.
        fence_late_ns, holds, reboot_ns: see ClusterPlan. hold_ns: how long stopping may take before it is reset.
        manager: what decides about fences above a heartbeat that does not.
    """

    number: int
    peers: tuple[int, ...]
    settings: Settings
    target_name: str
    ppm: int
    cables: list[Cable]
    make: Callable[[int, int], Heartbeat]
    region_at: int
    fence_late_ns: int
    hold_ns: int
    holds: bool
    reboot_ns: int
    manager: Callable[["Node"], Manager] | None = None


class Node:
    """A node.

    Attributes:
        life: counted from 1; 0 before the first boot. generation: of this life, for its heartbeat.
        process, host, machine, work: of the present life; machine is None while the storage is not there yet.
        state: what the machine was last heard to be, a NodeState's value.
        is_up: whether the present life runs. frozen: its data I/O is stopped for good. left: it has left cleanly.
        lease_until_ns: of its watchdog, local time; None while it holds none.
        pauses: reasons why it stands still.
    """

    def __init__(
        self, spec: NodeSpec, schedule: Schedule, network: ClusterNetwork, judge: Judge, observer: Observer,
        make_work: Callable[["Node", random.Random], Work], rng: random.Random,
    ) -> None:
        self.spec = spec
        self.number = spec.number
        self.life = 0
        self.generation = 0
        self.state = ""
        self.is_up = False
        self.frozen = False
        self.left = False
        self.pauses = 0
        self.lease_until_ns: int | None = None
        self.host: NodeHost
        self.process: Process
        self.work: Work
        self.machine: Heartbeat | None = None
        self._schedule = schedule
        self._network = network
        self._judge = judge
        self._observer = observer
        self._make_work = make_work
        self._rng = rng
        self._isid_seed = rng.getrandbits(64)
        self._score = -1
        self._timer: Timer
        self._socket: Socket
        self._manager: Manager | None = None
        self._inputs: list[Input] = []
        self._busy = False

    # --- lives

    def boot(self) -> None:
        """Begin the next life, unless one is under way."""
        if self.is_up:
            return
        spec = self.spec
        self.life += 1
        self.generation = self._rng.getrandbits(63) | 1
        self.is_up = True
        self.frozen = self.left = self._busy = False
        self.lease_until_ns = None
        self.machine = None
        self.state = ""
        self._inputs = []
        self._score = -1
        self.host = NodeHost(
            self._schedule, spec.number, spec.settings, spec.cables, self._judge, random.Random(self._isid_seed),
            target_name=spec.target_name, ppm=spec.ppm)
        self.process = self.host.process
        self.process.pauses = self.pauses
        self.work = self._make_work(self, random.Random(self._rng.getrandbits(64)))
        self._timer = Timer(self.process, self._ring)
        self._observer.booted(self)
        self._join(self.life)

    def _join(self, life: int) -> None:
        """Start the heartbeat as soon as the storage is there."""
        if not self.is_up or life != self.life:
            return
        if self.process.pauses or not self.host.is_ready:
            self._schedule.at(self._schedule.now + READY_POLL_NS, self._join, life)
            return
        self.machine = self.spec.make(self.number, self.generation)
        self._perform(self.machine.start(self.host.tick()))
        self._manager = None if self.spec.manager is None else self.spec.manager(self)
        self._socket = Socket(
            self._network, self.process, self.number, self.spec.peers,
            on_message=lambda peer, data: self.tell(Received(peer, data)),
            on_connected=self._connected, on_disconnected=self._disconnected)
        self._ping()

    def _connected(self, peer: int) -> None:
        self.tell(Connected(peer))
        if self._manager is not None:
            self._manager.connected(peer)

    def _disconnected(self, peer: int) -> None:
        self.tell(Disconnected(peer))
        if self._manager is not None:
            self._manager.disconnected(peer)

    def crash(self, cause: str = "crashed") -> None:
        """The machine is gone, now. It boots again after a while."""
        if not self.is_up:
            return
        self.is_up = False
        self._observer.gone(self, cause)
        self.process.kill()
        self.work.stop()
        for cable in self.spec.cables:
            cable.lose_host()
        self._schedule.at(self._schedule.now + self.spec.reboot_ns, self.boot)

    def pause(self, step: int) -> None:
        """One reason more or less to stand still: all of the node but its watchdog."""
        self.pauses += step
        if self.is_up:
            if step > 0:
                self.process.pause()
            else:
                self.process.resume()

    def leave(self) -> None:
        """Stop the application, then leave, and boot again later."""
        if self.is_up and self.machine is not None and self.is_serving and not self.work.stopping:
            self.process.call(self.work.finish, lambda: self.tell(Leave()))

    def poison(self, victim: int) -> None:
        """An operator wants the victim fenced, and says so here."""
        if self.is_up and self.machine is not None:
            self.process.call(self.tell, Poison(victim))

    @property
    def is_serving(self) -> bool:
        """Whether the machine says that the node is a member."""
        return self.is_up and self.state in _SERVING

    # --- the machine

    def tell(self, item: Input) -> None:
        """Hand an input to the machine, now, or after what it is at."""
        if not self.is_up or self.machine is None:
            return
        self._inputs.append(item)
        if not self._busy:
            self._drain()

    def _drain(self) -> None:
        assert self.machine is not None
        self._busy = True
        while self._inputs and self.is_up:
            item = self._inputs.pop(0)
            now = self.host.tick()
            deadline = self.machine.next_deadline()
            if deadline is not None and deadline <= now:  # what is due comes first, as in io.heartbeat_agent
                self._perform(self.machine.handle_timer(now))
            self._perform(self.machine.handle(item, now))
        self._busy = False
        if self.is_up:
            self._timer.arm(self.machine.next_deadline())

    def _ring(self) -> None:
        if self.is_up and self.machine is not None:
            self._busy = True
            self._perform(self.machine.handle_timer(self.host.tick()))
            self._drain()

    def _perform(self, actions: list[Action]) -> None:
        told = False
        for action in actions:
            if not self.is_up:
                return
            match action:
                case Read():
                    self._read(action)
                case Write():
                    self._write(action)
                case Send():
                    self._socket.send(action.peer, action.data)
                case Extend():
                    self._feed(action.until_ns)
                case Fence():
                    self._fence(action)
                case Happened():
                    if action.kind is Kind.HEARTBEAT_STATE_CHANGED:
                        self.state = str(action.fields["new"])
                    self._observer.happened(self, action)
                    told = True
        if self.machine is not None and self.is_up:
            self._timer.arm(self.machine.next_deadline())
            if told:
                self._look_around()

    def _look_around(self) -> None:
        """Something has changed: see what this node may do now."""
        if not self.left and self.state in _OUT:
            self._leave_off()
        else:
            self.work.look()

    def _leave_off(self) -> None:
        """It is no member, and will not become one in this life."""
        self.left = True
        self.lease_until_ns = None
        self.process.later(self.spec.reboot_ns, self.crash, "restarted")

    def _read(self, action: Read) -> None:
        tag = action.tag

        def done(data: bytes | None, error: str) -> None:
            self.process.soon(self.tell, ReadDone(tag, data, error))

        self.host.read(self.spec.region_at + action.offset, action.length, done)

    def _write(self, action: Write) -> None:
        tag, data = action.tag, action.data

        def done(error: str, _may_land: bool) -> None:
            if not error:
                self._observer.heartbeat_done(self, data)
            self.process.soon(self.tell, WriteDone(tag, error))

        self._observer.heartbeat_sent(self, action.offset, data)
        self.host.write(self.spec.region_at + action.offset, data, done)

    def _ping(self) -> None:
        """See whether clients can be reached, now and then."""
        score = int(self._network.reaches_clients(self.number))
        if score != self._score:
            self._score = score
            self.tell(Reachable(score))
        self.process.later(REPING_NS, self._ping)

    # --- watchdog and fence

    def _feed(self, until_ns: int) -> None:
        self._observer.extended(self, until_ns)
        self.lease_until_ns = until_ns
        self._schedule.at(self._true_ns(until_ns), self._bite, self.life, until_ns)

    def _true_ns(self, local_ns: int) -> int:
        """When the node's clock shows this time."""
        return -(-local_ns * _MILLION // (_MILLION + self.spec.ppm))

    def _bite(self, life: int, until_ns: int) -> None:
        """The watchdog's own end of the lease. The engine, if it is awake, fences in the same instant."""
        if self.is_up and life == self.life and self.lease_until_ns == until_ns and not self.frozen:
            self._schedule.at(self._schedule.now + self.spec.fence_late_ns, self._bite_for_good, life, until_ns)

    def _bite_for_good(self, life: int, until_ns: int) -> None:
        if self.is_up and life == self.life and self.lease_until_ns == until_ns and not self.frozen:
            self._observer.watchdog_bit(self)
            self.crash("watchdog")

    def _fence(self, fence: Fence) -> None:
        """The machine's order. It holds a little later: until then the application goes on."""
        self._observer.fenced(self, fence)
        self.lease_until_ns = None
        self._schedule.at(self._schedule.now + self.spec.fence_late_ns, self._hold, self.life)

    def _hold(self, life: int) -> None:
        if not self.is_up or life != self.life:
            return
        if not self.spec.holds:
            self.crash("fenced")
            return
        self.frozen = True
        self.work.finish(self._held)
        self._schedule.at(self._schedule.now + self.spec.hold_ns, self._reset_at_last, life)

    def _held(self) -> None:
        """No write of the application is under way any more. If none has been lost sight of, the fence holds."""
        if self.is_up and not self.work.in_doubt:
            self._observer.gone(self, "held")
            self.tell(Held())

    def _reset_at_last(self, life: int) -> None:
        if self.is_up and life == self.life:
            self.crash("fenced")
