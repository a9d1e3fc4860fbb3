"""Worst cases of Linux' stack, row by row, for four sets of settings; and laws that hold for any settings."""

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.model.stack import LinuxStack, TargetTimers
from mpio.planner.budget import Budget
from mpio.planner.linux import Comeback, Hang, Loss, Scenario, nominal_ns, predict
from mpio.planner.linux_terms import LATENESS, REISSUE_NS, reissue
from mpio.units import seconds, to_seconds

S = Scenario
INSTANT = TargetTimers(login_exchange=0)
SLOW_LOGIN = TargetTimers(login_exchange=0.5)

RAW = LinuxStack(fast_io_fail_tmo=None)
"""Upstream's settings, with multipathd's hands off recovery_tmo: 5, 5, 120."""
STOCK = LinuxStack()
"""Upstream's settings as they really run: 5, 5, 5."""
VENDOR = LinuxStack(no_path_retry=12, failback="immediate")
AGGRESSIVE = LinuxStack(
    noop_out_interval=1, noop_out_timeout=1, fast_io_fail_tmo=1, polling_interval=1, checker_timeout=5,
    login_timeout=5, no_path_retry=5, failback="immediate",
)
SETS = {"raw": RAW, "stock": STOCK, "vendor": VENDOR, "aggressive": AGGRESSIVE}


def late_s(budget: Budget) -> float:
    """The worst case without the allowance for the re-issue."""
    assert budget.worst_ns is not None
    return to_seconds(budget.worst_ns - sum(t.value_ns for t in budget.terms if t.name == reissue().name))


def row(scenario: Scenario, stack: LinuxStack, hz: int = 250, target: TargetTimers = INSTANT, **case: Any) -> Budget:
    return predict(stack.replace(hz=hz), target, scenario, **case)


# scenario, circumstances, and for raw, stock, vendor, aggressive: best, nominal worst, worst at 250 and at 1000 Hz
Row = tuple[Scenario, dict[str, Any], tuple[tuple[float, ...], ...]]
LOSS = ((130, 130, 132.6, 135.1), (15, 15, 15.8, 16.5), (15, 15, 15.8, 16.5), (3, 3, 3.1, 3.2))
IDLE = ((125, 130, 132.6, 135.1), (10, 15, 15.8, 16.5), (10, 15, 15.8, 16.5), (2, 3, 3.1, 3.2))
DETECTED = ((5, 10, 10.5, 11.0),) * 3 + ((1, 2, 2.1, 2.1),)
CLOSED = ((120, 120, 122.0, 124.1), (5, 5, 5.3, 5.5), (5, 5, 5.3, 5.5), (1, 1, 1.03, 1.06))
ROWS: dict[str, Row] = {
    "1 silent loss": (S.SILENT_LOSS, {}, LOSS),
    "2 idle: session FAILED": (S.IDLE_DETECTED, {}, DETECTED),
    "2b idle: first I/O at once": (S.IDLE_LOSS, {}, IDLE),
    "3b reset, port closed": (S.RESET_CLOSED, {}, CLOSED),
    "4 link down": (S.LINK_DOWN, {}, LOSS),
    "5 LUN hang, first abort": (S.LUN_HANG, {"hang": Hang.FIRST_ABORT}, ((60, 90, 96.1, 91.5),) * 4),
    "5b LUN hang, error": (S.LUN_HANG, {"hang": Hang.ERROR}, ((360, 540, 576.9, 549.2),) * 4),
    "5d LUN hang, TMF dead": (S.LUN_HANG, {"hang": Hang.TMF_DEAD}, (
        (195, 225, 233.4, 231.1), (80, 110, 116.7, 112.6), (80, 110, 116.7, 112.6), (76, 106, 112.4, 108.1))),
    "5f pings off": (S.PINGS_OFF, {}, (
        (165, 195, 201.4, 200.6), (50, 80, 84.6, 82.0), (50, 80, 84.6, 82.0), (46, 76, 80.4, 77.6))),
}


@pytest.mark.parametrize("name", ROWS)
def test_worst_cases(name: str) -> None:
    scenario, case, expected = ROWS[name]
    for stack, (best_s, nominal_s, at_250_s, at_1000_s) in zip(SETS.values(), expected, strict=True):
        slow, fast = row(scenario, stack, 250, **case), row(scenario, stack, 1000, **case)
        assert (to_seconds(slow.best_ns), to_seconds(nominal_ns(slow))) == (best_s, nominal_s)
        assert late_s(slow) == pytest.approx(at_250_s, abs=0.05)
        assert late_s(fast) == pytest.approx(at_1000_s, abs=0.05)


