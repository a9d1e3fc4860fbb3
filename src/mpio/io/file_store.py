"""A block store in a file or on a block device, for the software target.

Reads and writes are done at once and block the event loop while they last; they go through the page cache, and `flush`
brings them to stable storage. The space of discarded ranges goes back to the file system where it can take it.
"""

import ctypes
import errno
import fcntl
import os
from pathlib import Path

from mpio.errors import InputError
from mpio.model.task import Buffer
from mpio.proto.scsi.sense import READ_ERROR, SPACE_ALLOCATION_FAILED, WRITE_ERROR
from mpio.target.store import StoreError, write_zeroes

_FALLOC_PUNCH_HOLE = 0x02 | 0x01  # with KEEP_SIZE; zeroes the range, on block devices too (linux/falloc.h)
_NOT_OFFERED = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV, errno.EINVAL))
_NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT))

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class FileStore:
    """See BlockStore.

    Args:
        path: a regular file or a block device. size_bytes: grow or make the file to this size; None: as large as it is.
        read_only: never write. shared: others may have it open too, as the nodes of a cluster do.

    Raises:
        InputError: it can't be opened, is empty or of another size, or somebody else serves it.
    """

    def __init__(
        self, path: str | Path, size_bytes: int | None = None, *, read_only: bool = False, shared: bool = False
    ) -> None:
        self.path = Path(path)
        self.writable = not read_only
        self.volatile = not read_only
        flags = os.O_RDONLY if read_only else os.O_RDWR | (os.O_CREAT if size_bytes is not None else 0)
        try:
            self._fd = os.open(self.path, flags | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InputError(str(path), f"can't be opened: {error.strerror}") from None
        try:
            if not shared:
                self._lock()
            self.size_bytes = self._fit(size_bytes)
        except BaseException:
            os.close(self._fd)
            raise
        self._punches = True
        self._flush_error: StoreError | None = None

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
                found = wanted
        except OSError as error:
            raise InputError(str(self.path), f"can't be sized: {error.strerror}") from None
        if wanted is not None and found != wanted:
            raise InputError(str(self.path), f"expected {wanted} bytes, found {found}")
        if found == 0:
            raise InputError(str(self.path), "is empty: expected a size, or a file that has one")
        return found

    def read(self, offset: int, length: int) -> bytes:
        """The bytes. Raises StoreError."""
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

    def write(self, offset: int, data: Buffer) -> None:
        """Write all of it. Raises StoreError."""
        view = memoryview(data)
        try:
            while view:
                count = os.pwrite(self._fd, view, offset)
                offset += count
                view = view[count:]
        except OSError as error:
            raise self._write_error(error) from None

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

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _write_error(self, error: OSError) -> StoreError:
        sense = SPACE_ALLOCATION_FAILED if error.errno in _NO_SPACE else WRITE_ERROR
        return StoreError(f"{self.path}: {error.strerror}", sense)
