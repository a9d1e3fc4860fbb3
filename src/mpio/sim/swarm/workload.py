"""The I/O of a run: workers that write stamped blocks, read, and flush, each one I/O at a time in blocks of its own.

A worker reads anywhere. A block whose write ended as unknown is not written again: nobody can tell then what a later
read would have to find.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from mpio.check.queueing import QueueCheck
from mpio.engine.map import MultipathMap, Request
from mpio.errors import OutcomeUnknown
from mpio.sim.swarm.judge import Judge
from mpio.sim.swarm.schedule import Process

_ERROR_PAUSE_NS = 10_000_000  # so that errors that come at once don't make a busy loop
CONFIRM_READS = 2  # of something wrong, so that a lost write can be told from a stale read


@dataclass(frozen=True, slots=True)
class WorkSpec:
    """What workers do.

    Attributes:
        workers: of each host. blocks: of each worker. ios: that each does before the faults are healed.
        blocks_max: of one I/O. reads, flushes: share of I/Os; the rest are writes. fua: share of writes.
        think_ns: pause between I/Os, up to.
    """

    workers: int
    blocks: int
    ios: int
    blocks_max: int
    reads: float
    flushes: float
    fua: float
    think_ns: int


class Worker:
    """One of them.

    Attributes:
        number: counted over all hosts. done: I/Os that ended well since `go_on`. since_ns: when the one under way was
            sent; None if none is.
    """

    def __init__(
        self, number: int, spec: WorkSpec, host: MultipathMap, process: Process, clock: Callable[[], int],
        judge: Judge, queue: QueueCheck, blocks_total: int, rng: random.Random, counts: Counter[str],
        arm: Callable[[], None],
    ) -> None:
        self.number = number
        self.done = 0
        self.left = spec.ios
        self.since_ns: int | None = None
        self.what = ""
        self._spec = spec
        self._map = host
        self._process = process
        self._clock = clock
        self._judge = judge
        self._queue = queue
        self._blocks_total = blocks_total
        self._rng = rng
        self._counts = counts
        self._arm = arm
        self._first = number * spec.blocks
        self._retired: dict[int, None] = {}  # blocks that are not written again
        self._sequence = 0
        self._confirming = 0
        self._idle = True
        self._begun = False
        self._wanted = 0
        self._give_up: Callable[[], None] | None = None
        self._block_size = judge.stamper.block_size

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing more to do."""
        return self._idle and self._begun

    def start(self) -> None:
        """Begin."""
        self._begun = True
        self._rouse()

    def go_on(self, ios: int) -> None:
        """So many I/Os have to end well from here on, however many it takes; what was left to do is not done."""
        self.done = self.left = 0
        self._wanted = ios
        if self._begun:
            self._rouse()

    def _rouse(self) -> None:
        if self._idle:
            self._idle = False
            self._process.later(self._rng.randrange(1_000_000), self._next)

    def crash(self) -> None:
        """The host is gone: what was under way has an unknown outcome, and nothing follows."""
        self.left = 0
        if self._give_up is not None:
            self._give_up()
        self.since_ns = None
        self._idle = True

    def _next(self) -> None:
        if self.left <= 0 and self.done >= self._wanted:
            self._idle = True
            return
        self.left -= 1
        spec, rng = self._spec, self._rng
        dice = rng.random()
        self.since_ns = self._process.schedule.now
        if dice < spec.flushes:
            self._flush()
        elif dice < spec.flushes + spec.reads:
            count = min(rng.randint(1, spec.blocks_max), self._blocks_total)
            self._read(rng.randrange(self._blocks_total - count + 1), count)
        else:
            count = min(rng.randint(1, spec.blocks_max), spec.blocks)
            lba = self._first + rng.randrange(spec.blocks - count + 1)
            if any(block in self._retired for block in range(lba, lba + count)):
                self._read(lba, count)
            else:
                self._write(lba, count)
        self._arm()

    def _ended(self, name: str, request: Request) -> None:
        self.since_ns = self._give_up = None
        error = request.error
        self._counts[f"{name} {'ok' if error is None else type(error).__name__}"] += 1
        pause_ns = self._rng.randrange(self._spec.think_ns) if self._spec.think_ns else 0
        if error is None:
            self.done += 1
        else:
            pause_ns += _ERROR_PAUSE_NS
        self._process.later(pause_ns, self._next)

    def _read(self, lba: int, count: int) -> None:
        self.what = f"read of {count} blocks at {lba}"
        buffer = bytearray(count * self._block_size)
        token = self._judge.read_begins(lba, count)

        def done(request: Request) -> None:
            self._queue.ended(len(buffer))
            if request.error is not None or self._judge.read_ends(token, lba, buffer, self._process.schedule.now):
                self._confirming = 0
            elif self._confirming < CONFIRM_READS:
                self._confirming += 1
                self._process.soon(self._read_again, lba, count)
                return
            self._ended("read", request)

        self._queue.submitted(len(buffer))
        self._map.submit_read(lba * self._block_size, memoryview(buffer), done, self._clock())

    def _read_again(self, lba: int, count: int) -> None:
        self._read(lba, count)
        self._arm()

    def _write(self, lba: int, count: int) -> None:
        self.what = f"write of {count} blocks at {lba}"
        self._sequence += 1
        sequence, judge, schedule = self._sequence, self._judge, self._process.schedule
        fua = self._rng.random() < self._spec.fua
        data = bytes(judge.stamper.make(lba, count, self.number, sequence))
        token = judge.write_begins(lba, count, sequence)
        self._give_up = lambda: judge.write_lost(lba, count, sequence, schedule.now)

        def done(request: Request) -> None:
            self._queue.ended(len(data))
            judge.write_ends(token, lba, count, sequence, request.error, schedule.now,
                             landed=request.may_have_landed, fua=fua)
            if isinstance(request.error, OutcomeUnknown):
                self._retired.update(dict.fromkeys(range(lba, lba + count)))
            self._ended("write", request)

        self._queue.submitted(len(data))
        self._map.submit_write(lba * self._block_size, data, done, self._clock(), fua=fua)

    def _flush(self) -> None:
        self.what = "flush"
        token = self._judge.flush_begins()

        def done(request: Request) -> None:
            self._queue.ended(0)
            self._judge.flush_ends(token, acknowledged=request.error is None)
            self._ended("flush", request)

        self._queue.submitted(0)
        self._map.submit_flush(done, self._clock())
