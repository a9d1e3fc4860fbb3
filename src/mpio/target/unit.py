"""One logical unit: takes a command from a nexus, decides whether it may run now, and runs it.

Commands run at once and one at a time, so each is atomic. The order of the checks is the one that arrays have settled
on: unit attentions of the reset class, reservations, other unit attentions, ALUA state, then the command's own.
"""

import struct
from collections.abc import Callable

from mpio.model.identity import AluaState
from mpio.model.task import Buffer
from mpio.proto.scsi.cdb import FUA, Op
from mpio.proto.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_OPCODE,
    LU_OFFLINE,
    LU_RESET,
    LUNS_CHANGED,
    MEDIUM_NOT_PRESENT,
    PORT_STANDBY,
    PORT_UNAVAILABLE,
    TRANSITIONING,
    Sense,
)
from mpio.target.commands import Command, Reach, find, knows_opcode
from mpio.target.nexus import Nexus
from mpio.target.reservation import Access
from mpio.target.response import CONFLICT, GOOD, Response, check
from mpio.target.state import UnitState
from mpio.target.store import StoreError
from mpio.target.task_queue import TaskQueue

CDB_BYTES = 16
_RESET_ASC = 0x29

_AWAKE = frozenset((AluaState.ACTIVE_OPTIMIZED, AluaState.ACTIVE_NON_OPTIMIZED, AluaState.LBA_DEPENDENT))
_ASLEEP = {
    AluaState.STANDBY: PORT_STANDBY,
    AluaState.UNAVAILABLE: PORT_UNAVAILABLE,
    AluaState.OFFLINE: LU_OFFLINE,
    AluaState.TRANSITIONING: TRANSITIONING,
}
_PASS_RESERVE_6 = frozenset((Op.INQUIRY, Op.REPORT_LUNS, Op.REQUEST_SENSE, Op.RELEASE_6))  # SPC-2 table 9

_FORM_10 = struct.Struct(">xBIxH").unpack_from
_FORM_16 = struct.Struct(">xBQI").unpack_from
_PROTECT = 0xE0


