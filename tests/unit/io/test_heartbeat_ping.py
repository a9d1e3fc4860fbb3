"""A host answers if it accepts a connection or refuses it; whatever else happens is no answer."""

import asyncio
import socket

import pytest

from mpio.io.heartbeat_ping import Pinger, answers
from mpio.model.address import Portal


def test_who_accepts_and_who_refuses_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        open_port = server.getsockname()[1]
        assert asyncio.run(answers(Portal("127.0.0.1", open_port), 10))
    assert asyncio.run(answers(Portal("127.0.0.1", open_port), 10))  # nobody listens there any more: refused


def test_a_name_that_is_not_there_does_not_answer() -> None:
    assert not asyncio.run(answers(Portal("no-such-host.invalid", 7), 10))


def test_silence_is_no_answer() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        clients = []
        for _ in range(2):  # a queue that is full drops what comes, as a firewall does
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            clients.append(client)
        try:
            assert not asyncio.run(answers(Portal("127.0.0.1", port), 0.2))
        finally:
            for client in clients:
                client.close()


def test_every_host_is_told_of_in_every_round() -> None:
    hosts = [Portal("127.0.0.1", port) for port in (1, 2)]
    told: list[tuple[Portal, bool]] = []
    enough = asyncio.Event()

    def tell(host: Portal, answered: bool) -> None:
        told.append((host, answered))
        if len(told) == 4:
            enough.set()

    async def run() -> None:
        task = asyncio.create_task(Pinger(hosts, 10**7, 10**10, tell).run())
        await enough.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert told[:4] == [(host, True) for host in hosts] * 2
