"""`mpio simulate`: the engine of `mpio drill` in virtual time, over many seeds and several settings."""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mpio.check.verdict import Result
from mpio.cli.options import DURATION, SETTING
from mpio.errors import InputError
from mpio.model.settings import PROFILES

if TYPE_CHECKING:
    from mpio.report.account import Account
    from mpio.report.run import Run
    from mpio.sim.campaign import Campaign, CampaignResult, Pool

EXIT_CODES = {Result.PASS: 0, Result.FAIL: 1, Result.UNKNOWN: 3}
RUNS_MAX = 1_000_000
JOBS_MAX = 1024


@click.command(short_help="What if: failures in virtual time.")
@click.argument("scenario", required=False, metavar="[SCENARIO]")
@click.option("--fault", metavar="KIND[:NAME=VALUE,…]",
              help="One fault instead of a scenario: blackhole, delay:ms=300 …; `mpio drill --list` names them.")
@click.option("--on", metavar="PATHS", help="Paths of --fault: 1, or 1,2, or all.  [default: 1]")
@click.option("--lasts", type=DURATION, help="How long --fault lasts.  [default: until it was noticed]")
@click.option("--profile", "profiles", type=click.Choice([*sorted(PROFILES), "plan"]), multiple=True,
              help="Settings instead of the scenario's; plan: what `mpio plan` says. Several are set side by side.")
@click.option("--compare", is_flag=True, help="Set sles10, linux, plan and fast side by side.")
@click.option("--from", "places", multiple=True, type=click.Path(path_type=Path), metavar="DIR|FILE",
              help="Settings of a host's own files: a root or etc directory, or single files. May be repeated.")
@click.option("--device", metavar="VENDOR:PRODUCT", help="With --from: the array, as multipathd knows it.")
@click.option("--map", "map_name", metavar="WWID|ALIAS", help="With --from: the map's section of multipath.conf.")
@click.option("--distribution", metavar="NAME", help="With --from: debian, rhel, sles …, for its packages' defaults.")
@click.option("--set", "overrides", type=SETTING, multiple=True, metavar="NAME=VALUE",
              help="One setting, in all that are simulated. May be repeated.")
@click.option("--max-stall", type=DURATION, default="20s", show_default=True, help="The goal of the plan.")
@click.option("--ride-out", type=DURATION, help="And its other one: to outlast all paths gone for so long.")
@click.option("--paths", type=click.IntRange(1, 16), help="Paths, instead of the scenario's.")
@click.option("--nodes", type=click.IntRange(1, 8), help="Nodes with a map and heartbeats each, on one LUN.")
@click.option("--heartbeat", type=click.Choice(["own", "o2cb", "sbd", "none"]),
              help="Format and timing of the nodes' heartbeats, instead of the scenario's.")
@click.option("--portal-groups", type=click.Choice(["shared", "separate"]), help="Of the target's portals.")
@click.option("--workload", multiple=True, metavar="KEY=VALUE",
              help="A key of the scenario's [workload], such as rate=200. May be repeated.")
@click.option("--runs", type=click.IntRange(1, RUNS_MAX), default=20, show_default=True,
              help="Runs of each settings, each with a seed of its own.")
@click.option("--seed", type=click.IntRange(0, 2**62), default=1, show_default=True, help="Of the first run.")
@click.option("--shake", type=DURATION, default="1s", show_default=True,
              help="Each step comes up to so much later, at random.")
