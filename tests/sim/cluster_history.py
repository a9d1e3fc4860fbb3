"""The failures that cluster people wrote articles about: OCFS2's thresholds over maps with the settings of their day.

Two nodes with two paths each. Node 0 keeps its storage, the active path of node 1 goes silent for good. The machines
and maps are those of the swarm, with the real times: o2cb's 2 s, and the profile's pings and waits.
"""

from dataclasses import dataclass, fields
from itertools import pairwise

from mpio.model.settings import FAST, Settings
from mpio.sim.cluster.network import NetworkSpec
from mpio.sim.cluster.plan import ClusterPlan, Fault
from mpio.sim.cluster.run import Run
from mpio.units import NS_PER_S, seconds

MS = 1_000_000
IDLE_S = 30
LONG_S = 200
"""Longer than the longest stall of a path: 10 + 15 + 120 s and what goes with it."""


@dataclass(frozen=True)
class Outcome:
    """What became of node 1. Times are seconds from the fault.

    `fenced`: when, None if it was not. `cause`: why. `others`: fences of other nodes. `dead`: when node 0 called it
    dead. `beats`, `writes`: when its heartbeats and its data reached the disk.
    """

    fenced: float | None
    cause: str
    others: int
    dead: float | None
    beats: list[float]
    writes: list[float]

    def longest_gap(self, times: list[float], until: float) -> float:
        """The longest time without one of these, from the fault on."""
        seen = [0.0, *(time for time in times if 0 < time < until), until]
        return max(later - earlier for earlier, later in pairwise(seen))


def plan_of(
    threshold: int, settings: Settings, *faults: Fault, think_ms: int = 2000, shared: bool = False,
    negotiate: bool = True,
) -> ClusterPlan:
    """Two nodes with OCFS2's heartbeat over two paths each; settings as differences, as a plan has them."""
    names = [field.name for field in fields(Settings) if field.name != "initiator_name"]
    differences = {name: getattr(settings, name) for name in names if getattr(settings, name) != getattr(FAST, name)}
    return ClusterPlan(
        seed=1, nodes=2, tpgts=(1, 1), personality="o2cb",
        heartbeat={"heartbeat_threshold": threshold, "idle_timeout_ms": IDLE_S * 1000, "fence_ns": 0,
                   "negotiate": negotiate},
        settings=differences, block_size=512, delay_ns=MS // 5, jitter_ns=0, latency_ns=0, node_ppm=(0, 0),
        network=NetworkSpec(MS // 5, 0, 2 * NS_PER_S, IDLE_S * NS_PER_S), shared=shared, fence_late_ns=0, holds=False,
        reboot_ns=1000 * NS_PER_S, think_ns=think_ms * MS, faults=faults, heal_ns=faults[-1].ends_ns)


def silent_path(at_s: float, for_s: float = LONG_S) -> Fault:
    """Nothing passes on the first path of node 1 any more."""
    return Fault("blackhole", seconds(at_s), seconds(for_s), node=1, portal=0)


def watch(plan: ClusterPlan) -> Outcome:
    """Carry a plan out up to the end of its last fault."""
    run = Run(plan)
    world, fault = run.world, plan.faults[-1]
    beats: list[int] = []
    writes: list[int] = []
    landed = world.landed

    def listen(lba: int, data: bytes, now: int) -> None:
        if lba == 1:
            beats.append(now)
        elif data.startswith(b"UNIT") and lba == world.first_unit + 1:
            writes.append(now)
        landed(lba, data, now)

    world.landed = listen  # type: ignore[method-assign]
    world.schedule.run(fault.ends_ns, lambda: False)
    mine = [fence for fence in world.record.fenced if fence.life[0] == 1]
    dead = [told.t_ns for told in world.record.told
            if told.node == 0 and told.kind == "PeerDead" and told.t_ns > fault.at_ns]

    def after(t_ns: int) -> float:
        return (t_ns - fault.at_ns) / NS_PER_S

    return Outcome(
        fenced=after(mine[0].t_ns) if mine else None, cause=str(mine[0].cause) if mine else "",
        others=len(world.record.fenced) - len(mine), dead=after(dead[0]) if dead else None,
        beats=[after(t_ns) for t_ns in beats], writes=[after(t_ns) for t_ns in writes])
