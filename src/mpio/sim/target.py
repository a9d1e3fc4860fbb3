"""The software target as a process of the simulation: started, stopped, continued, killed, started again."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mpio.drill.node import node_suffix
from mpio.drill.scenario import TargetSpec
from mpio.drill.target_process import LUN, TARGET_NAME
from mpio.errors import InputError
from mpio.io.filter_timer import FilterTimer
from mpio.io.target_server import TargetServer
from mpio.model.address import Portal
from mpio.model.task import Buffer, Status
from mpio.proto.iscsi.negotiation import SessionParams
from mpio.proto.iscsi.pdu import TaskFunction
from mpio.proto.iscsi.target import TargetConnection
from mpio.proto.iscsi.target_login import TargetParams
from mpio.proto.iscsi.target_state import State
from mpio.proto.iscsi.target_task import TargetTask
from mpio.proto.scsi.sense import READ_ERROR
from mpio.sim.loop import Node, VirtualLoop
from mpio.sim.network import SimNetwork
from mpio.target.control import Control
from mpio.target.filters.base import Filter
from mpio.target.filters.chain import Complete
from mpio.target.filters.plant import plant
from mpio.target.node import Session, TargetNode
from mpio.target.state import derive_naa
from mpio.target.store import BlockStore, RamStore

_CHECK_CONDITION = int(Status.CHECK_CONDITION)
_CACHED = 0.5  # of all writes, on a disk that takes time


Place = tuple[str, str]
"""Where commands come from: the host of the portal, and what the initiator's name ends with if it is one of several."""


@dataclass(frozen=True, slots=True)
class DiskConditions:
    """How the disk of the target is.

    Attributes:
        latency_ns: that a command takes at least. jitter_ns: mean of what comes on top of it (exponential).
        errors: chance that a command ends with an unrecovered read error.
    """

    latency_ns: int = 0
    jitter_ns: int = 0
    errors: float = 0.0


class SimNode(TargetNode):
    """A target that takes its time over commands, and can hang.

    A command waits until the disk is done with it, and is carried out only if it still has not been aborted: what
    ends a task before that ends it for good, as RFC 7143 and SAM-5 ask of a target. Some writes go to a cache: they are
    carried out as they come, and answered when their time is over.
    """

    def __init__(self, name: str, loop: VirtualLoop, disk: DiskConditions, rng: random.Random) -> None:
        super().__init__(name, alias="simulated")
        self._loop = loop
        self._disk = disk
        self._rng = rng
        self._hung: dict[Place, bool] = {}  # whether task management hangs too
        self._stuck: dict[Place, list[Callable[[], None]]] = {}

    def hang(self, place: Place, *, management: bool) -> None:
        """Carry out no commands that come from there; pings and logins are answered.

        With `management`, the functions that would end commands wait too.
        """
        self._hung[place] = management

    def heal(self, place: Place) -> None:
        """What hung goes on."""
        self._hung.pop(place, None)
        for go_on in self._stuck.pop(place, []):
            go_on()

    def open_session(self, connection: TargetConnection, params: SessionParams) -> int:
        """See TargetNode."""
        tsih = super().open_session(connection, params)
        manage, place = connection.on_task_management, _place(connection, params)

        def on_management(function: int, lun: bytes, task: TargetTask | None, respond: Callable[[int], None]) -> None:
            if connection.state is not State.FULL_FEATURE:
                return  # it hung, and its session has ended meanwhile
            if self._hung.get(place) and function in _ENDS_TASKS:
                self._stuck.setdefault(place, []).append(lambda: on_management(function, lun, task, respond))
            else:
                manage(function, lun, task, respond)

        connection.on_task_management = on_management
        return tsih

    def _runner(self, session: Session, complete: Complete) -> Callable[[TargetTask], None]:
        run, connection = super()._runner(session, complete), session.connection
        assert connection.negotiated is not None
        place = _place(connection, connection.negotiated)

        def answer(task: TargetTask, status: int, data: Buffer | Sequence[Buffer], sense: bytes,
                   length: int | None) -> None:
            if place in self._hung:
                self._stuck.setdefault(place, []).append(lambda: answer(task, status, data, sense, length))
            else:
                complete(task, status, data, sense, length)

        def answer_later(task: TargetTask, status: int, data: Buffer | Sequence[Buffer], sense: bytes,
                         length: int | None) -> None:
            self._loop.call_later(self._duration_s(), answer, task, status, data, sense, length)

        cache = super()._runner(session, answer_later)

        def on_command(task: TargetTask) -> None:
            if place in self._hung:
                self._stuck.setdefault(place, []).append(lambda: on_command(task))
            elif not self._is_slow:
                run(task)
            elif connection.holds(task) and task.is_write and self._rng.random() < _CACHED:
                cache(task)
            elif connection.holds(task):
                self._loop.call_later(self._duration_s(), finish, task)

        def finish(task: TargetTask) -> None:
            if not connection.holds(task):
                return
            if place in self._hung:
                on_command(task)
            elif self._disk.errors and self._rng.random() < self._disk.errors:
                complete(task, _CHECK_CONDITION, b"", READ_ERROR.build(), None)
            else:
                run(task)

        return on_command

    @property
    def _is_slow(self) -> bool:
        disk = self._disk
        return bool(disk.latency_ns or disk.jitter_ns or disk.errors)

    def _duration_s(self) -> float:
        return (self._disk.latency_ns + self._rng.expovariate(1) * self._disk.jitter_ns) / 1e9


