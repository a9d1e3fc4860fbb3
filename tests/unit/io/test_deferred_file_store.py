"""Stores in files with several I/Os in flight."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mpio.errors import InputError
from mpio.io import file_store
from mpio.io.file_store import FileStore
from mpio.io.workers import Workers
from mpio.model.task import Buffer
from mpio.proto.scsi.sense import WRITE_ERROR
from mpio.target.allocation import BlockStatus
from mpio.target.store import StoreError

SIZE = 1 << 20


@pytest.fixture(params=["cached", "direct"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    try:
        return FileStore(tmp_path / "lun.img", SIZE, direct=request.param == "direct")
    except InputError as refused:
        pytest.skip(str(refused))


def collect(store: FileStore, *begin: Callable[[Callable[[Buffer | StoreError], None]], Buffer | bool | None]
            ) -> list[Buffer | StoreError]:
    """Begin all, and wait on the event loop until all are done."""

    async def run() -> list[Buffer | StoreError]:
        results: list[asyncio.Future[Buffer | StoreError]] = []
        for one in begin:
            future = asyncio.get_running_loop().create_future()
            results.append(future)
            result = one(future.set_result)
            if isinstance(result, bytes | bytearray | memoryview):
                future.set_result(result)
            elif result:
                future.set_result(b"")
        return await asyncio.gather(*results)

    return asyncio.run(run())


def test_many_at_a_time(store: FileStore) -> None:
    count = 64
    done = collect(store, *(
        lambda done, i=i: store.begin_write(i * 4096, bytes([i + 1]) * 4096, done, fua=i % 2 == 0)
        for i in range(count)))
    assert done == [b""] * count
    done = collect(store, store.begin_flush, *(
        lambda done, i=i: store.begin_read(i * 4096, 4096, done) for i in range(count)))
    assert done == [b"", *(bytes([i + 1]) * 4096 for i in range(count))]
    store.close()
    assert store.path.read_bytes()[: count * 4096] == b"".join(bytes([i + 1]) * 4096 for i in range(count))


def test_nothing_is_read_and_written_too(store: FileStore) -> None:
    store.write(4096, b"")
    assert store.read(4096, 0) == b""


def test_drain_waits_and_hands_out(store: FileStore) -> None:
    async def run() -> None:
        done: list[Buffer | StoreError] = []
        for _ in range(40):
            store.begin_flush(done.append)
        store.drain()
        assert done == [b""] * 40

    asyncio.run(run())


def test_a_disk_that_hangs_is_told(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(file_store, "DRAIN_S", 0.05)
    monkeypatch.setattr(os, "fdatasync", lambda _fd: free.wait())

    async def run() -> None:
        done: list[Buffer | StoreError] = []
        store.begin_flush(done.append)
        with pytest.raises(StoreError, match="has not ended"):
            store.drain()
        free.set()
        store.drain()
        assert done == [b""]

    asyncio.run(run())


def test_forced_access_that_fails_is_a_flush_that_failed(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", fail)
        failed = collect(store, lambda done: store.begin_write(0, b"x" * 4096, done, fua=True))
    flushed = collect(store, store.begin_flush)
    for result in (*failed, *flushed):
        assert isinstance(result, StoreError)
        assert result.sense == WRITE_ERROR


def test_after_a_write_that_had_to_wait_the_next_ones_do_not_hold_the_loop_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(tmp_path / "lun.img", SIZE)
    monkeypatch.setattr(file_store, "SLOW_WRITE_NS", -1)
    monkeypatch.setattr(file_store, "SLOW_WRITES", 2)
    at_once: list[bool] = []

    def begin(done: Callable[[Buffer | StoreError], None]) -> bool:
        at_once.append(store.begin_write(0, b"x" * 512, done, fua=False))
        return at_once[-1]

    assert collect(store, *[begin] * 4) == [b""] * 4
    assert at_once == [True, False, False, True]


def test_holes_are_told(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "lun.img", SIZE)
    assert store.allocation(0, SIZE) == (BlockStatus.DEALLOCATED, SIZE)
    store.write(256 << 10, b"x" * (64 << 10))
    store.flush()
    assert store.allocation(0, SIZE) == (BlockStatus.DEALLOCATED, 256 << 10)
    assert store.allocation(256 << 10, SIZE - (256 << 10)) == (BlockStatus.MAPPED, 64 << 10)
    assert store.allocation(256 << 10, 4096) == (BlockStatus.MAPPED, 4096)
    store.discard(256 << 10, 64 << 10)
    assert store.allocation(0, SIZE) == (BlockStatus.DEALLOCATED, SIZE)


def test_files_in_memory_need_no_threads(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir():
        pytest.skip("/dev/shm is not there")
    path = memory / f"mpio-test-{os.getpid()}.img"
    try:
        assert not FileStore(path, SIZE).defers
    finally:
        path.unlink(missing_ok=True)


def test_workers_have_a_limit_and_keep_everything() -> None:
    async def run() -> None:
        workers: Workers[int, ValueError] = Workers(3, ValueError)
        done: list[int | ValueError] = []
        for number in range(50):
            workers.start(lambda number=number: number, done.append)  # type: ignore[misc]
        assert workers.drain(10)
        assert sorted(one for one in done if isinstance(one, int)) == list(range(50))
        assert len(workers._threads) <= 3
        workers.close()

    asyncio.run(run())
