"""What a run has reached, and all that could be: state x input pairs, records, faults, their combinations and moments.

Items are strings of the form `area: detail`, so that runs of many processes can be added up:

    path: UP x SESSION_LOST             a pair of a transition table was taken
    record: FenceCompleted reinstate    the journal has such a record
    fault: hold                         such a fault was injected
    together: hold + power_loss         the two were there at the same time, or within a moment of each other
    moment: hold x blocked              the fault came while a path that it is about was in that state
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import combinations, combinations_with_replacement
from typing import Any

from mpio.engine.path import TRANSITIONS as PATH
from mpio.engine.path import PathState
from mpio.events import Event, Kind
from mpio.proto.iscsi.initiator import CONNECTION as INITIATOR
from mpio.proto.iscsi.target_state import TRANSITIONS as TARGET
from mpio.sim.swarm.plan import KINDS, Fault
from mpio.table import Transitions

MOMENT_NS = 100_000_000

_TABLES: tuple[tuple[str, Transitions[Any, Any]], ...] = (("path", PATH), ("initiator", INITIATOR), ("target", TARGET))

_DETAILS: dict[Kind, tuple[str, tuple[str, ...]]] = {
    Kind.PATH_STATE_CHANGED: ("new", tuple(state.value for state in PathState if state is not PathState.DOWN)),
    Kind.FENCE_STARTED: ("method", ("reinstate", "preempt", "lun_reset")),
    Kind.FENCE_COMPLETED: ("method", ("relogin", "reinstate", "preempt", "lun_reset")),
    Kind.FENCE_FAILED: ("method", ("reinstate", "preempt", "lun_reset")),
    Kind.ALUA_STATE_CHANGED: ("new", ("ACTIVE_OPTIMIZED", "ACTIVE_NON_OPTIMIZED", "STANDBY", "UNAVAILABLE", "OFFLINE",
                                      "TRANSITIONING")),
}
_OF_A_DRILL = frozenset((
    Kind.RUN_STARTED, Kind.RUN_ENDED, Kind.STEP_STARTED, Kind.STEP_ENDED, Kind.FAULT_INJECTED, Kind.FAULT_HEALED,
    Kind.PHASE_ENTERED, Kind.PING_SENT,
))
_NOT_HERE = frozenset((Kind.LOGIN_REDIRECTED,))  # the targets of a run redirect nobody
_OF_A_CLUSTER = frozenset(list(Kind)[list(Kind).index(Kind.HEARTBEAT_STATE_CHANGED):])  # `sim.cluster` has those


def universe() -> list[str]:
    """Every item that there is."""
    items = [_pair(name, state, event) for name, table in _TABLES for state in table.states for event in table.inputs
             if table.allows(state, event)]
    for kind in Kind:
        if kind not in _OF_A_DRILL | _NOT_HERE | _OF_A_CLUSTER:
            details = _DETAILS.get(kind, ("", ("",)))[1]
            items += [_record(kind, detail) for detail in details]
    items += [f"fault: {kind}" for kind in KINDS]
    items += [_together(one, other) for one, other in combinations_with_replacement(sorted(KINDS), 2)]
    items += [moment(kind, state) for kind in KINDS for state in PathState]
    return items


@contextmanager
def recording() -> Iterator[dict[str, None]]:
    """Collect the pairs of the transition tables that are taken meanwhile; the result is filled at the end."""
    reached: dict[str, None] = {}
    for _, table in _TABLES:
        table.visited = {}
    try:
        yield reached
    finally:
        for name, table in _TABLES:
            for state, event in table.visited or {}:
                reached[_pair(name, state, event)] = None
            table.visited = None


def of_records(events: Iterable[Event]) -> dict[str, None]:
    """The items that a journal shows."""
    found: dict[str, None] = {}
    for event in events:
        field, _ = _DETAILS.get(event.kind, ("", ()))
        found[_record(event.kind, str(event.fields[field]) if field else "")] = None
    return found


def of_faults(faults: Iterable[Fault]) -> dict[str, None]:
    """The items that the faults of a plan show by themselves."""
    faults = list(faults)
    found: dict[str, None] = {f"fault: {fault.kind}": None for fault in faults}
    for one, other in combinations(sorted(faults, key=lambda fault: fault.kind), 2):
        if one.at_ns <= other.ends_ns + MOMENT_NS and other.at_ns <= one.ends_ns + MOMENT_NS:
            found[_together(one.kind, other.kind)] = None
    return found


def moment(kind: str, state: PathState) -> str:
    """The item of a fault that comes while a path is in a state."""
    return f"moment: {kind} x {state.value}"


def _pair(name: str, state: Any, event: Any) -> str:
    return f"{name}: {state.name} x {event.name}"


def _record(kind: Kind, detail: str) -> str:
    return f"record: {kind} {detail}".rstrip()


def _together(one: str, other: str) -> str:
    return f"together: {one} + {other}"
