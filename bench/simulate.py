"""How fast the shell simulator is: `python -m bench.simulate`. Figures are per second of CPU, on one core.

What is run is the drill itself in virtual time: map, sessions, target server, both protocol engines, workload, checks.
`--profile` shows where the time goes.
"""

import argparse
import cProfile
import json
import platform
import pstats
import statistics
import time
from dataclasses import asdict, dataclass

from mpio.drill.parse import builtin, parse_scenario
from mpio.drill.scenario import Scenario
from mpio.sim.run import WORKLOAD, simulate

STEADY = '[scenario]\nduration = "{seconds}s"\n[workload]\nrate = {rate}\n'


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one kind of run: medians over the rounds."""

    name: str
    times_real: float
    ios_per_s: float
    callbacks_per_s: float
    runs_per_s: float


def measure(name: str, scenario: Scenario, rounds: int) -> Speed:
    times_real, ios, callbacks, runs = [], [], [], []
    for seed in range(rounds):
        before = time.process_time()
        result = simulate(scenario, seed)
        took = time.process_time() - before
        if result.error:
            raise SystemExit(f"{name}, seed {seed}: {result.error}")
        times_real.append(result.simulated_ns / 1e9 / took)
        ios.append(sum(result.counts.values()) / took)
        callbacks.append(result.steps / took)
        runs.append(1 / took)
    return Speed(name, *(round(statistics.median(values), 1) for values in (times_real, ios, callbacks, runs)))


def races() -> list[tuple[str, Scenario]]:
    usual = WORKLOAD["rate"]
    return [
        (f"two paths, {usual:g} I/Os a second", parse_scenario(STEADY.format(seconds=120, rate=usual))),
        ("two paths, 100 I/Os a second", parse_scenario(STEADY.format(seconds=30, rate=100))),
        ("two paths, 1000 I/Os a second", parse_scenario(STEADY.format(seconds=5, rate=1000))),
        ("the default drill", builtin("default")),
        ("SLES 10's timers", builtin("sles10")),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--profile", action="store_true", help="show where the time of the first race goes")
    options = parser.parse_args()
    simulate(builtin("default"), 0)  # imports and caches
    if options.profile:
        with cProfile.Profile() as profile:
            simulate(races()[0][1], 1)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    speeds = [measure(name, scenario, options.rounds) for name, scenario in races()]
    if options.json:
        document = {"python": platform.python_version(), "speeds": [asdict(speed) for speed in speeds]}
        print(json.dumps(document, indent=1))
        return
    print(f"{'':34} {'x real time':>12} {'I/Os/s':>10} {'callbacks/s':>12} {'runs/s':>8}")
    for speed in speeds:
        print(f"{speed.name:34} {speed.times_real:12,.0f} {speed.ios_per_s:10,.0f} {speed.callbacks_per_s:12,.0f} "
              f"{speed.runs_per_s:8,.1f}")


if __name__ == "__main__":
    main()
