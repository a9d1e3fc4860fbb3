"""What becomes of a command that did not end well: sent again here, later, elsewhere, after a fence, or failed.

The rule that all else yields to: a write or discard whose answer was lost (IN_DOUBT) is not sent again while its old
copy can still land. It waits at its path until the same nexus has logged in again or has been fenced.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from mpio.engine.fencing import Fence, fence_methods, plan_fence
from mpio.engine.path import Path, PathInput, PathState
from mpio.engine.queueing import NoPathRetry
from mpio.engine.request import Operation, Request, Trouble
from mpio.errors import LocalProtocolError, MapIoError, OutcomeUnknown, ReservationConflict, TargetError
from mpio.events import Kind, Value
from mpio.model.settings import Settings
from mpio.model.task import Outcome, Status
from mpio.proto.scsi.disposition import Disposition, dispose
from mpio.proto.scsi.sense import Sense, SenseKey
from mpio.units import seconds

PAUSE_FIRST_NS = 10_000_000
PAUSE_MAX_NS = 640_000_000
"""Pauses after BUSY and the like double from 10 to 640 ms: short enough for a queue that is full for a moment,
long enough that a controller in transition is not kept busy with refusals."""

_ASC_INVALID_OPCODE = 0x20
_NO_EFFECT_STATUS = (Status.BUSY, Status.TASK_SET_FULL, Status.ACA_ACTIVE, Status.RESERVATION_CONFLICT)
_NO_EFFECT_KEYS = (SenseKey.NOT_READY, SenseKey.ILLEGAL_REQUEST, SenseKey.UNIT_ATTENTION, SenseKey.DATA_PROTECT)


class Host(Protocol):
    """What recovery needs of the map."""

    paths: dict[int, Path]

    def change(self, path: Path, event: PathInput, cause: str, now: int) -> None:
        """Give an input to the path's state machine, with all that follows."""

    def end_session(self, path: Path, cause: str, now: int) -> None:
        """Take the path's session for lost."""

    def requeue(self, requests: Iterable[Request]) -> None:
        """Put requests at the head of the queue, in this order."""

    def send(self, request: Request, path: Path, now: int) -> None:
        """Send a waiting request by this path."""

    def finish(self, request: Request, error: MapIoError | None, now: int) -> None:
        """End a waiting request."""

    def record(self, path: Path | None, kind: Kind, now: int, **fields: Value) -> None:
        """Write to the journal."""


