"""Task management functions as the target's end of a connection takes them (RFC 7143 §11.5, §11.6).

Owns: which requests have no answer yet, and what ABORT TASK means for a command that is gathered, is with the node, has
not come, or is gone. What a function does to the logical units is the node's business.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mpio.model.task import lun_number
from mpio.proto.iscsi import pdu
from mpio.proto.iscsi.command_window import CommandWindow
from mpio.proto.iscsi.pdu import RequestHeader, TaskFunction, TaskResponse
from mpio.proto.iscsi.target_task import TargetTask

if TYPE_CHECKING:
    from mpio.proto.iscsi.target import TargetConnection


class TargetTaskManagement:
    """The task management functions of one session.

    Args:
        connection: that of the session; its `on_task_management` runs the functions.
        window: its command window. tasks: its tasks, by ITT.
        drop: ends a task without an answer. catch_up: takes commands whose turn has come.
        answer: sends a response to the request with an ITT.

    Attributes:
        waiting: requests without an answer.
    """

    def __init__(
        self, connection: "TargetConnection", window: CommandWindow, tasks: Mapping[int, TargetTask], *,
        drop: Callable[[TargetTask], None], catch_up: Callable[[], None], answer: Callable[[int, int], None],
    ) -> None:
        self.waiting = 0
        self._connection = connection
        self._window = window
        self._tasks = tasks
        self._drop = drop
        self._catch_up = catch_up
        self._answer = answer

    def receive(self, header: RequestHeader) -> None:
        """Run a function, or have it run; it is answered now or later, unless the session ends first."""
        self.waiting += 1
        function, lun = header.flags & 0x7F, header.lun
        if function == TaskFunction.ABORT_TASK:
            self._abort_task(header)
            return
        respond = self._responder(header.itt, lambda: self._drop_affected(function, lun))
        if function == TaskFunction.TASK_REASSIGN:
            respond(TaskResponse.REASSIGNMENT_NOT_SUPPORTED)
        elif not function or function > TaskFunction.TASK_REASSIGN:
            respond(TaskResponse.NOT_SUPPORTED)
        else:
            self._connection.on_task_management(function, lun, None, respond)

    def _abort_task(self, header: RequestHeader) -> None:
        task = self._tasks.get(header.word20)
        if task is not None and same_lun(task.lun, header.lun):
            respond = self._responder(header.itt, lambda: self._drop(task))
            if task.dispatched:
                self._connection.on_task_management(TaskFunction.ABORT_TASK, header.lun, task, respond)
            else:
                respond(TaskResponse.FUNCTION_COMPLETE)
            return
        respond = self._responder(header.itt, _nothing)
        referenced = header.word(32)
        if self._window.accepts(referenced) and pdu.serial_before(referenced, header.cmd_sn):
            # It has not come, and shall have no effect if it still does (§11.6.1)
            self._window.skip(referenced)
            self._catch_up()
            respond(TaskResponse.FUNCTION_COMPLETE)
        else:
            respond(TaskResponse.TASK_DOES_NOT_EXIST)

    def _drop_affected(self, function: int, lun: bytes) -> None:
        if function != TaskFunction.CLEAR_ACA:
            everywhere = function in (TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET)
            self._connection.abort_tasks(None if everywhere else lun)

    def _responder(self, itt: int, when_complete: Callable[[], None]) -> Callable[[int], None]:
        """What the node answers a task management function with; only the first answer counts."""
        answered = False

        def respond(response: int) -> None:
            nonlocal answered
            if answered or not self._connection.is_open:
                return
            answered = True
            self.waiting -= 1
            if response == TaskResponse.FUNCTION_COMPLETE:
                when_complete()
            self._answer(itt, response)

        return respond


def same_lun(one: bytes, other: bytes) -> bool:
    """Whether two LUN fields name the same logical unit, in whichever form."""
    number = lun_number(one)
    return one == other if number is None else number == lun_number(other)


def _nothing() -> None:
    """What a task management function does to a task that is gone."""