def test_one_share_of_the_requests_stalls_as_long_as_all() -> None:
    """Row 1b: groups and selectors decide who stalls, not for how long."""
    for stack in SETS.values():
        shared = stack.replace(path_grouping_policy="multibus", path_selector="round-robin 0")
        assert predict(shared, INSTANT, S.SILENT_LOSS) == predict(stack, INSTANT, S.SILENT_LOSS)


@pytest.mark.parametrize(("name", "worst_s"), [("raw", 131), ("stock", 21), ("vendor", 21), ("aggressive", 5)])
def test_idle_path_is_failed_in_dm(name: str, worst_s: float) -> None:
    """Row 2c: max(R + P + F, pmax) + 1; the lateness only counts where the session decides."""
    budget = row(S.IDLE_NOTICED, SETS[name])
    assert budget.worst_ns is not None
    late_ns = sum(t.value_ns for t in budget.terms if t.name.startswith(LATENESS)) if name == "raw" else 0
    assert to_seconds(budget.worst_ns - late_ns) == worst_s


def test_a_short_checker_timeout_fails_an_idle_path_before_its_session_is_lost() -> None:
    patient = LinuxStack(noop_out_interval=10, noop_out_timeout=15, fast_io_fail_tmo=None)
    assert to_seconds(row(S.IDLE_NOTICED, patient.replace(checker_timeout=5)).best_ns) == 5
    assert to_seconds(row(S.IDLE_NOTICED, patient).best_ns) == 15 + 120
    always = patient.replace(checker_timeout=2, max_polling_interval=5)
    assert to_seconds(row(S.IDLE_NOTICED, always).worst_ns or 0) == 5 + 2 + 2


def test_reset_with_the_service_back() -> None:
    """Row 3: 2 to 3.5 s, the same path; F = 1 is less than that, so the aggressive set fails over.

    The best case is a second less than the row's, because iscsid counts whole seconds and may begin in the middle
    of one (1.96 s measured), and the worst case a second more.
    """
    for stack in (RAW, STOCK, VENDOR):
        budget = row(S.RESET_BACK, stack, target=SLOW_LOGIN)
        assert (budget.best_ns, nominal_ns(budget)) == (seconds(1), seconds(3.5))
        assert late_s(budget) == 4.5
    budget = row(S.RESET_BACK, AGGRESSIVE, target=SLOW_LOGIN)
    assert (budget.best_ns, nominal_ns(budget)) == (seconds(1), seconds(1))
    assert late_s(budget) == pytest.approx(1.03, abs=0.01)
    assert any(term.source == "fast_io_fail_tmo" for term in budget.terms)


def test_no_retries_save_a_hung_lun_minutes() -> None:
    """Row 5c, and its opposite: retries without end."""
    for stack in SETS.values():
        once = row(S.LUN_HANG, stack.replace(max_retries=0), hang=Hang.ERROR)
        assert (to_seconds(once.best_ns), to_seconds(nominal_ns(once))) == (60, 90)
        assert row(S.LUN_HANG, stack.replace(max_retries=-1), hang=Hang.ERROR).worst_ns is None


def test_the_checker_spares_later_requests() -> None:
    """Row 5e: pmax + C + 2."""
    assert [to_seconds(row(S.LUN_HANG, stack, hang=Hang.CHECKER).worst_ns or 0) for stack in SETS.values()] == [
        52, 52, 52, 11]


@pytest.mark.parametrize(("comeback", "kernel", "tools", "worst_s"), [
    (Comeback.SILENT, (6, 12), (0, 9, 4), (11, 4)),
    (Comeback.SILENT, (6, 1), (0, 9, 4), (15, 5)),
    (Comeback.SILENT, (6, 12), (0, 11, 1), (26, 7)),
    (Comeback.SILENT, (6, 1), (0, 11, 0), (30, 8)),
    (Comeback.SILENT, (6, 1), (0, 10, 3), (30, 8)),
    (Comeback.SILENT, (6, 1), (0, 10, 4), (15, 5)),
    (Comeback.SILENT, (6, 1), (0, 11, 2), (15, 5)),
    (Comeback.REFUSED, (6, 1), (0, 9, 4), (10, 6)),
    (Comeback.UNREACHABLE, (6, 1), (0, 9, 4), (13, 9)),
])
def test_a_path_returns(
    comeback: Comeback, kernel: tuple[int, ...], tools: tuple[int, ...], worst_s: tuple[float, float],
) -> None:
    """Rows 6 to 6c: pause + 1 + login + p + 1; a checker's old answer, which was measured later, adds p + 1."""
    for stack, expected in zip((STOCK, AGGRESSIVE), worst_s, strict=True):
        budget = row(S.PATH_RETURN, stack.replace(kernel=kernel, multipath_tools=tools), comeback=comeback)
        old_answer = next(term for term in budget.terms if "old answer" in term.name)
        assert to_seconds(nominal_ns(budget) - old_answer.value_ns) == expected
        assert to_seconds(old_answer.value_ns) == stack.polling_interval + 1


