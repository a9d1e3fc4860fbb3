"""What the real kernel did lies inside what is predicted for it.

Measured on Debian 12, kernel 6.1 (250 Hz), open-iscsi 2.1.8, multipath-tools 0.9.4, LIO with two portals, in machines
of one emulated CPU each. A stall is the latency of the write that met the fault. Writes began 50 ms apart, so a write
can have been issued that much after its fault: PROBE_S.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest

from mpio.model.stack import LinuxStack, TargetTimers
from mpio.planner.budget import Budget
from mpio.planner.linux import Comeback, Loss, Scenario, predict
from mpio.planner.linux_terms import best_ns, checked, worst_ns
from mpio.units import to_seconds

S = Scenario
LIO = TargetTimers(nopin_interval=15, nopin_response=30)
PROBE_S = 0.05

DEBIAN = LinuxStack(no_path_retry=12, failback="immediate", path_grouping_policy="group_by_prio")
"""Untouched files: multipathd makes recovery_tmo 5; its built-in entry for LIO has no_path_retry 12."""
SHORT = DEBIAN.replace(replacement_timeout=5)
FAILOVER, MULTIBUS = (SHORT.replace(path_grouping_policy=policy) for policy in ("failover", "multibus"))
FAST = DEBIAN.replace(
    noop_out_interval=1, noop_out_timeout=1, replacement_timeout=1, fast_io_fail_tmo=1, polling_interval=1,
    max_polling_interval=2)
LONG = DEBIAN.replace(noop_out_interval=10, noop_out_timeout=15, fast_io_fail_tmo=None)
LONG_5 = LONG.replace(fast_io_fail_tmo=5)
MIX_1 = DEBIAN.replace(noop_out_interval=2, noop_out_timeout=8, fast_io_fail_tmo=20)
MIX_2 = DEBIAN.replace(noop_out_interval=8, noop_out_timeout=2, replacement_timeout=10, fast_io_fail_tmo=None)
PINGS_OFF = SHORT.replace(noop_out_interval=0, noop_out_timeout=0)
FAIL = SHORT.replace(no_path_retry="fail")


@dataclass(frozen=True)
class Measured:
    """Stalls in seconds: each one, or the least, the median and the greatest of more."""

    stack: LinuxStack
    stalls_s: tuple[float, ...]
    scenario: Scenario
    case: dict[str, Any] = field(default_factory=dict)


def idle(issued_after_s: float) -> dict[str, Any]:
    return {"issued_after_s": issued_after_s, "loss": Loss.ONE_WAY}


def all_down(outage_s: float, loss: Loss) -> dict[str, Any]:
    """A blackhole route and a closed port give connect() an error at once."""
    return {"outage_s": outage_s, "loss": loss,
            "comeback": Comeback.SILENT if loss is Loss.SILENT else Comeback.REFUSED}


STALLS = {
    "blackhole route, stock": Measured(DEBIAN, (15.2, 15.4, 23.3), S.ONE_WAY_LOSS),
    "blackhole route, 5/5/5": Measured(SHORT, (15.5, 19.8, 25.4, 22.826), S.ONE_WAY_LOSS),
    "blackhole route, 5/5/5, failover": Measured(FAILOVER, (15.2,), S.ONE_WAY_LOSS),
    "blackhole route, 5/5/5, multibus": Measured(MULTIBUS, (15.3,), S.ONE_WAY_LOSS),
    "blackhole route, 1/1/1": Measured(FAST, (3.04, 3.26, 4.86), S.ONE_WAY_LOSS),
    "blackhole route, 10/15/120": Measured(LONG, (146.5, 150.4, 156.9), S.ONE_WAY_LOSS),
    "blackhole route, 10/15/5": Measured(LONG_5, (38.6, 42.5, 38.621), S.ONE_WAY_LOSS),
    "blackhole route, 8/2/10": Measured(MIX_2, (20.3,), S.ONE_WAY_LOSS),
    "blackhole route under OCFS2, 1/1/1": Measured(FAST, (3.1,), S.ONE_WAY_LOSS),
    "blackhole route under OCFS2, 10/15/5": Measured(LONG_5, (45.3, 43.6), S.ONE_WAY_LOSS),
    "blackhole route under OCFS2, 5/5/5": Measured(SHORT, (19.5,), S.ONE_WAY_LOSS),
    "silent drop, stock": Measured(DEBIAN, (15.3, 15.3), S.SILENT_LOSS),
    "silent drop, 5/5/5": Measured(SHORT, (15.1, 15.3, 15.8, 15.268, 15.359), S.SILENT_LOSS),
    "silent drop, 1/1/1": Measured(FAST, (3.03, 3.03, 3.10), S.SILENT_LOSS),
    "silent drop, 10/15/120": Measured(LONG, (145.6, 146.3), S.SILENT_LOSS),
    "silent drop, 2/8/20": Measured(MIX_1, (30.3,), S.SILENT_LOSS),
    "silent drop, 8/2/10": Measured(MIX_2, (20.4,), S.SILENT_LOSS),
    "silent drop, path failed early by its checker": Measured(LONG.replace(checker_timeout=5), (145.9,), S.SILENT_LOSS),
    "silent drop, pings off": Measured(PINGS_OFF, (52.2,), S.SILENT_LOSS),
    "link down, stock": Measured(DEBIAN, (15.3,), S.LINK_DOWN),
    "link down, 5/5/5": Measured(SHORT, (15.3, 15.3, 15.4), S.LINK_DOWN),
    "link down, 1/1/1": Measured(FAST, (3.06, 3.09), S.LINK_DOWN),
    "link down, 10/15/120": Measured(LONG, (146.6,), S.LINK_DOWN),
    "reset, closed, stock": Measured(DEBIAN, (5.13, 5.23, 5.227), S.RESET_CLOSED),
    "reset, closed, 5/5/5": Measured(SHORT, (5.16, 5.26, 5.36), S.RESET_CLOSED),
    "reset, closed, 1/1/1": Measured(FAST, (1.03, 1.05, 1.11), S.RESET_CLOSED),
    "reset, closed, 10/15/120": Measured(LONG, (121.3,), S.RESET_CLOSED),
    "reset, closed, 10/15/5": Measured(LONG_5, (5.20,), S.RESET_CLOSED),
    "reset, closed, 2/8/20": Measured(MIX_1, (20.4,), S.RESET_CLOSED),
    "reset, still open, 5/5/5": Measured(SHORT, (1.96, 1.97, 1.98), S.RESET_BACK),
    "reset, still open, 1/1/1": Measured(FAST, (0.98, 0.99), S.RESET_BACK),
    "idle for 2 s, stock": Measured(DEBIAN, (16.6,), S.IDLE_LOSS, idle(2)),
    "idle for 2 s, 5/5/5": Measured(SHORT, (10.3, 11.2, 13.3), S.IDLE_LOSS, idle(2)),
    "idle for 2 s, 1/1/1": Measured(FAST, (0.74, 0.92), S.IDLE_LOSS, idle(2)),
    "idle for 2 s, 10/15/120": Measured(LONG, (146.2,), S.IDLE_LOSS, idle(2)),
    "all blackholed for 20 s, stock": Measured(DEBIAN, (20.3,), S.ALL_DOWN, all_down(20, Loss.ONE_WAY)),
    "all blackholed for 20 s, 5/5/5": Measured(SHORT, (21.5, 22.3, 26.9), S.ALL_DOWN, all_down(20, Loss.ONE_WAY)),
    "all blackholed for 20 s, 10/15/120": Measured(LONG, (20.0,), S.ALL_DOWN, all_down(20, Loss.ONE_WAY)),
    "all reset for 20 s, 5/5/5": Measured(SHORT, (20.4,), S.ALL_DOWN, all_down(20, Loss.RESET)),
    "all dropped for 4 s, 5/5/5": Measured(SHORT, (6.60, 6.71), S.ALL_DOWN, all_down(4, Loss.SILENT)),
    "all dropped for 8 s, 5/5/5": Measured(SHORT, (12.2, 13.2, 13.3), S.ALL_DOWN, all_down(8, Loss.SILENT)),
    "all dropped for 8 s, 10/15/120": Measured(LONG, (13.9, 14.3), S.ALL_DOWN, all_down(8, Loss.SILENT)),
}


@pytest.mark.parametrize("name", STALLS)
def test_stalls(name: str) -> None:
    run = STALLS[name]
    assert_inside(predict(run.stack, LIO, run.scenario, **run.case), run.stalls_s)


@pytest.mark.parametrize("name", [name for name, run in STALLS.items() if run.scenario is S.ALL_DOWN])
def test_no_error_where_none_was_measured(name: str) -> None:
    run = STALLS[name]
    assert predict(run.stack, LIO, run.scenario, **run.case).fails_after_ns is None


@pytest.mark.parametrize(("stack", "outage_s", "errors_s"), [
    (FAST, 20, (16.1, 16.3, 16.6, 16.070)),  # 3 to 5 s to lose both, then 12 checks a second apart
    (SHORT, 100, (84.1,)),  # 23.7 s to lose both, then 60.4 s of queue
    (FAIL, 40, (22.0,)),  # at once with the second path
])
def test_errors_of_a_total_outage(stack: LinuxStack, outage_s: float, errors_s: tuple[float, ...]) -> None:
    """Both portals blackholed: the outage can outlast the queue, and the error comes when it should."""
    outage = predict(stack, LIO, S.ALL_DOWN, **all_down(outage_s, Loss.ONE_WAY))
    assert outage.fails_after_ns is not None
    assert to_seconds(outage.fails_after_ns) <= min(errors_s)
    assert_inside(predict(stack, LIO, S.ALL_DOWN, loss=Loss.ONE_WAY), errors_s)


def test_an_idle_path_failed_by_its_checker() -> None:
    """Blackhole route without I/O: failed in dm after 14.5 s, and the first write, 34 s after the cut, took 0.16 s."""
    assert_inside(predict(SHORT, LIO, S.IDLE_NOTICED), (14.5,))
    late = predict(SHORT, LIO, S.IDLE_LOSS, **idle(34))
    assert late.worst_ns is not None
    assert 0.16 - PROBE_S <= to_seconds(late.worst_ns) < 1


def test_a_checker_with_a_short_timeout() -> None:
    """It failed the path after 7.5 s, while the write in flight took 145.9."""
    assert_inside(predict(LONG.replace(checker_timeout=5), LIO, S.IDLE_NOTICED), (7.5,))


# seconds from the end of the cut to `operational after recovery` and to `reinstated`
RETURNS = {
    "blackhole route": (SHORT, Comeback.REFUSED, (0.9, 2.6, 4.5), (3.4, 8.3, 13.0)),
    "blackhole route, p 1": (FAST, Comeback.REFUSED, (1.4, 2.5, 3.7), (2.7, 4.1, 4.9)),
    "silent drop": (SHORT, Comeback.SILENT, (1.6, 3.5, 9.8), (4.6, 8.4, 13.1)),
    "silent drop, p 1": (FAST, Comeback.SILENT, (2.4, 4.7, 8.2), (3.5, 5.1, 10.0)),
    "link down": (SHORT, Comeback.UNREACHABLE, (1.9, 3.9), (6.3, 12.2)),
    "link down, p 1": (FAST, Comeback.UNREACHABLE, (1.7, 2.8), (4.0, 4.9)),
    "closed portal": (SHORT, Comeback.REFUSED, (0.9, 3.0), (1.7, 7.0, 8.8)),
    "closed portal, p 1": (FAST, Comeback.REFUSED, (1.7, 4.7), (3.0, 5.2)),
}


@pytest.mark.parametrize("name", RETURNS)
def test_returns(name: str) -> None:
    stack, comeback, sessions_s, paths_s = RETURNS[name]
    assert_inside(predict(stack, LIO, S.SESSION_RETURN, comeback=comeback), sessions_s)
    assert_inside(predict(stack, LIO, S.PATH_RETURN, comeback=comeback), paths_s)


def test_from_session_to_reinstated() -> None:
    """0.5 to 5.8 s; with a checker's old answer in between 5.8 to 10.3 s, its next check 6.0 to 6.4 s later."""
    steps = checked(SHORT)
    assert to_seconds(best_ns(steps)) <= 0.5
    assert 5.8 <= to_seconds(worst_ns(steps[:2])) < 10.3 <= to_seconds(worst_ns(steps))
    assert 6.0 <= to_seconds(worst_ns(steps[2:])) <= 6.4


