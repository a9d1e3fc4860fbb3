"""Asymmetric access as initiators see and set it: REPORT and SET TARGET PORT GROUPS (SPC-4 §5.15)."""

from mpio.errors import RemoteProtocolError
from mpio.model.identity import AluaState
from mpio.model.task import Buffer
from mpio.proto.scsi.alua import StatusCode, build_report, parse_set_list
from mpio.proto.scsi.sense import INVALID_FIELD_IN_CDB, INVALID_FIELD_IN_LIST, PARAMETER_LIST_LENGTH
from mpio.target.block import fail
from mpio.target.nexus import Nexus
from mpio.target.response import GOOD, Response, data_in
from mpio.target.state import UnitState

_TRANSITION_TIME_S = 60
_SETTABLE = frozenset((
    AluaState.ACTIVE_OPTIMIZED, AluaState.ACTIVE_NON_OPTIMIZED, AluaState.STANDBY, AluaState.UNAVAILABLE,
))


def report_target_port_groups(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """REPORT TARGET PORT GROUPS, in both formats."""
    form = cdb[1] >> 5
    if form > 1:
        return fail(unit, INVALID_FIELD_IN_CDB)
    groups = [(group.descriptor(), group.status) for group in unit.device.groups]
    report = build_report(groups, transition_time_s=_TRANSITION_TIME_S if form else None)
    return data_in(report, int.from_bytes(cdb[6:10], "big"))


def set_target_port_groups(unit: UnitState, nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """SET TARGET PORT GROUPS: all of it or nothing. Groups without portals here are another node's to change."""
    length = int.from_bytes(cdb[6:10], "big")
    if length == 0:
        return GOOD
    if len(data) < length:
        return fail(unit, PARAMETER_LIST_LENGTH)
    try:
        wanted = parse_set_list(memoryview(data)[:length])
    except RemoteProtocolError:
        return fail(unit, PARAMETER_LIST_LENGTH)
    groups = {group.group_id: group for group in unit.device.groups}
    changes = []
    for group_id, state in wanted:
        group = groups.get(group_id)
        if group is None or state not in _SETTABLE:
            return fail(unit, INVALID_FIELD_IN_LIST)
        if group.state != state:
            if not group.portals:
                return fail(unit, INVALID_FIELD_IN_LIST)
            changes.append((group, AluaState(state)))
    for group, new_state in changes:
        group.state = new_state
        group.status = StatusCode.SET_BY_COMMAND
    if changes:
        unit.device.groups_changed(nexus)
    return GOOD
