"""The bare engines on a heap of events: thousands of small runs in which anything may fail, each a function of a seed.

plan = draw_plan(seed)          # plain data
result = run_plan(plan)         # violations, counts, digest
"""

from mpio.sim.seeds import Violation
from mpio.sim.swarm.draw import draw_plan
from mpio.sim.swarm.plan import Fault, Plan
from mpio.sim.swarm.run import RunResult, run_plan

__all__ = ["Fault", "Plan", "RunResult", "Violation", "draw_plan", "run_plan"]
