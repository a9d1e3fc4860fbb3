"""Command descriptor blocks: operation codes, builders for the initiator, and field readers for the target.

Builders pick the 10-byte form where it reaches and the 16-byte form above. LBAs and counts are in logical blocks.
Sources: SPC-4 §6, SBC-3 §5.
"""

import struct
from collections.abc import Iterable
from enum import IntEnum

from mpio.errors import RemoteProtocolError
from mpio.model.task import Buffer


class Op(IntEnum):
    """Operation codes, and for 9Eh, A3h and A4h only the group; its service actions follow below."""

    TEST_UNIT_READY = 0x00
    REQUEST_SENSE = 0x03
    READ_6 = 0x08
    WRITE_6 = 0x0A
    INQUIRY = 0x12
    MODE_SELECT_6 = 0x15
    RESERVE_6 = 0x16
    RELEASE_6 = 0x17
    MODE_SENSE_6 = 0x1A
    START_STOP_UNIT = 0x1B
    PREVENT_ALLOW = 0x1E
    READ_CAPACITY_10 = 0x25
    READ_10 = 0x28
    WRITE_10 = 0x2A
    WRITE_AND_VERIFY_10 = 0x2E
    VERIFY_10 = 0x2F
    PRE_FETCH_10 = 0x34
    SYNCHRONIZE_CACHE_10 = 0x35
    READ_DEFECT_DATA_10 = 0x37
    WRITE_SAME_10 = 0x41
    UNMAP = 0x42
    MODE_SELECT_10 = 0x55
    MODE_SENSE_10 = 0x5A
    PERSISTENT_RESERVE_IN = 0x5E
    PERSISTENT_RESERVE_OUT = 0x5F
    EXTENDED_COPY = 0x83
    RECEIVE_COPY_RESULTS = 0x84
    READ_16 = 0x88
    COMPARE_AND_WRITE = 0x89
    WRITE_16 = 0x8A
    ORWRITE_16 = 0x8B
    WRITE_AND_VERIFY_16 = 0x8E
    VERIFY_16 = 0x8F
    PRE_FETCH_16 = 0x90
    SYNCHRONIZE_CACHE_16 = 0x91
    WRITE_SAME_16 = 0x93
    WRITE_ATOMIC_16 = 0x9C
    SERVICE_ACTION_IN_16 = 0x9E
    REPORT_LUNS = 0xA0
    MAINTENANCE_IN = 0xA3
    MAINTENANCE_OUT = 0xA4
    READ_12 = 0xA8
    WRITE_12 = 0xAA
    WRITE_AND_VERIFY_12 = 0xAE
    VERIFY_12 = 0xAF
    READ_DEFECT_DATA_12 = 0xB7


SA_READ_CAPACITY_16 = 0x10
SA_GET_LBA_STATUS = 0x12
SA_REPORT_TARGET_PORT_GROUPS = 0x0A
SA_SET_TARGET_PORT_GROUPS = 0x0A
SA_REPORT_SUPPORTED_OPCODES = 0x0C
SA_REPORT_SUPPORTED_FUNCTIONS = 0x0D

FUA = 0x08
"""Force unit access: the data are on stable storage before the status is GOOD (byte 1 of READ and WRITE)."""

_FORM_10 = struct.Struct(">BBIBHB")  # opcode, flags, LBA, group, blocks, control
_FORM_16 = struct.Struct(">BBQIBB")  # opcode, flags, LBA, blocks, group, control
_LBA_10_MAX = 0xFFFF_FFFF
_BLOCKS_10_MAX = 0xFFFF


def _medium(op10: int, op16: int, lba: int, blocks: int, flags: int) -> bytes:
    if blocks <= _BLOCKS_10_MAX and lba <= _LBA_10_MAX:
        return _FORM_10.pack(op10, flags, lba, 0, blocks, 0)
    return _FORM_16.pack(op16, flags, lba, blocks, 0, 0)


