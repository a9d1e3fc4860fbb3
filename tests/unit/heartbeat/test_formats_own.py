"""Our own slots: known bytes, and any bytes."""

from dataclasses import replace

import pytest
from google_crc32c import value as crc32c
from hypothesis import given
from hypothesis import strategies as st

from mpio.heartbeat.formats import own
from mpio.heartbeat.formats.broken import Broken, Why
from mpio.heartbeat.formats.own import Header, Poison, Slot, Timing

SECTORS = (512, 1024, 2048, 4096)
REGION = bytes(range(16))
TIMING = Timing(2_000_000_000, 30_000_000_000, 36_000_000_000)
U64 = st.integers(0, (1 << 64) - 1)
POSITIVE = st.integers(1, (1 << 64) - 1)
timings = st.builds(Timing, POSITIVE, POSITIVE, POSITIVE)
regions = st.binary(min_size=16, max_size=16)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=63).filter(
    lambda name: len(name.encode()) <= 63)
slots = st.builds(
    Slot, region=regions, node=st.integers(0, 255), generation=U64, sequence=U64, timing=timings, member=st.booleans(),
    held=st.booleans(), score=st.integers(0, (1 << 32) - 1), name=names,
    connected=st.lists(st.integers(0, 254), unique=True).map(lambda nodes: tuple(sorted(nodes))),
    poison=st.lists(st.builds(Poison, st.integers(0, 254), POSITIVE), max_size=own.POISON_MAX).map(tuple),
)
headers = st.builds(Header, regions, timings, st.sampled_from(SECTORS), st.integers(1, 255))
SLOT = Slot(REGION, 3, 0x1122334455667788, 9, TIMING, member=False, held=True, score=200, connected=(0, 3, 9),
            name="alice", poison=(Poison(1, 0x99),))


def test_the_bytes_of_a_header() -> None:
    data = own.render_header(Header(REGION, TIMING, 4096, 16))
    assert data[:12] == b"MPIO-HB\n\1\0\1\0"
    assert data[16:32] == REGION
    assert data[32:40] == bytes.fromhex("0010000010000000")
    assert [int.from_bytes(data[at:at + 8], "little") for at in (40, 48, 56)] == [2 * 10**9, 30 * 10**9, 36 * 10**9]
    assert not any(data[64:])
    assert len(data) == 4096


def test_the_bytes_of_a_slot() -> None:
    data = own.render_slot(SLOT)
    assert data[:12] == b"MPIO-HB\n\1\0\2\0"
    assert int.from_bytes(data[12:16], "little") == crc32c(data[:12] + bytes(4) + data[16:])
    assert data[16:32] == REGION
    assert data[32:40] == b"\3\0\1\0" + bytes(4)
    assert own.render_slot(replace(SLOT, member=True, held=False))[32:40] == b"\3\0\0\1" + bytes(4)
    numbers = [int.from_bytes(data[at:at + 8], "little") for at in (40, 48, 56, 64, 72)]
    assert numbers == [0x1122334455667788, 9, 2 * 10**9, 30 * 10**9, 36 * 10**9]
    assert data[104:108] == bytes([200, 0, 0, 0])
    assert data[112:144] == bytes([0b1001, 0b10]).ljust(32, b"\0")
    assert data[144:208] == b"alice".ljust(64, b"\0")
    assert data[208:224] == bytes([1, 0, 0, 0, 0, 0, 0, 0, 0x99, 0, 0, 0, 0, 0, 0, 0])
    assert not any(data[224:])


@given(slot=slots, sector=st.sampled_from(SECTORS))
def test_a_slot_that_is_rendered_is_parsed(slot: Slot, sector: int) -> None:
    data = own.render_slot(slot, sector)
    assert len(data) == sector
    assert own.parse_slot(data) == slot


@given(header=headers)
def test_a_header_that_is_rendered_is_parsed(header: Header) -> None:
    assert own.parse_header(own.render_header(header)) == header


@given(slot=slots, sector=st.sampled_from(SECTORS), data=st.data())
def test_a_changed_byte_is_always_found(slot: Slot, sector: int, data: st.DataObject) -> None:
    good = bytearray(own.render_slot(slot, sector))
    at = data.draw(st.integers(0, sector - 1))
    good[at] ^= data.draw(st.integers(1, 255))
    found = own.parse_slot(bytes(good))
    assert isinstance(found, Broken)
    assert found.why is (Why.MAGIC if at < 8 else Why.VERSION if at < 10 else Why.CHECKSUM)


def test_each_changed_byte_of_one_slot_and_header_is_found() -> None:
    slot, header = own.render_slot(SLOT), own.render_header(Header(REGION, TIMING))
    for at in range(512):
        for flip in (0x01, 0x80, 0xFF):
            change = bytes(at) + bytes([flip]) + bytes(511 - at)
            for good, parse in ((slot, own.parse_slot), (header, own.parse_header)):
                bad = bytes(one ^ other for one, other in zip(good, change, strict=True))
                assert isinstance(parse(bad), Broken), at


@given(old=slots, new=slots, cut=st.integers(1, 511))
def test_a_torn_slot_is_found_or_whole(old: Slot, new: Slot, cut: int) -> None:
    before, after = own.render_slot(old), own.render_slot(new)
    torn = after[:cut] + before[cut:]
    assert torn in (before, after) or isinstance(own.parse_slot(torn), Broken)


