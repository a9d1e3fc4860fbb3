"""Commands as a person would run them: `mpio`, and the tools of others."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from tests.peers import find

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


def tool(*command: object, timeout_s: float = TIMEOUT_S) -> Done:
    """Run somebody else's program to its end. Raises Missing if it is not installed."""
    words = [str(word) for word in command]
    done = subprocess.run(
        [find(words[0]), *words[1:]], capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)
