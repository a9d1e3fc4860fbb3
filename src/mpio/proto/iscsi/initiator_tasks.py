"""The commands of one session: tags, the command window, data transfer both ways, and the outcome of each task.

Owns everything between `submit` and `on_done`. Knows nothing of login, keepalive and the like: PDUs that are not about
a command go on to the connection.

The path of a single I/O is written for speed: no object is made for it but its header, and nothing is looked up but
its tag. What has to be remembered for a few tasks only is kept beside them.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final

from mpio.errors import LocalProtocolError, RemoteProtocolError
from mpio.model.task import Barrier, Buffer, Outcome, Status, Task
from mpio.proto.iscsi.negotiation import SessionParams
from mpio.proto.iscsi.pdu import (
    ATTRIBUTE_ORDERED,
    ATTRIBUTE_SIMPLE,
    DATA_IN_STATUS,
    FINAL,
    LENGTH_MASK,
    NO_LUN,
    NO_TAG,
    OVERFLOW,
    READ,
    REQUEST,
    SERIAL_HALF,
    SERIAL_MASK,
    UNDERFLOW,
    WRITE,
    Fields,
    Opcode,
    ResponseHeader,
    data_out,
    sense_of,
    serial_before,
)
from mpio.proto.iscsi.stream import PduSender

NEVER: Final = 1 << 63
"""A deadline that does not come."""

_CDB_MAX: Final = 16
_LUN_BYTES: Final = 8
# Looked up once: the members of an enum are slow to get at.
_DATA_IN = int(Opcode.SCSI_DATA_IN)
_SCSI_RESPONSE = int(Opcode.SCSI_RESPONSE)
_SCSI_COMMAND = int(Opcode.SCSI_COMMAND)
_COMPLETED = Outcome.COMPLETED
_CHECK_CONDITION = int(Status.CHECK_CONDITION)
_LAST_DATA_IN: Final = FINAL | DATA_IN_STATUS
_RESIDUAL: Final = OVERFLOW | UNDERFLOW
_pack_request = REQUEST.pack


class InitiatorTasks:
    """All tasks of one session.

    Args:
        sender: where PDUs are queued.
        on_other: called with the PDUs that are not about a command, from `on_pdu`.

    Attributes:
        outstanding: tasks that have a tag, by ITT, in the order of submission.
        overdue: what was last done about an outstanding task that timed out, by ITT; kept by TaskManagement.
        may_start: whether commands may be sent. may_send: whether anything may be, such as data that was asked for.
        cmd_sn: CmdSN of the next command.
        exp_stat_sn: StatSN that is expected next.
        deadline_ns: no task has an earlier one.
        on_condition: called with a task that is about to end with CHECK CONDITION and its sense, if anybody is to be.
    """

    def __init__(self, initial_cmd_sn: int, cmds_max: int, sender: PduSender,
                 on_other: Callable[[Fields, memoryview | None], None]) -> None:
        self.outstanding: dict[int, Task] = {}
        self.overdue: dict[int, Enum] = {}
        self.may_start = False
        self.may_send = False
        self.cmd_sn = initial_cmd_sn & SERIAL_MASK
        self.exp_stat_sn = 0
        self.deadline_ns = NEVER
        self.on_condition: Callable[[Task], None] | None = None
        self._sender = sender
        self._put = sender.put
        self._on_other = on_other
        self._waiting: deque[Task] = deque()
        self._cmds_max = cmds_max
        self._max_cmd_sn = self.cmd_sn
        self._handed_out_cmd_sn = self.cmd_sn  # commands before this one may have gone out
        self._next_itt = 1
        self._other_tags: set[int] = set()  # ITTs in use by anything but a task
        self._data_sn: dict[int, int] = {}  # DataSN or R2TSN that is expected next, by ITT, where it is not 0
        # Limits of data transfer, negotiated.
        self._immediate_max = 0
        self._first_burst = 0
        self._max_burst = 0
        self._segment_max = 0

    def open(self, params: SessionParams, exp_cmd_sn: int, max_cmd_sn: int) -> None:
        """The full feature phase begins, with this window."""
        self._immediate_max = params.immediate_length_max
        self._first_burst = 0 if params.initial_r2t else params.first_burst_length
        self._max_burst = params.max_burst_length
        self._segment_max = params.target_max_recv_data_segment_length
        self._max_cmd_sn = self.cmd_sn - 1 & SERIAL_MASK
        self._update_window(exp_cmd_sn, max_cmd_sn)
        self.may_start = self.may_send = True

    def __len__(self) -> int:
        return len(self.outstanding) + len(self._waiting)

    # --- commands

    def submit(self, task: Task, now: int) -> None:
        """Send a command, or queue it while the window is shut. LocalProtocolError if it can't be expressed."""
        if len(task.cdb) > _CDB_MAX or len(task.lun) != _LUN_BYTES:
            raise LocalProtocolError(f"a CDB of {len(task.cdb)} bytes or a LUN of {len(task.lun)}")
        if task.data_out is not None and task.read_buffer is not None:
            raise LocalProtocolError("bidirectional commands are not supported")
        if task.timeout_ns:
            deadline = task.deadline_ns = now + task.timeout_ns
            if deadline < self.deadline_ns:
                self.deadline_ns = deadline
        else:
            task.deadline_ns = 0
        if self._waiting or not self.may_start or not (  # `_window_open`
            self._max_cmd_sn - self.cmd_sn & SERIAL_MASK < SERIAL_HALF and len(self.outstanding) < self._cmds_max
        ):
            self._waiting.append(task)
        else:
            self._send_command(task)

    def _window_open(self) -> bool:
        return self._max_cmd_sn - self.cmd_sn & SERIAL_MASK < SERIAL_HALF and len(self.outstanding) < self._cmds_max

    def send_waiting(self) -> None:
        """Send queued commands as far as the window allows."""
        waiting = self._waiting
        while waiting and self.may_start and self._window_open():
            self._send_command(waiting.popleft())

    def _send_command(self, task: Task) -> None:
        tasks, itt, cmd_sn = self.outstanding, self._next_itt, self.cmd_sn
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
            flags, length = FINAL | (ATTRIBUTE_ORDERED if type(task) is Barrier else ATTRIBUTE_SIMPLE), 0
        else:
            flags, length = FINAL | READ | ATTRIBUTE_SIMPLE, len(buffer)
        self._put(_pack_request(_SCSI_COMMAND, flags, 0, 0, 0, task.lun, itt, length, cmd_sn, self.exp_stat_sn,
                                task.cdb))

    def new_tag(self) -> int:
        """An ITT for anything but a task; to be given back by `release_tag`. Never one in use, never NO_TAG."""
        itt = self._next_itt
        while itt in self.outstanding or itt in self._other_tags or itt == NO_TAG:
            itt = itt + 1 & SERIAL_MASK
        self._next_itt = itt + 1 & SERIAL_MASK
        self._other_tags.add(itt)
        return itt

    def release_tag(self, itt: int) -> None:
        """What the ITT was for is answered."""
        self._other_tags.discard(itt)

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

    def on_r2t(self, h: ResponseHeader) -> None:
        """Send what the target asks for. Its R2Ts follow one another without gaps: DataSequenceInOrder is Yes."""
        task = self.outstanding.get(h.itt)
        if task is None or task.data_out is None:
            raise RemoteProtocolError(f"R2T for the tag {h.itt:#010x}, which is no write", clause="RFC 7143 §11.8")
        start, length = h.word40, h.word44
        if h.word36 != self._data_sn.get(h.itt, 0):
            raise RemoteProtocolError(f"R2TSN {h.word36}, not {self._data_sn.get(h.itt, 0)}", clause="RFC 7143 §11.8.1")
        if start != task.received or not 0 < length <= self._max_burst:
            raise RemoteProtocolError(f"R2T for {length} bytes at {start} after {task.received}",
                                      clause="RFC 7143 §11.8.2")
        if start + length > len(task.data_out):
            raise RemoteProtocolError(f"R2T for {length} bytes at {start} of {len(task.data_out)}",
                                      clause="RFC 7143 §11.8.2")
        if h.word20 == NO_TAG:
            raise RemoteProtocolError("R2T without a target transfer tag", clause="RFC 7143 §11.8.4")
        self._data_sn[h.itt] = h.word36 + 1
        if self.may_send:  # after a Logout Request nothing may be sent
            self._send_data_out(task, task.data_out, start, start + length, h.word20)
            task.received = start + length

    # --- receiving

    def on_pdu(self, header: Fields, data: memoryview | None) -> None:
        """Take a PDU. `data` is None if the data segment of a Data-In has landed in the task's buffer already."""
        (opcode, flags, _, status, lengths, _, itt, _, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn, offset,
         residual) = header
        if max_cmd_sn != self._max_cmd_sn and (  # as `_update_window`: nearly every PDU opens the window by one
            max_cmd_sn - exp_cmd_sn + 1 & SERIAL_MASK < SERIAL_HALF
            and max_cmd_sn - self._max_cmd_sn & SERIAL_MASK < SERIAL_HALF
        ):
            self._max_cmd_sn = max_cmd_sn
        if opcode != _DATA_IN:
            if opcode == _SCSI_RESPONSE:
                self._on_scsi_response(header, data)
            else:
                self._on_other(header, data)
            return
        task = self.outstanding.get(itt)
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
            if self._data_sn or self.overdue:
                self.end_task(task, _COMPLETED)
                return
            del self.outstanding[itt]
            task.outcome = _COMPLETED
            task.sent = True
            task.on_done(task)

    def landing(self, header: Fields) -> memoryview | None:
        """Where the data segment of a PDU that has begun to arrive may go: a Data-In right into the task's buffer."""
        if header[0] != _DATA_IN:
            return None
        h = ResponseHeader._make(header)
        task = self.outstanding.get(h.itt)
        buffer = None if task is None else task.read_buffer
        if task is None or buffer is None:
            raise RemoteProtocolError(f"Data-In for the tag {h.itt:#010x}, which is no read", clause="RFC 7143 §11.7")
        self._check_data_in(task, buffer, h.word36, h.word40, h.word40 + h.data_length)
        return buffer[h.word40 : h.word40 + h.data_length]

    def on_landed(self, header: Fields) -> None:
        """The data segment that `landing` had a place for is complete."""
        self.on_pdu(header, None)

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
        task = self.outstanding.get(h.itt)
        if task is None:
            raise RemoteProtocolError(f"SCSI Response for the unknown tag {h.itt:#010x}", clause="RFC 7143 §11.4")
        self.take_stat_sn(h.stat_sn)
        if h.byte2:
            # The target failed to carry it out and does not say how far it got. Only the end of the nexus makes sure
            # that nothing of it is still to come.
            raise RemoteProtocolError(f"the target failed a command (response {h.byte2:#04x})",
                                      clause="RFC 7143 §11.4.3")
        sense = sense_of(data) if data is not None and h.byte3 else b""  # means nothing under GOOD
        self._set_result(task, h.flags, h.byte3, h.word44)
        task.sense = sense
        if h.byte3 == _CHECK_CONDITION and self.on_condition is not None:
            self.on_condition(task)
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
        del self.outstanding[itt]
        if self._data_sn:
            self._data_sn.pop(itt, None)
        if self.overdue:
            self.overdue.pop(itt, None)
        task.outcome = outcome
        task.sent = True
        task.on_done(task)

    def take_stat_sn(self, stat_sn: int) -> None:
        """Count a PDU that has a StatSN of its own. Raises RemoteProtocolError if one before it is missing."""
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

    # --- ends that the target does not tell of

    def handed_out(self) -> None:
        """All commands that were queued for sending are out of our hands now."""
        self._handed_out_cmd_sn = self.cmd_sn

    def end_unsent(self, task: Task) -> bool:
        """End a task that is still waiting for the window; False if it is not."""
        if task not in self._waiting:
            return False
        self._waiting.remove(task)
        task.outcome = Outcome.NOT_SENT
        task.sent = False
        task.on_done(task)
        return True

    def end_all(self) -> None:
        """The connection has ended. A task of which nothing was handed out can't have any effect."""
        self.may_start = self.may_send = False
        outstanding, self.outstanding = self.outstanding, {}
        waiting, self._waiting = self._waiting, deque()
        self._data_sn.clear()
        self.overdue.clear()
        for task in outstanding.values():
            task.sent = serial_before(task.cmd_sn, self._handed_out_cmd_sn)
            task.outcome = Outcome.IN_DOUBT if task.sent else Outcome.NOT_SENT
        for task in waiting:
            task.sent = False
            task.outcome = Outcome.NOT_SENT
        for task in (*outstanding.values(), *waiting):
            task.on_done(task)

    def expire(self, now: int, expired: Callable[[Task, int], None]) -> None:
        """Look at every task, as some deadline has passed: end those that were not sent, call `expired` for others."""
        for task in [task for task in self._waiting if 0 < task.deadline_ns <= now]:
            self.end_unsent(task)
        for task in [task for task in self.outstanding.values() if 0 < task.deadline_ns <= now]:
            if self.outstanding.get(task.itt) is task:
                expired(task, now)
        deadlines = (task.deadline_ns for task in (*self.outstanding.values(), *self._waiting) if task.deadline_ns)
        self.deadline_ns = min(deadlines, default=NEVER)
