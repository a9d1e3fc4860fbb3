"""One run of a plan: faults come and go (safety), then all is healed and must recover in time (liveness), then checked.

    result = run_plan(draw_plan(7))
    result.violations      # what must never happen, and did

Checked are: every read against what was written; that an error which promises no effect had none; that nothing stays
stuck; that every path comes back; that nothing was ever sent to another LU; that the two engines never find fault with
each other's PDUs; that nothing is left over; and that nothing crashes.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from mpio.check.order import check_journal
from mpio.engine.path import PathState
from mpio.events import Kind
from mpio.model.settings import Settings
from mpio.planner.stall import reinstate_bound, stall_bound
from mpio.sim import seeds
from mpio.sim.seeds import Violation
from mpio.sim.swarm import coverage
from mpio.sim.swarm.disk import SwarmDisk
from mpio.sim.swarm.faults import Parts, inject
from mpio.sim.swarm.host import SwarmHost
from mpio.sim.swarm.judge import Judge
from mpio.sim.swarm.link import Cable, End, LaneSpec
from mpio.sim.swarm.plan import WHOLE, Fault, Plan
from mpio.sim.swarm.schedule import Schedule
from mpio.sim.swarm.strand import Promise
from mpio.sim.swarm.target import SwarmTarget
from mpio.units import seconds

TARGET_NAME = "iqn.2026-01.dev.mpio:swarm"
MORE_IOS = 5  # of each worker once all is healed
CLOSE_NS = 60_000_000_000
KEEPALIVE_SLACK_NS = 50_000_000
_POLL_NS = 5_000_000
_NAA = bytes.fromhex("602006d0000000000000000000000001")
_DECOY_NAA = bytes.fromhex("602006d0000000000000000000000002")
_POOL_BYTES = 1 << 14
_PROTOCOL = "(RFC"  # the mark of a RemoteProtocolError in a cause
_ENDS = (Kind.CONNECTION_LOST, Kind.CONNECT_FAILED)


@dataclass(frozen=True, slots=True)
class RunResult(seeds.RunResult):
    """What came of a run.

    The kinds of its violations are a BlockFault, the rule of a Breach, or one of liveness, deaf, verify, leak,
    identity, protocol, crash, runaway. `counts`: I/Os by "op outcome". `reached`: what it covers; see `coverage`.
    """

    reached: tuple[str, ...]


def recovery_bound_ns(settings: Settings) -> int:
    """How long after the last fault everything has to be well again, at the latest.

    One after the other, though they mostly overlap: a command that the target never answers, or a connection that it
    has forgotten, is noticed; the path's session comes back; what waited is fenced and sent again, which may meet what
    the last fault has left behind once more; checks and damping let every path back in.
    """
    finite = settings if settings.recovery_timeout >= 0 else settings.replace(replacement_timeout=0.0)
    stalls = [stall_bound(finite, failure).worst_ns or 0 for failure in ("hang", "blackhole")]
    damping_s = (settings.san_path_err_recovery_time or 0) + (settings.marginal_path_err_sample_time or 0) * 2 + (
        settings.marginal_path_err_recheck_gap_time or 0)
    back_ns = reinstate_bound(settings).worst_ns or 0
    return 2 * max(stalls) + 2 * back_ns + seconds(
        2 * settings.polling_interval_max + settings.checker_timeout + 2 * damping_s)


def silence_bound_ns(settings: Settings, plan: Plan) -> int:
    """How long a connection may stay open that nothing passes any more: the ping, or what it was doing in place of it.

    A late ping forgives once (`keepalive`), a logout that the target has asked for comes after it, and clocks may be a
    percent slow.
    """
    stages_s = (settings.noop_out_interval + settings.noop_out_timeout, settings.login_timeout,
                settings.logout_timeout, settings.fence_timeout)
    logout_s = settings.logout_timeout if any(fault.kind == "ask_logout" for fault in plan.faults) else 0.0
    pauses_ns = sum(fault.for_ns for fault in plan.faults if fault.kind == "host_pause")
    return seconds(1.02 * (max(stages_s) + settings.noop_out_timeout + logout_s)) + pauses_ns + KEEPALIVE_SLACK_NS


class Run:
    """The world of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.schedule = Schedule()
        self.counts: Counter[str] = Counter()
        self.violations: list[Violation] = []
        self.recovered_ns: int | None = None
        self.moments: dict[str, None] = {}
        self._settings = plan.settings_of(0)
        self.bound_ns = recovery_bound_ns(self._settings)
        self._silence_ns = silence_bound_ns(self._settings, plan)
        self.judge = Judge(plan.blocks, plan.block_size, plan.seed + 1, self._rng("pool").randbytes(_POOL_BYTES))
        self.disk = SwarmDisk(plan.blocks, plan.block_size, volatile=plan.volatile, rng=self._rng("disk"))
        self._decoy_disk = SwarmDisk(plan.blocks, plan.block_size, volatile=False, rng=self._rng("decoy disk"))
        self.target = self._make_target("target", self.disk, _NAA)
        self.disk.on_landed = self.target.landed
        self._decoy = self._make_target("decoy", self._decoy_disk, _DECOY_NAA)
        cables = [self._cables(host) for host in range(plan.hosts)]
        hosts = [self._make_host(number, cables[number], plan.host_ppm[number]) for number in range(plan.hosts)]
        self.parts = Parts(hosts, cables, self.target, self._decoy, plan.tpgts)
        for number, host in enumerate(hosts):
            host.add_workers(number * plan.work.workers, plan.work, plan.blocks,
                             self._rng(f"workers {number}"), self.counts)
            self.schedule.at(0, self._start_workers, host)
        for fault in plan.faults:
            self.schedule.at(fault.at_ns, self._begin, fault)
            self.schedule.at(fault.ends_ns, inject, self.parts, fault, -1)

    def _begin(self, fault: Fault) -> None:
        """A fault comes; note in what states it finds the paths that it is about."""
        for number, host in enumerate(self.parts.hosts):
            for path_id, path in host.map.paths.items():
                if (number, path_id) == (fault.host, fault.portal + 1) or fault.kind in WHOLE:
                    self.moments[coverage.moment(fault.kind, path.state)] = None
        known = len(self.parts.deaf)
        inject(self.parts, fault, 1)
        for end in self.parts.deaf[known:]:
            self.schedule.at(self.schedule.now + self._silence_ns, self._must_be_given_up, end, self.schedule.now)

    def _must_be_given_up(self, end: End, since_ns: int) -> None:
        if not end.closed and end.process.alive:
            self._found("deaf", f"a connection that nothing has passed since {since_ns / 1e9:.3f} s is still open "
                                f"{self._silence_ns / 1e9:.3f} s later")

    def _rng(self, stream: str) -> random.Random:
        return random.Random(f"{self.plan.seed} {stream}")

    def _make_target(self, name: str, disk: SwarmDisk, naa: bytes) -> SwarmTarget:
        plan = self.plan
        target = SwarmTarget(
            self.schedule, disk, self._rng(name), self.judge, name=name, iqn=TARGET_NAME, tpgts=plan.tpgts,
            block_size=plan.block_size, latency_ns=plan.latency_ns, params=plan.target, naa=naa, ppm=plan.target_ppm)
        target.start()
        return target

    def _cables(self, host: int) -> list[Cable]:
        spec = LaneSpec(self.plan.delay_ns, self.plan.jitter_ns, self.plan.pieces)
        return [Cable(self.schedule, spec, self._rng(f"cable {host} {portal}"), portal, self.target)
                for portal in range(len(self.plan.tpgts))]

    def _make_host(self, number: int, cables: list[Cable], ppm: int) -> SwarmHost:
        return SwarmHost(self.schedule, number, self.plan.settings_of(number), cables, self.judge,
                         self._rng(f"host {number}"), target_name=TARGET_NAME, ppm=ppm)

    def _start_workers(self, host: SwarmHost) -> None:
        if not host.process.alive:
            return
        if host.map.identity is None:
            self.schedule.at(self.schedule.now + _POLL_NS, self._start_workers, host)
        else:
            for worker in host.workers:
                worker.start()

    # --- the phases

    def play(self) -> None:
        """All of it. Violations say what went wrong; exceptions are the caller's to judge."""
        self.schedule.run(self.plan.heal_ns, _never)
        hosts = [host for host in self.parts.hosts if host.process.alive]
        if not hosts:  # somebody has to look at what they left
            number = len(self.parts.hosts)
            hosts = [self._make_host(number, self._cables(number), 0)]
            self.parts.hosts += hosts
        self._recover(hosts)
        if self.recovered_ns is not None:
            self._verify(hosts)
            self._look_for_leaks(hosts)
        self._close(hosts)
        self._conclude()

    def _until(self, limit_ns: int, is_done: Callable[[], bool]) -> bool:
        """Let time pass until the condition holds, or for so long at most."""
        deadline_ns = self.schedule.now + limit_ns
        watch = _Watch(self.schedule, is_done)
        return self.schedule.run(deadline_ns, watch.seen)

    def _recover(self, hosts: list[SwarmHost]) -> None:
        healed_ns = self.schedule.now
        for host in hosts:
            for worker in host.workers:
                worker.go_on(MORE_IOS)
        if self._until(self.bound_ns, lambda: all(self._is_well(host) for host in hosts)):
            self.recovered_ns = self.schedule.now - healed_ns
            return
        for host in hosts:
            self._say_what_is_stuck(host)

    def _is_well(self, host: SwarmHost) -> bool:
        """All paths in service, and the application done with what it had to do, some of it well."""
        return all(worker.is_idle and worker.done for worker in host.workers) and all(
            path.state is PathState.UP and path.usable for path in host.map.paths.values()) and all(
            end.closed or not end.process.alive for end in self.parts.deaf)

    def _say_what_is_stuck(self, host: SwarmHost) -> None:
        limit = f"{self.bound_ns / 1e9:.3f} s after the last fault"
        for path in host.map.paths.values():
            if not path.usable:
                self._found("liveness", f"{path.name} of {host.map.name} is {path.state.value} ({path.cause}) {limit}")
        for worker in host.workers:
            if worker.since_ns is not None:
                self._found("liveness", f"a {worker.what} sent at {worker.since_ns / 1e9:.3f} s has not ended {limit}")
            elif not worker.done:
                self._found("liveness", f"no I/O of worker {worker.number} has ended well {limit}")
        if not self.violations:
            self._found("liveness", f"I/O is not done {limit}")

    def _verify(self, hosts: list[SwarmHost]) -> None:
        """Read everything by every path."""
        plan = self.plan
        for host in hosts:
            for path_id in host.lives:
                token = self.judge.read_begins(0, plan.blocks)
                promise = host.read_path(path_id, 0, plan.blocks, plan.block_size)
                self._until(self.bound_ns, lambda promise=promise: promise.done)  # type: ignore[misc]
                if not promise.done:
                    self._found("verify", f"path {path_id} of {host.map.name} can't be read")
                else:
                    self.judge.read_ends(token, 0, promise.value, self.schedule.now, f"{host.map.name} path {path_id}")

    def _look_for_leaks(self, hosts: list[SwarmHost]) -> None:
        for host in hosts:
            host.queue.look(host.map.status(host.process.clock()))
            for path in host.map.paths.values():
                if path.in_flight_bytes:
                    self._found("leak", f"{path.in_flight_bytes} bytes in flight on {path.name}, nothing is under way")

    def _close(self, hosts: list[SwarmHost]) -> None:
        closed: list[Promise[None]] = [host.close() for host in hosts]
        if not self._until(CLOSE_NS, lambda: all(promise.done for promise in closed)):
            self._found("liveness", "a host does not close")
        for host in hosts:
            for worker in host.workers:
                if worker.since_ns is not None:
                    self._found("liveness", f"a {worker.what} has not ended with its map")

    def _conclude(self) -> None:
        for finding in self.judge.registers.findings():
            self._found(str(finding.kind), str(finding))
        breaches = self.judge.breaches
        for host in self.parts.hosts:
            breaches += host.queue.breaches + check_journal(host.journal)
            for event in host.journal:
                cause = event.fields.get("cause")
                if event.kind in _ENDS and isinstance(cause, str) and _PROTOCOL in cause:
                    self._found("protocol", f"{event.source} at {event.t_ns / 1e9:.3f} s: {cause}")
        for breach in breaches:
            self._found(breach.rule, f"{breach.detail} at {breach.t_ns / 1e9:.3f} s")
        if self._decoy_disk.writes:
            self._found("identity", f"{self._decoy_disk.writes} writes went to another LU")

    def _found(self, kind: str, text: str) -> None:
        self.violations.append(Violation(kind, text))




