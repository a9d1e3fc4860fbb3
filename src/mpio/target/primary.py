"""Commands of every SCSI device: who are you, how large, which ports, reservations (SPC-4 §6).

Each handler takes a unit, a nexus, a CDB of at least 16 bytes and the data that came with it.
"""

from mpio.errors import RemoteProtocolError
from mpio.model.identity import AluaState
from mpio.model.task import Buffer
from mpio.proto.scsi import inquiry as inq
from mpio.proto.scsi import reservation as pr
from mpio.proto.scsi.alua import StatusCode, build_report, parse_set_list
from mpio.proto.scsi.capacity import Capacity
from mpio.proto.scsi.inquiry import Association, DesignatorType, Provisioning, StandardInquiry
from mpio.proto.scsi.luns import build_luns
from mpio.proto.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_LIST,
    NO_SENSE,
    PARAMETER_LIST_LENGTH,
    Sense,
)
from mpio.target.nexus import Nexus
from mpio.target.response import CONFLICT, GOOD, Response, check, data_in
from mpio.target.state import PRODUCT, REVISION, VENDOR, UnitState

_PAGES = (
    inq.PAGE_SERIAL, inq.PAGE_IDENTIFICATION, inq.PAGE_EXTENDED_INQUIRY, inq.PAGE_BLOCK_LIMITS,
    inq.PAGE_CHARACTERISTICS, inq.PAGE_PROVISIONING,
)
_TYPE_THIN = 2
_TRANSITION_TIME_S = 60
_SETTABLE = frozenset((
    AluaState.ACTIVE_OPTIMIZED, AluaState.ACTIVE_NON_OPTIMIZED, AluaState.STANDBY, AluaState.UNAVAILABLE,
))


def _fail(unit: UnitState, sense: Sense) -> Response:
    return check(sense, descriptor=unit.descriptor_sense)


def allocation_32(cdb: bytes) -> int:
    """The allocation or list length in bytes 6 to 9, where the 12-byte CDBs have it."""
    return int.from_bytes(cdb[6:10], "big")


def ready(_unit: UnitState, _nexus: Nexus, _cdb: bytes, _data: Buffer) -> Response:
    """TEST UNIT READY: the checks before it have said everything."""
    return GOOD


