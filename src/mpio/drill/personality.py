"""The heartbeat machines of a drill's nodes and the region they share, of the kind that the scenario asks for."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mpio.drill.scenario import ClusterSpec
from mpio.errors import InputError
from mpio.heartbeat import o2cb, sbd
from mpio.heartbeat.formats import own
from mpio.heartbeat.formats import sbd as sbd_format
from mpio.heartbeat.machine import Heartbeat
from mpio.heartbeat.own import Own, Settings
from mpio.heartbeat.region import Holds, Layout
from mpio.heartbeat.timing import Timing
from mpio.model.cluster import O2cb as O2cbTimers
from mpio.model.cluster import Sbd as SbdTimers
from mpio.units import NS_PER_S, format_duration

FENCE_NS = NS_PER_S
"""Until a node that is to be fenced can issue nothing more: its workload is stopped, and its wires are severed."""
DRAIN_NS = 200_000_000
"""In which what the target has begun for it still lands."""
SBD_TOKEN_NS = 3 * NS_PER_S
"""In place of Corosync's token: a node that is silent for so long is not heard any more."""
SHOT_STAGGER_NS = 2 * NS_PER_S
"""The lowest node shoots at once, each further one so much later, as with pcmk_delay_base: of two, one survives."""
IDLE_MIN_NS = 3 * NS_PER_S // 2
"""A peer is not disconnected by less silence than this: pauses of a busy machine are no split."""
_NS_PER_MS = 1_000_000
SPLIT_PERIODS = 4
SLOTS = 16


@dataclass(frozen=True, slots=True)
class Personality:
    """How the nodes of one drill heartbeat.

    Attributes:
        layout, header: of the region; a region of o2cb has no header.
        period_ns: from one heartbeat to the next.
        deadline_ns: a node fences itself so long after its last good heartbeat.
        dead_ns: others call a node dead so long after they saw its last change, and `sample_ns` later at the most.
        join_ns: until all are members, if nothing is wrong.
        keepalive_ns, idle_ns: of the cluster network: how often a node says that it is there, and after how much
            silence it is taken to be disconnected.
        split_ns: from the moment at which nodes no longer hear each other until one of them is fenced, at most.
        make: the machine of a node.
        slots: (offset, bytes) to write into the new region.
        shoots: whether the cluster above has to say who is dead (SBD): one who is not heard is sent a pill.
    """

    layout: Layout
    header: own.Header | sbd_format.Header | None
    period_ns: int
    deadline_ns: int
    dead_ns: int
    sample_ns: int
    join_ns: int
    keepalive_ns: int
    idle_ns: int
    split_ns: int
    make: Callable[[int, random.Random], Heartbeat]
    slots: tuple[tuple[int, bytes], ...] = ()
    shoots: bool = False


def personality(spec: ClusterSpec, block_size: int, rng: random.Random) -> Personality:
    """What the scenario asks for. Raises InputError if its times are not safe together."""
    try:
        return _KINDS[spec.heartbeat](spec, block_size, rng)
    except ValueError as error:
        raise InputError("[cluster]", str(error)) from None


def _own(spec: ClusterSpec, block_size: int, rng: random.Random) -> Personality:
    timing = Timing(spec.period, spec.deadline, spec.dead_after, FENCE_NS, DRAIN_NS,
                    split_ns=SPLIT_PERIODS * spec.period)
    idle_ns = max(4 * timing.period_ns, IDLE_MIN_NS)
    layout = Layout(Holds.OWN, block_size, SLOTS)
    region = rng.randbytes(16)
    header = own.Header(region, own.Timing(timing.period_ns, timing.deadline_ns, timing.dead_ns), block_size, SLOTS)
    nodes = tuple(range(1, spec.nodes + 1))

    def make(node: int, chance: random.Random) -> Heartbeat:
        return Own(Settings(node, nodes, chance.getrandbits(64) | 1, region, timing, layout, name=f"node{node}"))

    return Personality(layout, header, timing.period_ns, timing.deadline_ns, timing.dead_ns, timing.period_ns,
                       2 * timing.dead_ns, timing.period_ns, idle_ns,
                       idle_ns + timing.split_ns + 4 * timing.period_ns + timing.deadline_ns, make)


def _o2cb(spec: ClusterSpec, block_size: int, rng: random.Random) -> Personality:
    del rng  # a region of o2cb has no identity
    timers = O2cbTimers(heartbeat_threshold=spec.threshold)
    idle_ns = timers.idle_timeout_ms * _NS_PER_MS
    layout = Layout(Holds.O2CB, block_size, SLOTS)
    nodes = tuple(range(1, spec.nodes + 1))

    def settings(node: int, generation: int) -> o2cb.Settings:
        return o2cb.Settings(node, nodes, generation, timers, layout)

    def make(node: int, chance: random.Random) -> Heartbeat:
        return o2cb.O2cb(settings(node, chance.getrandbits(64) | 1))

    return Personality(
        layout, None, o2cb.PERIOD_NS, settings(1, 1).budget_ns, o2cb.PERIOD_NS * spec.threshold, o2cb.PERIOD_NS,
        2 * o2cb.PERIOD_NS * o2cb.STEADY_ITERATIONS * o2cb.UNSTEADY_FACTOR,
        timers.keepalive_delay_ms * _NS_PER_MS, idle_ns, idle_ns + settings(1, 1).quorum_delay_ns + o2cb.PERIOD_NS,
        make)


def _sbd(spec: ClusterSpec, block_size: int, rng: random.Random) -> Personality:
    """Without Pacemaker's word for a node's health: what is tried here is the disk."""
    timers = SbdTimers(watchdog=spec.watchdog // NS_PER_S, msgwait=spec.msgwait // NS_PER_S, pacemaker=False)
    layout = Layout(Holds.SBD, block_size, SLOTS)
    names = {node: f"node{node}" for node in range(1, spec.nodes + 1)}
    header = sbd_format.Header(watchdog=timers.watchdog, msgwait=timers.msgwait, sector=block_size,
                               uuid=rng.randbytes(16), slots=SLOTS)
    budget_ns = sbd.Settings(1, names, timers, layout).budget_ns
    least_ns = budget_ns + timers.loop * NS_PER_S
    if spec.msgwait < least_ns:
        raise ValueError(f"msgwait: expected at least watchdog + I/O timeout + 2 loops = {format_duration(least_ns)}, "
                         f"found {format_duration(spec.msgwait)}: a node could be taken for dead while it still writes")

    def make(node: int, chance: random.Random) -> Heartbeat:
        del chance
        return sbd.Sbd(sbd.Settings(node, names, timers, layout))

    slots = tuple((layout.slot(node), sbd_format.render_slot(sbd_format.Slot(name), block_size))
                  for node, name in names.items())
    return Personality(
        layout, header, timers.loop * NS_PER_S, budget_ns, timers.msgwait * NS_PER_S,
        SBD_TOKEN_NS + spec.nodes * SHOT_STAGGER_NS, 10 * NS_PER_S, NS_PER_S, SBD_TOKEN_NS,
        SBD_TOKEN_NS + spec.nodes * SHOT_STAGGER_NS + budget_ns, make, slots, shoots=True)


_KINDS: Mapping[str, Callable[[ClusterSpec, int, random.Random], Personality]] = {
    "own": _own, "o2cb": _o2cb, "sbd": _sbd}
