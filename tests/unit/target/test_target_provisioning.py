"""Thin and thick units, the allocation map, anchors, and GET LBA STATUS."""

import random
import struct

import pytest
from tests.unit.target.target_kit import BLOCKS, Kit

from mpio.model.task import Buffer
from mpio.proto.scsi import cdb, sense
from mpio.target.allocation import SECTOR_BYTES, AllocationMap, BlockStatus, SparseBytes
from mpio.target.store import RamStore

M, D, N = BlockStatus.MAPPED, BlockStatus.DEALLOCATED, BlockStatus.ANCHORED
FIELD = sense.INVALID_FIELD_IN_CDB


class Plain:
    """A store without an allocation map."""

    writable, volatile = True, False

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.bytes = bytearray(size_bytes)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.bytes[offset : offset + length])

    def write(self, offset: int, data: Buffer) -> None:
        self.bytes[offset : offset + len(data)] = data

    def flush(self) -> None:
        pass

    def discard(self, offset: int, length: int) -> None:
        self.bytes[offset : offset + length] = bytes(length)

    def close(self) -> None:
        pass


def status(kit: Kit, lba: int = 0, allocation: int = 4096) -> list[tuple[int, int, int]]:
    request = bytes((0x9E, 0x12)) + lba.to_bytes(8, "big") + allocation.to_bytes(4, "big") + bytes(2)
    data = kit.good(kit.a1, request)
    assert data[:4] == (len(data) - 4).to_bytes(4, "big")
    return [
        (int.from_bytes(data[at : at + 8], "big"), int.from_bytes(data[at + 8 : at + 12], "big"), data[at + 12])
        for at in range(8, len(data), 16)
    ]


def unmap(kit: Kit, lba: int, blocks: int, *, anchor: bool = False) -> None:
    data = cdb.unmap_list([(lba, blocks)])
    kit.good(kit.a1, bytes((0x42, anchor)) + cdb.unmap(len(data))[2:], data)


@pytest.mark.parametrize("block_size", [512, 4096])
def test_what_is_written_is_mapped_and_what_is_unmapped_is_not(block_size: int) -> None:
    kit = Kit(block_size=block_size)
    assert status(kit) == [(0, BLOCKS, D)]
    kit.good(kit.a1, cdb.write(2, 3), bytes(3 * block_size))
    assert status(kit) == [(0, 2, D), (2, 3, M), (5, BLOCKS - 5, D)], "zeroes that were written are stored"
    unmap(kit, 3, 1)
    unmap(kit, 10, 2, anchor=True)
    assert status(kit) == [(0, 2, D), (2, 1, M), (3, 1, D), (4, 1, M), (5, 5, D), (10, 2, N), (12, BLOCKS - 12, D)]
    assert status(kit, 4, 24) == [(4, 1, M)]
    assert status(kit, 4, 40) == [(4, 1, M), (5, 5, D)]
    kit.good(kit.a1, cdb.write(10, 1), bytes(block_size))
    assert status(kit, 10)[:2] == [(10, 1, M), (11, 1, N)]


def test_write_same_unmaps_zeroes_only() -> None:
    kit = Kit()
    kit.good(kit.a1, cdb.write(0, 16), b"x" * 8192)
    kit.good(kit.a1, cdb.write_same(0, 4, unmap=True), bytes(512))
    kit.good(kit.a1, cdb.write_same(4, 4, unmap=True), b"y" * 512)
    kit.good(kit.a1, struct.pack(">BBQIH", 0x93, 0x18, 8, 4, 0), bytes(512))
    assert status(kit) == [(0, 4, D), (4, 4, M), (8, 4, N), (12, 4, M), (16, BLOCKS - 16, D)]
    assert kit.store.read(0, 8192) == bytes(2048) + b"y" * 2048 + bytes(2048) + b"x" * 2048
    for flags in (0x10, 0x11):  # ANCHOR goes with UNMAP only
        assert kit.sense(kit.a1, struct.pack(">BBQIH", 0x93, flags, 8, 4, 0), bytes(512)) == FIELD


def test_thick_units_unmap_nothing() -> None:
    kit = Kit(thin=False)
    assert status(kit) == [(0, BLOCKS, M)]
    data = cdb.unmap_list([(0, 1)])
    assert kit.sense(kit.a1, cdb.unmap(len(data)), data) == sense.INVALID_OPCODE
    assert kit.sense(kit.a1, cdb.write_same(0, 1, unmap=True), bytes(512)) == FIELD
    kit.good(kit.a1, cdb.write_same(0, 1), bytes(512))
    assert kit.good(kit.a1, cdb.inquiry(255, 0xB2)).hex() == "00b2000400000000"
    assert kit.good(kit.a1, cdb.inquiry(255, 0xB0))[20:32] == bytes(12)
    assert kit.good(kit.a1, cdb.read_capacity_16())[14] == 0
    supported = kit.good(kit.a1, bytes.fromhex("a30c0142000000000400") + bytes(2))
    assert supported[:2] == b"\0\1", "not supported"
    everything = kit.good(kit.a1, bytes.fromhex("a30c00000000000fffff0000"))
    assert cdb.Op.UNMAP not in everything[4::8]


