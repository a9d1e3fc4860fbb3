"""`mpio heartbeat create`: makes an empty region, where nothing else is unless told so."""

import asyncio
import contextlib
import dataclasses
import json
import os
import secrets
import sys

import click

from mpio.cli.heartbeat_place import Place, place_options
from mpio.cli.options import DURATION
from mpio.errors import InputError
from mpio.heartbeat.formats import own, sbd
from mpio.heartbeat.formats.broken import NODES_MAX
from mpio.heartbeat.region import Holds, Layout
from mpio.heartbeat.timing import Timing
from mpio.units import format_duration, format_size

_KINDS = {"own": Holds.OWN, "o2cb": Holds.O2CB, "sbd": Holds.SBD}


@click.command(short_help="Make a heartbeat region.")
@place_options
@click.option("--personality", type=click.Choice(sorted(_KINDS)), default="own", show_default=True,
              help="Whose format: mpio's own, OCFS2's or SBD's.")
@click.option("--slots", type=click.IntRange(1, NODES_MAX), default=NODES_MAX, show_default=True,
              help="For so many nodes, numbered from 0.")
@click.option("--period", "period_ns", type=DURATION, metavar="TIME", help="Own: from heartbeat to heartbeat, 2s.")
@click.option("--deadline", "deadline_ns", type=DURATION, metavar="TIME",
              help="Own: a node fences itself so long after its last good heartbeat, 60s.")
@click.option("--dead", "dead_ns", type=DURATION, metavar="TIME",
              help="Own: the others call it dead after so long; a tenth more than the deadline, and 5s at least.")
@click.option("--fence-latency", "fence_ns", type=DURATION, metavar="TIME",
              help="Own: how long a node may take to stop once it must, 1s; the dead timeout leaves room for it.")
@click.option("--drain", "drain_ns", type=DURATION, metavar="TIME",
              help="Own: how long what it sent before can still land on the storage, 2s; likewise.")
@click.option("--watchdog", type=click.IntRange(1, 3600), metavar="SECONDS", help="SBD: timeout_watchdog, 5.")
@click.option("--msgwait", type=click.IntRange(1, 7200), metavar="SECONDS",
              help="SBD: timeout_msgwait, twice the watchdog's.")
@click.option("--yes", is_flag=True, help="Overwrite what is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    place: Place, personality: str, slots: int, period_ns: int | None, deadline_ns: int | None, dead_ns: int | None,
    fence_ns: int | None, drain_ns: int | None, watchdog: int | None, msgwait: int | None, yes: bool, as_json: bool,
) -> None:
    """Make an empty heartbeat region on DEVICE; a FILE that is not there is made.

    What is there is overwritten only with --yes. Times are written into the region, and all nodes go by them; a region
    of o2cb has none, there each node brings its own threshold.
    """
    kind = _KINDS[personality]
    if kind is not Holds.OWN:
        given = {"--period": period_ns, "--deadline": deadline_ns, "--dead": dead_ns, "--fence-latency": fence_ns}
        _must_not_be({**given, "--drain": drain_ns}, "own", personality)
    if kind is not Holds.SBD:
        _must_not_be({"--watchdog": watchdog, "--msgwait": msgwait}, "sbd", personality)
    times = _times(period_ns, deadline_ns, dead_ns, fence_ns, drain_ns)
    asyncio.run(_create(place, kind, slots, times, _sbd_times(watchdog, msgwait), yes=yes, as_json=as_json))


