"""What each node of a cluster was doing when: its membership, its service, its end, as a lane; from the journal.

A node is known by `node:N` in the source of an event. Runs of a single node have none of it.
"""

from collections.abc import Iterable

from mpio.events import Event, Kind
from mpio.report.lanes import SPANS_MAX, Lane, LaneState, Mark, Span, node_of

_STATES: dict[str, LaneState] = {  # of a heartbeat, from `HeartbeatStateChanged`
    "idle": "down", "joining": "reconnecting", "running": "up", "hung": "blocked", "leaving": "standby",
    "left": "down", "fenced": "failed", "refused": "failed", "crashed": "failed",
}
SERVES = " + service"


def node_lanes(journal: Iterable[Event], start_ns: int, end_ns: int, nodes: Iterable[int]) -> list[Lane]:
    """One lane a node, in the order given, from `start_ns` to `end_ns`. Its `path` is 0."""
    builders = {node: _Builder(Lane(0, "", node=node), start_ns) for node in nodes}
    for event in journal:
        if event.kind is Kind.PEER_DEAD and event.fields.get("node") in builders:
            dead = builders[event.fields["node"]]  # type: ignore[index]
            dead.mark(event, "called dead", f"by node {node_of(event.source)}")
        elif (node := node_of(event.source)) in builders:
            builders[node].take(event)
    return [builder.finish(end_ns) for builder in builders.values()]


class _Builder:
    """Follows one node through the journal."""

    def __init__(self, lane: Lane, start_ns: int) -> None:
        self.lane = lane
        self._since_ns = start_ns
        self._state = "idle"
        self._serves = False

    def take(self, event: Event) -> None:
        """Take one event of this node."""
        match event.kind:
            case Kind.HEARTBEAT_STATE_CHANGED:
                self._move(event.t_ns, str(event.fields.get("new", "")), serves=self._serves)
            case Kind.SERVICE_STARTED | Kind.SERVICE_STOPPED:
                self._move(event.t_ns, self._state, serves=event.kind is Kind.SERVICE_STARTED)
            case Kind.NODE_FENCED:
                self.mark(event, "self-fence", str(event.fields.get("reason", "")))
            case Kind.NODE_CRASHED:
                self._move(event.t_ns, "crashed", serves=False)
            case Kind.NODE_HALTED:
                self._move(event.t_ns, self._state, serves=False)

    def mark(self, event: Event, kind: str, text: str) -> None:
        """Something that happened to it."""
        if len(self.lane.marks) < SPANS_MAX:
            self.lane.marks.append(Mark(event.t_ns, "self-fence" if kind == "self-fence" else "called dead", text))

    def finish(self, end_ns: int) -> Lane:
        """Close the last span."""
        self._close(max(end_ns, self._since_ns))
        return self.lane

    def _move(self, t_ns: int, state: str, *, serves: bool) -> None:
        if (state, serves) != (self._state, self._serves):
            self._close(t_ns)
            self._state, self._serves = state, serves

    def _close(self, t_ns: int) -> None:
        if t_ns <= self._since_ns:
            return
        if len(self.lane.spans) >= SPANS_MAX:
            self.lane.is_cut_short = True
        else:
            label = self._state + (SERVES if self._serves else "")
            self.lane.spans.append(Span(self._since_ns, t_ns, _STATES.get(self._state, "other"), label))
        self._since_ns = t_ns
