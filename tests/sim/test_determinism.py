"""One seed, one run: in any process, whatever its hash seed and heap; and only the seed decides."""

import os
import random
import subprocess
import sys

from mpio.check.verdict import Result
from mpio.drill.parse import builtin
from mpio.sim.run import simulate

SCENARIOS = ("default", "hold", "reset", "target-restart", "both-paths", "slow", "flapping")
PROGRAM = """
import random, sys
ballast = [bytes(random.randrange(1, 5000)) for _ in range(random.randrange(100, 20_000))]  # another heap each time
from mpio.drill.parse import builtin
from mpio.sim.run import simulate
for name in sys.argv[1:]:
    result = simulate(builtin(name), 7)
    print(name, result.digest, result.simulated_ns, result.steps)
"""


def digests(hash_seed: int) -> str:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *SCENARIOS], env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True, text=True, check=True).stdout


def test_processes_with_different_hash_seeds_agree() -> None:
    first = digests(0)
    assert len(first.splitlines()) == len(SCENARIOS)
    assert digests(1) == first
    assert digests(random.randrange(2, 1 << 32)) == first
    here = [simulate(builtin(name), 7) for name in SCENARIOS]
    assert first.splitlines() == [
        f"{name} {r.digest} {r.simulated_ns} {r.steps}" for name, r in zip(SCENARIOS, here, strict=True)]


def test_other_seeds_are_other_runs() -> None:
    assert len({simulate(builtin("reset"), seed).digest for seed in range(5)}) == 5


def test_nobody_depends_on_the_order_of_timers_of_one_instant() -> None:
    runs = [simulate(builtin("hold"), 3, tie_seed=tie_seed) for tie_seed in (None, 1, 2, 3)]
    assert {run.verdict for run in runs} == {Result.PASS}
