"""A plan from a seed. Every run has its own few kinds of faults, so that each kind is also seen without the others.

The deadlines are a few seconds, since a simulated second costs what it costs; what matters is how they compare with
the storage's own times, which are drawn around them.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mpio.heartbeat.timing import least_dead_ns
from mpio.sim.cluster.network import NetworkSpec
from mpio.sim.cluster.plan import (
    INSTANT,
    KINDS,
    NETWORK,
    STORAGE,
    ClusterPlan,
    Fault,
    FaultKind,
    Personality,
)

MS = 1_000_000
S = 1000 * MS
FAULTS_MAX = 4
KINDS_SHARE = 7  # one in so many kinds is on in a run
HARD_SHARE = 2  # one run in so many has a combination that is known to be hard
RATE_PPM = 1000
_MOMENT_NS = 300 * MS


def draw_plan(seed: int, personality: Personality | None = None) -> ClusterPlan:
    """The plan of a seed; with another personality than is drawn, if one is given."""
    rng = random.Random(f"cluster {seed}")
    nodes = rng.choice((2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4))
    tpgts = rng.choice(((1,), (1, 1), (1, 1), (1, 1), (1, 2), (1, 2)))
    drawn = rng.choice(_PERSONALITIES)
    chosen = personality or ("sbd" if seed % SBD_SHARE == SBD_SHARE - 1 else drawn)
    times = _TIMES[chosen](rng)
    heartbeat, fence_ns = times.heartbeat, times.heartbeat["fence_ns"]
    reboot_ns = rng.choice((2 * S, 3 * S, 5 * S)) + times.rejoin_ns
    times = replace(times, held_max_ns=min(times.held_max_ns, reboot_ns))
    faults = draw_faults(rng, nodes, len(tpgts), times)
    return ClusterPlan(
        seed=seed, nodes=nodes, tpgts=tpgts, personality=chosen, heartbeat=heartbeat,
        settings=_settings(rng),
        block_size=rng.choice((512, 512, 512, 4096)), delay_ns=rng.choice((100_000, 500_000, 2 * MS)),
        jitter_ns=rng.choice((0, 0, MS)), latency_ns=rng.choice((0, 0, MS, 10 * MS)),
        node_ppm=tuple(rng.choice((0, 0, -RATE_PPM // 2, RATE_PPM // 2)) for _ in range(nodes)),
        network=NetworkSpec(delay_ns=rng.choice((100_000, 2 * MS)), jitter_ns=rng.choice((0, MS)),
                            hello_ns=times.idle_ns // 4, idle_ns=times.idle_ns),
        shared=rng.random() < 0.2, fence_late_ns=rng.choice((0, fence_ns // 2, fence_ns)), holds=rng.random() < 0.5,
        reboot_ns=reboot_ns, think_ns=rng.choice((800 * MS, 1600 * MS)), faults=faults,
        heal_ns=max((fault.ends_ns for fault in faults), default=times.settled_ns) + MS)


@dataclass(frozen=True, slots=True)
class _Times:
    """What faults are drawn around.

    Attributes:
        heartbeat: the settings. deadline_ns: D. held_max_ns: the longest that anything is held in the network.
        settled_ns: by then all nodes are members; faults mostly come later. idle_ns: of the nodes' network.
        rejoin_ns: how much longer a reboot has to take than usual, so that nobody comes back before it is called dead.
    """

    heartbeat: dict[str, Any]
    deadline_ns: int
    held_max_ns: int
    settled_ns: int
    idle_ns: int
    rejoin_ns: int = 0


def _own_times(rng: random.Random) -> _Times:
    """The heartbeat of mpio: A as short as is safe, or a little longer."""
    period_ns = rng.choice((500 * MS, 700 * MS, 1 * S, 1 * S))
    deadline_ns = max(rng.choice((2 * S, 3 * S, 4 * S, 4 * S, 5 * S)), 4 * period_ns)
    fence_ns, drain_ns = rng.choice((0, 100 * MS, 300 * MS)), rng.choice((50 * MS, 200 * MS, 1000 * MS))
    dead_ns = least_dead_ns(deadline_ns + fence_ns + drain_ns, RATE_PPM) + rng.choice((0, 0, 1 * S))
    return _Times({
        "period_ns": period_ns, "deadline_ns": deadline_ns, "fence_ns": fence_ns, "drain_ns": drain_ns,
        "dead_ns": dead_ns, "rate_ppm": RATE_PPM, "split_ns": rng.choice((500 * MS, 1500 * MS)),
    }, deadline_ns, dead_ns - 2 * period_ns, 3 * S, rng.choice((800 * MS, 1600 * MS)))


def _o2cb_times(rng: random.Random) -> _Times:
    """OCFS2's, with a small threshold."""
    threshold = rng.choice((4, 5, 6))
    idle_ns = rng.choice((2, 4)) * S
    heartbeat = {"heartbeat_threshold": threshold, "idle_timeout_ms": idle_ns // MS, "keepalive_delay_ms": 500,
                 "negotiate": rng.random() < 0.8, "fence_ns": rng.choice((0, 200 * MS, 500 * MS))}
    deadline_ns = 2 * S * (threshold - 1)
    return _Times(heartbeat, deadline_ns, deadline_ns - 2 * S, 11 * S, idle_ns)


