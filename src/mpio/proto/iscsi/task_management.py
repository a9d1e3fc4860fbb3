"""Task management requests of the initiator, and what is done about tasks that are not answered in time.

A task that times out is aborted; if that does not settle it, its logical unit is reset; if that fails too, the
connection is given up (as the Linux SCSI error handler does with abort_timeout and lu_reset_timeout).

Unlike there, a task that the target says does not exist, and whose status does not come, counts as aborted: a reset
by another session may have ended it. To reset the logical unit once more would end the tasks of that session in turn.

A reset by another session ends our tasks without a word (TAS is 0, SAM-5 §5.3.2), and the next command meets a unit
attention that says so. Then every task that went out before that command is asked after at once, by ABORT TASK: one
that is gone ends now, and not when its timeout is over; one whose status is on the way still ends with it.
"""

from collections.abc import Callable
from enum import Enum

from mpio.errors import RemoteProtocolError
from mpio.model.settings import Settings
from mpio.model.task import Outcome, Task
from mpio.proto.iscsi.initiator_events import ConnectionEvent, LunReset, TaskAborted, TaskTimedOut
from mpio.proto.iscsi.initiator_tasks import InitiatorTasks
from mpio.proto.iscsi.pdu import (
    NO_TAG,
    TaskFunction,
    TaskResponse,
    serial_before,
    task_management_request,
)
from mpio.proto.scsi.sense import Sense
from mpio.units import seconds

ABSENT_WAIT_NS = 1_000_000_000
"""After "task does not exist": its status may be on the way still (RFC 7143 §11.6.1)."""

_OF_LUN = {TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET}
_OF_TARGET = {TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET}

_TASKS_GONE = frozenset(
    [(0x6, 0x29, ascq) for ascq in (0x00, 0x01, 0x02, 0x03, 0x04, 0x07)] + [(0x6, 0x2F, ascq) for ascq in range(3)])
"""Unit attentions after the end of all tasks of a nexus: resets of any kind, power on, loss of the nexus, and commands
cleared by another initiator, by loss of power or by the device server (SPC-4 annex D)."""

Answered = Callable[[int | None], None]


class _Stage(Enum):
    """What was last done about a task that timed out."""

    ABORT_SENT = 0
    AWAITING_STATUS = 1
    RESET_SENT = 2
    # Not slow: it is said to be gone
    ASKED_AFTER = 3
    GONE = 4


_SAID_TO_BE_GONE = (_Stage.ASKED_AFTER, _Stage.GONE)


class _Request:
    """A request that is not answered yet."""

    __slots__ = ("cmd_sn", "deadline_ns", "function", "lun", "on_done", "referenced_tag")

    def __init__(self, function: TaskFunction, lun: bytes, referenced_tag: int, cmd_sn: int, deadline_ns: int | None,
                 on_done: Answered) -> None:
        self.function = function
        self.lun = lun
        self.referenced_tag = referenced_tag
        self.cmd_sn = cmd_sn
        self.deadline_ns = deadline_ns
        self.on_done = on_done

    def covers(self, task: Task) -> bool:
        """Whether the function ends the task (which must have come before it, §4.2.3.3)."""
        if self.function is TaskFunction.ABORT_TASK:
            return task.itt == self.referenced_tag
        if not serial_before(task.cmd_sn, self.cmd_sn):
            return False
        return self.function in _OF_TARGET or (self.function in _OF_LUN and bytes(task.lun) == self.lun)


