"""Solve many random goals, check every answer, and say how long one takes: `python -m bench.plans [--count 10000]`.

A plan is checked by the tests' own arithmetic, which knows nothing of the planner's code. A conflict is checked by
asking again: its goals must be impossible, and possible without any one of them. Times are CPU time of `solve` alone,
so that other work on the machine does not count. Exits with 1 if an answer is wrong.
"""

import argparse
import json
import random
import statistics
import sys
import time

from tests.unit.planner import arithmetic as own

from mpio.model.cluster import Ncs, O2cb, Sanlock, Sbd
from mpio.model.stack import LinuxStack
from mpio.planner.goals import Conflict, Goals, Plan
from mpio.planner.search import Search
from mpio.planner.solve import solve

CLUSTERS = ("none", "ocfs2", "sbd", "sanlock", "pacemaker", "ncs", "heartbeat", "rac", "zfs", "qdisk")


def random_goals(chance: random.Random) -> Goals:
    """Any goals: mostly possible, often hard, sometimes with settings that must stay."""
    def maybe(share: float, value: int) -> int | None:
        return value if chance.random() < share else None

    pins = {
        "noop_out_interval": chance.randint(1, 15), "noop_out_timeout": chance.randint(1, 15),
        "fast_io_fail_tmo": chance.randint(1, 60), "polling_interval": chance.randint(1, 10),
        "no_path_retry": chance.randint(2, 30), "login_timeout": chance.randint(2, 30),
    }
    return Goals(
        max_stall_s=maybe(0.7, chance.randint(4, 120)), ride_out_s=maybe(0.4, chance.randint(31, 600)),
        takeover_s=maybe(0.2, chance.randint(20, 300)), cluster=chance.choice(CLUSTERS), paths=chance.randint(2, 8),
        io_latency_max_s=chance.choice([0, 0, 0, 1, 5, 20]), serial_failures=chance.random() < 0.1,
        hung_lun=chance.random() < 0.1, hz=chance.choice([100, 250, 300, 1000]),
        kernel=chance.choice([(5, 10), (6, 1), (6, 12)]),
        fixed={name: value for name, value in pins.items() if chance.random() < 0.08},
    )


def wrong(goals: Goals, found: Plan | Conflict) -> str:
    """What is wrong with an answer; "" if nothing is."""
    return _wrong_plan(goals, found) if isinstance(found, Plan) else _wrong_conflict(goals, found)


def _wrong_plan(goals: Goals, plan: Plan) -> str:
    stack = plan.stack
    recovery = stack.fast_io_fail_tmo
    assert recovery is not None
    stall = own.path_stall(stack.noop_out_interval, stack.noop_out_timeout, recovery, stack.hz, 15)
    stall *= goals.paths - 1 if goals.serial_failures else 1
    if any(getattr(stack, name) != value for name, value in goals.fixed.items()):
        return "a fixed setting has changed"
    if goals.max_stall_s is not None and stall > goals.max_stall_s * own.NS:
        return "the stall is too long"
    if stack.noop_out_interval + stack.noop_out_timeout <= goals.io_latency_max_s:
        return "a healthy target loses its sessions"
    longest = stall + round(goals.io_latency_max_s * own.NS)
    if goals.ride_out_s is not None:
        retries = stack.no_path_retry if isinstance(stack.no_path_retry, int) else 0
        end = own.outage_end(goals.ride_out_s, recovery, stack.login_timeout, stack.polling_interval,
                             linear=stack.kernel >= (6, 5))
        if own.patience(recovery, retries, stack.polling_interval) < end:
            return "I/O fails before the outage is over"
        longest = max(stall, end) + round(goals.io_latency_max_s * own.NS)
    for cluster in plan.clusters:
        match cluster:
            case O2cb():  # an outage of all nodes is carried by their negotiation
                stands = own.o2cb_stands(cluster.heartbeat_threshold, stall, round(goals.io_latency_max_s * own.NS))
            case Sbd():
                stands = own.sbd_stands(cluster.watchdog, longest) and cluster.msgwait >= 2 * cluster.watchdog
            case Sanlock():
                stands = own.sanlock_stands(cluster.io_timeout, longest)
            case Ncs():
                stands = own.ncs_stands(min(cluster.tolerance, cluster.slave_watchdog), cluster.heartbeat, longest)
            case _:
                continue
        if not stands:
            return f"{cluster} does not stand it"
    return ""


def _wrong_conflict(goals: Goals, conflict: Conflict) -> str:
    core = goals.without(*(name for name in goals.stated() if name not in conflict.goals))
    if Search(core, LinuxStack()).is_possible():
        return "the goals in conflict are possible"
    spare = [name for name in conflict.goals if not Search(core.without(name), LinuxStack()).is_possible()]
    return f"{', '.join(spare)} is no part of the conflict" if spare else ""


def main() -> None:
    """Run, print a summary as JSON, and exit with 1 if an answer is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    times: dict[str, list[float]] = {"plan": [], "conflict": []}
    errors = []
    for _ in range(options.count):
        goals = random_goals(chance)
        began = time.process_time()
        found = solve(goals)
        times["plan" if isinstance(found, Plan) else "conflict"].append(1e3 * (time.process_time() - began))
        if error := wrong(goals, found):
            errors.append(f"{error}: {goals}")
    print(json.dumps({
        "seed": options.seed, "wrong": len(errors),
        **{kind: _summary(taken) for kind, taken in times.items()},
    }, indent=2))
    for line in errors[:10]:
        print(line, file=sys.stderr)
    sys.exit(1 if errors else 0)


def _summary(times_ms: list[float]) -> dict[str, float]:
    if len(times_ms) < 2:
        return {"count": len(times_ms)}
    marks = statistics.quantiles(times_ms, n=100)
    return {"count": len(times_ms), "median_ms": round(marks[49], 2), "p99_ms": round(marks[98], 2),
            "longest_ms": round(max(times_ms), 2)}


if __name__ == "__main__":
    main()
