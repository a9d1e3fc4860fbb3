"""Persistent reservations of one map: a key for each path, and a lost nexus shut out until its path is back.

What is said to the target is in `proto.scsi.excluding`; here is who says it, in which order. One exchange at a time: a
release that crossed another path's exclusion would open the unit behind its back. Other hosts can't be waited for, so
that where there may be any the reservation is not released at all.
"""

import asyncio
import contextlib
import random
from collections.abc import Generator
from typing import TypeVar

from mpio.engine.fencing import fence_methods
from mpio.errors import MpioError
from mpio.io.session import Session
from mpio.model.settings import Settings
from mpio.proto.scsi import excluding

T = TypeVar("T")

_OWN_KEYS = 0x6D70696F << 32  # "mpio"


class Exclusion:
    """Of one map. Used if there is a reservation key, or none is needed because no other host uses the LU.

    Args:
        settings: of the map. `reservation_key` is the base of the paths' keys: each adds its number, so that one alone
            can be named.
        rng: for a base where there is no setting.

    Attributes:
        used: whether paths register at all.
    """

    def __init__(self, settings: Settings, rng: random.Random) -> None:
        given = settings.reservation_key
        self.used = given is not None or bool({"preempt", "lun_reset"}.intersection(fence_methods(settings)))
        self._may_release = settings.exclusive
        self._base_key = _OWN_KEYS | rng.getrandbits(24) << 8 if given is None else given
        self._lock = asyncio.Lock()
        self._pending: dict[int, asyncio.Task[None]] = {}
        self._excluded: set[int] = set()  # paths whose old nexus is shut out; only asked whether it is empty
        self._reserved = False  # by us, and not released since

    def key(self, path_id: int) -> int:
        """The path's own."""
        return (self._base_key + path_id - 1) % (2**64 - 1) + 1  # 0 is no key

    async def register(self, path_id: int, session: Session, lun: bytes) -> bool:
        """Register the key of a path that has just logged in. False if the target has no persistent reservations.

        An exclusion of its old nexus that is still under way must come to its end first: it would hit the new one.

        Raises:
            NexusError: the session was lost.
            TargetError: the target refuses.
        """
        pending = self._pending.get(path_id)
        if pending is not None:
            await asyncio.wait((pending,))
            self._pending.pop(path_id, None)
        return await _play(session, lun, excluding.register(self.key(path_id)))

    async def unregister(self, path_id: int, session: Session, lun: bytes) -> None:
        """Take back the registration, which would outlive the session, if possible; the last takes the reservation."""
        with contextlib.suppress(MpioError):
            await _play(session, lun, excluding.unregister(self.key(path_id)))

    async def exclude(self, path_id: int, peer_id: int, session: Session, lun: bytes) -> None:
        """Shut the lost nexus of a path out of the unit and end its tasks, by the session of a peer.

        A target may answer only when the last task has ended. After a timeout of the caller's, the answer of the
        command that was sent is waited for again: a second one would find nobody to preempt, and prove nothing.

        Raises:
            NexusError: the peer's session was lost.
            TargetError: the target refuses.
        """
        pending = self._pending.get(path_id)
        if pending is None or _is_failed(pending):
            script = excluding.exclude(self.key(peer_id), self.key(path_id))
            pending = asyncio.create_task(self._run(path_id, session, lun, script))
            pending.add_done_callback(_is_failed)  # nobody may be waiting for its exception
            self._pending[path_id] = pending
        await asyncio.shield(pending)

    async def shut_out(self, path_id: int, peer_id: int, session: Session, lun: bytes) -> None:
        """As `exclude`, but the nexus keeps the tasks that the target has taken up."""
        await self._run(path_id, session, lun, excluding.shut_out(self.key(peer_id), self.key(path_id)))

    async def _run(self, path_id: int, session: Session, lun: bytes, script: excluding.Script) -> None:
        self._excluded.add(path_id)
        async with self._lock:
            self._reserved = True
            await _play(session, lun, script)

    async def let_in(self, path_id: int, session: Session, lun: bytes) -> None:
        """A path is back and registered: its new session has ended the excluded one. Release what no path needs now.

        What fails is tried again when the next path is back, or ends with the registrations.
        """
        self._excluded.discard(path_id)
        if not self._may_release:
            return
        async with self._lock:
            if self._reserved and not self._excluded:
                with contextlib.suppress(MpioError):
                    await _play(session, lun, excluding.release(self.key(path_id)))
                    self._reserved = False

    def close(self) -> None:
        """Wait for nothing any more."""
        for pending in self._pending.values():
            pending.cancel()


async def _play(session: Session, lun: bytes, script: Generator[excluding.Question, excluding.Reply, T]) -> T:
    """Ask a script's questions. Raises TargetError or NexusError."""
    question = next(script)
    while True:
        reply = await session.command(lun, question.cdb, question.allocation, data_out=question.data_out)
        try:
            question = script.send((reply.status, reply.sense, reply.data))
        except StopIteration as end:
            result: T = end.value
            return result


def _is_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
