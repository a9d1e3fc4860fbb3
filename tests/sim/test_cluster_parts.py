"""The parts of a cluster's world: networks, the cluster manager, a host that is gone without a word, shared data."""

import random
from collections.abc import Callable

import pytest

from mpio.check.fencing import Takeovers
from mpio.sim.cluster.draw import draw_plan
from mpio.sim.cluster.manager import DELAY_NS, GRACE_NS, Manager
from mpio.sim.cluster.network import ClusterNetwork, NetworkSpec, Socket
from mpio.sim.cluster.plan import NETWORK, STORAGE
from mpio.sim.cluster.work import Register, parse_unit, unit_block
from mpio.sim.swarm.link import Cable, End, LaneSpec
from mpio.sim.swarm.schedule import Process, Schedule

MS = 1_000_000
SPEC = NetworkSpec(delay_ns=MS, jitter_ns=0, hello_ns=100 * MS, idle_ns=300 * MS)


class Nodes:
    """Sockets of some nodes, and what they heard: (ms, node, what, peer)."""

    def __init__(self, count: int) -> None:
        self.schedule = Schedule()
        self.network = ClusterNetwork(self.schedule, SPEC, count, random.Random(1))
        self.heard: list[tuple[int, int, object, int]] = []
        self.processes = [Process(self.schedule) for _ in range(count)]
        self.sockets = [self._socket(node, count) for node in range(count)]

    def _socket(self, node: int, count: int) -> Socket:
        def note(what: object, peer: int) -> None:
            self.heard.append((self.schedule.now // MS, node, what, peer))

        return Socket(
            self.network, self.processes[node], node, tuple(peer for peer in range(count) if peer != node),
            on_message=lambda peer, data: note(data, peer), on_connected=lambda peer: note("up", peer),
            on_disconnected=lambda peer: note("down", peer))

    def run(self, until_ms: int) -> None:
        self.schedule.run(until_ms * MS, lambda: False)


def test_peers_are_connected_once_they_are_heard_and_lost_after_the_idle_time() -> None:
    nodes = Nodes(2)
    nodes.run(250)
    assert sorted({(node, what, peer) for _, node, what, peer in nodes.heard}) == [(0, "up", 1), (1, "up", 0)]
    nodes.heard.clear()
    nodes.network.cut(0, 1, 1)
    nodes.run(1000)
    assert [(node, what, peer) for _, node, what, peer in nodes.heard] == [(1, "down", 0)]
    assert 500 <= nodes.heard[0][0] <= 650
    nodes.network.cut(0, 1, -1)
    nodes.run(1200)
    assert nodes.heard[-1][1:] == (1, "up", 0)


def test_a_message_on_its_way_when_the_network_is_cut_is_lost() -> None:
    nodes = Nodes(2)
    nodes.run(150)
    nodes.sockets[0].send(1, b"one")
    nodes.network.cut(0, 1, 1)
    nodes.run(160)
    assert b"one" not in [what for _, _, what, _ in nodes.heard]
    nodes.network.cut(0, 1, -1)
    nodes.sockets[0].send(1, b"two")
    nodes.run(170)
    assert b"two" in [what for _, _, what, _ in nodes.heard]


def manager(node: int, nodes: int, left: tuple[int, ...] = ()) -> tuple[Manager, Schedule, list[tuple[int, int]]]:
    schedule = Schedule()
    sent: list[tuple[int, int]] = []
    found = Manager(Process(schedule), node, nodes, lambda peer: peer in left,
                    lambda peer: sent.append((schedule.now, peer)))
    for peer in range(nodes):
        if peer != node:
            found.connected(peer)
    return found, schedule, sent


@pytest.mark.parametrize(("node", "nodes", "lost", "after_ns"), [
    (0, 2, (1,), GRACE_NS), (1, 2, (0,), GRACE_NS + DELAY_NS), (0, 3, (2,), GRACE_NS), (1, 3, (2,), None),
    (2, 3, (0, 1), None), (1, 3, (0,), GRACE_NS), (2, 4, (0, 1), GRACE_NS + DELAY_NS), (0, 4, (2, 3), GRACE_NS),
    (3, 4, (0, 1), None),
])
def test_who_fences_whom_and_when(node: int, nodes: int, lost: tuple[int, ...], after_ns: int | None) -> None:
    found, schedule, sent = manager(node, nodes)
    for peer in lost:
        found.disconnected(peer)
    schedule.run(60_000 * MS, lambda: False)
    assert sent == ([] if after_ns is None else [(after_ns, peer) for peer in lost])


def test_nobody_is_fenced_who_is_heard_again_or_has_left() -> None:
    found, schedule, sent = manager(0, 3, left=(2,))
    found.disconnected(1)
    found.disconnected(2)
    schedule.run(GRACE_NS // 2, lambda: False)
    found.connected(1)
    schedule.run(60_000 * MS, lambda: False)
    assert not sent


class Listening:
    """Accepts one connection, and keeps what came."""

    listening = True

    def __init__(self, schedule: Schedule) -> None:
        self.process = Process(schedule)
        self.end: End | None = None
        self.got = b""
        self.ended = ""

    def accept(self, end_of: Callable[[Process], End], portal: int) -> None:
        self.end = end_of(self.process)
        self.end.adopt(self)

    def receive(self, data: bytes) -> None:
        self.got += data
        assert self.end is not None
        self.end.out.send(b"answer")

    def lost(self, cause: str) -> None:
        self.ended = cause

    def writable(self) -> None:
        pass


@pytest.mark.parametrize("held", [False, True])
def test_what_a_host_has_sent_travels_on_when_it_is_gone_and_nothing_is_answered(held: bool) -> None:
    schedule = Schedule()
    server = Listening(schedule)
    cable = Cable(schedule, LaneSpec(MS, 0, 0), random.Random(1), 0, server)
    host = Process(schedule)
    ends: list[End | str] = []
    cable.connect(host, ends.append)
    schedule.run(10 * MS, lambda: False)
    near = ends[0]
    assert isinstance(near, End)
    cable.out.holding += held
    near.out.send(b"last words")
    host.kill()
    cable.lose_host()
    schedule.run(20 * MS, lambda: False)
    assert server.got == (b"" if held else b"last words")
    if held:
        cable.out.release()
    schedule.run(10_000 * MS, lambda: False)
    assert server.got == b"last words"
    assert not server.ended


def test_units_of_shared_data_say_who_wrote_them() -> None:
    assert parse_unit(unit_block(3, (1, 2), 99, 512)) == (3, (1, 2), 99)


def test_a_unit_is_free_once_its_owner_is_over() -> None:
    register = Register(2, Takeovers())
    assert register.is_free(0)
    register.takeovers.taken_over(0, (0, 1))
    assert not register.is_free(0)
    assert register.owned((0, 1)) == [0]
    register.call_over((0, 1))
    assert register.is_free(0)
    register.takeovers.taken_over(0, (0, 2))
    assert not register.is_free(0)
    register.call_over_before((0, 3))
    assert register.is_free(0)


def test_what_is_held_in_the_network_comes_out_before_others_take_over() -> None:
    """Also where a hold comes upon a node whose heartbeat is late already; nothing helps against longer ones."""
    upon_others = 0
    for seed in range(400):
        plan = draw_plan(seed, "own")
        dead_ns, deadline_ns = plan.heartbeat["dead_ns"], plan.heartbeat["deadline_ns"]
        for place, hold in enumerate(plan.faults):
            if "hold" not in hold.kind:
                continue
            before = [fault for fault in plan.faults[:place] if fault.ends_ns + deadline_ns >= hold.at_ns
                      and (fault.kind in STORAGE or (fault.node == hold.node and fault.kind not in NETWORK))]
            upon_others += bool(before)
            assert all(hold.ends_ns < fault.at_ns + dead_ns for fault in (*before, hold)), seed
    assert upon_others > 20
