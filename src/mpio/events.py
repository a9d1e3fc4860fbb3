"""The journal: one append-only stream of everything that changed, from which logs, reports and verdicts are derived.

A record is `(t_ns, seq, source, kind, fields)`. `t_ns` is the engine's own time, given by the caller. `source` is
hierarchical: `map:disk0/path:1`. Kinds are in the past tense, and all of them are in this file. A kind that
changes a state carries `old`, `new` and `cause`, so that a timeline can be walked backwards from effect to cause.
Single I/Os are not events: they are counters and latency samples.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

Value = str | int | float | bool | None
"""What a field of an event may hold; anything JSON keeps without loss."""

RECORDS_MAX = 200_000  # a run of days with a flapping path stays bounded; older records leave from the front


class Kind(StrEnum):
    """Every kind of record, with its fields."""

    # a run
    RUN_STARTED = "RunStarted"  # version, scenario, seed, wall_epoch
    RUN_ENDED = "RunEnded"  # verdict
    STEP_STARTED = "StepStarted"  # step
    STEP_ENDED = "StepEnded"  # step
    FAULT_INJECTED = "FaultInjected"  # fault, path, how, expect
    FAULT_HEALED = "FaultHealed"  # fault, path, how
    PHASE_ENTERED = "PhaseEntered"  # phase

    # one connection of one session (one path)
    CONNECT_STARTED = "ConnectStarted"  # portal, attempt
    CONNECT_FAILED = "ConnectFailed"  # portal, cause
    LOGIN_COMPLETED = "LoginCompleted"  # portal, tsih, tpgt
    LOGIN_REJECTED = "LoginRejected"  # portal, status, cause
    LOGIN_REDIRECTED = "LoginRedirected"  # portal, to
    PING_SENT = "PingSent"  # (only the one that is later not answered)
    PING_TIMED_OUT = "PingTimedOut"  # silent_ns
    CONNECTION_LOST = "ConnectionLost"  # cause
    LOGGED_OUT = "LoggedOut"
    ASYNC_MESSAGE = "AsyncMessage"  # event, cause
    PDU_REJECTED = "PduRejected"  # reason
    TASK_TIMED_OUT = "TaskTimedOut"  # opcode
    TASK_ABORTED = "TaskAborted"  # response
    LUN_RESET = "LunReset"  # response
    IDENTITY_REFUSED = "IdentityRefused"  # expected, found
    CAPACITY_CHANGED = "CapacityChanged"  # old, new, in blocks; the map keeps its size
    FENCE_STARTED = "FenceStarted"  # method, by
    FENCE_COMPLETED = "FenceCompleted"  # method, by
    FENCE_FAILED = "FenceFailed"  # method, cause
    RECONNECT_SCHEDULED = "ReconnectScheduled"  # delay_ns, attempt

    # a path in its map
    PATH_ADDED = "PathAdded"  # portal, tpgt, wwid
    PATH_STATE_CHANGED = "PathStateChanged"  # old, new, cause
    PATH_BLOCKED = "PathBlocked"  # until_ns
    REPLACEMENT_TIMEOUT_EXPIRED = "ReplacementTimeoutExpired"
    PATH_REINSTATED = "PathReinstated"
    PATH_MARGINAL = "PathMarginal"  # cause, until_ns
    PATH_MARGINAL_ENDED = "PathMarginalEnded"
    PRIORITY_CHANGED = "PriorityChanged"  # old, new
    ALUA_STATE_CHANGED = "AluaStateChanged"  # old, new

    # a map
    MAP_CREATED = "MapCreated"  # wwid, alias, size_bytes, block_size
    GROUP_SWITCHED = "GroupSwitched"  # old, new, cause
    FAILBACK_DEFERRED = "FailbackDeferred"  # until_ns
    IO_REROUTED = "IoRerouted"  # count, from, first re-issue after a failure
    QUEUEING_STARTED = "QueueingStarted"  # policy
    QUEUEING_ENDED = "QueueingEnded"
    QUEUEING_EXPIRED = "QueueingExpired"
    IO_FAILED = "IoFailed"  # opcode, lba, cause
    OUTCOME_UNKNOWN = "OutcomeUnknown"  # opcode, lba

    # a heartbeat on shared storage
    HEARTBEAT_STATE_CHANGED = "HeartbeatStateChanged"  # old, new, cause
    HEARTBEAT_LATE = "HeartbeatLate"  # margin_ns, budget_ns: half of the time to the self-fence is gone
    HEARTBEAT_RESUMED = "HeartbeatResumed"  # margin_ns: the least there was
    HEARTBEAT_FAILED = "HeartbeatFailed"  # cause: an I/O error, not a delay
    HEARTBEAT_NEGOTIATED = "HeartbeatNegotiated"  # by, until_ns: all hang, so nobody is fenced
    PEER_LIVE = "PeerLive"  # node, generation
    PEER_DEAD = "PeerDead"  # node, generation, cause
    PEER_LEFT = "PeerLeft"  # node
    PEER_RESTARTED = "PeerRestarted"  # node, old, new: generations
    PEER_UNREADABLE = "PeerUnreadable"  # node, cause
    PEER_MISMATCHED = "PeerMismatched"  # node, expected, found: timing that does not fit this node's
    PEER_CONNECTED = "PeerConnected"  # node
    PEER_DISCONNECTED = "PeerDisconnected"  # node
    SLOT_TAKEN = "SlotTaken"  # cause: another node writes this node's slot, or a write was lost
    TIMING_UNSAFE = "TimingUnsafe"  # cause: times that do not keep two nodes from writing
    JOIN_REFUSED = "JoinRefused"  # cause
    POISON_SENT = "PoisonSent"  # node, generation
    POISON_SEEN = "PoisonSeen"  # sender
    POISON_ACKNOWLEDGED = "PoisonAcknowledged"  # node: it is fenced, and says so itself
    MESSAGE_SEEN = "MessageSeen"  # sender, command: one of SBD's that fences nobody
    QUORUM_LOST = "QuorumLost"  # cause
    QUORUM_GAINED = "QuorumGained"  # cause
    REACHABILITY_CHANGED = "ReachabilityChanged"  # old, new
    NODE_FENCED = "NodeFenced"  # node, cause, reason
    NODE_HALTED = "NodeHalted"  # node, how: nothing of it can reach the LUN any more
    NODE_CRASHED = "NodeCrashed"  # node
    SERVICE_STARTED = "ServiceStarted"  # term, cause
    SERVICE_STOPPED = "ServiceStopped"  # term, cause


@dataclass(frozen=True, slots=True)
class Event:
    """One record of the journal."""

    t_ns: int
    seq: int
    source: str
    kind: Kind
    fields: dict[str, Value]

    def to_json(self) -> str:
        """One JSON line without the line end: t_ns, seq, source, kind, then the fields."""
        head = {"t_ns": self.t_ns, "seq": self.seq, "source": self.source, "kind": str(self.kind)}
        return json.dumps(head | self.fields, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> "Event":
        """Read a line that `to_json` wrote. Raises ValueError or KeyError on anything else."""
        record = json.loads(line)
        if not isinstance(record, dict):
            raise ValueError("a journal line must be a JSON object")
        t_ns, seq, source = record.pop("t_ns"), record.pop("seq"), record.pop("source")
        return cls(t_ns=t_ns, seq=seq, source=source, kind=Kind(record.pop("kind")), fields=record)


class Journal:
    """Append-only, in memory, bounded; `sinks` see every record as it comes (a file, a live display)."""

    def __init__(self, records_max: int = RECORDS_MAX) -> None:
        self._records: deque[Event] = deque(maxlen=records_max)
        self._seq = 0
        self.sinks: list[Callable[[Event], None]] = []

    def record(self, t_ns: int, source: str, kind: Kind, /, **fields: Value) -> int:
        """Append a record and return its sequence number, to be named as a cause by later ones."""
        self._seq += 1
        event = Event(t_ns, self._seq, source, kind, fields)
        self._records.append(event)
        for sink in self.sinks:
            sink(event)
        return self._seq

    def __iter__(self) -> Iterator[Event]:
        return iter(list(self._records))

    def __len__(self) -> int:
        return len(self._records)

    @property
    def dropped(self) -> int:
        """How many of the oldest records the bound has pushed out."""
        return self._seq - len(self._records)
