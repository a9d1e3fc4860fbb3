"""Verified I/O: workers that write stamped blocks and read them back, all the time that faults come and go.

Each worker owns a stripe of the region, so that every block has one writer, and does one I/O at a time. Before it
writes blocks it reads them, and at the end the whole region is read, so that whatever became of a block is seen before
it is overwritten: a write that was lost, and one that came twice. A read that finds something wrong is repeated at
once, so that a lost write can be told from a stale read.

Read-only (somebody's data is there): reads alone, and all reads of a block must agree.
"""

import asyncio
import random
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

from mpio.check.blocks import AgreementCheck, Finding, ReadToken, RegisterCheck
from mpio.check.history import Ending, IoRecord, Op, runs
from mpio.check.stall import IoTimes
from mpio.check.stamp import Stamper
from mpio.drill.scenario import WorkloadSpec
from mpio.errors import MapIoError, MpioError, OutcomeUnknown
from mpio.model.task import Buffer
from mpio.units import NS_PER_S

SWEEP_BYTES = 128 << 10  # of one I/O of the fill and of the final reads
POOL_BYTES = 1 << 16
CONFIRM_READS = 2  # repetitions of a read that found something wrong
_ERROR_PAUSE_S = 0.01  # so that errors that come at once do not make a busy loop
_PACE_MIN_NS = 1_000_000  # shorter sleeps cost more than they are worth


class WorkDisk(Protocol):
    """What the workload needs of a disk; `mpio.open_map` has it."""

    size_bytes: int
    block_size: int
    clock: Callable[[], int]

    async def read(self, offset: int, length: int) -> Buffer:
        """Read through the map. Raises MapIoError."""

    async def write(self, offset: int, data: Buffer) -> None:
        """Write through the map. Raises MapIoError."""

    async def flush(self) -> None:
        """Flush through the map. Raises MapIoError."""

    async def read_path(self, path_id: int, offset: int, length: int) -> Buffer:
        """Read through one path. Raises MpioError."""


