"""What a plan must achieve, and what can come of it: a plan, a conflict of goals, an assessment of what is there.

Settings are named as in `model.stack.LinuxStack` (`noop_out_interval`); those of a cluster carry its name before them
(`o2cb.heartbeat_threshold`, see `model.cluster`). Durations in goals are seconds, as people say them; whatever is
computed is in nanoseconds.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from mpio.model.cluster import Cluster
from mpio.model.stack import LinuxStack, TargetTimers, Version
from mpio.planner.budget import Budget
from mpio.planner.cluster import KINDS, STACKS, defaults

_Owner = TypeVar("_Owner", bound=LinuxStack | Cluster)
Severity = Literal["critical", "high", "medium", "low"]
Safety = Literal["safe", "fences", "cannot tell"]

PREFIXES: Mapping[type, str] = {kind: stack.name for kind, stack in STACKS.items()}
"""What stands before the dot in the name of a cluster's setting."""

_SECONDS_MAX = 86_400
_GIVEN = frozenset({"hz", "kernel", "multipath_tools", "corosync.nodes"})
"""Fields that are no settings: the host's versions, and what goals say by themselves."""
_FROM_MINUS_1 = frozenset({"replacement_timeout", "max_retries"})
_WORDS: Mapping[str, tuple[str, ...]] = {
    "no_path_retry": ("fail", "queue"), "failback": ("immediate", "manual", "followover"),
}


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
        holds_host: root, swap or logs of the hosts are on this storage too, so that their daemons freeze with it.
        hung_lun: `max_stall_s` and the cluster must stand a LUN that hangs while its target still answers pings.
        takeover_s: a dead node must be known to be dead, so that others may take over, after so long; None for any.
        fixed: settings that must stay as they are, by name.
        kernel, multipath_tools, hz: what the host runs; they change how things are timed.
    """

    max_stall_s: float | None = None
    ride_out_s: float | None = None
    cluster: str = "none"
    nodes: int = 2
    paths: int = 2
    target: TargetTimers = field(default_factory=TargetTimers)
    io_latency_max_s: float = 0.0
    holds_host: bool = False
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
        if self.cluster not in KINDS:
            raise ValueError(f"cluster: expected one of {', '.join(KINDS)}; found {self.cluster!r:.60}")
        if not 1 <= self.nodes <= 255:
            raise ValueError(f"nodes: expected 1 to 255, found {self.nodes!r:.60}")
        if not 1 <= self.paths <= 64:
            raise ValueError(f"paths: expected 1 to 64, found {self.paths!r:.60}")
        known = settable(self.cluster)
        for name, value in self.fixed.items():
            if name not in known:
                raise ValueError(f"{name}: a plan for cluster {self.cluster} has no such setting")
            _check_setting(name, value, known[name])

    def stated(self) -> tuple[str, ...]:
        """The names of the goals that ask for something, each of which could be given up.

        One path only is in the way of `max_stall_s` and of nothing else: where nothing takes over, nothing stalls.
        """
        names = [name for name in ("max_stall_s", "ride_out_s", "takeover_s") if getattr(self, name) is not None]
        names += [name for name in ("io_latency_max_s", "serial_failures", "hung_lun") if getattr(self, name)]
        if self.cluster != "none":
            names.append("cluster")
        if self.paths == 1 and self.max_stall_s is not None:
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
        if isinstance(value, float):
            value = f"{value:g}"
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


def settable(cluster: str) -> Mapping[str, object]:
    """All settings of a plan for this kind of cluster, by name, with what their packages ship."""
    return {
        name: getattr(item, field_.name)
        for item in (LinuxStack(), *defaults(cluster)) for field_ in dataclasses.fields(item)
        if (name := qualified(item, field_.name)) not in _GIVEN
    }


def qualified(owner: LinuxStack | Cluster, field_name: str) -> str:
    """The name of a setting: bare for the stack, after the cluster's prefix for a cluster."""
    prefix = PREFIXES.get(type(owner))
    return f"{prefix}.{field_name}" if prefix else field_name


def setting(stack: LinuxStack, clusters: tuple[Cluster, ...], name: str) -> object:
    """The value of a setting by its name. Raises KeyError."""
    prefix, _, key = name.rpartition(".")
    for owner in (stack, *clusters):
        if PREFIXES.get(type(owner), "") == prefix and hasattr(owner, key):
            return getattr(owner, key)
    raise KeyError(name)


def changed(
    stack: LinuxStack, clusters: tuple[Cluster, ...], values: Mapping[str, object]
) -> tuple[LinuxStack, tuple[Cluster, ...]]:
    """A copy with these settings, by name; those of clusters that are not there are passed over."""
    def apply(owner: _Owner) -> _Owner:
        prefix = PREFIXES.get(type(owner), "")
        mine = {key: value for name, value in values.items() for before, _, key in [name.rpartition(".")]
                if before == prefix}
        return dataclasses.replace(owner, **mine) if mine else owner  # type: ignore[arg-type]

    return apply(stack), tuple(apply(item) for item in clusters)


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


def _check_setting(name: str, value: object, shipped: object) -> None:
    """That a value is of the kind that the setting takes. Whether a program likes it is the schema's business."""
    key = name.rpartition(".")[2]
    if (value is None and key in _MAY_BE_OFF) or value in _WORDS.get(key, ()):
        return
    if isinstance(shipped, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{name}: expected yes or no, found {value!r:.60}")
    elif isinstance(shipped, str) and key not in _WORDS:
        if not isinstance(value, str):
            raise ValueError(f"{name}: expected text, found {value!r:.60}")
    else:
        kinds = (int, float) if isinstance(shipped, float) or name.startswith("heartbeat.") else (int,)
        least = -1 if key in _FROM_MINUS_1 else 0
        if not isinstance(value, kinds) or isinstance(value, bool) or not least <= value <= _NUMBER_MAX:
            number = "a number" if float in kinds else "a whole number"
            words = ", ".join([*_WORDS.get(key, ()), f"{number} from {least} to {_NUMBER_MAX}"])
            raise ValueError(f"{name}: expected {words}; found {value!r:.60}")


_MAY_BE_OFF = frozenset({"fast_io_fail_tmo", "dev_loss_tmo", "max_polling_interval", "checker_timeout", "consensus_ms"})
_NUMBER_MAX = 2**31 - 1
