"""Which settings a simulation is about: profiles, the plan, a host's files, or the scenario's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpio.cli.plan_host import device_from
from mpio.config.effective import Host, effective
from mpio.drill.scenario import Scenario
from mpio.errors import InputError
from mpio.io.config_dir import read_configuration
from mpio.model.settings import PROFILES, Settings
from mpio.planner.goals import Conflict, Goals
from mpio.planner.solve import solve
from mpio.sim.campaign import Subject
from mpio.sim.stack import engine_settings
from mpio.units import format_duration, to_seconds

PLAN = "plan"
HOST = "host"
COMPARED = ("sles10", "linux", PLAN, "fast")
"""What --compare sets side by side: two that are in use, and two that one could have."""


def subjects(
    scenario: Scenario, profiles: Sequence[str], places: Sequence[Path], overrides: Sequence[tuple[str, object]],
    options: Mapping[str, Any], *, compare: bool,
) -> tuple[Subject, ...]:
    """The settings to simulate, each once; those of the scenario if none are asked for. Raises InputError."""
    found: list[Subject] = []
    if places:
        found.append(_host(places, options))
    found += [_plan(scenario, options) if name == PLAN else Subject(name, PROFILES[name], "profile")
              for name in dict.fromkeys((*profiles, *(COMPARED if compare else ())))]
    if not found:
        found.append(Subject(scenario.profile, scenario.settings, "scenario"))
    try:
        return tuple(Subject(item.name, item.settings.replace(**dict(overrides)), item.origin) for item in found)
    except ValueError as error:
        raise InputError("--set", str(error)) from None


def _host(places: Sequence[Path], options: Mapping[str, Any]) -> Subject:
    configuration = read_configuration(places)
    name = options["map_name"] or ""
    host = effective(Host(documents=configuration.documents, device=device_from(options["device"]), wwid=name,
                          alias=name, distribution=options["distribution"]))
    if not host.stack.multipath:
        raise InputError("--from", "multipathd does not manage this LUN by these files, and what it does not manage "
                                   "has no other path to fail over to")
    return Subject(HOST, _for_engine("--from", host.stack), ", ".join(str(place) for place in places))


def _plan(scenario: Scenario, options: Mapping[str, Any]) -> Subject:
    """What `mpio plan` says for these goals."""
    max_stall, ride_out = options["max_stall"], options["ride_out"]
    goals = Goals(max_stall_s=to_seconds(max_stall), paths=scenario.path_count,
                  ride_out_s=None if ride_out is None else to_seconds(ride_out))
    words = f"--max-stall {_option(max_stall)}" + ("" if ride_out is None else f" --ride-out {_option(ride_out)}")
    found = solve(goals)
    if isinstance(found, Conflict):
        raise InputError(words, f"can't be planned for {scenario.path_count} paths: mpio plan {words} says why")
    return Subject(PLAN, _for_engine("plan", found.stack), f"mpio plan {words}")


def _option(duration_ns: int) -> str:
    return format_duration(duration_ns).replace(" ", "")


def _for_engine(where: str, stack: Any) -> Settings:
    try:
        return engine_settings(stack)
    except ValueError as error:
        raise InputError(where, str(error)) from None
