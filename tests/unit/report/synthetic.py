"""A made-up run directory that looks like a drill's: same files, same shapes, plausible figures, from a seed."""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpio.events import Event, Journal, Kind
from mpio.model.settings import FAST

MS = 1_000_000
S = 1_000 * MS
T0 = 5_000 * S  # the run's clock does not begin at 0

TERMS = [
    {"name": "silence before the ping", "value_ns": 250 * MS, "source": "noop_out_interval, profile fast"},
    {"name": "ping timeout", "value_ns": 500 * MS, "source": "noop_out_timeout, profile fast"},
    {"name": "recovery", "value_ns": 0, "source": "fast_io_fail_tmo, scenario"},
    {"name": "fence by reinstatement", "value_ns": 250 * MS, "source": "fence_timeout, profile fast"},
    {"name": "re-issue and service", "value_ns": 60 * MS, "source": "p99 before the first fault"},
    {"name": "scheduling", "value_ns": 40 * MS, "source": "lateness allowance of the event loop"},
]
BOUND_NS = sum(int(str(term["value_ns"])) for term in TERMS)


@dataclass
class Fault:
    """One planned fault of the made-up run."""

    path: int
    cut_s: float
    heal_s: float
    stall_ms: int
    kind: str = "blackhole"
    healed: bool = True


@dataclass
class Plan:
    """What the made-up run is like."""

    seconds: float = 25.0
    paths: int = 2
    ios: int = 50_000
    faults: list[Fault] = field(default_factory=lambda: [Fault(1, 5.0, 11.0, 812), Fault(2, 15.0, 20.0, 774)])
    verdict: str = "pass"
    claims: list[dict[str, Any]] | None = None
    blocks: list[dict[str, Any]] = field(default_factory=list)
    failed: int = 0
    unknown: int = 0
    names: list[str] = field(default_factory=list)
    target: str = "iqn.2026-01.dev.mpio:drill"
    path_throughput: bool = True
    extra_events: int = 0
    seed: int = 1


def write_run(directory: Path, plan: Plan | None = None) -> Path:
    """Write all files of a run into `directory`."""
    plan = plan or Plan()
    rng = random.Random(plan.seed)
    directory.mkdir(parents=True, exist_ok=True)
    names = plan.names or [f"127.0.0.{path}:3260" for path in range(1, plan.paths + 1)]
    journal, stalls = _journal(plan, names)
    ios = _history(plan, rng)
    (directory / "journal.jsonl").write_text("".join(event.to_json() + "\n" for event in journal))
    (directory / "history.jsonl").write_text("".join(json.dumps(io) + "\n" for io in ios))
    worst = max((io["end_ns"] - io["start_ns"] for io in ios if io["end_ns"] is not None), default=0)
    claims = plan.claims if plan.claims is not None else _claims(plan, len(ios))
    verdict = {
        "version": 1,
        "verdict": plan.verdict,
        "claims": claims,
        "stalls": stalls,
        "blocks": plan.blocks,
        "counts": {
            f"{op} {outcome}": sum(io["op"] == op and io["outcome"] == outcome for io in ios)
            for op in ("read", "write")
            for outcome in ("ok", "fail", "unknown")
        },
    }
    (directory / "verdict.json").write_text(json.dumps(verdict))
    settings = {name: getattr(FAST, name) for name in FAST.__slots__ if "password" not in name}
    settings["queue_depth"] = 16
    metrics = {
        "version": 1,
        "profile": "fast",
        "settings": settings | {"password": "never shown"},
        "bound": {"terms": TERMS, "worst_ns": BOUND_NS, "best_ns": 500 * MS},
        "latency_ns": {"median": 310_000, "p99": 1_900_000, "worst": worst},
        "iops": len(ios) / plan.seconds,
        "verified_bytes": 61 << 20,
        "paths": [_path(plan, path, name, ios) for path, name in enumerate(names, 1)],
    }
    (directory / "metrics.json").write_text(json.dumps(metrics))
    (directory / "scenario.toml").write_text('name = "two blackholes"\n\n[settings]\nprofile = "fast"\n')
    (directory / "repro.txt").write_text("# replays this run\nmpio drill two-blackholes --seed 4711 --out again\n")
    return directory


