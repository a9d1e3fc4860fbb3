"""One node of a drill: its map, the workload on it, and what is known of it at the end."""

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from mpio.check.bounds import Bounds
from mpio.check.history import IoRecord
from mpio.check.stall import FaultTrace
from mpio.drill.layout import check_layout, layout_of, region_within
from mpio.drill.node_journal import NodeJournal
from mpio.drill.sampler import Sampler
from mpio.drill.scenario import Scenario
from mpio.drill.workload import Workload
from mpio.drill.world import DrillDisk, World
from mpio.errors import InputError, MpioError
from mpio.events import Journal
from mpio.model.address import TargetAddress

_IN_SERVICE = ("up", "ghost", "delayed")  # a `PathState`; in standby, and held back on purpose, is as it should be


def node_suffix(number: int) -> str:
    """What the initiator's name of a node ends with where there are several."""
    return f".node{number}"


class Node:
    """A node from 1.

    Attributes:
        disk, workload, sampler: once it is open.
        verified: for each path the number of blocks that were read through it at the end, or why they were not.
        halted: how it was ended before its time ("fenced" or "crashed"), else "". halted_ns: when.
    """

    def __init__(self, number: int, scenario: Scenario, world: World, journal: Journal,
                 rng: Callable[[str], random.Random], record: Callable[[IoRecord], None], *, read_only: bool) -> None:
        self.number = number
        self.journal = journal if scenario.cluster.nodes == 1 else NodeJournal(journal, number)
        self.disk: DrillDisk | None = None
        self.workload: Workload | None = None
        self.sampler: Sampler | None = None
        self.verified: dict[int, int | str] = {}
        self.halted = ""
        self.halted_ns = 0
        self._scenario = scenario
        self._world = world
        self._rng = rng
        self._record = record
        self._read_only = read_only
        self._work: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()

    async def open(self, addresses: Sequence[TargetAddress], after_sample: Callable[[], None]) -> None:
        """Open the map, over these paths, and make the workload. Raises MpioError."""
        settings = self._scenario.settings
        if self._scenario.cluster.nodes > 1:
            settings = settings.replace(initiator_name=settings.initiator_name + node_suffix(self.number))
        disk = self._world.disk(addresses, settings, self.journal, self.rng("disk"))
        self.disk = await self._stack.enter_async_context(disk)
        self.workload = self._make_workload(self.disk)
        self.sampler = Sampler(self.disk, after_sample, self._world.sample_interval_ns)
        self._stack.push_async_callback(self.sampler.stop)
        self.sampler.start()

    def rng(self, purpose: str) -> random.Random:
        """An independent stream for each purpose."""
        return self._rng(purpose if self.number == 1 else f"{purpose}:{self.number}")

    async def close(self) -> None:
        """Log out, if that has not been done yet."""
        await self._stack.aclose()

    def _make_workload(self, disk: DrillDisk) -> Workload:
        scenario, spec = self._scenario, self._scenario.workload
        if self._read_only:
            room = disk.size_bytes - spec.offset
            region = min(spec.region, region_within(room, scenario.cluster.nodes, disk.block_size))
            spec = dataclasses.replace(spec, region=region)
            scenario = dataclasses.replace(scenario, workload=spec)
        check_layout(scenario, disk.size_bytes, disk.block_size,
                     lambda key, message: InputError(f"[workload] {key}", message))
        spec = dataclasses.replace(spec, offset=layout_of(scenario).region_offset(self.number))
        record = self._record if scenario.cluster.nodes == 1 else self._record_as_node
        return Workload(disk, spec, self.rng("workload"), record, read_only=self._read_only,
                        rate=self._world.rate(spec))

    def _record_as_node(self, record: IoRecord) -> None:
        self._record(dataclasses.replace(record, node=self.number))

    # --- its life

    @property
    def is_running(self) -> bool:
        """Whether nothing has ended it."""
        return not self.halted

    async def work(self) -> None:
        """Run the workload until it is told to stop, or the node is halted."""
        assert self.workload is not None
        self._work = asyncio.create_task(self.workload.run(), name=f"workload of node {self.number}")
        try:
            await asyncio.wait({self._work})
        finally:
            await self._end_work()
        if not self._work.cancelled():
            self._work.result()

    async def _end_work(self) -> None:
        if self._work is not None and not self._work.done():
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        if self.workload is not None:
            self.workload.give_up_open()

    async def halt(self, how: str, cut: Callable[[], Awaitable[None]]) -> None:
        """End it at once: no I/O of its can begin any more when this returns, nor is any on its way.

        `cut` severs the connections that its wires carry. It is done twice: before the map is closed, so that nobody
        waits for an answer of the target; and after it, so that nothing stays in a wire that is cut, to come out later.
        """
        self.halted, self.halted_ns = how, self._world.clock()
        await self._end_work()
        if self.sampler is not None:
            await self.sampler.stop()  # so that the map is the next thing to be closed
        closing = asyncio.ensure_future(self.close())
        await asyncio.sleep(0)  # its paths are given up now, and none connects again
        try:
            await cut()
        finally:
            await closing
        await cut()

    def paths_down(self) -> list[tuple[int, int]]:
        """The paths that are not in use."""
        if self.disk is None or self.halted:
            return []
        return [(self.number, path.path_id) for path in self.disk.status().paths
                if path.state not in _IN_SERVICE]

    async def verify(self, by: "Node") -> None:
        """Read the whole region through each path of a node: this one, or, if it was halted, another."""
        assert self.workload is not None
        assert by.disk is not None
        self.workload.disk = by.disk
        for path in range(1, self._scenario.path_count + 1):
            try:
                self.verified[path] = await self.workload.verify(path)
            except MpioError as error:
                self.verified[path] = str(error)

    # --- what can be said of it

    def bounds(self, traces: Sequence[FaultTrace]) -> Bounds:
        """The planner's, for faults of this node's paths."""
        paths = range(1, self._scenario.path_count + 1)
        unfenced = [] if self.sampler is None else self.sampler.unfenced()
        return Bounds(self._scenario.settings, traces, paths, writes=not self._read_only, unfenced=unfenced)
