"""Receive coalescing against targets in virtual time: fewer wake-ups where that costs nothing, none where it does."""

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.io.coalesce import GAIN, HOLD_TICKS, MARK_MAX_BYTES, PERIOD_TICKS, PERIODS, TICK_S, Coalescer, Trial
from mpio.sim.loop import VirtualLoop

ANSWER_BYTES = 4096 + 48
TRIAL_TICKS = PERIODS * PERIOD_TICKS


def in_virtual_time(main: Coroutine[Any, Any, None]) -> None:
    with VirtualLoop() as loop:
        loop.run(main)


class Target:
    """Answers one read after the other, and wakes the initiator up when what has come reaches the low-water mark.

    Args:
        pause_s: between answers. dent_s: how long it is idle more for each answer that the initiator let lie.
    """

    def __init__(self, pause_s: float, dent_s: float = 0.0, owed: int = 32 * ANSWER_BYTES) -> None:
        self.pause_s = pause_s
        self.dent_s = dent_s
        self.owed = owed
        self.mark = 1
        self.waiting = 0
        self.wakes: list[int] = []
        self.forced = 0
        self.coalescer = Coalescer(self, lambda limit: self.owed if limit == MARK_MAX_BYTES else 0,  # type: ignore[arg-type]
                                   self.read_now)

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        assert 1 <= value <= max(1, self.owed // 2)
        self.mark = value

    def read_now(self) -> None:
        self.forced += 1
        if self.waiting:
            self.read()

    def read(self) -> int:
        count, self.waiting = self.waiting, 0
        self.wakes.append(count)
        self.coalescer.received(count)
        return count // ANSWER_BYTES - 1

    async def answer(self, duration_s: float) -> int:
        """For so long. Returns how many answers there were."""
        loop = asyncio.get_running_loop()
        end = loop.time() + duration_s
        answers, late = 0, 0
        while loop.time() < end:
            await asyncio.sleep(self.pause_s + late * self.dent_s)
            answers += 1
            self.waiting += ANSWER_BYTES
            late = self.read() if self.waiting >= self.mark else 0
        return answers


def test_few_wake_ups_where_the_target_does_not_mind() -> None:
    async def main() -> None:
        target = Target(pause_s=25e-6)
        answers = await target.answer(2.0)
        assert len(target.wakes) < answers / 3
        assert target.mark > ANSWER_BYTES
        target.coalescer.stop()

    in_virtual_time(main())


def test_none_is_saved_where_the_target_idles_meanwhile() -> None:
    async def main() -> None:
        target = Target(pause_s=25e-6, dent_s=10e-6)
        await target.answer(1.0)
        target.wakes.clear()
        answers = await target.answer(0.5)
        assert target.mark == 1
        assert len(target.wakes) == answers
        target.coalescer.stop()

    in_virtual_time(main())


def test_it_is_tried_again_when_the_target_has_become_another() -> None:
    async def main() -> None:
        target = Target(pause_s=25e-6, dent_s=10e-6)
        await target.answer(1.0)
        assert target.mark == 1
        target.dent_s = 0.0
        await target.answer(HOLD_TICKS * TICK_S * 1.5)
        assert target.mark > ANSWER_BYTES
        target.coalescer.stop()

    in_virtual_time(main())


def test_slow_answers_are_read_as_they_come() -> None:
    async def main() -> None:
        target = Target(pause_s=1e-3)
        answers = await target.answer(1.0)
        assert len(target.wakes) == answers
        assert target.mark == 1
        target.coalescer.stop()

    in_virtual_time(main())


@pytest.mark.parametrize("owed", [0, ANSWER_BYTES, 32 * ANSWER_BYTES])
def test_what_lies_below_the_mark_is_read_within_a_tick(owed: int) -> None:
    """The last answers, or an error that is shorter than the data would have been."""

    async def main() -> None:
        target = Target(pause_s=25e-6)
        await target.answer(0.1)
        target.owed = owed
        target.waiting += 48
        await asyncio.sleep(2 * TICK_S)
        assert target.waiting == 0
        assert target.mark == 1
        forced = target.forced
        await asyncio.sleep(100 * TICK_S)
        assert target.forced == forced  # and then nothing ticks any more
        target.coalescer.stop()

    in_virtual_time(main())


@given(with_=st.integers(1000, 100_000), without=st.integers(1000, 100_000))
def test_a_trial_ends_with_what_brought_clearly_more_and_begins_anew(with_: int, without: int) -> None:
    trial = Trial()
    for _ in range(3):
        for _ in range(TRIAL_TICKS):
            trial.tick(with_ if trial.coalesce else without, TICK_S)
        if abs(without / with_ - GAIN) > 1e-6:
            assert trial.coalesce == (without < GAIN * with_)
        held = trial.coalesce
        for _ in range(HOLD_TICKS - TRIAL_TICKS):
            trial.tick(1 if held else 100_000, TICK_S)  # whatever comes meanwhile does not count
            assert trial.coalesce == held


def test_a_trial_goes_by_rates_not_by_sums() -> None:
    """A busy loop ticks late: what came in a longer time is not more."""
    trial = Trial()
    for _ in range(TRIAL_TICKS):
        trial.tick(*((1000, TICK_S) if trial.coalesce else (1200, 1.5 * TICK_S)))
    assert trial.coalesce
