"""A drill's world in virtual time: the same map, sessions and target server, on links in memory."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

from mpio.drill.fabric import Fabric
from mpio.drill.namespace_fabric import NamespaceFabric
from mpio.drill.rundir import RunRecord
from mpio.drill.scenario import Cuts, TargetSpec, WorkloadSpec
from mpio.drill.world import DrillDisk, DrillTarget, World
from mpio.errors import InputError
from mpio.events import Journal
from mpio.io.disk import open_map
from mpio.model.address import Portal, TargetAddress
from mpio.model.settings import Settings
from mpio.sim.fabric import SimFabric
from mpio.sim.link import Conditions
from mpio.sim.loop import VirtualLoop
from mpio.sim.network import SimNetwork
from mpio.sim.record import RunDigest
from mpio.sim.target import DiskConditions, SimTarget
from mpio.units import NS_PER_S

PORT = 3260
BURST_NS = 300_000_000
BURST_RATE = 400.0
"""I/Os a second from BURST_NS before each fault until the fault. Workers that have been given a slot of the usual rate
keep it, so that it takes a while until all are in haste."""
BURST_TAIL_NS = 10_000_000
SAMPLE_INTERVAL_NS = NS_PER_S  # ten times as often, as in a real drill, would be a tenth of the run's cost


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run takes place in, faults aside.

    Attributes:
        links: how the wires are: one for all paths, or one each.
        disk: of the target. target_clock_ppm: how much faster than the initiator's its clock goes.
    """

    links: Conditions | tuple[Conditions, ...] = field(default_factory=Conditions)
    disk: DiskConditions = field(default_factory=DiskConditions)
    target_clock_ppm: int = 0

    @classmethod
    def drawn(cls, seed: int) -> "Surroundings":
        """Ordinary ones: a local network that is quicker or slower, disks from flash to magnetic, clocks that drift."""
        rng = random.Random(f"{seed}:surroundings")
        delay_ns = round(10 ** rng.uniform(4.5, 5.8))  # 30 to 600 us
        links = Conditions(delay_ns, delay_ns // rng.randint(2, 20), split=rng.choice((0.0, 0.1, 0.5)))
        latency_ns = round(10 ** rng.uniform(4.5, 6.5))  # 30 us to 3 ms
        disk = DiskConditions(latency_ns, latency_ns // rng.randint(1, 10))
        return cls(links, disk, rng.randint(-200, 200))


class SimWorld(World):
    """See the module. To be used on the loop's own thread, for one run.

    Attributes:
        record: what the run leaves. network: its links.
    """

    def __init__(self, loop: VirtualLoop, seed: int, surroundings: Surroundings, out: Path | None = None) -> None:
        super().__init__()
        self.clock = lambda: loop.now_ns
        self.sample_interval_ns = SAMPLE_INTERVAL_NS
        self.record = RunDigest(out)
        self.network = SimNetwork(loop, f"{seed}:network")
        self._loop = loop
        self._seed = seed
        self._surroundings = surroundings
        self._target: SimTarget | None = None
        self._burst_until_ns = 0

    def rate(self, spec: WorkloadSpec) -> Callable[[], float]:
        """See World: higher around a fault, so that it finds an I/O under way and the wire in use."""
        return lambda: max(spec.rate, BURST_RATE) if self._loop.now_ns < self._burst_until_ns else spec.rate

    async def before_fault(self) -> None:
        """See World."""
        self._burst_until_ns = self._loop.now_ns + BURST_NS + BURST_TAIL_NS
        await asyncio.sleep(BURST_NS / NS_PER_S)

    def wall_clock(self) -> float:
        """The same in each run."""
        return 0.0

    def run_directory(self, path: Path) -> RunRecord:
        """See World; whether there is one was decided before."""
        del path
        return self.record

    def target(self, spec: TargetSpec, directory: Path, namespaces: NamespaceFabric | None = None,
               settings: Settings | None = None) -> DrillTarget:
        """See World. Whatever program is asked for, this is the built-in one."""
        del directory, namespaces, settings
        around = self._surroundings
        portals = [Portal(f"192.0.2.{number}", PORT) for number in range(1, spec.portals + 1)]
        for index, portal in enumerate(portals):
            links = around.links
            self.network.add_link(portal.host, links[index % len(links)] if isinstance(links, tuple) else links)
        self._target = SimTarget(self._loop, self.network, spec, portals, seed=str(self._seed), disk=around.disk,
                                 clock_ppm=around.target_clock_ppm)
        return self._target

    def namespaces(self, paths: int) -> NamespaceFabric:
        """Refused."""
        raise InputError("cuts", f"a simulation has no namespaces, for {paths} paths or any")

    def fabric(self, kind: Cuts, portals: Sequence[Portal]) -> Fabric:
        """See World. Any kind is the simulation's own."""
        del kind
        if self._target is None:
            raise InputError("paths", "a simulation can't reach an existing target; give a number of portals instead")
        return SimFabric(self.network, self._target, portals)

    def disk(self, addresses: Sequence[TargetAddress], settings: Settings, journal: Journal, rng: random.Random,
             ) -> AbstractAsyncContextManager[DrillDisk]:
        """See World."""
        return open_map(addresses, settings, journal=journal, name="drill", clock=self.clock, rng=rng,
                        network=self.network)
