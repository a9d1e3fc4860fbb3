"""The filter `corrupt`."""

from dataclasses import dataclass

from mpio.target.filters.base import Filter
from mpio.target.filters.images import image_before, put_back
from mpio.target.filters.opcodes import READS, WRITES
from mpio.target.filters.parameters import INTEGER, choice, parameter
from mpio.target.filters.request import Onward, Reply, Request
from mpio.target.response import Response


@dataclass(kw_only=True)
class Corrupt(Filter):
    """One byte of the data comes out wrong, and the answer says that all went well.

    `on = "read"` damages what a READ brings, the medium stays right; `on = "write"` damages what a WRITE leaves on the
    medium. iSCSI digests don't see it, since the damage is done before they are made: only checksums of the
    application's own do.
    """

    name = "corrupt"
    example = """
on = "write"
at = 100
skip = 500
count = 1
"""

    on: str = parameter(choice("read", "write"), "which commands", "read")
    at: int = parameter(INTEGER, "which byte of the data, from 0; the last one if there are fewer", 0)

    def concerns(self, request: Request) -> bool:
        """See Filter."""
        return request.opcode in (READS if self.on == "read" else WRITES) and request.span is not None

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        if self.on == "read":
            onward(lambda response: reply(response._replace(data=self._damaged(bytes(response.data)))))
            return
        written = bytes(request.data)
        before = image_before(request)

        def damage(response: Response) -> None:
            if before is not None:
                put_back(request, response, self._damaged(written), before)
            reply(response)

        onward(damage)

    def _damaged(self, data: bytes) -> bytes:
        if not data:
            return data
        at = min(self.at, len(data) - 1)
        return data[:at] + bytes((data[at] ^ 0xFF,)) + data[at + 1 :]
