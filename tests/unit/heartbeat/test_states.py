"""Every machine in every state with every input: nothing raises, and each state does only what it may."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from tests.unit.heartbeat import test_o2cb, test_own, test_sbd
from tests.unit.heartbeat.world import Stall, World

from mpio.heartbeat.machine import (
    IO_MAX,
    Action,
    Connected,
    Disconnected,
    Extend,
    Fence,
    Heartbeat,
    Held,
    Input,
    Leave,
    NodeState,
    Poison,
    Reachable,
    Read,
    ReadDone,
    Received,
    Send,
    Write,
    WriteDone,
)
from mpio.heartbeat.negotiation import Message, Word, render
from mpio.heartbeat.own import Own
from mpio.heartbeat.sbd import Sbd, Settings
from mpio.model.cluster import Sbd as Timers

S = NodeState
ENDED = (S.LEFT, S.REFUSED)


def _own(stalls: list[Stall]) -> World:
    return test_own.cluster(2, stalls)


def _o2cb(stalls: list[Stall]) -> World:
    return test_o2cb.cluster(31, stalls)


def _sbd(stalls: list[Stall]) -> World:
    return test_sbd.cluster(Timers(5, 10, pacemaker=False), stalls)


@dataclass(frozen=True)
class Kind:
    """A personality: a cluster of two with stalls, and a machine that was not started yet."""

    name: str
    cluster: Callable[[list[Stall]], World]
    idle: Callable[[], Heartbeat]
    goodbye: bool = True


KINDS = (
    Kind("own", _own, lambda: test_own.machine(1)),
    Kind("o2cb", _o2cb, lambda: test_o2cb.machine(1)),
    Kind("sbd", _sbd, lambda: Sbd(Settings(1, test_sbd.NAMES, Timers(5, 10), test_sbd.LAYOUT)), goodbye=False),
)


def reached(kind: Kind, state: NodeState) -> tuple[World, Heartbeat]:
    """Node 1 in a state, in a cluster where node 0 is well."""
    until, stalls, then = {
        S.JOINING: (0.5 if kind.name == "sbd" else 1.0, [], None),
        S.RUNNING: (30.0, [], None),
        S.HUNG: (30.0 + {"own": 16, "o2cb": 31, "sbd": 4.9}[kind.name], [Stall(1, 30, 500)], None),
        S.LEAVING: (31.0, [Stall(1, 30, 500)], Leave()),
        S.LEFT: (30.0, [], Leave()),
        S.FENCED: (200.0, [Stall(1, 30, 500)], None),
        S.REFUSED: (500.0, [Stall(1, 0, 500, error="EIO")], None),
    }[state]
    world = kind.cluster(stalls)
    world.holds = False
    world.run(until)
    if state is S.REFUSED and kind.name == "own":  # errors are waited out there; a slot in use is not
        world = kind.cluster([])
        world.run(30)
        twin = test_own.machine(1, life=2)
        world.intrude(9, twin)
        world.run(40)
        return world, twin
    machine = world.machines[1]
    if then is not None:
        world.give(1, then)
        world.run(until + 0.1)
    return world, machine


STATES = [(kind, state) for kind in KINDS for state in S
          if state is not S.IDLE and (kind.goodbye or state is not S.LEAVING)]


def inputs(out: list[int]) -> dict[str, Input]:
    """One of each kind, and the odd ones."""
    tag = out[0] if out else 999_999
    message = render(Message(Word.HANGS, 1, 1, 1))
    return {
        "read": ReadDone(tag, bytes(512)), "read of nobody": ReadDone(999_999, bytes(512)),
        "short read": ReadDone(tag, b"x"), "empty read": ReadDone(tag, b""), "failed read": ReadDone(tag, None, "EIO"),
        "write": WriteDone(tag), "failed write": WriteDone(tag, "EIO"), "write of nobody": WriteDone(999_999),
        "message": Received(0, message), "poll": Received(0, render(Message(Word.POLL, 1, 5, 1))),
        "held": Received(0, render(Message(Word.HELD, 1))), "asks": Received(0, render(Message(Word.ASKS, 1))),
        "approves": Received(0, render(Message(Word.APPROVES, 1))), "garbage": Received(0, b"\xff" * 32),
        "message of nobody": Received(77, message), "connected": Connected(0), "disconnected": Disconnected(0),
        "connected to nobody": Connected(77), "to itself": Connected(1), "reachable": Reachable(3),
        "unreachable": Reachable(-1), "poison": Poison(0), "poison itself": Poison(1), "poison nobody": Poison(77),
        "leave": Leave(), "holds": Held(),
    }


NAMES = list(inputs([]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("kind", "state"), STATES, ids=lambda item: getattr(item, "name", item))
def test_every_state_takes_every_input(kind: Kind, state: NodeState, name: str) -> None:
    world, machine = reached(kind, state)
    now = world.now
    assert machine.status(now).state is state
    out = [action.tag for _, node, action in world.actions
           if node == 1 and isinstance(action, Read | Write)][-1:]
    actions = machine.handle(inputs(out)[name], now)
    after = machine.status(now)
    _check(machine, state, after.state, actions, name)
    for _ in range(20):  # timers go on making sense
        due = machine.next_deadline()
        if due is None:
            break
        now = max(now, due)
        before = machine.status(now).state
        actions = machine.handle_timer(now)
        _check(machine, before, machine.status(now).state, actions, "timer")
        following = machine.next_deadline()
        assert following is None or following > due or actions, "a deadline that nothing is done about"


def _check(machine: Heartbeat, before: NodeState, after: NodeState, actions: Sequence[Action], name: str) -> None:
    written = [action for action in actions if isinstance(action, Write)]
    asked = [action for action in actions if isinstance(action, Read | Write)]
    fences = [action for action in actions if isinstance(action, Fence)]
    assert all(action.offset % 512 == 0 for action in asked)
    assert len(fences) == (after is S.FENCED and before is not S.FENCED)
    if before in ENDED:
        assert after is before
        assert actions == []
    if before is S.FENCED:
        assert after is S.FENCED
        assert not [action for action in actions if isinstance(action, Read | Extend)]
        holds = name == "holds" and isinstance(machine, Own)
        assert len(written) == holds
        assert holds or not [action for action in actions if isinstance(action, Send)]
    if after in (S.FENCED, *ENDED):
        assert not asked or before is S.FENCED
        assert machine.next_deadline() is None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_done_before_the_start(kind: Kind, name: str) -> None:
    machine = kind.idle()
    assert machine.next_deadline() is None
    assert machine.status(0).state is S.IDLE
    actions = machine.handle(inputs([])[name], 5)
    assert not [action for action in actions if isinstance(action, Read | Write | Send | Extend | Fence)]
    assert machine.status(5).state is (S.LEFT if name == "leave" else S.IDLE)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_storage_that_never_answers_is_not_asked_without_end(kind: Kind) -> None:
    world = kind.cluster([Stall(None, 20, 3000)])
    world.run(600)
    for node in (0, 1):
        asked = [action for at, who, action in world.actions
                 if who == node and isinstance(action, Read | Write) and at >= 20_000_000_000]
        assert len(asked) <= IO_MAX


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_late_timers_are_looked_at_as_of_now(kind: Kind) -> None:
    """A machine that slept past its deadline is fenced by whatever it is told first, a good answer included."""
    world = kind.cluster([])
    world.run(30)
    machine = world.machines[1]
    tag = next(action.tag for _, node, action in reversed(world.actions)
               if node == 1 and isinstance(action, Read | Write))
    for item in (ReadDone(tag, bytes(512)), Connected(0), Leave()):
        actions = machine.handle(item, world.now + 400_000_000_000)
        assert machine.status(world.now).state is S.FENCED
        assert [action for action in actions if isinstance(action, Fence)] or item != ReadDone(tag, bytes(512))
