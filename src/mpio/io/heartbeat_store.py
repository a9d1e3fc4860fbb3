"""Where a heartbeat's blocks are: a file, a block device, or a map; requests begin here and end in a callback.

The machine above has its own timeouts and sends the next request while an old one still hangs. So nothing here waits
for anything: each request has its own thread or task, and keeps it and its buffer until it ends, however late.
"""

import asyncio
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mpio.errors import InputError, MpioError
from mpio.io.disk import Disk
from mpio.io.file_store import FileStore
from mpio.model.task import Buffer
from mpio.proto.scsi.sense import READ_ERROR
from mpio.target.store import StoreError

_BLKSSZGET = 0x1268  # the logical block size of a block device (linux/fs.h)

REQUESTS_MAX = 64  # that hang; more are refused. Above what a machine has out at a time, for others ask here too

ReadEnd = Callable[[bytes | None, str], None]
"""Takes the bytes and "", or None and what went wrong."""
WriteEnd = Callable[[str], None]
"""Takes "", or what went wrong."""


class Blocks(Protocol):
    """A few blocks that all nodes share.

    Attributes:
        name: for people. size_bytes: what there is. block_size: the unit of atomic writes; offsets and lengths are
            multiples of it. block_size_is_free: nobody said which, and larger ones would do as well.
    """

    name: str
    size_bytes: int
    block_size: int
    block_size_is_free: bool

    def read(self, offset: int, length: int, end: ReadEnd) -> None:
        """Begin to read; `end` is called once, later, on the event loop. Never raises."""

    def write(self, offset: int, data: bytes, end: WriteEnd) -> None:
        """Begin to write; `end` is called once, later, on the event loop. Never raises."""

    async def close(self) -> None:
        """Let go of it, without waiting for what hangs."""


class FileBlocks:
    """A file or a block device, past the page cache where the file system lets one.

    Args:
        path: it has to exist, and others may have it open too. block_size: 512 or 4096; None: what the device has.

    Attributes:
        direct: whether requests go past the page cache. Only nodes on one machine see each other's where not.
        in_memory: whether there is no disk below.

    Raises:
        InputError: it can't be opened, or its blocks are larger than asked for.
    """

    def __init__(self, path: Path, block_size: int | None = None, *, read_only: bool = False) -> None:
        self.name = str(path)
        try:
            kind = path.stat().st_mode
        except OSError as error:
            raise InputError(str(path), f"can't be opened: {error.strerror}") from None
        if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
            raise InputError(str(path), "expected a file, a block device or an iscsi:// URL")
        self._store, self.direct = _open(path, is_device=stat.S_ISBLK(kind), read_only=read_only)
        self.in_memory = not self._store.defers
        self.size_bytes = self._store.size_bytes
        smallest = _logical_block_size(path) if stat.S_ISBLK(kind) else self._store.alignment if self.direct else 512
        self.block_size = block_size or smallest
        self.block_size_is_free = block_size is None and not stat.S_ISBLK(kind)
        if self.block_size < smallest:
            raise InputError(str(path), f"has blocks of {smallest} bytes, and {self.block_size} were asked for")
        self._pending = 0
        self._closed = False

    def read(self, offset: int, length: int, end: ReadEnd) -> None:
        """See Blocks."""

        def done(result: Buffer | StoreError) -> None:
            self._pending -= 1
            if isinstance(result, StoreError):
                end(None, str(result))
            else:
                end(bytes(result), "")

        self._pending += 1
        if self._pending > REQUESTS_MAX:
            asyncio.get_running_loop().call_soon(done, _too_many(self.name))
            return
        try:
            data = self._store.begin_read(offset, length, done)
        except StoreError as error:
            asyncio.get_running_loop().call_soon(done, error)
        else:
            if data is not None:  # from the page cache
                asyncio.get_running_loop().call_soon(done, data)

    def write(self, offset: int, data: bytes, end: WriteEnd) -> None:
        """See Blocks. To stable storage: a heartbeat that a power failure takes back would be older than its lease."""

        def done(result: Buffer | StoreError) -> None:
            self._pending -= 1
            end(str(result) if isinstance(result, StoreError) else "")

        self._pending += 1
        if self._pending > REQUESTS_MAX:
            asyncio.get_running_loop().call_soon(done, _too_many(self.name))
            return
        try:
            at_once = self._store.begin_write(offset, data, done, fua=True)
        except StoreError as error:
            asyncio.get_running_loop().call_soon(done, error)
        else:
            if at_once:
                asyncio.get_running_loop().call_soon(done, b"")

    async def close(self) -> None:
        """See Blocks. With a request that hangs, the descriptor stays with it until the process ends."""
        if not self._pending and not self._closed:
            self._closed = True
            self._store.close()


