"""Everything that a run is held against, in one place: the workload, the disks and the paths tell it what happens.

The checks themselves are those of `mpio.check`. A simulator sees more than a user does: not only what reads return, but
each effect on the medium at once, and by which connection it came.
"""

from collections.abc import Callable

from mpio.check.blocks import ReadToken
from mpio.check.breach import Breach, Breaches
from mpio.check.effects import EffectCheck
from mpio.check.identity import IdentityCheck
from mpio.check.order import CommandOrder
from mpio.check.stamp import Stamper
from mpio.check.volatile import FlushToken, VolatileCheck
from mpio.errors import MapIoError, OutcomeUnknown
from mpio.model.task import Buffer, Task


class Judge:
    """Of one run.

    Attributes:
        stamper: makes and reads blocks. registers, effects, identity, order: the checks.
        crashes: how often the power went.
    """

    def __init__(self, blocks: int, block_size: int, run_id: int, pool: bytes) -> None:
        self.stamper = Stamper(run_id, block_size, pool)
        self.registers = VolatileCheck(0, blocks)
        self.effects = EffectCheck()
        self.identity = IdentityCheck()
        self.order = CommandOrder()
        self.crashes = 0
        self._on_medium: dict[int, int] = {}  # sequence by LBA
        self._phantoms = Breaches()
        self._sessions: dict[int, Callable[[int], Task | None]] = {}  # by connection: the task that has a tag
        self._tags: dict[tuple[int, int], int] = {}  # of commands, by connection and identity
        self._commands = 0

    @property
    def breaches(self) -> list[Breach]:
        """What the checks of effects, identity and order have found."""
        return self.effects.breaches + self.identity.breaches + self.order.breaches + self._phantoms.kept

    # --- the application

    def write_begins(self, lba: int, count: int, sequence: int) -> int:
        """A write is about to be submitted. Returns what `write_ends` wants back."""
        self.registers.write_invoked(lba, count, sequence)
        self.effects.invoked(lba, count, sequence)
        return self.crashes

    def write_ends(
        self, token: int, lba: int, count: int, sequence: int, error: MapIoError | None, now: int, *,
        landed: bool, fua: bool,
    ) -> None:
        """It has ended. `landed`: although it failed it may have had an effect."""
        void = error is not None and not landed
        self.registers.write_ended(lba, count, sequence, acknowledged=error is None, void=void, durable=fua)
        if error is None and token == self.crashes:
            self.effects.acknowledged(lba, count, sequence, now)
        else:  # an answer may be older than the crash that has undone what it says
            self.effects.failed(lba, count, sequence, void=void)
        if void and any(self._on_medium.get(block) == sequence for block in range(lba, lba + count)):
            self._phantoms.add("phantom", now, f"write {sequence} of LBA {lba} was said to have had no effect, it had")

    def write_lost(self, lba: int, count: int, sequence: int, now: int) -> None:
        """Whoever sent it is gone."""
        self.write_ends(-1, lba, count, sequence, OutcomeUnknown("the host has crashed"), now, landed=True, fua=False)

    def read_begins(self, lba: int, count: int) -> ReadToken:
        """A read is about to be submitted."""
        return self.registers.read_invoked(lba, count)

    def read_ends(self, token: ReadToken, lba: int, data: Buffer, now: int, path: str | None = None) -> bool:
        """A read has ended well. Whether all of it is right."""
        return not self.registers.read_ended(token, lba, self.stamper.scan(lba, data), t_ns=now, path=path)

    def flush_begins(self) -> FlushToken:
        """A flush is about to be submitted."""
        return self.registers.flush_invoked()

    def flush_ends(self, token: FlushToken, *, acknowledged: bool) -> None:
        """It has ended."""
        self.registers.flush_ended(token, acknowledged=acknowledged)

    # --- commands on their way

    def session_begins(self, connection: int, task_of: Callable[[int], Task | None]) -> None:
        """`task_of` knows the task that has an initiator task tag now."""
        self._sessions[connection] = task_of

    def session_ends(self, connection: int) -> None:
        """No more is known of its commands."""
        self._sessions.pop(connection, None)
        self.order.ended(connection)

    def command_sent(self, connection: int, task: Task) -> None:
        """The initiator's connection has been given a command."""
        self._commands += 1
        self._tags[connection, id(task)] = self._commands
        self.order.sent(connection, self._commands)

    def command_taken(self, connection: int, itt: int, now: int) -> None:
        """The target's device server has been given a command."""
        task_of = self._sessions.get(connection)
        task = None if task_of is None else task_of(itt)
        if task is not None:
            self.order.taken(connection, self._tags[connection, id(task)], now)

    # --- the medium

    def landed(self, lba: int, data: Buffer, now: int, connection: int) -> None:
        """Blocks were written to the disk, by the connection of this number."""
        for at, sequence in enumerate(self.stamper.scan(lba, data)):
            self.effects.landed(lba + at, 1, sequence, now, connection)
            self._on_medium[lba + at] = sequence

    def fenced(self, connection: int) -> None:
        """A map takes it for proven that no write of this connection can land any more."""
        self.effects.fenced(connection)

    def power_failed(self, fallen: dict[int, bytes]) -> None:
        """The disk has lost its cache; `fallen`: content of the blocks that are as they were before."""
        self.crashes += 1
        self.registers.crashed()
        sequences = {lba: max(self.stamper.scan(lba, data)[0], 0) for lba, data in fallen.items()}
        self.effects.crashed(sequences)
        self._on_medium |= sequences
