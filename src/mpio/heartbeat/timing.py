"""The times of a heartbeat, and the inequality without which two halves could both write.

A node fences itself D after its last good heartbeat was *issued*: whatever others can see of it was issued before they
saw it, so nobody saw a sign of life that its deadline does not count from. Others call it dead A after they saw its
last change. Between the two its fence takes hold (F), and what is still on its way to the storage lands (L), by clocks
that differ by rho. So it must be that A >= (D + F + L)(1 + rho). Where D counts from the completion instead, as with
o2cb, the time that a block can be on disk before its writer hears of it belongs to the left side as well.
"""

from dataclasses import dataclass

from mpio.units import NS_PER_S, format_duration

PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of one node, in ns; all nodes of a region have the same. Raises ValueError with the numbers if unsafe.

    Attributes:
        period_ns: P, from one heartbeat to the next.
        deadline_ns: D, from the issue of the last good heartbeat to the self-fence.
        dead_ns: A, from the first sight of the last change until a peer is dead.
        fence_ns: F, from the decision until the node can issue nothing more.
        drain_ns: L, how long what it issued before can still land.
        rate_ppm: rho, by how much two clocks can differ in rate, in millionths.
        io_timeout_ns: an I/O that takes longer is asked for again, on a new request; 0 takes a bit less than D / 3.
        split_ns: how long a network split is left to heal before one side is fenced.
    """

    period_ns: int = 2 * NS_PER_S
    deadline_ns: int = 60 * NS_PER_S
    dead_ns: int = 66 * NS_PER_S
    fence_ns: int = NS_PER_S
    drain_ns: int = 2 * NS_PER_S
    rate_ppm: int = 1_000
    io_timeout_ns: int = 0
    split_ns: int = 5 * NS_PER_S

    def __post_init__(self) -> None:
        for name in ("period_ns", "deadline_ns", "dead_ns"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a time above 0, found {getattr(self, name)} ns")
        for name in ("fence_ns", "drain_ns", "rate_ppm", "io_timeout_ns", "split_ns"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, found {getattr(self, name)}")
        if self.deadline_ns < 4 * self.period_ns:
            raise ValueError(
                f"deadline: expected at least 4 periods of {format_duration(self.period_ns)}, found "
                f"{format_duration(self.deadline_ns)}; raise the deadline or shorten the period")
        if 3 * self.io_timeout_ns >= self.deadline_ns:
            raise ValueError(
                f"I/O timeout: expected less than a third of the deadline of {format_duration(self.deadline_ns)}, "
                f"found {format_duration(self.io_timeout_ns)}")
        if self.dead_ns < self.least_dead_ns:
            raise ValueError(unsafe(self))

    @property
    def least_dead_ns(self) -> int:
        """The shortest dead timeout that is safe: (D + F + L)(1 + rho), rounded up."""
        return least_dead_ns(self.deadline_ns + self.fence_ns + self.drain_ns, self.rate_ppm)

    @property
    def patience_ns(self) -> int:
        """After how long an I/O is asked for again."""
        return self.io_timeout_ns or max(self.period_ns, self.deadline_ns * 3 // 10)

    @property
    def dead_samples(self) -> int:
        """How many equal samples a peer must show before it is dead."""
        return -(-self.dead_ns // self.period_ns)

    @classmethod
    def of(cls, deadline_ns: int, period_ns: int = 2 * NS_PER_S, fence_ns: int = NS_PER_S,
           drain_ns: int = 2 * NS_PER_S, rate_ppm: int = 1_000) -> "Timing":
        """The rest chosen to fit a deadline: A = D + a tenth and at least 5 s, more where safety needs it."""
        least = least_dead_ns(deadline_ns + fence_ns + drain_ns, rate_ppm)
        dead = max(deadline_ns + max(5 * NS_PER_S, deadline_ns // 10), least)
        return cls(period_ns, deadline_ns, dead, fence_ns, drain_ns, rate_ppm,
                   split_ns=min(5 * NS_PER_S, 3 * period_ns))


def least_dead_ns(until_stopped_ns: int, rate_ppm: int) -> int:
    """What an observer must wait for a node that is stopped after `until_stopped_ns` by its own clock."""
    return -(-until_stopped_ns * (PPM + rate_ppm) // PPM)


def unsafe(timing: Timing) -> str:
    """The violated inequality with its numbers; empty if it holds."""
    if timing.dead_ns >= timing.least_dead_ns:
        return ""
    parts = " + ".join(
        f"{name} {format_duration(value)}"
        for name, value in (("deadline", timing.deadline_ns), ("fence", timing.fence_ns), ("drain", timing.drain_ns)))
    least_ms = -(-timing.least_dead_ns // 1_000_000)  # rounded up: this much must be enough
    return (
        f"dead timeout: expected at least ({parts}) x (1 + {timing.rate_ppm} ppm) = "
        f"{least_ms / 1000:.3f} s, found {format_duration(timing.dead_ns)}: others could take over "
        f"while this node still writes; raise the dead timeout or lower the deadline")
