"""Runs of many seeds on all cores, and what they came to together.

Seeds go out in chunks, and what comes back of a chunk is sums. A few chunks are carried out twice, in whichever
processes happen to take them, each with its own order of hashes: their digests must agree.
"""

import multiprocessing
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Self, TypeVar

from mpio.errors import MpioError

CHUNK = 50
AGAIN = 20  # one chunk in so many is repeated
AHEAD = 3  # chunks handed out per worker
FAILED_KEPT_MAX = 200


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never happen. `kind`: the name of the rule."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def crashed(error: Exception, frames: int) -> Violation:
    """A run that ended with an exception, and where that came from."""
    places = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"
                        for frame in reversed(traceback.extract_tb(error.__traceback__)[-frames:]))
    is_runaway = isinstance(error, MpioError) and error.code == "runaway"
    return Violation("runaway" if is_runaway else "crash", f"{type(error).__name__}: {error} ({places})")


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run.

    Attributes:
        violations: empty if all is well. counts: of whatever such runs count, by name.
        sim_ns, steps: how long it was.
        recovered_ns: from the heal until all was well; None if it did not come to that.
        bound_ns: what it had for it.
        digest: of everything that happened.
    """

    seed: int
    violations: tuple[Violation, ...]
    counts: dict[str, int]
    sim_ns: int
    steps: int
    recovered_ns: int | None
    bound_ns: int
    digest: str


@dataclass(slots=True)
class Sums:
    """What the runs of all kinds of swarms are summed up to.

    Attributes:
        runs, steps, sim_ns: how much was done. cpu_ns: of the workers. counts: of whatever the runs count, by name.
        failed: violations by seed, the first ones. failures: how many seeds failed, by kind.
        unlike: first seeds of chunks that came out differently the second time. repeated: how many were done twice.
        slowest: the longest recovery as a share of its bound, in permille, and its seed.
    """

    runs: int = 0
    steps: int = 0
    sim_ns: int = 0
    cpu_ns: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failed: dict[int, tuple[str, ...]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    failed_runs: int = 0
    unlike: list[int] = field(default_factory=list)
    repeated: int = 0
    slowest: tuple[int, int] = (0, 0)

    def add_result(self, result: RunResult) -> None:
        """One more run."""
        self.runs += 1
        self.steps += result.steps
        self.sim_ns += result.sim_ns
        self.counts.update(result.counts)
        if result.violations:
            self.failed_runs += 1
            self.failures.update(list(dict.fromkeys(violation.kind for violation in result.violations)))
            if len(self.failed) < FAILED_KEPT_MAX:
                self.failed[result.seed] = tuple(str(violation) for violation in result.violations)
        if result.recovered_ns is not None:
            self.slowest = max(self.slowest, (1000 * result.recovered_ns // result.bound_ns, result.seed))

    def add(self, other: Self) -> None:
        """The runs of another sum."""
        for name in ("runs", "steps", "sim_ns", "cpu_ns", "failed_runs", "repeated"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.counts += other.counts
        self.failures += other.failures
        self.unlike += other.unlike
        self.slowest = max(self.slowest, other.slowest)
        for seed, texts in other.failed.items():
            if len(self.failed) < FAILED_KEPT_MAX:
                self.failed[seed] = texts


@dataclass(frozen=True, slots=True)
class Chunk:
    """Seeds to run. `again`: it was done before, and only its digest is asked for."""

    first: int
    count: int
    again: bool = False


T = TypeVar("T", bound=Sums)
Done = tuple[Chunk, T, str]
"""A chunk, what its runs came to, and the digest of all their digests."""


def carry_out(
    tally: T, run_chunk: Callable[[Chunk], Done[T]], first: int, runs: int, workers: int,
    progress: Callable[[T], None],
) -> None:
    """Add the runs of seeds `first` and on to the tally. Raises BrokenProcessPool if a process dies."""
    digests: dict[int, str] = {}
    for chunk, part, digest in _done(run_chunk, _chunks(first, runs), workers):
        if chunk.again:
            tally.repeated += part.runs
            tally.cpu_ns += part.cpu_ns
        else:
            tally.add(part)
        if digests.setdefault(chunk.first, digest) != digest:
            tally.unlike.append(chunk.first)
        progress(tally)


def _done(run_chunk: Callable[[Chunk], Done[T]], chunks: Iterator[Chunk], workers: int) -> Iterator[Done[T]]:
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
            running = [future for future in running if future not in ended]
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
