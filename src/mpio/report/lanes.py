"""What each path was doing when: state intervals and marks, derived from the journal.

Owns: the reading of path events as lanes. A path is known by `path:N` in the source of an event. Its state is the one
that the last PathStateChanged says; while a login is under way on a path that was given up, the lane shows
`reconnecting` (`connecting` before its first login). A blocked path stays `blocked`: that is what its I/O waits for.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mpio.events import Event, Kind

LaneState = Literal["up", "standby", "blocked", "failed", "reconnecting", "down", "other"]
MarkKind = Literal["lost", "fenced", "fence failed", "reinstated", "refused", "self-fence", "called dead"]

SPANS_MAX = 2_000  # per lane; a path that flaps more than this is drawn up to here and the figure says so

_NODE = re.compile(r"node:(\d{1,9})(?:/|$)")
_PATH = re.compile(r"(?:^|/)path:(\d{1,9})(?:/|$)")

_STATES: dict[str, LaneState] = {  # names of the journal, which are those of dm-multipath and multipathd
    "up": "up", "active": "up", "ready": "up",
    "ghost": "standby", "delayed": "standby", "standby": "standby",
    "blocked": "blocked",
    "failed": "failed", "faulty": "failed",
    "connecting": "reconnecting", "reconnecting": "reconnecting",
    "down": "down", "removed": "down", "unchecked": "down",
}
_IN_USE: tuple[LaneState, ...] = ("up", "standby", "blocked")  # the map counts on the path, or still waits for it

_MARKS: dict[Kind, MarkKind] = {
    Kind.CONNECTION_LOST: "lost",
    Kind.FENCE_COMPLETED: "fenced",
    Kind.FENCE_FAILED: "fence failed",
    Kind.PATH_REINSTATED: "reinstated",
    Kind.IDENTITY_REFUSED: "refused",
}


@dataclass(frozen=True, slots=True)
class Span:
    """A state from one instant to another; `label` is the state's name in the journal."""

    start_ns: int
    end_ns: int
    state: LaneState
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened to a path at one instant."""

    t_ns: int
    kind: MarkKind
    text: str


@dataclass(slots=True)
class Lane:
    """One path's spans, without gaps or overlaps, and its marks, both in order of time."""

    path: int
    name: str
    spans: list[Span] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    is_cut_short: bool = False
    node: int | None = None  # None: the run has one node only

    @property
    def title(self) -> str:
        """`path 1`, `node 2 path 1`, or `node 2` for the node itself."""
        return place_name(self.node, self.path)


def lane_state(name: str) -> LaneState:
    """The kind of state that a name in the journal stands for; `other` for names this version does not know."""
    return _STATES.get(name.lower(), "other")


def place_name(node: int | None, path: int) -> str:
    """A path's name among those of all nodes; path 0 is the node itself."""
    names = ([] if node is None else [f"node {node}"]) + ([f"path {path}"] if path else [])
    return " ".join(names)


def node_of(source: str) -> int | None:
    """The node that a source is of; None in a run of one."""
    match = _NODE.match(source)
    return int(match[1]) if match else None


def path_of(event: Event) -> int | None:
    """The path that an event is about: from its source, or from its `path` field (faults)."""
    match = _PATH.search(event.source)
    if match:
        return int(match[1])
    path = event.fields.get("path")
    return path if isinstance(path, int) and not isinstance(path, bool) else None


def path_lanes(
    journal: Iterable[Event], start_ns: int, end_ns: int, paths: Sequence[tuple[int, str]] = (),
    node: int | None = None,
) -> list[Lane]:
    """One lane per path of the journal and of `paths` (number, name), by number, from `start_ns` to `end_ns`.

    `node`: of which node, where there are several.
    """
    builders = {path: _LaneBuilder(Lane(path, name, node=node), start_ns) for path, name in paths}
    for event in journal:
        if node_of(event.source) != node:
            continue
        if event.kind is Kind.NODE_HALTED:
            for builder in builders.values():
                builder.halt(event.t_ns)
        if not (match := _PATH.search(event.source)):
            continue
        path = int(match[1])
        if path not in builders:
            builders[path] = _LaneBuilder(Lane(path, "", node=node), start_ns)
        builders[path].take(event)
    return [builders[path].finish(end_ns) for path in sorted(builders)]


class _LaneBuilder:
    """Follows one path through the journal."""

    def __init__(self, lane: Lane, start_ns: int) -> None:
        self.lane = lane
        self._since_ns = start_ns
        self._state = "down"  # until the first event says otherwise, a path carries nothing
        self._is_connecting = False
        self._was_up = False

    def take(self, event: Event) -> None:
        """Take one event of this path."""
        match event.kind:
            case Kind.PATH_ADDED:
                self._name_from(event)
            case Kind.PATH_STATE_CHANGED:
                new = str(event.fields.get("new", "other"))
                if not self.lane.spans and self._since_ns < event.t_ns and "old" in event.fields:
                    self._state = str(event.fields["old"])
                self._move(event.t_ns, new, is_connecting=self._is_connecting and lane_state(new) not in _IN_USE)
            case Kind.CONNECT_STARTED:
                self._move(event.t_ns, self._state, is_connecting=lane_state(self._state) not in _IN_USE)
            case Kind.CONNECT_FAILED | Kind.LOGIN_REJECTED | Kind.CONNECTION_LOST | Kind.IDENTITY_REFUSED:
                self._move(event.t_ns, self._state, is_connecting=False)
        if event.kind in _MARKS:
            cause = event.fields.get("cause") or event.fields.get("method") or ""
            if len(self.lane.marks) < SPANS_MAX:
                self.lane.marks.append(Mark(event.t_ns, _MARKS[event.kind], str(cause)))

    def halt(self, t_ns: int) -> None:
        """The node is gone, and its paths with it."""
        self._move(t_ns, "down", is_connecting=False)

    def finish(self, end_ns: int) -> Lane:
        """Close the last span."""
        self._close(max(end_ns, self._since_ns))
        return self.lane

    def _name_from(self, event: Event) -> None:
        if not self.lane.name:
            self.lane.name = str(event.fields.get("portal") or "")

    def _move(self, t_ns: int, state: str, *, is_connecting: bool) -> None:
        if (state, is_connecting) == (self._state, self._is_connecting):
            return
        self._close(t_ns)
        self._state, self._is_connecting = state, is_connecting
        self._was_up |= lane_state(state) in _IN_USE

    def _close(self, t_ns: int) -> None:
        if t_ns > self._since_ns:
            if len(self.lane.spans) >= SPANS_MAX:
                self.lane.is_cut_short = True
            else:
                label = self._state
                if self._is_connecting:
                    label = "reconnecting" if self._was_up else "connecting"
                self.lane.spans.append(Span(self._since_ns, t_ns, lane_state(label), label))
            self._since_ns = t_ns