@pytest.mark.parametrize(("failback", "best_s", "worst_s"), [
    ("immediate", 0, 0), ("followover", 0, 0), (10, 10, 11), ("manual", 0, None),
])
def test_failback(failback: Any, best_s: float, worst_s: float | None) -> None:
    """Row 6d."""
    budget = row(S.FAILBACK, STOCK.replace(failback=failback))
    assert (budget.best_ns, budget.worst_ns) == (seconds(best_s), None if worst_s is None else seconds(worst_s))


def test_all_paths_down() -> None:
    """Rows 7 to 7c: row 1 of the last path, then N·p to N·p + 1 and the drift of a loop that counts its turns."""
    for stack, fails_s in ((RAW, 130), (STOCK, 15)):
        budget = row(S.ALL_DOWN, stack)
        assert (to_seconds(nominal_ns(budget)), budget.fails_after_ns) == (fails_s, seconds(fails_s))
    vendor, aggressive = row(S.ALL_DOWN, VENDOR, 1000), row(S.ALL_DOWN, AGGRESSIVE, 1000)
    assert (vendor.best_ns, aggressive.best_ns) == (seconds(75), seconds(8))
    assert late_s(vendor) == pytest.approx(78.1, abs=0.1)
    assert late_s(aggressive) == pytest.approx(9.3, abs=0.1)
    queue = row(S.ALL_DOWN, STOCK.replace(no_path_retry="queue"))
    assert (queue.worst_ns, queue.fails_after_ns) == (None, None)


def test_logout_request() -> None:
    """Row 8: logout_timeout, then as row 3."""
    for stack in (RAW, STOCK, VENDOR):
        assert to_seconds(nominal_ns(row(S.LOGOUT_REQUEST, stack, target=SLOW_LOGIN))) == 15 + 3.5
    assert to_seconds(nominal_ns(row(S.LOGOUT_REQUEST, AGGRESSIVE))) == 16


def test_iscsid_restart() -> None:
    """Row 9: as row 3, on all paths at once, which is fatal if F is shorter."""
    for stack in (RAW, STOCK, VENDOR):
        budget = row(S.ISCSID_RESTART, stack, target=SLOW_LOGIN)
        assert (to_seconds(nominal_ns(budget)), budget.fails_after_ns) == (3.5, None)
    assert row(S.ISCSID_RESTART, AGGRESSIVE.replace(no_path_retry="fail")).fails_after_ns == seconds(1)
    assert row(S.ISCSID_RESTART, AGGRESSIVE).fails_after_ns == seconds(1 + 5)
    assert row(S.ISCSID_RESTART, AGGRESSIVE.replace(no_path_retry="queue")).fails_after_ns is None


@pytest.mark.parametrize(("stack", "shift_s"), [
    (RAW, 10), (AGGRESSIVE, 2), (LinuxStack(noop_out_interval=10, noop_out_timeout=15), 15),
    (LinuxStack(noop_out_interval=0, noop_out_timeout=0), 0),
])
def test_one_way_loss_adds_the_targets_ping(stack: LinuxStack, shift_s: float) -> None:
    """min(R + P, the target's interval), and nothing if the target never pings."""
    both, one = row(S.SILENT_LOSS, stack), row(S.ONE_WAY_LOSS, stack)
    assert to_seconds(nominal_ns(one) - nominal_ns(both)) == shift_s
    assert one.best_ns <= both.best_ns
    mute = predict(stack, TargetTimers(nopin_interval=0), S.ONE_WAY_LOSS)
    assert (mute.best_ns, mute.worst_ns) == (both.best_ns, both.worst_ns)


def test_a_target_that_gives_up_first_ends_a_one_way_loss_early() -> None:
    patient = STOCK.replace(noop_out_interval=30, noop_out_timeout=30)
    assert row(S.ONE_WAY_LOSS, patient).best_ns == seconds(30 + 5)


