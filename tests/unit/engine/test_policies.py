"""The small policies by themselves: prioritizers, checkers, polling, failback, no_path_retry, damping."""

from dataclasses import replace

import pytest
from tests.unit.engine.engine_kit import IDENTITY, MS, S

from mpio.engine import prioritizer
from mpio.engine.checker import CheckResult, Polling, check_command, judge
from mpio.engine.damping import SAMPLE_INTERVAL_NS, Damping, Due
from mpio.engine.failback import Failback
from mpio.engine.fencing import fence_methods
from mpio.engine.grouping import PathGroup
from mpio.engine.path import Path
from mpio.engine.queueing import NoPath, NoPathRetry
from mpio.model.identity import AluaState, TargetPortGroup
from mpio.model.settings import FAST, Settings
from mpio.model.task import Outcome, Status, Task
from mpio.proto.scsi import alua
from mpio.proto.scsi.sense import Sense

# --- prioritizers


@pytest.mark.parametrize(("prio", "detect", "tpgs", "expected"), [
    ("const", False, 3, False), ("const", True, 3, True), ("const", True, 1, True), ("const", True, 0, False),
    ("alua", False, 0, True), ("alua", True, 0, True),
])
def test_which_prioritizer(prio: str, detect: bool, tpgs: int, expected: bool) -> None:
    identity = replace(IDENTITY, tpgs=tpgs)
    assert prioritizer.uses_alua(Settings().replace(prio=prio, detect_prio=detect), identity) is expected


@pytest.mark.parametrize(("state", "preferred", "expected"), [
    (AluaState.ACTIVE_OPTIMIZED, False, 50), (AluaState.ACTIVE_OPTIMIZED, True, 50),
    (AluaState.ACTIVE_NON_OPTIMIZED, False, 10), (AluaState.ACTIVE_NON_OPTIMIZED, True, 90),
    (AluaState.LBA_DEPENDENT, False, 5), (AluaState.STANDBY, False, 1), (AluaState.UNAVAILABLE, False, 0),
    (AluaState.OFFLINE, False, 0), (AluaState.TRANSITIONING, False, 0),
])
def test_alua_priority_through_a_report(state: AluaState, preferred: bool, expected: int) -> None:
    other = TargetPortGroup(2, AluaState.ACTIVE_OPTIMIZED, preferred=True, ports=(9,))
    own = TargetPortGroup(1, state, preferred, (1, 2))
    report = alua.build_report([(other, alua.StatusCode.NONE), (own, alua.StatusCode.NONE)])
    for identity in (replace(IDENTITY, port_group=1), replace(IDENTITY, relative_port=2)):
        assert prioritizer.alua_priority(prioritizer.own_group(report, identity)) == expected


@pytest.mark.parametrize("data", [b"", b"\0\0\0\x08\0", bytes(4), b"\xff" * 40])
def test_a_report_that_can_not_be_read_has_no_group(data: bytes) -> None:
    assert prioritizer.own_group(data, IDENTITY) is None
    assert prioritizer.alua_priority(None) == 0


# --- checkers


def ended(outcome: Outcome, status: int = 0, code: tuple[int, int, int] | None = None, residual: int = 0) -> Task:
    task = Task(bytes(8), bytes(6), lambda _: None)
    task.outcome, task.status, task.residual = outcome, status, residual
    task.sense = b"" if code is None else Sense(*code).build()
    return task


@pytest.mark.parametrize(("task", "expected"), [
    (ended(Outcome.COMPLETED), CheckResult.UP),
    (ended(Outcome.CLEARED), CheckResult.RETRY),
    (ended(Outcome.COMPLETED, residual=512), CheckResult.DOWN),
    (ended(Outcome.COMPLETED, Status.RESERVATION_CONFLICT), CheckResult.UP),
    (ended(Outcome.COMPLETED, Status.BUSY), CheckResult.PENDING),
    (ended(Outcome.COMPLETED, Status.TASK_SET_FULL), CheckResult.PENDING),
    (ended(Outcome.COMPLETED, Status.CHECK_CONDITION, (2, 0x04, 0x0A)), CheckResult.PENDING),
    (ended(Outcome.COMPLETED, Status.CHECK_CONDITION, (2, 0x04, 0x0B)), CheckResult.GHOST),
    (ended(Outcome.COMPLETED, Status.CHECK_CONDITION, (2, 0x04, 0x0C)), CheckResult.DOWN),
    (ended(Outcome.COMPLETED, Status.CHECK_CONDITION, (5, 0x25, 0x00)), CheckResult.DISCONNECTED),
    (ended(Outcome.COMPLETED, Status.CHECK_CONDITION, (6, 0x29, 0x00)), CheckResult.RETRY),
    (ended(Outcome.COMPLETED, Status.CHECK_CONDITION, (0, 0, 0)), CheckResult.UP),
    (ended(Outcome.COMPLETED, Status.CHECK_CONDITION), CheckResult.DOWN),
    (ended(Outcome.COMPLETED, Status.CHECK_CONDITION, (3, 0x11, 0x00)), CheckResult.DOWN),
    (ended(Outcome.ABORTED), CheckResult.DOWN),
    (ended(Outcome.IN_DOUBT), CheckResult.PENDING),
    (ended(Outcome.NOT_SENT), CheckResult.PENDING),
])
def test_judge(task: Task, expected: CheckResult) -> None:
    assert judge(task) is expected


