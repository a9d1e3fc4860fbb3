"""A request: one read, write, flush or discard of the application on its way through the map.

On the usual way a `Request` is itself the one SCSI task that carries it out. A request larger than one command may be
becomes a `SplitRequest`, which hands out its parts one by one as paths have room, and ends when all of them have.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING

from mpio.errors import MapIoError, OutcomeUnknown, TargetError
from mpio.model.task import Buffer, Outcome, Task
from mpio.proto.scsi import cdb

if TYPE_CHECKING:
    from mpio.engine.path import Path


class Operation(IntEnum):
    """What a request does."""

    READ = 0
    WRITE = 1
    FLUSH = 2
    DISCARD = 3

    @property
    def changes_data(self) -> bool:
        """Whether a late copy of it could undo a later one."""
        return self in _CHANGING


_CHANGING = frozenset((Operation.WRITE, Operation.DISCARD))


class Trouble:
    """What a request has been through that did not go well; most never have one.

    Attributes:
        retries: times sent again on the same path since it last changed path.
        hops: paths that it has left because of a condition of the path.
        delayed_since: when the target first asked for a pause. pause_ns: length of the last one.
        may_have_landed: an earlier copy was sent, and its effect is not known.
        cause: the last reason, in words.
    """

    __slots__ = ("cause", "delayed_since", "hops", "may_have_landed", "pause_ns", "retries")

    def __init__(self) -> None:
        self.retries = 0
        self.hops = 0
        self.delayed_since: int | None = None
        self.pause_ns = 0
        self.may_have_landed = False
        self.cause = ""


class Request(Task):
    """One request that is one command.

    Attributes:
        operation, offset, length: what, and where in bytes.
        error: why it failed, once `on_complete` is called; None if it worked.
        context: the caller's own.
        on_complete: called once, with the request. It may submit requests; it must not raise.
        path: the path it is in flight on, else None. parent: the split request it is a part of, else None.
        start_ns: when it was submitted.
    """

    __slots__ = ("error", "length", "offset", "on_complete", "operation", "parent", "path", "start_ns", "trouble")

    def __init__(
        self, operation: Operation, offset: int, length: int, command: bytes, on_done: Callable[[Task], None],
        data_out: Buffer | None, read_buffer: memoryview | None, timeout_ns: int,
        on_complete: Callable[["Request"], None] | None, start_ns: int, context: object,
        parent: "SplitRequest | None" = None,
    ) -> None:
        # One frame, no keyword arguments: this runs once per I/O. It sets all that Task.__init__ sets.
        self.operation = operation
        self.offset = offset
        self.length = length
        self.cdb = command
        self.on_done = on_done
        self.data_out = data_out
        self.read_buffer = read_buffer
        self.timeout_ns = timeout_ns
        self.on_complete = on_complete
        self.start_ns = start_ns
        self.context = context
        self.parent = parent
        self.path: Path | None = None
        self.error: MapIoError | None = None
        self.trouble: Trouble | None = None
        self.lun = b""
        self.outcome = Outcome.PENDING
        self.status = 0
        self.sense = b""
        self.residual = 0
        self.itt = 0
        self.cmd_sn = 0
        self.deadline_ns = 0
        self.received = 0
        self.sent = False

    @property
    def may_have_landed(self) -> bool:
        """Whether a failed write or discard may have changed the medium, in part or in whole, now or later."""
        return (
            self.operation.changes_data and self.error is not None
            and (type(self.error) in (OutcomeUnknown, TargetError)
                 or (self.trouble is not None and self.trouble.may_have_landed))
        )

    def __repr__(self) -> str:
        return f"<Request {self.operation.name} {self.length} bytes at {self.offset}>"


class SplitRequest(Request):
    """A request of several commands. It is never submitted itself.

    Attributes:
        part_bytes: most bytes of a part. next_offset: where the next part begins. open: parts that have not ended.
        landed: whether a part has ended well, so that a failure leaves the rest undone only.
    """

    __slots__ = ("fua", "landed", "next_offset", "open", "part_bytes", "shift")

    def __init__(
        self, operation: Operation, offset: int, length: int, on_done: Callable[[Task], None],
        data_out: Buffer | None, read_buffer: memoryview | None, timeout_ns: int,
        on_complete: Callable[[Request], None], start_ns: int, context: object, *,
        part_bytes: int, shift: int, fua: bool,
    ) -> None:
        super().__init__(
            operation, offset, length, b"", on_done, data_out, read_buffer, timeout_ns, on_complete, start_ns, context,
        )
        self.part_bytes = part_bytes
        self.shift = shift
        self.fua = fua
        self.next_offset = offset
        self.open = 0
        self.landed = False

    @property
    def remaining(self) -> int:
        """Bytes that no part has taken yet."""
        return self.offset + self.length - self.next_offset

    def next_part(self) -> Request:
        """The next part, counted as open."""
        start = self.next_offset
        length = min(self.part_bytes, self.remaining)
        assert length > 0, "a split request has no part left"
        at = start - self.offset
        command, data_out, read_buffer = build(
            self.operation, start >> self.shift, length >> self.shift,
            None if self.data_out is None else memoryview(self.data_out)[at : at + length],
            None if self.read_buffer is None else self.read_buffer[at : at + length],
            fua=self.fua,
        )
        self.next_offset = start + length
        self.open += 1
        return Request(
            self.operation, start, length, command, self.on_done, data_out, read_buffer, self.timeout_ns, None,
            self.start_ns, None, self,
        )

    @property
    def ended(self) -> bool:
        """Whether all parts that there will be have ended."""
        return self.open == 0 and self.remaining == 0

    def part_ended(self, part: Request) -> None:
        """Take a part's result."""
        assert self.open > 0, "more parts ended than were begun"
        self.open -= 1
        if part.error is None:
            self.landed = True
        else:
            self.cut(part.error)

    def cut(self, error: MapIoError) -> None:
        """No more parts, because of an error. The first one is told, unless a later one leaves the outcome unknown."""
        self.next_offset = self.offset + self.length
        if self.error is None or isinstance(error, OutcomeUnknown):
            self.error = error

    def conclude(self) -> None:
        """All parts have ended. A write of which some parts are done has not had no effect."""
        error = self.error
        if self.landed and self.operation.changes_data and error is not None and not isinstance(
                error, OutcomeUnknown | TargetError):
            name = self.operation.name.lower()
            self.error = OutcomeUnknown(f"a part of the {name} was done, the rest failed: {error}")
            self.error.__cause__ = error


def build(
    operation: Operation, lba: int, blocks: int, data_out: Buffer | None, read_buffer: memoryview | None, *, fua: bool,
) -> tuple[bytes, Buffer | None, memoryview | None]:
    """The command of an operation with its data out and its buffer for data in."""
    if operation is Operation.READ:
        return cdb.read(lba, blocks), None, read_buffer
    if operation is Operation.WRITE:
        return cdb.write(lba, blocks, fua=fua), data_out, None
    if operation is Operation.FLUSH:
        return cdb.synchronize_cache(), None, None
    parameters = cdb.unmap_list([(lba, blocks)])
    return cdb.unmap(len(parameters)), parameters, None
