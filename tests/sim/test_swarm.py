"""The swarm as a whole: determinism, safety with fences, ghosts without, every fault by itself, coverage, campaign."""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from unittest import mock

import pytest
from tests.sim.swarm_kit import MS, WORK, fault, plan

from mpio.errors import InputError
from mpio.proto.scsi import excluding
from mpio.sim.seeds import CHUNK, Chunk
from mpio.sim.swarm import Plan, RunResult, draw_plan, run_plan
from mpio.sim.swarm.__main__ import main, report
from mpio.sim.swarm.campaign import SwarmLost, Tally, run_chunk, swarm
from mpio.sim.swarm.coverage import universe
from mpio.sim.swarm.plan import KINDS
from mpio.sim.swarm.shrink import shrinker

SEEDS = int(os.environ.get("MPIO_SWARM_SEEDS", "300"))
"""Runs of the safety test; `make swarm` does very many more."""
GHOST_SEEDS = 300
DIGEST_SEEDS = range(12)
REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.json"))
AMOUNTS = {"loss": 200, "slow": 400 * MS, "throttle": 20_000, "delay": 1000 * MS, "disk_slow": 300 * MS, "busy": 1000,
           "drop_response": 500, "short": 500, "sense": 5, "alua": 2, "ask_logout": 1}


def texts(result: RunResult) -> list[str]:
    return [str(violation) for violation in result.violations]


# --- safety and liveness


@functools.cache
def tally_of(first: int) -> Tally:
    return run_chunk(Chunk(first, CHUNK))[1]


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_nothing_is_lost_and_everything_recovers(first: int) -> None:
    tally = tally_of(first)
    assert tally.failed == {}, "replay with: python -m mpio.sim.swarm --replay SEED"
    assert tally.counts["write ok"] > 10 * CHUNK
    assert tally.counts["read ok"] > 10 * CHUNK


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_by_itself_is_survived(kind: str) -> None:
    for for_ms in (5, 300, 1500):
        result = run_plan(plan(fault(kind, 200, for_ms, amount=AMOUNTS.get(kind, 0)), volatile=True, latency_ns=MS))
        assert texts(result) == []
        assert f"fault: {kind}" in result.reached
        if kind != "host_crash":  # whoever looks at what it left does not write
            assert result.counts["write ok"] >= 5


def test_a_run_without_faults_has_no_errors() -> None:
    result = run_plan(plan())
    assert texts(result) == []
    assert {name for name in result.counts if not name.endswith(" ok")} == set()
    assert not any(item.startswith("record: ConnectionLost") for item in result.reached)
    assert result.recovered_ns is not None
    assert result.recovered_ns < result.bound_ns


def test_a_recovery_that_takes_too_long_is_told() -> None:
    """With all paths refused for longer than the plan owns up to, liveness must be missed."""
    hidden = plan(fault("refuse", 100, 90_000), fault("refuse", 100, 90_000, portal=1), fault("reset", 200),
                  fault("reset", 200, portal=1))
    result = run_plan(Plan.from_json(hidden.to_json().replace(str(hidden.heal_ns), str(1000 * MS))))
    assert any(text.startswith("liveness: path 1 of host0 is failed") for text in texts(result))


# --- ghosts


def held_back(fence: str) -> RunResult:
    """A path goes silent, its writes are done again by the other one, and then the network lets the old ones out."""
    return run_plan(plan(fault("hold", 300, 2000), settings={"fence": fence, "path_grouping_policy": "multibus"}))


def test_without_fences_an_old_write_lands_over_a_newer_one() -> None:
    assert any(violation.kind == "ghost" for violation in held_back("none").violations)


def test_with_fences_it_does_not() -> None:
    result = held_back("auto")
    assert texts(result) == []
    assert "record: FenceCompleted reinstate" in result.reached


def test_what_is_on_its_way_is_kept_out_by_the_reservation_and_not_by_the_preemption() -> None:
    """Between portal groups no login ends the old session, which may still get what the network has held back."""
    work = dataclasses.replace(WORK, workers=4, ios=200, reads=0.0, flushes=0.0, think_ns=5 * MS)
    settings = {"fence": "preempt", "reservation_key": 4096}
    late = plan(fault("hold", 300, 2000), settings=settings, tpgts=(1, 2), work=work)
    result = run_plan(late)
    assert texts(result) == []
    assert "record: FenceCompleted preempt" in result.reached
    with mock.patch.object(excluding, "_reserve", return_value=()):
        assert "unfenced" in {violation.kind for violation in run_plan(late).violations}


def test_the_swarm_finds_ghosts_where_nothing_fences_and_none_where_something_does() -> None:
    """What there is with a fence is in `test_nothing_is_lost_and_everything_recovers`."""
    for seed in range(GHOST_SEEDS):
        kinds = {violation.kind for violation in run_plan(draw_plan(seed, fence="none")).violations}
        assert kinds <= {"ghost", "late-copy", "lost", "stale"}
        if "ghost" in kinds:
            return
    pytest.fail(f"no ghost within {GHOST_SEEDS} seeds")


# --- determinism


def test_a_run_is_a_function_of_its_seed() -> None:
    """Also in another process, with another order of hashes and other addresses."""
    program = ("import json; from mpio.sim.swarm import draw_plan, run_plan;"
               f"print(json.dumps([run_plan(draw_plan(seed)).digest for seed in {list(DIGEST_SEEDS)}]))")
    digests = []
    for hash_seed in ("1", "2"):
        output = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True,
            env=os.environ | {"PYTHONHASHSEED": hash_seed})
        digests.append(json.loads(output.stdout))
    here = [run_plan(draw_plan(seed)).digest for seed in DIGEST_SEEDS]
    assert digests == [here, here]
    assert len(set(here)) == len(here)


