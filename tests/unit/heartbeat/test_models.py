"""Timing models: their regression figures, the planner's bounds, and every state with every input."""

from collections.abc import Callable
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.heartbeat.shared_disk import MS, SharedDisk, Trouble, seconds

from mpio.events import Kind
from mpio.heartbeat.machine import (
    IO_MAX,
    Cause,
    Connected,
    Disconnected,
    Extend,
    Fence,
    Heartbeat,
    Held,
    Input,
    Leave,
    NodeState,
    PeerState,
    Poison,
    Reachable,
    Read,
    ReadDone,
    Received,
    Write,
    WriteDone,
)
from mpio.heartbeat.models.beat import Beat, parse, render
from mpio.heartbeat.models.cycle import Cycle
from mpio.heartbeat.models.ncs import NcsNode
from mpio.heartbeat.models.rac import RacNode
from mpio.heartbeat.models.sanlock import PLAY_NS, SanlockHost
from mpio.model.cluster import Ncs, Rac, Sanlock
from mpio.planner.cluster import Storage, tolerated_ns
from mpio.units import NS_PER_S

STEP = seconds(0.25)
"""The grid on which the reference's figures were found."""

Make = Callable[[int, tuple[int, ...]], Cycle]


def sanlock(settings: Sanlock = Sanlock(), play_ns: int = 0) -> Make:  # noqa: B008
    return lambda node, nodes: SanlockHost(node, nodes, 0x100 + node, settings, play_ns)


def ncs(settings: Ncs = Ncs()) -> Make:  # noqa: B008
    return lambda node, nodes: NcsNode(node, nodes, 0x100 + node, settings)


def rac(settings: Rac = Rac()) -> Make:  # noqa: B008
    return lambda node, nodes: RacNode(node, nodes, 0x100 + node, settings)


ALL = {"sanlock": sanlock(), "ncs": ncs(), "rac": rac()}


def world_of(make: Make, nodes: tuple[int, ...], *troubles: Trouble) -> SharedDisk:
    """A cluster that was just started."""
    world = SharedDisk({node: make(node, nodes) for node in nodes}, troubles)
    for node in nodes:
        world.start(node)
    return world


def fences(make: Make, stall_ns: int, begun: int, victim: int, nodes: tuple[int, ...]) -> bool:
    """Whether a node does not survive one stall."""
    world = world_of(make, nodes, Trouble(victim, begun, begun + stall_ns))
    world.run(begun + stall_ns + 2 * make(victim, nodes).pace().limit_ns)
    assert world.outstanding_max <= IO_MAX
    assert list(world.fenced) in ([], [victim])
    return victim in world.fenced


