"""The map: one disk over several paths. Requests, paths coming and going, and time go in; tasks and fences come out.

    map = MultipathMap(settings, journal, "disk0")
    map.add_path(1, "192.0.2.1:3260", now)
    map.path_up(1, identity, connection, lun, now)       # after login, with what the LU says about itself
    map.submit_read(offset, buffer, on_done, now)

Whoever drives the map calls `handle_timer` when `next_deadline` has come and carries out what `next_action` gives. Both
can change with every call into the map and with every batch of bytes handed to a connection; `wake`, if set, tells.

The usual request costs one object and no event. Whatever does not end well is put aside and settled at the next call
that knows the time: a completion carries none.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from mpio.engine.damping import Damping
from mpio.engine.fencing import Action, Drop, Fence, FencePlan, plan_fence
from mpio.engine.identity import identity_mismatch, identity_text, nexus_mismatch
from mpio.engine.path import Path, PathInput, PathState
from mpio.engine.queueing import NoPath, NoPathRetry
from mpio.engine.recovery import Recovery, with_history
from mpio.engine.request import Operation, Request, SplitRequest, build
from mpio.engine.roster import Roster
from mpio.engine.selector import make_selector
from mpio.engine.status import MapStatus, add_up, describe
from mpio.engine.watch import Watch
from mpio.errors import (
    IdentityMismatch,
    LocalProtocolError,
    MapIoError,
    NoUsablePath,
    OutcomeUnknown,
    QueueFull,
    TargetError,
)
from mpio.events import Journal, Kind, Value
from mpio.model.identity import PathIdentity
from mpio.model.settings import Settings
from mpio.model.task import Buffer, Outcome, Status, Task
from mpio.proto.scsi import cdb
from mpio.proto.scsi.sense import INVALID_OPCODE
from mpio.units import seconds

__all__ = ["Action", "Drop", "Fence", "MapStatus", "MultipathMap", "Request", "TaskTransport"]

TRANSFER_BYTES_MAX = 1 << 20
"""Largest command unless `max_sectors_kb` or the LU says less: as Linux' 1280 KiB for SCSI disks, it keeps one request
from standing in the way of a ping and of the others, at no cost in throughput."""
REQUEST_BYTES_MIN = 512
"""What a request weighs in the queue at least, so that flushes can't queue without bound."""
COMMAND_BYTES_MAX = 1 << 30
"""Above this `max_sectors_kb` has no effect: the expected data transfer length of iSCSI has 32 bits."""
UNMAP_BLOCKS_MAX = 0xFFFF_FFFF
"""What one block descriptor of UNMAP can hold (SBC-3 §5.28.2)."""
FAILURES_RECORDED_MAX = 32
"""IoFailed records per outage; the status counts the rest."""

_READ, _WRITE, _FLUSH, _DISCARD = Operation
_COMPLETED = Outcome.COMPLETED


class TaskTransport(Protocol):
    """What carries tasks to the LU of one path; an InitiatorConnection does."""

    def submit(self, task: Task, now: int) -> None:
        """Send a task. Raises LocalProtocolError, without having taken it, if the connection is not in use."""


