"""What existing settings imply: the verdict by arithmetic of the tests' own, and a nearest change that mends it."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.planner import arithmetic as own

from mpio.model.cluster import Cluster, Corosync, Ncs, O2cb, Rac, Sanlock, Sbd
from mpio.model.stack import LinuxStack, TargetTimers
from mpio.planner.assess import assess
from mpio.planner.goals import Assessment, Goals, changed

NS = own.NS
TARGET = TargetTimers()
OLD = LinuxStack(noop_out_interval=10, noop_out_timeout=15, fast_io_fail_tmo=None, no_path_retry=12)
"""Settings of 2007, with multipathd's override switched off: 10, 15, 120."""


def judged(stack: LinuxStack, *clusters: Cluster, **wanted: Any) -> Assessment:
    return assess(stack, clusters, TARGET, Goals(**wanted) if wanted else None)


def changes(found: Assessment) -> dict[str, tuple[object, object]]:
    return {name: (change.old, change.new) for name, change in found.nearest_safe.items()}


def rules(found: Assessment) -> set[str]:
    return {finding.rule for finding in found.findings}


@given(interval=st.integers(1, 30), timeout=st.integers(1, 29), recovery=st.integers(1, 150),
       threshold=st.integers(3, 121))
@settings(max_examples=60, deadline=None)
def test_the_verdict_is_what_arithmetic_says_and_the_change_mends_it(
    interval: int, timeout: int, recovery: int, threshold: int
) -> None:
    stack = LinuxStack(noop_out_interval=interval, noop_out_timeout=timeout, fast_io_fail_tmo=recovery,
                       replacement_timeout=recovery, logout_timeout=1)
    found = judged(stack, O2cb(heartbeat_threshold=threshold))
    stands = own.o2cb_stands(threshold, own.path_stall(interval, timeout, recovery, 250, 15))
    assert found.verdict == ("safe" if stands else "fences")
    assert bool(found.nearest_safe) == (not stands)
    assert all(change.why.endswith(".") for change in found.nearest_safe.values())
    news = {name: change.new for name, change in found.nearest_safe.items()}
    mended, clusters = changed(stack, found.clusters, news)
    assert assess(mended, clusters, TARGET).verdict == "safe"
    if not stands:
        assert len(news) == 1  # the threshold alone is always enough


@given(interval=st.integers(1, 20), timeout=st.integers(1, 20), recovery=st.integers(1, 60), most=st.integers(6, 60))
@settings(max_examples=40, deadline=None)
def test_no_smaller_set_of_changes_is_enough(interval: int, timeout: int, recovery: int, most: int) -> None:
    stack = LinuxStack(noop_out_interval=interval, noop_out_timeout=timeout, fast_io_fail_tmo=recovery,
                       logout_timeout=1)
    found = judged(stack, max_stall_s=most)
    now = {"noop_out_interval": interval, "noop_out_timeout": timeout, "fast_io_fail_tmo": recovery}

    def is_enough(names: tuple[str, ...]) -> bool:
        least = now | dict.fromkeys(names, 1)
        pings = least["noop_out_interval"], least["noop_out_timeout"]
        return own.path_stall(*pings, least["fast_io_fail_tmo"], 250, 15) <= most * NS

    needed = next(count for count in range(4) for names in itertools.combinations(now, count) if is_enough(names))
    assert len(found.nearest_safe) == needed
    assert set(found.nearest_safe) <= set(now)
    assert (found.verdict == "safe") == (needed == 0)


@pytest.mark.parametrize(("stack", "clusters", "wanted"), [
    (LinuxStack(), (O2cb(heartbeat_threshold=7),), {"o2cb.heartbeat_threshold": (7, 16)}),
    (OLD, (O2cb(),), {"fast_io_fail_tmo": (None, 16)}),
    (OLD, (O2cb(heartbeat_threshold=61),), {"fast_io_fail_tmo": (None, 75)}),
    (LinuxStack(), (Sbd(), Corosync()),
     {"sbd.watchdog": (5, 30), "sbd.msgwait": (10, 60), "corosync.stonith_timeout": (60, 72)}),
    (LinuxStack(no_path_retry="queue"), (Ncs(),),
     {"no_path_retry": ("queue", "fail"), "ncs.tolerance": (8, 28), "ncs.slave_watchdog": (8, 28)}),
    (LinuxStack(replacement_timeout=-1, fast_io_fail_tmo=None), (O2cb(),), {"fast_io_fail_tmo": (None, 34)}),
    (OLD, (Sanlock(),), {"fast_io_fail_tmo": (None, 16)}),
])
def test_nearest_change(
    stack: LinuxStack, clusters: tuple[Cluster, ...], wanted: dict[str, tuple[object, object]]
) -> None:
    found = judged(stack, *clusters)
    assert found.verdict == "fences"
    assert changes(found) == wanted
    assert found.conflict is None


@pytest.mark.parametrize(("stack", "clusters"), [
    (LinuxStack(), (O2cb(),)), (LinuxStack(), (Sanlock(),)), (LinuxStack(), (Rac(),)),
    (LinuxStack(), (Sbd(watchdog=35, msgwait=70), Corosync(stonith_timeout=92))), (LinuxStack(), (Rac(), O2cb())),
])
def test_what_is_safe_is_left_alone(stack: LinuxStack, clusters: tuple[Cluster, ...]) -> None:
    found = judged(stack, *clusters)
    assert found.verdict == "safe"
    assert not found.nearest_safe
    assert not [item for item in found.findings if item.severity in ("critical", "high")]


def test_without_cluster_and_goals_there_is_nothing_to_judge_by() -> None:
    found = judged(LinuxStack())
    assert found.verdict == "cannot tell"
    assert found.budgets["one_way_loss"].worst_ns == own.path_stall(5, 5, 5, 250, 15)


