"""The order in which writes take effect on the medium, as only a simulator sees it.

Where the block check looks through reads, and so misses what nobody reads in time, this one is told of every effect.
Blocks have one writer each, whose writes to a block follow one another: each is invoked when the one before has ended.
The rules:

    early       a write was acknowledged of which a block was not on the medium (nor in its cache)
    ghost       an older write took effect over a newer one
    late-copy   a write took effect again after it was acknowledged: harmless by chance, since nothing newer was there
    phantom     a write took effect after it was said to have none
    misplaced   a block was written by something that nobody sent there

A write that ended as *unknown* may take effect at any later time (as in Jepsen): that is counted, and no breach. After
a fence there must be none either; whoever fences says so with `fenced`, and then it is one:

    unfenced    a write took effect after its nexus was said to be fenced
"""

from dataclasses import dataclass, field

from mpio.check.breach import Breach, Breaches


@dataclass(slots=True)
class _Block:
    """One block: sequences in the order of invocation are 1, 2, 3 …; 0 is before any."""

    issued: int = 0
    on_medium: int = 0
    acknowledged: int = 0
    unknown: set[int] = field(default_factory=set)
    void: set[int] = field(default_factory=set)


class EffectCheck:
    """Told of every write's invocation, effects and end, in the order in which they happened.

    Attributes:
        effects: blocks written. late_unknowns: those of them by a write that had ended as unknown, over a newer one.
    """

    def __init__(self) -> None:
        self.effects = 0
        self.late_unknowns = 0
        self._blocks: dict[int, _Block] = {}
        self._fenced: set[object] = set()
        self._breaches = Breaches()

    @property
    def breaches(self) -> list[Breach]:
        """What was broken so far."""
        return self._breaches.kept

    def invoked(self, lba: int, count: int, sequence: int) -> None:
        """A write is about to be submitted to the map."""
        for number in range(lba, lba + count):
            self._block(number).issued = sequence

    def fenced(self, session: object) -> None:
        """The initiator takes it for proven that nothing of this session (any hashable name) can land any more."""
        self._fenced.add(session)

    def landed(self, lba: int, count: int, sequence: int, t_ns: int, session: object = None) -> None:
        """A write took effect on these blocks; `session`: which one it came by."""
        if session is not None and session in self._fenced:
            self._breaches.add("unfenced", t_ns, f"write {sequence} of LBA {lba}+{count} by {session}")
        for number in range(lba, lba + count):
            self._effect(number, self._block(number), sequence, t_ns)
        self.effects += count

    def _effect(self, lba: int, block: _Block, sequence: int, t_ns: int) -> None:
        if not 0 < sequence <= block.issued:
            self._breaches.add("misplaced", t_ns, f"write {sequence} at LBA {lba}, where {block.issued} is the newest")
        elif sequence in block.void:
            self._breaches.add("phantom", t_ns, f"write {sequence} of LBA {lba} was said to have no effect")
        elif sequence in block.unknown:
            self.late_unknowns += sequence < block.on_medium
        elif sequence < block.on_medium:
            self._breaches.add("ghost", t_ns, f"write {sequence} of LBA {lba} landed over write {block.on_medium}")
        elif sequence <= block.acknowledged:
            self._breaches.add("late-copy", t_ns, f"write {sequence} of LBA {lba} landed after it was acknowledged")
        block.on_medium = sequence

    def acknowledged(self, lba: int, count: int, sequence: int, t_ns: int) -> None:
        """The map said that the write is done."""
        for number in range(lba, lba + count):
            block = self._block(number)
            block.acknowledged = sequence
            if block.on_medium < sequence:
                self._breaches.add("early", t_ns, f"write {sequence} of LBA {number} was acknowledged, "
                                                  f"write {block.on_medium} is there")

    def failed(self, lba: int, count: int, sequence: int, *, void: bool) -> None:
        """The map said that it is not done; `void`: and that it has no effect that could still come."""
        for number in range(lba, lba + count):
            block = self._block(number)
            if void and block.on_medium != sequence:
                block.void.add(sequence)
            else:
                block.unknown.add(sequence)

    def crashed(self, lost: dict[int, int]) -> None:
        """The medium has lost its cache: `lost` maps each LBA that fell back to the sequence it holds now (0: none)."""
        for lba, sequence in lost.items():
            self._block(lba).on_medium = sequence

    def _block(self, lba: int) -> _Block:
        block = self._blocks.get(lba)
        if block is None:
            block = self._blocks[lba] = _Block()
        return block
