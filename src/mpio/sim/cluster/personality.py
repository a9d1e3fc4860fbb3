"""The heartbeat of a run: what its region looks like, how a machine is made, and the times that theory adds up."""

from collections.abc import Callable
from dataclasses import dataclass

from mpio.check.fencing import Terms
from mpio.heartbeat.formats import own
from mpio.heartbeat.machine import Heartbeat
from mpio.heartbeat.own import Own, Settings
from mpio.heartbeat.region import Holds, Layout, blank
from mpio.heartbeat.timing import Timing
from mpio.sim.cluster.plan import ClusterPlan

_REGION = bytes(range(16))
_CYCLE_ROUND_TRIPS = 4  # of one heartbeat: read all, write, read back, and one to spare


@dataclass(frozen=True, slots=True)
class Rules:
    """Of one run.

    Attributes:
        region_bytes: size of the heartbeat region. layout: of it.
        terms: what theory adds up. dead_ns: A. split_ns: from a split to the decision, at most.
        counts_from_issue: the deadline counts from the issue of the last good heartbeat, so that no fault whatever
            lets two nodes write the same.
        make: a machine, for a node and a generation.
    """

    region_bytes: int
    layout: Layout
    terms: Terms
    dead_ns: int
    split_ns: int
    counts_from_issue: bool
    make: Callable[[int, int], Heartbeat]
    blocks: tuple[tuple[int, bytes], ...]

    def prepare(self, write: Callable[[int, bytes], None]) -> None:
        """Make the region."""
        for offset, data in self.blocks:
            write(offset, data)

    def is_slot_of(self, node: int, offset: int) -> bool:
        """Whether this is where the node's heartbeats are written."""
        return offset == self.layout.slot(node)


def rules_of(plan: ClusterPlan) -> Rules:
    """The rules of a plan."""
    return _own(plan)


def cycle_ns(plan: ClusterPlan) -> int:
    """What a heartbeat takes while nothing is wrong, at most."""
    return _CYCLE_ROUND_TRIPS * (2 * (plan.delay_ns + plan.jitter_ns) + plan.latency_ns + 1_000_000)


def _own(plan: ClusterPlan) -> Rules:
    timing = Timing(**plan.heartbeat)
    nodes = tuple(range(plan.nodes))
    layout = Layout(Holds.OWN, plan.block_size, plan.nodes)
    times = own.Timing(timing.period_ns, timing.deadline_ns, timing.dead_ns)
    header = own.Header(_REGION, times, plan.block_size, plan.nodes)
    terms = Terms(
        period_ns=timing.period_ns, cycle_ns=cycle_ns(plan), deadline_ns=timing.deadline_ns, fence_ns=timing.fence_ns,
        slack_ns=1_000_000, rate_ppm=timing.rate_ppm)

    def make(node: int, generation: int) -> Heartbeat:
        return Own(Settings(node, nodes, generation, _REGION, timing, layout))

    return Rules(layout.length, layout, terms, timing.dead_ns, timing.split_ns, counts_from_issue=True, make=make,
                 blocks=tuple(blank(layout, header)))
