"""Several I/Os in flight over a store that takes its time, behind real protocol engines."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.target.test_target_node import NAME, PORTALS, Peer

from mpio.model.settings import Settings
from mpio.model.task import Buffer, Outcome, Status, Task
from mpio.proto.iscsi import ConnectionState, TaskFunction
from mpio.proto.iscsi.pdu import TaskResponse
from mpio.proto.scsi import cdb, sense
from mpio.proto.scsi.sense import Sense
from mpio.target.node import TargetNode
from mpio.target.store import RamStore, StoreError
from mpio.target.task_queue import Done

SIZE = 1 << 20


class SlowStore(RamStore):
    """Begins what it is told and ends it when the test says so. What is begun lands when it ends."""

    defers = True

    def __init__(self) -> None:
        super().__init__(SIZE)
        self.begun: list[tuple[str, int, Callable[[], None]]] = []
        self.stuck = False
        self.at_once = False
        self.error: StoreError | None = None

    def _begin(self, what: str, offset: int, act: Callable[[], bytes], done: Done) -> None:
        self.begun.append((what, offset, lambda: done(self.error or act())))

    def begin_read(self, offset: int, length: int, done: Done) -> bytes | None:
        if self.at_once:
            return self.read(offset, length)
        self._begin("read", offset, lambda: self.read(offset, length), done)
        return None

    def begin_write(self, offset: int, data: Buffer, done: Done, *, fua: bool) -> bool:
        def act() -> bytes:
            self.write(offset, data)
            return b""

        self._begin("fua" if fua else "write", offset, act, done)
        return False

    def begin_flush(self, done: Done) -> bool:
        if self.error is not None:
            raise self.error
        self._begin("flush", 0, lambda: b"", done)
        return False

    def drain(self) -> None:
        if self.stuck:
            raise StoreError("stuck", sense.WRITE_ERROR)
        while self.begun:
            self.end()

    def end(self, index: int = 0) -> None:
        self.begun.pop(index)[2]()

    @property
    def what(self) -> list[str]:
        return [what for what, _, _ in self.begun]


def slow() -> tuple[SlowStore, TargetNode, Peer]:
    store, node = SlowStore(), TargetNode(NAME)
    for tpgt, portal in enumerate(PORTALS, start=1):
        node.add_portal(tpgt, portal)
    node.add_lun(1, store)
    peer = Peer(node, settings=Settings()).settled()
    assert peer.sense() is None  # from here on nothing stands in the way of this nexus
    return store, node, peer


def send(peer: Peer, *requests: tuple[bytes, bytes | None, int]) -> list[Task]:
    tasks = [peer.task(*request) for request in requests]
    peer.run()
    return tasks


def write(lba: int, fill: bytes = b"w", *, fua: bool = False) -> tuple[bytes, bytes, int]:
    return cdb.write(lba, 1, fua=fua), fill * 512, 0


def read(lba: int) -> tuple[bytes, None, int]:
    return cdb.read(lba, 1), None, 512


def test_transfers_go_side_by_side_and_end_in_any_order() -> None:
    store, _, peer = slow()
    tasks = send(peer, write(0), write(1, fua=True), read(8), (cdb.synchronize_cache(), None, 0))
    assert store.what == ["write", "fua", "read", "flush"]
    store.end(3)
    store.end(0)
    peer.run()
    assert [task.outcome is Outcome.COMPLETED for task in tasks] == [True, False, False, True]
    store.end(1)
    store.end(0)
    peer.run()
    assert {(task.outcome, task.status) for task in tasks} == {(Outcome.COMPLETED, Status.GOOD)}
    assert store.read(0, 1024) == b"w" * 1024


def test_everything_else_runs_alone_and_in_its_turn() -> None:
    store, _, peer = slow()
    compared = (cdb.compare_and_write(0, 1), b"w" * 512 + b"x" * 512, 0)
    first, alone, last, inquiry, ready = send(
        peer, write(0), compared, write(1), (cdb.inquiry(36), None, 36), (bytes(6), None, 0))
    assert store.what == ["write"], "what comes after waits too"
    assert inquiry.outcome is ready.outcome is Outcome.COMPLETED, "but for what path checkers ask"
    store.end()
    assert store.read(0, 512) == b"x" * 512
    assert store.what == ["write"]
    store.end()
    peer.run()
    assert [task.status for task in (first, alone, last)] == [Status.GOOD] * 3


@pytest.mark.parametrize("request_", [cdb.read(1 << 20, 1), cdb.write(1 << 20, 1), cdb.synchronize_cache(1 << 20, 1)])
def test_what_is_wrong_is_refused_as_over_any_store(request_: bytes) -> None:
    store, _, peer = slow()
    data = b"x" * 512 if request_[0] == cdb.Op.WRITE_10 else None
    (task,) = send(peer, (request_, data, 0 if data else 512))
    assert Sense.parse(task.sense) == sense.LBA_OUT_OF_RANGE
    assert store.begun == []


def test_what_goes_wrong_in_the_store_is_told() -> None:
    store, _, peer = slow()
    store.error = StoreError("broken", sense.WRITE_ERROR)
    later, at_once = send(peer, write(0), (cdb.synchronize_cache(), None, 0))
    store.end()
    peer.run()
    assert Sense.parse(later.sense) == Sense.parse(at_once.sense) == sense.WRITE_ERROR


def test_what_is_at_hand_is_answered_at_once() -> None:
    store, _, peer = slow()
    store.at_once = True
    (task,) = send(peer, read(0))
    assert (task.status, store.begun) == (Status.GOOD, [])


def test_a_reset_ends_what_waits_and_waits_for_what_was_begun() -> None:
    store, _, peer = slow()
    begun, alone, waits = send(peer, write(0), (cdb.write_same(0, 4), b"s" * 512, 0), write(1))
    assert peer.manage(TaskFunction.LOGICAL_UNIT_RESET) == TaskResponse.FUNCTION_COMPLETE
    assert store.begun == []
    assert store.read(0, 1024) == b"w" * 512 + bytes(512), "begun: done. Waited: not done, and never will be"
    assert begun.outcome is Outcome.COMPLETED
    assert alone.outcome is waits.outcome is Outcome.ABORTED


def test_an_aborted_task_that_waits_is_not_done_and_what_is_behind_it_is() -> None:
    store, _, peer = slow()
    _, alone, waits = send(peer, write(0), (cdb.write_same(0, 4), b"s" * 512, 0), write(1))
    answers: list[int | None] = []
    peer.one.manage(TaskFunction.ABORT_TASK, waits.lun, answers.append, 0, alone)
    peer.run()
    assert answers == [TaskResponse.FUNCTION_COMPLETE]
    store.drain()
    peer.run()
    assert waits.status == Status.GOOD
    assert store.read(0, 1024) == b"w" * 1024


def test_an_aborted_task_that_was_begun_is_done_and_says_so() -> None:
    store, _, peer = slow()
    (begun,) = send(peer, write(0))
    answers: list[int | None] = []
    peer.one.manage(TaskFunction.ABORT_TASK, begun.lun, answers.append, 0, begun)
    peer.run()
    assert (begun.outcome, begun.status) == (Outcome.COMPLETED, Status.GOOD)
    assert answers == [TaskResponse.TASK_DOES_NOT_EXIST]
    assert store.read(0, 512) == b"w" * 512


def test_who_logs_in_again_finds_nothing_in_flight() -> None:
    store, node, peer = slow()
    send(peer, write(0), (cdb.write_same(4, 4), b"s" * 512, 0))
    again = Peer(node).up()
    assert store.begun == []
    assert store.read(0, 512) == b"w" * 512
    assert again.sense() == sense.NEXUS_LOSS
    store.drain()
    assert store.read(2048, 512) == bytes(512), "what waited has gone with its session"


def test_a_new_session_waits_for_one_that_was_lost() -> None:
    store, node, peer = slow()
    send(peer, write(0))
    peer.other.receive_eof(0)
    assert len(store.begun) == 1
    Peer(node).up()
    assert store.begun == []


def test_if_something_may_still_land_nobody_is_told_otherwise() -> None:
    store, node, peer = slow()
    send(peer, write(0))
    store.stuck = True
    assert peer.manage(TaskFunction.LOGICAL_UNIT_RESET) == TaskResponse.REJECTED
    other = Peer(node)
    other.run()
    assert other.one.state is ConnectionState.ENDED
    store.stuck = False
    Peer(node).up()


@given(st.lists(st.tuples(st.sampled_from("wrcs"), st.integers(0, 3), st.integers(1, 255)), max_size=24),
       st.randoms(use_true_random=False))
def test_data_are_those_of_some_order(steps: list[tuple[str, int, int]], chance: object) -> None:
    """Writes that overlap in time may end in any order; every block is one that was written last in some order."""
    store, _, peer = slow()
    possible: dict[int, list[int]] = {lba: [0] for lba in range(4)}
    tasks = []
    for kind, lba, value in steps:
        fill = bytes([value]) * 512
        if kind == "w":
            tasks.append(peer.task(*write(lba, bytes([value]))))
            possible[lba].append(value)
        elif kind == "r":
            tasks.append(peer.task(*read(lba)))
        elif kind == "s":  # runs alone: everything before it is settled
            tasks.append(peer.task(cdb.write_same(lba, 1), fill))
            possible[lba] = [value]
        else:
            tasks.append(peer.task(cdb.synchronize_cache()))
    peer.run()
    while store.begun:
        store.end(chance.randrange(len(store.begun)))  # type: ignore[attr-defined]
    peer.run()
    assert all(task.outcome is Outcome.COMPLETED for task in tasks)
    for lba, values in possible.items():
        assert store.read(lba * 512, 512) in [bytes([value]) * 512 for value in values]
