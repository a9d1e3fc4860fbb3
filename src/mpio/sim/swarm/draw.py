"""A plan from a seed. Every run has its own few kinds of faults, so that each kind is also seen without the others.

Drawn values are round where nothing depends on it, so that plans can be read.
"""

import dataclasses
import random
from typing import Any

from mpio.model.identity import AluaState
from mpio.model.settings import FAST
from mpio.sim.swarm.plan import KINDS, Fault, FaultKind, Plan
from mpio.sim.swarm.target import SENSES
from mpio.sim.swarm.workload import WorkSpec
from mpio.units import seconds

MS = 1_000_000
FAULTS_MAX = 9
KINDS_SHARE = 5  # one in so many kinds is on in a run
HARD_SHARE = 2  # one run in so many has a combination that is known to be hard
_MOMENT_NS = 100 * MS  # faults of one cluster begin within it

_INSTANT = frozenset(("forget", "end_session", "ask_logout", "host_crash"))
_ALUA = (AluaState.ACTIVE_NON_OPTIMIZED, AluaState.STANDBY, AluaState.STANDBY, AluaState.UNAVAILABLE,
         AluaState.TRANSITIONING, AluaState.OFFLINE)


def draw_plan(seed: int, *, fence: str | None = None) -> Plan:
    """The plan of a seed; `fence` replaces the drawn setting."""
    rng = random.Random(f"plan {seed}")
    hosts = 1 if rng.random() < 0.75 else 2
    tpgts = rng.choice(((1,), (1, 1), (1, 1), (1, 1), (1, 2), (1, 2), (1, 2), (1, 1, 1), (1, 1, 2), (1, 1, 2, 2)))
    horizon_ns = rng.choice((1000, 2000, 3000)) * MS
    work = _work(rng, horizon_ns)
    block_size = rng.choice((512, 512, 512, 4096))
    settings = _settings(rng, hosts, fence)
    if "queue_bytes_max" in settings:  # room for some of the largest I/Os
        settings["queue_bytes_max"] *= work.blocks_max * block_size
    detect_s = settings.get("noop_out_interval", FAST.noop_out_interval) + settings.get(
        "noop_out_timeout", FAST.noop_out_timeout)
    faults = draw_faults(rng, hosts, tpgts, horizon_ns, seconds(detect_s))
    return Plan(
        seed=seed, hosts=hosts, tpgts=tpgts, settings=settings, target=_target(rng), work=work,
        block_size=block_size, volatile=rng.random() < 0.3,
        delay_ns=rng.choice((50_000, 200_000, 1 * MS, 3 * MS)), jitter_ns=rng.choice((0, 0, 100_000, 1 * MS)),
        pieces=rng.choice((0, 50, 500)), latency_ns=rng.choice((0, 0, 0, 1 * MS, 10 * MS)),
        host_ppm=tuple(_ppm(rng) for _ in range(hosts)), target_ppm=_ppm(rng), faults=faults,
        heal_ns=max((fault.ends_ns for fault in faults), default=0) + MS,
    )


def _ppm(rng: random.Random) -> int:
    """Mostly as clocks are, sometimes as they are in a bad virtual machine."""
    return rng.choice((0, 0, 50, -50, 10_000, -10_000))


