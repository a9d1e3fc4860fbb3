"""The swarm of clusters: its runs find nothing, are functions of their seeds, and can be shown and made smaller."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sim.cluster_mutations import MUTATIONS

from mpio.errors import InputError
from mpio.sim.cluster import ClusterPlan, Fault, draw_plan, run_plan
from mpio.sim.cluster.__main__ import main
from mpio.sim.cluster.campaign import campaign
from mpio.sim.cluster.plan import KINDS
from mpio.sim.cluster.run import Run
from mpio.sim.cluster.shrink import shrinker

REGRESSIONS = sorted((Path(__file__).parent / "regressions" / "cluster").glob("*.json"))
S = 1_000_000_000


@pytest.mark.parametrize("personality", ["own", "o2cb"])
def test_seeds_find_nothing(personality: str) -> None:
    for seed in range(20):
        result = run_plan(draw_plan(seed, personality))  # type: ignore[arg-type]
        assert not result.violations, (seed, result.violations)
        assert result.recovered_ns is not None


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_plans_that_once_failed(path: Path) -> None:
    assert not run_plan(ClusterPlan.from_json(path.read_text(encoding="utf-8"), path.name)).violations


def test_every_kind_of_fault_is_drawn() -> None:
    kinds = {fault.kind for seed in range(1500) for fault in draw_plan(seed).faults}
    assert kinds == set(KINDS)


def test_a_plan_survives_json() -> None:
    for seed in range(50):
        plan = draw_plan(seed)
        assert ClusterPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(("text", "words"), [
    ("{}", "faults"), ("[]", "not a plan"), ("nonsense", "not a plan"),
    (draw_plan(0).to_json().replace('"kind": "', '"kind": "un'), "no such kind"),
    (dataclasses.replace(draw_plan(0), faults=(Fault("poison", S, 0, 0, 0, 9),)).to_json(), "node 9 is not there"),
    (dataclasses.replace(draw_plan(0), nodes=7).to_json(), "one clock for each node"),
    (dataclasses.replace(draw_plan(0), personality="paxos").to_json(), "personality"),  # type: ignore[arg-type]
    (dataclasses.replace(draw_plan(0), settings={"no_such": 1}).to_json(), "no_such"),
])
def test_what_is_no_plan_is_refused_with_a_reason(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ClusterPlan.from_json(text, "plan.json")


def test_a_run_is_a_function_of_its_seed_in_any_process() -> None:
    script = "from mpio.sim.cluster import *; print([run_plan(draw_plan(s)).digest for s in range(6)])"
    said = [subprocess.run([sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, check=True,
                           capture_output=True, text=True).stdout for seed in ("1", "2")]
    assert said[0] == said[1]


def test_a_campaign_on_two_processes_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpio.sim.seeds.CHUNK", 5)
    tally = campaign(3, 12, 2)
    assert (tally.runs, tally.repeated, tally.unlike, tally.failed_runs) == (12, 5, [], 0)
    alone = campaign(3, 12, 1)
    assert (alone.counts, alone.faults, alone.steps) == (tally.counts, tally.faults, tally.steps)


def test_all_paths_down_fences_that_node_and_no_other() -> None:
    fault = Fault("all_blackhole", 6 * S, 20 * S, node=1)
    plan = dataclasses.replace(draw_plan(0, "own"), faults=(fault,), heal_ns=26 * S, shared=False)

    def look(run: Run) -> None:
        assert [fence.life[0] for fence in run.world.record.fenced] == [1]
        assert run.world.record.counts["fence that had to come"] == 1

    assert not run_plan(plan, look).violations


def test_the_program_says_what_it_did(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report = tmp_path / "a" / "report.txt"
    assert main(["--runs", "3", "--workers", "1", "--report", str(report)]) == 0
    said = capsys.readouterr().out
    assert report.read_text(encoding="utf-8") == said
    assert "3 runs" in said
    assert "runs with violations: 0" in said


def test_a_replay_shows_plan_and_events(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    saved = tmp_path / "plan.json"
    saved.write_text(draw_plan(5).to_json(), encoding="utf-8")
    assert main(["--replay", str(saved)]) == 0
    of_file = capsys.readouterr().out
    assert main(["--replay", "5"]) == 0
    assert capsys.readouterr().out == of_file
    assert "HeartbeatStateChanged" in of_file


@pytest.mark.parametrize("arguments", [["--replay", "/no/such/file"], ["--runs", "0"], ["--workers", "0"]])
def test_bad_usage_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1
    assert not said.out


def test_a_failing_plan_is_made_smaller() -> None:
    with MUTATIONS["error_extends"].plant():
        plan = next(plan for plan in map(draw_plan, range(40)) if len(plan.faults) > 1 and run_plan(plan).violations)
        small = shrinker(plan, frozenset(("lease",)), runs_max=60).shrink()
        assert any(violation.kind == "lease" for violation in run_plan(small).violations)
    assert len(small.faults) < len(plan.faults)
    assert not run_plan(small).violations
