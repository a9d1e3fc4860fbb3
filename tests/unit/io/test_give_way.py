"""Giving way is free while others are quick, and is left for a while once somebody was not."""

import socket

from hypothesis import given
from hypothesis import strategies as st

from mpio.io.give_way import LONG_NS, PAUSE_NS, GiveWay
from mpio.io.net import is_within_this_machine


class Machine:
    """Others that run for so long, in ns, each time they are given way."""

    def __init__(self) -> None:
        self.now = 0
        self.takes_ns = 0
        self.yields = 0

    def clock(self) -> int:
        return self.now

    def sched_yield(self) -> None:
        self.yields += 1
        self.now += self.takes_ns


@given(st.lists(st.integers(0, LONG_NS), max_size=20))
def test_the_quick_are_always_given_way(turns: list[int]) -> None:
    machine = Machine()
    give_way = GiveWay(machine.clock, machine.sched_yield)
    for machine.takes_ns in turns:
        give_way()
    assert machine.yields == len(turns)


@given(st.integers(LONG_NS + 1, 10 * LONG_NS), st.integers(LONG_NS // 2, LONG_NS))
def test_who_computes_without_end_gets_one_turn_in_a_while(turn_ns: int, work_ns: int) -> None:
    machine = Machine()
    give_way = GiveWay(machine.clock, machine.sched_yield)
    machine.takes_ns = turn_ns
    while machine.now < 10 * PAUSE_NS:
        give_way()
        machine.now += work_ns
    assert 10 <= machine.yields <= 11
    machine.takes_ns = 0
    machine.now += PAUSE_NS
    before = machine.yields
    give_way()
    give_way()
    assert machine.yields == before + 2, "it ended: nothing is left of it"


def test_the_real_call_comes_back() -> None:
    machine = Machine()
    GiveWay(machine.clock)()


def test_a_connection_within_the_machine_is_known_by_its_addresses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as near:
            assert is_within_this_machine(near)
        with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)) as other:
            assert not is_within_this_machine(other)
        with socket.socket() as unconnected:
            assert not is_within_this_machine(unconnected)