def read(lba: int, blocks: int, *, fua: bool = False) -> bytes:
    """READ(10) or (16)."""
    if blocks <= _BLOCKS_10_MAX and lba <= _LBA_10_MAX and not fua:  # once per I/O, so without a further call
        return _FORM_10.pack(0x28, 0, lba, 0, blocks, 0)
    return _medium(0x28, 0x88, lba, blocks, FUA if fua else 0)


def write(lba: int, blocks: int, *, fua: bool = False) -> bytes:
    """WRITE(10) or (16)."""
    if blocks <= _BLOCKS_10_MAX and lba <= _LBA_10_MAX and not fua:
        return _FORM_10.pack(0x2A, 0, lba, 0, blocks, 0)
    return _medium(0x2A, 0x8A, lba, blocks, FUA if fua else 0)


def verify(lba: int, blocks: int, *, compare: bool = False) -> bytes:
    """VERIFY(10) or (16); `compare` sends the data along to be compared (BYTCHK 01b)."""
    return _medium(Op.VERIFY_10, Op.VERIFY_16, lba, blocks, 0x02 if compare else 0)


def synchronize_cache(lba: int = 0, blocks: int = 0) -> bytes:
    """SYNCHRONIZE CACHE(10) or (16); 0 blocks means to the end of the medium."""
    return _medium(Op.SYNCHRONIZE_CACHE_10, Op.SYNCHRONIZE_CACHE_16, lba, blocks, 0)


def write_same(lba: int, blocks: int, *, unmap: bool = False) -> bytes:
    """WRITE SAME(10) or (16): one block of data out, written `blocks` times, or unmapped where that reads the same."""
    return _medium(Op.WRITE_SAME_10, Op.WRITE_SAME_16, lba, blocks, 0x08 if unmap else 0)


def compare_and_write(lba: int, blocks: int) -> bytes:
    """COMPARE AND WRITE: data out is `blocks` blocks to compare with, then as many to write."""
    return struct.pack(">BBQ3xBBB", Op.COMPARE_AND_WRITE, 0, lba, blocks, 0, 0)


UNMAP_HEADER_BYTES = 8
UNMAP_DESCRIPTOR_BYTES = 16


def unmap(list_length: int) -> bytes:
    """UNMAP with a parameter list of so many bytes."""
    return struct.pack(">BB5xHB", Op.UNMAP, 0, list_length, 0)


def unmap_list(ranges: Iterable[tuple[int, int]]) -> bytes:
    """The parameter list of UNMAP for (LBA, blocks) ranges (SBC-3 §5.28.2)."""
    body = b"".join(struct.pack(">QI4x", lba, blocks) for lba, blocks in ranges)
    return struct.pack(">HH4x", len(body) + 6, len(body)) + body


def parse_unmap_list(data: Buffer) -> list[tuple[int, int]]:
    """The (LBA, blocks) ranges of an UNMAP parameter list. Raises RemoteProtocolError for a list cut short."""
    if len(data) < UNMAP_HEADER_BYTES:
        raise RemoteProtocolError(f"an UNMAP list of {len(data)} bytes has no header", clause="SBC-3 §5.28.2")
    data_length, descriptor_length = struct.unpack_from(">HH", data)
    whole = descriptor_length - descriptor_length % UNMAP_DESCRIPTOR_BYTES  # a partial one at the end is ignored
    if data_length < descriptor_length + 6 or len(data) < UNMAP_HEADER_BYTES + whole:
        raise RemoteProtocolError("an UNMAP list is shorter than its length fields say", clause="SBC-3 §5.28.2")
    end = UNMAP_HEADER_BYTES + whole
    return [struct.unpack_from(">QI", data, at) for at in range(UNMAP_HEADER_BYTES, end, UNMAP_DESCRIPTOR_BYTES)]


def test_unit_ready() -> bytes:
    """TEST UNIT READY."""
    return bytes(6)