def _work(rng: random.Random, horizon_ns: int) -> WorkSpec:
    """Some hundred I/Os of a host, spread over the time in which faults come."""
    workers = rng.choice((1, 2, 4, 8))
    ios = max(rng.choice((100, 200, 300)) // workers, 20)
    return WorkSpec(
        workers=workers, blocks=rng.choice((1, 2, 4)), ios=ios, blocks_max=rng.choice((1, 2, 4, 8)),
        reads=rng.choice((0.1, 0.3, 0.6)), flushes=rng.choice((0.0, 0.05, 0.1)), fua=rng.choice((0.0, 0.0, 0.3, 1.0)),
        think_ns=_round(2 * horizon_ns / ios),
    )


def _settings(rng: random.Random, hosts: int, fence: str | None) -> dict[str, Any]:
    """Settings of every host: each group either as in the `fast` profile or drawn."""
    found: dict[str, Any] = {}
    if rng.random() < 0.6:
        found |= {
            "noop_out_interval": rng.choice((0.1, 0.25, 0.5)), "noop_out_timeout": rng.choice((0.1, 0.25, 0.5)),
            "timeout": rng.choice((0.5, 1.0, 2.0)), "abort_timeout": rng.choice((0.2, 0.5)),
            "lu_reset_timeout": rng.choice((0.2, 0.5)), "login_timeout": rng.choice((0.3, 1.0)),
        }
    if rng.random() < 0.5:
        found["fast_io_fail_tmo"] = rng.choice((0.2, 1.0, None))
        found["replacement_timeout"] = rng.choice((-1.0, 0.0, 0.5, 2.0))
    if rng.random() < 0.5:
        found |= {
            "path_grouping_policy": rng.choice(("failover", "multibus", "group_by_prio", "group_by_serial",
                                                "group_by_node_name")),
            "path_selector": rng.choice(("round-robin", "queue-length", "service-time")),
            "failback": rng.choice(("immediate", "manual", "followover", 0.5)),
            "path_checker": rng.choice(("tur", "directio")), "rr_min_io_rq": rng.choice((1, 3)),
        }
    if rng.random() < 0.5:
        found |= {
            "polling_interval": rng.choice((0.2, 0.5)), "max_polling_interval": 1.0,
            "checker_timeout": rng.choice((0.3, 1.0)), "no_path_retry": rng.choice(("fail", "fail", "queue", 2, 20)),
        }
    if rng.random() < 0.5:
        found |= {
            "queue_depth": rng.choice((1, 2, 8)), "cmds_max": rng.choice((2, 16)), "max_retries": rng.choice((0, 1, 5)),
            "max_sectors_kb": rng.choice((None, 1, 4)), "queue_bytes_max": rng.choice((2, 8, 1 << 16)),
        }
    if rng.random() < 0.5:
        found |= {
            "initial_r2t": rng.random() < 0.5, "immediate_data": rng.random() < 0.5,
            "first_burst_length": rng.choice((512, 2048)), "max_burst_length": rng.choice((2048, 16384)),
            "max_recv_data_segment_length": rng.choice((512, 1024, 8192)),
            "header_digest": rng.choice(("None", "CRC32C")), "data_digest": rng.choice(("None", "CRC32C")),
        }
    if rng.random() < 0.2:
        found |= {"san_path_err_threshold": 1, "san_path_err_forget_rate": 3, "san_path_err_recovery_time": 0.5}
    elif rng.random() < 0.2:
        found |= {
            "marginal_path_double_failed_time": 1.0, "marginal_path_err_sample_time": 0.5,
            "marginal_path_err_rate_threshold": 100, "marginal_path_err_recheck_gap_time": 0.5,
            "marginal_pathgroups": rng.random() < 0.5,
        }
    found |= {"reconnect_delay": rng.choice((0.01, 0.1)), "reconnect_delay_max": rng.choice((0.1, 0.5))}
    return found | _fence(rng, hosts, fence)


def _fence(rng: random.Random, hosts: int, fence: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"fence": fence or rng.choice(("auto", "auto", "auto", "preempt", "lun_reset"))}
    if rng.random() < 0.5:
        found["fence_timeout"] = rng.choice((0.1, 0.5))
    if found["fence"] != "auto" or rng.random() < 0.6:
        found["reservation_key"] = 0x1000
    if hosts == 1 and (found["fence"] == "lun_reset" or rng.random() < 0.3):
        found["exclusive"] = True
    elif found["fence"] == "lun_reset":
        found["fence"] = "preempt"
    return found


def _target(rng: random.Random) -> dict[str, Any]:
    if rng.random() < 0.5:
        return {}
    return {
        "max_recv_data_segment_length": rng.choice((512, 2048, 65536)), "initial_r2t": rng.random() < 0.3,
        "queue_depth": rng.choice((2, 8, 128)), "gather_bytes_max": rng.choice((4096, 1 << 20)),
        "immediate_max": rng.choice((1, 64)), "login_timeout": 1.0,
    } | ({"nop_in_interval": 0.3, "nop_in_timeout": 0.3} if rng.random() < 0.5 else {})


def draw_faults(
    rng: random.Random, hosts: int, tpgts: tuple[int, ...], horizon_ns: int, detect_ns: int,
) -> tuple[Fault, ...]:
    """Faults of a few kinds, some of them close together, and sometimes a combination that is known to be hard."""
    kinds: list[FaultKind] = [kind for kind in KINDS if rng.randrange(KINDS_SHARE) == 0]  # type: ignore[misc]
    is_hard = rng.randrange(HARD_SHARE) == 0
    if is_hard and rng.random() < 0.7:
        kinds = []  # nothing else, which would mostly get in its way
    faults = []
    moment_ns = 0
    for _ in range(rng.randint(1, FAULTS_MAX) if kinds else 0):
        if not moment_ns or rng.random() < 0.6:
            moment_ns = rng.randrange(20, horizon_ns // MS) * MS
        at_ns = moment_ns + rng.randrange(_MOMENT_NS // MS) * MS
        faults.append(_fault(rng, rng.choice(kinds), at_ns, detect_ns, rng.randrange(hosts), rng.randrange(len(tpgts))))
    if is_hard:
        faults += _hard_faults(rng, rng.randrange(hosts), tpgts, horizon_ns, detect_ns)
    return tuple(sorted(faults, key=lambda fault: fault.at_ns))


def _hard_faults(
    rng: random.Random, host: int, tpgts: tuple[int, ...], horizon_ns: int, detect_ns: int,
) -> list[Fault]:
    """One combination, on one path of a host, a portal group, or all, for longer than it takes to be noticed."""
    at_ns = rng.randrange(50, horizon_ns // MS) * MS
    for_ns = _round(detect_ns * rng.choice((1.5, 2.0, 3.0)))
    kinds = rng.choice(_AT_ONCE + _IN_TURN)
    portals = range(len(tpgts))
    first = rng.choice(portals)
    group = [portal for portal in portals if tpgts[portal] == tpgts[first]]
    hit = portals if kinds in _EVERYWHERE else rng.choice(((first,), (first,), group, portals))
    faults = []
    for portal in hit:
        for number, kind in enumerate(kinds):
            after_ns = number * (for_ns if kinds in _IN_TURN else rng.randrange(1, 100) * MS)
            fault = _fault(rng, kind, at_ns + after_ns, detect_ns, host, portal)
            faults.append(dataclasses.replace(fault, for_ns=0 if kind in _INSTANT else for_ns))
    return faults


_AT_ONCE: tuple[tuple[FaultKind, ...], ...] = (
    ("hold",), ("hold",), ("hold",), ("hold",), ("hold_out",), ("hold_out",), ("hold_out", "blackhole_back"),
    ("delay", "blackhole"), ("hang", "blackhole"), ("disk_hang", "blackhole"), ("disk_slow", "blackhole_out"),
    ("delay", "forget"), ("hang", "forget"), ("disk_hang", "forget"), ("hang", "host_pause"), ("hold", "power_loss"),
    ("blackhole", "target_pause"), ("mute", "slow"), ("busy", "drop_response"), ("alua", "reset"),
    ("alua", "blackhole"), ("alua", "sense"),
)
_EVERYWHERE: tuple[tuple[FaultKind, ...], ...] = (("drop_response", "reset"), ("drop_response", "refuse", "reset"))
_IN_TURN: tuple[tuple[FaultKind, ...], ...] = (("reset", "reset", "reset", "reset"), *_EVERYWHERE)
"""Mostly a path that the host gives up while its writes are still on their way, in a box of the network or in the
target; also writes that are done and not answered, and paths that are lost while they stand by, or again and again."""


def _round(duration_ns: float) -> int:
    return round(duration_ns / MS) * MS


def _fault(rng: random.Random, kind: FaultKind, at_ns: int, detect_ns: int, host: int, portal: int) -> Fault:
    durations = (5 * MS, 20 * MS, 50 * MS, 200 * MS, *(_round(detect_ns * share) for share in (0.5, 0.9, 1.2, 2, 4)))
    for_ns = 0 if kind in _INSTANT else rng.choice(durations)
    amounts: dict[str, tuple[int, ...]] = {
        "loss": (50, 200), "slow": (10 * MS, 100 * MS, 400 * MS), "throttle": (1_000, 20_000),
        "delay": (50 * MS, 300 * MS, 1000 * MS, 3000 * MS), "disk_slow": (50 * MS, 300 * MS, 1000 * MS),
        "busy": (300, 1000), "drop_response": (100, 500), "short": (200, 1000),
        "sense": tuple(range(len(SENSES))), "alua": tuple(int(state) for state in _ALUA), "ask_logout": (0, 1),
    }
    amount = rng.choice(amounts[kind]) if kind in amounts else 0
    return Fault(kind, at_ns, for_ns, host, portal, amount)
