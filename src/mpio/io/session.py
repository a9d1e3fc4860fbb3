"""One iSCSI session of the initiator: connect, log in (following redirections), and awaitable commands on top.

Owns the channel and the `InitiatorConnection`. It knows one connection from TCP connect to its end; whether and when to
try again is the path's business (`io.path`).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from mpio.errors import ConnectionLost, LoginRejected
from mpio.events import Journal, Kind
from mpio.io.channel import Channel
from mpio.io.give_way import GiveWay
from mpio.io.net import SYSTEM, Network, is_within_this_machine
from mpio.model.address import Portal
from mpio.model.settings import Settings
from mpio.model.task import Barrier, Buffer, Outcome, Task
from mpio.proto.iscsi import InitiatorConnection, LoginParams, TaskFunction, TaskResponse
from mpio.proto.iscsi import initiator_events as ev
from mpio.proto.iscsi.initiator import ConnectionState
from mpio.proto.iscsi.negotiation import SessionParams
from mpio.units import seconds


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command brought: SCSI status, sense, and the data that is valid."""

    status: int
    sense: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Route:
    """How to get to a portal: the portal, and the source address or interface to go out by."""

    portal: Portal
    source: str | None = None
    interface: str | None = None


class Session:
    """A session that is logged in, until `lost` says otherwise.

    Attributes:
        connection: the protocol engine, for submitting tasks.
        lost: resolves with the cause when the connection has ended. Never an exception.
        on_lost: called with the cause in the same instant, before anything else can be submitted.
        on_reset: called when the target has done a LOGICAL UNIT RESET of this session.
    """

    def __init__(
        self,
        params: LoginParams,
        settings: Settings,
        clock: Callable[[], int],
        journal: Journal,
        name: str,
        after: Callable[[], None] | None = None,
        network: Network = SYSTEM,
    ) -> None:
        self.connection = InitiatorConnection(params)
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.on_lost: Callable[[str], None] | None = None
        self.on_reset: Callable[[], None] | None = None
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._name = name
        self._after = after
        self._network = network
        self._channel: Channel[ev.ConnectionEvent] | None = None
        self._portal: Portal | None = None
        self._logged_in: asyncio.Future[ev.ConnectionEvent] = asyncio.get_running_loop().create_future()
        self._logged_out: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._discovered: asyncio.Future[ev.DiscoveryAnswered] = asyncio.get_running_loop().create_future()

    @property
    def negotiated(self) -> SessionParams:
        """What the login agreed on."""
        return self.connection.negotiated

    async def _log_in(self, route: Route, timeout_s: float) -> ev.ConnectionEvent:
        sock = await self._network.connect(
            route.portal, timeout_s, source=route.source, interface=route.interface,
            window_bytes=self._settings.tcp_window_size,
        )
        self._portal = route.portal
        self._channel = Channel(
            sock, self.connection, self._clock, self._on_event, self._after, self.connection.owed,
            GiveWay(self._clock) if is_within_this_machine(sock) else None,
        )
        self.connection.start(self._clock())
        self._channel.pump()
        return await self._logged_in

    def pump(self) -> None:
        """Send what was submitted, if the connection is still there."""
        if self._channel is not None and not self._channel.closed:
            self._channel.pump()

    async def command(
        self, lun: bytes, cdb: bytes, read_length: int = 0, *, data_out: Buffer | None = None, timeout_s: float = 0.0,
        ordered: bool = False,
    ) -> Reply:
        """Run one command outside the map's own traffic; `ordered` as `Barrier` says. Raises ConnectionLost."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        buffer = bytearray(read_length)
        task = (Barrier if ordered else Task)(
            lun,
            cdb,
            lambda _: None if done.done() else done.set_result(None),
            data_out=data_out,
            read_buffer=memoryview(buffer) if read_length else None,
            timeout_ns=seconds(timeout_s or self._settings.timeout),
        )
        self._must_be_open()
        self.connection.submit(task, self._clock())
        self.pump()
        await done
        if task.outcome != Outcome.COMPLETED:
            raise ConnectionLost(self.lost.result() if self.lost.done() else f"the command {cdb[0]:#04x} was given up")
        return Reply(task.status, task.sense, bytes(buffer[: read_length - max(task.residual, 0)]))

    async def reset_lun(self, lun: bytes) -> bool:
        """LOGICAL UNIT RESET. True if the target says that it is done. Raises ConnectionLost."""
        done: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._must_be_open()
        self.connection.manage(
            TaskFunction.LOGICAL_UNIT_RESET, lun, lambda r: None if done.done() else done.set_result(r), self._clock()
        )
        self.pump()
        response = await done
        if response is None:
            raise ConnectionLost("ended before the LUN reset was answered")
        return self._was_reset(response)

    def _was_reset(self, response: int) -> bool:
        if response == TaskResponse.FUNCTION_COMPLETE and self.on_reset is not None:
            self.on_reset()
        return response == TaskResponse.FUNCTION_COMPLETE

    def _must_be_open(self) -> None:
        """Raises ConnectionLost also while the session is being logged out, which the target may ask for any time."""
        if self.lost.done():
            raise ConnectionLost(self.lost.result())
        state = self.connection.state
        if state is not ConnectionState.FULL_FEATURE:
            raise ConnectionLost(f"the session takes no more commands: {state.value}")

    async def send_targets(self, text: str = "All") -> list[tuple[str, list[tuple[Portal, int]]]]:
        """The targets and portals that the target lists, each portal with its group tag. Raises ConnectionLost."""
        self.connection.send_targets(text, self._clock())
        self.pump()
        assert self._portal is not None
        here = [(self._portal, 1)]  # a target without an address is to be looked for where we are (RFC 7143 §4.3)
        return [(name, portals or here) for name, portals in (await self._discovered).targets]

    async def logout(self) -> None:
        """End the session in good order, within `logout_timeout`; then the connection is closed in any case."""
        if not self.lost.done():
            if self.connection.state is ConnectionState.FULL_FEATURE:  # else the target asked for it, and it is begun
                self.connection.logout(self._clock())
            self.pump()
            try:
                async with asyncio.timeout(self._settings.logout_timeout):
                    await self._logged_out
            except TimeoutError:
                pass
        self.close("logged out")

    def close(self, cause: str) -> None:
        """End the connection now. Nothing that was not sent yet will be."""
        if self._channel is not None and not self._channel.closed:
            self._channel.close()
            self.connection.close(self._clock(), cause)
        self._end(cause)

    def _end(self, cause: str) -> None:
        if not self.lost.done():
            self.lost.set_result(cause)
            if self.on_lost is not None:
                self.on_lost(cause)
        for future in (self._logged_in, self._discovered):
            if not future.done():
                future.set_exception(ConnectionLost(cause))
                future.exception()  # nobody may be waiting; that is no error
        if not self._logged_out.done():
            self._logged_out.set_result(None)

    def _record(self, kind: Kind, **fields: str | int | None) -> None:
        self._journal.record(self._clock(), self._name, kind, **fields)

    def _on_event(self, event: ev.ConnectionEvent) -> None:
        match event:
            case ev.LoginCompleted() | ev.LoginFailed() | ev.Redirected():
                if not self._logged_in.done():
                    self._logged_in.set_result(event)
            case ev.DiscoveryAnswered():
                if not self._discovered.done():
                    self._discovered.set_result(event)
            case ev.PingTimedOut():
                self._record(Kind.PING_TIMED_OUT, silent_ns=event.silent_ns)
            case ev.AsyncMessage():
                self._record(Kind.ASYNC_MESSAGE, event=event.event, cause=event.text)
            case ev.PduRejected():
                self._record(Kind.PDU_REJECTED, reason=event.reason)
            case ev.TaskTimedOut():
                self._record(Kind.TASK_TIMED_OUT, opcode=event.opcode)
            case ev.TaskAborted():
                self._record(Kind.TASK_ABORTED, response=event.response)
            case ev.LunReset():
                self._record(Kind.LUN_RESET, response=event.response)
                self._was_reset(event.response)
            case ev.LoggedOut():
                self._record(Kind.LOGGED_OUT)
                if not self._logged_out.done():
                    self._logged_out.set_result(None)
            case ev.Lost():
                if self._channel is not None:
                    self._channel.close()
                self._end(event.cause)


async def open_session(
    route: Route,
    params: LoginParams,
    settings: Settings,
    clock: Callable[[], int],
    journal: Journal,
    name: str,
    *,
    after: Callable[[], None] | None = None,
    timeout_s: float | None = None,
    network: Network = SYSTEM,
) -> Session:
    """Connect and log in, following redirections. Raises ConnectFailed, ConnectionLost or LoginRejected."""
    timeout_s = settings.login_timeout if timeout_s is None else timeout_s
    try:
        async with asyncio.timeout(timeout_s):
            for _ in range(settings.login_redirect_max + 1):
                session = Session(params, settings, clock, journal, name, after, network)
                try:
                    event = await session._log_in(route, timeout_s)  # noqa: SLF001 - the other half of the class
                except ConnectionLost as error:
                    session.close("login given up")
                    raise ConnectionLost(f"login at {route.portal} failed: {error}") from None
                except BaseException:
                    session.close("login given up")
                    raise
                if isinstance(event, ev.LoginCompleted):
                    return session
                session.close("login ended")
                if isinstance(event, ev.LoginFailed) and event.retry_with_md5 and len(settings.chap_algs) > 1:
                    # Some targets compare the whole list of algorithms with "5": offer that alone, once
                    settings = settings.replace(chap_algs=("MD5",))
                    params = replace(params, settings=settings)
                    continue
                if isinstance(event, ev.LoginFailed):
                    raise LoginRejected(f"{route.portal} refused the login: {event.message}", status=event.status)
                assert isinstance(event, ev.Redirected)
                journal.record(clock(), name, Kind.LOGIN_REDIRECTED, portal=str(route.portal), to=str(event.portal))
                route = Route(event.portal, route.source, route.interface)
            raise LoginRejected(f"more than {settings.login_redirect_max} login redirections", status=0x0101)
    except TimeoutError:
        raise ConnectionLost(f"{route.portal} did not answer the login within {timeout_s:g} s") from None
