"""The life of one path on a bare schedule: connect, log in, prove, serve, be lost, be fenced, come back.

It does for the map what `io.path` does with sockets and tasks, in the same order and by the same rules; where the two
differ the simulator lies.
"""

import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mpio.engine.map import Fence, MultipathMap
from mpio.errors import ConnectionLost, IdentityMismatch, LoginRejected, MpioError, NexusError, TargetError
from mpio.events import Journal, Kind
from mpio.model.identity import PathIdentity
from mpio.model.settings import Settings
from mpio.model.task import Status, lun_bytes
from mpio.proto.iscsi import LoginParams
from mpio.proto.scsi import cdb
from mpio.proto.scsi.probe import ATTENTIONS_MAX, probe
from mpio.proto.scsi.sense import Sense, SenseKey
from mpio.sim.swarm.exclusion import Exclusion
from mpio.sim.swarm.judge import Judge
from mpio.sim.swarm.link import Cable
from mpio.sim.swarm.schedule import Process
from mpio.sim.swarm.session import Session
from mpio.sim.swarm.strand import Promise, Routine, Strand, sleep, wait
from mpio.units import seconds

BACKOFF_FACTOR = 1.5
JITTER = 0.25
LUN = 1


class FenceWanted(Exception):
    """A fence of this path comes before whatever it waits for."""


@dataclass(frozen=True, slots=True)
class PathContext:
    """What all paths of one host share."""

    map: MultipathMap
    settings: Settings
    journal: Journal
    process: Process
    clock: Callable[[], int]
    rng: random.Random
    pump: Callable[[], None]
    target_name: str
    judge: Judge
    exclusion: Exclusion


