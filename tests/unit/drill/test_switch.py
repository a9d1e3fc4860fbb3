"""The nodes' networks in memory: what is carried, what a cut or a slow wire does, and what a score follows."""

import asyncio
from collections.abc import Callable

import pytest
from tests.unit.drill.fakes import VirtualLoop, run_virtual, s

from mpio.drill.fabric import Fault
from mpio.drill.switch import WAITING_MAX, Pinger, Switch, echo
from mpio.errors import InputError
from mpio.heartbeat.machine import Reachable
from mpio.heartbeat.reachability import Reachability

CUT = Fault("blackhole")


def clock() -> int:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.now_ns


def heard(switch: Switch, *numbers: int) -> dict[int, list[bytes]]:
    """What arrives at each port."""
    found: dict[int, list[bytes]] = {}
    for number in numbers:
        found[number] = []
        switch.port(number).open(found[number].append)
    return found


@pytest.mark.parametrize(("fault", "to", "back"), [
    (None, True, True),
    (Fault("blackhole"), False, False),
    (Fault("blackhole", {"direction": "to_target"}), False, True),
    (Fault("blackhole", {"direction": "to_initiator"}), True, False),
])
def test_a_cut_wire_carries_nothing_that_way(fault: Fault | None, to: bool, back: bool) -> None:
    async def run() -> tuple[list[bytes], list[bytes]]:
        switch = Switch("cluster")
        found = heard(switch, 1, 2)
        if fault is not None:
            switch.inject(1, fault)
        switch.port(1).send(2, b"to")
        switch.port(2).send(1, b"back")
        await asyncio.sleep(0.1)
        return found[2], found[1]

    assert run_virtual(run()) == ([b"to"] * to, [b"back"] * back)


def test_what_is_under_way_is_lost_in_a_cut_and_late_on_a_slow_wire() -> None:
    async def run() -> tuple[list[int], int]:
        switch = Switch("cluster")
        arrivals: list[int] = []
        switch.port(1)
        switch.port(2).open(lambda _data: arrivals.append(clock()))
        begun = clock()
        switch.inject(2, Fault("delay", {"ms": 200}))
        switch.port(1).send(2, b"slow")
        await asyncio.sleep(0.5)
        switch.port(1).send(2, b"then cut")
        switch.heal(2)
        switch.inject(2, CUT)
        await asyncio.sleep(0.5)
        return arrivals, begun

    arrivals, begun = run_virtual(run())
    assert [at - begun for at in arrivals] == [s(0.2)]


def test_a_heal_makes_it_well_and_a_second_fault_is_refused() -> None:
    async def run() -> list[bytes]:
        switch = Switch("client")
        found = heard(switch, 1, 2)
        assert switch.heal(1) == "the client network of node 1 has no fault"
        assert switch.inject(1, CUT) == "client network of node 1: blackhole direction=both"
        with pytest.raises(InputError, match="already has the fault blackhole"):
            switch.inject(1, CUT)
        assert switch.heal(1) == "client network of node 1: clear"
        switch.port(1).send(2, b"again")
        switch.port(1).send(3, b"to nobody")
        await asyncio.sleep(0.1)
        return found[2]

    assert run_virtual(run()) == [b"again"]


def test_a_flood_is_lost_beyond_the_bound() -> None:
    async def run() -> int:
        switch = Switch("cluster")
        found = heard(switch, 1, 2)
        for _ in range(WAITING_MAX + 10):
            switch.port(1).send(2, b"x")
        await asyncio.sleep(0.1)
        for _ in range(5):
            switch.port(1).send(2, b"y")
        switch.close()  # what is on its way is lost
        await asyncio.sleep(0.1)
        return len(found[2])

    assert run_virtual(run()) == WAITING_MAX


def ping_story(steps: list[tuple[float, Callable[[Switch], object]]], until: float) -> list[tuple[float, int]]:
    """When which score was told, in seconds from the beginning."""
    async def run() -> list[tuple[float, int]]:
        switch = Switch("client")
        echo(switch, 0)
        told: list[tuple[float, int]] = []
        begun = clock()
        pinger = Pinger(switch.port(1), {"gateway": 0}, s(0.5), Reachability(["gateway"], 100, s(2), 2),
                        lambda news: told.append(((clock() - begun) / s(1), news.score)), clock)
        task = asyncio.create_task(pinger.run())
        for at, act in steps:
            await asyncio.sleep(at - (clock() - begun) / s(1))
            act(switch)
        await asyncio.sleep(until - (clock() - begun) / s(1))
        task.cancel()
        return told

    return run_virtual(run())


def test_a_score_comes_and_goes_damped() -> None:
    assert Reachable(100) != Reachable(0)
    told = ping_story([(5.1, lambda switch: switch.inject(1, CUT)), (12.1, lambda switch: switch.heal(1))], 20)
    assert [score for _, score in told] == [100, 0, 100]
    assert [at for at, _ in told] == pytest.approx([2.5, 8.5, 15.0], abs=0.51)


def test_a_flap_that_is_shorter_than_the_dampening_is_not_told() -> None:
    told = ping_story([(5.1, lambda switch: switch.inject(1, CUT)), (7.1, lambda switch: switch.heal(1))], 20)
    assert [score for _, score in told] == [100]


def test_a_client_that_only_the_others_reach_does_not_count() -> None:
    told = ping_story([(0.0, lambda switch: switch.inject(1, Fault("blackhole", {"direction": "to_initiator"})))], 10)
    assert told == []
