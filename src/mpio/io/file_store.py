"""A block store in a file or on a block device, for the software target.

Data go through the page cache, or past it (O_DIRECT), and `flush` brings them to stable storage. What the cache has is
read at once; whatever waits for the disk goes to threads, several at a time: reads of other data, flushes, forced unit
access, everything that is direct. Writes into the cache are done at once as long as that is quick. The space of
discarded ranges goes back to the file system where it can take it.
"""

import ctypes
import errno
import fcntl
import os
import stat
import time
from pathlib import Path

from mpio.errors import InputError
from mpio.io.mounts import is_in_memory
from mpio.io.workers import Workers
from mpio.model.task import Buffer
from mpio.proto.scsi.sense import READ_ERROR, SPACE_ALLOCATION_FAILED, WRITE_ERROR
from mpio.target.allocation import BlockStatus
from mpio.target.store import StoreError, write_zeroes
from mpio.target.task_queue import Done

_FALLOC_PUNCH_HOLE = 0x02 | 0x01  # with KEEP_SIZE; zeroes the range, on block devices too (linux/falloc.h)
_NOT_OFFERED = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV, errno.EINVAL))
_NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT))
_PAGE_BYTES = 4096
_ALIGNMENTS = (512, 4096)  # of direct I/O: what the device's logical blocks are

THREADS_MAX = 16  # I/Os that wait for one disk side by side
DRAIN_S = 30.0  # a disk that does not end one I/O in this time is given up waiting for
SLOW_WRITE_NS = 2_000_000  # a write into the cache that took longer than this had to wait
SLOW_WRITES = 256  # go to threads after one that had to wait, until it is tried again

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def _aligned(length: int) -> memoryview:
    """Room that begins at a page, as direct I/O wants it; from the heap, since fresh pages cost more than the I/O."""
    room = bytearray(length + _PAGE_BYTES - 1)
    start = -ctypes.addressof(ctypes.c_char.from_buffer(room)) % _PAGE_BYTES
    return memoryview(room)[start : start + length]