def test_one_setting_of_0_does_not_turn_pings_off() -> None:
    for half in (STOCK.replace(noop_out_interval=0), STOCK.replace(noop_out_timeout=0)):
        assert row(S.SILENT_LOSS, half) == row(S.SILENT_LOSS, STOCK)
    off = STOCK.replace(noop_out_interval=0, noop_out_timeout=0)
    assert row(S.SILENT_LOSS, off).terms == row(S.PINGS_OFF, STOCK).terms


def test_several_paths_one_after_another() -> None:
    one, three = row(S.SERIAL, STOCK, paths=2), row(S.SERIAL, STOCK, paths=4)
    assert one.worst_ns == row(S.SILENT_LOSS, STOCK).worst_ns
    assert one.worst_ns is not None
    assert (three.best_ns, three.worst_ns) == (one.best_ns, 3 * one.worst_ns)
    reset = row(S.SERIAL, STOCK, paths=3, loss=Loss.RESET)
    assert to_seconds(nominal_ns(reset)) == 2 * 5


def test_an_outage_of_all_paths_that_ends() -> None:
    """A queue of 60 s rides out 20 s; one of 5 checks a second apart does not."""
    patient = row(S.ALL_DOWN, VENDOR, outage_s=20)
    assert patient.fails_after_ns is None
    assert patient.best_ns == seconds(20)
    impatient = row(S.ALL_DOWN, AGGRESSIVE, outage_s=20)
    assert impatient.fails_after_ns == seconds(3 + 5)
    assert row(S.ALL_DOWN, STOCK, outage_s=4).fails_after_ns is None  # nobody notices
    assert row(S.ALL_DOWN, STOCK.replace(fast_io_fail_tmo=None), outage_s=20).fails_after_ns is None  # F is 120


@pytest.mark.parametrize("outage_s", [0.0, 1.5])
def test_an_outage_shorter_than_the_first_pause_needs_no_second_connect(outage_s: float) -> None:
    budget = row(S.ALL_DOWN, STOCK, outage_s=outage_s, loss=Loss.RESET)
    assert to_seconds(nominal_ns(budget)) == (2 + 1 if outage_s == 0 else 1.5 + 3 + 1 + 5 + 1 + 5 + 1)
    assert to_seconds(budget.best_ns) == max(1, outage_s)


def test_a_path_that_is_away_for_good_bounds_a_short_outage() -> None:
    assert row(S.SHORT_OUTAGE, STOCK, outage_s=500).worst_ns == row(S.SILENT_LOSS, STOCK).worst_ns
    assert row(S.SHORT_OUTAGE, RAW, outage_s=4).worst_ns == seconds(7.75) + REISSUE_NS


def test_without_multipath_a_lost_path_is_an_error() -> None:
    single = LinuxStack(multipath=False, replacement_timeout=120)
    budget = row(S.SILENT_LOSS, single)
    assert (to_seconds(nominal_ns(budget)), budget.fails_after_ns) == (130, seconds(130))


def test_recovery_for_ever() -> None:
    patient = LinuxStack(multipath=False, replacement_timeout=-1)
    for scenario in (S.SILENT_LOSS, S.ONE_WAY_LOSS, S.RESET_CLOSED, S.SERIAL, S.ALL_DOWN, S.PINGS_OFF, S.IDLE_LOSS):
        budget = row(scenario, patient)
        assert (budget.worst_ns, budget.fails_after_ns) == (None, None)
    assert row(S.RESET_BACK, patient).worst_ns is not None


def test_old_kernels_wait_for_iscsid() -> None:
    old, new = row(S.RESET_CLOSED, STOCK.replace(kernel=(5, 4))), row(S.RESET_CLOSED, STOCK)
    assert nominal_ns(old) - nominal_ns(new) == seconds(1)


def test_bad_circumstances_are_refused() -> None:
    wrong: list[tuple[Scenario, dict[str, Any]]] = [
        (S.SHORT_OUTAGE, {}), (S.SERIAL, {"paths": 1}), (S.ALL_DOWN, {"outage_s": -1}),
        (S.IDLE_LOSS, {"issued_after_s": -1}),
    ]
    for scenario, case in wrong:
        with pytest.raises(ValueError, match=r"paths|outage_s"):
            row(scenario, STOCK, **case)


