"""Where heartbeats are measured: a scratch file of our own, or one sector of a region, borrowed and put back."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from mpio.errors import InputError
from mpio.heartbeat.region import Found, Holds, look_length
from mpio.io.heartbeat_region import TIMEOUT_S, Unread, find, read, write
from mpio.io.heartbeat_store import Blocks

_FILL_BYTES = 1 << 20
QUIET_S = 5.0  # two periods of o2cb and a bit: who heartbeats here writes in that time
ABOUT_MAX_BYTES = 1 << 36


def make_scratch(path: Path, size_bytes: int) -> Path:
    """A new file, filled so that every block is allocated: at `path`, or in it if that is a directory.

    Who opens it then unlinks it, so that nothing is left whatever happens. Raises InputError.
    """
    target = path / f".mpio-heartbeat-{secrets.token_hex(6)}" if path.is_dir() else path
    if size_bytes > ABOUT_MAX_BYTES:
        raise InputError(str(path), f"expected a scratch file of at most {ABOUT_MAX_BYTES} bytes, found {size_bytes}")
    try:
        fd = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(str(path), f"a scratch file can't be made there: {error.strerror}") from None
    try:
        left = size_bytes
        while left:
            left -= os.write(fd, os.urandom(min(left, _FILL_BYTES)))
        os.fsync(fd)
    except BaseException as error:
        target.unlink()
        if isinstance(error, OSError):
            raise InputError(str(path), f"the scratch file can't be filled: {error.strerror}") from None
        raise
    finally:
        os.close(fd)
    return target


async def must_be_free(blocks: Blocks, *, placed: bool) -> Found:
    """Raise InputError if no sector of a region may be borrowed. `placed`: a person said where it is."""
    found = await find(blocks)
    if found.holds is Holds.EMPTY or (found.holds is Holds.FOREIGN and placed):
        return found
    if found.holds is Holds.FOREIGN:
        raise InputError(blocks.name, (
            f"there is {found.words}; say with --region where a sector may be written for the time being, or measure "
            "reads alone with --read-only"))
    if found.holds is Holds.SBD:
        raise InputError(blocks.name, (
            f"there is {found.words}, and nothing tells whether nodes read it; measure in another place, or reads "
            "alone with --read-only"))
    length = min(look_length(blocks.block_size), blocks.size_bytes // blocks.block_size * blocks.block_size)
    before = await read(blocks, 0, length)
    await asyncio.sleep(QUIET_S)
    if isinstance(before, Unread) or await read(blocks, 0, length) != before:
        raise InputError(blocks.name, (
            f"there is {found.words}, and nodes are heartbeating in it; measure in another place, or reads alone with "
            "--read-only"))
    return found


@dataclass(slots=True)
class Loan:
    """A borrowed sector.

    Attributes:
        in_doubt: set it if one of our writes is still out: it may land after the sector was put back.
        timeout_s: for each request of putting it back; lower it if nobody wants to wait.
        trouble: why the sector is not what it was, and where its contents are; empty if it is.
    """

    in_doubt: bool = False
    timeout_s: float = TIMEOUT_S
    trouble: str = ""


@contextlib.asynccontextmanager
async def borrowed(blocks: Blocks, own: int, is_ours: bytes, undo: Path) -> AsyncIterator[Loan]:
    """Put a sector back at the end to what it was, if it still begins as what we write there does.

    What it holds is first written to the file `undo`, which goes away once it is surely back.

    Raises:
        InputError: it can't be read or kept. An InputError from within tells the loan's trouble as well.
    """
    before = await read(blocks, own, blocks.block_size)
    if isinstance(before, Unread):
        raise InputError(blocks.name, f"the sector at {own} of the region can't be read: {before.words}")
    _keep(before, undo)
    loan = Loan()
    try:
        yield loan
    except InputError as error:
        await _put_back(loan, blocks, own, is_ours, before, undo)
        if not loan.trouble:
            raise
        raise InputError("", f"{error}; {loan.trouble}") from None
    except BaseException:
        await _put_back(loan, blocks, own, is_ours, before, undo)
        raise
    await _put_back(loan, blocks, own, is_ours, before, undo)


async def _put_back(loan: Loan, blocks: Blocks, own: int, is_ours: bytes, before: bytes, undo: Path) -> None:
    now = await read(blocks, own, blocks.block_size, loan.timeout_s)
    why = now.words if isinstance(now, Unread) else ""
    if isinstance(now, bytes) and now.startswith(is_ours):
        try:
            await write(blocks, own, before, loan.timeout_s)
        except InputError as error:
            why = str(error)
    if why:
        loan.trouble = f"the sector at {own} of the region could not be put back: {why}; what it held is in {undo}"
    elif loan.in_doubt:
        loan.trouble = (f"the sector at {own} of the region was put back, but a write of ours is still out and may "
                        f"land on it; what it held is in {undo}")
    else:
        _forget(undo)


def _keep(data: bytes, undo: Path) -> None:
    try:
        with undo.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(str(undo), f"what the sector holds can't be kept here: {error.strerror}") from None


def _forget(undo: Path) -> None:
    undo.unlink(missing_ok=True)
