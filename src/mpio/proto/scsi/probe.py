"""What an initiator asks right after login to learn which logical unit is behind a path, as a script without I/O.

`probe` is a generator: it yields (CDB, allocation length), is sent (status, sense, data), and returns a PathIdentity.
Any transport can drive it. The order is that of Linux: INQUIRY, VPD 00, 80, 83, B0, B2, capacity, mode sense.
"""

from collections.abc import Generator

from mpio.errors import RemoteProtocolError, TargetError
from mpio.model.identity import PathIdentity
from mpio.model.task import Status
from mpio.proto.scsi import cdb, inquiry, wwid
from mpio.proto.scsi.alua import parse_report, report_length
from mpio.proto.scsi.capacity import CAPACITY_10_BYTES, CAPACITY_16_BYTES, Capacity
from mpio.proto.scsi.inquiry import BlockLimits, DesignatorType, Provisioning, StandardInquiry
from mpio.proto.scsi.sense import LUN_NOT_SUPPORTED, Sense, SenseKey

Reply = tuple[int, bytes, bytes]
"""SCSI status, sense, and the data that came."""

Script = Generator[tuple[bytes, int], Reply, PathIdentity]
_Step = Generator[tuple[bytes, int], Reply, Reply]

ATTENTIONS_MAX = 8  # unit attentions eaten before one command; a target with more queued is not usable
_SHORT_ALLOCATION = 252
_ALLOCATION_MAX = 0xFFFF
_QUALIFIER_ABSENT = 3
_WRITE_PROTECT = 0x80


def probe(lun: int, target_name: str = "", tpgt: int = 0) -> Script:
    """Ask the LU who and how large it is. `lun`, `target_name` and `tpgt` are for the result and for messages.

    Raises (out of `send`):
        TargetError: there is no such LUN, or it refuses a command that every disk must know.
        RemoteProtocolError: an answer can't be read.
    """
    reply = yield from _must(cdb.inquiry(_SHORT_ALLOCATION), _SHORT_ALLOCATION, "INQUIRY", lun)
    standard = StandardInquiry.parse(reply)
    if standard.qualifier == _QUALIFIER_ABSENT or standard.device_type == 0x1F:
        raise _absent(lun, Status.GOOD, b"")
    if standard.device_type != 0:
        raise TargetError(f"LUN {lun} is not a disk (device type {standard.device_type:02X}h)", status=Status.GOOD)
    pages = yield from _page(inquiry.PAGE_SUPPORTED)
    listed = inquiry.parse_supported_pages(pages) if pages else frozenset()
    serial = yield from _listed_page(listed, inquiry.PAGE_SERIAL)
    serial_text = inquiry.parse_serial(serial) if serial else ""
    identification = yield from _listed_page(listed, inquiry.PAGE_IDENTIFICATION)
    designators = inquiry.parse_identification(identification) if identification else []
    name = wwid.from_designators(designators) or wwid.from_serial(standard.vendor, standard.product, serial_text)
    if name is None:
        raise TargetError(
            f"LUN {lun} has no world-wide name (no usable VPD page 83 or 80), so its paths can't be told apart "
            "from those of other units", status=Status.GOOD,
        )
    limits_page = yield from _listed_page(listed, inquiry.PAGE_BLOCK_LIMITS)
    limits = BlockLimits.parse(limits_page) if limits_page else BlockLimits()
    provisioning_page = yield from _listed_page(listed, inquiry.PAGE_PROVISIONING)
    unmaps = Provisioning.parse(provisioning_page).unmap if provisioning_page else False
    capacity = yield from _capacity(lun)
    protected = yield from _write_protected()
    relative_port = inquiry.port_number(designators, DesignatorType.RELATIVE_PORT)
    port_group = inquiry.port_number(designators, DesignatorType.PORT_GROUP)
    if port_group is None and standard.tpgs and relative_port is not None:
        port_group = yield from _group_of_port(relative_port)
    return PathIdentity(
        wwid=name, blocks=capacity.blocks, block_size=capacity.block_size, vendor=standard.vendor,
        product=standard.product, revision=standard.revision, serial=serial_text, target_name=target_name, tpgt=tpgt,
        relative_port=relative_port, port_group=port_group, tpgs=standard.tpgs,
        transfer_blocks_max=limits.transfer_max, unmap_blocks_max=limits.unmap_max if unmaps else 0,
        unmap_descriptors_max=limits.unmap_descriptors_max if unmaps else 0, write_protected=protected,
    )


