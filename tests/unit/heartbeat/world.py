"""A cluster of heartbeat machines in virtual time: one shared disk, a network, and what can go wrong with them.

Stalls are windows of one node's storage (or everybody's): an I/O that is issued or still out in one ends when it is
over, or with an error. Everything is in ns and deterministic.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mpio.events import Kind
from mpio.heartbeat.machine import (
    Action,
    Connected,
    Disconnected,
    Fence,
    Happened,
    Heartbeat,
    Held,
    Input,
    Read,
    ReadDone,
    Received,
    Send,
    Write,
    WriteDone,
)
from mpio.units import NS_PER_S, seconds

LATENCY_NS = 1_000_000
NETWORK_NS = 500_000


@dataclass(frozen=True)
class Stall:
    """A node's storage (`node` None: everybody's) hangs from `begin` to `end` (s), or fails with `error` meanwhile.

    `lands`: what is written reaches the disk at once; only the answers are late.
    """

    node: int | None
    begin: float
    end: float
    error: str = ""
    lands: bool = False

    def covers(self, node: int, at: int) -> bool:
        return self.node in (None, node) and seconds(self.begin) <= at < seconds(self.end)


@dataclass
class Told:
    """One event, with when and by whom."""

    at: float
    node: int
    kind: Kind
    fields: dict[str, object]
    generation: int
    """Of the life that told it."""


@dataclass
class World:
    """Drives machines. `rates`: ppm by which a node's clock is fast."""

    size: int = 1 << 18
    holds: bool = True
    """Whether a fence is reported as holding, half a second later."""
    stalls: list[Stall] = field(default_factory=list)
    rates: dict[int, int] = field(default_factory=dict)
    latency: Callable[[int, int], int] | None = None

    def __post_init__(self) -> None:
        self.now = 0
        self.disk = bytearray(self.size)
        self.machines: dict[int, Heartbeat] = {}
        self.fenced: dict[int, float] = {}
        self.fences: dict[int, Fence] = {}
        self.told: list[Told] = []
        self.members: dict[int, float] = {}
        """Generations that became members, and when."""
        self.ended: dict[int, float] = {}
        """Generations that crashed, left or were refused, and when."""
        self.out_max = 0
        self._out: dict[tuple[int, int], int] = {}
        self.actions: list[tuple[int, int, Action]] = []
        self.crashed: dict[int, bool] = {}
        self._lives: dict[int, int] = {}
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._timers: dict[int, int | None] = {}
        self._cut: dict[tuple[int, int], bool] = {}

    # what a test does

    def add(self, node: int, machine: Heartbeat) -> None:
        self.machines[node] = machine
        self._lives[node] = self._lives.get(node, 0) + 1
        self.crashed.pop(node, None)
        self.fenced.pop(node, None)
        self._do(node, machine.start(self.local(node)))
        for other in self.machines:
            if other != node and other not in self.crashed and not self._cut.get((min(node, other), max(node, other))):
                self.give(node, Connected(other))
                self.give(other, Connected(node))

    def intrude(self, key: int, machine: Heartbeat) -> None:
        """A machine that nobody knows of, kept under a key of its own."""
        self.machines[key] = machine
        self._lives[key] = 1
        self._do(key, machine.start(self.local(key)))

    def crash(self, node: int) -> None:
        self.ended.setdefault(self.generation(node), self.now / NS_PER_S)
        self.crashed[node] = True
        self._lives[node] += 1
        self._timers[node] = None
        for other in self.machines:
            if other != node and other not in self.crashed:
                self.give(other, Disconnected(node))

    def cut(self, one: int, other: int, *, heal: bool = False) -> None:
        pair = (min(one, other), max(one, other))
        self._cut[pair] = not heal
        for node, peer in (pair, pair[::-1]):
            if node in self.machines and node not in self.crashed:
                self.give(node, Connected(peer) if heal else Disconnected(peer))

    def split(self, *sides: Iterable[int], heal: bool = False) -> None:
        groups = [tuple(side) for side in sides]
        for index, side in enumerate(groups):
            for other in groups[index + 1:]:
                for one in side:
                    for two in other:
                        self.cut(one, two, heal=heal)

    def give(self, node: int, item: Input) -> None:
        self._do(node, self.machines[node].handle(item, self.local(node)))

    def at(self, second: float, what: Callable[[], None]) -> None:
        self._push(seconds(second), what)

    def run(self, until: float) -> None:
        """Run to a time in seconds."""
        end = seconds(until)
        while True:
            due = [(at, node) for node, at in self._timers.items() if at is not None]
            timer = min(due, default=None)
            head = self._queue[0][0] if self._queue else None
            if head is not None and (timer is None or head <= timer[0]) and head <= end:
                at, _, what = heapq.heappop(self._queue)
                self.now = max(self.now, at)
                what()
            elif timer is not None and timer[0] <= end:
                self.now = max(self.now, timer[0])
                node = timer[1]
                self._do(node, self.machines[node].handle_timer(self.local(node)))
            else:
                self.now = end
                return

    # what it finds

    def generation(self, node: int) -> int:
        return self.machines[node].status(self.local(node)).generation

    def local(self, node: int) -> int:
        return self.now + self.now * self.rates.get(node, 0) // 1_000_000

    def kinds(self, kind: Kind, node: int | None = None) -> list[Told]:
        return [item for item in self.told if item.kind is kind and node in (None, item.node)]

    def state(self, node: int) -> str:
        return self.machines[node].status(self.local(node)).state.value

    def peer(self, node: int, other: int) -> str:
        peers = self.machines[node].status(self.local(node)).peers
        return next(peer.state.value for peer in peers if peer.node == other)

    # how it works

    def _push(self, at: int, what: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._queue, (at, self._order, what))

    def _do(self, node: int, actions: list[Action]) -> None:
        for action in actions:
            self.actions.append((self.now, node, action))
            match action:
                case Read() | Write():
                    self._io(node, action)
                case Send():
                    pair = (min(node, action.peer), max(node, action.peer))
                    if not self._cut.get(pair) and action.peer in self.machines and action.peer not in self.crashed:
                        self._later(action.peer, self.now + NETWORK_NS, Received(node, action.data))
                case Fence():
                    self.fenced[node] = self.now / NS_PER_S
                    self.fences[node] = action
                    if self.holds:
                        self._later(node, self.now + NS_PER_S // 2, Held())
                case Happened():
                    self._tell(node, action)
        deadline = self.machines[node].next_deadline()
        rate = self.rates.get(node, 0)
        if deadline is not None and rate:
            deadline = -(-deadline * 1_000_000 // (1_000_000 + rate))
        self._timers[node] = None if node in self.crashed else deadline

    def _tell(self, node: int, action: Happened) -> None:
        at, generation = self.now / NS_PER_S, self.generation(node)
        self.told.append(Told(at, node, action.kind, dict(action.fields), generation))
        if action.kind is not Kind.HEARTBEAT_STATE_CHANGED:
            return
        old, new = action.fields["old"], action.fields["new"]
        if (old, new) == ("joining", "running"):
            self.members[generation] = at
        elif new in ("left", "refused"):
            self.ended.setdefault(generation, at)

    def _later(self, node: int, at: int, item: Input) -> None:
        life = self._lives[node]

        def arrive() -> None:
            if self._lives[node] == life:
                self.give(node, item)

        self._push(at, arrive)

    def _io(self, node: int, action: Read | Write) -> None:
        at = self.now + (self.latency(node, self.now) if self.latency else LATENCY_NS)
        error, lands = "", at
        for stall in self.stalls:
            if stall.covers(node, self.now) or stall.covers(node, at):
                if stall.error:
                    error = stall.error
                    continue
                if not stall.lands:
                    lands = seconds(stall.end) + LATENCY_NS
                at = seconds(stall.end) + LATENCY_NS
        life = self._lives[node]
        out = self._out[node, life] = self._out.get((node, life), 0) + 1
        self.out_max = max(self.out_max, out)

        def land() -> None:
            if isinstance(action, Write) and not error:
                self.disk[action.offset:action.offset + len(action.data)] = action.data

        def finish() -> None:
            self._out[node, life] -= 1
            if self._lives[node] != life:
                return
            if isinstance(action, Write):
                self.give(node, WriteDone(action.tag, error))
            elif error:
                self.give(node, ReadDone(action.tag, None, error))
            else:
                self.give(node, ReadDone(action.tag, bytes(self.disk[action.offset:action.offset + action.length])))

        self._push(lands, land)
        self._push(at, finish)
