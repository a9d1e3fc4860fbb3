"""The copy-on-write overlay."""

from hypothesis import given
from hypothesis import strategies as st

from mpio.target.allocation import BlockStatus
from mpio.target.overlay import OverlayStore
from mpio.target.store import RamStore

SECTORS = 40
SIZE = SECTORS * 512
ranges = st.tuples(st.integers(0, SECTORS - 1), st.integers(1, SECTORS)).map(
    lambda pair: (pair[0] * 512, min(pair[1], SECTORS - pair[0]) * 512))


@given(st.lists(st.tuples(st.booleans(), ranges, st.integers(1, 255)), max_size=10), ranges)
def test_it_is_a_copy_and_the_base_stays_as_it_was(
    steps: list[tuple[bool, tuple[int, int], int]], looked: tuple[int, int]
) -> None:
    base = RamStore(SIZE)
    before = bytes(range(256)) * (SIZE // 256)
    base.write(0, before)
    base.writable = False
    store, model = OverlayStore(base), bytearray(before)
    for writes, (offset, length), value in steps:
        if writes:
            store.write(offset, bytes([value]) * length)
        else:
            store.discard(offset, length)
        model[offset : offset + length] = bytes([value if writes else 0]) * length
    offset, length = looked
    assert store.read(offset, length) == model[offset : offset + length]
    assert store.read(0, SIZE) == model
    assert base.read(0, SIZE) == before
    at = 0
    while at < SIZE:
        status, count = store.allocation(at, SIZE - at)
        assert status is BlockStatus.MAPPED or not any(model[at : at + count])
        at += count
    store.close()
