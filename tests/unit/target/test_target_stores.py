"""Stores and the faults planted in them."""

import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.target.faults import DroppedWrite, PlantedFault, StaleRead, TornWrite
from mpio.target.store import RamStore, write_zeroes

SIZE = 5 * mmap.PAGESIZE + 100
ranges = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda pair: (min(pair), max(pair)))


@given(st.lists(st.tuples(st.sampled_from(["write", "discard", "zero"]), ranges, st.integers(1, 255)), max_size=12))
def test_ram_store_is_a_bytearray(steps: list[tuple[str, tuple[int, int], int]]) -> None:
    store, model = RamStore(SIZE), bytearray(SIZE)
    for what, (start, end), value in steps:
        if what == "write":
            store.write(start, bytes([value]) * (end - start))
            model[start:end] = bytes([value]) * (end - start)
        else:
            if what == "discard":
                store.discard(start, end - start)
            else:
                write_zeroes(store, start, end - start)
            model[start:end] = bytes(end - start)
        assert store.read(0, SIZE) == model
    store.close()


def test_a_ram_store_is_sparse() -> None:
    store = RamStore(8 << 40)
    store.write((8 << 40) - 512, b"x" * 512)
    assert store.read((8 << 40) - 1024, 1024) == bytes(512) + b"x" * 512
    store.close()


def test_what_was_read_does_not_change() -> None:
    store = RamStore(1024)
    before = store.read(0, 512)
    store.write(0, b"y" * 512)
    assert before == bytes(512)


@pytest.mark.parametrize("size", [0, -1, 1 << 62, 1 << 80])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=r"expected a size|no address space"):
        RamStore(size)


def filled() -> RamStore:
    store = RamStore(4096)
    store.write(0, b"old!" * 1024)
    return store


@pytest.mark.parametrize("fault", [DroppedWrite, TornWrite, StaleRead, PlantedFault])
def test_a_fault_strikes_the_nth_write_that_changes_anything_and_no_other(fault: type[PlantedFault]) -> None:
    store = fault(filled(), 2)
    store.write(0, b"1st." * 128)
    assert store.read(0, 512) == b"1st." * 128
    store.write(0, b"1st." * 128)  # the second, but it changes nothing
    assert struck(store) is None
    store.write(512, b"2nd." * 128)
    assert struck(store) == (512, 512)
    store.read(512, 512)
    for _ in range(3):
        store.write(1024, b"new." * 128)
        assert store.read(1024, 512) == b"new." * 128
    assert struck(store) == (512, 512)
    assert store.writes == 6


def struck(store: PlantedFault) -> tuple[int, int] | None:
    return store.fired


def test_a_dropped_write() -> None:
    store = DroppedWrite(filled(), 1)
    store.write(512, b"new." * 128)
    assert store.read(512, 512) == b"old!" * 128


def test_a_torn_write() -> None:
    store = TornWrite(filled(), 1)
    store.write(512, b"NEW!" * 128)  # the fourth byte of each word does not change
    found = store.read(512, 512)
    assert found == b"NEW!" * 64 + b"old!" * 64


def test_a_stale_read() -> None:
    store = StaleRead(filled(), 1)
    store.write(512, b"new." * 128)
    assert store.read(0, 512) == b"old!" * 128, "other bytes are not touched"
    assert store.read(256, 512) == b"old!" * 128
    assert store.read(256, 512) == b"old!" * 64 + b"new." * 64, "once"


def test_everything_else_passes_through() -> None:
    beneath = filled()
    store = PlantedFault(beneath, 1)
    assert (store.size_bytes, store.writable, store.volatile) == (4096, True, False)
    store.discard(0, 512)
    store.flush()
    assert beneath.read(0, 512) == bytes(512)
    store.close()
    with pytest.raises(ValueError, match="from 1"):
        PlantedFault(beneath, 0)
