"""The initiator's end of one connection, which is also one session (RFC 7143; MaxConnections 1, ErrorRecoveryLevel 0).

Owns the life of the connection: login, keepalive, the target's messages, discovery, logout, the end. Its commands are
`initiator_tasks`, their aborts and resets `task_management`. Knows no socket and no clock: bytes and instants come in,
bytes, events and `on_done` calls go out.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum

from mpio.errors import LocalProtocolError, LoginRejected, RemoteProtocolError
from mpio.model.task import Buffer, Task
from mpio.proto.iscsi import initiator_events as events
from mpio.proto.iscsi.discovery import TargetsAnswer
from mpio.proto.iscsi.initiator_tasks import NEVER, InitiatorTasks
from mpio.proto.iscsi.keepalive import Keepalive, Verdict
from mpio.proto.iscsi.login import InitiatorLogin, LoginParams
from mpio.proto.iscsi.negotiation import SessionParams
from mpio.proto.iscsi.pdu import (
    BHS_BYTES,
    FINAL,
    NO_LUN,
    NO_TAG,
    OPCODE_MASK,
    RESPONSE,
    AsyncEvent,
    Fields,
    LogoutReason,
    Opcode,
    RejectReason,
    ResponseHeader,
    TaskFunction,
    TaskResponse,
    login_request,
    logout_request,
    nop_out,
    parse_request,
    sense_of,
    serial_add,
    text_request,
)
from mpio.proto.iscsi.stream import PduReceiver, PduSender
from mpio.proto.iscsi.task_management import TaskManagement
from mpio.proto.iscsi.text import encode_text
from mpio.table import Transitions
from mpio.units import NS_PER_S, format_duration, seconds

_EVENTS_MAX = 1024  # unread ones; the oldest leave, so that a peer's messages can't fill the memory
_PING_ANSWERS_MAX = 64  # answers to the target's pings that wait for being sent


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

_FULL_FEATURE = ConnectionState.FULL_FEATURE  # looked up once: the members of an enum are slow to get at
_ENDED = ConnectionState.ENDED


class InitiatorConnection:
    """One connection of the initiator.

    Attributes:
        state: where it is in its life.
        end_cause: why the connection ended.
    """

    def __init__(self, params: LoginParams) -> None:
        settings = params.settings
        self.state = ConnectionState.IDLE
        self.end_cause = ""
        self._params = params
        self._login: InitiatorLogin | None = None
        self._negotiated: SessionParams | None = None
        self._sender = PduSender()
        self._tasks = InitiatorTasks(params.initial_cmd_sn, settings.cmds_max, self._sender, self._on_other)
        self._receiver = PduReceiver(RESPONSE, self._tasks.on_pdu, self._tasks.landing, self._tasks.on_landed,
                                     _data_digest_error)
        self._management = TaskManagement(self._tasks, self._sender.put, settings, self._report, self._lose)
        self._tasks.on_condition = self._on_condition
        self._keepalive = Keepalive(seconds(settings.noop_out_interval), seconds(settings.noop_out_timeout))
        self._events: deque[events.ConnectionEvent] = deque(maxlen=_EVENTS_MAX)
        self._now = 0
        self._phase_deadline = NEVER  # of login, logout, or the drain before it
        self._draining = False  # the target asked for a logout: no new commands
        # ITTs of what is outstanding besides tasks and their management
        self._login_itt = 0
        self._logout_itt: int | None = None
        self._ping_itt: int | None = None
        self._ping_answers = 0
        self._text_itt: int | None = None
        self._text_deadline = NEVER
        self._targets = TargetsAnswer()

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
        return len(self._tasks)

    def owed(self, answer_bytes_max: int) -> tuple[int, int]:
        """How many outstanding reads of up to so many bytes each there are, and how many bytes they bring at most."""
        sizes = [len(task.read_buffer) for task in self._tasks.outstanding.values()
                 if task.read_buffer is not None and len(task.read_buffer) <= answer_bytes_max]
        return len(sizes), sum(sizes)

    def next_event(self) -> events.ConnectionEvent | None:
        """The next thing that happened, or None."""
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> list[Buffer]:
        """Everything that is ready to be sent, once. What is returned counts as sent."""
        self._tasks.handed_out()
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
            is_strange = self.state is ConnectionState.LOGIN
            self._lose(f"it does not answer as an iSCSI target does: {error}" if is_strange else str(error))
        self._tasks.send_waiting()
        if self._draining and not self._tasks.outstanding:
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
        self._lose(cause)

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
        self._login_itt = self._tasks.new_tag()
        self._phase_deadline = now + seconds(self._params.settings.login_timeout)
        self._send_login(self._login)

    def _send_login(self, login: InitiatorLogin) -> None:
        step, tasks = login.request(), self._tasks
        self._sender.put_data(login_request(step.flags, self._params.isid, 0, self._login_itt, 0, tasks.cmd_sn,
                                            tasks.exp_stat_sn, len(step.text)), step.text)

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
            self._tasks.exp_stat_sn = serial_add(h.stat_sn, 1)
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
        self._tasks.release_tag(self._login_itt)
        self._tasks.open(params, h.exp_cmd_sn, h.max_cmd_sn)
        self._phase_deadline = NEVER
        self._keepalive.received(self._now)
        self._report(events.LoginCompleted(params))

    def logout(self, now: int) -> None:
        """Ask the target to close the session. Tasks that are outstanding then end with it: let them end before."""
        self._now = now
        self._send_logout(now)

    def _send_logout(self, now: int) -> None:
        self.state = CONNECTION.next(self.state, ConnectionInput.LOGOUT)
        self._tasks.may_start = self._tasks.may_send = False
        self._logout_itt = self._tasks.new_tag()
        self._phase_deadline = now + seconds(self._params.settings.logout_timeout)
        self._sender.put(logout_request(LogoutReason.CLOSE_SESSION, self._logout_itt, 0, self._tasks.cmd_sn,
                                        self._tasks.exp_stat_sn))

    def _begin_logout(self, now: int) -> None:
        """The target asked for it, and the tasks have ended or their time is over."""
        if self.state is _FULL_FEATURE:
            self._send_logout(now)

    def _on_logout_response(self, h: ResponseHeader) -> None:
        if h.itt != self._logout_itt:
            raise RemoteProtocolError(f"logout response with the tag {h.itt:#010x}", clause="RFC 7143 §11.15")
        if self._draining:
            self._lose("the target asked for a logout")
        elif h.byte2:
            self._lose(f"logout was answered {h.byte2}")
        else:
            self._end(events.LoggedOut(), "logged out")

    # --- the end

    def _lose(self, cause: str) -> None:
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
        self._tasks.end_all()
        self._management.ended()

    def _report(self, event: events.ConnectionEvent) -> None:
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
        self._tasks.submit(task, now)

    # --- receiving what is not I/O

    def _on_other(self, header: Fields, data: memoryview | None) -> None:
        h = ResponseHeader._make(header)
        segment = b"" if data is None else bytes(data)
        if self.state is ConnectionState.LOGIN:
            self._on_login_response(h, segment)
            return
        if self.state is ConnectionState.IDLE:
            raise RemoteProtocolError(f"PDU {h.opcode:#04x} before login", clause="RFC 7143 §6.3.1")
        match h.opcode & OPCODE_MASK:
            case Opcode.R2T:
                self._tasks.on_r2t(h)
            case Opcode.NOP_IN:
                self._on_nop_in(h, segment)
            case Opcode.TASK_MANAGEMENT_RESPONSE:
                self._tasks.take_stat_sn(h.stat_sn)
                self._management.answered(h.itt, h.byte2, self._now)
            case Opcode.TEXT_RESPONSE:
                self._tasks.take_stat_sn(h.stat_sn)
                self._on_text_response(h, segment)
            case Opcode.LOGOUT_RESPONSE:
                self._tasks.take_stat_sn(h.stat_sn)
                self._on_logout_response(h)
            case Opcode.ASYNC_MESSAGE:
                self._tasks.take_stat_sn(h.stat_sn)
                self._on_async(h, segment)
            case Opcode.REJECT:
                self._tasks.take_stat_sn(h.stat_sn)
                self._on_reject(h.byte2, segment)
            case _:
                raise RemoteProtocolError(f"PDU {h.opcode:#04x} in the full feature phase", clause="RFC 7143 §11.2.1.2")

    def _on_nop_in(self, h: ResponseHeader, data: bytes) -> None:
        if h.itt != NO_TAG:
            if h.itt != self._ping_itt:
                raise RemoteProtocolError(f"NOP-In with the unknown tag {h.itt:#010x}", clause="RFC 7143 §11.19")
            self._tasks.take_stat_sn(h.stat_sn)
            self._ping_answered()
        elif h.word20 != NO_TAG and self.state is _FULL_FEATURE:
            self._ping_answers += 1
            if self._ping_answers > _PING_ANSWERS_MAX:
                raise RemoteProtocolError("pings come faster than their answers can be sent", clause="RFC 7143 §11.19")
            data = data[: self.negotiated.target_max_recv_data_segment_length]
            self._sender.put_data(nop_out(NO_TAG, h.word20, h.lun, self._tasks.cmd_sn, self._tasks.exp_stat_sn,
                                          len(data)), data)

    def _ping_answered(self) -> None:
        if self._ping_itt is not None:
            self._tasks.release_tag(self._ping_itt)
            self._ping_itt = None

    def _on_async(self, h: ResponseHeader, data: bytes) -> None:
        event, parameter3 = h.word36 >> 24, h.word40 & 0xFFFF
        text = ASYNC_TEXT.get(event, f"asynchronous event {event}")
        self._report(events.AsyncMessage(event, text, sense_of(data) if event == AsyncEvent.SCSI else b""))
        if event in (AsyncEvent.CONNECTION_DROPPED, AsyncEvent.SESSION_DROPPED):
            self._lose(text)
        elif event == AsyncEvent.LOGOUT_REQUESTED and self.state is _FULL_FEATURE and not self._draining:
            # Let what is under way end, send nothing new, and log out when it has ended or time is up.
            self._draining = True
            self._tasks.may_start = False
            self._phase_deadline = self._now + parameter3 * NS_PER_S

    def _on_reject(self, reason: int, header: bytes) -> None:
        """A Reject names its PDU only by the copy of its header (§11.17)."""
        if len(header) < BHS_BYTES:
            self._report(events.PduRejected(reason, None))
            raise RemoteProtocolError(f"a PDU was rejected ({_reason_text(reason)})")
        rejected = parse_request(header)
        opcode = rejected.opcode & OPCODE_MASK
        self._report(events.PduRejected(reason, opcode))
        if opcode == Opcode.NOP_OUT:
            if rejected.itt == self._ping_itt:
                self._ping_answered()
        elif opcode == Opcode.TASK_MANAGEMENT_REQUEST and self._management.owns(rejected.itt):
            self._management.answered(rejected.itt, TaskResponse.REJECTED, self._now)
        elif opcode in (Opcode.SCSI_COMMAND, Opcode.SCSI_DATA_OUT):
            # After a data digest error the task is answered all the same (§7.8). Else nobody will, nor is it known
            # whether it was carried out: end the nexus, which is faster than its timeout.
            if rejected.itt in self._tasks.outstanding and reason != RejectReason.DATA_DIGEST_ERROR:
                raise RemoteProtocolError(f"a command was rejected ({_reason_text(reason)})")
        else:
            raise RemoteProtocolError(f"PDU {opcode:#04x} was rejected ({_reason_text(reason)})")

    # --- discovery

    def send_targets(self, text: str, now: int) -> None:
        """Ask for targets and portals: `All`, a target name, or empty for the one that we are logged in to."""
        if self.state is not _FULL_FEATURE or self._text_itt is not None:
            raise LocalProtocolError("SendTargets needs the full feature phase, and one has to end before the next")
        self._text_itt = self._tasks.new_tag()
        self._targets = TargetsAnswer()
        self._text_deadline = now + seconds(self._params.settings.login_timeout)
        self._send_text(self._text_itt, NO_TAG, encode_text([("SendTargets", text)]))

    def _send_text(self, itt: int, ttt: int, text: bytes) -> None:
        self._sender.put_data(text_request(FINAL, itt, ttt, self._tasks.cmd_sn, self._tasks.exp_stat_sn, len(text)),
                              text)

    def _on_text_response(self, h: ResponseHeader, segment: bytes) -> None:
        if self._text_itt is None or h.itt != self._text_itt:
            raise RemoteProtocolError(f"text response with the tag {h.itt:#010x}", clause="RFC 7143 §11.11")
        targets = self._targets.add(segment, final=h.flags & FINAL != 0, ttt=h.word20)
        if targets is not None:
            self._tasks.release_tag(self._text_itt)
            self._text_itt = None
            self._text_deadline = NEVER
            self._report(events.DiscoveryAnswered(targets))
        elif self.state is _FULL_FEATURE:
            self._send_text(self._text_itt, h.word20, b"")

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
        if task is not None and self._tasks.outstanding.get(task.itt) is not task:
            if not self._tasks.end_unsent(task):
                raise LocalProtocolError("the task to be aborted is not outstanding")
            on_done(TaskResponse.FUNCTION_COMPLETE)
            return
        self._management.request(function, lun, task, on_done, now)

    def _on_condition(self, task: Task) -> None:
        """The target may be saying that tasks are gone which it will not answer any more."""
        self._management.condition(task, self._now)

    # --- time

    def next_deadline(self) -> int | None:
        """When to call `handle_timer`."""
        deadline = min(self._phase_deadline, self._text_deadline)
        if self.state is _FULL_FEATURE:
            for other in (self._tasks.deadline_ns, self._keepalive.next_deadline(), self._management.next_deadline()):
                if other is not None and other < deadline:
                    deadline = other
        return None if deadline == NEVER or self.state is _ENDED else deadline

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
            self._report(events.PingTimedOut(silent_ns))
            self._lose(f"nothing received for {format_duration(silent_ns)} in spite of a ping")
            return
        self._management.handle_timer(now)
        if now >= self._tasks.deadline_ns:
            self._tasks.expire(now, self._management.expired)

    def _phase_over(self, now: int) -> None:
        """Login, logout or discovery takes too long, or the time to drain is over."""
        if self.state is ConnectionState.LOGIN:
            self._lose("login was not answered in time")
        elif self.state is ConnectionState.LOGOUT:
            self._lose("the target asked for a logout and did not answer it" if self._draining
                      else "logout was not answered in time")
        elif now >= self._text_deadline:
            self._lose("SendTargets was not answered in time")
        else:
            self._begin_logout(now)

    def _ping(self) -> None:
        """An immediate NOP-Out, unless one is still to be answered: that would be answered first."""
        if self._ping_itt is None:
            self._ping_itt = self._tasks.new_tag()
            self._sender.put(nop_out(self._ping_itt, NO_TAG, NO_LUN, self._tasks.cmd_sn, self._tasks.exp_stat_sn))


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
