"""Our initiator and map against targets that others wrote."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.command import mpio as command
from tests.peers import Istgt, Peer, Tgtd, stopped

import mpio
from mpio.cli.discover import discover
from mpio.errors import IdentityMismatch, LoginRejected, MpioError, TargetError
from mpio.events import Journal
from mpio.io.session import Route, open_session
from mpio.model.settings import Settings
from mpio.proto.iscsi import LoginParams

pytestmark = pytest.mark.interop

FAST = mpio.profile("fast").replace(login_timeout=10.0)  # istgt takes a second for the first answer on a connection
LIMIT_S = 30
USER, SECRET = "joe", "a secret of 16 b"
OWN = ("disk", "another secret!!")
CHAP = {"username": USER, "password": SECRET}
MUTUAL = {**CHAP, "username_in": OWN[0], "password_in": OWN[1]}


@pytest.fixture(scope="module")
def tgtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tgtd]:
    with Tgtd(tmp_path_factory.mktemp("tgtd")) as target:
        for key in ("HeaderDigest", "DataDigest"):
            target.order("--mode", "target", "--op", "update", "--tid", "1", "--name", key, "--value", "CRC32C,None")
        yield target


@pytest.fixture(scope="module")
def istgt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Istgt]:
    with Istgt(tmp_path_factory.mktemp("istgt")) as target:
        yield target


@pytest.fixture(params=["tgtd", "istgt"])
def peer(request: pytest.FixtureRequest) -> Peer:
    target: Peer = request.getfixturevalue(request.param)
    return target


def use(urls: list[str], work: Callable[[mpio.Disk], Awaitable[None]], settings: Settings = FAST) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S), mpio.open_map(urls, settings) as disk:
            await work(disk)

    asyncio.run(limited())


def refused(urls: list[str], settings: Settings = FAST) -> MpioError:
    """What opening a map says."""
    with pytest.raises(MpioError) as caught:
        use(urls, _touch, settings)
    return caught.value


async def _touch(disk: mpio.Disk) -> None:
    """Writes, reads and flushes from one block to more than a burst, one by one and many at a time."""
    rng = random.Random(1)
    sizes = [disk.block_size, 4096, 65536, 262144 + disk.block_size, 3 << 20]
    offsets = list(itertools.accumulate(sizes, initial=1 << 20))[:-1]
    contents = [rng.randbytes(size) for size in sizes]
    await asyncio.gather(*(disk.write(*pair) for pair in zip(offsets, contents, strict=True)))
    await disk.flush()
    assert await disk.read(offsets[0], sum(sizes)) == b"".join(contents)
    for offset, content in zip(offsets, contents, strict=True):
        for path in disk.status().paths:
            assert await disk.read_path(path.path_id, offset, min(len(content), 65536)) == content[:65536]
    await disk.write(offsets[1], bytes(4096), fua=True)
    assert await disk.read(offsets[1], 4096) == bytes(4096)


def test_discovery(peer: Peer) -> None:
    found = dict(asyncio.run(discover(peer.portals[0], FAST)))
    assert (peer.portals[0], 1) in found[peer.target]
    done = command("discover", peer.portals[0], "--json")
    assert done.code == 0, done.err
    assert [target["name"] for target in json.loads(done.out)["targets"]] == [peer.target]


def test_reads_and_writes_on_two_paths(peer: Peer) -> None:
    use(peer.urls, _touch)


def test_a_login_with_the_same_isid_ends_the_old_session(peer: Peer) -> None:
    """What a fence rests on: session reinstatement, also through another portal of the group (RFC 7143 §6.3.5)."""

    async def log_in_twice() -> None:
        async with asyncio.timeout(LIMIT_S):
            sessions = [await open_session(Route(portal), params, FAST, time.monotonic_ns, Journal(), "test")
                        for portal in peer.portals]  # fmt: skip
            await asyncio.wait_for(sessions[0].lost, 5)
            assert not sessions[1].lost.done()
            await sessions[1].logout()

    params = LoginParams(FAST.initiator_name, peer.target, b"\x80\x12\x34\x56\0\1", FAST, 1, bytes(range(32)))
    asyncio.run(log_in_twice())


def test_bench_command(peer: Peer) -> None:
    done = command("bench", *peer.urls, "--mixed", "--yes", "--seconds", "0.3", "--json", "--set", "login_timeout=10")
    assert done.code == 0, done.err
    assert json.loads(done.out)["errors"] == 0


@pytest.mark.parametrize("header", ["None", "CRC32C"])
@pytest.mark.parametrize("data", ["None", "CRC32C"])
def test_digests(peer: Peer, header: str, data: str) -> None:
    use(peer.urls[:1], _touch, FAST.replace(header_digest=header, data_digest=data))


def test_digest_that_the_target_does_not_have(tmp_path: Path) -> None:
    with Tgtd(tmp_path) as target:
        use(target.urls, _touch, FAST.replace(data_digest="CRC32C,None"))
        error = refused(target.urls, FAST.replace(data_digest="CRC32C"))
    assert isinstance(error, LoginRejected)
    assert error.is_final
    assert "DataDigest" in str(error)


@pytest.mark.parametrize("kind", [Tgtd, Istgt])
def test_blocks_of_4_kib(tmp_path: Path, kind: type[Tgtd] | type[Istgt]) -> None:
    async def work(disk: mpio.Disk) -> None:
        assert (disk.block_size, disk.size_bytes) == (4096, 64 << 20)
        await _touch(disk)

    with kind(tmp_path, block_size=4096) as target:
        use(target.urls, work, FAST)


def test_discard(tgtd: Tgtd) -> None:
    async def work(disk: mpio.Disk) -> None:
        await disk.write(0, b"\xa5" * 65536)
        await disk.discard(16384, 32768)
        assert await disk.read(0, 65536) == b"\xa5" * 16384 + bytes(32768) + b"\xa5" * 16384

    use(tgtd.urls, work)


def test_discard_that_the_target_does_not_know(istgt: Istgt) -> None:
    async def work(disk: mpio.Disk) -> None:
        with pytest.raises(TargetError, match="does not support UNMAP"):
            await disk.discard(0, 65536)

    use(istgt.urls, work)


def test_chap_with_tgtd(tmp_path: Path) -> None:
    with Tgtd(tmp_path) as target:
        target.require_chap(USER, SECRET, mutual=OWN)
        use(target.urls, _touch, FAST.replace(**CHAP))  # tgtd takes 7 for SHA-1, so this ends with MD5
        use(target.urls, _touch, FAST.replace(**MUTUAL, chap_algs=("MD5",)))
        use([target.url(user=f"{USER}%{SECRET}")], _touch)
        _check_refusals(target)


def test_chap_with_istgt(tmp_path: Path) -> None:
    with Istgt(tmp_path, chap=(USER, SECRET, *OWN)) as target:
        use(target.urls[:1], _touch, FAST.replace(**MUTUAL))
        _check_refusals(target)


def _check_refusals(target: Peer) -> None:
    for changes, words in (
        ({}, "authentication"),  # istgt asks for it, tgtd refuses
        ({**MUTUAL, "password": "not the secret!!"}, "authentication failed"),
        ({**MUTUAL, "password_in": "not the secret!!"}, "did not prove"),
    ):
        error = refused(target.urls[:1], FAST.replace(**changes))
        assert isinstance(error, LoginRejected)
        assert error.is_final
        assert words in str(error)
        assert not any(str(value) in str(error) for key, value in changes.items() if "password" in key)


def test_a_wrong_secret_on_the_command_line(tmp_path: Path) -> None:
    with Tgtd(tmp_path) as target:
        target.require_chap(USER, SECRET)
        right, wrong = {"MPIO_CHAP_SECRET": SECRET}, {"MPIO_CHAP_SECRET": "not the secret!!"}
        arguments = ("bench", target.urls[0], "--seconds", "0.1", "--user", USER)
        assert command(*arguments, environment=right).code == 0
        done = command(*arguments, environment=wrong)
        assert done.code == 2
        assert done.err.count("\n") == 1
        assert "authentication failed" in done.err
        assert "not the secret" not in done.err


def test_lun_and_target_that_do_not_exist(tgtd: Tgtd) -> None:
    error = refused([tgtd.url(lun=9)])
    assert isinstance(error, TargetError)
    assert "LUN 9 does not exist" in str(error)
    error = refused([tgtd.url(target=f"{tgtd.target}.not")])
    assert isinstance(error, LoginRejected)
    assert "no such target" in str(error)


def test_two_targets_are_not_one_disk(tgtd: Tgtd) -> None:
    other = f"{tgtd.target}.other"
    tid = tgtd.add_target(other, {1: 64 << 20})
    error = refused([tgtd.url(1), tgtd.url(2, target=other)])
    assert isinstance(error, IdentityMismatch)
    for number in (1, tid):
        assert f"{number:04x}0001" in str(error)  # both WWIDs are named


def test_a_target_that_stops_for_a_while(tgtd: Tgtd) -> None:
    async def work(disk: mpio.Disk) -> None:
        with stopped(tgtd):
            waiting = [asyncio.create_task(disk.write(block * 4096, bytes([block]) * 4096)) for block in range(16)]
            await asyncio.sleep(1.2)
            assert not any(write.done() for write in waiting)
            assert not any(path.connected for path in disk.status().paths)
        await asyncio.gather(*waiting)
        assert await disk.read(0, 65536) == b"".join(bytes([block]) * 4096 for block in range(16))

    use(tgtd.urls, work)