class PathLife:
    """Keeps one path alive until `stop`.

    Attributes:
        session: the one in use, or None. identity: of the last login.
        peers: all paths of the map, by number.
    """

    def __init__(self, context: PathContext, path_id: int, cable: Cable, isid: bytes) -> None:
        self.path_id = path_id
        self.name = f"map:{context.map.name}/path:{path_id}"
        self.session: Session | None = None
        self.identity: PathIdentity | None = None
        self.peers: Mapping[int, PathLife] = {}
        self._context = context
        self._cable = cable
        self._isid = isid
        self._lun = lun_bytes(LUN)
        self._tpgt: int | None = None
        self._fence: Fence | None = None
        self._fenced_in_vain = False
        self._interruptible = False
        self._attempts = 0
        self._registered = False
        self._connections: list[int] = []  # of all sessions that served the map, but for those known to be fenced
        self._strand = Strand(context.process, self._live())

    def request_fence(self, fence: Fence) -> None:
        """Fence this path's nexus before anything else is done for it."""
        self._fence = fence
        if self._interruptible:
            self._strand.interrupt(FenceWanted())

    def drop(self, cause: str) -> None:
        """End the session now: what is behind it is not the map's LU any more."""
        if self.session is not None:
            self.session.close(cause)

    def stop(self) -> Routine[None]:
        """Log out."""
        self._strand.cancel()
        session, self.session = self.session, None
        if session is not None:
            session.on_lost = None
            if self._registered:
                yield from self._in_time(
                    self._context.settings.logout_timeout, self._context.exclusion.unregister(self.path_id, session))
            yield from session.log_out()

    def _in_time(self, limit_s: float, routine: Routine[None]) -> Routine[None]:
        """Run a routine to its end, or for so long."""
        done: Promise[None] = Promise()

        def whole() -> Routine[None]:
            yield from routine
            done.keep(None)

        strand = Strand(self._context.process, whole())
        try:
            with contextlib.suppress(TimeoutError):
                yield from wait(done, seconds(limit_s))
        finally:
            if not strand.ended:
                strand.cancel()

    def _live(self) -> Routine[None]:
        while True:
            if self._fence is not None:
                yield from self._run_fence(self._fence)
                continue
            session = yield from self._connect()
            if session is not None:
                yield from self._let_in(session)
                yield from wait(session.lost)
                self.session = None
            yield from self._pause()

    # --- connect

    def _connect(self) -> Routine[Session | None]:
        """One attempt. None if it failed or had to give way to a fence."""
        self._attempts += 1
        self._record(Kind.CONNECT_STARTED, attempt=self._attempts)
        self._interruptible = not self._fenced_in_vain
        try:
            session = yield from self._log_in()
        except FenceWanted:
            return None
        except MpioError as error:
            rejected = isinstance(error, LoginRejected)
            self._record(Kind.LOGIN_REJECTED if rejected else Kind.CONNECT_FAILED, cause=str(error))
            return None
        finally:
            self._interruptible = False
        self._attempts = 0
        self._fenced_in_vain = False
        if self._fence is not None:
            self._fence = None
            self._context.map.fence_failed(self.path_id, "the path logged in by itself", self._context.clock())
        return session

    def _log_in(self) -> Routine[Session]:
        context = self._context
        session = yield from self._open(self._cable, seconds(context.settings.login_timeout))
        try:
            identity = yield from self._probe(session)
            if context.map.in_doubt(self.path_id):
                yield from self._outlast(session)
            self._registered = yield from self._register_key(session)
            session.on_lost = self._on_lost
            session.on_reset = self._on_reset
            self._record(Kind.LOGIN_COMPLETED, tsih=session.connection.negotiated.tsih, tpgt=identity.tpgt)
            context.map.path_up(
                self.path_id, identity, session, self._lun, context.clock(), registered=self._registered)
        except IdentityMismatch:
            session.on_lost = None
            yield from session.log_out()
            raise
        except BaseException:
            session.on_lost = None
            session.close("login given up")
            raise
        self._fenced()
        self.identity = identity
        self.session = session
        self._connections.append(session.number)
        self._tpgt = identity.tpgt
        context.pump()
        return session

    def _open(self, cable: Cable, timeout_ns: int) -> Routine[Session]:
        context = self._context
        params = LoginParams(
            initiator_name=context.settings.initiator_name, target_name=context.target_name, isid=self._isid,
            settings=context.settings, initial_cmd_sn=context.rng.getrandbits(32), challenge_seed=bytes(16),
        )
        session = Session(
            params, context.settings, context.process, context.clock, context.journal, self.name, context.pump,
            context.judge)
        yield from session.log_in(cable, timeout_ns)
        return session

    def _probe(self, session: Session) -> Routine[PathIdentity]:
        script = probe(LUN, self._context.target_name, session.connection.negotiated.tpgt)
        request = next(script)
        while True:
            reply = yield from session.command(self._lun, request[0], request[1])
            try:
                request = script.send((reply.status, reply.sense, reply.data))
            except StopIteration as end:
                identity: PathIdentity = end.value
                return identity

    def _on_lost(self, cause: str) -> None:
        self._record(Kind.CONNECTION_LOST, cause=cause)
        self._context.map.path_lost(self.path_id, cause, self._context.clock())
        self._context.pump()

    def _on_reset(self) -> None:
        self._context.map.lun_was_reset(self.path_id, self._context.clock())
        self._context.pump()

    def _pause(self) -> Routine[None]:
        """Before the next attempt: longer each time, with jitter; a fence cuts it short."""
        settings = self._context.settings
        delay_s = min(settings.reconnect_delay * BACKOFF_FACTOR**self._attempts, settings.reconnect_delay_max)
        delay_s *= 1 + JITTER * (2 * self._context.rng.random() - 1)
        self._record(Kind.RECONNECT_SCHEDULED, delay_ns=round(delay_s * 1e9), attempt=self._attempts + 1)
        if self._fence is None:
            self._interruptible = True
            with contextlib.suppress(FenceWanted):
                yield from sleep(round(delay_s * 1e9))
            self._interruptible = False

    # --- fence

    def _run_fence(self, fence: Fence) -> Routine[None]:
        context = self._context
        causes = []
        for method in fence.methods:
            for peer in (self.peers[path_id] for path_id in fence.through):
                if peer.session is None or peer.session.lost.done:
                    continue
                self._record(Kind.FENCE_STARTED, method=method, by=peer.name)
                session, cause = yield from self._try_fence(method, peer)
                if cause is not None:
                    causes.append(f"{method} by {peer.name}: {cause}")
                    self._record(Kind.FENCE_FAILED, method=method, cause=cause)
                    continue
                self._fence = None
                self._fenced_in_vain = False
                self._record(Kind.FENCE_COMPLETED, method=method, by=peer.name)
                self._fenced()
                context.map.fence_done(self.path_id, method, context.clock())
                context.pump()
                if session is not None:
                    yield from session.log_out()
                return
        self._fence = None
        self._fenced_in_vain = bool(causes)
        context.map.fence_failed(self.path_id, "; ".join(causes) or "no other path is up", context.clock())
        context.pump()

    def _try_fence(self, method: str, peer: "PathLife") -> Routine[tuple[Session | None, str | None]]:
        """One method through one path, within `fence_timeout`: the session to be logged out of, and why it failed."""
        context = self._context
        done: Promise[tuple[Session | None, str | None]] = Promise()

        def attempt() -> Routine[None]:
            try:
                session = yield from self._fence_by(method, peer)
            except (NexusError, TargetError) as error:
                done.keep((None, str(error)))
            else:
                done.keep((session, None))

        strand = Strand(context.process, attempt())
        try:
            return (yield from wait(done, seconds(context.settings.fence_timeout)))
        except TimeoutError:
            return None, f"no answer within {context.settings.fence_timeout:g} s"
        finally:
            if not strand.ended:
                strand.cancel()

    def _fence_by(self, method: str, peer: "PathLife") -> Routine[Session | None]:
        session = peer.session
        assert session is not None
        if method == "reinstate":
            return (yield from self._reinstate(peer))
        if method == "preempt":
            yield from self._context.exclusion.exclude(self.path_id, peer.path_id, session)
            return None
        yield from self._context.exclusion.shut_out(self.path_id, peer.path_id, session)
        if not (yield from session.reset_lun(self._lun)):
            raise ConnectionLost("the target refused LOGICAL UNIT RESET")
        return None

    def _reinstate(self, peer: "PathLife") -> Routine[Session]:
        """Log in with our ISID through the peer's portal: the target must end our old session first."""
        if peer._tpgt != self._tpgt:  # noqa: SLF001
            raise ConnectionLost("its portal is not of the same target portal group")
        session = yield from self._open(peer._cable, seconds(self._context.settings.fence_timeout))  # noqa: SLF001
        if session.connection.negotiated.tpgt != self._tpgt:
            session.close("not the same portal group")
            raise ConnectionLost("the login ended in another target portal group")
        try:
            yield from self._outlast(session)
        except BaseException:
            session.close("fence given up")
            raise
        return session

    def _outlast(self, session: Session) -> Routine[None]:
        """Wait until what the target has begun for the old session has ended: see `io.path`."""
        for _ in range(ATTENTIONS_MAX):
            reply = yield from session.command(self._lun, cdb.test_unit_ready(), ordered=True)
            sense = Sense.parse(reply.sense) if reply.status == Status.CHECK_CONDITION else None
            if sense is None or sense.key != SenseKey.UNIT_ATTENTION:
                return

    def _fenced(self) -> None:
        """No write of the sessions until now can land any more: that is what the map goes by."""
        for number in self._connections:
            self._context.judge.fenced(number)
        self._connections.clear()

    def _let_in(self, session: Session) -> Routine[None]:
        """If our old nexus was excluded, that is over."""
        context = self._context
        if self._registered:
            yield from self._in_time(context.settings.fence_timeout, context.exclusion.let_in(self.path_id, session))

    def _register_key(self, session: Session) -> Routine[bool]:
        """Whether our key is registered now; no error where the target has none and another fence will do."""
        context = self._context
        if not context.exclusion.used:
            return False
        registered = yield from context.exclusion.register(self.path_id, session)
        if not registered and context.settings.fence in ("preempt", "lun_reset"):
            raise ConnectionLost(
                f"fence {context.settings.fence} needs persistent reservations, which the target does not have")
        return registered

    def _record(self, kind: Kind, **fields: str | int | None) -> None:
        self._context.journal.record(self._context.clock(), self.name, kind, **fields)
