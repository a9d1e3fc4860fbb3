"""`mpio target ctl`: asks a running target for its sessions, tasks and filters, and changes it."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mpio.units import NS_PER_S, format_duration, format_size


def parse_filter(words: Sequence[str]) -> dict[str, object]:
    """`NAME KEY=VALUE …` as a table. Raises ValueError."""
    if not words:
        raise ValueError("expected the name of a filter")
    table: dict[str, object] = {"name": words[0]}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals or not key or key == "name":
            raise ValueError(f"expected KEY=VALUE, found {word[:60]!r}")
        table[key] = value
    return table


@click.group(short_help="Ask and change a running target.")
@click.option("--socket", "path", type=click.Path(path_type=Path), required=True, envvar="MPIO_TARGET_SOCKET",
              metavar="SOCKET", help="Where the target listens: its --control. Or set MPIO_TARGET_SOCKET.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(context: click.Context, path: Path, as_json: bool) -> None:
    """Ask a running target what there is, and change it, through its control socket."""

    def run(**request: Any) -> None:
        from mpio.io.control_socket import ask

        result = asyncio.run(ask(path, request))
        if as_json:
            print(json.dumps({"version": 1, "result": result}))
        else:
            _show(result)

    context.obj = run


Run = Callable[..., None]


def _show(result: Any) -> None:
    """A table, one object a line, or nothing."""
    if isinstance(result, str):
        print(result)
    elif isinstance(result, list):
        for row in result:
            print("  ".join(_pair(key, value) for key, value in row.items()))


def _pair(key: str, value: Any) -> str:
    """A field, with its unit in words."""
    if isinstance(value, int) and key == "t_ns":
        return f"t={value / NS_PER_S:.6f}"
    if isinstance(value, int) and key.endswith("_ns"):
        return f"{key.removesuffix('_ns')}={format_duration(value).replace(' ', '')}"
    if isinstance(value, int) and key.endswith("_bytes"):
        return f"{key.removesuffix('_bytes')}={format_size(value).replace(' ', '')}"
    return f"{key}={_word(value)}"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join("-".join(map(str, item)) if isinstance(item, list) else str(item) for item in value) or "-"
    if isinstance(value, Mapping):
        return json.dumps(value)
    text = "-" if value is None else str(value)
    return json.dumps(text) if " " in text else text


def _question(name: str, help_: str) -> None:
    @command.command(name, help=help_, short_help=help_)
    @click.pass_obj
    def ask_it(run: Run) -> None:
        run(do=name)


for _name, _help in (
    ("sessions", "List the sessions."), ("tasks", "List the commands that wait for their answers."),
    ("luns", "List the logical units."), ("groups", "List the portal groups and their ALUA states."),
    ("portals", "List the portals."), ("filters", "List the filters and what they have struck."),
    ("log", "Print what the filter log wrote last."),
):
    _question(_name, _help)


@command.command()
@click.argument("name")
@click.argument("parameters", nargs=-1, metavar="[KEY=VALUE]…")
@click.pass_obj
def add(run: Run, name: str, parameters: tuple[str, ...]) -> None:
    """Add a filter, as docs/filters.md says: `add delay time=50ms opcode=write`. Prints its id."""
    try:
        table = parse_filter((name, *parameters))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    run(do="add", **table)


@command.command()
@click.argument("id_", metavar="ID")
@click.pass_obj
def remove(run: Run, id_: str) -> None:
    """Remove a filter; what it holds back goes on."""
    run(do="remove", id=id_)


@command.command()
@click.argument("group", type=int)
@click.argument("state")
@click.option("--preferred/--not-preferred", default=None, help="Set or clear the PREF bit.")
@click.pass_obj
def alua(run: Run, group: int, state: str, preferred: bool | None) -> None:
    """Set the ALUA state of a portal group: optimized, non-optimized, standby, unavailable, offline, transitioning."""
    run(do="alua", group=group, state=state, **({} if preferred is None else {"preferred": preferred}))


@command.command()
@click.argument("lun", type=int)
@click.argument("size")
@click.pass_obj
def grow(run: Run, lun: int, size: str) -> None:
    """Make a LUN larger; initiators are told."""
    run(do="grow", lun=lun, size=size)


@command.command()
@click.argument("portal", metavar="HOST:PORT")
@click.pass_obj
def offline(run: Run, portal: str) -> None:
    """Close a portal, and the connections that came in there."""
    run(do="offline", portal=portal)


@command.command()
@click.argument("portal", metavar="HOST:PORT")
@click.pass_obj
def online(run: Run, portal: str) -> None:
    """Open a portal again."""
    run(do="online", portal=portal)


@command.command()
@click.argument("portal", metavar="HOST:PORT")
@click.argument("to", metavar="[TO]", required=False)
@click.option("--permanently", is_flag=True, help="Say that it has moved for good (status 0102, not 0101).")
@click.pass_obj
def redirect(run: Run, portal: str, to: str | None, permanently: bool) -> None:
    """Send initiators that log in at a portal to TO, another HOST:PORT; without TO, do so no longer."""
    run(do="redirect", portal=portal, **({} if to is None else {"to": to, "permanently": permanently}))


@command.command()
@click.argument("tsih", type=int)
@click.pass_obj
def kick(run: Run, tsih: int) -> None:
    """Drop the connection of a session."""
    run(do="kick", tsih=tsih)


@command.command()
@click.argument("tsih", type=int)
@click.option("--within", default="5s", show_default=True, help="How long the initiator has.")
@click.pass_obj
def logout(run: Run, tsih: int, within: str) -> None:
    """Ask the initiator of a session to log out."""
    run(do="logout", tsih=tsih, within=within)
