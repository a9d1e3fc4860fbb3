"""Reads and writes against a model, and every way in which they can be refused."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.target.target_kit import BLOCKS, Kit

from mpio.model.task import Status
from mpio.proto.scsi import cdb, sense
from mpio.proto.scsi.sense import Sense
from mpio.target.commands import COMMANDS
from mpio.target.response import Response
from mpio.target.store import RamStore, StoreError

FIELD = sense.INVALID_FIELD_IN_CDB
RANGE = sense.LBA_OUT_OF_RANGE


def form(opcode: int, lba: int, blocks: int, flags: int = 0) -> bytes:
    """A medium CDB in the form that its opcode belongs to."""
    group = opcode >> 5
    if group == 0:
        return bytes((opcode, *lba.to_bytes(3, "big"), blocks & 0xFF, 0))
    if group == 4:
        return bytes((opcode, flags)) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(2)
    if group == 5:
        return bytes((opcode, flags)) + lba.to_bytes(4, "big") + blocks.to_bytes(4, "big") + bytes(2)
    return bytes((opcode, flags)) + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0"


READS = (0x08, 0x28, 0xA8, 0x88)
WRITES = (0x0A, 0x2A, 0xAA, 0x8A, 0x2E, 0xAE, 0x8E)

places = st.tuples(st.integers(0, BLOCKS), st.integers(0, 12))
steps = st.lists(
    st.tuples(
        st.sampled_from(["write", "unmap", "same", "same-unmap", "caw", "reset"]), places, st.integers(0, 255),
        st.sampled_from(WRITES), st.sampled_from(READS),
    ),
    max_size=25,
)


@pytest.mark.parametrize("size", [512, 4096])
@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_what_was_written_is_read(size: int, steps: list[tuple[str, tuple[int, int], int, int, int]]) -> None:
    kit = Kit(block_size=size)
    model = bytearray(BLOCKS * size)
    for what, (lba, blocks), value, write_opcode, read_opcode in steps:
        fits = lba + blocks <= BLOCKS
        block = bytes([value]) * (size - 1) + b"\1" if value else bytes(size)
        data, inside = block * blocks, slice(lba * size, (lba + blocks) * size)
        if what == "write":
            if write_opcode == 0x0A and blocks == 0:
                continue  # 256 blocks in that form
            response = kit.run(kit.a1, form(write_opcode, lba, blocks, 0 if write_opcode & 4 else 8), data)
        elif what == "unmap":
            ranges = cdb.unmap_list([(lba, blocks), (lba, blocks // 2)])
            response, data = kit.run(kit.a1, cdb.unmap(len(ranges)), ranges), bytes(len(data))
        elif what.startswith("same"):
            blocks = blocks or 1
            fits = lba + blocks <= BLOCKS
            data, inside = block * blocks, slice(lba * size, (lba + blocks) * size)
            response = kit.run(kit.a1, cdb.write_same(lba, blocks, unmap=what == "same-unmap"), block)
        elif what == "caw":
            before = bytes(model[inside]) if fits else bytes(len(data))
            response = kit.run(kit.a1, cdb.compare_and_write(lba, blocks), before + data)
        else:
            kit.unit.reset()
            assert kit.sense(kit.a1, bytes(6)) == sense.LU_RESET
            continue
        if fits:
            assert response.status == Status.GOOD, (what, lba, blocks, Sense.parse(response.sense))
            model[inside] = data
        else:
            assert Sense.parse(response.sense) == RANGE
        if read_opcode != 0x08 or blocks:
            found = kit.run(kit.a1, form(read_opcode, lba, blocks))
            assert found.data == (model[inside] if fits else b"")
    assert kit.store.read(0, len(model)) == model


@settings(max_examples=400, deadline=None)
@given(request=st.binary(min_size=0, max_size=20), data=st.binary(max_size=1200), lun=st.sampled_from([0, 1]),
       ready=st.booleans())
def test_any_command_is_answered(request: bytes, data: bytes, lun: int, ready: bool) -> None:
    kit = Kit(settled=ready)
    for nexus in (kit.a1, kit.b1):
        response = kit.run(nexus, request, data, lun)
        assert isinstance(response, Response)
        assert (response.status == Status.CHECK_CONDITION) == bool(response.sense)
        assert not (response.sense and response.data)


@settings(max_examples=300, deadline=None)
@given(opcode=st.sampled_from(sorted({opcode for opcode, _ in COMMANDS})),
       rest=st.binary(min_size=15, max_size=15), small=st.booleans(), data=st.binary(max_size=1200))
def test_any_field_of_a_known_command_is_answered(opcode: int, rest: bytes, small: bool, data: bytes) -> None:
    request = bytes((opcode,)) + (bytes(b & 1 for b in rest) if small else rest)
    kit = Kit()
    response = kit.run(kit.a1, request, data)
    assert (response.status == Status.CHECK_CONDITION) == bool(response.sense)
    assert len(response.data) <= 16 << 20


# --- refusals


@pytest.mark.parametrize("opcode", [*READS, *WRITES, 0x2F, 0xAF, 0x8F, 0x34, 0x90, 0x35, 0x91])
def test_the_end_of_the_medium(opcode: int) -> None:
    kit = Kit()
    data = bytes(512) if opcode in WRITES else b""
    assert kit.run(kit.a1, form(opcode, BLOCKS - 1, 1), data).status in (Status.GOOD, Status.CONDITION_MET)
    assert kit.sense(kit.a1, form(opcode, BLOCKS - 1, 2), data * 2) == RANGE
    assert kit.sense(kit.a1, form(opcode, BLOCKS, 1), data) == RANGE
    if opcode >> 5:
        assert kit.run(kit.a1, form(opcode, BLOCKS, 0)).status in (Status.GOOD, Status.CONDITION_MET)
        assert kit.sense(kit.a1, form(opcode, BLOCKS + 1, 0)) == RANGE
    if opcode >> 5 == 4:
        assert kit.sense(kit.a1, form(opcode, 2**64 - 1, 1), data) == RANGE


@pytest.mark.parametrize("opcode", [0x28, 0xA8, 0x88, 0x2A, 0xAA, 0x8A, 0x2E, 0xAE, 0x8E, 0x2F, 0xAF, 0x8F, 0x41, 0x93])
def test_protection_information_is_not_offered(opcode: int) -> None:
    kit = Kit()
    for flag in (0x20, 0x80):
        assert kit.sense(kit.a1, form(opcode, 0, 1, flag), bytes(512)) == FIELD


def test_transfers_are_bounded() -> None:
    kit = Kit(store=RamStore(64 << 20))
    longest = kit.unit.limits.transfer_max
    assert len(kit.good(kit.a1, cdb.read(0, longest))) == 8 << 20
    for request in (cdb.read(0, longest + 1), cdb.verify(0, longest + 1), form(0x88, 0, longest + 1),
                    cdb.write(0, longest + 1), cdb.write_same(0, longest + 1)):
        assert kit.sense(kit.a1, request, bytes(512)) == FIELD


def test_six_byte_forms_move_256_blocks_for_0() -> None:
    kit = Kit()
    kit.good(kit.a1, form(0x0A, 0, 0), b"s" * 512 * 256)
    assert kit.good(kit.a1, form(0x08, 0, 0)) == b"s" * 512 * 256


# --- more or less data than the CDB says (RFC 7143 §11.4.5.1)


@pytest.mark.parametrize("opcode", WRITES)
def test_too_little_data_writes_whole_blocks_only(opcode: int) -> None:
    kit = Kit()
    kit.good(kit.a1, cdb.write(0, 4), b"o" * 2048)
    response = kit.run(kit.a1, form(opcode, 0, 3), b"n" * 700)
    assert (response.status, response.length) == (Status.GOOD, 1536), "the transport tells of the overflow"
    assert kit.store.read(0, 2048) == b"n" * 512 + b"o" * 1536
    assert kit.run(kit.a1, form(opcode, 0, 1), b"").length == 512


@pytest.mark.parametrize("opcode", WRITES)
def test_too_much_data_is_left_alone(opcode: int) -> None:
    kit = Kit()
    response = kit.run(kit.a1, form(opcode, 0, 1), b"n" * 2048)
    assert (response.status, response.length) == (Status.GOOD, 512)
    assert kit.store.read(0, 1024) == b"n" * 512 + bytes(512)


# --- compare


@pytest.mark.parametrize("opcode", [0x2F, 0xAF, 0x8F])
def test_verify(opcode: int) -> None:
    kit = Kit()
    kit.good(kit.a1, cdb.write(0, 4), b"a" * 512 + b"b" * 1536)
    kit.good(kit.a1, form(opcode, 0, 4))
    kit.good(kit.a1, form(opcode, 0, 2, 0x02), b"a" * 512 + b"b" * 512)
    kit.good(kit.a1, form(opcode, 1, 3, 0x06), b"b" * 512)
    kit.good(kit.a1, form(opcode, 0, 0, 0x02))
    found = kit.sense(kit.a1, form(opcode, 0, 2, 0x02), b"a" * 512 + b"b" * 500 + b"x" * 12)
    assert (found.code, found.information) == (sense.MISCOMPARE.code, 1012)
    found = kit.sense(kit.a1, form(opcode, 0, 2, 0x06), b"a" * 512)
    assert (found.code, found.information) == (sense.MISCOMPARE.code, 512)
    assert kit.sense(kit.a1, form(opcode, 0, 1, 0x04)) == FIELD
    assert kit.sense(kit.a1, form(opcode, 0, 2, 0x02), b"a" * 512) == FIELD


@given(st.integers(0, 1023), st.integers(1, 255))
@settings(max_examples=50, deadline=None)
def test_the_first_difference_is_found(at: int, flip: int) -> None:
    kit = Kit()
    expected = bytearray(b"q" * 1024)
    kit.good(kit.a1, cdb.write(0, 2), bytes(expected))
    for place in range(at, 1024, 7):
        expected[place] ^= flip
    found = kit.sense(kit.a1, cdb.verify(0, 2, compare=True), bytes(expected))
    assert found.information == at


def test_compare_and_write() -> None:
    kit = Kit()
    old, new = b"o" * 1024, b"n" * 1024
    kit.good(kit.a1, cdb.write(0, 2), old)
    found = kit.sense(kit.b1, cdb.compare_and_write(0, 2), new + new)
    assert (found.code, found.information) == (sense.MISCOMPARE.code, 0)
    assert kit.good(kit.a1, cdb.read(0, 2)) == old
    kit.good(kit.b1, cdb.compare_and_write(0, 2), old + new)
    assert kit.good(kit.a1, cdb.read(0, 2)) == new
    for blocks, length in ((1, 512), (1, 2048), (2, 1024), (0, 512 * 512)):
        assert kit.sense(kit.a1, cdb.compare_and_write(0, blocks), bytes(length)) == FIELD
    kit.good(kit.a1, cdb.compare_and_write(0, 0))
    assert kit.sense(kit.a1, cdb.compare_and_write(BLOCKS, 1), bytes(1024)) == RANGE


def test_write_and_verify_knows_two_kinds_of_verification() -> None:
    kit = Kit()
    for flags in (0x00, 0x02):
        kit.good(kit.a1, form(0x2E, 0, 1, flags), b"v" * 512)
    for flags in (0x04, 0x06):
        assert kit.sense(kit.a1, form(0x2E, 0, 1, flags), b"v" * 512) == FIELD


# --- unmap, write same, status


def test_unmap_is_all_or_nothing() -> None:
    kit = Kit()
    kit.good(kit.a1, cdb.write(0, 8), b"u" * 4096)
    bad = cdb.unmap_list([(0, 4), (BLOCKS - 1, 2)])
    assert kit.sense(kit.a1, cdb.unmap(len(bad)), bad) == RANGE
    assert kit.store.read(0, 4096) == b"u" * 4096
    for good in ([], [(BLOCKS, 0)], [(0, 2), (1, 2)]):
        data = cdb.unmap_list(good)
        kit.good(kit.a1, cdb.unmap(len(data)), data)
    assert kit.store.read(0, 2048) == bytes(1536) + b"u" * 512
    kit.good(kit.a1, cdb.unmap(0))
    many = cdb.unmap_list([(0, 1)] * 257)
    assert kit.sense(kit.a1, cdb.unmap(len(many)), many) == sense.INVALID_FIELD_IN_LIST
    huge = cdb.unmap_list([(0, (1 << 20) + 1)])
    assert kit.sense(kit.a1, cdb.unmap(24), huge) == sense.INVALID_FIELD_IN_LIST
    assert kit.sense(kit.a1, cdb.unmap(24), huge[:20]) == sense.PARAMETER_LIST_LENGTH
    assert kit.sense(kit.a1, cdb.unmap(4), bytes(4)) == sense.PARAMETER_LIST_LENGTH


def test_write_same() -> None:
    kit = Kit()
    kit.good(kit.a1, form(0x93, 0, 4, 0x01))  # no data-out: zeroes
    kit.good(kit.a1, form(0x93, 0, 8, 0x08), b"w" * 512)  # not zero, so it can't be unmapped
    assert kit.store.read(0, 4096) == b"w" * 4096
    kit.good(kit.a1, form(0x93, 2, 2, 0x09))
    assert kit.store.read(0, 4096) == b"w" * 1024 + bytes(1024) + b"w" * 2048
    assert kit.sense(kit.a1, cdb.write_same(0, 0), bytes(512)) == FIELD
    assert kit.sense(kit.a1, form(0x41, 0, 1, 0x10), bytes(512)) == FIELD
    assert kit.sense(kit.a1, cdb.write_same(0, 1), bytes(511)) == FIELD


def test_get_lba_status() -> None:
    kit = Kit()
    kit.good(kit.a1, cdb.write(2, 3), b"g" * 1536)

    def status(lba: int) -> tuple[int, int, int]:
        data = kit.good(kit.a1, bytes((0x9E, 0x12)) + lba.to_bytes(8, "big") + (64).to_bytes(4, "big") + bytes(2))
        assert data[:4] == (len(data) - 4).to_bytes(4, "big")
        return int.from_bytes(data[8:16], "big"), int.from_bytes(data[16:20], "big"), data[20]

    assert status(0) == (0, 2, 1)
    assert status(3) == (3, 2, 0)
    assert status(5) == (5, BLOCKS - 5, 1)
    assert kit.sense(kit.a1, bytes((0x9E, 0x12)) + BLOCKS.to_bytes(8, "big") + bytes(6)) == RANGE


# --- the store fails


class Broken(RamStore):
    """A store that refuses what it is told to."""

    def __init__(self) -> None:
        super().__init__(BLOCKS * 512)
        self.broken: str | None = None
        self.flushed = 0

    def read(self, offset: int, length: int) -> bytes:
        if self.broken == "read":
            raise StoreError("broken", sense.READ_ERROR)
        return super().read(offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        if self.broken == "write":
            raise StoreError("full", sense.SPACE_ALLOCATION_FAILED)
        super().write(offset, data)

    def flush(self) -> None:
        if self.broken == "flush":
            raise StoreError("broken", sense.WRITE_ERROR)
        self.flushed += 1


@pytest.mark.parametrize(
    ("broken", "request_", "data", "expected"),
    [
        ("read", cdb.read(0, 1), b"", sense.READ_ERROR),
        ("read", form(0xA8, 0, 1), b"", sense.READ_ERROR),
        ("write", cdb.write(0, 1), bytes(512), sense.SPACE_ALLOCATION_FAILED),
        ("write", form(0xAA, 0, 1), bytes(512), sense.SPACE_ALLOCATION_FAILED),
        ("flush", cdb.write(0, 1, fua=True), bytes(512), sense.WRITE_ERROR),
        ("flush", cdb.synchronize_cache(), b"", sense.WRITE_ERROR),
        ("flush", form(0x2E, 0, 1), bytes(512), sense.WRITE_ERROR),
    ],
)
def test_errors_of_the_store_are_told(broken: str, request_: bytes, data: bytes, expected: Sense) -> None:
    store = Broken()
    kit = Kit(store=store)
    store.broken = broken
    assert kit.sense(kit.a1, request_, data) == expected


def test_who_flushes() -> None:
    store = Broken()
    kit = Kit(store=store)
    flushing: list[Callable[[], bytes]] = [
        lambda: kit.good(kit.a1, cdb.write(0, 1, fua=True), bytes(512)),
        lambda: kit.good(kit.a1, form(0xAA, 0, 1, 0x08), bytes(512)),
        lambda: kit.good(kit.a1, cdb.synchronize_cache()),
        lambda: kit.good(kit.a1, form(0x8E, 0, 1), bytes(512)),
    ]
    for count, act in enumerate(flushing, start=1):
        act()
        assert store.flushed == count
    kit.good(kit.a1, cdb.write(0, 1), bytes(512))
    kit.good(kit.a1, form(0x0A, 0x080000 & 0xFF, 1), bytes(512))
    assert store.flushed == len(flushing), "no others"
