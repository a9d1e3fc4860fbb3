"""Commands that read and write the medium (SBC-3 §5). Each handler takes a unit, a nexus, a CDB and the write data.

The CDB has at least 16 bytes. Checks in the order that the conformance tests of libiscsi want: write protection,
CDB fields, LBA range. Handlers may raise StoreError.
"""

import struct

from mpio.errors import RemoteProtocolError
from mpio.model.task import Buffer
from mpio.proto.scsi import cdb as cdbs
from mpio.proto.scsi.cdb import FUA, Op, lba_and_blocks
from mpio.proto.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_LIST,
    LBA_OUT_OF_RANGE,
    MISCOMPARE,
    PARAMETER_LIST_LENGTH,
    WRITE_PROTECTED,
    Sense,
)
from mpio.target.nexus import Nexus
from mpio.target.response import CONDITION_MET, GOOD, Response, check, data_in
from mpio.target.state import COMPARE_AND_WRITE_MAX, UNMAP_DESCRIPTORS_MAX, UnitState
from mpio.target.store import write_zeroes

_PROTECT = 0xE0  # RDPROTECT, WRPROTECT, VRPROTECT: there is no protection information here
_BYTCHK = 0x06
_BYTCHK_ALL = 0x02
_BYTCHK_ONE_BLOCK = 0x06
_ANCHOR = 0x10
_UNMAP = 0x08
_NDOB = 0x01
_WRITE_CHUNK_BYTES = 1 << 20


def _fail(unit: UnitState, sense: Sense) -> Response:
    return check(sense, descriptor=unit.descriptor_sense)


def _flags(cdb: bytes) -> int:
    """Byte 1 of a medium command; the 6-byte forms have LBA bits there and no flags."""
    return cdb[1] if cdb[0] >= 0x20 else 0


def _refusal(unit: UnitState, cdb: bytes, lba: int, blocks: int, blocks_max: int, *, writes: bool) -> Response | None:
    """The answer if the command can't be done, None if it can."""
    if writes and unit.is_write_protected:
        return _fail(unit, WRITE_PROTECTED)
    if _flags(cdb) & _PROTECT or blocks > blocks_max:
        return _fail(unit, INVALID_FIELD_IN_CDB)
    if lba + blocks > unit.blocks:
        return _fail(unit, LBA_OUT_OF_RANGE)
    return None


