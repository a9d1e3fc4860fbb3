"""sanlock and wdmd: leases whose every time is a multiple of io_timeout N.

The lease's clock is taken before its renewal is written, and the watchdog's expiry from the same moment. Sources:
sanlock src/timeouts.h, delta_lease.c, lockspace.c, sanlock(8), wdmd(8).
"""

from dataclasses import replace

from mpio.model.cluster import Sanlock
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, stall_term, term
from mpio.planner.clusters.storage import Storage
from mpio.units import NS_PER_S

STACK = "sanlock"
IO_TIMEOUT_DEFAULT = 10
PLAY_NS = 2 * NS_PER_S
"""What is kept back of 6 N for the retry of a read that has timed out and for whole seconds."""
WATCHDOG_TEST_NS = 10 * NS_PER_S
"""wdmd looks at its clients this often."""
_TIMEOUTS = "sanlock src/timeouts.h"


def tolerated_ns(cluster: Sanlock) -> int:
    """The longest stall of one I/O with which no holder is killed: 6 N less 2 s."""
    return max(0, 6 * cluster.io_timeout * NS_PER_S - PLAY_NS)


def renewal_fails_ns(cluster: Sanlock) -> int:
    """From the last good renewal until the lease's holders are killed: 8 N."""
    return 8 * cluster.io_timeout * NS_PER_S


def host_dead_ns(cluster: Sanlock) -> int:
    """From the last good renewal until other hosts may take the leases: 8 N and the watchdog's time."""
    return renewal_fails_ns(cluster) + cluster.watchdog_fire_timeout * NS_PER_S


def grace_ns(cluster: Sanlock) -> int:
    """How long holders have between SIGTERM and SIGKILL; a short watchdog leaves less."""
    if cluster.watchdog_fire_timeout >= 60:
        return 40 * NS_PER_S
    return 15 * NS_PER_S if cluster.watchdog_fire_timeout >= 30 else 0


def acquire_ns(cluster: Sanlock, *, held: bool) -> int:
    """The longest time to get a lease: a free one, or one that a dead host held."""
    if not held:
        return 6 * cluster.io_timeout * NS_PER_S
    return host_dead_ns(cluster) + 7 * cluster.io_timeout * NS_PER_S


def deadlines(cluster: Sanlock, storage: Storage) -> tuple[Deadline, ...]:
    """In the order in which they pass."""
    unit_ns = cluster.io_timeout * NS_PER_S
    phase_ns = 2 * unit_ns + storage.latency_ns + storage.jitter_ns
    fails_ns, dead_ns, limit_ns = renewal_fails_ns(cluster), host_dead_ns(cluster), tolerated_ns(cluster)
    return (Deadline(
        "sanlock.tolerated", "longest stall tolerated", Act.TOLERATED, Since.STALL, limit_ns, limit_ns,
        "the next renewal is in time", f"6 N - 2 s: {_TIMEOUTS}, derived",
    ), Deadline(
        "sanlock.warning", "warning", Act.WARNS, Since.HEARTBEAT, 6 * unit_ns, 6 * unit_ns,
        "a line in sanlock.log", f"6 N: {_TIMEOUTS}", phase_ns,
    ), Deadline(
        "sanlock.failed", "renewal has failed", Act.FAILS, Since.HEARTBEAT, fails_ns, fails_ns,
        "the holders of the leases are killed: virtual machines, volume groups", f"8 N: {_TIMEOUTS}", phase_ns,
    ), Deadline(
        "sanlock.self_fence", "watchdog fires", Act.FENCED, Since.HEARTBEAT, max(fails_ns, dead_ns - WATCHDOG_TEST_NS),
        dead_ns, "if the holders did not end in time", f"8 N + 50 to 8 N + 60 s: {_TIMEOUTS}, wdmd(8)", phase_ns,
    ), Deadline(
        "sanlock.dead", "host dead", Act.DEAD, Since.HEARTBEAT, dead_ns, dead_ns, "other hosts may take its leases",
        f"8 N + 60 s: {_TIMEOUTS}", phase_ns,
    ))


def inequalities(cluster: Sanlock, storage: Storage) -> tuple[Inequality, ...]:
    """SL-01 for each kind of stall, SL-04 about queueing, S1."""
    found = [_survives(cluster, storage, "SL-01", "one path failure costs no lease", storage.stall_ns)]
    if storage.serial_ns != 0:
        found.append(_survives(cluster, storage, "N3", "paths that fail one after another cost no lease",
                               storage.serial_ns))
    if storage.flaps:
        twice = None if storage.stall_ns is None else 2 * storage.stall_ns
        found.append(_survives(cluster, storage, "N4", "a path that fails twice in a renewal costs no lease", twice))
    if storage.outage_ns != 0:
        found.append(_survives(cluster, storage, "APD", "an outage of the whole array costs no lease",
                               storage.outage_ns))
    fails = term("8 io_timeout", renewal_fails_ns(cluster), "sanlock.io_timeout")
    found.append(condition(
        "SL-04", STACK, Stake.SERVICE, "I/O does not wait for a path past the end of the lease",
        [] if storage.queue_ns is None else [term("I/O waits for a path", storage.queue_ns, "no_path_retry")], [fails],
        "vdsm lib/vdsm/storage/mpathconf.py: no_path_retry 16 at polling_interval 5",
        endless_left=storage.queue_ns is None,
    ))
    watchdog = term("watchdog", cluster.watchdog_fire_timeout * NS_PER_S, "sanlock.watchdog_fire_timeout")
    found.append(condition(
        "S1", STACK, Stake.SPLIT_BRAIN, "a host is reset before others take its leases", [fails, watchdog],
        [term("host dead", host_dead_ns(cluster), "sanlock.watchdog_fire_timeout")],
        f"{_TIMEOUTS}: both ends count from the moment before the renewal was written", inherent=True,
    ))
    return tuple(found)


def _survives(cluster: Sanlock, storage: Storage, id: str, claim: str, stall_ns: int | None) -> Inequality:
    left = [
        *stall_term(stall_ns), term("latency", storage.latency_ns, "measured"),
        term("jitter", storage.jitter_ns, "measured"), term("retry and whole seconds", PLAY_NS, "allowance"),
    ]
    lease_ns = 6 * cluster.io_timeout * NS_PER_S
    return condition(id, STACK, Stake.FENCE, claim, left, [term("6 io_timeout", lease_ns, "sanlock.io_timeout")],
                     f"{_TIMEOUTS}, derived", endless_left=stall_ns is None)


def required(cluster: Sanlock, storage: Storage) -> Sanlock:
    """This with N raised to (S + 2 s) / 6 where it is less."""
    longest_ns, outage_ns = storage.longest_ns, storage.outage_ns
    if longest_ns is None or outage_ns is None:
        raise ValueError("no io_timeout outlasts a stall without end")
    needed_ns = max(longest_ns, outage_ns) + storage.latency_ns + storage.jitter_ns + PLAY_NS
    needed = -(-needed_ns // (6 * NS_PER_S))
    if storage.queue_ns is not None:
        needed = max(needed, -(-storage.queue_ns // (8 * NS_PER_S)))
    return replace(cluster, io_timeout=max(cluster.io_timeout, needed))


def recommended(storage: Storage) -> Sanlock:
    """The default while it is enough, else N rounded up to ten: it is a value for all hosts, and rarely changed."""
    needed = required(Sanlock(io_timeout=1), storage).io_timeout
    return Sanlock(io_timeout=max(IO_TIMEOUT_DEFAULT, -(-needed // 10) * 10))
