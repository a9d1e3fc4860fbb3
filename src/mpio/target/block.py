"""Commands that read, write and compare blocks (SBC-3 §5). Each handler takes a unit, a nexus, a CDB and write data.

The CDB has at least 16 bytes. Checks in the order that the conformance tests of libiscsi want: the CDB and its
range, write protection, the data. Handlers may raise StoreError.
"""

import struct

from mpio.model.task import Buffer
from mpio.proto.scsi.cdb import FUA, Op, lba_and_blocks
from mpio.proto.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    LBA_OUT_OF_RANGE,
    MISCOMPARE,
    WRITE_PROTECTED,
    Sense,
)
from mpio.target.nexus import Nexus
from mpio.target.response import CONDITION_MET, GOOD, Response, check, data_in
from mpio.target.state import COMPARE_AND_WRITE_MAX, UnitState

_PROTECT = 0xE0  # RDPROTECT, WRPROTECT, VRPROTECT: there is no protection information here
_BYTCHK = 0x06
_BYTCHK_ALL = 0x02
_BYTCHK_ONE_BLOCK = 0x06
_LISTS_AND_FORMAT = 0x1F  # REQ_PLIST, REQ_GLIST and the defect list format


def fail(unit: UnitState, sense: Sense) -> Response:
    """CHECK CONDITION in the sense format that the unit is set to."""
    return check(sense, descriptor=unit.descriptor_sense)


def _flags(cdb: bytes) -> int:
    """Byte 1 of a medium command; the 6-byte forms have LBA bits there and no flags."""
    return cdb[1] if cdb[0] >= 0x20 else 0


def refusal(unit: UnitState, cdb: bytes, lba: int, blocks: int, blocks_max: int, *, writes: bool) -> Response | None:
    """The answer if the command can't be done, None if it can."""
    if _flags(cdb) & _PROTECT or blocks > blocks_max:
        return fail(unit, INVALID_FIELD_IN_CDB)
    if lba + blocks > unit.blocks:
        return fail(unit, LBA_OUT_OF_RANGE)
    if writes and unit.is_write_protected:
        return fail(unit, WRITE_PROTECTED)
    return None


def settle(unit: UnitState, cdb: bytes) -> None:
    """After a write: bring it to stable storage if the CDB asks for it, or the write cache is off."""
    if _flags(cdb) & FUA or unit.write_through:
        unit.store.flush()


