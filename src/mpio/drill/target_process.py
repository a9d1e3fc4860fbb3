"""The built-in target as a child process of a drill: started, stopped, continued, killed, started again.

The child dies with this process, however that ends (PR_SET_PDEATHSIG; SIGKILL, because a stopped child takes no other).
"""

import asyncio
import contextlib
import ctypes
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mpio.drill.scenario import TargetSpec
from mpio.errors import ConnectFailed, InputError
from mpio.io.control_socket import ask
from mpio.model.address import Portal

TARGET_NAME = "iqn.2026-01.dev.mpio:drill"
LUN = 1
IMAGE = "lun.img"
CONTROL = "control"
READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
_LINE_MAX_BYTES = 64 << 10
_PR_SET_PDEATHSIG = 1
_SIGNALS = {"STOP": signal.SIGSTOP, "CONT": signal.SIGCONT}


def die_with_parent() -> Callable[[], None] | None:
    """What a new child must run so that the kernel kills it when this process ends; None where that can't be had."""
    try:
        libc = ctypes.CDLL(None)
        prctl = libc.prctl
    except (OSError, AttributeError):
        return None
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def target_command(spec: TargetSpec, portals: Sequence[Portal], directory: Path, allow: str | None = None) -> list[str]:
    """The command line of the target; `allow` is the only initiator that it admits."""
    store = f"ram:{spec.size}" if spec.store == "ram" else f"file:{directory / IMAGE},size={spec.size}"
    command = [sys.executable, "-m", "mpio.cli.main", "target", "--name", TARGET_NAME,
               "--lun", f"{LUN}={store},bs={spec.block_size}"]
    for group, portal in enumerate(portals, start=1):
        tpgt = group if spec.portal_groups == "separate" else 1
        command += ["--portal", f"{portal},{tpgt}"]
    if allow is not None:
        command += ["--allow", allow]
    if spec.plant:
        command += ["--plant", spec.plant]
    return command


class TargetProcess:
    """A target that serves one LUN on its portals until `close`.

    Args:
        prefix: what stands before the command, such as `ip netns exec NAME`.
        portals: where to listen; port 0 picks a free one, which a restart keeps.
        allow: the only initiator to admit; anybody on this machine by default.

    Attributes:
        portals: as they are once started.
    """

    def __init__(self, spec: TargetSpec, directory: Path, portals: Sequence[Portal] = (),
                 prefix: Sequence[str] = (), allow: str | None = None) -> None:
        self._spec = spec
        self._directory = directory
        self._prefix = list(prefix)
        self._allow = allow
        self._process: asyncio.subprocess.Process | None = None
        self._control: tempfile.TemporaryDirectory[str] | None = None
        self.portals = list(portals) or [Portal("127.0.0.1", 0)] * spec.portals

    async def start(self) -> None:
        """Start it and wait until it listens. Raises ConnectFailed, with what it said."""
        if self._spec.store == "file" and "," in str(self._directory):
            raise InputError(str(self._directory), "a target with a file needs a run directory without commas")
        log = (self._directory / "target.log").open("ab")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._prefix, *self._command(), env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
                start_new_session=True,  # Ctrl-C is for the drill to answer
                limit=_LINE_MAX_BYTES, preexec_fn=die_with_parent(),
            )
        except OSError as error:
            raise ConnectFailed(f"the target can't be started: {error.strerror or error}") from None
        finally:
            log.close()
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                self.portals = await self._ready()
        except (TimeoutError, ValueError, KeyError, TypeError):
            words = self._last_words()
            await self.close()
            raise ConnectFailed(f"the target did not come up: {words or 'it said nothing'}") from None

    def _command(self) -> list[str]:
        if self._control is None:  # in a directory of its own: the path of a socket has to be short
            self._control = tempfile.TemporaryDirectory(prefix="mpio-target-")
        command = target_command(self._spec, self.portals, self._directory, self._allow)
        return [*command, "--control", str(Path(self._control.name) / CONTROL)]

    def _environment(self) -> Mapping[str, str] | None:
        return None  # as ours

    async def _ready(self) -> list[Portal]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode(errors="replace")
        word, _, details = line.partition(" ")
        if word != "ready":
            raise ValueError(line)
        return [Portal(portal["host"], portal["port"]) for portal in json.loads(details)["portals"]]

    def _last_words(self) -> str:
        lines = (self._directory / "target.log").read_text(errors="replace").splitlines()
        return lines[-1][:200] if lines else ""

    async def signal(self, action: str) -> None:
        """STOP, CONT, KILL or restart. Raises InputError if there is no process for it."""
        if action == "restart":
            await self.start()
            return
        if self._process is None or self._process.returncode is not None:
            raise InputError("signal", f"{action}: the target is not running")
        if action == "KILL":
            self._process.kill()
            await self._process.wait()
        else:
            self._process.send_signal(_SIGNALS[action])

    async def order(self, request: Mapping[str, object]) -> None:
        """Give it an order by its control socket. Raises InputError if it refuses, or has none."""
        if self._control is None:
            raise InputError("order", "this target takes no orders")
        await ask(Path(self._control.name) / CONTROL, request)

    async def close(self) -> None:
        """End it: gently, then not."""
        if self._control is not None:
            self._control.cleanup()
            self._control = None
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        finally:
            if process.returncode is None:  # cancelled while it was ending
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

