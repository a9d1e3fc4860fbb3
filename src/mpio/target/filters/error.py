"""The filter `error`."""

from dataclasses import dataclass

from mpio.proto.scsi.sense import Sense
from mpio.target.filters.base import Filter
from mpio.target.filters.parameters import SENSE, parameter
from mpio.target.filters.request import Onward, Reply, Request
from mpio.target.response import check


@dataclass(kw_only=True)
class Error(Filter):
    """Commands fail with CHECK CONDITION and a sense of your choice, and are not carried out.

    An initiator sees what the sense says: a medium error (03/11/00, 03/0C/00) is final on every path, a hardware or
    aborted one (04/44/00, 0B/00/00) is worth another try, 02/04/0A asks for patience.
    """

    name = "error"
    example = """
sense = "03/11/00"
opcode = "read"
lba = "2048-4095"
"""

    sense: Sense = parameter(SENSE, "sense key, ASC and ASCQ in hex", "04/44/00")  # noqa: RUF009 - it is a field

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        descriptor = request.unit is not None and request.unit.descriptor_sense
        reply(check(self.sense, descriptor=descriptor))