def request_sense(unit: UnitState, nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """REQUEST SENSE: the oldest unit attention as data, which clears it."""
    queue = unit.attentions.get(nexus)
    sense = queue.popleft() if queue else NO_SENSE
    return data_in(sense.build(descriptor=bool(cdb[1] & 0x01)), cdb[4])


def inquiry(unit: UnitState, nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """INQUIRY, standard data or a VPD page."""
    allocation = int.from_bytes(cdb[3:5], "big")
    if not cdb[1] & 0x01:
        if cdb[2]:
            return _fail(unit, INVALID_FIELD_IN_CDB)
        tpgs = 3 if unit.device.explicit_alua else 1
        data = StandardInquiry(tpgs=tpgs, vendor=VENDOR, product=PRODUCT, revision=REVISION).build()
        return data_in(data, allocation)
    page = _vpd_page(unit, nexus, cdb[2])
    return _fail(unit, INVALID_FIELD_IN_CDB) if page is None else data_in(page, allocation)


def _vpd_page(unit: UnitState, nexus: Nexus, page: int) -> bytes | None:
    if page == inq.PAGE_SUPPORTED:
        return inq.build_supported_pages(_PAGES)
    if page == inq.PAGE_SERIAL:
        return inq.build_serial(unit.serial)
    if page == inq.PAGE_IDENTIFICATION:
        return inq.build_identification((
            inq.naa_designator(unit.naa),
            inq.t10_designator(VENDOR, unit.serial),
            inq.port_designator(DesignatorType.RELATIVE_PORT, nexus.group.relative_port),
            inq.port_designator(DesignatorType.PORT_GROUP, nexus.group.group_id),
            inq.name_designator(Association.TARGET_PORT, f"{unit.device.name},t,0x{nexus.group.tpgt:04x}"),
            inq.name_designator(Association.TARGET_DEVICE, unit.device.name),
        ))
    if page == inq.PAGE_EXTENDED_INQUIRY:
        return inq.build_extended_inquiry()
    if page == inq.PAGE_BLOCK_LIMITS:
        return unit.limits.build()
    if page == inq.PAGE_CHARACTERISTICS:
        return inq.build_characteristics()
    if page == inq.PAGE_PROVISIONING:
        return Provisioning(unmap=True, write_same=True, reads_zero=True, type_=_TYPE_THIN).build()
    return None


def read_capacity_10(unit: UnitState, _nexus: Nexus, _cdb: bytes, _data: Buffer) -> Response:
    """READ CAPACITY(10)."""
    return Response(0, b"", _capacity(unit).build_10())


def read_capacity_16(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """READ CAPACITY(16)."""
    return data_in(_capacity(unit).build_16(), int.from_bytes(cdb[10:14], "big"))


def _capacity(unit: UnitState) -> Capacity:
    return Capacity(unit.blocks, unit.block_size, thin=True, reads_zero=True)


def report_luns(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """REPORT LUNS."""
    if cdb[2] > 2:
        return _fail(unit, INVALID_FIELD_IN_CDB)
    luns = unit.device.luns() if cdb[2] != 1 else ()  # 1: well-known ones only
    return data_in(build_luns(luns), allocation_32(cdb))


def prevent_allow(_unit: UnitState, _nexus: Nexus, _cdb: bytes, _data: Buffer) -> Response:
    """PREVENT ALLOW MEDIUM REMOVAL: the medium can't be removed anyway."""
    return GOOD


def start_stop_unit(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """START STOP UNIT: starting is done; stopping would take the disk away from every other initiator."""
    if cdb[4] & 0xF0 or cdb[4] & 0x02 or not cdb[4] & 0x01:
        return _fail(unit, INVALID_FIELD_IN_CDB)
    return GOOD


def report_target_port_groups(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """REPORT TARGET PORT GROUPS, in both formats."""
    form = cdb[1] >> 5
    if form > 1:
        return _fail(unit, INVALID_FIELD_IN_CDB)
    groups = [(group.descriptor(), group.status) for group in unit.device.groups]
    report = build_report(groups, transition_time_s=_TRANSITION_TIME_S if form else None)
    return data_in(report, allocation_32(cdb))


def set_target_port_groups(unit: UnitState, nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """SET TARGET PORT GROUPS: all of it or nothing. Groups without portals here are another node's to change."""
    if not unit.device.explicit_alua:
        return _fail(unit, INVALID_FIELD_IN_CDB)
    length = allocation_32(cdb)
    if length == 0:
        return GOOD
    if len(data) < length:
        return _fail(unit, PARAMETER_LIST_LENGTH)
    try:
        wanted = parse_set_list(memoryview(data)[:length])
    except RemoteProtocolError:
        return _fail(unit, PARAMETER_LIST_LENGTH)
    groups = {group.group_id: group for group in unit.device.groups}
    changes = []
    for group_id, state in wanted:
        group = groups.get(group_id)
        if group is None or state not in _SETTABLE:
            return _fail(unit, INVALID_FIELD_IN_LIST)
        if group.state != state:
            if not group.portals:
                return _fail(unit, INVALID_FIELD_IN_LIST)
            changes.append((group, AluaState(state)))
    for group, new_state in changes:
        group.state = new_state
        group.status = StatusCode.SET_BY_COMMAND
    if changes:
        unit.device.groups_changed(nexus)
    return GOOD


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
        return data_in(pr.build_capabilities(), allocation)
    if action == pr.InAction.READ_FULL_STATUS:
        ports = {group.tpgt: group.relative_port for group in unit.device.groups}
        entries = state.registrations(lambda tpgt: ports.get(tpgt, 0))
        return data_in(pr.build_full_status(state.generation, entries, state.type or 0), allocation)
    return _fail(unit, INVALID_FIELD_IN_CDB)


def persistent_reserve_out(unit: UnitState, nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """PERSISTENT RESERVE OUT: the outcome's attentions go out, and PREEMPT AND ABORT ends tasks."""
    length = int.from_bytes(cdb[5:9], "big")
    action = cdb[1] & 0x1F
    try:
        if length != pr.PARAMETER_LIST_BYTES:
            raise RemoteProtocolError(f"a list of {length} bytes", clause="SPC-4 §6.16.3")
        parameters = pr.OutParameters.parse(memoryview(data)[:length])
    except RemoteProtocolError:
        return _fail(unit, PARAMETER_LIST_LENGTH)
    outcome = unit.reservations.out(nexus.key, action, cdb[2], parameters)
    if outcome.conflict:
        return CONFLICT
    if outcome.sense is not None:
        return _fail(unit, outcome.sense)
    unit.watch_all()
    if action == pr.OutAction.PREEMPT_AND_ABORT and outcome.abort:
        unit.device.abort(unit, outcome.abort)
    for key, sense in outcome.tell:
        unit.attention(sense, only=key)
    return GOOD


def reserve_6(unit: UnitState, nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """RESERVE(6) of the whole unit. Persistent registrations exclude it (SPC-3 §5.6.3)."""
    if cdb[1] & 0x01:  # extent reservations were obsolete in SPC already
        return _fail(unit, INVALID_FIELD_IN_CDB)
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
