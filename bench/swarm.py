"""How fast the swarm of bare engines is: `python -m bench.swarm`. Figures are per second of CPU, on one core.

What is run is what `make swarm` runs: plans drawn from seeds, with all checks. `--profile` shows where the time goes.
"""

import argparse
import cProfile
import json
import platform
import pstats
import statistics
import time
from dataclasses import asdict, dataclass

from mpio.sim.swarm import draw_plan, run_plan


@dataclass(frozen=True, slots=True)
class Speed:
    """Of all runs together, and the middle and the slowest of them."""

    runs: int
    runs_per_s: float
    calls_per_s: float
    ios_per_s: float
    times_real: float
    median_ms: float
    slowest_ms: float
    slowest_seed: int


def measure(first: int, runs: int) -> Speed:
    took: dict[int, float] = {}
    calls = ios = sim_ns = 0
    for seed in range(first, first + runs):
        before = time.process_time()
        result = run_plan(draw_plan(seed))
        took[seed] = time.process_time() - before
        calls += result.steps
        ios += sum(result.counts.values())
        sim_ns += result.sim_ns
    total = sum(took.values())
    slowest = max(took, key=lambda seed: took[seed])
    return Speed(
        runs, round(runs / total, 1), round(calls / total), round(ios / total), round(sim_ns / 1e9 / total, 1),
        round(1000 * statistics.median(took.values()), 1), round(1000 * took[slowest], 1), slowest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    options = parser.parse_args()
    measure(options.seed, 10)  # imports and caches
    if options.profile:
        with cProfile.Profile() as profile:
            measure(options.seed, options.runs)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    speed = measure(options.seed, options.runs)
    if options.json:
        print(json.dumps({"python": platform.python_version(), "speed": asdict(speed)}, indent=1))
        return
    print(f"{speed.runs} runs: {speed.runs_per_s} runs/s, {speed.ios_per_s} I/Os/s, {speed.calls_per_s} calls/s, "
          f"{speed.times_real:.0f} x real time")
    print(f"a run takes {speed.median_ms} ms in the median, {speed.slowest_ms} ms at most (seed {speed.slowest_seed})")


if __name__ == "__main__":
    main()
