"""`mpio plan`: one consistent set of timers from goals, or what existing settings imply."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mpio.cli.options import DURATION
from mpio.errors import InputError
from mpio.planner.cluster import KINDS

if TYPE_CHECKING:
    from mpio.cli.plan_answer import Answer

EXIT_CODES = {"ok": 0, "findings": 1}


@click.command(short_help="Compute one consistent set of timers.")
@click.option("--max-stall", type=DURATION, help="No path failure may stall I/O for longer, such as 20s.")
@click.option("--ride-out", type=DURATION,
              help="All paths may be gone for so long before I/O fails or a node is fenced.")
@click.option("--takeover", type=DURATION, help="A dead node must be known to be dead after so long.")
@click.option("--cluster", type=click.Choice(tuple(KINDS)),
              help="What runs above the storage. With --from: what the files say.")
@click.option("--nodes", type=click.IntRange(1, 255), default=2, show_default=True, help="Nodes of the cluster.")
@click.option("--paths", type=click.IntRange(1, 64), default=2, show_default=True, help="Paths to each LUN.")
@click.option("--serial-failures", is_flag=True, help="All paths but one may fail one after another.")
@click.option("--holds-host", is_flag=True, help="Root, swap or logs of the hosts are on this storage too.")
@click.option("--hung-lun", is_flag=True, help="A LUN that hangs behind a live target counts as a path failure.")
@click.option("--io-latency-max", type=DURATION, default="0s",
              help="The longest silence of a target that is well: a controller's failover, for example.")
@click.option("--target-nopin-interval", type=DURATION, default="15s", show_default=True,
              help="Between the target's own pings; 0 if it never pings.")
@click.option("--target-nopin-response", type=DURATION, default="30s", show_default=True,
              help="Until the target drops an initiator that does not answer.")
@click.option("--set", "fixed", multiple=True, metavar="KEY=VALUE",
              help="A setting that stays as it is, by its name or its file's key. May be repeated.")
@click.option("--from", "places", multiple=True, type=click.Path(path_type=Path), metavar="DIR|FILE",
              help="Configuration that is there: a root or etc directory, or single files. May be repeated.")
@click.option("--device", metavar="VENDOR:PRODUCT",
              help="The array, as in /sys/block/sdX/device: multipathd has built-in values for many.")
@click.option("--map", "map_name", metavar="WWID|ALIAS", help="The map, if multipath.conf has a section for it.")
@click.option("--distribution", metavar="NAME", help="debian, rhel, sles …: whose packages ship other defaults.")
@click.option("--kernel", metavar="VERSION", default="6.1", show_default=True, help="Linux version of the hosts.")
@click.option("--multipath-tools", metavar="VERSION", default="0.9.4", show_default=True, help="Its version there.")
@click.option("--hz", type=click.IntRange(24, 1200), default=250, show_default=True, help="CONFIG_HZ of the hosts.")
@click.option("--write", "write_to", type=click.Path(path_type=Path), metavar="DIR",
              help="Write the files that bring the settings into force into this new directory.")
@click.option("--diff", "as_diff", is_flag=True, help="Print the changes of files as a patch instead.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the answer as one HTML page.")
@click.option("--explain", metavar="KEY", help="Explain a setting, and end.")
@click.option("--full", is_flag=True, help="Print every sum, source and rule of thumb.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    explain: str | None, places: tuple[Path, ...], write_to: Path | None, as_diff: bool, html: Path | None,
    full: bool, as_json: bool, **options: object,
) -> int:
    """Compute one consistent set of timers for iscsid, SCSI, multipath and the cluster above, with the arithmetic.

    With goals (--max-stall, --ride-out, --takeover, --cluster) it answers which settings meet them, or which goals
    can't hold together. With --from, or with --set alone, it answers what these settings imply, what would fence, and
    the nearest safe change. It changes nothing on this host: --write puts files into a directory of their own.
    """
    if explain is not None:
        print(_explained(explain))
        return 0
    found = _answer(places, options)
    if write_to is not None:
        _write(found, write_to)
    if html is not None:
        _write_html(found, html)
    _print(found, as_json=as_json, as_diff=as_diff, full=full, written=write_to)
    return EXIT_CODES[found.sheet.verdict]


def _answer(places: Sequence[Path], options: Mapping[str, Any]) -> "Answer":
    """Files, or settings without a goal, are assessed; goals are solved for."""
    from mpio.cli.plan_goals import fixed_from, plan_for

    fixed = fixed_from(options["fixed"])
    if places or (fixed and not any(options[name] for name in ("max_stall", "ride_out", "takeover"))):
        from mpio.cli.plan_host import assess_host

        return assess_host(places, options, fixed)
    for name in ("device", "map_name", "distribution"):
        if options[name] is not None:
            raise InputError(f"--{name.partition('_')[0]}", "is about files that are there: give them with --from")
    return plan_for(options, fixed)


def _explained(key: str) -> str:
    from mpio.config.explain import explain

    return explain(key)


def _write(found: "Answer", directory: Path) -> None:
    from mpio.io.config_dir import write_directory

    files: Mapping[str, bytes] = {item.path: item.data for item in found.files}
    if not files:
        raise InputError("--write", "there is nothing to write: no setting has to change")
    scripts: Sequence[str] = [item.path for item in found.files if item.executable]
    write_directory(directory, {**files, "README.txt": found.read_me().encode()}, scripts)


def _write_html(found: "Answer", path: Path) -> None:
    from mpio.report.plan_html import render_plan

    try:
        path.write_text(render_plan(found.sheet), encoding="utf-8", errors="replace")
    except (OSError, ValueError) as error:
        raise InputError(str(path), f"can't be written: {getattr(error, 'strerror', None) or error}") from None


def _print(found: "Answer", *, as_json: bool, as_diff: bool, full: bool, written: Path | None) -> None:
    import sys

    from rich.console import Console

    from mpio.report.plan_text import print_sheet

    if as_json:
        files = [{"path": item.path, "about": item.about, "edit_of": item.before.file if item.before else None}
                 for item in found.files]
        diff = {"diff": found.diff()} if as_diff else {}
        print(json.dumps(found.sheet.as_json() | {"files": files} | diff))
    elif as_diff:
        sys.stdout.flush()
        sys.stdout.buffer.write(found.diff().encode("utf-8", "surrogateescape"))  # as the files are, UTF-8 or not
    else:
        print_sheet(found.sheet, Console(highlight=False), full=full)
    if written is not None:
        print(f"mpio: wrote {len(found.files)} files to {written}; read {written / 'README.txt'}", file=sys.stderr)
