"""What the map does on its own account to know its paths: checks, priorities, sample reads, and proofs of identity.

All are tasks that the map submits itself, beside the requests and not counted among them. Their ends are taken in
`ended`; the map calls it when it knows the time.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from mpio.engine import checker, prioritizer
from mpio.engine.checker import CheckResult, Polling
from mpio.engine.damping import Due
from mpio.engine.path import Path, PathInput, PathState, Proof
from mpio.errors import LocalProtocolError, ProtocolError, TargetError
from mpio.events import Kind, Value
from mpio.model.identity import PathIdentity
from mpio.model.settings import Settings
from mpio.model.task import Outcome, Status, Task, lun_number
from mpio.proto.scsi import cdb
from mpio.proto.scsi.probe import probe
from mpio.proto.scsi.sense import Sense, SenseKey
from mpio.units import seconds

_IDENTITY_MAY_DIFFER = frozenset(((0x6, 0x2A, 0x09), (0x6, 0x3F, 0x03), (0x6, 0x3F, 0x0E)))
"""Unit attentions after which the LU may be another one, or of another size: capacity changed, INQUIRY data changed,
reported LUNs changed (SPC-4 annex D)."""
_ALUA_CHANGED = frozenset(((0x6, 0x2A, 0x06), (0x6, 0x2A, 0x07)))

_GOOD = (PathState.UP, PathState.GHOST, PathState.DELAYED)


class Host(Protocol):
    """What the watch needs of the map."""

    paths: dict[int, Path]

    def change(self, path: Path, event: PathInput, cause: str, now: int) -> None:
        """Give an input to the path's state machine, with all that follows."""

    def end_session(self, path: Path, cause: str, now: int) -> None:
        """Take the path's session for lost."""

    def expel(self, path: Path, mismatch: str, now: int) -> None:
        """The path's session leads elsewhere: use it no more, and have it ended."""

    def task_ended(self, task: Task) -> None:
        """Take a task of the watch back, to be given to `ended` at once."""

    def regroup(self, cause: str, now: int) -> None:
        """The priority of some path has changed, or whether it is usable."""

    def mismatch(self, identity: PathIdentity) -> str | None:
        """Why the identity is not the map's, or None if it is."""

    def refuse(self, path: Path, mismatch: str, identity: PathIdentity, now: int) -> None:
        """Journal that a path leads elsewhere."""

    def record(self, path: Path | None, kind: Kind, now: int, **fields: Value) -> None:
        """Write to the journal."""


