"""The filter `wrong-digest`."""

from dataclasses import dataclass

from mpio.target.filters.base import Filter
from mpio.target.filters.parameters import choice, parameter
from mpio.target.filters.request import Onward, Reply, Request
from mpio.target.response import Response


@dataclass(kw_only=True)
class WrongDigest(Filter):
    """The answer goes out with a wrong CRC32C digest, as after a bit flip on the way.

    Only sessions that negotiated that digest meet it. With a wrong header digest an initiator drops the connection;
    with a wrong data digest (on Data-In and on sense) it drops the connection or fails the command and repeats it.
    Nothing of the kind may reach the application.
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
