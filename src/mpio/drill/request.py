"""What to drill: a scenario, and what the caller adds to it or changes in it."""

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpio.drill.layout import SHARED_BYTES, region_within
from mpio.drill.scenario import Scenario
from mpio.errors import InputError
from mpio.events import Event
from mpio.model.address import TargetAddress

BLOCK_BYTES_MAX = 4096  # regions are whole blocks of any LU
REGION_MIN_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class DrillRequest:
    """What to run.

    Attributes:
        scenario: see `parse.load_scenario`.
        out: the run directory; must be new or empty.
        urls: an existing target instead of the built-in one, one URL a path; before the scenario's own.
        scratch: (offset, length) of an existing LU that may be overwritten. Without it the drill only reads there.
        yes: that overwriting the scratch region is meant.
        seed: instead of the scenario's.
        command: that runs this drill again, for repro.txt; without secrets.
        progress: called with every event.
        sample: called ten times a second with the time, the I/Os that ended, and the worst latency so far in ns.
    """

    scenario: Scenario
    out: Path
    urls: Sequence[str] = ()
    scratch: tuple[int, int] | None = None
    yes: bool = False
    seed: int | None = None
    command: Sequence[str] = ()
    progress: Callable[[Event], None] | None = None
    sample: Callable[[int, int, int], None] | None = None


def effective_scenario(request: DrillRequest) -> Scenario:
    """The scenario with what the request changes in it. Raises InputError where they do not go together."""
    scenario = request.scenario
    existing = bool(request.urls or scenario.paths.urls)
    if request.scratch is not None:
        offset, length = request.scratch
        if not existing:
            raise InputError("scratch", "is for existing targets; the built-in target's LU is all scratch")
        if not request.yes:
            raise InputError("scratch", f"the {length} bytes from {offset} of the LU will be overwritten, and what "
                                        "they hold now is lost: say yes to that (--yes)")
        nodes = scenario.cluster.nodes
        region = length if nodes == 1 else region_within(length, nodes, BLOCK_BYTES_MAX)
        if nodes > 1 and region < REGION_MIN_BYTES:
            raise InputError("scratch", f"expected room for {nodes} regions of {REGION_MIN_BYTES} bytes and "
                                        f"{SHARED_BYTES} bytes that the nodes share, found {length} bytes")
        workload = dataclasses.replace(scenario.workload, offset=offset, region=region)
        scenario = dataclasses.replace(scenario, workload=workload)
    elif existing and scenario.has_heartbeats:
        raise InputError("scratch", "nodes write heartbeats to the LU: say which region of it may be overwritten "
                                    "(--scratch OFFSET+LENGTH --yes)")
    if scenario.cluster.nodes > 1 and scenario.cuts.kind == "netns":
        raise InputError("cuts", "netns has wires for one node only: expected relay or none")
    if existing and scenario.needs_target:
        raise InputError("scenario", f"{scenario.about.name!r} acts on the built-in target's process, and URLs of "
                                     "another target are given")
    paths = len(request.urls) or scenario.path_count
    for number, step in enumerate(scenario.steps, start=1):
        if step.path != "all" and max(step.path) > paths:
            there_are = "there is 1 path" if paths == 1 else f"there are {paths} paths"
            raise InputError("scenario", f"step {number} is about path {max(step.path)}, and {there_are}; "
                                         "each URL is a path, and each --portal one more")
    if request.urls:
        paths_spec = dataclasses.replace(scenario.paths, urls=tuple(request.urls))
        scenario = dataclasses.replace(scenario, paths=paths_spec)
    return scenario


def parse_urls(urls: Sequence[str]) -> list[TargetAddress]:
    """One address a path. Raises InputError."""
    addresses = []
    for number, url in enumerate(urls, start=1):
        try:
            addresses.append(TargetAddress.parse(url))
        except ValueError as error:
            raise InputError(f"path {number}", str(error)) from None
    return addresses


def repro(request: DrillRequest, scenario_file: Path, seed: int) -> str:
    """The command that runs it again, with the seed that chance was given and without the secrets of URLs."""
    command = [_without_secret(word) for word in request.command] or ["mpio", "drill", str(scenario_file)]
    if "--seed" not in command:
        command += ["--seed", str(seed)]
    return shlex.join(command) + "\n"


def _without_secret(word: str) -> str:
    if not word.startswith("iscsi:"):
        return word
    try:
        return str(TargetAddress.parse(word))
    except ValueError:
        return "iscsi://…"
