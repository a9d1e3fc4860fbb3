"""What stops a node that must stop: nothing but words, a command, or the watchdog of the machine.

Only the watchdog also stops a node whose program does not run any more. None of them is used unless it was asked for.
"""

import asyncio
import errno
import fcntl
import os
import shlex
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from mpio.errors import InputError
from mpio.heartbeat.machine import Fence
from mpio.units import NS_PER_S, format_duration

COMMAND_S = 60.0  # a command that takes longer is worth a word; ending it half done would be worse
SLACK = 20  # a watchdog fires at most this part of its timeout before the node's time is up
LATE_S = 5.0  # after the time at which a watchdog should have reset the machine

Say = Callable[[str], None]
"""Says a line to people. Must not wait: what stops a node comes after it."""


class ReportingGuard:
    """Says that the node must stop, and leaves it to others. It never holds: nothing was stopped."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def extend(self, until_ns: int) -> None:
        """See heartbeat_agent.Guard."""

    async def fence(self, fence: Fence) -> bool:
        """See heartbeat_agent.Guard."""
        self._say(f"FENCE: this node must stop now ({fence.cause.value}): {fence.reason}")
        return False

    def release(self) -> None:
        """See heartbeat_agent.Guard."""


class CommandGuard:
    """Runs a command; that it ends with exit code 0 says that the node's I/O is stopped.

    The command gets MPIO_FENCE_CAUSE and MPIO_FENCE_REASON, and what `environment` has besides.

    Raises:
        InputError: there is no such command.
    """

    def __init__(self, line: str, say: Say, environment: Mapping[str, str]) -> None:
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise InputError("--fence exec", f"{error} in {line!r}") from None
        if not words or shutil.which(words[0]) is None:
            raise InputError("--fence exec", f"expected a command that can be run, found {line!r}")
        self._words = words
        self._say = say
        self._environment = environment

    def extend(self, until_ns: int) -> None:
        """See heartbeat_agent.Guard."""

    async def fence(self, fence: Fence) -> bool:
        """See heartbeat_agent.Guard."""
        self._say(f"FENCE ({fence.cause.value}): {fence.reason}; running {shlex.join(self._words)}")
        environment = {
            **os.environ, **self._environment, "MPIO_FENCE_CAUSE": fence.cause.value, "MPIO_FENCE_REASON": fence.reason,
        }
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words, env=environment, stdin=asyncio.subprocess.DEVNULL)
        except OSError as error:
            self._say(f"the fence command could not be run: {error.strerror}")
            return False
        while (code := process.returncode) is None:
            try:
                async with asyncio.timeout(COMMAND_S):
                    await process.wait()
            except TimeoutError:
                self._say(f"the fence command has not ended within {COMMAND_S:g} s; until it does, nothing is stopped")
        if code:
            self._say(f"the fence command failed with exit code {code}: this node may still be writing")
        return code == 0

    def release(self) -> None:
        """See heartbeat_agent.Guard."""


class Watchdog(Protocol):
    """A timer that resets the machine unless it is fed."""

    timeout_s: int

    def feed(self) -> None:
        """Start the whole timeout anew. Raises OSError."""

    def shorten(self) -> bool:
        """Set the shortest timeout there is, one second, and start it; False if it can't be changed."""

    def disarm(self) -> bool:
        """Stop it for good; False if it can't be stopped."""


