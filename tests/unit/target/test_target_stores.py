"""Block stores."""

import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
