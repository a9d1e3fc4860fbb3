"""The SCSI target device: its logical units, its port groups, and who is attached. Knows nothing of iSCSI.

Also answers for LUNs that are not there, LUN 0 above all: without that, Linux finds no unit at all.
"""

from collections.abc import Callable, Sequence
from typing import Unpack

from mpio.model.identity import AluaState
from mpio.model.task import Buffer, lun_bytes
from mpio.proto.scsi import inquiry as inq
from mpio.proto.scsi.alua import StatusCode
from mpio.proto.scsi.cdb import Op
from mpio.proto.scsi.inquiry import StandardInquiry
from mpio.proto.scsi.luns import build_luns
from mpio.proto.scsi.sense import (
    ALUA_STATE_CHANGED,
    INVALID_FIELD_IN_CDB,
    LUN_NOT_SUPPORTED,
    LUNS_CHANGED,
    NO_SENSE,
    POWER_ON_OR_RESET,
    Sense,
)
from mpio.target.nexus import Nexus, NexusKey, PortGroup
from mpio.target.response import GOOD, Response, check, data_in
from mpio.target.state import PRODUCT, REVISION, VENDOR, Device, UnitOptions, UnitState
from mpio.target.store import BlockStore
from mpio.target.unit import CDB_BYTES, LogicalUnit

UNITS_MAX = 256
GROUPS_MAX = 64

_ABSENT_QUALIFIER, _ABSENT_TYPE = 3, 0x1F
_WELL_KNOWN_TYPE = 0x1E
_REPORT_LUNS_UNIT = bytes.fromhex("c101000000000000")  # the well-known LU of that name (SPC-4 §8.2)