def _ask(command: bytes, allocation: int) -> _Step:
    """One command; unit attentions, which only say that something happened earlier, are eaten."""
    for _ in range(ATTENTIONS_MAX):
        status, sense_bytes, data = yield command, allocation
        sense = Sense.parse(sense_bytes) if status == Status.CHECK_CONDITION else None
        if sense is None or sense.key != SenseKey.UNIT_ATTENTION:
            break
    return status, sense_bytes, data


def _must(command: bytes, allocation: int, name: str, lun: int) -> Generator[tuple[bytes, int], Reply, bytes]:
    """The data of a command that has to work."""
    status, sense_bytes, data = yield from _ask(command, allocation)
    if status == Status.GOOD:
        return data
    sense = Sense.parse(sense_bytes) if status == Status.CHECK_CONDITION else None
    if sense is not None and sense.code == LUN_NOT_SUPPORTED.code:
        raise _absent(lun, status, sense_bytes)
    cause = str(sense) if sense else f"status {status:02X}h"
    raise TargetError(f"LUN {lun} answers {name} with {cause}", status=status, sense=sense_bytes)


def _absent(lun: int, status: int, sense: bytes) -> TargetError:
    return TargetError(f"LUN {lun} does not exist on this target", status=status, sense=sense)


def _page(page: int) -> Generator[tuple[bytes, int], Reply, bytes | None]:
    """A VPD page in full, or None if the target does not have it."""
    status, _, data = yield from _ask(cdb.inquiry(_SHORT_ALLOCATION, page), _SHORT_ALLOCATION)
    if status != Status.GOOD:
        return None
    whole = min(inquiry.page_length(data), _ALLOCATION_MAX)
    if whole > _SHORT_ALLOCATION:
        status, _, data = yield from _ask(cdb.inquiry(whole, page), whole)
    return data if status == Status.GOOD else None


def _listed_page(listed: frozenset[int], page: int) -> Generator[tuple[bytes, int], Reply, bytes | None]:
    """A page that page 00 lists; 80 and 83 are tried anyway if page 00 is missing."""
    if page in listed or (not listed and page in (inquiry.PAGE_SERIAL, inquiry.PAGE_IDENTIFICATION)):
        return (yield from _page(page))
    return None


def _capacity(lun: int) -> Generator[tuple[bytes, int], Reply, Capacity]:
    """READ CAPACITY(16), or (10) from targets that know no other."""
    status, _, data = yield from _ask(cdb.read_capacity_16(CAPACITY_16_BYTES), CAPACITY_16_BYTES)
    if status == Status.GOOD:
        return Capacity.parse_16(data)
    data = yield from _must(cdb.read_capacity_10(), CAPACITY_10_BYTES, "READ CAPACITY", lun)
    capacity = Capacity.parse_10(data)
    if capacity is None:
        raise TargetError(f"LUN {lun} is larger than READ CAPACITY(10) can say, and has no (16)", status=status)
    return capacity


def _write_protected() -> Generator[tuple[bytes, int], Reply, bool]:
    """WP of the mode parameter header; a target without MODE SENSE is taken as writable."""
    status, _, data = yield from _ask(cdb.mode_sense_6(), 255)
    return status == Status.GOOD and len(data) >= 3 and bool(data[2] & _WRITE_PROTECT)


def _group_of_port(relative_port: int) -> Generator[tuple[bytes, int], Reply, int | None]:
    """The port group of a port, from the report, where page 83 has no designator of type 5."""
    status, _, data = yield from _ask(cdb.report_target_port_groups(_SHORT_ALLOCATION), _SHORT_ALLOCATION)
    whole = min(report_length(data), _ALLOCATION_MAX)
    if status == Status.GOOD and whole > _SHORT_ALLOCATION:
        status, _, data = yield from _ask(cdb.report_target_port_groups(whole), whole)
    if status != Status.GOOD:
        return None
    try:
        group = parse_report(data).group_of(relative_port=relative_port)
    except RemoteProtocolError:
        return None  # only a hint is lost
    return group.group_id if group else None
