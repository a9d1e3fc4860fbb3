"""Throughput of each path over time, sampled from the map's counters."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from mpio.drill.world import DrillDisk
from mpio.engine.status import PathStatus
from mpio.units import NS_PER_S

SAMPLES_MAX = 36_000  # an hour; later ones are left out


class Sampler:
    """Samples a disk every `interval_ns` from `start` to `stop`; `after` is called after each look."""

    def __init__(self, disk: DrillDisk, after: Callable[[], None], interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._disk = disk
        self._after = after
        self._start_ns = 0
        self._task: asyncio.Task[None] | None = None
        self._bytes: dict[int, list[int]] = {}
        self._last: dict[int, int] = {}
        self._status = disk.status()

    def start(self) -> None:
        """Begin to sample."""
        self._start_ns = self._disk.clock()
        self._look(first=True)
        self._task = asyncio.create_task(self._run(), name="sampler")

    async def stop(self) -> None:
        """End, with a last look at the counters."""
        self._status = self._disk.status()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        for number in range(1, SAMPLES_MAX + 1):
            due_ns = self._start_ns + number * self._interval_ns
            await asyncio.sleep(max(0, due_ns - self._disk.clock()) / NS_PER_S)
            self._look()
            self._after()

    def _look(self, *, first: bool = False) -> None:
        for path in self._disk.status().paths:
            total = path.counters["read_bytes"] + path.counters["write_bytes"]
            samples = self._bytes.setdefault(path.path_id, [])
            if not first:
                samples.append(total - self._last[path.path_id])
            self._last[path.path_id] = total

    def as_json(self) -> list[dict[str, Any]]:
        """One object a path, as metrics.json has them."""
        return [
            {"path": path.path_id, "name": path.name, "state": path.state, "fence": _fence(path), **path.counters,
             "throughput": {"start_ns": self._start_ns, "interval_ns": self._interval_ns,
                            "bytes": self._bytes.get(path.path_id, [])}}
            for path in self._status.paths
        ]

    def fences(self) -> dict[str, int]:
        """How many lost nexuses with writes in doubt were fenced, by method, and what became of the others."""
        status = self._status
        return {**status.fences, "failed": status.fences_failed, "outcome_unknown": status.outcome_unknown}

    def unfenced(self) -> list[int]:
        """Paths that are known to have no method that could fence them."""
        return [path.path_id for path in self._status.paths if path.fence_obstacles and not path.fence_methods]


def _fence(path: PathStatus) -> str:
    """By what the path's nexus could be fenced, or why by nothing."""
    if path.fence_methods:
        return ", ".join(path.fence_methods)
    return "none" + "".join(f"; {method}: {why}" for method, why in path.fence_obstacles.items())
