"""The target's connection, PDU by PDU. What it should do is RFC 7143's; the sections stand beside the tests."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.unit.proto_iscsi_login.login_kit import (
    FULL,
    INITIATOR,
    ISID,
    NAMES,
    PORTAL,
    TARGET,
    Node,
    Pdu,
    Session,
    cut,
    login_pdu,
    padded,
)

from mpio.errors import LocalProtocolError, LoginRejected
from mpio.model.address import Portal
from mpio.model.task import lun_bytes
from mpio.proto.iscsi import pdu
from mpio.proto.iscsi.digest import digest
from mpio.proto.iscsi.pdu import NO_LUN, NO_TAG, Opcode, RejectReason, TaskFunction, TaskResponse
from mpio.proto.iscsi.target import ANSWERS_MAX, TargetConnection
from mpio.proto.iscsi.target_login import Admission, TargetParams
from mpio.proto.iscsi.target_state import TRANSITIONS, ConnectionEnded, Input, SessionOpened, State
from mpio.proto.iscsi.target_task import TargetTask
from mpio.proto.scsi.sense import Sense
from mpio.units import seconds


def sense_of(answer: Pdu) -> tuple[int, int, int]:
    sense = Sense.parse(pdu.sense_of(answer.data))
    assert sense is not None
    return sense.code


def opcodes(answers: list[Pdu]) -> list[int]:
    return [answer.opcode for answer in answers]


def connection(node: Node | None = None, **changes: object) -> TargetConnection:
    params = TargetParams(PORTAL, challenge_seed=bytes(16), **changes)  # type: ignore[arg-type]
    return TargetConnection(params, node or Node(), 0)


# --- the state machine


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Input)
def test_state_by_input(state: State, event: Input) -> None:
    if TRANSITIONS.allows(state, event):
        assert TRANSITIONS.next(state, event) in State
    else:
        with pytest.raises(LocalProtocolError):
            TRANSITIONS.next(state, event)


def test_events_of_a_session() -> None:
    session = Session()
    opened = session.target.next_event()
    assert isinstance(opened, SessionOpened)
    assert opened.params.tsih == 7
    answers = session.send(pdu.logout_request(0, 9, 3, session.cmd_sn, 0))
    assert opcodes(answers) == [Opcode.LOGOUT_RESPONSE]
    assert session.target.next_event() == ConnectionEnded("logged out", orderly=True)
    assert session.target.next_event() is None
    assert session.node.closed == ["logged out"]
    session.target.receive_eof(0)
    assert session.target.state is State.CLOSED
    assert session.target.next_event() is None
    assert session.node.closed == ["logged out"]


# --- login


def test_login_uses_up_no_cmd_sn() -> None:
    target = connection()
    target.receive(login_pdu(NAMES, cmd_sn=0xFFFFFFFF), 0)
    (answer,) = cut(target.data_to_send())
    assert (answer.header.exp_cmd_sn, answer.header.max_cmd_sn) == (0xFFFFFFFF, 126)
    assert answer.header.lun == ISID + b"\0\7"
    assert answer.header.itt == 1


def test_refused_login_is_answered_and_closed() -> None:
    node = Node()
    target = connection(node)
    target.receive(login_pdu("TargetName=iqn.x|"), 0)
    (answer,) = cut(target.data_to_send())
    assert answer.header.word36 >> 16 == 0x0207
    assert isinstance(target.next_event(), ConnectionEnded)
    target.receive(login_pdu(NAMES), 0)
    assert target.data_to_send() == []
    assert node.sessions == []


def test_redirection_is_answered_and_closed() -> None:
    target = connection(Node(Admission(redirect=Portal("192.0.2.1"))))
    target.receive(login_pdu(NAMES), 0)
    (answer,) = cut(target.data_to_send())
    assert answer.header.word36 >> 16 == 0x0101
    assert answer.data == b"TargetAddress=192.0.2.1:3260\0"
    assert target.state is State.CLOSING


def test_nothing_but_login_before_login() -> None:
    target = connection()
    target.receive(pdu.nop_out(1, NO_TAG, NO_LUN, 0, 0), 0)
    assert target.state is State.CLOSED
    event = target.next_event()
    assert isinstance(event, ConnectionEnded)
    assert "before login" in event.cause


def test_login_that_takes_too_long() -> None:
    target = connection(login_timeout=2.0)
    assert target.next_deadline() == seconds(2)
    target.handle_timer(seconds(1.9))
    assert target.next_event() is None
    target.receive(login_pdu(NAMES, flags=0x44), seconds(1.9))  # more bytes don't help
    target.handle_timer(seconds(2))
    assert target.state is State.CLOSED
    assert target.next_deadline() is None


def test_a_node_that_refuses_the_session() -> None:
    class Full(Node):
        def open_session(self, connection: TargetConnection, params: object) -> int:
            raise LoginRejected("full", status=0x0302)

    target = connection(Full())
    target.receive(login_pdu(NAMES), 0)
    (answer,) = cut(target.data_to_send())
    assert answer.header.word36 >> 16 == 0x0302


def test_reinstatement_drops_what_the_old_connection_still_gets() -> None:
    """The old connection has half a write; the node closes it while the new one logs in (§6.3.5)."""
    old = Session()
    assert opcodes(old.send(old.command(1, write=4096))) == [Opcode.R2T]
    task_bytes = old.data_out(1, 1, 0, 0, bytes(4096), final=True)

    class Reinstating(Node):
        def open_session(self, connection: TargetConnection, params: object) -> int:
            old.target.close("session reinstatement")
            return super().open_session(connection, params)  # type: ignore[arg-type]

    Session(Reinstating())
    assert old.send(task_bytes) == []
    assert old.node.tasks == []
    assert old.node.closed == ["session reinstatement"]
    assert old.target.in_flight == 0


# --- the command window (§4.2.2.1)


def read_zeros(task: TargetTask) -> None:
    task.connection.complete(task, 0, bytes(min(task.expected_length, 65536)))


@pytest.mark.parametrize("offset", [-1, -100, 128, 1000, 0x7FFFFFFF, 0x80000000])
def test_outside_of_the_window_is_ignored(offset: int) -> None:
    session = Session(Node(answer=read_zeros))
    assert session.send(session.command(1, read=512, cmd_sn=5 + offset)) == []
    assert session.node.tasks == []
    assert opcodes(session.send(session.command(1, read=512))) == [Opcode.SCSI_DATA_IN]


def test_window_closes_with_tasks_and_opens_with_answers() -> None:
    session = Session(queue_depth=4)
    for itt in range(6):
        session.send(session.command(itt, read=512))
    tasks = session.node.tasks
    assert [task.itt for task in tasks] == [0, 1, 2, 3]
    session.target.complete(tasks[1], 0, bytes(512))
    (answer,) = cut(session.target.data_to_send())
    assert (answer.header.exp_cmd_sn, answer.header.max_cmd_sn) == (9, 9)
    session.cmd_sn = 9
    session.send(session.command(9, read=512))
    assert len(session.node.tasks) == 5


def test_early_commands_wait_for_their_turn() -> None:
    session = Session(Node(answer=read_zeros))
    assert session.send(session.command(2, read=512, cmd_sn=6) + session.command(3, read=512, cmd_sn=7)) == []
    answers = session.send(session.command(1, read=512, cmd_sn=5))
    assert [answer.header.itt for answer in answers] == [1, 2, 3]
    assert answers[-1].header.exp_cmd_sn == 8


def test_serial_numbers_wrap() -> None:
    node = Node(answer=read_zeros)
    target = connection(node)
    target.receive(login_pdu(FULL, cmd_sn=0xFFFFFFFE), 0)
    target.data_to_send()
    for itt, cmd_sn in enumerate([0xFFFFFFFE, 0xFFFFFFFF, 0, 1]):
        target.receive(pdu.scsi_command(0xC1, NO_LUN, itt, 512, cmd_sn, 0, bytes(16)), 0)
    assert [answer.header.exp_cmd_sn for answer in cut(target.data_to_send())] == [0xFFFFFFFF, 0, 1, 2]


def test_immediate_commands_take_no_number_and_are_bounded() -> None:
    session = Session(immediate_max=2)
    data = b"".join(session.command(itt, read=512, immediate=True) for itt in range(3))
    (answer,) = session.send(data)
    assert (answer.opcode, answer.header.byte2) == (Opcode.REJECT, RejectReason.TOO_MANY_IMMEDIATE)
    assert pdu.parse_request(answer.data).itt == 2
    session.target.complete(session.node.tasks[0], 0, bytes(512))
    session.send(session.command(5, read=512, immediate=True))
    assert [task.itt for task in session.node.tasks] == [0, 1, 5]
    assert answer.header.exp_cmd_sn == 5


def test_tag_in_use_and_no_tag_are_rejected() -> None:
    session = Session()
    session.send(session.command(1, read=512))
    (answer,) = session.send(session.command(1, read=512))
    assert answer.header.byte2 == RejectReason.TASK_IN_PROGRESS
    (answer,) = session.send(session.command(NO_TAG, read=512))
    assert answer.header.byte2 == RejectReason.PROTOCOL_ERROR
    assert (answer.header.exp_cmd_sn, answer.header.max_cmd_sn) == (8, 134)


# --- reads


@pytest.mark.parametrize("size", [1, 3, 512, 4096, 4097, 16384, 16385, 50_001])
def test_data_in_keeps_both_limits(size: int) -> None:
    """MaxRecvDataSegmentLength 4096, MaxBurstLength 16384."""
    session = Session()
    session.send(session.command(1, read=size))
    content = bytes(range(256)) * (size // 256 + 1)
    session.target.complete(session.node.tasks[0], 0, memoryview(content)[:size])
    answers = cut(session.target.data_to_send())
    assert b"".join(answer.data for answer in answers) == content[:size]
    offset = burst = 0
    for number, answer in enumerate(answers):
        header = answer.header
        assert header.opcode == Opcode.SCSI_DATA_IN
        assert (header.word36, header.word40, header.itt, header.word20) == (number, offset, 1, NO_TAG)
        assert 0 < len(answer.data) <= 4096
        offset += len(answer.data)
        burst += len(answer.data)
        last = answer is answers[-1]
        assert bool(header.flags & 1) == last
        assert bool(header.flags & 0x80) == (last or burst == 16384)
        assert header.stat_sn == (1 if last else 0)
        if header.flags & 0x80:
            burst = 0
        assert burst < 16384


@pytest.mark.parametrize(
    ("expected", "count", "length", "flags", "residual", "moved"),
    [
        (512, 512, None, 0, 0, 512),
        (512, 36, None, pdu.UNDERFLOW, 476, 36),
        (512, 0, None, pdu.UNDERFLOW, 512, 0),
        (36, 512, None, pdu.OVERFLOW, 476, 36),
        (512, 512, 1024, pdu.OVERFLOW, 512, 512),
    ],
)
def test_read_residuals(
    expected: int, count: int, length: int | None, flags: int, residual: int, moved: int
) -> None:
    session = Session()
    session.send(session.command(1, read=expected))
    session.target.complete(session.node.tasks[0], 0, bytes(count), length=length)
    (answer,) = cut(session.target.data_to_send())
    assert len(answer.data) == moved
    assert answer.header.flags & 6 == flags
    assert answer.header.word44 == residual
    assert answer.opcode == (Opcode.SCSI_DATA_IN if moved else Opcode.SCSI_RESPONSE)


def test_zero_expected_length_with_data_is_an_overflow() -> None:
    session = Session()
    command = bytearray(session.command(1))
    command[1] |= 0x40
    session.send(bytes(command))
    session.target.complete(session.node.tasks[0], 0, bytes(8))
    (answer,) = cut(session.target.data_to_send())
    assert (answer.opcode, answer.header.flags & 6, answer.header.word44) == (Opcode.SCSI_RESPONSE, pdu.OVERFLOW, 8)


def test_check_condition_carries_its_sense() -> None:
    session = Session()
    session.send(session.command(1, read=512))
    sense = Sense(5, 0x24, 0).build()
    session.target.complete(session.node.tasks[0], 2, sense=sense)
    (answer,) = cut(session.target.data_to_send())
    assert (answer.opcode, answer.header.byte2, answer.header.byte3) == (Opcode.SCSI_RESPONSE, 0, 2)
    assert answer.data == b"\0\x12" + sense
    assert (answer.header.flags & 6, answer.header.word44) == (pdu.UNDERFLOW, 512)
    assert sense_of(answer) == (5, 0x24, 0)


def test_data_with_a_bad_status_come_before_it() -> None:
    session = Session()
    session.send(session.command(1, read=512))
    session.target.complete(session.node.tasks[0], 8, [bytes(256), bytes(256)])
    data, answer = cut(session.target.data_to_send())
    assert (data.opcode, data.header.flags) == (Opcode.SCSI_DATA_IN, 0x80)
    assert (answer.header.byte3, answer.header.word36, answer.header.flags) == (8, 1, 0x80)


def test_answers_to_tasks_that_are_gone_are_ignored() -> None:
    session = Session()
    session.send(session.command(1, read=512))
    (task,) = session.node.tasks
    session.target.complete(task, 0, bytes(512))
    session.target.complete(task, 0, bytes(512))
    assert len(cut(session.target.data_to_send())) == 1
    session.send(session.command(2, read=512))
    session.target.close()
    session.target.complete(session.node.tasks[1], 0, bytes(512))
    assert session.target.data_to_send() == []


def test_commands_wait_while_answers_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpio.proto.iscsi.target.OUTPUT_BYTES_MAX", 4096)
    node = Node(answer=read_zeros)
    session = Session(node)
    session.target.receive(b"".join(session.command(itt, read=4096) for itt in range(8)), 0)
    assert len(node.tasks) == 2
    assert session.target.in_flight == 6
    total = 0
    while answers := cut(session.target.data_to_send()):
        total += len(answers)
    assert total == 8
    assert len(node.tasks) == 8


# --- writes


def gathered(session: Session) -> bytes:
    (task,) = session.node.tasks
    return bytes(task.data)


def content(size: int) -> bytes:
    return bytes(n * 7 & 0xFF for n in range(size))


def test_immediate_data() -> None:
    session = Session()
    data = content(4096)
    assert session.send(session.command(1, write=4096, data=data)) == []
    assert gathered(session) == data
    session.target.complete(session.node.tasks[0], 0)
    (answer,) = cut(session.target.data_to_send())
    assert (answer.opcode, answer.header.flags, answer.header.byte3) == (Opcode.SCSI_RESPONSE, 0x80, 0)


def test_unsolicited_data_and_r2t() -> None:
    """Immediate 4096, unsolicited to FirstBurstLength 8192, then R2Ts of MaxBurstLength 16384."""
    session = Session()
    data = content(30_001)
    assert session.send(session.command(1, write=30_001, data=data[:4096], final=False)) == []
    (r2t,) = session.send(session.data_out(1, NO_TAG, 0, 4096, data[4096:8192], final=True))
    assert r2t.opcode == Opcode.R2T
    assert (r2t.header.word36, r2t.header.word40, r2t.header.word44) == (0, 8192, 16384)
    assert r2t.header.stat_sn == 1  # the next one, not used up
    ttt = r2t.header.word20
    answers = []
    for number, offset in enumerate(range(8192, 24576, 4096)):
        chunk = data[offset : offset + 4096]
        answers += session.send(session.data_out(1, ttt, number, offset, chunk, final=offset == 20480))
    (r2t,) = answers
    assert (r2t.header.word36, r2t.header.word40, r2t.header.word44) == (1, 24576, 5425)
    assert r2t.header.word20 != ttt
    assert session.node.tasks == []
    session.send(session.data_out(1, r2t.header.word20, 0, 24576, data[24576:], final=True))
    assert gathered(session) == data
    session.target.complete(session.node.tasks[0], 0)
    (answer,) = cut(session.target.data_to_send())
    assert (answer.header.stat_sn, answer.header.word36, answer.header.word44) == (1, 2, 0)


@pytest.mark.parametrize(
    ("length", "flags", "residual"), [(None, 0, 0), (1024, pdu.OVERFLOW, 512), (0, pdu.UNDERFLOW, 512)]
)
def test_write_residuals(length: int | None, flags: int, residual: int) -> None:
    session = Session()
    session.send(session.command(1, write=512, data=bytes(512)))
    session.target.complete(session.node.tasks[0], 0, length=length)
    (answer,) = cut(session.target.data_to_send())
    assert (answer.header.flags & 6, answer.header.word44) == (flags, residual)


@pytest.mark.parametrize(
    ("data_sn", "offset", "size", "final"),
    [(1, 0, 4096, True), (0, 512, 4096, True), (0, 0, 4096, True), (0xFFFFFFFF, 0, 4096, True), (0, 4096, 8192, True)],
    ids=["data sn", "offset", "too short", "data sn -1", "past the end"],
)
def test_bad_solicited_data_end_the_task_and_not_the_connection(
    data_sn: int, offset: int, size: int, final: bool
) -> None:
    session = Session(text=FULL)
    (r2t,) = session.send(session.command(1, write=8192))
    (answer,) = session.send(session.data_out(1, r2t.header.word20, data_sn, offset, bytes(size), final=final))
    assert (answer.opcode, answer.header.byte3) == (Opcode.SCSI_RESPONSE, 2)
    assert sense_of(answer) == (0x0B, 0x4B, 0)
    assert session.node.tasks == []
    assert session.target.state is State.FULL_FEATURE
    assert session.target.in_flight == 0
    session.send(session.command(1, write=512, data=bytes(512)))
    assert len(session.node.tasks) == 1


def test_a_bad_sequence_is_answered_when_it_is_over() -> None:
    session = Session()
    (r2t,) = session.send(session.command(1, write=8192))
    ttt = r2t.header.word20
    assert session.send(session.data_out(1, ttt, 1, 0, bytes(4096), final=False)) == []
    (answer,) = session.send(session.data_out(1, ttt, 2, 4096, bytes(4096), final=True))
    assert sense_of(answer) == (0x0B, 0x4B, 0)


def test_unexpected_unsolicited_data() -> None:
    no_unsolicited = FULL.replace("InitialR2T=No", "InitialR2T=Yes")
    session = Session(text=no_unsolicited)
    assert session.send(session.command(1, write=8192, final=False)) == []
    (answer,) = session.send(session.data_out(1, NO_TAG, 0, 0, bytes(4096), final=True))
    assert sense_of(answer) == (0x0B, 0x0C, 0x0C)
    session = Session(text=FULL.replace("ImmediateData=Yes", "ImmediateData=No"))
    (answer,) = session.send(session.command(1, write=512, data=bytes(512)))
    assert sense_of(answer) == (0x0B, 0x0C, 0x0C)
    session = Session()
    assert session.send(session.command(1, write=30_000, data=bytes(4096), final=False)) == []
    assert session.send(session.data_out(1, NO_TAG, 0, 4096, bytes(4096), final=False)) != []  # the burst is full
    session = Session()
    (answer,) = session.send(session.command(1, read=512, data=bytes(512)))
    assert sense_of(answer) == (0x0B, 0x0C, 0x0C)


def test_less_unsolicited_data_than_announced_is_asked_for() -> None:
    session = Session()
    session.send(session.command(1, write=8192, final=False))
    (r2t,) = session.send(session.data_out(1, NO_TAG, 0, 0, bytes(512), final=True))
    assert (r2t.header.word40, r2t.header.word44) == (512, 7680)


def test_strange_tags_are_dropped() -> None:
    session = Session()
    (r2t,) = session.send(session.command(1, write=8192))
    assert session.send(session.data_out(2, r2t.header.word20, 0, 0, bytes(4096), final=True)) == []
    assert session.send(session.data_out(1, r2t.header.word20 + 1, 0, 0, bytes(4096), final=True)) == []
    assert session.send(session.data_out(1, NO_TAG, 0, 0, bytes(4096), final=True)) == []
    assert session.target.in_flight == 1


def test_writes_that_are_too_long_or_too_many() -> None:
    session = Session(write_length_max=1 << 20, gather_bytes_max=1 << 20)
    (answer,) = session.send(session.command(1, write=(1 << 20) + 1))
    assert sense_of(answer) == (5, 0x24, 0)
    (first,) = session.send(session.command(2, write=1 << 20))
    assert first.opcode == Opcode.R2T
    (answer,) = session.send(session.command(3, write=8192))
    assert (answer.opcode, answer.header.byte3, answer.data) == (Opcode.SCSI_RESPONSE, 0x28, b"")
    session.target.abort_tasks(None)
    (again,) = session.send(session.command(4, write=8192))
    assert again.opcode == Opcode.R2T


@pytest.mark.parametrize("size", [20_000, 200_000])
def test_large_data_out_lands_in_place_whatever_the_segmentation(size: int) -> None:
    session = Session()
    (r2t,) = session.send(session.command(1, write=size))
    data, offset = content(size), 0
    while not session.node.tasks:
        want = min(r2t.header.word44, size - offset)
        stream = session.data_out(1, r2t.header.word20, 0, offset, data[offset : offset + want], final=True)
        answers = []
        for at in range(0, len(stream), 1000):
            answers += session.send(stream[at : at + 1000])
        offset += want
        if answers:
            (r2t,) = answers
    assert gathered(session) == data


# --- digests


def with_digests(header: bytes, data: bytes = b"", *, bad_data: bool = False, bad_header: bool = False) -> bytes:
    out = header + (bytes(4) if bad_header else digest(header))
    if data:
        padding = bytes(-len(data) & 3)
        out += data + padding + (bytes(4) if bad_data else digest(data, padding))
    return out


DIGESTS = FULL + "HeaderDigest=CRC32C|DataDigest=CRC32C|"


def test_header_digest_error_ends_the_connection() -> None:
    session = Session(text=DIGESTS)
    session.target.receive(with_digests(session.command(1, read=512), bad_header=True), 0)
    assert session.target.state is State.CLOSED
    assert session.node.tasks == []


def test_data_digests_go_both_ways() -> None:
    session = Session(text=DIGESTS)
    session.target.receive(with_digests(session.command(1, read=5)), 0)
    session.target.complete(session.node.tasks[0], 0, b"hello")
    stream = b"".join(session.target.data_to_send())
    assert stream[48:52] == digest(stream[:48])
    assert stream[52:60] == b"hello\0\0\0"
    assert stream[60:] == digest(b"hello", b"\0\0\0")


def test_data_digest_error_ends_the_command() -> None:
    session = Session(text=DIGESTS)
    command = session.command(1, write=512, data=bytes(512))
    session.target.receive(with_digests(command[:48], command[48:], bad_data=True), 0)
    stream = b"".join(session.target.data_to_send())
    assert stream[0] == Opcode.REJECT
    assert stream[2] == RejectReason.DATA_DIGEST_ERROR
    response = stream[104:]  # after header, copied header, and a digest each
    assert response[0] == Opcode.SCSI_RESPONSE
    assert Sense.parse(response[54 : 54 + 18]) == Sense(0x0B, 0x47, 0x05)
    assert session.node.tasks == []
    assert session.target.state is State.FULL_FEATURE


def test_data_digest_error_in_data_out_ends_the_task() -> None:
    session = Session(text=DIGESTS)
    session.target.receive(with_digests(session.command(1, write=512)), 0)
    r2t = pdu.parse_response(b"".join(session.target.data_to_send()))
    out = session.data_out(1, r2t.word20, 0, 0, bytes(512), final=True)
    session.target.receive(with_digests(out[:48], out[48:], bad_data=True), 0)
    stream = b"".join(session.target.data_to_send())
    assert (stream[0], stream[104]) == (Opcode.REJECT, Opcode.SCSI_RESPONSE)
    assert session.node.tasks == []
    assert session.target.in_flight == 0


def test_damaged_ping_uses_its_number_up() -> None:
    session = Session(text=DIGESTS)
    ping = bytearray(pdu.nop_out(8, NO_TAG, NO_LUN, session.cmd_sn, 0, 4))
    ping[0] &= ~0x40
    session.target.receive(with_digests(bytes(ping), b"ping", bad_data=True), 0)
    reject = pdu.parse_response(b"".join(session.target.data_to_send()))
    assert reject.opcode == Opcode.REJECT
    session.cmd_sn += 1
    session.target.receive(with_digests(session.command(1, read=512)), 0)
    assert len(session.node.tasks) == 1


# --- NOP


def test_ping_is_echoed() -> None:
    session = Session()
    (answer,) = session.send(padded(pdu.nop_out(9, NO_TAG, NO_LUN, 5, 0, 5), b"hello"))
    assert (answer.opcode, answer.header.itt, answer.header.word20, answer.data) == (0x20, 9, NO_TAG, b"hello")
    assert answer.header.exp_cmd_sn == 5
    assert session.send(pdu.nop_out(NO_TAG, NO_TAG, NO_LUN, 5, 0)) == []
    waiting = bytearray(pdu.nop_out(9, NO_TAG, NO_LUN, 5, 0))
    waiting[0] &= ~0x40
    (answer,) = session.send(bytes(waiting))
    assert (answer.header.exp_cmd_sn, answer.header.max_cmd_sn) == (6, 133)


def test_target_pings_a_silent_initiator_and_gives_it_up() -> None:
    session = Session(nop_in_interval=5.0, nop_in_timeout=3.0)
    target = session.target
    assert target.next_deadline() == seconds(5)
    target.handle_timer(seconds(4))
    assert target.data_to_send() == []
    target.handle_timer(seconds(5))
    (ping,) = cut(target.data_to_send())
    assert (ping.opcode, ping.header.itt) == (Opcode.NOP_IN, NO_TAG)
    assert ping.header.word20 != NO_TAG
    assert ping.header.stat_sn == 1
    session.send(pdu.nop_out(NO_TAG, ping.header.word20, NO_LUN, 5, 1), seconds(6))
    assert target.next_deadline() == seconds(11)
    target.handle_timer(seconds(11))
    target.handle_timer(seconds(14))
    assert target.state is State.CLOSED
    assert session.node.closed == ["the initiator does not answer"]


def test_no_pings_by_default() -> None:
    assert Session().target.next_deadline() is None


# --- task management


def test_abort_of_a_task_whose_data_are_still_coming() -> None:
    session = Session()
    (r2t,) = session.send(session.command(1, write=8192))
    (answer,) = session.send(session.manage(TaskFunction.ABORT_TASK, 9, rtt=1))
    assert (answer.opcode, answer.header.byte2, answer.header.itt) == (0x22, TaskResponse.FUNCTION_COMPLETE, 9)
    assert session.send(session.data_out(1, r2t.header.word20, 0, 0, bytes(8192), final=True)) == []
    assert session.node.tasks == []
    assert session.node.managed == []


def test_abort_of_a_task_that_the_node_has() -> None:
    session = Session()
    session.send(session.command(1, read=512))
    assert session.send(session.manage(TaskFunction.ABORT_TASK, 9, rtt=1)) == []
    ((function, _, task, respond),) = session.node.managed
    assert (function, task) == (TaskFunction.ABORT_TASK, session.node.tasks[0])
    respond(TaskResponse.FUNCTION_COMPLETE)
    respond(TaskResponse.FUNCTION_COMPLETE)
    (answer,) = cut(session.target.data_to_send())
    assert answer.header.byte2 == 0
    session.target.complete(session.node.tasks[0], 0, bytes(512))
    assert session.target.data_to_send() == []
    assert answer.header.max_cmd_sn == 133


def test_abort_of_unknown_tasks() -> None:
    session = Session(Node(answer=read_zeros))
    session.send(session.command(1, read=512))
    (answer,) = session.send(session.manage(TaskFunction.ABORT_TASK, 9, rtt=1, ref_cmd_sn=5))
    assert answer.header.byte2 == TaskResponse.TASK_DOES_NOT_EXIST
    # a command that was lost on the way: taken as received (§11.6.1)
    session.cmd_sn = 8
    (answer,) = session.send(session.manage(TaskFunction.ABORT_TASK, 9, rtt=2, ref_cmd_sn=6))
    assert answer.header.byte2 == TaskResponse.FUNCTION_COMPLETE
    assert answer.header.exp_cmd_sn == 7
    assert session.send(session.command(2, read=512, cmd_sn=6)) == []
    assert opcodes(session.send(session.command(3, read=512, cmd_sn=7))) == [Opcode.SCSI_DATA_IN]


@pytest.mark.parametrize(
    ("function", "left"),
    [
        (TaskFunction.ABORT_TASK_SET, 1), (TaskFunction.CLEAR_TASK_SET, 1), (TaskFunction.LOGICAL_UNIT_RESET, 1),
        (TaskFunction.TARGET_WARM_RESET, 0), (TaskFunction.TARGET_COLD_RESET, 0), (TaskFunction.CLEAR_ACA, 3),
    ],
)  # fmt: skip
def test_functions_on_many_tasks(function: TaskFunction, left: int) -> None:
    session = Session()
    session.send(session.command(1, read=512) + session.command(2, write=8192))
    session.send(session.command(3, read=512, lun=lun_bytes(2)))
    session.send(session.manage(function, 9))
    assert session.target.in_flight == 3
    ((seen, _, task, respond),) = session.node.managed
    assert (seen, task) == (function, None)
    respond(TaskResponse.FUNCTION_COMPLETE)
    assert opcodes(cut(session.target.data_to_send())) == [Opcode.TASK_MANAGEMENT_RESPONSE]
    assert session.target.in_flight == left


def test_flat_and_peripheral_luns_are_the_same() -> None:
    session = Session()
    session.send(session.command(1, read=512, lun=lun_bytes(3)))
    assert session.target.abort_tasks(b"\x40\x03" + bytes(6), status=0x40) == 1
    (answer,) = cut(session.target.data_to_send())
    assert answer.header.byte3 == 0x40


@pytest.mark.parametrize(
    ("function", "response"),
    [(8, TaskResponse.REASSIGNMENT_NOT_SUPPORTED), (9, TaskResponse.NOT_SUPPORTED), (0, TaskResponse.NOT_SUPPORTED)],
)
def test_functions_that_are_not_there(function: int, response: int) -> None:
    (answer,) = Session().send(Session().manage(function, 9))
    assert answer.header.byte2 == response


def test_outstanding_functions_are_bounded() -> None:
    session = Session(immediate_max=2)
    answers = session.send(b"".join(session.manage(5, itt) for itt in range(3)))
    assert [(answer.opcode, answer.header.byte2) for answer in answers] == [(0x3F, RejectReason.TOO_MANY_IMMEDIATE)]


# --- text


PORTALS = [(Portal("192.0.2.1"), 1), (Portal("2001:db8::1", 3261), 2)]
TARGETS = [(f"iqn.2024-01.example:disk{n}", PORTALS) for n in range(300)]


def text_request(text: str, itt: int = 4, ttt: int = NO_TAG, flags: int = 0x80) -> bytes:
    data = text.replace("|", "\0").encode()
    return padded(pdu.text_request(flags, itt, ttt, 5, 0, len(data)), data)


def discover(session: Session, text: str) -> str:
    (answer,) = session.send(text_request(text))
    whole = answer.data
    while not answer.header.flags & 0x80:
        assert answer.header.word20 != NO_TAG
        assert len(answer.data) <= 8192
        (answer,) = session.send(text_request("", ttt=answer.header.word20))
        whole += answer.data
    assert answer.header.word20 == NO_TAG
    return whole.decode()


DISCOVERY = f"InitiatorName={INITIATOR}|SessionType=Discovery|"


def test_send_targets() -> None:
    session = Session(Node(targets=TARGETS[:1]), DISCOVERY)
    expected = (
        "TargetName=iqn.2024-01.example:disk0\0"
        "TargetAddress=192.0.2.1:3260,1\0TargetAddress=[2001:db8::1]:3261,2\0"
    )
    assert discover(session, "SendTargets=All|") == expected
    assert discover(session, "SendTargets=iqn.2024-01.example:disk0|") == expected
    assert discover(session, "SendTargets=iqn.2024-01.example:none|") == ""
    assert discover(session, "SendTargets=|") == "SendTargets=Reject\0"
    assert discover(session, "X-com.a=1|MaxBurstLength=512|InitiatorAlias=x|") == (
        "X-com.a=NotUnderstood\0MaxBurstLength=Reject\0"
    )


def test_long_answers_come_in_pieces() -> None:
    whole = discover(Session(Node(targets=TARGETS), DISCOVERY), "SendTargets=All|")
    assert whole.count("TargetName=") == 300
    assert whole.count("TargetAddress=") == 600


def test_a_request_in_pieces() -> None:
    session = Session(Node(targets=TARGETS[:1]), DISCOVERY)
    (answer,) = session.send(text_request("SendTar", flags=0x40))
    assert (answer.header.flags, answer.data) == (0, b"")
    (answer,) = session.send(text_request("gets=All|", ttt=answer.header.word20))
    assert answer.data.startswith(b"TargetName=")
    (reject,) = session.send(text_request("", ttt=77))
    assert reject.header.byte2 == RejectReason.INVALID_FIELD
    (reject,) = session.send(text_request("nonsense|"))
    assert reject.opcode == Opcode.REJECT


def test_send_targets_in_a_normal_session_is_about_its_own_target() -> None:
    session = Session(Node(targets=[(TARGET, [(Portal("192.0.2.1"), 1)]), *TARGETS]))
    own = f"TargetName={TARGET}\0TargetAddress=192.0.2.1:3260,1\0"
    assert discover(session, "SendTargets=|") == own
    assert discover(session, f"SendTargets={TARGET}|") == own
    assert discover(session, "SendTargets=All|") == "SendTargets=Reject\0"


def test_a_new_segment_length_holds_from_then_on() -> None:
    session = Session(Node(answer=read_zeros))
    session.send(text_request("MaxRecvDataSegmentLength=512|"))
    assert len(session.send(session.command(1, read=1024))) == 2
    (reject,) = session.send(text_request("MaxRecvDataSegmentLength=1|"))
    assert reject.header.byte2 == RejectReason.INVALID_FIELD


def test_discovery_takes_no_commands() -> None:
    session = Session(text=DISCOVERY)
    for command in (session.command(1, read=512), session.command(2, write=512, immediate=True), session.manage(5, 3)):
        (answer,) = session.send(command)
        assert (answer.opcode, answer.header.byte2) == (Opcode.REJECT, RejectReason.PROTOCOL_ERROR)
    assert session.node.sessions == []


# --- logout, async, reject


@pytest.mark.parametrize(
    ("reason", "cid", "response", "ends"), [(0, 99, 0, True), (1, 3, 0, True), (1, 4, 1, False), (2, 3, 2, False)]
)
def test_logout(reason: int, cid: int, response: int, ends: bool) -> None:
    session = Session()
    session.send(session.command(1, write=8192))
    (answer,) = session.send(pdu.logout_request(reason, 9, cid, 6, 0) + session.command(2, read=512))[:1]
    assert (answer.opcode, answer.header.byte2) == (Opcode.LOGOUT_RESPONSE, response)
    assert (session.target.state is State.CLOSING) == ends
    assert len(session.node.tasks) == (not ends)
    assert (session.target.in_flight == 0) == ends


def test_request_for_logout() -> None:
    session = Session()
    session.target.request_logout(10)
    (answer,) = cut(session.target.data_to_send())
    assert (answer.opcode, answer.header.itt, answer.header.word36) == (Opcode.ASYNC_MESSAGE, NO_TAG, 1 << 24)
    assert answer.header.word40 == 10
    with pytest.raises(LocalProtocolError):
        connection().request_logout(10)


@pytest.mark.parametrize(
    ("request_bytes", "reason"),
    [
        (pdu.snack_request(0, NO_LUN, 1, NO_TAG, 0, 0, 0), RejectReason.SNACK_REJECT),
        (login_pdu("")[:48], RejectReason.PROTOCOL_ERROR),
        (bytes([0x1C]) + bytes(47), RejectReason.COMMAND_NOT_SUPPORTED),
        (bytes([0x7F]) + bytes(47), RejectReason.COMMAND_NOT_SUPPORTED),
    ],
)
def test_rejects_name_the_reason_and_copy_the_header(request_bytes: bytes, reason: RejectReason) -> None:
    session = Session()
    (answer,) = session.send(request_bytes)
    assert (answer.opcode, answer.header.byte2, answer.header.itt) == (Opcode.REJECT, reason, NO_TAG)
    assert answer.data == request_bytes
    assert answer.header.stat_sn == 1


def test_segments_past_the_declared_limit_end_the_connection() -> None:
    session = Session(max_recv_data_segment_length=512)
    session.target.receive(padded(pdu.nop_out(1, NO_TAG, NO_LUN, 5, 0, 513), bytes(513)), 0)
    assert session.target.state is State.CLOSED


def test_additional_headers_are_skipped() -> None:
    session = Session(Node(answer=read_zeros))
    command = bytearray(session.command(1, read=512))
    command[4] = 2
    assert opcodes(session.send(bytes(command) + bytes(8) + session.command(2, read=512))) == [0x25, 0x25]


def test_an_initiator_that_never_reads_is_dropped() -> None:
    session = Session()
    ping = pdu.nop_out(9, NO_TAG, NO_LUN, 5, 0)
    for _ in range(ANSWERS_MAX + 2):
        session.target.receive(ping, 0)
    assert session.target.state is State.CLOSED
    assert session.target.data_to_send() == []


def test_wake_is_called_for_output_and_for_the_end() -> None:
    session = Session()
    woken: list[int] = []
    session.target.wake = lambda: woken.append(1)
    session.send(session.command(1, read=512))
    assert woken == []
    session.target.complete(session.node.tasks[0], 0, bytes(512))
    assert woken == [1]
    session.target.close()
    assert woken == [1, 1]


# --- any initiator at all


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A PDU with a sane length and nothing else sane about it, near the counters of a Session."""
    opcode = draw(st.sampled_from([0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x1C, 0x25, 0x3F]))
    data = draw(st.binary(max_size=40) | st.sampled_from([b"SendTargets=All\0", bytes(512), bytes(4096)]))
    tag = st.sampled_from([0, 1, 2, 3, NO_TAG])
    small = st.sampled_from([0, 1, 512, 4096, 8192, 16384, 30_000, 0xFFFFFFFF])
    header = pdu.REQUEST.pack(
        opcode | draw(st.sampled_from([0, 0x40])),
        draw(st.integers(0, 255)), 0, 0, draw(st.sampled_from([0, 0, 0, 1])) << 24 | len(data),
        draw(st.sampled_from([NO_LUN, lun_bytes(1), b"\xff" * 8])), draw(tag), draw(st.one_of(tag, small)),
        draw(st.integers(3, 12)), draw(st.integers(0, 5)),
        bytes(4) + draw(st.integers(0, 3)).to_bytes(4, "big") + draw(small).to_bytes(4, "big") + bytes(4),
    )  # fmt: skip
    return header + bytes(4 * header[4]) + data + bytes(-len(data) & 3)


