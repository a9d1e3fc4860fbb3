"""The channel against a scripted engine over a socket pair: no timing asserts, only order and completeness."""

import asyncio
import socket
import time
from collections.abc import Callable

import pytest

from mpio.io.channel import Channel
from mpio.model.task import Buffer


class Echo:
    """An engine that sends back what it receives and records what it is told."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] | None = None
        self.staging = memoryview(bytearray(65536))
        self.out: list[Buffer] = []
        self.received = bytearray()
        self.events: list[str] = []
        self.deadline: int | None = None
        self.timer_calls: list[int] = []
        self.echo = True

    def receive_buffer(self) -> memoryview:
        return self.staging

    def receive_done(self, count: int, now: int) -> None:
        data = bytes(self.staging[:count])
        self.received += data
        if self.echo:
            self.send(data)

    def receive_eof(self, now: int, cause: str) -> None:
        self.events.append(cause)

    def send(self, data: Buffer) -> None:
        first = not self.out
        self.out.append(data)
        if first and self.wake is not None:
            self.wake()

    def data_to_send(self) -> list[Buffer]:
        out, self.out = self.out, []
        return out

    def handle_timer(self, now: int) -> None:
        self.timer_calls.append(now)
        self.deadline = None

    def next_deadline(self) -> int | None:
        return self.deadline

    def next_event(self) -> str | None:
        return self.events.pop(0) if self.events else None


def pair() -> tuple[socket.socket, socket.socket]:
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    return left, right


@pytest.mark.parametrize("size", [1, 4096, 3_000_000])
def test_everything_comes_back_in_order_whatever_the_socket_takes(size: int) -> None:
    async def main() -> None:
        left, right = pair()
        engine = Echo()
        channel = Channel(left, engine, time.monotonic_ns, lambda _: None)
        data = bytes(i * 7 % 251 for i in range(size))
        loop = asyncio.get_running_loop()
        sender = asyncio.create_task(loop.sock_sendall(right, data))
        got = bytearray()
        while len(got) < size:
            got += await loop.sock_recv(right, 65536)
        await sender
        assert bytes(got) == data
        channel.close()
        right.close()

    asyncio.run(main())


def test_many_small_buffers_are_gathered_and_none_is_lost() -> None:
    async def main() -> None:
        left, right = pair()
        engine = Echo()
        channel = Channel(left, engine, time.monotonic_ns, lambda _: None)
        loop = asyncio.get_running_loop()
        parts = [b"%d;" % i for i in range(5000)]
        for part in parts:
            engine.send(part)
        got = bytearray()
        while len(got) < sum(map(len, parts)):
            got += await loop.sock_recv(right, 65536)
        assert bytes(got) == b"".join(parts)
        channel.close()
        right.close()

    asyncio.run(main())


def test_output_stays_with_the_engine_while_the_socket_is_full() -> None:
    """What the engine still has it may call not sent; so nothing is taken from it that can't be handed on."""

    async def main() -> None:
        left, right = pair()
        engine = Echo()
        channel = Channel(left, engine, time.monotonic_ns, lambda _: None)
        engine.send(bytes(8_000_000))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        engine.send(b"later")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert engine.out == [b"later"]
        channel.close()
        right.close()

    asyncio.run(main())


@pytest.mark.parametrize(("how", "cause"), [("close", "closed by the peer"), ("reset", "reset")])
def test_the_end_is_told_once_with_its_cause(how: str, cause: str) -> None:
    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        left = socket.create_connection(listener.getsockname())
        left.setblocking(False)
        right, _ = listener.accept()
        engine = Echo()
        causes: list[str] = []
        done = asyncio.Event()

        def on_event(cause: str) -> None:
            causes.append(cause)
            done.set()

        channel = Channel(left, engine, time.monotonic_ns, on_event)
        if how == "reset":
            right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        right.close()
        await asyncio.wait_for(done.wait(), 10)
        await asyncio.sleep(0)
        assert len(causes) == 1
        assert cause in causes[0].lower()
        channel.close()
        listener.close()

    asyncio.run(main())


def test_timer_fires_at_the_engines_deadline_and_not_before() -> None:
    async def main() -> None:
        left, right = pair()
        engine = Echo()
        channel = Channel(left, engine, time.monotonic_ns, lambda _: None)
        deadline = engine.deadline = time.monotonic_ns() + 20_000_000
        channel.pump()
        while not engine.timer_calls:  # noqa: ASYNC110 - the engine has nobody to tell
            await asyncio.sleep(0.005)
        assert engine.timer_calls[0] >= deadline
        channel.close()
        right.close()

    asyncio.run(main())


def test_after_close_nothing_is_read_sent_or_timed() -> None:
    async def main() -> None:
        left, right = pair()
        engine = Echo()
        channel = Channel(left, engine, time.monotonic_ns, lambda _: None)
        engine.deadline = time.monotonic_ns() + 1_000_000
        channel.pump()
        channel.close()
        channel.close()
        await asyncio.sleep(0.01)
        assert channel.closed
        assert engine.timer_calls == []
        assert engine.wake is None
        assert right.recv(1) == b""
        right.close()

    asyncio.run(main())
