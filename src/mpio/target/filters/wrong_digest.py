"""The filter `wrong-digest`."""

from dataclasses import dataclass

from mpio.target.filters.base import Filter
from mpio.target.filters.parameters import choice, parameter
from mpio.target.filters.request import Onward, Reply, Request
from mpio.target.response import Response


@dataclass(kw_only=True)
class WrongDigest(Filter):
    """The answer goes out with a wrong CRC32C digest, as after a bit flip on the way.

    Only sessions that negotiated that digest meet it. After a wrong header digest an initiator drops the connection,
    and logs in again; after a wrong data digest (of Data-In or sense) it does so too, or repeats the command. mpio and
    QEMU carry on without an error.
    """

    name = "wrong-digest"
    example = """
digest = "data"
opcode = "read"
count = 3
"""

    digest: str = parameter(choice("data", "header"), "which one", "data")

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""

        def spoil(response: Response) -> None:
            request.connection.spoil_digest(header=self.digest == "header", data=self.digest == "data")
            reply(response)
            request.connection.spoil_digest()

        onward(spoil)
