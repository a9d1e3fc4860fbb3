"""Reading scenario files: TOML in, a `Scenario` out, or one InputError that says where and what is wrong."""

import dataclasses
import typing
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from mpio.drill.fabric import Fault, check_fault
from mpio.drill.layout import check_layout
from mpio.drill.scenario import (
    EVENT_FAULTS,
    NETWORK_FAULTS,
    NODE_MOMENTS,
    RELEVANT,
    SECTIONS,
    About,
    Action,
    ClaimsSpec,
    ClusterSpec,
    CutsSpec,
    PathsSpec,
    Scenario,
    Step,
    TargetSpec,
    Wire,
    WorkloadSpec,
)
from mpio.drill.values import nearest, shown
from mpio.errors import InputError
from mpio.model.settings import PROFILES, Settings
from mpio.model.toml_text import Places, read_toml
from mpio.units import NS_PER_S, parse_duration

FILE_MAX_BYTES = 1 << 20
STEPS_MAX = 1_000
_TYPE_NAMES = {int: "a whole number", float: "seconds, or a duration such as '300ms'", bool: "true or false",
               str: "text"}

S = TypeVar("S")


# --- built-in scenarios


def builtin_names() -> list[str]:
    """Names of the scenarios that come with mpio."""
    folder = resources.files("mpio.drill") / "scenarios"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def builtin(name: str) -> Scenario:
    """A scenario that comes with mpio. Raises InputError with the known names."""
    names = builtin_names()
    if name not in names:
        raise InputError("scenario", f"expected a file or one of {', '.join(names)}; found {name!r}"
                         + nearest(name, names))
    text = (resources.files("mpio.drill") / "scenarios" / f"{name}.toml").read_text(encoding="utf-8")
    return parse_scenario(text, f"{name}.toml")


def load_scenario(name_or_path: str) -> Scenario:
    """A scenario by the name of a built-in one or by its file. Raises InputError."""
    path = Path(name_or_path)
    if not name_or_path.endswith(".toml") and "/" not in name_or_path and not path.is_file():
        return builtin(name_or_path)
    try:
        with path.open("rb") as file:
            content = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(name_or_path, f"the scenario can't be read: {error.strerror or error}") from None
    if len(content) > FILE_MAX_BYTES:
        raise InputError(name_or_path, f"expected at most {FILE_MAX_BYTES} bytes of scenario, found more")
    try:
        return parse_scenario(content.decode(), name_or_path)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name_or_path}:{line}", f"expected UTF-8 text, found the byte {content[error.start]:#04x}"
                         ) from None


def with_nodes(scenario: Scenario, nodes: int) -> Scenario:
    """The scenario with so many nodes. Raises InputError if its steps or its LU do not go with that."""
    changed = dataclasses.replace(scenario, cluster=dataclasses.replace(scenario.cluster, nodes=nodes))
    if not changed.paths.urls:
        check_layout(changed, changed.target.size, changed.target.block_size,
                     lambda key, message: InputError("--nodes", f"[workload] {key}: {message}"))
    if nodes > 1 and changed.cuts.kind == "netns":
        raise InputError("--nodes", "netns has wires for one node only: expected cuts by relay or none")
    for number, step in enumerate(changed.steps, start=1):
        if max(changed.step_nodes(step)) > nodes:
            raise InputError("--nodes", f"step {number} of the scenario is about node {max(changed.step_nodes(step))}")
        if not changed.has_heartbeats and (step.network != "storage" or step.action in ("crash", "poison")):
            raise InputError("--nodes", f"step {number} of the scenario needs nodes with heartbeats")
    return changed


# --- parsing


def parse_scenario(text: str, file: str = "scenario") -> Scenario:
    """Parse and check a scenario. Raises InputError naming `file`, the line and the field."""
    document = read_toml(text, file)
    places = Places(file, text)
    known = [*SECTIONS, "settings"]
    for name, value in document.items():
        if name not in known:
            raise places.error(name if isinstance(value, dict) else "", 0, "" if isinstance(value, dict) else name,
                               f"there is no section {name!r}" + nearest(name, known))
        if name == "step":
            if not isinstance(value, list):
                raise places.error("step", 0, "", "expected [[step]] with double brackets")
        elif not isinstance(value, dict):
            raise places.error("", 0, name, f"expected a section [{name}]")
    profile, settings = _settings(document.get("settings", {}), places)
    tables = document.get("step", [])
    if len(tables) > STEPS_MAX:
        raise places.error("step", STEPS_MAX, "", f"expected at most {STEPS_MAX} steps, found {len(tables)}")
    scenario = Scenario(
        about=_section(About, document, places),
        target=_section(TargetSpec, document, places),
        paths=_section(PathsSpec, document, places),
        settings=settings,
        profile=profile,
        cuts=_section(CutsSpec, document, places),
        workload=_section(WorkloadSpec, document, places),
        claims=_section(ClaimsSpec, document, places),
        steps=tuple(_step(table, index, places) for index, table in enumerate(tables)),
        text=text,
        cluster=_section(ClusterSpec, document, places),
    )
    _check_together(scenario, document, places)
    return scenario