class Recovery:
    """Of one map. Holds the requests that pause; those in doubt hang at their paths.

    Attributes:
        fences: fences to be asked for, in order. methods: that the settings allow.
        fenced: how many nexuses with writes in doubt were fenced, by method; `relogin` is the path's own return.
        fences_failed: fences that were asked for in vain.
    """

    def __init__(self, settings: Settings, host: Host, no_path_retry: NoPathRetry) -> None:
        self._host = host
        self.methods = fence_methods(settings)
        self.fenced = {"relogin": 0, **dict.fromkeys(self.methods, 0)}
        self.fences_failed = 0
        self._no_path_retry = no_path_retry
        self._max_retries = settings.max_retries
        self._polling_ns = seconds(settings.polling_interval)
        # linux scsi_cmd_runtime_exceeced: a command is not retried once it is (max_retries + 1) timeouts old
        self._delayed_ns_max = (settings.max_retries + 1) * seconds(settings.timeout)
        self._pauses: list[tuple[int, int, Request]] = []
        self._pause_count = 0
        self.fences: deque[Fence] = deque()

    @property
    def pausing(self) -> int:
        """How many requests pause."""
        return len(self._pauses)

    # --- a command has ended

    def settle(self, request: Request, path: Path, now: int) -> None:
        """Decide on a request whose command on `path` ended with anything but GOOD and all its bytes."""
        outcome = request.outcome
        if outcome == Outcome.COMPLETED:
            self._answered(request, path, now)
            return
        path.counters.errors += 1
        trouble = _trouble(request)
        if outcome == Outcome.ABORTED:
            trouble.may_have_landed |= request.operation.changes_data
            # Not one of the answers that are counted: a path is given up after each, and no_path_retry rules
            self._fail_path(request, path, "a command timed out and was aborted", now)
            self._host.requeue([request])
            return
        if outcome == Outcome.CLEARED:
            trouble.may_have_landed |= request.operation.changes_data
            trouble.cause = f"{path.name}: ended by a reset of the LU"
            self._retry(request, path, trouble.cause, now)
            return
        if outcome == Outcome.IN_DOUBT:
            trouble.may_have_landed |= request.operation.changes_data
            if path.connected:
                self._host.end_session(path, "a command ended without an answer", now)
        trouble.cause = f"{path.name} was lost"
        if path.connected:  # not sent, and the session goes on
            self._host.requeue([request])
        else:
            path.held.append(request)

    def _answered(self, request: Request, path: Path, now: int) -> None:
        disposition = dispose(request)
        operation = request.operation
        sense = Sense.parse(request.sense) if request.status == Status.CHECK_CONDITION else None
        if operation is Operation.FLUSH and sense is not None and sense.asc == _ASC_INVALID_OPCODE:
            disposition = Disposition.DONE  # linux sd_sync_cache: no such command, hence no cache to write back
        cause = str(sense) if sense else f"status {request.status:02X}h"
        short = request.residual != 0 and operation in (Operation.READ, Operation.WRITE)
        if disposition is Disposition.DONE and short:
            # Not a success: a read's buffer is not filled, or a write's data are not all there.
            disposition = Disposition.RETRY_SAME
            cause = f"GOOD with a residual of {request.residual} of {request.length} bytes"
        if disposition is Disposition.DONE:
            self._host.finish(request, None, now)
            return
        path.counters.errors += 1
        trouble = _trouble(request)
        trouble.cause = f"{path.name}: {cause}"
        if disposition is Disposition.RESERVATION_CONFLICT:
            text = f"{operation.name.lower()} refused: reservation conflict"
            self._host.finish(request, ReservationConflict(text, status=request.status), now)
        elif disposition in (Disposition.FAIL, Disposition.SPACE):
            self._host.finish(request, _target_error(request, trouble), now)
        else:
            trouble.may_have_landed |= operation.changes_data and not _had_no_effect(request, sense)
            if disposition is Disposition.RETRY_SAME:
                self._retry(request, path, cause, now)
            elif disposition is Disposition.RETRY_DELAYED:
                self._pause(request, path, cause, now)
            else:
                self._leave(request, path, cause, now)

    def _retry(self, request: Request, path: Path, cause: str, now: int) -> None:
        trouble = _trouble(request)
        if trouble.retries >= self._max_retries:
            self._leave(request, path, f"{cause}, {trouble.retries} retries", now)
            return
        trouble.retries += 1
        path.counters.retries += 1
        if path.usable and path.in_flight < path.depth:
            self._host.send(request, path, now)
        else:
            self._host.requeue([request])

    def _pause(self, request: Request, path: Path, cause: str, now: int) -> None:
        trouble = _trouble(request)
        if trouble.delayed_since is None:
            trouble.delayed_since, trouble.pause_ns = now, PAUSE_FIRST_NS
        elif now - trouble.delayed_since >= self._delayed_ns_max:
            trouble.delayed_since = None
            self._leave(request, path, f"{cause} for {self._delayed_ns_max / 1e9:g} s", now)
            return
        else:
            trouble.pause_ns = min(2 * trouble.pause_ns, PAUSE_MAX_NS)
        path.counters.retries += 1
        self._pause_count += 1
        heapq.heappush(self._pauses, (now + trouble.pause_ns, self._pause_count, request))

    def _leave(self, request: Request, path: Path, cause: str, now: int) -> None:
        """It is the path's fault: fail the path, and send the request by any other, but not round for ever."""
        trouble = _trouble(request)
        trouble.hops += 1
        self._fail_path(request, path, cause, now)
        if trouble.hops > (self._max_retries + 1) * len(self._host.paths):
            self._host.finish(request, _target_error(request, trouble), now)
        else:
            self._host.requeue([request])

    def _fail_path(self, request: Request, path: Path, cause: str, now: int) -> None:
        trouble = _trouble(request)
        trouble.retries = 0
        trouble.cause = f"{path.name}: {cause}"
        path.counters.rerouted += 1
        if path.connected:
            self._host.change(path, PathInput.COMMAND_FAILED, cause, now)

    # --- a path's session has ended, or is back

    def abandon(self, path: Path, now: int) -> None:
        """The path has FAILED: what was on it goes elsewhere, as far as it may; a write in doubt only after a fence."""
        held, path.held = path.held, []
        if self.methods:
            path.doubts += filter(_is_in_doubt, held)
            held = [request for request in held if not _is_in_doubt(request)]
        self._reroute(path, held, path.cause, now)
        self.want_fence(path, now)

    def in_doubt(self, path: Path) -> bool:
        """Whether a write of the path's lost session may still land, and fences are wanted."""
        return bool(self.methods) and (bool(path.doubts) or any(map(_is_in_doubt, path.held)))

    def returned(self, path: Path, now: int) -> None:
        """The path's nexus has logged in again: the target has ended all that its old session had (RFC 7143 §6.3.5)."""
        if self.in_doubt(path):
            self.fenced["relogin"] += 1
            self._host.record(path, Kind.FENCE_COMPLETED, now, method="relogin", by=path.name)
        requests = path.doubts + path.held
        path.doubts, path.held = [], []
        path.fence_at = path.doubts_until = None
        path.counters.retries += len(requests)
        self._host.requeue(requests)

    def _reroute(self, path: Path, requests: list[Request], cause: str, now: int) -> None:
        if requests:
            path.counters.rerouted += len(requests)
            origin: dict[str, Value] = {"from": path.name}
            self._host.record(path, Kind.IO_REROUTED, now, count=len(requests), cause=cause, **origin)
            self._host.requeue(requests)

    # --- fences

    def want_fence(self, path: Path, now: int) -> None:
        """Ask for a fence if the path has writes in doubt, none is under way, and another path can do it."""
        if not path.doubts or path.fencing is not None or path.connected:
            return
        if path.fence_at is not None and now < path.fence_at:
            return
        peers = [peer for peer in self._host.paths.values() if peer is not path and peer.connected]
        if not peers:
            return  # asked again once a path is up; until then no_path_retry rules
        peers.sort(key=lambda peer: (peer.state is not PathState.UP, -peer.priority, peer.order))
        plan = plan_fence(self.methods, path, peers)
        if not plan.methods:
            self._wait_for_fence(path, plan.why_not, now)
            return
        path.fencing = path.epoch
        path.fence_at = None
        self.fences.append(Fence(path.path_id, plan.methods, tuple(peer.path_id for peer in peers)))

    def fence_done(self, path: Path, method: str, now: int) -> None:
        """The fence that was asked for is done. Stale if the path has logged in since: then it proves nothing."""
        if self._take_answer(path, now):
            requests, path.doubts = path.doubts, []
            path.fence_at = path.doubts_until = None
            self.fenced[method] = self.fenced.get(method, 0) + 1
            self._reroute(path, requests, f"fenced by {method}", now)

    def fence_failed(self, path: Path, cause: str, now: int) -> None:
        """No method worked: again in a polling interval, for as long as `no_path_retry` lets a request wait."""
        if self._take_answer(path, now) and path.doubts:
            self.fences_failed += 1
            self._wait_for_fence(path, cause, now)
            self.check_deadlines(path, now)

    def _wait_for_fence(self, path: Path, cause: str, now: int) -> None:
        patience_ns = self._no_path_retry.patience_ns
        path.fence_at = now + self._polling_ns
        path.fence_cause = cause
        if patience_ns is not None and path.doubts_until is None:
            path.doubts_until = now + patience_ns

    def _take_answer(self, path: Path, now: int) -> bool:
        if path.fencing is None:
            raise LocalProtocolError(f"{path.name}: a fence was answered that was not asked for")
        current = path.fencing == path.epoch and not path.connected
        path.fencing = None
        if not current:
            self.want_fence(path, now)
        return current

    # --- time

    def deadlines(self) -> Iterable[int]:
        """When `resume` and `check_deadlines` have something to do."""
        if self._pauses:
            yield self._pauses[0][0]
        for path in self._host.paths.values():
            if path.doubts:
                if path.doubts_until is not None:
                    yield path.doubts_until
                if path.fence_at is not None and any(p.connected for p in self._host.paths.values()):
                    yield path.fence_at

    def resume(self, now: int) -> None:
        """Requeue the requests whose pause is over."""
        due = []
        while self._pauses and self._pauses[0][0] <= now:
            due.append(heapq.heappop(self._pauses)[2])
        self._host.requeue(due)

    def check_deadlines(self, path: Path, now: int) -> None:
        """Give up on writes in doubt that have waited long enough, else fence again if it is time."""
        if path.doubts and path.doubts_until is not None and now >= path.doubts_until:
            self.give_up(path, f"no fence was possible: {path.fence_cause}", now)
        self.want_fence(path, now)

    def give_up(self, path: Path, cause: str, now: int) -> None:
        """End the path's writes in doubt as what they are."""
        requests, path.doubts = path.doubts, []
        path.doubts_until = path.fence_at = None
        for request in requests:
            self._host.finish(request, OutcomeUnknown(_unknown_text(request, cause)), now)

    def drain(self) -> list[Request]:
        """Take out everything that waits here or at a path; the map is about to close."""
        requests = [request for _, _, request in sorted(self._pauses)]
        self._pauses.clear()
        for path in self._host.paths.values():
            requests += path.held + path.doubts
            path.held, path.doubts = [], []
        return requests


