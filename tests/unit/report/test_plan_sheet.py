"""From answers of the planner to sheets: nothing is lost, and what is shown agrees with what was solved."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mpio.config.document import Problem
from mpio.model.cluster import O2cb
from mpio.model.stack import LinuxStack
from mpio.planner import promise
from mpio.planner.constraints import FOREVER_NS, constraints
from mpio.planner.goals import Assessment, Change, Conflict, Finding, Goals, Plan
from mpio.planner.solve import solve
from mpio.report.plan_sheet import SCENARIO_WORDS, assessment_sheet, conflict_sheet, plan_sheet

S = 1_000_000_000
GOALS = Goals(max_stall_s=20, cluster="ocfs2", fixed={"o2cb.idle_timeout_ms": 60_000})


def solved(goals: Goals) -> Plan:
    plan = solve(goals)
    assert isinstance(plan, Plan)
    return plan


def test_a_plan_is_shown_whole() -> None:
    plan = solved(GOALS)
    sheet = plan_sheet(plan)
    assert (sheet.kind, sheet.verdict) == ("plan", "ok")
    assert {row.name for row in sheet.settings} == set(plan.reasons)
    assert len(sheet.checks) == len(plan.constraints)
    assert [rung.name for rung in sheet.rungs if rung.binds][:2] == ["silent_loss", "one_way_loss"]
    assert {line.name for line in sheet.deadlines} >= {"max_stall", "o2cb.tolerated", "o2cb.self_fence", "o2cb.dead"}
    assert {(item.name, item.value) for item in sheet.asked} == {
        ("--max-stall", "20 s"), ("--cluster", "ocfs2"), ("--set o2cb.idle_timeout_ms", "60000"),
    }


def test_what_was_shipped_is_shown_where_it_changes() -> None:
    rows = {row.name: row for row in plan_sheet(solved(GOALS)).settings}
    assert rows["o2cb.idle_timeout_ms"].old == "30000"
    assert rows["noop_out_timeout"].old is None
    assert rows["kernel.panic"].value == "30"
    assert rows["max_polling_interval"].value == "unset"


def test_every_scenario_has_words_and_the_binding_ones_come_first() -> None:
    plan = solved(Goals(ride_out_s=30, serial_failures=True, hung_lun=True))
    assert set(plan.budgets) <= set(SCENARIO_WORDS)
    rungs = plan_sheet(plan).rungs
    binding = [rung.binds for rung in rungs]
    assert binding == sorted(binding, reverse=True)
    assert {"serial", "lun_hang"} <= {rung.name for rung in rungs if rung.binds}
    assert "ride_out" in {rung.name for rung in rungs if not rung.binds}


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    stall=st.none() | st.integers(5, 200), ride=st.none() | st.integers(5, 200),
    cluster=st.sampled_from(["none", "ocfs2", "sbd", "sanlock", "ncs", "pacemaker"]), latency=st.integers(0, 20),
)
def test_no_plan_is_shown_past_its_deadlines(stall: int | None, ride: int | None, cluster: str, latency: int) -> None:
    goals = Goals(max_stall_s=stall, ride_out_s=ride, cluster=cluster, io_latency_max_s=latency)
    answer = solve(goals)
    if isinstance(answer, Conflict):
        sheet = conflict_sheet(answer, goals)
        assert len(sheet.conflict) == len(answer.goals)
        assert all(line.startswith("--") for line in sheet.conflict)
        return
    sheet = plan_sheet(answer)
    assert not [(rung.name, line.name) for rung in sheet.rungs for line in sheet.deadlines
                if line.kind == "goal" and rung.passes(line)]
    assert all(check.state == "ok" for check in sheet.checks)


def assessment(stack: LinuxStack, clusters: tuple[O2cb, ...] = (), **changes: object) -> Assessment:
    goals = Goals(cluster="ocfs2" if clusters else "none")
    budgets, checks = promise.budgets(goals, stack), constraints(goals, stack, clusters)
    return dataclasses.replace(Assessment(stack, clusters, budgets, checks, "safe", (), {}), **changes)  # type: ignore[arg-type]


def test_an_assessment_shows_origins_changes_and_problems() -> None:
    found = assessment(
        LinuxStack(fast_io_fail_tmo=None), (O2cb(),), verdict="fences",
        findings=(Finding("OC-01", "critical", "a node is fenced"), Finding("OC-17", "low", "a hint")),
        nearest_safe={"fast_io_fail_tmo": Change(None, 5, "it is the recovery that takes so long")},
    )
    problems = [Problem("etc/x", 3, "error", "no such key", "mend it"), Problem("etc/y", 0, "warning", "odd")]
    origins = {"fast_io_fail_tmo": "etc/multipath.conf:6", "noop_out_interval": "built-in default"}
    sheet = assessment_sheet(found, Goals(cluster="ocfs2"), origins, problems, ["etc"])
    assert (sheet.headline, sheet.verdict) == ("NOT SAFE", "findings")
    first, second = sheet.settings
    assert (first.name, first.old, first.value) == ("fast_io_fail_tmo", "off", "5")
    assert first.origin == "etc/multipath.conf:6"
    assert (second.value, second.old, second.origin) == ("5", None, "built-in default")
    assert [(item.severity, item.words) for item in sheet.findings] == [
        ("error", "OC-01: a node is fenced"), ("note", "OC-17: a hint"), ("error", "etc/x:3: no such key"),
        ("warning", "etc/y: odd"),
    ]
    assert "1 change would mend it" in sheet.sentence
    assert sheet.asked[0].value == "etc"


@pytest.mark.parametrize(
    ("verdict", "problems", "expected"),
    [
        ("safe", [], "ok"),
        ("safe", [Problem("x", 1, "warning", "odd")], "ok"),
        ("safe", [Problem("x", 1, "error", "wrong")], "findings"),
        ("fences", [], "findings"),
        ("cannot tell", [], "ok"),
    ],
)
def test_verdicts(verdict: str, problems: list[Problem], expected: str) -> None:
    sheet = assessment_sheet(assessment(LinuxStack(), verdict=verdict), Goals(), {}, problems)
    assert sheet.verdict == expected


def test_what_never_ends_is_shown_without_a_number() -> None:
    found = assessment(LinuxStack(multipath=False, replacement_timeout=-1), (O2cb(),))
    sheet = assessment_sheet(found, Goals(cluster="ocfs2"), {}, [])
    assert "for ever" in sheet.sentence
    assert any(check.left_ns is None for check in sheet.checks)
    assert all(check.left_ns is None or check.left_ns < FOREVER_NS for check in sheet.checks)
