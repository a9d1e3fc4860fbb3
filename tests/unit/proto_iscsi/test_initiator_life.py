"""Login, keepalive, messages, discovery, logout and the end, in virtual time."""

import itertools
from collections.abc import Callable

import pytest
from tests.unit.proto_iscsi.initiator_kit import (
    LUN,
    MS,
    SETTINGS,
    Done,
    Peer,
    S,
    no_data,
    params,
    read,
    security_answer,
    split,
    write,
)

from mpio.errors import LocalProtocolError
from mpio.model.address import Portal
from mpio.model.task import Outcome
from mpio.proto.iscsi import ConnectionState, InitiatorConnection, TaskFunction, pdu
from mpio.proto.iscsi import initiator_events as ev
from mpio.proto.iscsi.initiator import CONNECTION, ConnectionInput
from mpio.proto.iscsi.pdu import NO_TAG, Opcode

PINGING = SETTINGS.replace(noop_out_interval=0.25, noop_out_timeout=0.5)


# --- states


def test_the_table() -> None:
    assert CONNECTION.next(ConnectionState.IDLE, ConnectionInput.START) is ConnectionState.LOGIN
    for state, event in itertools.product(ConnectionState, ConnectionInput):
        if event is ConnectionInput.END:
            assert CONNECTION.next(state, event) is ConnectionState.ENDED
        elif not CONNECTION.allows(state, event):
            with pytest.raises(LocalProtocolError):
                CONNECTION.next(state, event)


def in_state(state: ConnectionState) -> InitiatorConnection:
    if state is ConnectionState.IDLE:
        return InitiatorConnection(params())
    if state is ConnectionState.LOGIN:
        connection = InitiatorConnection(params())
        connection.start(0)
        return connection
    connection = Peer().connection
    if state is ConnectionState.LOGOUT:
        connection.logout(0)
    elif state is ConnectionState.ENDED:
        connection.close(0)
    assert connection.state is state
    return connection


@pytest.mark.parametrize("state", ConnectionState)
def test_every_call_in_every_state(state: ConnectionState) -> None:
    def allowed(call: str) -> bool:
        return (call == "start" and state is ConnectionState.IDLE) or (
            call in ("submit", "manage", "send_targets", "logout") and state is ConnectionState.FULL_FEATURE)

    calls: dict[str, Callable[[InitiatorConnection], None]] = {
        "start": lambda c: c.start(0),
        "submit": lambda c: c.submit(no_data(), 0),
        "manage": lambda c: c.manage(TaskFunction.LOGICAL_UNIT_RESET, LUN, lambda _: None, 0),
        "send_targets": lambda c: c.send_targets("All", 0),
        "logout": lambda c: c.logout(0),
    }
    for name, call in calls.items():
        connection = in_state(state)
        if allowed(name):
            call(connection)
        else:
            with pytest.raises(LocalProtocolError):
                call(connection)
    anytime: tuple[Callable[[InitiatorConnection], object], ...] = (
        lambda c: c.receive_eof(0), lambda c: c.close(0), lambda c: c.handle_timer(10**15), lambda c: c.next_deadline(),
        lambda c: c.data_to_send(), lambda c: c.next_event(), lambda c: c.receive_buffer(), lambda c: c.in_flight,
    )
    for always in anytime:
        always(in_state(state))


@pytest.mark.parametrize("state", ConnectionState)
@pytest.mark.parametrize("opcode", [*Opcode, 0x1C, 0x3C, 0x2A, 0xE5])
def test_every_pdu_in_every_state(state: ConnectionState, opcode: int) -> None:
    """It is fine, or ends the connection with a cause."""
    connection = in_state(state)
    events_before = 0
    while connection.next_event():
        events_before += 1
    connection.receive(bytes([opcode, 0x80]) + bytes(14) + b"\xff" * 4 + bytes(28), 0)
    if state is not ConnectionState.ENDED and connection.state is ConnectionState.ENDED:
        assert connection.end_cause
        assert connection.next_event() is not None
    elif state in (ConnectionState.IDLE, ConnectionState.LOGIN):
        pytest.fail("only login responses are allowed before the full feature phase")


