"""A model of one LU behind several I_T nexuses that knows which writes can still land, and a map driven against it.

A write that was handed to a nexus is *live* there until it is answered or aborted, or the nexus is logged in again or
fenced; a live write whose connection has gone lands at some later moment, or never. The one thing that must not
happen is that a write is sent again, or reported as done or failed, while a copy of it is live.

Every step takes plain numbers, so that hypothesis and a seeded random generator can both play it.
"""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.engine.engine_kit import IDENTITY, LUN, MS

from mpio.engine.fencing import Fence
from mpio.engine.map import MultipathMap, Request
from mpio.engine.recovery import PAUSE_MAX_NS
from mpio.errors import IdentityMismatch, LocalProtocolError, NoUsablePath, OutcomeUnknown, QueueFull
from mpio.events import Journal
from mpio.model.settings import FAST
from mpio.model.task import Outcome, Status, Task
from mpio.proto.scsi.sense import Sense
from mpio.units import seconds

QUEUE_BYTES_MAX = 256 << 10
PART_KB = 8
PATHS_MAX = 4
CONDITIONS = [(6, 0x29, 0x00), (2, 0x04, 0x0A), (2, 0x04, 0x0B), (2, 0x04, 0x0C), (4, 0x44, 0x00), (0xB, 0x47, 0x05),
              (3, 0x11, 0x00), (5, 0x25, 0x00)]
STATUSES = [Status.BUSY, Status.TASK_SET_FULL, Status.TASK_ABORTED]
OTHER_IDENTITIES: list[dict[str, Any]] = [{"wwid": "other"}, {"blocks": 1}, {"blocks": 1 << 21}, {"block_size": 4096}]
WAITS_MS = [0, 1, 10, 100, 500, 1000, 2500]

Copy = tuple[int, int]
"""A command of a write: the number of the request, and its offset."""


class Early(AssertionError):
    """A write was sent again, or reported, while an old copy could still land."""


class Nexus:
    """One path as the target sees it."""

    def __init__(self, model: "FaultModel", path_id: int) -> None:
        self.model = model
        self.path_id = path_id
        self.tasks: list[Task] = []
        self.live: set[Copy] = set()
        self.connected = False

    def submit(self, task: Task, now: int) -> None:
        if not self.connected:
            raise LocalProtocolError("the connection has ended")
        assert task.outcome == Outcome.PENDING
        assert task not in self.tasks
        assert task.lun == LUN
        if isinstance(task, Request):
            copy = self.model.copy_of(task)
            if task.operation.changes_data:
                self.model.check_not_live(copy, "sent again")
                self.live.add(copy)
        self.tasks.append(task)

    def end(self, task: Task, outcome: Outcome, status: int = 0, sense: bytes = b"", residual: int = 0) -> None:
        self.tasks.remove(task)
        task.outcome, task.status, task.sense, task.residual = outcome, status, sense, residual
        if isinstance(task, Request):
            copy = self.model.copy_of(task)
            if outcome != Outcome.IN_DOUBT:
                self.live.discard(copy)
            if task.operation.changes_data and (
                    outcome in (Outcome.IN_DOUBT, Outcome.ABORTED, Outcome.CLEARED)
                    or (outcome == Outcome.COMPLETED and status in (Status.GOOD, Status.TASK_ABORTED))):
                self.model.touched.add(copy[0])
        task.on_done(task)


class Wrong:
    """The transport of a path that leads elsewhere: must never be used."""

    def submit(self, task: Task, now: int) -> None:
        raise AssertionError("I/O was sent by a path with another identity")