def with_history(request: Request, error: MapIoError) -> MapIoError:
    """The error that says the truth about a write of which an earlier copy may have landed: OutcomeUnknown."""
    trouble = request.trouble
    if trouble is None or not trouble.may_have_landed or isinstance(error, OutcomeUnknown):
        return error
    unknown = OutcomeUnknown(_unknown_text(request, str(error)))
    unknown.__cause__ = error
    return unknown


def _unknown_text(request: Request, cause: str) -> str:
    history = request.trouble.cause if request.trouble else ""
    return (f"{request.operation.name.lower()} of {request.length} bytes at {request.offset} may or may not have landed"
            f" ({history}; {cause})")


def _trouble(request: Request) -> Trouble:
    trouble = request.trouble
    if trouble is None:
        trouble = request.trouble = Trouble()
    return trouble


def _is_in_doubt(request: Request) -> bool:
    """Whether the command that has just been lost could land later and undo something."""
    return request.outcome == Outcome.IN_DOUBT and request.operation.changes_data


def _had_no_effect(request: Request, sense: Sense | None) -> bool:
    """Whether the answer says that the command was not begun."""
    return request.status in _NO_EFFECT_STATUS or (
        sense is not None and not sense.deferred and sense.key in _NO_EFFECT_KEYS)


def _target_error(request: Request, trouble: Trouble) -> TargetError:
    return TargetError(
        f"{request.operation.name.lower()} of {request.length} bytes at {request.offset} failed: {trouble.cause}",
        status=request.status, sense=bytes(request.sense),
    )
