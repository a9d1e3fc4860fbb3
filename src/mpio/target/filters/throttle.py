"""The filter `throttle`."""

from dataclasses import dataclass, field

from mpio.target.filters.base import Filter
from mpio.target.filters.parameters import INTEGER, SIZE, parameter
from mpio.target.filters.request import Onward, Reply, Request
from mpio.units import NS_PER_S


@dataclass(kw_only=True)
class Throttle(Filter):
    """No more than so many commands, or bytes, a second; what comes faster waits for its turn and is then carried out.

    An initiator sees a slow LUN: latency grows with the queue depth. The budget is one for all sessions that the
    limits let in.
    """

    name = "throttle"
    example = """
bytes-per-second = "10MiB"
"""

    iops: int | None = parameter(INTEGER, "commands a second", None)
    bytes_per_second: int | None = parameter(SIZE, "data a second, both ways", None)

    free_ns: int = field(default=0, init=False)
    """When the next command may run."""

    def check(self) -> None:
        """See Filter."""
        if not self.iops and not self.bytes_per_second:
            raise ValueError("expected iops or bytes-per-second, above 0")

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        now = self.target.now()
        starts = max(self.free_ns, now)
        costs = NS_PER_S // self.iops if self.iops else 0
        if self.bytes_per_second:
            task = request.task
            moved = task.expected_length if task.is_read or task.is_write else 0
            costs = max(costs, moved * NS_PER_S // self.bytes_per_second)
        self.free_ns = starts + costs
        if starts == now:
            onward(reply)
        else:
            self.target.later(starts - now, lambda: onward(reply))