def _sbd_times(rng: random.Random) -> _Times:
    """SBD's, without Pacemaker's word for a lost disk; msgwait as short as is safe, or as people set it."""
    watchdog = rng.choice((5, 6, 8))
    least = watchdog + 3 + 2 + 1
    heartbeat = {"watchdog": watchdog, "msgwait": rng.choice((least, max(least, 2 * watchdog))), "pacemaker": False,
                 "fence_ns": rng.choice((0, 100 * MS, 300 * MS))}
    return _Times(heartbeat, (watchdog + 4) * S, (watchdog - 1) * S, 5 * S, rng.choice((800 * MS, 1600 * MS)),
                  rejoin_ns=(heartbeat["msgwait"] + 20) * S)


_PERSONALITIES: tuple[Personality, ...] = ("own", "own", "own", "own", "o2cb")
SBD_SHARE = 8  # one seed in so many is for SBD
_TIMES: dict[Personality, Callable[[random.Random], _Times]] = {
    "own": _own_times, "o2cb": _o2cb_times, "sbd": _sbd_times}


def _settings(rng: random.Random) -> dict[str, Any]:
    """The maps' settings; failovers of a second or so."""
    found: dict[str, Any] = {
        "noop_out_interval": rng.choice((0.4, 0.8)), "noop_out_timeout": rng.choice((0.4, 0.8)),
        "timeout": rng.choice((1.5, 3.0, 5.0)), "abort_timeout": 0.5, "lu_reset_timeout": 0.5, "login_timeout": 1.0,
        "polling_interval": rng.choice((1.0, 2.0)), "max_polling_interval": 4.0, "checker_timeout": 1.0,
        "reconnect_delay": 0.1, "reconnect_delay_max": rng.choice((0.2, 0.5)),
        "path_grouping_policy": rng.choice(("failover", "multibus", "group_by_prio")),
        "path_selector": rng.choice(("round-robin", "service-time")),
        "no_path_retry": rng.choice(("fail", "queue", "queue", 2)),
        "fast_io_fail_tmo": rng.choice((0.0, 0.0, 0.3)),
    }
    if rng.random() < 0.3:
        found["reservation_key"] = 0x1000
    return found