@hypothesis_settings(max_examples=400, deadline=None)
@given(
    st.lists(requests(), max_size=25),
    st.booleans(),
    st.sampled_from([FULL, DISCOVERY, FULL + "HeaderDigest=CRC32C|", FULL + "DataDigest=CRC32C|"]),
    st.integers(1, 5000),
)
def test_any_requests_are_answered_or_end_the_connection(
    stream: list[bytes], answer_at_once: bool, text: str, step: int
) -> None:
    session = Session(Node(answer=read_zeros if answer_at_once else None), text, queue_depth=8)
    data = b"".join(stream)
    for at in range(0, len(data), step):
        session.target.receive(data[at : at + step], 0)
    assert session.target.in_flight <= 8 + session.target.params.immediate_max
    output = b"".join(session.target.data_to_send())
    assert len(output) < 30_000 * 26 + 10_000
    for task in session.node.tasks:
        assert not task.is_write or len(task.data) == task.expected_length
        session.target.complete(task, 0)
    if session.target.state is State.FULL_FEATURE:
        session.target.receive_eof(0)
    assert session.target.in_flight == 0


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", login_pdu(NAMES, flags=0x44), login_pdu(FULL)]))
def test_any_bytes_at_any_stage(garbage: bytes, before: bytes) -> None:
    target = connection()
    target.receive(before, 0)
    target.receive(garbage, 0)
    target.data_to_send()
    target.handle_timer(seconds(100))
    target.receive_eof(seconds(100))
    assert target.state is State.CLOSED
