"""A plan that fails, made as small as it gets: fewer faults, less work, simpler settings, rounder times.

A smaller plan counts if it shows a violation of the same kind; which bytes and instants it takes is beside the point.
Since another plan also draws other random numbers, each is tried with a few seeds.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from mpio.engine.fencing import fence_methods
from mpio.sim.swarm.plan import Fault, Plan
from mpio.sim.swarm.run import RunResult, run_plan

RUNS_MAX = 600
SEEDS = 3
MS = 1_000_000

_PLAIN: tuple[tuple[str, Any], ...] = (
    ("target", {}), ("volatile", False), ("jitter_ns", 0), ("pieces", 0), ("latency_ns", 0), ("target_ppm", 0),
    ("block_size", 512), ("delay_ns", MS),
)
_PLAIN_WORK: tuple[tuple[str, Any], ...] = (
    ("flushes", 0.0), ("fua", 0.0), ("reads", 0.0), ("reads", 0.1), ("workers", 1), ("blocks", 1), ("blocks_max", 1),
)
_ROUND = (1000 * MS, 100 * MS, 10 * MS)


class Shrinker:
    """Looks for a smaller plan that shows one of these kinds of violation.

    Attributes:
        plan: the smallest so far. result: of its run. runs: carried out so far.
    """

    def __init__(
        self, plan: Plan, kinds: frozenset[str], run: Callable[[Plan], RunResult] = run_plan, runs_max: int = RUNS_MAX,
    ) -> None:
        self.plan = plan
        self.result = run(plan)
        self.runs = 1
        self._kinds = kinds
        self._run = run
        self._runs_max = runs_max

    def shrink(self) -> Plan:
        """Until nothing helps, or the runs are used up. Raises ValueError if the plan does not fail that way at all."""
        if not self._fails(self.result):
            raise ValueError(f"the plan of seed {self.plan.seed} shows none of {', '.join(sorted(self._kinds))}")
        better = True
        while better:
            better = False
            for step in (_fewer_faults, _less_work, _plainer, _rounder):
                better |= self._try_all(step)
        return self.plan

    def _fails(self, result: RunResult) -> bool:
        return any(violation.kind in self._kinds for violation in result.violations)

    def _try_all(self, step: Callable[[Plan], Iterator[Plan]]) -> bool:
        """Take the first candidate of a step that still fails, again and again. Whether there was any."""
        better = False
        while any(self._take(candidate) for candidate in step(self.plan)):
            better = True
        return better

    def _take(self, candidate: Plan) -> bool:
        if candidate == self.plan or not _is_possible(candidate):
            return False
        for seed in range(self.plan.seed, self.plan.seed + SEEDS):
            if self.runs >= self._runs_max:
                return False
            self.runs += 1
            plan = dataclasses.replace(candidate, seed=seed)
            result = self._run(plan)
            if self._fails(result):
                self.plan, self.result = plan, result
                return True
        return False


def _is_possible(plan: Plan) -> bool:
    """Whether its settings go together."""
    try:
        plan.settings_of(0)
        fence_methods(plan.settings_of(0))
    except ValueError:
        return False
    return True


def _with_faults(plan: Plan, faults: tuple[Fault, ...]) -> Plan:
    return dataclasses.replace(
        plan, faults=faults, heal_ns=max((fault.ends_ns for fault in faults), default=0) + MS)


def _fewer_faults(plan: Plan) -> Iterator[Plan]:
    """Without half of them, then without any one."""
    count = len(plan.faults)
    if count > 2:
        yield _with_faults(plan, plan.faults[:count // 2])
        yield _with_faults(plan, plan.faults[count // 2:])
    for at in range(count):
        yield _with_faults(plan, plan.faults[:at] + plan.faults[at + 1:])


def _less_work(plan: Plan) -> Iterator[Plan]:
    """One host, fewer paths, fewer workers, fewer I/Os."""
    if plan.hosts > 1:
        faults = tuple(dataclasses.replace(fault, host=0) for fault in plan.faults)
        yield dataclasses.replace(plan, hosts=1, host_ppm=plan.host_ppm[:1], faults=faults)
    last = len(plan.tpgts) - 1
    if last and all(fault.portal < last for fault in plan.faults):
        yield dataclasses.replace(plan, tpgts=plan.tpgts[:-1])
    for name, value in _PLAIN_WORK:
        if getattr(plan.work, name) > value:
            yield dataclasses.replace(plan, work=dataclasses.replace(plan.work, **{name: value}))
    if plan.work.ios > 1:
        yield dataclasses.replace(plan, work=dataclasses.replace(plan.work, ios=plan.work.ios // 2))


def _plainer(plan: Plan) -> Iterator[Plan]:
    """Settings as by default, links and clocks without peculiarities."""
    for name in plan.settings:
        if name != "fence":
            yield dataclasses.replace(plan, settings={k: v for k, v in plan.settings.items() if k != name})
    for name, value in _PLAIN:
        if getattr(plan, name) != value:
            yield dataclasses.replace(plan, **{name: value})
    if any(plan.host_ppm):
        yield dataclasses.replace(plan, host_ppm=(0,) * plan.hosts)


def _rounder(plan: Plan) -> Iterator[Plan]:
    """Faults at round times, for round times."""
    for at, fault in enumerate(plan.faults):
        for unit in _ROUND:
            for name in ("at_ns", "for_ns"):
                value = getattr(fault, name)
                rounded = max(round(value / unit), 1) * unit
                if value and value % unit and rounded != value:
                    changed = dataclasses.replace(fault, **{name: rounded})
                    yield _with_faults(plan, (*plan.faults[:at], changed, *plan.faults[at + 1:]))
