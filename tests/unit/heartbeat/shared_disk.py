"""Nodes on one shared disk in virtual time: machines, and a disk that stalls or fails for some of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from mpio.events import Kind
from mpio.heartbeat.machine import Action, Fence, Happened, Heartbeat, Input, Read, ReadDone, Write, WriteDone
from mpio.units import NS_PER_S

MS = 1_000_000


@dataclass(frozen=True)
class Trouble:
    """I/O of `node` issued from `start` to `end` is done at `end`, or fails at once with `error`."""

    node: int
    start: int
    end: int
    error: str = ""


@dataclass
class SharedDisk:
    """Runs machines against each other.

    A write is on the disk when it is done. `latency_ns` is that of I/O without trouble.
    """

    machines: dict[int, Heartbeat]
    troubles: tuple[Trouble, ...] = ()
    latency_ns: int = MS
    size: int = 256 * 512
    now: int = 0
    happened: list[tuple[int, int, Happened]] = field(default_factory=list)
    fenced: dict[int, int] = field(default_factory=dict)
    issued: list[tuple[int, int]] = field(default_factory=list)
    """When, and by whom, each I/O."""
    outstanding_max: int = 0

    def __post_init__(self) -> None:
        self.disk = bytearray(self.size)
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._armed: dict[int, int | None] = dict.fromkeys(self.machines)
        self._out = dict.fromkeys(self.machines, 0)

    def at(self, when: int, what: Callable[[], None]) -> None:
        """Do something later."""
        self._order += 1
        heappush(self._queue, (when, self._order, what))

    def start(self, node: int, when: int = 0) -> None:
        """Start a node."""
        self.at(when, lambda: self._do(node, self.machines[node].start(self.now)))

    def tell(self, node: int, item: Input, when: int) -> None:
        """Give a node an input."""
        self.at(when, lambda: self._do(node, self.machines[node].handle(item, self.now)))

    def kill(self, node: int, when: int) -> None:
        """A node crashes."""
        self.at(when, lambda: self.machines.__delitem__(node))

    def run(self, until: int) -> None:
        """Go on until then."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, what = heappop(self._queue)
            what()
        self.now = until

    def kinds(self, node: int) -> list[Kind]:
        """What a node told, in order."""
        return [item.kind for _, teller, item in self.happened if teller == node]

    def when(self, node: int, kind: Kind) -> list[int]:
        """When a node told this."""
        return [at for at, teller, item in self.happened if teller == node and item.kind is kind]

    def _do(self, node: int, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Read() | Write():
                    self.issued.append((self.now, node))
                    self._out[node] += 1
                    self.outstanding_max = max(self.outstanding_max, self._out[node])
                    done, error = self._fate(node)
                    self.at(done, lambda action=action, error=error: self._finish(node, action, error))  # type: ignore[misc]
                case Happened():
                    self.happened.append((self.now, node, action))
                case Fence():
                    self.fenced[node] = self.now
                case _:
                    pass
        if node in self.machines:
            self._arm(node)

    def _arm(self, node: int) -> None:
        due = self.machines[node].next_deadline()
        self._armed[node] = due
        if due is not None:
            self.at(max(due, self.now), lambda: self._timer(node, due))

    def _timer(self, node: int, due: int) -> None:
        if node in self.machines and self._armed[node] == due:
            self._armed[node] = None
            self._do(node, self.machines[node].handle_timer(self.now))

    def _fate(self, node: int) -> tuple[int, str]:
        for trouble in self.troubles:
            if trouble.node == node and trouble.start <= self.now < trouble.end:
                return (self.now if trouble.error else trouble.end) + self.latency_ns, trouble.error
        return self.now + self.latency_ns, ""

    def _finish(self, node: int, action: Read | Write, error: str) -> None:
        self._out[node] -= 1
        if isinstance(action, Read):
            data = None if error else bytes(self.disk[action.offset:action.offset + action.length])
            item: ReadDone | WriteDone = ReadDone(action.tag, data, error)
        else:
            if not error:
                self.disk[action.offset:action.offset + len(action.data)] = action.data
            item = WriteDone(action.tag, error)
        if node in self.machines:
            self._do(node, self.machines[node].handle(item, self.now))


def seconds(value: float) -> int:
    """In ns."""
    return round(value * NS_PER_S)
