"""`python -m mpio.sim.swarm`: many runs, what they found, and what they reached.

Exit code 0 if nothing was found, 1 if something was, 2 for bad usage, 3 if a process was lost.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from mpio.errors import InputError
from mpio.sim.swarm.campaign import SwarmLost, Tally, swarm
from mpio.sim.swarm.draw import draw_plan
from mpio.sim.swarm.plan import Plan
from mpio.sim.swarm.run import Run, RunResult, run_plan
from mpio.sim.swarm.shrink import Shrinker

SHOWN_MAX = 20
_PROGRESS_S = 10.0


def main(arguments: list[str] | None = None) -> int:
    """The program."""
    options = _parse(arguments)
    try:
        if options.replay is not None:
            return _replay(_plan(options.replay, options.fence), shrink_to=options.shrink)
    except InputError as error:
        _say(str(error))
        return 2
    began = time.monotonic()
    shown = 0.0
    told: dict[int, None] = {}

    def progress(tally: Tally) -> None:
        nonlocal shown
        for seed in tally.failed:
            if seed not in told:
                told[seed] = None
                _say(f"seed {seed}: {tally.failed[seed][0]}")
        if time.monotonic() - shown >= _PROGRESS_S:
            shown = time.monotonic()
            _say(f"{tally.runs} of {options.runs} runs, {tally.failed_runs} with violations")

    code = 0
    try:
        tally = swarm(options.seed, options.runs, options.workers, fence=options.fence, progress=progress)
    except SwarmLost as lost:
        _say(f"{lost}; these runs are done")
        tally, code = lost.tally, 3
    text = report(tally, time.monotonic() - began)
    sys.stdout.write(text)
    if options.report is not None:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(text, encoding="utf-8")
    return 1 if tally.failed_runs or tally.unlike else code


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mpio.sim.swarm", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--fence", help="this setting in every run: none shows what fences are for")
    parser.add_argument("--report", type=Path, help="write the report to this file as well")
    parser.add_argument("--replay", metavar="SEED|FILE", help="one run again, with its plan and its journal")
    parser.add_argument("--shrink", type=Path, metavar="FILE", help="with --replay: a smaller plan that fails alike")
    return parser.parse_args(arguments)


def _plan(text: str, fence: str | None) -> Plan:
    if text.isdecimal():
        return draw_plan(int(text), fence=fence)
    try:
        return Plan.from_json(Path(text).read_text(encoding="utf-8"), text)
    except OSError as error:
        raise InputError(text, f"can't be read: {error.strerror}") from None


def _replay(plan: Plan, shrink_to: Path | None) -> int:
    sys.stdout.write(plan.to_json())

    def show(run: Run) -> None:
        events = [(event.t_ns, host.map.name, event) for host in run.parts.hosts for event in host.journal]
        for _, name, event in sorted(events, key=lambda item: item[0]):
            sys.stdout.write(f"{name} {event.to_json()}\n")

    result = run_plan(plan, show)
    sys.stdout.write(f"digest {result.digest}, {result.steps} steps, {result.sim_ns / 1e9:.3f} s\n")
    _show_violations(result)
    if shrink_to is not None and result.violations:
        shrinker = Shrinker(plan, frozenset(violation.kind for violation in result.violations))
        shrink_to.write_text(shrinker.shrink().to_json(), encoding="utf-8")
        sys.stdout.write(f"{shrink_to}: {len(shrinker.plan.faults)} faults, after {shrinker.runs} runs\n")
        _show_violations(shrinker.result)
    return 1 if result.violations else 0


def _show_violations(result: RunResult) -> None:
    for violation in result.violations:
        sys.stdout.write(f"{violation}\n")


def report(tally: Tally, wall_s: float) -> str:
    """For people: what was done, found and reached, with the names of what was never reached."""
    sim_s = tally.sim_ns / 1e9
    per_cpu_s = (tally.runs + tally.repeated) * 1e9 / max(tally.cpu_ns, 1)
    lines = [
        f"{tally.runs} runs, {tally.steps} steps, {sim_s:.0f} simulated seconds in {wall_s:.0f} s",
        f"{tally.runs / wall_s:.1f} runs/s, {per_cpu_s:.1f} per CPU second, {sim_s / wall_s:.0f} x real time",
        f"{tally.repeated} runs repeated in another process: "
        + (f"NOT alike from seeds {tally.unlike} on" if tally.unlike else "all alike"),
        "I/Os: " + ", ".join(f"{name} {count}" for name, count in sorted(tally.counts.items())),
        f"slowest recovery: {tally.slowest[0] / 10:.1f} % of its bound (seed {tally.slowest[1]})",
        f"runs with violations: {tally.failed_runs}",
    ]
    lines += [f"  {kind}: {count}" for kind, count in tally.failures.most_common()]
    for seed, texts in sorted(tally.failed.items())[:SHOWN_MAX]:
        lines += [f"  seed {seed}: {texts[0]}", f"    python -m mpio.sim.swarm --replay {seed}"]
    lines.append("reached:")
    lines += [f"  {area}: {reached} of {count}" for area, reached, count in tally.combinations()]
    never = tally.never_reached()
    lines.append(f"never reached: {len(never)}")
    lines += [f"  {item}" for item in never]
    return "\n".join(lines) + "\n"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
