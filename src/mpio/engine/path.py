"""One path of a map: its state machine, its load, its counters.

A path is one I_T nexus and the LUN behind it. Its state says what may be sent on it; who may change the state is
written at each state. Everything else that the engine keeps per path (checks, damping, writes in doubt) hangs here too.
"""

from collections.abc import Callable
from enum import Enum, auto

from mpio.engine.damping import Damping
from mpio.engine.request import Request
from mpio.model.identity import AluaState, PathIdentity
from mpio.model.task import Task
from mpio.proto.scsi.probe import Script
from mpio.table import Transitions


class PathState(Enum):
    """What may be sent on a path. Names of dm-multipath and multipathd where they have one."""

    DOWN = "down"
    """No session since the path was added, or only to a LU with another identity. Nothing is sent."""
    UP = "up"
    """Set by a login with the right identity, and by a good check. Requests, checks and priorities are sent."""
    GHOST = "ghost"
    """Set by the checker: a port in standby (02/04/0B). Only checks and priorities are sent."""
    FAULTY = "faulty"
    """Set by a check, or by a command that ended with a condition of the path, while the session is up. Only
    checks are sent; commands in flight may still end well."""
    DELAYED = "delayed"
    """Set by flap damping when the path comes back: only checks and sample reads are sent, and requests if nothing
    better is left or `marginal_pathgroups` is set."""
    BLOCKED = "blocked"
    """Set by the loss of the session of a path in use: nothing is sent, and what was on the path waits for a
    re-login until `recovery_timeout` has run out."""
    FAILED = "failed"
    """Set when `recovery_timeout` has run out, or by the loss of the session of a path that was not in use. Nothing
    is sent; what was on the path goes elsewhere, writes in doubt once the nexus is fenced."""


class PathInput(Enum):
    """What moves a path between states."""

    SESSION_UP = auto()
    """Logged in, identity proven."""
    SESSION_LOST = auto()
    """The connection has ended, and all its tasks with it."""
    RECOVERY_EXPIRED = auto()
    """`recovery_timeout` has run out."""
    CHECK_UP = auto()
    CHECK_GHOST = auto()
    CHECK_DOWN = auto()
    """The checker's word; PENDING is none."""
    COMMAND_FAILED = auto()
    """A request ended with a condition that belongs to the path."""
    HOLD = auto()
    """Damping wants the path to prove itself first."""
    RELEASE = auto()
    """Damping is content, or this is the last path."""


_S, _I = PathState, PathInput
_WITHOUT_SESSION: dict[PathInput, PathState | None] = {
    _I.CHECK_UP: None, _I.CHECK_GHOST: None, _I.CHECK_DOWN: None, _I.COMMAND_FAILED: None, _I.HOLD: None,
    _I.RELEASE: None,
}

TRANSITIONS: Transitions[PathState, PathInput] = Transitions("path", PathState, PathInput, {
    _S.DOWN: _WITHOUT_SESSION | {
        _I.SESSION_UP: _S.UP, _I.SESSION_LOST: _S.DOWN, _I.RECOVERY_EXPIRED: None},
    _S.UP: {
        _I.SESSION_UP: None, _I.SESSION_LOST: _S.BLOCKED, _I.RECOVERY_EXPIRED: None, _I.CHECK_UP: _S.UP,
        _I.CHECK_GHOST: _S.GHOST, _I.CHECK_DOWN: _S.FAULTY, _I.COMMAND_FAILED: _S.FAULTY, _I.HOLD: _S.DELAYED,
        _I.RELEASE: None},
    _S.GHOST: {
        _I.SESSION_UP: None, _I.SESSION_LOST: _S.FAILED, _I.RECOVERY_EXPIRED: None, _I.CHECK_UP: _S.UP,
        _I.CHECK_GHOST: _S.GHOST, _I.CHECK_DOWN: _S.FAULTY, _I.COMMAND_FAILED: _S.GHOST, _I.HOLD: None,
        _I.RELEASE: None},
    _S.FAULTY: {
        _I.SESSION_UP: None, _I.SESSION_LOST: _S.FAILED, _I.RECOVERY_EXPIRED: None, _I.CHECK_UP: _S.UP,
        _I.CHECK_GHOST: _S.GHOST, _I.CHECK_DOWN: _S.FAULTY, _I.COMMAND_FAILED: _S.FAULTY, _I.HOLD: None,
        _I.RELEASE: None},
    _S.DELAYED: {
        _I.SESSION_UP: None, _I.SESSION_LOST: _S.FAILED, _I.RECOVERY_EXPIRED: None, _I.CHECK_UP: _S.DELAYED,
        _I.CHECK_GHOST: _S.GHOST, _I.CHECK_DOWN: _S.FAULTY, _I.COMMAND_FAILED: _S.FAULTY, _I.HOLD: _S.DELAYED,
        _I.RELEASE: _S.UP},
    _S.BLOCKED: _WITHOUT_SESSION | {
        _I.SESSION_UP: _S.UP, _I.SESSION_LOST: _S.BLOCKED, _I.RECOVERY_EXPIRED: _S.FAILED},
    _S.FAILED: _WITHOUT_SESSION | {
        _I.SESSION_UP: _S.UP, _I.SESSION_LOST: _S.FAILED, _I.RECOVERY_EXPIRED: None},
})


