"""Blocks of a heartbeat on files: past the cache, beside each other, and never waited for."""

import asyncio
import contextlib
import os
import threading
from pathlib import Path

import pytest

from mpio.errors import InputError
from mpio.heartbeat.formats import own
from mpio.heartbeat.region import Holds, Layout
from mpio.io import heartbeat_store
from mpio.io.heartbeat_region import Unread, find, make, read, read_slots, write
from mpio.io.heartbeat_store import FileBlocks, Region

TIMING = own.Timing(2 * 10**9, 60 * 10**9, 66 * 10**9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "device"
    made.write_bytes(bytes(1 << 20))
    return made


def header(sector: int = 512, slots: int = 4) -> own.Header:
    return own.Header(bytes(range(16)), TIMING, sector, slots)


def test_what_one_writes_the_other_reads(path: Path) -> None:
    async def run() -> bytes | Unread:
        one, two = FileBlocks(path), FileBlocks(path)
        await write(one, 4096, b"a" * 512)
        found = await read(two, 4096, 512)
        await one.close()
        await two.close()
        await two.close()
        return found

    assert asyncio.run(run()) == b"a" * 512


def test_a_request_that_hangs_is_not_waited_for_and_holds_nobody_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    pread = os.preadv

    def slow(fd: int, buffers: list[memoryview], offset: int, *flags: int) -> int:
        if offset == 0 and len(buffers[0]) == 512:
            release.wait()
        return pread(fd, buffers, offset, *flags)

    async def run() -> tuple[bytes | Unread, bytes | Unread]:
        blocks = FileBlocks(path)
        monkeypatch.setattr(os, "preadv", slow)
        late = asyncio.Event()
        blocks.read(0, 512, lambda _data, _error: late.set())
        blocks._store._nowait = False  # so that the page cache, if that is what there is, does not answer at once
        hung = await read(blocks, 0, 512, 0.05)
        other = await read(blocks, 512, 512)
        await blocks.close()
        release.set()
        await late.wait()
        return hung, other

    with contextlib.ExitStack() as stack:
        stack.callback(release.set)
        hung, other = asyncio.run(run())
    assert hung == Unread(f"no answer from {path} within 0.05 s", hangs=True)
    assert other == bytes(512)


def test_hanging_requests_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat_store, "REQUESTS_MAX", 3)

    async def run() -> list[bytes | Unread]:
        blocks = FileBlocks(path)
        ended: list[bytes | Unread] = list(await asyncio.gather(*(read(blocks, 0, 512) for _ in range(5))))
        ended.append(await read(blocks, 0, 512))
        await blocks.close()
        return ended

    ended = asyncio.run(run())
    assert ended[:3] == [bytes(512)] * 3
    assert all(isinstance(found, Unread) and "3 requests to" in found.words for found in ended[3:5])
    assert ended[5] == bytes(512)


def test_a_part_of_a_device_is_counted_from_its_start(path: Path) -> None:
    async def run() -> None:
        blocks = FileBlocks(path)
        part = Region(blocks, 8192, 4096)
        await write(part, 512, b"b" * 512)
        assert await read(part, 512, 512) == await read(blocks, 8704, 512) == b"b" * 512
        await part.close()

    asyncio.run(run())


@pytest.mark.parametrize(("offset", "length", "words"), [
    (100, None, "expected an offset in whole blocks of 512 bytes, found 100"),
    (1 << 20, None, f"ends at {(1 << 20) + 512}, and"),
    (0, (1 << 20) + 512, f"ends at {(1 << 20) + 512}, and"),
])
def test_a_part_that_is_not_there(path: Path, offset: int, length: int | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Region(FileBlocks(path), offset, length)


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_region_is_made_and_found_with_its_sectors(path: Path, sector: int) -> None:
    async def run() -> None:
        layout = Layout(Holds.OWN, sector, 4)
        blocks = FileBlocks(path, sector)
        await make(blocks, layout, header(sector))
        await blocks.close()
        again = FileBlocks(path)
        found = await find(again)
        assert (found.holds, found.header, again.block_size) == (Holds.OWN, header(sector), sector)
        assert await read_slots(again, layout) == [bytes(sector)] * 4
        await again.close()

    asyncio.run(run())


def test_a_region_of_other_sectors_than_asked_for_is_refused(path: Path) -> None:
    async def run() -> None:
        blocks = FileBlocks(path)
        await make(blocks, Layout(Holds.OWN, 512, 4), header())
        with pytest.raises(InputError, match="the region has sectors of 512 bytes, and the device blocks of 4096"):
            await find(FileBlocks(path, 4096))
        await blocks.close()

    asyncio.run(run())


class Torn:
    """Blocks some of which can't be read, or never answer."""

    def __init__(self, path: Path, bad: list[int], *, hangs: bool = False) -> None:
        self._inner = FileBlocks(path)
        self._bad = bad
        self._hangs = hangs
        self.reads = 0
        self.name, self.size_bytes, self.block_size = str(path), self._inner.size_bytes, 512
        self.block_size_is_free = False

    def read(self, offset: int, length: int, end: heartbeat_store.ReadEnd) -> None:
        self.reads += 1
        if not any(offset <= bad < offset + length for bad in self._bad):
            self._inner.read(offset, length, end)
        elif not self._hangs:
            asyncio.get_running_loop().call_soon(end, None, "Input/output error")

    def write(self, offset: int, data: bytes, end: heartbeat_store.WriteEnd) -> None:
        self._inner.write(offset, data, end)

    async def close(self) -> None:
        await self._inner.close()


def test_one_bad_sector_hides_no_other(path: Path) -> None:
    async def run() -> None:
        layout = Layout(Holds.OWN, 512, 4)
        torn = Torn(path, [layout.slot(2)])
        await make(torn, layout, header())
        assert (await find(torn)).header == header()
        assert await read_slots(torn, layout) == [bytes(512), bytes(512), "Input/output error", bytes(512)]
        await torn.close()

    asyncio.run(run())


def test_a_bad_header_or_a_device_that_hangs_is_a_clear_error(path: Path) -> None:
    async def run() -> None:
        with pytest.raises(InputError, match="can't be read: Input/output error"):
            await find(Torn(path, [0]))
        hung = Torn(path, [0], hangs=True)
        with pytest.raises(InputError, match=r"can't be read: no answer from .* within 0\.05 s"):
            await find(hung, 0.05)
        assert await read_slots(Torn(path, [512], hangs=True), Layout(Holds.OWN, 512, 4), 0.05) == [
            f"no answer from {path} within 0.05 s"] * 4

    asyncio.run(run())


@pytest.mark.parametrize(("what", "words"), [("", "expected a file, a block device"), ("no", "No such file")])
def test_what_is_no_place_for_a_region(tmp_path: Path, what: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        FileBlocks(tmp_path / what)