@dataclass(slots=True)
class _Watch:
    """Looks at a condition now and then: looking after every call would cost more than the run."""

    schedule: Schedule
    is_done: Callable[[], bool]
    is_seen: bool = field(default=False)

    def __post_init__(self) -> None:
        self.look()

    def look(self) -> None:
        self.is_seen = self.is_done()
        if not self.is_seen:
            self.schedule.at(self.schedule.now + _POLL_NS, self.look)

    def seen(self) -> bool:
        return self.is_seen


def _never() -> bool:
    return False


def run_plan(plan: Plan, look: Callable[[Run], None] | None = None) -> RunResult:
    """Carry a plan out. Whatever goes wrong in it is a violation, not an exception.

    `look` gets the world at the end.
    """
    with coverage.recording() as reached:
        run = Run(plan)
        try:
            run.play()
        except Exception as error:  # noqa: BLE001 - any exception out of an engine is what the swarm looks for
            run.violations.append(seeds.crashed(error, frames=3))
    digest = hashlib.sha256()
    for host in run.parts.hosts:
        reached |= coverage.of_records(host.journal)
        for event in host.journal:
            digest.update(event.to_json().encode())
    if look is not None:
        look(run)
    digest.update(repr((sorted(run.counts.items()), [str(v) for v in run.violations])).encode())
    return RunResult(
        seed=plan.seed, violations=tuple(run.violations), counts=dict(run.counts),
        reached=tuple(reached | run.moments | coverage.of_faults(plan.faults)),
        sim_ns=run.schedule.now, steps=run.schedule.steps, recovered_ns=run.recovered_ns, bound_ns=run.bound_ns,
        digest=digest.hexdigest()[:16],
    )
