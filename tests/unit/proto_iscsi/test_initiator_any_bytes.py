"""Whatever bytes come, in whatever state: they are fine, or the connection ends with a cause. Never anything else."""

import tracemalloc
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.proto_iscsi.initiator_kit import LUN, SETTINGS, Done, Peer, S, contents, no_data, params, read, write

from mpio.model.task import Outcome, Task
from mpio.proto.iscsi import ConnectionState, InitiatorConnection, pdu
from mpio.proto.iscsi import initiator_events as ev
from mpio.proto.iscsi.pdu import NO_TAG, Opcode

LAST_WORDS = (ev.LoginFailed, ev.Redirected, ev.LoggedOut, ev.Lost)
word = st.one_of(st.integers(0, 8), st.sampled_from([NO_TAG, 0x7FFFFFFF, 0x80000000, 0x80000001]),
                 st.integers(0, NO_TAG))
responses = [opcode for opcode in Opcode if opcode >= 0x20]


@st.composite
def nearly_pdus(draw: st.DrawFn) -> bytes:
    """PDUs with plausible fields: far more of them get far than of plain random bytes."""
    data = draw(st.binary(max_size=70))
    header = pdu.RESPONSE.pack(
        draw(st.sampled_from(responses)), draw(st.sampled_from([0x80, 0x81, 0x00, 0x01, 0x82, 0x83, 0x84, 0x87, 0x40])),
        draw(st.sampled_from([0, 0, 0, 1, 5, 255])), draw(st.sampled_from([0, 0, 2, 8])), len(data),
        draw(st.sampled_from([LUN, bytes(8), b"\x80\0\0\0\0\1\0\1"])), draw(word), draw(word), draw(word), draw(word),
        draw(word), draw(word), draw(word), draw(word),
    )
    return header + data + bytes(-len(data) % 4)


def check_end(connection: InitiatorConnection, tasks: list[Task], done: Done) -> None:
    events = []
    while (event := connection.next_event()) is not None:
        events.append(event)
    ended = connection.state is ConnectionState.ENDED
    assert [isinstance(event, LAST_WORDS) for event in events].count(True) == ended
    if ended:
        assert isinstance(events[-1], LAST_WORDS)
        assert connection.end_cause
        assert connection.data_to_send() == []
        assert connection.next_deadline() is None
    connection.close(0)
    assert len(done.tasks) == len(tasks)
    assert all(task.outcome != Outcome.PENDING for task in tasks)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(nearly_pdus(), st.binary(max_size=200)), max_size=8), st.booleans())
def test_while_logging_in(parts: list[bytes], start: bool) -> None:
    connection = InitiatorConnection(params())
    if start:
        connection.start(0)
    for part in parts:
        connection.receive(part, 0)
    check_end(connection, [], Done())


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(nearly_pdus(), st.binary(max_size=200)), max_size=12),
       st.sampled_from(["tasks", "logout", "timeout"]))
def test_in_full_feature_phase_and_logout(parts: list[bytes], what: str) -> None:
    peer = Peer(InitialR2T="Yes", MaxRecvDataSegmentLength="512")
    connection = peer.connection
    connection._tasks._next_itt = 1
    connection._tasks.exp_stat_sn = 0
    done = Done()
    kinds = (read(40, done, S), write(bytes(1000), done), no_data(done), read(8, done, S))
    tasks = [peer.submit(task) for task in kinds]
    guard = bytes(tasks[0].read_buffer or b"")
    if what == "timeout":
        peer.take()
        peer.at(S)
    elif what == "logout":
        connection.logout(0)
    for index, part in enumerate(parts):
        connection.receive(part, S)
        if index % 3 == 0:
            connection.data_to_send()
    assert len(guard) == len(tasks[0].read_buffer or b"")
    for task in tasks:
        if task.outcome == Outcome.COMPLETED and task.status == 0:
            assert task.received >= len(task.read_buffer or task.data_out or b"") - max(task.residual, 0)
    check_end(connection, tasks, done)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_changed_byte_in_a_good_stream_with_digests(data: st.DataObject) -> None:
    """With both digests no read ever ends GOOD with other data than were sent."""
    digests = SETTINGS.replace(header_digest="CRC32C", data_digest="CRC32C")
    peer = Peer(digests, HeaderDigest="CRC32C", DataDigest="CRC32C")
    tasks = [peer.submit(read(100)) for _ in range(3)]
    peer.connection.data_to_send()
    peer.exp_cmd_sn += 3
    block = bytes(range(100))
    wire = bytearray(b"".join(peer.wire(peer.data_in_header(task, 100), block) for task in tasks))
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] ^= data.draw(st.integers(1, 255))
    peer.connection.receive(bytes(wire), 0)
    peer.connection.receive_eof(0)
    for task in tasks:
        assert task.outcome in (Outcome.COMPLETED, Outcome.IN_DOUBT)
        if task.outcome == Outcome.COMPLETED:
            assert contents(task) == block
    assert tasks[-1].outcome == Outcome.IN_DOUBT


def test_memory_is_bounded_under_floods() -> None:
    """Messages, pings and windows for as long as the peer likes, while nobody reads events or sends answers."""
    peer = Peer()
    wires: list[Callable[[], bytes]] = [
        lambda: peer.wire(pdu.async_message(200, LUN, peer.status(), *peer.numbers(), data_length=1000), bytes(1000)),
        lambda: peer.wire(pdu.nop_in(bytes(8), NO_TAG, NO_TAG, peer.stat_sn, *peer.numbers())),
    ]
    for wire in wires:
        peer.connection.receive(wire(), 0)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(5000):
        for wire in wires:
            peer.connection.receive(wire(), 0)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peer.connection.state is ConnectionState.FULL_FEATURE
    assert after - before < 2 << 20
