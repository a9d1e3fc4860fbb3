"""Where a service should be, and that only one node has it: pure choices, and nodes over one LU in virtual time."""

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.drill.fakes import VirtualLoop, run_virtual, s

from mpio.check.heartbeats import ServiceWrite
from mpio.drill.placement import Candidate, candidates, choose
from mpio.drill.service import COUNTER_BYTES, Block, Service, ServiceLog, check_counter
from mpio.errors import MpioError
from mpio.events import Event, Journal, Kind
from mpio.heartbeat.machine import NodeState, PeerState, PeerStatus, Status
from mpio.model.task import Buffer

CANDIDATES = st.lists(st.builds(Candidate, st.integers(1, 6), st.sampled_from([0, 100]), st.booleans()),
                      unique_by=lambda candidate: candidate.node, max_size=6).map(
                          lambda found: sorted(found, key=lambda candidate: candidate.node))


@given(CANDIDATES, st.one_of(st.none(), st.integers(1, 6)))
def test_the_choice_is_safe_and_best_and_does_not_flap(found: Sequence[Candidate], owner: int | None) -> None:
    chosen = choose(found, owner)
    fit = [candidate for candidate in found if candidate.safe]
    if not fit:
        assert chosen == owner
        return
    best = max(candidate.score for candidate in fit)
    level = {candidate.node for candidate in fit if candidate.score == best}
    assert chosen in level
    if owner in level:
        assert chosen == owner
    assert choose(found, chosen) == chosen  # once there it stays


@pytest.mark.parametrize(("found", "owner", "chosen"), [
    ([Candidate(1, 100, True), Candidate(2, 100, True)], None, 1),
    ([Candidate(1, 100, True), Candidate(2, 100, True)], 2, 2),
    ([Candidate(1, 0, True), Candidate(2, 100, True)], 1, 2),
    ([Candidate(1, 0, True), Candidate(2, 100, False)], 2, 1),  # storage ranks above reachability
    ([Candidate(1, 100, False), Candidate(2, 100, False)], 1, 1),
    ([], None, None),
])
def test_choices(found: Sequence[Candidate], owner: int | None, chosen: int | None) -> None:
    assert choose(found, owner) == chosen


def status(node: int, peers: Sequence[PeerStatus] = (), *, score: int = 100, age: float = 0.2,
           state: NodeState = NodeState.RUNNING) -> Status:
    return Status(node, state, 1, s(6 - age), s(6), True, score, tuple(peers))


def peer(node: int, *, score: int | None = 100, age: float = 0.2, state: PeerState = PeerState.LIVE) -> PeerStatus:
    return PeerStatus(node, state, s(age), s(8), 5, True, score)


def test_candidates_are_the_living_and_safe_is_who_is_in_time() -> None:
    found = candidates(status(2, [peer(1, age=4), peer(3, state=PeerState.DEAD), peer(4, score=0)]), s(3))
    assert found == [Candidate(1, 100, False), Candidate(2, 100, True), Candidate(4, 0, True)]
    assert candidates(status(2, age=4), s(3)) == [Candidate(2, 100, False)]
    assert candidates(status(2, state=NodeState.HUNG), s(3)) == [Candidate(2, 100, False)]
    unscored = candidates(status(2, [peer(1, score=None)]), s(3))
    assert unscored == [Candidate(1, 0, True), Candidate(2, 0, True)]  # else each would think itself the best


@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1),
       st.sampled_from([512, 4096]))
def test_blocks_are_read_as_written(node: int, given_back: bool, term: int, count: int, size: int) -> None:
    block = Block(node, given_back, term, count)
    data = block.to_bytes(size)
    assert len(data) == size
    assert Block.parse(data) == block


@given(st.integers(0, 35), st.integers(0, 7))
def test_a_flipped_bit_is_found(at: int, bit: int) -> None:
    data = bytearray(Block(1, False, 2, 3).to_bytes(512))
    data[at] ^= 1 << bit
    assert Block.parse(bytes(data)) is None
    assert Block.parse(bytes(512)) is None


class Lu:
    """What nodes share. Broken: every I/O fails."""

    size_bytes, block_size = 1 << 20, 512

    def __init__(self) -> None:
        self.store = bytearray(self.size_bytes)
        self.broken = False
        self.clock = lambda: _loop().now_ns

    async def read(self, offset: int, length: int) -> Buffer:
        await self._travel()
        return bytes(self.store[offset:offset + length])

    async def write(self, offset: int, data: Buffer) -> None:
        await self._travel()
        self.store[offset:offset + len(data)] = data

    async def flush(self) -> None:
        await self._travel()

    async def read_path(self, path_id: int, offset: int, length: int) -> Buffer:
        raise NotImplementedError

    async def _travel(self) -> None:
        await asyncio.sleep(0.01)
        if self.broken:
            raise MpioError("the LU is gone")


