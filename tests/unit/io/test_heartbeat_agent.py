"""The shell of a heartbeat: it carries out what a machine wants, whatever that is, and tells it what became of it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from mpio.events import Journal, Kind
from mpio.heartbeat.machine import (
    Action,
    Cause,
    Connected,
    Disconnected,
    Extend,
    Fence,
    Happened,
    Held,
    Input,
    Leave,
    NodeState,
    Read,
    ReadDone,
    Received,
    Send,
    Status,
    Write,
    WriteDone,
)
from mpio.io.heartbeat_agent import Agent
from mpio.io.heartbeat_network import Arrived, Linked, News
from mpio.io.heartbeat_store import FileBlocks


class Script:
    """A machine that answers each input with what the test says, and remembers all it was told."""

    def __init__(self, answer: "Callable[[Script, Input | str], list[Action]]") -> None:
        self.answer = answer
        self.told: list[Input | str] = []
        self.deadline: int | None = None
        self.state = NodeState.RUNNING

    def start(self, now: int) -> list[Action]:
        return self._hear("start")

    def handle(self, item: Input, now: int) -> list[Action]:
        return self._hear(item)

    def handle_timer(self, now: int) -> list[Action]:
        assert self.deadline is not None
        assert now >= self.deadline
        self.deadline = None
        return self._hear("timer")

    def next_deadline(self) -> int | None:
        return self.deadline

    def status(self, now: int) -> Status:
        return Status(1, self.state, 1, None, 0, quorum=True, score=0, peers=())

    def _hear(self, item: Input | str) -> list[Action]:
        self.told.append(item)
        return self.answer(self, item)


class Guarded:
    def __init__(self, *, holds: bool = True) -> None:
        self.holds = holds
        self.calls: list[object] = []

    def extend(self, until_ns: int) -> None:
        self.calls.append(until_ns)

    async def fence(self, fence: Fence) -> bool:
        self.calls.append(fence)
        return self.holds

    def release(self) -> None:
        self.calls.append("released")


class Wire:
    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.tell: Callable[[News], None] = lambda _news: None
        self.closed = False

    def open(self, tell: Callable[[News], None]) -> None:
        self.tell = tell

    def send(self, peer: int, data: bytes) -> None:
        self.sent.append((peer, data))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def region(tmp_path: Path) -> Path:
    path = tmp_path / "region"
    path.write_bytes(bytes(64 * 1024))
    return path


def agent_of(
    machine: Script, region: Path, guard: Guarded, wire: Wire | None = None, journal: Journal | None = None,
    clock: Callable[[], int] = lambda: 0,
) -> Agent:
    return Agent(
        machine, blocks=FileBlocks(region), guard=guard, journal=Journal() if journal is None else journal,
        source="heartbeat:1", network=wire, clock=clock,
    )  # fmt: skip


def test_a_block_is_written_and_read_back_and_the_node_leaves(region: Path) -> None:
    def answer(machine: Script, item: Input | str) -> list[Action]:
        match item:
            case "start":
                return [Write(7, 4096, b"x" * 4096), Extend(99)]
            case WriteDone(7, ""):
                return [Read(8, 4096, 4096)]
            case ReadDone(8, bytes()):
                machine.state = NodeState.LEFT
                return [Happened(Kind.PEER_LEFT, {"node": 2})]
        raise AssertionError(item)

    machine, guard, journal = Script(answer), Guarded(), Journal()

    async def run() -> Status:
        agent = agent_of(machine, region, guard, journal=journal)
        agent.start()
        return await agent.ended()

    assert asyncio.run(run()).state is NodeState.LEFT
    assert machine.told[-1] == ReadDone(8, b"x" * 4096)
    assert region.read_bytes()[4096:8192] == b"x" * 4096
    assert guard.calls == [99, "released"]
    assert [(event.source, event.kind, event.fields) for event in journal] == [
        ("heartbeat:1", Kind.PEER_LEFT, {"node": 2})]


def test_errors_of_the_storage_are_told(region: Path) -> None:
    def answer(machine: Script, item: Input | str) -> list[Action]:
        match item:
            case "start":
                return [Read(1, 1 << 30, 4096)]
            case ReadDone(1):
                machine.state = NodeState.REFUSED
        return []

    machine, guard = Script(answer), Guarded()

    async def run() -> Status:
        agent = agent_of(machine, region, guard)
        agent.start()
        return await agent.ended()

    assert asyncio.run(run()).state is NodeState.REFUSED
    told = machine.told[-1]
    assert isinstance(told, ReadDone)
    assert told.data is None
    assert "cut short" in told.error
    assert guard.calls == ["released"]


def test_what_is_due_comes_before_an_answer_that_came_late(region: Path) -> None:
    now = 0

    def answer(machine: Script, item: Input | str) -> list[Action]:
        if item == "start":
            machine.deadline = 10**15
        return []

    machine = Script(answer)

    async def run() -> None:
        nonlocal now
        agent = agent_of(machine, region, Guarded(), clock=lambda: now)
        agent.start()
        agent.tell(Leave())
        now = 10**15
        agent.tell(Leave())
        await agent.stop()
        agent.tell(Leave())

    asyncio.run(run())
    assert machine.told == ["start", Leave(), "timer", Leave()]


def test_the_timer_runs_once_the_deadline_has_passed(region: Path) -> None:
    def answer(machine: Script, item: Input | str) -> list[Action]:
        if item == "start":
            machine.deadline = 10**6
        else:
            machine.state = NodeState.LEFT
        return []

    machine = Script(answer)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        agent = agent_of(machine, region, Guarded(), clock=lambda: int((loop.time() - begin) * 1e9))
        agent.start()
        await agent.ended()

    asyncio.run(run())
    assert machine.told == ["start", "timer"]


def test_a_deadline_that_passed_while_the_loop_stood_still_is_seen_at_the_next_wake(region: Path) -> None:
    jumped = 0

    def answer(machine: Script, item: Input | str) -> list[Action]:
        if item == "start":
            machine.deadline = 10**15  # the loop alone would sleep for eleven days
        else:
            machine.state = NodeState.LEFT
        return []

    machine = Script(answer)

    async def run() -> None:
        nonlocal jumped
        agent = Agent(
            machine, blocks=FileBlocks(region), guard=Guarded(), journal=Journal(), source="node:1/heartbeat",
            clock=lambda: jumped, wake_ns=10**6,
        )  # fmt: skip
        agent.start()
        await asyncio.sleep(0.01)
        assert machine.told == ["start"]
        jumped = 10**15  # the machine has slept
        await agent.ended()

    asyncio.run(run())
    assert machine.told == ["start", "timer"]


@pytest.mark.parametrize("holds", [True, False])
def test_the_fence_is_acknowledged_only_if_it_holds(region: Path, holds: bool) -> None:
    def answer(machine: Script, item: Input | str) -> list[Action]:
        match item:
            case "start":
                machine.state = NodeState.FENCED
                return [Fence(Cause.POISON, "a test")]
            case Held():
                return [Write(1, 0, b"h" * 4096)]
        return []

    machine, guard = Script(answer), Guarded(holds=holds)

    async def run() -> Status:
        agent = agent_of(machine, region, guard)
        agent.start()
        return await agent.ended()

    assert asyncio.run(run()).state is NodeState.FENCED
    assert guard.calls == [Fence(Cause.POISON, "a test")]  # and never released
    assert (Held() in machine.told) == holds
    assert region.read_bytes().startswith(b"h" * 4096 if holds else bytes(4096))


def test_a_fence_that_goes_wrong_is_told(region: Path) -> None:
    class Broken(Guarded):
        async def fence(self, fence: Fence) -> bool:
            raise OSError("no such command")

    machine = Script(lambda _machine, item: [Fence(Cause.STORAGE, "late")] if item == "start" else [])

    async def run() -> None:
        agent = agent_of(machine, region, Broken())
        agent.start()
        await agent.ended()

    with pytest.raises(OSError, match="no such command"):
        asyncio.run(run())


@pytest.mark.parametrize("when", ["start", Leave()])
def test_a_node_whose_machine_breaks_is_fenced(region: Path, when: Input | str) -> None:
    def answer(machine: Script, item: Input | str) -> list[Action]:
        if item == when:
            raise ZeroDivisionError("a bug")
        return []

    guard = Guarded(holds=False)

    async def run() -> None:
        agent = agent_of(Script(answer), region, guard)
        agent.start()
        agent.tell(Leave())
        await agent.ended()

    with pytest.raises(ZeroDivisionError, match="a bug"):
        asyncio.run(run())
    assert [type(call) for call in guard.calls] == ([] if when == "start" else [Fence])


def test_messages_go_both_ways(region: Path) -> None:
    machine = Script(lambda _machine, item: [Send(2, b"hello")] if isinstance(item, Connected) else [])
    wire = Wire()

    async def run() -> None:
        agent = agent_of(machine, region, Guarded(), wire)
        agent.start()
        for news in (Linked(2, up=True), Arrived(2, b"ask"), Linked(2, up=False)):
            wire.tell(news)
        await agent.stop()
        wire.tell(Linked(2, up=True))

    asyncio.run(run())
    assert machine.told == ["start", Connected(2), Received(2, b"ask"), Disconnected(2)]
    assert wire.sent == [(2, b"hello")]
    assert wire.closed
