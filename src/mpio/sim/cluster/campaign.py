"""The runs of clusters on all cores, and what they came to together."""

import gc
import hashlib
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

from mpio.errors import MpioError
from mpio.sim import seeds
from mpio.sim.cluster.draw import draw_plan
from mpio.sim.cluster.plan import KINDS, Fault
from mpio.sim.cluster.run import run_plan
from mpio.sim.seeds import Chunk, RunResult

COLLECT = 10  # runs between two collections of garbage; some 2 MB each


class CampaignLost(MpioError):
    """A process of the campaign is gone; `tally` has what was done until then."""

    code = "campaign-lost"

    def __init__(self, message: str, tally: "Tally") -> None:
        super().__init__(message)
        self.tally = tally


@dataclass(slots=True)
class Tally(seeds.Sums):
    """The sum over runs. `faults`: runs by kind of fault, and by pairs of kinds in one run."""

    faults: Counter[str] = field(default_factory=Counter)

    def add_run(self, result: RunResult, faults: tuple[Fault, ...]) -> None:
        """One more run."""
        self.add_result(result)
        kinds = sorted(dict.fromkeys(fault.kind for fault in faults))
        self.faults.update(kinds)
        self.faults.update(f"{one} + {other}" for at, one in enumerate(kinds) for other in kinds[at + 1:])

    def add(self, other: "Tally") -> None:
        """The runs of another tally."""
        seeds.Sums.add(self, other)
        self.faults += other.faults

    def pairs(self) -> tuple[int, int]:
        """(pairs of kinds of faults that came in one run, all there are)."""
        return sum("+" in name for name in self.faults), len(KINDS) * (len(KINDS) - 1) // 2


def run_chunk(chunk: Chunk) -> seeds.Done[Tally]:
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
    try:
        seeds.carry_out(tally, run_chunk, first, runs, workers, progress)
    except BrokenProcessPool:
        raise CampaignLost("a process of the campaign died", tally) from None
    except KeyboardInterrupt:
        raise CampaignLost("interrupted", tally) from None
    return tally