def read(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """READ(6), (10), (12), (16)."""
    lba, blocks = lba_and_blocks(cdb)
    refused = refusal(unit, cdb, lba, blocks, unit.limits.transfer_max, writes=False)
    if refused is not None:
        return refused
    return Response(0, b"", unit.store.read(lba * unit.block_size, blocks * unit.block_size))


def write(unit: UnitState, _nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """WRITE(6), (10), (12), (16).

    If the initiator sends less than the CDB says, the whole blocks that came are written, and the answer is GOOD with
    the overflow (RFC 7143 §11.4.5.1).
    """
    lba, blocks = lba_and_blocks(cdb)
    refused = refusal(unit, cdb, lba, blocks, unit.limits.transfer_max, writes=True)
    if refused is not None:
        return refused
    length = blocks * unit.block_size
    whole = min(length, len(data) - len(data) % unit.block_size)
    unit.store.write(lba * unit.block_size, data if len(data) == whole else memoryview(data)[:whole])
    settle(unit, cdb)
    return GOOD if len(data) == length else Response(0, b"", b"", length)


def write_and_verify(unit: UnitState, nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """WRITE AND VERIFY(10), (12), (16): written, on stable storage, and compared with itself."""
    if cdb[1] & _BYTCHK not in (0, _BYTCHK_ALL):
        return fail(unit, INVALID_FIELD_IN_CDB)
    response = write(unit, nexus, cdb[:1] + bytes((cdb[1] & _PROTECT,)) + cdb[2:], data)
    if response.status == 0:
        unit.store.flush()
    return response


def verify(unit: UnitState, _nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """VERIFY(10), (12), (16): readable (BYTCHK 00), equal to the data sent (01), each block equal to one sent (11)."""
    lba, blocks = lba_and_blocks(cdb)
    refused = refusal(unit, cdb, lba, blocks, unit.limits.transfer_max, writes=False)
    if refused is not None:
        return refused
    mode = cdb[1] & _BYTCHK
    if mode not in (0, _BYTCHK_ALL, _BYTCHK_ONE_BLOCK):
        return fail(unit, INVALID_FIELD_IN_CDB)
    found = unit.store.read(lba * unit.block_size, blocks * unit.block_size)
    if mode == 0 or blocks == 0:
        return GOOD
    length = unit.block_size if mode == _BYTCHK_ONE_BLOCK else len(found)
    expected = bytes(memoryview(data)[:length])
    if len(expected) < length:
        return Response(*fail(unit, INVALID_FIELD_IN_CDB)[:3], length)
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
    return fail(unit, Sense(*MISCOMPARE.code, information=low))


def compare_and_write(unit: UnitState, _nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """COMPARE AND WRITE: nothing can come between the two, since commands run one at a time."""
    lba, blocks = lba_and_blocks(cdb)[0], cdb[13]
    refused = refusal(unit, cdb, lba, blocks, COMPARE_AND_WRITE_MAX, writes=True)
    if refused is not None:
        return refused
    length = blocks * unit.block_size
    if len(data) != 2 * length:
        return fail(unit, INVALID_FIELD_IN_CDB)
    if blocks == 0:
        return GOOD
    expected = bytes(memoryview(data)[:length])
    found = unit.store.read(lba * unit.block_size, length)
    if expected != found:
        return _miscompare(unit, expected, found)
    unit.store.write(lba * unit.block_size, memoryview(data)[length:])
    settle(unit, cdb)
    return GOOD


def orwrite(unit: UnitState, _nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """ORWRITE(16): the bits that are set in the data or on the medium. One command at a time, so nothing is lost."""
    lba, blocks = lba_and_blocks(cdb)
    refused = refusal(unit, cdb, lba, blocks, unit.limits.transfer_max, writes=True)
    if refused is not None:
        return refused
    length = blocks * unit.block_size
    if len(data) != length:
        return Response(*fail(unit, INVALID_FIELD_IN_CDB)[:3], length)
    if blocks:
        found = int.from_bytes(unit.store.read(lba * unit.block_size, length), "little")
        both = found | int.from_bytes(data, "little")
        unit.store.write(lba * unit.block_size, both.to_bytes(length, "little"))
        settle(unit, cdb)
    return GOOD


def write_atomic(unit: UnitState, _nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """WRITE ATOMIC(16): all of it or nothing, whatever happens. Offered where a store can't be left half written."""
    lba, blocks = lba_and_blocks(cdb)[0], int.from_bytes(cdb[12:14], "big")
    refused = refusal(unit, cdb, lba, blocks, unit.limits.atomic_max, writes=True)
    if refused is not None:
        return refused
    if int.from_bytes(cdb[10:12], "big"):  # no atomic boundaries
        return fail(unit, INVALID_FIELD_IN_CDB.at(10))
    length = blocks * unit.block_size
    if len(data) != length:
        return Response(*fail(unit, INVALID_FIELD_IN_CDB)[:3], length)
    unit.store.write(lba * unit.block_size, data)
    settle(unit, cdb)
    return GOOD


def read_defect_data(_unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """READ DEFECT DATA(10), (12): there are no defects, in any format."""
    if cdb[0] == Op.READ_DEFECT_DATA_10:
        return data_in(struct.pack(">BBH", 0, cdb[2] & _LISTS_AND_FORMAT, 0), int.from_bytes(cdb[7:9], "big"))
    head = struct.pack(">BBHI", 0, cdb[1] & _LISTS_AND_FORMAT, 0, 0)
    return data_in(head, int.from_bytes(cdb[6:10], "big"))


def synchronize_cache(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """SYNCHRONIZE CACHE(10), (16): the whole store, whatever the range, so that IMMED may wait too."""
    lba, blocks = lba_and_blocks(cdb)
    if lba + blocks > unit.blocks:
        return fail(unit, LBA_OUT_OF_RANGE)
    unit.store.flush()
    return GOOD


def pre_fetch(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """PRE-FETCH(10), (16): there is nothing to be fetched, so it all fits."""
    lba, blocks = lba_and_blocks(cdb)
    if lba + blocks > unit.blocks:
        return fail(unit, LBA_OUT_OF_RANGE)
    return CONDITION_MET
