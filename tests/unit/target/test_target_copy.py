"""EXTENDED COPY between units of a target, and what RECEIVE COPY RESULTS says of it."""

import contextlib
import struct
from dataclasses import replace

import pytest
from tests.unit.target.target_kit import BLOCKS, Kit

from mpio.model.task import Status
from mpio.proto.scsi import cdb, sense
from mpio.proto.scsi import copy as xcopy
from mpio.proto.scsi.copy import CopyDevice, CopyList, CopyListError, CopySegment
from mpio.proto.scsi.inquiry import DesignatorType, naa_designator, port_designator
from mpio.target.copy import RESULTS_MAX
from mpio.target.response import Response
from mpio.target.store import RamStore
from mpio.target.unit import LogicalUnit

A, B = b"a" * 512, b"b" * 512


class Pair(Kit):
    """LUN 1 of blocks of 512 bytes, full of the letter a, and LUN 2."""

    def __init__(self, block_size: int = 512, *, read_only: bool = False) -> None:
        super().__init__()
        self.other: LogicalUnit = self.device.add_unit(
            2, RamStore(BLOCKS * 512), block_size=block_size, read_only=read_only)
        for nexus in (self.a1, self.b1, self.a2):
            while self.run(nexus, bytes(6)).status or self.run(nexus, bytes(6), lun=2).status:
                pass
        self.store.write(0, A * BLOCKS)

    def list(self, *segments: CopySegment, keeps: bool = True, list_id: int = 7) -> CopyList:
        units = ((self.unit, 512), (self.other, self.other.block_size))
        devices = tuple(CopyDevice(naa_designator(unit.naa), size) for unit, size in units)
        return CopyList(list_id, keeps, devices, segments)

    def copy(self, wanted: CopyList | bytes, cut: int = 0) -> Response:
        data = wanted if isinstance(wanted, bytes) else wanted.build()
        data = data[: len(data) - cut]
        request = struct.pack(">BBQIBB", 0x83, 0, 0, len(data), 0, 0)
        return self.run(self.a1, request, data)

    def results(self, action: int, list_id: int = 7) -> Response:
        return self.run(self.a1, struct.pack(">BBB7xIBB", 0x84, action, list_id, 64, 0, 0))


def why(response: Response) -> sense.Sense | None:
    assert response.status == Status.CHECK_CONDITION
    return sense.Sense.parse(response.sense)


def test_blocks_go_to_another_unit() -> None:
    pair = Pair()
    assert pair.copy(pair.list(CopySegment(0, 1, 3, 10, 20), CopySegment(0, 1, 1, 0, 0))).status == Status.GOOD
    assert pair.other.store.read(0, 25 * 512) == A + bytes(19 * 512) + A * 3 + bytes(2 * 512)
    assert pair.results(0).data == bytes.fromhex("00000008" "01" "0002" "01" "00000002"), "two segments, 2 KiB"
    assert why(pair.results(0, 8)) == sense.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize(("source", "destination"), [(0, 1), (1, 0), (5, 5)])
def test_ranges_of_one_unit_may_overlap(source: int, destination: int) -> None:
    pair = Pair()
    blocks = [bytes((n,)) * 512 for n in range(16)]
    pair.store.write(0, b"".join(blocks))
    assert pair.copy(pair.list(CopySegment(0, 0, 10, source, destination))).status == Status.GOOD
    expected = blocks.copy()
    expected[destination : destination + 10] = blocks[source : source + 10]
    assert pair.store.read(0, 16 * 512) == b"".join(expected)


def test_overlap_beyond_one_piece() -> None:
    pair = Pair()
    large = pair.device.add_unit(3, RamStore(8 << 20))
    large.store.write(0, bytes(range(256)) * (4 << 12))
    pair.run(pair.a1, bytes(6))  # there is another unit now
    device = CopyDevice(naa_designator(large.naa), 512)
    for source, destination in ((0, 1024), (1024, 0)):
        before = large.store.read(0, 8 << 20)
        assert pair.copy(CopyList(1, False, (device,), (CopySegment(0, 0, 6144, source, destination),))).status == 0
        assert large.store.read(destination * 512, 6144 * 512) == before[source * 512 : source * 512 + 6144 * 512]


def test_units_of_different_block_sizes() -> None:
    pair = Pair(block_size=4096)
    assert pair.copy(pair.list(CopySegment(0, 1, 16, 0, 1))).status == Status.GOOD
    assert pair.other.store.read(4096, 12288) == A * 16 + bytes(4096)
    assert pair.copy(pair.list(CopySegment(0, 1, 1, 0, 0, by_destination=True))).status == Status.GOOD
    assert pair.other.store.read(0, 4096) == A * 8
    assert why(pair.copy(pair.list(CopySegment(0, 1, 9, 0, 0)))) == sense.INVALID_FIELD_IN_LIST


def test_what_was_done_before_a_segment_failed_is_told() -> None:
    pair = Pair()
    wanted = pair.list(CopySegment(0, 1, 4, 0, 0), CopySegment(0, 1, 2, BLOCKS - 1, 0), CopySegment(0, 1, 4, 0, 8))
    assert why(pair.copy(wanted)) == sense.COPY_ABORTED
    assert pair.results(0).data == bytes.fromhex("00000008" "02" "0001" "01" "00000002")
    assert pair.other.store.read(0, 16 * 512) == A * 4 + bytes(12 * 512)