def read(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """READ(6), (10), (12), (16)."""
    lba, blocks = lba_and_blocks(cdb)
    refusal = _refusal(unit, cdb, lba, blocks, unit.limits.transfer_max, writes=False)
    if refusal is not None:
        return refusal
    return Response(0, b"", unit.store.read(lba * unit.block_size, blocks * unit.block_size))


def write(unit: UnitState, _nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """WRITE(6), (10), (12), (16).

    If the initiator sends less than the CDB says, the whole blocks that came are written, and the answer is GOOD with
    the overflow (RFC 7143 §11.4.5.1).
    """
    lba, blocks = lba_and_blocks(cdb)
    refusal = _refusal(unit, cdb, lba, blocks, unit.limits.transfer_max, writes=True)
    if refusal is not None:
        return refusal
    length = blocks * unit.block_size
    whole = min(length, len(data) - len(data) % unit.block_size)
    unit.store.write(lba * unit.block_size, data if len(data) == whole else memoryview(data)[:whole])
    if _flags(cdb) & FUA:
        unit.store.flush()
    return GOOD if len(data) == length else Response(0, b"", b"", length)


def write_and_verify(unit: UnitState, nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """WRITE AND VERIFY(10), (12), (16): written, on stable storage, and compared with itself."""
    if cdb[1] & _BYTCHK not in (0, _BYTCHK_ALL) and not unit.is_write_protected:
        return _fail(unit, INVALID_FIELD_IN_CDB)
    response = write(unit, nexus, cdb[:1] + bytes((cdb[1] & _PROTECT,)) + cdb[2:], data)
    if response.status == 0:
        unit.store.flush()
    return response


def verify(unit: UnitState, _nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """VERIFY(10), (12), (16): readable (BYTCHK 00), equal to the data sent (01), each block equal to one sent (11)."""
    lba, blocks = lba_and_blocks(cdb)
    refusal = _refusal(unit, cdb, lba, blocks, unit.limits.transfer_max, writes=False)
    if refusal is not None:
        return refusal
    mode = cdb[1] & _BYTCHK
    if mode not in (0, _BYTCHK_ALL, _BYTCHK_ONE_BLOCK):
        return _fail(unit, INVALID_FIELD_IN_CDB)
    found = unit.store.read(lba * unit.block_size, blocks * unit.block_size)
    if mode == 0 or blocks == 0:
        return GOOD
    length = unit.block_size if mode == _BYTCHK_ONE_BLOCK else len(found)
    expected = bytes(memoryview(data)[:length])
    if len(expected) < length:
        return Response(*_fail(unit, INVALID_FIELD_IN_CDB)[:3], length)
    if mode == _BYTCHK_ONE_BLOCK:
        expected *= blocks
    if expected == found:
        return GOOD if len(data) == length else Response(0, b"", b"", length)
    return _miscompare(unit, expected, found)


def _miscompare(unit: UnitState, expected: bytes, found: bytes) -> Response:
    """MISCOMPARE with the offset of the first byte that differs."""
    low, high = 0, len(found)  # equal before low, different somewhere before high
    while high - low > 1:
        middle = (low + high) // 2
        if expected[low:middle] == found[low:middle]:
            low = middle
        else:
            high = middle
    return _fail(unit, Sense(*MISCOMPARE.code, information=low))


def compare_and_write(unit: UnitState, _nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """COMPARE AND WRITE: nothing can come between the two, since commands run one at a time."""
    lba, blocks = lba_and_blocks(cdb)[0], cdb[13]
    refusal = _refusal(unit, cdb, lba, blocks, COMPARE_AND_WRITE_MAX, writes=True)
    if refusal is not None:
        return refusal
    length = blocks * unit.block_size
    if len(data) != 2 * length:
        return _fail(unit, INVALID_FIELD_IN_CDB)
    if blocks == 0:
        return GOOD
    expected = bytes(memoryview(data)[:length])
    found = unit.store.read(lba * unit.block_size, length)
    if expected != found:
        return _miscompare(unit, expected, found)
    unit.store.write(lba * unit.block_size, memoryview(data)[length:])
    if cdb[1] & FUA:
        unit.store.flush()
    return GOOD


def synchronize_cache(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """SYNCHRONIZE CACHE(10), (16): the whole store, whatever the range, so that IMMED may wait too."""
    lba, blocks = lba_and_blocks(cdb)
    if lba + blocks > unit.blocks:
        return _fail(unit, LBA_OUT_OF_RANGE)
    unit.store.flush()
    return GOOD


def pre_fetch(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """PRE-FETCH(10), (16): there is nothing to be fetched, so it all fits."""
    lba, blocks = lba_and_blocks(cdb)
    if lba + blocks > unit.blocks:
        return _fail(unit, LBA_OUT_OF_RANGE)
    return CONDITION_MET


_STATUS_SCAN_BYTES = 4 << 20
_MAPPED, _DEALLOCATED = 0, 1


def get_lba_status(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """GET LBA STATUS: how far the blocks from an LBA on are all in use, or all without.

    A block that reads as zeroes counts as deallocated, since nobody can tell the difference (LBPRZ 1). One descriptor,
    which may end before the run does; the initiator asks on from there (SBC-3 §5.4).
    """
    lba, allocation = lba_and_blocks(cdb)
    if lba >= unit.blocks:
        return _fail(unit, LBA_OUT_OF_RANGE)
    size = unit.block_size
    scanned = min(unit.blocks - lba, _STATUS_SCAN_BYTES // size)
    found = unit.store.read(lba * size, scanned * size)
    zero = bytes(size)
    deallocated = found[:size] == zero
    if deallocated and found.count(0) == len(found):
        run = scanned
    else:
        run = 1
        while run < scanned and (found[run * size : (run + 1) * size] == zero) == deallocated:
            run += 1
    descriptor = struct.pack(">QIB3x", lba, run, _DEALLOCATED if deallocated else _MAPPED)
    return data_in(struct.pack(">I4x", len(descriptor) + 4) + descriptor, allocation)


def write_same(unit: UnitState, _nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """WRITE SAME(10), (16): one block many times; unmaps instead if asked to and the block is all zeroes."""
    lba, blocks = lba_and_blocks(cdb)
    ndob = cdb[0] == Op.WRITE_SAME_16 and bool(cdb[1] & _NDOB)
    refusal = _refusal(unit, cdb, lba, blocks, unit.limits.write_same_max, writes=True)
    if refusal is not None:
        return refusal
    if blocks == 0 or cdb[1] & _ANCHOR:
        return _fail(unit, INVALID_FIELD_IN_CDB)
    length = 0 if ndob else unit.block_size
    if len(data) < length:
        return Response(*_fail(unit, INVALID_FIELD_IN_CDB)[:3], length)
    pattern = bytes(memoryview(data)[:length])
    start, total = lba * unit.block_size, blocks * unit.block_size
    if not any(pattern):
        if cdb[1] & _UNMAP:
            unit.store.discard(start, total)
        else:
            write_zeroes(unit.store, start, total)
    else:
        chunk = memoryview(pattern * min(blocks, _WRITE_CHUNK_BYTES // unit.block_size))
        for offset in range(0, total, len(chunk)):
            unit.store.write(start + offset, chunk[: total - offset])
    return GOOD if len(data) == length else Response(0, b"", b"", length)


def unmap(unit: UnitState, _nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """UNMAP: all ranges are checked before the first is discarded."""
    if unit.is_write_protected:
        return _fail(unit, WRITE_PROTECTED)
    if cdb[1] & 0x01:  # ANCHOR, which VPD B2 does not offer
        return _fail(unit, INVALID_FIELD_IN_CDB)
    length = int.from_bytes(cdb[7:9], "big")
    if length == 0:
        return GOOD
    if len(data) < length:
        return Response(*_fail(unit, PARAMETER_LIST_LENGTH)[:3], length)
    try:
        ranges = cdbs.parse_unmap_list(memoryview(data)[:length])
    except RemoteProtocolError:
        return _fail(unit, PARAMETER_LIST_LENGTH)
    if len(ranges) > UNMAP_DESCRIPTORS_MAX or sum(blocks for _, blocks in ranges) > unit.limits.unmap_max:
        return _fail(unit, INVALID_FIELD_IN_LIST)
    if any(lba + blocks > unit.blocks for lba, blocks in ranges):
        return _fail(unit, LBA_OUT_OF_RANGE)
    for lba, blocks in ranges:
        if blocks:
            unit.store.discard(lba * unit.block_size, blocks * unit.block_size)
    return GOOD if len(data) == length else Response(0, b"", b"", length)
