"""Mode pages of a disk: error recovery, caching, control, informational exceptions (SPC-4 §7.5, SBC-3 §6.5).

SWP and D_SENSE of the control page can be changed, and WCE of the caching page where there is a cache.
Nothing is saved.
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from mpio.model.task import Buffer
from mpio.proto.scsi.cdb import Op
from mpio.proto.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_LIST,
    MODE_PARAMETERS_CHANGED,
    PARAMETER_LIST_LENGTH,
    SAVING_NOT_SUPPORTED,
    Sense,
)
from mpio.target.nexus import Nexus
from mpio.target.response import GOOD, Response, check, data_in
from mpio.target.state import UnitState

_D_SENSE = 0x04  # control page, byte 2
_SWP = 0x08  # control page, byte 4
_WCE = 0x04  # caching page, byte 2
_WP = 0x80
_DPOFUA = 0x10
_DBD = 0x08
_LLBAA = 0x10
_PF = 0x10
_SP = 0x01
_ALL_PAGES = 0x3F
_ALL_SUBPAGES = 0xFF


class _Values(IntEnum):
    """Page control: which values MODE SENSE asks for."""

    CURRENT = 0
    CHANGEABLE = 1
    DEFAULT = 2
    SAVED = 3


def _recovery(_unit: UnitState, _values: _Values) -> bytes:
    return bytes((0x01, 0x0A)) + bytes(10)


def _caching(unit: UnitState, values: _Values) -> bytes:
    on = values is not _Values.CURRENT or not unit.write_through  # changeable, on by default, and perhaps now
    wce = _WCE if unit.store.volatile and on else 0
    return bytes((0x08, 0x12, wce)) + bytes(17)


def _control(unit: UnitState, values: _Values) -> bytes:
    changeable = values is _Values.CHANGEABLE
    current = values is _Values.CURRENT
    d_sense = _D_SENSE if changeable or (current and unit.descriptor_sense) else 0
    swp = _SWP if changeable or (current and unit.software_write_protect) else 0
    return bytes((0x0A, 0x0A, d_sense, 0, swp, 0)) + bytes(6)


def _exceptions(_unit: UnitState, _values: _Values) -> bytes:
    return bytes((0x1C, 0x0A)) + bytes(10)


_PAGES: dict[int, Callable[[UnitState, _Values], bytes]] = {
    0x01: _recovery, 0x08: _caching, 0x0A: _control, 0x1C: _exceptions,
}


def mode_sense(unit: UnitState, _nexus: Nexus, cdb: bytes, _data: Buffer) -> Response:
    """MODE SENSE(6) and (10)."""
    values, page, subpage = _Values(cdb[2] >> 6), cdb[2] & 0x3F, cdb[3]
    if values is _Values.SAVED:
        return check(SAVING_NOT_SUPPORTED, descriptor=unit.descriptor_sense)
    if subpage not in (0, _ALL_SUBPAGES) or (page != _ALL_PAGES and page not in _PAGES):
        return check(INVALID_FIELD_IN_CDB, descriptor=unit.descriptor_sense)
    chosen = _PAGES.values() if page == _ALL_PAGES else (_PAGES[page],)
    pages = b"".join(build(unit, values) for build in chosen)
    device_specific = _DPOFUA | (_WP if unit.is_write_protected else 0)
    if cdb[0] == Op.MODE_SENSE_6:
        block = b"" if cdb[1] & _DBD else _short_descriptor(unit)
        head = bytes((3 + len(block) + len(pages), 0, device_specific, len(block)))
        return data_in(head + block + pages, cdb[4])
    long_lba = bool(cdb[1] & _LLBAA)
    block = b"" if cdb[1] & _DBD else _long_descriptor(unit) if long_lba else _short_descriptor(unit)
    size = 6 + len(block) + len(pages)
    head = struct.pack(">HBBBxH", size, 0, device_specific, long_lba and bool(block), len(block))
    return data_in(head + block + pages, int.from_bytes(cdb[7:9], "big"))


def _short_descriptor(unit: UnitState) -> bytes:
    return struct.pack(">II", min(unit.blocks, 0xFFFF_FFFF), unit.block_size)


def _long_descriptor(unit: UnitState) -> bytes:
    return struct.pack(">Q4xI", unit.blocks, unit.block_size)


class _Settings(NamedTuple):
    """What MODE SELECT can change."""

    descriptor_sense: bool
    protect: bool
    write_through: bool


def mode_select(unit: UnitState, nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
    """MODE SELECT(6) and (10): everything is checked before anything is changed."""
    six = cdb[0] == Op.MODE_SELECT_6
    length = cdb[4] if six else int.from_bytes(cdb[7:9], "big")
    if cdb[1] & _SP or not cdb[1] & _PF:
        return check(INVALID_FIELD_IN_CDB, descriptor=unit.descriptor_sense)
    if length == 0:
        return GOOD
    body = bytes(memoryview(data)[:length])
    head_bytes = 4 if six else 8
    if len(body) < max(length, head_bytes):
        return check(PARAMETER_LIST_LENGTH, descriptor=unit.descriptor_sense)
    block_bytes = body[3] if six else int.from_bytes(body[6:8], "big")
    settings = before = _Settings(unit.descriptor_sense, unit.software_write_protect, unit.write_through)
    at = head_bytes + block_bytes
    if at > len(body):
        return check(PARAMETER_LIST_LENGTH, descriptor=unit.descriptor_sense)
    if block_bytes and body[head_bytes:at] not in (_short_descriptor(unit), _long_descriptor(unit)):
        return check(INVALID_FIELD_IN_LIST, descriptor=unit.descriptor_sense)
    while at < len(body):
        page = body[at : at + 2 + (body[at + 1] if at + 1 < len(body) else 0)]
        refusal = _unacceptable(unit, page)
        if refusal is not None:
            return check(refusal, descriptor=unit.descriptor_sense)
        if page[0] & 0x3F == 0x0A:
            settings = settings._replace(descriptor_sense=bool(page[2] & _D_SENSE), protect=bool(page[4] & _SWP))
        if page[0] & 0x3F == 0x08 and unit.store.volatile:
            settings = settings._replace(write_through=not page[2] & _WCE)
        at += len(page)
    if settings != before:
        if settings.write_through:
            unit.store.flush()  # what was written with the cache on is to be safe too
        unit.descriptor_sense, unit.software_write_protect, unit.write_through = settings
        unit.watch_all()
        unit.attention(MODE_PARAMETERS_CHANGED, but=nexus)
    return GOOD


def _unacceptable(unit: UnitState, page: bytes) -> Sense | None:
    """Why a page of a MODE SELECT list can't be taken, None if it can: only changeable bits may differ."""
    build = _PAGES.get(page[0] & 0x3F)
    if build is None or page[0] & 0x40:
        return INVALID_FIELD_IN_LIST
    current, mask = build(unit, _Values.CURRENT), build(unit, _Values.CHANGEABLE)
    if len(page) < 2 or page[1] != current[1]:
        return INVALID_FIELD_IN_LIST
    if len(page) < len(current):
        return PARAMETER_LIST_LENGTH
    if any((new ^ old) & ~can for new, old, can in zip(page[2:], current[2:], mask[2:], strict=True)):
        return INVALID_FIELD_IN_LIST
    return None
