"""Many runs of clusters on all cores, and what they came to together.

Seeds go out in chunks, and what comes back of a chunk is sums. A few chunks are carried out twice, in whichever
processes happen to take them, each with its own order of hashes: their digests must agree.
"""

import gc
import hashlib
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice

from mpio.errors import MpioError
from mpio.sim.cluster.draw import draw_plan
from mpio.sim.cluster.plan import KINDS, Fault
from mpio.sim.cluster.run import RunResult, run_plan

CHUNK = 50
AGAIN = 20  # one chunk in so many is repeated
AHEAD = 3  # chunks handed out per worker
FAILED_KEPT_MAX = 200
COLLECT = 10  # runs between two collections of garbage; some 2 MB each


class CampaignLost(MpioError):
    """A process of the campaign is gone; `tally` has what was done until then."""

    code = "campaign-lost"

    def __init__(self, message: str, tally: "Tally") -> None:
        super().__init__(message)
        self.tally = tally


@dataclass(slots=True)
class Tally:
    """The sum over runs.

    Attributes:
        runs, steps, sim_ns: how much was done. cpu_ns: of the workers.
        counts: fences, ends of lives and events, by name; runs by personality and number of nodes.
        faults: runs by kind of fault, and by pairs of kinds in one run.
        failed: violations by seed, the first ones. failures: how many seeds failed, by kind.
        unlike: first seeds of chunks that came out differently the second time. repeated: how many were done twice.
        slowest: the longest recovery as a share of its bound, in permille, and its seed.
    """

    runs: int = 0
    steps: int = 0
    sim_ns: int = 0
    cpu_ns: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    failed: dict[int, tuple[str, ...]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    failed_runs: int = 0
    unlike: list[int] = field(default_factory=list)
    repeated: int = 0
    slowest: tuple[int, int] = (0, 0)

    def add_run(self, result: RunResult, faults: tuple[Fault, ...]) -> None:
        """One more run."""
        self.runs += 1
        self.steps += result.steps
        self.sim_ns += result.sim_ns
        self.counts.update(result.counts)
        kinds = sorted(dict.fromkeys(fault.kind for fault in faults))
        self.faults.update(kinds)
        self.faults.update(f"{one} + {other}" for at, one in enumerate(kinds) for other in kinds[at + 1:])
        if result.violations:
            self.failed_runs += 1
            self.failures.update(list(dict.fromkeys(violation.kind for violation in result.violations)))
            if len(self.failed) < FAILED_KEPT_MAX:
                self.failed[result.seed] = tuple(str(violation) for violation in result.violations)
        if result.recovered_ns is not None:
            self.slowest = max(self.slowest, (1000 * result.recovered_ns // result.bound_ns, result.seed))

    def add(self, other: "Tally") -> None:
        """The runs of another tally."""
        for name in ("runs", "steps", "sim_ns", "cpu_ns", "failed_runs", "repeated"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.counts += other.counts
        self.faults += other.faults
        self.failures += other.failures
        self.unlike += other.unlike
        self.slowest = max(self.slowest, other.slowest)
        for seed, texts in other.failed.items():
            if len(self.failed) < FAILED_KEPT_MAX:
                self.failed[seed] = texts

    def pairs(self) -> tuple[int, int]:
        """(pairs of kinds of faults that came in one run, all there are)."""
        return sum("+" in name for name in self.faults), len(KINDS) * (len(KINDS) - 1) // 2


@dataclass(frozen=True, slots=True)
class Chunk:
    """Seeds to run. `again`: it was done before, and only its digest is asked for."""

    first: int
    count: int
    again: bool = False


def run_chunk(chunk: Chunk) -> tuple[Chunk, Tally, str]:
    """The runs of a chunk, and the digest of all their digests."""
    tally = Tally()
    gc.disable()  # a world is one large cycle: looking for it now and then is cheaper than all the time
    began_ns = time.process_time_ns()
    digest = hashlib.sha256()
    for seed in range(chunk.first, chunk.first + chunk.count):
        plan = draw_plan(seed)
        result = run_plan(plan)
        tally.add_run(result, plan.faults)
        digest.update(result.digest.encode())
        if seed % COLLECT == 0:
            gc.collect()
    gc.enable()
    tally.cpu_ns = time.process_time_ns() - began_ns
    return chunk, tally, digest.hexdigest()


def campaign(first: int, runs: int, workers: int, progress: Callable[[Tally], None] = lambda _: None) -> Tally:
    """Carry out the runs of seeds `first` and on. Raises CampaignLost if a process dies, or at an interrupt."""
    tally = Tally()
    digests: dict[int, str] = {}

    def take(chunk: Chunk, part: Tally, digest: str) -> None:
        if chunk.again:
            tally.repeated += part.runs
            tally.cpu_ns += part.cpu_ns
        else:
            tally.add(part)
        if digests.setdefault(chunk.first, digest) != digest:
            tally.unlike.append(chunk.first)
        progress(tally)

    try:
        for chunk, part, digest in _done(_chunks(first, runs), workers):
            take(chunk, part, digest)
    except BrokenProcessPool:
        raise CampaignLost("a process of the campaign died", tally) from None
    except KeyboardInterrupt:
        raise CampaignLost("interrupted", tally) from None
    return tally


def _done(chunks: Iterator[Chunk], workers: int) -> Iterator[tuple[Chunk, Tally, str]]:
    """Chunks as they end: in this process if one is enough, else in spawned ones, each with its own order of hashes."""
    if workers == 1:
        yield from map(run_chunk, chunks)
        return
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        running = [pool.submit(run_chunk, chunk) for chunk in islice(chunks, workers * AHEAD)]
        while running:
            wait(running, return_when=FIRST_COMPLETED)
            ended = [future for future in running if future.done()]
            running = [future for future in running if not future.done()]
            for future in ended:
                yield future.result()
            running += [pool.submit(run_chunk, chunk) for chunk in islice(chunks, len(ended))]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _chunks(first: int, runs: int) -> Iterator[Chunk]:
    again = []
    for number, start in enumerate(range(first, first + runs, CHUNK)):
        chunk = Chunk(start, min(CHUNK, first + runs - start))
        yield chunk
        if number % AGAIN == 0:
            again.append(Chunk(chunk.first, chunk.count, again=True))
    yield from again  # at the end, and so mostly in other processes
