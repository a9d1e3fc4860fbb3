"""`mpio heartbeat measure`: how long heartbeats take here, and what thresholds that carries."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mpio.cli.heartbeat_place import Place, place_options
from mpio.cli.options import DURATION, SIZE
from mpio.errors import InputError
from mpio.units import NS_PER_S, parse_size

if TYPE_CHECKING:
    from mpio.cli.heartbeat_measure_ground import Wish

PERSONALITIES = ("all", "own", "o2cb", "sbd", "sanlock")


def _area(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    offset, colon, length = text.partition(":")
    if not colon:
        raise click.BadParameter(f"expected OFFSET:LENGTH such as 1GiB:64MiB, found {text[:60]!r}")
    try:
        return parse_size(offset), parse_size(length)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(short_help="Measure heartbeats, and recommend thresholds.")
@place_options
@click.option("--duration", "duration_ns", type=DURATION, default="60s", show_default=True,
              help="How long; a forecast for years should rest on 100,000 heartbeats.")
@click.option("--interval", "interval_ns", type=DURATION, default="100ms", show_default=True,
              help="From one heartbeat to the next; closer than in a cluster, to see more of them.")
@click.option("--personality", type=click.Choice(PERSONALITIES), default="all", show_default=True,
              help="Whose requests to make, and whose thresholds to recommend.")
@click.option("--nodes", type=click.IntRange(2, 255), default=16, show_default=True,
              help="Slots that a heartbeat reads.")
@click.option("--read-only", is_flag=True, help="Time reads alone, and write nothing.")
@click.option("--load", type=click.Choice(["read", "write", "mixed"]), help="Make such a load beside it.")
@click.option("--load-depth", type=click.IntRange(1, 256), default=16, show_default=True,
              help="Requests of the load that are out at a time.")
@click.option("--load-request", "load_bytes", type=SIZE, default="64KiB", show_default=True, help="Bytes of each.")
@click.option("--load-area", callback=_area, metavar="OFFSET:LENGTH",
              help="Where the load is made; 64 MiB of a scratch file, for reads all of a device. What it writes there "
                   "stays, and needs --yes.")
@click.option("--stall", "stall_ns", type=DURATION, metavar="TIME",
              help="The longest stall of a failover, as mpio plan computes it for this host.")
@click.option("--drill", "drills", type=click.Path(path_type=Path), multiple=True, metavar="DIR",
              help="Run directory of a drill on this storage, or a directory of them: its stalls count. May be "
                   "repeated.")
@click.option("--present", multiple=True, metavar="NAME=VALUE",
              help="A setting in force, such as o2cb.heartbeat_threshold=31: judge it too. May be repeated.")
@click.option("--node-years", type=click.FloatRange(0.01, 1e6), default=10, show_default=True,
              help="How far to look ahead: one heartbeat in so many node-years may take longer than reckoned with.")
@click.option("--runs", type=click.IntRange(0, 1_000_000), default=10_000, show_default=True,
              help="Simulated failovers in which each recommended threshold is tried.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the load and of the simulated failovers.")
@click.option("--yes", is_flag=True, help="One sector on DEVICE may be written, and is put back at the end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(place: Place, **options: Any) -> int:
    """Measure how long heartbeats take on DEVICE, and recommend thresholds for OCFS2, SBD, sanlock and mpio.

    A FILE that is not there, or a directory, gets a scratch file that is gone at the end. Of a device, a LUN or a file
    that is there, one sector at the end of the region's slots is written (--region, --yes) and put back.

    The recommended threshold is the least that carries the stall of a failover (--stall, --drill, or the planner's
    bound for the settings of a URL's map) on top of the latency that is measured; each is tried in simulated failovers.
    """
    from mpio.cli.heartbeat_measuring import measure_and_advise

    context = click.get_current_context()
    source = context.get_parameter_source("region")
    placed = source is not None and source is not click.core.ParameterSource.DEFAULT
    wish = _wish(placed, options)
    found = asyncio.run(measure_and_advise(place, wish))
    if options["as_json"]:
        print(json.dumps(found.as_json()))
    else:
        from rich.console import Console

        from mpio.report.heartbeat_measured import print_findings

        print_findings(found, Console(highlight=False))
    return 1 if found.is_bad else 0


def _wish(placed: bool, options: dict[str, Any]) -> "Wish":
    from mpio.cli.heartbeat_measure_ground import Wish

    if options["duration_ns"] < NS_PER_S:
        raise InputError("--duration", "expected at least 1s")
    if options["interval_ns"] < 1_000_000:
        raise InputError("--interval", "expected at least 1ms")
    if options["load"] is None and options["load_area"] is not None:
        raise InputError("--load-area", "goes with --load")
    if options["read_only"] and options["load"] in ("write", "mixed"):
        raise InputError("--load", f"{options['load']} writes, and --read-only was asked for")
    names = ("as_json",)
    return Wish(placed=placed, **{name: value for name, value in options.items() if name not in names})
