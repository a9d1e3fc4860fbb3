"""Persistent reservations of one simulated host: what `io.exclusion` is in real time.

What is said is in `proto.scsi.excluding`, here is who says it, in which order.
"""

import contextlib
from collections.abc import Generator
from typing import TypeVar

from mpio.errors import MpioError
from mpio.model.settings import Settings
from mpio.proto.scsi import excluding
from mpio.sim.swarm.schedule import Process
from mpio.sim.swarm.session import Session
from mpio.sim.swarm.strand import Promise, Routine, Strand, wait

T = TypeVar("T")


class Exclusion:
    """Of one map.

    Args:
        settings: of the map. To its `reservation_key` each path adds its number, so that one alone can be named.
    """

    def __init__(self, process: Process, settings: Settings, lun: bytes) -> None:
        self._process = process
        self._base_key = settings.reservation_key
        self._may_release = settings.exclusive
        self._lun = lun
        self._busy: Promise[None] | None = None  # an exchange is under way
        self._pending: dict[int, Promise[None]] = {}
        self._excluded: dict[int, None] = {}  # paths whose old nexus is shut out
        self._reserved = False  # by us, and not released since

    @property
    def used(self) -> bool:
        """Whether there is a key."""
        return self._base_key is not None

    def key(self, path_id: int) -> int:
        """The path's own."""
        return ((self._base_key or 0) + path_id) & (2**64 - 1)

    def register(self, path_id: int, session: Session) -> Routine[bool]:
        """Register the key of a path that has just logged in. Raises NexusError or TargetError."""
        pending = self._pending.get(path_id)
        if pending is not None:
            with contextlib.suppress(MpioError):
                yield from wait(pending)
            self._pending.pop(path_id, None)
        return (yield from self._play(session, excluding.register(self.key(path_id))))

    def unregister(self, path_id: int, session: Session) -> Routine[None]:
        """Take back the registration if possible; the last takes the reservation."""
        with contextlib.suppress(MpioError):
            yield from self._play(session, excluding.unregister(self.key(path_id)))

    def exclude(self, path_id: int, peer_id: int, session: Session) -> Routine[None]:
        """Shut a path's lost nexus out and end its tasks, by a peer's session. Raises NexusError or TargetError."""
        pending = self._pending.get(path_id)
        if pending is None or pending.failed:
            pending = self._pending[path_id] = Promise()
            script = excluding.exclude(self.key(peer_id), self.key(path_id))
            Strand(self._process, self._answer(pending, self._run(path_id, session, script)))
        yield from wait(pending)

    def shut_out(self, path_id: int, peer_id: int, session: Session) -> Routine[None]:
        """As `exclude`, but the nexus keeps the tasks that the target has taken up."""
        yield from self._run(path_id, session, excluding.shut_out(self.key(peer_id), self.key(path_id)))

    def _answer(self, done: Promise[None], routine: Routine[None]) -> Routine[None]:
        try:
            yield from routine
        except MpioError as error:
            done.fail(error)
        else:
            done.keep(None)

    def _run(self, path_id: int, session: Session, script: excluding.Script) -> Routine[None]:
        self._excluded[path_id] = None
        mine = yield from self._lock()
        self._reserved = True
        try:
            yield from self._play(session, script)
        finally:
            self._unlock(mine)

    def let_in(self, path_id: int, session: Session) -> Routine[None]:
        """A path is back. Release the reservation if no path needs it now, and no other host can."""
        self._excluded.pop(path_id, None)
        if not self._may_release:
            return
        mine = yield from self._lock()
        try:
            if self._reserved and not self._excluded:
                with contextlib.suppress(MpioError):
                    yield from self._play(session, excluding.release(self.key(path_id)))
                    self._reserved = False
        finally:
            self._unlock(mine)

    def _lock(self) -> Routine[Promise[None]]:
        while self._busy is not None:
            yield from wait(self._busy)
        self._busy = Promise()
        return self._busy

    def _unlock(self, mine: Promise[None]) -> None:
        self._busy = None
        mine.keep(None)

    def _play(
        self, session: Session, script: Generator[excluding.Question, excluding.Reply, T],
    ) -> Routine[T]:
        """Ask a script's questions. Raises TargetError or NexusError."""
        question = next(script)
        while True:
            reply = yield from session.command(self._lun, question.cdb, question.allocation, question.data_out)
            try:
                question = script.send((reply.status, reply.sense, reply.data))
            except StopIteration as end:
                result: T = end.value
                return result
