"""Campaigns: which runs there are, that where they run changes nothing, and what is left when workers die."""

import dataclasses
import os
import signal
from collections.abc import Iterator, Sequence

import pytest

from mpio.check.verdict import Result
from mpio.drill.parse import builtin, parse_scenario
from mpio.errors import InputError
from mpio.model.settings import FAST, SLES10
from mpio.sim import pools
from mpio.sim.campaign import (
    Campaign,
    Job,
    RunOutcome,
    Subject,
    WorkersLost,
    run_campaign,
    run_job,
)
from mpio.sim.pools import in_process, processes
from mpio.sim.run import simulate

SCENARIO = builtin("reset")
BOTH = (Subject("fast", FAST), Subject("sles10", SLES10))


class Deadly:
    """Kills the process that it is sent to, unless that is the one that it comes from."""

    def __init__(self, home: int) -> None:
        if os.getpid() != home:
            os._exit(9)
        self._home = home

    def __reduce__(self) -> tuple[object, ...]:
        return Deadly, (self._home,)


def test_every_subject_meets_every_seed_and_subjects_take_turns() -> None:
    jobs = Campaign(SCENARIO, BOTH, runs=3, first_seed=7).jobs()
    assert [(job.subject, job.seed) for job in jobs] == [(0, 7), (1, 7), (0, 8), (1, 8), (0, 9), (1, 9)]
    assert [job.scenario.settings for job in jobs[:2]] == [FAST, SLES10]
    assert [job.scenario.profile for job in jobs[:2]] == ["fast", "sles10"]


@pytest.mark.parametrize(("runs", "seed"), [(0, 1), (1, -1), (2, 2**63 - 2)])
def test_a_campaign_of_nothing_or_beyond_the_seeds_is_refused(runs: int, seed: int) -> None:
    with pytest.raises(ValueError, match=r"runs|seed"):
        Campaign(SCENARIO, BOTH, runs, seed)


def test_a_job_is_the_simulation_and_nothing_else() -> None:
    job = Campaign(SCENARIO, BOTH, runs=1, first_seed=5).jobs()[0]
    outcome, result = run_job(job), simulate(SCENARIO, 5, FAST)
    assert outcome.digest == result.digest
    assert outcome.verdict is result.verdict is Result.PASS
    assert [fault.stall_ns for fault in outcome.faults] == [stall.worst_stall_ns for stall in result.stalls]
    assert [fault.bound_ns for fault in outcome.faults] == [stall.bound_ns for stall in result.stalls]
    assert outcome.worst_stall_ns == result.worst_stall_ns > 0
    assert outcome.simulated_ns == result.simulated_ns


def test_processes_do_the_same_runs_as_this_one() -> None:
    campaign = Campaign(SCENARIO, BOTH, runs=2)
    here, there = run_campaign(campaign, in_process), run_campaign(campaign, processes(2))
    assert here.outcomes == there.outcomes
    assert not there.missing
    assert len({outcome.digest for outcome in here.outcomes}) == 4
    assert [outcome.seed for outcome in there.of(1)] == [1, 2]


def test_what_was_done_before_a_worker_died_is_kept() -> None:
    campaign = Campaign(SCENARIO, BOTH[:1], runs=12)

    def pool(jobs: Sequence[Job]) -> Iterator[RunOutcome]:
        deadly = dataclasses.replace(jobs[-1], scenario=Deadly(os.getpid()))  # type: ignore[arg-type]
        yield from processes(1)([*jobs[:-1], deadly])

    told: list[RunOutcome] = []
    result = run_campaign(campaign, pool, told.append)
    assert "worker process died" in result.lost
    assert result.outcomes
    assert sorted(outcome.seed for outcome in told) == [outcome.seed for outcome in result.outcomes]
    assert result.missing == 12 - len(result.outcomes) >= 1
    assert result.outcomes[0] == run_job(campaign.jobs()[0])


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_in_the_middle_of_a_run_is_heard_after_it_and_a_second_one_at_once(
    monkeypatch: pytest.MonkeyPatch, times: int,
) -> None:
    done: list[int] = []

    def run_job_and_press(job: Job) -> RunOutcome:
        outcome = run_job(job)
        if job.seed == 2:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
        done.append(job.seed)
        return outcome

    monkeypatch.setattr(pools, "run_job", run_job_and_press)
    result = run_campaign(Campaign(SCENARIO, BOTH[:1], runs=9), in_process)
    assert result.lost == "interrupted"
    assert done == ([1, 2] if times == 1 else [1])
    assert [outcome.seed for outcome in result.outcomes] == done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_pool_that_is_gone_leaves_an_empty_result() -> None:
    def pool(jobs: Sequence[Job]) -> Iterator[RunOutcome]:
        yield from in_process(jobs[:0])
        raise WorkersLost(f"none for {len(jobs)}")

    result = run_campaign(Campaign(SCENARIO, BOTH, runs=2), pool)
    assert (result.outcomes, result.missing, result.lost) == ((), 4, "none for 4")


def test_a_scenario_that_can_t_be_run_is_refused_from_any_process() -> None:
    scenario = parse_scenario("[target]\nportals = 2\n[[step]]\naction = 'inject'\npath = 2\n")
    impossible = dataclasses.replace(scenario, target=dataclasses.replace(scenario.target, portals=1))
    campaign = Campaign(impossible, BOTH[:1], runs=2)
    for pool in (in_process, processes(2)):
        with pytest.raises(InputError, match="step 1 is about path 2, and there is 1 path"):
            run_campaign(campaign, pool)


def test_claims_that_fail_are_kept_in_words() -> None:
    strict = dataclasses.replace(SCENARIO, claims=dataclasses.replace(SCENARIO.claims, max_stall=1))
    outcome = run_job(Campaign(strict, BOTH[:1], runs=1).jobs()[0])
    assert outcome.verdict is Result.FAIL
    assert [name for name, _ in outcome.broken] == ["stall within the bound"]
    assert "reset on path 1" in outcome.broken[0][1]


def test_a_fault_of_the_target_itself_is_counted_by_kind() -> None:
    planted = dataclasses.replace(SCENARIO, target=dataclasses.replace(SCENARIO.target, plant="lost:20"))
    outcome = run_job(Campaign(planted, BOTH[:1], runs=1).jobs()[0])
    assert outcome.verdict is Result.FAIL
    assert outcome.bad_blocks.get("lost", 0) >= 1
