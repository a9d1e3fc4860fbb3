"""`python -m mpio.sim.cluster`: many runs of clusters, what they found, and what came to pass in them.

Exit code 0 if nothing was found, 1 if something was, 2 for bad usage, 3 if a process was lost.
"""

import argparse
import sys
import time
from pathlib import Path

from mpio.errors import InputError
from mpio.sim.cluster.campaign import CampaignLost, Tally, campaign
from mpio.sim.cluster.draw import draw_plan
from mpio.sim.cluster.plan import ClusterPlan
from mpio.sim.cluster.run import Run, run_plan
from mpio.sim.cluster.shrink import shrinker
from mpio.sim.seeds_command import Progress, findings, parser, publish, repetitions, say, show, show_violations

PROGRAM = "python -m mpio.sim.cluster"


def main(arguments: list[str] | None = None) -> int:
    """The program."""
    options = _parse(arguments)
    try:
        if options.replay is not None:
            return _replay(_plan(options.replay), options.shrink)
    except InputError as error:
        say(str(error))
        return 2
    if options.runs < 1 or options.workers < 1:
        say("--runs, --workers: expected at least 1")
        return 2
    began = time.monotonic()
    code = 0
    try:
        tally = campaign(options.seed, options.runs, options.workers, Progress(options.runs))
    except CampaignLost as lost:
        say(f"{lost}; these runs are done")
        tally, code = lost.tally, 3
    text = report(tally, time.monotonic() - began)
    publish(text, options.report)
    return 1 if tally.failed_runs or tally.unlike else code


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    return parser(PROGRAM, __doc__, "what happened").parse_args(arguments)


def _plan(text: str) -> ClusterPlan:
    if text.isdecimal():
        return draw_plan(int(text))
    try:
        return ClusterPlan.from_json(Path(text).read_text(encoding="utf-8"), text)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(text, f"can't be read: {error}") from None


def _replay(plan: ClusterPlan, shrink_to: Path | None) -> int:
    sys.stdout.write(plan.to_json())
    result = run_plan(plan, _tell)
    show(result)
    if shrink_to is not None and result.violations:
        smaller = shrinker(plan, frozenset(violation.kind for violation in result.violations))
        shrink_to.write_text(smaller.shrink().to_json(), encoding="utf-8")
        sys.stdout.write(f"{shrink_to}: {len(smaller.plan.faults)} faults, after {smaller.runs} runs\n")
        show_violations(smaller.result.violations)
    return 1 if result.violations else 0


def _tell(run: Run) -> None:
    """Everything in the order in which it happened; faults are in the plan."""
    record = run.world.record
    lines = [(told.t_ns, f"node {told.node}: {told.kind} " +
              ", ".join(f"{name} {value}" for name, value in told.fields.items())) for told in record.told]
    lines += [(t_ns, f"node {node} (life {life}) is gone: {cause}")
              for (node, life), (t_ns, cause) in record.gone.items()]
    for t_ns, text in sorted(lines, key=lambda line: line[0]):
        sys.stdout.write(f"{t_ns / 1e9:10.4f} {text}\n")


def report(tally: Tally, wall_s: float) -> str:
    """For people: what was done, found and reached."""
    sim_s = tally.sim_ns / 1e9
    done = max(tally.runs + tally.repeated, 1)
    reached, all_pairs = tally.pairs()
    lines = [
        f"{tally.runs} runs, {tally.steps} steps, {sim_s:.0f} simulated seconds in {wall_s:.0f} s",
        f"{tally.cpu_ns / 1e6 / done:.1f} ms of CPU per run, {sim_s / max(wall_s, 1e-9):.0f} x real time",
        repetitions(tally),
        *findings(tally, PROGRAM),
    ]
    lines.append("what came to pass:")
    lines += [f"  {name}: {count}" for name, count in sorted(tally.counts.items())]
    lines.append(f"faults, by runs ({reached} of {all_pairs} pairs of kinds came in one run):")
    lines += [f"  {name}: {count}" for name, count in sorted(tally.faults.items()) if "+" not in name]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
