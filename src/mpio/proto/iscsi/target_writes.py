"""Write data on their way into the target: immediate, unsolicited, or asked for by R2T (RFC 7143 §4.2.5.2, §11.7).

Owns: which tasks wait for Data-Out, how much room they take together, and what ends a task before the node has seen
it. One Data-Out itself is judged by its task (`target_task`).
"""

from collections.abc import Callable, Mapping
from struct import Struct

from mpio.proto.iscsi import pdu
from mpio.proto.iscsi.negotiation import SessionParams
from mpio.proto.iscsi.pdu import NO_TAG, Fields
from mpio.proto.iscsi.target_task import (
    DATA_DIGEST_ERROR,
    NO_SEQUENCE,
    TASK_SET_FULL,
    TRANSFER_TOO_LONG,
    UNEXPECTED_UNSOLICITED_DATA,
    Failure,
    TargetTask,
)

_SCSI_DATA_OUT = int(pdu.Opcode.SCSI_DATA_OUT)
_FINAL = pdu.FINAL
_DATA_OUT = Struct(">4xII4x")
"""DataSN and buffer offset, of the last 16 bytes of a Data-Out header."""


class WriteGathering:
    """The write data of one session's commands.

    Args:
        tasks: of the session, by ITT. length_max: longest write. bytes_max: being gathered at a time, of all tasks.
        dispatch: called with a task whose data are all there. fail: called with one that ends without being executed.
        ask: sends an R2T for what the task expects: from `received` to `burst_end`, by its `ttt`.

    Attributes:
        gathered_bytes: room that tasks take up until their data are there and they have been answered.
        next_ttt: Target Transfer Tag of the next R2T or ping.
    """

    def __init__(
        self, tasks: Mapping[int, TargetTask], *, length_max: int, bytes_max: int,
        dispatch: Callable[[TargetTask], None], fail: Callable[[TargetTask, Failure], None],
        ask: Callable[[TargetTask], None],
    ) -> None:
        self.gathered_bytes = 0
        self.next_ttt = 1
        self._tasks = tasks
        self._length_max = length_max
        self._bytes_max = bytes_max
        self._dispatch = dispatch
        self._fail = fail
        self._ask = ask
        self._burst_max = 0
        self._first_burst_max = 0
        self._immediate_max = 0  # bytes of immediate data in one command
        self._initial_r2t = True

    def open(self, params: SessionParams) -> None:
        """The session begins; these were agreed on."""
        self._burst_max = params.max_burst_length
        self._first_burst_max = params.first_burst_length
        self._immediate_max = params.immediate_length_max
        self._initial_r2t = params.initial_r2t

    def new_ttt(self) -> int:
        """A Target Transfer Tag that has not been used lately."""
        ttt = self.next_ttt
        self.next_ttt = (ttt + 1) % NO_TAG or 1
        return ttt

    def begin(self, task: TargetTask, data: memoryview | None) -> None:
        """Take the immediate data of a write (None: damaged), and dispatch it, wait for more, or ask for the rest."""
        expected = task.expected_length
        more = not task.flags & _FINAL and expected > 0  # unsolicited Data-Out follow
        if data is None:
            length, task.failure = 0, DATA_DIGEST_ERROR
        else:
            length = len(data)
            if length == expected <= self._immediate_max and not more:
                task.data = bytes(data)
                self._dispatch(task)
                return
            task.failure = self._objection(task, length, more=more)
        task.begin(0 if task.failure else expected)
        assert task.gathered is not None
        self.gathered_bytes += len(task.gathered)
        if data is not None and task.failure is None:
            task.gathered[:length] = data
            task.received = length
        if more:
            task.expect(NO_TAG, self._first_burst_max - length)
        else:
            self._go_on(task)

    def _objection(self, task: TargetTask, length: int, *, more: bool) -> Failure | None:
        """Why a write with `length` bytes of immediate data can't be taken, if so."""
        expected = task.expected_length
        if length > min(self._immediate_max, expected) or (more and self._initial_r2t):
            return UNEXPECTED_UNSOLICITED_DATA
        if expected > self._length_max:
            return TRANSFER_TOO_LONG
        if self.gathered_bytes and self.gathered_bytes + expected > self._bytes_max:
            return TASK_SET_FULL
        return None

    def _go_on(self, task: TargetTask) -> None:
        """No Data-Out is outstanding for the task: fail it, execute it, or ask for more."""
        if task.failure is not None:
            self._fail(task, task.failure)
        elif task.received == task.expected_length:
            assert task.gathered is not None
            task.ttt = NO_SEQUENCE
            task.data = task.gathered
            self._dispatch(task)
        else:
            task.expect(self.new_ttt(), self._burst_max)
            self._ask(task)

    def _gathering(self, itt: int, ttt: int) -> TargetTask | None:
        """The task that waits for Data-Out with these tags. Others are dropped: late data of tasks that have ended."""
        task = self._tasks.get(itt)
        if task is None or task.gathered is None or task.ttt != ttt:
            return None
        return task

    def on_data_out(self, header: Fields, data: memoryview) -> None:
        """A whole Data-Out."""
        task = self._gathering(header[6], header[7])
        if task is None:
            return
        data_sn, offset = _DATA_OUT.unpack(header[10])
        target = task.landing(data_sn, offset, len(data))
        if target is not None:
            target[:] = data
        if task.advance(data_sn, offset, len(data), final=header[1] & _FINAL != 0):
            self._go_on(task)

    def landing(self, header: Fields) -> memoryview | None:
        """Where the data of a PDU belong that has only begun to arrive, if it is a Data-Out that is wanted."""
        if header[0] != _SCSI_DATA_OUT:
            return None
        task = self._gathering(header[6], header[7])
        if task is None:
            return None
        data_sn, offset = _DATA_OUT.unpack(header[10])
        return task.landing(data_sn, offset, header[4] & pdu.LENGTH_MASK)

    def on_landed(self, header: Fields) -> None:
        """Its data are there."""
        task = self._gathering(header[6], header[7])
        if task is None:
            return
        data_sn, offset = _DATA_OUT.unpack(header[10])
        if task.advance(data_sn, offset, header[4] & pdu.LENGTH_MASK, final=header[1] & _FINAL != 0):
            self._go_on(task)

    def on_damaged(self, itt: int, ttt: int, *, final: bool) -> None:
        """A Data-Out whose data digest was wrong: its command ends with the sequence (§7.8)."""
        task = self._gathering(itt, ttt)
        if task is None:
            return
        task.failure = task.failure or DATA_DIGEST_ERROR
        if final:
            self._go_on(task)

    def forget(self, task: TargetTask) -> None:
        """The task is over: its room is free."""
        if task.gathered is not None:
            self.gathered_bytes -= len(task.gathered)
