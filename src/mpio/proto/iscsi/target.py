"""One connection of the target role, which is one session (MaxConnections 1, error recovery level 0)."""

from collections.abc import Callable, Sequence

from mpio.model.task import Buffer
from mpio.proto.iscsi.negotiation import SessionParams
from mpio.proto.iscsi.target_login import LoginAcceptor, TargetParams


class TargetTask:
    """A SCSI command as the target sees it.

    Attributes:
        connection: where the answer goes, by `connection.complete(task, …)`.
        lun: the 8 LUN bytes. cdb: 16 bytes (or more, from an AHS); shorter CDBs have zeros behind them.
        is_read, is_write: direction flags of the command; both may be off.
        expected_length: Expected Data Transfer Length, bytes the initiator is ready to move.
        data: all write data, `expected_length` bytes. Valid until the task is completed.
        itt: initiator task tag. attribute: task attribute (SAM-5).
        context: the node's own.
    """

    __slots__ = ("attribute", "cdb", "connection", "context", "data", "expected_length", "is_read", "is_write", "itt", "lun")


class TargetConnection:
    """The target's end of one connection.

    The node gets commands by `on_command` and answers with `complete`, at once or later. After `close` or a task
    management function, answers to tasks that are gone are ignored.

    Attributes:
        negotiated: after login.
        on_command: called with each task when all its write data is there, from inside `receive_done`.
        on_task_management: called with function (RFC 7143 §11.5.1), LUN, the referenced task (ABORT TASK, if it is with
            the node), and `respond`, to be called once with a response code, at once or later. This connection's own tasks
            that the function ends are dropped when `respond(0)` is called; those of other sessions are the
            node's to end, by `abort_tasks` of their connections.
        on_closed: called once when the connection ends, however that comes, with the cause.
        wake: called when there is something to send and there was nothing before.
    """

    negotiated: SessionParams
    on_command: Callable[[TargetTask], None]
    on_task_management: Callable[[int, bytes, TargetTask | None, Callable[[int], None]], None]
    on_closed: Callable[["TargetConnection", str], None] | None
    wake: Callable[[], None] | None

    def __init__(self, params: TargetParams, acceptor: LoginAcceptor, now: int) -> None:
        raise NotImplementedError

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
            status: SCSI status.
            data: for the initiator; what is more than it expects is cut and reported as overflow. Not copied if long:
                it must not change until it is sent (or may, as a read that runs beside a write may see either).
            sense: for CHECK CONDITION.
            length: bytes that the CDB asks to move, for the residual; default: `len(data)`, or all of a write.
        """
        raise NotImplementedError

    def abort_tasks(self, lun: bytes | None, status: int | None = None) -> int:
        """End all tasks (of one LUN), gathered or with the node; with a status (TASK ABORTED) or silently. Count."""
        raise NotImplementedError

    def request_logout(self, seconds: int) -> None:
        """Ask the initiator to log out (async event 1)."""
        raise NotImplementedError

    def close(self, cause: str = "closed") -> None:
        """End the connection at once: no task of it is executed or answered any more."""
        raise NotImplementedError
