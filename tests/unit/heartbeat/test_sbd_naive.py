"""SBD's machines and the same daemon written down naively: whatever happens, both do the same at the same time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from tests.unit.heartbeat.naive_sbd import NaiveSbd
from tests.unit.heartbeat.world import Stall, World

from mpio.heartbeat.formats import sbd
from mpio.heartbeat.machine import Action, Extend, Fence, Happened, Heartbeat, Leave, Read, Write
from mpio.heartbeat.region import Holds, Layout, blank
from mpio.heartbeat.sbd import SERVANT_IO_MAX, Sbd, Settings
from mpio.model.cluster import Sbd as Timers

LAYOUT = Layout(Holds.SBD, 512, 4)


@dataclass(frozen=True)
class Happening:
    """Something that is done to a node, or its mailbox, at a time (s)."""

    what: str
    at: float
    node: int
    lasts: float


@dataclass(frozen=True)
class Schedule:
    """A cluster and its fate."""

    names: dict[int, str]
    timers: Timers
    starts: tuple[int, ...]
    """Milliseconds."""
    stalls: tuple[Stall, ...]
    happenings: tuple[Happening, ...]
    latency_ms: int


times = st.integers(0, 60_000).map(lambda ms: ms / 1e3 + 0.000_137)
lengths = st.one_of(st.integers(1, 3_000), st.integers(1, 40_000)).map(lambda ms: ms / 1e3)
timers = st.builds(
    Timers, watchdog=st.integers(2, 30), io_timeout=st.integers(1, 8), loop=st.integers(1, 3),
    restart_delay=st.integers(0, 8), pacemaker=st.booleans(),
)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    count = draw(st.integers(1, 3))
    node = st.integers(0, count - 1)
    stalls = draw(st.lists(st.builds(
        lambda node, begin, length, error: Stall(node, begin, begin + length, error),
        node, times, lengths, st.sampled_from(["", "", "EIO"]),
    ), max_size=4))
    whats = st.sampled_from(["test", "unknown", "reset", "exit", "leave", "cut", "header", "uuid", "slot"])
    happenings = draw(st.lists(st.builds(Happening, whats, times, node, lengths), max_size=4))
    if draw(st.booleans()):  # a node without disk and without the others
        lost, begin, length = draw(node), draw(times), draw(st.integers(5, 40))
        stalls.append(Stall(lost, begin, begin + length))
        happenings.append(Happening("cut", begin + draw(lengths), lost, draw(lengths)))
    return Schedule(
        {number: f"node{number}" for number in range(count)}, draw(timers),
        tuple(draw(st.integers(0, 3_000)) for _ in range(count)), tuple(stalls), tuple(happenings),
        draw(st.sampled_from([1, 1, 20, 400])),
    )


def header_of(schedule: Schedule) -> sbd.Header:
    timers = schedule.timers
    return sbd.Header(timers.watchdog, timers.allocate, timers.loop, timers.msgwait, 512, slots=4)


def naive(node: int, schedule: Schedule) -> Heartbeat:
    return NaiveSbd(node, schedule.names, schedule.timers, sbd.render_header(header_of(schedule)))


def ours(node: int, schedule: Schedule) -> Heartbeat:
    return Sbd(Settings(node, schedule.names, schedule.timers, LAYOUT))


def played(schedule: Schedule, make: Callable[[int, Schedule], Heartbeat]) -> World:
    """A cluster of these machines after its fate."""

    def latency(node: int, now: int) -> int:
        """Different for each I/O, the same for both, and never such that two things happen at one time."""
        mixed = (now // 1_000 + 1) * 2_654_435_761 + node * 40_503
        return (mixed >> 7) % (schedule.latency_ms * 1_000_000) + 100_000 + node * 13

    def start(node: int) -> None:
        world.add(node, make(node, schedule))

    def happen(item: Happening) -> None:
        _happen(world, schedule, item)

    world = World(stalls=list(schedule.stalls), latency=latency)
    for offset, data in blank(LAYOUT, header_of(schedule)):
        world.disk[offset:offset + len(data)] = data
    for node, name in schedule.names.items():
        at = LAYOUT.slot(node)
        world.disk[at:at + 512] = sbd.render_slot(sbd.Slot(name))
    for node, begin in enumerate(schedule.starts):
        world.at(begin / 1e3 + node * 0.000_011, partial(start, node))
    for item in schedule.happenings:
        world.at(item.at, partial(happen, item))
    world.run(100)
    return world


def _happen(world: World, schedule: Schedule, item: Happening) -> None:
    commands = {"test": 1, "unknown": 77, "reset": 2, "exit": 4}
    if item.what in commands:
        world.disk[LAYOUT.mailbox(item.node):][:8] = bytes(8)
        world.disk[LAYOUT.mailbox(item.node)] = commands[item.what]
    elif item.what in ("header", "uuid", "slot"):
        at = {"header": 15, "uuid": 40, "slot": LAYOUT.slot(item.node) + 1}[item.what]
        world.disk[at] ^= 1

        def mend() -> None:
            world.disk[at] ^= 1

        world.at(item.at + item.lasts, mend)
    elif item.what == "leave":
        if item.node in world.machines:
            world.give(item.node, Leave())
    else:
        sides = ([item.node], [node for node in schedule.names if node != item.node])
        world.split(*sides)
        world.at(item.at + item.lasts, lambda: world.split(*sides, heal=True))


def trace(world: World) -> list[tuple[int, int, str]]:
    """What each node did, and when; what it did at one instant is sorted."""
    return sorted((at, node, words) for at, node, action in world.actions if (words := _words(action)))


def _words(action: Action) -> str:
    match action:
        case Read(_, offset, length):
            return f"read {offset} {length}"
        case Write(_, offset, data):
            return f"write {offset} {data[:65].hex()}"
        case Extend(until_ns):
            return f"lives until {until_ns}"
        case Fence(cause):
            return f"fenced {cause.value}"
    return ""


@settings(max_examples=150, deadline=None)
@given(schedule=schedules())
def test_both_do_the_same(schedule: Schedule) -> None:
    expected = played(schedule, naive)
    out_max = max(getattr(machine, "unanswered_max", 0) for machine in expected.machines.values())
    assume(out_max < SERVANT_IO_MAX)  # the real daemon knows no limit, a machine must
    found = played(schedule, ours)
    for one, other in zip(trace(expected), trace(found), strict=False):
        assert other == one
    assert len(trace(found)) == len(trace(expected))
    for _, _, action in found.actions:
        if isinstance(action, Fence):
            event(f"fenced: {action.cause.value}")
        elif isinstance(action, Happened):
            event(action.kind.value)
