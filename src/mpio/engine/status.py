"""What a map tells about itself: frozen snapshots, for people, JSON and tests."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mpio.engine.fencing import FencePlan
from mpio.engine.path import Counters, Path


@dataclass(frozen=True, slots=True)
class PathStatus:
    """One path.

    Attributes:
        path_id, name, state, cause, since_ns: which, and in what `PathState` (its value) since when and why.
        priority, alua_state: as the prioritizer found; the ALUA state as a name, None if not asked or not told.
        connected: whether there is a session.
        in_flight, in_flight_bytes: commands on the path. waiting: requests that wait for a re-login on it.
        in_doubt: writes that wait for a fence. fencing: whether one is under way.
        held_until_ns: until when damping holds the path, or None.
        counters: reads, writes, flushes, discards, read_bytes, write_bytes, errors, retries, rerouted.
        fence_methods: by which its nexus could be fenced if it were lost, in the order to try.
        fence_obstacles: for the other methods that the settings allow, why they can't be used.
    """

    path_id: int
    name: str
    state: str
    cause: str
    since_ns: int
    priority: int
    alua_state: str | None
    connected: bool
    in_flight: int
    in_flight_bytes: int
    waiting: int
    in_doubt: int
    fencing: bool
    held_until_ns: int | None
    counters: dict[str, int]
    fence_methods: tuple[str, ...] = ()
    fence_obstacles: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """One path group, best first. `active`: requests go here."""

    key: str
    priority: float
    active: bool
    marginal: bool
    path_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MapStatus:
    """A map at one instant.

    Attributes:
        name, wwid, size_bytes, block_size: who; the last three are empty or 0 before the first login.
        usable_paths: how many paths requests may be sent on now. queueing: off, queueing or expired (`no_path_retry`).
        in_flight: commands on all paths. queued: requests that wait, for any reason. queued_bytes: their weight
            against `queue_bytes_max`. in_doubt: writes that wait for a fence.
        failed, outcome_unknown: requests that ended so since the map was made.
        counters: sums over the paths.
        fence: the setting. fences: how many nexuses with writes in doubt were fenced, by method; `relogin` is the
            return of the path itself. fences_failed: how many fences were tried in vain.
    """

    name: str
    t_ns: int
    wwid: str
    size_bytes: int
    block_size: int
    usable_paths: int
    queueing: str
    in_flight: int
    queued: int
    queued_bytes: int
    in_doubt: int
    failed: int
    outcome_unknown: int
    groups: tuple[GroupStatus, ...]
    paths: tuple[PathStatus, ...]
    counters: dict[str, int]
    fence: str = "auto"
    fences: dict[str, int] = field(default_factory=dict)
    fences_failed: int = 0


def describe(path: Path, plan: FencePlan) -> PathStatus:
    """A snapshot of a path."""
    return PathStatus(
        path_id=path.path_id, name=path.name, state=path.state.value, cause=path.cause, since_ns=path.since_ns,
        priority=path.priority, alua_state=None if path.alua_state is None else path.alua_state.name,
        connected=path.connected, in_flight=path.in_flight, in_flight_bytes=path.in_flight_bytes,
        waiting=len(path.held), in_doubt=len(path.doubts), fencing=path.fencing is not None,
        held_until_ns=path.damping.until_ns, counters=path.counters.as_dict(),
        fence_methods=plan.methods, fence_obstacles=dict(plan.obstacles),
    )


def add_up(counters: Iterable[Counters]) -> dict[str, int]:
    """Sums of counters by name."""
    total = Counters().as_dict()
    for each in counters:
        for name, value in each.as_dict().items():
            total[name] += value
    return total
