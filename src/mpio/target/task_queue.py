"""Commands on a logical unit whose store takes its time: which go side by side, and which wait for which.

A unit runs commands at once, one at a time, and so each is atomic. Over a store that waits for a disk or a network that
would be one I/O at a time for everybody. So here plain reads and writes and cache flushes are begun and left to the
store (SIMPLE tasks have no order among themselves, SAM-5 §8.6.2); every other command waits until those have ended,
runs alone, and those that come after it wait for it. Nothing that has ended in the protocol may land later: `hold`
waits for what was begun.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeGuard

from mpio.model.task import Buffer
from mpio.proto.iscsi.target_task import TargetTask
from mpio.proto.scsi.cdb import FUA, Op, lba_and_blocks
from mpio.target.nexus import Nexus
from mpio.target.response import GOOD, Response, check
from mpio.target.state import UnitState
from mpio.target.store import BlockStore, StoreError

Done = Callable[[Buffer | StoreError], None]
"""Takes what was read, which nothing changes any more; empty bytes for anything else; or what went wrong."""

Reply = Callable[[Response], None]
"""Takes the answer to a command."""

_ATTRIBUTE = 0x07
_ORDERED = 0x02
_PROTECT = 0xE0

_READS = frozenset((Op.READ_10, Op.READ_12, Op.READ_16))
_WRITES = frozenset((Op.WRITE_10, Op.WRITE_12, Op.WRITE_16))
_FLUSHES = frozenset((Op.SYNCHRONIZE_CACHE_10, Op.SYNCHRONIZE_CACHE_16))
_AT_ONCE = frozenset((Op.TEST_UNIT_READY, Op.INQUIRY, Op.REQUEST_SENSE, Op.REPORT_LUNS))  # path checkers do not wait


class DeferringStore(BlockStore, Protocol):
    """A store that can have several I/Os in flight. `defers` says whether it is worth it.

    Those of BlockStore do the same and wait. Each `begin_` method may be done at once, and then says so and does not
    call `done`; or it raises StoreError.
    """

    @property
    def defers(self) -> bool:
        """Whether I/O waits for something slower than memory."""

    def begin_read(self, offset: int, length: int, done: Done) -> Buffer | None:
        """The bytes, or None if `done` gets them later."""

    def begin_write(self, offset: int, data: Buffer, done: Done, *, fua: bool) -> bool:
        """Write `data`, which must not change until then; with `fua`, to stable storage. Whether it is done already."""

    def begin_flush(self, done: Done) -> bool:
        """Bring every write that was done before to stable storage. Whether it is done already."""

    def drain(self) -> None:
        """Wait until everything that was begun is done. Raises StoreError if something may still be on its way."""


def defers(store: BlockStore) -> TypeGuard[DeferringStore]:
    """Whether a store wants a queue."""
    return getattr(store, "defers", False)


class TaskQueue:
    """The queue of one unit over a DeferringStore."""

    def __init__(
        self, unit: UnitState, execute: Callable[[Nexus, bytes, Buffer], Response], store: DeferringStore
    ) -> None:
        self._unit = unit
        self._execute = execute
        self._store = store
        self._waiting: deque[tuple[Nexus, TargetTask, Reply]] = deque()
        self._running = 0
        self._held = 0

    @property
    def running(self) -> int:
        """How many I/Os the store has in flight."""
        return self._running

    def submit(self, nexus: Nexus, task: TargetTask, reply: Reply | None = None) -> None:
        """Run a task: now, beside others, or when its turn comes.

        Args:
            nexus: that it came by.
            task: its CDB and data count when it is run, which is never if its connection does not hold it any more.
            reply: takes the answer; by default the task is completed with it.
        """
        reply = reply or _completion(task)
        if task.cdb[0] in _AT_ONCE:
            reply(self._execute(nexus, task.cdb, task.data))
        elif self._waiting or self._held or not self._begin(nexus, task, reply):
            self._waiting.append((nexus, task, reply))
            self._advance()

    def hold(self) -> None:
        """Begin nothing more until `release`, and wait for what was begun. Raises StoreError, and then is not held."""
        self._held += 1
        try:
            self._store.drain()
        except StoreError:
            self._held -= 1
            raise

    def release(self) -> None:
        """Go on after `hold`, with the tasks that still wait for an answer."""
        self._held -= 1
        self._advance()

    def _advance(self) -> None:
        waiting = self._waiting
        while waiting and not self._held:
            nexus, task, reply = waiting[0]
            if task.connection.holds(task):  # it may have been aborted while it waited
                if self._begin(nexus, task, reply):
                    pass
                elif self._running:
                    return
                else:
                    reply(self._execute(nexus, task.cdb, task.data))
            waiting.popleft()

    def _begin(self, nexus: Nexus, task: TargetTask, reply: Reply) -> bool:
        """Begin a plain transfer that nothing stands in the way of. Whether it was one."""
        unit, cdb = self._unit, task.cdb
        kind = cdb[0]
        is_read, is_write = kind in _READS, kind in _WRITES
        if not (is_read or is_write or kind in _FLUSHES):
            return False
        lba, blocks = lba_and_blocks(cdb)
        if (nexus in unit.watched or task.flags & _ATTRIBUTE == _ORDERED or lba + blocks > unit.blocks
                or (blocks > unit.limits.transfer_max and (is_read or is_write))):
            return False
        offset, length = lba * unit.block_size, blocks * unit.block_size
        if is_read or is_write:
            if cdb[1] & _PROTECT or not blocks:
                return False
            if is_write and (len(task.data) != length or unit.is_write_protected):
                return False

        def done(result: Buffer | StoreError) -> None:
            self._running -= 1
            reply(self._response(result))
            self._advance()

        result: Buffer | StoreError | None
        self._running += 1
        try:
            if is_read:
                result = self._store.begin_read(offset, length, done)
            elif is_write:
                result = b"" if self._store.begin_write(offset, task.data, done, fua=bool(cdb[1] & FUA)) else None
            else:
                result = b"" if self._store.begin_flush(done) else None
        except StoreError as error:
            result = error
        if result is not None:
            self._running -= 1
            reply(self._response(result))
        return True

    def _response(self, result: Buffer | StoreError) -> Response:
        if isinstance(result, StoreError):
            return check(result.sense, descriptor=self._unit.descriptor_sense)
        return Response(0, b"", result) if result else GOOD


def _completion(task: TargetTask) -> Reply:
    complete = task.connection.complete

    def reply(response: Response) -> None:
        status, sense, data, length = response
        complete(task, status, data, sense, length)

    return reply


@contextmanager
def all_held(queues: Iterable[TaskQueue]) -> Iterator[None]:
    """All queues held, so that whatever ends meanwhile can't land later. Raises StoreError."""
    held: list[TaskQueue] = []
    try:
        for queue in queues:
            queue.hold()
            held.append(queue)
        yield
    finally:
        for queue in held:
            queue.release()