def _section(cls: type[S], document: Mapping[str, Any], places: Places) -> S:
    name = next(name for name, known in SECTIONS.items() if known is cls)
    return _read(cls, document.get(name, {}), name, 0, places)


def _read(cls: type[S], table: Mapping[str, Any], section: str, index: int, places: Places) -> S:
    fields = {item.name: item for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            raise places.error(section, index, key, "there is no such key" + nearest(key, fields))
        try:
            values[key] = fields[key].metadata["parse"](value)
        except ValueError as error:
            raise places.error(section, index, key, str(error)) from None
    return cls(**values)


def _step(table: object, index: int, places: Places) -> Step:
    if not isinstance(table, dict):
        raise places.error("step", index, "", "expected a table")
    if "action" not in table:
        raise places.error("step", index, "", f"expected an action, one of {', '.join(get_args(Action))}")
    step = _read(Step, table, "step", index, places)
    for key in table:
        if key not in RELEVANT[step.action]:
            raise places.error("step", index, key, f"has no meaning for the action {step.action!r}")
    if step.action in ("inject", "flap"):
        try:
            check_fault(Fault(step.fault, step.params))
        except ValueError as error:
            raise places.error("step", index, "params" if "params" in str(error) else "fault", str(error)) from None
    return step


def _settings(table: Mapping[str, Any], places: Places) -> tuple[str, Settings]:
    profile = table.get("profile", "fast")
    if not isinstance(profile, str) or profile not in PROFILES:
        raise places.error("settings", 0, "profile", f"expected one of {', '.join(PROFILES)}; found {shown(profile)}")
    settings = PROFILES[profile]
    known = {item.name: item for item in dataclasses.fields(Settings)}
    changes: dict[str, object] = {}
    for key, value in table.items():
        if key == "profile":
            continue
        if key not in known:
            raise places.error("settings", 0, key, "there is no such setting" + nearest(key, known))
        if "password" in key:
            raise places.error("settings", 0, key, "a secret does not belong in a scenario file, which is copied "
                               "into every run directory")
        try:
            changes[key] = _setting(value, known[key].type)
        except ValueError as error:
            raise places.error("settings", 0, key, str(error)) from None
    try:
        return profile, settings.replace(**changes)
    except ValueError as error:
        key = str(error).split(":", 1)[0]
        message = str(error).removeprefix(f"{key}: ")
        raise places.error("settings", 0, key if key in known else "", message) from None


def _setting(value: object, kind: Any) -> object:
    """A value of the setting's own type; durations may be written '300ms' where it is in seconds; `off` is None."""
    kinds = (kind, *get_args(kind))
    words = [word for part in kinds if typing.get_origin(part) is Literal for word in get_args(part)]
    if value in words and not isinstance(value, bool):
        return value
    if isinstance(value, bool):
        if bool in kinds:
            return value
    elif isinstance(value, int | float):
        if float in kinds or (int in kinds and isinstance(value, int)):
            return value
    elif isinstance(value, str):
        if value == "off" and type(None) in kinds:
            return None
        if str in kinds:
            return value
        if float in kinds:
            return parse_duration(value) / NS_PER_S
    elif (isinstance(value, list) and all(isinstance(item, str) for item in value)
          and any(typing.get_origin(part) is tuple for part in kinds)):
        return tuple(value)
    one_of = [f"one of {', '.join(words)}"] if words else []
    expected = [*one_of, *(name for part, name in _TYPE_NAMES.items() if part in kinds)] or ["a list of texts"]
    raise ValueError(f"expected {' or '.join(expected)}, found {shown(value)}")


def _check_together(scenario: Scenario, document: Mapping[str, Any], places: Places) -> None:
    """What no single field can tell."""
    target, workload = scenario.target, scenario.workload
    if scenario.paths.urls and "target" in document:
        raise places.error("target", 0, "", "has no meaning with [paths] urls: the target exists already")
    if target.block_size not in (512, 4096):
        raise places.error("target", 0, "block_size", f"expected 512 or 4096, found {target.block_size}")
    if target.program == "tgtd":
        for key, value, only in (("store", target.store, "file"), ("portal_groups", target.portal_groups, "shared"),
                                 ("plant", target.plant, "")):
            if value != only:
                raise places.error("target", 0, key, f"tgtd has only {only!r}, found {value!r}")
    if not scenario.paths.urls:
        check_layout(scenario, target.size, target.block_size,
                     lambda key, message: places.error("workload", 0, key, message))
    if scenario.cluster.nodes > 1 and scenario.cuts.kind == "netns":
        raise places.error("cuts", 0, "kind", "netns has wires for one node only: expected relay or none")
    stripe = workload.region // workload.workers
    if max(workload.block_sizes) > stripe:
        raise places.error("workload", 0, "block_sizes",
                           f"expected sizes up to a worker's stripe ({stripe} bytes: region / workers)")
    _check_steps(scenario, places)


def _check_steps(scenario: Scenario, places: Places) -> None:
    """Whether each step can follow those before it."""
    running = True
    faulty: set[Wire] = set()
    nodes = scenario.cluster.nodes
    for index, step in enumerate(scenario.steps):
        if max(scenario.step_nodes(step)) > nodes:
            raise places.error("step", index, "node",
                               f"expected nodes up to {nodes}, found {max(scenario.step_nodes(step))}")
        _check_cluster_step(scenario, index, places)
        if step.action in ("inject", "flap", "heal"):
            paths = scenario.step_paths(step)
            if max(paths) > scenario.path_count:
                raise places.error("step", index, "path",
                                   f"expected paths up to {scenario.path_count}, found {max(paths)}")
            if scenario.cuts.kind == "none":
                raise places.error("step", index, "action",
                                   f"{step.action} needs [cuts] of kind relay or netns, found none")
        wires = scenario.step_wires(step)
        twice = sorted(faulty.intersection(wires))
        if step.action in ("inject", "flap") and twice:
            raise places.error("step", index, "path", f"{twice[0].words(nodes)} has a fault already: "
                               "expected a heal step before")
        if step.action == "inject" and step.fault not in EVENT_FAULTS:
            faulty.update(wires)
        elif step.action == "heal":
            faulty.difference_update(wires)
        elif step.action == "target":
            running = _check_target_step(scenario, index, places, running=running)
        elif step.action == "order":
            if scenario.paths.urls or scenario.target.program != "mpio":
                raise places.error("step", index, "action", "order is for the built-in target only")
            if not running or not step.order:
                raise places.error("step", index, "order", "expected an order, for a target that runs")


def _check_cluster_step(scenario: Scenario, index: int, places: Places) -> None:
    """What a step about nodes and their networks needs."""
    step, cluster = scenario.steps[index], scenario.cluster
    if not scenario.has_heartbeats and (step.action in ("crash", "poison") or step.network != "storage"
                                        or step.after in NODE_MOMENTS):
        key = "action" if step.action in ("crash", "poison") else "network" if step.network != "storage" else "after"
        raise places.error("step", index, key, "is about heartbeats: expected [cluster] with 2 nodes or more")
    if step.network == "storage":
        return
    if step.path != "all":
        raise places.error("step", index, "path", f"has no meaning for the {step.network} network")
    shares = cluster.cluster_network if step.network == "cluster" else cluster.client_network
    if shares != "separate":
        where = "path 1" if shares == "storage" else "the cluster network"
        raise places.error("step", index, "network", f"the {step.network} network shares the wires of {where} here: "
                           "expected the fault there")
    if step.action in ("inject", "flap") and step.fault not in NETWORK_FAULTS:
        raise places.error("step", index, "fault", f"expected one of {', '.join(NETWORK_FAULTS)} for the "
                           f"{step.network} network, found {step.fault!r}")


def _check_target_step(scenario: Scenario, index: int, places: Places, *, running: bool) -> bool:
    """Whether the target process will be running after the step."""
    step = scenario.steps[index]

    def error(key: str, message: str) -> InputError:
        return places.error("step", index, key, message)

    if scenario.paths.urls:
        raise error("action", "acts on the built-in target only, and [paths] urls names another one")
    if step.signal in ("KILL", "restart") and scenario.target.store == "ram":
        raise error("signal", f"{step.signal} would lose a RAM LU's blocks: expected [target] store = 'file'")
    if (step.signal == "restart") == running:
        raise error("signal", "expected restart after KILL, and nothing else after it")
    return step.signal == "restart" or (running and step.signal != "KILL")
