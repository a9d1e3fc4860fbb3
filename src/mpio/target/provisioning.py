"""Commands that manage which blocks are stored at all: UNMAP, WRITE SAME, GET LBA STATUS (SBC-3 §4.7, §5).

A thin unit deallocates; a thick one refuses to, and says that every block is mapped.
"""

import struct

from mpio.errors import RemoteProtocolError
from mpio.model.task import Buffer
from mpio.proto.scsi import cdb as cdbs
from mpio.proto.scsi.cdb import Op, lba_and_blocks
from mpio.proto.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_LIST,
    LBA_OUT_OF_RANGE,
    PARAMETER_LIST_LENGTH,
    WRITE_PROTECTED,
)
from mpio.target.allocation import BlockStatus
from mpio.target.block import fail, refusal
from mpio.target.nexus import Nexus
from mpio.target.response import GOOD, Response, data_in
from mpio.target.state import UNMAP_DESCRIPTORS_MAX, UnitState
from mpio.target.store import write_zeroes

_ANCHOR_SAME = 0x10
_ANCHOR_UNMAP = 0x01
_UNMAP = 0x08
_NDOB = 0x01
_WRITE_CHUNK_BYTES = 1 << 20
_ZERO_SCAN_BYTES = 4 << 20
_DESCRIPTOR_BYTES = 16
_DESCRIPTORS_MAX = 64
_LOOK_BYTES = 4 << 30


def get_lba_status(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """GET LBA STATUS: runs of blocks that are mapped, deallocated or anchored, from an LBA on.

    As many descriptors as fit, over a range that takes no time worth mentioning. The last may end before its run does;
    the initiator asks on from there.
    """
    lba, allocation = lba_and_blocks(cdb)
    if lba >= unit.blocks:
        return fail(unit, LBA_OUT_OF_RANGE)
    wanted = min(max((allocation - 8) // _DESCRIPTOR_BYTES, 1), _DESCRIPTORS_MAX)
    descriptors: list[tuple[int, int, BlockStatus]] = []
    end = min(unit.blocks, lba + _LOOK_BYTES // unit.block_size)
    while lba < end and len(descriptors) < wanted:
        status, run, whole = _run(unit, lba)
        if descriptors and descriptors[-1][2] is status:
            descriptors[-1] = (descriptors[-1][0], descriptors[-1][1] + run, status)
        else:
            descriptors.append((lba, run, status))
        lba += run
        if not whole:
            break
    body = b"".join(struct.pack(">QIB3x", start, run, status) for start, run, status in descriptors)
    return data_in(struct.pack(">I4x", len(body) + 4) + body, allocation)


def _run(unit: UnitState, lba: int) -> tuple[BlockStatus, int, bool]:
    """Status of a block, how many blocks share it, and whether it is worth while to ask on behind them."""
    size, left = unit.block_size, min(unit.blocks - lba, 0xFFFF_FFFF)
    if not unit.thin:
        return BlockStatus.MAPPED, left, False
    if unit.allocation is None:
        return _zero_run(unit, lba)
    status, length = unit.allocation(lba * size, left * size)
    run = length // size
    if run == 0:  # part of a block is stored, so it is
        return BlockStatus.MAPPED, 1, True
    return status, run, True


def _zero_run(unit: UnitState, lba: int) -> tuple[BlockStatus, int, bool]:
    """For a store without a map: a block of zeroes counts as deallocated, since nobody can tell the difference."""
    size = unit.block_size
    scanned = min(unit.blocks - lba, _ZERO_SCAN_BYTES // size)
    found = unit.store.read(lba * size, scanned * size)
    zero = bytes(size)
    deallocated = found[:size] == zero
    if deallocated and found.count(0) == len(found):
        run = scanned
    else:
        run = 1
        while run < scanned and (found[run * size : (run + 1) * size] == zero) == deallocated:
            run += 1
    return BlockStatus.DEALLOCATED if deallocated else BlockStatus.MAPPED, run, False


def write_same(unit: UnitState, _nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """WRITE SAME(10), (16): one block many times; unmaps instead if asked to and the block is all zeroes."""
    lba, blocks = lba_and_blocks(cdb)
    unmaps, anchors = bool(cdb[1] & _UNMAP), bool(cdb[1] & _ANCHOR_SAME)
    ndob = cdb[0] == Op.WRITE_SAME_16 and bool(cdb[1] & _NDOB)
    if blocks == 0:  # as VPD page B0 says (WSNZ)
        return fail(unit, INVALID_FIELD_IN_CDB)
    refused = refusal(unit, cdb, lba, blocks, unit.limits.write_same_max, writes=True)
    if refused is not None:
        return refused
    if (unmaps and not unit.thin) or (anchors and not (unmaps and unit.anchor)):
        return fail(unit, INVALID_FIELD_IN_CDB.at(1))
    length = 0 if ndob else unit.block_size
    if len(data) != length:  # which block is meant would be a guess
        return Response(*fail(unit, INVALID_FIELD_IN_CDB)[:3], length)
    pattern = bytes(data)
    start, total = lba * unit.block_size, blocks * unit.block_size
    if any(pattern):
        chunk = memoryview(pattern * min(blocks, _WRITE_CHUNK_BYTES // unit.block_size))
        for offset in range(0, total, len(chunk)):
            unit.store.write(start + offset, chunk[: total - offset])
    elif unmaps:
        _deallocate(unit, start, total, anchors=anchors)
    else:
        write_zeroes(unit.store, start, total)
    return GOOD


def unmap(unit: UnitState, _nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """UNMAP: all ranges are checked before the first is deallocated."""
    anchors = bool(cdb[1] & _ANCHOR_UNMAP)
    if anchors and not unit.anchor:
        return fail(unit, INVALID_FIELD_IN_CDB.at(1))
    length = int.from_bytes(cdb[7:9], "big")
    if length == 0:
        return GOOD
    if len(data) < length:
        return Response(*fail(unit, PARAMETER_LIST_LENGTH)[:3], length)
    try:
        ranges = cdbs.parse_unmap_list(memoryview(data)[:length])
    except RemoteProtocolError:
        return fail(unit, PARAMETER_LIST_LENGTH)
    if len(ranges) > UNMAP_DESCRIPTORS_MAX or sum(blocks for _, blocks in ranges) > unit.limits.unmap_max:
        return fail(unit, INVALID_FIELD_IN_LIST)
    if any(lba + blocks > unit.blocks for lba, blocks in ranges):
        return fail(unit, LBA_OUT_OF_RANGE)
    ranges = [(lba, blocks) for lba, blocks in ranges if blocks]
    if ranges and unit.is_write_protected:
        return fail(unit, WRITE_PROTECTED)
    for lba, blocks in ranges:
        _deallocate(unit, lba * unit.block_size, blocks * unit.block_size, anchors=anchors)
    return GOOD if len(data) == length else Response(0, b"", b"", length)


def _deallocate(unit: UnitState, start: int, length: int, *, anchors: bool) -> None:
    if anchors and unit.anchor is not None:
        unit.anchor(start, length)
    else:
        unit.store.discard(start, length)
