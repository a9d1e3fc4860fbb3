"""Drill scenarios: a TOML file in, checked dataclasses out, or one clear line that says where and what is wrong.

The sections are dataclasses whose fields carry how to read them and what they mean, so that the parser, the reference in
docs/drill.md and the defaults can't disagree. `docs/drill.md` has the prose.
"""

import dataclasses
import difflib
import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from mpio.drill.fabric import Fault, check_fault
from mpio.errors import InputError
from mpio.model.address import TargetAddress
from mpio.model.settings import PROFILES, Settings
from mpio.units import NS_PER_S, parse_duration, parse_size

FILE_MAX_BYTES = 1 << 20
PATHS_MAX = 16
STEPS_MAX = 1_000
REGION_MAX_BYTES = 1 << 30
_SHOWN_MAX = 60

T = TypeVar("T")
PathList = tuple[int, ...]
Cuts = Literal["relay", "netns", "none"]
Action = Literal["inject", "heal", "flap", "wait", "target"]
Moment = Literal["detected", "failed", "rerouted", "reconnected", "reinstated"]
TargetSignal = Literal["STOP", "CONT", "KILL", "restart"]
Expectation = Literal["failover", "ride-through", "any"]


# --- how values are read: each raises ValueError("expected …, found …")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX - 1] + "…"


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 10_000:
        raise ValueError(f"expected text, found {_shown(value)}")
    return value


def _integer(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"expected a whole number from {low} to {high}, found {_shown(value)}")
        return value
    return parse


def _number(low: float, high: float) -> Callable[[object], float]:
    def parse(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"expected a number from {low:g} to {high:g}, found {_shown(value)}")
        return float(value)
    return parse


def _duration(low_s: float = 0, high_s: float = 86_400) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = f"{value:.9f}"
        if not isinstance(value, str):
            raise ValueError(f"expected a duration such as '300ms' or '25s', found {_shown(value)}")
        duration_ns = parse_duration(value)
        if not low_s * NS_PER_S <= duration_ns <= high_s * NS_PER_S:
            raise ValueError(f"expected a duration from {low_s:g} s to {high_s:g} s, found {_shown(value)}")
        return duration_ns
    return parse


def _size(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if not isinstance(value, int | str) or isinstance(value, bool):
            raise ValueError(f"expected a size such as '4KiB' or '64MiB', found {_shown(value)}")
        size_bytes = parse_size(value) if isinstance(value, str) else value
        if not low <= size_bytes <= high:
            raise ValueError(f"expected a size from {low} to {high} bytes, found {_shown(value)}")
        return size_bytes
    return parse


def _sizes(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= 32:
        raise ValueError(f"expected a list of 1 to 32 sizes such as ['4KiB', '64KiB'], found {_shown(value)}")
    return tuple(_size(512, 8 << 20)(item) for item in value)


def _choice(kind: object) -> Callable[[object], Any]:
    choices = get_args(kind)

    def parse(value: object) -> str:
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}; found {_shown(value)}"
                             + _nearest(value if isinstance(value, str) else "", choices))
        return str(value)
    return parse


def _or_words(parse: Callable[[object], T], *words: str) -> Callable[[object], T | str]:
    def parse_or_word(value: object) -> T | str:
        if isinstance(value, str) and value in words:
            return value
        try:
            return parse(value)
        except ValueError as error:
            detail = str(error).removeprefix("expected ")
            raise ValueError(f"expected {' or '.join(repr(word) for word in words)} or {detail}") from None
    return parse_or_word


def _paths(value: object) -> PathList | Literal["all"]:
    if value == "all":
        return "all"
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= PATHS_MAX for n in numbers):
        raise ValueError(f"expected a path number from 1, a list of them or 'all'; found {_shown(value)}")
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"expected each path once, found {_shown(value)}")
    return tuple(numbers)


def _plant(value: object) -> str:
    text = _text(value)
    if text and not re.fullmatch(r"(lost|stale|torn):[1-9][0-9]{0,8}", text):
        raise ValueError(f"expected lost:N, stale:N or torn:N with N from 1, found {_shown(value)}")
    return text


