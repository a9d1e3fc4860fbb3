"""The runs of the swarm on all cores, what they came to together, and what they reached."""

import functools
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

from mpio.errors import MpioError
from mpio.sim import seeds
from mpio.sim.seeds import Chunk
from mpio.sim.swarm import coverage
from mpio.sim.swarm.draw import draw_plan
from mpio.sim.swarm.run import RunResult, run_plan


class SwarmLost(MpioError):
    """A process of the swarm is gone; `tally` has what was done until then."""

    code = "swarm-lost"

    def __init__(self, message: str, tally: "Tally") -> None:
        super().__init__(message)
        self.tally = tally


@dataclass(slots=True)
class Tally(seeds.Sums):
    """The sum over runs. `reached`: runs by what they covered; see `coverage`."""

    reached: Counter[str] = field(default_factory=Counter)

    def add_run(self, result: RunResult) -> None:
        """One more run."""
        self.add_result(result)
        self.reached.update(result.reached)

    def add(self, other: "Tally") -> None:
        """The runs of another tally."""
        seeds.Sums.add(self, other)
        self.reached += other.reached

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


def run_chunk(chunk: Chunk, fence: str | None = None) -> seeds.Done[Tally]:
    """The runs of a chunk, and the digest of all their digests."""
    tally = Tally()
    began_ns = time.process_time_ns()
    digest = hashlib.sha256()
    for seed in range(chunk.first, chunk.first + chunk.count):
        result = run_plan(draw_plan(seed, fence=fence))
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
    try:
        seeds.carry_out(tally, functools.partial(run_chunk, fence=fence), first, runs, workers, progress)
    except BrokenProcessPool:
        raise SwarmLost("a process of the swarm died", tally) from None
    except KeyboardInterrupt:
        raise SwarmLost("interrupted", tally) from None
    return tally