@pytest.mark.parametrize(("stack", "queues_s"), [(FAST, (12.05, 12.10, 12.96)), (SHORT, (60.4,))])
def test_queues(stack: LinuxStack, queues_s: tuple[float, ...]) -> None:
    """From the failure of the last path to the first error: what a queue adds to an outage for good."""
    with_queue, without = (predict(each, LIO, S.ALL_DOWN) for each in (stack, stack.replace(no_path_retry="fail")))
    assert with_queue.worst_ns is not None
    assert without.worst_ns is not None
    assert to_seconds(with_queue.best_ns - without.best_ns) <= min(queues_s)
    assert max(queues_s) <= to_seconds(with_queue.worst_ns - without.worst_ns)


def test_one_way_bounds_are_close() -> None:
    """The longest stall measured comes within 5 % of each bound that had enough runs."""
    for name in ("blackhole route, 5/5/5", "blackhole route, 10/15/120", "blackhole route under OCFS2, 10/15/5"):
        run = STALLS[name]
        worst_ns = predict(run.stack, LIO, run.scenario).worst_ns
        assert worst_ns is not None
        assert max(run.stalls_s) > 0.95 * to_seconds(worst_ns)


def assert_inside(budget: Budget, measured_s: tuple[float, ...]) -> None:
    assert budget.worst_ns is not None
    assert to_seconds(budget.best_ns) - PROBE_S <= min(measured_s)
    assert max(measured_s) <= to_seconds(budget.worst_ns)