COUNTERS = ("discards", "errors", "flushes", "read_bytes", "reads", "rerouted", "retries", "write_bytes", "writes")


class Counters:
    """What a path or a map has done since it was made, as plain numbers."""

    __slots__ = COUNTERS

    def __init__(self) -> None:
        self.reads = 0
        self.writes = 0
        self.flushes = 0
        self.discards = 0
        self.read_bytes = 0
        self.write_bytes = 0
        self.errors = 0
        """Commands that did not end well, whatever became of their request."""
        self.retries = 0
        """Commands sent again on the same path."""
        self.rerouted = 0
        """Commands taken from this path to be sent again by any path."""

    def as_dict(self) -> dict[str, int]:
        """All of them by name."""
        return {name: getattr(self, name) for name in COUNTERS}


class Proof:
    """A new proof of identity on its way: the questions of `proto.scsi.probe`. `task` is None between two tries."""

    __slots__ = ("script", "task")

    def __init__(self, script: Script) -> None:
        self.script = script
        self.task: Task | None = None


class Path:
    """One path. Owned and changed by the map and its parts; nobody else writes here.

    Attributes:
        path_id, name: the shell's number and the journal's source.
        order: position among the paths of the map, the last tie-break everywhere.
        state, since_ns, cause: the state, since when, and why.
        submit: sends a task; None while there is no session.
        lun, identity: of the last login. epoch: how many logins there were.
        registered: whether that login has registered a reservation key with the LU.
        in_flight, in_flight_bytes, depth: requests' commands on the path, and how many may be.
        check, ranking, sample, proof: tasks of the map's own that are out. check_at: when the next check is due.
        held: what was on the path when it was BLOCKED, in order. doubts: writes that wait for a fence.
        fencing: epoch that the fence under way was asked for; None if none is. fence_cause: why the last one failed.
        fence_at, doubts_until: when the next one is due, and when the writes in doubt are given up.
    """

    __slots__ = (
        "alua_state", "cause", "check", "check_at", "check_deadline", "check_interval", "check_retries", "counters",
        "damping", "depth", "doubts", "doubts_until", "epoch", "fence_at", "fence_cause", "fencing", "held", "identity",
        "in_flight", "in_flight_bytes", "lun", "name", "order", "path_id", "priority", "proof", "ranking",
        "recovery_at", "registered", "sample", "since_ns", "state", "submit",
    )

    def __init__(self, path_id: int, name: str, order: int, *, depth: int, damping: Damping, now: int) -> None:
        self.path_id = path_id
        self.name = name
        self.order = order
        self.state = PathState.DOWN
        self.since_ns = now
        self.cause = "not logged in yet"
        self.submit: Callable[[Task, int], None] | None = None
        self.lun = b""
        self.identity: PathIdentity | None = None
        self.epoch = 0
        self.registered = False
        self.priority = 1
        self.alua_state: AluaState | None = None
        self.in_flight = 0
        self.in_flight_bytes = 0
        self.depth = depth
        self.counters = Counters()
        self.recovery_at: int | None = None
        self.held: list[Request] = []
        self.doubts: list[Request] = []
        self.fencing: int | None = None
        self.fence_at: int | None = None
        self.fence_cause = ""
        self.doubts_until: int | None = None
        self.damping = damping
        self.check: Task | None = None
        self.check_at: int | None = None
        self.check_deadline: int | None = None
        self.check_interval = 0
        self.check_retries = 0
        self.ranking: Task | None = None
        self.sample: Task | None = None
        self.proof: Proof | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a session to send on."""
        return self.submit is not None

    @property
    def usable(self) -> bool:
        """Whether requests may be sent by this path."""
        return self.state is PathState.UP and self.proof is None and self.submit is not None

    def take(self, event: PathInput, cause: str, now: int) -> PathState:
        """Change the state as the table says and return the old one. Raises LocalProtocolError."""
        old = self.state
        self.state = TRANSITIONS.next(old, event)
        if self.state is not old:
            self.since_ns = now
            self.cause = cause
        return old

    def __repr__(self) -> str:
        return f"<Path {self.name} {self.state.value}>"
