"""A target that is slow to answer logins, as some are: fences and logins must not cut each other short for ever."""

import asyncio
import contextlib
from pathlib import Path

from tests.peers import MpioTarget

import mpio
from mpio.model.address import Portal, TargetAddress

LOGIN_DELAY_S = 0.4
SETTINGS = mpio.profile("fast").replace(
    path_grouping_policy="multibus", path_selector="round-robin", noop_out_interval=0.1, noop_out_timeout=0.1,
    polling_interval=0.3, fence_timeout=0.2, login_timeout=5.0, no_path_retry="queue",
)


class SlowPortal:
    """Passes connections on, each after a pause; `freeze` keeps back what those of the moment still send or get."""

    def __init__(self, target: Portal) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._pipes: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Portal:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return Portal(*self._server.sockets[0].getsockname())

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.freeze()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        for pipe in self._pipes:
            pipe.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._pipes.append(asyncio.create_task(self._connect(reader, writer)))

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(LOGIN_DELAY_S)
        reader2, writer2 = await asyncio.open_connection(self._target.host, self._target.port)
        self._writers.append(writer2)
        self._pipes += [asyncio.create_task(_pipe(reader, writer2)), asyncio.create_task(_pipe(reader2, writer))]


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
    writer.close()


async def _write_through_a_lost_path(target: MpioTarget) -> None:
    portals = [SlowPortal(portal) for portal in target.portals]
    async with asyncio.timeout(15), portals[0] as one, portals[1] as two:
        addresses = [TargetAddress(portal, target.target, target.lun) for portal in (one, two)]
        async with mpio.open_map(addresses, SETTINGS) as disk:
            portals[1].freeze()
            await asyncio.gather(*(disk.write(block * 4096, bytes(4096)) for block in range(8)))


def test_a_write_in_doubt_ends_though_a_login_takes_longer_than_fences_wait(tmp_path: Path) -> None:
    with MpioTarget(tmp_path) as target:
        asyncio.run(_write_through_a_lost_path(target))
