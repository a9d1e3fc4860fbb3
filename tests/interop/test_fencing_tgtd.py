"""Ghost writes on a target that somebody else wrote: tgtd, with a disk that holds one write back.

Write B is on its way to the disk when its path is lost; the map sends it again by the other path, and the application
writes C over it. Then the disk is done with the first B. What the block holds in the end is the answer.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.peers import Tgtd

import mpio
from mpio.drill.fabric import Fault
from mpio.drill.relay_fabric import RelayFabric
from mpio.errors import OutcomeUnknown
from mpio.events import Journal, Kind
from mpio.io.path import PathRunner
from mpio.model.address import TargetAddress
from mpio.model.settings import FAST, Settings

pytestmark = pytest.mark.interop

LIMIT_S = 60
A, B, C = (letter * 512 for letter in (b"A", b"B", b"C"))
BASE = FAST.replace(
    path_grouping_policy="failover", failback="manual", no_path_retry="queue", reconnect_delay=30.0,
    reconnect_delay_max=30.0, polling_interval=0.3, max_polling_interval=0.3, fence_timeout=0.5)
RESET = BASE.replace(exclusive=True, fence="lun_reset", fence_timeout=30.0, lu_reset_timeout=30.0, timeout=0)


class SlowTgtd(Tgtd):
    """tgtd with a store that can hold a write back."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._switch = directory / "slow"

    def start(self) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler")
        library = self._switch.with_suffix(".so")
        source = Path(__file__).with_name("slow_write.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O", "-o", library, source, "-ldl"], check=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LD_PRELOAD", str(library))
            patch.setenv("SLOW_WRITE", str(self._switch))
            super().start()

    def hold(self) -> None:
        """The next write is held back."""
        self._file("hold").touch()

    def release(self) -> None:
        """Let it go on."""
        self._file("release").touch()

    @property
    def is_holding(self) -> bool:
        """Whether a write is held back."""
        return self._file("held").exists()

    @property
    def has_landed(self) -> bool:
        """Whether the write that was held back is on the disk."""
        return self._file("done").exists()

    def _file(self, what: str) -> Path:
        return self._switch.with_suffix(f".{what}")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[SlowTgtd]:
    with SlowTgtd(tmp_path) as peer:
        yield peer


class Case:
    """A map with block 0 holding A, and a write of B that is held back and has lost its path."""

    def __init__(self, disk: mpio.Disk, journal: Journal, writing: "asyncio.Task[None]") -> None:
        self.disk = disk
        self.journal = journal
        self.writing = writing

    def fences(self, kind: Kind) -> list[str]:
        return [str(event.fields["method"]) for event in self.journal if event.kind is kind]


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for has nobody to tell
        await asyncio.sleep(0.01)


def run(target: SlowTgtd, settings: Settings, body: Callable[[Case], Coroutine[Any, Any, None]], *,
        paths: int = 2) -> None:
    async def main() -> None:
        journal = Journal()
        async with asyncio.timeout(LIMIT_S), RelayFabric(target.portals[:1]) as wire:
            portals = [*wire.portals, *target.portals[1:paths]]
            addresses = [TargetAddress(portal, target.target, 1) for portal in portals]
            async with mpio.open_map(addresses, settings, journal=journal) as disk:
                await disk.write(0, A)
                target.hold()
                writing = asyncio.create_task(disk.write(0, B))
                await until(lambda: target.is_holding)
                await wire.inject(0, Fault("blackhole" if paths > 1 else "reset"))
                await until(lambda: any(event.kind is Kind.CONNECTION_LOST for event in journal))
                try:
                    await body(Case(disk, journal, writing))
                finally:
                    target.release()
                    await asyncio.gather(writing, return_exceptions=True)

    asyncio.run(main())


async def let_it_land(target: SlowTgtd) -> None:
    target.release()
    await until(lambda: target.has_landed)


def test_without_a_fence_an_old_write_lands_over_newer_data(target: SlowTgtd) -> None:
    async def body(case: Case) -> None:
        await case.writing
        await case.disk.write(0, C)
        assert await case.disk.read(0, 512) == C
        await let_it_land(target)
        assert await case.disk.read(0, 512) == B, "a ghost"

    run(target, BASE.replace(fence="none"), body)


def test_with_a_fence_the_write_waits_until_the_old_one_has_landed(target: SlowTgtd) -> None:
    async def body(case: Case) -> None:
        await until(lambda: case.fences(Kind.FENCE_FAILED))  # the disk does not let go of it in the time of a fence
        assert not case.writing.done()
        await let_it_land(target)
        await case.writing
        await case.disk.write(0, C)
        assert await case.disk.read(0, 512) == C
        assert case.fences(Kind.FENCE_COMPLETED) == ["reinstate"]

    run(target, BASE, body)


def test_tgtd_says_that_the_old_session_is_gone_before_its_writes_are(
    target: SlowTgtd, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Why a login is not enough of a fence there: the same without the ordered command leaves a ghost."""

    async def nothing(*_: object) -> None:
        pass

    async def body(case: Case) -> None:
        await case.writing
        assert case.fences(Kind.FENCE_COMPLETED) == ["reinstate"]
        await case.disk.write(0, C)
        await let_it_land(target)
        assert await case.disk.read(0, 512) == B

    monkeypatch.setattr(PathRunner, "_outlast", nothing)
    run(target, BASE, body)


def test_the_return_of_the_path_itself_waits_as_well(target: SlowTgtd) -> None:
    async def body(case: Case) -> None:
        await until(lambda: sum(event.kind is Kind.CONNECT_STARTED for event in case.journal) > 1)
        await asyncio.sleep(0.2)
        assert not case.writing.done()
        await let_it_land(target)
        await case.writing
        await case.disk.write(0, C)
        assert await case.disk.read(0, 512) == C
        assert case.fences(Kind.FENCE_COMPLETED) == ["relogin"]

    run(target, BASE.replace(reconnect_delay=0.1), body, paths=1)


def test_a_lun_reset_is_answered_when_the_old_write_has_landed(target: SlowTgtd) -> None:
    async def body(case: Case) -> None:
        assert case.disk.status().paths[0].fence_methods == ("lun_reset",)
        await until(lambda: case.fences(Kind.FENCE_STARTED))
        await asyncio.sleep(0.2)
        assert not case.writing.done()
        await let_it_land(target)
        await case.writing
        await case.disk.write(0, C)
        assert await case.disk.read(0, 512) == C
        assert case.fences(Kind.FENCE_COMPLETED) == ["lun_reset"]

    run(target, RESET, body)


def test_tgtd_does_not_know_preempt_and_abort(target: SlowTgtd) -> None:
    """So that the write ends as what it is, and the map goes on."""

    async def body(case: Case) -> None:
        with pytest.raises(OutcomeUnknown, match="PREEMPT AND ABORT"):
            await case.writing
        assert case.fences(Kind.FENCE_COMPLETED) == []
        assert case.disk.status().fences_failed > 0
        assert await case.disk.read(512, 512) == bytes(512)

    run(target, BASE.replace(reservation_key=0xABC0, fence="preempt", no_path_retry=2), body)
