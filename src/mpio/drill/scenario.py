"""Drill scenarios as checked data: what is built, what runs, what is broken when, and what is claimed.

The sections are dataclasses whose fields carry how they are read and what they mean, so that the parser (`parse`), the
reference in docs/drill.md and the defaults can't disagree.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mpio.drill import values
from mpio.errors import InputError
from mpio.model.settings import Settings
from mpio.units import NS_PER_S

REGION_MAX_BYTES = 1 << 30
EVENT_FAULTS = frozenset({"reset"})  # over as soon as they have happened; there is nothing to heal

Cuts = Literal["relay", "netns", "none"]
Action = Literal["inject", "heal", "flap", "wait", "target", "order"]
Moment = Literal["detected", "failed", "rerouted", "reconnected", "reinstated"]
TargetSignal = Literal["STOP", "CONT", "KILL", "restart"]
Expectation = Literal["failover", "ride-through", "any"]


def how(parse: Callable[[object], Any], shown: str, meaning: str) -> dict[str, Any]:
    """Of one field: how it is read, and its words in the reference."""
    return {"parse": parse, "shown": shown, "meaning": meaning}


@dataclass(frozen=True, slots=True)
class About:
    """`[scenario]`: what this is."""

    name: str = field(default="drill", metadata=how(
        values.text, "text", "short name; names the run directory"))
    description: str = field(default="", metadata=how(
        values.text, "text", "what it shows"))
    seed: int | None = field(default=None, metadata=how(
        values.integer(0, 2**63 - 1), "number",
        "of everything that chance decides; a new one for each run by default"))
    duration: int = field(default=0, metadata=how(
        values.duration(), "duration", "shortest time of the workload, also when the steps end earlier"))
    settle: int = field(default=NS_PER_S, metadata=how(
        values.duration(), "duration", "how long the workload goes on after the last step"))


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """`[target]`: the target that the drill starts (not used when URLs are given)."""

    program: Literal["mpio", "tgtd"] = field(default="mpio", metadata=how(
        values.choice(Literal["mpio", "tgtd"]), "mpio or tgtd",
        "the built-in target, or the Linux SCSI target framework's, which must be installed"))
    portals: int = field(default=2, metadata=how(
        values.integer(1, values.PATHS_MAX), "1 to 16", "portals, and so paths"))
    portal_groups: Literal["shared", "separate"] = field(default="shared", metadata=how(
        values.choice(Literal["shared", "separate"]), "shared or separate",
        "whether all portals are of one portal group; a nexus can be fenced by reinstatement within one group only"))
    block_size: int = field(default=512, metadata=how(
        values.size(512, 4096), "size", "of a logical block: 512 or 4096"))
    size: int = field(default=64 << 20, metadata=how(
        values.size(1 << 20, 64 << 30), "size", "of the LU"))
    store: Literal["ram", "file"] = field(default="ram", metadata=how(
        values.choice(Literal["ram", "file"]), "ram or file",
        "where the LU's blocks are; a file (in the run directory) survives the target's death"))
    plant: str = field(default="", metadata=how(
        values.plant, "lost:N, stale:N or torn:N",
        "a fault of the target itself at its N-th write, which the drill must find"))


@dataclass(frozen=True, slots=True)
class PathsSpec:
    """`[paths]`: an existing target instead of the built-in one."""

    urls: tuple[str, ...] = field(default=(), metadata=how(
        values.urls, "list of URLs", "one iscsi:// URL a path, without secrets"))


@dataclass(frozen=True, slots=True)
class CutsSpec:
    """`[cuts]`: what stands between initiator and target and can be cut."""

    kind: Cuts = field(default="relay", metadata=how(
        values.choice(Cuts), "relay, netns or none",
        "a TCP relay for each path; network namespaces (needs root); or nothing"))


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """`[workload]`: the verified I/O that runs all the time."""

    workers: int = field(default=4, metadata=how(
        values.integer(1, 64), "1 to 64",
        "that write and read, each in its own stripe of the region, one I/O at a time"))
    readers: int = field(default=2, metadata=how(
        values.integer(0, 64), "0 to 64", "that read all over the region, one I/O at a time"))
    block_sizes: tuple[int, ...] = field(default=(4096, 16384, 65536), metadata=how(
        values.sizes, "list of sizes", "I/O lengths to choose from"))
    read_fraction: float = field(default=0.25, metadata=how(
        values.number(0, 1), "0 to 1",
        "how often a worker only reads; else it reads some blocks and then writes them"))
    offset: int = field(default=0, metadata=how(
        values.size(0, 1 << 60), "size", "where the region begins on the LU"))
    region: int = field(default=16 << 20, metadata=how(
        values.size(1 << 16, REGION_MAX_BYTES), "size",
        "that is written (overwritten!) and checked"))
    flush_every: int = field(default=64, metadata=how(
        values.integer(0, 1_000_000), "number", "writes of a worker between flushes; 0: none"))
    rate: float = field(default=600.0, metadata=how(
        values.number(0, 1_000_000), "number", "I/Os per second of all together; 0: as fast as it goes"))


@dataclass(frozen=True, slots=True)
class ClaimsSpec:
    """`[claims]`: what the run must show."""

    max_stall: int | Literal["bound", "any"] = field(default="bound", metadata=how(
        values.or_words(values.duration(), "bound", "any"), "duration, bound or any",
        "longest stall of any I/O in a fault; bound: what `mpio plan` computes for these settings"))
    max_reinstate: int | Literal["bound", "any"] = field(default="bound", metadata=how(
        values.or_words(values.duration(), "bound", "any"), "duration, bound or any",
        "longest time from heal to the path being used again"))
    errors: Literal["none", "allowed"] = field(default="none", metadata=how(
        values.choice(Literal["none", "allowed"]), "none or allowed", "I/O errors that the application sees"))
    false_failovers: Literal["none", "allowed"] = field(default="none", metadata=how(
        values.choice(Literal["none", "allowed"]), "none or allowed", "losses of paths that no fault was on"))


@dataclass(frozen=True, slots=True)
class Step:
    """`[[step]]`: one thing that is done during the workload. Steps run in the order of the file."""

    action: Action = field(default="inject", metadata=how(
        values.choice(Action), "inject, heal, flap, wait, target or order", "what to do"))
    at: int | None = field(default=None, metadata=how(
        values.duration(), "duration", "not before this time since the workload began"))
    delay: int = field(default=0, metadata=how(
        values.duration(), "duration", "pause before the action"))
    after: Moment | None = field(default=None, metadata=how(
        values.choice(Moment), "detected, failed, rerouted, reconnected or reinstated",
        "wait until this has happened, since its latest fault, to every path of the step before that was about paths"))
    timeout: int = field(default=300 * NS_PER_S, metadata=how(
        values.duration(), "duration", "longest wait for `after`; then the drill goes on"))
    fault: str = field(default="blackhole", metadata=how(
        values.text, "fault kind", "inject, flap: which fault; `mpio drill --list` names them"))
    path: values.PathList | Literal["all"] = field(default="all", metadata=how(
        values.paths, "number, list or all", "inject, heal, flap: which paths"))
    params: Mapping[str, float | str] = field(default_factory=dict, metadata=how(
        values.params, "table", "of the fault"))
    expect: Expectation | None = field(default=None, metadata=how(
        values.choice(Expectation), "failover, ride-through or any",
        "whether the paths must be found lost, must stay, or either; by default, what the kind of fault does"))
    duration: int = field(default=NS_PER_S, metadata=how(
        values.duration(), "duration", "wait: how long"))
    times: int = field(default=3, metadata=how(
        values.integer(1, 1_000), "1 to 1000", "flap: how often"))
    down: int = field(default=NS_PER_S, metadata=how(
        values.duration(), "duration", "flap: how long the fault stays each time"))
    up: int = field(default=NS_PER_S, metadata=how(
        values.duration(), "duration", "flap: how long it is healed each time"))
    signal: TargetSignal = field(default="STOP", metadata=how(
        values.choice(TargetSignal), "STOP, CONT, KILL or restart",
        "target: what to do to the target process; restart follows KILL"))
    order: Mapping[str, object] = field(default_factory=dict, metadata=how(
        values.order, "table", "order: for the built-in target, as its control socket takes them: `do` and arguments"))

    @property
    def label(self) -> str:
        """A few words for the journal."""
        where = "all paths" if self.path == "all" else "path " + " and ".join(str(number) for number in self.path)
        if self.action in ("inject", "flap"):
            return f"{self.action} {self.fault} on {where}"
        if self.action == "heal":
            return f"heal {where}"
        if self.action == "order":
            return " ".join(("order", *(str(self.order[key]) for key in ("do", "name", "id") if key in self.order)))
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

    def step_paths(self, step: Step) -> values.PathList:
        """The paths that a step is about; a target step is about all."""
        if step.path == "all" or step.action == "target":
            return tuple(range(1, self.path_count + 1))
        return step.path

    @property
    def needs_target(self) -> bool:
        """Whether some step acts on the target process."""
        return any(step.action in ("target", "order") for step in self.steps)


SECTIONS: Mapping[str, type] = {
    "scenario": About, "target": TargetSpec, "paths": PathsSpec, "cuts": CutsSpec, "workload": WorkloadSpec,
    "claims": ClaimsSpec, "step": Step,
}
_COMMON = frozenset({"action", "at", "delay", "after", "timeout"})
RELEVANT: Mapping[str, frozenset[str]] = {  # keys of a step, by its action
    "inject": _COMMON | {"fault", "path", "params", "expect"},
    "heal": _COMMON | {"path"},
    "flap": _COMMON | {"fault", "path", "params", "expect", "times", "down", "up"},
    "wait": _COMMON | {"duration"},
    "target": _COMMON | {"signal", "expect"},
    "order": _COMMON | {"order"},
}


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
