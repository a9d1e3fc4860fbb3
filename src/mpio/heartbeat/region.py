"""A heartbeat region: where its sectors are, what a disk holds where one should be, and what makes an empty one.

All offsets are bytes from the start of the region, as the machines count them; where that is on the device is the
shell's matter. A region of o2cb is slots alone, so nothing but their checksums and numbers tells what it is; SBD's and
ours begin with a header.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from mpio.errors import InputError
from mpio.heartbeat.formats import o2cb, own, sbd
from mpio.heartbeat.formats.broken import NODES_MAX, Broken, Why, check_range, check_sector

_SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    ("an XFS file system", 0, b"XFSB"),
    ("an ext2, ext3 or ext4 file system", 1080, b"\x53\xef"),
    *(("an OCFS2 file system", 2 * block, b"OCFSV2") for block in (512, 1024, 2048, 4096)),
    ("a Btrfs file system", 0x10040, b"_BHRfS_M"),
    *(("an LVM physical volume", offset, b"LABELONE") for offset in (0, 512, 1024, 1536)),
    ("a LUKS volume", 0, b"LUKS\xba\xbe"),
    ("swap space", 4086, b"SWAPSPACE2"),
    ("a member of an MD array", 4096, b"\xfc\x4e\x2b\xa9"),
    ("a lockspace of sanlock", 0, b"\x10\x20\x21\x12"),
    ("a lease of sanlock", 0, b"\x10\x20\x15\x06"),
    ("a QCOW2 image", 0, b"QFI\xfb"),
    *(("a GUID partition table", offset, b"EFI PART") for offset in (512, 4096)),
    ("a partition table or boot sector", 510, b"\x55\xaa"),
)
"""(name, offset, magic number); the first that is there counts."""


class Holds(StrEnum):
    """What is on a disk where a region should be."""

    EMPTY = "empty"
    """Nothing but zeros. A region of o2cb that no node has joined looks the same."""
    O2CB = "o2cb"
    SBD = "sbd"
    OWN = "own"
    FOREIGN = "foreign"
    """Somebody's data: never overwritten unasked."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the sectors of a region are.

    Attributes:
        holds: O2CB, SBD or OWN.
        sector: the device's logical block size in bytes.
        slots: nodes 0 to slots - 1 have one.
    """

    holds: Holds
    sector: int = 512
    slots: int = NODES_MAX

    def __post_init__(self) -> None:
        check_sector(self.sector)
        check_range("slots", self.slots, 1, NODES_MAX)
        if self.holds not in (Holds.O2CB, Holds.SBD, Holds.OWN):
            raise ValueError(f"layout: expected that of o2cb, sbd or own; found {self.holds.value}")

    @property
    def length(self) -> int:
        """The region's bytes."""
        sectors = {Holds.O2CB: self.slots, Holds.SBD: 1 + 2 * self.slots, Holds.OWN: 2 + self.slots}
        return sectors[self.holds] * self.sector

    def slot(self, node: int) -> int:
        """Where a node's slot is; with OWN, `slots` is the operator's. Raises ValueError for others."""
        check_range("node", node, 0, self.slots if self.holds is Holds.OWN else self.slots - 1)
        index = {Holds.O2CB: node, Holds.SBD: sbd.slot_sector(node), Holds.OWN: own.slot_sector(node)}
        return index[self.holds] * self.sector

    def mailbox(self, node: int) -> int:
        """Where a node's mailbox is, which only SBD has. Raises ValueError for others."""
        if self.holds is not Holds.SBD:
            raise ValueError(f"a region of {self.holds.value} has no mailboxes")
        check_range("node", node, 0, self.slots - 1)
        return sbd.mailbox_sector(node) * self.sector

    def span(self, first: int, last: int) -> tuple[int, int]:
        """(offset, length) of one read that has all slots, and SBD's mailboxes, of the nodes first to last."""
        begin, end = self.slot(first), self.slot(last) + self.sector
        return begin, end + self.sector * (self.holds is Holds.SBD) - begin

    def must_fit(self, room: int, where: str) -> None:
        """Raise InputError if the region is longer than the `room` bytes there are for it."""
        if room < self.length:
            raise InputError(where, (
                f"expected at least {self.length} bytes for {self.slots} slots of {self.holds.value} in sectors "
                f"of {self.sector}, found {room}; take a larger device or an earlier offset"
            ))


