"""The terminal rendering, and the words that it shares with the HTML report."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from tests.unit.report.synthetic import BOUND_NS, MS, Fault, Plan, write_run

from mpio.report import print_run, read_run, words
from mpio.report.html import render_html


def printed(directory: Path, plan: Plan, width: int = 100) -> str:
    stream = io.StringIO()
    print_run(read_run(write_run(directory / "run", plan)), Console(file=stream, width=width))
    return stream.getvalue()


def test_a_pass(tmp_path: Path) -> None:
    text = printed(tmp_path, Plan(ios=3_000))
    assert text.startswith("✓ PASS — 2 faults, worst stall 812 ms of at most 1.1 s")
    for words_ in (
        "no data lost",
        "Fault 2  blackhole on path 2 (127.0.0.2:3260)",
        "reinstated",
        "+772 ms",
        "I/O sent elsewhere",
        "worst stall 774 ms of at most 1.1 s, at best 500 ms",
        "mpio drill two-blackholes --seed 4711 --out again",
        "latency, p99",
    ):
        assert words_ in text


def test_a_fail_says_what_is_wrong(tmp_path: Path) -> None:
    block = {"lba": 7, "blocks": 2, "kind": "torn", "expected": "one write", "found": "writes 3 and 4", "path": None}
    text = printed(tmp_path, Plan(ios=3_000, verdict="fail", failed=4, faults=[Fault(1, 5, 9, 1_480)], blocks=[block]))
    assert text.startswith("✗ FAIL — 2 of 5 claims broken")
    assert "worst stall 1.48 s over its bound of 1.1 s" in text
    assert "torn    LBA 7 to 8" in text


def test_cannot_tell(tmp_path: Path) -> None:
    text = printed(tmp_path, Plan(ios=0, faults=[], seconds=2, verdict="unknown"))
    assert text.startswith("? CANNOT TELL — 1 of 5 claims undecided (paths reinstated)")


@pytest.mark.parametrize("width", [20, 40, 79, 200])
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, width: int) -> None:
    assert all(len(line) <= width for line in printed(tmp_path, Plan(ios=300), width).splitlines())


def test_names_are_no_markup(tmp_path: Path) -> None:
    text = printed(tmp_path, Plan(ios=100, names=["[bold red]x[/]", "\x1b]0;title\x07y"]))
    assert "[bold red]x[/]" in text
    assert "\x1b" not in text


def test_long_lists_are_cut_and_say_so(tmp_path: Path) -> None:
    block = {"lba": 7, "kind": "lost", "expected": "a", "found": "b", "path": "1"}
    text = printed(
        tmp_path, Plan(ios=100, blocks=[block] * 50, faults=[Fault(1, 1 + i, 1.5 + i, 10) for i in range(60)])
    )
    assert "the first 20 of 50 findings" in text
    assert "the first 50 of 60 faults" in text


def test_the_stall_nearest_to_its_bound_is_the_one_named(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", Plan(ios=10, faults=[Fault(1, 2, 4, 700), Fault(2, 6, 8, 900)])))
    worst = words.worst_stall(run)
    assert worst is not None
    assert worst.worst_stall_ns == 900 * MS


def test_terms_that_do_not_add_up_to_the_bound_are_not_shown_as_it(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", Plan(ios=10)))
    stall = run.stalls[0]
    assert sum(term.value_ns for term in words.bound_terms(run.bound, stall)) == BOUND_NS
    assert [term.value_ns for term in words.bound_terms(None, stall)] == [BOUND_NS]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (48213, "48\u202f213"), (1.5, "1.5"), (1234.5, "1\u202f234")]
)
def test_numbers(value: float, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("t_ns", "text"), [(0, "0"), (812 * MS, "+812 ms"), (-3_000 * MS, "\u22123 s"), (999_999_999, "+1000 ms")]
)
def test_relative_times(t_ns: int, text: str) -> None:
    assert words.relative(t_ns + 5, 5) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (4096, "4 KiB"),
        (136460 << 10, "133 MiB"),
        (1 << 30, "1 GiB"),
        (1000 << 10, "0.977 MiB"),
    ],
)
def test_sizes(value: int, text: str) -> None:
    assert words.size(value) == text


def test_the_wall_clock_is_a_date(tmp_path: Path) -> None:
    rows = dict(words.environment_rows(read_run(write_run(tmp_path / "run", Plan(ios=10)))))
    assert rows["began"] == "2026-03-01 12:00:00 UTC"


def test_fences_are_counted_if_there_were_any(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", Plan(ios=1_000))
    metrics = json.loads((directory / "metrics.json").read_text())
    metrics["fences"] = {"relogin": 0, "reinstate": 2, "lun_reset": 1, "failed": 3, "outcome_unknown": 4}
    metrics["paths"][0]["fence"] = "reinstate, preempt"
    (directory / "metrics.json").write_text(json.dumps(metrics))
    run = read_run(directory)
    assert words.fence_rows(run) == [
        ("fenced by reinstatement", "2"), ("fenced by LUN reset", "1"), ("fences that failed", "3"),
        ("writes of unknown outcome", "4")]
    assert words.fence_rows(run)[0] in words.count_rows(run)
    page = render_html(run)
    for part in ("fenced by reinstatement", "reinstate, preempt"):
        assert part in page
