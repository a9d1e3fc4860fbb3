"""Commands as a person would run them: `mpio`, and the tools of others."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers import find

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str
    left: list[str] = field(default_factory=list)
    """Command lines of processes that it started and did not end."""


def mpio(*arguments: object, timeout_s: float = TIMEOUT_S, environment: Mapping[str, str] | None = None) -> Done:
    """Run it to its end."""
    marker = f"{os.getpid()}-{time.monotonic_ns()}"  # every child inherits it
    done = subprocess.run(
        [sys.executable, "-m", "mpio.cli.main", *map(str, arguments)], capture_output=True, text=True,
        timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {}), "MPIO_TEST_MARKER": marker},
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr, _processes_with(marker))


def _processes_with(marker: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # others come and go
            if marker.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def tool(*command: object, timeout_s: float = TIMEOUT_S) -> Done:
    """Run somebody else's program to its end. Raises Missing if it is not installed."""
    words = [str(word) for word in command]
    done = subprocess.run(
        [find(words[0]), *words[1:]], capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)
