"""The heartbeat machines of a drill's nodes and the region they share, of the kind that the scenario asks for."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from mpio.drill.scenario import ClusterSpec
from mpio.errors import InputError
from mpio.heartbeat import o2cb
from mpio.heartbeat.formats import own
from mpio.heartbeat.machine import Heartbeat
from mpio.heartbeat.own import Own, Settings
from mpio.heartbeat.region import Holds, Layout
from mpio.heartbeat.timing import Timing
from mpio.model.cluster import O2cb as Timers
from mpio.units import NS_PER_S

FENCE_NS = 300_000_000
"""Until a node that is to be fenced can issue nothing more: its workload is stopped, and its wires are severed."""
DRAIN_NS = 200_000_000
"""In which what the target has begun for it still lands."""
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
        make: the machine of a node.
    """

    layout: Layout
    header: own.Header | None
    period_ns: int
    deadline_ns: int
    dead_ns: int
    sample_ns: int
    join_ns: int
    keepalive_ns: int
    idle_ns: int
    make: Callable[[int, random.Random], Heartbeat]


def personality(spec: ClusterSpec, block_size: int, rng: random.Random) -> Personality:
    """What the scenario asks for. Raises InputError if its times are not safe together."""
    try:
        return (_o2cb if spec.heartbeat == "o2cb" else _own)(spec, block_size, rng)
    except ValueError as error:
        raise InputError("[cluster]", str(error)) from None


def _own(spec: ClusterSpec, block_size: int, rng: random.Random) -> Personality:
    timing = Timing(spec.period, spec.deadline, spec.dead_after, FENCE_NS, DRAIN_NS,
                    split_ns=SPLIT_PERIODS * spec.period)
    layout = Layout(Holds.OWN, block_size, SLOTS)
    region = rng.randbytes(16)
    header = own.Header(region, own.Timing(timing.period_ns, timing.deadline_ns, timing.dead_ns), block_size, SLOTS)
    nodes = tuple(range(1, spec.nodes + 1))

    def make(node: int, chance: random.Random) -> Heartbeat:
        return Own(Settings(node, nodes, chance.getrandbits(64) | 1, region, timing, layout, name=f"node{node}"))

    return Personality(layout, header, timing.period_ns, timing.deadline_ns, timing.dead_ns, timing.period_ns,
                       2 * timing.dead_ns, timing.period_ns, max(4 * timing.period_ns, IDLE_MIN_NS), make)


def _o2cb(spec: ClusterSpec, block_size: int, rng: random.Random) -> Personality:
    del rng  # a region of o2cb has no identity
    timers = Timers(heartbeat_threshold=spec.threshold)
    layout = Layout(Holds.O2CB, block_size, SLOTS)
    nodes = tuple(range(1, spec.nodes + 1))

    def settings(node: int, generation: int) -> o2cb.Settings:
        return o2cb.Settings(node, nodes, generation, timers, layout)

    def make(node: int, chance: random.Random) -> Heartbeat:
        return o2cb.O2cb(settings(node, chance.getrandbits(64) | 1))

    return Personality(
        layout, None, o2cb.PERIOD_NS, settings(1, 1).budget_ns, o2cb.PERIOD_NS * spec.threshold, o2cb.PERIOD_NS,
        2 * o2cb.PERIOD_NS * o2cb.STEADY_ITERATIONS * o2cb.UNSTEADY_FACTOR,
        timers.keepalive_delay_ms * _NS_PER_MS, timers.idle_timeout_ms * _NS_PER_MS, make)
