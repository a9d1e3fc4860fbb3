"""The filter `duplicate-wwid`."""

import re
from dataclasses import dataclass

from mpio.proto.scsi.cdb import Op
from mpio.target.filters.base import Filter
from mpio.target.filters.parameters import INTEGER, parameter, shown
from mpio.target.filters.request import Onward, Reply, Request
from mpio.target.response import Response


def _wwid(value: object) -> bytes:
    text = value if isinstance(value, str) else ""
    digits = text[1:] if len(text) == 33 and text[0] == "3" else text
    if re.fullmatch("6[0-9a-fA-F]{31}", digits) is None:
        raise ValueError(f"expected 32 hexadecimal digits that begin with 6, found {shown(value)}")
    return bytes.fromhex(digits)


@dataclass(kw_only=True)
class DuplicateWwid(Filter):
    """A LUN goes by the name of another one: INQUIRY gives a serial number and identifiers that are not its own.

    An initiator that joins paths by WWID takes two disks for one, and loses the data of both, unless it looks further:
    size, block size, what the blocks hold. Limited to one portal, it is an array whose controllers disagree.
    """

    name = "duplicate-wwid"
    example = """
as-lun = 1
lun = 2
"""

    as_lun: int | None = parameter(INTEGER, "the LUN whose name it takes", None)
    wwid: bytes | None = parameter((_wwid, "NAA name in hex"), "or this name", None)

    def check(self) -> None:
        """See Filter."""
        if (self.as_lun is None) is (self.wwid is None):
            raise ValueError("expected either as-lun or wwid")

    def concerns(self, request: Request) -> bool:
        """See Filter: INQUIRY for a vital product data page."""
        return request.opcode == Op.INQUIRY and bool(request.task.cdb[1] & 1) and request.unit is not None

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        onward(lambda response: reply(self._renamed(request, response)))

    def _renamed(self, request: Request, response: Response) -> Response:
        other = self.target.device.units.get(self.as_lun) if self.as_lun is not None else None
        naa = other.naa if other is not None else self.wwid
        if request.unit is None or naa is None:
            return response
        own = request.unit.naa
        data = bytes(response.data)
        for one, two in ((own, naa), *zip(_texts(own), _texts(naa), strict=True)):
            data = data.replace(one, two)
        return response._replace(data=data)


def _texts(naa: bytes) -> list[bytes]:
    """The name as it is written in serial numbers and SCSI name strings: whole, and the part that is its own."""
    return [text.encode() for digits in (naa.hex(), naa.hex()[8:]) for text in (digits, digits.upper())]
