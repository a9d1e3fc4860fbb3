"""The answer to one SCSI command, and the common ones ready made."""

from typing import NamedTuple

from mpio.model.task import Buffer, Status
from mpio.proto.scsi.sense import Sense


class Response(NamedTuple):
    """Status, sense and data for the initiator.

    `length` is how many bytes the CDB asks to move where that is not the length of `data`: the transport makes the
    residual of it.
    """

    status: int
    sense: bytes = b""
    data: Buffer = b""
    length: int | None = None


GOOD = Response(Status.GOOD)
CONDITION_MET = Response(Status.CONDITION_MET)
CONFLICT = Response(Status.RESERVATION_CONFLICT)


def check(sense: Sense, *, descriptor: bool = False) -> Response:
    """CHECK CONDITION with this sense."""
    return Response(Status.CHECK_CONDITION, sense.build(descriptor=descriptor))


def data_in(data: bytes, allocation: int) -> Response:
    """GOOD with as much of `data` as the allocation length lets through; cutting is no overflow (SPC-4 §4.2.5.6)."""
    return Response(Status.GOOD, b"", data[:allocation])
