"""From runs to figures: quantiles, bounds, complaints, the worst run; and how terminal and page show them."""

import dataclasses
import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.unit.report.synthetic import Plan, write_run

from mpio.check.verdict import Result
from mpio.drill.parse import builtin
from mpio.model.settings import FAST, SLES10
from mpio.report.account import Account, Spread, account
from mpio.report.rundir import read_run
from mpio.report.simulate_html import differences, render_account
from mpio.report.simulate_text import print_account, sentence
from mpio.report.spread_chart import NARROW, WIDE, spread_chart
from mpio.sim.campaign import Campaign, CampaignResult, FaultOutcome, RunOutcome, Subject
from mpio.units import NS_PER_S

MS = NS_PER_S // 1000
PASS, FAIL, UNKNOWN = Result.PASS, Result.FAIL, Result.UNKNOWN
SCENARIO = builtin("default")
NASTY = "<b>[red]&\x1b[31m"


def fault(stall_ns: int, bound_ns: int | None = 1_100 * MS, path: int = 1, ios: int = 4) -> FaultOutcome:
    return FaultOutcome("blackhole", path, stall_ns, None if bound_ns is None else 500 * MS, bound_ns, ios,
                        was_noticed=True)


def run(subject: int, seed: int, *stalls_ns: int, verdict: Result = PASS, **more: object) -> RunOutcome:
    faults = tuple(fault(stall_ns, path=path) for path, stall_ns in enumerate(stalls_ns, 1))
    return dataclasses.replace(
        RunOutcome(subject, seed, verdict, faults, ios={"read ok": 10, "write ok": 5}, digest=f"{subject}{seed}",
                   simulated_ns=20 * NS_PER_S), **more)  # type: ignore[arg-type]


def found(*outcomes: RunOutcome, runs: int = 2, lost: str = "", names: tuple[str, ...] = ("fast", "sles10"),
          ) -> tuple[Campaign, Account]:
    settings = (FAST, SLES10)
    campaign = Campaign(SCENARIO, tuple(Subject(name, settings[index], "profile") for index, name in enumerate(names)),
                        runs)
    return campaign, account(CampaignResult(campaign, outcomes, lost))


def printed(shown: Account, replay: str = "mpio simulate --seed 2", width: int = 100) -> str:
    stream = io.StringIO()
    print_account(shown, Console(file=stream, width=width), replay)
    return stream.getvalue()


FOUR = (run(0, 1, 700 * MS, 650 * MS), run(0, 2, 720 * MS, 640 * MS), run(1, 1, 900 * MS, 3 * MS),
        run(1, 2, 950 * MS, 2 * MS))


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.floats(0.001, 1))
def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[int], share: float) -> None:
    quantile = Spread.of([fault(value) for value in values]).quantile_ns(share)
    assert quantile in values
    assert sum(value <= quantile for value in values) >= share * len(values) - 1e-6
    assert sum(value < quantile for value in values) < share * len(values) + 1e-6


def test_of_a_hundred_stalls_one_may_exceed_p99() -> None:
    spread = Spread.of([fault(value) for value in range(1, 101)])
    assert (spread.median_ns, spread.p99_ns, spread.worst_ns) == (50, 99, 100)


def test_the_bound_of_several_is_the_greatest_and_none_where_one_has_none() -> None:
    assert Spread.of([fault(5, 10), fault(6, 8)]).bound_ns == 10
    assert Spread.of([fault(5, 10), fault(6, 8)]).share == 0.75  # 6 of its own 8
    assert Spread.of([fault(5, 10), fault(6, None)]).bound_ns is None
    assert Spread.of([]).worst_ns is None


def test_faults_that_met_no_i_o_are_no_stalls() -> None:
    assert Spread.of([fault(0, ios=0), fault(7)]).stalls_ns == (7,)


def test_rows_and_verdict() -> None:
    _, shown = found(*FOUR)
    assert shown.verdict is PASS
    assert [row.subject.name for row in shown.rows] == ["fast", "sles10"]
    assert [row.spread.worst_ns for row in shown.rows] == [720 * MS, 950 * MS]
    assert [name for name, _ in shown.rows[0].by_fault] == ["blackhole on path 1", "blackhole on path 2"]
    assert shown.rows[0].ios == 30
    assert shown.worst == (1, FOUR[3])


def test_a_failed_run_is_worse_than_any_long_stall() -> None:
    bad = run(0, 2, 1 * MS, verdict=FAIL, broken=(("no data lost", "3 lost"),), bad_blocks={"lost": 3})
    _, shown = found(FOUR[0], bad, *FOUR[2:])
    assert shown.verdict is FAIL
    assert shown.worst == (0, bad)
    text = printed(shown)
    assert text.startswith("✗ FAIL")
    assert "1 run failed" in text
    assert "3 bad blocks" in text
    assert "no data lost" in text
    assert "seed 2: 3 lost" in text
    assert "3 lost" in text


