"""The heartbeat of a run: what its region looks like, how a machine is made, and the times that theory adds up."""

from collections.abc import Callable
from dataclasses import dataclass

from mpio.check.fencing import Terms
from mpio.heartbeat.formats import own, sbd
from mpio.heartbeat.machine import Heartbeat
from mpio.heartbeat.o2cb import PERIOD_NS, O2cb
from mpio.heartbeat.o2cb import Settings as O2cbSettings
from mpio.heartbeat.own import Own, Settings
from mpio.heartbeat.region import Holds, Layout, blank
from mpio.heartbeat.sbd import Sbd
from mpio.heartbeat.sbd import Settings as SbdSettings
from mpio.heartbeat.timing import Timing
from mpio.model.cluster import O2cb as O2cbTimers
from mpio.model.cluster import Sbd as SbdTimers
from mpio.sim.cluster.plan import ClusterPlan
from mpio.units import NS_PER_S

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
        one_decides: about a split, for all, and clients count; otherwise each node judges itself.
        has_beats: nodes see on disk who lives, and decide about splits; otherwise a cluster manager does.
        make: a machine, for a node and a generation. blocks: what makes an empty region, as (offset, data).
    """

    region_bytes: int
    layout: Layout
    terms: Terms
    dead_ns: int
    split_ns: int
    counts_from_issue: bool
    one_decides: bool
    has_beats: bool
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
    return {"own": _own, "o2cb": _o2cb, "sbd": _sbd}[plan.personality](plan)


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

    return Rules(layout.length, layout, terms, timing.dead_ns, timing.split_ns,
                 counts_from_issue=True, one_decides=True, has_beats=True, make=make,
                 blocks=tuple(blank(layout, header)))


def _o2cb(plan: ClusterPlan) -> Rules:
    """OCFS2's: P is 2 s, D is 2 (T - 1) s from the completion of a heartbeat, A is 2 T s."""
    numbers = dict(plan.heartbeat)
    fence_ns = numbers.pop("fence_ns")
    timers = O2cbTimers(**numbers)
    nodes = tuple(range(plan.nodes))
    layout = Layout(Holds.O2CB, plan.block_size, plan.nodes)
    cycle = cycle_ns(plan)
    threshold = timers.heartbeat_threshold
    terms = Terms(
        period_ns=PERIOD_NS, cycle_ns=cycle, deadline_ns=PERIOD_NS * (threshold - 1), fence_ns=fence_ns,
        slack_ns=2 * cycle)

    def make(node: int, generation: int) -> Heartbeat:
        return O2cb(O2cbSettings(node, nodes, generation, timers, layout))

    return Rules(layout.length, layout, terms, PERIOD_NS * (threshold + 1), PERIOD_NS * (threshold + 2),
                 counts_from_issue=False, one_decides=False, has_beats=True, make=make,
                 blocks=tuple(blank(layout)))


def _sbd(plan: ClusterPlan) -> Rules:
    """SBD's daemon: reset W + I + l - 1 to W + I + l after the last liveness, dead msgwait after a pill."""
    numbers = dict(plan.heartbeat)
    fence_ns = numbers.pop("fence_ns")
    timers = SbdTimers(**numbers)
    names = {node: f"node{node}" for node in range(plan.nodes)}
    layout = Layout(Holds.SBD, plan.block_size, plan.nodes)
    header = sbd.Header(timers.watchdog, timers.allocate, timers.loop, timers.msgwait, plan.block_size,
                        _REGION, plan.nodes)
    cycle = cycle_ns(plan)
    terms = Terms(
        period_ns=(timers.loop + timers.restart_delay + 1) * NS_PER_S, cycle_ns=cycle,
        deadline_ns=(timers.watchdog + timers.io_timeout + timers.loop - 1) * NS_PER_S, fence_ns=fence_ns,
        slack_ns=2 * NS_PER_S + 2 * cycle)

    def make(node: int, _generation: int) -> Heartbeat:
        return Sbd(SbdSettings(node, names, timers, layout))

    slots = [(layout.slot(node), sbd.render_slot(sbd.Slot(name), plan.block_size)) for node, name in names.items()]
    return Rules(layout.length, layout, terms, timers.msgwait * NS_PER_S, 0, counts_from_issue=False,
                 one_decides=False, has_beats=False, make=make, blocks=(*blank(layout, header), *slots))
