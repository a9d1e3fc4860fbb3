"""The network in memory: streams of bytes as TCP delivers them, and what each fault does to them."""

import asyncio
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mpio.drill.fabric import FAULTS, Fault, check_fault
from mpio.errors import ConnectFailed, InputError
from mpio.io.net import Listener, Stream
from mpio.model.address import Portal
from mpio.sim.link import KINDS, Conditions, Link, back_off_ns, next_attempt_ns
from mpio.sim.loop import VirtualLoop
from mpio.sim.network import SimNetwork
from mpio.sim.tcp import WINDOW_BYTES
from mpio.units import NS_PER_S

PORTAL = Portal("192.0.2.1", 3260)
PLAIN = Conditions(delay_ns=1_000_000, jitter_ns=0, bytes_per_s=0, split=0.0)
MS = 1_000_000


class Pair:
    """A connection over one link: `near` is the initiator's end, `far` the target's."""

    def __init__(self, loop: VirtualLoop, conditions: Conditions, seed: str) -> None:
        self.loop = loop
        self.network = SimNetwork(loop, seed, conditions)
        self.link: Link = self.network.add_link(PORTAL.host)
        self.listener: Listener = self.network.listen(PORTAL)
        self.near: Stream
        self.far: Stream

    async def connect(self) -> None:
        self.near = await self.network.connect(PORTAL, 10)
        self.far, _ = self.listener.accept()

    def inject(self, kind: str, **params: float | str) -> None:
        self.link.inject(kind, check_fault(Fault(kind, params)))

    @property
    def now_ms(self) -> float:
        return self.loop.now_ns / MS


def on(test: Callable[[Pair], Awaitable[Any]], conditions: Conditions = PLAIN, *, connect: bool = True,
       seed: str = "1") -> Any:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        pair = Pair(loop, conditions, seed)
        if connect:
            await pair.connect()
        return await test(pair)

    with VirtualLoop() as loop:
        return loop.run(main())


async def ready(stream: Stream | Listener, *, write: bool = False) -> None:
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    watch, unwatch = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    watch(stream.fileno(), woken.set)
    try:
        await woken.wait()
    finally:
        unwatch(stream.fileno())


async def receive(stream: Stream, room: int = 1 << 16) -> bytes:
    """What comes next; b"" at the end. Raises OSError."""
    await ready(stream)
    buffer = memoryview(bytearray(room))
    return bytes(buffer[:stream.recv_into(buffer)])


async def quiet(stream: Stream, seconds: float) -> bool:
    """Whether nothing comes of a stream for so long."""
    try:
        async with asyncio.timeout(seconds):
            await ready(stream)
    except TimeoutError:
        return True
    return False


