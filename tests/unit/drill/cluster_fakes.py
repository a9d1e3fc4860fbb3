"""Several nodes in virtual time: one LU in memory, a disk with paths of its own for each node, wires that cut them."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.unit.drill.fakes import FakeDisk, FakeFabric, FakeTarget, FakeWorld, VirtualLoop

from mpio.drill.fabric import FAULTS, Fault
from mpio.drill.scenario import Cuts
from mpio.drill.world import DrillDisk
from mpio.errors import MpioError
from mpio.events import Journal
from mpio.io.heartbeat_store import ReadEnd, WriteEnd
from mpio.model.address import Portal, TargetAddress
from mpio.model.settings import Settings
from mpio.model.task import Buffer

SIZE = 8 << 20


class ClusterDisk(FakeDisk):
    """A node's view of the LU that all share. With all paths cut its I/O waits; closed, it fails."""

    def __init__(self, paths: int, journal: Journal, loop: VirtualLoop, store: bytearray) -> None:
        super().__init__(paths, journal, loop)
        self.store = store
        self.size_bytes = len(store)
        self.closed = False
        self.severed = 0

    async def __aexit__(self, *_: object) -> None:
        self.closed = True
        await super().__aexit__()
        async with self._changed:
            self._changed.notify_all()

    def _must_be_open(self) -> None:
        if self.closed:
            raise MpioError("the map was closed")

    async def _travel(self) -> None:
        self._must_be_open()
        travel = asyncio.ensure_future(super()._travel())
        try:
            while not travel.done():
                await asyncio.wait({travel}, timeout=0.05)
                self._must_be_open()
            travel.result()
        finally:
            travel.cancel()

    async def write(self, offset: int, data: Buffer, *, fua: bool = False) -> None:
        await super().write(offset, data)


class ClusterFabric(FakeFabric):
    """Wires of all nodes, node by node."""

    world: "ClusterWorld"

    async def inject(self, path: int, fault: Fault) -> str:
        node, number = divmod(path, self.world.paths)
        if fault.kind == "reset":
            self.world.disks[node].severed += 1
            return "fake reset"
        assert path not in self.faults
        if FAULTS[fault.kind].loses_paths:
            self.world.disks[node].set_cut(number + 1, cut=True)
        self.faults[path] = fault
        return f"fake {fault}"

    async def heal(self, path: int) -> str:
        node, number = divmod(path, self.world.paths)
        del self.faults[path]
        if not self.world.disks[node].closed:
            self.world.disks[node].set_cut(number + 1, cut=False)
        return "fake heal"


class FakeBlocks:
    """A fake disk as heartbeats use it."""

    def __init__(self, disk: ClusterDisk) -> None:
        self.name, self.size_bytes, self.block_size = "fake", disk.size_bytes, disk.block_size
        self.block_size_is_free = False
        self._disk = disk
        self._tasks: set[asyncio.Task[None]] = set()

    def read(self, offset: int, length: int, end: ReadEnd) -> None:
        async def run() -> None:
            try:
                data = bytes(await self._disk.read(offset, length))
            except MpioError as error:
                end(None, str(error))
            else:
                end(data, "")
        self._start(run())

    def write(self, offset: int, data: bytes, end: WriteEnd) -> None:
        async def run() -> None:
            try:
                await self._disk.write(offset, data)
            except MpioError as error:
                end(str(error))
            else:
                end("")
        self._start(run())

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()


class ClusterWorld(FakeWorld):
    """Hands out a disk for each node over one LU."""

    def __init__(self, prepare: Callable[[ClusterDisk], None] | None = None) -> None:
        super().__init__(prepare)
        self.disks: list[ClusterDisk] = []
        self.store = bytearray(SIZE)
        self.paths = 2

    def fabric(self, kind: Cuts, portals: Sequence[Portal]) -> ClusterFabric:
        return ClusterFabric(self, portals)

    def target(self, *args: Any, **named: Any) -> FakeTarget:
        target = super().target(*args, **named)
        self.paths = len(target.portals)
        return target

    def disk(self, addresses: Sequence[TargetAddress], settings: Settings, journal: Journal,
             rng: random.Random) -> ClusterDisk:
        disk = ClusterDisk(len(addresses), journal, self._loop(), self.store)
        if self._prepare is not None:
            self._prepare(disk)
        self.disks.append(disk)
        return disk

    def blocks(self, disk: DrillDisk) -> FakeBlocks:
        assert isinstance(disk, ClusterDisk)
        return FakeBlocks(disk)
