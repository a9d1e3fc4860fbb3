"""What the commands of both swarms have in common: options, progress, and what is said of a run and of many."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mpio.sim.seeds import RunResult, Sums, Violation

SHOWN_MAX = 20
_PROGRESS_S = 10.0


class Progress:
    """Says on standard error what is new, now and then."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._shown = 0.0
        self._told: dict[int, None] = {}

    def __call__(self, tally: Sums) -> None:
        """Look at the runs so far."""
        for seed in tally.failed:
            if seed not in self._told:
                self._told[seed] = None
                say(f"seed {seed}: {tally.failed[seed][0]}")
        if time.monotonic() - self._shown >= _PROGRESS_S:
            self._shown = time.monotonic()
            say(f"{tally.runs} of {self._runs} runs, {tally.failed_runs} with violations")


def parser(program: str, description: str | None, what_replay_shows: str) -> argparse.ArgumentParser:
    """The options that both have."""
    found = argparse.ArgumentParser(prog=program, description=description)
    found.add_argument("--runs", type=int, default=1000, help="how many")
    found.add_argument("--seed", type=int, default=0, help="of the first run")
    found.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    found.add_argument("--report", type=Path, help="write the report to this file as well")
    found.add_argument("--replay", metavar="SEED|FILE", help=f"one run again, with its plan and {what_replay_shows}")
    found.add_argument("--shrink", type=Path, metavar="FILE", help="with --replay: a smaller plan that fails alike")
    return found


def publish(text: str, report: Path | None) -> None:
    """To standard output, and to the file if there is one."""
    sys.stdout.write(text)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(text, encoding="utf-8")


def show(result: RunResult) -> None:
    """What came of one run."""
    sys.stdout.write(f"digest {result.digest}, {result.steps} steps, {result.sim_ns / 1e9:.3f} s\n")
    show_violations(result.violations)


def show_violations(violations: Sequence[Violation]) -> None:
    """A line each."""
    for violation in violations:
        sys.stdout.write(f"{violation}\n")


def findings(tally: Sums, program: str) -> list[str]:
    """How slow recoveries were, what was found, and how to see it again."""
    lines = [
        f"slowest recovery: {tally.slowest[0] / 10:.1f} % of its bound (seed {tally.slowest[1]})",
        f"runs with violations: {tally.failed_runs}",
    ]
    lines += [f"  {kind}: {count}" for kind, count in tally.failures.most_common()]
    for seed, texts in sorted(tally.failed.items())[:SHOWN_MAX]:
        lines += [f"  seed {seed}: {texts[0]}", f"    {program} --replay {seed}"]
    return lines


def repetitions(tally: Sums) -> str:
    """Whether what was done twice came out alike."""
    outcome = f"NOT alike from seeds {tally.unlike} on" if tally.unlike else "all alike"
    return f"{tally.repeated} runs repeated in another process: {outcome}"


def say(text: str) -> None:
    """On standard error."""
    sys.stderr.write(f"{text}\n")