class TaskManagement:
    """Outstanding requests and the escalation of one connection.

    Args:
        tasks: the tasks of the connection.
        send: queues a PDU without data.
        settings: abort_timeout and lu_reset_timeout are used.
        report: queues an event of the connection.
        lose: ends the connection for the cause given.
    """

    def __init__(
        self,
        tasks: InitiatorTasks,
        send: Callable[[bytes], None],
        settings: Settings,
        report: Callable[[ConnectionEvent], None],
        lose: Callable[[str], None],
    ) -> None:
        self._tasks = tasks
        self._send_pdu = send
        self._report = report
        self._lose = lose
        self._abort_timeout_ns = seconds(settings.abort_timeout)
        self._reset_timeout_ns = seconds(settings.lu_reset_timeout)
        self._requests: dict[int, _Request] = {}
        self._resets: dict[bytes, int] = {}  # deadline of a reset that is under way, by LUN
        self._now = 0

    def request(self, function: TaskFunction, lun: bytes, task: Task | None, on_done: Answered, now: int) -> None:
        """Send a request for a caller; unanswered for its timeout it ends the connection."""
        timeout = self._abort_timeout_ns if function is TaskFunction.ABORT_TASK else self._reset_timeout_ns
        self._send(function, lun, task, on_done, now + timeout)

    def _send(self, function: TaskFunction, lun: bytes, task: Task | None, on_done: Answered,
              deadline_ns: int | None) -> None:
        tasks = self._tasks
        tag = tasks.new_tag()
        referenced, ref_cmd_sn = (NO_TAG, 0) if task is None else (task.itt, task.cmd_sn)
        self._requests[tag] = _Request(function, bytes(lun), referenced, tasks.cmd_sn, deadline_ns, on_done)
        self._send_pdu(task_management_request(function, lun, tag, referenced, tasks.cmd_sn, tasks.exp_stat_sn,
                                               ref_cmd_sn))

    def owns(self, tag: int) -> bool:
        """Whether the ITT is that of an outstanding request."""
        return tag in self._requests

    def answered(self, tag: int, response: int, now: int) -> None:
        """A request was answered (or rejected: TaskResponse.REJECTED). Raises RemoteProtocolError for no request."""
        request = self._requests.pop(tag, None)
        if request is None:
            raise RemoteProtocolError(f"task management response with the unknown tag {tag:#010x}",
                                      clause="RFC 7143 §11.6")
        self._now = now
        self._tasks.release_tag(tag)
        if response == TaskResponse.FUNCTION_COMPLETE:
            for task in [task for task in self._tasks.outstanding.values() if request.covers(task)]:
                if self._tasks.outstanding.get(task.itt) is task:  # on_done of another one may do anything
                    self._end(task)
        request.on_done(response)

    def ended(self) -> None:
        """The connection has ended: nobody will answer."""
        requests, self._requests = self._requests, {}
        self._resets.clear()
        for request in requests.values():
            request.on_done(None)

    # --- time

    def next_deadline(self) -> int | None:
        """The earliest deadline of a request. Those of tasks are watched by the connection."""
        if not self._requests:  # as good as always
            return None
        return min((r.deadline_ns for r in self._requests.values() if r.deadline_ns is not None), default=None)

    def handle_timer(self, now: int) -> None:
        """Give up the connection if a request is overdue."""
        for request in self._requests.values():
            if request.deadline_ns is not None and now >= request.deadline_ns:
                self._lose(f"{request.function.name.replace('_', ' ')} was not answered in time")
                return

    def expired(self, task: Task, now: int) -> None:
        """The task's deadline has passed: the next step."""
        self._now = now
        stage = self._tasks.overdue.get(task.itt)
        if stage is None:
            self._report(TaskTimedOut(task.cdb[0]))
            self._abort(task, _Stage.ABORT_SENT, now)
        elif stage is _Stage.AWAITING_STATUS or stage is _Stage.GONE:
            self._end(task)
        else:
            self._reset(task, now)

    def condition(self, answered: Task, now: int) -> None:
        """A task ends with CHECK CONDITION: ask after those before it, if it says that they are gone."""
        self._now = now
        sense = Sense.parse(answered.sense)
        if sense is None or sense.code not in _TASKS_GONE:
            return
        for task in list(self._tasks.outstanding.values()):
            if (serial_before(task.cmd_sn, answered.cmd_sn) and bytes(task.lun) == bytes(answered.lun)
                    and task.itt not in self._tasks.overdue):
                self._abort(task, _Stage.ASKED_AFTER, now)

    def _abort(self, task: Task, stage: _Stage, now: int) -> None:
        self._set(task, stage, now + self._abort_timeout_ns)
        tag = task.itt
        self._send(TaskFunction.ABORT_TASK, task.lun, task, lambda response: self._aborted(task, tag, response), None)

    def _end(self, task: Task) -> None:
        gone = self._tasks.overdue.get(task.itt) in _SAID_TO_BE_GONE
        self._tasks.end_task(task, Outcome.CLEARED if gone else Outcome.ABORTED)

    def _set(self, task: Task, stage: _Stage, deadline_ns: int) -> None:
        self._tasks.overdue[task.itt] = stage
        task.deadline_ns = deadline_ns
        self._tasks.deadline_ns = min(self._tasks.deadline_ns, deadline_ns)

    def _aborted(self, task: Task, tag: int, response: int | None) -> None:
        """ABORT TASK was answered. With response 0 the task has ended already."""
        if response is None:
            return
        self._report(TaskAborted(response))
        stage = self._tasks.overdue.get(tag)
        asked_after = stage is _Stage.ASKED_AFTER
        if self._tasks.outstanding.get(tag) is not task or not (asked_after or stage is _Stage.ABORT_SENT):
            return  # its status came meanwhile, or the answer came too late
        if response == TaskResponse.TASK_DOES_NOT_EXIST:
            self._set(task, _Stage.GONE if asked_after else _Stage.AWAITING_STATUS,
                      self._now + min(ABSENT_WAIT_NS, self._abort_timeout_ns))
        elif asked_after:  # the target can't tell; so be it until the task's own timeout
            del self._tasks.overdue[tag]
            task.deadline_ns = self._now + task.timeout_ns if task.timeout_ns else 0
        else:
            self._reset(task, self._now)

    def _reset(self, task: Task, now: int) -> None:
        lun = bytes(task.lun)
        if lun in self._resets:
            # It may cover this task too; if not, the task is looked at again when that reset's time is over.
            self._set(task, _Stage.RESET_SENT, max(self._resets[lun], now + 1))
            return
        deadline_ns = self._resets[lun] = now + self._reset_timeout_ns
        self._set(task, _Stage.RESET_SENT, deadline_ns)
        self._send(TaskFunction.LOGICAL_UNIT_RESET, lun, None, lambda response: self._lun_reset(lun, response),
                   deadline_ns)

    def _lun_reset(self, lun: bytes, response: int | None) -> None:
        if response is None:
            return
        self._resets.pop(lun, None)
        self._report(LunReset(response))
        if response != TaskResponse.FUNCTION_COMPLETE:
            self._lose(f"LOGICAL UNIT RESET after a timeout of a task was answered {response}")
