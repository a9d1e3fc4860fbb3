"""The filters of a target in their order, and the commands on their way through them.

While there are no filters, sessions run their commands without passing here at all: `refresh` decides for each session
what its connection calls.
"""

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mpio.model.identity import AluaState
from mpio.model.task import Buffer
from mpio.proto.iscsi.target import TargetConnection
from mpio.proto.iscsi.target_task import TargetTask
from mpio.target.device import TargetDevice
from mpio.target.filters.base import Filter
from mpio.target.filters.request import Occasion, Onward, Reply, Request
from mpio.target.nexus import Nexus
from mpio.target.response import Response

FILTERS_MAX = 64
LOG_MAX = 1000  # records kept for those who ask later

Complete = Callable[[TargetTask, int, Buffer | Sequence[Buffer], bytes, int | None], None]
"""As `TargetConnection.complete`."""

Runner = Callable[[Complete], Callable[[TargetTask], None]]
"""Makes the function that runs the commands of a session, of what is to be done with their answers."""


class FilterChain:
    """Filters between sessions and units. See `base.Surroundings` for what they may do here.

    Args:
        device: what the filters are in front of.
        set_group_state: changes the ALUA state of a group.

    Attributes:
        clock: time in ns; set before filters that need one are added.
        wake: called when `next_deadline` may have come nearer.
        on_log: gets each record that a filter writes. records: the last ones.
    """

    def __init__(self, device: TargetDevice, set_group_state: Callable[[int, AluaState], None]) -> None:
        self.device = device
        self.set_group_state = set_group_state
        self.clock: Callable[[], int] = lambda: 0
        self.wake: Callable[[], None] | None = None
        self.on_log: Callable[[Mapping[str, Any]], None] | None = None
        self.records: deque[Mapping[str, Any]] = deque(maxlen=LOG_MAX)
        self._filters: dict[str, Filter] = {}
        self._active: tuple[Filter, ...] = ()
        self._nop_filters: tuple[Filter, ...] = ()
        self._sessions: dict[Nexus, _Session] = {}
        self._timers: list[_Timer] = []
        self._timer_count = 0
        self._windows: dict[str, _Timer] = {}

    # --- filters

    @property
    def filters(self) -> Mapping[str, Filter]:
        """By id, in order."""
        return self._filters

    def add(self, filter_: Filter, key: str = "") -> str:
        """Put a filter behind those there are. Returns its id: `key`, or one made of its name. Raises ValueError."""
        key = key or self._new_key(filter_.name)
        if key in self._filters:
            raise ValueError(f"there is a filter {key!r} already")
        if len(self._filters) >= FILTERS_MAX:
            raise ValueError(f"expected at most {FILTERS_MAX} filters")
        filter_.check()
        filter_.join(self)
        self._filters[key] = filter_
        limits = filter_.limits
        if limits.after_ns:
            self._windows[key] = self.later(limits.after_ns, lambda: self._start(key, filter_))
        else:
            self._start(key, filter_)
        return key

    def remove(self, key: str) -> None:
        """Take a filter away. Raises ValueError if there is none."""
        filter_ = self._filters.pop(key, None)
        if filter_ is None:
            raise ValueError(f"there is no filter {key[:60]!r}")
        timer = self._windows.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._stop(filter_)

    def _new_key(self, name: str) -> str:
        number = 1
        while f"{name}-{number}" in self._filters:
            number += 1
        return f"{name}-{number}"

    def _start(self, key: str, filter_: Filter) -> None:
        self._windows.pop(key, None)
        filter_.is_on = True
        self._refresh()
        if filter_.limits.lasts_ns is not None:
            self._windows[key] = self.later(filter_.limits.lasts_ns, lambda: self._stop(filter_))
        filter_.started()

    def _stop(self, filter_: Filter) -> None:
        if filter_.is_on:
            filter_.is_on = False
            self._refresh()
            filter_.stopped()

    def _refresh(self) -> None:
        self._active = tuple(filter_ for filter_ in self._filters.values() if filter_.is_on)
        self._nop_filters = tuple(filter_ for filter_ in self._active if filter_.hears_nops)
        for session in self._sessions.values():
            self._route(session)

    # --- sessions

    def attach(self, nexus: Nexus, connection: TargetConnection, runner: Runner) -> None:
        """A session begins: see to it that its commands come by, if there are filters, and else go straight."""
        session = _Session(nexus, connection, runner(connection.complete), runner(_answered))
        self._sessions[nexus] = session
        self._route(session)

    def detach(self, nexus: Nexus) -> None:
        """A session has ended."""
        self._sessions.pop(nexus, None)

    def _route(self, session: "_Session") -> None:
        connection = session.connection
        connection.on_command = self._enter(session) if self._active else session.straight
        connection.on_nop = self._nop(session.nexus, connection) if self._nop_filters else None

    def _enter(self, session: "_Session") -> Callable[[TargetTask], None]:
        nexus, complete, unit_of = session.nexus, session.connection.complete, self.device.by_lun.get

        def enter(task: TargetTask) -> None:
            def reply(response: Response) -> None:
                complete(task, response.status, response.data, response.sense, response.length)

            self._pass(self._active, 0, Request(nexus, task, unit_of(task.lun)), session.run, reply)

        return enter

    def _pass(
        self, filters: tuple[Filter, ...], index: int, request: Request, run: Callable[[TargetTask], None], reply: Reply
    ) -> None:
        """Take a command to the next filter that strikes it, or to its unit."""
        while index < len(filters):
            filter_ = filters[index]
            index += 1
            if not filter_.is_on:
                continue
            if filter_.limits.fits(request) and filter_.concerns(request) and filter_.limits.strike():
                filter_.handle(request, self._rest(filters, index, request, run), reply)
                return
            if filter_.watches(request):
                filter_.watch(request, self._rest(filters, index, request, run), reply)
                return
        if request.is_alive:  # else it was ended while a filter had it, and must have no effect any more
            request.task.context = reply
            run(request.task)

    def _rest(
        self, filters: tuple[Filter, ...], index: int, request: Request, run: Callable[[TargetTask], None]
    ) -> Onward:
        return lambda reply: self._pass(filters, index, request, run, reply)

    def _nop(self, nexus: Nexus, connection: TargetConnection) -> Callable[[], bool]:
        occasion = Occasion(nexus, connection)

        def answers() -> bool:
            return all(
                filter_.answers_nop(occasion) for filter_ in self._nop_filters
                if filter_.limits.fits_session(occasion) and filter_.limits.strike()
            )

        return answers

    # --- what filters may do

    def now(self) -> int:
        """See Surroundings."""
        return self.clock()

    def occasions(self) -> list[Occasion]:
        """See Surroundings."""
        return [Occasion(session.nexus, session.connection) for session in self._sessions.values()]

    def log(self, record: Mapping[str, Any]) -> None:
        """See Surroundings."""
        self.records.append(record)
        if self.on_log is not None:
            self.on_log(record)

    # --- time

    def later(self, delay_ns: int, action: Callable[[], object]) -> "_Timer":
        """See Surroundings."""
        self._timer_count += 1
        timer = _Timer(self.clock() + delay_ns, self._timer_count, action)
        heapq.heappush(self._timers, timer)
        if self._timers[0] is timer and self.wake is not None:
            self.wake()
        return timer

    def next_deadline(self) -> int | None:
        """When to call `handle_timer`, in ns, or None."""
        while self._timers and self._timers[0].action is None:
            heapq.heappop(self._timers)
        return self._timers[0].deadline_ns if self._timers else None

    def handle_timer(self, now: int) -> None:
        """Do what is due, in order. Early and repeated calls do nothing."""
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            action = heapq.heappop(self._timers).action
            if action is not None:
                action()


