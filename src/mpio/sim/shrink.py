"""A plan that fails, made as small as it gets: what swarms of all kinds have in common.

A smaller plan counts if it shows a violation of the same kind; which bytes and instants it takes is beside the point.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from mpio.sim.seeds import RunResult

MS = 1_000_000
_ROUND = (1000 * MS, 100 * MS, 10 * MS)


class AnyPlan(Protocol):
    """What every plan has: a frozen dataclass with a seed, settings as differences, and faults."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def seed(self) -> int:
        """Of everything random in it."""

    @property
    def settings(self) -> dict[str, Any]:
        """Of the maps, as differences from a profile."""

    @property
    def faults(self) -> tuple[Any, ...]:
        """Each with `at_ns`, `for_ns` and `ends_ns`."""


P = TypeVar("P", bound=AnyPlan)
Step = Callable[[P], Iterator[P]]
"""Plans that are a little smaller than one."""


class Shrinker(Generic[P]):
    """Looks for a smaller plan that shows one of these kinds of violation.

    Args:
        plan: to begin with. kinds: of violations.
        run: carries a plan out. is_possible: whether its parts go together.
        steps: ways to a smaller plan, tried in this order again and again.
        runs_max: how many runs that may take. seeds: with how many each plan is tried.

    Attributes:
        plan: the smallest so far. result: of its run. runs: carried out so far.
    """

    def __init__(
        self, plan: P, kinds: frozenset[str], run: Callable[[P], RunResult], is_possible: Callable[[P], bool],
        steps: Sequence[Step[P]], *, runs_max: int, seeds: int = 1,
    ) -> None:
        self.plan = plan
        self.result = run(plan)
        self.runs = 1
        self._kinds = kinds
        self._run = run
        self._is_possible = is_possible
        self._steps = steps
        self._runs_max = runs_max
        self._seeds = seeds

    def shrink(self) -> P:
        """Until nothing helps, or the runs are used up. Raises ValueError if the plan does not fail that way at all."""
        if not self._fails(self.result):
            raise ValueError(f"the plan of seed {self.plan.seed} shows none of {', '.join(sorted(self._kinds))}")
        better = True
        while better:
            better = False
            for step in self._steps:
                while any(self._take(candidate) for candidate in step(self.plan)):
                    better = True
        return self.plan

    def _fails(self, result: RunResult) -> bool:
        return any(violation.kind in self._kinds for violation in result.violations)

    def _take(self, candidate: P) -> bool:
        """Whether it still fails, and so takes the place of the plan."""
        if candidate == self.plan or not self._is_possible(candidate):
            return False
        for seed in range(self.plan.seed, self.plan.seed + self._seeds):
            if self.runs >= self._runs_max:
                return False
            self.runs += 1
            plan = dataclasses.replace(candidate, seed=seed)
            result = self._run(plan)
            if self._fails(result):
                self.plan, self.result = plan, result
                return True
        return False


def fewer_faults(plan: P) -> Iterator[P]:
    """Without half of them, then without any one."""
    count = len(plan.faults)
    if count > 2:
        yield _with_faults(plan, plan.faults[:count // 2])
        yield _with_faults(plan, plan.faults[count // 2:])
    for at in range(count):
        yield _with_faults(plan, plan.faults[:at] + plan.faults[at + 1:])


def fewer_settings(plan: P, *, but: str = "") -> Iterator[P]:
    """Without any one of the settings but that one."""
    for name in plan.settings:
        if name != but:
            yield dataclasses.replace(plan, settings={k: v for k, v in plan.settings.items() if k != name})


def plainer(plan: P, plain: Sequence[tuple[str, Any]]) -> Iterator[P]:
    """With a plain value for any one attribute."""
    for name, value in plain:
        if getattr(plan, name) != value:
            yield dataclasses.replace(plan, **{name: value})


def rounder(plan: P) -> Iterator[P]:
    """Faults at round times, for round times."""
    for at, fault in enumerate(plan.faults):
        for unit in _ROUND:
            for name in ("at_ns", "for_ns"):
                value = getattr(fault, name)
                rounded = max(round(value / unit), 1) * unit
                if value and value % unit and rounded != value:
                    changed = dataclasses.replace(fault, **{name: rounded})
                    yield _with_faults(plan, (*plan.faults[:at], changed, *plan.faults[at + 1:]))


def _with_faults(plan: P, faults: tuple[Any, ...]) -> P:
    return dataclasses.replace(
        plan, faults=faults, heal_ns=max((fault.ends_ns for fault in faults), default=0) + MS)