# --- login


def test_login_numbers_and_tags() -> None:
    connection = InitiatorConnection(params(initial_cmd_sn=0xFFFFFFFF))
    connection.start(0)
    [(login, text)] = split(b"".join(connection.data_to_send()))
    assert (login.opcode, login.flags, login.cmd_sn) == (0x43, 0x81, 0xFFFFFFFF)
    assert login.lun == b"\x80\0\0\0\0\1\0\0"
    assert login.itt != NO_TAG
    assert b"InitiatorName=iqn.2026-01.test:i\0" in text
    peer = Peer(initial_cmd_sn=0xFFFFFFFF)
    peer.submit(no_data())
    assert [h.cmd_sn for h, _ in peer.sent()] == [0xFFFFFFFF], "login does not use up its CmdSN"


def in_operational_stage() -> InitiatorConnection:
    connection = in_state(ConnectionState.LOGIN)
    [(login, _)] = split(b"".join(connection.data_to_send()))
    connection.receive(security_answer(login, 76), 0)
    return connection


def answer(connection: InitiatorConnection, flags: int, status: int = 0, text: bytes = b"", *, tsih: int = 1,
           stat_sn: int = 0, itt: int | None = None, version: int = 0) -> None:
    [(login, _)] = split(b"".join(connection.data_to_send()))
    tag = login.itt if itt is None else itt
    header = bytearray(pdu.login_response(flags, login.lun[:6], tsih, tag, stat_sn, login.cmd_sn, login.cmd_sn + 9,
                                          status, len(text)))
    header[3] = version
    connection.receive(bytes(header) + text + bytes(-len(text) % 4), 0)


def test_login_in_three_rounds() -> None:
    connection = in_operational_stage()
    answer(connection, 0x04, text=b"TargetPortalGroupTag=9\0MaxBurstLength=65536\0", stat_sn=77)
    assert connection.state is ConnectionState.LOGIN
    answer(connection, 0x87, stat_sn=78)
    event = connection.next_event()
    assert isinstance(event, ev.LoginCompleted)
    assert event.params.tpgt == 9
    assert connection.negotiated is event.params


def test_login_refused() -> None:
    connection = in_state(ConnectionState.LOGIN)
    answer(connection, 0, status=0x0203)
    event = connection.next_event()
    assert isinstance(event, ev.LoginFailed)
    assert event.status == 0x0203
    assert connection.state is ConnectionState.ENDED
    assert connection.next_event() is None


def test_login_redirected() -> None:
    connection = in_state(ConnectionState.LOGIN)
    answer(connection, 4, status=0x0102, text=b"TargetAddress=[2001:db8::1]:3261\0")
    assert connection.next_event() == ev.Redirected(Portal("2001:db8::1", 3261), permanent=True)
    assert connection.state is ConnectionState.ENDED


@pytest.mark.parametrize(
    "wrong", [{"itt": 99}, {"version": 1}, {"flags": 0x83}, {"text": b"no equals sign\0"}, {"tsih": 0}]
)
def test_wrong_login_response(wrong: dict[str, int]) -> None:
    connection = in_operational_stage()
    answer(connection, **({"flags": 0x87} | wrong))  # type: ignore[arg-type]
    assert isinstance(connection.next_event(), ev.Lost)
    assert connection.state is ConnectionState.ENDED


def test_login_timeout() -> None:
    connection = InitiatorConnection(params(SETTINGS.replace(login_timeout=2.0)))
    connection.start(5 * S)
    assert connection.next_deadline() == 7 * S
    connection.handle_timer(7 * S - 1)
    assert connection.state is ConnectionState.LOGIN
    connection.handle_timer(7 * S)
    assert connection.next_event() == ev.Lost("login was not answered in time")
    assert connection.next_deadline() is None
    assert connection.data_to_send() == []


