"""The sums of the planner written a second time, from the formulas and not from its code, to check it by.

Whole nanoseconds. Only what the tests need: a Linux of 5.6 or later, multipathd that applies fast_io_fail_tmo.
"""

import itertools
import math

NS = 10**9
REISSUE = 150_000_000  # what the model allows from the last timer to the answer


def lateness(delay_s: int, hz: int) -> int:
    """g(x): the bucket of the timer wheel that x falls into."""
    jiffies, bucket = delay_s * hz, 1
    while jiffies >= 63 * bucket:
        bucket *= 8
    return bucket * NS // hz if delay_s else 0


def path_stall(interval: int, timeout: int, recovery: int, hz: int, nopin: float) -> int:
    """X + R + P + F and the lateness of each: a loss in one direction while the target pings."""
    silence = (interval + timeout) * NS + lateness(interval, hz) + lateness(timeout, hz)
    shift = min(round(nopin * NS), silence) if nopin else 0
    return shift + silence + recovery * NS + lateness(recovery, hz) + REISSUE


def login(wait: int, exchange: float) -> int:
    """W, a poll, the exchange, a second of iscsid's clock."""
    return (wait + 2) * NS + round(exchange * NS)


def syn_gap(login_timeout: int, *, linear: bool) -> int:
    """The longest pause between two SYNs, or between the last one and the end of the attempt."""
    marks = [0, 1, 2, 3, 4, 5, 7, 11, 19, 35] if linear else [0, 1, 3, 7, 15, 31]
    marks = [*(mark for mark in marks if mark < login_timeout), login_timeout]
    return max(b - a for a, b in itertools.pairwise(marks))


def outage_end(
    outage_s: float, recovery: int, login_timeout: int, polling: int, *, linear: bool = False, exchange: float = 0.1
) -> int:
    """When I/O goes on after an outage that begins with a reset: reconnect, and two checks if the path was failed."""
    reconnect = (max(syn_gap(login_timeout, linear=linear), 6) + 2) * NS + round(exchange * NS)
    back = round(outage_s * NS) + reconnect
    return back + (2 * (polling + 1) * NS if recovery * NS < back else 0) + REISSUE


def patience(recovery: int, retries: int, polling: int) -> int:
    """How long I/O waits at the least when all sessions are reset at once."""
    return (recovery + retries * polling) * NS


def o2cb_stands(threshold: int, stall: int, latency: int = 0) -> bool:
    """Two seconds between heartbeats, the stall, and what a heartbeat takes anyhow, within 2 (T - 1) s."""
    return stall + latency + 2 * NS <= 2 * (threshold - 1) * NS


def o2cb_recommended(stall: int) -> int:
    """T for max(1.5 S, S + 30 s)."""
    return math.ceil(max(stall * 3 / 2, stall + 30 * NS) / (2 * NS)) + 1


def sbd_stands(watchdog: int, stall: int) -> bool:
    """With the shipped I/O timeout, loop and restart delay a node rides through W - 3 s, or 2 s if W is short."""
    return stall <= max(watchdog - 3, 2) * NS


def sanlock_stands(io_timeout: int, stall: int) -> bool:
    return stall + 2 * NS <= 6 * io_timeout * NS


def ncs_stands(limit: int, heartbeat: int, stall: int) -> bool:
    return stall + heartbeat * NS < limit * NS