def _claims(plan: Plan, ios: int) -> list[dict[str, Any]]:
    return [
        {
            "name": "no data lost",
            "result": "pass" if not plan.blocks else "fail",
            "detail": "15 616 blocks read back through each of the paths: every one holds the newest write that was "
            "acknowledged, or a later one",
            "evidence": [3, 812, 913],
        },
        {
            "name": "stall within the bound",
            "result": "pass",
            "detail": "worst 812 ms of at most 1.1 s, at fault 1",
            "evidence": [55],
        },
        {
            "name": "no I/O errors",
            "result": "fail" if plan.failed else "pass",
            "detail": f"{ios} I/Os, {plan.failed} failed, {plan.unknown} of unknown outcome",
            "evidence": [],
        },
        {
            "name": "paths reinstated",
            "result": "unknown" if plan.verdict == "unknown" else "pass",
            "detail": "each path was reinstated after its fault was healed, the slowest in 1.31 s",
            "evidence": [77, 154],
        },
        {
            "name": "no false failover",
            "result": "pass",
            "detail": "no path was given up without a fault on it",
            "evidence": [],
        },
    ]


def _journal(plan: Plan, names: list[str]) -> tuple[list[Event], list[dict[str, Any]]]:
    entries: list[tuple[int, str, Kind, dict[str, Any]]] = []
    stalls: list[dict[str, Any]] = []

    def add(t_ns: int, source: str, kind: Kind, **fields: Any) -> None:
        entries.append((t_ns, source, kind, fields))

    add(
        T0,
        "drill",
        Kind.RUN_STARTED,
        version="0.1.0",
        python="3.11.9",
        kernel="Linux 6.1.0",
        scenario="two blackholes",
        seed=4711,
        wall_epoch=1772366400.5,
        target=plan.target,
    )
    for path, name in enumerate(names, 1):
        source = f"map:disk0/path:{path}"
        add(T0 + 2 * MS, source, Kind.PATH_ADDED, portal=name, tpgt=path, wwid="36001405abcdef")
        add(T0 + 3 * MS, source, Kind.CONNECT_STARTED, portal=name, attempt=1)
        add(T0 + (20 + path) * MS, source, Kind.LOGIN_COMPLETED, portal=name, tsih=path, tpgt=path)
        add(T0 + (21 + path) * MS, source, Kind.PATH_STATE_CHANGED, old="down", new="up", cause="logged in")
    add(T0 + 60 * MS, "drill", Kind.PHASE_ENTERED, phase="faults")
    add(T0 + int((plan.seconds - 1.5) * S), "drill", Kind.PHASE_ENTERED, phase="verification")
    for fault in plan.faults:
        source, cut, heal = f"map:disk0/path:{fault.path}", T0 + int(fault.cut_s * S), T0 + int(fault.heal_s * S)
        detected, stall = cut + fault.stall_ms * MS - 40 * MS, fault.stall_ms * MS
        timeline = [
            ("cut", cut),
            ("detected", detected),
            ("failed", detected + 2 * MS),
            ("fenced", detected + 18 * MS),
            ("rerouted", detected + 19 * MS),
        ]
        add(cut, "drill", Kind.FAULT_INJECTED, fault=fault.kind, path=fault.path, how="relay: bytes dropped, both ways")
        add(detected, source, Kind.PING_TIMED_OUT, silent_ns=500 * MS)
        add(detected, source, Kind.CONNECTION_LOST, cause="no answer to a NOP-Out", in_flight=16)
        add(detected + MS, source, Kind.PATH_STATE_CHANGED, old="up", new="blocked", cause="connection lost")
        add(detected + 2 * MS, source, Kind.PATH_STATE_CHANGED, old="blocked", new="failed", cause="recovery timeout 0")
        add(detected + 3 * MS, source, Kind.FENCE_STARTED, method="reinstate", by="path 2")
        add(detected + 18 * MS, source, Kind.FENCE_COMPLETED, method="reinstate", by="path 2")
        add(detected + 19 * MS, "map:disk0", Kind.IO_REROUTED, count=16, **{"from": fault.path})
        t_ns, attempt = detected + 120 * MS, 1
        while t_ns < heal:
            add(t_ns, source, Kind.CONNECT_STARTED, portal=names[fault.path - 1], attempt=attempt)
            add(
                min(t_ns + 2 * S, heal - MS),
                source,
                Kind.CONNECT_FAILED,
                portal=names[fault.path - 1],
                cause="no answer in 2 s",
            )
            t_ns, attempt = t_ns + 2 * S + 600 * MS, attempt + 1
        if fault.healed:
            timeline += [("healed", heal), ("reconnected", heal + 930 * MS), ("reinstated", heal + 941 * MS)]
            add(heal, "drill", Kind.FAULT_HEALED, fault=fault.kind, path=fault.path)
            add(heal + 900 * MS, source, Kind.CONNECT_STARTED, portal=names[fault.path - 1], attempt=attempt)
            add(heal + 930 * MS, source, Kind.LOGIN_COMPLETED, portal=names[fault.path - 1], tsih=9, tpgt=fault.path)
            add(heal + 941 * MS, source, Kind.PATH_STATE_CHANGED, old="failed", new="up", cause="logged in")
            add(heal + 941 * MS, source, Kind.PATH_REINSTATED)
        stalls.append(
            {
                "fault": fault.kind,
                "path": fault.path,
                "start_ns": cut,
                "worst_stall_ns": stall,
                "longest_gap_ns": stall - 9 * MS,
                "ios": 4_000,
                "bound_ns": BOUND_NS,
                "best_ns": 500 * MS,
                "timeline": [{"what": what, "t_ns": t_ns} for what, t_ns in timeline],
            }
        )
    for index in range(plan.extra_events):
        add(T0 + 30 * MS + index * 1_000, "map:disk0", Kind.IO_REROUTED, count=1, **{"from": index % plan.paths + 1})
    add(T0 + int(plan.seconds * S), "drill", Kind.RUN_ENDED, verdict=plan.verdict)
    journal = Journal(records_max=10**7)
    for t_ns, source, kind, fields in sorted(entries, key=lambda entry: entry[0]):
        journal.record(t_ns, source, kind, **fields)
    return list(journal), stalls


