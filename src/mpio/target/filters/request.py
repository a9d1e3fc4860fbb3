"""What filters look at: one thing that happens on a session, above all a command on its way to its unit."""

from collections.abc import Callable
from functools import cached_property

from mpio.model.address import Portal
from mpio.model.task import Buffer
from mpio.proto.iscsi.target import TargetConnection
from mpio.proto.iscsi.target_task import TargetTask
from mpio.target.filters.opcodes import Range, ranges_of
from mpio.target.nexus import Nexus
from mpio.target.response import Response
from mpio.target.unit import LogicalUnit

Reply = Callable[[Response], object]
"""Takes the answer to a command, back towards the initiator; to be called once, or never."""

Onward = Callable[[Reply], None]
"""Sends a command on towards its unit, which answers by the `Reply`; to be called once, or never."""


class Occasion:
    """Something on a session.

    Attributes:
        nexus: of the session. connection: that carries it.
        portal: the address that it came in by.
    """

    def __init__(self, nexus: Nexus, connection: TargetConnection) -> None:
        self.nexus = nexus
        self.connection = connection
        self.portal: Portal = connection.params.portal

    @property
    def initiator(self) -> str:
        """Its iSCSI name, in lower case."""
        return self.nexus.key.initiator.lower()

    @property
    def tpgt(self) -> int:
        """Portal group tag."""
        return self.nexus.key.tpgt


class Request(Occasion):
    """A command with all its write data.

    Attributes:
        task: as it came. unit: that it is for, None if there is none.
        opcode: the first byte of its CDB.
    """

    def __init__(self, nexus: Nexus, task: TargetTask, unit: LogicalUnit | None) -> None:
        super().__init__(nexus, task.connection)
        self.task = task
        self.unit = unit
        self.opcode = task.cdb[0]

    @property
    def lun(self) -> int | None:
        """Number of the unit."""
        return None if self.unit is None else self.unit.number

    @property
    def data(self) -> Buffer:
        """Write data."""
        return self.task.data

    @property
    def is_alive(self) -> bool:
        """Whether it still waits for its answer: not aborted, and its session has not ended."""
        return self.connection.holds(self.task)

    @cached_property
    def ranges(self) -> list[Range]:
        """The blocks that it touches."""
        return ranges_of(self.task.cdb, self.task.data)

    def touches(self, first: int, last: int) -> bool:
        """Whether it touches any block from the first to the last."""
        return any(lba <= last and lba + blocks > first for lba, blocks in self.ranges)

    @cached_property
    def span(self) -> tuple[int, int] | None:
        """Offset and length in bytes of a command with one range that lies within its unit; None for all others."""
        if self.unit is None or len(self.ranges) != 1:
            return None
        lba, blocks = self.ranges[0]
        if not blocks or lba + blocks > self.unit.blocks:
            return None
        return lba * self.unit.block_size, blocks * self.unit.block_size
