"""The `mpio` command as a person would run it, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def mpio(*arguments: object, timeout_s: float = TIMEOUT_S, environment: Mapping[str, str] | None = None) -> Done:
    """Run it to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "mpio.cli.main", *map(str, arguments)], capture_output=True, text=True,
        timeout=timeout_s, check=False, stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})},
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)