class TargetDevice:
    """Logical units and port groups of one target.

    Args:
        name: iSCSI target name, from which the units' own names are made.
        explicit_alua: initiators may change the states of port groups.

    Attributes:
        units: logical units by LUN. groups: port groups by portal group tag.
        on_abort: called by PREEMPT AND ABORT with the unit and the nexuses whose tasks end.
    """

    def __init__(self, name: str, *, explicit_alua: bool = False) -> None:
        self.name = name
        self.units: dict[int, LogicalUnit] = {}
        self.groups: dict[int, PortGroup] = {}
        self.on_abort: Callable[[UnitState, Sequence[NexusKey]], None] | None = None
        self.by_lun: dict[bytes, LogicalUnit] = {}
        """Units by their 8 bytes, in each form in which initiators may write them."""
        self._nexuses: dict[Nexus, None] = {}  # in order of arrival
        self._group_list: list[PortGroup] = []
        self._surroundings = Device(
            name=name, groups=self._group_list, explicit_alua=explicit_alua, luns=self._luns,
            unit_named=self._unit_named,
            groups_changed=lambda nexus: self._attention(ALUA_STATE_CHANGED, but=nexus), abort=self._abort,
        )

    # --- what there is

    def add_group(self, group: PortGroup) -> PortGroup:
        """Add a port group. Raises ValueError if its tag, group id or port number is taken."""
        for other in self._group_list:
            if group.tpgt == other.tpgt or group.group_id == other.group_id or (
                group.relative_port == other.relative_port
            ):
                raise ValueError(f"portal group {group.tpgt}: its tag, group id or relative port is in use already")
        if len(self._group_list) >= GROUPS_MAX:
            raise ValueError(f"expected at most {GROUPS_MAX} portal groups")
        self.groups[group.tpgt] = group
        self._group_list.append(group)
        return group

    def add_unit(self, number: int, store: BlockStore, **options: Unpack[UnitOptions]) -> LogicalUnit:
        """Add a logical unit over a store; see UnitState. Raises ValueError."""
        if number in self.units:
            raise ValueError(f"LUN {number} is there already")
        if len(self.units) >= UNITS_MAX:
            raise ValueError(f"expected at most {UNITS_MAX} LUNs")
        forms = _lun_forms(number)
        unit = LogicalUnit(self._surroundings, number, store, **options)
        self._attention(LUNS_CHANGED)
        self.units[number] = unit
        self.by_lun.update(dict.fromkeys(forms, unit))
        for nexus in self._nexuses:
            unit.attach(nexus, POWER_ON_OR_RESET)
        return unit

    def remove_unit(self, number: int) -> None:
        """Take a logical unit away; its store stays open. Raises ValueError."""
        if self.units.pop(number, None) is None:
            raise ValueError(f"there is no LUN {number}")
        for form in _lun_forms(number):
            del self.by_lun[form]
        self._attention(LUNS_CHANGED)

    def _luns(self) -> list[bytes]:
        return [lun_bytes(number) for number in sorted(self.units)]

    def _unit_named(self, naa: bytes) -> LogicalUnit | None:
        return next((unit for unit in self.units.values() if unit.naa == naa), None)

    # --- nexuses

    def attach(self, nexus: Nexus, attention: Sense) -> None:
        """A session begins; the first command to each unit meets `attention`."""
        self._nexuses[nexus] = None
        for unit in self.units.values():
            unit.attach(nexus, attention)

    def detach(self, nexus: Nexus) -> None:
        """A session has ended: I_T nexus loss."""
        self._nexuses.pop(nexus, None)
        for unit in self.units.values():
            unit.detach(nexus)

    def _attention(self, sense: Sense, *, but: Nexus | None = None) -> None:
        for unit in self.units.values():
            unit.attention(sense, but=but)

    def _abort(self, unit: UnitState, nexuses: Sequence[NexusKey]) -> None:
        if self.on_abort is not None:
            self.on_abort(unit, nexuses)

    def set_group_state(self, tpgt: int, state: AluaState, *, preferred: bool | None = None) -> None:
        """Change the state of a port group by the target's own will (implicit ALUA); every nexus is told.

        Raises:
            ValueError: there is no such group.
        """
        group = self.groups.get(tpgt)
        if group is None:
            raise ValueError(f"there is no portal group {tpgt}")
        if preferred is not None:
            group.preferred = preferred
        group.state = state
        group.status = StatusCode.SET_BY_TARGET
        self._attention(ALUA_STATE_CHANGED)

    # --- commands

    def execute(self, nexus: Nexus, lun: bytes, cdb: bytes, data: Buffer = b"") -> Response:
        """Run one command on whatever the 8 LUN bytes name."""
        unit = self.by_lun.get(lun)
        if unit is not None:
            return unit.execute(nexus, cdb, data)
        return self._execute_absent(bytes(lun), bytes(cdb).ljust(CDB_BYTES, b"\0"))

    def _execute_absent(self, lun: bytes, cdb: bytes) -> Response:
        """A LUN without a unit (SPC-4 §6.6.2, SAM-5 §4.7.4), or the well-known one of REPORT LUNS."""
        opcode = cdb[0]
        well_known = lun == _REPORT_LUNS_UNIT
        if opcode == Op.INQUIRY:
            return _absent_inquiry(cdb, well_known=well_known)
        if opcode == Op.REPORT_LUNS:
            luns = self._luns() if cdb[2] in (0, 2) else []
            return data_in(build_luns(luns), int.from_bytes(cdb[6:10], "big"))
        if opcode == Op.REQUEST_SENSE:
            sense = NO_SENSE if well_known else LUN_NOT_SUPPORTED
            return data_in(sense.build(descriptor=bool(cdb[1] & 1)), cdb[4])
        if opcode == Op.TEST_UNIT_READY and well_known:
            return GOOD
        return check(LUN_NOT_SUPPORTED)


def _lun_forms(number: int) -> set[bytes]:
    """The 8 bytes of a LUN in peripheral and in flat form (SAM-5 §4.7.7). Raises ValueError for one out of range."""
    usual = lun_bytes(number)
    flat = bytes((0x40 | number >> 8, number & 0xFF, 0, 0, 0, 0, 0, 0))
    return {usual, flat}


def _absent_inquiry(cdb: bytes, *, well_known: bool) -> Response:
    qualifier, type_ = (0, _WELL_KNOWN_TYPE) if well_known else (_ABSENT_QUALIFIER, _ABSENT_TYPE)
    allocation = int.from_bytes(cdb[3:5], "big")
    if cdb[1] & 0x01:
        if cdb[2] != inq.PAGE_SUPPORTED:
            return check(INVALID_FIELD_IN_CDB)
        page = inq.build_page(inq.PAGE_SUPPORTED, bytes((inq.PAGE_SUPPORTED,)), qualifier << 5 | type_)
        return data_in(page, allocation)
    if cdb[2]:
        return check(INVALID_FIELD_IN_CDB)
    standard = StandardInquiry(qualifier, type_, vendor=VENDOR, product=PRODUCT, revision=REVISION)
    return data_in(standard.build(), allocation)
