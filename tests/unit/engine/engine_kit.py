"""A map with paths whose transports the test plays, in time that the test moves."""

from collections.abc import Callable
from typing import Any

from mpio.engine.fencing import Fence
from mpio.engine.map import MultipathMap, Request
from mpio.engine.path import Path
from mpio.errors import LocalProtocolError
from mpio.events import Event, Journal, Kind
from mpio.model.identity import PathIdentity
from mpio.model.settings import FAST, Settings
from mpio.model.task import Outcome, Status, Task
from mpio.proto.scsi.sense import Sense

MS = 1_000_000
S = 1_000_000_000
BLOCK = 512
IDENTITY = PathIdentity(
    wwid="36001405aa", blocks=1 << 20, block_size=BLOCK, target_name="iqn.2026-01.test:disk", tpgt=1, serial="S1",
    unmap_blocks_max=1 << 16, unmap_descriptors_max=1)
LUN = bytes(8)


class FakeTransport:
    """Takes tasks and lets the test answer them. Checks are answered at once if `check` says how."""

    def __init__(self, check: Callable[[Task], None] | None) -> None:
        self.tasks: list[Task] = []
        self.check = check
        self.closed = False
        self.submitted: list[Task] = []

    def submit(self, task: Task, now: int) -> None:
        if self.closed:
            raise LocalProtocolError("the connection has ended")
        assert task.outcome == Outcome.PENDING
        if self.check is not None and not isinstance(task, Request):
            self.check(task)
            task.on_done(task)
            return
        self.tasks.append(task)
        self.submitted.append(task)

    def end(self, task: Task, outcome: Outcome = Outcome.COMPLETED, status: int = 0, sense: bytes = b"",
            residual: int = 0) -> None:
        self.tasks.remove(task)
        task.outcome, task.status, task.sense, task.residual = outcome, status, sense, residual
        task.on_done(task)

    def good(self) -> None:
        """Answer all there is now."""
        for task in list(self.tasks):
            self.end(task)

    def refuse(self, code: tuple[int, int, int]) -> None:
        """Answer the oldest task with CHECK CONDITION."""
        self.end(self.tasks[0], status=Status.CHECK_CONDITION, sense=Sense(*code).build())

    def close(self, outcomes: Callable[[Task], Outcome] = lambda _: Outcome.IN_DOUBT) -> None:
        """The connection ends, and all tasks with it."""
        self.closed = True
        for task in list(self.tasks):
            self.end(task, outcomes(task))


def answer_good(task: Task) -> None:
    task.outcome = Outcome.COMPLETED


def answer(code: tuple[int, int, int]) -> Callable[[Task], None]:
    def check(task: Task) -> None:
        task.outcome, task.status, task.sense = Outcome.COMPLETED, Status.CHECK_CONDITION, Sense(*code).build()

    return check


class Bench:
    """A map, its paths 1..n, and the clock."""

    def __init__(self, paths: int = 2, *, settings: Settings = FAST, up: bool = True,
                 check: Callable[[Task], None] | None = answer_good, **changes: Any) -> None:
        self.journal = Journal()
        self.map = MultipathMap(settings.replace(**changes), self.journal, "m")
        self.now = 0
        self.check = check
        self.transports: dict[int, FakeTransport] = {}
        self.done: list[Request] = []
        for path_id in range(1, paths + 1):
            self.map.add_path(path_id, f"p{path_id}", 0)
        if up:
            for path_id in range(1, paths + 1):
                self.up(path_id)

    def path(self, path_id: int) -> Path:
        return self.map.paths[path_id]

    def state(self, path_id: int) -> str:
        return self.path(path_id).state.value

    def up(self, path_id: int, identity: PathIdentity = IDENTITY) -> FakeTransport:
        transport = FakeTransport(self.check)
        self.map.path_up(path_id, identity, transport, LUN, self.now)
        self.transports[path_id] = transport
        self.step()
        return transport

    def lose(self, path_id: int, outcomes: Callable[[Task], Outcome] = lambda _: Outcome.IN_DOUBT) -> None:
        self.transports[path_id].close(outcomes)
        self.map.path_lost(path_id, "reset by peer", self.now)
        self.step()

    def step(self) -> None:
        """Run what is due now."""
        for _ in range(1000):
            deadline = self.map.next_deadline()
            if deadline is None or deadline > self.now:
                return
            self.map.handle_timer(self.now)
        raise AssertionError("the map is due for ever")

    def run(self, duration_ns: int) -> None:
        """Let time pass, timer by timer."""
        end = self.now + duration_ns
        for _ in range(100_000):
            deadline = self.map.next_deadline()
            if deadline is None or deadline > end:
                self.now = end
                return
            self.now = max(deadline, self.now)
            self.map.handle_timer(self.now)
        raise AssertionError("too many timers")

    def read(self, offset: int = 0, length: int = 4096) -> None:
        self.map.submit_read(offset, memoryview(bytearray(length)), self.done.append, self.now)

    def write(self, offset: int = 0, length: int = 4096, *, fua: bool = False) -> None:
        self.map.submit_write(offset, bytes(length), self.done.append, self.now, fua=fua)

    def flush(self) -> None:
        self.map.submit_flush(self.done.append, self.now)

    def discard(self, offset: int = 0, length: int = 4096) -> None:
        self.map.submit_discard(offset, length, self.done.append, self.now)

    def good(self) -> None:
        """Answer everything on all paths until nothing is left."""
        for _ in range(1000):
            busy = [transport for transport in self.transports.values() if transport.tasks]
            if not busy:
                return
            for transport in busy:
                transport.good()
        raise AssertionError("there is always more")

    def errors(self) -> list[str]:
        return ["ok" if request.error is None else type(request.error).__name__ for request in self.done]

    def fence(self) -> Fence | None:
        action = self.map.next_action()
        assert action is None or isinstance(action, Fence)
        return action

    def events(self, *kinds: Kind) -> list[Event]:
        return [event for event in self.journal if event.kind in kinds]

    def in_flight(self, path_id: int) -> int:
        return len(self.transports[path_id].tasks)
