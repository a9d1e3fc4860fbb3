"""Carrying out a scenario's steps: faults are injected, healed, and told to the journal."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from mpio.drill.fabric import FAULTS, Fabric, Fault
from mpio.drill.scenario import EVENT_FAULTS, NETWORK_FAULTS, NODE_MOMENTS, Expectation, Scenario, Step, Wire
from mpio.drill.watch import Place, Watch
from mpio.drill.world import DrillTarget
from mpio.events import Journal, Kind, Value
from mpio.units import NS_PER_S

SOURCE = "drill"  # in the journal


class Cluster(Protocol):
    """What steps about nodes act on."""

    async def inject(self, wire: Wire, fault: Fault) -> str:
        """Put a fault on a wire to other nodes or to clients, and say how."""

    async def heal(self, wire: Wire) -> str:
        """Lift it, and say how."""

    async def crash(self, node: int) -> None:
        """End a node at once."""

    async def poison(self, node: int) -> None:
        """Have another node tell this one to fence itself."""


class Steps:
    """The steps of one run, and which faults are in force.

    Args:
        scenario: whose steps.
        fabric: the wires of the paths, node by node.
        target: the process behind them, None for somebody else's target. cluster: None for a single node.
        watch: over `journal`, where everything is told.
        before_fault: awaited right before a fault.
    """

    def __init__(self, scenario: Scenario, fabric: Fabric, target: DrillTarget | None, cluster: Cluster | None,
                 watch: Watch, journal: Journal, clock: Callable[[], int],
                 before_fault: Callable[[], Awaitable[None]]) -> None:
        self._scenario = scenario
        self._fabric = fabric
        self._target = target
        self._cluster = cluster
        self._watch = watch
        self._journal = journal
        self._clock = clock
        self._before_fault = before_fault
        self._active: dict[Wire, str] = {}  # faults in force
        self._since: dict[Place, int] = {}  # when the latest fault of a path, or of a node, was injected
        self._expectations: dict[Place, str] = {}  # what the latest fault of a path is to do
        self._concerned: Sequence[Place] = ()  # paths of the latest step that was about paths
        self._nodes: Sequence[int] = ()  # of the latest step that was about any
        self._target_state = "running"

    async def run(self, start_ns: int) -> None:
        """Carry out all steps; instants of the scenario count from `start_ns`."""
        for step in self._scenario.steps:
            if step.after is not None:
                late = await self._watch.until(step.after, self._waited_for(step.after), step.timeout)
                if late:
                    self._record(Kind.STEP_STARTED, step=f"{step.label}: still not {step.after}: "
                                 f"{', '.join(map(self._words, late))}, going on")
            if step.at is not None:
                await self._sleep_until(start_ns + step.at)
            await asyncio.sleep(step.delay / NS_PER_S)
            self._record(Kind.STEP_STARTED, step=step.label)
            await self._step(step)
            self._record(Kind.STEP_ENDED, step=step.label)
        await self._sleep_until(start_ns + self._scenario.about.duration)

    def _words(self, place: Place) -> str:
        node, path = place
        return Wire("storage", node, path).words(self._scenario.cluster.nodes) if path else f"node {node}"

    def _waited_for(self, moment: str) -> dict[Place, int]:
        """The places that a moment can come to, with the instant it must have come after."""
        if moment in NODE_MOMENTS:
            return {(node, 0): self._since.get((node, 0), 0) for node in self._nodes}
        waited = {place: self._since[place] for place in self._concerned if place in self._since}
        if moment in ("reconnected", "reinstated"):
            # A path that rides a fault through never comes back: it was not away
            waited = {place: since for place, since in waited.items()
                      if place in self._expected or self._watch.happened(place, "detected", since)}
        return waited

    @property
    def _expected(self) -> set[Place]:
        """Paths whose latest fault was to take them away."""
        return {place for place, expect in self._expectations.items() if expect == "failover"}

    async def _step(self, step: Step) -> None:
        wires = self._scenario.step_wires(step)
        if step.action not in ("wait", "order"):
            self._nodes = self._scenario.step_nodes(step)
            if step.network == "storage":
                self._concerned = [(wire.node, wire.path) for wire in wires]
        match step.action:
            case "wait":
                await asyncio.sleep(step.duration / NS_PER_S)
            case "inject":
                await self._inject(wires, Fault(step.fault, step.params), step.expect)
            case "heal":
                await self._heal(wires)
            case "flap":
                for _ in range(step.times):
                    await self._inject(wires, Fault(step.fault, step.params), step.expect)
                    await asyncio.sleep(step.down / NS_PER_S)
                    await self._heal(wires)
                    await asyncio.sleep(step.up / NS_PER_S)
            case "target":
                await self._signal_target(step.signal, wires, step.expect)
            case "order":
                assert self._target is not None
                await self._target.order(step.order)
            case "crash" | "poison":
                assert self._cluster is not None
                self._since |= {(node, 0): self._clock() for node in self._nodes}
                for node in self._nodes:
                    await (self._cluster.crash(node) if step.action == "crash" else self._cluster.poison(node))

    async def _inject(self, wires: Sequence[Wire], fault: Fault, expect: Expectation | None) -> None:
        """Put a fault on wires, all at once. The cut counts from before the order was given."""
        expected = expect or ("failover" if FAULTS[fault.kind].loses_paths else "ride-through")
        await self._before_fault()
        t_ns = self._clock()
        if fault.kind in NETWORK_FAULTS:
            wires = [*wires, *(other for wire in wires for other in self._scenario.riding(wire))]
        for wire in wires:
            self._since |= {(wire.node, wire.path): t_ns, (wire.node, 0): t_ns}
            self._active[wire] = str(fault)
        hows = await asyncio.gather(*(self._put(wire, fault) for wire in wires))
        for wire, how in zip(wires, hows, strict=True):
            self._fault(t_ns, wire, str(fault), expected, how)
            if fault.kind in EVENT_FAULTS:
                self._healed(t_ns, wire, "over when it has happened")

    async def _put(self, wire: Wire, fault: Fault) -> str:
        if wire.link == "storage":
            return await self._fabric.inject(self._number(wire), fault)
        assert self._cluster is not None
        return await self._cluster.inject(wire, fault)

    def _number(self, wire: Wire) -> int:
        """The fabric's for it."""
        return (wire.node - 1) * self._scenario.path_count + wire.path - 1

    async def _heal(self, wires: Iterable[Wire]) -> None:
        for wire in [one for given in wires for one in (given, *self._scenario.riding(given))]:
            if wire in self._active:
                t_ns = self._clock()
                if wire.link == "storage":
                    how = await self._fabric.heal(self._number(wire))
                else:
                    assert self._cluster is not None
                    how = await self._cluster.heal(wire)
                self._healed(t_ns, wire, how)

    async def _signal_target(self, action: str, wires: Sequence[Wire], expect: Expectation | None) -> None:
        """Stop, continue, kill or restart the target: for every path a fault, or its end."""
        assert self._target is not None
        if action in ("STOP", "KILL"):
            await self._before_fault()
        t_ns = self._clock()
        if action in ("STOP", "KILL"):
            self._since |= {(wire.node, wire.path): t_ns for wire in wires}
            self._target_state = "stopped" if action == "STOP" else "dead"
            await self._target.signal(action)
            for wire in wires:
                self._fault(t_ns, wire, f"target {action}", expect or "failover", f"SIG{action} to the target process")
        else:
            await self._target.signal(action)
            self._target_state = "running"
            for wire in wires:
                if wire not in self._active:
                    self._told(Kind.FAULT_HEALED, t_ns, wire, fault="target", how=f"target {action}")

    def _fault(self, t_ns: int, wire: Wire, fault: str, expect: str, how: str) -> None:
        if wire.link == "storage":
            self._expectations[wire.node, wire.path] = expect
        self._told(Kind.FAULT_INJECTED, t_ns, wire, fault=fault, how=how, expect=expect)

    def _healed(self, t_ns: int, wire: Wire, how: str) -> None:
        self._told(Kind.FAULT_HEALED, t_ns, wire, fault=self._active.pop(wire, ""), how=how)

    def _told(self, kind: Kind, t_ns: int, wire: Wire, *, fault: str, **fields: Value) -> None:
        where: dict[str, Value] = {"path": wire.path} if wire.link == "storage" else {"network": wire.link}
        if self._scenario.cluster.nodes > 1:
            where["node"] = wire.node
        self._record(kind, t_ns=t_ns, fault=fault, **where, **fields)

    async def heal_all(self) -> None:
        """Lift what is still in force; also when the drill is broken off."""
        if self._target is not None and self._target_state != "running":
            await self._signal_target("CONT" if self._target_state == "stopped" else "restart",
                                      self._scenario.step_wires(Step(action="target")), None)
        await self._heal(sorted(self._active))

    async def _sleep_until(self, t_ns: int) -> None:
        await asyncio.sleep(max(0, t_ns - self._clock()) / NS_PER_S)

    def _record(self, kind: Kind, *, t_ns: int | None = None, **fields: Value) -> None:
        self._journal.record(self._clock() if t_ns is None else t_ns, SOURCE, kind, **fields)
