"""The shell of a heartbeat machine: carries out its actions over blocks, a network and a guard, and tells the outcome.

    guard = ReportingGuard()
    agent = Agent(machine, node=1, blocks=MapBlocks(disk), guard=guard, journal=journal, network=network)
    agent.start()
    ...
    agent.tell(Leave())
    status = await agent.ended()

Everything happens on one event loop; only what the blocks do may happen elsewhere.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Protocol

from mpio.events import Journal
from mpio.heartbeat.machine import (
    Action,
    Cause,
    Connected,
    Disconnected,
    Extend,
    Fence,
    Happened,
    Heartbeat,
    Held,
    Input,
    NodeState,
    Read,
    ReadDone,
    Received,
    Send,
    Status,
    Write,
    WriteDone,
)
from mpio.io.heartbeat_network import Arrived, Linked, News
from mpio.io.heartbeat_store import Blocks
from mpio.units import NS_PER_S

FAREWELL_S = 5.0  # that a fenced node waits for its acknowledgement to be written, which may never be


class Guard(Protocol):
    """What stops a node that must stop."""

    def extend(self, until_ns: int) -> None:
        """The node may live until then without another word. In the agent's clock."""

    async def fence(self, fence: Fence) -> bool:
        """Stop the node's I/O. True once nothing of it can reach the storage any more; False if that is not known."""

    def release(self) -> None:
        """The node has left cleanly, or was never a member: nothing has to be guarded any more."""


class Messages(Protocol):
    """The cluster network, as an agent uses it; `io.heartbeat_network.ClusterNetwork` is one."""

    def open(self, tell: Callable[[News], None]) -> None:
        """Begin; news go to `tell` on the event loop."""

    def send(self, peer: int, data: bytes) -> None:
        """Send, maybe."""

    def close(self) -> None:
        """End."""


