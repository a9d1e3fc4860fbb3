"""Which scenario a simulation runs: a built-in one, a file, or one fault from the command line; and changes to it."""

import dataclasses
import json
import re
import tomllib
from collections.abc import Sequence
from typing import Any

from mpio.drill.fabric import FAULTS
from mpio.drill.parse import load_scenario, parse_scenario, with_nodes
from mpio.drill.render import render
from mpio.drill.scenario import EVENT_FAULTS, Scenario, WorkloadSpec
from mpio.drill.values import nearest
from mpio.errors import InputError
from mpio.units import NS_PER_S, format_duration

LASTS_IF_RIDDEN_THROUGH_NS = 10 * NS_PER_S
_UNTIL_NOTICED = 'after = "failed"\ndelay = "2s"'
_PATHS = re.compile(r"[1-9][0-9]{0,2}(,[1-9][0-9]{0,2})*")
_WORKLOAD = {item.name: item for item in dataclasses.fields(WorkloadSpec)}


def scenario_from(
    name: str | None, fault: str | None, on: str | None, lasts_ns: int | None, paths: int | None,
    portal_groups: str | None, workload: Sequence[str], nodes: int | None = None, heartbeat: str | None = None,
) -> Scenario:
    """The scenario of the command line; for several nodes it is `heartbeat` by default. Raises InputError."""
    if fault is None:
        if on is not None or lasts_ns is not None:
            raise InputError("--on" if on is not None else "--lasts", "is about --fault, and none is given")
        scenario = load_scenario(name or ("default" if (nodes or 1) == 1 else "heartbeat"))
    elif name is not None:
        raise InputError("--fault", f"is a scenario of its own, and so is {name!r}: give one of them")
    else:
        scenario = parse_scenario(_with_fault(fault, on or "1", lasts_ns, paths or 2), "--fault")
    scenario = _changed(scenario, paths, portal_groups, workload, heartbeat)
    if nodes is not None:
        scenario = with_nodes(scenario, nodes)
    if heartbeat is not None and scenario.cluster.nodes == 1:
        raise InputError("--heartbeat", "a single node has none: expected --nodes 2 or more, or a scenario with them")
    return scenario


def _changed(scenario: Scenario, paths: int | None, portal_groups: str | None, workload: Sequence[str],
             heartbeat: str | None) -> Scenario:
    """The scenario with what the options say, checked again as a whole."""
    if paths is None and portal_groups is None and heartbeat is None and not workload:
        return scenario
    cluster = dataclasses.replace(
        scenario.cluster, heartbeat=heartbeat or scenario.cluster.heartbeat)  # type: ignore[arg-type]
    target = dataclasses.replace(
        scenario.target, portals=paths or scenario.path_count,
        portal_groups=portal_groups or scenario.target.portal_groups)  # type: ignore[arg-type]
    changed = dataclasses.replace(
        scenario, target=target, cluster=cluster, paths=dataclasses.replace(scenario.paths, urls=()),
        workload=dataclasses.replace(scenario.workload, **_workload(workload)))
    try:
        parse_scenario(render(changed), "")
    except InputError as error:
        # It stands in no file: what is said of its lines would help nobody
        raise InputError("", "with these options, " + str(error).partition(": ")[2]) from None
    return changed


def _workload(texts: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals:
            raise InputError("--workload", f"expected KEY=VALUE such as rate=100, found {text[:60]!r}")
        if key not in _WORKLOAD:
            raise InputError("--workload", f"there is no key {key[:60]!r}" + nearest(key, _WORKLOAD))
        try:
            found[key] = _WORKLOAD[key].metadata["parse"](_toml_value(value.strip()))
        except ValueError as error:
            raise InputError("--workload", f"{key}: {error}") from None
    return found


def _toml_value(text: str) -> object:
    """A value as in a scenario file; there texts stand in quotes, here they need none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError, RecursionError):
        return text


def _with_fault(text: str, on: str, lasts_ns: int | None, paths: int) -> str:
    """The scenario of one fault that begins after two seconds, as TOML.

    Without a length it lasts until the paths have been given up, and two seconds more; what paths ride through, ten.
    """
    kind, _, given = text.partition(":")
    if kind not in FAULTS:
        raise InputError("--fault", f"expected one of {', '.join(FAULTS)}; found {kind[:60]!r}" + nearest(kind, FAULTS))
    if on != "all" and _PATHS.fullmatch(on) is None:
        raise InputError("--on", f"expected path numbers such as 1 or 1,2, or all; found {on[:60]!r}")
    where = '"all"' if on == "all" else f"[{on}]"
    if lasts_ns is None and not FAULTS[kind].loses_paths:
        lasts_ns = LASTS_IF_RIDDEN_THROUGH_NS
    expect = '\nexpect = "any"' if lasts_ns is not None and FAULTS[kind].loses_paths else ""
    heal = f"""
[[step]]
action = "heal"
path = {where}
{_UNTIL_NOTICED if lasts_ns is None else f'delay = "{lasts_ns}ns"'}
"""
    words = f"{text} on {'all paths' if on == 'all' else f'path {on}'}" + (
        "" if lasts_ns is None else f" for {format_duration(lasts_ns)}")
    return f"""
[scenario]
name = {json.dumps(kind)}
description = {json.dumps(words)}

[target]
portals = {paths}

[[step]]
action = "inject"
fault = {json.dumps(kind)}
params = {{ {_params(given)} }}
path = {where}
at = "2s"{expect}
{'' if kind in EVENT_FAULTS else heal}
[[step]]
action = "wait"
after = "reinstated"
duration = "2s"
"""


def _params(given: str) -> str:
    """`ms=50,direction=to_target` as the inside of a TOML table."""
    pairs = []
    for pair in filter(None, given.split(",")):
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError("--fault", f"expected KIND:NAME=VALUE,… such as delay:ms=50, found {pair[:60]!r}")
        parsed = _toml_value(value)
        shown = repr(parsed) if isinstance(parsed, int | float) and not isinstance(parsed, bool) else json.dumps(value)
        pairs.append(f"{json.dumps(name)} = {shown}")
    return ", ".join(pairs)

