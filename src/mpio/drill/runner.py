"""One drill from beginning to end: build, fill, break and heal under I/O, read back, judge, write it all down.

Whatever happens (an error, a signal, a cancelled task), faults are healed, children ended, and the run directory gets
its verdict; what could not be checked is unknown.
"""

import asyncio
import contextlib
import dataclasses
import random
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpio import __version__
from mpio.check.blocks import Finding
from mpio.check.stall import FaultStall
from mpio.check.verdict import Claim, Result, overall
from mpio.drill.cluster import HeartbeatCluster
from mpio.drill.fabric import Fabric, Fault, require_supported
from mpio.drill.judging import (
    Course,
    Judged,
    claims_of_all,
    cluster_claims,
    judged,
    latency_metrics,
    rates,
    summed_counts,
)
from mpio.drill.node import Node
from mpio.drill.render import as_run
from mpio.drill.request import DrillRequest, effective_scenario, parse_urls, repro
from mpio.drill.steps import SOURCE, Steps
from mpio.drill.target_process import LUN, TARGET_NAME
from mpio.drill.watch import Place, Watch
from mpio.drill.world import DrillTarget, World
from mpio.errors import InputError, MpioError
from mpio.events import Event, Journal, Kind, Value
from mpio.model.address import Portal, TargetAddress
from mpio.units import NS_PER_S

__all__ = ["DrillRequest", "DrillResult", "run_drill"]

PATIENCE_NS = 30 * NS_PER_S  # past the bounds: for all paths to come back after the last heal, and for I/O to end
READER = 0  # the number of who reads at the end, if no node is left
_FINDINGS_SHOWN_MAX = 1_000
_SECRETS = ("password", "password_in", "discovery_password")


@dataclass(frozen=True, slots=True)
class DrillResult:
    """What came of it; the run directory has all of it too."""

    verdict: Result
    claims: tuple[Claim, ...]
    stalls: tuple[FaultStall, ...]
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    directory: Path
    seed: int
    metrics: Mapping[str, Any] = field(default_factory=dict)


async def run_drill(request: DrillRequest, world: World | None = None) -> DrillResult:
    """Run a drill. SIGINT, SIGTERM and SIGHUP break it off: all is undone, and the verdict is at best unknown.

    Raises:
        InputError: the request can't be carried out; nothing was started, or all is undone again.
        MpioError: target or map could not be had. The run directory says how far it came.
    """
    return await _Drill(request, world or World()).run()


