"""`python -m mpio.sim.cluster`: many runs of clusters, what they found, and what came to pass in them.

Exit code 0 if nothing was found, 1 if something was, 2 for bad usage, 3 if a process was lost.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from mpio.errors import InputError
from mpio.sim.cluster.campaign import CampaignLost, Tally, campaign
from mpio.sim.cluster.draw import draw_plan
from mpio.sim.cluster.plan import ClusterPlan
from mpio.sim.cluster.run import Run, run_plan
from mpio.sim.cluster.shrink import Shrinker
from mpio.sim.seeds import RunResult

SHOWN_MAX = 20
_PROGRESS_S = 10.0


def main(arguments: list[str] | None = None) -> int:
    """The program."""
    options = _parse(arguments)
    try:
        if options.replay is not None:
            return _replay(_plan(options.replay), options.shrink)
    except InputError as error:
        _say(str(error))
        return 2
    if options.runs < 1 or options.workers < 1:
        _say("--runs, --workers: expected at least 1")
        return 2
    began = time.monotonic()
    code = 0
    try:
        tally = campaign(options.seed, options.runs, options.workers, _Progress(options.runs))
    except CampaignLost as lost:
        _say(f"{lost}; these runs are done")
        tally, code = lost.tally, 3
    text = report(tally, time.monotonic() - began)
    sys.stdout.write(text)
    if options.report is not None:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(text, encoding="utf-8")
    return 1 if tally.failed_runs or tally.unlike else code


class _Progress:
    """Says on standard error what is new, now and then."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._shown = 0.0
        self._told: dict[int, None] = {}

    def __call__(self, tally: Tally) -> None:
        for seed in tally.failed:
            if seed not in self._told:
                self._told[seed] = None
                _say(f"seed {seed}: {tally.failed[seed][0]}")
        if time.monotonic() - self._shown >= _PROGRESS_S:
            self._shown = time.monotonic()
            _say(f"{tally.runs} of {self._runs} runs, {tally.failed_runs} with violations")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mpio.sim.cluster", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--report", type=Path, help="write the report to this file as well")
    parser.add_argument("--replay", metavar="SEED|FILE", help="one run again, with its plan and what happened")
    parser.add_argument("--shrink", type=Path, metavar="FILE", help="with --replay: a smaller plan that fails alike")
    return parser.parse_args(arguments)


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
    sys.stdout.write(f"digest {result.digest}, {result.steps} steps, {result.sim_ns / 1e9:.3f} s\n")
    _show_violations(result)
    if shrink_to is not None and result.violations:
        shrinker = Shrinker(plan, frozenset(violation.kind for violation in result.violations))
        shrink_to.write_text(shrinker.shrink().to_json(), encoding="utf-8")
        sys.stdout.write(f"{shrink_to}: {len(shrinker.plan.faults)} faults, after {shrinker.runs} runs\n")
        _show_violations(shrinker.result)
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


def _show_violations(result: RunResult) -> None:
    for violation in result.violations:
        sys.stdout.write(f"{violation}\n")


def report(tally: Tally, wall_s: float) -> str:
    """For people: what was done, found and reached."""
    sim_s = tally.sim_ns / 1e9
    done = max(tally.runs + tally.repeated, 1)
    reached, all_pairs = tally.pairs()
    lines = [
        f"{tally.runs} runs, {tally.steps} steps, {sim_s:.0f} simulated seconds in {wall_s:.0f} s",
        f"{tally.cpu_ns / 1e6 / done:.1f} ms of CPU per run, {sim_s / max(wall_s, 1e-9):.0f} x real time",
        f"{tally.repeated} runs repeated in another process: "
        + (f"NOT alike from seeds {tally.unlike} on" if tally.unlike else "all alike"),
        f"slowest recovery: {tally.slowest[0] / 10:.1f} % of its bound (seed {tally.slowest[1]})",
        f"runs with violations: {tally.failed_runs}",
    ]
    lines += [f"  {kind}: {count}" for kind, count in tally.failures.most_common()]
    for seed, texts in sorted(tally.failed.items())[:SHOWN_MAX]:
        lines += [f"  seed {seed}: {texts[0]}", f"    python -m mpio.sim.cluster --replay {seed}"]
    lines.append("what came to pass:")
    lines += [f"  {name}: {count}" for name, count in sorted(tally.counts.items())]
    lines.append(f"faults, by runs ({reached} of {all_pairs} pairs of kinds came in one run):")
    lines += [f"  {name}: {count}" for name, count in sorted(tally.faults.items()) if "+" not in name]
    return "\n".join(lines) + "\n"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