def sealed(data: bytes) -> bytes:
    """The same with the right checksum."""
    return data[:12] + int(crc32c(data[:12] + bytes(4) + data[16:])).to_bytes(4, "little") + data[16:]


@given(data=st.one_of(
    st.binary(max_size=600), st.binary(min_size=512, max_size=512),
    st.builds(lambda kind, rest: sealed((own.MAGIC + b"\1\0" + bytes([kind, 0]) + bytes(4) + rest).ljust(512, b"\0")),
              st.integers(0, 3), st.binary(max_size=496)),
    st.builds(lambda rest, at: sealed(own.render_slot(SLOT)[:at] + rest + own.render_slot(SLOT)[at + len(rest):]),
              st.binary(max_size=16), st.integers(16, 495)),
))
def test_any_bytes_are_a_value_or_a_finding(data: bytes) -> None:
    slot, header = own.parse_slot(data), own.parse_header(data)
    assert isinstance(slot, Broken) or isinstance(header, Broken)
    if isinstance(slot, Slot):
        assert own.parse_slot(own.render_slot(slot)) == slot
    if isinstance(header, Header):
        assert own.parse_header(own.render_header(header)) == header


def patched(at: int, data: bytes) -> bytes:
    good = own.render_slot(SLOT)
    return sealed(good[:at] + data + good[at + len(data):])


@pytest.mark.parametrize(("data", "why", "words"), [
    (bytes(512), Why.EMPTY, "nothing but zeros"),
    (b"XFSB".ljust(512, b"\0"), Why.MAGIC, "found b'XFSB"),
    (patched(8, b"\2"), Why.VERSION, "expected version 1 of mpio's format, found version 2"),
    (own.render_slot(SLOT)[:-1] + b"x", Why.CHECKSUM, "was expected"),
    (own.render_header(Header(REGION, TIMING)), Why.FIELD, "expected a slot of mpio, found a header"),
    (patched(10, b"\7"), Why.FIELD, "expected a slot of mpio, found a 7"),
    (patched(32, b"\0\1"), Why.FIELD, "node: expected 0 to 255, found 256"),
    (patched(34, b"\2"), Why.FIELD, "held: expected 0 to 1, found 2"),
    (patched(35, b"\2"), Why.FIELD, "member: expected 0 to 1, found 2"),
    (patched(56, bytes(8)), Why.FIELD, "period_ns: expected 1 to"),
    (patched(143, b"\x80"), Why.FIELD, "connected node: expected 0 to 254, found 255"),
    (patched(144, b"x" * 64), Why.FIELD, "bytes of the name: expected 0 to 63, found 64"),
    (patched(208, b"\xff\xff"), Why.FIELD, "poisoned node: expected 0 to 254, found 65535"),
    (bytes(100), Why.SIZE, "found 100 bytes"),
])
def test_a_slot_that_is_none_says_why(data: bytes, why: Why, words: str) -> None:
    found = own.parse_slot(data)
    assert isinstance(found, Broken)
    assert found.why is why
    assert words in found.words


@pytest.mark.parametrize(("at", "data", "words"), [
    (32, b"\0\x10\0\0", "sectors of 4096 bytes on a disk with 512"),
    (36, b"\0\0", "slots: expected 1 to 255, found 0"),
    (36, b"\0\1", "slots: expected 1 to 255, found 256"),
    (48, bytes(8), "deadline_ns: expected 1 to"),
])
def test_a_header_that_is_none_says_why(at: int, data: bytes, words: str) -> None:
    good = own.render_header(Header(REGION, TIMING))
    found = own.parse_header(sealed(good[:at] + data + good[at + len(data):]))
    assert isinstance(found, Broken)
    assert found.why is Why.FIELD
    assert words in found.words


@pytest.mark.parametrize(("change", "words"), [
    ({"region": b"short"}, "region's identity: expected 16 to 16, found 5"),
    ({"node": 256}, "node: expected 0 to 255, found 256"),
    ({"generation": -1}, "generation: expected"),
    ({"sequence": 1 << 64}, "sequence: expected"),
    ({"score": 1 << 32}, "score: expected"),
    ({"timing": Timing(0, 1, 1)}, "period_ns: expected"),
    ({"connected": (3, 1)}, "once each and ascending"),
    ({"connected": (1, 1)}, "once each and ascending"),
    ({"connected": (255,)}, "connected node: expected 0 to 254"),
    ({"name": "x" * 64}, "bytes of the name: expected 0 to 63, found 64"),
    ({"name": "a\0b"}, "without zero bytes"),
    ({"poison": (Poison(1, 2),) * 17}, "poisoned nodes: expected 0 to 16, found 17"),
    ({"poison": (Poison(255, 2),)}, "poisoned node: expected 0 to 254"),
    ({"poison": (Poison(1, 0),)}, "poisoned generation: expected"),
])
def test_what_does_not_fit_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        own.render_slot(replace(SLOT, **change))  # type: ignore[arg-type]


def test_the_operators_slot_comes_after_all_nodes() -> None:
    assert [own.slot_sector(node) for node in (0, 1, own.OPERATOR)] == [1, 2, 256]
