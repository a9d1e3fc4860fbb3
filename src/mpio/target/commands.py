"""The table of all commands: CDB usage, what reservations and ALUA states let them through, and who does them.

Everything that differs from command to command before it runs is a column here; REPORT SUPPORTED OPERATION CODES is
made from the same rows. Sources: SPC-4 §6, table 66 and §5.15.2; SBC-3 §5, table 13.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from mpio.model.task import Buffer
from mpio.proto.scsi import cdb as cdbs
from mpio.proto.scsi import reservation as pr
from mpio.proto.scsi.cdb import Op
from mpio.proto.scsi.copy import CopyAction
from mpio.proto.scsi.sense import INVALID_FIELD_IN_CDB
from mpio.target import block, copy, medium, mode, ports, primary, provisioning, reserving
from mpio.target.nexus import Nexus
from mpio.target.reservation import Access
from mpio.target.response import Response, check, data_in
from mpio.target.state import UnitState

Handler = Callable[[UnitState, Nexus, bytes, Buffer], Response]


class Reach(Enum):
    """In which asymmetric access states a command works."""

    MEDIUM = auto()
    """Active only."""
    STANDBY = auto()
    """Also in standby."""
    ALWAYS = auto()


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        opcode, action: operation code, and service action if it has them.
        usage: CDB usage map (SPC-4 §6.34.3): opcode, then ones for the bits that count. As long as the CDB.
        access: as persistent reservations see it.
        reach: as ALUA sees it.
        quiet: answered even if a unit attention is pending, which stays.
        medium: it needs the medium.
        access_of: for commands that reservations see differently by what is in the CDB; in place of `access`.
        offered: whether a unit has it.
        handler: does it.
    """

    opcode: int
    action: int | None
    usage: bytes
    access: Access
    reach: Reach
    handler: Handler
    quiet: bool = False
    medium: bool = True
    access_of: Callable[[bytes], Access] | None = None
    offered: Callable[[UnitState], bool] | None = None


_WITHOUT_MEDIUM = frozenset((
    Op.REQUEST_SENSE, Op.INQUIRY, Op.MODE_SELECT_6, Op.MODE_SENSE_6, Op.MODE_SELECT_10, Op.MODE_SENSE_10, Op.RESERVE_6,
    Op.RELEASE_6, Op.START_STOP_UNIT, Op.PREVENT_ALLOW, Op.PERSISTENT_RESERVE_IN, Op.PERSISTENT_RESERVE_OUT,
    Op.REPORT_LUNS, Op.MAINTENANCE_IN, Op.MAINTENANCE_OUT, Op.RECEIVE_COPY_RESULTS,
))


def _row(
    opcode: int, usage: str, access: Access, reach: Reach, handler: Handler, *, action: int | None = None,
    quiet: bool = False, access_of: Callable[[bytes], Access] | None = None,
    offered: Callable[[UnitState], bool] | None = None,
) -> Command:
    return Command(
        opcode, action, bytes((opcode,)) + bytes.fromhex(usage), access, reach, handler, quiet,
        opcode not in _WITHOUT_MEDIUM, access_of, offered,
    )


def _is_thin(unit: UnitState) -> bool:
    return unit.thin


def _is_explicit(unit: UnitState) -> bool:
    return unit.device.explicit_alua


def _is_atomic(unit: UnitState) -> bool:
    return unit.limits.atomic_max > 0


_FREE, _READ, _WRITE = Access.FREE, Access.READ, Access.WRITE
_MEDIUM, _STANDBY, _ALWAYS = Reach.MEDIUM, Reach.STANDBY, Reach.ALWAYS

_LBA_10 = "ffffffff 00 ffff 00"
_LBA_12 = "ffffffff ffffffff 00 00"
_LBA_16 = "ffffffffffffffff ffffffff 00 00"


