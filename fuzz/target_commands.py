"""Commands that a target takes, made from a seed: the right length, a plausible parameter list, blocks that are there.

What is random all through is refused by the first check, and never sees the second. `target_inputs` spoils some of
these afterwards.
"""

import random
import struct
from collections.abc import Callable
from typing import NamedTuple

from mpio.model.identity import AluaState
from mpio.proto.scsi import cdb, reservation
from mpio.proto.scsi.alua import build_set_list
from mpio.proto.scsi.cdb import Op
from mpio.proto.scsi.copy import CopyDevice, CopyList, CopySegment
from mpio.proto.scsi.inquiry import naa_designator
from mpio.target.unit import LogicalUnit

CDB_BYTES = 16
BLOCKS_MAX = 4
_ALLOCATIONS = (0, 4, 36, 64, 255)
_PAGES = (0x00, 0x80, 0x83, 0x86, 0x88, 0x8F, 0xB0, 0xB1, 0xB2, 0xC0)
_MODE_PAGES = (0x01, 0x08, 0x0A, 0x1C, 0x3F)
_PORTS = tuple(f"iqn.2026-01.example:{name},i,0x80000000000{number}" for name in ("bad", "good") for number in (0, 1))


class Spoken(NamedTuple):
    """A CDB of 16 bytes, the data that go with it, and how many bytes are asked for."""

    cdb: bytes
    data: bytes = b""
    asks: int = 0


def command(rng: random.Random, units: dict[int, LogicalUnit], lun: int) -> Spoken:
    """A command for a LUN."""
    spoken = rng.choice(_MAKERS)(rng, units, units[lun])
    return spoken._replace(cdb=spoken.cdb.ljust(CDB_BYTES, b"\0"))


_Units = dict[int, LogicalUnit]


def _extent(rng: random.Random, unit: LogicalUnit) -> tuple[int, int]:
    """Few blocks: at the beginning, where the others are too, or at the end."""
    blocks = rng.randrange(BLOCKS_MAX + 1)
    return rng.choice((rng.randrange(8), unit.blocks - blocks)), blocks


def _read(rng: random.Random, _: _Units, unit: LogicalUnit) -> Spoken:
    lba, blocks = _extent(rng, unit)
    length = blocks * unit.block_size
    return rng.choice((
        Spoken(cdb.read(lba, blocks, fua=rng.random() < 0.2), asks=length),
        Spoken(struct.pack(">BBQIBB", Op.READ_16, 0, lba, blocks, 0, 0), asks=length),
        Spoken(cdb.verify(lba, blocks)),
        Spoken(cdb.synchronize_cache(lba, blocks)),
        Spoken(struct.pack(">BBIBHB", Op.PRE_FETCH_10, 0, lba, 0, blocks, 0)),
        Spoken(struct.pack(">BBQIBB", Op.SERVICE_ACTION_IN_16, 0x12, lba, 24, 0, 0), asks=24),
    ))


def _write(rng: random.Random, _: _Units, unit: LogicalUnit) -> Spoken:
    lba, blocks = _extent(rng, unit)
    data = bytes((rng.randrange(4),)) * (blocks * unit.block_size)
    sixteen = rng.choice((Op.WRITE_16, Op.WRITE_AND_VERIFY_16, Op.ORWRITE_16))
    return rng.choice((
        Spoken(cdb.write(lba, blocks, fua=rng.random() < 0.2), data),
        Spoken(struct.pack(">BBQIBB", sixteen, 0, lba, blocks, 0, 0), data),
        Spoken(cdb.verify(lba, blocks, compare=True), data),
        Spoken(struct.pack(">BBQ2xHBB", Op.WRITE_ATOMIC_16, 0, lba, blocks, 0, 0), data),
        Spoken(cdb.compare_and_write(lba, blocks), data + data),
        Spoken(cdb.write_same(lba, max(blocks, 1), unmap=rng.random() < 0.5), bytes(unit.block_size)),
    ))


def _unmap(rng: random.Random, _: _Units, unit: LogicalUnit) -> Spoken:
    data = cdb.unmap_list([_extent(rng, unit) for _ in range(rng.randrange(4))])
    return Spoken(cdb.unmap(len(data)), data)


