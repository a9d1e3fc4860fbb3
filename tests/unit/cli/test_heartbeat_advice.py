"""What is known of failovers, from run directories and the planner; and whose latencies are whose."""

from array import array
from pathlib import Path

import pytest
from tests.unit.report.synthetic import T0, Fault, Plan, write_run

from mpio.check.failover_stall import Source
from mpio.cli.heartbeat_advice import (
    Question,
    advise_all,
    failover_stall,
    kinds_of,
    latencies_for,
    planned,
    present_settings,
    read_drills,
    run_directories,
)
from mpio.cli.heartbeat_measure_ground import pattern_for
from mpio.errors import InputError
from mpio.io.heartbeat_measure import Measured
from mpio.model.cluster import O2cb, Sanlock, Sbd
from mpio.model.settings import FAST
from mpio.planner.stall import stall_bound
from mpio.units import NS_PER_S, seconds

MS = 1_000_000
EPOCH_NS = 1_772_366_400_500_000_000  # of the made-up run


def measured(rounds: list[int], per_round: int = 1) -> Measured:
    count = len(rounds)
    return Measured(
        rounds=array("q", rounds), begun=array("q", range(0, count * 100 * MS, 100 * MS)),
        reads=array("q", [MS] * count * per_round), lateness=array("q", [index * 1000 for index in range(count)]),
        elapsed_ns=count * 100 * MS)


def test_drills_tell_their_stalls_and_when_they_were(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Plan(faults=[Fault(1, 5.0, 11.0, 812), Fault(2, 15.0, 20.0, 774)]))
    found = read_drills([run])
    assert found.sources[0].stall_ns == 812 * MS * 5 // 4
    (first, _second) = found.windows
    assert first[1] - first[0] == 812 * MS
    assert first[0] - EPOCH_NS == pytest.approx(5 * NS_PER_S, abs=NS_PER_S)
    assert T0 > 0  # the run's clock is not the wall clock
    assert (found + found).sources == found.sources * 2


def test_a_directory_of_runs_stands_for_all_of_them(tmp_path: Path) -> None:
    first, second = write_run(tmp_path / "out" / "a"), write_run(tmp_path / "out" / "b")
    (tmp_path / "out" / "notes").mkdir()
    (tmp_path / "empty").mkdir()
    assert run_directories([tmp_path / "out", first]) == [first, second, first]
    assert run_directories([tmp_path / "empty", tmp_path / "no"]) == [tmp_path / "empty", tmp_path / "no"]


def test_the_planners_bound_is_the_longest_of_its_failures() -> None:
    found = planned(FAST, 2)
    assert found is not None
    bounds = [stall_bound(FAST, "blackhole").worst_ns, stall_bound(FAST, "reset").worst_ns,
              stall_bound(FAST, "hang").worst_ns]
    assert found.stall_ns == max(bound for bound in bounds if bound is not None)
    assert planned(FAST, 1) is None
    endless = planned(FAST.replace(replacement_timeout=-1, fast_io_fail_tmo=None), 2)
    assert endless is not None
    assert endless.stall_ns is None


def test_a_stall_without_end_is_refused() -> None:
    with pytest.raises(InputError, match="--stall: no threshold outlasts a stall without end: the planner's"):
        failover_stall([Source(None, "the planner's bound")], measured([MS]))


def test_failovers_that_were_seen_count() -> None:
    found = measured([MS])
    found.failovers.append((5, 4 * NS_PER_S))
    stall = failover_stall([Source(NS_PER_S, "given")], found)
    assert stall.stall_ns == 5 * NS_PER_S
    assert "that met a failover here" in stall.sources[0].words


def test_each_heartbeat_waits_for_its_own_requests() -> None:
    found = measured([3 * MS, 5 * MS])
    assert list(latencies_for("sbd", found)) == [MS, MS]
    assert list(latencies_for("own", found)) == [4 * MS, 6 * MS]  # it reads back what it wrote
    assert list(latencies_for("o2cb", found)) == list(latencies_for("sanlock", found)) == [3 * MS, 5 * MS]


@pytest.mark.parametrize(("personality", "reads", "own"), [
    ("o2cb", ((0, 8 * 512),), 7 * 512), ("all", ((0, 8 * 512),), 7 * 512),
    ("own", ((0, 9 * 512),), 8 * 512), ("sanlock", ((0, 1 << 20),), 7 * 512),
    ("sbd", ((0, 512), (15 * 512, 512), (16 * 512, 512)), None),
])
def test_the_requests_of_each_personality(
    personality: str, reads: tuple[tuple[int, int], ...], own: int | None
) -> None:
    found = pattern_for(personality, 8, 512, read_only=False)
    assert (found.reads, found.own) == (reads, own)
    assert pattern_for(personality, 8, 512, read_only=True).own is None


def test_present_settings_by_their_names() -> None:
    kinds = kinds_of("all")
    assert present_settings(["O2CB_HEARTBEAT_THRESHOLD=7", "sbd.watchdog=15", "sbd.msgwait=30"], kinds) == {
        "o2cb": O2cb(heartbeat_threshold=7), "sbd": Sbd(watchdog=15, msgwait=30)}
    assert present_settings(["sanlock.io_timeout=20"], kinds_of("sanlock")) == {"sanlock": Sanlock(io_timeout=20)}
    with pytest.raises(InputError, match=r"--present: sbd.watchdog: expected a setting of o2cb"):
        present_settings(["sbd.watchdog=15"], kinds_of("o2cb"))
    with pytest.raises(InputError, match="there is none of this --personality"):
        present_settings(["sbd.watchdog=15"], kinds_of("own"))


def test_findings_from_a_measurement() -> None:
    found = measured([2 * MS + (index * 7919 % 1000) * 1000 for index in range(400)])
    found.errors, found.first_error, found.unended_ns = 2, "EIO", 3 * NS_PER_S
    question = Question(kinds_of("all"), 10, 100, 1, {"o2cb": O2cb(heartbeat_threshold=7)})
    stall = failover_stall([Source(seconds(20), "given")], found)
    findings = advise_all(question, found, stall, {"words": "400 heartbeats"}, ["a note"])
    assert [advice.kind for advice, _ in findings.advice] == ["own", "o2cb", "sbd", "sanlock"]
    assert all(advice.jitter_ns == 399_000 for advice, _ in findings.advice)
    assert [setting.subject for setting in findings.present] == [O2cb(heartbeat_threshold=7)]
    assert findings.is_bad  # seven is too low
    assert findings.notes[0] == "a note"
    for words in ("had not ended after 3 s", "2 requests failed, the first: EIO", "short: 400 of the 100,000"):
        assert any(words in note for note in findings.notes), words
    again = advise_all(question, found, stall, {"words": "400 heartbeats"}, ["a note"])
    assert again == findings
    without = advise_all(Question(kinds_of("sbd"), 10, 0, 1, {}), found, stall, {"words": ""}, [])
    assert [trial for _, trial in without.advice] == [None]