class _Drill:
    """The state of one run."""

    def __init__(self, request: DrillRequest, world: World) -> None:
        self._request = request
        self._scenario = effective_scenario(request)
        self._world = world
        self._clock = world.clock
        urls = tuple(request.urls) or self._scenario.paths.urls
        self._addresses = parse_urls(urls)
        self._read_only = bool(urls) and request.scratch is None
        self._seed = next((seed for seed in (request.seed, self._scenario.about.seed) if seed is not None),
                          secrets.randbits(48))
        self._journal = Journal()
        self._directory = world.run_directory(request.out)
        self._target: DrillTarget | None = None
        self._steps: Steps | None = None
        self._nodes: list[Node] = []
        self._first_addresses: list[TargetAddress] = []
        self._cluster: HeartbeatCluster | None = None
        self._watch = Watch(self._journal, self._clock)
        self._incomplete = "it never began"
        self._work_ns = (0, 0)
        self._recovered_ns: int | None = None

    # --- the whole

    async def run(self) -> DrillResult:
        sinks: list[Callable[[Event], None]] = [self._directory.journal]
        if self._request.progress is not None:
            sinks.append(self._request.progress)
        self._journal.sinks += sinks
        scenario = self._scenario
        self._directory.write_text("scenario.toml", as_run(scenario))
        again = repro(self._request, self._directory.path / "scenario.toml", self._seed)
        self._directory.write_text("repro.txt", again)
        self._record(Kind.RUN_STARTED, version=__version__, scenario=scenario.about.name, seed=self._seed,
                     wall_epoch=self._world.wall_clock())
        signals: list[str] = []
        try:
            with _cancel_on_signals(signals):
                async with AsyncExitStack() as stack:
                    self._incomplete = "it was broken off while it was set up"
                    await self._set_up(stack)
                    try:
                        await self._act()
                    except MpioError as error:
                        self._incomplete = str(error)
                    else:
                        self._incomplete = ""
        except asyncio.CancelledError:
            self._incomplete = f"it was interrupted{' by ' + signals[0] if signals else ''}"
            result = self._finish()
            if not signals:
                raise
            return result
        except BaseException as error:
            self._incomplete = str(error) if isinstance(error, MpioError) else f"{type(error).__name__}: {error}"
            self._finish()
            raise
        return self._finish()

    async def _act(self) -> None:
        """All that needs the disk."""
        nodes, steps = self._nodes, self._steps
        workloads = [node.workload for node in nodes if node.workload is not None]
        assert steps is not None
        if not self._read_only:
            self._phase("fill")
            await asyncio.gather(*(workload.fill() for workload in workloads))
        if self._cluster is not None:
            self._phase("join")
            await self._cluster.start()
        self._phase("faults")
        for workload in workloads:
            workload.mark_start()
        start_ns = self._clock()
        work = asyncio.create_task(_all_work(nodes), name="workload")
        try:
            await _both(steps.run(start_ns), work)
            self._phase("recovery")
            await self._recover(steps)
            await _both(asyncio.sleep(self._scenario.about.settle / NS_PER_S), work)
            for workload in workloads:
                workload.stop()
            await asyncio.wait({work}, timeout=self._patience_ns / NS_PER_S)
        finally:
            self._work_ns = (start_ns, self._clock())
            if not work.done():
                work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        if self._cluster is not None:
            await self._cluster.leave()
        self._phase("verification")
        await self._verify()

    async def _verify(self) -> None:
        """Read every node's blocks: by its own paths, or, if it was halted, by those of one that is still there."""
        reader = next((node for node in self._nodes if node.is_running), None)
        if reader is None:  # as somebody would look who comes to the wreck
            reader = self._new_node(READER)
            try:
                await reader.open(self._first_addresses, lambda: None)
                await self._verify_by(reader)
            finally:
                await reader.close()
        else:
            await self._verify_by(reader)

    async def _verify_by(self, reader: Node) -> None:
        for node in self._nodes:
            await node.verify(node if node.is_running else reader)
        if self._cluster is not None and reader.disk is not None:
            await self._cluster.check_service(reader.disk)

    # --- building

    async def _set_up(self, stack: AsyncExitStack) -> None:
        scenario, directory = self._scenario, self._directory.path
        addresses = self._addresses
        if scenario.cuts.kind == "netns":
            if addresses:
                raise InputError("cuts", "netns is for the built-in target, which it puts into a namespace of its own; "
                                         "a relay can cut the paths to an existing one")
            namespaces = self._world.namespaces(scenario.path_count)
            self._check_supported(namespaces)
            fabric: Fabric = await stack.enter_async_context(namespaces)
            target = self._world.target(scenario.target, directory, namespaces, scenario.settings)
            await self._start_target(stack, target)
            stack.enter_context(namespaces.initiator_entered())  # all sockets of this thread are made on that side
        else:
            if not addresses:
                await self._start_target(stack, self._world.target(scenario.target, directory))
            portals = [address.portal for address in addresses] or self._running_target().portals
            cuttable = self._world.fabric(scenario.cuts.kind, [*portals] * scenario.cluster.nodes)
            self._check_supported(cuttable)
            fabric = await stack.enter_async_context(cuttable)
        paths = scenario.path_count
        addresses = addresses or [TargetAddress(Portal("", 0), TARGET_NAME, LUN)] * paths
        for number in range(1, scenario.cluster.nodes + 1):
            node = self._new_node(number)
            self._nodes.append(node)
            stack.push_async_callback(node.close)
            wires = fabric.portals[(number - 1) * paths:number * paths]
            own = [dataclasses.replace(address, portal=portal)
                   for address, portal in zip(addresses, wires, strict=True)]
            self._first_addresses = self._first_addresses or own
            await self._open(node, own)
        if scenario.has_heartbeats:
            self._cluster = HeartbeatCluster(scenario, self._nodes, self._world, self._journal,
                                             lambda node: self._sever(fabric, node), self._rng)
            stack.push_async_callback(self._cluster.close)
        self._steps = Steps(scenario, fabric, self._target, self._cluster, self._watch, self._journal, self._clock,
                            self._world.before_fault)
        stack.push_async_callback(self._steps.heal_all)  # before the disks are closed, so that they can log out

    def _new_node(self, number: int) -> Node:
        return Node(number, self._scenario, self._world, self._journal, self._rng, self._directory.history,
                    read_only=self._read_only)

    async def _sever(self, fabric: Fabric, node: int) -> None:
        """Reset every connection of a node's paths, where the wires can."""
        if "reset" in fabric.supported:
            paths = self._scenario.path_count
            for path in range((node - 1) * paths, node * paths):
                await fabric.inject(path, Fault("reset"))

    async def _open(self, node: Node, addresses: Sequence[TargetAddress]) -> None:
        try:
            await node.open(addresses, self._sample if node.number == 1 else lambda: None)
        except MpioError as error:
            # Portals are known to people as they gave them, not as the wires present them
            for wire, address in zip(addresses, self._addresses, strict=False):
                error.args = (str(error).replace(str(wire.portal), str(address.portal)),)
            raise

    def _sample(self) -> None:
        if self._request.sample is not None:
            times = [node.workload.times for node in self._nodes if node.workload is not None]
            self._request.sample(self._clock(), sum(map(len, times)), max((each.worst_ns for each in times), default=0))

    async def _start_target(self, stack: AsyncExitStack, target: DrillTarget) -> None:
        self._target = target
        stack.push_async_callback(target.close)
        await target.start()

    def _running_target(self) -> DrillTarget:
        assert self._target is not None
        return self._target

    def _check_supported(self, fabric: Fabric) -> None:
        for step in self._scenario.steps:
            if step.action in ("inject", "flap") and step.network == "storage":
                require_supported(Fault(step.fault, step.params), fabric.supported, self._scenario.cuts.kind)

    def _rng(self, purpose: str) -> random.Random:
        """An independent stream for each purpose, so that more chance in one does not change the other."""
        return random.Random(f"{self._seed}:{purpose}")

    # --- recovery and reading back

    async def _recover(self, steps: Steps) -> None:
        """Heal everything and wait until every path is in use again; that it is late is for the claims to tell."""
        await steps.heal_all()
        await self._watch.until_true(self._paths_down, self._patience_ns)
        self._recovered_ns = self._clock()

    def _paths_down(self) -> list[Place]:
        return [place for node in self._nodes for place in node.paths_down()]

    # --- judging and writing down

    def _finish(self) -> DrillResult:
        end_ns = self._clock()
        if self._journal.dropped and not self._incomplete:
            self._incomplete = f"the journal could not hold all events; the first {self._journal.dropped} are gone"
        try:
            nodes = self._judge(end_ns)
        except Exception as crash:  # noqa: BLE001 - a checker that fails must not pass, nor take the run's record along
            self._incomplete = f"a check itself failed: {type(crash).__name__}: {crash}"
            for node in self._nodes:
                node.workload = None
            nodes = self._judge(end_ns, traces=False)
        claims = claims_of_all(nodes)
        if self._cluster is not None and self._cluster.start_ns:
            claims += cluster_claims(self._cluster, self._scenario, nodes, self._course(end_ns))
        verdict = overall(claims)
        self._record(Kind.RUN_ENDED, verdict=str(verdict))
        metrics = self._metrics(nodes)
        counts = summed_counts(nodes)
        findings = [finding for item in nodes for finding in item.facts.findings]
        stalls = sorted((stall for item in nodes for stall in item.stalls), key=lambda stall: stall.trace.start_ns)
        self._directory.write_json("verdict.json", {
            "version": 1, "verdict": str(verdict), "claims": [claim.as_json() for claim in claims],
            "stalls": [self._stall_json(item.node, stall) for stall, item in sorted(
                ((stall, item) for item in nodes for stall in item.stalls), key=lambda pair: pair[0].trace.start_ns)],
            "counts": counts,
            "blocks": [_finding_json(finding) for finding in findings[:_FINDINGS_SHOWN_MAX]],
            "blocks_left_out": max(0, len(findings) - _FINDINGS_SHOWN_MAX),
        })
        self._directory.write_json("metrics.json", metrics)
        self._directory.close()
        return DrillResult(verdict, tuple(claims), tuple(stalls), tuple(findings), counts, self._directory.path,
                           self._seed, metrics)

    def _judge(self, end_ns: int, *, traces: bool = True) -> list[Judged]:
        return [judged(node, self._scenario, self._course(end_ns), read_only=self._read_only, traces=traces)
                for node in self._nodes or [self._new_node(1)]]

    def _course(self, end_ns: int) -> Course:
        return Course(list(self._journal), end_ns, self._recovered_ns, self._incomplete)

    def _stall_json(self, node: Node, stall: FaultStall) -> dict[str, object]:
        return stall.as_json() | ({"node": node.number} if len(self._nodes) > 1 else {})

    def _metrics(self, nodes: Sequence[Judged]) -> dict[str, Any]:
        start_ns, stop_ns = self._work_ns
        bound = nodes[0].node.bounds(()).single
        samplers = [(item.node, item.node.sampler) for item in nodes if item.node.sampler is not None]
        settings = {name: list(value) if isinstance(value, tuple) else value
                    for name, value in dataclasses.asdict(self._scenario.settings).items() if name not in _SECRETS}
        return {
            "version": 1,
            "profile": self._scenario.profile,
            "settings": settings,
            "bound": None if bound.worst_ns is None else bound.as_json(),
            "latency_ns": latency_metrics(self._nodes),
            **rates(self._nodes, stop_ns - start_ns),
            "seconds": (stop_ns - start_ns) / NS_PER_S,
            "blocks_checked": sum(item.facts.blocks_checked for item in nodes),
            "verified_bytes": sum(map(_verified_bytes, nodes)),
            "history_lines": self._directory.history_lines,
            "history_left_out": self._directory.history_left_out,
            "fences": _summed([sampler.fences() for _, sampler in samplers]),
            **({} if self._cluster is None else {"heartbeats": self._cluster.as_json()}),
            "paths": [path | ({"node": node.number} if len(self._nodes) > 1 else {})
                      for node, sampler in samplers for path in sampler.as_json()],
        }

    # --- small things

    @property
    def _patience_ns(self) -> int:
        bounds = self._nodes[0].bounds(())
        return PATIENCE_NS + (bounds.reinstate.worst_ns or 0) + (bounds.single.worst_ns or 0)

    def _phase(self, phase: str) -> None:
        self._incomplete = f"it ended in the phase {phase!r}"
        self._record(Kind.PHASE_ENTERED, phase=phase)

    def _record(self, kind: Kind, **fields: Value) -> None:
        self._journal.record(self._clock(), SOURCE, kind, **fields)