def test_eof_during_login() -> None:
    connection = in_state(ConnectionState.LOGIN)
    connection.receive_eof(0, "Connection reset by peer")
    assert connection.next_event() == ev.Lost("Connection reset by peer")


def test_a_login_pdu_over_the_limit_of_8192() -> None:
    connection = in_state(ConnectionState.LOGIN)
    connection.receive(pdu.login_response(4, bytes(6), 0, 1, 0, 0, 0, 0, 8193), 0)
    assert "8193" in connection.end_cause


# --- keepalive


def test_ping_and_answer_in_virtual_time() -> None:
    peer = Peer(PINGING)
    assert peer.connection.next_deadline() == 250 * MS
    peer.at(249 * MS)
    assert peer.sent() == []
    peer.at(250 * MS)
    [(ping, _)] = peer.sent()
    assert (ping.opcode, ping.word20, ping.lun, ping.cmd_sn) == (0x40, NO_TAG, bytes(8), 1)
    assert peer.connection.next_deadline() == 750 * MS
    peer.now = 300 * MS
    peer.send(pdu.nop_in(bytes(8), ping.itt, NO_TAG, peer.status(), *peer.numbers()))
    assert peer.connection.next_deadline() == 550 * MS
    peer.at(550 * MS)
    assert len(peer.sent()) == 1
    assert peer.events() == []


def test_silence_after_a_ping_ends_the_connection() -> None:
    peer = Peer(PINGING)
    task = peer.submit(read())
    peer.at(250 * MS)
    peer.take()
    peer.at(750 * MS - 1)
    assert peer.connection.state is ConnectionState.FULL_FEATURE
    peer.at(750 * MS)
    assert peer.events() == [ev.PingTimedOut(750 * MS), ev.Lost("nothing received for 750 ms in spite of a ping")]
    assert task.outcome == Outcome.IN_DOUBT
    assert peer.connection.next_deadline() is None


def test_half_a_pdu_is_proof_of_life() -> None:
    peer = Peer(PINGING)
    task = peer.submit(read())
    peer.take()
    peer.at(250 * MS)
    wire = peer.wire(peer.data_in_header(task, 4096), bytes(4096))
    peer.connection.receive(wire[:7], 700 * MS)
    peer.at(750 * MS)
    assert peer.connection.state is ConnectionState.FULL_FEATURE
    assert peer.connection.next_deadline() == 950 * MS


def test_an_unanswered_ping_is_not_followed_by_more() -> None:
    """A target may be slow to answer while it sends data; then silence is judged by the same ping."""
    peer = Peer(PINGING)
    peer.at(250 * MS)
    assert len(peer.sent()) == 1
    peer.now = 300 * MS
    peer.send(pdu.nop_in(bytes(8), NO_TAG, NO_TAG, peer.stat_sn, *peer.numbers()))
    peer.at(550 * MS)
    assert peer.sent() == []
    peer.at(1050 * MS)
    assert peer.connection.state is ConnectionState.ENDED


def test_a_process_that_slept_does_not_accuse() -> None:
    peer = Peer(PINGING)
    peer.at(250 * MS)
    peer.at(750 * MS + 100 * MS)
    assert peer.events() == []
    assert peer.connection.next_deadline() == 950 * MS
    peer.at(950 * MS)
    assert isinstance(peer.events()[-1], ev.Lost)


def test_the_targets_pings_are_answered() -> None:
    peer = Peer()
    peer.send(pdu.nop_in(LUN, NO_TAG, 0x77, peer.stat_sn, *peer.numbers(), 5), b"hello")
    [(answer_, data)] = peer.sent()
    assert (answer_.opcode, answer_.itt, answer_.word20, answer_.lun, data) == (0x40, NO_TAG, 0x77, LUN, b"hello")
    assert answer_.exp_stat_sn == peer.stat_sn, "its StatSN is not used up"
    peer.send(pdu.nop_in(bytes(8), NO_TAG, NO_TAG, peer.stat_sn, *peer.numbers()))
    assert peer.sent() == [], "no TTT: no ping"