def _place(connection: TargetConnection, params: SessionParams) -> Place:
    name, dot, number = params.initiator_name.rpartition(node_suffix(0)[:-1])
    return connection.params.portal.host, dot + number if name else ""


_ENDS_TASKS = frozenset((
    TaskFunction.ABORT_TASK, TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET,
    TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET,
))


class SimTarget:
    """A `drill.world.DrillTarget` on a network in memory.

    Args:
        portals: where it listens, one a path.
        clock_ppm: how much faster its clock goes.
    """

    def __init__(self, loop: VirtualLoop, network: SimNetwork, spec: TargetSpec, portals: list[Portal], *,
                 seed: str, disk: DiskConditions, clock_ppm: int) -> None:
        self.portals = portals
        self.node: SimNode | None = None
        self._loop = loop
        self._network = network
        self._spec = spec
        self._disk = disk
        self._rng = random.Random(f"{seed}:target")
        self._process = Node(loop, "target", clock_ppm=clock_ppm)
        self._server: TargetServer | None = None
        self._file: BlockStore | None = None
        self._plant: Filter | None = plant(spec.plant, LUN) if spec.plant else None
        self._starts = 0

    async def start(self) -> None:
        """Start it. What a store in RAM held is gone, and so it is another LU than before."""
        self._process.run(self._start)

    def _start(self) -> None:
        spec = self._spec
        node = SimNode(TARGET_NAME, self._loop, self._disk, self._rng)
        self._starts += 1
        identity = "file" if spec.store == "file" else f"ram {self._starts}"
        naa = derive_naa(node.name, LUN, identity)
        node.add_lun(LUN, self._store(), block_size=spec.block_size, naa=naa)
        FilterTimer(node.filters, self._process.clock)
        if self._plant is not None:
            node.filters.add(self._plant)
        server = TargetServer(node, TargetParams(portal=self.portals[0]), self._process.clock, network=self._network,
                              token_bytes=self._rng.randbytes)
        for group, portal in enumerate(self.portals, start=1):
            tpgt = group if spec.portal_groups == "separate" else 1
            server.listen(portal, tpgt)
            node.add_portal(tpgt, portal)
        self.node, self._server = node, server

    def _store(self) -> BlockStore:
        if self._file is not None:
            return self._file
        store: BlockStore = RamStore(self._spec.size)
        if self._spec.store == "file":
            self._file = store
        return store

    async def signal(self, action: str) -> None:
        """STOP, CONT, KILL or restart. Raises InputError if there is no process for it."""
        if action == "restart":
            await self.start()
        elif self._server is None:
            raise InputError("signal", f"{action}: the target is not running")
        elif action == "STOP":
            self._process.pause()
        elif action == "CONT":
            self._process.resume()
        else:
            await self.close()

    async def order(self, request: Mapping[str, object]) -> None:
        """See DrillTarget."""
        node, server = self.node, self._server
        if node is None or server is None:
            raise InputError("order", "the target is not running")
        answers: list[dict[str, Any]] = []
        self._process.run(lambda: answers.append(Control(node, server).handle(request)))
        if not answers[0]["ok"]:
            raise InputError("order", str(answers[0]["error"]))

    async def close(self) -> None:
        """End it: its kernel resets what was open."""
        if self._server is not None:
            self._process.discard()
            self._process.run(self._server.close)
            self._server = self.node = None
