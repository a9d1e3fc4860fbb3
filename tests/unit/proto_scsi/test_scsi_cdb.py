"""CDBs against hand-assembled bytes (SPC-4 §6, SBC-3 §5), and fields read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.errors import RemoteProtocolError
from mpio.proto.scsi import cdb


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (cdb.test_unit_ready(), "000000000000"),
        (cdb.request_sense(18), "030000001200"),
        (cdb.request_sense(252, descriptor=True), "03010000fc00"),
        (cdb.inquiry(0x1FF), "12000001ff00"),
        (cdb.inquiry(255, 0x83), "12018300ff00"),
        (cdb.mode_sense_6(), "1a083f00ff00"),
        (cdb.read_capacity_10(), "25000000000000000000"),
        (cdb.read_capacity_16(), "9e10000000000000000000000020" + "0000"),
        (cdb.report_luns(16), "a00000000000000000100000"),
        (cdb.read(1, 8), "28000000000100000800"),
        (cdb.read(0xFFFFFFFF, 0xFFFF, fua=True), "2808ffffffff00ffff00"),
        (cdb.read(1 << 32, 8), "88000000000100000000000000080000"),
        (cdb.read(0, 0x10000), "88000000000000000000000100000000"),
        (cdb.write(2, 1, fua=True), "2a080000000200000100"),
        (cdb.write(1 << 32, 1), "8a000000000100000000000000010000"),
        (cdb.verify(3, 4), "2f000000000300000400"),
        (cdb.verify(3, 4, compare=True), "2f020000000300000400"),
        (cdb.synchronize_cache(), "35000000000000000000"),
        (cdb.write_same(3, 4, unmap=True), "41080000000300000400"),
        (cdb.compare_and_write(5, 3), "89000000000000000005" + "000000030000"),
        (cdb.unmap(24), "42000000000000001800"),
        (cdb.report_target_port_groups(255), "a30a00000000000000ff0000"),
        (cdb.report_target_port_groups(255, extended=True), "a32a00000000000000ff0000"),
        (cdb.set_target_port_groups(8), "a40a00000000000000080000"),
        (cdb.persistent_reserve_in(0, 8), "5e000000000000000800"),
        (cdb.persistent_reserve_out(1, 5), "5f010500000000001800"),
        (cdb.reserve_6(), "160000000000"),
        (cdb.release_6(), "170000000000"),
    ],
)
def test_bytes_on_the_wire(built: bytes, expected: str) -> None:
    assert built.hex() == expected


@given(lba=st.integers(0, 2**64 - 1), blocks=st.integers(0, 2**32 - 1))
def test_lba_and_blocks_read_back(lba: int, blocks: int) -> None:
    for build in (cdb.read, cdb.write, cdb.verify, cdb.write_same, cdb.synchronize_cache):
        assert cdb.lba_and_blocks(build(lba, blocks).ljust(16, b"\0")) == (lba, blocks)


def test_the_other_forms() -> None:
    assert cdb.lba_and_blocks(bytes.fromhex("08f234567800").ljust(16, b"\0")) == (0x123456, 0x78)
    assert cdb.lba_and_blocks(bytes.fromhex("0a0000010000").ljust(16, b"\0")) == (1, 256), "0 blocks are 256 here"
    assert cdb.lba_and_blocks(bytes.fromhex("a800000000050000000600").ljust(16, b"\0")) == (5, 6)


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)), max_size=20))
def test_unmap_lists_read_back(ranges: list[tuple[int, int]]) -> None:
    assert cdb.parse_unmap_list(cdb.unmap_list(ranges)) == ranges


@given(st.binary(max_size=80))
def test_any_unmap_list_is_read_or_refused(data: bytes) -> None:
    try:
        ranges = cdb.parse_unmap_list(data)
    except RemoteProtocolError:
        return
    assert len(ranges) * 16 + 8 <= len(data)


def test_a_partial_unmap_descriptor_is_ignored() -> None:
    data = bytearray(cdb.unmap_list([(1, 2)]) + bytes(8))
    data[0:4] = (30).to_bytes(2, "big") + (24).to_bytes(2, "big")
    assert cdb.parse_unmap_list(data) == [(1, 2)]