def _must_not_be(given: dict[str, int | None], owner: str, personality: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise InputError(name, f"goes with --personality {owner}, not with {personality}")


def _times(
    period_ns: int | None, deadline_ns: int | None, dead_ns: int | None, fence_ns: int | None, drain_ns: int | None
) -> own.Timing:
    """What is not given fits what is. Raises InputError with the numbers if the times are not safe."""
    default = Timing()
    try:
        timing = Timing.of(
            default.deadline_ns if deadline_ns is None else deadline_ns,
            default.period_ns if period_ns is None else period_ns,
            default.fence_ns if fence_ns is None else fence_ns,
            default.drain_ns if drain_ns is None else drain_ns,
        )
        if dead_ns is not None:
            timing = dataclasses.replace(timing, dead_ns=dead_ns)
    except ValueError as error:
        raise InputError("", str(error)) from None
    return own.Timing(timing.period_ns, timing.deadline_ns, timing.dead_ns)


def _sbd_times(watchdog: int | None, msgwait: int | None) -> tuple[int, int]:
    from mpio.model.cluster import Sbd

    watchdog = watchdog or Sbd().watchdog
    return watchdog, msgwait or 2 * watchdog


async def _create(
    place: Place, kind: Holds, slots: int, timing: own.Timing, sbd_times: tuple[int, int], *, yes: bool, as_json: bool,
) -> None:
    from mpio.io.heartbeat_region import find, make

    made = _make_file(place, kind, slots)
    try:
        async with place.open() as blocks:
            sector = blocks.block_size
            layout = Layout(kind, sector, slots)
            layout.must_fit(blocks.size_bytes, place.name)
            if not yes:
                (await find(blocks)).must_be_free(place.name)
            header: own.Header | sbd.Header | None = None
            if kind is Holds.OWN:
                header = own.Header(secrets.token_bytes(16), timing, sector, slots)
            elif kind is Holds.SBD:
                watchdog, msgwait = sbd_times
                _warn_if_unsafe(watchdog, msgwait)
                header = sbd.Header(watchdog=watchdog, msgwait=msgwait, sector=sector, uuid=_uuid4(), slots=slots)
            await make(blocks, layout, header)
    except BaseException:
        if made and place.path is not None:
            with contextlib.suppress(OSError):
                place.path.unlink()
        raise
    record = describe(layout, header)
    if as_json:
        print(json.dumps({"version": 1, "device": place.name, "offset_bytes": place.offset, **record}))
    else:
        print(f"{place.name}: {format_size(layout.length)} of {kind.value} for {slots} nodes, {words(header)}")


def _warn_if_unsafe(watchdog: int, msgwait: int) -> None:
    """SBD itself takes any times, so this is no error."""
    from mpio.heartbeat.sbd import Settings
    from mpio.model.cluster import Sbd

    if cause := Settings(0, {0: "node"}, Sbd(watchdog=watchdog, msgwait=msgwait)).unsafe:
        print(f"mpio: these times are not safe: {cause}", file=sys.stderr)


def _make_file(place: Place, kind: Holds, slots: int) -> bool:
    """Make a file of the right size where there is none; True if it was made here. Never one of an iscsi:// URL."""
    if place.path is None or place.path.exists() or str(place.path).startswith("/dev/"):
        return False
    sector = place.block_size or 512
    try:
        fd = os.open(place.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            unit = max(sector, 4096)  # what direct I/O may need
            os.ftruncate(fd, -(-(place.offset + Layout(kind, unit, slots).length) // unit) * unit)
        finally:
            os.close(fd)
    except OSError as error:
        raise InputError(place.name, f"can't be made: {error.strerror}") from None
    return True


def _uuid4() -> bytes:
    import uuid

    return uuid.uuid4().bytes


def describe(layout: Layout, header: own.Header | sbd.Header | None) -> dict[str, object]:
    """A region for JSON."""
    record: dict[str, object] = {
        "personality": layout.holds.value, "sector_bytes": layout.sector, "slots": layout.slots,
        "length_bytes": layout.length,
    }
    if isinstance(header, own.Header):
        timing = header.timing
        record |= {
            "region": header.region.hex(), "period_ns": timing.period_ns, "deadline_ns": timing.deadline_ns,
            "dead_ns": timing.dead_ns,
        }
    elif header is not None:
        record |= {
            "region": header.uuid.hex(), "watchdog_s": header.watchdog, "allocate_s": header.allocate,
            "loop_s": header.loop, "msgwait_s": header.msgwait,
        }
    return record


def words(header: own.Header | sbd.Header | None) -> str:
    """A region's times for people."""
    if isinstance(header, own.Header):
        timing = header.timing
        return (
            f"a heartbeat every {format_duration(timing.period_ns)}, self-fence after "
            f"{format_duration(timing.deadline_ns)}, dead after {format_duration(timing.dead_ns)}"
        )
    if header is not None:
        return f"watchdog {header.watchdog} s, msgwait {header.msgwait} s, loop {header.loop} s"
    return "times as each node has them"
