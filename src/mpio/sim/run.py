"""Simulate one scenario with one seed: the drill itself, in virtual time.

    result = simulate(builtin("default"), seed=1, settings=profile("sles10"))

The same arguments give the same result, to the digest of all that happened, in any process on any machine.
"""

import dataclasses
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpio.check.blocks import Finding
from mpio.check.stall import FaultStall
from mpio.check.verdict import Claim, Result
from mpio.drill.request import DrillRequest
from mpio.drill.runner import run_drill
from mpio.drill.scenario import PathsSpec, Scenario, WorkloadSpec
from mpio.errors import MpioError
from mpio.model.settings import Settings
from mpio.sim.loop import SimulationError, VirtualLoop
from mpio.sim.world import SimWorld, Surroundings
from mpio.units import NS_PER_S

SHAKE_NS = NS_PER_S
WORKLOAD: Mapping[str, Any] = {
    "workers": 2, "readers": 1, "block_sizes": (4096,), "region": 1 << 17, "rate": 20.0, "flush_every": 16}
"""Of what a scenario leaves as it is by default. A real I/O costs the engines the same in simulated time as in real
time. So there are few of them, and a simulated second takes some milliseconds; around each fault there are many
(`sim.world.BURST_RATE`), so that it meets the map at work."""
RATE_MAX = 100.0
"""I/Os a second in place of "as fast as it goes" (`rate = 0`), which in a simulation nothing slows down."""


@dataclass(frozen=True, slots=True)
class SimResult:
    """What came of one run.

    Attributes:
        seed: that repeats it. verdict, claims, stalls, findings, counts, metrics: as the drill has them.
        digest: SHA-256 over all events and I/Os, in hexadecimal.
        simulated_ns: how long it took, in there. steps: callbacks that were run.
        error: why there is no more; the verdict is unknown then.
    """

    seed: int
    verdict: Result
    claims: tuple[Claim, ...]
    stalls: tuple[FaultStall, ...]
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    digest: str
    simulated_ns: int
    steps: int
    error: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def worst_stall_ns(self) -> int:
        """Of all faults; 0 without any."""
        return max((stall.worst_stall_ns for stall in self.stalls), default=0)


def simulate(
    scenario: Scenario, seed: int, settings: Settings | None = None, *, surroundings: Surroundings | None = None,
    shake_ns: int = SHAKE_NS, out: Path | None = None, tie_seed: int | None = None,
) -> SimResult:
    """Run it.

    Args:
        scenario: the drill's. URLs in it count as portals, and cuts of any kind are the simulation's own.
        seed: of everything that chance decides.
        settings: instead of the scenario's.
        surroundings: wires, disk and clocks; drawn from the seed by default.
        shake_ns: each step is put off by up to so much more, at random: what a fault meets is then chance.
        out: a run directory to write, as a drill does; new or empty.
        tie_seed: see VirtualLoop.

    Raises:
        InputError: the scenario can't be run.
    """
    scenario = simulated(scenario, settings)
    scenario = shaken(scenario, random.Random(f"{seed}:steps"), shake_ns)
    with VirtualLoop(tie_seed=tie_seed) as loop:
        world = SimWorld(loop, seed, surroundings or Surroundings.drawn(seed), out)
        request = DrillRequest(scenario=scenario, out=out or Path(), seed=seed)
        try:
            result = loop.run(run_drill(request, world))
        except SimulationError as error:
            return _broken(seed, world, loop, str(error))
        except MpioError as error:
            if world.record.is_empty:
                raise
            return _broken(seed, world, loop, str(error))
        return SimResult(
            seed, result.verdict, result.claims, result.stalls, result.findings, result.counts, world.record.hex,
            loop.now_ns, loop.steps, metrics=result.metrics)


def simulated(scenario: Scenario, settings: Settings | None = None) -> Scenario:
    """The scenario as a simulation runs it: its own target, and a workload of a size that suits."""
    paths = scenario.path_count
    default = WorkloadSpec()
    workload = dataclasses.replace(scenario.workload, **{
        name: value for name, value in WORKLOAD.items()
        if getattr(scenario.workload, name) == getattr(default, name)})
    if workload.rate == 0:
        workload = dataclasses.replace(workload, rate=RATE_MAX)
    return dataclasses.replace(
        scenario, paths=PathsSpec(), target=dataclasses.replace(scenario.target, portals=paths), workload=workload,
        cuts=dataclasses.replace(scenario.cuts, kind="relay"), settings=settings or scenario.settings)


def shaken(scenario: Scenario, rng: random.Random, shake_ns: int) -> Scenario:
    """The scenario with every step put off by up to `shake_ns`."""
    steps = [dataclasses.replace(step, delay=step.delay + rng.randint(0, shake_ns)) for step in scenario.steps]
    return dataclasses.replace(scenario, steps=tuple(steps))


def _broken(seed: int, world: SimWorld, loop: VirtualLoop, error: str) -> SimResult:
    return SimResult(seed, Result.UNKNOWN, (), (), (), {}, world.record.hex, loop.now_ns, loop.steps, error)
