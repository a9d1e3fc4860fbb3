import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpio.errors import LocalProtocolError, RemoteProtocolError
from mpio.proto.iscsi import pdu, stream
from mpio.proto.iscsi.pdu import Fields
from mpio.proto.iscsi.stream import LANDING_MIN_BYTES, STAGING_BYTES, PduReceiver, PduSender


class Owner:
    """A receiver with its owner, which lets large data land in a buffer of its own if `lands`."""

    def __init__(self, *, lands: bool = False, limit: int = 1 << 20, digests: bool = False) -> None:
        self.got: list[tuple[int, bytes]] = []
        self.asked: list[int] = []
        self.landed: list[int] = []
        self.bad: list[int] = []
        self.lands = lands
        self.buffers: dict[int, bytearray] = {}
        self.receiver = PduReceiver(pdu.RESPONSE, self.on_pdu, self.landing, self.on_landed, self.on_bad)
        self.receiver.data_limit = limit
        self.receiver.header_digest = self.receiver.data_digest = digests

    def on_pdu(self, header: Fields, data: memoryview) -> None:
        self.got.append((header[6], bytes(data)))

    def landing(self, header: Fields) -> memoryview | None:
        self.asked.append(header[6])
        if not self.lands:
            return None
        buffer = self.buffers[header[6]] = bytearray(header[4] & pdu.LENGTH_MASK)
        return memoryview(buffer)

    def on_landed(self, header: Fields) -> None:
        self.landed.append(header[6])
        self.got.append((header[6], bytes(self.buffers[header[6]])))

    def on_bad(self, header: Fields) -> None:
        self.bad.append(header[6])


def make(tag: int, data: bytes, *, digests: bool = False) -> bytes:
    sender = PduSender()
    sender.header_digest = sender.data_digest = digests
    header = pdu.data_in(0x80, 0, tag, 0, 0, 0, 0, 0, 0, len(data))
    sender.put_data(header, data) if data else sender.put(header)
    return b"".join(sender.drain())


def pieces(wire: bytes, sizes: list[int]) -> list[bytes]:
    found, sizes_again = [], itertools.cycle(sizes)
    while wire:
        size = next(sizes_again)
        found.append(wire[:size])
        wire = wire[size:]
    return found


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 511, 4096, 20_001, 70_000, 300_003]), min_size=1, max_size=8),
    sizes=st.lists(st.sampled_from([1, 3, 47, 48, 49, 1000, 4144, 60_000, 262_144]), min_size=1, max_size=4).filter(
        lambda sizes: sum(sizes) / len(sizes) > 40),
    lands=st.booleans(),
    digests=st.booleans(),
)
def test_any_cut_gives_the_same_pdus(lengths: list[int], sizes: list[int], lands: bool, digests: bool) -> None:
    data = [bytes([tag % 251]) * length for tag, length in enumerate(lengths)]
    wire = b"".join(make(tag, part, digests=digests) for tag, part in enumerate(data))
    owner = Owner(lands=lands, digests=digests)
    for piece in pieces(wire, sizes):
        owner.receiver.receive(piece)
    assert owner.got == list(enumerate(data))
    assert not owner.bad
    assert len(owner.asked) == len(set(owner.asked)), "asked twice for one PDU"


def test_small_data_do_not_land() -> None:
    owner = Owner(lands=True)
    wire = make(1, bytes(LANDING_MIN_BYTES))
    owner.receiver.receive(wire[:60])
    owner.receiver.receive(wire[60:])
    assert owner.asked == []
    assert owner.got == [(1, bytes(LANDING_MIN_BYTES))]


def test_large_data_land_without_passing_through_staging() -> None:
    owner = Owner(lands=True)
    data = bytes(range(256)) * 1024
    wire = make(1, data) + make(2, b"next")
    owner.receiver.receive(wire[:100])
    room = owner.receiver.receive_buffer()
    assert len(room) == len(data) - 52
    assert room.obj is owner.buffers[1]
    owner.receiver.receive(wire[100:])
    assert owner.got == [(1, data), (2, b"next")]
    assert owner.landed == [1]


def test_a_pdu_larger_than_staging_that_nobody_wants_to_land() -> None:
    owner = Owner(limit=STAGING_BYTES * 3)
    data = b"a" * (STAGING_BYTES * 2 + 1)
    for piece in pieces(make(1, data, digests=False), [100_000]):
        owner.receiver.receive(piece)
    assert owner.got == [(1, data)]


def test_a_pdu_that_just_does_not_fit_into_staging() -> None:
    for length in range(STAGING_BYTES - 52, STAGING_BYTES - 40):
        owner = Owner()
        owner.receiver.receive(make(0, b"before"))
        for piece in pieces(make(1, bytes(length)), [STAGING_BYTES - 1, 1]):
            owner.receiver.receive(piece)
        assert [(tag, len(data)) for tag, data in owner.got] == [(0, 6), (1, length)]


def test_additional_headers_are_skipped() -> None:
    wire = bytearray(make(1, b"data"))
    wire[4] = 255
    wire[48:48] = b"\xaa" * 255 * 4
    for sizes in ([1], [48], [500], [5000]):
        owner = Owner()
        for piece in pieces(bytes(wire) + make(2, b""), sizes):
            owner.receiver.receive(piece)
        assert owner.got == [(1, b"data"), (2, b"")]


