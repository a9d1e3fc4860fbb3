"""A SCSI command as the target sees it, and how its write data comes together (RFC 7143 §4.2.4, §11.7, §11.8)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mpio.model.task import Buffer, Status
from mpio.proto.iscsi.pdu import NO_TAG, OVERFLOW, READ, UNDERFLOW, WRITE
from mpio.proto.scsi.sense import Sense, SenseKey

if TYPE_CHECKING:
    from mpio.proto.iscsi.target import TargetConnection

NO_SEQUENCE = -1  # in place of a TTT: no Data-Out is expected

Failure = tuple[int, bytes]
"""SCSI status and sense of a task that ends before the node has seen it."""


def _aborted(asc: int, ascq: int) -> Failure:
    return Status.CHECK_CONDITION, Sense(SenseKey.ABORTED_COMMAND, asc, ascq).build()


# SPC-4 annex F; which one for what: RFC 7143 §11.4.7.2
UNEXPECTED_UNSOLICITED_DATA = _aborted(0x0C, 0x0C)
DATA_DIGEST_ERROR = _aborted(0x47, 0x05)
DATA_PHASE_ERROR = _aborted(0x4B, 0x00)
TRANSFER_TOO_LONG = (Status.CHECK_CONDITION, Sense(SenseKey.ILLEGAL_REQUEST, 0x24, 0x00).build())
TASK_SET_FULL = (Status.TASK_SET_FULL, b"")


class TargetTask:
    """A SCSI command on its way through the target.

    Attributes:
        connection: where the answer goes, by `connection.complete(task, …)`.
        lun: the 8 LUN bytes. cdb: 16 bytes; shorter CDBs have zeros behind them.
        flags: byte 1 of the command: direction and task attribute.
        is_read, is_write: direction flags; both may be off, whatever the CDB says.
        expected_length: Expected Data Transfer Length: bytes the initiator is ready to move.
        data: all write data, `expected_length` bytes. Valid until the task is completed.
        itt: initiator task tag.
        context: the node's own.
        dispatched: `on_command` was called.
        immediate, failure, gathered, received, ttt, data_sn, burst_end, pdus_sent: the connection's own.
    """

    __slots__ = (
        "burst_end",
        "cdb",
        "connection",
        "context",
        "data",
        "data_sn",
        "dispatched",
        "expected_length",
        "failure",
        "flags",
        "gathered",
        "immediate",
        "is_read",
        "is_write",
        "itt",
        "lun",
        "pdus_sent",
        "received",
        "ttt",
    )

    def __init__(
        self, connection: "TargetConnection", lun: bytes, cdb: bytes, itt: int, flags: int, expected_length: int
    ) -> None:
        self.connection = connection
        self.lun = lun
        self.cdb = cdb
        self.itt = itt
        self.flags = flags
        self.is_read = flags & READ != 0
        self.is_write = flags & WRITE != 0
        self.expected_length = expected_length
        self.data: Buffer = b""
        self.context: object = None
        self.dispatched = False
        self.immediate = False
        self.ttt = NO_SEQUENCE
        self.pdus_sent = 0  # R2T and Data-In
        self.gathered: memoryview | None = None  # write data while they come in
        self.failure: Failure | None = None  # the status to end with, once the data on the way are in

    def residual(self, status: int, count: int, length: int | None) -> tuple[int, int]:
        """Flag and residual count of the answer (§11.4.5).

        Args:
            status: SCSI status.
            count: bytes there are for the initiator.
            length: bytes the CDB asks to move; None: `count`, or all that was expected of a write that went well.
        """
        expected = self.expected_length if self.is_read or self.is_write else 0
        if length is None:
            length = expected if self.is_write and not (self.is_read or count or status) else count
        if length > expected:
            return OVERFLOW, length - expected
        if length < expected:
            return UNDERFLOW, expected - length
        return 0, 0

    # --- write data; `begin` first

    def begin(self, length: int) -> None:
        """Make room for `length` bytes of write data."""
        self.gathered = memoryview(bytearray(length))
        self.received = 0

    def expect(self, ttt: int, length: int) -> None:
        """A sequence of Data-Out with this TTT begins: unsolicited (NO_TAG), or in answer to an R2T."""
        self.ttt = ttt
        self.data_sn = 0
        self.burst_end = min(self.received + length, self.expected_length)

    def error_of(self, data_sn: int, offset: int, length: int) -> Failure | None:
        """What is wrong with a Data-Out of the present sequence, if anything."""
        if offset + length > self.burst_end and self.ttt == NO_TAG:
            return UNEXPECTED_UNSOLICITED_DATA
        if data_sn != self.data_sn or offset != self.received or offset + length > self.burst_end:
            return DATA_PHASE_ERROR
        return None

    def landing(self, data_sn: int, offset: int, length: int) -> memoryview | None:
        """Where the data of a Data-Out belong, or None if it is wrong or not wanted."""
        if self.gathered is None or self.failure is not None or self.error_of(data_sn, offset, length):
            return None
        return self.gathered[offset : offset + length]

    def advance(self, data_sn: int, offset: int, length: int, *, final: bool) -> bool:
        """Count a Data-Out whose data are in their place. Returns whether the sequence is over. May set `failure`."""
        if self.failure is None:
            self.failure = self.error_of(data_sn, offset, length)
        if self.failure is not None:
            return final
        self.received += length
        self.data_sn += 1
        if final and self.ttt != NO_TAG and self.received < self.burst_end:
            self.failure = DATA_PHASE_ERROR
        return final or self.received == self.burst_end

    def __repr__(self) -> str:
        return f"<TargetTask {self.itt:#x} {self.cdb.hex()}>"


def data_in_layout(total: int, segment_max: int, burst_max: int) -> Iterator[tuple[int, int, bool]]:
    """How `total` bytes go into Data-In PDUs: offset, length, and whether it closes a sequence (§11.7.1)."""
    offset = burst = 0
    while offset < total:
        count = min(segment_max, burst_max - burst, total - offset)
        burst += count
        final = burst == burst_max or offset + count == total
        yield offset, count, final
        offset += count
        if final:
            burst = 0
