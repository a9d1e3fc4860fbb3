"""EXTENDED COPY and RECEIVE COPY RESULTS: the target copies blocks between its own units (SPC-4 §5.16).

A copy is one command, so it is done, or has failed, when it is answered.
"""

from mpio.model.task import Buffer
from mpio.proto.scsi.copy import (
    SEGMENT_DATA_MAX,
    CopyAction,
    CopyDevice,
    CopyList,
    CopyListError,
    CopyResult,
    CopySegment,
    build_operating_parameters,
)
from mpio.proto.scsi.inquiry import Association, DesignatorType
from mpio.proto.scsi.sense import (
    COPY_ABORTED,
    COPY_DEVICE_FAILED,
    COPY_DEVICE_UNREACHABLE,
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_LIST,
    PARAMETER_LIST_LENGTH,
)
from mpio.target.block import fail
from mpio.target.nexus import Nexus
from mpio.target.reservation import Access
from mpio.target.response import GOOD, Response, data_in
from mpio.target.state import UnitState
from mpio.target.store import StoreError

RESULTS_MAX = 8  # by nexus; the oldest goes first
_CHUNK_BYTES = 1 << 20


def _length(cdb: bytes) -> int:
    return int.from_bytes(cdb[10:14], "big")


def extended_copy(unit: UnitState, nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """EXTENDED COPY(LID1): segments in order, until one can't be done."""
    length = _length(cdb)
    if length == 0:
        return GOOD
    if len(data) < length:
        return fail(unit, PARAMETER_LIST_LENGTH)
    try:
        wanted = CopyList.parse(memoryview(data)[:length])
    except CopyListError as error:
        return fail(unit, error.sense)
    copied = done = 0
    problem: CopyListError | None = None
    try:
        units = [_find(unit, device) for device in wanted.devices]
        for segment in wanted.segments:
            copied += _copy(nexus, units, segment)
            done += 1
    except CopyListError as error:
        problem = error
    if wanted.keeps_result:
        results = unit.copies.setdefault(nexus, {})
        results.pop(wanted.list_id, None)
        results[wanted.list_id] = CopyResult(problem is None, done, copied)
        while len(results) > RESULTS_MAX:
            del results[next(iter(results))]
    return GOOD if problem is None else fail(unit, problem.sense)


def _find(unit: UnitState, device: CopyDevice) -> UnitState | None:
    """The unit that a descriptor names; None if there is none here, which matters once a segment wants it."""
    named = device.designator
    if named.type_ != DesignatorType.NAA or named.association != Association.LOGICAL_UNIT:
        return None
    found = unit.device.unit_named(named.value)
    if found is not None and device.block_size not in (0, found.block_size):
        raise CopyListError(INVALID_FIELD_IN_LIST)
    return found


def _copy(nexus: Nexus, units: list[UnitState | None], segment: CopySegment) -> int:
    """Do one segment; returns how many bytes it had. Raises CopyListError."""
    source = _usable(nexus, units, segment.source, Access.READ)
    destination = _usable(nexus, units, segment.destination, Access.WRITE)
    length = segment.blocks * (destination if segment.by_destination else source).block_size
    if length > SEGMENT_DATA_MAX or length % source.block_size or length % destination.block_size:
        raise CopyListError(INVALID_FIELD_IN_LIST)
    start, to = segment.source_lba * source.block_size, segment.destination_lba * destination.block_size
    if start + length > source.store.size_bytes or to + length > destination.store.size_bytes:
        raise CopyListError(COPY_ABORTED)
    offsets = range(0, length, _CHUNK_BYTES)
    if source is destination and start < to:  # the ranges may overlap: nothing is overwritten before it is read
        offsets = offsets[::-1]
    try:
        for offset in offsets:
            piece = source.store.read(start + offset, min(_CHUNK_BYTES, length - offset))
            destination.store.write(to + offset, piece)
        if destination.write_through:
            destination.store.flush()
    except StoreError:
        raise CopyListError(COPY_DEVICE_FAILED) from None
    return length


def _usable(nexus: Nexus, units: list[UnitState | None], index: int, access: Access) -> UnitState:
    """The unit at an index of the list, if this nexus may do that to it. Raises CopyListError."""
    unit = units[index] if index < len(units) else None
    if unit is None:
        raise CopyListError(COPY_DEVICE_UNREACHABLE)
    if (
        not unit.medium_present
        or (access is Access.WRITE and unit.is_write_protected)
        or unit.reservations.forbids(nexus.key, access)
        or (unit.reserved_by is not None and unit.reserved_by is not nexus)
    ):
        raise CopyListError(COPY_DEVICE_FAILED)
    return unit


def receive_copy_results(unit: UnitState, nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """RECEIVE COPY RESULTS: what became of a copy of this nexus, or what copies may be like."""
    if cdb[1] & 0x1F == CopyAction.OPERATING_PARAMETERS:
        return data_in(build_operating_parameters(RESULTS_MAX), _length(cdb))
    result = unit.copies.get(nexus, {}).get(cdb[2])
    if result is None:
        return fail(unit, INVALID_FIELD_IN_CDB.at(2))
    return data_in(result.build(), _length(cdb))
