"""Carrying out a scenario's steps: faults are injected, healed, and told to the journal."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from mpio.drill.fabric import FAULTS, Fabric, Fault
from mpio.drill.scenario import EVENT_FAULTS, Expectation, Scenario, Step
from mpio.drill.watch import Watch
from mpio.drill.world import DrillTarget
from mpio.events import Journal, Kind, Value
from mpio.units import NS_PER_S

SOURCE = "drill"  # in the journal


class Steps:
    """The steps of one run, and which faults are in force.

    Args:
        scenario: whose steps.
        fabric: the wires of the paths. target: the process behind them, None for somebody else's target.
        watch: over `journal`, where everything is told.
        before_fault: awaited right before a fault.
    """

    def __init__(self, scenario: Scenario, fabric: Fabric, target: DrillTarget | None, watch: Watch, journal: Journal,
                 clock: Callable[[], int], before_fault: Callable[[], Awaitable[None]]) -> None:
        self._scenario = scenario
        self._fabric = fabric
        self._target = target
        self._watch = watch
        self._journal = journal
        self._clock = clock
        self._before_fault = before_fault
        self._active: dict[int, str] = {}  # faults in force, by path
        self._since: dict[int, int] = {}  # when the latest fault of a path was injected
        self._expectations: dict[int, str] = {}  # what the latest fault of a path is to do
        self._concerned: Sequence[int] = ()  # paths of the latest step that was about paths
        self._target_state = "running"

    async def run(self, start_ns: int) -> None:
        """Carry out all steps; instants of the scenario count from `start_ns`."""
        for step in self._scenario.steps:
            if step.after is not None:
                late = await self._watch.until(step.after, self._waited_for(step.after), step.timeout)
                if late:
                    self._record(Kind.STEP_STARTED, step=f"{step.label}: still not {step.after} on path "
                                 f"{', '.join(map(str, late))}, going on")
            if step.at is not None:
                await self._sleep_until(start_ns + step.at)
            await asyncio.sleep(step.delay / NS_PER_S)
            self._record(Kind.STEP_STARTED, step=step.label)
            await self._step(step)
            self._record(Kind.STEP_ENDED, step=step.label)
        await self._sleep_until(start_ns + self._scenario.about.duration)

    def _waited_for(self, moment: str) -> dict[int, int]:
        """The paths that a moment can come to, with the instant it must have come after."""
        waited = {path: self._since[path] for path in self._concerned if path in self._since}
        if moment in ("reconnected", "reinstated"):
            # A path that rides a fault through never comes back: it was not away
            waited = {path: since for path, since in waited.items()
                      if path in self._expected or self._watch.happened(path, "detected", since)}
        return waited

    @property
    def _expected(self) -> set[int]:
        """Paths whose latest fault was to take them away."""
        return {path for path, expect in self._expectations.items() if expect == "failover"}

    async def _step(self, step: Step) -> None:
        paths = self._scenario.step_paths(step)
        if step.action not in ("wait", "order"):
            self._concerned = paths
        match step.action:
            case "wait":
                await asyncio.sleep(step.duration / NS_PER_S)
            case "inject":
                await self._inject(paths, Fault(step.fault, step.params), step.expect)
            case "heal":
                await self._heal(paths)
            case "flap":
                for _ in range(step.times):
                    await self._inject(paths, Fault(step.fault, step.params), step.expect)
                    await asyncio.sleep(step.down / NS_PER_S)
                    await self._heal(paths)
                    await asyncio.sleep(step.up / NS_PER_S)
            case "target":
                await self._signal_target(step.signal, paths, step.expect)
            case "order":
                assert self._target is not None
                await self._target.order(step.order)

    async def _inject(self, paths: Sequence[int], fault: Fault, expect: Expectation | None) -> None:
        """Put a fault on paths, all at once. The cut counts from before the order was given."""
        expected = expect or ("failover" if FAULTS[fault.kind].loses_paths else "ride-through")
        await self._before_fault()
        t_ns = self._clock()
        self._since |= dict.fromkeys(paths, t_ns)
        for path in paths:
            self._active[path] = str(fault)
        hows = await asyncio.gather(*(self._fabric.inject(path - 1, fault) for path in paths))
        for path, how in zip(paths, hows, strict=True):
            self._fault(t_ns, path, str(fault), expected, how)
            if fault.kind in EVENT_FAULTS:
                self._healed(t_ns, path, "over when it has happened")

    async def _heal(self, paths: Sequence[int]) -> None:
        for path in paths:
            if path in self._active:
                t_ns = self._clock()
                how = await self._fabric.heal(path - 1)
                self._healed(t_ns, path, how)

    async def _signal_target(self, action: str, paths: Sequence[int], expect: Expectation | None) -> None:
        """Stop, continue, kill or restart the target: for every path a fault, or its end."""
        assert self._target is not None
        if action in ("STOP", "KILL"):
            await self._before_fault()
        t_ns = self._clock()
        if action in ("STOP", "KILL"):
            self._since |= dict.fromkeys(paths, t_ns)
            self._target_state = "stopped" if action == "STOP" else "dead"
            await self._target.signal(action)
            for path in paths:
                self._fault(t_ns, path, f"target {action}", expect or "failover", f"SIG{action} to the target process")
        else:
            await self._target.signal(action)
            self._target_state = "running"
            for path in paths:
                if path not in self._active:
                    self._record(Kind.FAULT_HEALED, t_ns=t_ns, fault="target", path=path, how=f"target {action}")

    def _fault(self, t_ns: int, path: int, fault: str, expect: str, how: str) -> None:
        self._expectations[path] = expect
        self._record(Kind.FAULT_INJECTED, t_ns=t_ns, fault=fault, path=path, how=how, expect=expect)

    def _healed(self, t_ns: int, path: int, how: str) -> None:
        self._record(Kind.FAULT_HEALED, t_ns=t_ns, fault=self._active.pop(path, ""), path=path, how=how)

    async def heal_all(self) -> None:
        """Lift what is still in force; also when the drill is broken off."""
        if self._target is not None and self._target_state != "running":
            await self._signal_target("CONT" if self._target_state == "stopped" else "restart",
                                      range(1, self._scenario.path_count + 1), None)
        await self._heal(sorted(self._active))

    async def _sleep_until(self, t_ns: int) -> None:
        await asyncio.sleep(max(0, t_ns - self._clock()) / NS_PER_S)

    def _record(self, kind: Kind, *, t_ns: int | None = None, **fields: Value) -> None:
        self._journal.record(self._clock() if t_ns is None else t_ns, SOURCE, kind, **fields)
