"""The target of a run: a node that can be told to misbehave, in a process that can be stopped, killed and started.

Commands take time, as those of a real array do, and while they wait their session may end: then they must not be
executed. What goes wrong is set in `Trouble`, one for each portal and one for the whole target; kinds that can overlap
are counted, so that they nest.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from mpio.errors import LoginRejected
from mpio.model.address import Portal
from mpio.model.identity import AluaState
from mpio.model.task import Buffer, Status
from mpio.proto.iscsi.negotiation import SessionParams
from mpio.proto.iscsi.pdu import RequestHeader
from mpio.proto.iscsi.target import TargetConnection
from mpio.proto.iscsi.target_login import Admission, TargetParams
from mpio.proto.iscsi.target_state import ConnectionEnded, TargetEvent
from mpio.proto.iscsi.target_task import TargetTask
from mpio.proto.scsi.cdb import Op, lba_and_blocks
from mpio.proto.scsi.sense import Sense
from mpio.sim.swarm.disk import SwarmDisk
from mpio.sim.swarm.endpoint import Endpoint
from mpio.sim.swarm.judge import Judge
from mpio.sim.swarm.life import LUN
from mpio.sim.swarm.link import End
from mpio.sim.swarm.schedule import Process, Schedule
from mpio.target.nexus import Nexus
from mpio.target.node import TargetNode
from mpio.target.response import Response

_WRITES = frozenset((int(Op.WRITE_10), int(Op.WRITE_16)))
_READS = frozenset((int(Op.READ_10), int(Op.READ_16)))
_NETWORK = "192.0.2."
_SERVICE_UNAVAILABLE = 0x0301  # RFC 7143 §11.13.5: may be tried again
_FLUSH = int(Op.SYNCHRONIZE_CACHE_10)
_MEDIUM = _WRITES | _READS | {_FLUSH}
_TROUBLED = _MEDIUM | {int(Op.TEST_UNIT_READY)}

SENSE_ODDS = 2
SENSES: tuple[tuple[tuple[int, int, int], bool], ...] = (
    ((0x2, 0x04, 0x01), False),  # becoming ready
    ((0x2, 0x04, 0x0A), False),  # transition
    ((0x2, 0x04, 0x0B), False),  # standby
    ((0x2, 0x04, 0x0C), False),  # unavailable
    ((0x3, 0x11, 0x00), False),  # medium
    ((0x4, 0x44, 0x00), True),  # internal target failure
    ((0x5, 0x25, 0x00), False),  # no such LUN
    ((0x6, 0x29, 0x00), False),  # power on or reset
    ((0x6, 0x2A, 0x06), False),  # ALUA state changed
    ((0x6, 0x2A, 0x09), False),  # capacity changed
    ((0x6, 0x3F, 0x0E), False),  # LUNs changed
    ((0xB, 0x47, 0x05), True),  # aborted: protocol error
    ((0xB, 0x4B, 0x00), False),  # aborted: data phase
)
"""Sense that a portal may end commands with, and whether a write was carried out before."""


@dataclass(slots=True)
class Trouble:
    """What goes wrong now.

    Attributes:
        mute: pings are not answered. reject: logins are refused, for now.
        delay_ns: commands take up to so much longer. hung: no command is executed.
        busy, drop, short: permille of commands that end with BUSY; are done and not answered; are done in part and
            answered GOOD with a residual.
        senses: indices in SENSES, of which one in SENSE_ODDS ends a command.
    """

    mute: int = 0
    reject: int = 0
    delay_ns: int = 0
    hung: int = 0
    busy: int = 0
    drop: int = 0
    short: int = 0
    senses: list[int] = field(default_factory=list)


class TroubledConnection(TargetConnection):
    """A connection of the target that may not answer pings.

    Attributes:
        trouble: that of its portal. number: of the TCP connection. nexus: once the session is open.
    """

    nexus: Nexus

    def __init__(self, params: TargetParams, node: "TroubledNode", now: int, trouble: Trouble, number: int) -> None:
        super().__init__(params, node, now)
        self.trouble = trouble
        self.number = number

    def _on_nop_out(self, header: RequestHeader, data: memoryview) -> None:
        if not self.trouble.mute:
            super()._on_nop_out(header, data)


class TroubledNode(TargetNode):
    """A node whose commands take time and go wrong."""

    def __init__(self, name: str, target: "SwarmTarget") -> None:
        super().__init__(name)
        self._target = target

    def admit(self, initiator_name: str, target_name: str | None, portal: Portal) -> Admission:
        """As in TargetNode, unless the portal refuses logins."""
        if self._target.portals[portal_number(portal)].reject:
            raise LoginRejected("out of service", status=_SERVICE_UNAVAILABLE)
        return super().admit(initiator_name, target_name, portal)

    def open_session(self, connection: TargetConnection, params: SessionParams) -> int:
        """As in TargetNode, with the troubles between the connection and the device."""
        tsih = super().open_session(connection, params)
        assert isinstance(connection, TroubledConnection)
        run, troubled = connection.on_command, connection
        troubled.nexus = next(s.nexus for s in self.sessions.values() if s.connection is connection)
        connection.on_command = lambda task: self._target.take(troubled, task, run)
        return tsih


class SwarmTarget:
    """A machine with a disk that serves a LU on some portals.

    Args:
        tpgts: the portal group of each portal. latency_ns: what a command takes, up to.
        params: TargetParams by name. naa: of the LU.

    Attributes:
        name: which one it is. listening: whether connects are accepted. node: the one in service. process: it runs in.
        portals: troubles of each portal. common: of all.
    """

    def __init__(
        self, schedule: Schedule, disk: SwarmDisk, rng: random.Random, judge: Judge, *, name: str, iqn: str,
        tpgts: tuple[int, ...], block_size: int, latency_ns: int, params: dict[str, int | float | bool | str],
        naa: bytes, ppm: int,
    ) -> None:
        self.name = name
        self.listening = False
        self.disk = disk
        self.portals = [Trouble() for _ in tpgts]
        self.common = Trouble()
        self.down = 0  # reasons why no process serves
        self.process = Process(schedule, ppm)
        self._schedule = schedule
        self._rng = rng
        self._judge = judge
        self._iqn = iqn
        self._tpgts = tpgts
        self._block_size = block_size
        self._latency_ns = latency_ns
        self._params = params
        self._naa = naa
        self._ppm = ppm
        self._ends: list[End] = []
        self._at_work = 0  # connection whose command is being carried out
        self._pending: dict[TargetTask, Callable[[TargetTask], None]] = {}  # taken and not executed, in order
        self._alua: dict[int, AluaState] = {}
        self.node = self._make_node()

    # --- processes

    def _make_node(self) -> TroubledNode:
        node = TroubledNode(self._iqn, self)
        for tpgt in dict.fromkeys(self._tpgts):
            node.add_group(tpgt, state=self._alua.get(tpgt, AluaState.ACTIVE_OPTIMIZED))
        for number, tpgt in enumerate(self._tpgts):
            node.add_portal(tpgt, portal_address(number))
        node.add_lun(LUN, self.disk, block_size=self._block_size, naa=self._naa)
        return node

    def start(self) -> None:
        """A new process serves."""
        pauses = self.process.pauses
        self.process = Process(self._schedule, self._ppm)
        self.process.pauses = pauses
        self.node = self._make_node()
        self.listening = True

    def kill(self) -> None:
        """The process ends at once; the machine resets its connections."""
        self._end_process()
        for end in self._ends:
            end.close(abort=True)
        self._ends.clear()

    def lose_power(self) -> None:
        """The machine is gone without a word, with the commands under way and what its disk had not flushed."""
        pending = [task for task in self._pending if task.cdb[0] in _WRITES and task.connection.holds(task)]
        self._end_process()
        self._ends.clear()
        for task in pending:
            self._begin(task)
            self.disk.tear(lba_and_blocks(task.cdb)[0] * self._block_size, task.data)
        self._judge.power_failed(self.disk.lose_power())

    def _end_process(self) -> None:
        self.listening = False
        self.process.kill()
        self._pending.clear()

    def accept(self, end_of: Callable[[Process], End], portal: int) -> None:
        """See link.Listener. The kernel accepts; the process looks after the connection when it can."""
        end = end_of(self.process)
        self._ends = [other for other in self._ends if not other.closed]
        self._ends.append(end)
        self.process.call(self._serve, end, portal)

    def _serve(self, end: End, portal: int) -> None:
        params = TargetParams(
            portal_address(portal), self._tpgts[portal], bytes(16), **self._params)  # type: ignore[arg-type]
        clock = self.process.clock
        connection = TroubledConnection(params, self.node, clock(), self.portals[portal], end.number)

        def on_event(event: TargetEvent) -> None:
            if isinstance(event, ConnectionEnded):
                endpoint.finish()

        endpoint: Endpoint[TargetEvent] = Endpoint(end, connection, clock, on_event)
        endpoint.open()

    # --- commands

    def take(self, connection: TroubledConnection, task: TargetTask, run: Callable[[TargetTask], None]) -> None:
        """A command has come, with all its data."""
        if not task.is_write:  # that comes when the last of its data has come
            self._judge.command_taken(connection.number, task.itt, self._schedule.now)
        trouble, rng, opcode = connection.trouble, self._rng, task.cdb[0]
        if opcode in _TROUBLED:
            if trouble.busy and rng.randrange(1000) < trouble.busy:
                connection.complete(task, Status.BUSY)
                return
            if trouble.senses and rng.randrange(SENSE_ODDS) == 0:
                self._refuse(connection, task)
                return
        if opcode not in _MEDIUM:
            run(task)
            return
        delay_ns = 0
        for most_ns in (self._latency_ns, trouble.delay_ns, self.common.delay_ns):
            if most_ns:
                delay_ns += rng.randrange(most_ns)
        if delay_ns or trouble.hung or self.common.hung:
            self._pending[task] = run
            self._schedule.at(self._schedule.now + delay_ns, self.process.call, self._due, connection, task)
        else:
            self._execute(connection, task, run)

    def _due(self, connection: TroubledConnection, task: TargetTask) -> None:
        if connection.trouble.hung or self.common.hung:
            return  # `resume` looks after it
        run = self._pending.pop(task, None)
        if run is not None:
            self._execute(connection, task, run)

    def resume(self) -> None:
        """Something that hung does so no more: what waited is done now, in the order in which it came."""
        for task in list(self._pending):
            assert isinstance(task.connection, TroubledConnection)
            self._schedule.at(self._schedule.now, self.process.call, self._due, task.connection, task)

    def _execute(self, connection: TroubledConnection, task: TargetTask, run: Callable[[TargetTask], None]) -> None:
        if not connection.holds(task):
            return  # aborted, or its session has ended: it must not be done any more
        self._begin(task)
        trouble, rng = connection.trouble, self._rng
        if trouble.drop and rng.randrange(1000) < trouble.drop:
            self._do(connection, task, task.data)
        elif trouble.short and rng.randrange(1000) < trouble.short and task.cdb[0] != _FLUSH:
            self._do_short(connection, task)
        else:
            run(task)

    def _begin(self, task: TargetTask) -> None:
        """A command is being carried out now."""
        connection = task.connection
        assert isinstance(connection, TroubledConnection)
        self._at_work = connection.number
        if connection.negotiated is not None:
            initiator = connection.negotiated.initiator_name
            self._judge.identity.served(initiator, str(connection.params.portal), self.name, self._schedule.now)

    def landed(self, offset: int, data: Buffer) -> None:
        """The disk has written something."""
        self._judge.landed(offset // self._block_size, data, self._schedule.now, self._at_work)

    def _do(self, connection: TroubledConnection, task: TargetTask, data: Buffer) -> Response:
        return self.node.device.execute(connection.nexus, task.lun, task.cdb, data)

    def _do_short(self, connection: TroubledConnection, task: TargetTask) -> None:
        """GOOD, but the last block is missing: a residual says so."""
        size = self._block_size
        response = self._do(connection, task, memoryview(task.data)[:-size] if task.is_write else b"")
        if response.status:
            connection.complete(task, response.status, sense=response.sense)
        elif task.is_read:
            connection.complete(task, Status.GOOD, response.data[:-size], length=len(response.data) - size)
        else:
            connection.complete(task, Status.GOOD, length=task.expected_length - size)

    def _refuse(self, connection: TroubledConnection, task: TargetTask) -> None:
        self._begin(task)
        sense, is_done = SENSES[self._rng.choice(connection.trouble.senses)]
        if is_done and task.cdb[0] in _WRITES:
            self._do(connection, task, task.data)
        connection.complete(task, Status.CHECK_CONDITION, sense=Sense(*sense).build())

    # --- other things that happen

    def set_alua(self, tpgt: int, state: AluaState) -> None:
        """A port group changes its state; it keeps it over restarts."""
        self._alua[tpgt] = state
        if self.process.alive:
            self.node.set_group_state(tpgt, state)

    def end_sessions(self, portal: int, *, within_s: int | None) -> None:
        """End the sessions of a portal, or ask for their logout."""
        address = portal_address(portal)
        for session in list(self.node.sessions.values()):
            if session.connection.params.portal == address:
                if within_s is None:
                    session.connection.close("ended by the administrator")
                else:
                    session.connection.request_logout(within_s)


def portal_address(number: int) -> Portal:
    """The address of a portal."""
    return Portal(f"{_NETWORK}{number + 1}")


def portal_number(address: Portal) -> int:
    """The portal that has an address."""
    return int(address.host.removeprefix(_NETWORK)) - 1
