"""What becomes of commands that do not end well."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from tests.unit.engine.engine_kit import IDENTITY, MS, Bench, S

from mpio.engine.fencing import Fence
from mpio.errors import IdentityMismatch, LocalProtocolError, OutcomeUnknown, ReservationConflict, TargetError
from mpio.events import Kind
from mpio.model.settings import LINUX
from mpio.model.task import Outcome, Status, Task
from mpio.proto.scsi.sense import Sense


def not_sent(task: Task) -> Outcome:
    return Outcome.NOT_SENT


# --- a path is lost


def test_reads_and_flushes_go_elsewhere_at_once_writes_after_the_fence() -> None:
    bench = Bench(2, path_grouping_policy="failover")
    bench.read()
    bench.flush()
    bench.write()
    bench.discard()
    assert bench.in_flight(1) == 4
    bench.lose(1)
    assert bench.state(1) == "failed"
    assert [task.cdb[0] for task in bench.transports[2].tasks] == [0x28, 0x35]
    assert bench.map.status(bench.now).in_doubt == 2
    assert bench.fence() == Fence(1, ("reinstate",), (2,))
    assert bench.fence() is None
    bench.map.fence_done(1, "reinstate", bench.now)
    assert [task.cdb[0] for task in bench.transports[2].tasks] == [0x28, 0x35, 0x2A, 0x42]
    bench.good()
    assert bench.errors() == ["ok"] * 4
    counts = [event.fields["count"] for event in bench.events(Kind.IO_REROUTED)]
    assert counts == [2, 2]


def test_a_write_that_was_not_sent_needs_no_fence() -> None:
    bench = Bench(2, path_grouping_policy="failover")
    bench.write()
    bench.lose(1, not_sent)
    assert bench.in_flight(2) == 1
    assert bench.fence() is None


def test_without_writes_in_doubt_there_is_nothing_to_fence() -> None:
    bench = Bench(2, path_grouping_policy="failover")
    bench.read()
    bench.lose(1)
    assert bench.fence() is None


def test_fence_none_does_as_linux_does() -> None:
    bench = Bench(2, path_grouping_policy="failover", fence="none")
    bench.write()
    bench.lose(1)
    assert bench.fence() is None
    assert bench.in_flight(2) == 1


@pytest.mark.parametrize("lost_before", [0, 4900])
def test_a_blocked_path_keeps_its_requests_until_it_is_back(lost_before: int) -> None:
    bench = Bench(2, settings=LINUX)
    bench.read()
    bench.write()
    bench.lose(1)
    assert bench.state(1) == "blocked"
    assert bench.path(1).recovery_at == bench.now + 5 * S
    bench.run(lost_before * MS)
    assert bench.in_flight(2) == 0
    bench.read(8192)  # a new one does not wait
    assert bench.in_flight(2) == 1
    bench.up(1)
    assert bench.in_flight(1) == 2
    assert bench.fence() is None
    bench.good()
    assert bench.errors() == ["ok"] * 3
    assert not bench.events(Kind.GROUP_SWITCHED)  # a blip is no failover
    assert [event.fields["method"] for event in bench.events(Kind.FENCE_COMPLETED)] == ["relogin"]


def test_recovery_timeout_fails_the_path() -> None:
    bench = Bench(2, settings=LINUX)
    bench.read()
    bench.write()
    bench.lose(1)
    bench.run(5 * S)
    assert bench.state(1) == "failed"
    assert bench.events(Kind.REPLACEMENT_TIMEOUT_EXPIRED)
    assert [task.cdb[0] for task in bench.transports[2].tasks] == [0x28]
    assert bench.fence() == Fence(1, ("reinstate",), (2,))
    bench.up(1)  # back after all: that is a fence as well
    bench.good()
    assert bench.errors() == ["ok"] * 2


def test_recovery_timeout_below_zero_waits_for_ever() -> None:
    bench = Bench(1, settings=LINUX, fast_io_fail_tmo=None, replacement_timeout=-1)
    bench.write()
    bench.lose(1)
    bench.run(86_400 * S)
    assert bench.state(1) == "blocked"
    assert bench.errors() == []
    bench.up(1)
    bench.good()
    assert bench.errors() == ["ok"]


def test_relogin_to_another_portal_group_is_no_fence() -> None:
    bench = Bench(2, path_grouping_policy="failover")
    bench.write()
    bench.lose(1)
    with pytest.raises(IdentityMismatch, match="portal group 2"):
        bench.up(1, replace(IDENTITY, tpgt=2))
    assert bench.in_flight(2) == 0
    bench.fence()
    bench.map.fence_done(1, "reinstate", bench.now)
    assert bench.in_flight(2) == 1
    bench.up(1, replace(IDENTITY, tpgt=2))


def test_the_answer_of_a_fence_that_a_relogin_overtook_proves_nothing() -> None:
    bench = Bench(2, path_grouping_policy="failover", failback="immediate")
    bench.write()
    bench.lose(1)
    assert bench.fence() is not None
    bench.up(1)
    assert bench.in_flight(1) == 1
    bench.lose(1)  # again, before the first fence is answered
    assert bench.fence() is None
    bench.map.fence_done(1, "reinstate", bench.now)
    assert bench.in_flight(2) == 0
    assert bench.fence() == Fence(1, ("reinstate",), (2,))
    bench.map.fence_done(1, "reinstate", bench.now)
    assert bench.in_flight(2) == 1


def test_a_fence_nobody_has_taken_yet_is_withdrawn() -> None:
    bench = Bench(2, path_grouping_policy="failover")
    bench.write()
    bench.lose(1)
    bench.up(1)
    assert bench.fence() is None
    bench.good()
    bench.write()
    for path_id in (1, 2):
        if bench.in_flight(path_id):
            bench.lose(path_id)
            assert bench.fence() is not None


def test_a_fence_that_was_not_asked_for() -> None:
    bench = Bench(2)
    with pytest.raises(LocalProtocolError, match="not asked for"):
        bench.map.fence_done(1, "reinstate", 0)
    with pytest.raises(LocalProtocolError, match="not asked for"):
        bench.map.fence_failed(1, "x", 0)


@pytest.mark.parametrize(("retry", "given_up_after"), [("fail", 0), (3, 3 * S), ("queue", None)])
def test_a_failed_fence_is_tried_again_as_long_as_no_path_retry_allows(
        retry: str | int, given_up_after: int | None) -> None:
    bench = Bench(2, path_grouping_policy="failover", no_path_retry=retry)
    bench.write()
    bench.lose(1)
    fences = 0
    for _ in range(60):
        while bench.fence() is not None:
            fences += 1
            bench.map.fence_failed(1, "refused", bench.now)
            bench.step()
        if bench.done:
            break
        bench.run(100 * MS)
    if given_up_after is None:
        assert bench.errors() == []
        assert 6 <= fences <= 7
        bench.up(1)
        bench.good()
        assert bench.errors() == ["ok"]
    else:
        assert bench.errors() == ["OutcomeUnknown"]
        assert bench.now == given_up_after
        assert fences == given_up_after // S + (1 if given_up_after == 0 else 0)
        assert bench.events(Kind.OUTCOME_UNKNOWN)
        assert bench.done[0].may_have_landed


def test_another_path_that_comes_up_can_fence() -> None:
    bench = Bench(2, up=False, no_path_retry="queue")
    bench.up(1)
    bench.write()
    bench.lose(1)
    assert bench.fence() is None
    bench.run(10 * S)
    bench.up(2)
    assert bench.fence() == Fence(1, ("reinstate",), (2,))


def test_all_paths_down_fail() -> None:
    bench = Bench(2, path_grouping_policy="failover", no_path_retry="fail")
    bench.read()
    bench.write()
    bench.lose(2)
    bench.lose(1)
    assert sorted(bench.errors()) == ["NoUsablePath", "OutcomeUnknown"]
    bench.read()
    bench.write()
    bench.step()
    assert sorted(bench.errors()[2:]) == ["NoUsablePath", "NoUsablePath"]
    assert not bench.done[-1].may_have_landed
    bench.up(1)
    bench.read()
    bench.good()
    assert bench.errors()[-1] == "ok"


def test_all_paths_down_n_polls() -> None:
    bench = Bench(2, no_path_retry=5)
    bench.read()
    bench.lose(1)
    bench.lose(2)
    bench.write()
    bench.run(5 * S - 1)
    assert bench.errors() == []
    assert bench.map.status(bench.now).queueing == "queueing"
    bench.run(1)
    assert sorted(bench.errors()) == ["NoUsablePath", "NoUsablePath"]
    assert bench.map.status(bench.now).queueing == "expired"
    kinds = [event.kind for event in bench.journal]
    assert kinds.index(Kind.QUEUEING_STARTED) < kinds.index(Kind.QUEUEING_EXPIRED)
    bench.up(2)
    assert bench.map.status(bench.now).queueing == "off"


def test_all_paths_down_queue_drains_when_a_path_is_back() -> None:
    bench = Bench(2, no_path_retry="queue")
    for i in range(20):
        bench.write(i * 4096)
        bench.read(i * 4096)
    bench.lose(1)
    bench.lose(2)
    bench.run(3600 * S)
    bench.up(1)
    assert bench.fence() == Fence(2, ("reinstate",), (1,))
    bench.map.fence_done(2, "reinstate", bench.now)
    bench.good()
    assert bench.errors() == ["ok"] * 40


def test_failures_in_an_outage_are_recorded_up_to_a_bound() -> None:
    bench = Bench(1, no_path_retry="fail")
    bench.lose(1)
    for _ in range(100):
        bench.read()
        bench.step()
    assert bench.errors() == ["NoUsablePath"] * 100
    assert len(bench.events(Kind.IO_FAILED)) == 32
    assert bench.map.status(0).failed == 100


def test_a_submit_that_the_connection_refuses_loses_the_path() -> None:
    bench = Bench(2, path_grouping_policy="failover")
    bench.transports[1].closed = True
    bench.read()
    assert bench.in_flight(2) == 1
    assert bench.state(1) == "failed"
    bench.map.path_lost(1, "told later", bench.now)
    bench.up(1)
    assert bench.state(1) == "up"


def test_path_lost_before_its_tasks_are_finished_is_a_bug() -> None:
    bench = Bench(2, path_grouping_policy="failover")
    bench.read()
    with pytest.raises(LocalProtocolError, match="before its tasks"):
        bench.map.path_lost(1, "x", 0)


def test_paths_can_not_be_added_or_come_up_twice() -> None:
    bench = Bench(1)
    with pytest.raises(LocalProtocolError):
        bench.map.add_path(1, "again", 0)
    with pytest.raises(LocalProtocolError, match="twice"):
        bench.up(1)


# --- identity


@pytest.mark.parametrize(("changes", "text"), [
    ({"wwid": "36001405bb"}, "leads to the LU 36001405bb"), ({"block_size": 4096, "blocks": 1 << 17}, "4096 bytes"),
    ({"blocks": (1 << 20) + 1}, "has grown"), ({"blocks": 1}, "has shrunk"), ({"blocks": 0}, "no disk"),
    ({"block_size": 500}, "no disk"), ({"wwid": ""}, "without a name"),
])
def test_another_identity_is_refused_at_once_and_on_return(changes: dict[str, Any], text: str) -> None:
    bench = Bench(2, up=False)
    bench.up(1)
    other = replace(IDENTITY, **changes)
    with pytest.raises(IdentityMismatch, match=text):
        bench.up(2, other)
    assert bench.state(2) == "down"
    (event,) = bench.events(Kind.IDENTITY_REFUSED)
    assert event.fields["expected"] != event.fields["found"]
    bench.lose(1)
    with pytest.raises(IdentityMismatch, match=text):
        bench.up(1, other)
    assert bench.state(1) == "failed"
    assert bench.map.identity == IDENTITY


def test_a_lu_without_a_name_can_have_one_path_only() -> None:
    nameless = replace(IDENTITY, wwid="")
    bench = Bench(1, up=False)
    bench.up(1, nameless)
    bench.lose(1)
    bench.up(1, nameless)
    bench = Bench(2, up=False)
    bench.up(1, nameless)
    with pytest.raises(IdentityMismatch):
        bench.up(2, nameless)


# --- answers other than GOOD


@pytest.mark.parametrize("code", [(6, 0x29, 0x00), (0xB, 0x47, 0x05)])
def test_retry_on_the_same_path_up_to_max_retries(code: tuple[int, int, int]) -> None:
    bench = Bench(2, path_grouping_policy="failover", max_retries=3)
    bench.read()
    for _ in range(3):
        bench.transports[1].refuse(code)
        bench.step()
        assert bench.in_flight(1) == 1
    bench.transports[1].refuse(code)
    bench.step()
    assert bench.state(1) == "faulty"
    assert bench.in_flight(2) == 1
    bench.good()
    assert bench.errors() == ["ok"]
    assert bench.map.status(0).counters["retries"] == 3


@pytest.mark.parametrize("code", [(2, 0x04, 0x0B), (2, 0x04, 0x0C), (4, 0x44, 0x00), (5, 0x25, 0x00)])
def test_a_condition_of_the_path_fails_the_path(code: tuple[int, int, int]) -> None:
    bench = Bench(2, path_grouping_policy="failover")
    bench.write()
    bench.transports[1].refuse(code)
    bench.step()
    assert bench.state(1) == "faulty"
    assert bench.in_flight(2) == 1
    bench.good()
    bench.run(S)
    assert bench.state(1) == "up"  # the checker is content


def test_a_command_that_fails_on_every_path_does_not_go_round_for_ever() -> None:
    bench = Bench(2, max_retries=2, no_path_retry="queue")
    bench.write()
    for _ in range(100):
        for transport in bench.transports.values():
            if transport.tasks:
                transport.refuse((4, 0x44, 0x00))
        bench.run(S)
        if bench.done:
            break
    assert bench.errors() == ["OutcomeUnknown"]  # 04/44/00 does not say that the write was not begun
    assert isinstance(getattr(bench.done[0].error, "__cause__", None), TargetError)
    bench.run(S)
    assert bench.map.status(0).usable_paths == 2


@pytest.mark.parametrize("status", [Status.BUSY, Status.TASK_SET_FULL])
def test_busy_is_retried_after_growing_pauses_for_a_bounded_time(status: Status) -> None:
    bench = Bench(1, max_retries=1, timeout=2, no_path_retry="fail")
    bench.read()
    times = []
    for _ in range(6000):
        if bench.in_flight(1):
            times.append(bench.now)
            bench.transports[1].end(bench.transports[1].tasks[0], status=status)
            bench.step()
        if bench.done:
            break
        bench.run(MS)
    pauses = [(later - sooner) // MS for sooner, later in pairwise(times)]
    assert pauses[:8] == [10, 20, 40, 80, 160, 320, 640, 640]
    assert 4 * S <= bench.now <= 5 * S
    assert bench.errors() == ["NoUsablePath"]


def test_a_pause_ends_well() -> None:
    bench = Bench(1)
    bench.write()
    bench.transports[1].refuse((2, 0x04, 0x0A))
    bench.step()
    assert bench.map.status(0).queued == 1
    assert bench.state(1) == "up"
    bench.run(10 * MS)
    bench.good()
    assert bench.errors() == ["ok"]


@pytest.mark.parametrize(("code", "kind"), [
    ((3, 0x11, 0x00), TargetError), ((5, 0x21, 0x00), TargetError), ((7, 0x27, 0x00), TargetError),
    ((7, 0x27, 0x07), TargetError),
])
def test_what_no_path_would_mend_is_told(code: tuple[int, int, int], kind: type) -> None:
    bench = Bench(2)
    bench.write()
    next(t for t in bench.transports.values() if t.tasks).refuse(code)
    bench.step()
    error = bench.done[0].error
    assert type(error) is kind
    assert isinstance(error, TargetError)
    assert error.status == Status.CHECK_CONDITION
    assert error.sense[2] & 0xF == code[0]
    assert bench.map.status(0).usable_paths == 2


def test_reservation_conflict() -> None:
    bench = Bench(1)
    bench.write()
    bench.transports[1].end(bench.transports[1].tasks[0], status=Status.RESERVATION_CONFLICT)
    bench.step()
    assert isinstance(bench.done[0].error, ReservationConflict)
    assert not bench.done[0].may_have_landed


@pytest.mark.parametrize("residual", [512, -512])
@pytest.mark.parametrize("operation", ["read", "write"])
def test_good_with_a_residual_is_no_success(operation: str, residual: int) -> None:
    bench = Bench(1, max_retries=2, no_path_retry="fail")
    getattr(bench, operation)()
    for _ in range(3):
        assert bench.errors() == []
        bench.transports[1].end(bench.transports[1].tasks[0], residual=residual)
        bench.step()
    assert bench.errors() == ["OutcomeUnknown" if operation == "write" else "NoUsablePath"]


def test_a_residual_of_unmap_means_nothing() -> None:
    bench = Bench(1)
    bench.discard()
    bench.transports[1].end(bench.transports[1].tasks[0], residual=24)  # tgtd does so
    bench.step()
    assert bench.errors() == ["ok"]


def test_flush_without_a_cache() -> None:
    bench = Bench(1)
    bench.flush()
    bench.transports[1].refuse((5, 0x20, 0x00))
    bench.step()
    assert bench.errors() == ["ok"]


def test_recovered_error_is_a_success() -> None:
    bench = Bench(1)
    bench.read()
    bench.transports[1].refuse((1, 0x17, 0x01))
    bench.step()
    assert bench.errors() == ["ok"]


def test_an_aborted_command_fails_its_path_and_goes_elsewhere_at_once() -> None:
    bench = Bench(2, path_grouping_policy="failover")
    bench.write()
    bench.transports[1].end(bench.transports[1].tasks[0], Outcome.ABORTED)
    bench.step()
    assert bench.state(1) == "faulty"
    assert bench.in_flight(2) == 1
    assert bench.fence() is None


def test_a_write_that_may_have_landed_never_just_fails() -> None:
    bench = Bench(2, path_grouping_policy="failover")
    bench.write()
    bench.lose(1)
    bench.fence()
    bench.map.fence_done(1, "reinstate", bench.now)
    bench.transports[2].refuse((3, 0x0C, 0x00))
    bench.step()
    assert isinstance(bench.done[0].error, OutcomeUnknown)
    assert isinstance(getattr(bench.done[0].error, "__cause__", None), TargetError)


@pytest.mark.parametrize("lost", [Outcome.IN_DOUBT, Outcome.NOT_SENT])
def test_a_split_write_with_a_part_done_never_just_fails(lost: Outcome) -> None:
    bench = Bench(1, max_sectors_kb=4, queue_depth=2, no_path_retry="fail")
    bench.write(0, 64 * 1024)
    bench.transports[1].end(bench.transports[1].tasks[0])
    bench.lose(1, lambda task: lost)
    assert bench.errors() == ["OutcomeUnknown"]
    assert bench.map.status(0).queued_bytes == 0


def test_a_split_write_of_which_nothing_was_sent_fails() -> None:
    bench = Bench(1, max_sectors_kb=4, queue_depth=2, no_path_retry="fail")
    bench.write(0, 64 * 1024)
    bench.lose(1, not_sent)
    assert bench.errors() == ["NoUsablePath"]
    assert not bench.done[0].may_have_landed


def test_a_split_write_ends_only_when_its_parts_in_doubt_have() -> None:
    bench = Bench(2, max_sectors_kb=4, queue_depth=4)
    bench.write(0, 16 * 1024)
    bench.lose(1)
    bench.good()
    assert bench.errors() == []
    assert bench.fence() is not None
    bench.map.fence_done(1, "reinstate", bench.now)
    bench.good()
    assert bench.errors() == ["ok"]


def test_a_failed_part_cuts_off_the_rest() -> None:
    bench = Bench(1, max_sectors_kb=4, queue_depth=2)
    bench.write(0, 64 * 1024)
    bench.write()
    bench.transports[1].refuse((3, 0x0C, 0x00))
    bench.step()
    assert bench.errors() == []
    bench.transports[1].end(bench.transports[1].tasks[0])
    assert bench.errors() == ["TargetError"]
    bench.good()
    assert bench.errors() == ["TargetError", "ok"]
    assert len(bench.transports[1].submitted) == 3
    assert bench.map.status(0).queued_bytes == 0


# --- a reset of the LU by somebody else


def test_what_a_reset_has_ended_is_sent_again_and_the_path_is_none_the_worse() -> None:
    bench = Bench(2, path_grouping_policy="failover")
    bench.read()
    bench.write()
    transport = bench.transports[1]
    for task in list(transport.tasks):
        transport.end(task, Outcome.CLEARED)
    bench.step()
    assert bench.state(1) == "up"
    assert [task.cdb[0] for task in transport.tasks] == [0x28, 0x2A]
    bench.good()
    assert bench.errors() == ["ok", "ok"]
    assert bench.path(1).counters.retries == 2


def test_what_resets_end_again_and_again_leaves_the_path_and_fails_in_the_end() -> None:
    bench = Bench(2, path_grouping_policy="failover", max_retries=1)
    bench.write()
    rounds = 0
    while not bench.done:
        for transport in bench.transports.values():
            for task in list(transport.tasks):
                transport.end(task, Outcome.CLEARED)
        bench.run(10 * MS)
        rounds += 1
        assert rounds < 1_000
    assert bench.errors() in (["TargetError"], ["OutcomeUnknown"])
    assert bench.done[0].may_have_landed


def test_the_other_paths_are_checked_at_once_after_a_reset_of_our_own() -> None:
    """Their next command meets the unit attention that says what the reset has ended; a check that it ended is void."""
    bench = Bench(3, check=None)
    for transport in bench.transports.values():
        transport.good()
    bench.step()
    bench.run(1500 * MS)
    for path_id in (2, 3):
        assert [task.cdb[0] for task in bench.transports[path_id].tasks] == [0x00], "a check is under way"
    bench.lose(3)
    before = {path_id: len(transport.submitted) for path_id, transport in bench.transports.items()}
    bench.map.lun_was_reset(1, bench.now)
    bench.step()
    sent = {path_id: len(transport.submitted) - before[path_id] for path_id, transport in bench.transports.items()}
    assert sent == {1: 0, 2: 1, 3: 0}
    void, check = bench.transports[2].tasks
    bench.transports[2].end(void, Outcome.ABORTED)
    bench.step()
    assert bench.state(2) == "up"
    bench.transports[2].end(check, status=Status.CHECK_CONDITION, sense=Sense(0x6, 0x29, 0x03).build())
    bench.step()
    [again] = bench.transports[2].tasks
    bench.transports[2].end(again)
    bench.step()
    assert bench.state(2) == "up"
