"""`mpio target`: a software iSCSI target in the foreground until SIGTERM or SIGINT."""

import asyncio
import json
import platform
import re
import secrets
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from mpio.errors import InputError
from mpio.model.address import Portal
from mpio.proto.iscsi.chap import ChapConfig
from mpio.proto.iscsi.target_login import TargetParams
from mpio.target import faults
from mpio.target.node import Access, TargetNode
from mpio.target.reservation_record import ReservationKeeper
from mpio.target.state import derive_naa
from mpio.target.store import BlockStore, RamStore, StoreError
from mpio.units import parse_size

DEFAULT_NAME = "iqn.2026-01.dev.mpio:target"
_PLANTS = {"lost": faults.DroppedWrite, "stale": faults.StaleRead, "torn": faults.TornWrite}
_CHAP_FILE_MAX_BYTES = 4096


@click.command(short_help="Serve LUNs.")
@click.option("--portal", "portals", multiple=True, metavar="HOST[:PORT][,GROUP]", default=("127.0.0.1:3260",),
              show_default=True, help="Where to listen; port 0 picks a free one. GROUP is the portal group tag, "
              "1 if not given. May be repeated.")
@click.option("--name", default=DEFAULT_NAME, show_default=True, metavar="IQN", help="The target's iSCSI name.")
@click.option("--lun", "luns", multiple=True, required=True, metavar="N=ram:SIZE|N=file:PATH",
              help="A LUN in RAM, or on a file or block device. Add ',bs=4096' for the block size, ',ro' for "
              "read-only, ',size=1GiB' to make a sparse file of that size, ',thick' for no unmapping, ',removable' for "
              "a medium that can be ejected, ',wwid=6…' to name it. May be repeated.")
@click.option("--chap", type=click.Path(path_type=Path), metavar="FILE",
              help="Ask for CHAP: first line 'user secret'; a second one is the target's own, for mutual CHAP.")
@click.option("--allow", "initiators", multiple=True, metavar="IQN",
              help="Admit only these initiators. May be repeated.")
@click.option("--alua", type=click.Choice(("implicit", "explicit")), default="implicit", show_default=True,
              help="Whether initiators may change the states of portal groups (explicit).")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Keep persistent reservations there over restarts, for initiators that ask for it (APTPL).")
@click.option("--plant", metavar="lost:N|stale:N|torn:N",
              help="A fault for testing tests: one bad block around the N-th write to the first LUN.")
def command(
    portals: tuple[str, ...],
    name: str,
    luns: tuple[str, ...],
    chap: Path | None,
    initiators: tuple[str, ...],
    alua: str,
    state: Path | None,
    plant: str | None,
) -> None:
    """Serve LUNs over iSCSI, on loopback unless access is guarded, until SIGTERM.

    Prints one line, `ready {...}` with the portals as JSON, when it listens.
    """
    access = Access(
        initiators=frozenset(i.lower() for i in initiators) if initiators else None,
        chap=_read_chap(chap) if chap else None,
        discovery_chap=_read_chap(chap) if chap else None,
    )
    try:
        node = TargetNode(name, alias="mpio", access=access, explicit_alua=alua == "explicit")
    except ValueError as error:
        raise InputError("--name", str(error)) from None
    for index, text in enumerate(luns):
        _add_lun(node, text, plant if index == 0 else None, _keepers(state))
    asyncio.run(_serve(node, [_parse_portal(text) for text in portals]))


async def _serve(node: TargetNode, portals: list[tuple[Portal, int]]) -> None:
    from mpio.io.target_server import TargetServer, check_exposure

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = TargetServer(node, TargetParams(portal=Portal("127.0.0.1")), time.monotonic_ns)
    bound = []
    try:
        for portal, tpgt in portals:
            check_exposure(portal, guarded=node.access.is_guarded)
            actual = server.listen(portal, tpgt)
            node.add_portal(tpgt, actual)
            bound.append((actual, tpgt))
        ready = {
            "target": node.name,
            "portals": [{"host": p.host, "port": p.port, "tpgt": tpgt} for p, tpgt in bound],
            "luns": sorted(node.device.units),
        }
        print(f"ready {json.dumps(ready)}", flush=True)
        await stop.wait()
    finally:
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


def _add_lun(
    node: TargetNode, text: str, plant: str | None, keeper: Callable[[bytes], ReservationKeeper | None]
) -> None:
    number, equals, rest = text.partition("=")
    kind, colon, rest = rest.partition(":")
    what, *extras = rest.split(",")
    if not equals or not colon or not _is_number(number) or not what or kind not in ("ram", "file"):
        raise InputError("--lun", f"expected N=ram:SIZE or N=file:PATH, found {text!r}")
    options = dict(extra.partition("=")[::2] for extra in extras)
    unknown = set(options) - {"bs", "ro", "size", "wwid", "thick", "removable", "pbs"}
    if unknown:
        known = "bs=, pbs=, size=, wwid=, ro, thick or removable"
        raise InputError("--lun", f"expected {known} after the comma, found {min(unknown)!r}")
    block_size = options.get("bs", "512")
    if not _is_number(block_size):
        raise InputError("--lun", f"expected a block size of 512 or 4096 bytes, found {block_size!r}")
    physical = options.get("pbs", block_size)
    if not _is_number(physical):
        raise InputError("--lun", f"expected a physical block size in bytes, found {physical!r}")
    try:
        read_only = "ro" in options
        if kind == "ram":
            store: BlockStore = RamStore(parse_size(what))
            identity = secrets.token_hex(16)
        else:
            from mpio.io.file_store import FileStore

            size = parse_size(options["size"]) if "size" in options else None
            store = FileStore(Path(what), size_bytes=size, read_only=read_only)
            identity = f"{platform.node()}\0{Path(what).resolve()}"
        if plant is not None:
            store = _planted(store, plant)
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


def _planted(store: BlockStore, plant: str) -> BlockStore:
    kind, _, count = plant.partition(":")
    if kind not in _PLANTS or not _is_number(count):
        raise InputError("--plant", f"expected one of {', '.join(_PLANTS)} and the number of a write, found {plant!r}")
    return _PLANTS[kind](store, int(count))


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
