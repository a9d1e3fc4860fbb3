"""`mpio bench`: load on a map, and what it cost."""

import asyncio
import json
import sys
from pathlib import Path

import click

from mpio.cli.options import ADDRESS, DURATION, SIZE, map_options, paths_from, settings_from
from mpio.errors import InputError
from mpio.model.address import Portal, TargetAddress
from mpio.model.settings import Settings, profile
from mpio.units import NS_PER_S, format_duration, format_size, to_seconds


@click.command(short_help="Measure a map.")
@click.argument("urls", type=ADDRESS, nargs=-1, required=True, metavar="URL...")
@map_options
@click.option("--read", "mode", flag_value="read", default="read", help="Reads only (the default).")
@click.option("--write", "mode", flag_value="write", help="Writes only. Overwrites the LUN; needs --yes.")
@click.option("--mixed", "mode", flag_value="mixed", help="Half reads, half writes. Overwrites; needs --yes.")
@click.option("--sequential/--random", default=False, help="Order of the offsets; random by default.")
@click.option("--block-size", type=SIZE, default="4KiB", show_default=True, help="Bytes a request.")
@click.option("--queue-depth", type=click.IntRange(1, 4096), default=32, show_default=True,
              help="Requests under way at a time.")
@click.option("--seconds", "duration_ns", type=DURATION, default="5", show_default=True, help="How long to measure.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the offsets and the mix.")
@click.option("--yes", is_flag=True, help="Allow writes: what is on the LUN will be lost.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    urls: tuple[TargetAddress, ...],
    portals: tuple[Portal, ...],
    binds: tuple[str, ...],
    profile_name: str,
    overrides: tuple[tuple[str, object], ...],
    user: str | None,
    secret_file: Path | None,
    mode: str,
    sequential: bool,
    block_size: int,
    queue_depth: int,
    duration_ns: int,
    seed: int,
    yes: bool,
    as_json: bool,
) -> int:
    """Run a load on the LUN at URL, through one path for each URL and --portal, and print what was measured.

    CPU per I/O is that of this process, user and system, which holds the whole initiator and multipath map.
    """
    if mode != "read" and not yes:
        raise InputError(f"--{mode}", "overwrites what is on the LUN; say --yes if that is meant")
    settings = settings_from(profile(profile_name), overrides, user, secret_file)
    if "queue_depth" not in dict(overrides):
        settings = settings.replace(queue_depth=queue_depth, cmds_max=max(settings.cmds_max, queue_depth))
    paths = paths_from(urls, portals, binds)
    record = asyncio.run(_run(paths, settings, mode, sequential, block_size, queue_depth, duration_ns, seed))
    if as_json:
        print(json.dumps(record))
    else:
        _print(record)
    return 1 if record["errors"] else 0


async def _run(
    paths: list[TargetAddress],
    settings: Settings,
    mode: str,
    sequential: bool,
    block_size: int,
    queue_depth: int,
    duration_ns: int,
    seed: int,
) -> dict[str, object]:
    from mpio.io.benchmark import Load, run_load
    from mpio.io.disk import open_map
    from mpio.io.heap import keep_freed_memory

    keep_freed_memory()
    load = Load(
        block_bytes=block_size,
        queue_depth=queue_depth,
        duration_ns=duration_ns,
        warm_up_ns=min(NS_PER_S // 2, duration_ns // 4),
        read_fraction={"read": 1.0, "write": 0.0, "mixed": 0.5}[mode],
        pattern="sequential" if sequential else "random",
        seed=seed,
    )
    async with open_map(paths, settings) as disk:
        down = [path for path in disk.status().paths if not path.connected]
        for path in down:
            print(f"mpio: without path {path.path_id}, {path.name}: {path.cause}", file=sys.stderr)
        result = await run_load(disk, load)
        paths_used = len(paths) - len(down)
    return {
        "version": 1,
        "mode": mode,
        "pattern": load.pattern,
        "block_size": block_size,
        "queue_depth": queue_depth,
        "paths": paths_used,
        "seconds": to_seconds(result.elapsed_ns),
        "ios": result.ios,
        "errors": result.errors,
        "first_error": result.first_error,
        "iops": result.iops,
        "mb_per_s": result.mb_per_s,
        "cpu_us_per_io": result.cpu_us_per_io,
        "latency_us": {name: value / 1000 for name, value in result.latency_ns.items()},
    }


def _print(record: dict[str, object]) -> None:
    latency = record["latency_us"]
    assert isinstance(latency, dict)
    print(
        f"{record['mode']} {record['pattern']}, {format_size(int(str(record['block_size'])))} x depth "
        f"{record['queue_depth']}, {record['paths']} path(s), {record['seconds']:.2f} s"
    )
    print(
        f"  {record['iops']:,.0f} IOPS   {record['mb_per_s']:,.1f} MB/s   "
        f"{record['cpu_us_per_io']:.1f} µs CPU per I/O"
    )
    print("  latency  " + "  ".join(f"{name} {format_duration(round(v * 1000))}" for name, v in latency.items()))
    if record["errors"]:
        print(f"  {record['errors']} requests failed; the first: {record['first_error']}")
