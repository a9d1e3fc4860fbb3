"""What a cluster stack has to live with: the stalls of the storage below it, and of the host it runs on."""

from dataclasses import dataclass

from mpio.model.stack import Version
from mpio.planner.budget import Term
from mpio.planner.clusters.inequality import term
from mpio.planner.timers import lateness_ns
from mpio.units import to_seconds

CLOCK_RATE_ERROR = 0.001
"""How far two nodes' clocks may differ in rate: ten times the 100 ppm of ordinary quartz."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of stall that must fence nobody.

    Attributes:
        code: of its condition, as N1. name: as in "nobody is fenced by one path failure".
        stall_ns: how long one I/O waits; None for ever.
    """

    code: str
    name: str
    stall_ns: int | None


@dataclass(frozen=True, slots=True)
class Storage:
    """Stalls as a heartbeat sees them, in nanoseconds; None is for ever, as in `Budget.worst_ns`.

    Attributes:
        stall_ns: S, the longest stall of one I/O from one path failure: a budget's `worst_ns`.
        serial_ns: the longest when paths fail one after another under the same I/O; 0 if that is not asked for.
        flaps: whether a path may stall a second time in one heartbeat cycle, because its state is not remembered.
        outage_ns: the longest while every path is away, if all nodes must live through that; 0 if it is not asked for.
        fails_after_ns: when such an outage ends in I/O errors: a budget's `fails_after_ns`; None if it never does.
        queue_ns: how long I/O waits for a path when none is left (no_path_retry times polling_interval).
        latency_ns: c, what a heartbeat's I/O takes when nothing is wrong, a high quantile. jitter_ns: J, scheduling.
        polling_interval_max_ns: how long a repaired or idle path may go unseen; 0 if it is not known.
        holds_host: whether root, swap or logs of the host are on this storage too, so that its daemons freeze with it.
        kernel, hz: of the host; they decide O2CB's negotiation and how late a kernel timer is.
    """

    stall_ns: int | None
    serial_ns: int | None = 0
    flaps: bool = False
    outage_ns: int | None = 0
    fails_after_ns: int | None = None
    queue_ns: int | None = 0
    latency_ns: int = 0
    jitter_ns: int = 0
    polling_interval_max_ns: int = 0
    holds_host: bool = False
    kernel: Version = (6, 1)
    hz: int = 250

    @property
    def cases(self) -> tuple[Case, ...]:
        """The stalls to be survived: N1 always, N3, N4 and APD (all paths down) if they are asked for."""
        twice_ns = None if self.stall_ns is None else 2 * self.stall_ns
        return (
            Case("N1", "one path failure", self.stall_ns),
            *([Case("N3", "paths that fail one after another", self.serial_ns)] if self.serial_ns != 0 else []),
            *([Case("N4", "a path that fails twice in a cycle", twice_ns)] if self.flaps else []),
            *([Case("APD", "an outage of the whole array", self.outage_ns)] if self.outage_ns != 0 else []),
        )

    @property
    def noise(self) -> tuple[Term, ...]:
        """What a heartbeat takes even when nothing is wrong."""
        return (term("latency", self.latency_ns, "measured"), term("jitter", self.jitter_ns, "measured"))

    @property
    def noise_ns(self) -> int:
        """Both together: c + J."""
        return self.latency_ns + self.jitter_ns

    @property
    def longest_ns(self) -> int | None:
        """The longest stall of all cases, without the noise."""
        stalls = [case.stall_ns for case in self.cases]
        return None if None in stalls else max(stall for stall in stalls if stall is not None)

    def finite_ns(self, timer: str) -> int:
        """The longest stall. Raises ValueError, naming the timer that can't be found, if it is for ever."""
        longest_ns = self.longest_ns
        if longest_ns is None:
            raise ValueError(f"{timer}: no value outlasts a stall without end")
        return longest_ns

    def timer_lateness_ns(self, timeout_ns: int) -> int:
        """How late a kernel timer of this length may fire on this host."""
        return lateness_ns(to_seconds(timeout_ns), self.hz, self.kernel)