def test_ping_data_are_cut_to_what_the_target_takes() -> None:
    peer = Peer(MaxRecvDataSegmentLength="512")
    peer.send(pdu.nop_in(LUN, NO_TAG, 1, peer.stat_sn, *peer.numbers(), 1000), bytes(1000))
    [(header, data)] = peer.sent()
    assert len(data) == header.data_length == 512


def test_a_flood_of_pings_is_bounded() -> None:
    peer = Peer()
    for _ in range(1000):
        if peer.connection.state is ConnectionState.ENDED:
            break
        peer.send(pdu.nop_in(LUN, NO_TAG, 1, peer.stat_sn, *peer.numbers()))
    assert isinstance(peer.event(), ev.Lost)


def test_an_answer_to_no_ping() -> None:
    peer = Peer()
    peer.send(pdu.nop_in(bytes(8), 1234, NO_TAG, peer.status(), *peer.numbers()))
    assert isinstance(peer.event(), ev.Lost)


# --- messages


def test_logout_requested_drains_and_logs_out() -> None:
    peer = Peer()
    task = peer.submit(no_data())
    peer.take()
    peer.send(pdu.async_message(1, bytes(8), peer.status(), *peer.numbers(), parameter3=3))
    assert peer.event() == ev.AsyncMessage(1, "the target asks for a logout")
    late = peer.submit(no_data())
    assert peer.sent() == [], "nothing new is started"
    peer.respond(task)
    assert task.outcome == Outcome.COMPLETED
    [(logout, _)] = peer.sent()
    assert (logout.opcode, logout.flags) == (0x46, 0x80)
    peer.send(pdu.logout_response(0, logout.itt, peer.status(), *peer.numbers()))
    assert peer.events() == [ev.Lost("the target asked for a logout")]
    assert late.outcome == Outcome.NOT_SENT


def test_logout_requested_and_tasks_that_do_not_end() -> None:
    peer = Peer()
    task = peer.submit(no_data())
    peer.take()
    peer.send(pdu.async_message(1, bytes(8), peer.status(), *peer.numbers(), parameter3=3))
    assert peer.connection.next_deadline() == 3 * S
    peer.at(3 * S)
    assert [h.opcode for h, _ in peer.sent()] == [0x46]
    peer.at(4 * S)
    assert isinstance(peer.events()[-1], ev.Lost)
    assert task.outcome == Outcome.IN_DOUBT


@pytest.mark.parametrize("event", [2, 3])
def test_the_target_drops_us(event: int) -> None:
    peer = Peer()
    task = peer.submit(no_data())
    peer.take()
    peer.send(pdu.async_message(event, bytes(8), peer.status(), *peer.numbers()))
    first, last = peer.events()
    assert isinstance(first, ev.AsyncMessage)
    assert isinstance(last, ev.Lost)
    assert task.outcome == Outcome.IN_DOUBT


def test_other_messages_are_reported() -> None:
    peer = Peer()
    segment = pdu.sense_segment(b"\x70\0\6")
    peer.send(pdu.async_message(0, LUN, peer.status(), *peer.numbers(), data_length=len(segment)), segment)
    peer.send(pdu.async_message(200, LUN, peer.status(), *peer.numbers()))
    assert peer.events() == [ev.AsyncMessage(0, "a SCSI asynchronous event", b"\x70\0\6"),
                             ev.AsyncMessage(200, "asynchronous event 200")]


def test_a_flood_of_messages_keeps_memory_bounded() -> None:
    peer = Peer()
    for _ in range(3000):
        peer.send(pdu.async_message(200, LUN, peer.status(), *peer.numbers()))
    peer.connection.receive_eof(0)
    events = peer.events()
    assert len(events) <= 1024
    assert isinstance(events[-1], ev.Lost)


def rejected(peer: Peer, reason: int, header: bytes) -> None:
    peer.send(pdu.reject(reason, peer.status(), *peer.numbers(), data_length=len(header)), header)