def _loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


class Nodes:
    """Services of some nodes; `views` are their heartbeats' statuses, to be changed."""

    def __init__(self, views: dict[int, Status]) -> None:
        self.views = views
        self.lu = Lu()
        self.log = ServiceLog()
        self.journal = Journal()
        self.services = {node: Service(node, self.lu, 4096, s(0.25), lambda node=node: self.views[node],  # type: ignore[misc]
                                       self.log, self.journal, self.lu.clock) for node in views}
        self.tasks = {node: asyncio.create_task(service.run()) for node, service in self.services.items()}

    async def end(self) -> list[Event]:
        for service in self.services.values():
            service.stop()
        await asyncio.wait(self.tasks.values())
        await check_counter(self.lu, 4096, self.log)
        return [event for event in self.journal if event.kind is Kind.SERVICE_STARTED]


def both(score_1: int = 100, score_2: int = 100) -> dict[int, Status]:
    return {1: status(1, [peer(2, score=score_2)], score=score_1),
            2: status(2, [peer(1, score=score_1)], score=score_2)}


def overlaps(writes: Sequence[ServiceWrite]) -> list[tuple[ServiceWrite, ServiceWrite]]:
    return [(one, other) for one, other in itertools.pairwise(writes)
            if one.term != other.term and (one.end_ns is None or one.end_ns > other.start_ns)]


def test_one_node_counts_and_hands_over_when_the_other_is_reached_better() -> None:
    async def run() -> tuple[Nodes, list[Event]]:
        nodes = Nodes(both())
        await asyncio.sleep(5)
        nodes.views |= both(score_1=0)
        await asyncio.sleep(5)
        return nodes, await nodes.end()

    nodes, started = run_virtual(run())
    assert [write.node for write in nodes.log.writes] == sorted(write.node for write in nodes.log.writes)
    assert [event.fields["term"] for event in started] == [1, 2]
    assert overlaps(nodes.log.writes) == []
    assert nodes.log.wrong == ""
    assert nodes.log.acknowledged == len(nodes.log.writes) > 20


def test_a_dead_holder_is_followed_a_silent_one_is_not() -> None:
    async def run() -> tuple[int, int]:
        nodes = Nodes(both())
        await asyncio.sleep(5)
        nodes.tasks[1].cancel()  # it holds the service, and is gone
        nodes.views[2] = status(2, [peer(1, state=PeerState.SILENT)])
        await asyncio.sleep(10)
        before = len([write for write in nodes.log.writes if write.node == 2])
        nodes.views[2] = status(2, [peer(1, state=PeerState.DEAD)])
        await asyncio.sleep(5)
        await nodes.end()
        assert nodes.log.wrong == ""
        return before, len([write for write in nodes.log.writes if write.node == 2])

    before, after = run_virtual(run())
    assert before == 0
    assert after > 5


def test_a_node_that_is_no_member_any_more_stops() -> None:
    async def run() -> list[ServiceWrite]:
        nodes = Nodes(both())
        await asyncio.sleep(5)
        nodes.views[1] = status(1, [peer(2)], state=NodeState.FENCED)
        count = len(nodes.log.writes)
        await asyncio.sleep(5)
        assert len(nodes.log.writes) <= count + 1  # the one that was under way
        await nodes.end()
        return nodes.log.writes

    assert run_virtual(run())


def test_storage_that_fails_ends_the_term_and_the_next_one_is_one_s_own() -> None:
    async def run() -> list[Event]:
        nodes = Nodes({1: status(1)})
        await asyncio.sleep(4)
        nodes.lu.broken = True
        await asyncio.sleep(2)
        nodes.lu.broken = False
        await asyncio.sleep(4)
        return await nodes.end()

    assert [event.fields["term"] for event in run_virtual(run())] == [1, 2]


@pytest.mark.parametrize("lie", [0, 3])
def test_a_count_that_goes_back_is_found(lie: int) -> None:
    async def run() -> str:
        nodes = Nodes({1: status(1)})
        await asyncio.sleep(5)
        old = Block(1, given_back=False, term=1, count=lie).to_bytes(512) if lie else bytes(512)
        await nodes.end()
        at = 4096 + COUNTER_BYTES
        nodes.lu.store[at:at + 512] = old  # as if an old copy of a write had landed late
        await check_counter(nodes.lu, 4096, nodes.log)
        return nodes.log.wrong

    assert "had been acknowledged, the last in term 1" in run_virtual(run())