class Agent:
    """One node.

    Args:
        machine: made, not started. blocks: its region, counted from the region's start.
        guard: what stops the node. network: None for a heartbeat on disk only.
        journal: where its events go, as `source`. clock: the node's time in ns, which never goes back.
        wake_ns: look at the clock at least so often. For a clock that goes on while the event loop's stands still, as
            when the machine sleeps: else a deadline that has passed meanwhile is seen as late as the loop sees it.
    """

    def __init__(
        self,
        machine: Heartbeat,
        *,
        blocks: Blocks,
        guard: Guard,
        journal: Journal,
        source: str,
        network: Messages | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        wake_ns: int | None = None,
    ) -> None:
        self.machine = machine
        self.journal = journal
        self.source = source
        self._blocks = blocks
        self._guard = guard
        self._network = network
        self._clock = clock
        self._wake_ns = wake_ns
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._fencing: asyncio.Task[None] | None = None
        self._writing = 0
        self._written = asyncio.Event()  # no write is out
        self._written.set()
        self._stopped = False
        self._broken = False
        self._end: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Begin to heartbeat."""
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.create_future()
        if self._network is not None:
            self._network.open(self._on_news)
        now = self._clock()
        self._carry_out(self.machine.start(now), now)

    def tell(self, item: Input) -> None:
        """Hand the machine an input: `Leave`, `Poison`, `Reachable`, and what the agent itself finds out."""
        if self._stopped or self._broken:
            return
        try:
            now = self._clock()
            deadline = self.machine.next_deadline()
            if deadline is not None and deadline <= now:
                # What is due comes first: after a pause, an old answer must not be taken for a timely one
                self._carry_out(self.machine.handle_timer(now), now)
            self._carry_out(self.machine.handle(item, now), now)
        except Exception as error:  # noqa: BLE001 - see _break
            self._break(error)

    def status(self) -> Status:
        """How things stand now."""
        return self.machine.status(self._clock())

    async def ended(self) -> Status:
        """Wait until the node has left, was refused or is fenced, and end. Returns how it ended.

        Raises what went wrong in the machine or in the guard; then the node was fenced as well, as far as that went.
        """
        assert self._end is not None, "not started"
        try:
            await self._end
        finally:
            await self.stop()
        return self.status()

    async def stop(self) -> None:
        """Stop where it stands, as a crash would: no goodbye on the disk. What the guard holds, it goes on to hold.

        The blocks stay open: they are their owner's.
        """
        if self._stopped:
            return
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._fencing is not None and not self._fencing.done():
            self._fencing.cancel()
        if self._network is not None:
            self._network.close()
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    # --- what the machine wants

    def _carry_out(self, actions: list[Action], now: int) -> None:
        for action in actions:
            match action:
                case Read(tag, offset, length):
                    self._blocks.read(offset, length, self._on_read(tag))
                case Write(tag, offset, data):
                    self._writing += 1
                    self._written.clear()
                    self._blocks.write(offset, data, self._on_written(tag))
                case Extend(until_ns):
                    self._guard.extend(until_ns)
                case Happened(kind, fields):
                    self.journal.record(now, self.source, kind, **fields)
                case Send(peer, data):
                    if self._network is not None:
                        self._network.send(peer, data)
                case Fence():
                    self._fencing = asyncio.get_running_loop().create_task(self._fence(action))
                    self._fencing.add_done_callback(self._on_fenced)
        self._look_for_the_end()
        self._arm()

    def _on_read(self, tag: int) -> Callable[[bytes | None, str], None]:
        return lambda data, error: self.tell(ReadDone(tag, data, error))

    def _on_written(self, tag: int) -> Callable[[str], None]:
        def written(error: str) -> None:
            self.tell(WriteDone(tag, error))
            self._writing -= 1  # only now: what it led to may be the next write
            if not self._writing:
                self._written.set()

        return written

    def _on_news(self, news: News) -> None:
        match news:
            case Arrived(peer, data):
                self.tell(Received(peer, data))
            case Linked(peer, up):
                self.tell(Connected(peer) if up else Disconnected(peer))

    # --- the timer

    def _arm(self) -> None:
        deadline = None if self._stopped else self.machine.next_deadline()
        if self._timer is not None:
            if deadline == self._timer_ns:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            assert self._loop is not None
            self._timer_ns = deadline
            delay_ns = max(deadline - self._clock(), 0)
            if self._wake_ns is not None:
                delay_ns = min(delay_ns, self._wake_ns)
            self._timer = self._loop.call_later(delay_ns / NS_PER_S, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        try:
            now = self._clock()
            deadline = self.machine.next_deadline()
            if deadline is not None and deadline <= now:  # else the loop's clock was ahead of ours, or it was `wake_ns`
                self._carry_out(self.machine.handle_timer(now), now)
            else:
                self._arm()
        except Exception as error:  # noqa: BLE001 - see _break
            self._break(error)

    # --- the end

    def _break(self, error: Exception) -> None:
        """A bug in the machine or here. Others will soon take this node for dead, so it must not just go on."""
        self._broken = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._fencing is None:
            fence = Fence(Cause.STORAGE, f"no heartbeat any more: {type(error).__name__}: {error}")
            self._fencing = asyncio.get_running_loop().create_task(self._fence(fence))
            self._fencing.add_done_callback(lambda _task: self._end_with(error))

    def _end_with(self, error: Exception) -> None:
        if self._end is not None and not self._end.done():
            self._end.set_exception(error)

    async def _fence(self, fence: Fence) -> None:
        if await self._guard.fence(fence):
            self.tell(Held())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._written.wait()

    def _on_fenced(self, task: asyncio.Task[None]) -> None:
        assert self._end is not None
        if self._end.done() or task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._end.set_exception(error)
        else:
            self._end.set_result(None)

    def _look_for_the_end(self) -> None:
        if self._end is None or self._end.done():
            return
        if self.machine.status(self._clock()).state in (NodeState.LEFT, NodeState.REFUSED):
            self._guard.release()
            self._end.set_result(None)
