"""`mpio target`: a software iSCSI target in the foreground until SIGTERM or SIGINT; `mpio target ctl` talks to it."""

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from mpio.errors import InputError
from mpio.model.address import Portal
from mpio.proto.iscsi.chap import ChapConfig
from mpio.target.configuration import Configuration, TargetSection
from mpio.target.limits import Limits, parse_limits
from mpio.target.node import Access, TargetNode
from mpio.target.reservation_record import ReservationKeeper
from mpio.target.state import derive_naa
from mpio.target.store import StoreError

DEFAULT_NAME = "iqn.2026-01.dev.mpio:target"
_CHAP_FILE_MAX_BYTES = 4096


class _Verb(click.Group):
    """Serves by itself; what it has under it is loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["ctl"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "ctl":
            return None
        from mpio.cli.target_ctl import command as ctl

        return ctl


@click.group(cls=_Verb, short_help="Serve LUNs.", invoke_without_command=True, subcommand_metavar="[ctl …]")
@click.option("--portal", "portals", multiple=True, metavar="HOST[:PORT][,GROUP]",
              help="Where to listen, 127.0.0.1:3260 if not given; port 0 picks a free one. GROUP is the portal group "
              "tag, 1 if not given. May be repeated.")
@click.option("--name", metavar="IQN", help=f"The target's iSCSI name, {DEFAULT_NAME} if not given.")
@click.option("--lun", "luns", multiple=True, metavar="N=STORE[,OPTION]…",
              help="A LUN in RAM (ram:SIZE), on a file or block device (file:PATH), behind an NBD server (its URI), or "
              "on one of these with what is written kept in RAM (cow:PATH, cow:URI). Add ',bs=4096' for the block "
              "size, ',ro' for read-only, ',size=1GiB' to make a sparse file of that size, ',direct' to go past the "
              "page cache, ',thick' for no unmapping, ',removable' for a medium that can be ejected, ',wwid=6…' for "
              "its name. May be repeated.")
@click.option("--chap", type=click.Path(path_type=Path), metavar="FILE",
              help="Ask for CHAP: first line 'user secret'; a second one is the target's own, for mutual CHAP.")
@click.option("--allow", "initiators", multiple=True, metavar="IQN",
              help="Admit only these initiators. May be repeated.")
@click.option("--limit", "limits", multiple=True, metavar="NAME=VALUE",
              help="How much initiators can take up: connections, sessions, sessions-per-initiator, tasks, pdu, write, "
              "gather, login-time. May be repeated.")
@click.option("--alua", type=click.Choice(("implicit", "explicit")),
              help="Whether initiators may change the states of portal groups (explicit); implicit if not given.")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Keep persistent reservations there over restarts, for initiators that ask for it (APTPL).")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE",
              help="Read all of this from a TOML file; what is given beside it comes on top.")
@click.option("--control", type=click.Path(path_type=Path), metavar="SOCKET",
              help="Take orders of `mpio target ctl` at this local socket.")
@click.option("--filter", "filters", multiple=True, metavar="'NAME KEY=VALUE …'",
              help="Misbehave, as docs/filters.md says: 'delay time=50ms opcode=write'. May be repeated.")
@click.option("--log", type=click.Path(path_type=Path), metavar="FILE",
              help="Write there what the filter log says, a JSON object a line.")
@click.option("--plant", metavar="lost:N|stale:N|torn:N",
              help="A fault for testing tests: one bad block around the N-th write to the first LUN.")
@click.pass_context
def command(
    context: click.Context,
    portals: tuple[str, ...],
    name: str | None,
    luns: tuple[str, ...],
    chap: Path | None,
    initiators: tuple[str, ...],
    limits: tuple[str, ...],
    alua: str | None,
    state: Path | None,
    config: Path | None,
    control: Path | None,
    filters: tuple[str, ...],
    log: Path | None,
    plant: str | None,
) -> None:
    """Serve LUNs over iSCSI, on loopback unless access is guarded, until SIGTERM.

    Prints one line, `ready {...}` with the portals as JSON, when it listens.
    """
    if context.invoked_subcommand is not None:
        return
    from mpio.cli.target_config import misbehave, read_config

    told = read_config(config) if config is not None else Configuration(TargetSection())
    file = told.target
    luns = (*told.luns, *luns)
    if not luns:
        raise click.UsageError("Missing option '--lun'.")
    secrets = chap or _path(file.chap)
    proof = _read_chap(secrets) if secrets else None
    own_proofs = {section.name.lower(): _read_chap(Path(section.chap)) for section in told.initiators if section.chap}
    named = (section.name for section in told.initiators)
    allowed = frozenset(name.lower() for name in (*(file.allow or ()), *named, *initiators))
    try:
        node = TargetNode(
            name or file.name or DEFAULT_NAME, alias="mpio", explicit_alua=(alua or file.alua) == "explicit",
            access=Access(initiators=allowed or None, chap=proof, chap_by_initiator=own_proofs, discovery_chap=proof),
            limits=_limits(limits, told.limits),
        )
    except ValueError as error:
        raise InputError("--name", str(error)) from None
    keepers = _keepers(state or _path(file.state))
    for text in luns:
        _add_lun(node, text, keepers)
    places = [_parse_portal(text) for text in (*told.portals, *portals) or ("127.0.0.1:3260",)]
    asyncio.run(_serve(
        node, places, lambda: misbehave(node, told, filters, plant), control or _path(file.control),
        log or _path(file.log),
    ))


def _limits(words: tuple[str, ...], told: Limits) -> Limits:
    try:
        return parse_limits(words, told)
    except ValueError as error:
        raise InputError("--limit", str(error)) from None


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


async def _serve(
    node: TargetNode, portals: list[tuple[Portal, int]], misbehave: Callable[[], None], control: Path | None,
    log: Path | None,
) -> None:
    """Serve until a signal comes. `misbehave` adds the filters, once there are the portal groups."""
    from mpio.cli.target_config import log_to
    from mpio.io.control_socket import ControlServer
    from mpio.io.filter_timer import FilterTimer
    from mpio.io.heap import keep_freed_memory
    from mpio.io.target_server import TargetServer, check_exposure
    from mpio.target.control import Control

    keep_freed_memory()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = TargetServer(
        node, node.limits.params(Portal("127.0.0.1")), time.monotonic_ns, connections_max=node.limits.connections
    )
    orders = ControlServer(Control(node, server).handle)
    timer = FilterTimer(node.filters, time.monotonic_ns)
    node.filters.on_log = log_to(log)
    bound = []
    try:
        for portal, tpgt in portals:
            check_exposure(portal, guarded=node.access.is_guarded)
            actual = server.listen(portal, tpgt)
            node.add_portal(tpgt, actual)
            bound.append((actual, tpgt))
        misbehave()
        if control is not None:
            await orders.listen(control)
        ready = {
            "target": node.name,
            "portals": [{"host": p.host, "port": p.port, "tpgt": tpgt} for p, tpgt in bound],
            "luns": sorted(node.device.units),
        }
        print(f"ready {json.dumps(ready)}", flush=True)
        await stop.wait()
    finally:
        orders.close()
        timer.close()
        server.close()
        for unit in node.device.units.values():
            unit.store.flush()
            unit.store.close()
    print("stopped", file=sys.stderr)


def _parse_portal(text: str) -> tuple[Portal, int]:
    address, comma, group = text.partition(",")
    try:
        host, colon, port = address.rpartition(":")
        # Port 0 is for listening only, so the address type does not know it
        portal = Portal(Portal.parse(f"{host}:1").host, 0) if colon and port == "0" else Portal.parse(address)
    except ValueError as error:
        raise InputError("--portal", str(error)) from None
    if comma and not (group.isascii() and group.isdigit() and 0 < int(group[:6]) < 65536):
        raise InputError("--portal", f"expected a portal group from 1 to 65535 after the comma, found {group!r}")
    return portal, int(group) if comma else 1


def _keepers(directory: Path | None) -> Callable[[bytes], ReservationKeeper | None]:
    """What keeps the reservations of a unit, by its NAA name."""
    if directory is None:
        return lambda _naa: None
    from mpio.io.reservation_file import ReservationFile

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("--state", f"can't make {directory}: {error.strerror}") from None
    return lambda naa: ReservationFile(directory / f"{naa.hex()}.json")


def _add_lun(node: TargetNode, text: str, keeper: Callable[[bytes], ReservationKeeper | None]) -> None:
    from mpio.io.stores import FORMS, OPTIONS, open_store

    number, equals, rest = text.partition("=")
    what, *extras = rest.split(",")
    if not equals or not _is_number(number):
        raise InputError("--lun", f"expected N={FORMS}; found {text!r}")
    options = dict(extra.partition("=")[::2] for extra in extras)
    unknown = set(options) - {"bs", "ro", "wwid", "thick", "removable", "pbs", *OPTIONS}
    if unknown:
        known = "bs=, pbs=, size=, wwid=, ro, thick, removable, direct or shared"
        raise InputError("--lun", f"expected {known} after the comma, found {min(unknown)!r}")
    block_size = options.get("bs", "512")
    if not _is_number(block_size):
        raise InputError("--lun", f"expected a block size of 512 or 4096 bytes, found {block_size!r}")
    physical = options.get("pbs", block_size)
    if not _is_number(physical):
        raise InputError("--lun", f"expected a physical block size in bytes, found {physical!r}")
    try:
        read_only = "ro" in options
        store, identity = open_store(what, options, block_size=int(block_size), read_only=read_only)
        # Two targets of one name are easily started; what differs must not look like one disk to an initiator
        naa = _parse_wwid(options["wwid"]) if "wwid" in options else derive_naa(node.name, int(number), identity)
        node.add_lun(
            int(number), store, block_size=int(block_size), naa=naa, read_only=read_only, thin="thick" not in options,
            removable="removable" in options, physical_block_size=int(physical), keeper=keeper(naa),
        )
    except (ValueError, OSError, StoreError) as error:
        raise InputError(f"--lun {text}", getattr(error, "strerror", None) or str(error)) from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _parse_wwid(text: str) -> bytes:
    """An NAA-6 name in hexadecimal, with or without the 3 that multipath puts before it."""
    digits = text[1:] if len(text) == 33 and text[0] == "3" else text
    if re.fullmatch("6[0-9a-fA-F]{31}", digits) is None:
        raise ValueError(f"expected a WWID of 32 hexadecimal digits that begins with 6, found {text[:40]!r}")
    return bytes.fromhex(digits)


def _read_chap(path: Path) -> ChapConfig:
    try:
        with path.open(encoding="utf-8") as file:
            lines = [line.split() for line in file.read(_CHAP_FILE_MAX_BYTES).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"can't read it: {getattr(error, 'strerror', None) or error}") from None
    if not 1 <= len(lines) <= 2 or any(len(words) != 2 for words in lines):
        raise InputError(str(path), "expected a line 'user secret', and for mutual CHAP a second one")
    (username, password), *mutual = lines
    try:
        return ChapConfig(username, password, *(mutual[0] if mutual else ()))
    except ValueError as error:
        raise InputError(str(path), str(error)) from None
