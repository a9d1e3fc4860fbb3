"""`mpio drill`: break paths on purpose under a verified workload, and give a verdict."""

import asyncio
import dataclasses
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mpio.check.verdict import Result
from mpio.cli.options import DURATION, PORTAL, SETTING, paths_from, settings_from
from mpio.errors import InputError
from mpio.model.address import Portal, TargetAddress
from mpio.model.settings import PROFILES, profile
from mpio.units import format_duration, parse_size

if TYPE_CHECKING:
    from mpio.drill.runner import DrillRequest, DrillResult
    from mpio.drill.scenario import Scenario

EXIT_CODES = {Result.PASS: 0, Result.FAIL: 1, Result.UNKNOWN: 3}
RUNS_MAX = 10_000
NODES_MAX = 8


@click.command(short_help="Test failover.")
@click.argument("words", nargs=-1, metavar="[SCENARIO] [URL...]")
@click.option("--list", "list_scenarios", is_flag=True, help="Name the built-in scenarios and the faults, and end.")
@click.option("--portal", "portals", type=PORTAL, multiple=True, metavar="HOST[:PORT]",
              help="A further path to the LUN of the first URL. May be repeated.")
@click.option("--nodes", type=click.IntRange(1, NODES_MAX), metavar="N",
              help="So many nodes with heartbeats on the LUN; without a scenario, the one named heartbeat.")
@click.option("--profile", "profile_name", type=click.Choice(sorted(PROFILES)),
              help="Settings instead of the scenario's.")
@click.option("--set", "overrides", type=SETTING, multiple=True, metavar="NAME=VALUE",
              help="One setting, named as in iscsid.conf or multipath.conf. May be repeated.")
@click.option("--cuts", type=click.Choice(["relay", "netns", "none"]),
              help="How paths are cut: a relay in user space, or (root) network namespaces.")
@click.option("--user", metavar="NAME", help="CHAP user name.")
@click.option("--secret-file", type=click.Path(path_type=Path),
              help="File with the CHAP secret (else the environment variable MPIO_CHAP_SECRET).")
@click.option("--scratch", metavar="OFFSET+LENGTH",
              help="Region of an existing LUN that the drill may overwrite, such as 1GiB+256MiB. Needs --yes. "
              "Without it an existing LUN is only read.")
@click.option("--yes", is_flag=True, help="Yes, overwrite the scratch region.")
@click.option("--duration", type=DURATION, help="Shortest time of the workload, instead of the scenario's.")
@click.option("--seed", type=click.IntRange(min=0), help="Of everything that chance decides.")
@click.option("--runs", type=click.IntRange(1, RUNS_MAX), default=1,
              help="Run it so many times, until one does not pass.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("drills"), show_default=True,
              help="Where the run directories go, one a run.")
@click.option("--compare/--no-compare", default=True,
              help="After a single run of one node: simulate the same faults with other settings.  [default: compare]")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as one JSON object a run.")
