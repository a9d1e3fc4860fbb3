"""A plan of clusters that fails, made small: fewer faults, fewer nodes, plainer settings, rounder times."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from mpio.sim.cluster.plan import ClusterPlan
from mpio.sim.cluster.run import run_plan
from mpio.sim.shrink import MS, Shrinker, fewer_faults, fewer_settings, plainer, rounder

RUNS_MAX = 300
_PLAIN: tuple[tuple[str, Any], ...] = (
    ("jitter_ns", 0), ("latency_ns", 0), ("block_size", 512), ("shared", False), ("holds", False),
    ("fence_late_ns", 0), ("delay_ns", MS // 10),
)


def shrinker(plan: ClusterPlan, kinds: frozenset[str], *, runs_max: int = RUNS_MAX) -> Shrinker[ClusterPlan]:
    """For a plan that shows one of these kinds of violation."""
    return Shrinker(plan, kinds, run_plan, _is_possible, (fewer_faults, _fewer_nodes, _plainer, rounder),
                    runs_max=runs_max)


def _is_possible(plan: ClusterPlan) -> bool:
    """Whether its parts go together."""
    try:
        plan.check()
    except ValueError:
        return False
    return True


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
    yield from fewer_settings(plan)
    yield from plainer(plan, (*_PLAIN, ("node_ppm", (0,) * plan.nodes)))
