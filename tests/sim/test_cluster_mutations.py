"""Each bug planted in the heartbeat is found by the swarm of clusters, within the seeds that are stated for it."""

import os

import pytest
from tests.sim.cluster_mutations import MUTATIONS

from mpio.sim.cluster import draw_plan, run_plan

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("MPIO_TEST_COMPILED")), reason="what is compiled can't be broken at run time")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_planted_bug_is_found(name: str) -> None:
    mutation = MUTATIONS[name]
    with mutation.plant():
        for seed in range(mutation.seeds_max):
            if run_plan(draw_plan(seed)).violations:
                return
    pytest.fail(f"not found within {mutation.seeds_max} seeds: {mutation.about}")


def test_there_are_enough_of_them() -> None:
    assert len(MUTATIONS) >= 12
