"""A scenario as TOML, as it is run: for run directories, where the file alone must be enough to run it again."""

import dataclasses
import json
from collections.abc import Mapping

from mpio.drill.parse import parse_scenario
from mpio.drill.scenario import RELEVANT, SECTIONS, Scenario, Step
from mpio.errors import InputError
from mpio.model.address import TargetAddress
from mpio.model.settings import PROFILES
from mpio.units import NS_PER_S

_DEFAULTS = {name: cls() for name, cls in SECTIONS.items()}
_DURATIONS = {
    "scenario": {"duration", "settle"}, "claims": {"max_stall", "max_reinstate"},
    "cluster": {"period", "deadline", "dead_after", "watchdog", "msgwait", "dampen"},
    "step": {"at", "delay", "timeout", "duration", "down", "up"},
}


def as_run(scenario: Scenario) -> str:
    """The scenario's own text if it still says what is run, comments and all; else a new one. Never with secrets."""
    try:
        if parse_scenario(scenario.text) == scenario:
            return scenario.text
    except InputError:
        pass
    return render(scenario)


def render(scenario: Scenario) -> str:
    """TOML that is read as this scenario. Values that are the default are left out, and so are secrets."""
    parts = [_section("scenario", scenario.about)]
    parts.append(_section("paths" if scenario.paths.urls else "target",
                          scenario.paths if scenario.paths.urls else scenario.target))
    parts.append(_settings(scenario))
    parts += [_section(name, part) for name, part in (
        ("cuts", scenario.cuts), ("workload", scenario.workload), ("cluster", scenario.cluster),
        ("claims", scenario.claims))]
    parts += [_step(step) for step in scenario.steps]
    return "\n".join(part for part in parts if part)


def _settings(scenario: Scenario) -> str:
    base = PROFILES.get(scenario.profile, PROFILES["fast"])
    lines = [f"profile = {_value(scenario.profile)}"]
    for item in dataclasses.fields(base):
        value = getattr(scenario.settings, item.name)
        if value != getattr(base, item.name) and "password" not in item.name:
            lines.append(f"{item.name} = {_value('off' if value is None else value)}")
    return "[settings]\n" + "\n".join(lines) + "\n"


def _section(name: str, part: object) -> str:
    lines = _lines(name, part, frozenset(item.name for item in dataclasses.fields(SECTIONS[name])))
    return f"[{name}]\n" + "\n".join(lines) + "\n" if lines else ""


def _step(step: Step) -> str:
    lines = [f"action = {_value(step.action)}", *_lines("step", step, RELEVANT[step.action] - {"action"})]
    return "[[step]]\n" + "\n".join(lines) + "\n"


def _lines(section: str, part: object, names: frozenset[str]) -> list[str]:
    lines = []
    for item in dataclasses.fields(SECTIONS[section]):
        value = getattr(part, item.name)
        if item.name == "urls":
            value = tuple(str(TargetAddress.parse(url)) for url in value)  # without secrets
        if item.name in names and value != getattr(_DEFAULTS[section], item.name):
            is_duration = item.name in _DURATIONS.get(section, ()) and isinstance(value, int)
            lines.append(f"{item.name} = {_value(_duration(value) if is_duration else value)}")
    return lines


def _duration(duration_ns: int) -> str:
    for unit, factor in (("s", NS_PER_S), ("ms", 1_000_000)):
        if duration_ns % factor == 0:
            return f"{duration_ns // factor}{unit}"
    return f"{duration_ns}ns"


def _value(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")  # TOML's basic strings are JSON's, but for DEL
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_value(key)} = {_value(item)}' for key, item in value.items())} }}"
    return repr(value)