SMALL = st.integers(0, 60)
STACKS = st.builds(
    LinuxStack, noop_out_interval=SMALL, noop_out_timeout=SMALL, replacement_timeout=st.integers(-1, 300),
    login_timeout=st.integers(1, 60), logout_timeout=SMALL, abort_timeout=SMALL, default_time2wait=st.integers(0, 20),
    multipath=st.booleans(), fast_io_fail_tmo=st.none() | SMALL, dev_loss_tmo=st.none() | SMALL,
    polling_interval=st.integers(1, 30), checker_timeout=st.none() | st.integers(1, 60),
    no_path_retry=st.sampled_from(["fail", "queue"]) | st.integers(1, 100),
    failback=st.sampled_from(["immediate", "manual", "followover"]) | st.integers(1, 60),
    timeout=st.integers(1, 120), max_retries=st.integers(-1, 5), hz=st.sampled_from([100, 250, 300, 1000]),
    kernel=st.sampled_from([(3, 10), (4, 18), (5, 4), (5, 14), (6, 1), (6, 12)]),
    multipath_tools=st.sampled_from([(0, 4, 9), (0, 8, 4), (0, 9, 4), (0, 10, 0), (0, 11, 1), (0, 14, 3)]),
)
TARGETS = st.builds(TargetTimers, st.integers(0, 60), st.integers(3, 60), st.floats(0, 3))
CASES = st.fixed_dictionaries({
    "paths": st.integers(2, 8), "outage_s": st.floats(0, 300), "issued_after_s": st.floats(0, 300),
    "loss": st.sampled_from(Loss), "hang": st.sampled_from(Hang), "comeback": st.none() | st.sampled_from(Comeback),
})


@given(STACKS, TARGETS, st.sampled_from(Scenario), CASES)
def test_budgets_add_up(stack: LinuxStack, target: TargetTimers, scenario: Scenario, case: dict[str, Any]) -> None:
    budget = predict(stack, target, scenario, **case)
    assert budget.failure == scenario
    assert budget.best_ns == sum(term.best_ns for term in budget.terms)
    assert budget.worst_ns in (None, sum(term.value_ns for term in budget.terms))
    for term in budget.terms:
        assert 0 <= term.best_ns <= term.value_ns
        assert term.source
    if budget.fails_after_ns is not None:
        assert budget.worst_ns is not None
        assert budget.fails_after_ns <= budget.worst_ns


@given(STACKS, TARGETS, st.sampled_from(Scenario), CASES)
def test_sources_name_a_setting_or_a_file(
    stack: LinuxStack, target: TargetTimers, scenario: Scenario, case: dict[str, Any],
) -> None:
    names = {item.name for kind in (LinuxStack, TargetTimers) for item in dataclasses.fields(kind)}
    for term in predict(stack, target, scenario, **case).terms:
        words = re.findall(r"[\w./]+", term.source)
        assert term.name == "outage" or any(word in names or word.endswith(".c") or "planner." in word
                                            for word in words), term


@given(STACKS, TARGETS, st.sampled_from([S.SILENT_LOSS, S.ONE_WAY_LOSS, S.IDLE_LOSS, S.RESET_CLOSED, S.SERIAL]),
       st.sampled_from(["noop_out_interval", "noop_out_timeout", "fast_io_fail_tmo", "replacement_timeout"]))
def test_longer_timers_never_shorten_a_stall(
    stack: LinuxStack, target: TargetTimers, scenario: Scenario, name: str,
) -> None:
    """With the override in force and pings on; 0 and `off` have meanings of their own."""
    stack = stack.replace(multipath=True, multipath_tools=(0, 9, 4), dev_loss_tmo=None, kernel=(6, 1),
                          fast_io_fail_tmo=stack.fast_io_fail_tmo or 1, replacement_timeout=30,
                          noop_out_interval=stack.noop_out_interval or 1, noop_out_timeout=stack.noop_out_timeout or 1)
    shorter = predict(stack, target, scenario).worst_ns
    longer = predict(stack.replace(**{name: getattr(stack, name) + 1}), target, scenario).worst_ns
    assert shorter is not None
    assert longer is not None
    assert longer >= shorter


@given(STACKS, TARGETS, CASES)
def test_an_outage_is_never_shorter_than_itself(
    stack: LinuxStack, target: TargetTimers, case: dict[str, Any],
) -> None:
    budget = predict(stack, target, S.ALL_DOWN, **case)
    assert budget.best_ns >= seconds(case["outage_s"])


@given(STACKS, TARGETS, CASES)
def test_another_path_never_makes_a_short_outage_longer(
    stack: LinuxStack, target: TargetTimers, case: dict[str, Any],
) -> None:
    short, every = predict(stack, target, S.SHORT_OUTAGE, **case), predict(stack, target, S.ALL_DOWN, **case)
    assert short.worst_ns is not None
    assert every.worst_ns is not None
    assert short.worst_ns <= every.worst_ns