class LogicalUnit(UnitState):
    """A logical unit that executes commands. See UnitState for the arguments.

    `queue`: where commands go in place of `execute` if the store takes its time.
    """

    queue: TaskQueue | None = None

    def execute(self, nexus: Nexus, cdb: bytes, data: Buffer = b"") -> Response:
        """Run one command, now and completely.

        Args:
            nexus: one that is attached.
            cdb: a CDB that is shorter than its command is as if followed by zeros.
            data: what came with it; as much as the initiator was ready to send, more or less than the CDB says.
        """
        if len(cdb) < CDB_BYTES:
            cdb = bytes(cdb).ljust(CDB_BYTES, b"\0")
        if nexus not in self.watched:
            fast = _FAST.get(cdb[0])
            if fast is not None:
                try:
                    response = fast(self, cdb, data)
                except StoreError as error:
                    return check(error.sense, descriptor=self.descriptor_sense)
                if response is not None:
                    return response
        return self._execute(nexus, cdb, data)

    # --- the hot path: plain reads and writes that nothing stands in the way of; None sends them the long way

    def _read_10(self, cdb: bytes, _data: Buffer) -> Response | None:
        flags, lba, blocks = _FORM_10(cdb)
        if flags & _PROTECT or lba + blocks > self.blocks or blocks > self.limits.transfer_max:
            return None
        return Response(0, b"", self.store.read(lba * self.block_size, blocks * self.block_size))

    def _read_16(self, cdb: bytes, _data: Buffer) -> Response | None:
        flags, lba, blocks = _FORM_16(cdb)
        if flags & _PROTECT or lba + blocks > self.blocks or blocks > self.limits.transfer_max:
            return None
        return Response(0, b"", self.store.read(lba * self.block_size, blocks * self.block_size))

    def _write_10(self, cdb: bytes, data: Buffer) -> Response | None:
        flags, lba, blocks = _FORM_10(cdb)
        return self._write(flags, lba, blocks, data)

    def _write_16(self, cdb: bytes, data: Buffer) -> Response | None:
        flags, lba, blocks = _FORM_16(cdb)
        return self._write(flags, lba, blocks, data)

    def _write(self, flags: int, lba: int, blocks: int, data: Buffer) -> Response | None:
        if (flags & _PROTECT or lba + blocks > self.blocks or len(data) != blocks * self.block_size
                or blocks > self.limits.transfer_max or self.is_write_protected):
            return None
        self.store.write(lba * self.block_size, data)
        if flags & FUA:
            self.store.flush()
        return GOOD

    # --- everything else

    def _execute(self, nexus: Nexus, cdb: bytes, data: Buffer) -> Response:
        command = find(self, cdb)
        obstacle = self._obstacle(nexus, cdb, command)
        if obstacle is not None:
            return obstacle
        if command is None:
            sense = INVALID_FIELD_IN_CDB.at(1) if knows_opcode(cdb[0]) else INVALID_OPCODE
            return check(sense, descriptor=self.descriptor_sense)
        try:
            return command.handler(self, nexus, cdb, data)
        except StoreError as error:
            return check(error.sense, descriptor=self.descriptor_sense)

    def _obstacle(self, nexus: Nexus, cdb: bytes, command: Command | None) -> Response | None:
        """What stops a command on this nexus before the command itself is looked at; None: nothing."""
        if nexus not in self.watched:
            return None
        queue = self.attentions.get(nexus)
        if command is not None and command.quiet:
            if cdb[0] == Op.REPORT_LUNS and queue and LUNS_CHANGED in queue:
                queue.remove(LUNS_CHANGED)
            return None
        if queue and queue[0].asc == _RESET_ASC:
            return check(queue.popleft(), descriptor=self.descriptor_sense)
        if self.reservations.forbids(nexus.key, _access(command, cdb)) or self._is_reserved_from(nexus, cdb[0]):
            return CONFLICT
        if queue:
            return check(queue.popleft(), descriptor=self.descriptor_sense)
        asleep = self._asleep(nexus, command.reach if command is not None else Reach.MEDIUM)
        if asleep is not None:
            return check(asleep, descriptor=self.descriptor_sense)
        if not self.medium_present and command is not None and command.medium:
            return check(MEDIUM_NOT_PRESENT, descriptor=self.descriptor_sense)
        if self._is_calm(nexus):
            self.watched.discard(nexus)
        return None

    def _is_reserved_from(self, nexus: Nexus, opcode: int) -> bool:
        return self.reserved_by is not None and self.reserved_by is not nexus and opcode not in _PASS_RESERVE_6

    def _asleep(self, nexus: Nexus, reach: Reach) -> Sense | None:
        """Why the port's asymmetric access state does not let a command through, None if it does."""
        state = nexus.group.state
        if state in _AWAKE or reach is Reach.ALWAYS or (reach is Reach.STANDBY and state is AluaState.STANDBY):
            return None
        return _ASLEEP[state]

    def _is_calm(self, nexus: Nexus) -> bool:
        """Whether no command of this nexus can meet an obstacle until something changes."""
        return (
            nexus in self.attentions
            and not self.attentions[nexus]
            and nexus.group.state in _AWAKE
            and (self.reserved_by is None or self.reserved_by is nexus)
            and not self.reservations.forbids(nexus.key, Access.WRITE)
            and self.medium_present
            and not self.write_through
        )

    def reset(self) -> None:
        """LOGICAL UNIT RESET but for its tasks: RESERVE(6) and mode settings go, registrations stay (SAM-5 §6.3.3).

        Nobody prevents removal any more; an ejected medium stays out. Every nexus is told, that of the asker too.
        """
        self.reserved_by = None
        self.software_write_protect = False
        self.descriptor_sense = False
        self.write_through = False
        self.prevented_by.clear()
        self.copies.clear()
        self.attention(LU_RESET)


def _access(command: Command | None, cdb: bytes) -> Access:
    if command is None:
        return Access.FREE
    return command.access if command.access_of is None else command.access_of(cdb)


_FAST: dict[int, Callable[[LogicalUnit, bytes, Buffer], Response | None]] = {
    Op.READ_10: LogicalUnit._read_10,  # noqa: SLF001
    Op.WRITE_10: LogicalUnit._write_10,  # noqa: SLF001
    Op.READ_16: LogicalUnit._read_16,  # noqa: SLF001
    Op.WRITE_16: LogicalUnit._write_16,  # noqa: SLF001
}
