"""`python -m mpio.sim.swarm`: many runs, what they found, and what they reached.

Exit code 0 if nothing was found, 1 if something was, 2 for bad usage, 3 if a process was lost.
"""

import argparse
import sys
import time
from pathlib import Path

from mpio.errors import InputError
from mpio.sim.seeds_command import Progress, findings, parser, publish, repetitions, say, show, show_violations
from mpio.sim.swarm.campaign import SwarmLost, Tally, swarm
from mpio.sim.swarm.draw import draw_plan
from mpio.sim.swarm.plan import Plan
from mpio.sim.swarm.run import Run, run_plan
from mpio.sim.swarm.shrink import shrinker

PROGRAM = "python -m mpio.sim.swarm"


def main(arguments: list[str] | None = None) -> int:
    """The program."""
    options = _parse(arguments)
    try:
        if options.replay is not None:
            return _replay(_plan(options.replay, options.fence), shrink_to=options.shrink)
    except InputError as error:
        say(str(error))
        return 2
    began = time.monotonic()
    code = 0
    try:
        tally = swarm(options.seed, options.runs, options.workers, fence=options.fence, progress=Progress(options.runs))
    except SwarmLost as lost:
        say(f"{lost}; these runs are done")
        tally, code = lost.tally, 3
    text = report(tally, time.monotonic() - began)
    publish(text, options.report)
    return 1 if tally.failed_runs or tally.unlike else code


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    options = parser(PROGRAM, __doc__, "its journal")
    options.add_argument("--fence", help="this setting in every run: none shows what fences are for")
    return options.parse_args(arguments)


def _plan(text: str, fence: str | None) -> Plan:
    if text.isdecimal():
        return draw_plan(int(text), fence=fence)
    try:
        return Plan.from_json(Path(text).read_text(encoding="utf-8"), text)
    except OSError as error:
        raise InputError(text, f"can't be read: {error.strerror}") from None


def _replay(plan: Plan, shrink_to: Path | None) -> int:
    sys.stdout.write(plan.to_json())

    def show_journal(run: Run) -> None:
        events = [(event.t_ns, host.map.name, event) for host in run.parts.hosts for event in host.journal]
        for _, name, event in sorted(events, key=lambda item: item[0]):
            sys.stdout.write(f"{name} {event.to_json()}\n")

    result = run_plan(plan, show_journal)
    show(result)
    if shrink_to is not None and result.violations:
        smaller = shrinker(plan, frozenset(violation.kind for violation in result.violations))
        shrink_to.write_text(smaller.shrink().to_json(), encoding="utf-8")
        sys.stdout.write(f"{shrink_to}: {len(smaller.plan.faults)} faults, after {smaller.runs} runs\n")
        show_violations(smaller.result.violations)
    return 1 if result.violations else 0


def report(tally: Tally, wall_s: float) -> str:
    """For people: what was done, found and reached, with the names of what was never reached."""
    sim_s = tally.sim_ns / 1e9
    per_cpu_s = (tally.runs + tally.repeated) * 1e9 / max(tally.cpu_ns, 1)
    lines = [
        f"{tally.runs} runs, {tally.steps} steps, {sim_s:.0f} simulated seconds in {wall_s:.0f} s",
        f"{tally.runs / wall_s:.1f} runs/s, {per_cpu_s:.1f} per CPU second, {sim_s / wall_s:.0f} x real time",
        repetitions(tally),
        "I/Os: " + ", ".join(f"{name} {count}" for name, count in sorted(tally.counts.items())),
        *findings(tally, PROGRAM),
    ]
    lines.append("reached:")
    lines += [f"  {area}: {reached} of {count}" for area, reached, count in tally.combinations()]
    never = tally.never_reached()
    lines.append(f"never reached: {len(never)}")
    lines += [f"  {item}" for item in never]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