async def _all_work(nodes: Sequence[Node]) -> None:
    """The workloads of all nodes; that of one that is halted just ends."""
    async with asyncio.TaskGroup() as group:
        for node in nodes:
            group.create_task(node.work(), name=f"node {node.number}")


def _verified_bytes(item: Judged) -> int:
    workload, facts = item.node.workload, item.facts
    complete = workload is not None and set(facts.verified.values()) == {facts.region_blocks}
    return 0 if workload is None or not complete else facts.region_blocks * workload.disk.block_size


def _summed(counters: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Counters of the same names, added up."""
    names = dict.fromkeys(name for each in counters for name in each)
    return {name: sum(each.get(name, 0) for each in counters) for name in names}


def _finding_json(finding: Finding) -> dict[str, object]:
    return {"lba": finding.lba, "blocks": finding.blocks, "kind": str(finding.kind), "expected": finding.expected,
            "found": finding.found, "path": finding.path, "io": finding.io, "t_ns": finding.t_ns}


async def _both(action: Any, work: "asyncio.Task[None]") -> None:
    """Do something while the workload runs; if the workload dies of an error, the action ends with it."""
    acting = asyncio.ensure_future(action)
    try:
        await asyncio.wait({acting, work}, return_when=asyncio.FIRST_COMPLETED)
        if work.done() and not acting.done():
            work.result()
        await acting
    finally:
        if not acting.done():
            acting.cancel()
            await asyncio.gather(acting, return_exceptions=True)


@contextlib.contextmanager
def _cancel_on_signals(seen: list[str]) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP cancel the current task and are noted, where the loop can catch signals.

    What was cancelled so must be taken as done: the cancellation is not for any caller.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def caught(number: signal.Signals) -> None:
        seen.append(number.name)
        task.cancel()

    numbers = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            before = signal.getsignal(number)
            loop.add_signal_handler(number, caught, number)
            numbers.append((number, before))
    try:
        yield
    finally:
        for number, before in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL if before is None else before)  # None: not set from Python
        for _ in seen:
            task.uncancel()