def test_missing_runs_make_the_rest_undecided_and_are_named() -> None:
    _, shown = found(*FOUR[:3], lost="a worker process died")
    assert shown.verdict is UNKNOWN
    assert "a worker process died; 1 run not done" in printed(shown)
    _, shown = found(dataclasses.replace(FOUR[0], verdict=FAIL), lost="gone")
    assert shown.verdict is FAIL


def test_no_run_at_all() -> None:
    campaign, shown = found(lost="gone")
    assert (shown.verdict, shown.worst) == (UNKNOWN, None)
    assert "4 runs not done" in printed(shown, "")
    assert "Replay" not in printed(shown, "")
    ET.fromstring(spread_chart(shown.rows, WIDE))
    assert campaign.runs == 2


def test_a_run_that_broke_off_says_why() -> None:
    _, shown = found(run(0, 1, verdict=UNKNOWN, error="nothing can happen any more"), *FOUR[1:])
    assert "nothing can happen any more" in printed(shown)
    assert shown.rows[0].complaints[0].claim == "run complete"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_is_what_people_quote(width: int) -> None:
    text = printed(found(*FOUR)[1], width=width)
    assert "4 runs of default under 2 settings, 8 faults, no bad block" in " ".join(text.split())
    if width >= 80:
        row = next(line for line in text.splitlines() if "sles10" in line)
        assert row.split() == ["✓", "sles10", "3", "ms", "950", "ms", "950", "ms", "1.1", "s", "86", "%", "4"]
        assert "▏" in text
        assert "mpio simulate --seed 2" in text


def test_past_its_bound_is_said_by_a_sign_too() -> None:
    _, shown = found(run(0, 1, 1_200 * MS, verdict=FAIL), runs=1, names=("fast",))
    assert "109 % ✗" in printed(shown)
    assert "worst stall 1.2 s of at most 1.1 s" in sentence(shown)


def test_the_json_shape_holds_no_surprises() -> None:
    shape = json.loads(json.dumps(found(*FOUR)[1].as_json()))
    assert shape["verdict"] == "pass"
    assert [row["settings"] for row in shape["settings"]] == ["fast", "sles10"]
    assert shape["settings"][1]["stall"] == {
        "faults": 4, "median_ns": 3 * MS, "p99_ns": 950 * MS, "worst_ns": 950 * MS, "best_bound_ns": 500 * MS,
        "bound_ns": 1_100 * MS, "share_of_bound": 0.8636}
    assert shape["settings"][1]["worst"] == {"seed": 2, "verdict": "pass", "stall_ns": 950 * MS, "digest": "12"}


@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_the_drawing_is_well_formed_and_has_every_stall(layout: object) -> None:
    svg = ET.fromstring(spread_chart(found(*FOUR)[1].rows, layout))  # type: ignore[arg-type]
    titles = [element.text or "" for element in svg.iter("title")]
    counted = [int(title.split()[0]) for title in titles if " faults" in title]
    assert sum(counted) == 8
    assert titles.count("bound 1.1 s") == 2


def test_the_page(tmp_path: Path) -> None:
    campaign, shown = found(*FOUR)
    worst = read_run(write_run(tmp_path / "worst", Plan(ios=500)))
    page = render_account(campaign, shown, worst, "mpio simulate --seed 2")
    for expected in ("4 runs of default under 2 settings", "The worst run: sles10, seed 2", "Settings that differ",
                     "noop_out_interval", "mpio simulate --seed 2", "within its bound", "Terms of the bound"):
        assert expected in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page


def test_no_text_becomes_markup(tmp_path: Path) -> None:
    nasty = run(0, 1, 5 * MS, verdict=FAIL, broken=((NASTY, NASTY),), error=NASTY)
    about = dataclasses.replace(SCENARIO.about, name=NASTY, description=NASTY)
    campaign = Campaign(dataclasses.replace(SCENARIO, about=about), (Subject(NASTY, FAST, NASTY),), 2)
    shown = account(CampaignResult(campaign, (nasty,), NASTY))
    page = render_account(campaign, shown, read_run(write_run(tmp_path / "worst", Plan(ios=500))), NASTY)
    assert "<b>[red]" not in page
    assert "\x1b" not in printed(shown, "")


def test_settings_that_differ_are_told_and_secrets_never() -> None:
    campaign = Campaign(SCENARIO, (Subject("a", FAST), Subject("b", FAST.replace(timeout=9.0, password="x" * 12))), 1)
    assert differences(campaign) == [("timeout", ["5", "9"])]
    alone = dict(differences(Campaign(SCENARIO, (Subject("a", FAST),), 1)))
    assert alone["fast_io_fail_tmo"] == ["0"]
    assert "password" not in alone