def test_goals_count_as_well_as_clusters() -> None:
    found = judged(OLD, max_stall_s=20, ride_out_s=60)
    assert found.verdict == "fences"
    assert changes(found) == {"noop_out_interval": (10, 2), "noop_out_timeout": (15, 5), "fast_io_fail_tmo": (None, 5),
                              "no_path_retry": (12, 16)}


def test_values_that_are_assessed_may_change_though_they_were_given() -> None:
    found = assess(LinuxStack(), (O2cb(heartbeat_threshold=7),), TARGET,
                   Goals(cluster="ocfs2", fixed={"o2cb.heartbeat_threshold": 7}))
    assert changes(found) == {"o2cb.heartbeat_threshold": (7, 16)}


def test_a_mend_makes_no_path_failure_longer() -> None:
    found = judged(LinuxStack(), ride_out_s=90)
    assert changes(found) == {"no_path_retry": ("fail", 22)}


def test_what_nothing_mends_is_a_conflict() -> None:
    found = judged(LinuxStack(), max_stall_s=4)
    assert not found.nearest_safe
    assert found.conflict is not None
    assert found.conflict.goals == ("max_stall_s",)


@pytest.mark.parametrize(("stack", "rule"), [
    (OLD, "MP-02"), (LinuxStack(fast_io_fail_tmo=None, replacement_timeout=-1), "MP-02"),
    (LinuxStack(noop_out_interval=0, noop_out_timeout=0), "MP-03"), (LinuxStack(noop_out_interval=0), "MP-03"),
    (LinuxStack(fast_io_fail_tmo=2), "resets"), (LinuxStack(no_path_retry="queue"), "no_path_retry"),
    (LinuxStack(multipath=False), "multipath"), (LinuxStack(multipath_tools=(0, 11, 1)), "multipathd.interval"),
    (LinuxStack(noop_out_timeout=30), "pings.command_timeout"),
])
def test_findings_about_the_storage(stack: LinuxStack, rule: str) -> None:
    assert rule in rules(judged(stack))
    assert rule not in rules(judged(LinuxStack()))


def test_findings_about_a_cluster() -> None:
    assert "OC-14" in rules(judged(LinuxStack(), O2cb()))
    assert "OC-14" not in rules(judged(LinuxStack(no_path_retry="queue"), O2cb()))
    found = judged(LinuxStack(), O2cb(heartbeat_threshold=16))
    assert found.verdict == "safe"
    assert ("o2cb.N1", "low") in {(item.rule, item.severity) for item in found.findings}  # safe, without much to spare


def test_fast_io_fail_tmo_that_multipathd_leaves_out() -> None:
    """It must be shorter than the queue that no_path_retry makes."""
    stack = LinuxStack(no_path_retry=4, fast_io_fail_tmo=25, replacement_timeout=120, multipath_tools=(0, 14, 3))
    found = judged(stack, max_stall_s=100)
    assert {"fast_io_fail", "stall.one_way_loss"} <= rules(found)
    assert len(found.nearest_safe) == 1


@st.composite
def any_settings(draw: st.DrawFn) -> tuple[LinuxStack, tuple[Cluster, ...]]:
    """Values as people have them, senseless ones too."""
    def one(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    stack = LinuxStack(
        noop_out_interval=one(0, 1, 5, 30), noop_out_timeout=one(0, 5, 15), replacement_timeout=one(-1, 0, 5, 120),
        login_timeout=one(0, 15, 30), logout_timeout=one(0, 15, 60), default_time2wait=one(0, 2, 10),
        multipath=one(True, True, False), fast_io_fail_tmo=one(None, 0, 1, 5, 25), dev_loss_tmo=one(None, 10, 600),
        polling_interval=one(1, 5, 30), max_polling_interval=one(None, 5), no_path_retry=one("fail", "queue", 1, 12),
        timeout=one(1, 30, 180), max_retries=one(-1, 0, 5), kernel=one((3, 10), (5, 4), (6, 1)),
        multipath_tools=one((0, 4, 9), (0, 9, 4), (0, 11, 1), (0, 14, 3)),
    )
    known: list[Cluster] = [
        O2cb(heartbeat_threshold=one(0, 7, 31, 61)), Sanlock(io_timeout=one(0, 10)), Rac(misscount=one(0, 30)),
        Sbd(watchdog=one(0, 5, 60), msgwait=one(0, 10), devices=one(0, 1, 3)),
        Corosync(token_ms=one(1000, 5000), stonith_timeout=one(0, 60), nodes=one(1, 2, 5)),
        Ncs(heartbeat=one(0, 1), tolerance=one(0, 8, 60)),
    ]
    return stack, tuple(cluster for cluster in known if draw(st.integers(0, 4)) == 0)


@given(host=any_settings(), max_stall=st.one_of(st.none(), st.integers(3, 40)),
       ride_out=st.one_of(st.none(), st.integers(5, 90)), paths=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_whatever_is_broken_is_mended_or_impossible(
    host: tuple[LinuxStack, tuple[Cluster, ...]], max_stall: int | None, ride_out: int | None, paths: int
) -> None:
    stack, clusters = host
    goals = Goals(max_stall_s=max_stall, ride_out_s=ride_out, paths=paths)
    found = assess(stack, clusters, TARGET, goals)
    assert (found.verdict == "fences") == bool(found.nearest_safe or found.conflict)
    assert not (found.nearest_safe and found.conflict)
    mended, raised = changed(stack, clusters, {name: change.new for name, change in found.nearest_safe.items()})
    if found.conflict is None:
        assert assess(mended, raised, TARGET, goals).verdict != "fences"
