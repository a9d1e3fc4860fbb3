"""From the options of `mpio plan` to goals, and from goals to an answer."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mpio.cli.plan_answer import Answer
from mpio.config.option import parse_option
from mpio.config.render import Rendered, render_files
from mpio.config.render_commands import render_commands
from mpio.errors import InputError
from mpio.model.stack import TargetTimers, Version
from mpio.planner.goals import Conflict, Goals, Plan, setting
from mpio.planner.solve import solve
from mpio.report.plan_sheet import conflict_sheet, plan_sheet
from mpio.units import to_seconds

_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){0,3}")


def plan_for(options: Mapping[str, Any], fixed: Mapping[str, object]) -> Answer:
    """Settings that meet the goals, or the goals that exclude each other. Raises InputError."""
    goals = goals_from(options, options["cluster"] or "none", fixed)
    found = solve(goals)
    if isinstance(found, Conflict):
        return Answer(conflict_sheet(found, goals))
    return Answer(plan_sheet(found), _plan_files(found))


def _plan_files(plan: Plan) -> tuple[Rendered, ...]:
    settings = {name: setting(plan.stack, plan.clusters, name) for name in plan.reasons if name not in plan.sysctl}
    return (*render_files(settings, plan.reasons, plan.sysctl, {}, plan.stack.multipath_tools),
            *render_commands(settings, plan.reasons, {}, plan.stack.multipath_tools))


def goals_from(options: Mapping[str, Any], cluster: str, fixed: Mapping[str, object]) -> Goals:
    """The goals and circumstances of the command line. Raises InputError."""
    def seconds_of(name: str) -> float | None:
        return None if options[name] is None else to_seconds(options[name])

    try:
        return Goals(
            max_stall_s=seconds_of("max_stall"), ride_out_s=seconds_of("ride_out"), takeover_s=seconds_of("takeover"),
            cluster=cluster, nodes=options["nodes"], paths=options["paths"],
            target=TargetTimers(nopin_interval=to_seconds(options["target_nopin_interval"]),
                                nopin_response=to_seconds(options["target_nopin_response"])),
            io_latency_max_s=to_seconds(options["io_latency_max"]), serial_failures=options["serial_failures"],
            hung_lun=options["hung_lun"], holds_host=options["holds_host"], fixed=fixed, hz=options["hz"],
            kernel=version_from("--kernel", options["kernel"]),
            multipath_tools=version_from("--multipath-tools", options["multipath_tools"]),
        )
    except ValueError as error:
        raise InputError("", _with_option(str(error))) from None


def _with_option(message: str) -> str:
    """A message of `Goals` under the name of the option that it is about."""
    name, _, rest = message.partition(": ")
    option = name.removesuffix("_s").replace("_", "-")
    return f"--set {message}" if "." in name or option == name else f"--{option}: {rest}"


def fixed_from(texts: Sequence[str]) -> dict[str, object]:
    """The settings of --set, by name. Raises InputError."""
    found: dict[str, object] = {}
    for text in texts:
        try:
            name, value = parse_option(text)
        except ValueError as error:
            raise InputError("--set", str(error)) from None
        if found.get(name, value) != value:
            raise InputError("--set", f"{name} is given twice, with two values")
        found[name] = value
    return found


def version_from(option: str, text: str) -> Version:
    """A version as numbers. Raises InputError."""
    if _VERSION.match(text) is None:
        raise InputError(option, f"expected a version such as 6.1 or 0.9.4, found {text[:40]!r}")
    return tuple(int(part) for part in _VERSION.match(text)[0].split("."))  # type: ignore[index]
