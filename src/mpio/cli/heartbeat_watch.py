"""`mpio heartbeat watch`: looks at a region as long as it runs, and says when a margin gets small."""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import click

from mpio.cli.heartbeat_place import Place, place_options
from mpio.cli.heartbeat_status import period_of
from mpio.cli.options import DURATION
from mpio.heartbeat.alarm import Alarms, Level, Note, Tally
from mpio.heartbeat.bystander import Bystander
from mpio.heartbeat.formats import own
from mpio.units import NS_PER_S, format_duration

LOOKS_PER_PERIOD = 4
READ_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a watch has seen until its end."""

    tallies: Mapping[int, Tally]
    warnings: int
    watched_ns: int


@click.command(short_help="Log margins that get small.")
@place_options
@click.option("--percent", type=click.FloatRange(1, 99), default=50, show_default=True,
              help="Warn when so much of a node's time to its self-fence is gone.")
@click.option("--interval", "interval_ns", type=DURATION, metavar="TIME",
              help="From look to look; a quarter of the heartbeat period if not given.")
@click.option("--for", "for_ns", type=DURATION, metavar="TIME", help="End after so long; else at SIGTERM or SIGINT.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
def command(place: Place, percent: float, interval_ns: int | None, for_ns: int | None, as_json: bool) -> int:
    """Watch every node's heartbeat on DEVICE, and say so before a node runs out of time, as o2hbmonitor does.

    Warns at --percent, at each further tenth, and tells how long the pause was when the node goes on. At the end, the
    longest pause and the least margin of every node. Nothing is written. Exit code 1 means that there was a warning.
    """
    seen = asyncio.run(_watch(place, percent, interval_ns, for_ns, as_json=as_json))
    if as_json:
        print(json.dumps(_summary(seen)), flush=True)
    else:
        _print_summary(seen)
    return 1 if seen.warnings else 0


async def _watch(
    place: Place, percent: float, interval_ns: int | None, for_ns: int | None, *, as_json: bool
) -> Seen:
    from mpio.io.heartbeat_region import find_region, read_slots

    ending = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, ending.set)
    alarms, warnings = Alarms(percent), 0
    async with place.open(read_only=True) as blocks:
        header, layout = await find_region(blocks, place.name)
        interval_ns = interval_ns or period_of(header) // LOOKS_PER_PERIOD
        bystander = Bystander(layout, interval_ns, header.region if isinstance(header, own.Header) else b"")
        begin = time.monotonic_ns()
        while not ending.is_set() and (for_ns is None or time.monotonic_ns() - begin < for_ns):
            issued = time.monotonic_ns()
            changes = bystander.see(await read_slots(blocks, layout, READ_TIMEOUT_S), issued)
            notes = alarms.look(bystander.views(issued), changes)
            warnings += sum(note.level is Level.WARNING for note in notes)
            names = alarms.tallies()
            for note in notes:
                _say(place, note, names, as_json=as_json)
            with contextlib.suppress(TimeoutError):
                left_ns = issued + interval_ns - time.monotonic_ns()
                async with asyncio.timeout(max(left_ns, 0) / NS_PER_S):
                    await ending.wait()
        return Seen(alarms.tallies(), warnings, time.monotonic_ns() - begin)


def _say(place: Place, note: Note, tallies: Mapping[int, Tally], *, as_json: bool) -> None:
    name = tallies[note.node].name if note.node in tallies else ""
    when = datetime.now().astimezone()
    if as_json:
        print(json.dumps({
            "version": 1, "time": when.isoformat(timespec="milliseconds"), "device": place.name,
            "level": note.level.value, "node": note.node, "name": name, "what": note.words, "age_ns": note.age_ns,
            "margin_ns": note.margin_ns, "percent": note.percent,
        }), flush=True)
    else:
        who = f"node {note.node}" + (f" ({name})" if name else "")
        mark = "warning: " if note.level is Level.WARNING else ""
        print(f"{when:%Y-%m-%d %H:%M:%S} {mark}{place.name}: {who}: {note.words}", flush=True)


def _print_summary(seen: Seen) -> None:
    print(f"watched for {format_duration(seen.watched_ns)}, {seen.warnings} warnings")
    for number, tally in seen.tallies.items():
        if tally.heartbeats:
            margin = "" if tally.least_margin_ns is None else f", least margin {format_duration(tally.least_margin_ns)}"
            print(f"  node {number}{' ' + tally.name if tally.name else ''}: {tally.heartbeats} heartbeats, "
                  f"longest pause {format_duration(tally.longest_ns)}{margin}")


def _summary(seen: Seen) -> dict[str, object]:
    return {
        "version": 1, "watched_ns": seen.watched_ns, "warnings": seen.warnings,
        "nodes": [
            {
                "node": number, "name": tally.name, "heartbeats": tally.heartbeats, "longest_ns": tally.longest_ns,
                "least_margin_ns": tally.least_margin_ns,
            }
            for number, tally in seen.tallies.items()
        ],
    }