def test_what_checkers_send() -> None:
    assert check_command("tur", 512) == (bytes(6), 0)
    for name in ("directio", "readsector0"):
        command, length = check_command(name, 4096)
        assert (command[0], length) == (0x28, 4096)


def test_polling_doubles_while_good() -> None:
    polling = Polling(Settings(polling_interval=5, max_polling_interval=20))
    interval, seen = 0, []
    for _ in range(5):
        interval = polling.after(interval, CheckResult.UP, changed=False)
        seen.append(interval // S)
    assert seen == [5, 10, 20, 20, 20]
    assert polling.after(20 * S, CheckResult.UP, changed=True) == 5 * S
    assert polling.after(20 * S, CheckResult.DOWN, changed=False) == 5 * S
    assert polling.after(10 * S, CheckResult.GHOST, changed=False) == 20 * S


# --- failback


def group(*paths: Path) -> PathGroup:
    return PathGroup("g", marginal=False, paths=list(paths), usable=list(paths), priority=50)


def path(number: int) -> Path:
    return Path(number, f"p{number}", number, depth=8, damping=Damping(FAST), now=0)


def test_failback_policies() -> None:
    one, two = path(1), path(2)
    manual, immediate = Failback(Settings(failback="manual")), Failback(Settings(failback="immediate"))
    follow = Failback(Settings(failback="followover"))
    assert not manual.better_group(group(one), one, 0)
    assert immediate.better_group(group(one), None, 0)
    assert follow.better_group(group(one), one, 0)
    assert not follow.better_group(group(one, two), two, 0)
    assert not follow.better_group(group(one), None, 0)
    assert Failback(Settings(failback=0.0)).better_group(group(one), None, 0)


def test_deferred_failback_starts_again_with_each_path_and_can_be_called_off() -> None:
    one, two = path(1), path(2)
    failback = Failback(Settings(failback=10))
    assert not failback.better_group(group(one), one, 0)
    assert failback.deadline == 10 * S
    assert not failback.better_group(group(one, two), two, 4 * S)
    assert failback.deadline == 14 * S
    assert not failback.better_group(group(one, two), None, 13 * S)
    assert failback.better_group(group(one, two), None, 14 * S)
    assert [failback.deadline] == [None]
    failback.better_group(group(one), one, 20 * S)
    assert [failback.deadline] == [30 * S]
    failback.cancel()
    assert [failback.deadline] == [None]


# --- no_path_retry


@pytest.mark.parametrize(("retry", "patience_ns"), [("fail", 0), ("queue", None), (3, 15 * S)])
def test_no_path_retry(retry: str | int, patience_ns: int | None) -> None:
    clock = NoPathRetry(Settings().replace(no_path_retry=retry, polling_interval=5))
    assert clock.patience_ns == patience_ns
    assert clock.begin(100)
    assert not clock.begin(200)
    if patience_ns is None:
        assert not clock.expire(10**18)
        assert clock.state is NoPath.QUEUEING
    else:
        assert clock.deadline == 100 + patience_ns
        assert not clock.expire(100 + patience_ns - 1)
        assert clock.expire(100 + patience_ns)
        assert not clock.expire(100 + patience_ns)
        assert clock.state is NoPath.EXPIRED
    clock.end()
    assert (clock.state, clock.deadline) == (NoPath.OFF, None)


# --- damping


def test_damping_is_off_unless_complete() -> None:
    for settings in (FAST, FAST.replace(san_path_err_threshold=1), FAST.replace(marginal_path_double_failed_time=60)):
        damping = Damping(settings)
        for now in range(100):
            damping.failed(now)
            assert damping.returned(now) is None


def test_san_path_err_holds_above_the_threshold_and_forgets() -> None:
    settings = FAST.replace(san_path_err_threshold=2, san_path_err_forget_rate=3, san_path_err_recovery_time=60)
    damping = Damping(settings)
    for now in (0, 1):
        damping.failed(now)
        assert damping.returned(now) is None
    for _ in range(3):  # one of the two is forgotten
        damping.checked_good()
    damping.failed(2)
    assert damping.returned(2) is None
    damping.failed(3)
    assert damping.returned(3) is not None
    assert (damping.held, damping.deadline) == (True, 3 + 60 * S)
    damping.failed(S)  # again while held: the time begins anew
    assert damping.returned(2 * S) is not None
    assert damping.due(61 * S) is Due.NOTHING
    assert damping.due(62 * S) is Due.RELEASE
    assert not damping.held
    damping.failed(63 * S)
    assert damping.returned(63 * S) is None


def marginal() -> Damping:
    return Damping(FAST.replace(
        marginal_path_double_failed_time=60, marginal_path_err_sample_time=120, marginal_path_err_rate_threshold=10,
        marginal_path_err_recheck_gap_time=300))


def sample_all(damping: Damping, now: int, bad_every: int) -> tuple[int, int]:
    """Play the sampling until it ends; returns the time and the number of samples."""
    samples = 0
    while damping.deadline is not None:
        now = damping.deadline
        due = damping.due(now)
        if due is not Due.SAMPLE:
            return now, samples
        samples += 1
        damping.sampled(good=bad_every == 0 or samples % bad_every != 0)
    raise AssertionError("never ends")


def test_marginal_path_two_failures_apart_are_fine() -> None:
    damping = marginal()
    damping.failed(0)
    assert damping.returned(1) is None
    damping.failed(61 * S)
    assert damping.returned(61 * S) is None


def test_marginal_path_samples_ten_times_a_second_then_releases_a_good_path() -> None:
    damping = marginal()
    damping.failed(0)
    damping.failed(59 * S)
    assert damping.returned(60 * S) is not None
    end, samples = sample_all(damping, 60 * S, bad_every=0)
    assert (end, samples) == (180 * S, 120 * S // SAMPLE_INTERVAL_NS)
    assert not damping.held


def test_marginal_path_above_the_rate_waits_the_gap_and_is_sampled_again() -> None:
    damping = marginal()
    damping.failed(0)
    damping.failed(S)
    damping.returned(2 * S)
    end, _ = sample_all(damping, 2 * S, bad_every=50)  # 20 permille
    assert damping.held
    assert damping.deadline == end + 300 * S
    end, samples = sample_all(damping, end, bad_every=200)  # 5 permille
    assert samples > 1000
    assert not damping.held


def test_marginal_path_without_a_single_answer_is_held() -> None:
    damping = marginal()
    damping.failed(0)
    damping.failed(S)
    damping.returned(2 * S)
    while damping.due(damping.deadline or 0) is Due.SAMPLE:
        pass
    assert damping.held


def test_early_release_forgets() -> None:
    damping = marginal()
    damping.failed(0)
    damping.failed(MS)
    damping.returned(2 * MS)
    damping.release()
    assert (damping.held, damping.deadline, damping.until_ns) == (False, None, None)
    damping.failed(70 * S)
    assert damping.returned(71 * S) is None


# --- fences


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, ("reinstate",)),
    ({"reservation_key": 0}, ("reinstate", "preempt")),
    ({"exclusive": True}, ("reinstate", "preempt", "lun_reset")),
    ({"reservation_key": 7, "exclusive": True}, ("reinstate", "preempt", "lun_reset")),
    ({"fence": "none", "exclusive": True}, ()),
    ({"fence": "reinstate", "exclusive": True}, ("reinstate",)),
    ({"fence": "preempt", "reservation_key": 7}, ("preempt",)),
    ({"fence": "lun_reset", "exclusive": True}, ("lun_reset",)),
])
def test_fence_methods(changes: dict[str, object], expected: tuple[str, ...]) -> None:
    assert fence_methods(FAST.replace(**changes)) == expected


@pytest.mark.parametrize("changes", [{"fence": "preempt"}, {"fence": "lun_reset"}])
def test_a_fence_that_can_not_work_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="fence"):
        fence_methods(FAST.replace(**changes))