@click.option("--quiet", is_flag=True, help="No progress on standard error.")
def command(
    words: tuple[str, ...],
    list_scenarios: bool,
    portals: tuple[Portal, ...],
    nodes: int | None,
    profile_name: str | None,
    overrides: tuple[tuple[str, object], ...],
    cuts: str | None,
    user: str | None,
    secret_file: Path | None,
    scratch: str | None,
    yes: bool,
    duration: int | None,
    seed: int | None,
    runs: int,
    out: Path,
    compare: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Break paths on purpose under a verified workload, and say whether anything was lost and how long it stalled.

    SCENARIO is a built-in name (see --list) or a TOML file; "default" blackholes each of two paths once. Without a
    URL the drill runs on its own target in RAM; with one, on that LUN, through a relay that can cut each path.
    """
    if list_scenarios:
        _print_scenarios()
        return 0
    from mpio.drill.parse import load_scenario, with_nodes

    names = [word for word in words if not word.startswith("iscsi:")]
    if len(names) > 1:
        raise InputError("SCENARIO", f"expected one scenario and URLs that begin with iscsi://, found {names[1]!r}")
    scenario = load_scenario(names[0] if names else "default" if (nodes or 1) == 1 else "heartbeat")
    addresses = _addresses([word for word in words if word.startswith("iscsi:")], portals)
    base = profile(profile_name) if profile_name else scenario.settings
    settings = settings_from(base, overrides, user, secret_file, addresses[0] if addresses else None)
    about = scenario.about if duration is None else dataclasses.replace(scenario.about, duration=duration)
    kind = scenario.cuts if cuts is None else dataclasses.replace(scenario.cuts, kind=cuts)  # type: ignore[arg-type]
    scenario = dataclasses.replace(scenario, settings=settings, about=about, cuts=kind,
                                   profile=profile_name or scenario.profile)
    if nodes is not None:
        scenario = with_nodes(scenario, nodes)
    return _run_all(scenario, addresses, _scratch(scratch), yes=yes, seed=seed, runs=runs, out=out,
                    compare=compare, as_json=as_json, quiet=quiet)


def _run_all(
    scenario: "Scenario", addresses: Sequence[TargetAddress], scratch: tuple[int, int] | None, *, yes: bool,
    seed: int | None, runs: int, out: Path, compare: bool, as_json: bool, quiet: bool,
) -> int:
    from datetime import UTC, datetime

    from mpio.cli.drill_elsewhere import write_comparison
    from mpio.cli.report import show
    from mpio.drill.request import effective_scenario
    from mpio.drill.rundir import new_run_path
    from mpio.drill.runner import DrillRequest
    from mpio.report.html import write_report

    for number in range(1, runs + 1):
        request = DrillRequest(
            scenario=scenario, out=new_run_path(out, scenario.about.name, datetime.now(UTC)),
            urls=[f"iscsi://{a.portal}/{a.target_name}/{a.lun}" for a in addresses],
            scratch=scratch, yes=yes, seed=seed, command=["mpio", *map(_without_secret, sys.argv[1:])],
        )
        result = asyncio.run(_drill(request, quiet=quiet))
        comparable = scenario.cluster.nodes == 1 and result.stalls and result.verdict is not Result.UNKNOWN
        if compare and runs == 1 and comparable:
            write_comparison(effective_scenario(request), result.directory)
        if runs == 1 and not as_json:
            show(result.directory)
            return EXIT_CODES[result.verdict]
        report = write_report(result.directory)
        if as_json:
            print(json.dumps({"directory": str(result.directory), "report": str(report)}
                             | json.loads((result.directory / "verdict.json").read_text(encoding="utf-8"))), flush=True)
        else:
            worst = max((stall.worst_stall_ns for stall in result.stalls), default=0)
            print(f"run {number} of {runs}: {str(result.verdict).upper()}, "
                  f"worst stall {format_duration(worst)}, {report}", flush=True)
        if result.verdict is not Result.PASS:
            return EXIT_CODES[result.verdict]
    return 0


async def _drill(request: "DrillRequest", *, quiet: bool) -> "DrillResult":
    from mpio.drill.runner import run_drill
    from mpio.report.progress import Progress

    if quiet:
        return await run_drill(request)
    with Progress() as progress:
        return await run_drill(dataclasses.replace(request, progress=progress.event, sample=progress.sample))


def _addresses(urls: Sequence[str], portals: Sequence[Portal]) -> list[TargetAddress]:
    if not urls:
        if portals:
            raise InputError("--portal", "needs the URL of a LUN: iscsi://host[:port]/target-name/lun")
        return []
    try:
        parsed = [TargetAddress.parse(url) for url in urls]
    except ValueError as error:
        raise InputError("URL", str(error)) from None
    return paths_from(parsed, portals, ())


def _scratch(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    offset, plus, length = text.partition("+")
    try:
        if not plus:
            raise ValueError(f"expected OFFSET+LENGTH such as 1GiB+256MiB, found {text!r}")
        return parse_size(offset), parse_size(length)
    except ValueError as error:
        raise InputError("--scratch", str(error)) from None


def _without_secret(argument: str) -> str:
    """An argument as it may be written into a run directory."""
    argument = re.sub("^(iscsi://[^%/]*)%[^/]*@", r"\1@", argument)
    return re.sub(r"(password(_in)?=).*", r"\1…", argument, flags=re.DOTALL)


def _print_scenarios() -> None:
    from mpio.drill.fabric import FAULTS
    from mpio.drill.parse import builtin, builtin_names

    print("Scenarios:")
    for name in builtin_names():
        print(f"  {name:<20} {builtin(name).about.description}")
    print(f"\nFaults: {', '.join(sorted(FAULTS))}")
    print(f"\nReplay a run: {shlex.join(['mpio', 'drill', 'DIR/scenario.toml', '--seed', 'SEED'])}")