class FileStore:
    """See BlockStore and DeferringStore.

    Args:
        path: a regular file or a block device. size_bytes: grow or make the file to this size; None: as large as it is.
        read_only: never write. shared: others may have it open too, as the nodes of a cluster do.
        direct: past the page cache.

    Attributes:
        alignment: offsets and lengths have to be multiples of this.

    Raises:
        InputError: it can't be opened, is empty or of another size, can't do direct I/O, or somebody else serves it.
    """

    def __init__(
        self, path: str | Path, size_bytes: int | None = None, *, read_only: bool = False, shared: bool = False,
        direct: bool = False,
    ) -> None:
        self.path = Path(path)
        self.writable = not read_only
        self.volatile = not read_only
        flags = os.O_RDONLY if read_only else os.O_RDWR | (os.O_CREAT if size_bytes is not None else 0)
        try:
            self._fd = os.open(self.path, flags | os.O_CLOEXEC | (os.O_DIRECT if direct else 0), 0o600)
        except OSError as error:
            how = " for direct I/O" if direct and error.errno == errno.EINVAL else ""
            raise InputError(str(path), f"can't be opened{how}: {error.strerror}") from None
        try:
            if not shared:
                self._lock()
            self.size_bytes = self._fit(size_bytes)
            self.alignment = self._find_alignment() if direct else 1
        except BaseException:
            os.close(self._fd)
            raise
        self._punches = True
        self._flush_error: StoreError | None = None
        self._direct = direct
        self._slow_writes = 0  # that go to threads yet
        self._workers: Workers[Buffer, StoreError] = Workers(THREADS_MAX, StoreError)
        self._nowait = True
        self.defers = not is_in_memory(self._fd)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, (fcntl.LOCK_EX if self.writable else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError:
            raise InputError(str(self.path), "is in use: another target serves it") from None

    def _fit(self, wanted: int | None) -> int:
        try:
            found = os.lseek(self._fd, 0, os.SEEK_END)
            if wanted is not None and found < wanted and self.writable and self.path.is_file():
                os.ftruncate(self._fd, wanted)
                self._keep()
                found = wanted
        except OSError as error:
            raise InputError(str(self.path), f"can't be sized: {error.strerror}") from None
        if wanted is not None and found != wanted:
            raise InputError(str(self.path), f"expected {wanted} bytes, found {found}")
        if found == 0:
            raise InputError(str(self.path), "is empty: expected a size, or a file that has one")
        return found

    def grow(self, size_bytes: int) -> None:
        """See target.growth.GrowingStore: a regular file is made larger; of a device, so much has to be there."""
        try:
            found = os.lseek(self._fd, 0, os.SEEK_END)
            if found < size_bytes and self.writable and stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.ftruncate(self._fd, size_bytes)
                self._keep()
                found = size_bytes
        except OSError as error:
            raise ValueError(f"{self.path} can't be made larger: {error.strerror}") from None
        if found < size_bytes:
            raise ValueError(f"{self.path} has {found} bytes and can't be made larger from here")
        self.size_bytes = size_bytes

    def _keep(self) -> None:
        """The file and its size are on stable storage before anything is put into it."""
        os.fsync(self._fd)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _find_alignment(self) -> int:
        for alignment in _ALIGNMENTS:
            try:
                os.preadv(self._fd, [_aligned(alignment)], 0)
            except OSError:
                continue
            return alignment
        raise InputError(str(self.path), "can't do direct I/O in blocks of 512 or 4096 bytes")

    # --- now

    def read(self, offset: int, length: int) -> bytes:
        """The bytes. Raises StoreError."""
        if self._direct:
            return bytes(self._read_direct(offset, length))
        pieces = []
        try:
            while length:
                piece = os.pread(self._fd, length, offset)
                if not piece:
                    raise StoreError(f"{self.path} has been cut short", READ_ERROR)
                pieces.append(piece)
                offset += len(piece)
                length -= len(piece)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}", READ_ERROR) from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_direct(self, offset: int, length: int) -> memoryview:
        room = _aligned(length)
        at = 0
        try:
            while at < length:
                count = os.preadv(self._fd, [room[at:]], offset + at)
                if count <= 0:
                    raise StoreError(f"{self.path} has been cut short", READ_ERROR)
                at += count
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}", READ_ERROR) from None
        return room

    def write(self, offset: int, data: Buffer) -> None:
        """Write all of it. Raises StoreError."""
        self._write(offset, data, 0)

    def _write(self, offset: int, data: Buffer, flags: int) -> bytes:
        view = memoryview(data)
        if self._direct and view:
            aligned = _aligned(len(data))
            aligned[:] = view
            view = aligned
        try:
            while view:
                count = os.pwritev(self._fd, [view], offset, flags)
                offset += count
                view = view[count:]
        except OSError as error:
            raise self._write_error(error) from None
        return b""

    def flush(self) -> None:
        """Bring everything written so far to stable storage. Raises StoreError, and from then on every time.

        After a failure the kernel may have dropped what it could not write, and would call the next attempt a success.
        """
        if self._flush_error is not None:
            raise self._flush_error
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._flush_error = self._write_error(error)
            raise self._flush_error from None

    def discard(self, offset: int, length: int) -> None:
        """Give the space back, or zero the range where that can't be done. Raises StoreError."""
        if self._punches:
            if _fallocate(self._fd, _FALLOC_PUNCH_HOLE, offset, length) == 0:
                return
            number = ctypes.get_errno()
            if number not in _NOT_OFFERED:
                raise self._write_error(OSError(number, os.strerror(number)))
            self._punches = False
        write_zeroes(self, offset, length)

    def allocation(self, offset: int, length: int) -> tuple[BlockStatus, int]:
        """See ThinStore: what the file system tells of holes, in its own blocks. Raises StoreError."""
        end = offset + length
        try:
            data = os.lseek(self._fd, offset, os.SEEK_DATA)
            if data > offset:
                return BlockStatus.DEALLOCATED, min(data, end) - offset
            hole = os.lseek(self._fd, offset, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here to the end
                return BlockStatus.DEALLOCATED, length
            raise StoreError(f"{self.path}: {error.strerror}", READ_ERROR) from None
        return BlockStatus.MAPPED, min(hole, end) - offset

    def close(self) -> None:
        """Wait for what was begun, and close the file."""
        ended = self._workers.drain(DRAIN_S)
        self._workers.close()
        if ended:  # else a thread still has the descriptor in its hands, and its number must not go to another file
            os.close(self._fd)

    # --- begun now, done later

    def begin_read(self, offset: int, length: int, done: Done) -> Buffer | None:
        """See DeferringStore."""
        if self._direct:
            self._workers.start(lambda: self._read_direct(offset, length), done)
            return None
        if self._nowait:
            room = bytearray(length)
            try:
                if os.preadv(self._fd, [room], offset, os.RWF_NOWAIT) == length:
                    return room
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno not in _NOT_OFFERED:
                    raise StoreError(f"{self.path}: {error.strerror}", READ_ERROR) from None
                self._nowait = False
        self._workers.start(lambda: self.read(offset, length), done)
        return None

    def begin_write(self, offset: int, data: Buffer, done: Done, *, fua: bool) -> bool:
        """See DeferringStore."""
        if fua:
            self._workers.start(lambda: self._write_through(offset, data), done)
            return False
        if self._direct or self._slow_writes:
            self._slow_writes -= not self._direct
            self._workers.start(lambda: self._write(offset, data, 0), done)
            return False
        before = time.monotonic_ns()
        self._write(offset, data, 0)
        if time.monotonic_ns() - before > SLOW_WRITE_NS:
            self._slow_writes = SLOW_WRITES
        return True

    def _write_through(self, offset: int, data: Buffer) -> bytes:
        """Write, and only this to stable storage. A failure counts as one of `flush`: other data may be gone too."""
        if self._flush_error is not None:
            raise self._flush_error
        try:
            self._write(offset, data, os.RWF_DSYNC)
        except StoreError as error:
            if error.sense == WRITE_ERROR:
                self._flush_error = error
            raise
        return b""

    def begin_flush(self, done: Done) -> bool:
        """See DeferringStore."""
        self._workers.start(self._flushed, done)
        return False

    def _flushed(self) -> bytes:
        self.flush()
        return b""

    def drain(self) -> None:
        """See DeferringStore."""
        if not self._workers.drain(DRAIN_S):
            raise StoreError(f"{self.path}: an I/O has not ended in {DRAIN_S:g} s", WRITE_ERROR)

    def _write_error(self, error: OSError) -> StoreError:
        sense = SPACE_ALLOCATION_FAILED if error.errno in _NO_SPACE else WRITE_ERROR
        return StoreError(f"{self.path}: {error.strerror}", sense)
