"""The timing sheet in a terminal."""

import io

import pytest
from rich.console import Console
from tests.unit.report.plan_synthetic import FENCE, GOAL, RUNGS, S, conflict, plan

from mpio.report.plan_text import FINDINGS_MAX, print_sheet
from mpio.report.sheet import Finding, Rung, Setting, Sheet, axis_end_ns


def printed(sheet: Sheet, width: int = 110, *, full: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_sheet(sheet, console, full=full)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if name in line)


def test_what_passes_a_deadline_has_a_sign() -> None:
    text = printed(plan())
    assert row(text, "both directions").startswith("✓")
    assert row(text, "one direction").startswith("✗")
    assert row(text, "LUN hangs").startswith("·")


def test_bars_are_to_scale() -> None:
    lines = printed(plan()).splitlines()
    start = next(line for line in lines if " 0 " in line and "s" in line).index("0 ")
    one_way = next(line for line in lines if "one direction" in line)
    bar = one_way[start:].rstrip(" │")
    letters = next(line for line in lines if line.split() == ["A", "B", "C"])
    a, b = letters.index("A") - start, letters.index("B") - start
    assert a / b == pytest.approx(20 / 58, abs=0.04)
    assert len(bar) / a == pytest.approx(25.77 / 20, abs=0.06)
    assert bar.count("█") / len(bar) == pytest.approx(15 / 25.77, abs=0.08)


def test_what_goes_on_past_the_axis_ends_in_an_arrow() -> None:
    text = printed(plan())
    assert row(text, "all paths down").rstrip().endswith("▶")
    assert "▶" not in row(text, "one direction")


def test_deadlines_are_explained_in_the_order_of_time() -> None:
    text = printed(plan())
    assert text.index("A 20 s") < text.index("B 58 s") < text.index("C 62 s")


@pytest.mark.parametrize("width", [40, 60, 80, 110, 200])
def test_every_width_holds_the_numbers(width: int) -> None:
    text = printed(plan(), width)
    assert max(map(len, text.splitlines())) <= width
    assert "25.77 s" in text
    assert "for ever" in text


def test_sums_name_their_terms() -> None:
    text = " ".join(printed(plan(), 200, full=True).split())
    assert "5 s silence before the ping + 5 s silence after the ping + 5 s wait for the session" in text
    assert "fails after 75 s" in text


def test_what_is_not_asked_for_waits_for_full() -> None:
    brief, full = printed(plan()), printed(plan(), full=True)
    for words in ("96 s = 96 s command timeouts", "[cluster heartbeat.c]", "polling_interval at least 6"):
        assert words not in brief
        assert words in full
    assert "Of the rules of thumb for this, 1 too weak, 1 too strong. --full has every sum" in brief
    assert "--full" not in full


def test_slack_is_said_with_its_sign() -> None:
    text = printed(plan())
    assert "32 s left" in row(text, "N1")
    assert "6 s over" in row(text, "C3")
    assert "26 s > 20 s" in row(text, "C3")
    assert "exact" in row(text, "C5")


def test_settings_show_what_they_were() -> None:
    text = printed(plan())
    assert "5 → 2" in row(text, "noop_out_interval")
    assert "[built-in default]" in row(text, "fast_io_fail_tmo")


def test_a_conflict_names_goals_and_ways_out() -> None:
    text = printed(conflict())
    assert text.startswith("✗ CONFLICT — Two goals exclude each other.")
    assert "• --max-stall 3s" in text
    assert "raise --max-stall to 11 s" in text


def test_text_of_files_stays_text() -> None:
    evil = "[red]x[/red] \x1b[31m\u202e"
    sheet = Sheet("assessment", "ok", "NOT JUDGED", evil, settings=(Setting(evil, evil, evil, origin=evil),),
                  findings=(Finding("error", evil, evil),), rungs=(Rung("a", "a", RUNGS[0].budget, binds=True),))
    text = printed(sheet)
    assert "[red]x[/red]" in text
    assert not set(text) & {"\x1b", "\u202e"}


def test_many_findings_are_counted() -> None:
    sheet = Sheet("assessment", "findings", "H", "s", findings=(Finding("note", "n"),) * (FINDINGS_MAX + 7))
    assert "and 7 more" in printed(sheet)


def test_the_axis_shows_what_binds_and_every_deadline() -> None:
    end_ns = axis_end_ns(RUNGS, (FENCE, GOAL))
    assert 58 * S < end_ns < 96 * S
    assert axis_end_ns(RUNGS[3:], ()) > 0
    assert axis_end_ns(RUNGS[2:3], ()) >= S
