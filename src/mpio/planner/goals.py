"""What a plan must achieve, and what can come of it: a plan, a conflict of goals, an assessment of what is there.

Settings are named as in `model.stack.LinuxStack` (`noop_out_interval`); those of a cluster carry its name before them
(`o2cb.heartbeat_threshold`, see `model.cluster`). Durations in goals are seconds, as people say them; whatever is
computed is in nanoseconds.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from mpio.model.cluster import Cluster, Corosync, LinuxHa, Ncs, O2cb, Rac, Sanlock, Sbd
from mpio.model.stack import LinuxStack, TargetTimers, Version
from mpio.planner.budget import Budget

ClusterKind = Literal["none", "ocfs2", "sbd", "sanlock", "pacemaker", "ncs", "heartbeat"]
Severity = Literal["critical", "high", "medium", "low"]
Safety = Literal["safe", "fences", "cannot tell"]

PREFIXES: Mapping[type, str] = {
    O2cb: "o2cb", Sbd: "sbd", Corosync: "corosync", Sanlock: "sanlock", Ncs: "ncs", LinuxHa: "heartbeat", Rac: "rac",
}
"""What stands before the dot in the name of a cluster's setting."""

CLUSTERS: Mapping[str, tuple[type, ...]] = {
    "none": (), "ocfs2": (O2cb,), "sbd": (Sbd, Corosync), "sanlock": (Sanlock,), "pacemaker": (Corosync,),
    "ncs": (Ncs,), "heartbeat": (LinuxHa,),
}
"""Which settings a kind of cluster has."""

_SECONDS_MAX = 86_400
_STACK_FIELDS = {item.name for item in dataclasses.fields(LinuxStack)} - {"hz", "kernel", "multipath_tools"}


@dataclass(frozen=True, slots=True)
class Goals:
    """What is wanted, and what is given and can't be changed.

    Attributes:
        max_stall_s: no path failure may hold up I/O for longer; None for any length.
        ride_out_s: when every path of a LUN is gone for so long, no I/O fails and no node is fenced; None if it may.
        cluster: what runs above the storage.
        nodes, paths: how many there are.
        target: the target's own timers.
        io_latency_max_s: the longest silence of a target that is well (controller failover, garbage collection).
        serial_failures: all paths but the last may fail one after another under the same request.
        hung_lun: `max_stall_s` and the cluster must stand a LUN that hangs while its target still answers pings.
        takeover_s: a dead node must be known to be dead, so that others may take over, after so long; None for any.
        fixed: settings that must stay as they are, by name.
        kernel, multipath_tools, hz: what the host runs; they change how things are timed.
    """

    max_stall_s: float | None = None
    ride_out_s: float | None = None
    cluster: ClusterKind = "none"
    nodes: int = 2
    paths: int = 2
    target: TargetTimers = field(default_factory=TargetTimers)
    io_latency_max_s: float = 0.0
    serial_failures: bool = False
    hung_lun: bool = False
    takeover_s: float | None = None
    fixed: Mapping[str, object] = field(default_factory=dict)
    kernel: Version = (6, 1)
    multipath_tools: Version = (0, 9, 4)
    hz: int = 250

    def __post_init__(self) -> None:
        for name in ("max_stall_s", "ride_out_s", "takeover_s"):
            _check_seconds(name, getattr(self, name), least_is_open=True)
        _check_seconds("io_latency_max_s", self.io_latency_max_s)
        if self.cluster not in get_args(ClusterKind):
            raise ValueError(f"cluster: expected one of {', '.join(get_args(ClusterKind))}; found {self.cluster!r:.60}")
        if not 1 <= self.nodes <= 255:
            raise ValueError(f"nodes: expected 1 to 255, found {self.nodes!r:.60}")
        if not 1 <= self.paths <= 64:
            raise ValueError(f"paths: expected 1 to 64, found {self.paths!r:.60}")
        known = settable(self.cluster)
        for name in self.fixed:
            if name not in known:
                raise ValueError(f"{name}: a plan for cluster {self.cluster} has no such setting")

    def stated(self) -> tuple[str, ...]:
        """The names of the goals that ask for something, each of which could be given up."""
        names = [name for name in ("max_stall_s", "ride_out_s", "takeover_s") if getattr(self, name) is not None]
        names += [name for name in ("io_latency_max_s", "serial_failures", "hung_lun") if getattr(self, name)]
        if self.cluster != "none":
            names.append("cluster")
        if self.paths == 1:
            names.append("paths")
        return (*names, *self.fixed)

    def without(self, *names: str) -> "Goals":
        """These goals without some of them; what is given (versions, the target's timers) stays."""
        changes: dict[str, object] = {name: _NEUTRAL[name] for name in names if name in _NEUTRAL}
        fixed = {name: value for name, value in self.fixed.items() if name not in names}
        if "cluster" in names:
            fixed = {name: value for name, value in fixed.items() if "." not in name}
        return dataclasses.replace(self, **changes, fixed=fixed)  # type: ignore[arg-type]

    def words(self, name: str) -> str:
        """One of the stated goals in words."""
        if name in self.fixed:
            return f"{name} stays {self.fixed[name]}"
        value = getattr(self, name)
        return {
            "max_stall_s": f"no path failure stalls I/O for more than {value} s",
            "ride_out_s": f"{value} s without any path are ridden out",
            "takeover_s": f"a dead node is known to be dead within {value} s",
            "io_latency_max_s": f"a healthy target may be silent for {value} s",
            "serial_failures": f"all but one of {self.paths} paths may fail one after another",
            "hung_lun": "a LUN that hangs behind a live target counts as a path failure",
            "cluster": f"no {self.cluster} node is fenced",
            "paths": "there is one path only",
        }[name]


