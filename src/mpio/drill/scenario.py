"""Drill scenarios as checked data: what is built, what runs, what is broken when, and what is claimed.

The sections are dataclasses whose fields carry how they are read and what they mean, so that the parser (`parse`), the
reference in docs/drill.md and the defaults can't disagree.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mpio.drill import values
from mpio.model.settings import Settings
from mpio.units import NS_PER_S

REGION_MAX_BYTES = 1 << 30
EVENT_FAULTS = frozenset({"reset"})  # over as soon as they have happened; there is nothing to heal
NETWORK_FAULTS = ("blackhole", "delay")  # that the nodes' networks to each other and to clients can have

Cuts = Literal["relay", "netns", "none"]
Action = Literal["inject", "heal", "flap", "wait", "target", "order", "crash", "poison"]
Moment = Literal["detected", "failed", "rerouted", "reconnected", "reinstated", "fenced", "declared-dead"]
NODE_MOMENTS: tuple[Moment, ...] = ("fenced", "declared-dead")  # of nodes; the others are of paths
Link = Literal["storage", "cluster", "client"]
Heartbeat = Literal["own", "o2cb", "sbd", "none"]
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
class ClusterSpec:
    """`[cluster]`: several nodes on one LUN, each with its own map; heartbeats, and a service that one of them runs."""

    nodes: int = field(default=1, metadata=how(
        values.integer(1, values.NODES_MAX), "1 to 8", "nodes; each has all paths, over wires of its own"))
    heartbeat: Heartbeat = field(default="own", metadata=how(
        values.choice(Heartbeat), "own, o2cb, sbd or none",
        "whose format and timing the heartbeats on the LUN have; a single node has none"))
    period: int = field(default=NS_PER_S // 4, metadata=how(
        values.duration(0.05, 60), "duration", "own: from one heartbeat to the next"))
    deadline: int = field(default=4 * NS_PER_S, metadata=how(
        values.duration(0.2, 3600), "duration",
        "own: a node fences itself so long after it began to write its last good heartbeat"))
    dead_after: int = field(default=6 * NS_PER_S, metadata=how(
        values.duration(0.2, 3600), "duration", "own: others take a node for dead that has been silent so long"))
    threshold: int = field(default=31, metadata=how(
        values.integer(3, 10_000), "3 to 10000", "o2cb: O2CB_HEARTBEAT_THRESHOLD, in rounds of 2 s"))
    watchdog: int = field(default=15 * NS_PER_S, metadata=how(
        values.duration(2, 3600), "duration", "sbd: timeout_watchdog, in whole seconds"))
    msgwait: int = field(default=30 * NS_PER_S, metadata=how(
        values.duration(2, 7200), "duration", "sbd: timeout_msgwait, in whole seconds"))
    cluster_network: Literal["separate", "storage"] = field(default="separate", metadata=how(
        values.choice(Literal["separate", "storage"]), "separate or storage",
        "whether the nodes talk to each other over wires of their own, or over that of each node's first path"))
    client_network: Literal["separate", "cluster", "storage"] = field(default="separate", metadata=how(
        values.choice(Literal["separate", "cluster", "storage"]), "separate, cluster or storage",
        "whether clients reach the nodes over wires of their own, over those of the cluster network, or over that of "
        "each node's first path"))
    dampen: int = field(default=2 * NS_PER_S, metadata=how(
        values.duration(0, 600), "duration", "how long the clients' view of a node must have changed until it counts"))
    service: bool = field(default=True, metadata=how(
        values.boolean, "true or false",
        "whether a service runs on one node at a time: on the one that clients reach best, where the LUN is safe"))


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
    min_margin: float = field(default=0.1, metadata=how(
        values.number(0, 1), "0 to 1",
        "share of its deadline that a node must always have had left, unless it had cause to fence itself"))


@dataclass(frozen=True, slots=True)
class Step:
    """`[[step]]`: one thing that is done during the workload. Steps run in the order of the file."""

    action: Action = field(default="inject", metadata=how(
        values.choice(Action), "inject, heal, flap, wait, target, order, crash or poison", "what to do"))
    at: int | None = field(default=None, metadata=how(
        values.duration(), "duration", "not before this time since the workload began"))
    delay: int = field(default=0, metadata=how(
        values.duration(), "duration", "pause before the action"))
    after: Moment | None = field(default=None, metadata=how(
        values.choice(Moment), "detected, failed, rerouted, reconnected, reinstated, fenced or declared-dead",
        "wait until this has happened, since its latest fault, to every path (the last two: to every node) of the step "
        "before that was about some"))
    timeout: int = field(default=300 * NS_PER_S, metadata=how(
        values.duration(), "duration", "longest wait for `after`; then the drill goes on"))
    fault: str = field(default="blackhole", metadata=how(
        values.text, "fault kind", "inject, flap: which fault; `mpio drill --list` names them"))
    path: values.PathList | Literal["all"] = field(default="all", metadata=how(
        values.paths, "number, list or all", "inject, heal, flap: which paths"))
    node: values.PathList | Literal["all"] = field(default="all", metadata=how(
        values.nodes, "number, list or all", "inject, heal, flap: of which nodes; crash, poison: which nodes"))
    network: Link = field(default="storage", metadata=how(
        values.choice(Link), "storage, cluster or client",
        "inject, heal, flap: the nodes' paths to the LUN, or their wires to each other, or to the clients"))
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
        where = _numbered("path", self.path)
        if self.network != "storage":
            where = f"the {self.network} network"
        if self.node != "all":
            where += f" of {_numbered('node', self.node)}"
        if self.action in ("crash", "poison"):
            return f"{self.action} {_numbered('node', self.node)}"
        if self.action in ("inject", "flap"):
            return f"{self.action} {self.fault} on {where}"
        if self.action == "heal":
            return f"heal {where}"
        if self.action == "order":
            return " ".join(("order", *(str(self.order[key]) for key in ("do", "name", "id") if key in self.order)))
        return "wait" if self.action == "wait" else f"target {self.signal}"


@dataclass(frozen=True, slots=True, order=True)
class Wire:
    """Something that can be cut: a path of a node to the LUN, or (path 0) its wire to the other nodes or to clients."""

    link: Link
    node: int
    path: int = 0

    def words(self, nodes: int) -> str:
        """As people know it, in a drill of so many nodes."""
        if self.link != "storage":
            return f"{self.link} network of node {self.node}"
        return f"path {self.path}" if nodes == 1 else f"node {self.node} path {self.path}"


def _numbered(what: str, numbers: values.PathList | Literal["all"]) -> str:
    return f"all {what}s" if numbers == "all" else f"{what} " + " and ".join(str(number) for number in numbers)


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
    cluster: ClusterSpec = field(default_factory=ClusterSpec)

    @property
    def path_count(self) -> int:
        """How many paths the map has."""
        return len(self.paths.urls) or self.target.portals

    def step_paths(self, step: Step) -> values.PathList:
        """The paths that a step is about; a target step is about all."""
        if step.path == "all" or step.action == "target":
            return tuple(range(1, self.path_count + 1))
        return step.path

    def step_nodes(self, step: Step) -> values.PathList:
        """The nodes that a step is about; a target step is about all."""
        if step.node == "all" or step.action == "target":
            return tuple(range(1, self.cluster.nodes + 1))
        return step.node

    def step_wires(self, step: Step) -> tuple[Wire, ...]:
        """What an inject, heal or flap step is about; a target step hits all paths."""
        if step.network != "storage":
            return tuple(Wire(step.network, node) for node in self.step_nodes(step))
        return tuple(Wire("storage", node, path) for node in self.step_nodes(step) for path in self.step_paths(step))

    def riding(self, wire: Wire) -> tuple[Wire, ...]:
        """The wires that are one with this one, because networks share it."""
        cluster = self.cluster
        on_storage = [link for link in ("cluster", "client") if getattr(cluster, f"{link}_network") == "storage"]
        if cluster.client_network == "cluster":
            if wire.link == "cluster":
                return (Wire("client", wire.node),)
            if on_storage:
                on_storage.append("client")
        if wire.link == "storage" and wire.path == 1 and self.has_heartbeats:
            return tuple(Wire(link, wire.node) for link in on_storage)  # type: ignore[arg-type]
        return ()

    @property
    def has_heartbeats(self) -> bool:
        """Whether the nodes write heartbeats to the LUN."""
        return self.cluster.nodes > 1 and self.cluster.heartbeat != "none"

    @property
    def needs_target(self) -> bool:
        """Whether some step acts on the target process."""
        return any(step.action in ("target", "order") for step in self.steps)


SECTIONS: Mapping[str, type] = {
    "scenario": About, "target": TargetSpec, "paths": PathsSpec, "cuts": CutsSpec, "workload": WorkloadSpec,
    "cluster": ClusterSpec, "claims": ClaimsSpec, "step": Step,
}
_COMMON = frozenset({"action", "at", "delay", "after", "timeout"})
RELEVANT: Mapping[str, frozenset[str]] = {  # keys of a step, by its action
    "inject": _COMMON | {"fault", "path", "node", "network", "params", "expect"},
    "heal": _COMMON | {"path", "node", "network"},
    "flap": _COMMON | {"fault", "path", "node", "network", "params", "expect", "times", "down", "up"},
    "wait": _COMMON | {"duration"},
    "target": _COMMON | {"signal", "expect"},
    "order": _COMMON | {"order"},
    "crash": _COMMON | {"node"},
    "poison": _COMMON | {"node"},
}
