"""The life of one path: connect, log in, prove what is behind it, serve the map, be lost, be fenced, come back.

One `PathRunner` a path, one task each. The map (`engine.map`) decides; the runner does what needs sockets and time. All
logins with the path's ISID are made from here, one at a time, since each of them ends the one before (RFC 7143 §6.3.5).
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mpio.engine.map import Fence, MultipathMap
from mpio.errors import ConnectionLost, IdentityMismatch, LoginRejected, MpioError, NexusError, TargetError
from mpio.events import Journal, Kind
from mpio.io.exclusion import Exclusion
from mpio.io.net import SYSTEM, Network
from mpio.io.session import Route, Session, open_session
from mpio.model.address import TargetAddress
from mpio.model.identity import PathIdentity
from mpio.model.settings import Settings
from mpio.model.task import Status, lun_bytes
from mpio.proto.iscsi import LoginParams
from mpio.proto.scsi import cdb
from mpio.proto.scsi.probe import ATTENTIONS_MAX, probe
from mpio.proto.scsi.sense import Sense, SenseKey

BACKOFF_FACTOR = 1.5
JITTER = 0.25  # a pause is shortened or stretched by up to this share, so that paths don't come back in step


@dataclass(frozen=True, slots=True)
class PathContext:
    """What all paths of one map share."""

    map: MultipathMap
    settings: Settings
    journal: Journal
    clock: Callable[[], int]
    rng: random.Random
    pump: Callable[[], None]
    """Carries out the map's actions and arms its timer."""
    exclusion: Exclusion
    network: Network = SYSTEM


