"""Stamped blocks: what was made reads back sound, and every kind of damage is told apart."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.check.stamp import Defect, Stamper

POOL = random.Random(1).randbytes(1 << 16)


def stamper(run_id: int = 7, block_size: int = 512) -> Stamper:
    return Stamper(run_id, block_size, POOL)


@given(lba=st.integers(0, 2**40), count=st.integers(1, 9), writer=st.integers(0, 63), sequence=st.integers(1, 2**40),
       block_size=st.sampled_from((512, 520, 4096)))
def test_made_blocks_are_sound(lba: int, count: int, writer: int, sequence: int, block_size: int) -> None:
    stamps = stamper(block_size=block_size)
    data = stamps.make(lba, count, writer, sequence)
    assert len(data) == count * block_size
    assert stamps.scan(lba, data) == [sequence] * count
    stamp = stamps.inspect(data)
    assert stamp is not None
    assert (stamp.run_id, stamp.lba, stamp.writer, stamp.sequence, stamp.sound) == (7, lba, writer, sequence, True)


@given(at=st.integers(0, 511), bit=st.integers(0, 7))
def test_every_flipped_bit_shows(at: int, bit: int) -> None:
    stamps = stamper()
    data = stamps.make(3, 1, 0, 5)
    data[at] ^= 1 << bit
    assert stamps.scan(3, data)[0] < 0


@given(cut=st.integers(1, 511))
def test_a_block_of_two_writes_is_torn_unless_they_agree(cut: int) -> None:
    stamps = stamper()
    old, new = stamps.make(3, 1, 0, 5), stamps.make(3, 1, 0, 6)
    mixed = new[:cut] + old[cut:]
    expected = {bytes(old): 5, bytes(new): 6}.get(bytes(mixed), Defect.TORN)
    assert stamps.scan(3, mixed) == [expected]


def test_payloads_differ_between_blocks_and_sequences() -> None:
    stamps = stamper()
    blocks = {bytes(stamps.make(lba, 1, 0, sequence)[36:500]) for lba in range(20) for sequence in range(1, 20)}
    assert len(blocks) > 300


@pytest.mark.parametrize(("make", "defect", "words"), [
    (lambda: bytes(512), Defect.BLANK, "zeros"),
    (lambda: b"\x01" * 512, Defect.UNSTAMPED, "no stamp, starts with 01 01"),
    (lambda: stamper().make(9, 1, 2, 4), Defect.MISDIRECTED, "LBA 9 of writer 2, sequence 4"),
    (lambda: stamper(run_id=8).make(3, 1, 2, 4), Defect.FOREIGN, "of another run (0000000000000008)"),
])
def test_defects(make: object, defect: Defect, words: str) -> None:
    data = make()  # type: ignore[operator]
    assert stamper().scan(3, data) == [defect]
    assert words in stamper().describe(data)


def test_descriptions_of_torn_blocks() -> None:
    stamps = stamper()
    old, new = stamps.make(3, 1, 0, 5), stamps.make(3, 1, 0, 6)
    assert "sequence 6 at its head and 5 at its tail" in stamps.describe(new[:100] + old[100:])
    flipped = bytearray(new)
    flipped[100] ^= 1
    assert stamps.describe(flipped).endswith("wrong checksum")


@pytest.mark.parametrize(("block_size", "pool"), [(256, POOL), (4096, POOL[:5000])])
def test_unfit_arguments(block_size: int, pool: bytes) -> None:
    with pytest.raises(ValueError, match="expected a"):
        Stamper(1, block_size, pool)
