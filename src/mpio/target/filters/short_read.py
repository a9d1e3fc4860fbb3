"""The filter `short-read`."""

from dataclasses import dataclass

from mpio.target.filters.base import Filter
from mpio.target.filters.opcodes import READS
from mpio.target.filters.parameters import SHARE, parameter
from mpio.target.filters.request import Onward, Reply, Request
from mpio.target.response import Response


@dataclass(kw_only=True)
class ShortRead(Filter):
    """A READ ends with GOOD and brings fewer blocks than it was asked for; the residual count says so.

    A correct initiator reads the rest, or reports an error; mpio reads the rest. One that does not look at the residual
    takes what was in its buffer for data: QEMU 7.2 does.
    """

    name = "short-read"
    example = """
keep = 0.5
count = 1
"""

    keep: float = parameter(SHARE, "the share of the blocks that comes", 0.5)

    def concerns(self, request: Request) -> bool:
        """See Filter."""
        return request.opcode in READS and request.span is not None

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        block_size = request.unit.block_size if request.unit is not None else 512

        def cut(response: Response) -> None:
            if response.status == 0:
                blocks = len(response.data) // block_size
                kept = min(int(blocks * self.keep), blocks - 1) * block_size
                response = response._replace(data=response.data[:kept], length=kept)
            reply(response)

        onward(cut)