def test_plans_go_through_json() -> None:
    for seed in range(50):
        drawn = draw_plan(seed)
        assert Plan.from_json(drawn.to_json()) == drawn


@pytest.mark.parametrize("text", [
    "", "[]", "{}", '{"faults": []}', plan(fault("hold", 1)).to_json().replace("hold", "holdup"),
    plan().to_json().replace('"seed"', '"sead"'),
])
def test_what_is_no_plan_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"^here: is no plan of a run: [^\n]+$"):
        Plan.from_json(text, "here")


# --- campaign and coverage


def test_a_campaign_on_two_processes_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpio.sim.seeds.CHUNK", 10)
    one, two = swarm(0, 25, 1), swarm(0, 25, 2)
    assert one.runs == two.runs == 25
    assert one.counts == two.counts
    assert one.reached == two.reached
    assert one.repeated == two.repeated == 10
    assert one.unlike == two.unlike == []
    assert "25 runs" in report(one, 1.0)


def test_a_campaign_reaches_most_of_what_there_is_and_names_the_rest() -> None:
    tally = Tally()
    for first in range(0, SEEDS, CHUNK):
        tally.add(tally_of(first))
    never = tally.never_reached()
    assert set(tally.reached) <= set(universe())
    assert set(never) == set(universe()) - set(tally.reached)
    shares = {area: reached / count for area, reached, count in tally.combinations()}
    assert shares["fault"] == 1
    assert shares["record"] > 0.8
    assert shares["path"] > 0.7
    assert shares["together"] > 0.8
    text = report(tally, 1.0)
    assert all(f"  {item}\n" in text for item in never)


def test_a_lost_process_is_told_and_what_was_done_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool(ThreadPoolExecutor):
        def __init__(self, workers: int, mp_context: object) -> None:
            super().__init__(1)

    def die_at_the_second(chunk: Chunk, fence: str | None) -> tuple[Chunk, Tally, str]:
        if chunk.first:
            raise BrokenProcessPool
        return chunk, Tally(runs=chunk.count), ""

    monkeypatch.setattr("mpio.sim.seeds.CHUNK", 5)
    monkeypatch.setattr("mpio.sim.seeds.ProcessPoolExecutor", Pool)
    monkeypatch.setattr("mpio.sim.swarm.campaign.run_chunk", die_at_the_second)
    with pytest.raises(SwarmLost, match="a process of the swarm died") as caught:
        swarm(0, 20, 2)
    assert caught.value.tally.runs <= 5


def test_failed_runs_are_counted_and_told() -> None:
    result = held_back("none")
    tally = Tally()
    for _ in range(2):
        tally.add_run(result)
    total = Tally()
    total.add(tally)
    assert (total.failed_runs, total.failures["ghost"], list(total.failed)) == (2, 2, [result.seed])
    assert f"--replay {result.seed}" in report(total, 1.0)


def test_unlike_repetitions_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = iter(("a", "b"))
    monkeypatch.setattr(
        "mpio.sim.swarm.campaign.run_chunk", lambda chunk, fence: (chunk, Tally(runs=chunk.count), next(digests)))
    assert swarm(7, 10, 1).unlike == [7]


def test_the_program_runs_replays_and_shrinks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "3", "--workers", "1", "--report", str(tmp_path / "report.txt")]) == 0
    assert capsys.readouterr().out == (tmp_path / "report.txt").read_text()
    failing = tmp_path / "plan.json"
    failing.write_text(plan(fault("hold", 300, 2000), settings={"fence": "none"}, tpgts=(1, 1, 1)).to_json())
    assert main(["--replay", str(failing), "--shrink", str(tmp_path / "small.json")]) == 1
    assert "small.json: 1 faults" in capsys.readouterr().out
    assert main(["--replay", str(tmp_path / "small.json")]) == 1
    assert main(["--replay", "0"]) == 0
    assert main(["--replay", str(tmp_path / "none.json")]) == 2
    assert "can't be read" in capsys.readouterr().err


# --- shrinking and what came of it


def test_a_failing_plan_is_made_small() -> None:
    noise = [fault(kind, 3000 + 50 * at, 20, portal=at % 2, amount=AMOUNTS.get(kind, 0))
             for at, kind in enumerate(("slow", "busy", "loss", "delay", "mute", "sense", "throttle"))]
    settings = {"fence": "none", "path_grouping_policy": "multibus", "queue_depth": 8, "header_digest": "CRC32C"}
    many = (plan(*noise, fault("hold", 303, 2001), settings=settings, jitter_ns=MS, seed=seed)
            for seed in range(50))
    large = next(each for each in many if "ghost" in {violation.kind for violation in run_plan(each).violations})
    small = shrinker(large, frozenset(("ghost",))).shrink()
    assert [step.kind for step in small.faults] == ["hold"]
    assert (small.faults[0].at_ns % (100 * MS), small.jitter_ns, small.work.workers) == (0, 0, 1)
    assert "header_digest" not in small.settings
    assert any(violation.kind == "ghost" for violation in run_plan(small).violations)


def test_a_sound_plan_can_not_be_shrunk() -> None:
    with pytest.raises(ValueError, match="shows none of ghost"):
        shrinker(plan(), frozenset(("ghost",))).shrink()


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_was_found_once_stays_mended(path: Path) -> None:
    """Files named `unfenced-…` show what happens without a fence: a ghost; and nothing with one."""
    found = Plan.from_json(path.read_text(encoding="utf-8"), str(path))
    if path.stem.startswith("unfenced-"):
        assert any(violation.kind in ("ghost", "late-copy") for violation in run_plan(found).violations)
        fenced = found.to_json().replace('"fence": "none"', '"fence": "auto"')
        found = Plan.from_json(fenced)
    assert texts(run_plan(found)) == []
