"""A plan that fails, made as small as it gets: fewer faults, fewer nodes, plainer settings, rounder times.

A smaller plan counts if it shows a violation of the same kind.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from mpio.sim.cluster.plan import ClusterPlan, Fault
from mpio.sim.cluster.run import run_plan
from mpio.sim.seeds import RunResult

RUNS_MAX = 300
MS = 1_000_000
_PLAIN: tuple[tuple[str, Any], ...] = (
    ("jitter_ns", 0), ("latency_ns", 0), ("block_size", 512), ("shared", False), ("holds", False),
    ("fence_late_ns", 0), ("delay_ns", MS // 10),
)
_ROUND = (1000 * MS, 100 * MS, 10 * MS)


class Shrinker:
    """Looks for a smaller plan that shows one of these kinds of violation.

    Attributes:
        plan: the smallest so far. result: of its run. runs: carried out so far.
    """

    def __init__(
        self, plan: ClusterPlan, kinds: frozenset[str], run: Callable[[ClusterPlan], RunResult] = run_plan,
        runs_max: int = RUNS_MAX,
    ) -> None:
        self.plan = plan
        self.result = run(plan)
        self.runs = 1
        self._kinds = kinds
        self._run = run
        self._runs_max = runs_max

    def shrink(self) -> ClusterPlan:
        """Until nothing helps, or the runs are used up. Raises ValueError if the plan does not fail that way at all."""
        if not self._fails(self.result):
            raise ValueError(f"the plan of seed {self.plan.seed} shows none of {', '.join(sorted(self._kinds))}")
        better = True
        while better:
            better = False
            for step in (_fewer_faults, _fewer_nodes, _plainer, _rounder):
                while any(self._take(candidate) for candidate in step(self.plan)):
                    better = True
        return self.plan

    def _fails(self, result: RunResult) -> bool:
        return any(violation.kind in self._kinds for violation in result.violations)

    def _take(self, candidate: ClusterPlan) -> bool:
        if candidate == self.plan or self.runs >= self._runs_max:
            return False
        try:
            candidate.check()
        except ValueError:
            return False
        self.runs += 1
        result = self._run(candidate)
        if self._fails(result):
            self.plan, self.result = candidate, result
            return True
        return False


def _with_faults(plan: ClusterPlan, faults: tuple[Fault, ...]) -> ClusterPlan:
    return dataclasses.replace(
        plan, faults=faults, heal_ns=max((fault.ends_ns for fault in faults), default=0) + MS)


def _fewer_faults(plan: ClusterPlan) -> Iterator[ClusterPlan]:
    for at in range(len(plan.faults)):
        yield _with_faults(plan, plan.faults[:at] + plan.faults[at + 1:])


def _fewer_nodes(plan: ClusterPlan) -> Iterator[ClusterPlan]:
    """Without the last node or the last portal, if nothing is about them."""
    last = plan.nodes - 1
    if last > 1 and all(fault.node < last and fault.amount < 1 << last for fault in plan.faults):
        yield dataclasses.replace(plan, nodes=last, node_ppm=plan.node_ppm[:last])
    last = len(plan.tpgts) - 1
    if last and all(fault.portal < last for fault in plan.faults):
        yield dataclasses.replace(plan, tpgts=plan.tpgts[:last])


def _plainer(plan: ClusterPlan) -> Iterator[ClusterPlan]:
    """Settings as by default, links and clocks without peculiarities."""
    for name in plan.settings:
        yield dataclasses.replace(plan, settings={key: value for key, value in plan.settings.items() if key != name})
    for name, value in _PLAIN:
        if getattr(plan, name) != value:
            yield dataclasses.replace(plan, **{name: value})
    if any(plan.node_ppm):
        yield dataclasses.replace(plan, node_ppm=(0,) * plan.nodes)


def _rounder(plan: ClusterPlan) -> Iterator[ClusterPlan]:
    """Faults at round times, for round times."""
    for at, fault in enumerate(plan.faults):
        for unit in _ROUND:
            for name in ("at_ns", "for_ns"):
                value = getattr(fault, name)
                rounded = max(round(value / unit), 1) * unit
                if value and value % unit and rounded != value:
                    changed = dataclasses.replace(fault, **{name: rounded})
                    yield _with_faults(plan, (*plan.faults[:at], changed, *plan.faults[at + 1:]))
