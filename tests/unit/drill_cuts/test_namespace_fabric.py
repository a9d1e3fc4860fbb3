"""Faults in network namespaces, on real interfaces. Needs root."""

import asyncio
import contextlib
import errno
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from mpio.drill.fabric import Fault
from mpio.drill.namespace_fabric import NamespaceFabric
from mpio.errors import FabricError, InputError, UnsupportedFault
from mpio.host import netns
from mpio.host.undo import UndoLog, cleanup_leftovers

PATIENCE_S = 20.0
SILENCE_S = 0.3

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("nft") is None,
    reason="network namespaces need root, iproute2 and nftables",
)


class Wire:
    """Two paths between two namespaces, a listening socket at the end of each."""

    def __init__(self, fabric: NamespaceFabric, stack: contextlib.ExitStack) -> None:
        self.fabric = fabric
        self._stack = stack
        self._loop = asyncio.get_running_loop()
        self._listeners = []
        with netns.entered(fabric.target_namespace):
            for portal in fabric.target_addresses:
                listener = stack.enter_context(socket.create_server((portal.host, portal.port)))
                listener.setblocking(False)
                self._listeners.append(listener)

    async def connect(self, path: int = 0) -> socket.socket:
        with self.fabric.initiator_entered():
            sock = self._stack.enter_context(socket.socket())
        sock.setblocking(False)
        portal = self.fabric.portals[path]
        await asyncio.wait_for(self._loop.sock_connect(sock, (portal.host, portal.port)), PATIENCE_S)
        return sock

    async def pair(self, path: int = 0) -> tuple[socket.socket, socket.socket]:
        initiator = await self.connect(path)
        target, _ = await asyncio.wait_for(self._loop.sock_accept(self._listeners[path]), PATIENCE_S)
        target.setblocking(False)
        return initiator, self._stack.enter_context(target)

    async def passes(self, sender: socket.socket, receiver: socket.socket, wait_s: float = PATIENCE_S) -> bool:
        await self._loop.sock_sendall(sender, b"x")
        try:
            return await asyncio.wait_for(self._loop.sock_recv(receiver, 1), wait_s) == b"x"
        except TimeoutError:
            return False


def joined(test: Callable[[Wire], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """Run a test on namespaces of its own."""

    async def run(state_dir: Path) -> None:
        async with NamespaceFabric(2, state_dir=state_dir) as fabric:
            with contextlib.ExitStack() as stack:
                await test(Wire(fabric, stack))
        assert not netns.exists(fabric.initiator_namespace)
        assert not netns.exists(fabric.target_namespace)

    def wrapper(tmp_path: Path) -> None:
        asyncio.run(run(tmp_path))
        assert not list(tmp_path.iterdir())

    wrapper.__name__, wrapper.__doc__ = test.__name__, test.__doc__
    return pytest.mark.root(needs_root(wrapper))


@joined
async def test_paths_carry_data_and_lead_nowhere_else(wire: Wire) -> None:
    for path in range(2):
        initiator, target = await wire.pair(path)
        assert await wire.passes(initiator, target)
        assert await wire.passes(target, initiator)
    for prefix in (wire.fabric.initiator_command_prefix, wire.fabric.target_command_prefix):
        routes = netns.run([*prefix, "ip", "route"]).splitlines()
        assert [route.split()[:3] for route in routes] == [
            ["10.193.0.0/30", "dev", "path0"], ["10.193.1.0/30", "dev", "path1"]]  # fmt: skip
    assert not {"path0", "path1"} & {name for _, name in socket.if_nameindex()}


@joined
async def test_blackhole_route_cuts_one_way_and_traffic_takes_up_again(wire: Wire) -> None:
    initiator, target = await wire.pair()
    _, other = await wire.pair(1)
    how = await wire.fabric.inject(0, Fault("blackhole"))
    assert how == f"ip -n {wire.fabric.initiator_namespace} route add blackhole 10.193.0.2/32"
    assert await wire.passes(target, initiator)
    assert not await wire.passes(initiator, target, SILENCE_S)
    with pytest.raises(OSError, match="Invalid argument") as refused:
        await wire.connect()
    assert refused.value.errno == errno.EINVAL
    await wire.pair(1)
    assert other.fileno() >= 0
    assert "route del" in await wire.fabric.heal(0)
    assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(target, 1), PATIENCE_S) == b"x"
    await wire.pair()


@joined
async def test_drop_cuts_both_ways_and_is_not_told(wire: Wire) -> None:
    initiator, target = await wire.pair()
    await wire.fabric.inject(0, Fault("drop"))
    assert not await wire.passes(initiator, target, SILENCE_S)
    assert not await wire.passes(target, initiator, SILENCE_S)
    connecting = asyncio.ensure_future(wire.connect())
    await asyncio.sleep(SILENCE_S)
    assert not connecting.done()
    await wire.fabric.heal(0)
    await connecting
    loop = asyncio.get_running_loop()
    assert await asyncio.wait_for(loop.sock_recv(target, 1), PATIENCE_S) == b"x"
    assert await asyncio.wait_for(loop.sock_recv(initiator, 1), PATIENCE_S) == b"x"


@pytest.mark.parametrize("side", ["initiator", "target"])
@pytest.mark.root
@needs_root
def test_link_down(side: str, tmp_path: Path) -> None:
    @joined
    async def test(wire: Wire) -> None:
        initiator, target = await wire.pair()
        await wire.fabric.inject(0, Fault("link_down", {"side": side}))
        assert not await wire.passes(initiator, target, SILENCE_S)
        await wire.pair(1)
        await wire.fabric.heal(0)
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(target, 1), PATIENCE_S) == b"x"

    test(tmp_path)


