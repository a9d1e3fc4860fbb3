"""A closed-loop load on a disk: so many requests always under way, each slot starting its next as one ends.

It uses the map's callback interface, so that what is measured is the map and the initiator, not asyncio's futures.
"""

import asyncio
import itertools
import random
import time
from array import array
from dataclasses import dataclass
from typing import Literal

from mpio.engine.map import Request
from mpio.errors import InputError, MapIoError
from mpio.io.disk import Disk
from mpio.units import NS_PER_S

Pattern = Literal["random", "sequential"]
OFFSETS_MAX = 65_536  # random offsets are drawn beforehand; the list is cycled through
SAMPLES_MAX = 20_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """What to run. `read_fraction` 1.0 reads only, 0.0 writes only."""

    block_bytes: int = 4096
    queue_depth: int = 32
    duration_ns: int = 5 * NS_PER_S
    warm_up_ns: int = NS_PER_S // 2
    read_fraction: float = 1.0
    pattern: Pattern = "random"
    seed: int = 1


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What was measured, warm-up left out. Latencies in ns by name: p50, p90, p99, p999, max."""

    ios: int
    errors: int
    elapsed_ns: int
    cpu_ns: int
    block_bytes: int
    latency_ns: dict[str, int]
    first_error: str | None

    @property
    def iops(self) -> float:
        """Requests a second."""
        return self.ios * NS_PER_S / self.elapsed_ns if self.elapsed_ns else 0.0

    @property
    def mb_per_s(self) -> float:
        """Megabytes (10^6) a second."""
        return self.iops * self.block_bytes / 1e6

    @property
    def cpu_us_per_io(self) -> float:
        """Microseconds of this process's CPU, user and system, for each request."""
        return self.cpu_ns / 1000 / self.ios if self.ios else 0.0


class _Run:
    """State of one run, shared by its slots."""

    def __init__(self, disk: Disk, load: Load) -> None:
        self.disk = disk
        self.load = load
        self.clock = time.monotonic_ns
        self.samples: array[int] = array("q")
        self.errors = 0
        self.first_error: MapIoError | None = None
        self.end_ns = 0
        self.active = load.queue_depth
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        blocks = disk.size_bytes // load.block_bytes
        rng = random.Random(load.seed)
        count = min(blocks, OFFSETS_MAX)
        if load.pattern == "random":
            offsets = [rng.randrange(blocks) * load.block_bytes for _ in range(count)]
        else:
            offsets = [index * load.block_bytes for index in range(count)]
        self.next_offset = itertools.cycle(offsets).__next__
        kinds = [rng.random() < load.read_fraction for _ in range(4096)]
        self.reads_only = load.read_fraction >= 1
        self.next_is_read = itertools.cycle(kinds).__next__

    def slot_ended(self) -> None:
        self.active -= 1
        if self.active == 0:
            self.finished.set_result(None)


class _Slot:
    """One of the requests that are under way."""

    __slots__ = ("buffer", "callback", "data", "run", "started_ns")

    def __init__(self, run: _Run, data: bytes) -> None:
        self.run = run
        self.buffer = memoryview(bytearray(run.load.block_bytes))
        self.data = data
        self.callback = self.done  # bound once
        self.started_ns = 0

    def start(self, now: int) -> None:
        run = self.run
        self.started_ns = now
        if run.reads_only or run.next_is_read():
            run.disk.map.submit_read(run.next_offset(), self.buffer, self.callback, now)
        else:
            run.disk.map.submit_write(run.next_offset(), self.data, self.callback, now)

    def done(self, request: Request) -> None:
        run = self.run
        now = run.clock()
        if request.error is None:
            run.samples.append(now - self.started_ns)
        else:
            run.errors += 1
            run.first_error = run.first_error or request.error
        if now < run.end_ns and run.errors < 1000 and len(run.samples) < SAMPLES_MAX:
            self.start(now)
        else:
            run.slot_ended()


async def run_load(disk: Disk, load: Load) -> LoadResult:
    """Run the load on an open disk. Raises InputError if its shape doesn't fit the disk."""
    if load.block_bytes % disk.block_size or not 0 < load.block_bytes <= disk.size_bytes:
        raise InputError(
            "block size",
            f"expected a multiple of {disk.block_size} and at most {disk.size_bytes} bytes, found {load.block_bytes}",
        )
    if load.warm_up_ns:
        await _measure(disk, load, load.warm_up_ns)
    return await _measure(disk, load, load.duration_ns)


async def _measure(disk: Disk, load: Load, duration_ns: int) -> LoadResult:
    run = _Run(disk, load)
    data = random.Random(load.seed).randbytes(load.block_bytes)
    cpu_before = time.process_time_ns()
    started = run.clock()
    run.end_ns = started + duration_ns
    for _ in range(load.queue_depth):
        _Slot(run, data).start(run.clock())
    await run.finished
    elapsed = run.clock() - started
    cpu = time.process_time_ns() - cpu_before
    return LoadResult(
        ios=len(run.samples),
        errors=run.errors,
        elapsed_ns=elapsed,
        cpu_ns=cpu,
        block_bytes=load.block_bytes,
        latency_ns=_percentiles(run.samples),
        first_error=str(run.first_error) if run.first_error else None,
    )


def _percentiles(samples: "array[int]") -> dict[str, int]:
    if not samples:
        return {}
    ordered = sorted(samples)
    last = len(ordered) - 1
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {name: ordered[round(last * share)] for name, share in shares.items()}
