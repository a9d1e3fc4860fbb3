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
from mpio.check.bounds import Bounds, measure
from mpio.check.claims import Facts, judge_all
from mpio.check.stall import FaultStall, FaultTrace, fault_traces
from mpio.check.verdict import Claim, Result, overall
from mpio.drill.fabric import Fabric, Fault, require_supported
from mpio.drill.render import as_run
from mpio.drill.request import DrillRequest, effective_scenario, parse_urls, repro
from mpio.drill.sampler import Sampler
from mpio.drill.scenario import check_region
from mpio.drill.steps import SOURCE, Steps
from mpio.drill.target_process import LUN, TARGET_NAME
from mpio.drill.watch import Watch
from mpio.drill.workload import Workload
from mpio.drill.world import DrillDisk, DrillTarget, World
from mpio.errors import InputError, MpioError
from mpio.events import Event, Journal, Kind, Value
from mpio.model.address import Portal, TargetAddress
from mpio.units import NS_PER_S

__all__ = ["DrillRequest", "DrillResult", "run_drill"]

PATIENCE_NS = 30 * NS_PER_S  # past the bounds: for all paths to come back after the last heal, and for I/O to end
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
        self._disk: DrillDisk | None = None
        self._workload: Workload | None = None
        self._sampler: Sampler | None = None
        self._watch = Watch(self._journal, self._clock)
        self._verified: dict[int, int | str] = {}
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
        workload, steps = self._workload, self._steps
        assert workload is not None
        assert steps is not None
        if not self._read_only:
            self._phase("fill")
            await workload.fill()
        self._phase("faults")
        workload.mark_start()
        start_ns = self._clock()
        work = asyncio.create_task(workload.run(), name="workload")
        try:
            await _both(steps.run(start_ns), work)
            self._phase("recovery")
            await self._recover(steps)
            await _both(asyncio.sleep(self._scenario.about.settle / NS_PER_S), work)
            workload.stop()
            await asyncio.wait({work}, timeout=self._patience_ns / NS_PER_S)
        finally:
            self._work_ns = (start_ns, self._clock())
            if not work.done():
                work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            workload.give_up_open()
        self._phase("verification")
        await self._verify(workload)

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
            wires = self._world.fabric(scenario.cuts.kind, portals)
            self._check_supported(wires)
            fabric = await stack.enter_async_context(wires)
        addresses = [dataclasses.replace(address, portal=portal) for address, portal in zip(
            addresses or [TargetAddress(Portal("", 0), TARGET_NAME, LUN)] * scenario.path_count,
            fabric.portals, strict=True)]
        disk = self._world.disk(addresses, scenario.settings, self._journal, self._rng("disk"))
        try:
            self._disk = await stack.enter_async_context(disk)
        except MpioError as error:
            # Portals are known to people as they gave them, not as the wires present them
            for wire, address in zip(fabric.portals, self._addresses, strict=False):
                error.args = (str(error).replace(str(wire), str(address.portal)),)
            raise
        self._steps = Steps(scenario, fabric, self._target, self._watch, self._journal, self._clock,
                            self._world.before_fault)
        stack.push_async_callback(self._steps.heal_all)  # before the disk is closed, so that it can log out
        self._sampler = Sampler(self._disk, self._sample, self._world.sample_interval_ns)
        stack.push_async_callback(self._sampler.stop)
        self._sampler.start()
        self._workload = self._make_workload(self._disk)

    def _sample(self) -> None:
        if self._request.sample is not None and self._workload is not None:
            times = self._workload.times
            self._request.sample(self._clock(), len(times), times.worst_ns)

    async def _start_target(self, stack: AsyncExitStack, target: DrillTarget) -> None:
        self._target = target
        stack.push_async_callback(target.close)
        await target.start()

    def _running_target(self) -> DrillTarget:
        assert self._target is not None
        return self._target

    def _check_supported(self, fabric: Fabric) -> None:
        for step in self._scenario.steps:
            if step.action in ("inject", "flap"):
                require_supported(Fault(step.fault, step.params), fabric.supported, self._scenario.cuts.kind)

    def _make_workload(self, disk: DrillDisk) -> Workload:
        scenario, spec = self._scenario, self._scenario.workload
        if self._read_only:
            region = min(spec.region, disk.size_bytes - spec.offset) // disk.block_size * disk.block_size
            spec = dataclasses.replace(spec, region=region)
            scenario = dataclasses.replace(scenario, workload=spec)
        check_region(scenario, disk.size_bytes, disk.block_size,
                     lambda key, message: InputError(f"[workload] {key}", message))
        return Workload(disk, spec, self._rng("workload"), self._directory.history, read_only=self._read_only,
                        rate=self._world.rate(spec))

    def _rng(self, purpose: str) -> random.Random:
        """An independent stream for each purpose, so that more chance in one does not change the other."""
        return random.Random(f"{self._seed}:{purpose}")

    # --- recovery and reading back

    async def _recover(self, steps: Steps) -> None:
        """Heal everything and wait until every path is in use again; that it is late is for the claims to tell."""
        await steps.heal_all()
        await self._watch.until_true(self._paths_down, self._patience_ns)
        self._recovered_ns = self._clock()

    def _paths_down(self) -> list[int]:
        assert self._disk is not None
        return [path.path_id for path in self._disk.status().paths if not path.connected]

    async def _verify(self, workload: Workload) -> None:
        for path in range(1, self._scenario.path_count + 1):
            try:
                self._verified[path] = await workload.verify(path)
            except MpioError as error:
                self._verified[path] = str(error)

    # --- judging and writing down

    def _finish(self) -> DrillResult:
        end_ns = self._clock()
        try:
            facts = self._facts(end_ns)
        except Exception as crash:  # noqa: BLE001 - a checker that fails must not pass, nor take the run's record along
            self._incomplete = f"a check itself failed: {type(crash).__name__}: {crash}"
            self._workload = None
            facts = self._facts(end_ns, traces=[])
        claims = judge_all(facts)
        verdict = overall(claims)
        self._record(Kind.RUN_ENDED, verdict=str(verdict))
        metrics = self._metrics(facts)
        counts: dict[str, int] = dict(facts.counts)
        self._directory.write_json("verdict.json", {
            "version": 1, "verdict": str(verdict), "claims": [claim.as_json() for claim in claims],
            "stalls": [stall.as_json() for stall in facts.stalls], "counts": counts,
            "blocks": [_finding_json(finding) for finding in facts.findings[:_FINDINGS_SHOWN_MAX]],
            "blocks_left_out": max(0, len(facts.findings) - _FINDINGS_SHOWN_MAX),
        })
        self._directory.write_json("metrics.json", metrics)
        self._directory.close()
        return DrillResult(verdict, tuple(claims), tuple(facts.stalls), tuple(facts.findings), counts,
                           self._directory.path, self._seed, metrics)

    def _facts(self, end_ns: int, traces: list[FaultTrace] | None = None) -> Facts:
        workload, claims = self._workload, self._scenario.claims
        events = list(self._journal)
        if self._journal.dropped and not self._incomplete:
            self._incomplete = f"the journal could not hold all events; the first {self._journal.dropped} are gone"
        if traces is None:
            traces = fault_traces(events, end_ns, self._bounds(()).single.worst_ns or 0)
        bounds = self._bounds(traces)
        stalls = [] if workload is None else measure(traces, workload.times, bounds)
        counts = {} if workload is None else dict(workload.counts)
        return Facts(
            events=events,
            stalls=stalls,
            findings=[] if workload is None else workload.findings(),
            faulty_blocks=0 if workload is None else workload.faulty_blocks,
            blocks_checked=0 if workload is None else workload.blocks_checked,
            unread_blocks=0 if workload is None else workload.unread_blocks,
            verified=self._verified,
            region_blocks=0 if workload is None else workload.blocks,
            read_only=self._read_only,
            counts=counts,
            errors=[] if workload is None else workload.first_errors,
            unfinished=sum(count for name, count in counts.items() if name.endswith(" unfinished")),
            ended_after_heal=0 if workload is None or self._recovered_ns is None else workload.times.ended_between(
                self._recovered_ns, end_ns),
            max_stall=claims.max_stall,
            max_reinstate=claims.max_reinstate,
            reinstate_bound_ns=bounds.reinstate.worst_ns,
            errors_allowed=claims.errors == "allowed",
            false_failovers_allowed=claims.false_failovers == "allowed",
            complete=not self._incomplete,
            incomplete=self._incomplete,
        )

    def _metrics(self, facts: Facts) -> dict[str, Any]:
        workload, (start_ns, stop_ns) = self._workload, self._work_ns
        bound = self._bounds(()).single
        latencies = [] if workload is None else workload.times.latencies_ns()
        seconds = (stop_ns - start_ns) / NS_PER_S
        settings = {name: list(value) if isinstance(value, tuple) else value
                    for name, value in dataclasses.asdict(self._scenario.settings).items() if name not in _SECRETS}
        return {
            "version": 1,
            "profile": self._scenario.profile,
            "settings": settings,
            "bound": None if bound.worst_ns is None else bound.as_json(),
            "latency_ns": {} if not latencies else {
                "median": latencies[len(latencies) // 2], "p99": latencies[len(latencies) * 99 // 100],
                "worst": latencies[-1]},
            "iops": len(latencies) / seconds if seconds > 0 else None,
            "bytes_per_s": workload.bytes_done / seconds if workload is not None and seconds > 0 else None,
            "seconds": seconds,
            "blocks_checked": facts.blocks_checked,
            "verified_bytes": 0 if workload is None or set(facts.verified.values()) != {facts.region_blocks} else (
                facts.region_blocks * workload.disk.block_size),
            "history_lines": self._directory.history_lines,
            "history_left_out": self._directory.history_left_out,
            "fences": {} if self._sampler is None else self._sampler.fences(),
            "paths": [] if self._sampler is None else self._sampler.as_json(),
        }

    def _bounds(self, traces: Sequence[FaultTrace]) -> Bounds:
        paths = range(1, self._scenario.path_count + 1)
        unfenced = [] if self._sampler is None else self._sampler.unfenced()
        return Bounds(self._scenario.settings, traces, paths, writes=not self._read_only, unfenced=unfenced)

    # --- small things

    @property
    def _patience_ns(self) -> int:
        bounds = self._bounds(())
        return PATIENCE_NS + (bounds.reinstate.worst_ns or 0) + (bounds.single.worst_ns or 0)

    def _phase(self, phase: str) -> None:
        self._incomplete = f"it ended in the phase {phase!r}"
        self._record(Kind.PHASE_ENTERED, phase=phase)

    def _record(self, kind: Kind, **fields: Value) -> None:
        self._journal.record(self._clock(), SOURCE, kind, **fields)


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