class Watch:
    """Of one map."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host
        self._polling = Polling(settings)
        self._timeout_ns = seconds(settings.timeout)

    # --- the session of a path

    def begin(self, path: Path, now: int) -> None:
        """The path has a new session: check and rank it at once."""
        path.check_interval = 0
        path.check_at = now
        path.check_retries = 0

    def end(self, path: Path) -> None:
        """The session is gone, and with it all that was asked through it."""
        path.check = path.ranking = path.sample = path.proof = None
        path.check_at = path.check_deadline = None

    def attention(self, path: Path, sense_bytes: bytes, now: int) -> None:
        """A command met CHECK CONDITION; some unit attentions are about the path or the LU itself."""
        sense = Sense.parse(sense_bytes)
        if sense is None or sense.key != SenseKey.UNIT_ATTENTION or not path.connected:
            return
        if sense.code in _ALUA_CHANGED:
            self._rank(path, now)
        elif sense.code in _IDENTITY_MAY_DIFFER:
            self._prove(path, str(sense), now)

    def failed(self, path: Path, now: int) -> None:
        """A command has failed the path: the next check is due in a polling interval at the latest (multipathd)."""
        path.check_interval = self._polling.interval_ns
        if path.check_at is not None:
            path.check_at = min(path.check_at, now + path.check_interval)

    def look(self, path: Path, now: int) -> None:
        """Check at once, whatever became of a check that is under way."""
        path.check = path.check_deadline = None
        path.check_at = now

    def hurry(self, now: int) -> None:
        """No path is usable: look at once at those that stand by."""
        for path in self._host.paths.values():
            if path.state is PathState.GHOST and path.check is None:
                path.check_at = now

    # --- time

    def deadlines(self) -> Iterable[int]:
        """When `handle_timer` has something to do."""
        for path in self._host.paths.values():
            if path.connected:
                if path.check_deadline is not None:
                    yield path.check_deadline
                if path.check_at is not None:
                    yield path.check_at
                if path.damping.deadline is not None:
                    yield path.damping.deadline

    def handle_timer(self, path: Path, now: int) -> None:
        """Begin what is due on a path, and end a check that takes too long."""
        if path.check_deadline is not None and now >= path.check_deadline:
            path.check_deadline = None  # the task itself is still out; its answer will count when it comes
            self._checked(path, CheckResult.DOWN, f"{self._settings.path_checker} checker timed out", now)
        if path.connected and path.check_at is not None and now >= path.check_at:
            self._check(path, now)
        if path.connected and path.damping.deadline is not None and now >= path.damping.deadline:
            due = path.damping.due(now)
            if due is Due.SAMPLE:
                self._sample(path, now)
            elif due is Due.RELEASE:
                self._host.change(path, PathInput.RELEASE, "has proven itself", now)

    # --- tasks

    def ended(self, task: Task, now: int) -> None:
        """One of our tasks has ended; one of an older session is let go."""
        path = task.context
        assert isinstance(path, Path)
        if task is path.check:
            path.check = path.check_deadline = None
            self._check_ended(path, task, now)
        elif task is path.ranking:
            path.ranking = None
            self._ranked(path, task, now)
        elif task is path.sample:
            path.sample = None
            if task.outcome in (Outcome.COMPLETED, Outcome.ABORTED):
                path.damping.sampled(good=checker.judge(task) in (CheckResult.UP, CheckResult.RETRY))
        elif path.proof is not None and task is path.proof.task:
            self._answer(path, path.proof, task, now)

    def _task(self, path: Path, command: bytes, length: int) -> Task:
        buffer = memoryview(bytearray(length)) if length else None
        return Task(
            path.lun, command, self._host.task_ended, read_buffer=buffer, timeout_ns=self._timeout_ns, context=path)

    def _send(self, path: Path, task: Task, now: int) -> None:
        """Submit a task of our own; the session is over for us if the connection takes none any more."""
        assert path.submit is not None
        try:
            path.submit(task, now)
        except LocalProtocolError as error:
            self._host.end_session(path, str(error), now)

    # --- checks

    def _check(self, path: Path, now: int) -> None:
        path.check_at = None
        if path.proof is not None:
            if path.proof.task is None:
                self._prove(path, path.cause, now)
            return
        if path.check is None:
            assert path.identity is not None
            command, length = checker.check_command(self._settings.path_checker, path.identity.block_size)
            path.check = self._task(path, command, length)
            path.check_deadline = now + self._polling.timeout_ns
            self._send(path, path.check, now)

    def _check_ended(self, path: Path, task: Task, now: int) -> None:
        result = checker.judge(task)
        if result is CheckResult.RETRY:
            self.attention(path, task.sense, now)
            if path.check_retries < checker.RETRIES_MAX:
                path.check_retries += 1
                path.check_at = now
                return
            result = CheckResult.PENDING
        path.check_retries = 0
        cause = f"{self._settings.path_checker} checker {result.value}"
        sense = Sense.parse(task.sense) if task.status == Status.CHECK_CONDITION else None
        self._checked(path, result, f"{cause}: {sense}" if sense else cause, now)

    def _checked(self, path: Path, result: CheckResult, cause: str, now: int) -> None:
        if result is CheckResult.PENDING:
            path.check_at = now + self._polling.pending_ns
            return
        old = path.state
        self._host.change(path, _EVENTS[result], cause, now)
        if result is CheckResult.UP and old is PathState.UP:
            path.damping.checked_good()
        path.check_interval = self._polling.after(path.check_interval, result, changed=path.state is not old)
        path.check_at = now + path.check_interval
        if path.state in _GOOD:
            self._rank(path, now)

    # --- priorities

    def _rank(self, path: Path, now: int) -> None:
        assert path.identity is not None
        if path.ranking is None and path.connected and prioritizer.uses_alua(self._settings, path.identity):
            path.ranking = self._task(path, prioritizer.report_command(), prioritizer.REPORT_BYTES)
            self._send(path, path.ranking, now)

    def _ranked(self, path: Path, task: Task, now: int) -> None:
        if task.outcome != Outcome.COMPLETED or task.status != Status.GOOD:
            return  # the last known priority stands; the checker judges the path
        assert path.identity is not None
        group = prioritizer.own_group(_data_in(task), path.identity)
        state = None if group is None else group.state
        if state is not path.alua_state:
            self._host.record(
                path, Kind.ALUA_STATE_CHANGED, now, old=None if path.alua_state is None else path.alua_state.name,
                new=None if state is None else state.name,
            )
            path.alua_state = state
        priority = prioritizer.alua_priority(group)
        if priority != path.priority:
            self._host.record(path, Kind.PRIORITY_CHANGED, now, old=path.priority, new=priority)
            path.priority = priority
            self._host.regroup(f"priority of {path.name} changed", now)

    # --- sample reads of damping

    def _sample(self, path: Path, now: int) -> None:
        if path.sample is None:
            assert path.identity is not None
            path.sample = self._task(path, cdb.read(0, 1), path.identity.block_size)
            self._send(path, path.sample, now)

    # --- proofs of identity

    def _prove(self, path: Path, cause: str, now: int) -> None:
        """Ask the LU again who it is. Until it has answered, no request is sent by this path."""
        if path.proof is not None and path.proof.task is not None:
            return
        assert path.identity is not None
        script = probe(
            lun=lun_number(path.lun) or 0, target_name=path.identity.target_name, tpgt=path.identity.tpgt)
        path.proof = Proof(script)
        self._host.regroup(cause, now)
        self._ask(path, path.proof, next(script), now)

    def _ask(self, path: Path, proof: Proof, question: tuple[bytes, int], now: int) -> None:
        proof.task = self._task(path, *question)
        self._send(path, proof.task, now)

    def _answer(self, path: Path, proof: Proof, task: Task, now: int) -> None:
        if task.outcome != Outcome.COMPLETED:
            self._unproven(path, proof, "no answer", now)
            return
        try:
            question = proof.script.send((task.status, task.sense, _data_in(task)))
        except StopIteration as end:
            self._proven(path, end.value, now)
        except (TargetError, ProtocolError) as error:
            self._unproven(path, proof, str(error), now)
        else:
            self._ask(path, proof, question, now)

    def _proven(self, path: Path, identity: PathIdentity, now: int) -> None:
        own = path.identity
        assert own is not None
        if identity.blocks > own.blocks and identity.block_size == own.block_size and identity.wwid == own.wwid:
            # Grown while in use: no harm to what the map addresses. A path that comes back later is refused.
            self._host.record(path, Kind.CAPACITY_CHANGED, now, old=own.blocks, new=identity.blocks)
            identity = replace(identity, blocks=own.blocks)
        mismatch = self._host.mismatch(identity)
        if mismatch is not None:
            self._host.refuse(path, mismatch, identity, now)
            self._host.expel(path, mismatch, now)
            return
        path.proof = None
        path.identity = identity
        self._host.regroup(f"identity of {path.name} is proven again", now)
        if path.connected:  # what waited was sent, and may have met the end of the session
            self._checked(path, CheckResult.UP, "its identity is proven again", now)

    def _unproven(self, path: Path, proof: Proof, cause: str, now: int) -> None:
        """Not usable; asked again at the next check."""
        proof.task = None
        self._checked(path, CheckResult.DOWN, f"its identity can't be proven: {cause}", now)


def _data_in(task: Task) -> bytes:
    """What came in; less than asked for where the answer is shorter than the allocation."""
    buffer = task.read_buffer
    return b"" if buffer is None else bytes(buffer[: max(len(buffer) - max(task.residual, 0), 0)])


_EVENTS = {
    CheckResult.UP: PathInput.CHECK_UP,
    CheckResult.GHOST: PathInput.CHECK_GHOST,
    CheckResult.DOWN: PathInput.CHECK_DOWN,
    CheckResult.DISCONNECTED: PathInput.CHECK_DOWN,
}