class MultipathMap:
    """One map. See the module for how it is driven.

    Attributes:
        name: in the journal's sources. settings: as given.
        identity: of the LU, fixed by the first login; None before.
        paths: by path id.
        now: the latest time that the map was told. A shell that hands bytes to connections may set it first, so
            that latencies are exact.
        latency_sink: called with (operation, length, ns) for every request that ended well, if set.
        wake: called when `next_deadline` or `next_action` have something new, if set.
    """

    def __init__(self, settings: Settings, journal: Journal, name: str) -> None:
        self.settings = settings
        self.name = name
        self.identity: PathIdentity | None = None
        self.paths: dict[int, Path] = {}
        self.now = 0
        self.latency_sink: Callable[[Operation, int, int], None] | None = None
        self.wake: Callable[[], None] | None = None
        self._journal = journal
        self._source = f"map:{name}"
        self._selector = make_selector(settings)
        self._roster = Roster(settings, self.paths, self.record)
        self._no_path = NoPathRetry(settings)
        self._recovery = Recovery(settings, self, self._no_path)
        self._watch = Watch(settings, self)
        self._recovery_ns = seconds(settings.recovery_timeout)
        self._timeout_ns = seconds(settings.timeout)
        self._depth = min(settings.queue_depth, settings.cmds_max)
        self._done = self._task_done  # bound once, not per request
        self._mask = 0  # block size - 1
        self._shift = 0
        self._size = 0
        self._part_bytes = 0
        self._unmap_blocks = 0
        self._waiting: deque[Request] = deque()
        self._queued_bytes = 0  # of all requests that are not in flight, wherever they wait
        self._ended: deque[tuple[Task, Path | None]] = deque()
        self._drops: deque[Drop] = deque()
        self._pumping = False
        self._deadline: int | None = None
        self._deadline_known = False
        self._failed = 0
        self._unknown = 0
        self._failures_recorded = 0
        self._closed = False

    # --- paths come and go

    def add_path(self, path_id: int, name: str, now: int) -> None:
        """Make a path known; it is DOWN until `path_up`."""
        self._advance(now)
        if path_id in self.paths:
            raise LocalProtocolError(f"path {path_id} is there already")
        path = Path(path_id, name, len(self.paths), depth=self._depth, damping=Damping(self.settings), now=now)
        self.paths[path_id] = path
        self.record(path, Kind.PATH_ADDED, now, portal=name)
        self.regroup("path added", now)

    def path_up(
        self, path_id: int, identity: PathIdentity, transport: TaskTransport, lun: bytes, now: int, *,
        registered: bool = False,
    ) -> None:
        """The path has logged in, with the same ISID as ever, and its LU has said who it is.

        The first path fixes the identity of the map. A login to the same portal group as before proves that no
        write of the path's earlier session can land any more; writes in doubt are sent again. `registered`: the
        shell has registered this path's own reservation key with the LU.

        Raises:
            IdentityMismatch: it is another LU, or the LU's size or block size has changed, or writes in doubt
                belong to another nexus. The path stays as it is.
        """
        self._advance(now)
        path = self.paths[path_id]
        if path.connected:
            raise LocalProtocolError(f"{path.name} logged in twice")
        self._settle(now)
        mismatch = self.mismatch(identity) or nexus_mismatch(path, identity)
        if mismatch is not None:
            self.refuse(path, mismatch, identity, now)
            raise IdentityMismatch(f"{path.name}: {mismatch}")
        if path.in_flight:
            raise LocalProtocolError(f"{path.name} logged in before its old tasks were finished")
        if self.identity is None:
            self._adopt(identity, now)
        self._limit(identity)
        path.identity = identity
        path.lun = lun
        path.registered = registered
        path.epoch += 1
        path.submit = transport.submit
        path.recovery_at = None
        self._watch.begin(path, now)
        self._recovery.returned(path, now)
        self.change(path, PathInput.SESSION_UP, "logged in", now)
        for other in self.paths.values():
            other.fence_at = None  # what no path could do this one may
            self._recovery.want_fence(other, now)
        self._settle(now)

    def path_lost(self, path_id: int, cause: str, now: int) -> None:
        """The path's session has ended, after its tasks were finished."""
        self._advance(now)
        path = self.paths[path_id]
        if path.in_flight:
            raise LocalProtocolError(f"{path.name} was lost before its tasks were finished")
        self.end_session(path, cause, now)
        self._settle(now)

    def fence_done(self, path_id: int, method: str, now: int) -> None:
        """The Fence asked for this path is done: no write of its old session can land any more."""
        self._advance(now)
        self._recovery.fence_done(self.paths[path_id], method, now)
        self._after(now)

    def fence_failed(self, path_id: int, cause: str, now: int) -> None:
        """The Fence asked for this path could not be done by any of its methods."""
        self._advance(now)
        self._recovery.fence_failed(self.paths[path_id], cause, now)
        self._after(now)

    def lun_was_reset(self, path_id: int, now: int) -> None:
        """This path has reset the LU, which has ended without a word what the others had under way there.

        The next command of each is told, and then what is gone is asked after (`proto.iscsi.task_management`): so
        send one now.
        """
        self._advance(now)
        for path in self.paths.values():
            if path.path_id != path_id and path.connected:
                self._watch.look(path, now)
        self._stir()

    def close(self, now: int) -> None:
        """No more I/O. What waits ends with NoUsablePath, writes that may have landed with OutcomeUnknown."""
        self._advance(now)
        self._closed = True
        self._size = 0
        for path in self.paths.values():
            path.submit = None
            self._watch.end(path)
        self._roster.regroup("map closed", now)
        self._end_all(now)
        self._stir()

    def _end_all(self, now: int) -> None:
        """The map is closed: whatever waits, or has ended not well, fails."""
        self._settle(now)
        self.requeue(self._recovery.drain())
        self._fail_waiting("the map was closed", now)

    # --- requests

    def submit_read(
        self, offset: int, buffer: memoryview, on_done: Callable[[Request], None], now: int, context: object = None,
    ) -> None:
        """Fill `buffer` from `offset` on. Offset and length in whole blocks; the buffer's items are bytes.

        `on_done` is called once with the request, perhaps before this returns. Raises ValueError for what lies
        outside the disk or is not in whole blocks, LocalProtocolError before the first login and after `close`.
        """
        self.now = now
        length = len(buffer)
        if (offset | length) & self._mask or offset < 0 or not 0 < length <= self._size - offset or (
                buffer.itemsize != 1):
            raise self._misuse(offset, length)
        if length > self._part_bytes:
            self._submit_split(_READ, offset, length, None, buffer, on_done, now, context, fua=False)
            return
        self._start(Request(
            _READ, offset, length, cdb.read(offset >> self._shift, length >> self._shift), self._done,
            None, buffer, self._timeout_ns, on_done, now, context), now)

    def submit_write(
        self, offset: int, data: Buffer, on_done: Callable[[Request], None], now: int, context: object = None, *,
        fua: bool = False,
    ) -> None:
        """Write `data`, which must not change until it is done. As `submit_read`."""
        self.now = now
        length = len(data)
        if (offset | length) & self._mask or offset < 0 or not 0 < length <= self._size - offset or (
                type(data) is memoryview and data.itemsize != 1):
            raise self._misuse(offset, length)
        if length > self._part_bytes:
            self._submit_split(_WRITE, offset, length, data, None, on_done, now, context, fua=fua)
            return
        self._start(Request(
            _WRITE, offset, length, cdb.write(offset >> self._shift, length >> self._shift, fua=fua), self._done,
            data, None, self._timeout_ns, on_done, now, context), now)

    def submit_flush(self, on_done: Callable[[Request], None], now: int, context: object = None) -> None:
        """What was written before is on stable storage when it is done."""
        self.now = now
        if self._size == 0:
            raise self._misuse(0, 0)
        command = cdb.synchronize_cache()
        self._start(Request(
            _FLUSH, 0, 0, command, self._done, None, None, self._timeout_ns, on_done, now, context), now)

    def submit_discard(
        self, offset: int, length: int, on_done: Callable[[Request], None], now: int, context: object = None,
    ) -> None:
        """Tell the LU that blocks are not needed (UNMAP). As `submit_read`; TargetError if the LU does not know it."""
        self.now = now
        if (offset | length) & self._mask or offset < 0 or not 0 < length <= self._size - offset:
            raise self._misuse(offset, length)
        if self._unmap_blocks == 0:
            request = Request(_DISCARD, offset, length, b"", self._done, None, None, 0, on_done, now, context)
            request.error = TargetError(
                "the LU does not support UNMAP", status=Status.CHECK_CONDITION, sense=INVALID_OPCODE.build())
            self._complete(request, now)
            return
        if length > self._unmap_blocks << self._shift:
            self._submit_split(_DISCARD, offset, length, None, None, on_done, now, context, fua=False)
            return
        command, parameters, _ = build(_DISCARD, offset >> self._shift, length >> self._shift, None, None, fua=False)
        self._start(Request(
            _DISCARD, offset, length, command, self._done, parameters, None, self._timeout_ns, on_done, now, context,
        ), now)

    def _submit_split(
        self, operation: Operation, offset: int, length: int, data: Buffer | None, buffer: memoryview | None,
        on_done: Callable[[Request], None], now: int, context: object, *, fua: bool,
    ) -> None:
        part_bytes = self._unmap_blocks << self._shift if operation is _DISCARD else self._part_bytes
        self._enqueue(SplitRequest(
            operation, offset, length, self._done, data, buffer, self._timeout_ns, on_done, now, context,
            part_bytes=part_bytes, shift=self._shift, fua=fua), now)

    def _misuse(self, offset: int, length: int) -> Exception:
        if self._closed:
            return LocalProtocolError("the map is closed")
        if self._size == 0:
            return LocalProtocolError("the map has not had a path yet")
        return ValueError(
            f"expected whole blocks of {self._mask + 1} bytes inside {self._size} bytes, in a buffer of bytes; "
            f"found {length} bytes at {offset}")

    # --- the way of a request: start, end, queue

    def _start(self, request: Request, now: int) -> None:
        if not self._waiting:
            path = self._selector.choose(self._roster.usable, request.length)
            if path is not None:
                submit = path.submit
                request.lun = path.lun
                request.path = path
                path.in_flight += 1
                path.in_flight_bytes += request.length
                assert submit is not None
                try:
                    submit(request, now)
                except LocalProtocolError as error:
                    self._not_taken(request, path, str(error), now)
                return
        self._enqueue(request, now)

    def _task_done(self, task: Task) -> None:
        """A request's command has ended. Called by the transport."""
        if TYPE_CHECKING:
            assert isinstance(task, Request)  # the map submits nothing else
        path = task.path
        assert path is not None, "a command ended twice"
        task.path = None
        length = task.length
        path.in_flight -= 1
        path.in_flight_bytes -= length
        if task.outcome is not _COMPLETED or task.status or task.residual:
            self._queued_bytes += length or REQUEST_BYTES_MIN
            self._ended.append((task, path))
            self._stir()
            if self._closed:
                self._end_all(self.now)
            return
        if self._waiting:
            self._pump(self.now)
        counters = path.counters
        operation = task.operation
        if operation is _READ:
            counters.reads += 1
            counters.read_bytes += length
        elif operation is _WRITE:
            counters.writes += 1
            counters.write_bytes += length
        elif operation is _FLUSH:
            counters.flushes += 1
        else:
            counters.discards += 1
        if task.parent is not None:
            self._part_ended(task, task.parent, self.now)
        else:
            self._complete(task, self.now)

    def _complete(self, request: Request, now: int) -> None:
        """The one way out."""
        on_complete = request.on_complete
        assert on_complete is not None, "a request ended twice"
        request.on_complete = None
        if request.error is not None:
            self._count_failure(request, request.error, now)
        elif self.latency_sink is not None:
            self.latency_sink(request.operation, request.length, now - request.start_ns)
        on_complete(request)

    def _part_ended(self, part: Request, parent: SplitRequest, now: int) -> None:
        left = parent.remaining
        parent.part_ended(part)
        self._queued_bytes -= left - parent.remaining
        if parent.ended:
            parent.conclude()
            self._complete(parent, now)

    def _count_failure(self, request: Request, error: MapIoError, now: int) -> None:
        lba = request.offset >> self._shift
        if isinstance(error, OutcomeUnknown):
            self._unknown += 1
            self.record(None, Kind.OUTCOME_UNKNOWN, now, opcode=request.operation.name, lba=lba, cause=str(error))
            return
        self._failed += 1
        if self._failures_recorded < FAILURES_RECORDED_MAX:
            self._failures_recorded += 1
            self.record(None, Kind.IO_FAILED, now, opcode=request.operation.name, lba=lba, cause=str(error))

    def _enqueue(self, request: Request, now: int) -> None:
        """Let a new request wait, if the bound and `no_path_retry` allow it."""
        weight = request.length or REQUEST_BYTES_MIN
        if self._queued_bytes + weight > self.settings.queue_bytes_max:
            request.error = QueueFull(
                f"{self._queued_bytes} bytes wait for a path; {weight} more would be above queue_bytes_max")
            self._complete(request, now)
            return
        self._queued_bytes += weight
        self._waiting.append(request)
        if self._no_path.state is NoPath.EXPIRED:
            self._stir()  # fails at the next handle_timer, which is due at once
        else:
            self._pump(now)

    def _pump(self, now: int) -> None:
        """Send what waits, as far as paths have room."""
        if self._pumping:
            return
        self._pumping = True
        waiting = self._waiting
        choose = self._selector.choose
        try:
            while waiting:
                request = waiting[0]
                if type(request) is SplitRequest:
                    if request.remaining == 0:
                        waiting.popleft()
                        continue
                    path = choose(self._roster.usable, min(request.part_bytes, request.remaining))
                    if path is None:
                        return
                    part = request.next_part()
                    if request.remaining == 0:
                        waiting.popleft()
                    self.send(part, path, now)
                else:
                    path = choose(self._roster.usable, request.length)
                    if path is None:
                        return
                    waiting.popleft()
                    self.send(request, path, now)
        finally:
            self._pumping = False

    def send(self, request: Request, path: Path, now: int) -> None:
        """Send a request that waits by this path."""
        self._queued_bytes -= request.length or REQUEST_BYTES_MIN
        if request.outcome != Outcome.PENDING:
            request.reset()
        request.lun = path.lun
        request.path = path
        path.in_flight += 1
        path.in_flight_bytes += request.length
        assert path.submit is not None
        try:
            path.submit(request, now)
        except LocalProtocolError as error:
            self._not_taken(request, path, str(error), now)

    def _not_taken(self, request: Request, path: Path, cause: str, now: int) -> None:
        """The connection refuses tasks: its end has not been told yet."""
        request.path = None
        path.in_flight -= 1
        path.in_flight_bytes -= request.length
        self._queued_bytes += request.length or REQUEST_BYTES_MIN
        self._waiting.appendleft(request)
        self.end_session(path, cause, now)

    def requeue(self, requests: Iterable[Request]) -> None:
        """Put requests at the head of the queue, in this order."""
        self._waiting.extendleft(reversed(list(requests)))

    def finish(self, request: Request, error: MapIoError | None, now: int) -> None:
        """End a request that waits, and is in no list any more."""
        if type(request) is SplitRequest:
            assert error is not None, "a split request can't work before its parts"
            self._queued_bytes -= request.remaining
            request.cut(error)
            if request.ended:
                request.conclude()
                self._complete(request, now)
            return
        self._queued_bytes -= request.length or REQUEST_BYTES_MIN
        request.error = None if error is None else with_history(request, error)
        if request.parent is not None:
            self._part_ended(request, request.parent, now)
        else:
            self._complete(request, now)

    def _fail_waiting(self, cause: str, now: int) -> None:
        """Fail what waits now; what is submitted meanwhile waits for the next call."""
        for _ in range(len(self._waiting)):
            request = self._waiting.popleft()
            if type(request) is not SplitRequest or request.remaining:
                self.finish(request, NoUsablePath(f"{request.operation.name.lower()}: {cause}"), now)

    def task_ended(self, task: Task) -> None:
        """One of the watch's own tasks has ended. Called by the transport."""
        self._ended.append((task, None))
        self._stir()

    def _settle(self, now: int) -> None:
        """Decide on everything that has ended not well, or was asked on our own account."""
        while self._ended:
            task, path = self._ended.popleft()
            if path is None:
                self._watch.ended(task, now)
                continue
            assert isinstance(task, Request)
            if task.outcome == _COMPLETED and task.status == Status.CHECK_CONDITION:
                self._watch.attention(path, task.sense, now)
            self._recovery.settle(task, path, now)
        for path in self.paths.values():
            if path.held and path.state is PathState.FAILED:
                self._recovery.abandon(path, now)
        self._after(now)

    # --- what follows from the states of paths

    def change(self, path: Path, event: PathInput, cause: str, now: int) -> None:
        """Give an input to the path's state machine, with all that follows."""
        self._roster.move(path, (event,), cause, now)
        if event is PathInput.COMMAND_FAILED:
            self._watch.failed(path, now)
        self._after(now)

    def regroup(self, cause: str, now: int) -> None:
        """The priority of some path has changed, or whether it is usable."""
        self._roster.regroup(cause, now)
        self._after(now)

    def end_session(self, path: Path, cause: str, now: int) -> None:
        """Take the path's session for lost."""
        path.submit = None
        self._watch.end(path)
        if path.state is PathState.UP and self._recovery_ns == 0:
            self._roster.move(path, (PathInput.SESSION_LOST, PathInput.RECOVERY_EXPIRED), cause, now)
        else:
            self._roster.move(path, (PathInput.SESSION_LOST,), cause, now)
            if path.state is PathState.BLOCKED and path.recovery_at is None and self._recovery_ns > 0:
                path.recovery_at = now + self._recovery_ns
                self.record(path, Kind.PATH_BLOCKED, now, until_ns=path.recovery_at)
        self._after(now)

    def _expire_recovery(self, path: Path, now: int) -> None:
        path.recovery_at = None
        self.record(path, Kind.REPLACEMENT_TIMEOUT_EXPIRED, now)
        cause = f"not back within {self.settings.recovery_timeout:g} s: {path.cause}"
        self._roster.move(path, (PathInput.RECOVERY_EXPIRED,), cause, now)
        self._recovery.abandon(path, now)
        self._after(now)

    def _after(self, now: int) -> None:
        """Look after what waits, given which paths are usable now."""
        no_path, roster = self._no_path, self._roster
        if self._closed:
            return
        if not (roster.usable or roster.interrupted):
            roster.release_held(now)
        if roster.usable:
            if no_path.state is not NoPath.OFF:
                no_path.end()
                self._failures_recorded = 0
                self.record(None, Kind.QUEUEING_ENDED, now)
            self._pump(now)
        elif self.identity is not None and not roster.interrupted:
            if no_path.begin(now):
                self._watch.hurry(now)
                self.record(None, Kind.QUEUEING_STARTED, now, policy=no_path.policy)
                if no_path.expire(now):
                    self.record(None, Kind.QUEUEING_EXPIRED, now)
            if no_path.state is NoPath.EXPIRED:
                for path in self.paths.values():
                    self._recovery.give_up(path, "no path is usable", now)
                self._fail_waiting("no path is usable", now)
        self._stir()

    # --- identity

    def mismatch(self, identity: PathIdentity) -> str | None:
        """Why the identity is not the map's, or None if it is (or if the map has none yet)."""
        return identity_mismatch(self.identity, identity, is_only_path=len(self.paths) == 1)

    def expel(self, path: Path, mismatch: str, now: int) -> None:
        """The path's session leads elsewhere: use it no more, and have it ended."""
        self.end_session(path, mismatch, now)
        self._drops.append(Drop(path.path_id, mismatch))
        self._stir()

    def refuse(self, path: Path, mismatch: str, identity: PathIdentity, now: int) -> None:
        """Journal that a path leads elsewhere."""
        own = self.identity
        self.record(
            path, Kind.IDENTITY_REFUSED, now, expected=None if own is None else identity_text(own),
            found=identity_text(identity), cause=mismatch,
        )

    def _adopt(self, identity: PathIdentity, now: int) -> None:
        self.identity = identity
        self._mask = identity.block_size - 1
        self._shift = identity.block_size.bit_length() - 1
        self._size = identity.size_bytes
        limit_kb = self.settings.max_sectors_kb
        self._part_bytes = TRANSFER_BYTES_MAX if limit_kb is None else min(limit_kb << 10, COMMAND_BYTES_MAX)
        self._unmap_blocks = min(identity.unmap_blocks_max, UNMAP_BLOCKS_MAX)
        self.record(
            None, Kind.MAP_CREATED, now, wwid=identity.wwid, alias=self.settings.alias, size_bytes=self._size,
            block_size=identity.block_size,
        )

    def _limit(self, identity: PathIdentity) -> None:
        """Commands must suit every path."""
        if identity.transfer_blocks_max:
            self._part_bytes = min(self._part_bytes, identity.transfer_blocks_max << self._shift)
        self._part_bytes = max(self._part_bytes & ~self._mask, self._mask + 1)
        self._unmap_blocks = min(self._unmap_blocks, identity.unmap_blocks_max)

    # --- time, actions, journal, status

    def handle_timer(self, now: int) -> None:
        """Do what is due. Before the deadline, late, or twice: all are fine."""
        self._advance(now)
        if self._closed:
            return
        self._settle(now)
        for path in list(self.paths.values()):
            if path.recovery_at is not None and now >= path.recovery_at:
                self._expire_recovery(path, now)
            self._watch.handle_timer(path, now)
            self._recovery.check_deadlines(path, now)
        self._recovery.resume(now)
        self._roster.handle_timer(now)
        if self._no_path.expire(now):
            self.record(None, Kind.QUEUEING_EXPIRED, now)
        self._after(now)

    def next_deadline(self) -> int | None:
        """When `handle_timer` has something to do, or None. Not later than `now` if it has at once."""
        if not self._deadline_known:
            self._deadline = min(self._deadlines(), default=None)
            self._deadline_known = True
        return self._deadline

    def _deadlines(self) -> Iterable[int]:
        if self._closed:
            return
        if self._ended or (
                self._waiting and self._no_path.state is NoPath.EXPIRED and not self._roster.interrupted):
            yield self.now
        yield from self._recovery.deadlines()
        yield from self._watch.deadlines()
        for path in self.paths.values():
            if path.recovery_at is not None:
                yield path.recovery_at
        for deadline in (self._roster.deadline, self._no_path.deadline):
            if deadline is not None:
                yield deadline

    def next_action(self) -> Action | None:
        """The next thing that the shell has to do, or None."""
        if self._drops:
            return self._drops.popleft()
        fences = self._recovery.fences
        while fences:
            fence = fences.popleft()
            path = self.paths[fence.path_id]
            if path.doubts and not path.connected:
                path.fencing = path.epoch  # covers all sessions until now
                return fence
            path.fencing = None  # the path was back, or its writes were given up, before anybody asked
        return None

    def _advance(self, now: int) -> None:
        self.now = max(now, self.now)

    def _stir(self) -> None:
        """Deadlines or actions may have changed."""
        if self._deadline_known:
            self._deadline_known = False
            if self.wake is not None:
                self.wake()

    def record(self, path: Path | None, kind: Kind, now: int, **fields: Value) -> None:
        """Write to the journal, about a path or about the map."""
        source = self._source if path is None else f"{self._source}/path:{path.path_id}"
        self._journal.record(now, source, kind, **fields)

    def in_doubt(self, path_id: int) -> bool:
        """Whether a write that the path's last session had may still land: it waits for a fence or a login."""
        return self._recovery.in_doubt(self.paths[path_id])

    def fence_plan(self, path: Path) -> FencePlan:
        """How the path's nexus could be fenced, given all that the target has said of its paths so far."""
        return plan_fence(
            self._recovery.methods, path, [peer for peer in self.paths.values() if peer is not path])

    def status(self, now: int) -> MapStatus:
        """The map, its groups and its paths, now."""
        paths = self.paths.values()
        queued = sum(type(request) is not SplitRequest or request.remaining > 0 for request in self._waiting)
        queued += sum(path is not None for _, path in self._ended) + self._recovery.pausing
        queued += sum(len(path.held) + len(path.doubts) for path in paths)
        return MapStatus(
            name=self.name,
            t_ns=now,
            wwid="" if self.identity is None else self.identity.wwid,
            size_bytes=0 if self.identity is None else self.identity.size_bytes,
            block_size=0 if self.identity is None else self.identity.block_size,
            usable_paths=sum(len(group.usable) for group in self._roster.groups),
            queueing=self._no_path.state.name.lower(),
            in_flight=sum(path.in_flight for path in paths),
            queued=queued,
            queued_bytes=self._queued_bytes,
            in_doubt=sum(len(path.doubts) for path in paths),
            failed=self._failed,
            outcome_unknown=self._unknown,
            groups=self._roster.status(),
            paths=tuple(describe(path, self.fence_plan(path)) for path in paths),
            counters=add_up(path.counters for path in paths),
            fence=self.settings.fence,
            fences=dict(self._recovery.fenced),
            fences_failed=self._recovery.fences_failed,
        )
