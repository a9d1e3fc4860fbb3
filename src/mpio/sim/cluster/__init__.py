"""Clusters in the swarm: heartbeat machines over the bare engines, and nodes that lose storage, network, time, or life.

plan = draw_plan(seed)          # plain data
result = run_plan(plan)         # violations, counts, digest
"""

from mpio.sim.cluster.draw import draw_plan
from mpio.sim.cluster.plan import ClusterPlan, Fault
from mpio.sim.cluster.run import run_plan
from mpio.sim.seeds import RunResult, Violation

__all__ = ["ClusterPlan", "Fault", "RunResult", "Violation", "draw_plan", "run_plan"]
