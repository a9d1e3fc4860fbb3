"""Linux network namespaces: make, enter and remove them, with iproute2's own names and files (ip-netns(8)).

Needs root. A namespace made here is named `mpio-PID-…` after the process that made it, so that leftovers can be told.
"""

import contextlib
import ctypes
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from mpio.errors import FabricError, InputError

NAMES_DIR = Path("/run/netns")
COMMAND_TIMEOUT_S = 10.0
_CLONE_NEWNET = 0x40000000  # sched.h
_OURS = re.compile(r"mpio-([0-9]+)-[a-z0-9-]+", re.ASCII)


def require(*tools: str) -> None:
    """Raise InputError unless this process is root and the tools are installed."""
    if os.geteuid() != 0:
        raise InputError("cuts", "network namespaces need root; run as root, or use the relay, which does not")
    for tool in tools:
        if shutil.which(tool) is None:
            package = {"ip": "iproute2", "nft": "nftables"}.get(tool, tool)
            raise InputError("cuts", f"network namespaces need {tool!r}; install {package}, or use the relay")


def run(command: Sequence[str]) -> str:
    """Run a command and return its output. Raises FabricError with its first line of complaint."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FabricError(f"can't run {command[0]}: {error}") from None
    if done.returncode:
        complaint = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]
        raise FabricError(f"{shlex.join(command)}: {complaint}")
    return done.stdout


def exists(name: str) -> bool:
    """Whether there is a namespace of that name."""
    return (NAMES_DIR / name).exists()


def owner(name: str) -> int | None:
    """The process that made the namespace, by its name; None if it is none of ours."""
    match = _OURS.fullmatch(name)
    return int(match[1]) if match else None


def names() -> list[str]:
    """All named namespaces."""
    return sorted(os.listdir(NAMES_DIR)) if NAMES_DIR.is_dir() else []  # noqa: PTH208 (names are wanted, not paths)


def remove(name: str) -> None:
    """End the processes in one of our namespaces and delete it. One that is gone already is fine."""
    if owner(name) is None:
        raise ValueError(f"{name!r} is not a namespace of ours")
    if not exists(name):
        return
    for pid in run(["ip", "netns", "pids", name]).split():
        if int(pid) != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    run(["ip", "netns", "del", name])


@contextlib.contextmanager
def entered(name: str) -> Iterator[None]:
    """Put the calling thread into a namespace: sockets it makes live there, and stay there. Restores on exit."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _opened(NAMES_DIR / name) as away:
            _setns(away)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise FabricError(f"there is no network namespace {path.name!r}") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _setns(fd: int) -> None:
    """setns(2) for a network namespace; `os.setns` came with Python 3.12."""
    if hasattr(os, "setns"):
        os.setns(fd, _CLONE_NEWNET)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
