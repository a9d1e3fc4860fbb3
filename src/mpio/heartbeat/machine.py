"""What a heartbeat machine takes and gives: the interface of every personality.

A machine is one node's part. It does no I/O and reads no clock: a shell carries out its actions and reports what became
of them, with the node's own monotonic time `now` (ns). Offsets are bytes from the start of the heartbeat region (of
the device with SBD). Every `Read` and `Write` is answered by exactly one `ReadDone` or `WriteDone` of its tag, however
late; the machine has its own timeouts and may ask for more I/O while an old one is still out, but never for more than
`IO_MAX`. After `Fence` the shell stops all I/O of the node, of its data above all; once nothing of it can reach the
storage any more it says `Held`. A shell that resets the machine instead never gets to say so, and need not.

The shell calls `handle_timer` when `next_deadline` has passed, not only at that instant: late timers are looked at as
of `now`. A shell that feeds a watchdog feeds it until the `until_ns` of the last `Extend` and never longer.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from mpio.events import Kind, Value

IO_MAX = 16
"""The most reads and writes of one machine that are out at a time."""


class NodeState(StrEnum):
    """What a node is to itself."""

    IDLE = "idle"
    """Made, not started."""
    JOINING = "joining"
    """Looks whether its slot is free, then heartbeats until everybody can have seen it; holds no lease yet."""
    RUNNING = "running"
    """A member: it holds a lease, others are watched."""
    HUNG = "hung"
    """A member whose heartbeat is late enough to ask the others whether they hang too."""
    LEAVING = "leaving"
    """Writes its goodbye. No data I/O any more."""
    LEFT = "left"
    FENCED = "fenced"
    """`Fence` was given: no I/O but, once the shell says `Held`, the acknowledgement."""
    REFUSED = "refused"
    """Did not become a member, for a reason that was told. Nothing had to be fenced."""


class PeerState(StrEnum):
    """What another node is to this one."""

    UNKNOWN = "unknown"
    """Its slot has not been read yet, or was never used."""
    SILENT = "silent"
    """Its slot is in use, but was not seen to change often enough to call it live, nor long enough to call it dead."""
    LIVE = "live"
    DEAD = "dead"
    """Did not change for the whole dead timeout while this node could see it, or acknowledged that it is fenced."""
    LEFT = "left"
    """Said goodbye."""


class Cause(StrEnum):
    """Why a node must be fenced."""

    STORAGE = "storage"
    """No good heartbeat until the deadline: storage hung or failed."""
    POISON = "poison"
    """Somebody's poison pill."""
    QUORUM = "quorum"
    """On the losing side of a network split."""
    SLOT = "slot"
    """Another node writes this node's slot."""


# what is told to a machine


@dataclass(frozen=True, slots=True)
class ReadDone:
    """A read has ended. `data` is None if it failed, and `error` says how."""

    tag: int
    data: bytes | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class WriteDone:
    """A write has ended: at the storage if `error` is empty, else perhaps."""

    tag: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """A message of another node over the cluster network; its origin is proven by the shell."""

    sender: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Connected:
    """The cluster network reaches the peer."""

    peer: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The cluster network does not reach the peer any more."""

    peer: int


@dataclass(frozen=True, slots=True)
class Reachable:
    """This node's reachability score: how many of the ping list's hosts answer, weighted and damped; 0 is none."""

    score: int


@dataclass(frozen=True, slots=True)
class Poison:
    """A wish of an operator or of the cluster above: this node shall be fenced."""

    node: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave cleanly. The shell has ended all data I/O before it says so."""


@dataclass(frozen=True, slots=True)
class Held:
    """The fence holds: no I/O of this node is out, and none can begin. Only now may it be acknowledged."""


Input = ReadDone | WriteDone | Received | Connected | Disconnected | Reachable | Poison | Leave | Held


# what a machine wants done


@dataclass(frozen=True, slots=True)
class Read:
    """Read `length` bytes."""

    tag: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Write:
    """Write `data`, past every cache."""

    tag: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message over the cluster network; it may be lost."""

    peer: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Extend:
    """The node's lease: without another word a watchdog may let it live until then, and no longer."""

    until_ns: int


@dataclass(frozen=True, slots=True)
class Fence:
    """Stop this node at once. Given once in a machine's life."""

    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True)
class Happened:
    """Something for the journal: a kind of `events.Kind`, with its fields."""

    kind: Kind
    fields: dict[str, Value] = field(default_factory=dict)


Action = Read | Write | Send | Extend | Fence | Happened


# what a machine says of itself


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """Another node as this one sees it.

    `age_ns`: since its slot was last seen to change; None if it never was. `dead_in_ns`: when it will be called dead
    if it does not change and this node goes on reading; None unless it is live or silent. `generation` is 0 if its
    slot is empty or says goodbye. `score` is its reachability, None where the format has none.
    """

    node: int
    state: PeerState
    age_ns: int | None
    dead_in_ns: int | None
    generation: int
    connected: bool
    score: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """This node at `now`.

    `margin_ns` is the time left until it fences itself (negative: overdue), of `budget_ns` at best; None while it holds
    no lease. `quorum` is False while a network split is undecided, and for its loser. `score` is its reachability.
    """

    node: int
    state: NodeState
    generation: int
    margin_ns: int | None
    budget_ns: int
    quorum: bool
    score: int
    peers: tuple[PeerStatus, ...]
    cause: Cause | None = None
    reason: str = ""


class Heartbeat(Protocol):
    """One node's heartbeat. All calls return what is to be done, in order."""

    def start(self, now: int) -> list[Action]:
        """Begin. Called once."""

    def handle(self, item: Input, now: int) -> list[Action]:
        """Take an input. Every input is allowed in every state; answers to I/O that was given up are ignored."""

    def handle_timer(self, now: int) -> list[Action]:
        """Do what is due."""

    def next_deadline(self) -> int | None:
        """When `handle_timer` must be called at the latest; None: never again."""

    def status(self, now: int) -> Status:
        """How things stand."""
