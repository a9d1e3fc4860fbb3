"""A small plan without faults, to be varied by tests."""

import dataclasses
from typing import Any

from mpio.sim.swarm import Fault, Plan
from mpio.sim.swarm.workload import WorkSpec

MS = 1_000_000
WORK = WorkSpec(workers=4, blocks=2, ios=100, blocks_max=2, reads=0.1, flushes=0.05, fua=0.0, think_ns=10 * MS)
PLAIN = Plan(
    seed=1, hosts=1, tpgts=(1, 1), settings={"fence": "auto"}, target={}, work=WORK, block_size=512, volatile=False,
    delay_ns=MS, jitter_ns=0, pieces=0, latency_ns=0, host_ppm=(0,), target_ppm=0, faults=(), heal_ns=1000 * MS,
)


def plan(*faults: Fault, **changes: Any) -> Plan:
    """The plain plan with these faults."""
    heal_ns = max([PLAIN.heal_ns, *(fault.ends_ns + MS for fault in faults)])
    return dataclasses.replace(PLAIN, faults=faults, heal_ns=heal_ns, **changes)


def fault(kind: Any, at_ms: int, for_ms: int = 0, portal: int = 0, amount: int = 0, host: int = 0) -> Fault:
    """A fault, in milliseconds."""
    return Fault(kind, at_ms * MS, for_ms * MS, host, portal, amount)