class FaultModel:
    """The map, its paths, its shell and its application. `seen` counts what happened, to know what a run was worth."""

    def __init__(self, paths: int, **changes: Any) -> None:
        self.settings = FAST.replace(
            max_sectors_kb=PART_KB, queue_bytes_max=QUEUE_BYTES_MAX, max_retries=2, **changes)
        self.map = MultipathMap(self.settings, Journal(), "m")
        self.now = 0
        self.nexuses = {path_id: Nexus(self, path_id) for path_id in range(1, paths + 1)}
        self.fences: dict[int, Fence] = {}
        self.overtaken: set[int] = set()
        self.touched: set[int] = set()
        self.pending: set[int] = set()
        self.results: dict[int, str] = {}
        self.submitted = 0
        self.seen: dict[str, int] = {}
        for path_id in self.nexuses:
            self.map.add_path(path_id, f"p{path_id}", 0)
        self.log_in(1)

    # --- what the model knows

    def count(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1

    def copy_of(self, task: Request) -> Copy:
        number = (task if task.parent is None else task.parent).context
        assert isinstance(number, int)
        assert number in self.pending, "a request that has ended is still at work"
        return number, task.offset

    def check_not_live(self, copy: Copy, what: str) -> None:
        for nexus in self.nexuses.values():
            if copy in nexus.live:
                raise Early(f"write {copy} {what} while a copy is live at path {nexus.path_id}")

    def ended(self, request: Request) -> None:
        number = request.context
        assert isinstance(number, int)
        assert number in self.pending, f"request {number} ended twice"
        self.pending.remove(number)
        error = request.error
        self.results[number] = "ok" if error is None else type(error).__name__
        self.count(self.results[number])
        if not isinstance(error, OutcomeUnknown):
            for nexus in self.nexuses.values():
                if any(copy[0] == number for copy in nexus.live):
                    raise Early(f"write {number} ended with {error!r} while a copy is live at path {nexus.path_id}")
        if isinstance(error, NoUsablePath | QueueFull):
            assert number not in self.touched, f"write {number} may have landed in part, and is said to have failed"
        if isinstance(error, NoUsablePath) and type(request) is Request:  # a split one may have failed a while ago
            assert not any(path.usable for path in self.map.paths.values()), "failed for want of a path that is there"

    # --- steps of the application

    def number(self) -> int:
        self.submitted += 1
        self.pending.add(self.submitted)
        return self.submitted

    def read(self, block: int, blocks: int) -> None:
        buffer = memoryview(bytearray(blocks * 4096))
        self.map.submit_read(block * 4096, buffer, self.ended, self.now, self.number())

    def write(self, block: int, blocks: int) -> None:
        self.map.submit_write(block * 4096, bytes(blocks * 4096), self.ended, self.now, self.number(), fua=blocks > 3)

    def flush(self) -> None:
        self.map.submit_flush(self.ended, self.now, self.number())

    def discard(self, block: int) -> None:
        self.map.submit_discard(block * 4096, 4096, self.ended, self.now, self.number())

    # --- steps of the target; `which` picks one of the tasks

    def answer(self, which: int, outcome: Outcome = Outcome.COMPLETED, status: int = 0, sense: bytes = b"",
               residual: int = 0) -> None:
        tasks = [(nexus, task) for nexus in self.nexuses.values() for task in nexus.tasks]
        if tasks:
            nexus, task = tasks[which % len(tasks)]
            nexus.end(task, outcome, status, sense, residual)

    def answer_with_sense(self, which: int, condition: int) -> None:
        code = CONDITIONS[condition % len(CONDITIONS)]
        self.answer(which, status=Status.CHECK_CONDITION, sense=Sense(*code).build())

    def answer_with_status(self, which: int, status: int) -> None:
        self.answer(which, status=STATUSES[status % len(STATUSES)])

    def land(self, which: int) -> None:
        """A copy whose connection is gone lands after all, or is dropped by the target: it is not live any more."""
        lost = [(nexus, copy) for nexus in self.nexuses.values() if not nexus.connected for copy in sorted(nexus.live)]
        if lost:
            nexus, copy = lost[which % len(lost)]
            nexus.live.discard(copy)

    # --- steps of the network and the shell

    def lose(self, which: int, not_sent: int, *, told_late: bool) -> None:
        """Of the tasks, each `not_sent`-th was not sent. `told_late`: the application comes before the shell's word."""
        up = [nexus for nexus in self.nexuses.values() if nexus.connected]
        if not up:
            return
        nexus = up[which % len(up)]
        nexus.connected = False
        for index, task in enumerate(list(nexus.tasks)):
            nexus.end(task, Outcome.NOT_SENT if not_sent and index % not_sent == 0 else Outcome.IN_DOUBT)
        if told_late:
            self.read(0, 1)
        self.map.path_lost(nexus.path_id, "lost", self.now)
        if nexus.live:
            self.count("left in doubt")

    def log_in(self, path_id: int) -> None:
        nexus = self.nexuses.get(path_id)
        if nexus is None or nexus.connected:
            return
        if path_id in self.fences:
            self.overtaken.add(path_id)
        nexus.live.clear()  # session reinstatement
        nexus.connected = True
        self.map.path_up(path_id, IDENTITY, nexus, LUN, self.now)

    def log_in_elsewhere(self, path_id: int, which: int) -> None:
        nexus = self.nexuses.get(path_id)
        if nexus is None or nexus.connected:
            return
        identity = replace(IDENTITY, **OTHER_IDENTITIES[which % len(OTHER_IDENTITIES)])
        with pytest.raises(IdentityMismatch):
            self.map.path_up(path_id, identity, Wrong(), LUN, self.now)

    def take_actions(self) -> None:
        while (fence := self.map.next_action()) is not None:
            assert isinstance(fence, Fence)
            assert fence.path_id not in self.fences, "a second fence for one path"
            assert fence.path_id not in fence.through
            self.fences[fence.path_id] = fence

    def answer_fence(self, which: int, *, works: bool) -> None:
        if not self.fences:
            return
        path_id = sorted(self.fences)[which % len(self.fences)]
        fence = self.fences.pop(path_id)
        if path_id in self.overtaken:  # it was done before the login: whatever was sent since is untouched
            self.overtaken.remove(path_id)
            self.count("fence overtaken")
            self.map.fence_done(path_id, fence.methods[0], self.now)
        elif works and any(self.nexuses[peer].connected for peer in fence.through):
            self.nexuses[path_id].live.clear()
            self.count("fenced")
            self.map.fence_done(path_id, fence.methods[0], self.now)
        else:
            self.count("fence failed")
            self.map.fence_failed(path_id, "no", self.now)

    def wait(self, duration_ns: int) -> None:
        end = self.now + duration_ns
        for _ in range(10_000):
            deadline = self.map.next_deadline()
            if deadline is None or deadline > end:
                break
            self.now = max(self.now, deadline)
            self.map.handle_timer(self.now)
        else:
            raise AssertionError("the map is due for ever")
        self.now = end

    # --- what must always hold

    def check(self) -> None:
        self.check_accounts()
        self.check_reasons()

    def check_accounts(self) -> None:
        status = self.map.status(self.now)
        requests = [task for nexus in self.nexuses.values() for task in nexus.tasks if isinstance(task, Request)]
        assert status.in_flight == len(requests)
        assert sum(path.in_flight_bytes for path in status.paths) == sum(task.length for task in requests)
        assert (status.queued == 0) == (status.queued_bytes == 0)
        slots = len(self.nexuses) * self.settings.queue_depth * (PART_KB << 10)
        assert 0 <= status.queued_bytes <= QUEUE_BYTES_MAX + slots
        assert bool(self.pending) == bool(status.queued or status.in_flight), "a request is neither done nor waiting"
        assert len(self.results) + len(self.pending) == self.submitted
        for path in status.paths:
            assert path.in_flight <= self.settings.queue_depth
            assert path.connected or path.in_flight == 0

    def check_reasons(self) -> None:
        """Whatever waits does so for a reason."""
        deadline = self.map.next_deadline()
        if deadline is not None and deadline <= self.now:
            return  # the map could not act yet
        status = self.map.status(self.now)
        roomy = {path.path_id for path in self.map.paths.values() if path.usable and path.in_flight < path.depth}
        assert not (roomy and status.queueing == "expired")
        active = next((group for group in status.groups if group.active), None)
        waiting = status.queued - status.in_doubt - sum(path.waiting for path in status.paths)
        if active is not None and roomy.intersection(active.path_ids):
            assert waiting == self.map._recovery.pausing, "requests wait although a path has room"
        if status.in_doubt and status.queueing == "off" and any(path.connected for path in status.paths):
            for path in self.map.paths.values():
                assert not path.doubts or path.fencing is not None or path.fence_at is not None, "nobody fences"

    def heal(self) -> None:
        """Everything works again: all that waits must end, soon."""
        healed_at = self.now
        for _ in range(100):
            for _ in range(10_000):
                self.take_actions()
                while self.fences:
                    self.answer_fence(0, works=True)
                for path_id in self.nexuses:
                    self.log_in(path_id)
                if not any(nexus.tasks for nexus in self.nexuses.values()):
                    break
                self.answer(0)
            if not self.pending:
                break
            self.wait(100 * MS)
        assert not self.pending, f"{len(self.pending)} requests never end"
        bound_ns = seconds(self.settings.polling_interval) + PAUSE_MAX_NS + 200 * MS  # a check, a pause, our own steps
        assert self.now - healed_at <= bound_ns, "took too long after the heal"
        self.check()
        assert self.map.status(self.now).in_doubt == 0
