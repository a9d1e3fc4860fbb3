"""Reading and making heartbeat regions on blocks: what commands do that are no node themselves."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from mpio.errors import InputError
from mpio.heartbeat.formats import own, sbd
from mpio.heartbeat.formats.broken import SECTOR_SIZES, Broken
from mpio.heartbeat.region import Found, Holds, Layout, blank, layout_of, look, look_length
from mpio.io.heartbeat_store import Blocks

TIMEOUT_S = 30.0  # for one request: longer than a failover should take, short enough for a person


WRITE_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Unread:
    """Why there are no bytes. `hangs`: no answer at all, so that asking for less of it would hang too."""

    words: str
    hangs: bool = False


async def read(blocks: Blocks, offset: int, length: int, timeout_s: float = TIMEOUT_S) -> bytes | Unread:
    """The bytes, or why there are none."""
    future: asyncio.Future[bytes | Unread] = asyncio.get_running_loop().create_future()

    def ended(data: bytes | None, error: str) -> None:
        if not future.done():
            future.set_result(Unread(error) if data is None else data)

    blocks.read(offset, length, ended)
    try:
        async with asyncio.timeout(timeout_s):
            return await future
    except TimeoutError:
        return Unread(f"no answer from {blocks.name} within {timeout_s:g} s", hangs=True)


async def write(blocks: Blocks, offset: int, data: bytes, timeout_s: float = TIMEOUT_S) -> None:
    """Write. Raises InputError; after a timeout it may still land."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def ended(error: str) -> None:
        if not future.done():
            future.set_result(error)

    blocks.write(offset, data, ended)
    try:
        async with asyncio.timeout(timeout_s):
            error = await future
    except TimeoutError:
        error = f"no answer within {timeout_s:g} s; the write may still land"
    if error:
        raise InputError(blocks.name, f"can't write at {offset}: {error}")


async def find(blocks: Blocks, timeout_s: float = TIMEOUT_S) -> Found:
    """What is on the blocks. Raises InputError if it can't be read.

    A file that takes smaller blocks than the region has sectors goes by the region's: `blocks.block_size` is set.
    """
    whole = blocks.size_bytes // blocks.block_size * blocks.block_size
    head = await read(blocks, 0, min(max(SECTOR_SIZES), whole), timeout_s)
    if isinstance(head, Unread) and head.hangs:
        raise InputError(blocks.name, f"can't be read: {head.words}")
    for size in SECTOR_SIZES:
        if isinstance(head, bytes) and size != blocks.block_size and _has_header(head[:size]):
            if not blocks.block_size_is_free or size < blocks.block_size:
                blocks_of = f"and the device blocks of {blocks.block_size}"
                raise InputError(blocks.name, f"the region has sectors of {size} bytes, {blocks_of}")
            blocks.block_size = size
    length = min(look_length(blocks.block_size), blocks.size_bytes // blocks.block_size * blocks.block_size)
    data = await read(blocks, 0, length, timeout_s) if length else b""
    if isinstance(data, Unread):
        data = await _what_can_be_read(blocks, length, data, timeout_s)
    return look(data, blocks.block_size)


def _has_header(sector: bytes) -> bool:
    return not isinstance(own.parse_header(sector), Broken) or not isinstance(sbd.parse_header(sector), Broken)


async def _what_can_be_read(blocks: Blocks, length: int, failed: Unread, timeout_s: float) -> bytes:
    """The region with zeros for blocks that can't be read. Raises InputError if the first can't, or all of it hangs."""
    unit = blocks.block_size
    pieces = []
    for offset in range(0, length, unit):
        piece = failed if failed.hangs else await read(blocks, offset, unit, timeout_s)
        if isinstance(piece, Unread):
            if offset == 0 or piece.hangs:
                raise InputError(blocks.name, f"can't be read: {piece.words}")
            piece = bytes(unit)
        pieces.append(piece)
    return b"".join(pieces)


async def make(blocks: Blocks, layout: Layout, header: sbd.Header | own.Header | None) -> None:
    """Write an empty region over whatever is there. Raises InputError."""
    begin, pending = 0, b""
    for offset, data in blank(layout, header):
        joins = begin and offset == begin + len(pending) and len(pending) < WRITE_BYTES_MAX
        if not joins:  # the first sector always goes alone: what it says holds for the rest, before and after
            if pending:
                await write(blocks, begin, pending)
            begin, pending = offset, b""
        pending += data
    await write(blocks, begin, pending)


async def read_slots(blocks: Blocks, layout: Layout, timeout_s: float = TIMEOUT_S) -> Sequence[bytes | str]:
    """One look at all slots (with SBD, and their mailboxes), in one read; one by one only where that fails."""
    offset, length = layout.span(0, layout.slots - 1)
    step = length // layout.slots
    data = await read(blocks, offset, length, timeout_s)
    if isinstance(data, bytes):
        return [data[at:at + step] for at in range(0, length, step)]
    if data.hangs:
        return [data.words] * layout.slots
    found = [await read(blocks, layout.slot(node), step, timeout_s) for node in range(layout.slots)]
    return [piece.words if isinstance(piece, Unread) else piece for piece in found]


async def find_region(blocks: Blocks, where: str) -> tuple[sbd.Header | own.Header | None, Layout]:
    """The header, which OCFS2's has not, and where its sectors are. Raises InputError unless a whole region is here."""
    found = await find(blocks)
    must_be_region(found, where)
    layout = Layout(Holds.O2CB, blocks.block_size) if found.header is None else layout_of(found.header)
    layout.must_fit(blocks.size_bytes, where)
    return found.header, layout


def must_be_region(found: Found, where: str) -> None:
    """Raise InputError unless a region is here, of whatever kind."""
    if found.holds in (Holds.EMPTY, Holds.FOREIGN):
        raise InputError(where, (
            f"expected a heartbeat region, found {found.words}; look at the device and the offset (--region), or "
            f"create a region with 'mpio heartbeat create'"
        ))
    if found.broken is not None and found.holds is not Holds.O2CB:
        raise InputError(where, f"the {found.holds.value} region is damaged: {found.broken.words}")