@joined
async def test_reject_resets_old_connections_and_refuses_new_ones(wire: Wire) -> None:
    initiator, _ = await wire.pair()
    loop = asyncio.get_running_loop()
    await wire.fabric.inject(0, Fault("reject"))
    await loop.sock_sendall(initiator, b"x")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(loop.sock_recv(initiator, 1), PATIENCE_S)
    with pytest.raises(ConnectionRefusedError):
        await wire.connect()
    await wire.fabric.heal(0)
    await wire.pair()


@joined
async def test_what_cannot_be_injected_is_refused(wire: Wire) -> None:
    with pytest.raises(UnsupportedFault, match="it can inject: blackhole, drop, link_down, reject"):
        await wire.fabric.inject(0, Fault("delay"))
    with pytest.raises(InputError, match="expected 0 to 1, found 2"):
        await wire.fabric.inject(2, Fault("drop"))
    await wire.fabric.inject(0, Fault("drop", {"direction": "to_target"}))
    with pytest.raises(InputError, match="already has the fault drop direction=to_target"):
        await wire.fabric.inject(0, Fault("link_down"))
    await wire.fabric.heal(0)
    assert await wire.fabric.heal(0) == "path 0 has no fault"


@joined
async def test_half_a_fault_is_undone(wire: Wire) -> None:
    """The second of two commands fails, as somebody else has put the same route there."""
    command = ["ip", "-n", wire.fabric.target_namespace, "route", "add", "blackhole", "10.193.0.1/32"]
    netns.run(command)
    with pytest.raises(FabricError, match="File exists"):
        await wire.fabric.inject(0, Fault("blackhole", {"direction": "both"}))
    assert await wire.fabric.heal(0) == "path 0 has no fault"
    netns.run(["del" if word == "add" else word for word in command])
    await wire.pair()


_PARENT = """
import asyncio, subprocess, sys
from pathlib import Path
from mpio.drill.fabric import Fault
from mpio.drill.namespace_fabric import NamespaceFabric
async def main():
    async with NamespaceFabric(1, state_dir=Path(sys.argv[1])) as fabric:
        await fabric.inject(0, Fault("blackhole"))
        target = subprocess.Popen([*fabric.target_command_prefix, "sleep", "600"])
        print(fabric.initiator_namespace, fabric.target_namespace, fabric._guard.pid, target.pid, flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


@contextlib.contextmanager
def parent(state_dir: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[str]]]:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(state_dir)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().decode().split()


def wait_for_end(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        ended = select.select([process], [], [], PATIENCE_S)[0]
        os.close(process)
        assert ended, f"process {pid} still runs"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.root
@needs_root
def test_everything_is_undone_when_the_process_ends(how: signal.Signals, tmp_path: Path) -> None:
    with parent(tmp_path) as (process, (initiator, target, guard, sleeper)):
        assert netns.exists(initiator)
        process.send_signal(how)
        wait_for_end(int(guard))
        wait_for_end(int(sleeper))
        assert not netns.exists(initiator)
        assert not netns.exists(target)
        assert not list(tmp_path.iterdir())


@pytest.mark.root
@needs_root
def test_leftovers_are_cleaned_up_even_if_the_guard_was_killed_too(tmp_path: Path) -> None:
    with parent(tmp_path) as (process, (initiator, target, guard, sleeper)):
        assert cleanup_leftovers(tmp_path) == []  # its owner lives
        assert netns.exists(target)
        os.kill(int(guard), signal.SIGKILL)
        process.kill()
        process.wait()
        report = cleanup_leftovers(tmp_path)
        wait_for_end(int(sleeper))
        assert [line.endswith(": undone") for line in report] == [True]
        assert not netns.exists(initiator)
        assert not netns.exists(target)
        assert cleanup_leftovers(tmp_path) == []


@pytest.mark.root
@needs_root
def test_a_namespace_that_nobody_wrote_down_is_found_by_its_name(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    name = f"mpio-{dead.pid}-abcdef-t"
    netns.run(["ip", "netns", "add", name])
    assert f"namespace {name}: removed" in cleanup_leftovers(tmp_path)
    assert not netns.exists(name)


def test_without_root_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InputError, match="need root; run as root, or use the relay"):
        asyncio.run(NamespaceFabric(1).__aenter__())


def test_without_tools_one_line_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool == "nft" else f"/sbin/{tool}")
    with pytest.raises(InputError, match="need 'nft'; install nftables"):
        asyncio.run(NamespaceFabric(1).__aenter__())


def test_only_namespaces_of_ours_are_removed() -> None:
    with pytest.raises(ValueError, match="not a namespace of ours"):
        netns.remove("production")


def test_undo_log_survives_damage_and_remembers_what_is_done(tmp_path: Path) -> None:
    path = tmp_path / "1-a.undo"
    log = UndoLog(path)
    marks = [tmp_path / name for name in ("first", "second")]
    numbers = [log.will_need(["touch", str(mark)]) for mark in marks]
    log.undo(numbers[0])
    assert marks[0].exists()
    with path.open("ab") as file:
        file.write(b'{"id": "x"}\n[]\n\xff\n{"id": 9, "comma')
    marks[0].unlink()
    again = UndoLog(path)
    assert len(again) == 1
    assert again.undo_all() == []
    assert marks[1].exists()
    assert not marks[0].exists()
    assert not path.exists()


def test_undo_goes_on_after_a_failure(tmp_path: Path) -> None:
    log = UndoLog(tmp_path / "1-a.undo")
    mark = tmp_path / "mark"
    log.will_need(["touch", str(mark)])
    log.will_need(["false"])
    assert log.undo_all() == ["false: exit status 1"]
    assert mark.exists()
