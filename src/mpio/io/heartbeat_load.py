"""Load beside a measured heartbeat: so many requests always out, at random places of an area, until it is stopped."""

import asyncio
import random
from dataclasses import dataclass
from typing import Literal

from mpio.io.heartbeat_store import Blocks

Mode = Literal["read", "write", "mixed"]
PAUSE_S = 0.1  # after a request that failed, so that a dead disk is not asked in a tight loop
CONTENTS = 64  # different blocks that are written in turn


@dataclass(frozen=True, slots=True)
class Load:
    """What to do. Offsets and lengths are in bytes, whole blocks of the device; the area holds at least one request."""

    mode: Mode
    area: tuple[int, int]
    request_bytes: int
    depth: int


class LoadMaker:
    """Keeps up a load on some blocks.

    Attributes:
        done, failed: requests that have ended well, and otherwise. first_error: of those.
    """

    def __init__(self, blocks: Blocks, load: Load, rng: random.Random) -> None:
        self.done = 0
        self.failed = 0
        self.first_error = ""
        self._blocks = blocks
        self._load = load
        self._rng = rng
        self._going = False
        self._contents = [rng.randbytes(load.request_bytes) for _ in range(CONTENTS)] if load.mode != "read" else []

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._going = True
        for _ in range(self._load.depth):
            self._next()

    def stop(self) -> None:
        """Ask nothing more; what is out ends by itself."""
        self._going = False

    def _next(self) -> None:
        if not self._going:
            return
        offset, length = self._load.area
        size = self._load.request_bytes
        at = offset + self._rng.randrange(length // size) * size
        if self._load.mode == "read" or (self._load.mode == "mixed" and self._rng.random() < 0.5):
            self._blocks.read(at, size, lambda _data, error: self._ended(error))
        else:
            self._blocks.write(at, self._rng.choice(self._contents), self._ended)

    def _ended(self, error: str) -> None:
        if not error:
            self.done += 1
            self._next()
            return
        self.failed += 1
        self.first_error = self.first_error or error
        asyncio.get_running_loop().call_later(PAUSE_S, self._next)
