"""The virtual loop: exact time, fixed order, nothing real, and never stuck without saying so."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from mpio.sim.loop import Node, RealWorldRefused, SimulationError, VirtualFile, VirtualLoop
from mpio.units import NS_PER_S

T = TypeVar("T")
DAY_S = 86_400


def run(main: Coroutine[Any, Any, T], **details: Any) -> T:
    with VirtualLoop(**details) as loop:
        return loop.run(main)


def loop_now() -> int:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.now_ns


def test_three_days_pass_at_once_and_to_the_nanosecond() -> None:
    async def main() -> list[int]:
        seen = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await asyncio.sleep(3 * DAY_S)
        seen.append(loop_now())
        await asyncio.sleep(3 * DAY_S)
        seen.append(loop_now())
        return seen

    assert run(main()) == [1_500_000_000, 1_500_000_000 + 3 * DAY_S * NS_PER_S]


@pytest.mark.parametrize("delay_ns", [1, 3, 7, 333_333_333, 1_000_000_007, 86_399_999_999_999])
def test_no_timer_is_early_nor_more_than_a_nanosecond_late(delay_ns: int) -> None:
    async def main() -> int:
        await asyncio.sleep(12_345.678_901_234)
        before = loop_now()
        await asyncio.sleep(delay_ns / NS_PER_S)
        return loop_now() - before

    assert 0 <= run(main()) - delay_ns <= 1


def test_timers_of_one_instant_keep_the_order_in_which_they_were_set() -> None:
    assert ties(None) == list(range(40))


def test_ties_can_be_permuted_by_a_seed() -> None:
    assert ties(1) == ties(1)
    assert ties(1) != ties(2)
    assert sorted(ties(1)) == list(range(40))


def ties(seed: int | None) -> list[int]:
    fired: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        when = loop.time() + 1
        for number in range(40):
            loop.call_at(when, fired.append, number)
        await asyncio.sleep(2)

    run(main(), tie_seed=seed)
    return fired


def test_a_failing_group_ends_its_tasks_in_the_order_of_their_making() -> None:
    """asyncio keeps them in a set: with ordinary hashes the order would be that of addresses in memory."""
    ended: list[int] = []

    async def wait(number: int) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(number)

    async def fail() -> None:
        await asyncio.sleep(1)
        raise ValueError("enough")

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(wait(number))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        run(main())
    assert ended == list(range(30))


def test_what_can_never_go_on_is_told_with_who_waits() -> None:
    async def main() -> None:
        await asyncio.sleep(5)
        await asyncio.gather(asyncio.create_task(asyncio.Event().wait(), name="the patient one"))

    with pytest.raises(SimulationError, match=r"nothing will ever happen again after 5 s; waiting: .*the patient one"):
        run(main())


def test_a_run_that_goes_round_and_round_ends() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            loop.call_later(0.001, again)

        again()
        await asyncio.sleep(DAY_S)

    with pytest.raises(SimulationError, match="more than 1000 callbacks in 1 simulated seconds"):
        run(main(), steps_max=1000)


def test_a_timer_past_the_end_of_time_is_refused() -> None:
    async def main() -> None:
        await asyncio.sleep(49 * DAY_S)

    with pytest.raises(SimulationError, match="the end of simulated time"):
        run(main())


def test_a_callback_that_fails_ends_the_run() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(1, lambda: 1 // 0)
        await asyncio.sleep(10)

    with pytest.raises(SimulationError, match="ZeroDivisionError"):
        run(main())


@pytest.mark.parametrize("call", [
    lambda loop: loop.run_in_executor(None, print),
    lambda loop: loop.getaddrinfo("localhost", 80),
    lambda loop: loop.create_connection(None, "127.0.0.1", 80),
    lambda loop: loop.subprocess_exec(None, "true"),
    lambda loop: loop.add_signal_handler(2, print),
    lambda loop: loop.add_reader(0, print),
    lambda loop: loop.add_writer(1, print),
    lambda loop: loop.sock_connect(None, ("127.0.0.1", 80)),
])
def test_the_real_world_is_refused(call: Any) -> None:
    async def main() -> None:
        with pytest.raises(RealWorldRefused, match="a simulation has no "):
            await call(asyncio.get_running_loop())

    run(main())


def test_cancelled_timers_do_not_hold_time_back() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        for number in range(2000):
            loop.call_later(1 + number, print).cancel()
        await asyncio.sleep(0.5)
        return loop_now()

    assert run(main()) == NS_PER_S // 2


class Pipe(VirtualFile):
    """Counts."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop)
        self.filled = 0

    def readable(self) -> bool:
        return self.filled > 0

    def add(self, count: int) -> None:
        self.filled += count
        self.poke()


def test_a_reader_is_called_for_as_long_as_there_is_something() -> None:
    async def main() -> tuple[int, bool, bool]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        pipe, calls = Pipe(loop), []

        def read() -> None:
            calls.append(1)
            pipe.filled -= 1

        loop.add_reader(pipe, read)
        await asyncio.sleep(1)
        pipe.add(3)
        await asyncio.sleep(1)
        removed = loop.remove_reader(pipe.fileno())
        pipe.add(3)
        await asyncio.sleep(1)
        return len(calls), removed, loop.remove_reader(pipe.fileno())

    assert run(main()) == (3, True, False)


def test_a_paused_node_does_nothing_and_catches_up_in_order() -> None:
    seen: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        node, pipe = Node(loop, "n"), Pipe(loop)

        def read() -> None:
            pipe.filled = 0
            seen.append(f"read at {loop.time():g}")

        def begin() -> None:
            loop.add_reader(pipe, read)
            loop.call_later(2, lambda: seen.append(f"timer at {loop.time():g}"))

        node.run(begin)
        node.pause()
        loop.call_later(1, lambda: seen.append("others go on"))
        await asyncio.sleep(1.5)
        pipe.add(1)
        await asyncio.sleep(1.5)
        node.resume()
        await asyncio.sleep(1)

    run(main())
    assert seen == ["others go on", "read at 3", "timer at 3"]


def test_what_waited_for_a_node_that_died_never_runs() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        node = Node(loop, "n")
        node.run(loop.call_later, 1, lambda: pytest.fail("it is dead"))
        node.pause()
        await asyncio.sleep(2)
        node.discard()
        await asyncio.sleep(2)

    run(main())


@pytest.mark.parametrize("ppm", [-50_000, 200, 100_000])
def test_a_node_with_another_clock_waits_by_it(ppm: int) -> None:
    async def main() -> tuple[int, int, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        node = Node(loop, "n", clock_ppm=ppm)

        async def nap() -> tuple[int, int]:
            before = node.clock()
            await asyncio.sleep(100)
            return node.clock() - before, loop.now_ns

        own, _ = await node.run(lambda: loop.create_task(nap()))
        mine = loop.now_ns
        await asyncio.sleep(100)
        return own, mine, loop.now_ns - mine

    own, took, mine = run(main())
    assert abs(own - 100 * NS_PER_S) <= 2
    assert abs(took * (1_000_000 + ppm) // 1_000_000 - 100 * NS_PER_S) <= 2
    assert mine == 100 * NS_PER_S


def test_left_over_tasks_are_ended_with_the_run() -> None:
    ended = []

    async def forever() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(loop_now())

    kept = []

    async def main() -> None:
        kept.append(asyncio.create_task(forever()))
        await asyncio.sleep(1)

    run(main())
    assert ended == [NS_PER_S]
