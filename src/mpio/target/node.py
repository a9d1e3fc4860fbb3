"""The iSCSI target node: names, portals, who may log in, sessions, task management. Without I/O.

Joins the protocol engine (`proto.iscsi.target`, whose `LoginAcceptor` it implements) to the SCSI device behind it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Unpack

from mpio.errors import LoginRejected
from mpio.model.address import Portal, check_iscsi_name
from mpio.model.identity import AluaState
from mpio.model.task import lun_bytes
from mpio.proto.iscsi.chap import ChapConfig
from mpio.proto.iscsi.negotiation import SessionParams
from mpio.proto.iscsi.pdu import TaskFunction, TaskResponse
from mpio.proto.iscsi.target import TargetConnection
from mpio.proto.iscsi.target_login import Admission
from mpio.proto.iscsi.target_task import TargetTask
from mpio.proto.scsi.sense import CLEARED_BY_OTHER_INITIATOR, NEXUS_LOSS, POWER_ON_OR_RESET
from mpio.target.device import TargetDevice
from mpio.target.filters.chain import Complete, FilterChain
from mpio.target.limits import Limits
from mpio.target.nexus import Nexus, NexusKey, PortGroup
from mpio.target.response import Response
from mpio.target.state import UnitOptions, UnitState
from mpio.target.store import BlockStore, StoreError
from mpio.target.task_queue import TaskQueue, all_held, defers
from mpio.target.unit import LogicalUnit

_TSIH_MAX = 0xFFFF
_WILDCARDS = frozenset(("0.0.0.0", "::"))  # noqa: S104 - to be recognised, not to be bound
_LINK_LOCAL = "fe80:"

_TARGET_NOT_FOUND = 0x0203
_NOT_ALLOWED = 0x0202
_TOO_MANY_CONNECTIONS = 0x0206
_NO_SUCH_SESSION = 0x020A
_TARGET_ERROR = 0x0300
_OUT_OF_RESOURCES = 0x0302

_LUN_FUNCTIONS = frozenset((
    TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET,
))


@dataclass(frozen=True, slots=True)
class Access:
    """Who may log in.

    Attributes:
        initiators: names that may; None: all.
        chap: what every initiator has to prove; None: nothing. chap_by_initiator: in its place, for some names.
        discovery_chap: what discovery sessions have to prove.
    """

    initiators: frozenset[str] | None = None
    chap: ChapConfig | None = None
    chap_by_initiator: Mapping[str, ChapConfig] | None = None
    discovery_chap: ChapConfig | None = None

    @property
    def is_guarded(self) -> bool:
        """Whether not just anybody gets in."""
        return self.chap is not None or self.initiators is not None

    def allows(self, initiator: str) -> bool:
        """Whether the name may log in."""
        return self.initiators is None or initiator.lower() in self.initiators

    def chap_for(self, initiator: str) -> ChapConfig | None:
        """What this initiator has to prove."""
        return (self.chap_by_initiator or {}).get(initiator.lower(), self.chap)


@dataclass(frozen=True, slots=True)
class Session:
    """One live session: an I_T nexus and the one connection that carries it."""

    nexus: Nexus
    connection: TargetConnection
    tsih: int


class TargetNode:
    """A target with its logical units.

    Args:
        name: iSCSI name. alias: what it says of itself. explicit_alua: initiators may set port group states.
        limits: how much initiators can take up.

    Attributes:
        device: the SCSI side. access: who may log in, limits: how often. sessions: live ones by nexus.
        filters: what stands between the sessions and the units, and misbehaves.
        redirects: where logins at a portal are sent, as (portal, permanently); key None: those at any portal.

    Raises:
        ValueError: the name is not one.
    """

    def __init__(
        self, name: str, *, alias: str = "", access: Access | None = None, explicit_alua: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.name = check_iscsi_name(name)
        self.alias = alias
        self.access = access or Access()
        self.limits = limits or Limits()
        self.device = TargetDevice(self.name, explicit_alua=explicit_alua)
        self.device.on_abort = self._abort
        self.sessions: dict[NexusKey, Session] = {}
        self.filters = FilterChain(self.device, self.set_group_state)
        self.redirects: dict[Portal | None, tuple[Portal, bool]] = {}
        self._last_tsih = 0

    # --- what it serves

    def add_group(
        self, tpgt: int, portals: Sequence[Portal] = (), *, state: AluaState = AluaState.ACTIVE_OPTIMIZED,
        preferred: bool = False,
    ) -> PortGroup:
        """Add a portal group, which is a port group for ALUA. Raises ValueError."""
        return self.device.add_group(PortGroup(tpgt, list(portals), state=state, preferred=preferred))

    def add_portal(self, tpgt: int, portal: Portal) -> None:
        """A portal of the group listens now; the group is made if it is new. Raises ValueError."""
        group = self.device.groups.get(tpgt) or self.add_group(tpgt)
        if portal not in group.portals:
            group.portals.append(portal)

    def add_lun(self, number: int, store: BlockStore, **options: Unpack[UnitOptions]) -> LogicalUnit:
        """Add a logical unit; see UnitState. Raises ValueError."""
        unit = self.device.add_unit(number, store, **options)
        if defers(store):
            unit.queue = TaskQueue(unit, unit.execute, store)
        return unit

    def remove_lun(self, number: int) -> None:
        """Take a logical unit away; its tasks end without an answer. Raises ValueError."""
        self.device.remove_unit(number)
        self._end_tasks(number)

    def set_group_state(self, tpgt: int, state: AluaState, *, preferred: bool | None = None) -> None:
        """Change a port group's asymmetric access state. Raises ValueError."""
        self.device.set_group_state(tpgt, state, preferred=preferred)

    # --- LoginAcceptor

    def admit(self, initiator_name: str, target_name: str | None, portal: Portal) -> Admission:
        """See LoginAcceptor."""
        if target_name is None:
            return Admission(chap=self.access.discovery_chap)
        if target_name.lower() != self.name:
            raise LoginRejected(f"there is no target {target_name}", status=_TARGET_NOT_FOUND)
        if not self.access.allows(initiator_name):
            raise LoginRejected(f"{initiator_name} is not allowed here", status=_NOT_ALLOWED)
        redirect, permanently = self.redirects.get(portal) or self.redirects.get(None) or (None, False)
        return Admission(
            chap=self.access.chap_for(initiator_name), alias=self.alias,
            redirect=None if redirect == portal else redirect, redirect_permanently=permanently,
        )

    def open_session(self, connection: TargetConnection, params: SessionParams) -> int:
        """See LoginAcceptor: an older session of the nexus ends here, with its tasks (RFC 7143 §6.3.5)."""
        group = self.device.groups.get(params.tpgt)
        if group is None:
            raise LoginRejected(f"there is no portal group {params.tpgt}", status=_TARGET_ERROR)
        key = NexusKey(params.initiator_name, params.isid, params.tpgt)
        old = self.sessions.get(key)
        if params.tsih:
            if old is None or old.tsih != params.tsih:
                raise LoginRejected(f"there is no session {params.tsih}", status=_NO_SUCH_SESSION)
            raise LoginRejected("a session has one connection here", status=_TOO_MANY_CONNECTIONS)
        if old is not None:
            self._end_session(old)
            old.connection.close("reinstated: the initiator logged in again with the same ISID")
        else:
            self._check_room(params.initiator_name)
        session = Session(Nexus(key, group), connection, self._new_tsih())
        self._settle()
        self.sessions[key] = session
        self.device.attach(session.nexus, POWER_ON_OR_RESET if old is None else NEXUS_LOSS)
        self.filters.attach(session.nexus, connection, lambda complete: self._runner(session, complete))
        connection.on_task_management = lambda function, lun, task, respond: self._manage(
            session, function, lun, task, respond
        )
        connection.on_closed = lambda _connection, _cause: self._end_session(session)
        return session.tsih

    def send_targets(
        self, initiator_name: str, target_name: str | None, portal: Portal
    ) -> Sequence[tuple[str, Sequence[tuple[Portal, int]]]]:
        """See LoginAcceptor. Addresses that nobody could connect to are replaced by, or left out for, `portal`."""
        if not self.access.allows(initiator_name) or (target_name is not None and target_name.lower() != self.name):
            return []
        listed: dict[tuple[Portal, int], None] = {}  # in order, each once
        for group in self.device.groups.values():
            for own in group.portals:
                shown = Portal(portal.host, own.port) if own.host in _WILDCARDS else own
                if not shown.host.lower().startswith(_LINK_LOCAL):
                    listed[shown, group.tpgt] = None
        return [(self.name, list(listed))]

    # --- sessions

    def _check_room(self, initiator: str) -> None:
        """Raises LoginRejected if one more session would be too many."""
        if len(self.sessions) >= self.limits.sessions:
            raise LoginRejected(f"{self.limits.sessions} sessions are open already", status=_OUT_OF_RESOURCES)
        own = sum(key.initiator == initiator for key in self.sessions)
        if own >= self.limits.sessions_per_initiator:
            raise LoginRejected(f"{initiator} has {own} sessions already", status=_OUT_OF_RESOURCES)

    def _queues(self) -> list[TaskQueue]:
        return [unit.queue for unit in self.device.units.values() if unit.queue is not None]

    def _settle(self) -> None:
        """Wait for what earlier sessions began: who logs in may take it that nothing of them lands any more."""
        try:
            with all_held(self._queues()):
                pass
        except StoreError as error:
            raise LoginRejected(f"an earlier write may still land: {error}", status=_TARGET_ERROR) from None

    def _new_tsih(self) -> int:
        used = {session.tsih for session in self.sessions.values()}
        while True:
            self._last_tsih = self._last_tsih % _TSIH_MAX + 1
            if self._last_tsih not in used:
                return self._last_tsih

    def _end_session(self, session: Session) -> None:
        if self.sessions.get(session.nexus.key) is session:
            del self.sessions[session.nexus.key]
        self.filters.detach(session.nexus)
        self.device.detach(session.nexus)

    def _runner(self, session: Session, complete: Complete) -> Callable[[TargetTask], None]:
        """The function that runs the commands of a session. Everything it needs is at hand: it runs once per I/O."""
        nexus = session.nexus
        unit_of, execute_elsewhere = self.device.by_lun.get, self.device.execute

        def answer(task: TargetTask, response: Response) -> None:
            complete(task, response.status, response.data, response.sense, response.length)

        def run(task: TargetTask) -> None:
            unit = unit_of(task.lun)
            if unit is not None:
                if unit.queue is not None:
                    unit.queue.submit(nexus, task, lambda response: answer(task, response))
                    return
                status, sense, data, length = unit.execute(nexus, task.cdb, task.data)
            else:
                status, sense, data, length = execute_elsewhere(nexus, task.lun, task.cdb, task.data)
            complete(task, status, data, sense, length)

        return run

    # --- task management (SAM-5 §7, RFC 7143 §11.5)

    def _manage(
        self, session: Session, function: int, lun: bytes, task: TargetTask | None, respond: Callable[[int], None]
    ) -> None:
        """Run a task management function, with nothing in flight: what it ends has ended when it is answered.

        Commands run at once, so only those can end whose data are still coming, or that wait in a queue.
        """
        try:
            with all_held(self._queues()):
                if function == TaskFunction.ABORT_TASK and task is not None and not session.connection.holds(task):
                    respond(TaskResponse.TASK_DOES_NOT_EXIST)  # it was carried out, and answered, meanwhile
                else:
                    self._do_manage(session, function, lun, respond)
        except StoreError:
            respond(TaskResponse.REJECTED)

    def _do_manage(self, session: Session, function: int, lun: bytes, respond: Callable[[int], None]) -> None:
        if function == TaskFunction.ABORT_TASK:
            respond(TaskResponse.FUNCTION_COMPLETE)
        elif function in _LUN_FUNCTIONS:
            unit = self.device.by_lun.get(lun)
            if unit is None:
                respond(TaskResponse.LUN_DOES_NOT_EXIST)
                return
            if function == TaskFunction.CLEAR_TASK_SET:
                for other in self._end_tasks(unit.number, but=session):
                    unit.attention(CLEARED_BY_OTHER_INITIATOR, only=other.nexus.key)
            elif function == TaskFunction.LOGICAL_UNIT_RESET:
                self._end_tasks(unit.number, but=session)
                unit.reset()
            respond(TaskResponse.FUNCTION_COMPLETE)  # which ends this session's own tasks
        elif function == TaskFunction.TARGET_WARM_RESET:
            for unit in self.device.units.values():
                self._end_tasks(unit.number, but=session)
                unit.reset()
            respond(TaskResponse.FUNCTION_COMPLETE)
        elif function == TaskFunction.TARGET_COLD_RESET:
            for unit in self.device.units.values():
                unit.reset()
            respond(TaskResponse.FUNCTION_COMPLETE)
            for other in list(self.sessions.values()):  # the asker too, once it has its answer
                other.connection.finish("target cold reset")
        else:
            respond(TaskResponse.NOT_SUPPORTED)

    def _end_tasks(self, number: int, *, but: Session | None = None) -> list[Session]:
        """End all tasks on a LUN without an answer; returns the sessions that had any."""
        lun = lun_bytes(number)
        return [
            session for session in self.sessions.values()
            if session is not but and session.connection.abort_tasks(lun)
        ]

    def _abort(self, unit: UnitState, nexuses: Sequence[NexusKey]) -> None:
        lun = lun_bytes(unit.number)
        for key in nexuses:
            session = self.sessions.get(key)
            if session is not None:
                session.connection.abort_tasks(lun)