def abort(stream: Stream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


# --- without faults


@pytest.mark.parametrize("seed", range(5))
def test_bytes_come_in_order_whatever_the_pieces(seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(3_000_000)

    async def test(pair: Pair) -> None:
        async def send() -> None:
            at = 0
            while at < len(data):
                await ready(pair.near, write=True)
                parts = [data[at:at + 500], data[at + 500:at + rng.randrange(600, 200_000)]]
                at += pair.near.sendmsg(parts)
            pair.near.close()

        sending = asyncio.create_task(send())
        got = bytearray()
        while piece := await receive(pair.far, rng.randrange(1, 1 << 18)):
            got += piece
        await sending
        assert bytes(got) == data

    conditions = Conditions(delay_ns=50_000, jitter_ns=200_000, bytes_per_s=100_000_000, loss=0.01, split=0.7)
    on(test, conditions, seed=str(seed))


def test_one_way_takes_the_delay_and_the_time_of_the_bytes() -> None:
    async def test(pair: Pair) -> None:
        begin = pair.now_ms
        pair.near.send(bytes(1_000_000))
        count, times = 0, []
        while count < 1_000_000:
            count += len(await receive(pair.far, 1 << 20))
            times.append(pair.now_ms - begin)
        assert times == [1 + 10]

    on(test, Conditions(delay_ns=MS, jitter_ns=0, bytes_per_s=100_000_000, split=0.0))


def test_a_sender_is_blocked_while_nobody_reads() -> None:
    async def test(pair: Pair) -> None:
        assert pair.near.send(bytes(WINDOW_BYTES + 1)) == WINDOW_BYTES
        with pytest.raises(BlockingIOError):
            pair.near.send(b"x")
        await asyncio.sleep(1)
        with pytest.raises(BlockingIOError):
            pair.near.send(b"x")
        await receive(pair.far, 100)
        await ready(pair.near, write=True)
        assert pair.near.send(bytes(1000)) == 100

    on(test)


def test_a_low_water_mark_holds_a_reader_back() -> None:
    async def test(pair: Pair) -> None:
        pair.far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 100)
        pair.near.send(bytes(99))
        assert await quiet(pair.far, 1)
        pair.near.send(b"x")
        assert len(await receive(pair.far)) == 100
        pair.near.send(bytes(5))
        await asyncio.sleep(1)
        pair.far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        assert len(await receive(pair.far)) == 5

    on(test)


def test_closing_delivers_what_was_sent_and_then_the_end() -> None:
    async def test(pair: Pair) -> None:
        pair.near.send(b"last words")
        pair.near.close()
        assert await receive(pair.far) == b"last words"
        assert await receive(pair.far) == b""
        pair.far.close()
        await asyncio.sleep(1)
        assert not pair.link.connections

    on(test)


def test_aborting_resets_the_other_end() -> None:
    async def test(pair: Pair) -> None:
        abort(pair.near)
        with pytest.raises(ConnectionResetError):
            await receive(pair.far)
        with pytest.raises(ConnectionResetError):
            pair.far.send(b"x")

    on(test)


def test_closing_with_bytes_unread_is_a_reset() -> None:
    async def test(pair: Pair) -> None:
        pair.far.send(b"not read")
        await asyncio.sleep(0.1)
        pair.near.close()
        with pytest.raises(ConnectionResetError):
            await receive(pair.far)

    on(test)


def test_connecting_takes_a_round_trip_and_needs_a_listener() -> None:
    async def test(pair: Pair) -> None:
        begin = pair.now_ms
        await pair.network.connect(PORTAL, 1)
        assert pair.now_ms - begin == 2
        with pytest.raises(ConnectFailed, match=r"can't connect to 192.0.2.1:9: connection refused"):
            await pair.network.connect(Portal(PORTAL.host, 9), 1)
        with pytest.raises(ConnectFailed, match="network is unreachable"):
            await pair.network.connect(Portal("192.0.2.99", 3260), 1)
        with pytest.raises(InputError, match="address already in use"):
            pair.network.listen(PORTAL)
        pair.listener.close()
        with pytest.raises(ConnectFailed, match="connection refused"):
            await pair.network.connect(PORTAL, 1)
        pair.network.listen(PORTAL)
        await pair.network.connect(PORTAL, 1)

    on(test, connect=False)


def test_a_listener_that_nobody_serves_fills_up() -> None:
    async def test(pair: Pair) -> None:
        for _ in range(128):
            await pair.network.connect(PORTAL, 1)
        with pytest.raises(ConnectFailed, match=r"no answer from .* within 5 s"):
            await pair.network.connect(PORTAL, 5)

    on(test, connect=False)


def test_losses_delay_and_never_reorder() -> None:
    async def test(pair: Pair) -> list[int]:
        times = []
        for number in range(300):
            begin = pair.now_ms
            pair.near.send(bytes([number % 256]))
            assert await receive(pair.far) == bytes([number % 256])
            times.append(round(pair.now_ms - begin))
        return times

    times = on(test, Conditions(delay_ns=MS, jitter_ns=0, bytes_per_s=0, loss=0.2, split=0.0))
    assert set(times) >= {1, 201, 601}
    assert set(times) <= {1, 201, 601, 1401, 3001, 6201, 12601}
    assert 150 < times.count(1) < 280


# --- faults


def test_every_fault_of_the_atlas_is_there() -> None:
    assert set(KINDS) == set(FAULTS) - {"hang"}


def test_two_faults_at_a_time_are_refused() -> None:
    async def test(pair: Pair) -> None:
        pair.inject("blackhole")
        with pytest.raises(InputError, match="already has the fault 'blackhole'"):
            pair.inject("delay")

    on(test)


@pytest.mark.parametrize("kind", ["blackhole", "drop", "link_down"])
def test_what_a_cut_lost_comes_when_tcp_sends_it_again(kind: str) -> None:
    async def test(pair: Pair) -> None:
        pair.inject(kind)
        begin = pair.now_ms
        pair.near.send(b"a")
        pair.far.send(b"b")
        assert await quiet(pair.far, 2.0)
        pair.near.send(b"c")
        pair.link.heal()
        assert await receive(pair.far) == b"a"
        assert pair.now_ms - begin == 3001  # sent again after 0.2, 0.6, 1.4, 3.0 s
        assert await receive(pair.far) + await receive(pair.near) == b"cb"

    on(test)


def test_back_off_doubles() -> None:
    assert [back_off_ns(times) // MS for times in range(1, 7)] == [200, 600, 1400, 3000, 6200, 12_600]
    assert next_attempt_ns(5 * NS_PER_S, 5 * NS_PER_S) == 5 * NS_PER_S + 200 * MS
    assert next_attempt_ns(0, 600 * MS) == 1400 * MS
    assert back_off_ns(13) - back_off_ns(12) == 120 * NS_PER_S


@pytest.mark.parametrize(("direction", "near_hears"), [("to_target", True), ("to_initiator", False)])
def test_a_one_way_cut(direction: str, near_hears: bool) -> None:
    async def test(pair: Pair) -> None:
        pair.inject("blackhole", direction=direction)
        pair.near.send(b"x")
        pair.far.send(b"y")
        assert await quiet(pair.near, 1) is not near_hears
        assert await quiet(pair.far, 1) is near_hears
        with pytest.raises(ConnectFailed, match="no answer"):
            await pair.network.connect(PORTAL, 3)

    on(test)


def test_in_a_one_way_cut_the_other_way_stops_when_its_window_is_used_up() -> None:
    async def test(pair: Pair) -> None:
        pair.inject("blackhole", direction="to_target")
        sent = read = 0
        for _ in range(20):
            try:
                sent += pair.far.send(bytes(WINDOW_BYTES // 8))
            except BlockingIOError:
                break
            read += len(await receive(pair.near, 1 << 20))
        assert sent == read == WINDOW_BYTES
        pair.link.heal()
        await ready(pair.far, write=True)

    on(test)


def test_a_syn_that_was_lost_is_sent_again_after_a_second() -> None:
    async def test(pair: Pair) -> None:
        pair.inject("blackhole")
        begin = pair.now_ms
        pair.loop.call_later(0.5, pair.link.heal)
        await pair.network.connect(PORTAL, 5)
        assert pair.now_ms - begin == 1002

    on(test)


def test_a_reset_that_is_lost_is_not_sent_again() -> None:
    async def test(pair: Pair) -> None:
        pair.inject("blackhole")
        pair.near.send(b"never arrives")
        abort(pair.near)
        pair.link.heal()
        assert await quiet(pair.far, 600)
        pair.far.send(b"are you there?")
        with pytest.raises(ConnectionResetError):
            await receive(pair.far)

    on(test)


def test_an_end_that_was_closed_in_a_cut_still_delivers() -> None:
    async def test(pair: Pair) -> None:
        pair.inject("blackhole")
        pair.near.send(b"last words")
        pair.near.close()
        await asyncio.sleep(1)
        pair.link.heal()
        assert await receive(pair.far) == b"last words"
        assert await receive(pair.far) == b""

    on(test)


def test_hold_delivers_what_its_sender_has_given_up_long_ago() -> None:
    async def test(pair: Pair) -> None:
        pair.inject("hold")
        pair.near.send(b"old copy")
        await asyncio.sleep(1)
        abort(pair.near)
        await asyncio.sleep(100)
        begin = pair.now_ms
        pair.link.heal()
        assert await receive(pair.far) == b"old copy"
        assert pair.now_ms - begin == 1
        with pytest.raises(ConnectionResetError):
            await receive(pair.far)

    on(test)


def test_what_hold_delivers_to_a_closed_end_is_lost() -> None:
    async def test(pair: Pair) -> None:
        pair.inject("hold")
        pair.near.send(b"old copy")
        abort(pair.far)
        pair.link.heal()
        with pytest.raises(ConnectionResetError):
            await receive(pair.near)

    on(test)


def test_reset_and_refuse() -> None:
    async def test(pair: Pair) -> None:
        pair.inject("reset")
        for stream in (pair.near, pair.far):
            with pytest.raises(ConnectionResetError):
                await receive(stream)
        await pair.network.connect(PORTAL, 1)
        pair.inject("refuse")
        with pytest.raises(ConnectFailed, match="connection refused"):
            await pair.network.connect(PORTAL, 1)
        pair.link.heal()
        await pair.network.connect(PORTAL, 1)

    on(test)


@pytest.mark.parametrize("side", ["initiator", "target"])
def test_half_open(side: str) -> None:
    async def test(pair: Pair) -> None:
        gone, left = (pair.near, pair.far) if side == "initiator" else (pair.far, pair.near)
        pair.inject("half_open", side=side)
        with pytest.raises(ConnectionResetError):
            await receive(gone)
        left.send(b"anybody?")
        assert await quiet(left, 300)
        await pair.network.connect(PORTAL, 1)
        pair.link.heal()
        with pytest.raises(ConnectionResetError):
            await receive(left)

    on(test)


def test_reject_answers_the_next_packet_with_a_reset() -> None:
    async def test(pair: Pair) -> None:
        pair.inject("reject", direction="to_target")
        assert await quiet(pair.near, 100)
        pair.near.send(b"x")
        with pytest.raises(ConnectionResetError):
            await receive(pair.near)
        assert await quiet(pair.far, 100)
        with pytest.raises(ConnectFailed, match="connection refused"):
            await pair.network.connect(PORTAL, 1)

    on(test)


def test_an_interface_that_is_down_is_known_on_its_own_side_only() -> None:
    async def test(pair: Pair) -> None:
        pair.inject("link_down", side="initiator")
        with pytest.raises(ConnectFailed, match="network is unreachable"):
            await pair.network.connect(PORTAL, 3)
        pair.link.heal()
        pair.inject("link_down", side="target")
        with pytest.raises(ConnectFailed, match="no answer"):
            await pair.network.connect(PORTAL, 3)

    on(test)


def test_delay_and_throttle() -> None:
    async def test(pair: Pair) -> None:
        pair.inject("delay", ms=50, direction="to_target")
        begin = pair.now_ms
        pair.near.send(b"x")
        await receive(pair.far)
        assert pair.now_ms - begin == 51
        pair.far.send(b"y")
        await receive(pair.near)
        assert pair.now_ms - begin == 52
        pair.link.heal()
        pair.inject("throttle", bytes_per_s=1000)
        begin = pair.now_ms
        pair.near.send(bytes(500))
        await receive(pair.far)
        assert pair.now_ms - begin == 501

    on(test)


def test_stall_pauses_now_and_then() -> None:
    async def test(pair: Pair) -> list[int]:
        pair.inject("stall", rate=0.3, pause_ms=70)
        times = []
        for _ in range(100):
            begin = pair.now_ms
            pair.near.send(b"x")
            await receive(pair.far)
            times.append(round(pair.now_ms - begin))
        return times

    times = on(test)
    assert set(times) == {1, 71}
    assert 15 < times.count(71) < 45