def survives_at_every_phase(make: Make, stall_ns: int, victim: int = 0, nodes: tuple[int, ...] = (0,)) -> bool:
    """Stalls from the instant of each I/O of some cycles, which is the worst, from just after it, and from between."""
    period = make(victim, nodes).pace().period_ns
    world = world_of(make, nodes)
    world.run(9 * period)
    issued = [at for at, node in world.issued if node == victim and 5 * period <= at]
    assert len(issued) >= 4
    begins = [*issued, *(at + 1 for at in issued), *range(5 * period, 6 * period, period // 4)]
    return not any(fences(make, stall_ns, begun, victim, nodes) for begun in begins)


@pytest.mark.parametrize(("unit", "largest"), [(5, 30), (10, 59.75), (20, 119.75)])
def test_the_largest_stall_that_sanlock_survives(unit: int, largest: float) -> None:
    make = sanlock(Sanlock(io_timeout=unit))
    assert survives_at_every_phase(make, seconds(largest) - STEP)
    assert not survives_at_every_phase(make, seconds(largest) + STEP + MS)


@pytest.mark.parametrize("unit", [1, 5, 10, 20, 30])
def test_sanlock_survives_what_the_planner_says_also_if_it_looks_at_the_time_now_and_then(unit: int) -> None:
    settings = Sanlock(io_timeout=unit)
    tolerated = tolerated_ns([settings], Storage(stall_ns=0, latency_ns=2 * MS))
    assert tolerated is not None
    assert survives_at_every_phase(sanlock(settings, PLAY_NS), tolerated)


@pytest.mark.parametrize("settings", [Ncs(), Ncs(2, 30, 3, 20), Ncs(1, 17, 1, 40)])
def test_ncs_survives_what_the_planner_says_and_no_more(settings: Ncs) -> None:
    tolerated = tolerated_ns([settings], Storage(stall_ns=0, latency_ns=2 * MS))
    assert tolerated is not None
    survives = []
    for victim, limit in ((1, settings.tolerance - settings.heartbeat),
                          (0, settings.slave_watchdog - settings.master_watchdog)):
        assert survives_at_every_phase(ncs(settings), tolerated, victim, (0, 1))
        assert not survives_at_every_phase(ncs(settings), limit * NS_PER_S + MS, victim, (0, 1))
        survives.append(limit * NS_PER_S - 2 * MS)
    assert min(survives) == tolerated


@pytest.mark.parametrize("settings", [Rac(disktimeout=40), Rac(misscount=20, reboottime=5, disktimeout=60)])
def test_rac_survives_what_the_planner_says_and_no_more(settings: Rac) -> None:
    steady = settings.disktimeout * NS_PER_S
    assert survives_at_every_phase(rac(settings), steady - 3 * MS)  # a read and a write come after it
    assert not survives_at_every_phase(rac(settings), steady)


@pytest.mark.parametrize(("stall", "fenced"), [(26.9, False), (27.5, True)])
@pytest.mark.parametrize("early", [True, False])
def test_rac_has_less_patience_while_it_reconfigures(stall: float, fenced: bool, early: bool) -> None:
    machines: dict[int, Heartbeat] = {node: rac()(node, (0, 1)) for node in (0, 1)}
    world = SharedDisk(machines, (Trouble(1, seconds(10), seconds(10 + stall)),))
    world.start(0)
    world.start(1)
    world.tell(1, Disconnected(0), seconds(9) if early else seconds(35))  # before the stall, or long after its begin
    world.run(seconds(60))
    assert (1 in world.fenced) == fenced
    if fenced:
        assert seconds(37) <= world.fenced[1] <= seconds(38) + 10 * MS  # the stall's first heartbeat, and 27 s


def test_rac_is_patient_again_once_it_is_reconnected() -> None:
    world = SharedDisk({node: rac()(node, (0, 1)) for node in (0, 1)}, (Trouble(1, seconds(10), seconds(100)),))
    world.start(0)
    world.start(1)
    world.tell(1, Disconnected(0), seconds(9))
    world.tell(1, Connected(0), seconds(30))
    world.run(seconds(120))
    assert not world.fenced


@pytest.mark.parametrize(("name", "limit"), [("sanlock", 80), ("ncs", 8), ("rac", 200)])
@pytest.mark.parametrize("error", ["", "EIO"])
def test_storage_that_never_comes_back_fences_once_and_in_time(name: str, limit: int, error: str) -> None:
    machine = ALL[name](0, (0,))
    lost = seconds(41)
    world = SharedDisk({0: machine}, (Trouble(0, lost, seconds(10_000), error),))
    world.start(0)
    world.run(seconds(9_000))
    period = machine.pace().period_ns
    assert lost - period + limit * NS_PER_S <= world.fenced[0] <= lost + period + limit * NS_PER_S
    assert machine.state is NodeState.FENCED
    assert machine.next_deadline() is None
    assert world.kinds(0).count(Kind.NODE_FENCED) == 1
    assert world.kinds(0).count(Kind.HEARTBEAT_LATE) == 1
    assert (Kind.HEARTBEAT_FAILED in world.kinds(0)) == bool(error)
    assert world.outstanding_max <= IO_MAX


@pytest.mark.parametrize("name", list(ALL))
def test_a_late_heartbeat_is_told_and_so_is_its_return(name: str) -> None:
    machine = ALL[name](0, (0,))
    pace = machine.pace()
    begun = 3 * pace.period_ns
    middle = (pace.warn_ns + pace.limit_ns) // 2 - pace.period_ns
    world = SharedDisk({0: machine}, (Trouble(0, begun, begun + middle),))
    world.start(0)
    world.run(10 * pace.limit_ns)
    told = [kind for kind in world.kinds(0) if kind is not Kind.HEARTBEAT_STATE_CHANGED]
    assert told == [Kind.HEARTBEAT_LATE, Kind.HEARTBEAT_RESUMED]
    assert machine.state is NodeState.RUNNING


@pytest.mark.parametrize(("name", "dead", "sample"), [("sanlock", 140, 20), ("ncs", 8, 1), ("rac", 200, 1)])
def test_a_node_that_crashes_is_dead_in_time_and_not_before(name: str, dead: int, sample: int) -> None:
    world = SharedDisk({node: ALL[name](node, (0, 1)) for node in (0, 1)})
    world.start(0)
    world.start(1)
    crash = seconds(95.5)
    world.kill(1, crash)
    world.run(seconds(1_000))
    assert len(world.when(0, Kind.PEER_LIVE)) == 1
    [told] = world.when(0, Kind.PEER_DEAD)
    # it wrote at most one period before, and that was seen at most one sample later
    assert crash - seconds(sample) + seconds(dead) <= told <= crash + seconds(dead + 2 * sample)
    assert world.machines[0].status(world.now).peers[0].state is PeerState.DEAD
    assert not world.fenced


def test_nobody_is_blamed_for_an_outage_of_all() -> None:
    """Each of them would be dead by the time alone; but no good reads have shown it."""
    for name, stall in (("sanlock", 55), ("rac", 150)):
        pace = ALL[name](0, (0,)).pace()
        nodes = (0, 1, 2)
        troubles = tuple(Trouble(node, seconds(100), seconds(100 + stall)) for node in nodes)
        world = SharedDisk({node: ALL[name](node, nodes) for node in nodes}, troubles)
        for node in nodes:
            world.start(node, node * pace.period_ns // 3)
        world.run(seconds(1_000))
        assert not world.fenced
        assert all(Kind.PEER_DEAD not in world.kinds(node) for node in nodes), name


def test_an_observer_that_was_away_does_not_blame_the_others() -> None:
    """Its own reads failed for longer than anybody's patience, while its limit did not count."""
    observer = sanlock()(0, (0, 1))
    other = sanlock()(1, (0, 1))
    world = SharedDisk({0: observer, 1: other}, (Trouble(0, 0, seconds(400), "EIO"),))
    world.start(0)
    world.start(1)
    world.run(seconds(900))
    assert Kind.PEER_DEAD not in world.kinds(0)
    assert observer.state is NodeState.RUNNING


@pytest.mark.parametrize("name", list(ALL))
def test_a_clean_leave_is_seen_and_ends_everything(name: str) -> None:
    world = SharedDisk({node: ALL[name](node, (0, 1)) for node in (0, 1)})
    world.start(0)
    world.start(1)
    world.tell(1, Leave(), seconds(95.5))
    world.run(seconds(1_000))
    leaver = world.machines[1]
    assert leaver.status(world.now).state is NodeState.LEFT
    assert leaver.next_deadline() is None
    assert Kind.PEER_LEFT in world.kinds(0)
    assert Kind.PEER_DEAD not in world.kinds(0)


@pytest.mark.parametrize("name", list(ALL))
@pytest.mark.parametrize("error", ["", "EIO"])
def test_a_leave_while_the_storage_is_gone_ends_too(name: str, error: str) -> None:
    machine = ALL[name](0, (0,))
    world = SharedDisk({0: machine}, (Trouble(0, seconds(50), seconds(10_000), error),))
    world.start(0)
    world.tell(0, Leave(), seconds(51))
    world.run(seconds(9_000))
    assert machine.state is NodeState.LEFT
    assert not world.fenced


@pytest.mark.parametrize("name", list(ALL))
def test_another_life_of_a_node_is_seen(name: str) -> None:
    world = SharedDisk({node: ALL[name](node, (0, 1)) for node in (0, 1)})
    world.start(0)
    world.start(1)
    world.run(seconds(95.5))
    again = ALL[name](1, (0, 1))
    again.generation = 0x999
    world.machines[1] = again
    world.start(1, seconds(96))
    world.run(seconds(300))
    assert world.kinds(0).count(Kind.PEER_RESTARTED) == 1
    assert Kind.PEER_DEAD not in world.kinds(0)
    assert world.kinds(0).count(Kind.PEER_LIVE) == 2


@pytest.mark.parametrize("name", list(ALL))
def test_two_nodes_with_one_number_find_out(name: str) -> None:
    first, second = ALL[name](0, (0,)), ALL[name](0, (0,))
    second.generation = 0x999
    world = SharedDisk({0: first})
    world.start(0)
    world.run(seconds(50))
    world.disk[0:512] = render(Beat(0, 0x999, 5, 1), 512)
    world.run(seconds(100))
    assert first.state is NodeState.FENCED
    assert first.status(world.now).cause is Cause.SLOT
    assert Kind.SLOT_TAKEN in world.kinds(0)


@pytest.mark.parametrize("name", list(ALL))
def test_the_watchdog_is_fed_until_the_end_that_the_stack_has(name: str) -> None:
    machine = ALL[name](0, (0,))
    read = next(item for item in machine.start(0) if isinstance(item, Read))
    write = next(item for item in machine.handle(ReadDone(read.tag, bytes(512)), 3) if isinstance(item, Write))
    [extend] = [item for item in machine.handle(WriteDone(write.tag), 10) if isinstance(item, Extend)]
    base = 3 if name == "sanlock" else 10  # its clock is read before the write is issued
    assert extend.until_ns == base + {"sanlock": 140, "ncs": 8, "rac": 201}[name] * NS_PER_S


# any state, any input

INPUTS: tuple[Input, ...] = (
    ReadDone(1, bytes(1024)), ReadDone(1, None, "EIO"), ReadDone(1, b"short"), ReadDone(99, bytes(1024)), WriteDone(2),
    WriteDone(2, "EIO"), WriteDone(99), Received(1, b"?"), Connected(1), Disconnected(1), Connected(77), Reachable(3),
    Poison(0), Leave(), Held(),
)


def in_state(name: str, state: NodeState) -> tuple[Cycle, int]:
    """A machine in a state, and the time."""
    machine = ALL[name](0, (0, 1))
    pace = machine.pace()
    if state is NodeState.IDLE:
        return machine, 0
    machine.start(0)
    now = 1
    if state is not NodeState.JOINING:
        machine.handle(ReadDone(1, bytes(1024)), now)
        machine.handle(WriteDone(2), now)
        now += pace.period_ns + pace.play_ns
        machine.handle_timer(now)
    if state in (NodeState.HUNG, NodeState.FENCED):
        while machine.state is not state:
            now = machine.next_deadline() or now
            machine.handle_timer(now)
    elif state in (NodeState.LEAVING, NodeState.LEFT):
        machine.handle(Leave(), now)
        if state is NodeState.LEFT:
            machine.handle(WriteDone(4), now)
    assert machine.state is state, machine.state
    return machine, now


STATES = [state for state in NodeState if state is not NodeState.REFUSED]
ENDED = (NodeState.LEFT, NodeState.FENCED)


@pytest.mark.parametrize("name", list(ALL))
@pytest.mark.parametrize("state", STATES)
def test_every_state_takes_every_input(name: str, state: NodeState) -> None:
    for first, second in product(INPUTS, repeat=2):
        machine, now = in_state(name, state)
        for item in (first, second):
            before = machine.state
            actions = machine.handle(item, now)
            machine.status(now)
            assert sum(isinstance(action, Fence) for action in actions) <= (before not in ENDED)
            if before in ENDED:
                assert machine.state is before
                assert not actions
                assert machine.next_deadline() is None
            if isinstance(item, Leave):
                assert machine.state in (*ENDED, NodeState.LEAVING)


@pytest.mark.parametrize("name", list(ALL))
@given(script=st.lists(st.tuples(st.sampled_from(INPUTS), st.integers(0, 30)), max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_script_of_inputs_keeps_the_machine_whole(name: str, script: list[tuple[Input, int]]) -> None:
    machine = ALL[name](0, (0, 1))
    actions, now = machine.start(0), 0
    seen = [machine.state]
    for item, gap in script:
        target = now + seconds(gap)
        while (due := machine.next_deadline()) is not None and due <= target:
            now = max(now, due)
            more = machine.handle_timer(now)
            actions += more
            assert more or machine.next_deadline() != due, "a timer that stays due"
        now = target
        actions += machine.handle(item, now)
        seen.append(machine.state)
    fences = sum(isinstance(action, Fence) for action in actions)
    out = sum(isinstance(action, Read) for action in actions)
    assert fences == (machine.state is NodeState.FENCED)
    assert out <= 2 + sum(gap for _, gap in script)  # at most one a second
    for before, after in pairwise(seen):
        assert before not in ENDED or after is before


@given(beat=st.builds(Beat, st.integers(0, 254), *[st.integers(0, (1 << 64) - 1)] * 3), at=st.integers(0, 511),
       flip=st.integers(1, 255))
def test_a_damaged_beat_is_none(beat: Beat, at: int, flip: int) -> None:
    good = render(beat, 512)
    assert parse(good) == beat
    assert parse(good[:at] + bytes([good[at] ^ flip]) + good[at + 1:]) is None
    assert parse(good[:20]) is None


@pytest.mark.parametrize(("node", "nodes", "generation", "words"), [
    (2, (0, 1), 1, "expected each once, ascending, with 2 among them"),
    (0, (1, 0), 1, "ascending"), (0, (0, 0), 1, "once"), (0, (0,), 0, "generation: expected a random number, found 0"),
])
def test_what_cannot_be_is_refused(node: int, nodes: tuple[int, ...], generation: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SanlockHost(node, nodes, generation, Sanlock())
