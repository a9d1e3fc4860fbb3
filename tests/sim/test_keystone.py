"""The keystone: for random settings and faults, what is simulated lies within what the planner says, and comes close.

A bound that is never approached is as wrong as one that is broken: then a term is missing, or slack.
"""

import pytest
from tests.sim.keystone import FAULTS, Case, run_case, was_held_up

from mpio.check.verdict import Result
from mpio.planner.stall import Failure

RUNS = 25
CLOSE = 0.9


@pytest.fixture(scope="module")
def cases() -> dict[Failure, list[Case]]:
    return {failure: [run_case(failure, seed) for seed in range(RUNS)] for failure in FAULTS}


@pytest.mark.parametrize("failure", FAULTS)
def test_every_stall_lies_within_the_plan(failure: Failure, cases: dict[Failure, list[Case]]) -> None:
    for case in cases[failure]:
        assert case.budget.worst_ns is not None
        assert case.measured_ns <= case.budget.worst_ns, str(case)
        if was_held_up(case):
            assert case.measured_ns >= case.budget.best_ns, str(case)


@pytest.mark.parametrize("failure", FAULTS)
def test_some_stall_comes_close_to_the_worst(failure: Failure, cases: dict[Failure, list[Case]]) -> None:
    assert sum(map(was_held_up, cases[failure])) >= RUNS // 4  # or the fault mostly met nobody
    closest = max(cases[failure], key=lambda case: case.measured_ns / (case.budget.worst_ns or 1))
    assert closest.measured_ns >= CLOSE * (closest.budget.worst_ns or 0), str(closest)


@pytest.mark.parametrize("failure", FAULTS)
def test_nothing_is_lost_and_every_run_ends(failure: Failure, cases: dict[Failure, list[Case]]) -> None:
    for case in cases[failure]:
        assert case.result.error == "", str(case)
        if case.settings.fence != "none":
            data = next(claim for claim in case.result.claims if claim.name == "no data lost")
            assert data.result is Result.PASS, f"{case}: {data.detail}"
