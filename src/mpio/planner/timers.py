"""How late timers fire and how long retries pause: the kernel's timer wheel, TCP's back-off, SYNs that get no answer.

Facts of Linux only; nothing here knows of iSCSI. Sources are named as file:function of the kernel.
"""

from mpio.model.stack import Version
from mpio.units import NS_PER_S, seconds

WHEEL_SINCE: Version = (4, 8)
"""The timer wheel that never cascades; the older one had finer buckets and a slack of 1/256 (kernel/time/timer.c)."""
LINEAR_SYN_SINCE: Version = (6, 5)
"""net.ipv4.tcp_syn_linear_timeouts, 4: that many SYNs a second apart before they back off."""

_RTO_S = (0.2, 0.25)
"""First retransmission: TCP_RTO_MIN, plus a round trip that may wait for a delayed ACK (net/ipv4/tcp_input.c)."""
_SYN_TIMES_S = (0, 1, 3, 7, 15, 31, 63)
_SYN_TIMES_LINEAR_S = (0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67)


def lateness_ns(delay_s: float, hz: int, kernel: Version = (6, 1)) -> int:
    """The most that a kernel timer of this delay fires late; none fires early.

    A timer x jiffies away lies in a bucket of 8^n jiffies, n the least with x < 63·8^n, and is rounded up to the
    bucket's end (kernel/time/timer.c:calc_wheel_index). Before 4.8: 1/256 of the delay (apply_slack) and one jiffy.
    """
    if delay_s <= 0:
        return 0
    if kernel < WHEEL_SINCE:
        return seconds(delay_s / 256) + NS_PER_S // hz
    bucket = 1
    while delay_s * hz >= 63 * bucket:
        bucket *= 8
    return bucket * NS_PER_S // hz


def retransmission_ns(outage_ns: int) -> tuple[int, int]:
    """When TCP first sends again after an outage has ended: best and worst, counted from its beginning.

    Retransmissions follow at r(2^k - 1), k = 1, 2, …, r the first timeout; so it takes up to twice the outage and r
    (net/ipv4/tcp_timer.c:tcp_retransmit_timer).
    """
    soonest, latest = (seconds(rto_s) for rto_s in _RTO_S)
    if outage_ns <= 0:
        return 0, latest
    best: int | None = None
    worst = outage_ns
    step, step_before = 1, 0
    while best is None or step_before * soonest < outage_ns:
        if step * latest >= outage_ns:  # some r makes this the first one after the outage
            best = max(outage_ns, step * soonest) if best is None else best
            missed = step * outage_ns // step_before if step_before else step * latest  # the one before came too soon
            worst = max(worst, min(step * latest, missed))
        step, step_before = 2 * step + 1, step
    return best, worst


def syn_gap_s(login_timeout_s: float, kernel: Version = (6, 1)) -> float:
    """The longest time without a SYN while iscsid tries to connect to a portal that drops them.

    An attempt is given up after `login_timeout` and the next begins at once, so the longest gap lies between two
    SYNs or before the end of the attempt. A longer `login_timeout` makes it longer.
    """
    times = _SYN_TIMES_LINEAR_S if kernel >= LINEAR_SYN_SINCE else _SYN_TIMES_S
    sent = [time for time in times if time < login_timeout_s]
    return max(later - earlier for earlier, later in zip(sent, [*sent[1:], login_timeout_s], strict=True))
