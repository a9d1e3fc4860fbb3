"""The filter `delay`."""

from dataclasses import dataclass

from mpio.target.filters.base import Filter
from mpio.target.filters.parameters import DURATION, parameter
from mpio.target.filters.request import Onward, Reply, Request


@dataclass(kw_only=True)
class Delay(Filter):
    """Answers come late: a command is carried out at once, and its answer waits.

    An initiator sees latency, and no errors while its timeouts are longer. A write that it gives up has landed.
    """

    name = "delay"
    example = """
time = "50ms"
opcode = "write"
"""

    time_ns: int = parameter(DURATION, "how long each answer waits", "1s")

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        onward(lambda response: self.target.later(self.time_ns, lambda: reply(response)))
