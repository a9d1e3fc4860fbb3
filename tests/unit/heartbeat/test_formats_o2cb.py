"""o2cb's blocks: known bytes, and any bytes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.heartbeat.formats.broken import Broken, Why
from mpio.heartbeat.formats.o2cb import Block, checksum, parse, render

SECTORS = (512, 1024, 2048, 4096)
U64 = st.integers(0, (1 << 64) - 1)
blocks = st.builds(Block, U64, st.integers(0, 255), U64, st.integers(0, (1 << 32) - 1))
LIVE = Block(0x66000000, 3, 0x1122334455667788, 62_000)


def crc32_le(data: bytes) -> int:
    """The kernel's definition, bit by bit: reflected 0xEDB88320, seed 0, nothing inverted."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc


@pytest.mark.parametrize(("block", "sector", "expected"), [
    (LIVE, 512, 0x59EE7FA0),
    (LIVE, 4096, 0x2E8C1361),
    (Block(1, 0, 1, 14_000), 512, 0x9E245EA6),
    (Block(1_700_000_000, 1, 0, 62_000), 512, 0x31C4996A),
])
def test_checksums_are_those_of_the_reference(block: Block, sector: int, expected: int) -> None:
    data = render(block, sector)
    assert int.from_bytes(data[12:16], "little") == expected
    assert len(data) == sector
    assert parse(data) == block


def test_bytes_are_those_of_the_reference() -> None:
    data = render(LIVE)
    assert data[:32].hex() == "000000660000000003000000a07fee59887766554433221130f2000000000000"
    assert not any(data[28:])


@given(data=st.binary(max_size=200))
def test_the_checksum_is_the_kernels(data: bytes) -> None:
    assert checksum(data) == crc32_le(data)


@given(block=blocks, sector=st.sampled_from(SECTORS))
def test_what_is_rendered_is_parsed(block: Block, sector: int) -> None:
    assert parse(render(block, sector)) == block


@given(block=blocks, sector=st.sampled_from(SECTORS), data=st.data())
def test_a_damaged_block_is_never_a_block(block: Block, sector: int, data: st.DataObject) -> None:
    good = render(block, sector)
    start = data.draw(st.integers(0, sector - 1))
    noise = data.draw(st.binary(min_size=1, max_size=4))  # CRC-32 finds every burst of up to 32 bits
    bad = bytearray(good)
    for index, byte in enumerate(noise[:sector - start]):
        bad[start + index] ^= byte
    if bytes(bad) != good:
        found = parse(bytes(bad))
        assert isinstance(found, Broken)
        assert found.why is Why.CHECKSUM


@given(data=st.one_of(st.binary(max_size=600), st.binary(min_size=512, max_size=512)))
def test_any_bytes_are_a_block_or_a_finding(data: bytes) -> None:
    found = parse(data)
    if isinstance(found, Block):
        assert data[12:16] == crc32_le(data[:12] + bytes(4) + data[16:]).to_bytes(4, "little")
    else:
        assert found.why is (Why.CHECKSUM if len(data) == 512 else Why.SIZE)


@pytest.mark.parametrize("sector", SECTORS)
def test_zeros_are_a_slot_that_was_never_used(sector: int) -> None:
    assert parse(bytes(sector)) == Block(0, 0, 0, 0)
    assert not Block(0, 0, 0, 0).is_used
    assert LIVE.is_used
    assert replace(LIVE, generation=0).is_used  # left is not never been there


@pytest.mark.parametrize("size", [0, 1, 511, 513, 8192])
def test_no_sector_is_no_block(size: int) -> None:
    assert parse(bytes(size)) == Broken(
        Why.SIZE, f"expected a sector of 512, 1024, 2048, 4096 bytes, found {size} bytes")


def test_a_torn_write_is_found() -> None:
    before, after = render(LIVE, 4096), render(replace(LIVE, sequence=LIVE.sequence + 2), 4096)
    assert isinstance(parse(after[:8] + before[8:]), Broken)


@pytest.mark.parametrize(("block", "sector", "words"), [
    (replace(LIVE, node=256), 512, "node: expected 0 to 255, found 256"),
    (replace(LIVE, sequence=-1), 512, "sequence: expected 0 to 18446744073709551615, found -1"),
    (replace(LIVE, generation=1 << 64), 512, "generation: expected 0 to"),
    (replace(LIVE, dead_ms=1 << 32), 512, "dead_ms: expected 0 to 4294967295"),
    (LIVE, 520, "sector size: expected one of 512, 1024, 2048, 4096; found 520"),
])
def test_what_does_not_fit_is_refused(block: Block, sector: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        render(block, sector)


def test_the_threshold_is_in_iterations_of_two_seconds() -> None:
    assert LIVE.threshold == 31
