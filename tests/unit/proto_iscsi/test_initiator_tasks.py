"""Commands and data through a connection whose target is scripted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.proto_iscsi.initiator_kit import (
    LUN,
    READ,
    SETTINGS,
    TEST_UNIT_READY,
    Done,
    Peer,
    contents,
    no_data,
    outcome,
    payload,
    read,
    write,
)

from mpio.errors import LocalProtocolError
from mpio.model.task import Barrier, Outcome, Task
from mpio.proto.iscsi import ConnectionState, pdu
from mpio.proto.iscsi.initiator_events import Lost
from mpio.proto.iscsi.pdu import NO_TAG, OVERFLOW, UNDERFLOW, Opcode, serial_add


def lost(peer: Peer) -> str:
    """The cause; the connection must have ended for one."""
    assert peer.connection.state is ConnectionState.ENDED
    last = peer.events()[-1]
    assert isinstance(last, Lost)
    assert last.cause == peer.connection.end_cause
    return last.cause


def test_a_barrier_is_ordered_and_other_commands_are_simple() -> None:
    peer = Peer()
    for kind in (Task, Barrier):
        peer.submit(kind(LUN, TEST_UNIT_READY, Done()))
    [(simple, _), (ordered, _)] = peer.take()
    assert (simple.flags, ordered.flags) == (0x81, 0x82)
    assert ordered.specific == bytes(16)


# --- reads


def test_a_read() -> None:
    peer = Peer()
    done = Done()
    task = peer.submit(read(4096, done))
    [(header, data)] = peer.take()
    assert (header.opcode, header.flags, header.lun, header.word20) == (1, 0xC1, LUN, 4096)
    assert header.specific == READ + bytes(6)
    assert (header.itt, header.cmd_sn) == (task.itt, task.cmd_sn) == (header.itt, 1)
    assert header.exp_stat_sn == peer.stat_sn
    assert data == b""
    block = payload(4096)
    peer.data_in(task, block)
    assert done.tasks == [task]
    assert (task.outcome, task.status, task.residual) == (Outcome.COMPLETED, 0, 0)
    assert contents(task) == block
    assert peer.connection.in_flight == 0


def test_many_reads_in_one_receive_and_one_send() -> None:
    peer = Peer()
    tasks = [peer.submit(read()) for _ in range(32)]
    [buffer] = peer.connection.data_to_send()
    assert len(buffer) == 32 * 48
    peer.exp_cmd_sn += 32
    blocks = [payload(4096) for _ in tasks]
    pairs = list(zip(tasks, blocks, strict=True))
    peer.connection.receive(b"".join(peer.wire(peer.data_in_header(task, 4096), block) for task, block in pairs), 0)
    assert [contents(task) for task in tasks] == blocks


def test_a_read_in_several_data_in_with_a_separate_response() -> None:
    peer = Peer()
    task = peer.submit(read(10_000))
    peer.take()
    data = payload(10_000)
    peer.data_in(task, data[:4096], status=None, final=False)
    peer.data_in(task, data[4096:8192], offset=4096, data_sn=1, status=None, final=True)
    peer.data_in(task, data[8192:], offset=8192, data_sn=2, status=None)
    assert task.outcome == Outcome.PENDING
    peer.respond(task)
    assert (outcome(task), contents(task)) == (Outcome.COMPLETED, data)


def test_status_in_the_last_of_several_data_in() -> None:
    peer = Peer()
    task = peer.submit(read(8192))
    peer.take()
    data = payload(8192)
    peer.data_in(task, data[:4096], status=None, final=False)
    peer.data_in(task, data[4096:], offset=4096, data_sn=1)
    assert (outcome(task), contents(task)) == (Outcome.COMPLETED, data)


def test_large_data_in_land_in_the_buffer_of_the_task() -> None:
    peer = Peer(SETTINGS.replace(max_recv_data_segment_length=262_144))
    task = peer.submit(read(200_000))
    peer.take()
    data = payload(200_000)
    wire = peer.wire(peer.data_in_header(task, len(data)), data)
    peer.connection.receive(wire[:1000], 0)
    assert task.read_buffer is not None
    assert peer.connection.receive_buffer().obj is task.read_buffer.obj
    peer.connection.receive(wire[1000:], 0)
    assert (outcome(task), contents(task)) == (Outcome.COMPLETED, data)


def test_underflow_under_good_is_visible() -> None:
    peer = Peer()
    task = peer.submit(read(4096))
    peer.take()
    peer.data_in(task, b"x" * 96, flags=UNDERFLOW, residual=4000)
    assert (task.outcome, task.status, task.residual) == (Outcome.COMPLETED, 0, 4000)


def test_overflow_is_negative() -> None:
    peer = Peer()
    task = peer.submit(read(512))
    peer.take()
    peer.data_in(task, bytes(512), flags=OVERFLOW, residual=100)
    assert (task.outcome, task.residual) == (Outcome.COMPLETED, -100)


@pytest.mark.parametrize(
    ("length", "flags", "residual"),
    [(100, 0, 0), (100, UNDERFLOW, 411), (0, OVERFLOW, 5), (512, UNDERFLOW, 513), (512, UNDERFLOW | OVERFLOW, 1)],
)
def test_good_with_bytes_missing_is_no_success(length: int, flags: int, residual: int) -> None:
    peer = Peer()
    task = peer.submit(read(512))
    peer.take()
    if length:
        peer.data_in(task, bytes(length), status=None)
    peer.respond(task, flags=flags, residual=residual)
    assert task.outcome == Outcome.IN_DOUBT
    assert "§11.4.5" in lost(peer)


def test_check_condition_with_sense_and_no_data() -> None:
    peer = Peer()
    task = peer.submit(read(512))
    peer.take()
    peer.respond(task, 2, flags=UNDERFLOW, residual=512, sense=b"sense!")
    assert (task.outcome, task.status, task.sense, task.residual) == (Outcome.COMPLETED, 2, b"sense!", 512)


def test_check_condition_without_sense_or_residual() -> None:
    peer = Peer()
    task = peer.submit(read(512))
    peer.take()
    peer.respond(task, 2)
    assert (task.outcome, task.status, task.sense) == (Outcome.COMPLETED, 2, b"")


def test_sense_under_good_is_ignored() -> None:
    """What tgt says to every UNMAP: GOOD, old sense, and the whole parameter list as underflow."""
    peer = Peer()
    task = peer.submit(write(bytes(24)))
    peer.take()
    peer.respond(task, 0, flags=UNDERFLOW, residual=24, sense=b"\x70\0\5")
    assert (task.outcome, task.status, task.sense, task.residual) == (Outcome.COMPLETED, 0, b"", 24)


def test_a_command_without_data() -> None:
    peer = Peer()
    task = peer.submit(no_data())
    [(header, _)] = peer.take()
    assert (header.flags, header.word20) == (0x81, 0)
    peer.respond(task)
    assert outcome(task) == Outcome.COMPLETED


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("beyond the buffer", {"offset": 0, "length": 4097}),
        ("wrong offset", {"offset": 512, "length": 512}),
        ("wrong first DataSN", {"offset": 0, "length": 512, "data_sn": 1}),
        ("offset far away", {"offset": 0xFFFFFFFF, "length": 512}),
    ],
)
def test_wrong_data_in_ends_the_connection(what: str, options: dict[str, int]) -> None:
    peer = Peer()
    task = peer.submit(read(4096))
    peer.take()
    length = options.pop("length")
    peer.data_in(task, b"\xee" * length, status=None, **options)  # type: ignore[arg-type]
    assert task.outcome == Outcome.IN_DOUBT
    assert contents(task) == bytes(4096), "nothing may be written"
    lost(peer)


def test_data_sn_that_skips_or_repeats() -> None:
    for data_sn in (0, 2):
        peer = Peer()
        task = peer.submit(read(4096))
        peer.take()
        peer.data_in(task, bytes(512), status=None, final=False)
        peer.data_in(task, bytes(512), offset=512, data_sn=data_sn, status=None, final=False)
        assert task.outcome == Outcome.IN_DOUBT
        assert "DataSN" in lost(peer)


def test_data_in_for_an_unknown_tag_or_a_write() -> None:
    for kind in (read(), write(bytes(10)), no_data()):
        peer = Peer()
        task = peer.submit(kind)
        peer.take()
        stranger = read(4096)
        stranger.itt = task.itt if task.read_buffer is None else task.itt + 1
        peer.data_in(stranger, bytes(4096))
        assert task.outcome == Outcome.IN_DOUBT
        lost(peer)


def test_wrong_large_data_in_is_refused_before_it_lands() -> None:
    peer = Peer(SETTINGS.replace(max_recv_data_segment_length=262_144))
    task = peer.submit(read(200_000))
    peer.take()
    header = peer.data_in_header(task, 100_000, offset=150_000)
    peer.connection.receive(header + bytes(10), 0)
    lost(peer)
    assert task.outcome == Outcome.IN_DOUBT


def test_a_second_status_for_the_same_task() -> None:
    peer = Peer()
    task = peer.submit(no_data())
    peer.take()
    peer.respond(task)
    peer.respond(task)
    assert "unknown tag" in lost(peer)


def test_a_missing_status_number_ends_the_connection() -> None:
    peer = Peer()
    task = peer.submit(read(512))
    peer.take()
    peer.status()
    peer.data_in(task, bytes(512))
    assert "StatSN" in lost(peer)
    assert task.outcome == Outcome.IN_DOUBT


def test_target_failure_is_no_status() -> None:
    peer = Peer()
    task = peer.submit(write(b"data"))
    peer.take()
    peer.respond(task, 0, response=1)
    assert task.outcome == Outcome.IN_DOUBT
    lost(peer)


# --- digests


@pytest.mark.parametrize("length", [512, 4096, 100_000])
def test_reads_and_writes_with_digests(length: int) -> None:
    peer = Peer(SETTINGS.replace(header_digest="CRC32C", data_digest="CRC32C", max_recv_data_segment_length=262_144),
                HeaderDigest="CRC32C", DataDigest="CRC32C")
    task = peer.submit(read(length))
    wire = b"".join(peer.connection.data_to_send())
    assert len(wire) == 52
    peer.exp_cmd_sn += 1
    data = payload(length)
    peer.data_in(task, data)
    assert (outcome(task), contents(task)) == (Outcome.COMPLETED, data)


@pytest.mark.parametrize("length", [512, 100_000])
def test_wrong_data_digest_is_never_a_success(length: int) -> None:
    peer = Peer(SETTINGS.replace(header_digest="CRC32C", data_digest="CRC32C", max_recv_data_segment_length=262_144),
                HeaderDigest="CRC32C", DataDigest="CRC32C")
    task = peer.submit(read(length))
    peer.connection.data_to_send()
    wire = bytearray(peer.wire(peer.data_in_header(task, length), bytes(length)))
    wire[70] ^= 0x10
    peer.connection.receive(bytes(wire[:500]), 0)
    peer.connection.receive(bytes(wire[500:]), 0)
    assert task.outcome == Outcome.IN_DOUBT
    assert "digest" in lost(peer)


# --- writes


Sent = list[tuple[pdu.RequestHeader, bytes]]


def gathered(sent: Sent) -> tuple[pdu.RequestHeader, bytes, list[tuple[int, int, bool, int]]]:
    """The command header, all data in order, and (TTT, DataSN, F, offset) of each Data-Out."""
    (command, data), *rest = sent
    found = []
    for header, part in rest:
        assert header.opcode == Opcode.SCSI_DATA_OUT
        assert header.itt == command.itt
        assert header.word(40) == len(data), "a gap"
        found.append((header.word20, header.word(36), bool(header.flags & pdu.FINAL), header.word(40)))
        data += part
    return command, data, found


def test_a_small_write_is_one_pdu() -> None:
    peer = Peer()
    data = payload(4096)
    task = peer.submit(write(data))
    command, sent, outs = gathered(peer.take())
    assert (command.flags, command.word20, command.data_length, sent, outs) == (0xA1, 4096, 4096, data, [])
    peer.respond(task)
    assert outcome(task) == Outcome.COMPLETED


def test_immediate_unsolicited_and_solicited_data() -> None:
    peer = Peer(MaxRecvDataSegmentLength="8192", FirstBurstLength="20000", MaxBurstLength="65536")
    data = payload(50_001)
    task = peer.submit(write(data))
    sent = peer.take()
    command, first, outs = gathered(sent)
    assert command.flags == 0x21, "F is clear: unsolicited data follow"
    assert command.data_length == 8192
    assert outs == [(NO_TAG, 0, False, 8192), (NO_TAG, 1, True, 16384)]
    assert first == data[:20_000]
    assert all(header.lun == bytes(8) for header, _ in sent[1:])
    peer.r2t(task, 20_000, 20_000, ttt=7)
    more = peer.sent()
    assert [(h.word20, h.word(36), bool(h.flags & 0x80), h.word(40), len(d), h.lun) for h, d in more] == [
        (7, 0, False, 20_000, 8192, LUN), (7, 1, False, 28_192, 8192, LUN), (7, 2, True, 36_384, 3616, LUN)]
    peer.r2t(task, 40_000, 10_001, r2t_sn=1, ttt=8)
    last = peer.sent()
    assert b"".join([first, *(d for _, d in more), *(d for _, d in last)]) == data
    assert task.outcome == Outcome.PENDING
    peer.respond(task)
    assert outcome(task) == Outcome.COMPLETED


@pytest.mark.parametrize(
    ("initial_r2t", "immediate", "in_command", "unsolicited"),
    [("Yes", "Yes", 8192, 0), ("Yes", "No", 0, 0), ("No", "Yes", 8192, 20_000 - 8192), ("No", "No", 0, 20_000)],
)
def test_what_may_go_before_it_is_asked_for(
    initial_r2t: str, immediate: str, in_command: int, unsolicited: int
) -> None:
    peer = Peer(InitialR2T=initial_r2t, ImmediateData=immediate, MaxRecvDataSegmentLength="8192",
                FirstBurstLength="20000")
    data = payload(60_000)
    task = peer.submit(write(data))
    command, sent, _ = gathered(peer.take())
    assert command.data_length == in_command
    assert sent == data[: in_command + unsolicited]
    assert bool(command.flags & pdu.FINAL) is (unsolicited == 0)
    peer.r2t(task, len(sent), 60_000 - len(sent))
    assert b"".join(part for _, part in peer.sent()) == data[len(sent) :]


def test_large_write_data_are_not_copied() -> None:
    peer = Peer(FirstBurstLength="65536")
    data = bytearray(65_536)
    peer.submit(Task(LUN, bytes(10), Done(), data_out=memoryview(data)))
    buffers = peer.connection.data_to_send()
    assert [len(buffer) for buffer in buffers] == [48, 65_536]
    data[0] = 1
    assert buffers[1][0] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"offset": 8191}, {"offset": 8193}, {"offset": 0}, {"length": 0}, {"length": 262_145}, {"length": 60_000},
        {"r2t_sn": 1}, {"ttt": NO_TAG},
    ],
)
def test_wrong_r2t(change: dict[str, int]) -> None:
    peer = Peer(MaxRecvDataSegmentLength="8192", InitialR2T="Yes", MaxBurstLength="262144")
    task = peer.submit(write(bytes(60_000)))
    peer.take()
    values = {"offset": 8192, "length": 1000, "r2t_sn": 0, "ttt": 1} | change
    peer.r2t(task, values.pop("offset"), values.pop("length"), **values)
    assert task.outcome == Outcome.IN_DOUBT
    lost(peer)
    assert peer.sent() == []


def test_r2t_for_a_read_or_nothing() -> None:
    peer = Peer()
    task = peer.submit(read())
    peer.take()
    peer.r2t(task, 0, 10)
    assert "no write" in lost(peer)


def test_good_for_a_write_that_the_target_has_not_got() -> None:
    """The rest was never asked for, so it can't be at the target."""
    peer = Peer(MaxRecvDataSegmentLength="8192", InitialR2T="Yes")
    task = peer.submit(write(bytes(60_000)))
    peer.take()
    peer.respond(task)
    assert task.outcome == Outcome.IN_DOUBT
    lost(peer)


