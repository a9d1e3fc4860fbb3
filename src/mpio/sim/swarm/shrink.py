"""A plan of the swarm that fails, made small: fewer faults, less work, simpler settings, rounder times."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from mpio.engine.fencing import fence_methods
from mpio.sim.shrink import MS, Shrinker, fewer_faults, fewer_settings, plainer, rounder
from mpio.sim.swarm.plan import Plan
from mpio.sim.swarm.run import run_plan

RUNS_MAX = 600
SEEDS = 3  # a smaller plan draws other random numbers, so that each is tried with a few

_PLAIN: tuple[tuple[str, Any], ...] = (
    ("target", {}), ("volatile", False), ("jitter_ns", 0), ("pieces", 0), ("latency_ns", 0), ("target_ppm", 0),
    ("block_size", 512), ("delay_ns", MS),
)
_PLAIN_WORK: tuple[tuple[str, Any], ...] = (
    ("flushes", 0.0), ("fua", 0.0), ("reads", 0.0), ("reads", 0.1), ("workers", 1), ("blocks", 1), ("blocks_max", 1),
)


def shrinker(plan: Plan, kinds: frozenset[str]) -> Shrinker[Plan]:
    """For a plan that shows one of these kinds of violation."""
    return Shrinker(plan, kinds, run_plan, _is_possible, (fewer_faults, _less_work, _plainer, rounder),
                    runs_max=RUNS_MAX, seeds=SEEDS)


def _is_possible(plan: Plan) -> bool:
    """Whether its settings go together."""
    try:
        plan.settings_of(0)
        fence_methods(plan.settings_of(0))
    except ValueError:
        return False
    return True


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
    yield from fewer_settings(plan, but="fence")
    yield from plainer(plan, (*_PLAIN, ("host_ppm", (0,) * plan.hosts)))
