"""Campaigns on an embedded Dask cluster: the same digests, and one clear word when workers are gone."""

import dataclasses
import os
from collections.abc import Iterator, Sequence

import pytest
from tests.sim.test_campaign import BOTH, SCENARIO, Deadly

from mpio.errors import ConnectFailed
from mpio.sim import pools
from mpio.sim.campaign import Campaign, Job, RunOutcome, run_campaign

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

# Dask's own threads and sockets end when they like
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The scheduler of a cluster with two workers; a job that kills one worker is not tried on the other."""
    settings = {"distributed.scheduler.allowed-failures": 0, "distributed.comm.timeouts.connect": "20s"}
    with dask.config.set(settings), distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster.scheduler_address


def test_the_same_runs_as_in_this_process(address: str) -> None:
    campaign = Campaign(SCENARIO, BOTH, runs=3)
    assert run_campaign(campaign, pools.dask(address)).outcomes == run_campaign(campaign, pools.in_process).outcomes


def test_a_lost_worker_leaves_what_was_done(address: str) -> None:
    campaign = Campaign(SCENARIO, BOTH[:1], runs=12)

    def pool(jobs: Sequence[Job]) -> Iterator[RunOutcome]:
        deadly = dataclasses.replace(jobs[-1], scenario=Deadly(os.getpid()))  # type: ignore[arg-type]
        yield from pools.dask(address)([*jobs[:-1], deadly])

    result = run_campaign(campaign, pool)
    assert "the Dask cluster lost a run" in result.lost
    assert result.outcomes
    assert result.missing


def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "CONNECT_TIMEOUT_S", 0.5)
    with pytest.raises(ConnectFailed, match=r"the Dask scheduler tcp://127\.0\.0\.1:1 can't be reached"):
        run_campaign(Campaign(SCENARIO, BOTH, runs=1), pools.dask("tcp://127.0.0.1:1"))


def test_a_cluster_without_workers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "WITHOUT_WORKERS_S", 1.0)
    with distributed.LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        result = run_campaign(Campaign(SCENARIO, BOTH, runs=1), pools.dask(cluster.scheduler_address))
    assert result.lost == "the Dask cluster has had no worker for 1 s"
    assert result.missing == 2