@dataclass(frozen=True, slots=True)
class Found:
    """What a disk holds.

    Attributes:
        holds: the kind of region.
        words: what it is, for people.
        header: of SBD or OWN, if it can be read; else None.
        broken: why a header cannot be read, or the first damaged slot of o2cb; None if nothing is wrong.
    """

    holds: Holds
    words: str
    header: sbd.Header | own.Header | None = None
    broken: Broken | None = None

    def must_be(self, wanted: Holds, where: str) -> None:
        """Raise InputError if nodes of this kind cannot use what is here.

        o2cb's can begin on zeros, and go on beside a damaged slot.
        """
        if self.holds is wanted and (self.header is not None or wanted is Holds.O2CB):
            return
        if wanted is Holds.O2CB and self.holds is Holds.EMPTY:
            return
        raise InputError(where, (
            f"expected a heartbeat region of kind {wanted.value}, found {self.words}; look at device and offset, or "
            "make a region with 'mpio heartbeat create'"
        ))

    def must_be_free(self, where: str) -> None:
        """Raise InputError if something would be overwritten by a new region."""
        if self.holds is not Holds.EMPTY:
            raise InputError(where, f"expected nothing but zeros, found {self.words}; --yes overwrites it")


def look_length(sector: int) -> int:
    """How many bytes, from the start of a region, `look` wants to see: any region at its longest."""
    return max(Layout(holds, sector).length for holds in (Holds.O2CB, Holds.SBD, Holds.OWN))


def look(data: bytes, sector: int) -> Found:
    """Tell what is here. `data` is what a read of `look_length` bytes gave; less, if the device is shorter."""
    check_sector(sector)
    first = data[:sector].ljust(sector, b"\0")
    if first.startswith(sbd.MAGIC):
        return _with_header(Holds.SBD, sbd.parse_header(first), "a region of SBD")
    if first.startswith(own.MAGIC):
        return _with_header(Holds.OWN, own.parse_header(first), "a region of mpio")
    if not any(data):
        return Found(Holds.EMPTY, "nothing but zeros")
    return _headless(data, sector)


def blank(layout: Layout, header: sbd.Header | own.Header | None = None) -> Iterator[tuple[int, bytes]]:
    """What to write, as (offset, data), to make an empty region: the header comes last, so that half of it is none.

    SBD and OWN need their header; its sector size and slots are those of the layout. Raises ValueError.
    """
    zeros = bytes(layout.sector)
    match layout.holds, header:
        case Holds.O2CB, None:
            first = zeros
        case Holds.SBD, sbd.Header():
            first = sbd.render_header(header)
        case Holds.OWN, own.Header():
            first = own.render_header(header)
        case _:
            raise ValueError(f"a region of {layout.holds.value} is not made with {header!r:.80}")
    if header is not None and (header.sector, header.slots) != (layout.sector, layout.slots):
        raise ValueError(f"header for {header.slots} slots of {header.sector} bytes in a region of {layout.slots} "
                         f"slots of {layout.sector} bytes")
    yield 0, zeros  # an old header must not stand before new slots
    yield from ((offset, zeros) for offset in range(layout.sector, layout.length, layout.sector))
    if header is not None:
        yield 0, first


def layout_of(header: sbd.Header | own.Header) -> Layout:
    """Where the sectors are in the region that this header is of."""
    return Layout(Holds.SBD if isinstance(header, sbd.Header) else Holds.OWN, header.sector, header.slots)


def _with_header(holds: Holds, header: sbd.Header | own.Header | Broken, words: str) -> Found:
    if isinstance(header, Broken):
        return Found(holds, f"{words} whose header is damaged ({header.words})", None, header)
    return Found(holds, words, header)


def _headless(data: bytes, sector: int) -> Found:
    """Slots of o2cb, each block in its own node's place, or anything.

    A block left over in somebody's data does not make that a region, nor does one torn block make a region foreign.
    """
    good, bad = 0, 0
    broken: Broken | None = None
    for node in range(NODES_MAX):
        part = data[node * sector:(node + 1) * sector]
        if not any(part):
            continue
        block = o2cb.parse(part)
        if isinstance(block, o2cb.Block) and block.is_used and block.node == node:
            good += 1
            continue
        bad += 1
        found = block if isinstance(block, Broken) else Broken(Why.FIELD, f"a block of node {block.node}")
        broken = broken or Broken(found.why, f"slot {node}: {found.words}")
    if good > bad:
        return Found(Holds.O2CB, f"a region of o2cb with {good} slots in use", None, broken)
    blocks = f", and {good} heartbeat blocks of o2cb" if good else ""
    return Found(Holds.FOREIGN, f"{_signature(data) or 'data of an unknown kind'}{blocks}")


def _signature(data: bytes) -> str | None:
    """The name of what is known by its magic number."""
    return next((name for name, offset, magic in _SIGNATURES if data.startswith(magic, offset)), None)