@dataclass(frozen=True, slots=True)
class Constraint:
    """One inequality that a plan keeps: left ≤ right.

    Attributes:
        name: stable, for programs. goal: the stated goal that it comes from, or "" for a rule that always holds.
        words: the inequality in words. source: where it is from.
    """

    name: str
    left_ns: int
    right_ns: int
    words: str
    source: str
    goal: str = ""

    @property
    def slack_ns(self) -> int:
        """What is left; negative if the constraint is violated."""
        return self.right_ns - self.left_ns


@dataclass(frozen=True, slots=True)
class Plan:
    """One consistent set of settings that meets its goals.

    Attributes:
        sysctl: kernel settings that belong to it. budgets: by scenario, what it promises.
        reasons: one sentence for each setting that the plan decides, by name.
        notes: what the goals don't forbid but a person should know.
    """

    goals: Goals
    stack: LinuxStack
    clusters: tuple[Cluster, ...]
    sysctl: Mapping[str, int]
    constraints: tuple[Constraint, ...]
    budgets: Mapping[str, Budget]
    reasons: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """Goals that can't hold together: none of them can be left out of the conflict, as the rest would be possible.

    Attributes:
        goals: names as in `Goals.stated`. words: what is in the way, with numbers.
        ways_out: for each goal what it would have to be for the others to hold, if that can be said.
    """

    goals: tuple[str, ...]
    words: str
    ways_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with settings as they are."""

    rule: str
    severity: Severity
    words: str


@dataclass(frozen=True, slots=True)
class Change:
    """One setting's change."""

    old: object
    new: object
    why: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """What settings imply.

    Attributes:
        constraints: the inequalities of the clusters and of the goals, the violated ones too.
        verdict: whether a path failure fences a node (or breaks a goal, if there are any).
        nearest_safe: by setting, the fewest and smallest changes that mend the verdict; empty if it needs none.
        conflict: why nothing can mend it.
    """

    stack: LinuxStack
    clusters: tuple[Cluster, ...]
    budgets: Mapping[str, Budget]
    constraints: tuple[Constraint, ...]
    verdict: Safety
    findings: tuple[Finding, ...]
    nearest_safe: Mapping[str, Change]
    conflict: Conflict | None = None


def settable(cluster: str) -> frozenset[str]:
    """The names of all settings of a plan for this kind of cluster."""
    names = set(_STACK_FIELDS)
    for kind in CLUSTERS[cluster]:
        names |= {f"{PREFIXES[kind]}.{item.name}" for item in dataclasses.fields(kind)}
    return frozenset(names)


def setting(stack: LinuxStack, clusters: tuple[Cluster, ...], name: str) -> object:
    """The value of a setting by its name. Raises KeyError."""
    prefix, dot, key = name.rpartition(".")
    for item in (clusters if dot else (stack,)):
        if PREFIXES.get(type(item), "") == prefix and hasattr(item, key):
            return getattr(item, key)
    raise KeyError(name)


_NEUTRAL: Mapping[str, object] = {
    "max_stall_s": None, "ride_out_s": None, "takeover_s": None, "io_latency_max_s": 0.0, "serial_failures": False,
    "hung_lun": False, "cluster": "none", "paths": 2,
}


def _check_seconds(name: str, value: float | None, *, least_is_open: bool = False) -> None:
    if value is None:
        return
    if not math.isfinite(value) or not 0 <= value <= _SECONDS_MAX or (least_is_open and value == 0):
        least = "more than 0" if least_is_open else "0"
        raise ValueError(f"{name}: expected {least} to {_SECONDS_MAX} s, found {value!r:.60}")