def _urls(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= PATHS_MAX:
        raise ValueError(f"expected a list of 1 to {PATHS_MAX} iscsi:// URLs, found {_shown(value)}")
    for url in value:
        if TargetAddress.parse(_text(url)).password is not None:
            raise ValueError("a secret does not belong in a scenario file, which is copied into every run directory; "
                             "give the URL on the command line")
    return tuple(value)


def _params(value: object) -> dict[str, float | str]:
    if not isinstance(value, dict) or not all(
            isinstance(item, int | float | str) and not isinstance(item, bool) for item in value.values()):
        raise ValueError(f"expected a table of numbers and texts such as {{ms = 200}}, found {_shown(value)}")
    return dict(value)


def _item(default: Any, parse: Callable[[object], Any], shown: str, meaning: str) -> Any:
    """A field of a section: its default, how to read it, and its text in the reference."""
    return field(default=default, metadata={"parse": parse, "shown": shown, "meaning": meaning})


# --- sections


@dataclass(frozen=True, slots=True)
class About:
    """`[scenario]`: what this is."""

    name: str = _item("drill", _text, "text", "short name; names the run directory")
    description: str = _item("", _text, "text", "what it shows")
    seed: int | None = _item(None, _integer(0, 2**63 - 1), "number",
                             "of everything that chance decides; a new one for each run by default")
    duration: int = _item(0, _duration(), "duration", "shortest time of the workload, also when the steps end earlier")
    settle: int = _item(NS_PER_S, _duration(), "duration", "how long the workload goes on after the last step")


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """`[target]`: the built-in target that the drill starts (not used when URLs are given)."""

    portals: int = _item(2, _integer(1, PATHS_MAX), "1 to 16", "portals, and so paths")
    portal_groups: Literal["shared", "separate"] = _item(
        "shared", _choice(Literal["shared", "separate"]), "shared or separate",
        "whether all portals are of one portal group; a nexus can be fenced by reinstatement within one group only")
    block_size: int = _item(512, _size(512, 4096), "size", "of a logical block: 512 or 4096")
    size: int = _item(64 << 20, _size(1 << 20, 64 << 30), "size", "of the LU")
    store: Literal["ram", "file"] = _item(
        "ram", _choice(Literal["ram", "file"]), "ram or file",
        "where the LU's blocks are; a file (in the run directory) survives the target's death")
    plant: str = _item("", _plant, "lost:N, stale:N or torn:N",
                       "a fault of the target itself at its N-th write, which the drill must find")


@dataclass(frozen=True, slots=True)
class PathsSpec:
    """`[paths]`: an existing target instead of the built-in one."""

    urls: tuple[str, ...] = _item((), _urls, "list of URLs", "one iscsi:// URL a path, without secrets")


@dataclass(frozen=True, slots=True)
class CutsSpec:
    """`[cuts]`: what stands between initiator and target and can be cut."""

    kind: Cuts = _item("relay", _choice(Cuts), "relay, netns or none",
                       "a TCP relay for each path; network namespaces (needs root); or nothing")


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """`[workload]`: the verified I/O that runs all the time."""

    workers: int = _item(4, _integer(1, 64), "1 to 64",
                         "that write and read, each in its own stripe of the region, one I/O at a time")
    readers: int = _item(2, _integer(0, 64), "0 to 64", "that read all over the region, one I/O at a time")
    block_sizes: tuple[int, ...] = _item((4096, 16384, 65536), _sizes, "list of sizes", "I/O lengths to choose from")
    read_fraction: float = _item(0.5, _number(0, 1), "0 to 1",
                                 "share of reads among a worker's I/Os, beside the reads that check each write")
    offset: int = _item(0, _size(0, 1 << 60), "size", "where the region begins on the LU")
    region: int = _item(16 << 20, _size(1 << 16, REGION_MAX_BYTES), "size",
                        "that is written (overwritten!) and checked")
    flush_every: int = _item(64, _integer(0, 1_000_000), "number", "writes of a worker between flushes; 0: none")
    rate: float = _item(600.0, _number(0, 1_000_000), "number", "I/Os per second of all together; 0: as fast as it goes")


@dataclass(frozen=True, slots=True)
class ClaimsSpec:
    """`[claims]`: what the run must show."""

    max_stall: int | Literal["bound", "any"] = _item(
        "bound", _or_words(_duration(), "bound", "any"), "duration, bound or any",
        "longest stall of any I/O in a fault; bound: what `mpio plan` computes for these settings")
    max_reinstate: int | Literal["bound", "any"] = _item(
        "bound", _or_words(_duration(), "bound", "any"), "duration, bound or any",
        "longest time from heal to the path being used again")
    errors: Literal["none", "allowed"] = _item(
        "none", _choice(Literal["none", "allowed"]), "none or allowed", "I/O errors that the application sees")
    false_failovers: Literal["none", "allowed"] = _item(
        "none", _choice(Literal["none", "allowed"]), "none or allowed", "losses of paths that no fault was on")


@dataclass(frozen=True, slots=True)
class Step:
    """`[[step]]`: one thing that is done during the workload. Steps run in the order of the file."""

    action: Action = _item("inject", _choice(Action), "inject, heal, flap, wait or target", "what to do")
    at: int | None = _item(None, _duration(), "duration", "not before this time since the workload began")
    delay: int = _item(0, _duration(), "duration", "pause before the action")
    after: Moment | None = _item(
        None, _choice(Moment), "detected, failed, rerouted, reconnected or reinstated",
        "wait until this has happened to every path of the latest inject, heal, flap or target step")
    timeout: int = _item(30 * NS_PER_S, _duration(), "duration", "longest wait for `after`; then the drill goes on")
    fault: str = _item("blackhole", _text, "fault kind", "inject, flap: which fault; `mpio drill --list` names them")
    path: PathList | Literal["all"] = _item("all", _paths, "number, list or all", "inject, heal, flap: which paths")
    params: Mapping[str, float | str] = _item(types.MappingProxyType({}), _params, "table", "of the fault")
    expect: Expectation | None = _item(
        None, _choice(Expectation), "failover, ride-through or any",
        "whether the paths must be found lost, must stay, or either; by default, what the kind of fault does")
    duration: int = _item(NS_PER_S, _duration(), "duration", "wait: how long")
    times: int = _item(3, _integer(1, 1_000), "1 to 1000", "flap: how often")
    down: int = _item(NS_PER_S, _duration(), "duration", "flap: how long the fault stays each time")
    up: int = _item(NS_PER_S, _duration(), "duration", "flap: how long it is healed each time")
    signal: TargetSignal = _item("STOP", _choice(TargetSignal), "STOP, CONT, KILL or restart",
                                 "target: what to do to the target process; restart follows KILL")

    @property
    def label(self) -> str:
        """A few words for the journal."""
        where = "all paths" if self.path == "all" else "path " + " and ".join(str(number) for number in self.path)
        if self.action in ("inject", "flap"):
            return f"{self.action} {self.fault} on {where}"
        if self.action == "heal":
            return f"heal {where}"
        return "wait" if self.action == "wait" else f"target {self.signal}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A checked scenario. `text` is the file as given, for the run directory."""

    about: About
    target: TargetSpec
    paths: PathsSpec
    settings: Settings
    profile: str
    cuts: CutsSpec
    workload: WorkloadSpec
    claims: ClaimsSpec
    steps: tuple[Step, ...]
    text: str

    @property
    def path_count(self) -> int:
        """How many paths the map has."""
        return len(self.paths.urls) or self.target.portals

    def step_paths(self, step: Step) -> PathList:
        """The paths that a step is about; a target step is about all."""
        if step.path == "all" or step.action == "target":
            return tuple(range(1, self.path_count + 1))
        return step.path

    @property
    def needs_target(self) -> bool:
        """Whether some step acts on the target process."""
        return any(step.action == "target" for step in self.steps)


SECTIONS: Mapping[str, type] = {
    "scenario": About, "target": TargetSpec, "paths": PathsSpec, "cuts": CutsSpec, "workload": WorkloadSpec,
    "claims": ClaimsSpec, "step": Step,
}
_RELEVANT: Mapping[str, frozenset[str]] = {  # keys of a step by its action, beside those that all have
    "inject": frozenset({"fault", "path", "params", "expect"}),
    "heal": frozenset({"path"}),
    "flap": frozenset({"fault", "path", "params", "expect", "times", "down", "up"}),
    "wait": frozenset({"duration"}),
    "target": frozenset({"signal", "expect"}),
}
_COMMON = frozenset({"action", "at", "delay", "after", "timeout"})


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
                         + _nearest(name, names))
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