def _too_many(name: str) -> StoreError:
    return StoreError(f"{REQUESTS_MAX} requests to {name} hang: no more are sent", READ_ERROR)


def _open(path: Path, *, is_device: bool, read_only: bool) -> tuple[FileStore, bool]:
    try:
        return FileStore(path, shared=True, direct=True, read_only=read_only), True
    except InputError as error:
        if is_device or "direct I/O" not in str(error):
            raise
    return FileStore(path, shared=True, read_only=read_only), False


def _logical_block_size(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int.from_bytes(fcntl.ioctl(fd, _BLKSSZGET, bytes(4)), "little")
    except OSError as error:
        raise InputError(str(path), f"does not tell its block size: {error.strerror}") from None
    finally:
        os.close(fd)


class MapBlocks:
    """The LU of an open map. What hangs there is the map's own business: its queueing, its retries."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._tasks: dict[asyncio.Task[None], None] = {}
        self.name = disk.map.name
        self.size_bytes = disk.size_bytes
        self.block_size = disk.block_size
        self.block_size_is_free = False

    def read(self, offset: int, length: int, end: ReadEnd) -> None:
        """See Blocks."""
        if len(self._tasks) >= REQUESTS_MAX:
            asyncio.get_running_loop().call_soon(end, None, str(_too_many(self.name)))
            return

        async def run() -> None:
            try:
                data = await self._disk.read(offset, length)
            except MpioError as error:
                end(None, str(error))
            else:
                end(bytes(data), "")

        self._start(run())

    def write(self, offset: int, data: bytes, end: WriteEnd) -> None:
        """See Blocks. With FUA, for the same reason as with a file."""
        if len(self._tasks) >= REQUESTS_MAX:
            asyncio.get_running_loop().call_soon(end, str(_too_many(self.name)))
            return

        async def run() -> None:
            try:
                await self._disk.write(offset, data, fua=True)
            except MpioError as error:
                end(str(error))
            else:
                end("")

        self._start(run())

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]

    async def close(self) -> None:
        """See Blocks. The disk stays open: it is its owner's."""
        for task in self._tasks:
            task.cancel()


class Region:
    """A part of other blocks, counted from its own start.

    Args:
        inner: the whole.
        offset, length: in bytes, whole blocks; None: to the end.

    Raises:
        InputError: it does not fit.
    """

    def __init__(self, inner: Blocks, offset: int, length: int | None = None) -> None:
        unit = inner.block_size
        if offset % unit:
            raise InputError("--region", f"expected an offset in whole blocks of {unit} bytes, found {offset}")
        room = inner.size_bytes - offset
        if room <= 0 or (length is not None and length > room):
            end = offset + (length or unit)
            raise InputError("--region", f"ends at {end}, and {inner.name} has {inner.size_bytes} bytes")
        self._inner = inner
        self._offset = offset
        self.name = inner.name
        self.size_bytes = room if length is None else length
        self.block_size = inner.block_size
        self.block_size_is_free = inner.block_size_is_free

    def read(self, offset: int, length: int, end: ReadEnd) -> None:
        """See Blocks."""
        self._inner.read(self._offset + offset, length, end)

    def write(self, offset: int, data: bytes, end: WriteEnd) -> None:
        """See Blocks."""
        self._inner.write(self._offset + offset, data, end)

    async def close(self) -> None:
        """See Blocks."""
        await self._inner.close()