def test_a_rejected_command_ends_the_connection() -> None:
    peer = Peer()
    task = peer.submit(write(b"x"))
    header = b"".join(peer.connection.data_to_send())[:48]
    rejected(peer, 0x09, header)
    first, last = peer.events()
    assert first == ev.PduRejected(9, 1)
    assert isinstance(last, ev.Lost)
    assert task.outcome == Outcome.IN_DOUBT


def test_a_data_digest_reject_is_followed_by_the_status() -> None:
    peer = Peer()
    task = peer.submit(write(b"x"))
    header = b"".join(peer.connection.data_to_send())[:48]
    rejected(peer, 0x02, header)
    peer.respond(task, 2, sense=b"\x70\0\x0b")
    assert (task.outcome, task.status) == (Outcome.COMPLETED, 2)


def test_a_rejected_ping_still_proves_life() -> None:
    peer = Peer(PINGING)
    peer.at(250 * MS)
    header = b"".join(peer.connection.data_to_send())
    peer.now = 300 * MS
    rejected(peer, 0x06, header)
    peer.at(550 * MS)
    assert [h.opcode for h, _ in peer.sent()] == [0x40], "the next ping has a tag of its own"


def test_a_reject_without_a_header() -> None:
    peer = Peer()
    rejected(peer, 0x04, b"")
    assert peer.events()[0] == ev.PduRejected(4, None)
    assert peer.connection.state is ConnectionState.ENDED


# --- logout


def test_logout() -> None:
    peer = Peer()
    peer.connection.logout(0)
    [(header, _)] = peer.sent()
    assert (header.opcode, header.flags, header.cmd_sn) == (0x46, 0x80, 1)
    peer.send(pdu.nop_in(LUN, NO_TAG, 1, peer.stat_sn, *peer.numbers()))
    assert peer.sent() == [], "nothing may follow"
    peer.send(pdu.logout_response(0, header.itt, peer.status(), *peer.numbers()))
    assert peer.events() == [ev.LoggedOut()]
    peer.connection.receive_eof(0)
    assert peer.events() == []


def test_logout_with_tasks_under_way() -> None:
    peer = Peer(MaxRecvDataSegmentLength="512", InitialR2T="Yes")
    first, second = peer.submit(no_data()), peer.submit(write(bytes(1000)))
    peer.take()
    peer.connection.logout(0)
    [(header, _)] = peer.sent()
    peer.r2t(second, 512, 488)
    assert peer.sent() == []
    peer.respond(first)
    assert first.outcome == Outcome.COMPLETED
    peer.send(pdu.logout_response(0, header.itt, peer.status(), *peer.numbers()))
    assert second.outcome == Outcome.IN_DOUBT


def test_logout_that_fails_or_is_not_answered() -> None:
    peer = Peer()
    peer.connection.logout(0)
    [(header, _)] = peer.sent()
    peer.send(pdu.logout_response(1, header.itt, peer.status(), *peer.numbers()))
    assert peer.events() == [ev.Lost("logout was answered 1")]
    peer = Peer(SETTINGS.replace(logout_timeout=1.0))
    peer.connection.logout(0)
    assert peer.connection.next_deadline() == S
    peer.at(S)
    assert peer.events() == [ev.Lost("logout was not answered in time")]


# --- discovery


def discovery() -> Peer:
    return Peer(target=None)


def test_send_targets() -> None:
    peer = discovery()
    peer.connection.send_targets("All", 0)
    [(header, text)] = peer.sent()
    assert (header.opcode, header.flags, header.word20, text) == (0x44, 0x80, NO_TAG, b"SendTargets=All\0")
    reply = (b"TargetName=iqn.2024-01.example:a\0TargetAddress=192.0.2.1:3260,1\0TargetAddress=[2001:db8::1]:3261,2\0"
             b"TargetAddress=192.0.2.1:3260,1\0TargetAddress=[fe80::1%eth0]:3260,1\0TargetName=iqn.2024-01.example:b\0")
    peer.send(pdu.text_response(0x80, header.itt, NO_TAG, peer.status(), *peer.numbers(), len(reply)), reply)
    assert peer.events() == [ev.DiscoveryAnswered([
        ("iqn.2024-01.example:a", [(Portal("192.0.2.1"), 1), (Portal("2001:db8::1", 3261), 2)]),
        ("iqn.2024-01.example:b", []),
    ])]


