"""Every fault of the relay, against real sockets on loopback."""

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from mpio.drill.direct_fabric import DirectFabric
from mpio.drill.fabric import Fault
from mpio.drill.relay_fabric import RelayFabric
from mpio.errors import FabricError, InputError, UnsupportedFault
from mpio.io.net import listen, local_portal
from mpio.io.relay_wire import HELD_BYTES_MAX, READ_BYTES, reset
from mpio.model.address import Portal

PATIENCE_S = 20.0  # for what must come; generous, as the machine may be busy
SILENCE_S = 0.15  # for what must not come


class Wire:
    """A relay in front of one listening socket, and what a test does at both ends of it."""

    def __init__(self, fabric: RelayFabric, listener: socket.socket) -> None:
        self.fabric = fabric
        self.listener = listener
        self.loop = asyncio.get_running_loop()
        self.sockets = contextlib.ExitStack()

    async def connect(self) -> socket.socket:
        """The initiator's end of a new connection."""
        sock = self.sockets.enter_context(contextlib.closing(socket.socket()))
        sock.setblocking(False)
        portal = self.fabric.portals[0]
        await asyncio.wait_for(self.loop.sock_connect(sock, (portal.host, portal.port)), PATIENCE_S)
        return sock

    async def accept(self) -> socket.socket:
        """The target's end of a new connection."""
        sock, _ = await asyncio.wait_for(self.loop.sock_accept(self.listener), PATIENCE_S)
        sock.setblocking(False)
        return self.sockets.enter_context(contextlib.closing(sock))

    async def pair(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a new connection, proven to be joined."""
        initiator = await self.connect()
        target = await self.accept()
        await self.send(initiator, b"login")
        assert await self.receive(target, 5) == b"login"
        await self.send(target, b"welcome")
        assert await self.receive(initiator, 7) == b"welcome"
        return initiator, target

    async def send(self, sock: socket.socket, data: bytes) -> None:
        await asyncio.wait_for(self.loop.sock_sendall(sock, data), PATIENCE_S)

    async def receive(self, sock: socket.socket, count: int) -> bytes:
        """Exactly `count` bytes, or fewer at the end of the stream."""
        data = bytearray()
        while len(data) < count:
            piece = await asyncio.wait_for(self.loop.sock_recv(sock, count - len(data)), PATIENCE_S)
            if not piece:
                break
            data += piece
        return bytes(data)

    async def is_silent(self, sock: socket.socket) -> bool:
        try:
            await asyncio.wait_for(self.loop.sock_recv(sock, 1), SILENCE_S)
        except TimeoutError:
            return True
        return False

    async def is_reset(self, sock: socket.socket) -> bool:
        try:
            await self.receive(sock, 1)
        except ConnectionResetError:
            return True
        return False

    async def inject(self, kind: str, **params: float | str) -> str:
        return await self.fabric.inject(0, Fault(kind, params))

    async def heal(self) -> str:
        return await self.fabric.heal(0)

    async def until(self, is_true: Callable[[dict[str, int]], bool]) -> None:
        """Wait until the relay's counters say so."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_true(await self.fabric.stats()):  # noqa: ASYNC110 (the counters are another process's)
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def wired() -> AsyncIterator[Wire]:
    listener = listen(Portal("127.0.0.1", 0))
    with contextlib.closing(listener):
        async with RelayFabric([local_portal(listener)]) as fabric:
            wire = Wire(fabric, listener)
            with wire.sockets:
                yield wire


