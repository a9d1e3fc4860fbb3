"""The filter `drop-response`."""

from dataclasses import dataclass

from mpio.target.filters.base import Filter
from mpio.target.filters.request import Onward, Reply, Request


@dataclass(kw_only=True)
class DropResponse(Filter):
    """Commands are carried out and never answered.

    An initiator can't know whether a write landed: it has, and the command timeout has to find out that no answer
    comes. The task stays until it is aborted or its session ends.
    """

    name = "drop-response"
    example = """
opcode = "write"
skip = 100
count = 1
"""

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        onward(_drop)


def _drop(_: object) -> None:
    """Nobody gets the answer."""
