"""The block check for a medium that loses its cache: what was not flushed may go when the target crashes.

What a disk with a write cache owes (SBC-3 §4.15): a write is on stable storage once it was acknowledged with FUA, or
once a SYNCHRONIZE CACHE that began after its acknowledgement was. At a crash every block falls back to that value or
any later one that was sent; it may be torn where the medium is not atomic. Whatever was under way in that moment, on
the wire included, proves nothing any more: its answer may be of before or after.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mpio.check.blocks import NEVER, ReadToken, RegisterCheck
from mpio.check.stamp import Defect


@dataclass(frozen=True, slots=True)
class FlushToken:
    """What a flush makes durable if it works. Opaque to callers."""

    values: list[float]
    crashes: int


class VolatileCheck(RegisterCheck):
    """A `RegisterCheck` that knows of flushes and of crashes of the medium.

    Args:
        first_lba, blocks, late_unknowns_legal: as there.
        torn_at_crash: whether a block that was not durable may be torn after a crash.
    """

    def __init__(self, first_lba: int, blocks: int, *, late_unknowns_legal: bool = False,
                 torn_at_crash: bool = False) -> None:
        super().__init__(first_lba, blocks, late_unknowns_legal=late_unknowns_legal)
        self.crashes = 0
        self._may_tear = torn_at_crash
        self._durable: list[float] = [NEVER] * blocks
        self._before_crash = [NEVER] * blocks  # newest write that was sent before the last crash
        self._torn: set[int] = set()

    # --- what happened

    def write_ended(self, lba: int, count: int, sequence: int, *, acknowledged: bool, void: bool = False,
                    durable: bool = False) -> None:
        """As `RegisterCheck.write_ended`; `durable` for a write with FUA."""
        start = lba - self.first_lba
        if acknowledged and sequence <= self._before_crash[start]:
            acknowledged = False  # the answer may be older than the crash
        super().write_ended(lba, count, sequence, acknowledged=acknowledged, void=void)
        if acknowledged:
            self._torn.difference_update(range(lba, lba + count))
            if durable:
                self._durable[start:start + count] = self._floor[start:start + count]

    def flush_invoked(self) -> FlushToken:
        """A flush is about to be sent."""
        return FlushToken(list(self._floor), self.crashes)

    def flush_ended(self, token: FlushToken, *, acknowledged: bool) -> None:
        """The flush ended."""
        if acknowledged and token.crashes == self.crashes:
            self._durable = [max(old, new) for old, new in zip(self._durable, token.values, strict=True)]

    def crashed(self) -> None:
        """The medium has lost what was not durable, and whoever was writing to it has lost the answers."""
        self.crashes += 1
        if self._may_tear:
            self._torn.update(self.first_lba + at for at, sent in enumerate(self._issued) if sent > self._durable[at])
        lost = [at for at, floor in enumerate(self._floor) if floor > self._durable[at]]
        self._unread.difference_update(self.first_lba + at for at in lost)
        self._floor = list(self._durable)
        self._seen = [min(seen, kept) for seen, kept in zip(self._seen, self._durable, strict=True)]
        self._before_crash = list(self._issued)
        self._latest.clear()  # what was seen of a write may be gone again, and yet to land

    def read_invoked(self, lba: int, count: int) -> ReadToken:
        """As there."""
        token = super().read_invoked(lba, count)
        token.crashes = self.crashes
        if self._torn:
            token.torn = frozenset(self._torn.intersection(range(lba, lba + count)))
        return token

    def read_ended(self, token: ReadToken, lba: int, found: Sequence[int], *, t_ns: int, path: str | None = None,
                   io: int | None = None, describe: "Sequence[str] | None" = None) -> list[int]:
        """As there. A read that a crash fell into may return anything that was sent, and teaches nothing."""
        if token.crashes != self.crashes:
            return self._spanning(token, lba, found, t_ns, path, io, describe)
        if token.torn:
            found = [self._forgive(token, lba + index, sequence) for index, sequence in enumerate(found)]
        return super().read_ended(token, lba, found, t_ns=t_ns, path=path, io=io, describe=describe)

    # --- what a crash excuses

    def _spanning(self, token: ReadToken, lba: int, found: Sequence[int], t_ns: int, path: str | None,
                  io: int | None, describe: "Sequence[str] | None") -> list[int]:
        wrong = []
        for index, sequence in enumerate(found):
            block, low = lba + index, token.floors[index]
            is_sent = 0 <= sequence <= self._issued[block - self.first_lba]
            is_old = sequence in (Defect.BLANK, Defect.FOREIGN, Defect.UNSTAMPED)
            if is_sent or (sequence == Defect.TORN and self._may_tear) or (
                    is_old and (low == NEVER or self._was_blank(block))):
                continue
            text = describe[index] if describe is not None else str(sequence)
            self._wrong(block, sequence, low, text, t_ns, path, io)
            wrong.append(block)
        self.blocks_read += len(found)
        return wrong

    def _was_blank(self, block: int) -> bool:
        """Whether what the block held before the run may still be, or be again, its content."""
        return self._durable[block - self.first_lba] == NEVER

    def _forgive(self, token: ReadToken, block: int, sequence: int) -> int:
        """A block torn by the crash counts as holding the oldest legal value."""
        at = block - self.first_lba
        if sequence != Defect.TORN or block not in token.torn or self._floor[at] > self._durable[at]:
            return sequence
        return int(self._durable[at])
