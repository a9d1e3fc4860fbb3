"""The initiator's connection and the target's, joined in memory: what goes beyond the transfer of data."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.proto_iscsi.initiator_kit import LUN, MS, SETTINGS, Done, S, contents, no_data, params, read, write
from tests.unit.proto_iscsi_login.login_kit import PORTAL, SEED_T, Node

from mpio.model.address import Portal
from mpio.model.settings import Settings
from mpio.model.task import Outcome, Task
from mpio.proto.iscsi import ConnectionState, InitiatorConnection, TaskFunction
from mpio.proto.iscsi import initiator_events as ev
from mpio.proto.iscsi.target import TargetConnection
from mpio.proto.iscsi.target_login import TargetParams
from mpio.proto.iscsi.target_task import TargetTask


class Pair:
    """Both ends of a wire, which cuts what it carries into pieces of `step` bytes."""

    def __init__(self, configured: Settings = SETTINGS, node: Node | None = None, *,
                 target_name: str | None = "iqn.a:t", step: int = 1 << 30, **changes: object) -> None:
        self.now = 0
        self.step = step
        self.node = node or Node()
        self.initiator = InitiatorConnection(params(configured, 0xFFFFFFF0, target_name))
        target_params = TargetParams(PORTAL, challenge_seed=SEED_T, **changes)  # type: ignore[arg-type]
        self.target = TargetConnection(target_params, self.node, 0)
        self.initiator.start(0)
        self.run()

    def run(self) -> None:
        """Carry bytes until both are silent."""
        while True:
            there = b"".join(self.initiator.data_to_send())
            for at in range(0, len(there), self.step):
                self.target.receive(there[at : at + self.step], self.now)
            back = b"".join(self.target.data_to_send())
            for at in range(0, len(back), self.step):
                self.initiator.receive(back[at : at + self.step], self.now)
            if not there and not back:
                return

    def submit(self, task: Task) -> Task:
        self.initiator.submit(task, self.now)
        return task

    def events(self) -> list[ev.ConnectionEvent]:
        found = []
        while (event := self.initiator.next_event()) is not None:
            found.append(event)
        return found


def answer(task: TargetTask) -> None:
    """GOOD, with the tag of the task all over the data of a read."""
    data = task.itt.to_bytes(4, "big") * (task.expected_length // 4) if task.is_read else b""
    task.connection.complete(task, 0, data)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([1, 7, 48, 100, 5000, 1 << 30]), st.booleans(), st.booleans(), st.integers(1, 40))
def test_reads_and_writes_however_the_wire_cuts(step: int, header: bool, data: bool, depth: int) -> None:
    names = {False: "None", True: "CRC32C"}
    configured = SETTINGS.replace(header_digest=names[header], data_digest=names[data])
    pair = Pair(configured, Node(answer=answer), step=step, queue_depth=8)
    params_ = pair.initiator.negotiated
    assert (params_.header_digest, params_.data_digest) == (header, data)
    done = Done()
    tasks = [pair.submit(read(512, done) if n % 2 else write(bytes([n]) * 700, done)) for n in range(depth)]
    pair.run()
    assert len(done.tasks) == depth
    for task in tasks:
        assert (task.outcome, task.status, task.residual) == (Outcome.COMPLETED, 0, 0)
        if task.read_buffer is not None:
            assert contents(task) == task.itt.to_bytes(4, "big") * 128


def test_abort_and_reset() -> None:
    pair = Pair()
    first, second = pair.submit(no_data()), pair.submit(no_data())
    pair.run()
    assert len(pair.node.tasks) == 2
    answers: list[int | None] = []
    pair.initiator.manage(TaskFunction.ABORT_TASK, LUN, answers.append, 0, first)
    pair.run()
    [(function, _, task, respond)] = pair.node.managed
    assert (function, task) == (1, pair.node.tasks[0])
    respond(0)
    pair.run()
    assert (answers, first.outcome, second.outcome) == ([0], Outcome.ABORTED, Outcome.PENDING)
    pair.initiator.manage(TaskFunction.LOGICAL_UNIT_RESET, LUN, answers.append, 0)
    pair.run()
    pair.node.managed[-1][3](0)
    pair.run()
    assert (answers, second.outcome) == ([0, 0], Outcome.ABORTED)
    pair.node.answer = answer
    third = pair.submit(read(8))
    pair.run()
    assert third.outcome == Outcome.COMPLETED


def test_a_task_that_hangs_in_the_target_is_aborted_after_its_timeout() -> None:
    pair = Pair()
    task = pair.submit(read(512, timeout_ns=S))
    pair.run()
    pair.now = S
    pair.initiator.handle_timer(S)
    pair.run()
    pair.node.managed[-1][3](0)
    pair.run()
    assert task.outcome == Outcome.ABORTED
    assert pair.events()[1:] == [ev.TaskTimedOut(0x28), ev.TaskAborted(0)]


def test_pings_both_ways() -> None:
    pair = Pair(SETTINGS.replace(noop_out_interval=0.25, noop_out_timeout=0.5), nop_in_interval=0.4, nop_in_timeout=1.0)
    for now in range(0, 5 * S, 50 * MS):
        pair.now = now
        pair.initiator.handle_timer(now)
        pair.target.handle_timer(now)
        pair.run()
    assert pair.initiator.state is ConnectionState.FULL_FEATURE
    assert [type(event) for event in pair.events()] == [ev.LoginCompleted]


def test_logout() -> None:
    pair = Pair()
    pair.initiator.logout(0)
    pair.run()
    assert pair.events()[1:] == [ev.LoggedOut()]
    assert pair.node.closed


def test_the_target_asks_for_a_logout() -> None:
    pair = Pair(node=Node())
    task = pair.submit(no_data())
    pair.run()
    pair.target.request_logout(5)
    pair.run()
    late = pair.submit(no_data())
    pair.run()
    assert pair.initiator.state is ConnectionState.FULL_FEATURE
    answer(pair.node.tasks[0])
    pair.run()
    assert task.outcome == Outcome.COMPLETED
    assert late.outcome == Outcome.NOT_SENT
    assert pair.events()[-1] == ev.Lost("the target asked for a logout")


def test_long_discovery() -> None:
    portals = Portal("192.0.2.1"), Portal("2001:db8::1", 3261)
    listed = [(f"iqn.2024-01.example:disk{n}", [(portal, n) for portal in portals]) for n in range(300)]
    pair = Pair(node=Node(targets=listed), target_name=None)
    pair.initiator.send_targets("All", 0)
    pair.run()
    assert pair.events()[-1] == ev.DiscoveryAnswered(listed)