class WatchdogGuard:
    """Feeds a watchdog as long as the node may live, so that it fires when the node's time is up, or a little before.

    The last feed comes so early that the timeout ends with the node's time, or SLACK before: a timer that runs a little
    late must not find that it is too late. Before the first `extend` the node is not a member, and nothing needs to be
    stopped: it is fed all the same.

    Args:
        watchdog: armed. clock: the agent's.
    """

    def __init__(self, watchdog: Watchdog, say: Say, clock: Callable[[], int]) -> None:
        self._watchdog = watchdog
        self._say = say
        self._clock = clock
        self._until_ns: int | None = None
        self._fires_ns = 0
        self._fenced = False
        self._timeout_ns = watchdog.timeout_s * NS_PER_S
        self._timer: asyncio.TimerHandle | None = None
        self._feed()

    def extend(self, until_ns: int) -> None:
        """See heartbeat_agent.Guard."""
        self._until_ns = until_ns
        if not self._fenced:
            self._cancel()
            self._plan()

    async def fence(self, fence: Fence) -> bool:
        """See heartbeat_agent.Guard. It holds when the machine is reset, and then nobody is here to say so."""
        self._fenced = True
        self._cancel()
        now = self._clock()
        if self._fires_ns > now + NS_PER_S and self._watchdog.shorten():
            self._fires_ns = now + NS_PER_S
        left_ns = max(self._fires_ns - now, 0)
        self._say(f"FENCE ({fence.cause.value}): {fence.reason}; the watchdog resets this machine in "
                  f"{format_duration(left_ns)}")
        await asyncio.sleep(left_ns / NS_PER_S + LATE_S)
        self._say("the watchdog has not reset this machine: it may still be writing")
        return False

    def release(self) -> None:
        """See heartbeat_agent.Guard."""
        self._fenced = True
        self._cancel()
        if not self._watchdog.disarm():
            self._say("the watchdog can't be stopped (nowayout): it will reset this machine unless others feed it")

    def _feed(self) -> None:
        self._timer = None
        now = self._clock()
        if self._until_ns is not None and now + self._timeout_ns > self._until_ns:
            return  # it would let the node live too long; `extend` goes on
        try:
            self._watchdog.feed()
        except OSError as error:
            self._say(f"the watchdog can't be fed: {error.strerror}")
            return
        self._fires_ns = now + self._timeout_ns
        self._plan()

    def _plan(self) -> None:
        """The next feed: in time for the watchdog, and once more just in time for the end of the lease."""
        now = self._clock()
        due_ns = self._fires_ns - self._timeout_ns * 2 // 3
        if self._until_ns is not None:
            last_ns = self._until_ns - self._timeout_ns - self._timeout_ns // SLACK
            if self._fires_ns - self._timeout_ns < last_ns < due_ns:
                due_ns = last_ns
        self._timer = asyncio.get_running_loop().call_later(max(due_ns - now, 0) / NS_PER_S, self._feed)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class LinuxWatchdog:
    """A watchdog device of Linux (Documentation/watchdog/watchdog-api.rst). Opening it arms it.

    Args:
        path: such as /dev/watchdog. timeout_s: wanted; the driver may take another, see the attribute.

    Raises:
        InputError: it can't be had.
    """

    _SET_TIMEOUT = 0xC0045706
    _KEEP_ALIVE = 0x80045705
    _SUPPORT = 0x80285700
    _MAGIC_CLOSE = 0x0100

    def __init__(self, path: Path, timeout_s: int) -> None:
        self._path = path
        self._nowayout = _nowayout(path)
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            why = error.strerror
            if error.errno == errno.EBUSY:
                why = "another program holds it (sbd, wdmd, watchdogd or systemd?)"
            elif error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
                why = "there is no watchdog; load its driver, or softdog"
            raise InputError(str(path), f"can't be opened: {why}") from None
        try:
            options, _, _ = struct.unpack("II32s", fcntl.ioctl(self._fd, self._SUPPORT, bytes(40)))
        except OSError:
            os.close(self._fd)
            raise InputError(str(path), "expected a watchdog device, found something else") from None
        self._magic_close = bool(options & self._MAGIC_CLOSE)
        self.timeout_s = timeout_s
        self.timeout_s = self._set(timeout_s)

    def _set(self, timeout_s: int) -> int:
        try:
            answer: bytes = fcntl.ioctl(self._fd, self._SET_TIMEOUT, struct.pack("i", timeout_s))
        except OSError as error:
            self.disarm()
            raise InputError(str(self._path), f"does not take a timeout of {timeout_s} s: {error.strerror}") from None
        (taken,) = struct.unpack("i", answer)
        return int(taken)

    def feed(self) -> None:
        """See Watchdog."""
        fcntl.ioctl(self._fd, self._KEEP_ALIVE, bytes(4))

    def shorten(self) -> bool:
        """See Watchdog."""
        try:
            fcntl.ioctl(self._fd, self._SET_TIMEOUT, struct.pack("i", 1))
        except OSError:
            return False
        return True

    def disarm(self) -> bool:
        """See Watchdog."""
        if self._magic_close:
            os.write(self._fd, b"V")
        os.close(self._fd)
        return self._magic_close and not self._nowayout


def _nowayout(path: Path) -> bool:
    """Whether the driver was told never to stop; False if it does not say."""
    name = "watchdog0" if path.name == "watchdog" else path.name
    try:
        return Path("/sys/class/watchdog", name, "nowayout").read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False
