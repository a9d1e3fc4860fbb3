"""Random settings and faults of five classes, simulated: what was measured, beside what the planner says of it."""

import random
from dataclasses import dataclass

from mpio.drill.parse import parse_scenario
from mpio.model.settings import Settings
from mpio.planner.budget import Budget
from mpio.planner.stall import Failure, stall_bound
from mpio.sim.link import Conditions
from mpio.sim.run import SimResult, simulate
from mpio.sim.target import DiskConditions
from mpio.sim.world import Surroundings

FAULTS: dict[Failure, tuple[tuple[str, str], ...]] = {
    "blackhole": (("blackhole", ""), ("drop", ""), ("blackhole", 'direction = "to_target"'),
                  ("blackhole", 'direction = "to_initiator"'), ("link_down", 'side = "target"'), ("hold", ""),
                  ("link_down", 'side = "initiator"'), ("half_open", 'side = "target"')),
    "reset": (("refuse", ""), ("half_open", 'side = "initiator"'), ("reset", "")),
    "reject": (("reject", ""), ("reject", 'direction = "to_target"')),
    "hang": (("hang", 'management = "hangs"'), ("hang", 'management = "answers"')),
    "outage": (("blackhole", ""), ("refuse", ""), ("hold", ""), ("link_down", 'side = "initiator"')),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One run: what was asked, what the planner says, what came out."""

    seed: int
    fault: str
    settings: Settings
    budget: Budget
    result: SimResult

    @property
    def measured_ns(self) -> int:
        """The worst stall of any fault of the run; those of an outage are one."""
        return self.result.worst_stall_ns

    def __str__(self) -> str:
        worst = self.budget.worst_ns or 0
        terms = ", ".join(f"{t.name} {t.best_ns / 1e9:g}..{t.value_ns / 1e9:g}" for t in self.budget.terms)
        return (f"seed {self.seed}, {self.fault}: {self.measured_ns / 1e9:.3f} s, planned "
                f"{self.budget.best_ns / 1e9:.3f} to {worst / 1e9:.3f} s ({terms})")


def settings_drawn(rng: random.Random) -> Settings:
    """Timers from fast to slow; half of them in one's and two's of tenths, where ties are likely."""
    def pick(low: float, high: float) -> float:
        value = low * (high / low) ** rng.random()
        return round(value, rng.choice((1, 3))) or low

    reconnect_delay = pick(0.1, 2)
    return Settings(
        noop_out_interval=pick(0.2, 6), noop_out_timeout=pick(0.2, 6),
        fast_io_fail_tmo=rng.choice((None, 0.0, pick(0.1, 5), pick(0.1, 5))), replacement_timeout=pick(0.5, 10),
        login_timeout=pick(0.5, 5), logout_timeout=1.0, abort_timeout=pick(0.2, 3), lu_reset_timeout=pick(0.2, 3),
        timeout=pick(2, 12), fence_timeout=pick(0.1, 1.5), reconnect_delay=reconnect_delay,
        reconnect_delay_max=reconnect_delay * rng.choice((1, 1.5, 3)), polling_interval=pick(0.5, 3),
        checker_timeout=pick(0.5, 5), no_path_retry="queue", failback=rng.choice(("immediate", "manual")),
        path_grouping_policy=rng.choice(("failover", "multibus", "group_by_prio")),
        path_selector=rng.choice(("round-robin", "queue-length", "service-time")),
        fence=rng.choice(("auto", "auto", "none")), default_time2wait=0,
    )


def surroundings_drawn(rng: random.Random) -> Surroundings:
    """A network of up to 3 ms there and back, as the planner allows for."""
    delay_ns = round(10 ** rng.uniform(4, 5.5))
    conditions = Conditions(delay_ns, delay_ns // 10, split=rng.choice((0.0, 0.3)))
    disk = DiskConditions(rng.choice((500_000, 2_000_000, 8_000_000)), 50_000)
    return Surroundings(conditions, disk, rng.randint(-200, 200))


def run_case(failure: Failure, seed: int) -> Case:
    """Simulate one."""
    rng = random.Random(f"keystone {failure} {seed}")
    settings = settings_drawn(rng)
    kind, params = rng.choice(FAULTS[failure])
    outage_s = round(rng.uniform(1, 30), 3)
    paths = rng.choice((2, 2, 3))
    path = '"all"' if failure == "outage" else "1"
    healing = f'delay = "{outage_s}s"' if failure == "outage" else 'after = "failed"\ndelay = "1s"\ntimeout = "15s"'
    noticed = "" if failure == "outage" else '[[step]]\naction="wait"\nduration="0s"\nafter="detected"\ntimeout="40s"'
    text = f"""
[target]
portals = {paths}
[workload]
rate = 50
workers = 6
readers = 2
[[step]]
action = "inject"
at = "{rng.uniform(0.5, 2):.3f}s"
path = {path}
expect = "any"
fault = "{kind}"
params = {{ {params} }}
{noticed}
[[step]]
action = "heal"
path = {path}
{healing}
[[step]]
action = "wait"
after = "reinstated"
timeout = "60s"
duration = "500ms"
"""
    scenario = parse_scenario(text)
    result = simulate(scenario, seed, settings, surroundings=surroundings_drawn(rng), shake_ns=0)
    outage_ns = 0
    if failure == "outage":
        outage_ns = max(s.trace.healed_ns - s.trace.start_ns for s in result.stalls if s.trace.healed_ns is not None)
    budget = stall_bound(settings, failure, outage_ns=outage_ns)
    return Case(seed, f"{failure} by {kind} {params}".strip(), settings, budget, result)


def was_held_up(case: Case) -> bool:
    """Whether the fault met I/O and the map had to send it elsewhere; else no lower bound holds.

    A path that is back before the map has given it up goes on with its I/O.
    """
    failed = any(stall.trace.at("failed") is not None for stall in case.result.stalls)
    return failed and any(path["rerouted"] > 0 for path in case.result.metrics["paths"])
