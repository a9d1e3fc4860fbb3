"""Stores behind NBD servers: nbdkit and qemu-nbd, straight and through the target."""

import asyncio
import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tests.command import tool
from tests.peers import MpioTarget, find

from mpio.errors import InputError
from mpio.io import nbd_store
from mpio.io.nbd_store import NbdStore
from mpio.model.task import Buffer
from mpio.proto.nbd.uri import parse_uri
from mpio.proto.scsi.sense import SPACE_ALLOCATION_FAILED, WRITE_ERROR
from mpio.target.allocation import BlockStatus
from mpio.target.store import StoreError

pytestmark = pytest.mark.interop

SIZE = 8 << 20


@contextlib.contextmanager
def serving(directory: Path, *command: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An NBD server on a socket file; `{socket}` in its arguments stands for the path."""
    socket = directory / f"nbd-{time.monotonic_ns()}.sock"
    words = [find(command[0]), *(word.format(socket=socket) for word in command[1:])]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            deadline = time.monotonic() + 15
            while not socket.exists():
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield f"nbd+unix:///?socket={socket}", process
        finally:
            process.kill()


def nbdkit(directory: Path, *arguments: str, filters: Sequence[str] = ()
           ) -> contextlib.AbstractContextManager[tuple[str, subprocess.Popen[bytes]]]:
    return serving(directory, "nbdkit", "-f", "-U", "{socket}", *(f"--filter={name}" for name in filters), *arguments)


def qemu_nbd(directory: Path, image: Path) -> contextlib.AbstractContextManager[tuple[str, subprocess.Popen[bytes]]]:
    return serving(directory, "qemu-nbd", "-t", "-k", "{socket}", "-f", "qcow2", str(image))


@pytest.fixture(params=["nbdkit", "nbdkit, no structured replies", "nbdkit, small requests", "qemu-nbd"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "disk.img"
    if request.param == "qemu-nbd":
        assert tool("qemu-img", "create", "-f", "qcow2", image, SIZE).code == 0
        server = qemu_nbd(tmp_path, image)
    elif "small" in request.param:
        server = nbdkit(tmp_path, "memory", str(SIZE), "blocksize-minimum=512", "blocksize-preferred=4096",
                        "blocksize-maximum=64k", "blocksize-error-policy=error", filters=["blocksize-policy"])
    else:
        server = nbdkit(tmp_path, *(["--no-sr"] if "no" in request.param else []), "memory", str(SIZE))
    with server as (where, _):
        yield where


def open_uri(text: str) -> NbdStore:
    return NbdStore(parse_uri(text))


def test_it_is_a_bytearray(uri: str) -> None:
    store, model, rng = open_uri(uri), bytearray(SIZE), random.Random(7)
    assert (store.size_bytes, store.writable) == (SIZE, True)
    for _ in range(60):
        offset = rng.randrange(SIZE // 512) * 512
        length = min(rng.choice((512, 4096, 65536, 1 << 20)), SIZE - offset)
        if rng.random() < 0.3:
            store.discard(offset, length)
            model[offset : offset + length] = bytes(length)
        else:
            data = rng.randbytes(length)
            store.write(offset, data)
            model[offset : offset + length] = data
        assert store.read(offset, length) == model[offset : offset + length]
    store.flush()
    assert store.read(0, SIZE) == model
    store.close()
    again = open_uri(uri)
    assert again.read(0, SIZE) == model
    again.close()


def test_many_at_a_time(uri: str) -> None:
    store, count = open_uri(uri), 64

    async def run() -> list[Buffer | StoreError]:
        results: list[asyncio.Future[Buffer | StoreError]] = []

        def take() -> Callable[[Buffer | StoreError], None]:
            results.append(asyncio.get_running_loop().create_future())
            return results[-1].set_result

        for number in range(count):
            store.begin_write(number * 65536, bytes([number + 1]) * 65536, take(), fua=number % 2 == 0)
        await asyncio.gather(*results)
        if store.begin_flush(flushed := take()):
            flushed(b"")
        for number in range(count):
            store.begin_read(number * 65536, 65536, take())
        done = await asyncio.gather(*results)
        store.close()
        return done

    assert asyncio.run(run()) == [b""] * (count + 1) + [bytes([number + 1]) * 65536 for number in range(count)]


def test_holes_are_told(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    assert tool("qemu-img", "create", "-f", "qcow2", image, SIZE).code == 0
    with qemu_nbd(tmp_path, image) as (where, _):
        store = open_uri(where)
        assert store.allocation(0, SIZE) == (BlockStatus.DEALLOCATED, SIZE)
        store.write(1 << 20, b"x" * (1 << 20))
        assert store.allocation(0, SIZE) == (BlockStatus.DEALLOCATED, 1 << 20)
        assert store.allocation(1 << 20, SIZE - (1 << 20)) == (BlockStatus.MAPPED, 1 << 20)
        store.close()


def test_errors_of_the_server_are_told(tmp_path: Path) -> None:
    with nbdkit(tmp_path, "memory", str(SIZE), "error-pwrite-rate=100%", "error=ENOSPC", filters=["error"]) as (uri, _):
        store = open_uri(uri)
        with pytest.raises(StoreError, match="WRITE with error 28") as caught:
            store.write(0, b"x" * 512)
        assert caught.value.sense == SPACE_ALLOCATION_FAILED
        assert store.read(0, 512) == bytes(512)
        store.close()


def test_read_only_exports(tmp_path: Path) -> None:
    with nbdkit(tmp_path, "-r", "memory", str(SIZE)) as (uri, _):
        store = open_uri(uri)
        assert not store.writable
        store.close()


def test_what_can_not_be_served(tmp_path: Path, uri: str) -> None:
    with pytest.raises(InputError, match="can't connect: No such file"):
        open_uri(f"nbd+unix:///?socket={tmp_path}/nothing")
    with nbdkit(tmp_path, "memory", "0") as (empty, _), pytest.raises(InputError, match="is empty"):
        open_uri(empty)


def test_an_export_that_is_not_there(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    assert tool("qemu-img", "create", "-f", "qcow2", image, SIZE).code == 0
    with qemu_nbd(tmp_path, image) as (uri, _), pytest.raises(InputError, match="the server has no such export"):
        open_uri(uri.replace("///", "///other"))


def test_a_server_that_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads go on; the first flush fails, for what was acknowledged and not flushed; then all is well again."""
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(SIZE))
    monkeypatch.setattr(nbd_store, "RETRY_NS", 0)
    with nbdkit(tmp_path, "file", str(image)) as (uri, process):
        store = open_uri(uri)
        store.write(0, b"x" * 512)
        process.kill()
        process.wait()
        with pytest.raises(StoreError):
            store.read(0, 512)
        with pytest.raises(StoreError, match="can't connect"):
            store.read(0, 512)
    path = uri.rpartition("=")[2]
    Path(path).unlink(missing_ok=True)
    with serving(tmp_path, "nbdkit", "-f", "-U", "{socket}", "file", str(image)) as (other, _):
        shutil.move(other.rpartition("=")[2], path)
        assert store.read(0, 512) == b"x" * 512
        with pytest.raises(StoreError, match="may be lost") as caught:
            store.flush()
        assert caught.value.sense == WRITE_ERROR
        store.flush()
        store.close()