def test_a_store_without_a_map_is_read() -> None:
    kit = Kit(store=Plain(BLOCKS * 512))
    kit.good(kit.a1, cdb.write(2, 3), b"x" * 1536)
    assert [status(kit, lba) for lba in (0, 2, 5)] == [[(0, 2, D)], [(2, 3, M)], [(5, BLOCKS - 5, D)]]
    data = cdb.unmap_list([(0, 1)])
    assert kit.sense(kit.a1, b"\x42\x01" + cdb.unmap(24)[2:], data) == FIELD, "no room can be kept"
    assert kit.good(kit.a1, cdb.inquiry(255, 0xB2)).hex() == "00b2000400e40200"


@pytest.mark.parametrize("allocation", [24, 4096])
def test_a_long_run_is_told_in_parts(allocation: int) -> None:
    kit = Kit(store=RamStore(32 << 30))
    ((start, first, state),) = status(kit, 0, allocation)
    assert (start, state) == (0, D)
    assert 0 < first < kit.unit.blocks // 4
    covered = 0
    while covered < kit.unit.blocks:
        ((start, run, state),) = status(kit, covered, allocation)
        assert (start, state) == (covered, D)
        assert run > 0
        covered += run
    assert covered == kit.unit.blocks


def test_the_map_against_a_list() -> None:
    rng = random.Random(5)
    sectors = 9000
    map_, model = AllocationMap(sectors * SECTOR_BYTES), [D] * sectors
    for _ in range(400):
        start = rng.randrange(sectors)
        count = min(rng.choice((1, 8, 100, 5000)), sectors - start)
        step = rng.choice(("write", "discard", "anchor"))
        if step == "write":
            map_.sectors[start : start + count] = b"\1" * count
        elif step == "discard":
            map_.discard(start * SECTOR_BYTES, count * SECTOR_BYTES)
        else:
            map_.anchor(start * SECTOR_BYTES, count * SECTOR_BYTES)
        model[start : start + count] = [{"write": M, "discard": D, "anchor": N}[step]] * count
        at = rng.randrange(sectors)
        run = next((n for n in range(at, sectors) if model[n] is not model[at]), sectors) - at
        assert map_.run(at * SECTOR_BYTES, (sectors - at) * SECTOR_BYTES) == (model[at], run * SECTOR_BYTES)
        assert map_.run(at * SECTOR_BYTES, SECTOR_BYTES) == (model[at], SECTOR_BYTES)
        assert map_.mapped_bytes() == model.count(M) * SECTOR_BYTES


def test_sparse_bytes_that_can_not_be() -> None:
    with pytest.raises(ValueError, match="no address space"):
        SparseBytes(1 << 62)


def test_atomic_writes_are_offered_where_they_are_atomic() -> None:
    request = bytes((0x9C, 0)) + bytes(8) + bytes(2) + b"\0\2" + bytes(2)
    kit = Kit()
    kit.good(kit.a1, request, b"t" * 1024)
    assert kit.store.read(0, 1024) == b"t" * 1024
    assert kit.sense(kit.a1, request, b"t" * 512) == FIELD
    assert kit.sense(kit.a1, request[:10] + b"\0\1" + request[12:], b"t" * 1024) == FIELD, "no boundaries"
    other = Kit(store=Plain(BLOCKS * 512))
    assert other.sense(other.a1, request, b"t" * 1024) == sense.INVALID_OPCODE
    assert other.good(other.a1, cdb.inquiry(255, 0xB0))[44:] == bytes(20)


def test_orwrite_sets_bits() -> None:
    kit = Kit()
    request = bytes((0x8B, 0)) + (1).to_bytes(8, "big") + (2).to_bytes(4, "big") + bytes(2)
    kit.store.write(0, b"\x0f" * 2048)
    kit.good(kit.a1, request, b"\x30" * 512 + b"\x01" * 512)
    assert kit.store.read(0, 2048) == b"\x0f" * 512 + b"\x3f" * 512 + b"\x0f" * 1024
    assert kit.sense(kit.a1, request, b"\x30" * 512) == FIELD
    kit.good(kit.a1, request[:13] + b"\0" + bytes(2))


def test_there_are_no_defects() -> None:
    kit = Kit()
    assert kit.good(kit.a1, bytes.fromhex("37001d00000000002000")) == bytes.fromhex("001d0000")
    assert kit.good(kit.a1, bytes.fromhex("b71d00000000000000200000")) == bytes.fromhex("001d000000000000")


@pytest.mark.parametrize("physical", [512, 4096, 1 << 16])
def test_physical_blocks(physical: int) -> None:
    kit = Kit(physical_block_size=physical)
    assert 512 << kit.good(kit.a1, cdb.read_capacity_16())[13] == physical


@pytest.mark.parametrize("physical", [256, 1000, 1 << 17])
def test_physical_blocks_that_can_not_be(physical: int) -> None:
    with pytest.raises(ValueError, match="physical block"):
        Kit(physical_block_size=physical)
