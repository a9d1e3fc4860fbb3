"""One session of a host: log in, run single commands, log out. What `io.session` is in real time."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from mpio.errors import ConnectFailed, ConnectionLost, LoginRejected
from mpio.events import Journal, Kind
from mpio.model.settings import Settings
from mpio.model.task import Barrier, Outcome, Task
from mpio.proto.iscsi import InitiatorConnection, LoginParams, TaskFunction, TaskResponse
from mpio.proto.iscsi import initiator_events as ev
from mpio.proto.iscsi.initiator import ConnectionState
from mpio.sim.swarm.endpoint import Endpoint
from mpio.sim.swarm.judge import Judge
from mpio.sim.swarm.link import Cable, End
from mpio.sim.swarm.schedule import Process
from mpio.sim.swarm.strand import Promise, Routine, wait
from mpio.units import seconds


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command brought."""

    status: int
    sense: bytes
    data: bytes


class Session:
    """A session, from its connect to its end.

    Attributes:
        connection: the protocol engine.
        lost: kept with the cause when the connection has ended.
        on_lost: called with the cause in the same instant. number: of its TCP connection.
        on_reset: called when the target has done a LOGICAL UNIT RESET of this session.
    """

    def __init__(
        self, params: LoginParams, settings: Settings, process: Process, clock: Callable[[], int], journal: Journal,
        name: str, after: Callable[[], None], judge: Judge,
    ) -> None:
        self.connection = InitiatorConnection(params)
        self.lost: Promise[str] = Promise()
        self.on_lost: Callable[[str], None] | None = None
        self.on_reset: Callable[[], None] | None = None
        self.number = 0
        self._settings = settings
        self._process = process
        self._clock = clock
        self._journal = journal
        self._name = name
        self._after = after
        self._judge = judge
        self._endpoint: Endpoint[ev.ConnectionEvent] | None = None
        self._logged_in: Promise[ev.ConnectionEvent] = Promise()
        self._logged_out: Promise[None] = Promise()

    def log_in(self, cable: Cable, timeout_ns: int) -> Routine[None]:
        """Connect and log in. Raises ConnectFailed, ConnectionLost or LoginRejected."""
        deadline_ns = self._clock() + timeout_ns
        connected: Promise[End | str] = Promise()
        attempt = cable.connect(self._process, connected.keep)
        answer: End | str | None = None
        try:
            answer = yield from wait(connected, timeout_ns)
        except TimeoutError:
            raise ConnectFailed(f"no answer to the connect within {timeout_ns / 1e9:g} s") from None
        finally:
            if not connected.done:
                attempt.cancel()
            elif answer is None and isinstance(connected.value, End):
                connected.value.close(abort=True)  # it came at the moment at which nobody wanted it any more
        if isinstance(answer, str):
            raise ConnectFailed(answer)
        self.number = answer.number
        self._judge.session_begins(self.number, self._sent_as)
        self._endpoint = Endpoint(answer, self.connection, self._clock, self._on_event, self._after)
        try:
            self.connection.start(self._clock())
            self._endpoint.open()
            event = yield from wait(self._logged_in, max(deadline_ns - self._clock(), 0))
        except TimeoutError:
            self.close("login given up")
            raise ConnectionLost("the login was not answered in time") from None
        except BaseException:
            self.close("login given up")
            raise
        if isinstance(event, ev.LoginFailed):
            self.close("login ended")
            raise LoginRejected(event.message, status=event.status)

    def submit(self, task: Task, now: int) -> None:
        """See engine.map.TaskTransport. The judge is told in which order tasks come."""
        self.connection.submit(task, now)
        self._judge.command_sent(self.number, task)

    def _sent_as(self, itt: int) -> Task | None:
        """The task that has this tag now."""
        return self.connection._tasks.outstanding.get(itt)  # noqa: SLF001 - the target's view of it is compared

    def pump(self) -> None:
        """Send what was submitted, if the connection is still there."""
        if self._endpoint is not None and not self._endpoint.closed:
            self._endpoint.pump()

    def command(self, lun: bytes, cdb: bytes, read_length: int = 0, data_out: bytes | None = None, *,
                ordered: bool = False) -> Routine[Reply]:
        """Run one command beside the map's; `ordered` as `Barrier` says. Raises ConnectionLost."""
        done: Promise[None] = Promise()
        buffer = bytearray(read_length)
        task = (Barrier if ordered else Task)(
            lun, cdb, lambda _: done.keep(None), data_out=data_out,
            read_buffer=memoryview(buffer) if read_length else None, timeout_ns=seconds(self._settings.timeout),
        )
        self._must_be_open()
        self.submit(task, self._clock())
        self.pump()
        yield from wait(done)
        if task.outcome != Outcome.COMPLETED:
            raise ConnectionLost(self.lost.value if self.lost.done else f"the command {cdb[0]:#04x} was given up")
        return Reply(task.status, task.sense, bytes(buffer[:read_length - max(task.residual, 0)]))

    def reset_lun(self, lun: bytes) -> Routine[bool]:
        """LOGICAL UNIT RESET. True if the target says that it is done. Raises ConnectionLost."""
        done: Promise[int | None] = Promise()
        self._must_be_open()
        self.connection.manage(TaskFunction.LOGICAL_UNIT_RESET, lun, done.keep, self._clock())
        self.pump()
        response = yield from wait(done)
        if response is None:
            raise ConnectionLost("ended before the LUN reset was answered")
        return self._was_reset(response)

    def _was_reset(self, response: int) -> bool:
        if response == TaskResponse.FUNCTION_COMPLETE and self.on_reset is not None:
            self.on_reset()
        return response == TaskResponse.FUNCTION_COMPLETE

    def _must_be_open(self) -> None:
        """Raises ConnectionLost."""
        if self.lost.done:
            raise ConnectionLost(self.lost.value)
        state = self.connection.state
        if state is not ConnectionState.FULL_FEATURE:
            raise ConnectionLost(f"the session takes no more commands: {state.value}")

    def log_out(self) -> Routine[None]:
        """End the session in good order, within `logout_timeout`; then the connection is closed in any case."""
        if not self.lost.done:
            if self.connection.state is ConnectionState.FULL_FEATURE:
                self.connection.logout(self._clock())
            self.pump()
            with contextlib.suppress(TimeoutError):
                yield from wait(self._logged_out, seconds(self._settings.logout_timeout))
        self.close("logged out")

    def close(self, cause: str) -> None:
        """End the connection now."""
        if self._endpoint is not None and not self._endpoint.closed:
            self._endpoint.close()
            self.connection.close(self._clock(), cause)
        self._end(cause)

    def _end(self, cause: str) -> None:
        if not self.lost.done:
            self.lost.keep(cause)
            self._judge.session_ends(self.number)
            if self.on_lost is not None:
                self.on_lost(cause)
        self._logged_in.fail(ConnectionLost(cause))
        self._logged_out.keep(None)

    def _record(self, kind: Kind, **fields: str | int | None) -> None:
        self._journal.record(self._clock(), self._name, kind, **fields)

    def _on_event(self, event: ev.ConnectionEvent) -> None:
        match event:
            case ev.LoginCompleted() | ev.LoginFailed() | ev.Redirected():
                self._logged_in.keep(event)
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
                self._logged_out.keep(None)
            case ev.Lost():
                if self._endpoint is not None:
                    self._endpoint.close()
                self._end(event.cause)
            case _:
                pass
