"""A map over real loopback sockets, with the target in the same process: no relay, no child, no timing asserts."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any

import pytest

import mpio
from mpio.cli.discover import discover
from mpio.errors import ConnectFailed, LoginRejected
from mpio.events import Event, Journal, Kind
from mpio.io import net
from mpio.io.benchmark import Load, run_load
from mpio.io.target_server import TargetServer
from mpio.model.address import Portal, TargetAddress
from mpio.model.settings import FAST, Settings
from mpio.proto.iscsi.chap import ChapConfig
from mpio.proto.iscsi.target_login import TargetParams
from mpio.target.node import Access, TargetNode
from mpio.target.store import RamStore

NAME = "iqn.2026-01.dev.mpio:test"
SIZE = 16 << 20
LIMIT_S = 30


def run(main: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await main

    asyncio.run(limited())


def make_node(name: str = NAME, *, block_size: int = 512, access: Access | None = None, size: int = SIZE) -> TargetNode:
    node = TargetNode(name, access=access)
    node.add_lun(1, RamStore(size), block_size=block_size)
    return node


class Served:
    """A node on some portals."""

    def __init__(self, node: TargetNode, server: TargetServer, portals: Sequence[Portal]) -> None:
        self.node = node
        self.server = server
        self.portals = list(portals)

    def address(self, path: int = 1, lun: int = 1) -> TargetAddress:
        return TargetAddress(self.portals[path - 1], self.node.name, lun)

    def addresses(self) -> list[TargetAddress]:
        return [self.address(path) for path in range(1, len(self.portals) + 1)]

    def kick(self, isid_suffix: int) -> None:
        """End the session of one path, as a target that crashes would."""
        for key, session in list(self.node.sessions.items()):
            if key.isid[-1] == isid_suffix:
                session.connection.close("kicked")


@contextlib.asynccontextmanager
async def served(node: TargetNode, groups: Sequence[int] = (1, 1)) -> AsyncIterator[Served]:
    server = TargetServer(node, TargetParams(portal=Portal("127.0.0.1")), time.monotonic_ns)
    portals = []
    for tpgt in groups:
        portal = server.listen(Portal("127.0.0.1", 0), tpgt)
        node.add_portal(tpgt, portal)
        portals.append(portal)
    try:
        yield Served(node, server, portals)
    finally:
        server.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for has nobody to tell
        await asyncio.sleep(0.005)


def kinds(journal: Journal, path: int | None = None) -> list[Kind]:
    return [event.kind for event in journal if path is None or event.source.endswith(f"/path:{path}")]


@pytest.mark.parametrize("block_size", [512, 4096])
@pytest.mark.parametrize("digests", [{}, {"header_digest": "CRC32C", "data_digest": "CRC32C"}])
def test_what_is_written_is_read_back_through_each_path(block_size: int, digests: dict[str, str]) -> None:
    async def main() -> None:
        async with served(make_node(block_size=block_size)) as target:
            journal = Journal()
            async with mpio.open_map(target.addresses(), FAST.replace(**digests), journal=journal) as disk:
                assert (disk.size_bytes, disk.block_size) == (SIZE, block_size)
                for length in (block_size, 16 * block_size, 3 << 20):
                    data = bytes(i % 251 for i in range(length))
                    await disk.write(block_size, data, fua=length == block_size)
                    assert await disk.read(block_size, length) == data
                    buffer = bytearray(length)
                    await disk.read_into(block_size, buffer)
                    assert buffer == data
                    for path in (1, 2):
                        assert await disk.read_path(path, block_size, block_size) == data[:block_size]
                await disk.flush()
                await disk.discard(0, 16 * block_size)
                assert await disk.read(0, 16 * block_size) == bytes(16 * block_size)
            assert target.node.sessions == {}
            assert kinds(journal).count(Kind.LOGGED_OUT) == 2, "every path has logged out in good order"

    run(main())


def test_misuse_is_told_before_anything_is_sent() -> None:
    async def main() -> None:
        async with served(make_node()) as target, mpio.open_map(target.addresses()) as disk:
            for offset, length in ((1, 512), (0, 100), (SIZE, 512), (-512, 512)):
                with pytest.raises(ValueError, match="whole blocks"):
                    await disk.read(offset, length)

    run(main())


def test_paths_to_different_units_are_never_joined() -> None:
    async def main() -> None:
        one, other = make_node(), make_node(NAME + "-other")
        async with served(one, (1,)) as first, served(other, (1,)) as second:
            with pytest.raises(mpio.MpioError, match="leads to the LU"):
                async with mpio.open_map([first.address(), second.address()]):
                    pass
            assert one.sessions == other.sessions == {}

    run(main())


def test_a_path_that_is_down_is_tried_again_in_the_background() -> None:
    async def main() -> None:
        node = make_node()
        async with served(node, (1,)) as target:
            closed = Portal("127.0.0.1", 1)
            journal = Journal()
            addresses = [target.address(), TargetAddress(closed, NAME, 1)]
            async with mpio.open_map(addresses, journal=journal) as disk:
                await disk.write(0, bytes(512))
                await until(lambda: kinds(journal, 2).count(Kind.CONNECT_FAILED) >= 2)
            with pytest.raises(ConnectFailed, match="refused"):
                async with mpio.open_map(addresses[1:]):
                    pass

    run(main())


def test_io_goes_on_when_a_path_is_reset_and_the_path_comes_back() -> None:
    async def main() -> None:
        journal = Journal()
        async with served(make_node()) as target, mpio.open_map(target.addresses(), journal=journal) as disk:
            for path in (1, 2):
                target.kick(path)
                for number in range(50):
                    await disk.write(number * 512, bytes([number]) * 512)
                await until(lambda path=path: Kind.PATH_REINSTATED in kinds(journal, path))  # type: ignore[misc]
            for number in range(50):
                assert await disk.read(number * 512, 512) == bytes([number]) * 512

    run(main())


def test_with_a_recovery_timeout_io_waits_for_the_same_path() -> None:
    """replacement_timeout: a session that is back in time was never failed, as open-iscsi does it."""

    async def main() -> None:
        journal = Journal()
        settings = FAST.replace(fast_io_fail_tmo=None, replacement_timeout=20.0)
        async with served(make_node(), (1,)) as target, mpio.open_map(target.addresses(), settings,
                                                                      journal=journal) as disk:
            target.kick(1)
            await until(lambda: Kind.CONNECTION_LOST in kinds(journal))
            await disk.write(0, b"w" * 512)
            assert await disk.read(0, 512) == b"w" * 512
            states = [event.fields["new"] for event in journal if event.kind is Kind.PATH_STATE_CHANGED]
            assert "failed" not in states

    run(main())


def test_redirection_is_followed() -> None:
    async def main() -> None:
        node = make_node()
        async with served(node) as target:
            node.redirects[target.portals[0]] = (target.portals[1], False)
            journal = Journal()
            async with mpio.open_map([target.address(1)], journal=journal) as disk:
                await disk.write(0, bytes(512))
            assert Kind.LOGIN_REDIRECTED in kinds(journal)
            # In a circle it ends, and says so
            node.redirects[target.portals[1]] = (target.portals[0], False)
            with pytest.raises(LoginRejected, match="redirection"):
                async with mpio.open_map([target.address(1)]):
                    pass

    run(main())


CHAP = ChapConfig("user", "hunter2-hunter2", "target", "other-secret-1")


@pytest.mark.parametrize("algorithm", ["MD5", "SHA1", "SHA256", "SHA3-256"])
def test_chap_both_ways(algorithm: str) -> None:
    async def main() -> None:
        access = Access(chap=CHAP, discovery_chap=CHAP)
        async with served(make_node(access=access), (1,)) as target:
            good = FAST.replace(username="user", password="hunter2-hunter2", chap_algs=(algorithm,))
            mutual = good.replace(username_in="target", password_in="other-secret-1")
            for settings in (good, mutual):
                async with mpio.open_map([target.address()], settings) as disk:
                    await disk.write(0, bytes(512))
                discovery = settings.replace(discovery_username="user", discovery_password="hunter2-hunter2")
                assert await discover(target.portals[0], discovery) == [(NAME, [(target.portals[0], 1)])]
            wrong_secret = good.replace(password="hunter2-hunter2-no")
            for wrong in (FAST, wrong_secret, mutual.replace(password_in="wrong-secret-1")):
                with pytest.raises(mpio.MpioError) as caught:
                    async with mpio.open_map([target.address()], wrong):
                        pass
                assert "hunter2" not in str(caught.value)

    run(main())


def test_paths_are_bound_to_their_source_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    peers: set[str] = set()

    def tune(sock: socket.socket) -> None:
        original(sock)
        with contextlib.suppress(OSError):  # not connected yet: the initiator's own
            peers.add(sock.getpeername()[0])

    original = net.tune
    monkeypatch.setattr(net, "tune", tune)

    async def main() -> None:
        async with served(make_node()) as target:
            sources = ["127.0.0.2", "127.0.0.3"]
            addresses = [TargetAddress(portal, NAME, 1, source=source)
                         for portal, source in zip(target.portals, sources, strict=True)]
            async with mpio.open_map(addresses) as disk:
                await disk.write(0, bytes(512))
            assert peers == set(sources)
            with pytest.raises(ConnectFailed, match=r"from 192\.0\.2\.77"):
                async with mpio.open_map([TargetAddress(target.portals[0], NAME, 1, source="192.0.2.77")]):
                    pass

    run(main())


def test_fence_by_preempt_and_by_lun_reset_where_portal_groups_differ() -> None:
    """A login to another portal group does not end the old session, so the other methods have to."""

    async def main(settings: Settings, method: str) -> None:
        journal = Journal()
        async with served(make_node(), (1, 2)) as target, mpio.open_map(target.addresses(), settings,
                                                                        journal=journal) as disk:
            store = target.node.device.units[1].store
            assert isinstance(store, RamStore)
            # A write whose answer never comes: the session is ended as soon as the write has been done
            original = store.write

            def write_and_kick(offset: int, data: Any) -> None:
                original(offset, data)
                if offset == 0:
                    store.write = original  # type: ignore[method-assign]
                    for session in list(target.node.sessions.values()):
                        if session.connection.in_flight:
                            session.connection.close("kicked")

            store.write = write_and_kick  # type: ignore[method-assign]
            await disk.write(0, b"x" * 512)
            assert await disk.read(0, 512) == b"x" * 512
            fences = [event.fields["method"] for event in journal if event.kind is Kind.FENCE_COMPLETED]
            assert fences
            assert set(fences) <= {method, "relogin"}

    slow = FAST.replace(reconnect_delay=5.0, reconnect_delay_max=5.0)
    run(main(slow.replace(reservation_key=0xABC, fence="preempt"), "preempt"))
    run(main(slow.replace(exclusive=True, fence="lun_reset"), "lun_reset"))


def test_events_come_as_they_happen() -> None:
    async def main() -> None:
        async with served(make_node()) as target, mpio.open_map(target.addresses()) as disk:
            seen: list[Event] = []

            async def watch() -> None:
                async for event in disk.events():
                    seen.append(event)  # noqa: PERF401 - it is looked at meanwhile

            watcher = asyncio.create_task(watch())
            await asyncio.sleep(0)
            target.kick(1)
            await until(lambda: any(event.kind is Kind.PATH_REINSTATED for event in seen))
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
            assert [event.seq for event in seen] == sorted(event.seq for event in seen)

    run(main())


def test_a_cancelled_call_leaves_the_disk_usable() -> None:
    async def main() -> None:
        async with served(make_node()) as target, mpio.open_map(target.addresses()) as disk:
            calls: list[Awaitable[Any]] = [asyncio.ensure_future(disk.read(0, 4096)) for _ in range(8)]
            for call in calls:
                call.cancel()  # type: ignore[attr-defined]
            await asyncio.gather(*calls, return_exceptions=True)
            assert await disk.read(0, 4096) == bytes(4096)
            await until(lambda: all(path.in_flight == 0 for path in disk.status().paths))

    run(main())


def test_after_close_requests_fail_and_nothing_is_left() -> None:
    async def main() -> None:
        async with served(make_node()) as target:
            async with mpio.open_map(target.addresses()) as disk:
                pass
            with pytest.raises(mpio.MpioError, match="closed"):
                await disk.read(0, 512)
            assert len(asyncio.all_tasks()) == 1

    run(main())


@pytest.mark.parametrize("read_fraction", [1.0, 0.5, 0.0])
def test_benchmark_counts_what_it_does(read_fraction: float) -> None:
    async def main() -> None:
        async with served(make_node()) as target, mpio.open_map(target.addresses()) as disk:
            load = Load(queue_depth=8, duration_ns=50_000_000, warm_up_ns=0, read_fraction=read_fraction)
            result = await run_load(disk, load)
            assert result.errors == 0
            assert result.ios > 0
            assert result.latency_ns["p50"] <= result.latency_ns["max"]
            total = sum(path.counters["reads"] + path.counters["writes"] for path in disk.status().paths)
            assert total == result.ios
            with pytest.raises(mpio.InputError, match="multiple of 512"):
                await run_load(disk, Load(block_bytes=1000))

    run(main())
