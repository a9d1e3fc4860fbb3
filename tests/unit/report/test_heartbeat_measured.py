"""What a measurement gave, for programs and for people."""

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mpio.check.failover_stall import FailoverStall, Source
from mpio.check.threshold import KINDS, Advice, Trial, advise, heartbeats, setting, try_out
from mpio.heartbeat.tail import Distribution, Fit, Pareto, Tail, estimate, percentiles
from mpio.heartbeat.timing import Timing
from mpio.model.cluster import O2cb, Sanlock, Sbd
from mpio.planner.cluster import Storage
from mpio.report.heartbeat_measured import (
    Findings,
    decision_notes,
    print_findings,
    progress_words,
    settings_of,
    tail_notes,
    tail_words,
    words_of,
)
from mpio.units import NS_PER_S

ROOT = Path(__file__).resolve().parents[3]
MS = 1_000_000


def findings(stall_s: int = 20, count: int = 3000, sigma: float = 0.5, runs: int = 200) -> Findings:
    rng = random.Random(1)
    latencies = [round(2 * MS * rng.lognormvariate(0, sigma)) for _ in range(count)]
    advice: list[tuple[Advice, Trial | None]] = []
    for kind in KINDS:
        tail = estimate(latencies, heartbeats(kind, 10))
        found = advise(kind, tail, stall_s * NS_PER_S, MS)
        trial = try_out(found, Distribution(latencies, tail.fit), runs, rng.random) if runs else None
        advice.append((found, trial))
    storage = Storage(stall_ns=stall_s * NS_PER_S)
    measured = {name: percentiles(latencies) for name in ("latency_ns", "read_latency_ns", "lateness_ns")}
    return Findings(
        {"device": "/dev/sdx", "words": "3,000 heartbeats"}, measured,
        FailoverStall(stall_s * NS_PER_S, (Source(stall_s * NS_PER_S, "as given"),)), 10, tuple(advice),
        (setting((O2cb(heartbeat_threshold=7), None), storage),), ("a note [with brackets]",))


def printed(found: Findings, width: int = 100) -> str:
    stream = io.StringIO()
    print_findings(found, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def test_the_json_is_plain_and_whole() -> None:
    record: dict[str, Any] = json.loads(json.dumps(findings().as_json(), allow_nan=False))
    assert record["version"] == 1
    assert record["device"] == "/dev/sdx"
    assert record["result"] == "findings"  # what is in force is too low
    o2cb = next(item for item in record["advice"] if item["kind"] == "o2cb")
    assert o2cb["recommended"]["settings"] == {"O2CB_HEARTBEAT_THRESHOLD": 13}
    assert o2cb["with_room"]["settings"] == {"O2CB_HEARTBEAT_THRESHOLD": 31}
    assert o2cb["bound_by"] == "measurement"
    assert o2cb["trial"]["fenced"] == 0
    assert o2cb["trial"]["lower"] == {"O2CB_HEARTBEAT_THRESHOLD": 10}
    sbd = next(item for item in record["advice"] if item["kind"] == "sbd")
    assert set(sbd["recommended"]["settings"]) == {"watchdog", "msgwait", "stonith_timeout"}
    assert record["present"][0]["colour"] == "red"


def test_every_name_of_the_json_is_documented() -> None:
    page = (ROOT / "docs" / "heartbeat.md").read_text()
    measure = page[page.index("## Measuring"):]

    def names(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value) | {name for inner in value.values() for name in names(inner)}
        return {name for inner in value for name in names(inner)} if isinstance(value, list) else set()

    record = findings().as_json()
    undocumented = [name for name in sorted(names(record)) if f"`{name}`" not in measure and f'"{name}"' not in measure]
    assert undocumented == []


def test_without_a_trial_or_a_stall() -> None:
    found = findings(runs=0)
    assert found.as_json()["result"] == "findings"
    assert all(item["trial"] is None for item in json.loads(json.dumps(found.as_json()))["advice"])
    assert "runs" not in printed(found)


def test_a_recommendation_that_fenced_is_a_finding() -> None:
    found = findings()
    advice = found.advice[0][0]
    failed = Findings(found.about, found.measured, found.stall, 10, ((advice, Trial(10, 1, None, 0)),), (), ())
    assert failed.is_bad
    fine = Findings(found.about, found.measured, found.stall, 10, ((advice, Trial(10, 0, None, 0)),), (), ())
    assert not fine.is_bad


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_page_says_what_to_set_and_why(width: int) -> None:
    text = printed(findings(), width)
    assert all(len(line) <= width for line in text.splitlines())
    flat = " ".join(text.split())
    for words in ("T 13", "20 % lower", "0", "✗ -", "✓ +", "p99.9", "as given", "[with brackets]"):
        assert words in flat, words


def test_settings_under_their_own_names() -> None:
    assert settings_of(Timing()) == {"period_ns": 2 * NS_PER_S, "deadline_ns": 60 * NS_PER_S, "dead_ns": 66 * NS_PER_S}
    assert [words_of(item) for item in (Timing(), O2cb(), Sbd(), Sanlock())] == [
        "deadline 60 s", "T 31 (60 s)", "watchdog 5, msgwait 10", "io_timeout 10 (80 s)"]


def test_what_a_latency_rests_on() -> None:
    plain = Tail(300, 40 * MS, 1e8, None, 40 * MS, None, 50 * MS, "too few peaks to fit a tail: 3, expected 30",
                 short=True)
    assert tail_words(plain, 10) == (
        "a quarter more than the longest of 300. Too few peaks to fit a tail: 3, expected 30. Up to 1 % of heartbeats "
        "may take longer than the longest (95 %)")
    rng = random.Random(1)
    sample = [round(2 * MS * rng.lognormvariate(0, 0.5)) for _ in range(20_000)]
    bounded = estimate(sample, 1.58e8)
    assert "exceeded once in 10 node-years at most (95 %)" in tail_words(bounded, 10)
    wide = Tail(1000, 40 * MS, 1.58e8, Fit(9 * MS, 0.05, 50, Pareto(0.2, float(MS))), 90 * MS, 900 * MS, 90 * MS, "",
                short=True)
    assert tail_words(wide, 10) == (
        "exceeded once in 10 node-years by a fitted tail above 9 ms of 50 peaks, shape 0.20; but so few heartbeats "
        "don't exclude 900 ms (95 %): measure for longer")


def test_a_small_sample_and_a_floor_are_said_once() -> None:
    quiet = findings(stall_s=0)
    assert tail_notes([advice.tail for advice, _ in quiet.advice])[0].startswith("short: 3,000 of the 100,000")
    (note,) = decision_notes(quiet.advice)
    assert note.startswith("mpio, OCFS2, SBD, sanlock: this storage would carry less than programs take")
    assert decision_notes(findings().advice) == []


def test_progress_in_a_line() -> None:
    assert progress_words(5 * NS_PER_S, 60 * NS_PER_S, 1200, {"p50": MS, "p999": 40 * MS}, "  load 7") == (
        "5 of 60 s  1,200 heartbeats  p50 1 ms  p99.9 40 ms  load 7")
