"""o2cb's machines and the same heartbeat written down naively: whatever happens, both do the same at the same time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.unit.heartbeat.naive_o2cb import NaiveO2cb, block
from tests.unit.heartbeat.world import Stall, World

from mpio.events import Kind
from mpio.heartbeat.machine import Action, Extend, Fence, Happened, Heartbeat, Leave, Read, Send, Write
from mpio.heartbeat.o2cb import O2cb, Settings
from mpio.heartbeat.region import Holds, Layout
from mpio.model.cluster import O2cb as Timers

EPOCH = 1_700_000_000
COMPARED = (Kind.PEER_LIVE, Kind.PEER_DEAD, Kind.PEER_LEFT, Kind.JOIN_REFUSED, Kind.SLOT_TAKEN)


@dataclass(frozen=True)
class Happening:
    """Something that is done to a cluster at a time (s): to a node, and for crashes and cuts for a while."""

    what: str
    at: float
    node: int
    other: int
    lasts: float


@dataclass(frozen=True)
class Schedule:
    """A cluster and its fate."""

    nodes: int
    threshold: int
    starts: tuple[int, ...]
    """Milliseconds."""
    stalls: tuple[Stall, ...]
    happenings: tuple[Happening, ...]
    latency_ms: int
    until: float


times = st.integers(0, 90_000).map(lambda ms: ms / 1000 + 0.000_137)
lengths = st.one_of(st.integers(1, 3_000), st.integers(1, 40_000), st.integers(30_000, 90_000)).map(lambda ms: ms / 1e3)


@st.composite
def schedules(draw: st.DrawFn, *, network: bool) -> Schedule:
    count = draw(st.sampled_from([1, 2, 2, 3, 4]))
    node = st.integers(0, count - 1)
    stalls = draw(st.lists(st.builds(
        lambda node, begin, length, error, lands: Stall(node, begin, begin + length, error, lands),
        st.one_of(node, st.none()), times, lengths, st.sampled_from(["", "", "EIO"]), st.booleans(),
    ), max_size=3))
    whats = ["crash", "torn", "leave", "garbage", "intrude"] + ["cut", "split", "split"] * network
    happenings = draw(st.lists(st.builds(Happening, st.sampled_from(whats), times, node, node, lengths), max_size=3))
    return Schedule(
        count, draw(st.integers(3, 12)), tuple(draw(st.integers(0, 15_000)) for _ in range(count)),
        tuple(stalls), tuple(happenings), draw(st.sampled_from([1, 1, 40, 600])), 150,
    )


def naive(node: int, schedule: Schedule, life: int) -> Heartbeat:
    return NaiveO2cb(node, tuple(range(schedule.nodes)), 100 * life + node + 1, schedule.threshold, EPOCH)


def ours(node: int, schedule: Schedule, life: int) -> Heartbeat:
    return O2cb(Settings(
        node, tuple(range(schedule.nodes)), 100 * life + node + 1, Timers(schedule.threshold),
        Layout(Holds.O2CB, 512, 8), EPOCH,
    ))


def played(schedule: Schedule, make: Callable[[int, Schedule, int], Heartbeat]) -> World:
    """A cluster of these machines after its fate."""

    def latency(node: int, now: int) -> int:
        """Different for each I/O, the same for both, and never such that two things happen at one time."""
        mixed = (now // 1_000 + 1) * 2_654_435_761 + node * 40_503
        return (mixed >> 7) % (schedule.latency_ms * 1_000_000) + 100_000 + node * 13

    def start(node: int) -> None:
        world.add(node, make(node, schedule, 1))

    def happen(item: Happening, life: int) -> None:
        _happen(world, schedule, item, life, make)

    world = World(stalls=list(schedule.stalls), latency=latency)
    for node, begin in enumerate(schedule.starts):
        world.at(begin / 1e3 + node * 0.000_011, partial(start, node))
    for life, item in enumerate(schedule.happenings, 2):
        world.at(item.at, partial(happen, item, life))
    world.run(schedule.until)
    return world


def _happen(world: World, schedule: Schedule, item: Happening, life: int,
            make: Callable[[int, Schedule, int], Heartbeat]) -> None:
    if item.what == "garbage":
        world.disk[item.node * 512 + 200] ^= 0xFF
    elif item.what == "intrude":
        world.disk[item.node * 512:(item.node + 1) * 512] = block(EPOCH + life, item.node, 900 + life, 14_000)
    elif item.what in ("cut", "split"):
        sides = ([item.node], [node for node in range(schedule.nodes) if node != item.node])
        if item.what == "cut":
            sides = ([item.node], [item.other] if item.other != item.node else [])
        world.split(*sides)
        world.at(item.at + item.lasts, lambda: world.split(*sides, heal=True))
    elif item.node in world.machines and item.node not in world.crashed:
        if item.what == "leave":
            world.give(item.node, Leave())
        else:
            world.crash(item.node)
            if item.what == "torn":
                world.disk[item.node * 512 + 8] ^= 0xFF
        world.at(item.at + item.lasts, lambda: _restart(world, schedule, item.node, life, make))


def _restart(world: World, schedule: Schedule, node: int, life: int,
             make: Callable[[int, Schedule, int], Heartbeat]) -> None:
    """Another life of a node that has crashed, left or been refused."""
    if node not in world.fenced and (node in world.crashed or world.machines[node].next_deadline() is None):
        world.add(node, make(node, schedule, life))


def trace(world: World) -> list[tuple[int, int, str]]:
    """What each node did, and when; what it did at one instant is sorted."""
    done = []
    for at, node, action in world.actions:
        words = _words(action)
        if words:
            done.append((at, node, words))
    return sorted(done)


def _words(action: Action) -> str:
    match action:
        case Read(_, offset, length):
            return f"read {offset} {length}"
        case Write(_, offset, data):
            return f"write {offset} {data[:28].hex()}"
        case Send(peer, data):
            return f"send {peer} {data.hex()}"
        case Extend(until_ns):
            return f"lives until {until_ns}"
        case Fence(cause):
            return f"fenced {cause.value}"
        case Happened(kind, fields) if kind in COMPARED:
            return f"{kind.value} {fields.get('node', -1)}"
        case Happened(Kind.HEARTBEAT_NEGOTIATED, _):
            return "negotiated"
    return ""


def check(schedule: Schedule) -> None:
    expected, found = played(schedule, naive), played(schedule, ours)
    for one, other in zip(trace(expected), trace(found), strict=False):
        assert other == one
    assert len(trace(found)) == len(trace(expected))
    for _, _, action in expected.actions:
        if isinstance(action, Fence):
            event(f"fenced: {action.cause.value}")
        elif isinstance(action, Happened):
            event(action.kind.value)


@settings(max_examples=150, deadline=None)
@given(schedule=schedules(network=False))
def test_storage_trouble_and_crashes(schedule: Schedule) -> None:
    check(schedule)


@settings(max_examples=150, deadline=None)
@given(schedule=schedules(network=True))
def test_a_network_that_is_cut_too(schedule: Schedule) -> None:
    check(schedule)
