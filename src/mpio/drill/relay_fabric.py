"""A fabric of TCP relays in a child process (`io/relay.py`): cuts without privileges, on any Linux.

The child ends with its standard input, so a drill that crashes or is killed leaves nothing cut behind.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from mpio.drill.fabric import Fault, require_supported
from mpio.errors import FabricError, InputError
from mpio.model.address import Portal

ANSWER_TIMEOUT_S = 10.0
EXIT_TIMEOUT_S = 2.0


class RelayFabric:
    """One relay per target portal."""

    supported = frozenset({
        "blackhole", "hold", "reset", "refuse", "half_open", "delay", "stall", "throttle",
    })  # fmt: skip

    def __init__(self, targets: Sequence[Portal]) -> None:
        """`targets`: where each path's relay connects to; several paths may lead to one portal."""
        self._targets = list(targets)
        self._process: asyncio.subprocess.Process | None = None
        self._one_at_a_time = asyncio.Lock()
        self._orders = 0
        self._in_force: dict[int, Fault] = {}
        self.portals: list[Portal] = []

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mpio.io.relay",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process to answer, not for the child
        )  # fmt: skip
        try:
            for target in self._targets:
                opened = await self._order("open", host=target.host, port=target.port)
                self.portals.append(Portal(opened["host"], opened["port"]))
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    @property
    def pid(self) -> int:
        """Of the child process, for its share of CPU time."""
        return self._running().pid

    async def inject(self, path: int, fault: Fault) -> str:
        """As `Fabric.inject`."""
        params = require_supported(fault, self.supported, "the relay")
        self._check_path(path)
        if fault.kind != "reset":
            if path in self._in_force:
                raise InputError("fault", f"path {path} already has the fault {self._in_force[path]}; heal it first")
            self._in_force[path] = fault
        await self._order("inject", path=path, kind=fault.kind, params=params)
        complete = Fault(fault.kind, params)
        return f"relay {self.portals[path]} to {self._targets[path]}: {complete}"

    async def heal(self, path: int) -> str:
        """As `Fabric.heal`."""
        self._check_path(path)
        fault = self._in_force.pop(path, None)
        if fault is None:
            return f"path {path} has no fault"
        healed = await self._order("heal", path=path)
        late = f", delivering {healed['late_bytes']} bytes late" if fault.kind == "hold" else ""
        return f"relay {self.portals[path]} to {self._targets[path]}: clear{late}"

    async def stats(self) -> dict[str, int]:
        """`connections` and `kept_bytes` of all paths."""
        answer = await self._order("stats")
        return {name: answer[name] for name in ("connections", "kept_bytes")}

    def _check_path(self, path: int) -> None:
        if not 0 <= path < len(self._targets):
            raise InputError("path", f"expected 0 to {len(self._targets) - 1}, found {path}")

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise FabricError("the relay is not running")
        return self._process

    async def _order(self, op: str, **details: Any) -> dict[str, Any]:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        async with self._one_at_a_time:
            self._orders += 1
            line = json.dumps({"id": self._orders, "op": op} | details)
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    process.stdin.write(line.encode() + b"\n")
                    await process.stdin.drain()
                    answer = await process.stdout.readline()
            except (TimeoutError, OSError) as error:
                raise FabricError(f"the relay process does not answer: {error or 'time is up'}") from None
        if not answer:
            raise FabricError("the relay process has ended")
        result: dict[str, Any] = json.loads(answer)
        if not result["ok"]:
            raise FabricError(f"the relay can't {op}: {result['error']}")
        return result

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(EXIT_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
