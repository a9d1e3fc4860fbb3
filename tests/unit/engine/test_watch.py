"""What the map finds out by itself: checks, priorities, groups and failback, damping, proofs of identity."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.engine.engine_kit import BLOCK, IDENTITY, MS, Bench, S, answer, answer_good

from mpio.events import Kind
from mpio.model.identity import AluaState, PathIdentity, TargetPortGroup
from mpio.model.settings import FAST, LINUX
from mpio.model.task import Outcome, Status, Task
from mpio.proto.scsi import alua, cdb
from mpio.proto.scsi.sense import Sense

# --- checks


def checks(bench: Bench, path_id: int) -> list[Task]:
    return [task for task in bench.transports[path_id].tasks if task.cdb == cdb.test_unit_ready()]


def test_polling_is_adaptive() -> None:
    times: list[int] = []

    def check(task: Task) -> None:
        times.append(bench.now)
        answer_good(task)

    bench = Bench(1, settings=LINUX, check=check, up=False)
    bench.up(1)
    bench.run(60 * S)
    assert [t // S for t in times] == [0, 5, 15, 35, 55]


def test_a_bad_check_fails_the_path_and_a_good_one_brings_it_back() -> None:
    bench = Bench(2, path_grouping_policy="failover", failback="immediate")
    bench.transports[1].check = answer((2, 0x04, 0x03))
    bench.run(2 * S)
    assert bench.state(1) == "faulty"
    assert "checker reports path is down" in bench.path(1).cause
    bench.read()
    assert bench.in_flight(2) == 1
    bench.transports[1].check = answer_good
    bench.run(S)
    assert bench.state(1) == "up"
    bench.read()
    assert bench.in_flight(1) == 1
    switches = [(event.fields["old"], event.fields["new"]) for event in bench.events(Kind.GROUP_SWITCHED)]
    assert switches == [("path p1", "path p2"), ("path p2", "path p1")]


def test_standby_makes_a_ghost_that_gets_no_requests() -> None:
    bench = Bench(2)
    bench.transports[1].check = answer((2, 0x04, 0x0B))
    bench.run(2 * S)
    assert bench.state(1) == "ghost"
    for _ in range(4):
        bench.read()
    assert bench.in_flight(1) == 0


def test_ghosts_are_looked_at_at_once_when_nothing_else_is_left() -> None:
    bench = Bench(2, no_path_retry="queue")
    bench.transports[1].check = answer((2, 0x04, 0x0B))
    bench.run(2 * S)
    bench.transports[1].check = answer_good
    bench.run(100 * MS)
    bench.read()
    bench.lose(2)
    assert bench.state(1) == "up"
    assert bench.in_flight(1) == 1


def test_a_pending_check_changes_nothing_and_is_repeated_soon() -> None:
    bench = Bench(1, settings=LINUX)
    count = 0

    def transition(task: Task) -> None:
        nonlocal count
        count += 1
        answer((2, 0x04, 0x0A))(task)

    bench.transports[1].check = transition
    bench.run(15 * S)
    assert bench.state(1) == "up"
    assert 10 <= count <= 12


def test_unit_attentions_are_eaten_up_to_a_bound() -> None:
    bench = Bench(1)
    count = 0

    def attention(task: Task) -> None:
        nonlocal count
        count += 1
        answer((6, 0x29, 0x00))(task)

    bench.transports[1].check = attention
    bench.run(1 * S)
    assert count == 6
    assert bench.state(1) == "up"


def test_a_check_without_an_answer_fails_the_path_until_it_answers() -> None:
    bench = Bench(1, check=None)
    assert len(checks(bench, 1)) == 1
    bench.run(S)
    assert bench.state(1) == "faulty"
    assert "timed out" in bench.path(1).cause
    bench.run(10 * S)
    assert len(checks(bench, 1)) == 1  # never a second one beside the first
    bench.transports[1].good()
    bench.step()
    assert bench.state(1) == "up"


@pytest.mark.parametrize("name", ["directio", "readsector0"])
def test_reading_checkers(name: str) -> None:
    bench = Bench(1, check=None, path_checker=name)
    (task,) = bench.transports[1].tasks
    assert task.cdb == cdb.read(0, 1)
    assert task.read_buffer is not None
    assert len(task.read_buffer) == BLOCK
    bench.transports[1].end(task, residual=BLOCK)
    bench.step()
    assert bench.state(1) == "faulty"


def test_an_answer_of_an_old_session_does_not_count() -> None:
    bench = Bench(1, check=None)
    (old,) = checks(bench, 1)
    bench.lose(1)
    bench.up(1)
    old.outcome, old.status = Outcome.COMPLETED, Status.CHECK_CONDITION
    old.on_done(old)
    bench.step()
    assert bench.state(1) == "up"


# --- priorities and groups


class Array:
    """Answers checks and REPORT TARGET PORT GROUPS."""

    def __init__(self, **states: AluaState) -> None:
        self.states = {int(name[1:]): state for name, state in states.items()}

    def __call__(self, task: Task) -> None:
        answer_good(task)
        if task.cdb[0] == 0xA3:
            report = alua.build_report([
                (TargetPortGroup(group, state, preferred=False, ports=(group,)), alua.StatusCode.NONE)
                for group, state in self.states.items()])
            assert task.read_buffer is not None
            task.read_buffer[: len(report)] = report
            task.residual = len(task.read_buffer) - len(report)


def member(group: int) -> PathIdentity:
    return replace(IDENTITY, tpgs=1, port_group=group)


def alua_bench(failback: str | float = "immediate", **states: AluaState) -> tuple[Bench, Array]:
    array = Array(**states)
    bench = Bench(2, settings=FAST.replace(failback=failback), up=False, check=array)
    bench.up(1, member(1))
    bench.up(2, member(2))
    return bench, array


def used(bench: Bench) -> int:
    bench.read()
    path_id = next(i for i, transport in bench.transports.items() if transport.tasks)
    bench.good()
    return path_id


AO, ANO = AluaState.ACTIVE_OPTIMIZED, AluaState.ACTIVE_NON_OPTIMIZED


def test_the_optimized_path_is_used_and_a_change_is_followed() -> None:
    bench, array = alua_bench(g1=ANO, g2=AO)
    assert used(bench) == 2
    status = bench.map.status(bench.now)
    assert [(path.priority, path.alua_state) for path in status.paths] == [
        (10, "ACTIVE_NON_OPTIMIZED"), (50, "ACTIVE_OPTIMIZED")]
    assert [(group.priority, group.active, group.path_ids) for group in status.groups] == [
        (50, True, (2,)), (10, False, (1,))]
    array.states = {1: AO, 2: ANO}
    bench.run(2 * S)
    assert used(bench) == 1
    assert bench.events(Kind.ALUA_STATE_CHANGED)
    assert bench.events(Kind.PRIORITY_CHANGED)


def test_alua_attention_asks_at_once() -> None:
    bench, array = alua_bench(g1=ANO, g2=AO)
    array.states = {1: AO, 2: ANO}
    bench.read()
    bench.transports[2].refuse((6, 0x2A, 0x06))
    bench.step()
    assert bench.path(2).priority == 10


@pytest.mark.parametrize(("failback", "seconds", "expected"), [
    ("immediate", 0, 1), ("manual", 3600, 2), (10, 9, 2), (10, 10, 1), ("followover", 0, 1),
])
def test_failback_after_the_better_path_is_back(failback: str | float, seconds: int, expected: int) -> None:
    bench, _ = alua_bench(failback, g1=AO, g2=ANO)
    assert used(bench) == 1
    bench.lose(1)
    assert used(bench) == 2
    bench.run(S)
    bench.up(1, member(1))
    bench.run(seconds * S)
    assert used(bench) == expected
    if failback == 10:
        assert bench.events(Kind.FAILBACK_DEFERRED)


def test_a_deferred_failback_is_called_off_by_a_failure() -> None:
    bench, _ = alua_bench(10, g1=AO, g2=ANO)
    bench.lose(1)
    bench.up(1, member(1))
    bench.run(5 * S)
    bench.lose(1)
    bench.run(20 * S)
    assert used(bench) == 2


def test_a_deferred_failback_is_called_off_when_every_path_is_lost() -> None:
    bench = Bench(2, path_grouping_policy="failover", failback=10, fast_io_fail_tmo=60)
    bench.transports[1].check = answer((2, 0x04, 0x03))
    bench.run(2 * S)
    bench.transports[1].check = answer_good
    bench.run(S)
    assert bench.events(Kind.FAILBACK_DEFERRED)
    bench.lose(2)
    bench.lose(1)
    bench.run(30 * S)
    assert bench.state(1) == "blocked"


def test_a_path_that_is_new_may_bring_the_better_group() -> None:
    bench = Bench(2, path_grouping_policy="failover", failback="manual", up=False)
    bench.up(2)
    assert used(bench) == 2
    bench.up(1)
    assert used(bench) == 1


@pytest.mark.parametrize("policy", ["failover", "multibus", "group_by_prio", "group_by_serial", "group_by_node_name"])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_every_policy_serves_until_the_last_path(policy: str, count: int) -> None:
    bench = Bench(count, path_grouping_policy=policy, no_path_retry="queue")
    for path_id in range(1, count + 1):
        bench.read()
        bench.good()
        bench.lose(path_id)
    assert bench.errors() == ["ok"] * count
    bench.read()
    bench.up(count)
    bench.good()
    assert bench.errors() == ["ok"] * (count + 1)


# --- damping


def flap(bench: Bench, path_id: int, times: int) -> None:
    for _ in range(times):
        bench.lose(path_id)
        bench.run(100 * MS)
        bench.up(path_id)


SAN: dict[str, Any] = {"san_path_err_threshold": 2, "san_path_err_forget_rate": 10, "san_path_err_recovery_time": 30}


def test_a_flapping_path_is_held_and_let_go() -> None:
    bench = Bench(2, **SAN)
    flap(bench, 1, 2)
    assert bench.state(1) == "up"
    flap(bench, 1, 1)
    assert bench.state(1) == "delayed"
    assert bench.map.status(bench.now).paths[0].held_until_ns == bench.now + 30 * S
    for _ in range(4):
        bench.read()
    assert bench.in_flight(1) == 0
    bench.run(30 * S)
    assert bench.state(1) == "up"
    assert bench.events(Kind.PATH_MARGINAL)
    assert bench.events(Kind.PATH_MARGINAL_ENDED)


def test_a_held_path_is_let_go_if_it_is_the_last() -> None:
    bench = Bench(2, no_path_retry="fail", **SAN)
    flap(bench, 1, 3)
    bench.read()
    bench.lose(2)
    assert bench.state(1) == "up"
    bench.good()
    assert bench.errors() == ["ok"]


def test_a_held_path_is_the_last_resort_with_marginal_pathgroups() -> None:
    bench = Bench(2, marginal_pathgroups=True, no_path_retry="fail", **SAN)
    flap(bench, 1, 3)
    assert [(group.marginal, group.active) for group in bench.map.status(0).groups] == [(False, True), (True, False)]
    bench.read()
    bench.lose(2)
    assert bench.state(1) == "delayed"
    assert bench.in_flight(1) == 1


def test_a_marginal_path_is_sampled() -> None:
    reads = 0

    def sampling(task: Task) -> None:
        nonlocal reads
        reads += task.cdb[0] == 0x28
        answer_good(task)

    bench = Bench(2, check=sampling, marginal_path_double_failed_time=60, marginal_path_err_sample_time=120,
                  marginal_path_err_rate_threshold=10, marginal_path_err_recheck_gap_time=300)
    flap(bench, 1, 2)
    assert bench.state(1) == "delayed"
    bench.run(119 * S)
    assert bench.state(1) == "delayed"
    bench.run(2 * S)
    assert bench.state(1) == "up"
    assert 1150 <= reads <= 1200


def test_a_marginal_path_with_bad_samples_is_held_longer() -> None:
    bench = Bench(2, marginal_path_double_failed_time=60, marginal_path_err_sample_time=120,
                  marginal_path_err_rate_threshold=10, marginal_path_err_recheck_gap_time=300)
    flap(bench, 1, 2)

    def bad_reads(task: Task) -> None:
        answer((3, 0x11, 0))(task) if task.cdb[0] == 0x28 else answer_good(task)

    bench.transports[1].check = bad_reads
    bench.run(400 * S)
    assert bench.state(1) == "delayed"
    bench.transports[1].check = answer_good
    bench.run(200 * S)
    assert bench.state(1) == "up"


# --- proofs of identity


class Lu:
    """Answers what `proto.scsi.probe` asks."""

    def __init__(self, wwid: str = "6001405aa0000000000000000000000aa", blocks: int = IDENTITY.blocks) -> None:
        self.naa, self.blocks = bytes.fromhex(wwid[:32]), blocks
        self.dead = False

    @property
    def identity(self) -> PathIdentity:
        return replace(IDENTITY, wwid="3" + self.naa.hex(), blocks=self.blocks, serial="", unmap_blocks_max=0)

    def __call__(self, task: Task) -> None:
        task.outcome = Outcome.ABORTED if self.dead else Outcome.COMPLETED
        data = self._data(task.cdb)
        if data is None:
            task.status, task.sense = Status.CHECK_CONDITION, Sense(5, 0x24, 0).build()
        elif task.read_buffer is not None:
            task.read_buffer[: len(data)] = data
            task.residual = len(task.read_buffer) - len(data)

    def _data(self, command: bytes) -> bytes | None:
        if command[0] == 0x12 and not command[1]:
            return bytes((0, 0, 6, 2, 31, 0, 0, 2)) + b"MPIO    " + b"TEST            " + b"0001"
        if command[0] == 0x12:
            page = {0x00: bytes((0x00, 0x83)), 0x83: bytes((1, 3, 0, 16)) + self.naa}.get(command[2])
            return None if page is None else bytes((0, command[2], 0, len(page))) + page
        if command[0] == 0x9E:
            return (self.blocks - 1).to_bytes(8, "big") + BLOCK.to_bytes(4, "big") + bytes(20)
        if command[0] == 0x1A:
            return bytes((3, 0, 0, 0))
        return b""


def lu_bench(**changes: Any) -> tuple[Bench, Lu]:
    lu = Lu()
    bench = Bench(2, up=False, check=lu, path_grouping_policy="failover", **changes)
    bench.up(1, lu.identity)
    bench.up(2, lu.identity)
    own = Lu()
    bench.transports[1].check = own
    return bench, own


ATTENTIONS = [(6, 0x3F, 0x03), (6, 0x3F, 0x0E), (6, 0x2A, 0x09)]


@pytest.mark.parametrize("code", ATTENTIONS)
def test_identity_is_proven_again_after_an_attention(code: tuple[int, int, int]) -> None:
    bench, _ = lu_bench()
    bench.read()
    bench.transports[1].refuse(code)
    bench.step()
    assert bench.state(1) == "up"
    assert bench.path(1).proof is None
    bench.good()
    assert bench.errors() == ["ok"]
    assert not bench.events(Kind.GROUP_SWITCHED)


@pytest.mark.parametrize(("name", "value"), [("naa", bytes.fromhex("6" + 31 * "1")), ("blocks", 8)])
def test_a_path_that_now_leads_elsewhere_gets_no_more_requests(name: str, value: object) -> None:
    bench, lu = lu_bench(no_path_retry="queue")
    bench.write()
    setattr(lu, name, value)
    bench.transports[1].refuse((6, 0x3F, 0x0E))
    bench.step()
    assert bench.state(1) == "failed"
    assert bench.events(Kind.IDENTITY_REFUSED)
    submitted = len(bench.transports[1].submitted)
    bench.good()
    assert bench.errors() == ["ok"]
    bench.run(100 * S)
    assert len(bench.transports[1].submitted) == submitted


def test_no_request_is_sent_while_the_identity_is_asked() -> None:
    bench, lu = lu_bench(no_path_retry="fail")
    bench.lose(2)
    bench.read()
    bench.transports[1].check = None
    bench.transports[1].refuse((6, 0x3F, 0x0E))
    bench.step()
    bench.read()
    probing = list(bench.transports[1].tasks)
    assert [task.cdb[0] for task in probing] == [0x12]
    assert bench.errors() == []  # and none is failed, although no path is usable at the moment
    lu(probing[0])
    bench.transports[1].check = lu
    bench.transports[1].end(probing[0], residual=probing[0].residual)
    bench.step()
    bench.good()
    assert bench.errors() == ["ok", "ok"]


def test_a_path_that_does_not_answer_who_it_is_is_asked_again() -> None:
    bench, lu = lu_bench()
    bench.read()
    lu.dead = True
    bench.transports[1].refuse((6, 0x3F, 0x0E))
    bench.step()
    assert bench.state(1) == "faulty"
    bench.run(3 * S)
    assert bench.state(1) == "faulty"
    lu.dead = False
    bench.run(S)
    assert bench.state(1) == "up"
    assert bench.path(1).proof is None


def test_a_session_may_end_at_the_first_request_after_the_proof() -> None:
    """A connection that is being logged out takes none, and the map learns of it by that."""
    bench, lu = lu_bench(no_path_retry="queue")
    bench.lose(2)
    bench.read()
    transport = bench.transports[1]

    def answer_the_last_question(task: Task) -> None:
        lu(task)
        transport.closed = task.cdb[0] == cdb.Op.MODE_SENSE_6

    transport.check = answer_the_last_question
    transport.refuse((6, 0x3F, 0x0E))
    bench.step()
    assert bench.state(1) == "failed"
    bench.up(1, lu.identity)
    bench.good()
    assert bench.errors() == ["ok"]


def test_a_lu_that_grows_while_in_use_stays_in_use() -> None:
    bench, lu = lu_bench()
    bench.read()
    lu.blocks *= 2
    bench.transports[1].refuse((6, 0x2A, 0x09))
    bench.step()
    assert bench.state(1) == "up"
    (event,) = bench.events(Kind.CAPACITY_CHANGED)
    assert event.fields == {"old": IDENTITY.blocks, "new": 2 * IDENTITY.blocks}
    assert bench.map.status(0).size_bytes == IDENTITY.size_bytes


@pytest.mark.parametrize("rule", [
    {"marginal_path_double_failed_time": 60, "marginal_path_err_sample_time": 5,
     "marginal_path_err_rate_threshold": 100, "marginal_path_err_recheck_gap_time": 2},
    {"san_path_err_threshold": 1, "san_path_err_forget_rate": 100, "san_path_err_recovery_time": 5},
], ids=["marginal_path", "san_path_err"])
def test_a_held_path_that_goes_to_standby_is_held_again_afterwards(rule: dict[str, Any]) -> None:
    bench = Bench(2, **rule)
    for _ in range(2):
        bench.lose(1)
        bench.up(1)
    assert bench.state(1) == "delayed"
    bench.transports[1].check = answer((2, 0x04, 0x0B))
    bench.run(10 * S)
    assert bench.state(1) == "ghost"
    bench.transports[1].check = answer_good
    bench.run(2 * S)  # the interval of checks
    assert bench.state(1) == "delayed"
    bench.run(10 * S)
    assert bench.state(1) == "up"