def _history(plan: Plan, rng: random.Random) -> list[dict[str, Any]]:
    ios: list[dict[str, Any]] = []
    workers = 16
    start, end = T0 + 60 * MS, T0 + int(plan.seconds * S)
    pace = int((end - start) / max(plan.ios / workers, 1))
    windows = [(T0 + int(f.cut_s * S), T0 + int(f.cut_s * S) + f.stall_ms * MS) for f in plan.faults]
    for worker in range(workers if plan.ios else 0):
        t_ns = start + rng.randrange(pace)
        while t_ns < end and len(ios) < plan.ios:
            latency = int(rng.lognormvariate(12.6, 0.35)) + (rng.randrange(4 * MS) if rng.random() < 0.01 else 0)
            done = t_ns + latency
            for low, high in windows:
                if t_ns < high and done > low:
                    done = high - rng.randrange(8 * MS) if worker else high
                    done = max(done, t_ns + 100_000)
            ios.append(
                {
                    "id": 0,
                    "op": "write" if rng.random() < 0.5 else "read",
                    "offset": rng.randrange(4096) * 4096,
                    "length": rng.choice((4096, 4096, 65536)),
                    "start_ns": t_ns,
                    "end_ns": done,
                    "outcome": "ok",
                    "error": None,
                    "seq": None,
                    "worker": worker,
                }
            )
            t_ns = max(done + 20_000, t_ns + int(pace * rng.uniform(0.6, 1.3)))
    ios.sort(key=lambda io: int(io["start_ns"]))
    for number, io in enumerate(ios):
        io["id"] = number
    for outcome, count in (("fail", plan.failed), ("unknown", plan.unknown)):
        for io in rng.sample(ios, count):
            io["outcome"], io["error"] = outcome, "no usable path"
            if outcome == "unknown" and rng.random() < 0.5:
                io["end_ns"] = None
    return ios


def _path(plan: Plan, path: int, name: str, ios: list[dict[str, Any]]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "path": path,
        "name": f"iscsi://{name}/{plan.target}/1" if name[0].isdigit() else name,
        "state": "up",
        "reads": 12_000 + path,
        "writes": 11_500,
        "read_bytes": 240 << 20,
        "write_bytes": 230 << 20,
        "errors": 1,
        "rerouted": 16,
    }
    if plan.path_throughput and ios:
        interval = 100 * MS
        series = [0] * (int(plan.seconds * S / interval) + 1)
        for io in ios:
            if io["end_ns"] is None:
                continue
            at_s = (io["end_ns"] - T0) / S
            down = {fault.path for fault in plan.faults if fault.cut_s < at_s < fault.heal_s + 0.94}
            up = [number for number in range(1, plan.paths + 1) if number not in down]
            if up and up[io["id"] % len(up)] == path:
                series[min((io["end_ns"] - T0) // interval, len(series) - 1)] += io["length"]
        figures["throughput"] = {"start_ns": T0, "interval_ns": interval, "bytes": series}
    return figures
