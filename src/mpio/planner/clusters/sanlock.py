"""sanlock and wdmd: leases whose every time is a multiple of io_timeout N.

The lease's clock is read before its renewal is written, and the watchdog's expiry follows from the same moment.
Sources: sanlock src/timeouts.h, delta_lease.c, lockspace.c, sanlock(8), wdmd(8).
"""

from dataclasses import replace

from mpio.model.cluster import Sanlock
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, term
from mpio.planner.clusters.stack import Stack, survives, tolerated
from mpio.planner.clusters.storage import Storage
from mpio.units import NS_PER_S

PLAY_NS = 2 * NS_PER_S
"""Allowance for the retry of a renewal that timed out and for whole seconds; the retry itself takes half a second."""
WATCHDOG_TEST_NS = 10 * NS_PER_S
"""wdmd looks at its clients this often."""
_SOURCE = "sanlock src/timeouts.h"


def renewal_interval_ns(cluster: Sanlock) -> int:
    """From one renewal to the next: 2 N."""
    return 2 * cluster.io_timeout * NS_PER_S


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
    """The longest time to get a lease: a free one 6 N, one that a dead host held 7 N after that host is dead."""
    unit_ns = cluster.io_timeout * NS_PER_S
    return host_dead_ns(cluster) + 7 * unit_ns if held else 6 * unit_ns


def deadlines(cluster: Sanlock, storage: Storage) -> tuple[Deadline, ...]:
    """In the order in which they pass."""
    phase_ns = renewal_interval_ns(cluster) + storage.noise_ns
    warns_ns, fails_ns = 6 * cluster.io_timeout * NS_PER_S, renewal_fails_ns(cluster)
    dead_ns = host_dead_ns(cluster)
    return (tolerated(
        "sanlock", fails_ns - phase_ns - PLAY_NS, "the next renewal is in time", f"6 N - 2 s: {_SOURCE}, derived",
    ), Deadline(
        "sanlock.warning", "warning", Act.WARNS, Since.HEARTBEAT, warns_ns, warns_ns, "a line in sanlock.log",
        f"6 N: {_SOURCE}", phase_ns,
    ), Deadline(
        "sanlock.failed", "renewal has failed", Act.FAILS, Since.HEARTBEAT, fails_ns, fails_ns,
        "the leases' holders are killed: virtual machines, volume groups", f"8 N: {_SOURCE}", phase_ns,
    ), Deadline(
        "sanlock.self_fence", "watchdog fires", Act.FENCED, Since.HEARTBEAT, max(fails_ns, dead_ns - WATCHDOG_TEST_NS),
        dead_ns, "if the holders did not end in time", f"8 N + 50 to 8 N + 60 s: {_SOURCE}, wdmd(8)", phase_ns,
    ), Deadline(
        "sanlock.dead", "host dead", Act.DEAD, Since.HEARTBEAT, dead_ns, dead_ns, "other hosts may take its leases",
        f"8 N + 60 s: {_SOURCE}", phase_ns,
    ))


def inequalities(cluster: Sanlock, storage: Storage) -> tuple[Inequality, ...]:
    """N2 (N1 with the renewal's retry), N3, N4, APD; SL-04 about queueing; S1."""
    fails = term("renewal fails", renewal_fails_ns(cluster), "sanlock.io_timeout")
    around = (term("renewal interval", renewal_interval_ns(cluster), "sanlock.io_timeout"),
              term("retry and whole seconds", PLAY_NS, "allowance"))
    watchdog = term("watchdog", cluster.watchdog_fire_timeout * NS_PER_S, "sanlock.watchdog_fire_timeout")
    return (*(survives(
        "sanlock", case, storage, fails, f"{_SOURCE}, derived", code="N2" if case.code == "N1" else case.code,
        claim="no lease is lost by", extra=around,
    ) for case in storage.cases), condition(
        "SL-04", "sanlock", Stake.SERVICE, "I/O does not wait for a path past the end of the lease",
        [term("I/O waits for a path", storage.queue_ns, "no_path_retry")], [fails],
        "vdsm lib/vdsm/storage/mpathconf.py: no_path_retry 16 at polling_interval 5",
    ), condition(
        "S1", "sanlock", Stake.SPLIT_BRAIN, "a host is reset before others take its leases", [fails, watchdog],
        [term("host dead", host_dead_ns(cluster), "sanlock.watchdog_fire_timeout")],
        f"{_SOURCE}: both ends count from the moment before the renewal was written", inherent=True,
    ))


def required(cluster: Sanlock, storage: Storage) -> Sanlock:
    """N raised to (S + 2 s) / 6, and to an eighth of the time for which I/O may wait for a path."""
    needed_ns = storage.finite_ns("sanlock.io_timeout") + storage.noise_ns + PLAY_NS
    queue_ns = storage.queue_ns or 0  # if it is for ever no N helps
    return replace(cluster, io_timeout=max(
        cluster.io_timeout, -(-needed_ns // (6 * NS_PER_S)), -(-queue_ns // (8 * NS_PER_S)),
    ))


def recommended(storage: Storage) -> Sanlock:
    """The default where it is enough, else a multiple of ten: all hosts must change it, so it is changed rarely."""
    needed = required(Sanlock(), storage).io_timeout
    return Sanlock(io_timeout=10 * -(-needed // 10))


STACK: Stack[Sanlock] = Stack(
    "sanlock", deadlines, inequalities, required,
    shortest=lambda cluster: replace(cluster, io_timeout=1),
    heartbeat_name="sanlock's renewal limit",
    heartbeat_ns=lambda cluster, _: renewal_fails_ns(cluster),
)