@click.option("--jobs", type=click.IntRange(1, JOBS_MAX), help="Processes.  [default: one for each core]")
@click.option("--dask", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler, such as tcp://host:8786.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
              help="Keep the worst run in this new directory, as a drill's.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the account as one HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def command(**options: Any) -> int:
    """Run a drill's scenario in virtual time, many times, and show how long I/O stalled and whether anything was lost.

    SCENARIO is a built-in name (`mpio drill --list`) or a TOML file, as for `mpio drill`. It is mpio's own engine and
    target that run, on a network in memory: minutes of outage take milliseconds, and a seed repeats a run exactly.
    """
    from mpio.report.account import account
    from mpio.sim.campaign import run_campaign

    campaign = _campaign(options)
    with _progress(campaign, quiet=options["quiet"]) as tell:
        result = run_campaign(campaign, _pool(options, campaign), tell)
    found = account(result)
    _show(campaign, result, found, options)
    return EXIT_CODES[found.verdict]


def _campaign(options: Mapping[str, Any]) -> "Campaign":
    from mpio.cli.simulate_scenario import scenario_from
    from mpio.cli.simulate_subjects import subjects
    from mpio.sim.campaign import Campaign

    for name in ("device", "map_name", "distribution"):
        if options[name] is not None and not options["places"]:
            raise InputError(f"--{name.partition('_')[0]}", "is about a host's files: give them with --from")
    scenario = scenario_from(options["scenario"], options["fault"], options["on"], options["lasts"], options["paths"],
                             options["portal_groups"], options["workload"], options["nodes"], options["heartbeat"])
    chosen = subjects(scenario, options["profiles"], options["places"], options["overrides"], options,
                      compare=options["compare"])
    return Campaign(scenario, chosen, options["runs"], options["seed"], options["shake"])


def _pool(options: Mapping[str, Any], campaign: "Campaign") -> "Pool":
    from mpio.sim.pools import dask, in_process, processes

    if options["dask"] is not None:
        if options["jobs"] is not None:
            raise InputError("--jobs", "is about processes of this machine, and --dask about others")
        return dask(options["dask"])
    workers = options["jobs"] or len(os.sched_getaffinity(0))
    # Processes take half a second to start: a few runs are done before that
    few = len(campaign.subjects) * campaign.runs <= workers
    return in_process if workers == 1 or few else processes(workers)


@contextmanager
def _progress(campaign: "Campaign", *, quiet: bool) -> Iterator[Any]:
    """A bar on standard error while runs come in, and at the end how fast it went."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from mpio.units import NS_PER_S

    if quiet:
        yield None
        return
    total = campaign.runs * len(campaign.subjects)
    done, simulated_ns, start = 0, 0, time.monotonic()
    console = Console(file=sys.stderr, highlight=False)
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)

        def tell(outcome: Any) -> None:
            nonlocal done, simulated_ns
            done += 1
            simulated_ns += outcome.simulated_ns
            bar.advance(task)
        yield tell
    took = max(time.monotonic() - start, 1e-9)
    print(f"mpio: {done} runs, {simulated_ns / NS_PER_S:,.0f} simulated seconds in {took:.1f} s: "
          f"{done / took:.1f} runs/s, {simulated_ns / NS_PER_S / took:,.0f} times real time", file=sys.stderr)


def _show(campaign: "Campaign", result: "CampaignResult", found: "Account", options: Mapping[str, Any]) -> None:
    """Print the account, and write what was asked for besides. A single run is shown as a drill's would be."""
    from rich.console import Console

    from mpio.cli.simulate_replay import replay_command, worst_run
    from mpio.report.html import write_report
    from mpio.report.rundir import read_run
    from mpio.report.simulate_text import print_account
    from mpio.report.text import print_run

    again = replay_command(campaign, found, options)
    out: Path | None = options["out"]
    is_single = len(result.outcomes) == 1 and not result.missing
    console = Console(highlight=False)
    if options["as_json"]:
        print(json.dumps(found.as_json() | {"replay": again, "directory": None if out is None else str(out)}))
    elif not is_single:
        print_account(found, console, again)
    sys.stdout.flush()
    if out is None and options["html"] is None and (options["as_json"] or not is_single):
        return
    with worst_run(campaign, found, again, out) as directory:
        if directory is None:
            return
        run = read_run(directory)
        if is_single and not options["as_json"]:
            print_run(run, console)
        if out is not None:
            report = write_report(out, run)
            print(f"mpio: the worst run is in {out}, its report {report}", file=sys.stderr)
        if options["html"] is not None:
            _write_html(options["html"], campaign, found, run, again)


def _write_html(path: Path, campaign: "Campaign", found: "Account", run: "Run", again: str) -> None:
    from mpio.report.simulate_html import render_account

    try:
        path.write_text(render_account(campaign, found, run, again), encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(str(path), f"can't be written: {error.strerror or error}") from None
