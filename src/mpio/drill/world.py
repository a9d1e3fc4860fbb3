"""What a drill is made of, in one place to be replaced by tests: the clock, the target, the wires and the disk."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from mpio.drill.direct_fabric import DirectFabric
from mpio.drill.fabric import Fabric
from mpio.drill.namespace_fabric import NamespaceFabric
from mpio.drill.relay_fabric import RelayFabric
from mpio.drill.rundir import RunDirectory, RunRecord
from mpio.drill.scenario import Cuts, TargetSpec, WorkloadSpec
from mpio.drill.target_process import TargetProcess
from mpio.drill.tgtd_process import TgtdProcess
from mpio.drill.workload import WorkDisk
from mpio.engine.status import MapStatus
from mpio.events import Journal
from mpio.io.disk import Disk, open_map
from mpio.io.heartbeat_store import Blocks, MapBlocks
from mpio.model.address import Portal, TargetAddress
from mpio.model.settings import Settings
from mpio.units import NS_PER_S


class DrillDisk(WorkDisk, Protocol):
    """What a drill needs of a disk beyond I/O."""

    def status(self) -> MapStatus:
        """The map and its paths, now."""


class DrillTarget(Protocol):
    """The target process of a drill."""

    portals: list[Portal]

    async def start(self) -> None:
        """Start it and wait until it listens. Raises ConnectFailed."""

    async def signal(self, action: str) -> None:
        """STOP, CONT, KILL or restart. Raises InputError."""

    async def order(self, request: Mapping[str, object]) -> None:
        """Give the target an order. Raises InputError if it refuses, or takes none."""

    async def close(self) -> None:
        """End it."""


class World:
    """The real one: child processes, sockets, and the monotonic clock.

    Attributes:
        clock: in ns. sample_interval_ns: how often throughput is sampled.
    """

    def __init__(self) -> None:
        self.clock: Callable[[], int] = time.monotonic_ns
        self.sample_interval_ns = NS_PER_S // 10

    def rate(self, spec: WorkloadSpec) -> Callable[[], float]:
        """I/Os a second that the workload is to do at the moment; 0: as fast as it goes."""
        return lambda: spec.rate

    async def before_fault(self) -> None:
        """Right before a fault."""

    def wall_clock(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def run_directory(self, path: Path) -> RunRecord:
        """Where the run is written down. Raises InputError."""
        return RunDirectory(path)

    def target(self, spec: TargetSpec, directory: Path, namespaces: NamespaceFabric | None = None,
               settings: Settings | None = None) -> DrillTarget:
        """A target, not started yet; on the far side of the namespaces, open to this map's initiator."""
        portals = () if namespaces is None else namespaces.target_addresses
        prefix = () if namespaces is None else namespaces.target_command_prefix
        if spec.program == "tgtd":
            return TgtdProcess(spec, directory, portals, prefix)
        allow = None if namespaces is None or settings is None else settings.initiator_name
        return TargetProcess(spec, directory, portals, prefix, allow)

    def namespaces(self, paths: int) -> NamespaceFabric:
        """Namespaces joined by so many wires."""
        return NamespaceFabric(paths)

    def fabric(self, kind: Cuts, portals: Sequence[Portal]) -> Fabric:
        """The wires to these portals, one path each."""
        return RelayFabric(portals) if kind == "relay" else DirectFabric(portals)

    def blocks(self, disk: DrillDisk) -> Blocks:
        """The disk as heartbeats use it."""
        assert isinstance(disk, Disk)
        return MapBlocks(disk)

    def disk(self, addresses: Sequence[TargetAddress], settings: Settings, journal: Journal, rng: random.Random,
             ) -> AbstractAsyncContextManager[DrillDisk]:
        """A map over the paths, opened when entered."""
        return open_map(addresses, settings, journal=journal, name="drill", clock=self.clock, rng=rng)