def _answered(
    task: TargetTask, status: int, data: Buffer | Sequence[Buffer], sense: bytes, length: int | None
) -> None:
    """A unit has answered a command that came by the filters: back through them, by the way it came."""
    reply: Any = task.context
    if not isinstance(data, bytes):
        data = bytes(data) if isinstance(data, bytearray | memoryview) else b"".join(data)
    reply(Response(status, sense, data, length))


class _Session:
    """A session, and its two ways to run a command: straight, and with the answer back through the filters."""

    __slots__ = ("connection", "nexus", "run", "straight")

    def __init__(
        self, nexus: Nexus, connection: TargetConnection, straight: Callable[[TargetTask], None],
        run: Callable[[TargetTask], None],
    ) -> None:
        self.nexus = nexus
        self.connection = connection
        self.straight = straight
        self.run = run


class _Timer:
    """See base.Timer. Ordered by deadline, and those of one deadline as they were made."""

    __slots__ = ("action", "deadline_ns", "number")

    def __init__(self, deadline_ns: int, number: int, action: Callable[[], object]) -> None:
        self.deadline_ns = deadline_ns
        self.number = number
        self.action: Callable[[], object] | None = action

    def __lt__(self, other: "_Timer") -> bool:
        return (self.deadline_ns, self.number) < (other.deadline_ns, other.number)

    def cancel(self) -> None:
        self.action = None