def _reserve(rng: random.Random, _: _Units, _unit: LogicalUnit) -> Spoken:
    if rng.random() < 0.2:
        return rng.choice((Spoken(cdb.reserve_6()), Spoken(cdb.release_6())))
    action, type_ = rng.randrange(8), rng.choice((1, 3, 5, 6, 7, 8))
    key, other = rng.randrange(3), rng.randrange(3)
    if action == reservation.OutAction.REGISTER_AND_MOVE:
        data = reservation.move_parameters(
            key=key, service_action_key=other, relative_port=rng.randrange(3), initiator_port=rng.choice(_PORTS))
    else:
        ports = (rng.choice(_PORTS),) if rng.random() < 0.2 else ()
        data = reservation.parameters(
            key=key, service_action_key=other, all_target_ports=rng.random() < 0.2, initiator_ports=ports)
    return Spoken(cdb.persistent_reserve_out(action, type_, len(data)), data)


def _copy(rng: random.Random, units: _Units, _: LogicalUnit) -> Spoken:
    ends = [rng.choice(list(units.values())) for _ in range(2)]
    devices = tuple(CopyDevice(naa_designator(unit.naa), unit.block_size) for unit in ends)
    segments = tuple(
        CopySegment(rng.randrange(2), rng.randrange(2), rng.randrange(5), rng.randrange(9), rng.randrange(9),
                    rng.random() < 0.5) for _ in range(rng.randrange(3)))
    data = CopyList(rng.randrange(4), rng.random() < 0.7, devices, segments).build()
    return Spoken(struct.pack(">BBQIBB", Op.EXTENDED_COPY, 0, 0, len(data), 0, 0), data)


def _mode_select(rng: random.Random, _: _Units, _unit: LogicalUnit) -> Spoken:
    page = rng.choice((bytes((0x0A, 0x0A, rng.choice((0, 2, 4, 6)), 0, rng.choice((0, 8)))) + bytes(7),
                       bytes((0x08, 0x12, rng.choice((0, 4)))) + bytes(17)))
    data = bytes(4) + page
    return Spoken(struct.pack(">BB2xBB", Op.MODE_SELECT_6, 0x10, len(data), 0), data)


def _groups(rng: random.Random, _: _Units, _unit: LogicalUnit) -> Spoken:
    states = (AluaState.ACTIVE_OPTIMIZED, AluaState.ACTIVE_OPTIMIZED, AluaState.ACTIVE_NON_OPTIMIZED, AluaState.STANDBY)
    data = build_set_list([(rng.randrange(1, 3), rng.choice(states)) for _ in range(rng.randrange(3))])
    return Spoken(cdb.set_target_port_groups(len(data)), data)


def _question(rng: random.Random, _: _Units, _unit: LogicalUnit) -> Spoken:
    room = rng.choice(_ALLOCATIONS)
    return rng.choice((
        Spoken(cdb.test_unit_ready()),
        Spoken(cdb.inquiry(room, rng.choice((None, *_PAGES))), asks=room),
        Spoken(cdb.mode_sense_6(rng.choice(_MODE_PAGES) | rng.choice((0, 0x40, 0x80)), room), asks=room),
        Spoken(cdb.read_capacity_10(), asks=8),
        Spoken(cdb.read_capacity_16(32), asks=32),
        Spoken(cdb.report_luns(max(room, 16)), asks=max(room, 16)),
        Spoken(cdb.report_target_port_groups(room, extended=rng.random() < 0.5), asks=room),
        Spoken(cdb.persistent_reserve_in(rng.randrange(4), room), asks=room),
        Spoken(cdb.request_sense(room, descriptor=rng.random() < 0.5), asks=room),
        Spoken(struct.pack(">BBBBHIBB", Op.MAINTENANCE_IN, 0x0C, rng.choice((0, 0x80, 1, 2, 3)), rng.choice(list(Op)),
                           rng.randrange(3), room, 0, 0), asks=room),
        Spoken(struct.pack(">BBB7xIBB", Op.RECEIVE_COPY_RESULTS, rng.randrange(5), rng.randrange(4), room, 0, 0),
               asks=room),
        Spoken(struct.pack(">B3xBB", Op.START_STOP_UNIT, rng.randrange(4), 0)),
        Spoken(struct.pack(">B3xBB", Op.PREVENT_ALLOW, rng.randrange(2), 0)),
    ))


_MAKERS: tuple[Callable[[random.Random, _Units, LogicalUnit], Spoken], ...] = (
    _read, _read, _read, _write, _write, _write, _unmap, _reserve, _copy, _mode_select, _groups, _question, _question,
)
