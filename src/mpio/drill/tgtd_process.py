"""tgtd, the Linux SCSI target framework's daemon, as the target of a drill: a target that somebody else wrote.

It is set up over its management socket, which TGT_IPC_SOCKET puts into a directory of its own, so that instances don't
meet and no root is needed. What it writes is in the page cache of a file, which survives its death.
"""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from mpio.drill.scenario import TargetSpec
from mpio.drill.target_process import IMAGE, LUN, TARGET_NAME, TargetProcess
from mpio.errors import ConnectFailed, InputError
from mpio.model.address import Portal

_LOOK_PAUSE_S = 0.02
_SBIN = "/usr/sbin:/sbin"  # where the programs are, and not everybody's PATH points


def find_program(name: str) -> str:
    """The path of tgtd or tgtadm. Raises InputError if it is not installed."""
    found = shutil.which(name) or shutil.which(name, path=_SBIN)
    if found is None:
        raise InputError("[target] program", f"{name} is not installed; its package is tgt, or scsi-target-utils")
    return found


def tgtd_environment(directory: Path) -> dict[str, str]:
    """The environment of tgtd and tgtadm for a management socket in a directory of a short name (sun_path)."""
    return {**os.environ, "TGT_IPC_SOCKET": str(directory / "socket")}


def tgtd_command(portal: Portal) -> list[str]:
    """The daemon in the foreground. It takes one portal here; a further `portal=` would replace the first."""
    return [find_program("tgtd"), "-f", "-C", "0", "--iscsi", f"portal={portal}"]


def portal_orders(portals: Sequence[Portal]) -> list[list[str]]:
    """Arguments of tgtadm that make it listen on further portals, all in portal group 1."""
    return [["--mode", "portal", "--op", "new", "--param", f"portal={portal}"] for portal in portals]


def target_orders(tid: int, name: str, images: Mapping[int, Path], block_size: int) -> list[list[str]]:
    """Arguments of tgtadm, one list a call, for a target with these LUNs that discards what it is told to discard."""
    target = ["--op", "new", "--mode", "target", "--tid", str(tid), "--targetname", name]
    orders = [target]
    for lun, image in images.items():
        unit = ["--mode", "logicalunit", "--tid", str(tid), "--lun", str(lun)]
        orders += [
            [*unit, "--op", "new", "--backing-store", str(image), "--blocksize", str(block_size)],
            [*unit, "--op", "update", "--params", "thin_provisioning=1"],
        ]
    return [*orders, ["--mode", "target", "--op", "bind", "--tid", str(tid), "--initiator-address", "ALL"]]


def tgtadm_command(order: Sequence[str]) -> list[str]:
    """The command line that gives an order to the daemon of the same environment."""
    return [find_program("tgtadm"), "-C", "0", "--lld", "iscsi", *order]


def free_portals(count: int) -> list[Portal]:
    """Loopback portals that nobody listens on at present; tgtd can't choose them itself."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [Portal("127.0.0.1", sock.getsockname()[1]) for sock in sockets]


class TgtdProcess(TargetProcess):
    """tgtd with one file-backed LUN on its portals, which are of one portal group, until `close`."""

    def __init__(self, spec: TargetSpec, directory: Path, portals: Sequence[Portal] = (),
                 prefix: Sequence[str] = ()) -> None:
        super().__init__(spec, directory, portals or free_portals(spec.portals), prefix)
        self._management: tempfile.TemporaryDirectory[str] | None = None

    async def start(self) -> None:
        """Start it and set it up. Raises InputError if it is not installed, ConnectFailed with what it said."""
        find_program("tgtadm")
        image = self._directory / IMAGE
        if "," in str(image):
            raise InputError(str(image), "tgtd takes no path with commas")
        with image.open("ab") as file:
            file.truncate(self._spec.size)
        if self._management is None:
            self._management = tempfile.TemporaryDirectory(prefix="mpio-tgtd-")
        await super().start()

    async def close(self) -> None:
        """End it. Asked gently, tgtd stays as long as it has targets."""
        if self._process is not None and self._process.returncode is None:
            await self.signal("KILL")
        await super().close()
        if self._management is not None:
            self._management.cleanup()
            self._management = None

    def _command(self) -> list[str]:
        return tgtd_command(self.portals[0])

    def _environment(self) -> dict[str, str]:
        assert self._management is not None
        return tgtd_environment(Path(self._management.name))

    async def _ready(self) -> list[Portal]:
        assert self._process is not None
        show = ["--mode", "portal", "--op", "show"]
        while self._process.returncode is None and not await self._order(show, must=False):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_PAUSE_S)
        images = {LUN: self._directory / IMAGE}
        for order in (*portal_orders(self.portals[1:]), *target_orders(1, TARGET_NAME, images, self._spec.block_size)):
            await self._order(order)
        listening = await self._order(show)
        if any(f"Portal: {portal}," not in listening for portal in self.portals):  # it only logs that a port is taken
            raise ConnectFailed("tgtd does not listen on all of its portals")
        return self.portals

    async def _order(self, order: Sequence[str], *, must: bool = True) -> str:
        """What tgtadm prints; nothing if it failed and that is no error. Raises ConnectFailed."""
        adm = await asyncio.create_subprocess_exec(
            *tgtadm_command(order), env=self._environment(), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        output, _ = await adm.communicate()
        text = output.decode(errors="replace").strip()
        if adm.returncode == 0:
            return text
        if must:
            raise ConnectFailed(f"tgtadm {' '.join(order)}: {text[:200]}")
        return ""
