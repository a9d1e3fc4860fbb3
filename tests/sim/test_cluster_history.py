"""OCFS2 over multipath as it was measured on real nodes: which thresholds carry which settings, and which do not."""

import pytest
from tests.sim.cluster_history import LONG_S, plan_of, silent_path, watch

from mpio.model.settings import LINUX, SLES10
from mpio.planner.stall import stall_bound
from mpio.sim.cluster.plan import Fault
from mpio.units import NS_PER_S, seconds

PHASES = (40.05, 40.8, 41.9)  # within the heartbeat's 2 s
SEED5 = SLES10.replace(fast_io_fail_tmo=5.0)
CASES = [
    (7, LINUX, True), (7, SLES10, True), (31, LINUX, False), (31, SLES10, True), (61, SLES10, True),
    (84, SLES10, False), (61, SEED5, False),
]


@pytest.mark.parametrize("at_s", PHASES)
@pytest.mark.parametrize(("threshold", "settings", "fenced"), CASES)
def test_what_a_threshold_carries(threshold: int, settings, fenced: bool, at_s: float) -> None:  # type: ignore[no-untyped-def]
    outcome = watch(plan_of(threshold, settings, silent_path(at_s)))
    limit_s = 2 * (threshold - 1)
    assert outcome.others == 0
    if not fenced:
        assert outcome.fenced is None
        assert outcome.dead is None
        return
    assert outcome.cause == "storage"
    assert outcome.fenced is not None
    assert limit_s - 2.1 <= outcome.fenced <= limit_s + 0.1
    assert outcome.dead is not None
    assert outcome.fenced < outcome.dead <= outcome.fenced + 4.1


def test_the_stall_is_what_the_planner_says() -> None:
    """84 rides through because the stall of 10/15/120 is below 2 (T - 1) - 2 s; 61 is far from that."""
    outcome = watch(plan_of(84, SLES10, silent_path(41.9)))
    bound = stall_bound(SLES10)
    assert bound.best_ns is not None
    assert bound.worst_ns is not None
    gap_s = outcome.longest_gap(outcome.beats, LONG_S)
    assert bound.best_ns / NS_PER_S <= gap_s <= bound.worst_ns / NS_PER_S + 2.1
    assert 2 * (61 - 1) < gap_s < 2 * (84 - 1)


def test_a_writer_is_stuck_on_the_dead_path_while_the_heartbeat_goes_round_it() -> None:
    """One group and service-time: the path with a request that is out is not chosen for the next one."""
    settings = SEED5.replace(path_grouping_policy="multibus", path_selector="service-time")
    found = [watch(plan_of(7, settings, silent_path(40.2 + 0.1 * step, 60), think_ms=300)) for step in range(6)]
    stuck = [outcome for outcome in found if outcome.longest_gap(outcome.writes, 50) > 25]
    assert any(outcome.fenced is None and outcome.longest_gap(outcome.beats, 50) < 4 for outcome in stuck)


def test_load_on_the_storage_fences_where_the_threshold_is_low() -> None:
    """Each I/O of a heartbeat takes some seconds under load, and there are two in a row; no negotiation before 4.7."""
    load = Fault("disk_slow", seconds(40), seconds(150), amount=seconds(9))
    settings = LINUX.replace(timeout=60.0)
    fenced = watch(plan_of(7, settings, load, negotiate=False))
    assert fenced.fenced is not None or fenced.others
    calm = watch(plan_of(31, settings, load, negotiate=False))
    assert calm.fenced is None
    assert calm.others == 0


def test_who_shares_the_storage_network_for_the_interconnect_is_fenced_though_its_disk_rides_through() -> None:
    apart = watch(plan_of(31, LINUX, silent_path(40.05, 180)))
    shared = watch(plan_of(31, LINUX, silent_path(40.05, 180), shared=True))
    assert apart.fenced is None
    assert shared.cause == "quorum"
    assert shared.longest_gap(shared.beats, 60) < 30
