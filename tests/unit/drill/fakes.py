"""A drill's world without sockets, in virtual time: a disk with two kinds of path events, wires, and a target."""

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from mpio.drill.fabric import FAULTS, Fault
from mpio.drill.namespace_fabric import NamespaceFabric
from mpio.drill.scenario import Cuts, TargetSpec
from mpio.drill.world import World
from mpio.engine.status import MapStatus, PathStatus
from mpio.errors import ConnectionLost, NoUsablePath, OutcomeUnknown
from mpio.events import Journal, Kind
from mpio.model.address import Portal, TargetAddress
from mpio.model.settings import Settings
from mpio.model.task import Buffer
from mpio.units import NS_PER_S, seconds

T = TypeVar("T")
COUNTERS = dict.fromkeys(("reads", "writes", "read_bytes", "write_bytes", "errors", "retries", "rerouted"), 0)


class _Selector(selectors.DefaultSelector):
    """Never waits: the time that it was to wait simply passes."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again")
        self.loop.now_ns += round(timeout * NS_PER_S)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which time passes only while everybody waits."""

    def __init__(self) -> None:
        self.now_ns = NS_PER_S
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now_ns / NS_PER_S


def run_virtual(make: "Coroutine[Any, Any, T]") -> T:
    """Run to the end in virtual time."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(make)
    finally:
        loop.close()


class FakeDisk:
    """Paths take turns. An I/O on a path that is cut waits for the detection, and ends by another path.

    Knobs: `detect_s`, `return_s` (None: never); `errors` (every so-many-th I/O fails); `drop` (writes by number that
    are acknowledged and not done); `after_write` (called with the number of each write).
    """

    def __init__(self, paths: int, journal: Journal, loop: VirtualLoop) -> None:
        self.size_bytes, self.block_size = 1 << 20, 512
        self.journal = journal
        self.clock: Callable[[], int] = lambda: loop.now_ns
        self.store = bytearray(self.size_bytes)
        self.detect_s, self.return_s, self.latency_s = 0.75, 0.2, 0.001
        self.return_never = False
        self.errors = 0
        self.drop: set[int] = set()
        self.unknown: set[int] = set()
        self.writes = self.ios = 0
        self.cut = dict.fromkeys(range(1, paths + 1), False)
        self.up = dict.fromkeys(range(1, paths + 1), True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()

    def event(self, path: int, kind: Kind, **fields: str | int) -> None:
        self.journal.record(self.clock(), f"map:drill/path:{path}", kind, **fields)

    def set_cut(self, path: int, *, cut: bool) -> None:
        self.cut[path] = cut
        task = asyncio.get_running_loop().create_task(self._lose(path) if cut else self._return(path))
        self._tasks.add(task)

    async def _lose(self, path: int) -> None:
        await asyncio.sleep(self.detect_s)
        if self.cut[path]:
            await self.lose(path)

    async def lose(self, path: int) -> None:
        self.event(path, Kind.CONNECTION_LOST, cause="silent")
        self.event(path, Kind.PATH_STATE_CHANGED, old="up", new="failed", cause="silent")
        self.up[path] = False
        self.event(path, Kind.IO_REROUTED, count=1)
        async with self._changed:
            self._changed.notify_all()

    async def _return(self, path: int) -> None:
        await asyncio.sleep(self.return_s)
        if not self.cut[path] and not self.up[path] and not self.return_never:
            self.event(path, Kind.LOGIN_COMPLETED)
            self.event(path, Kind.PATH_REINSTATED)
            self.up[path] = True
        async with self._changed:
            self._changed.notify_all()

    async def _travel(self) -> None:
        self.ios += 1
        if self.errors and self.ios % self.errors == 0:
            raise NoUsablePath("no path is usable")
        await asyncio.sleep(self.latency_s)
        turn = self.ios
        while True:
            usable = [path for path, up in self.up.items() if up]
            path = usable[turn % len(usable)] if usable else None
            if path is not None and not self.cut[path]:
                return
            async with self._changed:
                await self._changed.wait()

    async def read(self, offset: int, length: int) -> Buffer:
        await self._travel()
        return bytes(self.store[offset:offset + length])

    async def write(self, offset: int, data: Buffer) -> None:
        self.writes += 1
        number = self.writes
        await self._travel()
        if number in self.unknown:
            raise OutcomeUnknown("nobody knows")
        if number not in self.drop:
            self.store[offset:offset + len(data)] = data

    async def flush(self) -> None:
        await self._travel()

    async def read_path(self, path_id: int, offset: int, length: int) -> Buffer:
        if not self.up[path_id] or self.cut[path_id]:
            raise ConnectionLost(f"path {path_id} is not logged in")
        await asyncio.sleep(self.latency_s)
        return bytes(self.store[offset:offset + length])

    def status(self) -> MapStatus:
        paths = tuple(
            PathStatus(path, f"fake {path}", "up" if up else "failed", "", 0, 1, None, up, 0, 0, 0, 0, False, None,
                       COUNTERS)
            for path, up in self.up.items())
        return MapStatus("drill", self.clock(), "naa.6", self.size_bytes, 512, 2, "off", 0, 0, 0, 0, 0, 0, (), paths,
                         COUNTERS)


class FakeFabric:
    """Cuts the paths of a disk."""

    supported = frozenset(FAULTS)

    def __init__(self, world: "FakeWorld", portals: Sequence[Portal]) -> None:
        self.portals = list(portals)
        self.world = world
        self.faults: dict[int, Fault] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.world.log.append(f"fabric left with {len(self.faults)} faults")

    async def inject(self, path: int, fault: Fault) -> str:
        assert path not in self.faults
        if FAULTS[fault.kind].loses_paths:
            self.world.disk_.set_cut(path + 1, cut=True)
        self.faults[path] = fault
        return f"fake {fault}"

    async def heal(self, path: int) -> str:
        del self.faults[path]
        self.world.disk_.set_cut(path + 1, cut=False)
        return "fake heal"


class FakeTarget:
    """Listens nowhere."""

    def __init__(self, world: "FakeWorld", count: int) -> None:
        self.portals = [Portal("127.0.0.1", 1000 + number) for number in range(count)]
        self._world = world

    async def start(self) -> None:
        self._world.log.append("target started")

    async def signal(self, action: str) -> None:
        self._world.log.append(f"target {action}")
        for path in self._world.disk_.cut:
            self._world.disk_.set_cut(path, cut=action in ("STOP", "KILL"))

    async def order(self, request: Mapping[str, object]) -> None:
        self._world.log.append(f"target does {request['do']}")

    async def close(self) -> None:
        self._world.log.append("target closed")


class FakeWorld(World):
    """Hands out the fakes; `prepare` gets the disk before it is used."""

    def __init__(self, prepare: Any = None) -> None:
        super().__init__()
        self.log: list[str] = []
        self.disk_: FakeDisk
        self._prepare = prepare
        self.clock = lambda: self._loop().now_ns

    @staticmethod
    def _loop() -> VirtualLoop:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop

    def wall_clock(self) -> float:
        return 0.0

    def target(self, spec: TargetSpec, directory: Path, namespaces: NamespaceFabric | None = None,
               settings: Settings | None = None) -> FakeTarget:
        return FakeTarget(self, spec.portals)

    def fabric(self, kind: Cuts, portals: Sequence[Portal]) -> FakeFabric:
        return FakeFabric(self, portals)

    def disk(self, addresses: Sequence[TargetAddress], settings: Settings, journal: Journal,
             rng: random.Random) -> FakeDisk:
        self.disk_ = FakeDisk(len(addresses), journal, self._loop())
        if self._prepare is not None:
            self._prepare(self.disk_)
        return self.disk_


def s(value: float) -> int:
    """Seconds in ns."""
    return seconds(value)
