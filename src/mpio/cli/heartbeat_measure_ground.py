"""The place of `mpio heartbeat measure`: a scratch file, or a region of what is there, and where a load may be made."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mpio.cli.heartbeat_place import Place
from mpio.errors import InputError
from mpio.events import Event, Journal, Kind
from mpio.heartbeat.region import Holds, Layout
from mpio.io.heartbeat_ground import make_scratch
from mpio.io.heartbeat_load import Mode
from mpio.io.heartbeat_measure import Pattern
from mpio.io.heartbeat_store import Blocks, FileBlocks, Region

_MIB = 1 << 20
SCRATCH_LOAD_BYTES = 64 * _MIB
SANLOCK_READ_BYTES = _MIB
"""sanlock reads a whole lockspace before it renews."""
_FAILURES = frozenset((Kind.CONNECTION_LOST, Kind.PING_TIMED_OUT, Kind.TASK_TIMED_OUT, Kind.PATH_STATE_CHANGED,
                       Kind.QUEUEING_STARTED))


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of the command."""

    placed: bool
    duration_ns: int
    interval_ns: int
    personality: str
    nodes: int
    read_only: bool
    load: Mode | None
    load_depth: int
    load_bytes: int
    load_area: tuple[int, int] | None
    stall_ns: int | None
    drills: tuple[Path, ...]
    present: tuple[str, ...]
    node_years: float
    runs: int
    seed: int
    yes: bool


@dataclass(slots=True)
class Ground:
    """Where it is measured.

    Attributes:
        blocks: the region. loaded: what the load goes to, or None. area: of the load there.
        words: about it, for people. notes: what to know of it. failures: counts path failures so far.
        is_scratch: whether it is our own, so that nothing has to be put back.
    """

    blocks: Blocks
    loaded: Blocks | None
    area: tuple[int, int]
    words: str
    notes: list[str]
    failures: Callable[[], int] = lambda: 0
    is_scratch: bool = False


def pattern_for(personality: str, nodes: int, sector: int, *, read_only: bool) -> Pattern:
    """The requests of a round: as the personality makes them; for all of them, those of o2cb."""
    if personality == "sbd":  # its disk servant only reads: header, slot, mailbox
        layout = Layout(Holds.SBD, sector, nodes)
        return Pattern(((0, sector), (layout.slot(nodes - 1), sector), (layout.mailbox(nodes - 1), sector)), None)
    layout = Layout(Holds.OWN if personality == "own" else Holds.O2CB, sector, nodes)
    own = layout.slot(nodes - 1)
    length = SANLOCK_READ_BYTES if personality == "sanlock" else own + sector
    return Pattern(((0, length),), None if read_only else own)


def _length(pattern: Pattern) -> int:
    return max(offset + length for offset, length in pattern.reads)


async def open_ground(stack: contextlib.AsyncExitStack, place: Place, wish: Wish) -> Ground:
    """Open what is measured on, until the stack ends. Raises MpioError."""
    if place.path is not None and (place.path.is_dir() or not place.path.exists()):
        return await _open_scratch(stack, place, place.path, wish)
    writes = not wish.read_only and wish.personality != "sbd"
    if writes and not wish.yes:
        raise InputError("--yes", (
            f"is needed to write a sector of {place.name}, which is put back at the end; or measure in a scratch file "
            "(a directory or a new file on the same storage), or reads alone with --read-only"))
    failures = [0]

    def count(event: Event) -> None:
        failures[0] += event.kind in _FAILURES

    journal = Journal()
    loads = wish.load in ("write", "mixed")
    whole = await stack.enter_async_context(replace(place, offset=0).open(read_only=not (writes or loads),
                                                                          journal=journal))
    journal.sinks.append(count)  # from here on: logging in is no failure
    region = Region(whole, place.offset)
    need = _length(pattern_for(wish.personality, wish.nodes, whole.block_size, read_only=wish.read_only))
    if region.size_bytes < need:
        raise InputError(place.name, (
            f"expected at least {need} bytes from {place.offset} on, found {region.size_bytes}"))
    loaded = None
    if wish.load is not None:
        loaded = whole if place.path is None else await stack.enter_async_context(
            replace(place, offset=0).open(read_only=not loads))
    how = "read only" if not writes else f"one sector of the region at {place.offset}"
    notes = ["only reads were timed: a heartbeat that writes takes longer"] if wish.read_only else []
    return Ground(region, loaded, _load_area(place, wish, whole, need), f"{how}{_directness(whole)}", notes,
                  lambda: failures[0])


async def _open_scratch(stack: contextlib.AsyncExitStack, place: Place, path: Path, wish: Wish) -> Ground:
    if wish.placed or wish.load_area is not None:
        raise InputError("--region" if wish.placed else "--load-area", (
            f"goes with a device or a file that is there, and {path} gets a scratch file"))
    _must_not_be_missing_device(path)
    sector = place.block_size or 4096
    need = _length(pattern_for(wish.personality, wish.nodes, sector, read_only=False))
    region_bytes = -(-need // _MIB) * _MIB
    scratch = make_scratch(path, region_bytes + (SCRATCH_LOAD_BYTES if wish.load else 0))
    try:
        blocks = FileBlocks(scratch, place.block_size)
        stack.push_async_callback(blocks.close)
        loaded = FileBlocks(scratch, place.block_size) if wish.load else None
        if loaded is not None:
            stack.push_async_callback(loaded.close)
    finally:
        scratch.unlink()  # whoever has it open keeps it; nobody else ever sees it again
    notes = []
    if blocks.in_memory:
        notes = ["this file system is in memory: what was measured is no disk"]
    elif not blocks.direct:
        notes = ["through the page cache: reads come from memory, so they tell nothing of the disk"]
    return Ground(Region(blocks, 0, region_bytes), loaded, (region_bytes, SCRATCH_LOAD_BYTES),
                  f"a scratch file{_directness(blocks)}", notes, is_scratch=True)


def _must_not_be_missing_device(path: Path) -> None:
    """A device that is not there shall not become a file in /dev."""
    if not path.is_dir() and str(path).startswith("/dev/"):
        raise InputError(str(path), "expected a device, a file, a directory or an iscsi:// URL, found nothing")


def _directness(blocks: Blocks) -> str:
    if isinstance(blocks, FileBlocks):
        return ", past the page cache" if blocks.direct else ", through the page cache"
    return ""


def _load_area(place: Place, wish: Wish, whole: Blocks, need: int) -> tuple[int, int]:
    if wish.load is None:
        return 0, 0
    offset, length = wish.load_area or (0, whole.size_bytes)
    if wish.load != "read":
        if wish.load_area is None or not wish.yes:
            raise InputError("--load", (
                f"{wish.load} overwrites what is on {place.name}: say where with --load-area, and --yes"))
        if offset < place.offset + need and place.offset < offset + length:
            raise InputError("--load-area", f"expected an area beside the region at {place.offset}, found one over it")
    if offset + length > whole.size_bytes:
        raise InputError("--load-area", f"ends at {offset + length}, and {place.name} has {whole.size_bytes} bytes")
    return offset, length
