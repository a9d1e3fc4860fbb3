"""Many runs on all cores, and what they came to together.

Seeds go out in chunks, and what comes back of a chunk is sums. A few chunks are carried out twice, in whichever
processes happen to take them, each with its own order of hashes: their digests must agree.
"""

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
from mpio.sim.swarm import coverage
from mpio.sim.swarm.draw import draw_plan
from mpio.sim.swarm.run import RunResult, run_plan

CHUNK = 50
AGAIN = 20  # one chunk in so many is repeated
AHEAD = 3  # chunks handed out per worker
FAILED_KEPT_MAX = 200


class SwarmLost(MpioError):
    """A process of the swarm is gone; `tally` has what was done until then."""

    code = "swarm-lost"

    def __init__(self, message: str, tally: "Tally") -> None:
        super().__init__(message)
        self.tally = tally


@dataclass(slots=True)
class Tally:
    """The sum over runs.

    Attributes:
        runs, steps, sim_ns: how much was done. cpu_ns: of the workers.
        counts: I/Os by "op outcome". reached: runs by what they covered; see `coverage`.
        failed: violations by seed, the first ones. failures: how many seeds failed, by kind.
        unlike: first seeds of chunks that came out differently the second time. repeated: how many were done twice.
        slowest: the longest recovery as a share of its bound, in permille, and its seed.
    """

    runs: int = 0
    steps: int = 0
    sim_ns: int = 0
    cpu_ns: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    failed: dict[int, tuple[str, ...]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    failed_runs: int = 0
    unlike: list[int] = field(default_factory=list)
    repeated: int = 0
    slowest: tuple[int, int] = (0, 0)

    def add_run(self, result: RunResult) -> None:
        """One more run."""
        self.runs += 1
        self.steps += result.steps
        self.sim_ns += result.sim_ns
        self.counts.update(result.counts)
        self.reached.update(result.reached)
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
        self.reached += other.reached
        self.failures += other.failures
        self.unlike += other.unlike
        self.slowest = max(self.slowest, other.slowest)
        for seed, texts in other.failed.items():
            if len(self.failed) < FAILED_KEPT_MAX:
                self.failed[seed] = texts

    def never_reached(self) -> list[str]:
        """What could be covered and was not."""
        return [item for item in coverage.universe() if item not in self.reached]

    def combinations(self) -> Iterator[tuple[str, int, int]]:
        """(area, reached, all there are) of each area of `coverage`."""
        total: Counter[str] = Counter()
        reached: Counter[str] = Counter()
        for item in coverage.universe():
            area = item.partition(":")[0]
            total[area] += 1
            reached[area] += item in self.reached
        for area, count in total.items():
            yield area, reached[area], count


@dataclass(frozen=True, slots=True)
class Chunk:
    """Seeds to run. `again`: it was done before, and only its digest is asked for."""

    first: int
    count: int
    fence: str | None
    again: bool = False


def run_chunk(chunk: Chunk) -> tuple[Chunk, Tally, str]:
    """The runs of a chunk, and the digest of all their digests."""
    tally = Tally()
    began_ns = time.process_time_ns()
    digest = hashlib.sha256()
    for seed in range(chunk.first, chunk.first + chunk.count):
        result = run_plan(draw_plan(seed, fence=chunk.fence))
        tally.add_run(result)
        digest.update(result.digest.encode())
    tally.cpu_ns = time.process_time_ns() - began_ns
    return chunk, tally, digest.hexdigest()


def swarm(
    first: int, runs: int, workers: int, *, fence: str | None = None,
    progress: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Carry out the runs of seeds `first` and on. Raises SwarmLost if a process dies, or at an interrupt."""
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

    chunks = _chunks(first, runs, fence)
    if workers == 1:
        try:
            for chunk in chunks:
                take(*run_chunk(chunk))
        except KeyboardInterrupt:
            raise SwarmLost("interrupted", tally) from None
        return tally
    # Spawned, so that every process has its own order of hashes
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            running = [pool.submit(run_chunk, chunk) for chunk in islice(chunks, workers * AHEAD)]
            while running:
                wait(running, return_when=FIRST_COMPLETED)
                done = [future for future in running if future.done()]
                running = [future for future in running if future not in done]
                for future in done:
                    take(*future.result())
                running += [pool.submit(run_chunk, chunk) for chunk in islice(chunks, len(done))]
        except BrokenProcessPool:
            raise SwarmLost("a process of the swarm died", tally) from None
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise SwarmLost("interrupted", tally) from None
    return tally


def _chunks(first: int, runs: int, fence: str | None) -> Iterator[Chunk]:
    again = []
    for number, start in enumerate(range(first, first + runs, CHUNK)):
        chunk = Chunk(start, min(CHUNK, first + runs - start), fence)
        yield chunk
        if number % AGAIN == 0:
            again.append(Chunk(chunk.first, chunk.count, fence, again=True))
    yield from again  # at the end, and so mostly in other processes
