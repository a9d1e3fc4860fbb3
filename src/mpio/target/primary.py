"""Commands of every SCSI device: who are you, how large, which units are there (SPC-4 §6).

Each handler takes a unit, a nexus, a CDB of at least 16 bytes and the data that came with it.
"""

from collections.abc import Callable

from mpio.model.task import Buffer
from mpio.proto.scsi import inquiry as inq
from mpio.proto.scsi.capacity import Capacity
from mpio.proto.scsi.cdb import Op
from mpio.proto.scsi.copy import CopyAction, build_page_8f
from mpio.proto.scsi.inquiry import Association, DesignatorType, Provisioning, StandardInquiry
from mpio.proto.scsi.luns import build_luns
from mpio.proto.scsi.sense import INVALID_FIELD_IN_CDB, NO_SENSE
from mpio.target.block import fail
from mpio.target.nexus import Nexus, PortGroup
from mpio.target.response import Response, data_in
from mpio.target.state import PRODUCT, REVISION, VENDOR, UnitState

_PAGES = (
    inq.PAGE_SERIAL, inq.PAGE_IDENTIFICATION, inq.PAGE_EXTENDED_INQUIRY, inq.PAGE_SCSI_PORTS,
    inq.PAGE_THIRD_PARTY_COPY, inq.PAGE_BLOCK_LIMITS, inq.PAGE_CHARACTERISTICS, inq.PAGE_PROVISIONING,
)
_TYPE_FULL, _TYPE_THIN = 0, 2


def allocation_32(cdb: bytes) -> int:
    """The allocation or list length in bytes 6 to 9, where the 12-byte CDBs have it."""
    return int.from_bytes(cdb[6:10], "big")


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
            return fail(unit, INVALID_FIELD_IN_CDB)
        tpgs = 3 if unit.device.explicit_alua else 1
        data = StandardInquiry(
            tpgs=tpgs, vendor=VENDOR, product=PRODUCT, revision=REVISION, removable=unit.removable,
            third_party_copy=True,
        )
        return data_in(data.build(), allocation)
    page = _vpd_page(unit, nexus, cdb[2])
    return fail(unit, INVALID_FIELD_IN_CDB) if page is None else data_in(page, allocation)


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
            inq.name_designator(Association.TARGET_PORT, _port_name(unit, nexus.group)),
            inq.name_designator(Association.TARGET_DEVICE, unit.device.name),
        ))
    if page == inq.PAGE_SCSI_PORTS:
        return inq.build_ports([(group.relative_port, _port_name(unit, group)) for group in unit.device.groups])
    if page == inq.PAGE_PROVISIONING:
        return Provisioning(
            unmap=unit.thin, write_same=unit.thin, reads_zero=unit.thin, anchors=unit.anchor is not None,
            type_=_TYPE_THIN if unit.thin else _TYPE_FULL,
        ).build()
    build = _PLAIN_PAGES.get(page)
    return None if build is None else build(unit)


_PLAIN_PAGES: dict[int, Callable[[UnitState], bytes]] = {
    inq.PAGE_EXTENDED_INQUIRY: lambda _: inq.build_extended_inquiry(),
    inq.PAGE_THIRD_PARTY_COPY: lambda _: build_page_8f(
        ((Op.EXTENDED_COPY, (0,)), (Op.RECEIVE_COPY_RESULTS, tuple(CopyAction)))
    ),
    inq.PAGE_BLOCK_LIMITS: lambda unit: unit.limits.build(),
    inq.PAGE_CHARACTERISTICS: lambda _: inq.build_characteristics(),
}


def _port_name(unit: UnitState, group: PortGroup) -> str:
    return f"{unit.device.name},t,0x{group.tpgt:04x}"


def read_capacity_10(unit: UnitState, _nexus: Nexus, _cdb: bytes, _data: Buffer) -> Response:
    """READ CAPACITY(10)."""
    return Response(0, b"", _capacity(unit).build_10())


def read_capacity_16(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """READ CAPACITY(16)."""
    return data_in(_capacity(unit).build_16(), int.from_bytes(cdb[10:14], "big"))


def _capacity(unit: UnitState) -> Capacity:
    return Capacity(unit.blocks, unit.block_size, unit.physical_exponent, thin=unit.thin, reads_zero=unit.thin)


def report_luns(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """REPORT LUNS."""
    if cdb[2] > 2:
        return fail(unit, INVALID_FIELD_IN_CDB)
    luns = unit.device.luns() if cdb[2] != 1 else ()  # 1: well-known ones only
    return data_in(build_luns(luns), allocation_32(cdb))
