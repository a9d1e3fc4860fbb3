"""Order: commands reach the device server as they were sent, and a journal tells a story that can have happened.

`CommandOrder` is told of commands by a simulator: within one session they must be taken up in the order of submission
(SAM-5 §4.4.3 over CmdSN, RFC 7143 §4.2.2.1), each once. `check_journal` reads a finished journal.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mpio.check.breach import Breach, Breaches
from mpio.engine.path import TRANSITIONS, PathInput, PathState
from mpio.events import Event, Kind


class CommandOrder:
    """Of one session after another; a session is any hashable name, a command any hashable tag.

    Rules: `unsent` taken up but never sent; `twice`; `overtaken` taken up after one that was sent later.
    """

    def __init__(self) -> None:
        self._sent: dict[tuple[object, object], int] = {}
        self._last: dict[object, int] = {}
        self._taken: set[tuple[object, object]] = set()
        self._count = 0
        self._breaches = Breaches()

    @property
    def breaches(self) -> list[Breach]:
        """What was broken so far."""
        return self._breaches.kept

    def sent(self, session: object, tag: object) -> None:
        """The initiator has handed a command to the session."""
        self._count += 1
        self._sent[session, tag] = self._count
        self._taken.discard((session, tag))  # tags come round again

    def taken(self, session: object, tag: object, t_ns: int) -> None:
        """The target's device server has begun a command."""
        number = self._sent.get((session, tag))
        if number is None:
            self._breaches.add("unsent", t_ns, f"{session}: command {tag} was never sent")
            return
        if (session, tag) in self._taken:
            self._breaches.add("twice", t_ns, f"{session}: command {tag}")
            return
        self._taken.add((session, tag))
        if number < self._last.get(session, 0):
            self._breaches.add("overtaken", t_ns, f"{session}: command {tag} was begun after one that was sent later")
        self._last[session] = max(number, self._last.get(session, 0))

    def ended(self, session: object) -> None:
        """The session is over: forget it."""
        self._last.pop(session, None)
        for known in [known for known in self._sent if known[0] == session]:
            del self._sent[known]
            self._taken.discard(known)


@dataclass(slots=True)
class _Path:
    """What the journal has said of a path so far."""

    state: str = PathState.DOWN.value
    logged_in: bool = False
    fenced_by: str | None = None
    fence_under_way: str | None = None


def _steps() -> set[tuple[str, str]]:
    """Every change of state that one record may tell: one input, or two that are one change for everybody else."""
    singles = {(old, TRANSITIONS.next(old, event)) for old in PathState for event in PathInput
               if TRANSITIONS.allows(old, event)}
    at_once = TRANSITIONS.next(PathState.BLOCKED, PathInput.RECOVERY_EXPIRED)  # no recovery_timeout
    held = TRANSITIONS.next(PathState.UP, PathInput.HOLD)  # damping has its say
    doubles = {(old, at_once) for old, new in singles if new is PathState.BLOCKED}
    doubles |= {(old, held) for old, new in singles if new is PathState.UP}
    return {(old.value, new.value) for old, new in singles | doubles}


_STEPS = _steps()


def check_journal(events: Iterable[Event], *, dropped: bool = False) -> list[Breach]:
    """What in a journal can't have been.

    Rules: `time` runs backwards or a sequence number repeats; `chain` a change does not begin where the last one ended;
    `step` a change that the path's state machine does not know; `no-login` a path came up, or was reinstated, that
    had not logged in since it was lost; `no-fence` writes were sent elsewhere for a fence that was not completed;
    `self-fence` a path was to fence itself.

    Args:
        events: in the order of recording.
        dropped: the oldest records are missing, so that states are taken as the first record has them.
    """
    breaches = Breaches()
    paths: dict[str, _Path] = {}
    last_ns = last_seq = 0
    for event in events:
        if event.t_ns < last_ns or event.seq <= last_seq:
            breaches.add("time", event.t_ns, f"record {event.seq} of {event.t_ns} ns after {last_seq} of {last_ns} ns")
        last_ns, last_seq = max(event.t_ns, last_ns), event.seq
        if "/path:" in event.source:
            path = paths.get(event.source)
            if path is None:
                path = paths[event.source] = _Path(logged_in=dropped)
                if dropped and event.kind is Kind.PATH_STATE_CHANGED:
                    path.state = str(event.fields["old"])
            _path_event(event, path, breaches)
    return breaches.kept


def _path_event(event: Event, path: _Path, breaches: Breaches) -> None:
    kind, fields = event.kind, event.fields
    if kind is Kind.LOGIN_COMPLETED:
        path.logged_in = True
    elif kind is Kind.CONNECTION_LOST:
        path.logged_in = False
        path.fenced_by = None
    elif kind is Kind.PATH_STATE_CHANGED:
        old, new = str(fields["old"]), str(fields["new"])
        if old != path.state:
            breaches.add("chain", event.t_ns, f"{event.source}: from {old}, but it was {path.state}")
        if (old, new) not in _STEPS:
            breaches.add("step", event.t_ns, f"{event.source}: {old} to {new}")
        if new == PathState.UP.value and not path.logged_in:
            breaches.add("no-login", event.t_ns, f"{event.source}: {old} to {new} without a login")
        path.state = new
    elif kind is Kind.PATH_REINSTATED and not path.logged_in:
        breaches.add("no-login", event.t_ns, f"{event.source}: reinstated without a login")
    elif kind is Kind.FENCE_STARTED:
        path.fence_under_way = str(fields["method"])
        if fields.get("by") == event.source:
            breaches.add("self-fence", event.t_ns, f"{event.source}: by {path.fence_under_way}")
    elif kind is Kind.FENCE_COMPLETED:
        path.fenced_by = str(fields["method"])
        if path.fenced_by not in ("relogin", path.fence_under_way):
            breaches.add("no-fence", event.t_ns, f"{event.source}: {path.fenced_by} completed but never begun")
    elif kind is Kind.IO_REROUTED:
        cause = str(fields.get("cause", ""))
        if cause.startswith("fenced by ") and path.fenced_by != cause.removeprefix("fenced by "):
            breaches.add("no-fence", event.t_ns, f"{event.source}: {cause}, but no such fence was completed")
