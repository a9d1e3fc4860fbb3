"""Measuring heartbeats: rounds of the requests that a heartbeat makes, and how long each takes.

One round after the other, as in a heartbeat: read, then write one's own sector; the next one begins an interval after
the last, or as soon as that has ended. The sector is read back with the slots of the next round, so that lost writes
and other writers are noticed. A round in which a path failed is a failover, and is kept apart.
"""

import asyncio
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mpio.errors import InputError
from mpio.io.heartbeat_store import Blocks
from mpio.units import NS_PER_S

ROUNDS_MAX = 2_000_000
ERRORS_MAX = 100  # of requests; more, and more than there are good rounds, measure nothing
ERRORS_FIRST_MAX = 2  # before any good round
FAILOVERS_MAX = 10_000
MAGIC = b"mpio heartbeat measure\0\0"
"""What a measurement's sector begins with."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """The requests of a round, from the start of the region.

    Attributes:
        reads: (offset, length) of each, one after the other. own: the sector that is written; None: reads only.
    """

    reads: tuple[tuple[int, int], ...]
    own: int | None


@dataclass(slots=True)
class Measured:
    """What was measured; all times in ns.

    Attributes:
        rounds: how long each round took. begun: when it began, by the clock of `measure`.
        reads: how long each read took.
        lateness: how late each round was begun, by whoever issues it.
        failovers: (when, how long) of the rounds in which a path failed.
        errors: requests that failed. first_error: what the first one said.
        unended_ns: how long the last round had been out when the measurement ended without it; 0 if it has ended.
        elapsed_ns: of all of it.
        full: whether it ended because there is no room for more rounds.
    """

    rounds: "array[int]" = field(default_factory=lambda: array("q"))
    begun: "array[int]" = field(default_factory=lambda: array("q"))
    reads: "array[int]" = field(default_factory=lambda: array("q"))
    lateness: "array[int]" = field(default_factory=lambda: array("q"))
    failovers: list[tuple[int, int]] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""
    unended_ns: int = 0
    elapsed_ns: int = 0
    full: bool = False

    def set_aside(self, windows: list[tuple[int, int]]) -> None:
        """Rounds that were out in one of these windows (from, to) are failovers too."""
        kept: list[int] = []
        for place, begin_ns in enumerate(self.begun):
            end_ns = begin_ns + self.rounds[place]
            if any(begin_ns < until_ns and end_ns > from_ns for from_ns, until_ns in windows):
                self.failovers.append((begin_ns, end_ns - begin_ns))
            else:
                kept.append(place)
        if len(kept) == len(self.rounds):
            return
        per_round = len(self.reads) // max(1, len(self.rounds))
        self.reads = array("q", (self.reads[place * per_round + index] for place in kept for index in range(per_round)))
        for name in ("rounds", "begun", "lateness"):
            values = getattr(self, name)
            setattr(self, name, array("q", (values[place] for place in kept)))
        self.failovers.sort()


class _Interrupted(Exception):
    """The measurement is to end, and a request is still out."""


class Measurement:
    """Rounds on some blocks.

    Args:
        blocks: where. pattern: what a round does there.
        token: tells this measurement's sector from others'; 16 bytes.
        failures: counts path failures; a round during which it rises is a failover.
        clock: monotonic, ns.

    Attributes:
        measured: so far.
        is_out: whether a request has not ended yet.
    """

    def __init__(
        self, blocks: Blocks, pattern: Pattern, token: bytes, *, failures: Callable[[], int] = lambda: 0,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.measured = Measured()
        self.is_out = False
        self._blocks = blocks
        self._pattern = pattern
        self._token = token
        self._failures = failures
        self._clock = clock
        self._written = b""
        self._stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._give_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._round_ns = 0

    def stop(self) -> None:
        """End early; what was measured by then counts."""
        if not self._stop.done():
            self._stop.set_result(None)

    def give_up(self) -> None:
        """End early, and don't wait for what is out."""
        self.stop()
        if not self._give_up.done():
            self._give_up.set_result(None)

    async def run(self, duration_ns: int, interval_ns: int, grace_ns: int) -> Measured:
        """Measure for so long. The last round gets `grace_ns` to end, then it counts with the time it has been out.

        Raises:
            InputError: nearly all requests fail, or somebody else writes the sector.
        """
        started_ns = due_ns = self._clock()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(duration_ns / NS_PER_S, self.stop)
        try:
            while not self._stop.done() and len(self.measured.rounds) < ROUNDS_MAX:
                await self._sleep_until(due_ns)
                if self._stop.done():
                    break
                begun_ns = self._clock()
                self.is_out = True
                await self._round(begun_ns, begun_ns - due_ns, grace_ns)
                self.is_out = False
                due_ns = max(due_ns + interval_ns, self._clock())
        except _Interrupted:
            self.measured.unended_ns = self._clock() - self._round_ns
        finally:
            timer.cancel()
            self.measured.elapsed_ns = self._clock() - started_ns
            self.measured.full = len(self.measured.rounds) >= ROUNDS_MAX
        return self.measured

    async def _sleep_until(self, due_ns: int) -> None:
        delay_s = (due_ns - self._clock()) / NS_PER_S
        if delay_s > 0:
            await asyncio.wait([self._stop], timeout=delay_s)

    async def _round(self, begun_ns: int, late_ns: int, grace_ns: int) -> None:
        failures = self._failures()
        self._round_ns = begun_ns
        reads: list[int] = []
        found = b""
        for offset, length in self._pattern.reads:
            before_ns = self._clock()
            data = await self._ended(self._read(offset, length), grace_ns)
            reads.append(self._clock() - before_ns)
            if data is None:
                return
            own = self._pattern.own
            if own is not None and offset <= own < offset + length:
                found = data[own - offset:own - offset + self._blocks.block_size]
        if found and self._written and found != self._written:
            raise InputError(self._blocks.name, (
                f"the sector at {self._pattern.own} of the region does not hold what was written there: somebody else "
                "writes here, or writes are lost; measure in another region"))
        if self._pattern.own is not None and not await self._ended(self._write(self._pattern.own), grace_ns):
            return
        took_ns = self._clock() - begun_ns
        if self._failures() != failures:
            if len(self.measured.failovers) < FAILOVERS_MAX:
                self.measured.failovers.append((begun_ns, took_ns))
            return
        self.measured.rounds.append(took_ns)
        self.measured.begun.append(begun_ns)
        self.measured.reads.extend(reads)
        self.measured.lateness.append(max(0, late_ns))

    async def _ended(self, request: "asyncio.Future[bytes | str]", grace_ns: int) -> bytes | None:
        """What a request gave; None if it failed. Raises _Interrupted."""
        ends: list[asyncio.Future[Any]] = [request, self._stop]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not request.done():
            ends = [request, self._give_up]
            await asyncio.wait(ends, timeout=grace_ns / NS_PER_S, return_when=asyncio.FIRST_COMPLETED)
            if not request.done():
                raise _Interrupted
        result = request.result()
        if isinstance(result, bytes):
            return result
        self.measured.errors += 1
        self.measured.first_error = self.measured.first_error or result
        good = len(self.measured.rounds)
        if self.measured.errors > (max(ERRORS_MAX, good) if good else ERRORS_FIRST_MAX):
            raise InputError(self._blocks.name, (
                f"{self.measured.errors} requests have failed and {good} heartbeats got through: "
                f"{self.measured.first_error}"))
        return None

    def _read(self, offset: int, length: int) -> "asyncio.Future[bytes | str]":
        future: asyncio.Future[bytes | str] = asyncio.get_running_loop().create_future()
        self._blocks.read(offset, length, lambda data, error: future.set_result(error if data is None else data))
        return future

    def _write(self, offset: int) -> "asyncio.Future[bytes | str]":
        future: asyncio.Future[bytes | str] = asyncio.get_running_loop().create_future()
        serial = (len(self.measured.rounds) + len(self.measured.failovers) + self.measured.errors).to_bytes(8, "little")
        data = (MAGIC + self._token + serial).ljust(self._blocks.block_size, b"\0")

        def ended(error: str) -> None:
            # After an error it may have landed or not, so the next look at the sector tells nothing
            self._written = b"" if error else data
            future.set_result(error or data)

        self._blocks.write(offset, data, ended)
        return future
