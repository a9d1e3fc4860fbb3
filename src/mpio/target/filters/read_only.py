"""The filter `read-only`."""

from dataclasses import dataclass

from mpio.proto.scsi.cdb import Op
from mpio.proto.scsi.sense import WRITE_PROTECTED
from mpio.target.filters.base import Filter
from mpio.target.filters.opcodes import CHANGES
from mpio.target.filters.request import Onward, Reply, Request
from mpio.target.response import Response, check

_WP = 0x80  # of the device-specific parameter
_WP_AT = {Op.MODE_SENSE_6: 2, Op.MODE_SENSE_10: 3}


@dataclass(kw_only=True)
class ReadOnly(Filter):
    """Commands that change the medium fail with 07/27/00 (write protected), and MODE SENSE says so.

    An initiator that asks before it opens the disk, as QEMU and Linux do, finds it write-protected; one that has it
    open gets errors that no other path mends, unless the filter is limited to one portal.
    """

    name = "read-only"
    example = """
after = "30s"
"""

    def concerns(self, request: Request) -> bool:
        """See Filter."""
        return request.opcode in CHANGES or request.opcode in _WP_AT

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        if request.opcode in CHANGES:
            descriptor = request.unit is not None and request.unit.descriptor_sense
            reply(check(WRITE_PROTECTED, descriptor=descriptor))
        else:
            at = _WP_AT[Op(request.opcode)]
            onward(lambda response: reply(_protected(response, at)))


def _protected(response: Response, at: int) -> Response:
    data = bytes(response.data)
    if response.status != 0 or len(data) <= at:
        return response
    return response._replace(data=data[:at] + bytes((data[at] | _WP,)) + data[at + 1 :])
