"""Where a heartbeat region is: the DEVICE argument of `mpio heartbeat`, and the options that go with it."""

import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from mpio.cli.options import SIZE, map_options, paths_from, settings_from
from mpio.errors import InputError
from mpio.events import Journal
from mpio.io.heartbeat_store import Blocks, FileBlocks, MapBlocks, Region
from mpio.model.address import Portal, TargetAddress
from mpio.model.settings import Settings, profile


@dataclass(frozen=True, slots=True)
class Place:
    """A region on a file or block device (`path`), or on a LUN (`paths`, with the map's settings)."""

    name: str
    offset: int
    block_size: int | None
    path: Path | None
    paths: tuple[TargetAddress, ...]
    settings: Settings

    @contextlib.asynccontextmanager
    async def open(self, *, read_only: bool = False, journal: Journal | None = None) -> AsyncIterator[Blocks]:
        """The blocks from the region's start to the end of the device; a map's events go to the journal.

        Raises MpioError.
        """
        if self.path is not None:
            file = FileBlocks(self.path, self.block_size, read_only=read_only)
            if not (file.direct or read_only):
                print(f"mpio: {self.name}: direct I/O can't be had here: only nodes on this machine see each other",
                      file=sys.stderr)
            try:
                yield self._from_offset(file)
            finally:
                await file.close()
            return
        from mpio.io.disk import open_map

        async with open_map(self.paths, self.settings, journal=journal) as disk:
            if self.block_size not in (None, disk.block_size):
                raise InputError("--block-size", f"the LUN has blocks of {disk.block_size} bytes")
            blocks = MapBlocks(disk)
            blocks.name = self.name
            try:
                yield self._from_offset(blocks)
            finally:
                await blocks.close()

    def _from_offset(self, blocks: Blocks) -> Blocks:
        return Region(blocks, self.offset) if self.offset else blocks


def place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """DEVICE, --region, --block-size, and what builds a map: handed on as one `place`."""

    def command(
        *, device: str, region: int, block_size: int | None, portals: tuple[Portal, ...], binds: tuple[str, ...],
        profile_name: str, overrides: tuple[tuple[str, object], ...], user: str | None, secret_file: Path | None,
        **others: Any,
    ) -> Any:
        settings = profile(profile_name)
        path, paths = None, []
        if device.startswith("iscsi://"):
            try:
                address = TargetAddress.parse(device)
            except ValueError as error:
                raise InputError("DEVICE", str(error)) from None
            settings = settings_from(settings, overrides, user, secret_file, address)
            paths = paths_from([address], portals, binds)
        else:
            if portals or binds:
                raise InputError("--portal" if portals else "--bind", "goes with an iscsi:// URL only")
            path = Path(device)
        name = str(paths[0]) if paths else device
        return function(place=Place(name, region, block_size, path, tuple(paths), settings), **others)

    decorators: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
        click.argument("device", metavar="DEVICE|FILE|URL"),
        click.option("--region", type=SIZE, default="0", show_default=True, metavar="OFFSET",
                     help="Where the region starts on it."),
        click.option("--block-size", type=click.Choice(["512", "1024", "2048", "4096"]),
                     callback=lambda _context, _option, value: value and int(value),
                     help="Bytes a slot takes; what the device has if not given, 512 for a file that takes any."),
        map_options,
    ]
    command.__doc__ = function.__doc__
    command.__name__ = function.__name__
    vars(command)["__click_params__"] = getattr(function, "__click_params__", [])
    decorated: Callable[..., Any] = command
    for decorator in reversed(decorators):
        decorated = decorator(decorated)
    return decorated