def relayed(test: Callable[[Wire], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test on a wire of its own, and close the sockets that it leaves open."""

    async def run() -> None:
        async with wired() as wire:
            await test(wire)

    def wrapper() -> None:
        asyncio.run(run())

    wrapper.__name__, wrapper.__doc__ = test.__name__, test.__doc__
    return wrapper


@relayed
async def test_clear_wire_carries_megabytes_both_ways_in_order(wire: Wire) -> None:
    initiator, target = await wire.pair()
    data = os.urandom(4 << 20)
    sent, received = await asyncio.gather(wire.send(initiator, data), wire.receive(target, len(data)))
    del sent
    assert received == data
    _, received = await asyncio.gather(wire.send(target, data), wire.receive(initiator, len(data)))
    assert received == data
    await wire.until(lambda stats: stats["kept_bytes"] == 0)


@relayed
async def test_end_of_stream_passes_one_way_at_a_time(wire: Wire) -> None:
    initiator, target = await wire.pair()
    initiator.shutdown(socket.SHUT_WR)
    assert await wire.receive(target, 1) == b""
    await wire.send(target, b"last words")
    target.close()
    assert await wire.receive(initiator, 11) == b"last words"
    await wire.until(lambda stats: stats["connections"] == 0)


@pytest.mark.parametrize("aborted", ["initiator", "target"])
def test_abort_of_one_end_resets_the_other(aborted: str) -> None:
    @relayed
    async def test(wire: Wire) -> None:
        initiator, target = await wire.pair()
        gone, left = (initiator, target) if aborted == "initiator" else (target, initiator)
        reset(gone)
        assert await wire.is_reset(left)
        await wire.until(lambda stats: stats["connections"] == 0)

    test()


@relayed
async def test_refusal_by_the_target_resets_the_initiator(wire: Wire) -> None:
    wire.listener.close()
    with pytest.raises(ConnectionResetError):  # on a busy machine it comes before connecting has returned
        await wire.receive(await wire.connect(), 1)


@relayed
async def test_blackhole_passes_nothing_and_a_live_connection_goes_on_afterwards(wire: Wire) -> None:
    initiator, target = await wire.pair()
    await wire.inject("blackhole")
    await wire.send(initiator, b"command")
    await wire.send(target, b"answer")
    assert await wire.is_silent(target)
    assert await wire.is_silent(initiator)
    await wire.heal()
    assert await wire.receive(target, 7) == b"command"
    assert await wire.receive(initiator, 6) == b"answer"


@relayed
async def test_blackhole_swallows_new_connections_until_healed(wire: Wire) -> None:
    await wire.inject("blackhole")
    connecting = asyncio.ensure_future(wire.connect())
    await asyncio.sleep(SILENCE_S)
    assert not connecting.done()
    await wire.heal()
    initiator, target = await connecting, await wire.accept()
    await wire.send(initiator, b"login")
    assert await wire.receive(target, 5) == b"login"


@pytest.mark.parametrize("direction", ["to_target", "to_initiator"])
def test_blackhole_one_way(direction: str) -> None:
    @relayed
    async def test(wire: Wire) -> None:
        initiator, target = await wire.pair()
        sender, receiver = (initiator, target) if direction == "to_target" else (target, initiator)
        await wire.inject("blackhole", direction=direction)
        await wire.send(sender, b"lost")
        await wire.send(receiver, b"passes")
        assert await wire.receive(sender, 6) == b"passes"
        assert await wire.is_silent(receiver)
        await wire.heal()
        assert await wire.receive(receiver, 4) == b"lost"

    test()


@relayed
async def test_blackhole_drops_the_bytes_of_an_initiator_that_aborts(wire: Wire) -> None:
    initiator, target = await wire.pair()
    await wire.inject("blackhole")
    await wire.send(initiator, b"write of old data")
    reset(initiator)
    assert await wire.is_silent(target)
    await wire.heal()
    assert await wire.is_reset(target)


@relayed
async def test_blackhole_delivers_the_bytes_of_an_initiator_that_closes_in_order(wire: Wire) -> None:
    """A kernel goes on sending what was queued when its owner closed."""
    initiator, target = await wire.pair()
    await wire.inject("blackhole")
    await wire.send(initiator, b"queued")
    initiator.close()
    assert await wire.is_silent(target)
    await wire.heal()
    assert await wire.receive(target, 7) == b"queued"


@relayed
async def test_blackhole_keeps_an_abort_of_the_target_from_the_initiator_until_healed(wire: Wire) -> None:
    initiator, target = await wire.pair()
    await wire.inject("blackhole")
    reset(target)
    assert await wire.is_silent(initiator)
    await wire.heal()
    assert await wire.is_reset(initiator)


@relayed
async def test_one_way_blackhole_keeps_an_abort_from_the_target_until_healed(wire: Wire) -> None:
    initiator, target = await wire.pair()
    await wire.inject("blackhole", direction="to_target")
    reset(initiator)
    await wire.send(target, b"ping")
    assert await wire.is_silent(target)
    await wire.heal()
    assert await wire.is_reset(target)


@relayed
async def test_reset_ends_every_connection_and_new_ones_work(wire: Wire) -> None:
    ends = [await wire.pair() for _ in range(3)]
    await wire.inject("reset")
    for initiator, target in ends:
        assert await wire.is_reset(initiator)
        assert await wire.is_reset(target)
    await wire.pair()


@relayed
async def test_refuse_resets_and_refuses_until_healed_on_the_same_port(wire: Wire) -> None:
    initiator, target = await wire.pair()
    await wire.inject("refuse")
    assert await wire.is_reset(initiator)
    assert await wire.is_reset(target)
    with pytest.raises(ConnectionRefusedError):
        await wire.connect()
    await wire.heal()
    await wire.pair()


@relayed
async def test_delay_keeps_the_order_and_the_bytes(wire: Wire) -> None:
    initiator, target = await wire.pair()
    await wire.inject("delay", ms=2 * 1000 * SILENCE_S)
    start = wire.loop.time()
    await wire.send(initiator, b"one ")
    assert await wire.is_silent(target)
    await wire.send(initiator, b"two")
    assert await wire.receive(target, 7) == b"one two"
    assert wire.loop.time() - start >= 2 * SILENCE_S


@relayed
async def test_healing_a_delay_delivers_at_once_what_was_on_its_way(wire: Wire) -> None:
    initiator, target = await wire.pair()
    await wire.inject("delay", ms=600_000, direction="to_target")
    await wire.send(initiator, b"late")
    await wire.until(lambda stats: stats["kept_bytes"] > 0)
    await wire.heal()
    assert await wire.receive(target, 4) == b"late"


@relayed
async def test_stall_pauses_the_stream_and_loses_nothing(wire: Wire) -> None:
    initiator, target = await wire.pair()
    await wire.inject("stall", rate=1.0, pause_ms=2 * 1000 * SILENCE_S)
    await wire.send(initiator, b"paused")
    assert await wire.is_silent(target)
    assert await wire.receive(target, 6) == b"paused"
    await wire.heal()
    await wire.inject("stall", rate=0.0)
    await wire.send(initiator, b"prompt")
    assert await wire.receive(target, 6) == b"prompt"


@relayed
async def test_throttle_takes_the_time_it_must(wire: Wire) -> None:
    initiator, target = await wire.pair()
    await wire.inject("throttle", bytes_per_s=1_000_000)
    data = os.urandom(300_000)
    start = wire.loop.time()
    _, received = await asyncio.gather(wire.send(initiator, data), wire.receive(target, len(data)))
    assert received == data
    assert wire.loop.time() - start >= 0.25


@pytest.mark.parametrize("side", ["initiator", "target"])
def test_half_open(side: str) -> None:
    @relayed
    async def test(wire: Wire) -> None:
        initiator, target = await wire.pair()
        gone, left = (initiator, target) if side == "initiator" else (target, initiator)
        await wire.inject("half_open", side=side)
        assert await wire.is_reset(gone)
        await wire.send(left, b"is anybody there")
        assert await wire.is_silent(left)
        await wire.pair()
        await wire.heal()
        assert await wire.is_reset(left)

    test()


@pytest.mark.parametrize("ending", ["open", "closed", "aborted"])
def test_hold_delivers_late_whatever_the_initiator_did(ending: str) -> None:
    @relayed
    async def test(wire: Wire) -> None:
        initiator, target = await wire.pair()
        await wire.inject("hold")
        data = os.urandom(1 << 20)
        await wire.send(initiator, data)
        await wire.send(target, b"unheard")
        await wire.until(lambda stats: stats["kept_bytes"] >= len(data))
        if ending == "closed":
            initiator.close()
        elif ending == "aborted":
            reset(initiator)
        assert await wire.is_silent(target)
        how, received = await asyncio.gather(wire.heal(), wire.receive(target, len(data)))
        assert received == data
        assert "bytes late" in how
        if ending == "open":
            assert await wire.receive(initiator, 7) == b"unheard"
        else:
            assert await wire.receive(target, 1) == b""
            target.close()
            await wire.until(lambda stats: stats["connections"] == 0)

    test()


@relayed
async def test_held_bytes_do_not_reach_a_target_that_has_ended_the_connection(wire: Wire) -> None:
    initiator, target = await wire.pair()
    await wire.inject("hold")
    await wire.send(initiator, b"old write")
    await wire.until(lambda stats: stats["kept_bytes"] > 0)
    reset(target)
    await wire.heal()
    assert await wire.is_reset(initiator)


@pytest.mark.parametrize(("kind", "bound"), [("", 2 * READ_BYTES), ("hold", HELD_BYTES_MAX + 2 * READ_BYTES)])
def test_memory_is_bounded_when_one_side_does_not_read(kind: str, bound: int) -> None:
    @relayed
    async def test(wire: Wire) -> None:
        initiator, target = await wire.pair()
        if kind:
            await wire.inject(kind)
        flood = bytes(1 << 20)
        accepted = 0
        with contextlib.suppress(TimeoutError):
            while accepted < 256 << 20:
                await asyncio.wait_for(wire.loop.sock_sendall(initiator, flood), 1.0)
                accepted += len(flood)
        assert accepted < 64 << 20
        assert 0 < (await wire.fabric.stats())["kept_bytes"] <= bound
        target.close()

    test()


@relayed
async def test_what_cannot_be_injected_is_refused_with_the_list(wire: Wire) -> None:
    with pytest.raises(UnsupportedFault, match="the relay can't inject 'link_down'; it can inject: blackhole, delay"):
        await wire.inject("link_down")
    with pytest.raises(InputError, match="expected one of blackhole"):
        await wire.inject("earthquake")
    with pytest.raises(InputError, match="path: expected 0 to 0, found 3"):
        await wire.fabric.inject(3, Fault("reset"))
    await wire.inject("delay")
    with pytest.raises(InputError, match="already has the fault delay; heal it first"):
        await wire.inject("blackhole")
    await wire.inject("reset")  # an event may come on top
    await wire.heal()
    assert await wire.heal() == "path 0 has no fault"


def test_direct_fabric_refuses_every_fault() -> None:
    async def run() -> None:
        async with DirectFabric([Portal("127.0.0.1")]) as fabric:
            with pytest.raises(UnsupportedFault, match="it can inject: none"):
                await fabric.inject(0, Fault("blackhole"))
            assert "no fault" in await fabric.heal(0)

    asyncio.run(run())


@relayed
async def test_death_of_the_relay_is_told(wire: Wire) -> None:
    os.kill(wire.fabric.pid, signal.SIGKILL)
    with pytest.raises(FabricError, match="relay process"):
        await wire.inject("reset")
    with pytest.raises(FabricError, match="relay process"):
        await wire.inject("reset")


def test_bad_orders_are_answered_and_change_nothing() -> None:
    orders = [
        b"not JSON", b"[]", b"[" * 5000, b'{"op": "fly"}', b"{}", b'{"op": "heal", "path": 7}',
        b'{"op": "stats", "id": 5}', b'{"op": "open", "host": "127.0.0.1", "port": "x"}',
        b'{"op": "inject", "path": "a", "kind": "reset"}',
    ]  # fmt: skip
    child = subprocess.run(
        [sys.executable, "-m", "mpio.io.relay"],
        input=b"\n".join(orders) + b"\n", stdout=subprocess.PIPE, timeout=60, check=True,
    )  # fmt: skip
    answers = [json.loads(line) for line in child.stdout.splitlines()]
    assert [answer["ok"] for answer in answers] == [False] * 6 + [True] + [False] * 2
    assert answers[6] == {"id": 5, "ok": True, "connections": 0, "kept_bytes": 0}


_PARENT = """
import asyncio, sys
from mpio.drill.fabric import Fault
from mpio.drill.relay_fabric import RelayFabric
from mpio.model.address import Portal
async def main():
    async with RelayFabric([Portal("127.0.0.1", int(sys.argv[1]))]) as fabric:
        await fabric.inject(0, Fault("blackhole"))
        print(fabric.pid, flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_relay_ends_with_its_parent(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, "3260"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout is not None
        relay = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.send_signal(how)
            assert select.select([relay], [], [], PATIENCE_S)[0] == [relay]
        finally:
            os.close(relay)
