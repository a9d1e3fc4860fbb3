"""What a cluster stack has to live with: the stalls of the storage below it, and of the host it runs on."""

from dataclasses import dataclass

from mpio.model.stack import Version
from mpio.units import NS_PER_S

CLOCK_RATE_ERROR = 0.001
"""How far two nodes' clocks may differ in rate: ten times the 100 ppm of ordinary quartz."""

NEGOTIATION_SINCE: Version = (4, 7)
"""The first kernel whose O2CB asks the other nodes before it fences itself (commit e0cbb798)."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Stalls as a heartbeat sees them, in nanoseconds; None is for ever, as in `Budget.worst_ns`.

    Attributes:
        stall_ns: S, the longest stall of one I/O from one path failure: a budget's `worst_ns`.
        serial_ns: the longest when paths fail one after another under the same I/O; 0 if that is not asked for.
        outage_ns: the longest while every path is away, if all nodes must live through that; 0 if it is not asked for.
        fails_after_ns: when such an outage ends in I/O errors: a budget's `fails_after_ns`; None if it never does.
        queue_ns: how long I/O waits for a path when none is left (no_path_retry times polling_interval).
        flaps: whether a path may stall a second time in one heartbeat cycle, because its state is not remembered.
        latency_ns: c, what a heartbeat's I/O takes when nothing is wrong, a high quantile. jitter_ns: J, scheduling.
        polling_interval_max_ns: how long a repaired or idle path may go unseen; 0 if it is not known.
        holds_host: whether root, swap or logs of the host are on this storage too, so that its daemons freeze with it.
        kernel, hz: of the host; they decide O2CB's negotiation and how late a kernel timer is.
    """

    stall_ns: int | None
    serial_ns: int | None = 0
    outage_ns: int | None = 0
    fails_after_ns: int | None = None
    queue_ns: int | None = 0
    flaps: bool = False
    latency_ns: int = 0
    jitter_ns: int = 0
    polling_interval_max_ns: int = 0
    holds_host: bool = False
    kernel: Version = (6, 1)
    hz: int = 250

    @property
    def longest_ns(self) -> int | None:
        """The longest stall that must fence nobody, all kinds together; a total outage is judged by itself."""
        stalls = [self.stall_ns, self.serial_ns]
        if self.flaps:
            stalls.append(None if self.stall_ns is None else 2 * self.stall_ns)
        finite = [stall for stall in stalls if stall is not None]
        return max(finite) if len(finite) == len(stalls) else None

    def timer_lateness_ns(self, timeout_ns: int) -> int:
        """How late a kernel timer of this length may fire on this host."""
        bucket = 1
        while timeout_ns * self.hz >= 63 * bucket * NS_PER_S:
            bucket *= 8
        return bucket * NS_PER_S // self.hz
