"""Reservation commands: PERSISTENT RESERVE IN and OUT, RESERVE(6), RELEASE(6) (SPC-4 §5.13, SPC-2 §5.5)."""

from mpio.errors import RemoteProtocolError
from mpio.model.task import Buffer
from mpio.proto.scsi import reservation as pr
from mpio.proto.scsi.sense import INVALID_FIELD_IN_CDB, INVALID_FIELD_IN_LIST, PARAMETER_LIST_LENGTH
from mpio.target.block import fail
from mpio.target.nexus import Nexus, NexusKey
from mpio.target.reservation import Outcome, PersistentReservations
from mpio.target.reservation_record import encode
from mpio.target.response import CONFLICT, GOOD, Response, data_in
from mpio.target.state import UnitState
from mpio.target.store import StoreError


def persistent_reserve_in(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """PERSISTENT RESERVE IN."""
    allocation = int.from_bytes(cdb[7:9], "big")
    state = unit.reservations
    action = cdb[1] & 0x1F
    if action == pr.InAction.READ_KEYS:
        return data_in(pr.build_keys(state.generation, list(state.keys.values())), allocation)
    if action == pr.InAction.READ_RESERVATION:
        return data_in(pr.build_reservation(state.generation, state.reservation_key(), state.type or 0), allocation)
    if action == pr.InAction.REPORT_CAPABILITIES:
        return data_in(pr.build_capabilities(can_persist=state.can_persist, persists=state.aptpl), allocation)
    if action == pr.InAction.READ_FULL_STATUS:
        ports = {group.tpgt: group.relative_port for group in unit.device.groups}
        entries = state.registrations(lambda tpgt: ports.get(tpgt, 0))
        return data_in(pr.build_full_status(state.generation, entries, state.type or 0), allocation)
    return fail(unit, INVALID_FIELD_IN_CDB)


def persistent_reserve_out(unit: UnitState, nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """PERSISTENT RESERVE OUT: the outcome is kept, its attentions go out, and PREEMPT AND ABORT ends tasks."""
    length, action = int.from_bytes(cdb[5:9], "big"), cdb[1] & 0x1F
    before = unit.reservations.copy()
    try:
        if len(data) < length:
            raise RemoteProtocolError(f"{len(data)} of {length} bytes came", clause="SPC-4 §6.16.3")
        outcome = _carry_out(unit, nexus, action, cdb[2], memoryview(data)[:length])
    except pr.BadTransportIdError:
        return fail(unit, INVALID_FIELD_IN_LIST)
    except RemoteProtocolError:
        return fail(unit, PARAMETER_LIST_LENGTH)
    if outcome.conflict:
        return CONFLICT
    if outcome.sense is not None:
        return fail(unit, outcome.sense)
    try:
        _keep(unit, before)
    except StoreError:
        unit.reservations = before  # nobody has been told of anything yet
        raise
    unit.watch_all()
    if action == pr.OutAction.PREEMPT_AND_ABORT and outcome.abort:
        unit.device.abort(unit, outcome.abort)
    for key, sense in outcome.tell:
        unit.attention(sense, only=key)
    return GOOD


def _carry_out(unit: UnitState, nexus: Nexus, action: int, scope_and_type: int, body: memoryview) -> Outcome:
    """Do it. Raises RemoteProtocolError if the list can't be read."""
    if action == pr.OutAction.REGISTER_AND_MOVE:
        wanted = pr.MoveParameters.parse(body)
        tags = [group.tpgt for group in unit.device.groups if group.relative_port == wanted.relative_port]
        if not tags:
            return Outcome(sense=INVALID_FIELD_IN_LIST)
        return unit.reservations.move(nexus.key, wanted, NexusKey(*wanted.initiator_port, tags[0]))
    parameters = pr.OutParameters.parse(body)
    return unit.reservations.out(nexus.key, action, scope_and_type, parameters, _others(unit, nexus.key, parameters))


def _others(unit: UnitState, asker: NexusKey, parameters: pr.OutParameters) -> list[NexusKey]:
    """The nexuses that SPEC_I_PT and ALL_TG_PT bring along."""
    initiators = [(asker.initiator, asker.isid), *parameters.initiator_ports]
    tags = [group.tpgt for group in unit.device.groups] if parameters.all_tg_pt else [asker.tpgt]
    return [NexusKey(name, isid, tpgt) for name, isid in initiators for tpgt in tags]


def _keep(unit: UnitState, before: PersistentReservations) -> None:
    """Bring what has changed to stable storage if it is to outlive the target. Raises StoreError."""
    if unit.keeper is not None and (unit.reservations.aptpl or before.aptpl):
        unit.keeper.save(encode(unit.reservations) if unit.reservations.aptpl else None)


def reserve_6(unit: UnitState, nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """RESERVE(6) of the whole unit. Persistent registrations exclude it (SPC-3 §5.6.3)."""
    if cdb[1] & 0x01:  # extent reservations were obsolete in SPC already
        return fail(unit, INVALID_FIELD_IN_CDB)
    if unit.reservations.keys:
        return CONFLICT
    unit.reserved_by = nexus
    unit.watch_all()
    return GOOD


def release_6(unit: UnitState, nexus: Nexus, _cdb: bytes, _data: Buffer) -> Response:
    """RELEASE(6): without effect from a nexus that does not hold the reservation."""
    if unit.reservations.keys:
        return CONFLICT
    if unit.reserved_by is nexus:
        unit.reserved_by = None
    return GOOD