class Workload:
    """The I/O of one run on one disk, and what it found.

    Attributes:
        blocks: how many the region has.
        times: of all I/Os since `mark_start`, but those of the verification.
        counts: I/Os by "op outcome".
        first_errors: a few I/Os that failed, in words.
    """

    def __init__(
        self,
        disk: WorkDisk,
        spec: WorkloadSpec,
        rng: random.Random,
        record: Callable[[IoRecord], None],
        *,
        read_only: bool = False,
        rate: Callable[[], float] | None = None,
    ) -> None:
        self.disk = disk
        self.spec = spec
        self.read_only = read_only
        self.times = IoTimes()
        self.counts: Counter[str] = Counter()
        self.first_errors: list[str] = []
        self.bytes_done = 0
        self._rng = rng
        self._rate = rate or (lambda: spec.rate)
        self._record = record
        self._block_size = disk.block_size
        self._first_lba = spec.offset // disk.block_size
        self.blocks = spec.region // disk.block_size
        self._stamper = Stamper(rng.getrandbits(64), disk.block_size, rng.randbytes(POOL_BYTES))
        self._registers = RegisterCheck(self._first_lba, self.blocks)
        self._agreement = AgreementCheck()
        self._stripes = self._cut_stripes()
        self._sequence = [0] * spec.workers
        self._io = 0
        self._slot_ns = 0
        self._stopping = False
        self._open: dict[int, IoRecord] = {}

    def _cut_stripes(self) -> list[tuple[int, int]]:
        """First block and number of blocks of each worker."""
        edges = [self._first_lba + self.blocks * n // self.spec.workers for n in range(self.spec.workers + 1)]
        return [(low, high - low) for low, high in pairwise(edges)]

    # --- the phases of a run

    async def fill(self) -> None:
        """Write every block of the region once, and read it back. Raises MapIoError if that is not possible."""
        await asyncio.gather(*(self._fill_stripe(worker) for worker in range(self.spec.workers)))
        await self._flush(0)
        for lba, count in self._sweep():
            await self._read(lba, count, 0)

    async def _fill_stripe(self, worker: int) -> None:
        first, blocks = self._stripes[worker]
        step = SWEEP_BYTES // self._block_size
        for lba in range(first, first + blocks, step):
            if not await self._write(lba, min(step, first + blocks - lba), worker):
                raise MapIoError(f"the region could not be filled: {self.first_errors[-1]}")

    async def run(self) -> None:
        """Work until `stop`. Cancelling it gives up what is outstanding."""
        workers = 0 if self.read_only else self.spec.workers
        readers = self.spec.readers + (self.spec.workers if self.read_only else 0)
        async with asyncio.TaskGroup() as group:
            for worker in range(workers):
                group.create_task(self._work(worker), name=f"worker {worker}")
            for reader in range(workers, workers + readers):
                group.create_task(self._read_about(reader), name=f"reader {reader}")

    def stop(self) -> None:
        """Begin no more I/O; `run` returns when what is outstanding has ended."""
        self._stopping = True

    def mark_start(self) -> None:
        """Count latencies and I/Os from here on."""
        self.times = IoTimes()
        self.counts.clear()
        self.bytes_done = 0

    async def verify(self, path_id: int) -> int:
        """Read the whole region through one path and check it. Returns the blocks read; raises MpioError."""
        blocks = 0
        for lba, count in self._sweep():
            if await self._read(lba, count, -1, path=path_id):
                blocks += count
            else:
                raise MpioError(self.first_errors[-1])
        return blocks

    def give_up_open(self) -> int:
        """Close the books on I/Os that never ended; returns how many."""
        now = self.disk.clock()
        for io in self._open.values():
            self.times.add(io.start_ns, now)
            self._finish(io, None, "unknown" if io.op == "write" else "fail", "not ended with the run")
            if io.op == "write" and io.seq is not None:
                self._registers.write_ended(io.offset // self._block_size, io.length // self._block_size, io.seq,
                                            acknowledged=False)
        count = len(self._open)
        self._open.clear()
        return count

    def findings(self) -> list[Finding]:
        """Blocks that are not what they must be."""
        return self._agreement.findings() if self.read_only else self._registers.findings()

    @property
    def faulty_blocks(self) -> int:
        """How many blocks were found wrong, also where the list of findings is cut short."""
        return self._agreement.faulty_blocks if self.read_only else self._registers.faulty_blocks

    @property
    def blocks_checked(self) -> int:
        """How many blocks were read and checked, repetitions included."""
        return self._agreement.blocks_read if self.read_only else self._registers.blocks_read

    @property
    def unread_blocks(self) -> int:
        """How many blocks hold an acknowledged write that was not read back."""
        return 0 if self.read_only else self._registers.unread_blocks

    # --- workers

    async def _work(self, worker: int) -> None:
        spec, rng = self.spec, self._rng
        writes = 0
        while not self._stopping:
            await self._pace()
            lba, count = self._extent(*self._stripes[worker])
            if rng.random() < spec.read_fraction:
                await self._read(lba, count, worker)
                continue
            if not await self._read(lba, count, worker):
                continue  # an error; what was to be checked stays where it is
            await self._pace()
            await self._write(lba, count, worker)
            writes += 1
            if spec.flush_every and writes % spec.flush_every == 0:
                await self._flush(worker)

    async def _read_about(self, worker: int) -> None:
        while not self._stopping:
            await self._pace()
            await self._read(*self._extent(self._first_lba, self.blocks), worker)

    def _extent(self, first: int, blocks: int) -> tuple[int, int]:
        count = min(self._rng.choice(self.spec.block_sizes) // self._block_size, blocks)
        return first + self._rng.randrange(blocks - count + 1), count

    def _sweep(self) -> Sequence[tuple[int, int]]:
        step = SWEEP_BYTES // self._block_size
        end = self._first_lba + self.blocks
        return [(lba, min(step, end - lba)) for lba in range(self._first_lba, end, step)]

    async def _pace(self) -> None:
        """Wait for the next slot of the common rate. Slots that a stall has missed are not made up for."""
        rate = self._rate()
        if rate <= 0:
            return
        now = self.disk.clock()
        self._slot_ns = max(now, self._slot_ns + round(NS_PER_S / rate))
        if self._slot_ns - now >= _PACE_MIN_NS:
            await asyncio.sleep((self._slot_ns - now) / NS_PER_S)

    # --- single I/Os: each is recorded, counted and checked; errors are results

    async def _read(self, lba: int, count: int, worker: int, path: int | None = None) -> bool:
        data, io, token = await self._read_once(lba, count, worker, path)
        if data is None:
            return False
        if self._check_read(data, io, token, lba):
            for _ in range(CONFIRM_READS):
                data, io, token = await self._read_once(lba, count, worker, path)
                if data is not None:
                    self._check_read(data, io, token, lba)
        return True

    async def _read_once(self, lba: int, count: int, worker: int, path: int | None,
                         ) -> tuple[Buffer | None, IoRecord, ReadToken]:
        offset, length = lba * self._block_size, count * self._block_size
        token = self._registers.read_invoked(lba, count)
        io = self._begin("read", offset, length, worker, path=path)
        try:
            if path is None:
                data = await self.disk.read(offset, length)
            else:
                data = await self.disk.read_path(path, offset, length)
        except MpioError as error:
            await self._failed(io, error)
            return None, io, token
        return data, io, token

    def _check_read(self, data: Buffer, io: IoRecord, token: ReadToken, lba: int) -> bool:
        """Judge what a read returned, and close its record. Returns whether something is wrong."""
        now = self.disk.clock()
        self._ended(io, now)
        if self.read_only:
            view, size = memoryview(data), self._block_size
            before = self._agreement.faulty_blocks
            self._agreement.read_ended(
                lba, [zlib.crc32(view[at:at + size]) for at in range(0, len(view), size)],
                t_ns=now, path=io.path, io=io.id)
            self._finish(io, now, "ok", None)
            return self._agreement.faulty_blocks > before
        found = self._stamper.scan(lba, data)
        wrong = self._registers.read_ended(token, lba, found, t_ns=now, path=io.path, io=io.id,
                                           describe=_Descriptions(self._stamper, data))
        self._finish(io, now, "ok", None, seen=runs(found))
        return bool(wrong)

    async def _write(self, lba: int, count: int, worker: int) -> bool:
        self._sequence[worker] += 1
        sequence = self._sequence[worker]
        data = self._stamper.make(lba, count, worker, sequence)
        self._registers.write_invoked(lba, count, sequence)
        io = self._begin("write", lba * self._block_size, len(data), worker, seq=sequence)
        try:
            await self.disk.write(io.offset, data)
        except MpioError as error:
            self._registers.write_ended(lba, count, sequence, acknowledged=False)
            await self._failed(io, error)
            return False
        now = self.disk.clock()
        self._registers.write_ended(lba, count, sequence, acknowledged=True)
        self._ended(io, now)
        self._finish(io, now, "ok", None)
        return True

    async def _flush(self, worker: int) -> None:
        io = self._begin("flush", 0, 0, worker)
        try:
            await self.disk.flush()
        except MpioError as error:
            await self._failed(io, error)
            return
        now = self.disk.clock()
        self._ended(io, now)
        self._finish(io, now, "ok", None)

    # --- books

    def _begin(self, op: Op, offset: int, length: int, worker: int, *, seq: int | None = None,
               path: int | None = None) -> IoRecord:
        self._io += 1
        io = IoRecord(self._io, op, offset, length, self.disk.clock(), None, "unknown", None, seq, worker, None,
                      None if path is None else str(path))
        self._open[io.id] = io
        return io

    def _ended(self, io: IoRecord, now: int) -> None:
        del self._open[io.id]
        if io.path is None:
            self.times.add(io.start_ns, now)
            self.bytes_done += io.length

    def _finish(self, io: IoRecord, end_ns: int | None, outcome: Ending, error: str | None,
                seen: tuple[tuple[int, int], ...] | None = None) -> None:
        op = io.op if io.path is None else "verification read"
        self.counts[f"{op} {'unfinished' if end_ns is None else outcome}"] += 1
        self._record(IoRecord(io.id, io.op, io.offset, io.length, io.start_ns, end_ns, outcome, error, io.seq,
                              io.worker, seen, io.path))

    async def _failed(self, io: IoRecord, error: MpioError) -> None:
        now = self.disk.clock()
        outcome: Ending = "unknown" if isinstance(error, OutcomeUnknown) else "fail"
        if len(self.first_errors) < 10 or io.path is not None:
            place = f"{io.op} of {io.length} bytes at {io.offset}" if io.length else io.op
            self.first_errors.append(f"{place}: {error}")
        self._ended(io, now)
        self._finish(io, now, outcome, f"{type(error).__name__}: {error}")
        await asyncio.sleep(_ERROR_PAUSE_S)


class _Descriptions(Sequence[str]):
    """What each block of a read holds, in words; made only for the blocks that somebody asks for."""

    def __init__(self, stamper: Stamper, data: Buffer) -> None:
        self._stamper = stamper
        self._data = memoryview(data)

    def __len__(self) -> int:
        return len(self._data) // self._stamper.block_size

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        size = self._stamper.block_size
        return self._stamper.describe(self._data[index * size:(index + 1) * size])
