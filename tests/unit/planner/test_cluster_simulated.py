"""The bounds against small models of what the daemons do, step by step, written apart from the planner.

Each model runs one heartbeat loop through one stall that begins at a given phase, in milliseconds, and says whether
the node lived. The bounds must hold at every phase, and must not be far from what some phase needs.
"""

from collections.abc import Callable, Iterator

import pytest

from mpio.model.cluster import O2cb, Sanlock, Sbd
from mpio.planner.cluster import Storage, tolerated_ns
from mpio.planner.clusters import sbd

READ_MS = 20
"""What one read or write takes when nothing is wrong."""


def o2hb_lives(threshold: int, stall_ms: int, phase_ms: int) -> bool:
    """A round begins each 2 s, or at once if the last took longer; the first I/O after the fault stalls.

    The timer runs from the end of a good round; a fence falls in between if the next one ends too late.
    """
    fault_ms = 20_000 + phase_ms
    begins_ms, fences_ms, stalled = 0, 2000 * (threshold - 1), False
    while begins_ms < fault_ms + stall_ms + 10_000:
        ends_ms = begins_ms
        for _ in range(2):  # read all slots, write one's own
            hit = not stalled and ends_ms >= fault_ms
            ends_ms += stall_ms if hit else READ_MS
            stalled = stalled or hit
        if ends_ms > fences_ms:
            return False
        fences_ms = ends_ms + 2000 * (threshold - 1)
        begins_ms = max(ends_ms, begins_ms + 2000)
    return True


def sanlock_lives(io_timeout: int, stall_ms: int, phase_ms: int) -> bool:
    """Renewals begin 2 N after the last good one began; one that times out is tried again half a second later.

    A stall that begins `phase_ms` into the interval holds up all I/O issued until its end; the lease fails at 8 N.
    """
    last_ms, fault_ms = 0, phase_ms
    healed_ms = fault_ms + stall_ms
    begins_ms = last_ms + 2000 * io_timeout
    while begins_ms < healed_ms and begins_ms >= fault_ms:
        if healed_ms - begins_ms <= 1000 * io_timeout:
            return healed_ms + READ_MS <= last_ms + 8000 * io_timeout
        begins_ms += 1000 * io_timeout + 500
    return begins_ms + READ_MS <= last_ms + 8000 * io_timeout


def sbd_servant(cluster: Sbd, fault_ms: int, healed_ms: int) -> Iterator[int]:
    """When the servant shows a sign of life: it starts with five reads, then sleeps and reads three times for each.

    A read of more than I ends it; it starts anew at once if it ran for longer than r, else r + 1 s after its start.
    """
    now_ms = 0
    while True:
        started_ms, reads, alive = now_ms, 5, True
        while alive:
            for _ in range(reads):
                ends_ms = healed_ms if fault_ms <= now_ms < healed_ms else now_ms + READ_MS
                alive = ends_ms - now_ms <= 1000 * cluster.io_timeout
                now_ms = min(ends_ms, now_ms + 1000 * cluster.io_timeout)
                if not alive:
                    break
            if alive and reads == 3:
                yield now_ms
            reads = 3
            now_ms += 1000 * cluster.loop if alive else 0
        if now_ms - started_ms <= 1000 * cluster.restart_delay:
            now_ms = started_ms + 1000 * (cluster.restart_delay + 1)


def sbd_lives(cluster: Sbd, stall_ms: int, phase_ms: int) -> bool:
    """The inquisitor looks each second, and feeds the watchdog while the last sign is less than I + l seconds old."""
    fault_ms = 20_000 + phase_ms
    healed_ms = fault_ms + stall_ms
    signs = sbd_servant(cluster, fault_ms, healed_ms)
    sign_ms = next(signs)
    coming_ms = next(signs)
    fed_ms = 0
    for now_ms in range(0, healed_ms + 30_000, 1000):
        while coming_ms <= now_ms:
            sign_ms, coming_ms = coming_ms, next(signs)
        if (now_ms - sign_ms) // 1000 < cluster.io_timeout + cluster.loop:
            fed_ms = now_ms
        elif now_ms - fed_ms >= 1000 * cluster.watchdog:
            return False
    return True


def longest_survived(lives: Callable[[int, int], bool], phases: range) -> int:
    """The longest stall in ms that is survived at every phase."""
    lower, upper = 0, 1_000_000
    while upper - lower > 10:
        middle = (lower + upper) // 2
        lower, upper = (middle, upper) if all(lives(middle, phase) for phase in phases) else (lower, middle)
    return lower


@pytest.mark.parametrize("threshold", [7, 31, 61])
def test_o2cb_bound_holds_and_is_exact(threshold: int) -> None:
    """Exact to the play of one round of I/O: 2 (T - 1) - 2 s is survived, a tenth of a second more is not."""
    survived = longest_survived(lambda stall, phase: o2hb_lives(threshold, stall, phase), range(0, 2001, 10))
    bound_ns = tolerated_ns([O2cb(heartbeat_threshold=threshold)], Storage(stall_ns=0, latency_ns=2 * READ_MS * 10**6))
    assert bound_ns is not None
    assert bound_ns / 1e6 <= survived <= bound_ns / 1e6 + 100


@pytest.mark.parametrize("io_timeout", [5, 10, 20])
def test_sanlock_bound_holds_and_keeps_back_its_allowance(io_timeout: int) -> None:
    survived = longest_survived(lambda stall, phase: sanlock_lives(io_timeout, stall, phase),
                                range(0, 2000 * io_timeout + 1, 250))
    bound_ns = tolerated_ns([Sanlock(io_timeout=io_timeout)], Storage(stall_ns=0))
    assert bound_ns is not None
    assert bound_ns / 1e6 <= survived <= bound_ns / 1e6 + 2000


SBD_PHASES = range(0, 8000, 170)


@pytest.mark.parametrize("cluster", [
    Sbd(watchdog=5), Sbd(watchdog=15), Sbd(watchdog=30), Sbd(watchdog=15, io_timeout=6),
    Sbd(watchdog=40, restart_delay=2), Sbd(watchdog=20, loop=2), Sbd(watchdog=10, io_timeout=20),
    Sbd(watchdog=25, restart_delay=9), Sbd(watchdog=5, io_timeout=25),
])
def test_sbd_bound_holds_and_is_within_a_restart_of_what_is_needed(cluster: Sbd) -> None:
    """When the servant is started anew depends on the stall's length too, so the survivals have gaps: all are tried."""
    bound_ms = sbd.tolerated_ns(cluster) // 10**6
    cadence_ms = 1000 * (cluster.restart_delay + 1)
    for stall_ms in range(bound_ms % 500, bound_ms + 1, 500):
        assert all(sbd_lives(cluster, stall_ms, phase) for phase in SBD_PHASES), stall_ms
    beyond = range(bound_ms, bound_ms + cadence_ms, 200)
    assert not all(sbd_lives(cluster, stall_ms, phase) for stall_ms in beyond for phase in SBD_PHASES)


@pytest.mark.parametrize("stall_s", [5, 10, 12, 17, 20, 30, 60])
def test_sbd_survives_with_three_seconds_more_than_the_stall(stall_s: int) -> None:
    enough = Sbd(watchdog=stall_s + 3)
    assert sbd.tolerated_ns(enough) == stall_s * 10**9
    assert all(sbd_lives(enough, 1000 * stall_s, phase) for phase in SBD_PHASES)
