"""One SCSI command on its way through a nexus, and what became of it.

A `Task` is the one object per I/O on the hot path: the map builds it, a connection carries it, and `on_done` takes
it back. It is mutable and reused for a retry, once the transport has let go of it.
"""

from collections.abc import Callable
from enum import IntEnum

Buffer = bytes | bytearray | memoryview


class Outcome(IntEnum):
    """How a task ended, as far as the transport can know. Anything but COMPLETED has no SCSI status."""

    PENDING = 0
    COMPLETED = 1
    """The target answered; `status`, `sense` and `residual` hold."""
    NOT_SENT = 2
    """No byte of it was handed to the network: it can't have any effect, now or later."""
    IN_DOUBT = 3
    """Sent, and the connection ended before the answer: done, not done, or still to be done by the target."""
    ABORTED = 4
    """The target said that the task is ended (task management response 0): it will have no effect from now on,
    but may have had some before."""
    CLEARED = 5
    """As ABORTED, but it was not slow: somebody else's reset or clearing of the task set has ended it."""


class Status(IntEnum):
    """SCSI status codes (SAM-5 §5.3.1)."""

    GOOD = 0x00
    CHECK_CONDITION = 0x02
    CONDITION_MET = 0x04
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18
    TASK_SET_FULL = 0x28
    ACA_ACTIVE = 0x30
    TASK_ABORTED = 0x40


class Task:
    """A SCSI command, its data, and its result.

    Attributes:
        lun: the 8 LUN bytes, exactly as REPORT LUNS gives them.
        cdb: 6 to 16 bytes.
        data_out: data for the target, or None. Must not change until the task is done.
        read_buffer: writable view that Data-In lands in; its length is the expected transfer length. Or None.
        timeout_ns: how long the target may take before the task is aborted; 0 means no limit.
        on_done: called once with the task, from inside the transport's `receive_done`, `handle_timer` or
            `receive_eof`. It may submit further tasks; it must not raise.
        outcome, status, sense, residual: the result. `residual` is the number of bytes that were asked for and not
            moved (underflow, positive), or that would not fit (overflow, negative).
        itt, cmd_sn, deadline_ns, received, sent: the transport's own.
        context: the caller's own.
    """

    __slots__ = (
        "cdb",
        "cmd_sn",
        "context",
        "data_out",
        "deadline_ns",
        "itt",
        "lun",
        "on_done",
        "outcome",
        "read_buffer",
        "received",
        "residual",
        "sense",
        "sent",
        "status",
        "timeout_ns",
    )

    def __init__(
        self,
        lun: bytes,
        cdb: bytes,
        on_done: "Callable[[Task], None]",
        *,
        data_out: Buffer | None = None,
        read_buffer: memoryview | None = None,
        timeout_ns: int = 0,
        context: object = None,
    ) -> None:
        self.lun = lun
        self.cdb = cdb
        self.on_done = on_done
        self.data_out = data_out
        self.read_buffer = read_buffer
        self.timeout_ns = timeout_ns
        self.context = context
        self.outcome = Outcome.PENDING
        self.status = 0
        self.sense = b""
        self.residual = 0
        self.itt = 0
        self.cmd_sn = 0
        self.deadline_ns = 0
        self.received = 0
        self.sent = False

    def reset(self) -> None:
        """Make the task ready to be submitted again."""
        self.outcome = Outcome.PENDING
        self.status = 0
        self.sense = b""
        self.residual = 0
        self.received = 0
        self.sent = False

    def __repr__(self) -> str:
        return f"<Task {self.cdb.hex()} {Outcome(self.outcome).name} status={self.status:#04x}>"


class Barrier(Task):
    """A task without data that is ordered: the target begins it when all that it has begun before has ended.

    For the LU's whole task set, so that it also waits for what other nexuses have begun (SAM-5 §8.6.3).
    """

    __slots__ = ()


def lun_bytes(lun: int) -> bytes:
    """The 8-byte LUN of one level: peripheral addressing below 256, flat above (SAM-5 §4.7). Raises ValueError."""
    if 0 <= lun < 256:
        return bytes((0, lun, 0, 0, 0, 0, 0, 0))
    if 256 <= lun <= 0x3FFF:
        return bytes((0x40 | lun >> 8, lun & 0xFF, 0, 0, 0, 0, 0, 0))
    raise ValueError(f"expected a LUN from 0 to {0x3FFF}, found {lun}")


def lun_number(lun: Buffer) -> int | None:
    """The LUN number of 8 bytes in peripheral or flat form, or None for any other form."""
    if any(lun[2:8]):
        return None
    form = lun[0] >> 6
    if form == 0 and lun[0] == 0:
        return lun[1]
    if form == 1:
        return (lun[0] & 0x3F) << 8 | lun[1]
    return None
