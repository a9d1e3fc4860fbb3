"""A target that is killed (SIGKILL) under load loses no write that it acknowledged, round after round.

MPIO_KILL_ROUNDS sets how many rounds each store gets; a few by default.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.test_nbd_store import nbdkit
from tests.peers import Missing, MpioTarget

import mpio
from mpio.errors import MpioError

ROUNDS = int(os.environ.get("MPIO_KILL_ROUNDS", "3"))
BLOCK = 4096
BLOCKS = 512
WRITERS = 8
SETTINGS = mpio.profile("fast").replace(no_path_retry="fail", login_timeout=20.0, fence="none")


class Ledger:
    """What may stand in each block: what was acknowledged last, and what was sent and not answered."""

    def __init__(self) -> None:
        self.acknowledged = dict.fromkeys(range(BLOCKS), 0)
        self.unsettled: dict[int, list[int]] = {}
        self.acknowledgements = self.flushes = self.last = 0

    def content(self, block: int, number: int) -> bytes:
        return (block.to_bytes(8, "big") + number.to_bytes(8, "big")) * (BLOCK // 16) if number else bytes(BLOCK)

    async def write(self, disk: mpio.Disk, block: int) -> None:
        self.last += 1
        number = self.last
        self.unsettled.setdefault(block, []).append(number)
        await disk.write(block * BLOCK, self.content(block, number), fua=number % 16 == 0)
        del self.unsettled[block]  # earlier ones too: they were over before this one was sent
        self.acknowledged[block] = number
        self.acknowledgements += 1

    async def check(self, disk: mpio.Disk) -> None:
        """Every block holds what it may, whole; from now on what was found is what was acknowledged."""
        data = await disk.read(0, BLOCKS * BLOCK)
        for block in range(BLOCKS):
            found = data[block * BLOCK : (block + 1) * BLOCK]
            allowed = [self.acknowledged[block], *self.unsettled.pop(block, [])]
            numbers = [number for number in allowed if self.content(block, number) == found]
            assert numbers, f"block {block}: expected one of {allowed}, found {found[:16].hex()}"
            self.acknowledged[block] = numbers[0]


async def one_round(directory: Path, lun: str, ledger: Ledger, rng: random.Random) -> None:
    """Check what is there, load the target, and kill it after so many acknowledgements."""
    with MpioTarget(directory, lun) as target:
        async with mpio.open_map([target.url()], SETTINGS) as disk:
            await ledger.check(disk)
            goal = ledger.acknowledgements + rng.randrange(50, 400)
            over = asyncio.Event()

            async def writer(number: int) -> None:
                try:
                    while True:
                        # Each writer has blocks of its own, so that no two writes of one block go side by side
                        await ledger.write(disk, rng.randrange(BLOCKS // WRITERS) * WRITERS + number)
                        if rng.random() < 0.05:
                            await disk.flush()
                            ledger.flushes += 1
                        if ledger.acknowledgements >= goal:
                            over.set()
                except MpioError:
                    over.set()

            async with asyncio.TaskGroup() as group:
                for number in range(WRITERS):
                    group.create_task(writer(number))
                await over.wait()
                target.kill()


@contextlib.contextmanager
def lun(directory: Path, store: str) -> Iterator[str]:
    """A LUN on a store of this kind, which outlives the target."""
    options = f",size={BLOCKS * BLOCK},bs={BLOCK}"
    if store == "memory":
        path = Path(f"/dev/shm/mpio-kill-{os.getpid()}.img")
        try:
            yield f"1=file:{path}{options}"
        finally:
            path.unlink(missing_ok=True)
    elif store == "nbd":
        with nbdkit(directory, "memory", str(BLOCKS * BLOCK)) as (uri, _):
            yield f"1={uri},bs={BLOCK}"
    else:
        yield f"1=file:{directory / 'lun.img'}{options}" + (",direct" if store == "direct" else "")


@pytest.mark.parametrize("store", ["file", "direct", "memory", "nbd"])
@pytest.mark.timeout(120 + 20 * ROUNDS)
def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path, store: str) -> None:
    ledger, rng = Ledger(), random.Random(store)

    async def run(served: str) -> None:
        for _ in range(ROUNDS):
            await one_round(tmp_path, served, ledger, rng)
        with MpioTarget(tmp_path, served) as target:
            async with mpio.open_map([target.url()], SETTINGS) as disk:
                await ledger.check(disk)

    try:
        with lun(tmp_path, store) as served:
            asyncio.run(run(served))
    except Missing as missing:
        pytest.skip(str(missing))
    assert ledger.acknowledgements >= 50 * ROUNDS
    assert ledger.flushes