def test_a_write_that_ends_after_a_flush_is_not_covered_by_it(tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """It was on its way when the flush was, and is acknowledged; then the server loses it. The next flush says so."""
    monkeypatch.setattr(nbd_store, "RETRY_NS", 0)
    ended: list[str] = []
    with nbdkit(tmp_path, "memory", str(SIZE), "wdelay=1", filters=["delay"]) as (uri, process):
        store = open_uri(uri)
        store.begin_write(0, b"x" * 512, lambda _: ended.append("write"), fua=False)
        store.begin_flush(lambda _: ended.append("flush"))
        store.drain()
        process.kill()
        process.wait()
        with pytest.raises(StoreError):
            store.read(0, 512)
    assert ended == ["flush", "write"]
    path = uri.rpartition("=")[2]
    Path(path).unlink(missing_ok=True)
    with nbdkit(tmp_path, "memory", str(SIZE)) as (other, _):
        shutil.move(other.rpartition("=")[2], path)
        store.write(512, b"y" * 512)
        with pytest.raises(StoreError, match="may be lost"):
            store.flush()
        store.flush()
        store.close()


def test_a_flush_that_failed_fails_for_ever(tmp_path: Path) -> None:
    """The server's kernel may have dropped what it could not write, and would call the next attempt a success."""
    once = f"if [ -e {tmp_path}/failed ]; then exit 0; fi; touch {tmp_path}/failed; echo EIO >&2; exit 1"
    with nbdkit(tmp_path, "eval", f"get_size=echo {SIZE}", "pread=head -c $3 /dev/zero", "pwrite=cat >/dev/null",
                f"flush={once}", "can_flush=exit 0") as (uri, _):
        store = open_uri(uri)
        store.write(0, b"x" * 512)
        for _ in range(2):
            with pytest.raises(StoreError, match="FLUSH with error 5") as caught:
                store.flush()
            assert caught.value.sense == WRITE_ERROR
        assert store.read(0, 512) == bytes(512)
        store.close()


def test_a_server_that_dies_with_a_write_in_flight_is_not_asked_again(tmp_path: Path,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nbd_store, "RETRY_NS", 0)
    with nbdkit(tmp_path, "memory", str(SIZE), "wdelay=60", filters=["delay"]) as (uri, process):
        store = open_uri(uri)
        results: list[Buffer | StoreError] = []
        store.begin_write(0, b"x" * 512, results.append, fua=False)
        store.read(0, 512)  # goes past it
        process.kill()
        with pytest.raises(StoreError, match="may still land"):
            store.drain()
        assert isinstance(results[0], StoreError)
        with pytest.raises(StoreError, match="may still land"):
            store.read(0, 512)


# --- through the target


@pytest.mark.parametrize("server", ["nbdkit", "qemu-nbd"])
def test_a_qemu_image_behind_the_target(tmp_path: Path, server: str) -> None:
    image = tmp_path / "disk.qcow2"
    assert tool("qemu-img", "create", "-f", "qcow2", image, SIZE).code == 0
    up = qemu_nbd(tmp_path, image) if server == "qemu-nbd" else nbdkit(tmp_path, "memory", str(SIZE))
    source = tmp_path / "source.img"
    source.write_bytes(random.Random(1).randbytes(SIZE))
    with up as (uri, _), MpioTarget(tmp_path, f"1={uri}") as target:
        for command in (("convert", "-n", "-f", "raw", "-O", "raw", source, target.url()),
                        ("compare", "-f", "raw", "-F", "raw", source, target.url(2))):
            done = tool("qemu-img", *command)
            assert done.code == 0, done.out + done.err
        steps = ("write -P 9 0 64k", "write -f -P 8 64k 64k", "discard 128k 64k", "flush", "read -P 9 0 64k",
                 "read -P 8 64k 64k", "read -P 0 128k 64k")
        done = tool("qemu-io", "-f", "raw", *(word for step in steps for word in ("-c", step)), target.url())
        assert done.code == 0, done.out + done.err
        assert "verification" not in done.out


def test_an_overlay_on_an_image_leaves_it_as_it_is(tmp_path: Path) -> None:
    image = tmp_path / "golden.img"
    image.write_bytes(random.Random(2).randbytes(SIZE))
    before = image.read_bytes()
    with MpioTarget(tmp_path, f"1=cow:{image}") as target:
        steps = ("write -P 9 0 64k", "discard 128k 64k", "flush", "read -P 9 0 64k", "read -P 0 128k 64k")
        done = tool("qemu-io", "-f", "raw", *(word for step in steps for word in ("-c", step)), target.url())
        assert done.code == 0, done.out + done.err
        assert "verification" not in done.out
        assert tool("qemu-img", "compare", "-f", "raw", "-F", "raw", image, target.url()).code == 1
    assert image.read_bytes() == before
