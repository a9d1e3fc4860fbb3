"""The filter `lost-write`."""

from dataclasses import dataclass

from mpio.target.filters.base import Filter
from mpio.target.filters.images import image_before, put_back
from mpio.target.filters.opcodes import WRITES
from mpio.target.filters.request import Onward, Reply, Request
from mpio.target.response import Response


@dataclass(kw_only=True)
class LostWrite(Filter):
    """A write is acknowledged and not done: the blocks hold what they held before.

    Only writes that would change something count. No initiator can notice without reading back.
    """

    name = "lost-write"
    example = """
lba = "0-1023"
rate = 0.01
"""

    def concerns(self, request: Request) -> bool:
        """See Filter: writes that change something."""
        return request.opcode in WRITES and image_before(request) is not None

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        before = image_before(request)

        def undo(response: Response) -> None:
            if before is not None:
                put_back(request, response, before, before)
            reply(response)

        onward(undo)
