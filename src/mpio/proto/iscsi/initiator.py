"""The initiator's end of one connection, which is also one session (RFC 7143; MaxConnections 1, ErrorRecoveryLevel 0).

Owns: login, the command window, data transfer both ways, the outcome of every task, keepalive, task timeouts, logout.
Knows no socket and no clock: bytes and instants come in, bytes, events and `on_done` calls go out.

The path of a single I/O, `submit` to `on_done`, is written for speed: no object is made for it but its header, and
nothing is looked up but its tag. What has to be remembered for a few tasks only is kept beside them.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum

from mpio.errors import LocalProtocolError, LoginRejected, RemoteProtocolError
from mpio.model.task import Buffer, Outcome, Task
from mpio.proto.iscsi import initiator_events as events
from mpio.proto.iscsi.discovery import PAIRS_MAX, parse_targets
from mpio.proto.iscsi.keepalive import Keepalive, Verdict
from mpio.proto.iscsi.login import InitiatorLogin, LoginParams
from mpio.proto.iscsi.negotiation import SessionParams
from mpio.proto.iscsi.pdu import (
    ATTRIBUTE_SIMPLE,
    BHS_BYTES,
    DATA_IN_STATUS,
    FINAL,
    LENGTH_MASK,
    NO_LUN,
    NO_TAG,
    OPCODE_MASK,
    OVERFLOW,
    READ,
    REQUEST,
    RESPONSE,
    SERIAL_HALF,
    SERIAL_MASK,
    UNDERFLOW,
    WRITE,
    AsyncEvent,
    Fields,
    LogoutReason,
    Opcode,
    RejectReason,
    ResponseHeader,
    TaskFunction,
    TaskResponse,
    data_out,
    login_request,
    logout_request,
    nop_out,
    parse_request,
    sense_of,
    serial_before,
    text_request,
)
from mpio.proto.iscsi.stream import PduReceiver, PduSender
from mpio.proto.iscsi.task_management import TaskManagement
from mpio.proto.iscsi.text import TextAssembler, decode_text, encode_text
from mpio.table import Transitions
from mpio.units import NS_PER_S, format_duration, seconds

_EVENTS_MAX = 1024  # unread ones; the oldest leave, so that a peer's messages can't fill the memory
_PING_ANSWERS_MAX = 64  # answers to the target's pings that wait for being sent
_TEXT_ROUNDS_MAX = 1024  # empty text responses would otherwise never end
_NEVER = 1 << 63
CDB_MAX = 16
LUN_BYTES = 8


class ConnectionState(Enum):
    """Where the connection is in its life."""

    IDLE = "idle"
    LOGIN = "login"
    FULL_FEATURE = "full feature phase"
    LOGOUT = "logout"
    """The Logout Request is queued or sent: nothing may follow it."""
    ENDED = "ended"


class ConnectionInput(Enum):
    """What moves it on."""

    START = "start"
    LOGGED_IN = "logged in"
    LOGOUT = "logout"
    END = "end"


_S, _I = ConnectionState, ConnectionInput
CONNECTION = Transitions(
    "initiator connection",
    _S,
    _I,
    {
        _S.IDLE: {_I.START: _S.LOGIN, _I.LOGGED_IN: None, _I.LOGOUT: None, _I.END: _S.ENDED},
        _S.LOGIN: {_I.START: None, _I.LOGGED_IN: _S.FULL_FEATURE, _I.LOGOUT: None, _I.END: _S.ENDED},
        _S.FULL_FEATURE: {_I.START: None, _I.LOGGED_IN: None, _I.LOGOUT: _S.LOGOUT, _I.END: _S.ENDED},
        _S.LOGOUT: {_I.START: None, _I.LOGGED_IN: None, _I.LOGOUT: None, _I.END: _S.ENDED},
        _S.ENDED: {_I.START: None, _I.LOGGED_IN: None, _I.LOGOUT: None, _I.END: _S.ENDED},
    },
)

# Looked up once: the members of an enum are slow to get at.
_FULL_FEATURE = ConnectionState.FULL_FEATURE
_ENDED = ConnectionState.ENDED
_DATA_IN = int(Opcode.SCSI_DATA_IN)
_SCSI_RESPONSE = int(Opcode.SCSI_RESPONSE)
_SCSI_COMMAND = int(Opcode.SCSI_COMMAND)
_pack_request = REQUEST.pack
_COMPLETED = Outcome.COMPLETED
_LAST_DATA_IN = FINAL | DATA_IN_STATUS
_RESIDUAL = OVERFLOW | UNDERFLOW


class InitiatorConnection:
    """One connection of the initiator.

    Attributes:
        state: where it is in its life.
        tasks: commands that were given a tag, by ITT, in the order of submission.
        cmd_sn: CmdSN of the next command.
        exp_stat_sn: StatSN that is expected next.
        end_cause: why the connection ended.
    """

    def __init__(self, params: LoginParams) -> None:
        settings = params.settings
        self.state = ConnectionState.IDLE
        self.tasks: dict[int, Task] = {}
        self.cmd_sn = params.initial_cmd_sn & SERIAL_MASK
        self.exp_stat_sn = 0
        self.end_cause = ""
        self._params = params
        self._login: InitiatorLogin | None = None
        self._negotiated: SessionParams | None = None
        self._receiver = PduReceiver(RESPONSE, self._on_pdu, self._landing, self._on_landed, _data_digest_error)
        self._sender = PduSender()
        self._put = self._sender.put
        self._events: deque[events.ConnectionEvent] = deque(maxlen=_EVENTS_MAX)
        self._now = 0
        # Commands: what waits for the window, what the window is, how far data_to_send has handed them out.
        self._waiting: deque[Task] = deque()
        self._max_cmd_sn = 0
        self._handed_out_cmd_sn = self.cmd_sn
        self._cmds_max = settings.cmds_max
        self._next_itt = 1
        self._other_tags: set[int] = set()  # ITTs in use by anything but a task
        self._draining = False  # the target asked for a logout: no new commands
        # Data transfer: limits, and the DataSN or R2TSN that is expected next, where it is not 0.
        self._data_sn: dict[int, int] = {}
        self._immediate_max = 0
        self._first_burst = 0
        self._segment_max = 0
        # Everything that has a time limit.
        self._keepalive = Keepalive(seconds(settings.noop_out_interval), seconds(settings.noop_out_timeout))
        self._management = TaskManagement(self, settings)
        self._tasks_deadline = _NEVER  # no task's deadline is earlier
        self._phase_deadline = _NEVER  # of login, logout, or the drain before it
        self._text_deadline = _NEVER
        self._login_itt = 0
        self._ping_itt: int | None = None
        self._ping_answers = 0
        self._logout_itt: int | None = None
        self._text_itt: int | None = None
        self._text = TextAssembler()
        self._text_rounds = 0

    # --- what the shell uses

    @property
    def wake(self) -> Callable[[], None] | None:
        """Called when there is output after there was none."""
        return self._sender.wake

    @wake.setter
    def wake(self, wake: Callable[[], None] | None) -> None:
        self._sender.wake = wake

    @property
    def negotiated(self) -> SessionParams:
        """What the login agreed on. Raises LocalProtocolError before it ended."""
        if self._negotiated is None:
            raise LocalProtocolError("not logged in yet")
        return self._negotiated

    @property
    def in_flight(self) -> int:
        """Tasks that were submitted and have not ended."""
        return len(self.tasks) + len(self._waiting)

    def next_event(self) -> events.ConnectionEvent | None:
        """The next thing that happened, or None."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> list[Buffer]:
        """Everything that is ready to be sent, once. What is returned counts as sent."""
        self._handed_out_cmd_sn = self.cmd_sn
        self._ping_answers = 0
        return self._sender.drain()

    def receive_buffer(self) -> memoryview:
        """Where the next bytes are to be read into; not to be kept after the connection ended."""
        return self._receiver.receive_buffer()

    def receive_done(self, count: int, now: int) -> None:
        """`count` bytes were put at the start of the receive buffer. Ends tasks, and maybe the connection."""
        self._now = now
        self._keepalive.received(now)
        try:
            self._receiver.receive_done(count)
        except RemoteProtocolError as error:
            self.lose(str(error))
        if self._waiting:
            self._send_waiting()
        if self._draining and not self.tasks:
            self._begin_logout(now)

    def receive(self, data: Buffer, now: int) -> None:
        """Take bytes that are already in memory."""
        view = memoryview(data)
        while view and self.state is not _ENDED:
            room = self.receive_buffer()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            view = view[count:]
            self.receive_done(count, now)

    def receive_eof(self, now: int, cause: str = "closed by the peer") -> None:
        """The TCP connection ended."""
        self._now = now
        self.lose(cause)

    def close(self, now: int, cause: str = "closed") -> None:
        """End the connection from this side, without a word to the target. No event follows."""
        self._now = now
        self._end(None, cause)

    # --- login and logout

    def start(self, now: int) -> None:
        """TCP is connected: begin to log in."""
        self.state = CONNECTION.next(self.state, ConnectionInput.START)
        self._now = now
        self._login = InitiatorLogin(self._params)
        self._login_itt = self.new_tag()
        self._phase_deadline = now + seconds(self._params.settings.login_timeout)
        self._send_login(self._login)

    def _send_login(self, login: InitiatorLogin) -> None:
        step = login.request()
        self._sender.put_data(login_request(step.flags, self._params.isid, 0, self._login_itt, 0, self.cmd_sn,
                                            self.exp_stat_sn, len(step.text)), step.text)

    def _on_login_response(self, h: ResponseHeader, data: bytes) -> None:
        login = self._login
        if login is None or h.opcode != Opcode.LOGIN_RESPONSE:
            raise RemoteProtocolError(f"PDU {h.opcode:#04x} during login", clause="RFC 7143 §6.3.1")
        status = h.word36 >> 16
        if status == 0:
            if h.itt != self._login_itt:
                raise RemoteProtocolError(f"login response with the tag {h.itt:#010x}", clause="RFC 7143 §11.13")
            if h.byte3 != 0:
                raise RemoteProtocolError(f"protocol version {h.byte3}", clause="RFC 7143 §11.13.2")
            self.exp_stat_sn = h.stat_sn + 1 & SERIAL_MASK
        try:
            login.receive(h.flags, int.from_bytes(h.lun[6:8], "big"), status, data)
        except LoginRejected as error:
            self._end(events.LoginFailed(error.status, str(error), login.retry_with_md5), str(error))
            return
        if login.redirect is not None:
            self._end(events.Redirected(login.redirect.portal, login.redirect.permanent), "redirected")
        elif login.done:
            self._logged_in(login.result, h)
        else:
            self._send_login(login)

    def _logged_in(self, params: SessionParams, h: ResponseHeader) -> None:
        """The full feature phase begins right after the PDU with this header."""
        self.state = CONNECTION.next(self.state, ConnectionInput.LOGGED_IN)
        self._login = None
        self._negotiated = params
        self._receiver.data_limit = params.initiator_max_recv_data_segment_length
        self._receiver.header_digest = self._sender.header_digest = params.header_digest
        self._receiver.data_digest = self._sender.data_digest = params.data_digest
        self._immediate_max = params.immediate_length_max
        self._first_burst = 0 if params.initial_r2t else params.first_burst_length
        self._segment_max = params.target_max_recv_data_segment_length
        self._max_cmd_sn = self.cmd_sn - 1 & SERIAL_MASK
        self._update_window(h.exp_cmd_sn, h.max_cmd_sn)
        self._phase_deadline = _NEVER
        self._keepalive.received(self._now)
        self.report(events.LoginCompleted(params))

    def logout(self, now: int) -> None:
        """Ask the target to close the session. Tasks that are outstanding then end with it: let them end before."""
        self._now = now
        self._send_logout(now)

    def _send_logout(self, now: int) -> None:
        self.state = CONNECTION.next(self.state, ConnectionInput.LOGOUT)
        self._logout_itt = self.new_tag()
        self._phase_deadline = now + seconds(self._params.settings.logout_timeout)
        self._put(logout_request(LogoutReason.CLOSE_SESSION, self._logout_itt, 0, self.cmd_sn, self.exp_stat_sn))

    def _begin_logout(self, now: int) -> None:
        """The target asked for it, and the tasks have ended or their time is over."""
        if self.state is _FULL_FEATURE:
            self._send_logout(now)

    def _on_logout_response(self, h: ResponseHeader) -> None:
        if h.itt != self._logout_itt:
            raise RemoteProtocolError(f"logout response with the tag {h.itt:#010x}", clause="RFC 7143 §11.15")
        if self._draining:
            self.lose("the target asked for a logout")
        elif h.byte2:
            self.lose(f"logout was answered {h.byte2}")
        else:
            self._end(events.LoggedOut(), "logged out")

    # --- the end

    def lose(self, cause: str) -> None:
        """End the connection, and say why."""
        self._end(events.Lost(cause), cause)

    def _end(self, last_word: events.ConnectionEvent | None, cause: str) -> None:
        if self.state is _ENDED:
            return
        self.state = CONNECTION.next(self.state, ConnectionInput.END)
        self.end_cause = cause
        if last_word is not None:
            self._events.append(last_word)
        # From here on nothing is sent, and nothing is written into any task's buffer.
        self._receiver.stop()
        self._sender.clear()
        tasks, self.tasks = self.tasks, {}
        waiting, self._waiting = self._waiting, deque()
        self._data_sn.clear()
        for task in tasks.values():
            task.sent = serial_before(task.cmd_sn, self._handed_out_cmd_sn)
            task.outcome = Outcome.IN_DOUBT if task.sent else Outcome.NOT_SENT
        for task in waiting:
            task.outcome = Outcome.NOT_SENT
        for task in (*tasks.values(), *waiting):
            task.on_done(task)
        self._management.ended()

    def report(self, event: events.ConnectionEvent) -> None:
        """Queue an event; there are none after the last word."""
        if self.state is not _ENDED:
            self._events.append(event)

    # --- commands

    def submit(self, task: Task, now: int) -> None:
        """Send a command, or queue it while the command window is shut.

        Raises LocalProtocolError outside of the full feature phase, and for a command that can't be expressed.
        """
        if self.state is not _FULL_FEATURE:
            raise LocalProtocolError(f"a task was submitted in state {self.state.value!r}")
        if len(task.cdb) > CDB_MAX or len(task.lun) != LUN_BYTES:
            raise LocalProtocolError(f"a CDB of {len(task.cdb)} bytes or a LUN of {len(task.lun)}")
        if task.data_out is not None and task.read_buffer is not None:
            raise LocalProtocolError("bidirectional commands are not supported")
        if task.timeout_ns:
            deadline = task.deadline_ns = now + task.timeout_ns
            if deadline < self._tasks_deadline:
                self._tasks_deadline = deadline
        else:
            task.deadline_ns = 0
        if self._waiting or self._draining or not self._window_open():
            self._waiting.append(task)
        else:
            self._send_command(task)

    def _window_open(self) -> bool:
        return self._max_cmd_sn - self.cmd_sn & SERIAL_MASK < SERIAL_HALF and len(self.tasks) < self._cmds_max

    def _send_waiting(self) -> None:
        waiting = self._waiting
        while waiting and self.state is _FULL_FEATURE and not self._draining and self._window_open():
            self._send_command(waiting.popleft())

    def _send_command(self, task: Task) -> None:
        tasks, itt, cmd_sn = self.tasks, self._next_itt, self.cmd_sn
        while itt in tasks or itt in self._other_tags or itt == NO_TAG:
            itt = itt + 1 & SERIAL_MASK
        self._next_itt = itt + 1 & SERIAL_MASK
        self.cmd_sn = cmd_sn + 1 & SERIAL_MASK
        tasks[itt] = task
        task.itt = itt
        task.cmd_sn = cmd_sn
        task.received = 0
        if task.data_out is not None:
            self._send_write(task, task.data_out)
            return
        buffer = task.read_buffer
        if buffer is None:
            flags, length = FINAL | ATTRIBUTE_SIMPLE, 0
        else:
            flags, length = FINAL | READ | ATTRIBUTE_SIMPLE, len(buffer)
        self._put(_pack_request(_SCSI_COMMAND, flags, 0, 0, 0, task.lun, itt, length, cmd_sn, self.exp_stat_sn,
                                task.cdb))

    def new_tag(self) -> int:
        """An ITT for anything but a task; to be given back by `release_tag`. Never one in use, never NO_TAG."""
        itt = self._next_itt
        while itt in self.tasks or itt in self._other_tags or itt == NO_TAG:
            itt = itt + 1 & SERIAL_MASK
        self._next_itt = itt + 1 & SERIAL_MASK
        self._other_tags.add(itt)
        return itt

    def release_tag(self, itt: int) -> None:
        """What the ITT was for is answered."""
        self._other_tags.discard(itt)

    def send(self, header: bytes) -> None:
        """Queue a PDU without data."""
        self._put(header)

    # --- data out (§11.3.4, §11.7, §11.8)

    def _send_write(self, task: Task, data: Buffer) -> None:
        """The command with what data may go before the target asks: immediate, then unsolicited up to FirstBurstLength.

        `task.received` counts the bytes that were handed over, as it counts those that came in for a read.
        """
        total = len(data)
        immediate = min(total, self._immediate_max)
        unsolicited = max(immediate, min(total, self._first_burst))
        flags = WRITE | ATTRIBUTE_SIMPLE if unsolicited > immediate else FINAL | WRITE | ATTRIBUTE_SIMPLE
        header = _pack_request(_SCSI_COMMAND, flags, 0, 0, immediate, task.lun, task.itt, total, task.cmd_sn,
                               self.exp_stat_sn, task.cdb)
        if immediate == total:
            self._sender.put_data(header, data)
        else:
            self._sender.put_data(header, memoryview(data)[:immediate])
            self._send_data_out(task, data, immediate, unsolicited, NO_TAG)
        task.received = unsolicited

    def _send_data_out(self, task: Task, data: Buffer, start: int, end: int, ttt: int) -> None:
        """One sequence of Data-Out PDUs; DataSN begins at 0 in each."""
        view, segment_max = memoryview(data), self._segment_max
        lun = NO_LUN if ttt == NO_TAG else task.lun
        data_sn = 0
        while start < end:
            stop = min(start + segment_max, end)
            header = data_out(stop == end, lun, task.itt, ttt, self.exp_stat_sn, data_sn, start, stop - start)
            self._sender.put_data(header, view[start:stop])
            start = stop
            data_sn += 1

    def _on_r2t(self, h: ResponseHeader) -> None:
        task = self.tasks.get(h.itt)
        if task is None or task.data_out is None:
            raise RemoteProtocolError(f"R2T for the tag {h.itt:#010x}, which is no write", clause="RFC 7143 §11.8")
        start, length = h.word40, h.word44
        if h.word36 != self._data_sn.get(h.itt, 0):
            raise RemoteProtocolError(f"R2TSN {h.word36}, not {self._data_sn.get(h.itt, 0)}", clause="RFC 7143 §11.8.1")
        if start != task.received or not 0 < length <= self.negotiated.max_burst_length:
            raise RemoteProtocolError(f"R2T for {length} bytes at {start} after {task.received}",
                                      clause="RFC 7143 §11.8.2")
        if start + length > len(task.data_out):
            raise RemoteProtocolError(f"R2T for {length} bytes at {start} of {len(task.data_out)}",
                                      clause="RFC 7143 §11.8.2")
        if h.word20 == NO_TAG:
            raise RemoteProtocolError("R2T without a target transfer tag", clause="RFC 7143 §11.8.4")
        self._data_sn[h.itt] = h.word36 + 1
        if self.state is _FULL_FEATURE:  # after a Logout Request nothing may be sent
            self._send_data_out(task, task.data_out, start, start + length, h.word20)
            task.received = start + length

    # --- receiving

    def _on_pdu(self, header: Fields, data: memoryview | None) -> None:
        """Take a PDU. `data` is None if the data segment of a Data-In has landed in the task's buffer already."""
        (opcode, flags, _, status, lengths, _, itt, _, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn, offset,
         residual) = header
        if max_cmd_sn != self._max_cmd_sn and self.state is not ConnectionState.LOGIN:
            self._update_window(exp_cmd_sn, max_cmd_sn)
        if opcode != _DATA_IN:
            if opcode == _SCSI_RESPONSE:
                self._on_scsi_response(header, data)
            else:
                self._on_other(ResponseHeader._make(header), data)
            return
        task = self.tasks.get(itt)
        buffer = None if task is None else task.read_buffer
        if task is None or buffer is None:
            raise RemoteProtocolError(f"Data-In for the tag {itt:#010x}, which is no read", clause="RFC 7143 §11.7")
        end = offset + (lengths & LENGTH_MASK)
        if offset != task.received or end > len(buffer) or offset or data_sn or flags & _LAST_DATA_IN != _LAST_DATA_IN:
            self._check_data_in(task, buffer, data_sn, offset, end)
            if not flags & DATA_IN_STATUS:
                self._data_sn[itt] = data_sn + 1
        if data is not None:
            buffer[offset:end] = data
        task.received = end
        if flags & DATA_IN_STATUS:
            if stat_sn != self.exp_stat_sn:
                self._wrong_stat_sn(stat_sn)
            self.exp_stat_sn = stat_sn + 1 & SERIAL_MASK
            if status or flags & _RESIDUAL or end != len(buffer):
                self._set_result(task, flags, status, residual)
            self.end_task(task, _COMPLETED)

    def _landing(self, header: Fields) -> memoryview | None:
        """Where the data segment of a PDU that has begun to arrive may go: a Data-In right into the task's buffer."""
        if header[0] != _DATA_IN:
            return None
        h = ResponseHeader._make(header)
        task = self.tasks.get(h.itt)
        buffer = None if task is None else task.read_buffer
        if task is None or buffer is None:
            raise RemoteProtocolError(f"Data-In for the tag {h.itt:#010x}, which is no read", clause="RFC 7143 §11.7")
        self._check_data_in(task, buffer, h.word36, h.word40, h.word40 + h.data_length)
        return buffer[h.word40 : h.word40 + h.data_length]

    def _on_landed(self, header: Fields) -> None:
        self._on_pdu(header, None)

    def _check_data_in(self, task: Task, buffer: memoryview, data_sn: int, offset: int, end: int) -> None:
        """Data come in order and without gaps: DataPDUInOrder and DataSequenceInOrder are Yes."""
        expected = self._data_sn.get(task.itt, 0)
        if data_sn != expected:
            raise RemoteProtocolError(f"DataSN {data_sn}, not {expected}", clause="RFC 7143 §11.7.5")
        if offset != task.received or end > len(buffer):
            raise RemoteProtocolError(f"Data-In of bytes {offset} to {end} after {task.received} of {len(buffer)}",
                                      clause="RFC 7143 §11.7.6")

    def _on_scsi_response(self, header: Fields, data: memoryview | None) -> None:
        h = ResponseHeader._make(header)
        task = self.tasks.get(h.itt)
        if task is None:
            raise RemoteProtocolError(f"SCSI Response for the unknown tag {h.itt:#010x}", clause="RFC 7143 §11.4")
        self._take_stat_sn(h.stat_sn)
        if h.byte2:
            # The target failed to carry it out and does not say how far it got. Only the end of the nexus makes sure
            # that nothing of it is still to come.
            raise RemoteProtocolError(f"the target failed a command (response {h.byte2:#04x})",
                                      clause="RFC 7143 §11.4.3")
        sense = sense_of(data) if data is not None and h.byte3 else b""  # means nothing under GOOD
        self._set_result(task, h.flags, h.byte3, h.word44)
        task.sense = sense
        self.end_task(task, _COMPLETED)

    def _set_result(self, task: Task, flags: int, status: int, residual: int) -> None:
        """Set status and residual, and make sure that a success is one: every byte that is not residual has moved."""
        task.status = status
        expected = len(task.read_buffer or task.data_out or b"")
        if flags & UNDERFLOW:
            if residual > expected or flags & OVERFLOW:
                raise RemoteProtocolError(f"underflow by {residual} of {expected} bytes", clause="RFC 7143 §11.4.5")
            task.residual = residual
            expected -= residual
        elif flags & OVERFLOW:
            task.residual = -residual
        if status == 0 and task.received < expected:
            raise RemoteProtocolError(f"GOOD after {task.received} of {expected} bytes", clause="RFC 7143 §11.4.5")

    def end_task(self, task: Task, outcome: Outcome) -> None:
        """Take the task out and tell its owner."""
        itt = task.itt
        del self.tasks[itt]
        if self._data_sn:
            self._data_sn.pop(itt, None)
        self._management.forget(itt)
        task.outcome = outcome
        task.sent = True
        task.on_done(task)

    def _take_stat_sn(self, stat_sn: int) -> None:
        if stat_sn != self.exp_stat_sn:
            self._wrong_stat_sn(stat_sn)
        self.exp_stat_sn = stat_sn + 1 & SERIAL_MASK

    def _wrong_stat_sn(self, stat_sn: int) -> None:
        raise RemoteProtocolError(f"StatSN {stat_sn:#x}, not {self.exp_stat_sn:#x}: a status is missing",
                                  clause="RFC 7143 §4.2.2.2")

    def _update_window(self, exp_cmd_sn: int, max_cmd_sn: int) -> None:
        """Open the command window further, if that is what the two say (§4.2.2.1)."""
        if max_cmd_sn - exp_cmd_sn + 1 & SERIAL_MASK < SERIAL_HALF and serial_before(self._max_cmd_sn, max_cmd_sn):
            self._max_cmd_sn = max_cmd_sn

    # --- receiving what is not I/O

    def _on_other(self, h: ResponseHeader, data: memoryview | None) -> None:
        segment = b"" if data is None else bytes(data)
        if self.state is ConnectionState.LOGIN:
            self._on_login_response(h, segment)
            return
        match h.opcode & OPCODE_MASK:
            case Opcode.R2T:
                self._on_r2t(h)
            case Opcode.NOP_IN:
                self._on_nop_in(h, segment)
            case Opcode.TASK_MANAGEMENT_RESPONSE:
                self._take_stat_sn(h.stat_sn)
                self._management.answered(h.itt, h.byte2, self._now)
            case Opcode.TEXT_RESPONSE:
                self._take_stat_sn(h.stat_sn)
                self._on_text_response(h, segment)
            case Opcode.LOGOUT_RESPONSE:
                self._take_stat_sn(h.stat_sn)
                self._on_logout_response(h)
            case Opcode.ASYNC_MESSAGE:
                self._take_stat_sn(h.stat_sn)
                self._on_async(h, segment)
            case Opcode.REJECT:
                self._take_stat_sn(h.stat_sn)
                self._on_reject(h.byte2, segment)
            case _:
                raise RemoteProtocolError(f"PDU {h.opcode:#04x} in the full feature phase", clause="RFC 7143 §11.2.1.2")

    def _on_nop_in(self, h: ResponseHeader, data: bytes) -> None:
        if h.itt != NO_TAG:
            if h.itt != self._ping_itt:
                raise RemoteProtocolError(f"NOP-In with the unknown tag {h.itt:#010x}", clause="RFC 7143 §11.19")
            self._take_stat_sn(h.stat_sn)
            self._ping_answered()
        elif h.word20 != NO_TAG and self.state is _FULL_FEATURE:
            self._ping_answers += 1
            if self._ping_answers > _PING_ANSWERS_MAX:
                raise RemoteProtocolError("pings come faster than their answers can be sent", clause="RFC 7143 §11.19")
            data = data[: self._segment_max]
            self._sender.put_data(nop_out(NO_TAG, h.word20, h.lun, self.cmd_sn, self.exp_stat_sn, len(data)), data)

    def _ping_answered(self) -> None:
        if self._ping_itt is not None:
            self.release_tag(self._ping_itt)
            self._ping_itt = None

    def _on_async(self, h: ResponseHeader, data: bytes) -> None:
        event, parameter3 = h.word36 >> 24, h.word40 & 0xFFFF
        text = ASYNC_TEXT.get(event, f"asynchronous event {event}")
        self.report(events.AsyncMessage(event, text, sense_of(data) if event == AsyncEvent.SCSI else b""))
        if event in (AsyncEvent.CONNECTION_DROPPED, AsyncEvent.SESSION_DROPPED):
            self.lose(text)
        elif event == AsyncEvent.LOGOUT_REQUESTED and self.state is _FULL_FEATURE and not self._draining:
            # Let what is under way end, send nothing new, and log out when it has ended or time is up.
            self._draining = True
            self._phase_deadline = self._now + parameter3 * NS_PER_S

    def _on_reject(self, reason: int, header: bytes) -> None:
        """A Reject names its PDU only by the copy of its header (§11.17)."""
        if len(header) < BHS_BYTES:
            self.report(events.PduRejected(reason, None))
            raise RemoteProtocolError(f"a PDU was rejected ({_reason_text(reason)})")
        rejected = parse_request(header)
        opcode = rejected.opcode & OPCODE_MASK
        self.report(events.PduRejected(reason, opcode))
        if opcode == Opcode.NOP_OUT:
            if rejected.itt == self._ping_itt:
                self._ping_answered()
        elif opcode == Opcode.TASK_MANAGEMENT_REQUEST and self._management.owns(rejected.itt):
            self._management.answered(rejected.itt, TaskResponse.REJECTED, self._now)
        elif opcode in (Opcode.SCSI_COMMAND, Opcode.SCSI_DATA_OUT):
            # After a data digest error the task is answered all the same (§7.8). Else nobody will, nor is it known
            # whether it was carried out: end the nexus, which is faster than its timeout.
            if rejected.itt in self.tasks and reason != RejectReason.DATA_DIGEST_ERROR:
                raise RemoteProtocolError(f"a command was rejected ({_reason_text(reason)})")
        else:
            raise RemoteProtocolError(f"PDU {opcode:#04x} was rejected ({_reason_text(reason)})")

    # --- discovery

    def send_targets(self, text: str, now: int) -> None:
        """Ask for targets and portals: `All`, a target name, or empty for the one that we are logged in to."""
        if self.state is not _FULL_FEATURE or self._text_itt is not None:
            raise LocalProtocolError("SendTargets needs the full feature phase, and one has to end before the next")
        self._text_itt = self.new_tag()
        self._text, self._text_rounds = TextAssembler(), 0
        self._text_deadline = now + seconds(self._params.settings.login_timeout)
        self._send_text(encode_text([("SendTargets", text)]), NO_TAG)

    def _send_text(self, text: bytes, ttt: int) -> None:
        assert self._text_itt is not None
        self._sender.put_data(text_request(FINAL, self._text_itt, ttt, self.cmd_sn, self.exp_stat_sn, len(text)), text)

    def _on_text_response(self, h: ResponseHeader, segment: bytes) -> None:
        if self._text_itt is None or h.itt != self._text_itt:
            raise RemoteProtocolError(f"text response with the tag {h.itt:#010x}", clause="RFC 7143 §11.11")
        self._text_rounds += 1
        final = bool(h.flags & FINAL)
        text = self._text.add(segment, more=not final)
        if text is None:
            if h.word20 == NO_TAG or self._text_rounds > _TEXT_ROUNDS_MAX:
                raise RemoteProtocolError("a text response that goes on has no target transfer tag, or never ends",
                                          clause="RFC 7143 §11.11.1")
            if self.state is _FULL_FEATURE:
                self._send_text(b"", h.word20)
            return
        targets = parse_targets(decode_text(text, PAIRS_MAX))
        self.release_tag(self._text_itt)
        self._text_itt = None
        self._text_deadline = _NEVER
        self.report(events.DiscoveryAnswered(targets))

    # --- task management

    def manage(self, function: TaskFunction, lun: bytes, on_done: Callable[[int | None], None], now: int,
               task: Task | None = None) -> None:
        """Send a task management request; `task` is the one to be aborted.

        `on_done` gets the TaskResponse, or None if the connection ended before it. Tasks that the function ended were
        told so before, with Outcome.ABORTED.
        """
        if self.state is not _FULL_FEATURE:
            raise LocalProtocolError(f"task management in state {self.state.value!r}")
        self._now = now
        if task is not None and self.tasks.get(task.itt) is not task:
            if task not in self._waiting:
                raise LocalProtocolError("the task to be aborted is not outstanding")
            self._waiting.remove(task)
            self._end_unsent(task)
            on_done(TaskResponse.FUNCTION_COMPLETE)
            return
        self._management.request(function, lun, task, on_done, now)

    def watch(self, deadline_ns: int) -> None:
        """A task has this deadline from now on."""
        self._tasks_deadline = min(self._tasks_deadline, deadline_ns)

    def _end_unsent(self, task: Task) -> None:
        """End a task that had to wait all the time."""
        task.outcome = Outcome.NOT_SENT
        task.sent = False
        task.on_done(task)

    # --- time

    def next_deadline(self) -> int | None:
        """When to call `handle_timer`."""
        deadline = min(self._phase_deadline, self._text_deadline)
        if self.state is _FULL_FEATURE:
            for other in (self._tasks_deadline, self._keepalive.next_deadline(), self._management.next_deadline()):
                if other is not None and other < deadline:
                    deadline = other
        return None if deadline == _NEVER or self.state is _ENDED else deadline

    def handle_timer(self, now: int) -> None:
        """Do what is due. Early, late and repeated calls are fine."""
        self._now = now
        if now >= self._phase_deadline or now >= self._text_deadline:
            self._phase_over(now)
        if self.state is not _FULL_FEATURE:
            return
        verdict = self._keepalive.check(now)
        if verdict is Verdict.PING:
            self._ping()
        elif verdict is Verdict.DEAD:
            silent_ns = now - self._keepalive.last_receive_ns
            self.report(events.PingTimedOut(silent_ns))
            self.lose(f"nothing received for {format_duration(silent_ns)} in spite of a ping")
            return
        self._management.handle_timer(now)
        if now >= self._tasks_deadline:
            self._expire_tasks(now)

    def _phase_over(self, now: int) -> None:
        """Login, logout or discovery takes too long, or the time to drain is over."""
        if self.state is ConnectionState.LOGIN:
            self.lose("login was not answered in time")
        elif self.state is ConnectionState.LOGOUT:
            self.lose("the target asked for a logout and did not answer it" if self._draining
                      else "logout was not answered in time")
        elif now >= self._text_deadline:
            self.lose("SendTargets was not answered in time")
        else:
            self._begin_logout(now)

    def _ping(self) -> None:
        """An immediate NOP-Out, unless one is still to be answered: that would be answered first."""
        if self._ping_itt is None:
            self._ping_itt = self.new_tag()
            self._put(nop_out(self._ping_itt, NO_TAG, NO_LUN, self.cmd_sn, self.exp_stat_sn))

    def _expire_tasks(self, now: int) -> None:
        """Look at all tasks, since the earliest deadline was reached, and find the next one."""
        for task in [task for task in self._waiting if 0 < task.deadline_ns <= now]:
            if task in self._waiting:
                self._waiting.remove(task)
                self._end_unsent(task)
        for task in [task for task in self.tasks.values() if 0 < task.deadline_ns <= now]:
            if self.tasks.get(task.itt) is task:
                self._management.expired(task, now)
        self._tasks_deadline = min(
            (task.deadline_ns for task in (*self.tasks.values(), *self._waiting) if task.deadline_ns), default=_NEVER
        )


ASYNC_TEXT: dict[int, str] = {
    AsyncEvent.SCSI: "a SCSI asynchronous event",
    AsyncEvent.LOGOUT_REQUESTED: "the target asks for a logout",
    AsyncEvent.CONNECTION_DROPPED: "the target drops the connection",
    AsyncEvent.SESSION_DROPPED: "the target drops the session",
    AsyncEvent.NEGOTIATION_REQUESTED: "the target asks for a negotiation",
    AsyncEvent.TASKS_ENDED: "the target ends all tasks of a logical unit",
}
"""Asynchronous events in words."""


def _reason_text(reason: int) -> str:
    try:
        return RejectReason(reason).name.lower().replace("_", " ")
    except ValueError:
        return f"reason {reason:#04x}"


def _data_digest_error(header: Fields) -> None:
    """Level 0 has no way to ask for the data again, and a GOOD after it must not count (§7.8)."""
    raise RemoteProtocolError(f"wrong data digest in PDU {header[0]:#04x}", clause="RFC 7143 §7.8")
