"""sanlock's host lease as a timing model (sanlock src/lockspace.c, delta_lease.c, timeouts.h).

A renewal reads all hosts' leases, then writes the own one with a timestamp taken just before; everything counts from
that. A read that takes longer than io_timeout N fails the renewal, but is waited for once more as long; then a new one
is tried. The write is waited for until others may have taken the lease. `Fence` here is the end of the lease after 8 N:
its holders are killed, and the watchdog resets the host if that does not work, at the latest when `Extend` runs out.

The real loop looks at the time once a second and then waits half a second more: `play_ns` is that, at most 1.5 s.
"""

from mpio.heartbeat.models.cycle import Cycle, Pace, Since
from mpio.model.cluster import Sanlock
from mpio.units import NS_PER_S

PAUSE_NS = NS_PER_S // 2
"""Between renewals that fail."""
PLAY_NS = NS_PER_S * 3 // 2


class SanlockHost(Cycle):
    """One host of a lockspace."""

    def __init__(self, node: int, nodes: tuple[int, ...], generation: int, settings: Sanlock, play_ns: int = 0) -> None:
        super().__init__(node, nodes, generation, Since.ISSUE)
        unit = settings.io_timeout * NS_PER_S
        dead = 8 * unit + settings.watchdog_fire_timeout * NS_PER_S
        self._pace = Pace(
            period_ns=2 * unit, limit_ns=8 * unit, warn_ns=6 * unit, watchdog_ns=dead, dead_ns=dead,
            patience_ns=2 * unit, pause_ns=PAUSE_NS, play_ns=play_ns,
        )

    def pace(self) -> Pace:
        """Always the same."""
        return self._pace
