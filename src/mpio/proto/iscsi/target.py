"""The target's end of a connection, which is one session: MaxConnections 1, error recovery level 0 (RFC 7143).

Owns: PDUs, sequence numbers, the command window, write data on their way in, read data on their way out, timers.
Knows nothing of logical units. Commands go to the node by callbacks when all their data are there, and it answers by
`complete`, from inside the callback or later.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from mpio.errors import LocalProtocolError, RemoteProtocolError
from mpio.model.task import Buffer, Status
from mpio.proto.iscsi import pdu
from mpio.proto.iscsi.command_window import CommandWindow
from mpio.proto.iscsi.keepalive import Keepalive, Verdict
from mpio.proto.iscsi.negotiation import SessionParams
from mpio.proto.iscsi.pdu import (
    NO_LUN,
    NO_TAG,
    Fields,
    LogoutReason,
    LogoutResponse,
    Opcode,
    RejectReason,
    RequestHeader,
)
from mpio.proto.iscsi.stream import PduReceiver, PduSender
from mpio.proto.iscsi.target_login import LoginAcceptor, TargetLogin, TargetParams
from mpio.proto.iscsi.target_management import TargetTaskManagement, same_lun
from mpio.proto.iscsi.target_state import TRANSITIONS, ConnectionEnded, Input, SessionOpened, State, TargetEvent
from mpio.proto.iscsi.target_task import UNEXPECTED_UNSOLICITED_DATA, Failure, TargetTask, data_in_layout
from mpio.proto.iscsi.target_text import TextAnswers
from mpio.proto.iscsi.target_writes import WriteGathering
from mpio.units import seconds

OUTPUT_BYTES_MAX = 192 << 10
"""Answers that wait to be sent; past it, further commands wait. So what is read is sent while the CPU's cache has it,
the initiator works on the first answer while the next is made, and one that does not read takes up no memory."""

ANSWERS_MAX = 4096  # answers outside of the command window that wait to be sent; past it, the peer does not read

_MASK = pdu.SERIAL_MASK
_HALF = pdu.SERIAL_HALF
_HEADER = pdu.RESPONSE.pack
_SCSI_COMMAND = int(Opcode.SCSI_COMMAND)
_SCSI_DATA_OUT = int(Opcode.SCSI_DATA_OUT)
_SCSI_DATA_IN = int(Opcode.SCSI_DATA_IN)
_SCSI_RESPONSE = int(Opcode.SCSI_RESPONSE)
_FINAL, _WRITE = pdu.FINAL, pdu.WRITE
_LAST_DATA_IN = pdu.FINAL | pdu.DATA_IN_STATUS


class TargetConnection:
    """The target role on one connection.

    The node sets the callbacks in `LoginAcceptor.open_session`. Answers to tasks that are gone, because the connection
    ended or a task management function ended them, are ignored.

    Attributes:
        params: as given. state: see TRANSITIONS. negotiated: after login.
        on_command: called with each task when all its write data is there.
        on_task_management: called with function, LUN, the referenced task (ABORT TASK of a task that is with the
            node; else None), and `respond`, to be called once with a TaskResponse, at once or later. Tasks of this
            connection that the function ends are dropped when FUNCTION_COMPLETE is given to it; those of other sessions
            are the node's to end, by `abort_tasks` of their connections.
        on_nop: asked for each ping of the initiator whether it gets its answer; None: it does.
        on_closed: called once with the connection and the cause when a session ends, however that comes.
        wake: called when there is something to send, or an event, and there was nothing before.
    """

    def __init__(self, params: TargetParams, acceptor: LoginAcceptor, now: int) -> None:
        self.params = params
        self.state = State.LOGIN
        self.negotiated: SessionParams | None = None
        self.on_command: Callable[[TargetTask], None] = _no_node
        self.on_task_management: Callable[[int, bytes, TargetTask | None, Callable[[int], None]], None] = _no_node
        self.on_nop: Callable[[], bool] | None = None
        self.on_closed: Callable[[TargetConnection, str], None] | None = None
        self._acceptor = acceptor
        self._login: TargetLogin | None = TargetLogin(params, acceptor, self._open_session)
        self._events: deque[TargetEvent] = deque()
        self._sender = PduSender()
        self._put, self._put_data = self._sender.put, self._sender.put_data
        self._tasks: dict[int, TargetTask] = {}
        self._writes = WriteGathering(
            self._tasks, length_max=params.write_length_max, bytes_max=params.gather_bytes_max,
            dispatch=self._dispatch, fail=self._fail, ask=self._ask,
        )
        self._receiver = PduReceiver(
            pdu.REQUEST, self._on_pdu, self._writes.landing, self._writes.on_landed, self._on_data_digest_error
        )
        self._handlers: Mapping[int, Callable[[RequestHeader, memoryview], None]] = {
            Opcode.NOP_OUT: self._on_nop_out,
            Opcode.SCSI_COMMAND: self._begin_command,
            Opcode.TASK_MANAGEMENT_REQUEST: self._on_task_management,
            Opcode.TEXT_REQUEST: self._on_text,
            Opcode.LOGOUT_REQUEST: self._on_logout,
        }

        self._stat_sn = 0
        self._window = CommandWindow(0, 0)
        self._immediate_count = 0
        self._deferred: deque[TargetTask] = deque()  # wait for output to drain
        self._unsent_bytes = 0
        self._unsent_answers = 0
        self._segment_max = pdu.DEFAULT_DATA_SEGMENT  # that the initiator takes
        self._data_in_max = pdu.DEFAULT_DATA_SEGMENT
        self._cid = 0

        self._texts: TextAnswers | None = None
        self._burst_max = 0
        self._takes_commands = False  # a normal session, in the full feature phase
        self._management: TargetTaskManagement | None = None  # where there are commands

        self._login_deadline = now + seconds(params.login_timeout)
        self._keepalive = Keepalive(seconds(params.nop_in_interval), seconds(params.nop_in_timeout))

    @property
    def wake(self) -> Callable[[], None] | None:
        """See the class."""
        return self._sender.wake

    @wake.setter
    def wake(self, wake: Callable[[], None] | None) -> None:
        self._sender.wake = wake

    @property
    def is_open(self) -> bool:
        """Whether it is in its full feature phase."""
        return self.state is State.FULL_FEATURE

    @property
    def in_flight(self) -> int:
        """Commands that are gathered or executed."""
        return len(self._tasks)

    # --- input

    def tasks(self) -> list[TargetTask]:
        """Those commands, as they came."""
        return list(self._tasks.values())

    def receive_buffer(self) -> memoryview:
        """Where the next bytes are to be read into; never empty."""
        return self._receiver.receive_buffer()

    def receive_done(self, count: int, now: int) -> None:
        """`count` bytes were put there."""
        self._keepalive.received(now)
        try:
            self._receiver.receive_done(count)
        except RemoteProtocolError as error:
            self._end(Input.ENDED, str(error))

    def receive(self, data: Buffer, now: int) -> None:
        """Take bytes that are already in memory."""
        view = memoryview(data)
        while view and self.state in (State.LOGIN, State.FULL_FEATURE):
            room = self.receive_buffer()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            view = view[count:]
            self.receive_done(count, now)

    def receive_eof(self, now: int, cause: str = "closed by the peer") -> None:  # noqa: ARG002 - as in the initiator
        """The TCP connection ended."""
        self._end(Input.ENDED, cause)

    def close(self, cause: str = "closed by the target") -> None:
        """End the connection at once: no task of it is executed or answered any more, nothing more is sent."""
        self._end(Input.ENDED, cause)

    def finish(self, cause: str) -> None:
        """End the session as a logout does: what has been answered is sent, and then the connection closed."""
        if self.state is State.FULL_FEATURE:
            self._end(Input.LOGGED_OUT, cause)
        else:
            self.close(cause)

    # --- output

    def data_to_send(self) -> list[Buffer]:
        """Everything that is ready to be sent, handed over once."""
        pieces = self._sender.drain()
        self._unsent_bytes = 0
        self._unsent_answers = 0
        if self._deferred:
            while self._deferred and self._unsent_bytes <= OUTPUT_BYTES_MAX:
                task = self._deferred.popleft()
                if self._tasks.get(task.itt) is task:
                    self._dispatch(task)
            pieces += self._sender.drain()
        return pieces

    def next_event(self) -> TargetEvent | None:
        """The next thing that happened, or None."""
        return self._events.popleft() if self._events else None

    # --- time

    def next_deadline(self) -> int | None:
        """When to call `handle_timer`, in ns, or None."""
        if self.state is State.LOGIN:
            return self._login_deadline
        return self._keepalive.next_deadline() if self.state is State.FULL_FEATURE else None

    def handle_timer(self, now: int) -> None:
        """Do what is due. Early and repeated calls do nothing."""
        if self.state is State.LOGIN:
            if now >= self._login_deadline:
                self._end(Input.ENDED, "login was not completed in time")
        elif self.state is State.FULL_FEATURE:
            verdict = self._keepalive.check(now)
            if verdict is Verdict.PING:
                self._put(pdu.nop_in(NO_LUN, NO_TAG, self._writes.new_ttt(), *self._numbers(use=False)))
            elif verdict is Verdict.DEAD:
                self._end(Input.ENDED, "the initiator does not answer")

    # --- for the node

    def holds(self, task: TargetTask) -> bool:
        """Whether the task still waits for its answer: if not, it was aborted or its session has ended.

        A node that takes its time asks this right before it carries a command out.
        """
        return self._tasks.get(task.itt) is task

    def complete(
        self,
        task: TargetTask,
        status: int,
        data: Buffer | Sequence[Buffer] = b"",
        sense: bytes = b"",
        length: int | None = None,
    ) -> None:
        """Answer a task.

        Args:
            task: as it came by `on_command`.
            status: SCSI status.
            data: for the initiator; what is more than it expects is cut and reported as overflow. Long data are not
                copied and must stay where they are until they are sent. Several buffers are joined.
            sense: for CHECK CONDITION.
            length: bytes that the CDB asks to move, for the residual (§11.4.5); by default `len(data)`, or all of the
                expected length where only write data were asked for.
        """
        tasks = self._tasks
        itt = task.itt
        if tasks.get(itt) is not task:
            return
        del tasks[itt]
        if task.immediate or task.gathered is not None:
            self._forget(task)
        window = self._window
        if not task.immediate:
            window.maximum = (window.maximum + 1) & _MASK
        if not isinstance(data, bytes | bytearray | memoryview):
            data = b"".join(data)
        count = len(data)
        stat_sn = self._stat_sn
        if status == 0 and (
            count == task.expected_length <= self._data_in_max and task.is_read and length is None and count
        ):
            # The usual read: one Data-In with the status in it.
            self._stat_sn = (stat_sn + 1) & _MASK
            self._unsent_bytes += count
            self._put_data(
                _HEADER(_SCSI_DATA_IN, _LAST_DATA_IN, 0, 0, count, NO_LUN, itt, NO_TAG, stat_sn, window.expected,
                        window.maximum, 0, 0, 0),
                data if not self._sender.data_digest else bytes(data),
            )  # fmt: skip
        elif status == 0 and not count and length is None and task.is_write:
            self._stat_sn = (stat_sn + 1) & _MASK
            self._unsent_bytes += pdu.BHS_BYTES
            self._put(
                _HEADER(_SCSI_RESPONSE, _FINAL, 0, 0, 0, NO_LUN, itt, 0, stat_sn, window.expected, window.maximum,
                        task.pdus_sent, 0, 0)
            )  # fmt: skip
        else:
            self._answer(task, status, memoryview(data), sense, length)

    def _answer(self, task: TargetTask, status: int, data: memoryview, sense: bytes, length: int | None) -> None:
        """Data-In as needed, and the status, with residuals."""
        moved = min(len(data), task.expected_length) if task.is_read else 0
        flags, residual = task.residual(status, len(data), length)
        with_status = status == Status.GOOD and moved > 0
        self._unsent_bytes += moved + pdu.BHS_BYTES
        self._send_data_in(task, data[:moved], flags if with_status else -1, residual)
        if with_status:
            return
        segment = pdu.sense_segment(sense)[: self._segment_max]
        header = pdu.scsi_response(
            flags, status, task.itt, *self._numbers(), task.pdus_sent,
            residual, len(segment),
        )  # fmt: skip
        self._put_data(header, segment)

    def _send_data_in(self, task: TargetTask, data: memoryview, status_flags: int, residual: int) -> None:
        """Data-In PDUs within both limits (§11.7); the last one has status GOOD if `status_flags` is not -1."""
        if self._sender.data_digest:
            data = memoryview(bytes(data))  # so that digest and data agree when they are sent
        window = self._window
        for offset, count, final in data_in_layout(len(data), self._segment_max, self._burst_max):
            flags, stat_sn, last_residual = _FINAL if final else 0, 0, 0
            if status_flags >= 0 and offset + count == len(data):
                flags |= pdu.DATA_IN_STATUS | status_flags
                stat_sn, last_residual = self._use_stat_sn(), residual
            self._put_data(
                _HEADER(_SCSI_DATA_IN, flags, 0, 0, count, NO_LUN, task.itt, NO_TAG, stat_sn, window.expected,
                        window.maximum, task.pdus_sent, offset, last_residual),
                data[offset : offset + count],
            )  # fmt: skip
            task.pdus_sent += 1

    def abort_tasks(self, lun: bytes | None, status: int | None = None) -> int:
        """End all tasks, or those of one LUN, whether gathered or with the node. Returns how many.

        Args:
            lun: 8 bytes, or None for all LUNs.
            status: what to answer (TASK ABORTED), or None for no answer.
        """
        was_shut = self._window.is_shut
        ended = [task for task in self._tasks.values() if lun is None or same_lun(task.lun, lun)]
        for task in ended:
            if status is None:
                self._drop(task)
            else:
                self.complete(task, status)
        if ended and status is None and was_shut:  # no answer tells that commands are welcome again
            self._put(pdu.nop_in(NO_LUN, NO_TAG, NO_TAG, *self._numbers(use=False)))
        return len(ended)

    def spoil_digest(self, *, header: bool = False, data: bool = False) -> None:
        """Send the next PDU with a wrong header or data digest, if that digest was agreed on; neither: take it back."""
        self._sender.spoil_header, self._sender.spoil_data = header, data

    def request_logout(self, within_s: int) -> None:
        """Ask the initiator to log out, in so many seconds (async event 1, §11.9.1)."""
        self._send_async(pdu.AsyncEvent.LOGOUT_REQUESTED, within_s)

    def _send_async(self, event: int, parameter3: int) -> None:
        if self.state is not State.FULL_FEATURE:
            raise LocalProtocolError("an async message needs a session")
        self._put(pdu.async_message(event, NO_LUN, *self._numbers(), parameter3=parameter3))

    # --- the end

    def _end(self, event: Input, cause: str) -> None:
        """Enter CLOSING or CLOSED. Harmless if the connection has ended already."""
        before = self.state
        self.state = TRANSITIONS.next(before, event)
        if self.state is State.CLOSED:
            self._sender.clear()
        self._receiver.stop()
        if before in (State.CLOSING, State.CLOSED):
            return
        self._tasks.clear()
        self._deferred.clear()
        self._window.held.clear()
        self._writes.gathered_bytes = 0
        self._events.append(ConnectionEnded(cause, orderly=event is Input.LOGGED_OUT))
        if self.on_closed is not None:
            on_closed, self.on_closed = self.on_closed, None
            on_closed(self, cause)
        if self.wake is not None:
            self.wake()

    def _forget(self, task: TargetTask) -> None:
        if task.immediate:
            self._immediate_count -= 1
        self._writes.forget(task)

    def _drop(self, task: TargetTask) -> None:
        """End a task without an answer. Data that still come for it are dropped as they come."""
        if self._tasks.get(task.itt) is not task:
            return
        del self._tasks[task.itt]
        self._forget(task)
        if not task.immediate:
            self._window.release()

    def _use_stat_sn(self) -> int:
        stat_sn = self._stat_sn
        self._stat_sn = (stat_sn + 1) & _MASK
        return stat_sn

    def _numbers(self, *, use: bool = True) -> tuple[int, int, int]:
        """StatSN, ExpCmdSN and MaxCmdSN for an answer; R2T and the target's own NOP-In don't use their StatSN up."""
        window = self._window
        return self._use_stat_sn() if use else self._stat_sn, window.expected, window.maximum

    def _send_answer(self, header: bytes, data: Buffer = b"") -> None:
        """Queue an answer that no command window limits; bounded, since a peer may ask without ever reading."""
        self._unsent_answers += 1
        if self._unsent_answers > ANSWERS_MAX:
            self._end(Input.ENDED, f"{ANSWERS_MAX} answers wait, and the initiator does not read them")
        elif self.state is State.FULL_FEATURE:
            self._put_data(header, data)

    # --- PDUs

    def _on_pdu(self, header: Fields, data: memoryview) -> None:
        opcode, flags, _, _, _, lun, itt, word20, cmd_sn, _, specific = header
        window = self._window
        if opcode == _SCSI_COMMAND and cmd_sn == window.expected and self._takes_commands:
            if (window.maximum - cmd_sn) & _MASK >= _HALF:
                return  # the window is shut
            window.expected = (cmd_sn + 1) & _MASK
            if flags & _WRITE or not flags & _FINAL or data or itt in self._tasks or window.held or itt == NO_TAG:
                self._begin_command(header, data)
                if window.held:
                    self._catch_up()
                return
            task = TargetTask(self, lun, specific, itt, flags, word20)
            self._tasks[itt] = task
            self._dispatch(task)
        elif opcode == _SCSI_DATA_OUT and self.state is not State.LOGIN:
            self._writes.on_data_out(header, data)
        else:
            self._on_other(RequestHeader._make(header), data)

    def _dispatch(self, task: TargetTask) -> None:
        if self._unsent_bytes > OUTPUT_BYTES_MAX:
            self._deferred.append(task)
            return
        task.dispatched = True
        self.on_command(task)

    def _on_other(self, header: RequestHeader, data: memoryview) -> None:
        """Everything but SCSI commands in their turn and Data-Out."""
        kind = header.opcode & pdu.OPCODE_MASK
        if self.state is State.LOGIN:
            if kind != Opcode.LOGIN_REQUEST:
                raise RemoteProtocolError(f"opcode {kind:#04x} before login has ended", clause="RFC 7143 §6.3")
            self._on_login(header, data)
            return
        if kind not in self._handlers:
            self._reject(header, _REJECTS.get(kind, RejectReason.COMMAND_NOT_SUPPORTED))
            return
        if header.opcode & pdu.IMMEDIATE:
            self._handlers[kind](header, data)
        else:
            self._in_turn(header, data)

    def _in_turn(self, header: RequestHeader, data: memoryview) -> None:
        """A command that takes its place in the order of CmdSN (§4.2.2.1): now, later, or never."""
        window = self._window
        if not window.accepts(header.cmd_sn):
            return
        if header.cmd_sn != window.expected:
            window.hold(header, bytes(data))
            return
        window.take()
        self._handle(header, data)
        self._catch_up()

    def _handle(self, header: RequestHeader, data: memoryview) -> None:
        """A command that has taken its number."""
        kind = header.opcode & pdu.OPCODE_MASK
        if kind != _SCSI_COMMAND:
            self._window.release()  # done with at once
        self._handlers[kind](header, data)

    def _catch_up(self) -> None:
        """Take commands that came early and whose turn it is now."""
        while (held := self._window.next_held()) is not None:
            self._handle(held[0], memoryview(held[1]))

    def _reject(self, header: RequestHeader, reason: int) -> None:
        copy = pdu.REQUEST.pack(*header)
        self._send_answer(pdu.reject(reason, *self._numbers(), data_length=len(copy)), copy)

    # --- login

    def _on_login(self, header: RequestHeader, data: memoryview) -> None:
        login = self._login
        assert login is not None
        # Login takes up no CmdSN: the first command has the number that the last request of the login had.
        self._window = CommandWindow(header.cmd_sn, self.params.queue_depth)
        self._cid = header.word20 >> 16
        isid, tsih = header.lun[:6], int.from_bytes(header.lun[6:], "big")
        reply = login.receive(header.flags, header.byte3, isid, tsih, bytes(data))
        if self.state is not State.LOGIN:
            return  # the node closed the connection
        self._put_data(
            pdu.login_response(
                reply.flags, isid, reply.tsih, header.itt, *self._numbers(),
                reply.status, len(reply.text),
            ),
            reply.text,
        )  # fmt: skip
        if login.failure is not None:
            self._end(Input.LOGIN_REFUSED, login.failure)
        elif login.done:
            self._enter_full_feature(login.result)

    def _open_session(self, params: SessionParams) -> int:
        self.negotiated = params
        return self._acceptor.open_session(self, params)

    def _enter_full_feature(self, params: SessionParams) -> None:
        self.state = TRANSITIONS.next(self.state, Input.LOGIN_COMPLETED)
        self.negotiated = params
        self._login = None
        self._receiver.data_limit = params.target_max_recv_data_segment_length
        self._receiver.header_digest = self._sender.header_digest = params.header_digest
        self._receiver.data_digest = self._sender.data_digest = params.data_digest
        self._segment_max = params.initiator_max_recv_data_segment_length
        self._burst_max = params.max_burst_length
        self._data_in_max = min(self._segment_max, self._burst_max)
        self._writes.open(params)
        self._takes_commands = not params.is_discovery
        if self._takes_commands:
            self._management = TargetTaskManagement(
                self, self._window, self._tasks, drop=self._drop, catch_up=self._catch_up,
                answer=self._answer_management,
            )
        self._texts = TextAnswers(self._acceptor, params, self.params.portal)
        self._events.append(SessionOpened(params))

    # --- SCSI commands and their data

    def _begin_command(self, header: Fields, data: memoryview | None) -> None:
        """A command with write data, or with something odd about it. Its turn has come. `data` None: damaged."""
        opcode, flags, _, _, _, lun, itt, expected, _, _, cdb = header
        immediate = opcode & pdu.IMMEDIATE != 0
        if itt in self._tasks or itt == NO_TAG or not self._takes_commands:
            if not immediate:
                self._window.release()
            reason = RejectReason.TASK_IN_PROGRESS if itt in self._tasks else RejectReason.PROTOCOL_ERROR
            self._reject(RequestHeader._make(header), reason)
            return
        task = TargetTask(self, lun, cdb, itt, flags, expected)
        if immediate:
            if self._immediate_count >= self.params.immediate_max:
                self._reject(RequestHeader._make(header), RejectReason.TOO_MANY_IMMEDIATE)
                return
            self._immediate_count += 1
            task.immediate = True
        self._tasks[itt] = task
        if task.is_write:
            self._writes.begin(task, data)
        elif data:
            self._fail(task, UNEXPECTED_UNSOLICITED_DATA)
        else:
            self._dispatch(task)

    def _fail(self, task: TargetTask, failure: Failure) -> None:
        status, sense = failure
        self.complete(task, status, sense=sense)

    def _ask(self, task: TargetTask) -> None:
        self._put(
            pdu.r2t(task.lun, task.itt, task.ttt, *self._numbers(use=False), task.pdus_sent,
                    task.received, task.burst_end - task.received)
        )  # fmt: skip
        task.pdus_sent += 1

    def _on_data_digest_error(self, fields: Fields) -> None:
        """Data are lost, but the header holds: reject the PDU, and end the command it belongs to (§7.8)."""
        header = RequestHeader._make(fields)
        self._reject(header, RejectReason.DATA_DIGEST_ERROR)
        kind = header.opcode & pdu.OPCODE_MASK
        if kind == _SCSI_DATA_OUT:
            self._writes.on_damaged(header.itt, header.word20, final=header.flags & _FINAL != 0)
            return
        immediate = header.opcode & pdu.IMMEDIATE != 0
        if not immediate:
            if header.cmd_sn != self._window.expected or self._window.is_shut:
                return
            self._window.take()  # a rejected command has used its number up (§11.17.1)
        if kind == _SCSI_COMMAND:
            self._begin_command(header, None)
        elif not immediate:
            self._window.release()
        self._catch_up()

    # --- everything else

    def _on_nop_out(self, header: RequestHeader, data: memoryview) -> None:
        if header.itt == NO_TAG:
            return  # the answer to our ping, or only an acknowledgement
        if self.on_nop is not None and not self.on_nop():
            return
        echo = bytes(data[: self._segment_max])
        self._send_answer(pdu.nop_in(NO_LUN, header.itt, NO_TAG, *self._numbers(), len(echo)), echo)

    def _on_text(self, header: RequestHeader, data: memoryview) -> None:
        assert self._texts is not None
        try:
            flags, ttt, segment = self._texts.receive(header.flags, header.word20, bytes(data))
        except RemoteProtocolError as error:
            self._reject(header, error.reject_reason)
            return
        if self._texts.segment_max is not None:  # the initiator may declare another length at any time (§13.12)
            self._segment_max = self._texts.segment_max
            self._data_in_max = min(self._segment_max, self._burst_max)
        self._send_answer(pdu.text_response(flags, header.itt, ttt, *self._numbers(), len(segment)), segment)

    def _on_logout(self, header: RequestHeader, data: memoryview) -> None:  # noqa: ARG002 - as all handlers
        reason, cid = header.flags & 0x7F, header.word20 >> 16
        response = LogoutResponse.CLOSED
        if reason == LogoutReason.REMOVE_FOR_RECOVERY:
            response = LogoutResponse.RECOVERY_NOT_SUPPORTED
        elif reason == LogoutReason.CLOSE_CONNECTION and cid != self._cid:
            response = LogoutResponse.CID_NOT_FOUND
        self._send_answer(pdu.logout_response(response, header.itt, *self._numbers()))
        if response is LogoutResponse.CLOSED and self.state is State.FULL_FEATURE:
            self._end(Input.LOGGED_OUT, "logged out")

    def _on_task_management(self, header: RequestHeader, data: memoryview) -> None:  # noqa: ARG002
        management = self._management
        if management is None:
            self._reject(header, RejectReason.PROTOCOL_ERROR)
        elif management.waiting >= self.params.immediate_max:
            self._reject(header, RejectReason.TOO_MANY_IMMEDIATE)
        else:
            management.receive(header)

    def _answer_management(self, itt: int, response: int) -> None:
        self._send_answer(pdu.task_management_response(response, itt, *self._numbers()))


_REJECTS: Mapping[int, RejectReason] = {
    Opcode.SNACK_REQUEST: RejectReason.SNACK_REJECT,  # for error recovery levels above 0
    Opcode.LOGIN_REQUEST: RejectReason.PROTOCOL_ERROR,
}


def _no_node(*_: object) -> None:
    raise LocalProtocolError("open_session has to set the callbacks of the connection")