def report_supported_opcodes(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """REPORT SUPPORTED OPERATION CODES."""
    timeouts, option = bool(cdb[2] & 0x80), cdb[2] & 7
    opcode, action = cdb[3], int.from_bytes(cdb[4:6], "big")
    allocation = primary.allocation_32(cdb)
    if option == 0:
        return data_in(_all_opcodes(unit, timeouts=timeouts), allocation)
    has_actions = any(key[0] == opcode and key[1] is not None for key in COMMANDS)
    if option > 3 or (option == 1 and has_actions) or (option == 2 and not has_actions):
        return check(INVALID_FIELD_IN_CDB.at(2), descriptor=unit.descriptor_sense)
    row = COMMANDS.get((opcode, action if has_actions else None))
    if row is None or not _has(unit, row) or (option == 3 and not has_actions and action):
        return data_in(bytes((0, 1, 0, 0)), allocation)  # not supported
    usage = row.usage
    if row.action is not None:
        usage = usage[:1] + bytes((usage[1] & 0xE0 | row.action,)) + usage[2:]
    head = struct.pack(">BBH", 0, 0x03 | (0x80 if timeouts else 0), len(usage))
    return data_in(head + usage + (_NO_TIMEOUTS if timeouts else b""), allocation)


def report_supported_functions(_unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS: all that iSCSI has but CLEAR ACA."""
    extended = bool(cdb[2] & 0x80)
    functions = bytes((_ABORT_TASK | _ABORT_TASK_SET | _CLEAR_TASK_SET | _UNIT_RESET | _TARGET_RESET, 0, 0))
    return data_in(functions + (b"\x0c" + bytes(12) if extended else b"\0"), primary.allocation_32(cdb))


_ABORT_TASK, _ABORT_TASK_SET, _CLEAR_TASK_SET, _UNIT_RESET, _TARGET_RESET = 0x80, 0x40, 0x10, 0x08, 0x02


def _has(unit: UnitState, row: Command) -> bool:
    return row.offered is None or row.offered(unit)


_NO_TIMEOUTS = struct.pack(">H10x", 10)  # neither nominal nor recommended ones


def _all_opcodes(unit: UnitState, *, timeouts: bool) -> bytes:
    body = b""
    for row in COMMANDS.values():
        if not _has(unit, row):
            continue
        flags = (0x02 if timeouts else 0) | (0x01 if row.action is not None else 0)
        body += struct.pack(">BxHxBH", row.opcode, row.action or 0, flags, len(row.usage))
        body += _NO_TIMEOUTS if timeouts else b""
    return struct.pack(">I", len(body)) + body


_ROWS = (
    _row(Op.TEST_UNIT_READY, "00000000 00", _FREE, _MEDIUM, medium.ready),
    _row(Op.REQUEST_SENSE, "01 0000 ff 00", _FREE, _ALWAYS, primary.request_sense, quiet=True),
    _row(Op.READ_6, "1fffff ff 00", _READ, _MEDIUM, block.read),
    _row(Op.WRITE_6, "1fffff ff 00", _WRITE, _MEDIUM, block.write),
    _row(Op.INQUIRY, "01 ff ffff 00", _FREE, _ALWAYS, primary.inquiry, quiet=True),
    _row(Op.MODE_SELECT_6, "11 0000 ff 00", _WRITE, _STANDBY, mode.mode_select),
    _row(Op.RESERVE_6, "01 000000 00", _WRITE, _STANDBY, reserving.reserve_6),
    _row(Op.RELEASE_6, "01 000000 00", _FREE, _STANDBY, reserving.release_6),
    _row(Op.MODE_SENSE_6, "08 ff ff ff 00", _READ, _STANDBY, mode.mode_sense),
    _row(Op.START_STOP_UNIT, "01 00 00 f7 00", _FREE, _MEDIUM, medium.start_stop_unit,
         access_of=medium.start_stop_access),
    _row(Op.PREVENT_ALLOW, "00 0000 03 00", _FREE, _MEDIUM, medium.prevent_allow,
         access_of=medium.prevent_allow_access),
    _row(Op.READ_CAPACITY_10, "00 00000000 0000 00 00", _FREE, _STANDBY, primary.read_capacity_10),
    _row(Op.READ_10, "f8" + _LBA_10, _READ, _MEDIUM, block.read),
    _row(Op.WRITE_10, "f8" + _LBA_10, _WRITE, _MEDIUM, block.write),
    _row(Op.WRITE_AND_VERIFY_10, "f6" + _LBA_10, _WRITE, _MEDIUM, block.write_and_verify),
    _row(Op.VERIFY_10, "f6" + _LBA_10, _READ, _MEDIUM, block.verify),
    _row(Op.PRE_FETCH_10, "02" + _LBA_10, _READ, _MEDIUM, block.pre_fetch),
    _row(Op.SYNCHRONIZE_CACHE_10, "02" + _LBA_10, _WRITE, _MEDIUM, block.synchronize_cache),
    _row(Op.READ_DEFECT_DATA_10, "00 1f 00000000 ffff 00", _READ, _MEDIUM, block.read_defect_data),
    _row(Op.WRITE_SAME_10, "f8" + _LBA_10, _WRITE, _MEDIUM, provisioning.write_same),
    _row(Op.UNMAP, "01 00000000 00 ffff 00", _WRITE, _MEDIUM, provisioning.unmap, offered=_is_thin),
    _row(Op.MODE_SELECT_10, "11 00000000 00 ffff 00", _WRITE, _STANDBY, mode.mode_select),
    _row(Op.MODE_SENSE_10, "18 ff ff 000000 ffff 00", _READ, _STANDBY, mode.mode_sense),
    *(
        _row(Op.PERSISTENT_RESERVE_IN, "1f 0000000000 ffff 00", _FREE, _STANDBY, reserving.persistent_reserve_in,
             action=action)
        for action in pr.InAction
    ),
    *(
        _row(Op.PERSISTENT_RESERVE_OUT, "1f ff 0000 ffffffff 00", _FREE, _STANDBY, reserving.persistent_reserve_out,
             action=action)
        for action in pr.OutAction
    ),
    _row(Op.EXTENDED_COPY, "1f 0000000000000000 ffffffff 00 00", _WRITE, _MEDIUM, copy.extended_copy, action=0),
    *(
        _row(Op.RECEIVE_COPY_RESULTS, "1f ff 00000000000000 ffffffff 00 00", _READ, _MEDIUM, copy.receive_copy_results,
             action=action)
        for action in CopyAction
    ),
    _row(Op.READ_16, "f8" + _LBA_16, _READ, _MEDIUM, block.read),
    _row(Op.COMPARE_AND_WRITE, "f8 ffffffffffffffff 000000 ff 00 00", _WRITE, _MEDIUM, block.compare_and_write),
    _row(Op.WRITE_16, "f8" + _LBA_16, _WRITE, _MEDIUM, block.write),
    _row(Op.ORWRITE_16, "f8" + _LBA_16, _WRITE, _MEDIUM, block.orwrite),
    _row(Op.WRITE_AND_VERIFY_16, "f6" + _LBA_16, _WRITE, _MEDIUM, block.write_and_verify),
    _row(Op.VERIFY_16, "f6" + _LBA_16, _READ, _MEDIUM, block.verify),
    _row(Op.PRE_FETCH_16, "02" + _LBA_16, _READ, _MEDIUM, block.pre_fetch),
    _row(Op.SYNCHRONIZE_CACHE_16, "02" + _LBA_16, _WRITE, _MEDIUM, block.synchronize_cache),
    _row(Op.WRITE_SAME_16, "f9" + _LBA_16, _WRITE, _MEDIUM, provisioning.write_same),
    _row(Op.WRITE_ATOMIC_16, "f8 ffffffffffffffff ffff ffff 00 00", _WRITE, _MEDIUM, block.write_atomic,
         offered=_is_atomic),
    _row(Op.SERVICE_ACTION_IN_16, "1f 0000000000000000 ffffffff 00 00", _FREE, _STANDBY, primary.read_capacity_16,
         action=cdbs.SA_READ_CAPACITY_16),
    _row(Op.SERVICE_ACTION_IN_16, "1f ffffffffffffffff ffffffff 00 00", _READ, _MEDIUM, provisioning.get_lba_status,
         action=cdbs.SA_GET_LBA_STATUS),
    _row(Op.REPORT_LUNS, "00 ff 000000 ffffffff 00 00", _FREE, _ALWAYS, primary.report_luns, quiet=True),
    _row(Op.MAINTENANCE_IN, "ff 00000000 ffffffff 00 00", _FREE, _ALWAYS, ports.report_target_port_groups,
         action=cdbs.SA_REPORT_TARGET_PORT_GROUPS),
    _row(Op.MAINTENANCE_IN, "1f 87 ff ffff ffffffff 00 00", _READ, _STANDBY, report_supported_opcodes,
         action=cdbs.SA_REPORT_SUPPORTED_OPCODES),
    _row(Op.MAINTENANCE_IN, "1f 80 000000 ffffffff 00 00", _READ, _STANDBY, report_supported_functions,
         action=cdbs.SA_REPORT_SUPPORTED_FUNCTIONS),
    _row(Op.MAINTENANCE_OUT, "1f 00000000 ffffffff 00 00", _WRITE, _ALWAYS, ports.set_target_port_groups,
         action=cdbs.SA_SET_TARGET_PORT_GROUPS, offered=_is_explicit),
    _row(Op.READ_12, "f8" + _LBA_12, _READ, _MEDIUM, block.read),
    _row(Op.WRITE_12, "f8" + _LBA_12, _WRITE, _MEDIUM, block.write),
    _row(Op.WRITE_AND_VERIFY_12, "f6" + _LBA_12, _WRITE, _MEDIUM, block.write_and_verify),
    _row(Op.VERIFY_12, "f6" + _LBA_12, _READ, _MEDIUM, block.verify),
    _row(Op.READ_DEFECT_DATA_12, "1f 00000000 ffffffff 00 00", _READ, _MEDIUM, block.read_defect_data),
)

COMMANDS: dict[tuple[int, int | None], Command] = {(row.opcode, row.action): row for row in _ROWS}
"""Every command by (operation code, service action)."""

_WITH_ACTIONS = frozenset(row.opcode for row in _ROWS if row.action is not None)


def find(unit: UnitState, cdb: bytes) -> Command | None:
    """The row of a CDB, None if the unit does not know the command."""
    opcode = cdb[0]
    row = COMMANDS.get((opcode, cdb[1] & 0x1F if opcode in _WITH_ACTIONS else None))
    return row if row is not None and _has(unit, row) else None


def knows_opcode(opcode: int) -> bool:
    """Whether some service action of this operation code is known: then it is the action that is not."""
    return opcode in _WITH_ACTIONS