def request_sense(allocation: int = 252, *, descriptor: bool = False) -> bytes:
    """REQUEST SENSE."""
    return bytes((Op.REQUEST_SENSE, int(descriptor), 0, 0, allocation, 0))


def inquiry(allocation: int, page: int | None = None) -> bytes:
    """INQUIRY for the standard data, or for a VPD page."""
    return struct.pack(">BBBHB", Op.INQUIRY, page is not None, page or 0, allocation, 0)


def mode_sense_6(page: int = 0x3F, allocation: int = 255) -> bytes:
    """MODE SENSE(6) of current values, without block descriptors."""
    return bytes((Op.MODE_SENSE_6, 0x08, page, 0, allocation, 0))


def read_capacity_10() -> bytes:
    """READ CAPACITY(10)."""
    return bytes((Op.READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0))


def read_capacity_16(allocation: int = 32) -> bytes:
    """READ CAPACITY(16)."""
    return struct.pack(">BBQIBB", Op.SERVICE_ACTION_IN_16, SA_READ_CAPACITY_16, 0, allocation, 0, 0)


def report_luns(allocation: int) -> bytes:
    """REPORT LUNS of all that can be addressed here."""
    return struct.pack(">BBB3xIBB", Op.REPORT_LUNS, 0, 0, allocation, 0, 0)


def report_target_port_groups(allocation: int, *, extended: bool = False) -> bytes:
    """REPORT TARGET PORT GROUPS; the extended header also tells the transition time."""
    action = SA_REPORT_TARGET_PORT_GROUPS | (0x20 if extended else 0)
    return struct.pack(">BB4xIBB", Op.MAINTENANCE_IN, action, allocation, 0, 0)


def set_target_port_groups(list_length: int) -> bytes:
    """SET TARGET PORT GROUPS with a parameter list of so many bytes."""
    return struct.pack(">BB4xIBB", Op.MAINTENANCE_OUT, SA_SET_TARGET_PORT_GROUPS, list_length, 0, 0)


def persistent_reserve_in(action: int, allocation: int = 8192) -> bytes:
    """PERSISTENT RESERVE IN: 0 keys, 1 reservation, 2 capabilities, 3 full status."""
    return struct.pack(">BB5xHB", Op.PERSISTENT_RESERVE_IN, action, allocation, 0)


def persistent_reserve_out(action: int, type_: int = 0, list_length: int = 24) -> bytes:
    """PERSISTENT RESERVE OUT; `action` and `type_` as in proto.scsi.reservation, scope LU."""
    return struct.pack(">BBB2xIB", Op.PERSISTENT_RESERVE_OUT, action, type_, list_length, 0)


def reserve_6() -> bytes:
    """RESERVE(6) of the whole LU (SPC-2)."""
    return bytes((Op.RESERVE_6, 0, 0, 0, 0, 0))


def release_6() -> bytes:
    """RELEASE(6) of the whole LU (SPC-2)."""
    return bytes((Op.RELEASE_6, 0, 0, 0, 0, 0))


_AT_10 = struct.Struct(">2xIxH")
_AT_12 = struct.Struct(">2xII")
_AT_16 = struct.Struct(">2xQI")


def lba_and_blocks(cdb: Buffer) -> tuple[int, int]:
    """LBA and transfer length of a medium command in its 6-, 10-, 12- or 16-byte form; `cdb` has 16 bytes.

    The form follows from the group code, the top three bits of the operation code (SPC-4 §4.2.5.1).
    """
    group = cdb[0] >> 5
    if group == 0:
        return (cdb[1] & 0x1F) << 16 | cdb[2] << 8 | cdb[3], cdb[4] or 256
    unpack = (_AT_16 if group == 4 else _AT_12 if group == 5 else _AT_10).unpack_from
    lba, blocks = unpack(cdb)
    return lba, blocks
