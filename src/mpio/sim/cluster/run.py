"""One run of a plan: faults come and go (safety), then all is healed and must be well in time (liveness), then judged.

result = run_plan(draw_plan(7))
result.violations      # what must never happen, and did

The kinds of violations are the rules of `check.fencing`, and lease, watchdog, unexplained, overdue, liveness, crash and
runaway. Counted are fences, ends of lives and events, by name.
"""

import hashlib
from collections.abc import Callable

from mpio.heartbeat.machine import PeerState
from mpio.sim.cluster.judgement import judge
from mpio.sim.cluster.plan import ClusterPlan
from mpio.sim.cluster.splits import HalvesWatch
from mpio.sim.cluster.theory import StorageTheory, expanded
from mpio.sim.cluster.world import World
from mpio.sim.seeds import RunResult, Violation, crashed

BOOT_SPREAD_NS = 300_000_000
JOIN_PERIODS = 20  # to join: some heartbeats until others have seen them, the slot watched before
_LOOK_NS = 250_000_000
_POLL_NS = 100_000_000


class Run:
    """The world of one plan, and its course."""

    def __init__(self, plan: ClusterPlan) -> None:
        self.plan = plan
        self.world = World(plan)
        self.faults = expanded(plan.faults, len(plan.tpgts))
        self.theory = StorageTheory(plan, self.faults)
        self.troubles = [self.theory.troubles(node) for node in range(plan.nodes)]
        self.violations: list[Violation] = []
        self.recovered_ns: int | None = None
        world, schedule = self.world, self.world.schedule
        rules = world.rules
        self.bound_ns = (self.theory.outage_ns + rules.terms.longest(rules.dead_ns + rules.terms.deadline_ns) +
                         2 * plan.reboot_ns + (JOIN_PERIODS + 4) * rules.terms.period_ns + rules.split_ns +
                         2 * rules.terms.fence_ns + 2 * plan.network.idle_ns)
        for number, node in enumerate(world.nodes):
            schedule.at(BOOT_SPREAD_NS * number // plan.nodes, node.boot)
        for fault in self.faults:
            schedule.at(fault.at_ns, world.inject, fault, 1)
            if fault.for_ns or fault.kind == "forget":
                schedule.at(fault.ends_ns, world.inject, fault, -1)

    def play(self) -> None:
        """All of it."""
        schedule = self.world.schedule
        halves = HalvesWatch(self.world, self.troubles, self.world.breaches)
        while schedule.now < self.plan.heal_ns:
            schedule.run(min(schedule.now + _LOOK_NS, self.plan.heal_ns), _never)
            if self.world.rules.has_beats:
                halves.look()
        deadline_ns = schedule.now + self.bound_ns
        while schedule.now < deadline_ns:
            schedule.run(schedule.now + _POLL_NS, _never)
            if self._is_well():
                self.world.record.is_well = True
                self.recovered_ns = schedule.now - self.plan.heal_ns
                break
        else:
            limit = f"{self.bound_ns / 1e9:.3f} s after the last fault"
            self.violations += [Violation("liveness", f"{text} {limit}") for text in self._complaints()]
        self.violations += [Violation(breach.rule, f"{breach.detail} at {breach.t_ns / 1e9:.3f} s")
                            for breach in judge(self.world, self.faults, self.theory, self.troubles)]

    def _is_well(self) -> bool:
        """Every node is a member and sees every other live; every unit has somebody."""
        return all(node.is_serving for node in self.world.nodes) and not self._complaints()

    def _complaints(self) -> list[str]:
        found = []
        world = self.world
        for node in world.nodes:
            if not node.is_serving or node.machine is None:
                found.append(f"node {node.number} is {node.state if node.is_up else 'off'}")
                continue
            found += [f"node {node.number} sees node {peer.node} as {peer.state}"
                      for peer in node.machine.status(node.process.clock()).peers if peer.state is not PeerState.LIVE]
        for unit in range(world.register.units):
            owner = world.takeovers.owner(unit)
            if owner is None or not world.nodes[owner[0]].is_up or world.nodes[owner[0]].life != owner[1]:
                found.append(f"unit {unit} belongs to {owner}")
        return found


def _never() -> bool:
    return False


def run_plan(plan: ClusterPlan, look: Callable[[Run], None] | None = None) -> RunResult:
    """Carry a plan out. Whatever goes wrong in it is a violation, not an exception.

    `look` gets the world at the end.
    """
    run = Run(plan)
    try:
        run.play()
    except Exception as error:  # noqa: BLE001 - any exception out of an engine is what the swarm looks for
        run.violations.append(crashed(error, frames=4))
    if look is not None:
        look(run)
    world = run.world
    digest = hashlib.sha256()
    for told in world.record.told:
        digest.update(repr((told.t_ns, told.node, told.kind, sorted(told.fields.items()))).encode())
    digest.update(repr((sorted(world.record.counts.items()), world.takeovers.landed_count,
                        [str(violation) for violation in run.violations])).encode())
    return RunResult(
        seed=plan.seed, violations=tuple(run.violations), counts=dict(world.record.counts),
        sim_ns=world.schedule.now, steps=world.schedule.steps, recovered_ns=run.recovered_ns, bound_ns=run.bound_ns,
        digest=digest.hexdigest()[:16])