class PathRunner:
    """Keeps one path alive until `stop`.

    Attributes:
        path_id: the map's number for it. name: the journal's. address: where it leads.
        session: the session in use, or None. identity: of the last successful probe.
        peers: all paths of the map by number.
        first_attempt: resolves once the first attempt has ended, with None or the error.
    """

    def __init__(self, context: PathContext, path_id: int, address: TargetAddress, isid: bytes) -> None:
        self.path_id = path_id
        self.name = f"map:{context.map.name}/path:{path_id}"
        self.address = address
        self.session: Session | None = None
        self.identity: PathIdentity | None = None
        self.first_attempt: asyncio.Future[MpioError | None] = asyncio.get_running_loop().create_future()
        self.peers: Mapping[int, PathRunner] = {}
        self._context = context
        self._isid = isid
        self._lun = lun_bytes(address.lun)
        self._route = Route(address.portal, address.source, address.interface)
        self._tpgt: int | None = None
        self._attempt: asyncio.Task[Session] | None = None
        self._fence: Fence | None = None
        self._fenced_in_vain = False  # since the path was up
        self._interrupt = asyncio.Event()
        self._attempts = 0
        self._registered = False  # our reservation key, at the last login

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                if self._fence is not None:
                    await self._run_fence(self._fence)
                    continue
                session = await self._connect()
                if session is not None:
                    await self._let_in(session)
                    await asyncio.shield(session.lost)  # cancelling us must not look like the end of the session
                    self.session = None
                await self._pause()
        finally:
            if self._attempt is not None:
                self._attempt.cancel()

    def request_fence(self, fence: Fence) -> None:
        """Fence this path's nexus before anything else is done for it.

        A login of the path itself that is under way fences as well, so that it may come to its end once a fence was
        tried in vain: with a target that is slow to log in the two would cut each other short for ever.
        """
        self._fence = fence
        self._interrupt.set()
        if self._attempt is not None and not self._fenced_in_vain:
            self._attempt.cancel()

    def drop(self, cause: str) -> None:
        """End the session now: what is behind it is not the map's LU any more."""
        if self.session is not None:
            self.session.close(cause)

    async def stop(self) -> None:
        """Log out, in good order if possible."""
        session, self.session = self.session, None
        if session is not None:
            session.on_lost = None
            if self._registered:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._context.settings.logout_timeout):
                        await self._context.exclusion.unregister(self.path_id, session, self._lun)
            await session.logout()

    # --- connect

    async def _connect(self) -> Session | None:
        """One attempt. None if it failed or had to give way to a fence."""
        self._attempts += 1
        self._record(Kind.CONNECT_STARTED, portal=str(self._route.portal), attempt=self._attempts)
        self._attempt = asyncio.create_task(self._log_in())
        error: MpioError | None = None
        try:
            session = await self._attempt
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if self._fence is None or (own is not None and own.cancelling()):
                raise  # it is us who were cancelled, and not the attempt
            return None
        except MpioError as caught:
            error = caught
            rejected = isinstance(error, LoginRejected)
            self._record(
                Kind.LOGIN_REJECTED if rejected else Kind.CONNECT_FAILED,
                portal=str(self._route.portal),
                cause=str(error),
                **({"status": error.status} if isinstance(error, LoginRejected) else {}),
            )
            return None
        finally:
            self._attempt = None
            if not self.first_attempt.done():
                self.first_attempt.set_result(error)
        self._attempts = 0
        self._fenced_in_vain = False
        if self._fence is not None:
            self._fence = None
            self._context.map.fence_failed(self.path_id, "the path logged in by itself", self._context.clock())
        return session

    async def _log_in(self) -> Session:
        context = self._context
        session = await self._open(self._route)
        try:
            identity = await self._probe(session)
            if context.map.in_doubt(self.path_id):
                await self._outlast(session, self._lun)
            self._registered = await self._register_key(session)
            session.on_lost = self._on_lost
            session.on_reset = self._on_reset
            self._record(
                Kind.LOGIN_COMPLETED,
                portal=str(self._route.portal),
                tsih=session.negotiated.tsih,
                tpgt=identity.tpgt,
            )
            context.map.path_up(
                self.path_id, identity, session.connection, self._lun, context.clock(), registered=self._registered)
        except IdentityMismatch:
            session.on_lost = None
            await session.logout()
            raise
        except BaseException:
            session.on_lost = None
            session.close("login given up")
            raise
        self.identity = identity
        self.session = session
        self._tpgt = identity.tpgt
        context.pump()
        return session

    async def _open(self, route: Route, timeout_s: float | None = None) -> Session:
        context = self._context
        settings = context.settings
        if self.address.username is not None:
            settings = settings.replace(username=self.address.username, password=self.address.password)
        params = LoginParams(
            initiator_name=settings.initiator_name,
            target_name=self.address.target_name,
            isid=self._isid,
            settings=settings,
            initial_cmd_sn=context.rng.getrandbits(32),
            challenge_seed=context.rng.randbytes(32),
        )
        return await open_session(
            route, params, settings, context.clock, context.journal, self.name,
            after=context.pump, timeout_s=timeout_s, network=context.network,
        )

    async def _probe(self, session: Session) -> PathIdentity:
        script = probe(self.address.lun, self.address.target_name, session.negotiated.tpgt)
        request = next(script)
        while True:
            reply = await session.command(self._lun, request[0], request[1])
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

    async def _pause(self) -> None:
        """Before the next attempt: longer each time, with jitter; a fence cuts it short."""
        settings = self._context.settings
        delay_s = min(settings.reconnect_delay * BACKOFF_FACTOR**self._attempts, settings.reconnect_delay_max)
        delay_s *= 1 + JITTER * (2 * self._context.rng.random() - 1)
        self._record(Kind.RECONNECT_SCHEDULED, delay_ns=round(delay_s * 1e9), attempt=self._attempts + 1)
        self._interrupt.clear()
        if self._fence is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._interrupt.wait()

    # --- fence: make sure that no write of the lost nexus can land any more

    async def _run_fence(self, fence: Fence) -> None:
        context = self._context
        causes = []
        for method in fence.methods:
            for peer in (self.peers[path_id] for path_id in fence.through):
                if peer.session is None or peer.session.lost.done():
                    continue
                self._record(Kind.FENCE_STARTED, method=method, by=peer.name)
                try:
                    async with asyncio.timeout(context.settings.fence_timeout):
                        session = await self._fence_by(method, peer)
                except (NexusError, TargetError, TimeoutError) as error:
                    cause = str(error) or f"no answer within {context.settings.fence_timeout:g} s"
                    causes.append(f"{method} by {peer.name}: {cause}")
                    self._record(Kind.FENCE_FAILED, method=method, cause=cause)
                    continue
                self._fence = None
                self._fenced_in_vain = False
                self._record(Kind.FENCE_COMPLETED, method=method, by=peer.name)
                context.map.fence_done(self.path_id, method, context.clock())
                context.pump()
                if session is not None:
                    await session.logout()
                return
        self._fence = None
        self._fenced_in_vain = bool(causes)
        context.map.fence_failed(self.path_id, "; ".join(causes) or "no other path is up", context.clock())
        context.pump()

    async def _fence_by(self, method: str, peer: "PathRunner") -> Session | None:
        """Returns the session that must still be logged out of, if any. Raises NexusError."""
        session = peer.session
        assert session is not None
        if method == "reinstate":
            return await self._reinstate(peer)
        if method == "preempt":
            await self._context.exclusion.exclude(self.path_id, peer.path_id, session, peer._lun)  # noqa: SLF001
            return None
        await self._context.exclusion.shut_out(self.path_id, peer.path_id, session, peer._lun)  # noqa: SLF001
        if not await session.reset_lun(peer._lun):  # noqa: SLF001
            raise ConnectionLost("the target refused LOGICAL UNIT RESET")
        return None

    async def _reinstate(self, peer: "PathRunner") -> Session:
        """Log in with our ISID through the peer's portal: the target must end our old session first."""
        if peer.address.target_name != self.address.target_name or peer._tpgt != self._tpgt:  # noqa: SLF001
            raise ConnectionLost("its portal is not of the same target portal group")
        session = await self._open(peer._route, self._context.settings.fence_timeout)  # noqa: SLF001
        if session.negotiated.tpgt != self._tpgt:
            session.close("not the same portal group")
            raise ConnectionLost("the login ended in another target portal group")
        try:
            await self._outlast(session, peer._lun)  # noqa: SLF001
        except BaseException:
            session.close("fence given up")
            raise
        return session

    @staticmethod
    async def _outlast(session: Session, lun: bytes) -> None:
        """Wait until what the target has begun for the old session has ended.

        With the login it should have (RFC 7143 §6.3.5); tgtd answers it while writes of the old session are still on
        their way to its disk. An ordered command is taken up after them. Targets without order are no worse off.
        """
        for _ in range(ATTENTIONS_MAX):
            reply = await session.command(lun, cdb.test_unit_ready(), ordered=True)
            sense = Sense.parse(reply.sense) if reply.status == Status.CHECK_CONDITION else None
            if sense is None or sense.key != SenseKey.UNIT_ATTENTION:
                return

    async def _let_in(self, session: Session) -> None:
        """If our old nexus was excluded, that is over."""
        context = self._context
        if self._registered:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(context.settings.fence_timeout):
                    await context.exclusion.let_in(self.path_id, session, self._lun)

    async def _register_key(self, session: Session) -> bool:
        """Whether our key is registered now; no error where the target has none and another fence will do."""
        context = self._context
        if not context.exclusion.used:
            return False
        registered = await context.exclusion.register(self.path_id, session, self._lun)
        if not registered and context.settings.fence in ("preempt", "lun_reset"):
            raise ConnectionLost(
                f"fence {context.settings.fence} needs persistent reservations, which the target does not have")
        return registered

    def _record(self, kind: Kind, **fields: str | int | None) -> None:
        self._context.journal.record(self._context.clock(), self.name, kind, **fields)
