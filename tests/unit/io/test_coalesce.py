"""Receive coalescing against targets in virtual time: fewer wake-ups where answers come one by one, and only there."""

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import pytest

from mpio.io.coalesce import ANSWERS_FEW, LOOK_AGAIN_TICKS, MARK_MAX_BYTES, TICK_S, Coalescer
from mpio.sim.loop import VirtualLoop

ANSWER_BYTES = 4096 + 48


def in_virtual_time(main: Coroutine[Any, Any, None]) -> None:
    with VirtualLoop() as loop:
        loop.run(main)


class Target:
    """Answers reads, and wakes the initiator up when what has come reaches the low-water mark.

    Args:
        pause_s: between sends. at_once: how many answers each brings. queue: how many reads are under way.
    """

    def __init__(self, pause_s: float, at_once: int = 1, queue: int = 32) -> None:
        self.pause_s = pause_s
        self.at_once = at_once
        self.queue = queue
        self.mark = 1
        self.waiting = 0
        self.wakes: list[int] = []
        self.forced = 0
        self.coalescer = Coalescer(self, self.owed, self.read_now)  # type: ignore[arg-type]

    def owed(self, limit: int) -> tuple[int, int]:
        assert limit == MARK_MAX_BYTES
        return self.queue, self.queue * ANSWER_BYTES

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        assert 1 <= value <= max(1, self.queue * ANSWER_BYTES // 2)
        self.mark = value

    def read_now(self) -> None:
        self.forced += 1
        if self.waiting:
            self.read()

    def read(self) -> None:
        count, self.waiting = self.waiting, 0
        self.wakes.append(count)
        self.coalescer.received(count)

    async def answer(self, duration_s: float) -> int:
        """For so long. Returns how many sends there were."""
        loop = asyncio.get_running_loop()
        end = loop.time() + duration_s
        self.wakes.clear()
        sends = 0
        while loop.time() < end:
            await asyncio.sleep(self.pause_s)
            sends += 1
            self.waiting += self.at_once * ANSWER_BYTES
            if self.waiting >= self.mark:
                self.read()
        return sends


def test_answers_that_come_one_by_one_are_waited_for_together() -> None:
    async def main() -> None:
        target = Target(pause_s=25e-6)
        sends = await target.answer(2.0)
        assert len(target.wakes) < sends / 5
        assert target.mark > ANSWER_BYTES
        target.coalescer.stop()

    in_virtual_time(main())


@pytest.mark.parametrize("target", [
    {"pause_s": 25e-6 * ANSWERS_FEW, "at_once": ANSWERS_FEW},  # they come together anyway
    {"pause_s": 1e-3},  # too few of them to matter
    {"pause_s": 25e-6, "queue": 1},  # there is nothing to wait for
])
def test_all_others_are_read_as_they_come(target: dict[str, Any]) -> None:
    async def main() -> None:
        one = Target(**target)
        sends = await one.answer(2.0)
        assert len(one.wakes) == sends
        assert one.mark < ANSWER_BYTES
        one.coalescer.stop()

    in_virtual_time(main())


def test_now_and_then_it_is_looked_at_how_they_come_by_themselves() -> None:
    async def main() -> None:
        target = Target(pause_s=25e-6)
        await target.answer(0.1)
        assert target.mark > 1
        target.pause_s, target.at_once = 100e-6, 4
        await target.answer(1.1 * LOOK_AGAIN_TICKS * TICK_S)
        sends = await target.answer(0.5)
        assert len(target.wakes) == sends
        target.pause_s, target.at_once = 25e-6, 1
        sends = await target.answer(0.5)
        assert len(target.wakes) < sends / 3
        target.coalescer.stop()

    in_virtual_time(main())


@pytest.mark.parametrize("left", [0, 1, 32])
def test_what_lies_below_the_mark_is_read_within_a_tick(left: int) -> None:
    """The last answers, or an error that is shorter than the data would have been."""

    async def main() -> None:
        target = Target(pause_s=25e-6)
        await target.answer(0.1)
        assert target.mark > 1
        target.queue = left
        target.waiting += 48
        await asyncio.sleep(2 * TICK_S)
        assert target.waiting == 0
        assert target.mark == 1
        forced = target.forced
        await asyncio.sleep(100 * TICK_S)
        assert target.forced == forced  # and then nothing ticks any more
        target.coalescer.stop()

    in_virtual_time(main())