def draw_faults(
    rng: random.Random, nodes: int, portals: int, times: _Times,
) -> tuple[Fault, ...]:
    """Faults of a few kinds, some of them close together, and sometimes a combination that is known to be hard."""
    kinds: list[FaultKind] = [kind for kind in KINDS if rng.randrange(KINDS_SHARE) == 0]  # type: ignore[misc]
    is_hard = rng.randrange(HARD_SHARE) == 0
    horizon_ns = times.settled_ns + 2 * times.deadline_ns
    faults: list[Fault] = []
    moment_ns = 0
    for _ in range(rng.randint(1, FAULTS_MAX) if kinds and not is_hard else 0):
        if not moment_ns or rng.random() < 0.5:
            first_ns = 200 * MS if rng.random() < 0.1 else times.settled_ns
            moment_ns = rng.randrange(first_ns // MS, horizon_ns // MS) * MS
        at_ns = moment_ns + rng.randrange(_MOMENT_NS // MS) * MS
        faults.append(_fault(
            rng, rng.choice(kinds), at_ns, _duration(rng, times.deadline_ns), rng.randrange(nodes),
            rng.randrange(portals), nodes))
    if is_hard:
        faults = _hard_faults(rng, nodes, portals, times)
    return _bounded(sorted(faults, key=lambda fault: fault.at_ns), times)


def _duration(rng: random.Random, deadline_ns: int) -> int:
    share = rng.choice((0.05, 0.2, 0.5, 0.8, 0.95, 1.1, 1.3, 1.6, 2.5))
    return round(share * deadline_ns / MS) * MS


def _bounded(faults: Sequence[Fault], times: _Times) -> tuple[Fault, ...]:
    """What is held in the network must come out before others take over: longer is beyond every assumption of L.

    Where faults follow each other that counts from the first, since when the heartbeat may be late.
    """
    found: list[Fault] = []
    for fault in faults:
        kept = fault
        if "hold" in fault.kind:
            left_ns = _late_since(found, fault, times.deadline_ns) + times.held_max_ns - fault.at_ns
            if left_ns <= 0:
                continue
            kept = replace(fault, for_ns=min(fault.for_ns, left_ns))
        found.append(kept)
    return tuple(found)


def _late_since(earlier: Sequence[Fault], fault: Fault, settles_ns: int) -> int:
    """Since when a node can have been without storage as a fault of it begins."""
    since = fault.at_ns
    for other in reversed(earlier):
        is_its = other.kind in STORAGE or (other.node == fault.node and other.kind not in NETWORK)
        if is_its and other.ends_ns + settles_ns >= since:
            since = other.at_ns
    return since


def _fault(
    rng: random.Random, kind: FaultKind, at_ns: int, for_ns: int, node: int, portal: int, nodes: int,
) -> Fault:
    amounts: dict[str, tuple[int, ...]] = {
        "loss": (20, 50), "slow": (10 * MS, 100 * MS, 300 * MS), "disk_slow": (50 * MS, 200 * MS, 500 * MS),
        "net_loss": (100, 500), "net_slow": (50 * MS, 500 * MS), "split": tuple(range(1, (1 << nodes) - 1)),
        "poison": tuple(number for number in range(nodes) if number != node),
    }
    amount = rng.choice(amounts[kind]) if kind in amounts else 0
    return Fault(kind, at_ns, 0 if kind in INSTANT else for_ns, node, portal, amount)


def _hard_faults(rng: random.Random, nodes: int, portals: int, times: _Times) -> list[Fault]:
    """One combination: storage and network of one node, or of all, one after the other or at once."""
    at_ns = times.settled_ns + rng.randrange(2000) * MS
    deadline_ns = times.deadline_ns
    kinds = rng.choice(_HARD)
    node = rng.randrange(nodes)
    found = []
    if kinds == ("clients_lost", "split"):
        return _split_from_clients(rng, at_ns, node, nodes, deadline_ns)
    for kind in kinds:
        whose = range(nodes) if kind.endswith("*") else (node,)
        for number in whose:
            name: FaultKind = kind.rstrip("*")  # type: ignore[assignment]
            spread_ns = rng.choice((0, 50, 300, 1000)) * MS
            for_ns = _duration(rng, deadline_ns) if rng.random() < 0.5 else round(1.3 * deadline_ns / MS) * MS
            found.append(_fault(rng, name, at_ns + rng.randrange(spread_ns // MS + 1) * MS, for_ns, number,
                                rng.randrange(portals), nodes))
    return found


def _split_from_clients(rng: random.Random, at_ns: int, node: int, nodes: int, deadline_ns: int) -> list[Fault]:
    """Clients lose a node for good, then the nodes lose each other."""
    split = _fault(rng, "split", at_ns + 2 * S, 4 * deadline_ns, 0, 0, nodes)
    return [_fault(rng, "clients_lost", at_ns, split.ends_ns - at_ns + 1 * S, node, 0, nodes), split]


_HARD: tuple[tuple[str, ...], ...] = (
    ("all_blackhole",), ("all_blackhole",), ("all_hold",), ("all_hold",), ("all_reset",), ("node_pause",),
    ("all_blackhole*",), ("all_hold*",), ("disk_hang",), ("target_pause",), ("disk_hang", "split"),
    ("split",), ("split",), ("split",), ("split",), ("clients_lost", "split"), ("clients_lost", "split"),
    ("clients_lost", "split"), ("split", "all_blackhole", "clients_lost"),
    ("split", "all_blackhole"), ("split", "clients_lost"), ("mute",), ("mute", "clients_lost"),
    ("split", "node_crash"), ("split", "leave"), ("poison",), ("poison", "all_hold"), ("poison", "disk_slow"),
    ("poison", "node_pause"), ("node_crash", "all_blackhole"), ("node_crash*",), ("leave*",),
    ("disk_hang", "node_crash"),
    ("blackhole", "split"), ("restart", "split"), ("hold_back",), ("hold_out",), ("all_hold", "split"),
    ("disk_hang", "net_loss"), ("all_blackhole*", "net_loss"), ("disk_error",), ("node_pause", "split"),
    ("disk_hang", "poison"), ("disk_lies",), ("disk_lies",), ("all_hold", "clients_lost"),
)
"""What is likely to go wrong: `*` is for every node."""