def test_early_failure_of_a_write_needs_no_more_data() -> None:
    peer = Peer(MaxRecvDataSegmentLength="8192", InitialR2T="Yes")
    task = peer.submit(write(bytes(60_000)))
    peer.take()
    peer.respond(task, 0x18)
    assert (task.outcome, task.status) == (Outcome.COMPLETED, 0x18)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_write_arrives_whole(data: st.DataObject) -> None:
    segment = data.draw(st.integers(512, 20_000))
    burst = data.draw(st.integers(512, 70_000))
    peer = Peer(
        InitialR2T=data.draw(st.sampled_from(["Yes", "No"])), ImmediateData=data.draw(st.sampled_from(["Yes", "No"])),
        MaxRecvDataSegmentLength=str(segment), MaxBurstLength=str(burst),
        FirstBurstLength=str(data.draw(st.integers(512, burst))),
    )
    whole = payload(data.draw(st.integers(0, min(150_000, burst * 20))))
    task = peer.submit(write(whole))
    _, got, _ = gathered(peer.take())
    r2t_sn = 0
    while len(got) < len(whole):
        length = min(data.draw(st.integers(burst // 2, burst)), len(whole) - len(got))
        peer.r2t(task, len(got), length, r2t_sn=r2t_sn, ttt=r2t_sn)
        outs = peer.sent()
        assert [h.word(36) for h, _ in outs] == list(range(len(outs)))
        assert [bool(h.flags & 0x80) for h, _ in outs] == [False] * (len(outs) - 1) + [True]
        assert all(0 < len(part) <= segment for _, part in outs)
        got += b"".join(part for _, part in outs)
        r2t_sn += 1
    assert got == whole
    peer.respond(task)
    assert outcome(task) == Outcome.COMPLETED


# --- the command window


def test_commands_wait_for_the_window() -> None:
    peer = Peer(window=2)
    tasks = [peer.submit(no_data()) for _ in range(5)]
    assert [h.itt for h, _ in peer.sent()] == [task.itt for task in tasks[:2]]
    peer.exp_cmd_sn += 1
    peer.respond(tasks[0])
    assert [h.cmd_sn for h, _ in peer.sent()] == [3]
    peer.exp_cmd_sn += 2
    peer.send(pdu.nop_in(bytes(8), NO_TAG, NO_TAG, peer.stat_sn, *peer.numbers()))
    assert [h.cmd_sn for h, _ in peer.sent()] == [4, 5]
    assert peer.connection.in_flight == 4


def test_cmds_max_bounds_what_is_outstanding() -> None:
    peer = Peer(SETTINGS.replace(cmds_max=3), window=32)
    tasks = [peer.submit(no_data()) for _ in range(5)]
    assert len(peer.take()) == 3
    peer.respond(tasks[0])
    assert len(peer.take()) == 1


def test_a_window_that_starts_shut() -> None:
    peer = Peer(window=0)
    task = peer.submit(no_data())
    assert peer.sent() == []
    peer.window = 1
    peer.send(pdu.nop_in(bytes(8), NO_TAG, NO_TAG, peer.stat_sn, *peer.numbers()))
    [(header, _)] = peer.sent()
    assert header.itt == task.itt


def test_old_and_senseless_windows_are_ignored() -> None:
    peer = Peer(window=2)
    for exp, maximum in ((0, 1), (10, 8), (1, 0x80000010)):
        peer.send(pdu.nop_in(bytes(8), NO_TAG, NO_TAG, peer.stat_sn, exp, maximum))
    for _ in range(4):
        peer.submit(no_data())
    assert len(peer.sent()) == 2


def test_numbers_wrap() -> None:
    peer = Peer(initial_cmd_sn=0xFFFFFFFE, window=8)
    tasks = [peer.submit(no_data()) for _ in range(6)]
    assert [h.cmd_sn for h, _ in peer.take()] == [0xFFFFFFFE, 0xFFFFFFFF, 0, 1, 2, 3]
    for task in tasks:
        peer.respond(task)
    assert all(task.outcome == Outcome.COMPLETED for task in tasks)


def test_tags_wrap_past_the_reserved_one_and_those_in_use() -> None:
    peer = Peer(window=64)
    old = peer.submit(no_data())
    peer.connection._tasks._next_itt = 0xFFFFFFFE
    tags = [peer.submit(no_data()).itt for _ in range(6)]
    assert NO_TAG not in tags
    assert len({*tags, old.itt}) == 7


# --- outcomes at the end


def test_not_sent_or_in_doubt() -> None:
    peer = Peer(window=3)
    sent = peer.submit(write(b"one"))
    peer.connection.data_to_send()
    queued = peer.submit(write(b"two"))
    waiting = [peer.submit(write(b"three")) for _ in range(3)]
    peer.connection.receive_eof(5)
    assert sent.outcome == Outcome.IN_DOUBT
    assert sent.sent
    assert queued.outcome == Outcome.NOT_SENT
    assert [task.outcome for task in waiting] == [Outcome.NOT_SENT] * 3
    assert peer.sent() == []
    assert peer.connection.in_flight == 0
    assert lost(peer) == "closed by the peer"


def test_not_sent_is_judged_across_the_wrap() -> None:
    peer = Peer(initial_cmd_sn=0xFFFFFFFF)
    first, second = peer.submit(no_data()), peer.submit(no_data())
    peer.connection.data_to_send()
    third = peer.submit(no_data())
    peer.connection.close(0)
    assert [task.outcome for task in (first, second, third)] == [Outcome.IN_DOUBT, Outcome.IN_DOUBT, Outcome.NOT_SENT]
    assert peer.events() == []


def test_nothing_is_written_after_the_end() -> None:
    peer = Peer(SETTINGS.replace(max_recv_data_segment_length=262_144))
    task = peer.submit(read(200_000))
    peer.take()
    wire = peer.wire(peer.data_in_header(task, 200_000), b"\xff" * 200_000)
    peer.connection.receive(wire[:5000], 0)
    peer.connection.close(0)
    assert task.read_buffer is not None
    before = bytes(task.read_buffer)
    room = peer.connection.receive_buffer()
    room[:1000] = b"\xff" * 1000
    peer.connection.receive_done(1000, 0)
    peer.connection.receive(wire[5000:], 0)
    assert contents(task) == before


def test_on_done_may_submit_again_and_may_close() -> None:
    peer = Peer()
    again: list[Task] = []

    def resubmit(task: Task) -> None:
        if len(again) < 3:
            again.append(task)
            task.reset()
            peer.connection.submit(task, 0)
        else:
            peer.connection.close(0)

    task = peer.submit(no_data(resubmit))
    for _ in range(3):
        peer.take()
        peer.respond(task)
    other = peer.submit(no_data())
    peer.take()
    wires = [pdu.scsi_response(0, 0, itt, peer.status(), *peer.numbers(), 0, 0) for itt in (task.itt, other.itt)]
    peer.connection.receive(b"".join(wires), 0)
    assert len(again) == 3
    assert peer.connection.state is ConnectionState.ENDED
    assert other.outcome == Outcome.IN_DOUBT


def test_submitting_to_a_dead_connection() -> None:
    peer = Peer()
    refused: list[Task] = []

    def resubmit(task: Task) -> None:
        with pytest.raises(LocalProtocolError):
            peer.connection.submit(task, 0)
        refused.append(task)

    tasks = [peer.submit(no_data(resubmit)) for _ in range(2)]
    peer.connection.receive_eof(0, "reset")
    assert refused == tasks
    assert peer.connection.end_cause == "reset"


def test_what_can_not_be_expressed() -> None:
    peer = Peer()
    for task in (
        Task(LUN, bytes(17), Done()),
        Task(b"\0\1", bytes(6), Done()),
        Task(LUN, bytes(6), Done(), data_out=b"x", read_buffer=memoryview(bytearray(1))),
    ):
        with pytest.raises(LocalProtocolError):
            peer.submit(task)
    task = peer.submit(no_data())
    assert [h.cmd_sn for h, _ in peer.sent()] == [1], "no CmdSN was used up"
    assert task.itt


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["submit", "flush", "answer"]), st.integers(1, 7)), max_size=60))
def test_every_task_ends_once_and_truly(steps: list[tuple[str, int]]) -> None:
    peer = Peer(window=4, initial_cmd_sn=0xFFFFFFF0)
    done = Done()
    tasks: list[Task] = []
    on_wire: list[int] = []
    answered = 0
    for what, count in steps:
        if what == "submit":
            tasks += [peer.submit(no_data(done)) for _ in range(count)]
        elif what == "flush":
            on_wire += [header.itt for header, _ in peer.take()]
        else:
            for itt in on_wire[answered : answered + count]:
                peer.send(pdu.scsi_response(0, 0, itt, peer.status(), *peer.numbers(), 0, 0))
                answered += 1
    peer.connection.receive_eof(0)
    assert len(done.tasks) == len(tasks)
    assert len({id(task) for task in done.tasks}) == len(tasks)
    outcomes = [task.outcome for task in tasks]
    assert outcomes.count(Outcome.COMPLETED) == answered
    assert outcomes.count(Outcome.IN_DOUBT) == len(on_wire) - answered
    assert outcomes.count(Outcome.NOT_SENT) == len(tasks) - len(on_wire)


def test_stat_sn_wraps() -> None:
    peer = Peer()
    peer.stat_sn = 0xFFFFFFFF
    peer.connection._tasks.exp_stat_sn = 0xFFFFFFFF
    for _ in range(3):
        task = peer.submit(no_data())
        peer.take()
        peer.respond(task)
        assert outcome(task) == Outcome.COMPLETED
    assert peer.connection._tasks.exp_stat_sn == serial_add(0xFFFFFFFF, 3)