def test_send_targets_in_pieces() -> None:
    peer = discovery()
    peer.connection.send_targets("All", 0)
    [(header, _)] = peer.sent()
    reply = b"TargetName=iqn.2024-01.example:a\0TargetAddress=192.0.2.1:3260,1\0"
    for start in range(0, len(reply), 10):
        part = reply[start : start + 10]
        final = start + 10 >= len(reply)
        flags, ttt = (0x80, NO_TAG) if final else (0x40, 5)
        peer.send(pdu.text_response(flags, header.itt, ttt, peer.status(), *peer.numbers(), len(part)), part)
        if not final:
            [(more, text)] = peer.sent()
            assert (more.itt, more.word20, text, more.opcode) == (header.itt, 5, b"", 0x44)
    assert peer.events() == [ev.DiscoveryAnswered([("iqn.2024-01.example:a", [(Portal("192.0.2.1"), 1)])])]


@pytest.mark.parametrize(
    "reply",
    [b"TargetAddress=192.0.2.1,1\0", b"TargetName=bad name\0", b"SendTargets=Reject\0", b"nonsense\0", b"\xff=\0"],
)
def test_wrong_answers_to_send_targets(reply: bytes) -> None:
    peer = discovery()
    peer.connection.send_targets("All", 0)
    [(header, _)] = peer.sent()
    peer.send(pdu.text_response(0x80, header.itt, NO_TAG, peer.status(), *peer.numbers(), len(reply)), reply)
    assert isinstance(peer.event(), ev.Lost)


@pytest.mark.parametrize("segment", [b"", b"x" * 8000])
def test_an_answer_that_never_ends_is_bounded(segment: bytes) -> None:
    peer = discovery()
    peer.connection.send_targets("All", 0)
    [(header, _)] = peer.sent()
    for _ in range(2000):
        if peer.connection.state is ConnectionState.ENDED:
            break
        peer.send(pdu.text_response(0x40, header.itt, 5, peer.status(), *peer.numbers(), len(segment)), segment)
        peer.sent()
    assert isinstance(peer.event(), ev.Lost)


def test_send_targets_times_out() -> None:
    peer = discovery()
    peer.connection.send_targets("All", 0)
    with pytest.raises(LocalProtocolError):
        peer.connection.send_targets("All", 0)
    deadline = peer.connection.next_deadline()
    assert deadline is not None
    peer.at(deadline)
    assert peer.events() == [ev.Lost("SendTargets was not answered in time")]


# --- waking the shell


def test_wake() -> None:
    peer = Peer()
    calls: list[int] = []
    peer.connection.wake = lambda: calls.append(1)
    peer.submit(no_data())
    peer.submit(no_data())
    assert len(calls) == 1
    peer.sent()
    peer.send(pdu.nop_in(LUN, NO_TAG, 1, peer.stat_sn, *peer.numbers()))
    assert len(calls) == 2
    assert peer.connection.wake is not None


def test_timers_early_late_and_twice_are_fine() -> None:
    peer = Peer(PINGING)
    done = Done()
    peer.submit(read(512, done, timeout_ns=S))
    for now in (0, 1, 1, 100, 250 * MS, 250 * MS, 251 * MS):
        peer.at(now)
    assert peer.connection.state is ConnectionState.FULL_FEATURE
    peer.at(10**18)
    peer.at(10**18)
    assert done.tasks == []
    deadline = peer.connection.next_deadline()
    assert deadline is not None
    assert deadline > 10**18
