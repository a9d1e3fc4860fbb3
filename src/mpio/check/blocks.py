"""Is every block what it must be? Per-block register checks for blocks with one writer each.

A block is a register: its writer numbers its writes, so that "older" and "newer" are plain comparisons, and the
check needs no search (linear in the number of blocks read). For a read of a block, with everything counted up to the
moment the read *began*:

    oldest legal   the newest of: the last acknowledged write, and what any read that had ended by then returned
    newest legal   the last write invoked before the read *ended*

A write whose outcome is unknown (or failed: it may have been done in part) is legal both ways until somebody saw
it or a later write was acknowledged. What is outside the range gets a name:

    lost         an acknowledged write is missing: its block still holds something older
    stale        a read returned something older, and another read of the same write found it in place
    ghost        a value came back: it was replaced (a newer one had been read, or acknowledged after a write of
                 unknown outcome), and there it is again
    phantom      a write that was said to have had no effect, now or later, is there
    torn         a block of which one part is of one write and the rest is not
    misdirected  the stamp names another LBA
    corrupt      no stamp, or one that this run can't have written there

Two readings of "outcome unknown" are to be had. By default nothing may come back over a newer acknowledged write, so
that such a write, landing late, is a ghost: what a user sees. With `late_unknowns_legal` it may still land at any
later time, once, as Jepsen reads it: whoever was told "unknown" was told this as well. From then on *it* is the
newest, and what it replaced may not come back.

Atomicity is asked of single blocks only. Nothing here knows a clock or reads a block's bytes: `stamp.Stamper.scan`
turns bytes into sequence numbers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mpio.check.stamp import Defect

FINDINGS_MAX = 1_000  # blocks, kept in detail; beyond it they are counted only
NEVER = 0
"""The sequence of a block that no write was acknowledged for. Writes are numbered from 1."""


class BlockFault(StrEnum):
    """What can be wrong with a block."""

    LOST = "lost"
    STALE = "stale"
    GHOST = "ghost"
    PHANTOM = "phantom"
    TORN = "torn"
    MISDIRECTED = "misdirected"
    CORRUPT = "corrupt"
    CHANGED = "changed"
    """Read-only runs: two reads of a block that nobody here writes do not agree."""


_DAMAGE = {int(Defect.TORN): BlockFault.TORN, int(Defect.MISDIRECTED): BlockFault.MISDIRECTED}


@dataclass(frozen=True, slots=True)
class Finding:
    """A run of blocks with the same fault. `path` is None where the map chose the path."""

    lba: int
    blocks: int
    kind: BlockFault
    expected: str
    found: str
    path: str | None
    io: int | None
    t_ns: int

    def __str__(self) -> str:
        where = f"LBA {self.lba}" if self.blocks == 1 else f"LBA {self.lba} to {self.lba + self.blocks - 1}"
        through = f" through path {self.path}" if self.path is not None else ""
        return f"{self.kind} block: {where}{through}: expected {self.expected}, found {self.found}"


@dataclass(slots=True)
class _Suspect:
    """A block that read wrong. For older content, later reads tell whether the write is lost or the read was stale."""

    expected: float
    kind: BlockFault | None
    """Settled already; None for older content."""
    newer_seen: bool
    """A read had returned something newer than this before."""
    expected_text: str
    found_text: str
    paths: list[str | None]
    io: int | None
    t_ns: int
    reads: int = 1
    seen_later: bool = False


@dataclass(slots=True)
class ReadToken:
    """What a read may return at the least, for each of its blocks, as of its invocation. Opaque to callers."""

    floors: list[float]
    settled: list[int]
    crashes: int = 0
    torn: frozenset[int] = frozenset()


class RegisterCheck:
    """Checks the blocks of a region against what was written to them.

    Calls come in the order in which things happened. `read_invoked` returns a token that `read_ended` takes back.

    Args:
        first_lba: first block of the region.
        blocks: its length. Everything outside is an error of the caller (IndexError or a wrong answer).
        late_unknowns_legal: see the module.

    Attributes:
        blocks_read, blocks_written, faulty_blocks: counts.
        late_unknowns: blocks on which a write of unknown outcome was seen to have landed over a newer one.
    """

    def __init__(self, first_lba: int, blocks: int, *, late_unknowns_legal: bool = False) -> None:
        self.first_lba = first_lba
        self.blocks_read = 0
        self.blocks_written = 0
        self.faulty_blocks = 0
        self.late_unknowns = 0
        self._late_legal = late_unknowns_legal
        # Where a block stands in the order of its values: the sequence, or for one that landed late a half more
        # than the newest one that it is known to have landed over
        self._floor: list[float] = [NEVER] * blocks  # oldest legal value for a read that begins now
        self._acked = [NEVER] * blocks
        self._seen: list[float] = [NEVER] * blocks  # newest value that a read returned
        self._issued = [NEVER] * blocks
        self._settled = [NEVER] * blocks  # newest write that has ended, one way or another
        self._unknown: dict[int, set[int]] = {}
        self._void: dict[int, set[int]] = {}  # said to have had no effect
        self._latest: dict[tuple[int, int], float] = {}  # (LBA, sequence) of unknown writes seen: where it is at most
        self._unread: set[int] = set()  # acknowledged, and not read back since
        self._suspects: dict[int, _Suspect] = {}
        self._findings: list[Finding] = []

    # --- what happened

    def write_invoked(self, lba: int, count: int, sequence: int) -> None:
        """A write of `count` blocks with this sequence is about to be sent."""
        start = lba - self.first_lba
        self._issued[start:start + count] = [sequence] * count
        if self._suspects:
            for block in range(lba, lba + count):
                self._close(block)

    def write_ended(self, lba: int, count: int, sequence: int, *, acknowledged: bool, void: bool = False) -> None:
        """The write ended. Not acknowledged means that either content is legal from now on.

        `void`: it failed, and was said to have had no effect, now or later.
        """
        start = lba - self.first_lba
        self._settled[start:start + count] = [sequence] * count
        self.blocks_written += count
        if acknowledged:
            self._acked[start:start + count] = [sequence] * count
            self._floor[start:start + count] = [max(sequence, old) for old in self._floor[start:start + count]]
            self._unread.update(range(lba, lba + count))
        else:
            of_this_kind = self._void if void else self._unknown
            for block in range(lba, lba + count):
                of_this_kind.setdefault(block, set()).add(sequence)

    def read_invoked(self, lba: int, count: int) -> ReadToken:
        """A read is about to be sent: remember what it may return at the least."""
        start = lba - self.first_lba
        return ReadToken(self._floor[start:start + count], self._settled[start:start + count])

    def read_ended(
        self,
        token: ReadToken,
        lba: int,
        found: Sequence[int],
        *,
        t_ns: int,
        path: str | None = None,
        io: int | None = None,
        describe: "Sequence[str] | None" = None,
    ) -> list[int]:
        """The read ended well and returned these sequences (or Defects). Returns the LBAs that are not right.

        `describe` says in words what each block holds; without it the sequence has to do.
        """
        wrong: list[int] = []
        settled = token.settled
        at = lba - self.first_lba
        issued, floor, seen, unread = self._issued, self._floor, self._seen, self._unread
        void, is_watched = self._void, self._late_legal and bool(self._unknown)
        for index, (sequence, low) in enumerate(zip(found, token.floors, strict=True)):
            if low <= sequence <= issued[at] and not (void and sequence in void.get(lba + index, ())):
                if is_watched and sequence in self._unknown.get(lba + index, ()):
                    self._latest.setdefault((lba + index, sequence), issued[at] + 0.5)
                if sequence > seen[at]:
                    seen[at] = sequence
                    if sequence > floor[at]:
                        floor[at] = sequence
            elif sequence < 0 and low == NEVER:
                pass  # nothing was acknowledged here yet: what was there before is legal
            elif self._late_legal and self._landed_late(lba + index, sequence, low):
                pass
            elif sequence != Defect.TORN or settled[index] >= issued[at]:  # a write under way may show half-done
                text = describe[index] if describe is not None else _name(sequence)
                self._wrong(lba + index, sequence, low, text, t_ns, path, io)
                wrong.append(lba + index)
            at += 1
        self.blocks_read += len(found)
        if unread:
            unread.difference_update(range(lba, lba + len(found)))
        if self._suspects:
            for index, sequence in enumerate(found):
                suspect = self._suspects.get(lba + index)
                if suspect is not None and sequence >= suspect.expected:
                    suspect.seen_later = True
        return wrong

    # --- what is to be asked

    @property
    def unread_blocks(self) -> int:
        """How many blocks hold an acknowledged write that nobody has read back."""
        return len(self._unread)

    def findings(self) -> list[Finding]:
        """Everything that is wrong so far, in the order of LBAs, neighbouring blocks joined."""
        return join(self._findings + [self._judge(lba, suspect) for lba, suspect in self._suspects.items()])

    # --- one block that is not right

    def _landed_late(self, lba: int, sequence: int, low: float) -> bool:
        """Whether a read may return an older value because a write of unknown outcome landed late."""
        if sequence not in self._unknown.get(lba, ()):
            return False
        at = lba - self.first_lba
        known = (lba, sequence)
        if known not in self._latest:
            self._latest[known] = self._issued[at] + 0.5
            self.late_unknowns += 1
        elif self._latest[known] < low:
            return False  # it can land once, and had landed before what is to be there now
        rank = int(low) + 0.5
        self._floor[at] = max(self._floor[at], rank)
        self._seen[at] = max(self._seen[at], rank)
        return True

    def _wrong(self, lba: int, sequence: int, low: float, text: str, t_ns: int, path: str | None,
               io: int | None) -> None:
        suspect = self._suspects.get(lba)
        if suspect is not None:
            suspect.reads += 1
            if path not in suspect.paths:
                suspect.paths.append(path)
            return
        at = lba - self.first_lba
        is_older = 0 <= sequence <= self._issued[at] or sequence == Defect.FOREIGN or (
            sequence == Defect.BLANK and self._seen[at] == NEVER)  # what a new LU, or one of an earlier run, holds
        kind: BlockFault | None
        if sequence in self._void.get(lba, ()):
            kind, expected = BlockFault.PHANTOM, f"sequence {low} or later, and not one that had no effect"
        elif is_older:
            unknown = self._unknown.get(lba, set())
            is_ghost = sequence in unknown or (low in unknown and low > self._acked[at])
            kind, expected = BlockFault.GHOST if is_ghost else None, f"sequence {low} or later"
            if low != int(low):  # the newest one is a write that landed late
                kind, expected = BlockFault.GHOST, "what landed late over it, or later"
        else:
            kind = _DAMAGE.get(sequence, BlockFault.CORRUPT)
            expected = f"a sound block of this LBA, sequence {low} or later"
        newer_seen = self._seen[at] > max(sequence, NEVER)
        self._suspects[lba] = _Suspect(low, kind, newer_seen, expected, text, [path], io, t_ns)
        self.faulty_blocks += 1

    def _close(self, lba: int) -> None:
        suspect = self._suspects.pop(lba, None)
        if suspect is not None:
            self._keep(self._judge(lba, suspect))

    def _judge(self, lba: int, suspect: _Suspect) -> Finding:
        if suspect.kind is not None:
            kind = suspect.kind
        elif suspect.seen_later:
            kind = BlockFault.STALE
        elif suspect.newer_seen:
            kind = BlockFault.GHOST
        else:
            kind = BlockFault.LOST
        paths = [path for path in suspect.paths if path is not None]
        found = suspect.found_text + (f" (in {suspect.reads} reads)" if suspect.reads > 1 else "")
        return Finding(lba, 1, kind, suspect.expected_text, found, ", ".join(paths) or None, suspect.io, suspect.t_ns)

    def _keep(self, finding: Finding) -> None:
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(finding)


class AgreementCheck:
    """For runs that write nothing: every read of a block must return what the first one did.

    `digests` are any numbers that stand for the content of the blocks, one each.
    """

    def __init__(self) -> None:
        self.blocks_read = 0
        self.faulty_blocks = 0
        self._first: dict[int, tuple[int, str | None]] = {}
        self._findings: list[Finding] = []

    def read_ended(self, lba: int, digests: Iterable[int], *, t_ns: int, path: str | None = None,
                   io: int | None = None) -> None:
        """A read from `lba` on ended well with these contents."""
        for digest in digests:
            known, by = self._first.setdefault(lba, (digest, path))
            if known != digest:
                through = f" through path {by}" if by is not None else ""
                self.faulty_blocks += 1
                if len(self._findings) < FINDINGS_MAX:
                    self._findings.append(Finding(
                        lba, 1, BlockFault.CHANGED, f"content {known:08x}, as first read{through}",
                        f"content {digest:08x}", path, io, t_ns))
            lba += 1
            self.blocks_read += 1

    def findings(self) -> list[Finding]:
        """Blocks that changed, neighbours joined."""
        return join(self._findings)


def join(findings: Sequence[Finding]) -> list[Finding]:
    """The findings in the order of LBAs, neighbouring blocks of one kind, path and expectation made one.

    What was found, where and when is then that of the first block.
    """
    joined: list[Finding] = []
    for finding in sorted(findings, key=lambda finding: (finding.lba, finding.t_ns)):
        last = joined[-1] if joined else None
        if (last is not None and last.lba + last.blocks == finding.lba
                and (last.kind, last.path) == (finding.kind, finding.path)
                and (last.expected == finding.expected or finding.kind is BlockFault.CHANGED)):
            joined[-1] = replace(last, blocks=last.blocks + finding.blocks)
        else:
            joined.append(finding)
    return joined


def _name(sequence: int) -> str:
    return f"sequence {sequence}" if sequence >= 0 else Defect(sequence).name.lower()
