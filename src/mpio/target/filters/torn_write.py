"""The filter `torn-write`."""

from dataclasses import dataclass

from mpio.target.filters.base import Filter
from mpio.target.filters.images import image_before, put_back
from mpio.target.filters.opcodes import WRITES
from mpio.target.filters.parameters import SHARE, parameter
from mpio.target.filters.request import Onward, Reply, Request
from mpio.target.response import Response


@dataclass(kw_only=True)
class TornWrite(Filter):
    """A write is done up to some byte and no further, and acknowledged all the same, as after a power loss.

    What follows the tear is as it was before. The tear is put among the bytes that the write changes, within a block
    if need be, so that there is always something to be found. No initiator can notice without reading back.
    """

    name = "torn-write"
    example = """
keep = 0.25
skip = 1000
count = 1
"""

    keep: float = parameter(SHARE, "the share of the changed bytes that is done", 0.5)

    def concerns(self, request: Request) -> bool:
        """See Filter: writes that change something."""
        return request.opcode in WRITES and image_before(request) is not None

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        before, new = image_before(request), bytes(request.data)

        def tear(response: Response) -> None:
            if before is not None:
                at = self._tear_at(before, new)
                put_back(request, response, new[:at] + before[at:], before)
            reply(response)

        onward(tear)

    def _tear_at(self, before: bytes, new: bytes) -> int:
        """The changed byte that is the first not to be done."""
        changed = [at for at, (old, byte) in enumerate(zip(before, new, strict=True)) if old != byte]
        return changed[min(int(len(changed) * self.keep), len(changed) - 1)]