# --- parsing


class _Places:
    """On which line each key of the file stands: (section, index among its like, key) -> line."""

    _HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_-]+)\s*\]")
    _KEY = re.compile(r"\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*[=.]")

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._lines: dict[tuple[str, int, str], int] = {}
        section, counts = "", dict[str, int]()
        for number, line in enumerate(text.splitlines(), start=1):
            header = self._HEADER.match(line)
            if header:
                section = header[2]
                counts[section] = counts.get(section, -1) + 1
                self._lines.setdefault((section, counts[section], ""), number)
            elif key := self._KEY.match(line):
                self._lines.setdefault((section, counts.get(section, 0), key[1]), number)

    def error(self, section: str, index: int, key: str, message: str) -> InputError:
        """An InputError that names file, line, section and key, as far as they are known."""
        line = (self._lines.get((section, index, key)) or self._lines.get((section, index, ""))
                or self._lines.get(("", 0, section)))
        field_name = f"[[{section}]] {index + 1}" if section == "step" else f"[{section}]" if section else ""
        head = " ".join(part for part in (field_name, key) if part)
        return InputError(f"{self.file}:{line}" if line else self.file, f"{head}: {message}" if head else message)


def parse_scenario(text: str, file: str = "scenario") -> Scenario:
    """Parse and check a scenario. Raises InputError naming `file`, the line and the field."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        at_line = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        where = f"{file}:{at_line[1]}" if at_line else file
        raise InputError(where, f"expected TOML: {str(error)[:at_line.start() if at_line else 200]}") from None
    places = _Places(file, text)
    known = [*SECTIONS, "settings"]
    for name, value in document.items():
        if name not in known:
            raise places.error(name if isinstance(value, dict) else "", 0, "" if isinstance(value, dict) else name,
                               f"there is no section {name!r}" + _nearest(name, known))
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
    )
    _check_together(scenario, document, places)
    return scenario


S = TypeVar("S")


def _section(cls: type[S], document: Mapping[str, Any], places: _Places) -> S:
    name = next(name for name, known in SECTIONS.items() if known is cls)
    return _read(cls, document.get(name, {}), name, 0, places)


def _read(cls: type[S], table: Mapping[str, Any], section: str, index: int, places: _Places) -> S:
    fields = {item.name: item for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            raise places.error(section, index, key, "there is no such key" + _nearest(key, fields))
        try:
            values[key] = fields[key].metadata["parse"](value)
        except ValueError as error:
            raise places.error(section, index, key, str(error)) from None
    return cls(**values)


def _step(table: object, index: int, places: _Places) -> Step:
    if not isinstance(table, dict):
        raise places.error("step", index, "", "expected a table")
    if "action" not in table:
        raise places.error("step", index, "", f"expected an action, one of {', '.join(get_args(Action))}")
    step = _read(Step, table, "step", index, places)
    for key in table:
        if key not in _COMMON | _RELEVANT[step.action]:
            raise places.error("step", index, key, f"has no meaning for the action {step.action!r}")
    if step.action in ("inject", "flap"):
        try:
            check_fault(Fault(step.fault, step.params))
        except ValueError as error:
            raise places.error("step", index, "params" if "params" in str(error) else "fault", str(error)) from None
    return step


def _settings(table: Mapping[str, Any], places: _Places) -> tuple[str, Settings]:
    profile = table.get("profile", "fast")
    if not isinstance(profile, str) or profile not in PROFILES:
        raise places.error("settings", 0, "profile", f"expected one of {', '.join(PROFILES)}; found {_shown(profile)}")
    settings = PROFILES[profile]
    known = {item.name: item for item in dataclasses.fields(Settings)}
    for key, value in table.items():
        if key == "profile":
            continue
        if key not in known:
            raise places.error("settings", 0, key, "there is no such setting" + _nearest(key, known))
        if "password" in key:
            raise places.error("settings", 0, key, "a secret does not belong in a scenario file, which is copied "
                               "into every run directory")
        table = {**table, key: _setting(value, known[key].type)}
    try:
        return profile, settings.replace(**{key: value for key, value in table.items() if key != "profile"})
    except (ValueError, TypeError) as error:
        key = str(error).split(":", 1)[0]
        message = str(error).removeprefix(f"{key}: ")
        raise places.error("settings", 0, key if key in known else "", message) from None


def _setting(value: object, kind: object) -> object:
    """Let durations be written '300ms' where the setting is in seconds, and lists where it is a tuple."""
    kinds = (kind, *typing.get_args(kind))
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and float in kinds:
        try:
            return parse_duration(value) / NS_PER_S
        except ValueError:
            return value  # a word, such as failback's; Settings judges it
    return value


def _check_together(scenario: Scenario, document: Mapping[str, Any], places: _Places) -> None:
    """What no single field can tell."""
    target, workload = scenario.target, scenario.workload
    if scenario.paths.urls and "target" in document:
        raise places.error("target", 0, "", "has no meaning with [paths] urls: the target exists already")
    if target.block_size not in (512, 4096):
        raise places.error("target", 0, "block_size", f"expected 512 or 4096, found {target.block_size}")
    if not scenario.paths.urls:
        check_region(scenario, target.size, target.block_size,
                     lambda key, message: places.error("workload", 0, key, message))
    stripe = workload.region // workload.workers
    if max(workload.block_sizes) > stripe:
        raise places.error("workload", 0, "block_sizes",
                           f"expected sizes up to a worker's stripe ({stripe} bytes: region / workers)")
    running = True
    for index, step in enumerate(scenario.steps):
        if step.path != "all" and step.action != "target" and max(step.path) > scenario.path_count:
            raise places.error("step", index, "path", f"expected paths up to {scenario.path_count}, found {max(step.path)}")
        if step.action in ("inject", "flap", "heal") and scenario.cuts.kind == "none":
            raise places.error("step", index, "action", f"{step.action} needs [cuts] of kind relay or netns, found none")
        if step.action == "target":
            if scenario.paths.urls:
                raise places.error("step", index, "action", "acts on the built-in target only, and [paths] urls names "
                                   "another one")
            if step.signal in ("KILL", "restart") and target.store == "ram":
                raise places.error("step", index, "signal", f"{step.signal} would lose a RAM LU's blocks: "
                                   "expected [target] store = 'file'")
            if (step.signal == "restart") == running:
                raise places.error("step", index, "signal", "expected restart after KILL, and nothing else after it")
            running = step.signal != "KILL" and running or step.signal == "restart"


def check_region(scenario: Scenario, size_bytes: int, block_size: int,
                 error: Callable[[str, str], InputError]) -> None:
    """Whether the workload fits an LU. Raises what `error(key, message)` makes."""
    workload = scenario.workload
    if workload.offset % block_size or workload.region % block_size:
        key = "offset" if workload.offset % block_size else "region"
        raise error(key, f"expected whole blocks of {block_size} bytes")
    if workload.offset + workload.region > size_bytes:
        raise error("region", f"expected a region within the LU of {size_bytes} bytes, found one that ends at "
                              f"{workload.offset + workload.region}")
    for size in workload.block_sizes:
        if size % block_size:
            raise error("block_sizes", f"expected whole blocks of {block_size} bytes, found {size}")


def _nearest(word: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    match = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""
