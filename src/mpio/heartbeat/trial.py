"""One stall of the storage, and whether a node with these settings lives through it: fast models of four heartbeats.

Each goes round by round from a few rounds before the stall until it is over, with a latency drawn for each request.
They are what a recommended threshold is tried on, ten thousand times; the machines beside them do the same with real
blocks, and take a hundred times as long. Sources: as in `planner.clusters`, and docs/clusters.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mpio.heartbeat.timing import Timing
from mpio.model.cluster import O2cb, Sanlock, Sbd
from mpio.units import NS_PER_S

O2CB_PERIOD_NS = 2 * NS_PER_S
SANLOCK_RETRY_NS = NS_PER_S // 2
"""A renewal that timed out is tried again after so long."""
SBD_READS = 3
"""Header, slot, mailbox: a servant's round."""
SBD_START_READS = 5
"""What a servant reads when it starts, four to six times."""

Subject = Timing | O2cb | Sbd | Sanlock
"""Settings of a heartbeat: mpio's own, OCFS2's, SBD's, sanlock's."""
Latency = Callable[[], int]
"""Draws how long a request takes when nothing is wrong, in ns. With SBD one read; else a round's read and write."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Storage stands still from `begin_ns` to `end_ns`: what is under way goes on then, what is asked for begins."""

    begin_ns: int
    end_ns: int

    def end_of(self, at_ns: int, latency_ns: int) -> int:
        """When a request that is issued at `at_ns` ends."""
        done_ns = at_ns + latency_ns
        if done_ns <= self.begin_ns or at_ns >= self.end_ns:
            return done_ns
        return done_ns + self.end_ns - max(at_ns, self.begin_ns)


def period_ns(subject: Subject) -> int:
    """From one heartbeat to the next, when nothing is wrong."""
    match subject:
        case Timing():
            return subject.period_ns
        case O2cb():
            return O2CB_PERIOD_NS
        case Sbd():
            return subject.loop * NS_PER_S
        case Sanlock():
            return 2 * subject.io_timeout * NS_PER_S


def fences(subject: Subject, stall: Stall, rounds: int, latency: Latency, phase: float) -> bool:
    """Whether the node fences itself.

    Args:
        subject: its settings.
        stall: of the storage; the first round begins at 0.
        rounds: go on for so many at least; always until a round has ended well after the stall.
        latency: of each request.
        phase: from 0 up to 1, of what runs beside the heartbeat: SBD's inquisitor.
    """
    match subject:
        case Timing():
            return _own(subject, stall, rounds, latency)
        case O2cb():
            return _o2cb(subject, stall, rounds, latency)
        case Sbd():
            return _sbd(subject, stall, rounds, latency, phase)
        case Sanlock():
            return _sanlock(subject, stall, rounds, latency)


def _own(timing: Timing, stall: Stall, rounds: int, latency: Latency) -> bool:
    """The deadline counts from the issue of the last good round."""
    issued_ns = deadline_ns = 0
    while rounds > 0 or issued_ns <= stall.end_ns:
        done_ns = stall.end_of(issued_ns, latency())
        if deadline_ns and done_ns > deadline_ns:
            return True
        deadline_ns = issued_ns + timing.deadline_ns
        issued_ns = max(issued_ns + timing.period_ns, done_ns)
        rounds -= 1
    return False


def _o2cb(cluster: O2cb, stall: Stall, rounds: int, latency: Latency) -> bool:
    """The timer counts from the completion of the last good round."""
    issued_ns = deadline_ns = 0
    while rounds > 0 or issued_ns <= stall.end_ns:
        done_ns = stall.end_of(issued_ns, latency())
        if deadline_ns and done_ns > deadline_ns:
            return True
        deadline_ns = done_ns + (cluster.heartbeat_threshold - 1) * O2CB_PERIOD_NS
        issued_ns = max(issued_ns + O2CB_PERIOD_NS, done_ns)
        rounds -= 1
    return False


def _sanlock(cluster: Sanlock, stall: Stall, rounds: int, latency: Latency) -> bool:
    """The lease counts from the issue of the last good renewal, and ends 8 N later; each try has a timeout of N."""
    unit_ns = cluster.io_timeout * NS_PER_S
    renewed_ns = issued_ns = 0
    while rounds > 0 or issued_ns <= stall.end_ns:
        done_ns = stall.end_of(issued_ns, latency())
        if min(done_ns, issued_ns + unit_ns) > renewed_ns + 8 * unit_ns:
            return True
        if done_ns <= issued_ns + unit_ns:
            renewed_ns = issued_ns
            issued_ns = max(issued_ns + 2 * unit_ns, done_ns)
        else:
            issued_ns += unit_ns + SANLOCK_RETRY_NS
        rounds -= 1
    return False


def _sbd(cluster: Sbd, stall: Stall, rounds: int, latency: Latency, phase: float) -> bool:
    """The inquisitor feeds the watchdog with each sign of life, and once a loop while the last is less than I + l old.

    A servant's round is a pause and three reads. A read of more than I ends it; it is started anew at once if it ran
    for longer than r, else r + 1 s after its start.
    """
    loop_ns, timeout_ns = cluster.loop * NS_PER_S, cluster.io_timeout * NS_PER_S
    tick_ns = round(phase * loop_ns)
    started_ns = -cluster.restart_delay * NS_PER_S - NS_PER_S  # it has run for long
    now_ns, sign_ns, reads = loop_ns, 0, SBD_READS
    while rounds > 0 or sign_ns <= stall.end_ns:
        good = True
        for _ in range(reads):
            done_ns = stall.end_of(now_ns, latency())
            good = done_ns - now_ns <= timeout_ns
            now_ns = min(done_ns, now_ns + timeout_ns)
            if not good:
                break
        if not good:
            if now_ns - started_ns <= cluster.restart_delay * NS_PER_S:
                now_ns = started_ns + (cluster.restart_delay + 1) * NS_PER_S
            started_ns, reads = now_ns, SBD_START_READS
        elif reads == SBD_READS:
            # The last look at which the old sign was young enough; the new one is seen as it comes
            fed_ns = (sign_ns + timeout_ns + loop_ns - 1 - tick_ns) // loop_ns * loop_ns + tick_ns
            if now_ns > fed_ns + cluster.watchdog * NS_PER_S:
                return True
            sign_ns, now_ns = now_ns, now_ns + loop_ns
        else:
            reads, now_ns = SBD_READS, now_ns + loop_ns
        rounds -= 1
    return False
