"""Whether the medium is there: TEST UNIT READY, START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL (SBC-3 §5.14, §5.25)."""

from mpio.model.task import Buffer
from mpio.proto.scsi.sense import INVALID_FIELD_IN_CDB, MEDIUM_MAY_HAVE_CHANGED, REMOVAL_PREVENTED
from mpio.target.block import fail
from mpio.target.nexus import Nexus
from mpio.target.reservation import Access
from mpio.target.response import GOOD, Response
from mpio.target.state import UnitState

_POWER_CONDITION = 0xF0
_LOEJ = 0x02
_START = 0x01
_PREVENT = 0x01


def ready(_unit: UnitState, _nexus: Nexus, _cdb: bytes, _data: Buffer) -> Response:
    """TEST UNIT READY: the checks before it have said everything."""
    return GOOD


def prevent_allow(unit: UnitState, nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """PREVENT ALLOW MEDIUM REMOVAL: forbidden as long as one nexus forbids it."""
    if cdb[4] & _PREVENT:
        unit.prevented_by[nexus] = None
    else:
        unit.prevented_by.pop(nexus, None)
    return GOOD


def prevent_allow_access(cdb: bytes) -> Access:
    """Allowing is free, forbidding is a change (SBC-3 table 13)."""
    return Access.WRITE if cdb[4] & _PREVENT else Access.FREE


def start_stop_unit(unit: UnitState, nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """START STOP UNIT: ejects and loads a removable medium.

    There is nothing to spin up or to save power with: power conditions have no effect. Stopping would take the disk
    away from every other initiator: of a medium that stays it is refused, of one that can be removed it has no effect.
    """
    if cdb[4] & _POWER_CONDITION:
        return GOOD
    if not unit.removable and cdb[4] & (_LOEJ | _START) != _START:
        return fail(unit, INVALID_FIELD_IN_CDB.at(4))
    if not cdb[4] & _LOEJ:
        return GOOD
    if unit.prevented_by:
        return fail(unit, REMOVAL_PREVENTED)
    present = bool(cdb[4] & _START)
    if present is unit.medium_present:
        return GOOD
    if not present:
        unit.store.flush()
    unit.medium_present = present
    unit.watch_all()
    if present:
        unit.attention(MEDIUM_MAY_HAVE_CHANGED, but=nexus)
    return GOOD


def start_stop_access(cdb: bytes) -> Access:
    """Starting is free, everything else is a change (SBC-3 table 13)."""
    return Access.FREE if cdb[4] & (_POWER_CONDITION | _LOEJ | _START) == _START else Access.WRITE