@pytest.mark.parametrize(
    ("segment", "problem"),
    [
        (CopySegment(0, 1, 2, BLOCKS - 1, 0), sense.COPY_ABORTED),
        (CopySegment(0, 1, 2, 0, BLOCKS - 1), sense.COPY_ABORTED),
        (CopySegment(0, 1, 2, 2**64 - 1, 0), sense.COPY_ABORTED),
        (CopySegment(0, 9, 1, 0, 0), sense.COPY_DEVICE_UNREACHABLE),
        (CopySegment(9, 0, 1, 0, 0), sense.COPY_DEVICE_UNREACHABLE),
        (CopySegment(0, 1, 0xFFFF, 0, 0), sense.INVALID_FIELD_IN_LIST),
    ],
)
def test_segments_that_can_not_be_done(segment: CopySegment, problem: sense.Sense) -> None:
    pair = Pair()
    assert why(pair.copy(pair.list(segment))) == problem
    assert pair.other.store.read(0, BLOCKS * 512) == bytes(BLOCKS * 512)


@pytest.mark.parametrize("obstacle", ["reserved", "reserved 6", "protected", "ejected"])
def test_the_other_unit_is_asked(obstacle: str) -> None:
    pair = Pair(read_only=obstacle == "protected")
    if obstacle == "reserved":
        pair.run(pair.b1, cdb.persistent_reserve_out(0), bytes(15) + b"\1" + bytes(8), lun=2)
        pair.run(pair.b1, cdb.persistent_reserve_out(1, 1), bytes(7) + b"\1" + bytes(16), lun=2)
    elif obstacle == "reserved 6":
        pair.run(pair.b1, cdb.reserve_6(), lun=2)
    elif obstacle == "ejected":
        pair.other.medium_present = False
    assert why(pair.copy(pair.list(CopySegment(0, 1, 1, 0, 0)))) == sense.COPY_DEVICE_FAILED
    assert pair.other.store.read(0, 512) == bytes(512)


def test_lists_that_can_not_be_read() -> None:
    pair = Pair()
    good = pair.list(CopySegment(0, 1, 1, 0, 0))
    data = good.build()
    assert CopyList.parse(data) == good
    for cut in range(1, len(data)):
        assert why(pair.copy(data, cut)) == sense.PARAMETER_LIST_LENGTH
    assert pair.copy(data, len(data)).status == Status.GOOD, "nothing to be done"
    wrong = {16: sense.UNSUPPORTED_COPY_TARGET, 16 + 64: sense.UNSUPPORTED_COPY_SEGMENT}
    for at, problem in wrong.items():
        assert why(pair.copy(data[:at] + b"\xe0" + data[at + 1 :])) == problem
    many = replace(good, devices=good.devices[:1] * (xcopy.DEVICES_MAX + 1))
    assert why(pair.copy(many)) == sense.TOO_MANY_COPY_TARGETS
    many = replace(good, segments=good.segments * (xcopy.SEGMENTS_MAX + 1))
    assert why(pair.copy(many)) == sense.TOO_MANY_COPY_SEGMENTS
    many = replace(many, devices=good.devices * xcopy.DEVICES_MAX)
    assert why(pair.copy(many)) == sense.PARAMETER_LIST_LENGTH
    strange = replace(good, devices=(CopyDevice(good.devices[0].designator, 1024), good.devices[1]))
    assert why(pair.copy(strange)) == sense.INVALID_FIELD_IN_LIST
    port = CopyDevice(port_designator(DesignatorType.RELATIVE_PORT, 1), 512)
    assert why(pair.copy(replace(good, devices=(port, good.devices[1])))) == sense.COPY_DEVICE_UNREACHABLE


def test_any_list_parses_or_says_why() -> None:
    base = Pair().list(CopySegment(0, 1, 1, 0, 0)).build()
    for at in range(len(base)):
        for value in (0, 1, 0x7F, 0xFF):
            with contextlib.suppress(CopyListError):
                CopyList.parse(base[:at] + bytes((value,)) + base[at + 1 :])


def test_results_are_kept_for_the_nexus_and_bounded() -> None:
    pair = Pair()
    one = CopySegment(0, 1, 1, 0, 0)
    pair.copy(pair.list(one, keeps=False, list_id=99))
    assert why(pair.results(0, 99)) == sense.INVALID_FIELD_IN_CDB
    for list_id in range(RESULTS_MAX + 2):
        pair.copy(pair.list(one, list_id=list_id))
    assert why(pair.results(0, 1)) == sense.INVALID_FIELD_IN_CDB
    assert pair.results(0, 2).status == Status.GOOD
    pair.unit.reset()
    assert why(pair.results(0, 2)) == sense.LU_RESET
    assert why(pair.results(0, 2)) == sense.INVALID_FIELD_IN_CDB


def test_operating_parameters_and_page_8f_agree() -> None:
    pair = Pair()
    data = pair.results(3).data
    assert len(data) == 46
    assert data[:4] == (42).to_bytes(4, "big")
    assert struct.unpack(">HHI", data[8:16]) == (xcopy.DEVICES_MAX, xcopy.SEGMENTS_MAX, xcopy.LIST_BYTES_MAX)
    assert data[43:] == b"\x02\x02\xe4"
    page = pair.good(pair.a1, cdb.inquiry(512, 0x8F))
    assert page[:4] == b"\0\x8f" + (len(page) - 4).to_bytes(2, "big")
    found, at = {}, 4
    while at < len(page):
        type_, length = struct.unpack_from(">HH", page, at)
        assert length % 4 == 0
        found[type_] = page[at + 4 : at + 4 + length]
        at += 4 + length
    assert list(found) == [0x0001, 0x0004, 0x0008, 0x000C, 0x8001]
    assert found[0x0001] == bytes.fromhex("07" "830100" "84020003")
    assert found[0x0004][4:12] == data[8:16]
    assert found[0x0008][:3] == data[43:]
    assert pair.good(pair.a1, cdb.inquiry(36))[5] & 0x08