@pytest.mark.parametrize(("length", "count"), [(4096, 400), (LANDING_MIN_BYTES - 1, 100), (LANDING_MIN_BYTES, 100)])
def test_the_receive_buffer_is_never_empty_nor_small(length: int, count: int) -> None:
    """And of small segments not so large that many are taken before the first is answered."""
    owner = Owner()
    wire = make(1, bytes(length)) * count
    expects_small = False
    while wire:
        room = owner.receiver.receive_buffer()
        if expects_small:
            assert len(room) == stream.BATCH_BYTES
        else:
            assert len(room) >= stream.ROOM_MIN_BYTES
        taken = min(len(room), len(wire), 5000)
        room[:taken] = wire[:taken]
        wire = wire[taken:]
        owner.receiver.receive_done(taken)
        expects_small = bool(owner.got) and length < LANDING_MIN_BYTES
    assert len(owner.got) == count


def test_a_data_segment_over_the_limit() -> None:
    owner = Owner(limit=512)
    owner.receiver.receive(make(1, bytes(512)))
    with pytest.raises(RemoteProtocolError, match="513 bytes, more than 512"):
        owner.receiver.receive(make(2, bytes(513))[:48])


@pytest.mark.parametrize("lands", [False, True])
def test_data_digest_error(lands: bool) -> None:
    owner = Owner(lands=lands, digests=True)
    for length in (5, 100_001):
        wire = bytearray(make(length, bytes(length), digests=True))
        wire[60] ^= 1
        for piece in pieces(bytes(wire), [1000]):
            owner.receiver.receive(piece)
    owner.receiver.receive(make(3, b"good", digests=True))
    assert owner.bad == [5, 100_001]
    assert owner.got == [(3, b"good")]
    assert not owner.landed


@pytest.mark.parametrize("padding", [1, 2, 3])
def test_padding_counts_in_the_data_digest(padding: int) -> None:
    owner = Owner(digests=True)
    wire = bytearray(make(1, bytes(8 - padding), digests=True))
    wire[52 + 8 - 1] ^= 1  # the last byte of padding
    owner.receiver.receive(bytes(wire))
    assert owner.bad == [1]


def test_header_digest_error() -> None:
    owner = Owner(digests=True)
    wire = bytearray(make(1, b"", digests=True))
    wire[20] ^= 1
    with pytest.raises(RemoteProtocolError, match="header digest"):
        owner.receiver.receive(bytes(wire))
    assert not owner.got


def test_no_bytes_is_an_error_of_the_caller() -> None:
    with pytest.raises(LocalProtocolError):
        Owner().receiver.receive_done(0)


def test_a_landing_of_the_wrong_size() -> None:
    def nothing(*_: object) -> None:
        pass

    receiver = PduReceiver(pdu.RESPONSE, nothing, lambda _: memoryview(bytearray(3)), nothing, nothing)
    receiver.data_limit = 1 << 20
    with pytest.raises(LocalProtocolError):
        receiver.receive(make(1, bytes(100_000))[:100])


def test_stopped_from_a_callback() -> None:
    got: list[int] = []

    def on_pdu(header: Fields, _: memoryview) -> None:
        got.append(header[6])
        receiver.stop()

    receiver = PduReceiver(pdu.RESPONSE, on_pdu, lambda _: None, lambda _: None, lambda _: None)
    receiver.receive(make(1, b"a") + make(2, b"b"))
    receiver.receive(make(3, b"c"))
    receiver.receive_buffer()[:3] = b"abc"
    receiver.receive_done(3)
    assert got == [1]


def test_stopped_while_landing_nothing_more_is_written() -> None:
    owner = Owner(lands=True)
    owner.receiver.receive(make(1, b"a" * 100_000)[:1000])
    before = bytes(owner.buffers[1])
    owner.receiver.stop()
    owner.receiver.receive(b"b" * 5000)
    assert owner.buffers[1] == before
    assert owner.got == []


def test_digests_may_be_switched_on_between_two_pdus() -> None:
    owner = Owner()

    def on_pdu(header: Fields, data: memoryview) -> None:
        owner.on_pdu(header, data)
        receiver.header_digest = receiver.data_digest = True

    receiver = PduReceiver(pdu.RESPONSE, on_pdu, owner.landing, owner.on_landed, owner.on_bad)
    receiver.receive(make(1, b"plain") + make(2, b"with digests", digests=True))
    assert owner.got == [(1, b"plain"), (2, b"with digests")]


# --- sending


def test_small_pdus_are_joined_and_large_data_are_not_copied() -> None:
    sender = PduSender()
    header = pdu.nop_out(1, 2, bytes(8), 0, 0)
    large = memoryview(bytearray(b"L" * 100_001))
    sender.put(header)
    sender.put_data(header, b"small")
    sender.put_data(header, large)
    sender.put(header)
    first, second, third = sender.drain()
    assert first == header + header + b"small\0\0\0" + header
    assert second is large
    assert third == b"\0\0\0" + header
    assert sender.drain() == []


def test_wake_is_called_once_until_drained() -> None:
    calls: list[int] = []
    sender = PduSender()
    sender.put(b"before wake is set")
    sender.drain()
    sender.wake = lambda: calls.append(1)
    sender.put(b"a")
    sender.put_data(b"b", b"c")
    assert len(calls) == 1
    sender.drain()
    sender.put_data(b"d", b"e")
    assert len(calls) == 2
    sender.clear()
    sender.put(b"f")
    assert len(calls) == 3
    assert sender.drain() == [b"f"]
