"""What mpio's own heartbeat promises, whatever happens to storage, network, clocks and nodes."""

from dataclasses import dataclass

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.unit.heartbeat.test_own import machine
from tests.unit.heartbeat.world import Stall, World

from mpio.events import Kind
from mpio.heartbeat.machine import IO_MAX, Leave, Poison, Reachable, Write
from mpio.heartbeat.observer import Peer
from mpio.heartbeat.timing import Timing
from mpio.units import seconds

DEADLINE_S = 12
TIMING = Timing(seconds(1), seconds(DEADLINE_S), seconds(13.52), seconds(0.5), seconds(1), 1_000, split_ns=seconds(2))
FENCE_S, DRAIN_S = 0.5, 1.0


@dataclass(frozen=True)
class Step:
    """Something that is done at a time (s), and undone after a while where that is possible."""

    what: str
    at: float
    node: int
    other: int
    lasts: float


times = st.integers(8_000, 60_000).map(lambda ms: ms / 1000 + 0.000_311)
lengths = st.one_of(st.integers(100, 4_000), st.integers(8_000, 30_000)).map(lambda ms: ms / 1000)


@st.composite
def fates(draw: st.DrawFn) -> tuple[int, list[Stall], list[Step], dict[int, int], bool]:
    count = draw(st.integers(2, 4))
    node = st.integers(0, count - 1)
    stalls = draw(st.lists(st.builds(
        lambda node, begin, length, error, lands: Stall(node, begin, begin + length, error, lands),
        st.one_of(node, node, st.none()), times, lengths, st.sampled_from(["", "", "", "EIO"]), st.booleans(),
    ), max_size=3))
    for stall in list(stalls):
        if draw(st.booleans()):  # another trouble right behind
            stalls.append(Stall(stall.node, stall.end + draw(st.sampled_from([0.002, 0.9, 1.1])), stall.end + 40))
    whats = ["cut", "split", "crash", "poison", "leave", "score", "mute"]
    steps = draw(st.lists(st.builds(Step, st.sampled_from(whats), times, node, node, lengths), max_size=4))
    rates = {which: draw(st.integers(-500, 500)) for which in range(count)}  # 0.1 % between any two
    return count, stalls, steps, rates, draw(st.booleans())


def play(count: int, stalls: list[Stall], steps: list[Step], rates: dict[int, int], holds: bool) -> World:
    world = World(stalls=stalls, rates=rates, holds=holds)
    nodes = tuple(range(count))
    for node in nodes:
        world.add(node, machine(node, nodes, timing=TIMING))
    lives = dict.fromkeys(nodes, 1)

    def crash(node: int) -> None:
        if node not in world.crashed:
            world.crash(node)

    def rejoin(node: int) -> None:
        if node in world.crashed:
            lives[node] += 1
            world.add(node, machine(node, nodes, lives[node], TIMING))

    for step in steps:
        end = step.at + step.lasts
        if step.what == "crash":
            world.at(step.at, lambda node=step.node: crash(node))  # type: ignore[misc]
            world.at(end, lambda node=step.node: rejoin(node))  # type: ignore[misc]
        elif step.what in ("cut", "split") and step.node != step.other:
            sides = ([step.node], [step.other] if step.what == "cut" else [n for n in nodes if n != step.node])
            world.at(step.at, lambda sides=sides: world.split(*sides))  # type: ignore[misc]
            world.at(end, lambda sides=sides: world.split(*sides, heal=True))  # type: ignore[misc]
        elif step.what in ("poison", "leave", "score"):
            item = {"poison": Poison(step.other), "leave": Leave(), "score": Reachable(step.other)}[step.what]
            world.at(step.at, lambda node=step.node, item=item: (  # type: ignore[misc]
                None if node in world.crashed else world.give(node, item)))
    world.run(150)
    return world


def stopped_at(world: World, generation: int) -> float | None:
    """When a life could write nothing more: fenced, or crashed; None while it goes on."""
    found = [item.at for item in world.told if item.kind is Kind.NODE_FENCED and item.generation == generation]
    if found:
        return found[0]
    return world.ended.get(generation)


@settings(max_examples=120, deadline=None)
@given(fates())
def test_who_is_called_dead_has_stopped(fate: tuple[int, list[Stall], list[Step], dict[int, int], bool]) -> None:
    """By any clock, with the fence's latency and what was still on its way: the one law that data depends on."""
    world = play(*fate)
    for told in world.kinds(Kind.PEER_DEAD):
        generation = told.fields["generation"]
        assert isinstance(generation, int)
        if generation not in world.members:
            event("not a member yet")
            continue
        at = stopped_at(world, generation)
        assert at is not None, f"{told} still runs"
        acknowledged = "acknowledged" in str(told.fields["cause"])
        assert at + (FENCE_S if acknowledged else FENCE_S + DRAIN_S) <= told.at + 1e-6
        event("acknowledged" if acknowledged else "called dead by its silence")
    for generation, joined in world.members.items():
        called = [item.at for item in world.kinds(Kind.PEER_DEAD) if item.fields["generation"] == generation]
        assert all(at >= joined for at in called), "became a member after it was called dead"
    for node in world.fenced:
        event(f"fenced: {world.fences[node].cause.value}")
    if world.kinds(Kind.HEARTBEAT_NEGOTIATED):
        event("negotiated")


@settings(max_examples=40, deadline=None)
@given(fates())
def test_no_more_io_is_out_than_is_allowed_and_only_the_own_slot_is_written(
    fate: tuple[int, list[Stall], list[Step], dict[int, int], bool]
) -> None:
    world = play(*fate)
    for _, node, action in world.actions:
        if isinstance(action, Write):
            assert action.offset == 512 * (1 + node)
    assert 0 < world.out_max <= IO_MAX


@settings(max_examples=20, deadline=None)
@given(fates())
def test_one_fate_one_run(fate: tuple[int, list[Stall], list[Step], dict[int, int], bool]) -> None:
    first, second = play(*fate), play(*fate)
    assert first.actions == second.actions
    assert first.disk == second.disk


@pytest.mark.parametrize("promises", [True, False])
def test_what_the_promise_is_for(promises: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Node 0 has watched node 1 hang for a while, hangs itself, negotiates, and is back before node 1 is."""
    if not promises:
        monkeypatch.setattr(Peer, "hold_off", lambda _self, _now: None)
    early = []
    for tenth in range(0, 40, 3):
        begin = 44 + tenth / 10
        world = play(2, [Stall(1, 40.3, 200), Stall(0, begin, begin + 7.5)], [], {0: 500, 1: -500}, False)
        assert list(world.fenced) == [1]
        early += [told.at - world.fenced[1] for told in world.kinds(Kind.PEER_DEAD) if told.at < world.fenced[1]]
    assert bool(early) is not promises
