"""A fabric of network namespaces: real interfaces, routes and packet filters to cut. Needs root.

Two namespaces of our own, the initiator's and the target's, joined by one veth pair per path; nothing of the host's
own network is touched, and nothing outside can be reached from inside. The target is started with
`target_command_prefix`; the thread that makes the initiator's sockets enters `initiator_entered()`.

    initiator namespace   path0 10.193.0.1/30 ═══ path0 10.193.0.2/30   target namespace
                          path1 10.193.1.1/30 ═══ path1 10.193.1.2/30
"""

import asyncio
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from mpio.drill.fabric import Fault, require_supported
from mpio.errors import FabricError, InputError
from mpio.host import netns
from mpio.host.undo import STATE_DIR, SUFFIX, UndoLog, cleanup_leftovers
from mpio.model.address import DEFAULT_PORT, Portal

PATHS_MAX = 64
_NETWORK = "10.193"  # any will do: the namespaces are joined to nothing else
_REVERSE_PATH_FILTERS = [Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter") for name in ("all", "default")]


@dataclass(frozen=True, slots=True)
class _Change:
    """A command, and the one that undoes it."""

    do: list[str]
    undo: list[str]


class NamespaceFabric:
    """Two namespaces and one veth pair per path."""

    supported = frozenset({"blackhole", "drop", "link_down", "reject"})

    def __init__(self, paths: int, port: int = DEFAULT_PORT, state_dir: Path = STATE_DIR) -> None:
        """`state_dir`: where the undo file is kept while the fabric is up."""
        if not 1 <= paths <= PATHS_MAX:
            raise InputError("paths", f"expected 1 to {PATHS_MAX}, found {paths}")
        tag = f"{os.getpid()}-{secrets.token_hex(3)}"
        self.initiator_namespace, self.target_namespace = f"mpio-{tag}-i", f"mpio-{tag}-t"
        self.portals = [Portal(f"{_NETWORK}.{path}.2", port) for path in range(paths)]
        self._initiator_addresses = [f"{_NETWORK}.{path}.1" for path in range(paths)]
        self._undo_path = state_dir / f"{tag}{SUFFIX}"
        self._undo: UndoLog | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._in_force: dict[int, tuple[Fault, list[tuple[int, _Change]]]] = {}

    @property
    def target_addresses(self) -> list[Portal]:
        """Where the target is to listen, one portal per path; known before the fabric is entered."""
        return self.portals

    @property
    def target_command_prefix(self) -> list[str]:
        """What to put before a command to run it on the target's side."""
        return ["ip", "netns", "exec", self.target_namespace]

    @property
    def initiator_command_prefix(self) -> list[str]:
        """What to put before a command to run it on the initiator's side."""
        return ["ip", "netns", "exec", self.initiator_namespace]

    def initiator_entered(self) -> AbstractContextManager[None]:
        """Put the calling thread on the initiator's side; sockets stay where they were made."""
        return netns.entered(self.initiator_namespace)

    async def __aenter__(self) -> Self:
        netns.require("ip", "nft")
        await asyncio.to_thread(self._build)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failures = await asyncio.to_thread(self._tear_down)
        if failures and error is None:
            raise FabricError(f"not everything could be undone: {'; '.join(failures)}")

    async def inject(self, path: int, fault: Fault) -> str:
        """As `Fabric.inject`."""
        params = require_supported(fault, self.supported, "a namespace fabric")
        self._check_path(path)
        undo = self._up()
        if path in self._in_force:
            raise InputError("fault", f"path {path} already has the fault {self._in_force[path][0]}; heal it first")
        if fault.kind == "blackhole" and "direction" not in fault.params:
            params["direction"] = "to_target"  # a route is one-way by nature
        made: list[tuple[int, _Change]] = []
        self._in_force[path] = (fault, made)
        for change in self._changes(path, fault.kind, params):
            made.append((undo.will_need(change.undo), change))
            try:
                await asyncio.to_thread(netns.run, change.do)
            except FabricError:
                undo.forget(made.pop()[0])
                await self.heal(path)  # half a fault is none
                raise
        return " && ".join(shlex.join(change.do) for _, change in made)

    async def heal(self, path: int) -> str:
        """As `Fabric.heal`."""
        self._check_path(path)
        undo = self._up()
        _, made = self._in_force.pop(path, (None, []))
        if not made:
            return f"path {path} has no fault"
        for number, _ in reversed(made):
            await asyncio.to_thread(undo.undo, number)
        return " && ".join(shlex.join(change.undo) for _, change in reversed(made))

    def _check_path(self, path: int) -> None:
        if not 0 <= path < len(self.portals):
            raise InputError("path", f"expected 0 to {len(self.portals) - 1}, found {path}")

    def _up(self) -> UndoLog:
        if self._undo is None:
            raise FabricError("the namespaces do not exist")
        return self._undo

    def _changes(self, path: int, kind: str, params: dict[str, float | str]) -> list[_Change]:
        """The commands of a fault. Where bytes are hit on arrival, the filter stands at the end they go to."""
        if kind == "link_down":
            name = self.initiator_namespace if params["side"] == "initiator" else self.target_namespace
            link = ["ip", "-n", name, "link", "set", f"path{path}"]
            return [_Change([*link, "down"], [*link, "up"])]
        changes = []
        for direction, sender, receiver, address in (
            ("to_target", self.initiator_namespace, self.target_namespace, self.portals[path].host),
            ("to_initiator", self.target_namespace, self.initiator_namespace, self._initiator_addresses[path]),
        ):
            if params["direction"] not in ("both", direction):
                continue
            if kind == "blackhole":
                route = ["blackhole", f"{address}/32"]
                changes.append(_Change(["ip", "-n", sender, "route", "add", *route],
                                       ["ip", "-n", sender, "route", "del", *route]))  # fmt: skip
            else:
                changes.append(_filter(receiver, path, kind))
        return changes

    def _build(self) -> None:
        cleanup_leftovers(self._undo_path.parent)
        self._undo = UndoLog(self._undo_path)
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "mpio.host.netns_guard", str(self._undo_path)],
            stdin=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            for name in (self.initiator_namespace, self.target_namespace):
                self._undo.will_make_namespace(name)
                netns.run(["ip", "netns", "add", name])
                with netns.entered(name):
                    _accept_one_way_traffic()
                netns.run(["ip", "-n", name, "link", "set", "lo", "up"])
            for path in range(len(self.portals)):
                self._join(path)
        except BaseException:
            self._tear_down()
            raise

    def _join(self, path: int) -> None:
        initiator, target, device = self.initiator_namespace, self.target_namespace, f"path{path}"
        netns.run(["ip", "link", "add", device, "netns", initiator, "type", "veth", "peer", "name", device,
                   "netns", target])  # fmt: skip
        for name, address in ((initiator, self._initiator_addresses[path]), (target, self.portals[path].host)):
            netns.run(["ip", "-n", name, "addr", "add", f"{address}/30", "dev", device])
            netns.run(["ip", "-n", name, "link", "set", device, "up"])

    def _tear_down(self) -> Sequence[str]:
        failures: Sequence[str] = []
        if self._undo is not None:
            failures = self._undo.undo_all()
            self._undo = None
        if self._guard is not None:
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None
        self._in_force.clear()
        return failures


def _filter(namespace: str, path: int, kind: str) -> _Change:
    nft = ["ip", "netns", "exec", namespace, "nft"]
    table, device = f"mpio_path{path}", f"path{path}"
    if kind == "drop":
        rule = f'type filter hook prerouting priority -300; iifname "{device}" drop;'
    else:  # a reset must get through, or the other end's own filter would swallow it
        rule = (f'type filter hook input priority 0; iifname "{device}" '
                "tcp flags & rst == 0 reject with tcp reset;")  # fmt: skip
    return _Change([*nft, f"table inet {table} {{ chain cut {{ {rule} }}; }}"],
                   [*nft, "delete", "table", "inet", table])  # fmt: skip


def _accept_one_way_traffic() -> None:
    """Switch off the reverse path filter in the calling thread's namespace: it would cut a one-way fault both ways."""
    for path in _REVERSE_PATH_FILTERS:
        try:
            if path.read_text().strip() != "0":
                path.write_text("0")
        except OSError as error:
            raise FabricError(f"can't set {path} in a new namespace: {error.strerror}") from None
