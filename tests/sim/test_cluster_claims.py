"""What a cluster over maps promises, fault by fault."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from mpio.heartbeat import quorum
from mpio.sim.cluster import ClusterPlan, Fault, draw_plan, run_plan
from mpio.sim.cluster.plan import CABLE, INSTANT
from mpio.sim.cluster.run import Run
from mpio.sim.cluster.theory import StorageTheory
from mpio.sim.cluster.world import Record

S = 1_000_000_000
TIMES = {"period_ns": S, "deadline_ns": 6 * S, "fence_ns": S // 5, "drain_ns": S // 5, "dead_ns": 7 * S,
         "rate_ppm": 1000, "split_ns": S}
SETTINGS = {
    "noop_out_interval": 0.4, "noop_out_timeout": 0.4, "timeout": 3.0, "abort_timeout": 0.5, "lu_reset_timeout": 0.5,
    "login_timeout": 1.0, "reconnect_delay_max": 0.5, "fast_io_fail_tmo": 0.0, "no_path_retry": "queue",
}


def plan_with(*faults: Fault, nodes: int = 2, seed: int = 3, **changes: Any) -> ClusterPlan:
    plan = draw_plan(seed, "own")
    settings = changes.pop("settings", SETTINGS)
    assert isinstance(settings, dict)
    return dataclasses.replace(
        plan, nodes=nodes, tpgts=(1, 1), heartbeat=TIMES, settings=settings, node_ppm=(-500, 500, 0, 0)[:nodes],
        shared=False, latency_ns=0, delay_ns=200_000, fence_late_ns=S // 10, reboot_ns=5 * S, faults=faults,
        heal_ns=max(fault.ends_ns for fault in faults) + 8 * S, **changes)


def record_of(plan: ClusterPlan) -> Record:
    """What happened, provided that nothing was found."""
    kept: list[Record] = []

    def look(run: Run) -> None:
        kept.append(run.world.record)

    result = run_plan(plan, look)
    assert not result.violations
    return kept[0]


@pytest.mark.parametrize("kind", sorted(CABLE))
@pytest.mark.parametrize("portal", [0, 1])
def test_no_node_is_fenced_for_a_single_path(kind: str, portal: int) -> None:
    amount = {"loss": 300, "slow": 300_000_000}.get(kind, 0)
    for step in range(4):
        fault = Fault(kind, 6 * S + step * S // 4, 0 if kind in INSTANT else 15 * S, 1, portal, amount)  # type: ignore[arg-type]
        plan = plan_with(fault, seed=step)
        stall_ns = StorageTheory(plan, [fault]).stall_ns
        assert TIMES["period_ns"] + stall_ns + S // 2 < TIMES["deadline_ns"]
        record = record_of(plan)
        assert not record.fenced
        assert not record.counts["told PeerDead"]


@pytest.mark.parametrize("kind", ["all_blackhole", "all_hold", "all_reset"])
@pytest.mark.parametrize("nodes", [2, 3])
def test_who_loses_all_paths_is_fenced_alone_and_in_time(kind: str, nodes: int) -> None:
    duration = 6 * S if kind == "all_hold" else 14 * S
    record = record_of(plan_with(Fault(kind, 6 * S, duration, nodes - 1), nodes=nodes))  # type: ignore[arg-type]
    fences = [fence for fence in record.fenced if fence.life[0] == nodes - 1]
    assert len(record.fenced) == len(fences)
    if kind != "all_hold":
        assert [fence.cause for fence in fences] == ["storage"]
        assert 6 * S + 5 * S - S // 2 <= fences[0].t_ns <= 6 * S + 6 * S + S // 10


def test_a_deadline_below_the_stall_of_a_path_fences() -> None:
    """Unless a checker fails the path sooner: then the next heartbeat, beside the stuck one, goes round it."""
    slow = SETTINGS | {"noop_out_interval": 5.0, "noop_out_timeout": 5.0, "timeout": 30.0, "checker_timeout": 30.0,
                       "path_grouping_policy": "failover"}
    records = [record_of(plan_with(Fault("blackhole", 6 * S, 20 * S, 1, portal), settings=slow)) for portal in (0, 1)]
    causes = sorted([str(fence.cause) for fence in record.fenced] for record in records)
    assert causes == [[], ["storage"]]  # only the path in use counts


def test_nobody_is_fenced_while_everybody_hangs() -> None:
    record = record_of(plan_with(Fault("disk_hang", 6 * S, 20 * S), nodes=3))
    assert not record.fenced
    assert record.negotiated


def test_everybody_is_fenced_while_everybody_hangs_and_nobody_is_heard() -> None:
    record = record_of(plan_with(Fault("disk_hang", 6 * S, 20 * S), Fault("split", 5 * S, 20 * S, amount=1)))
    assert len(record.fenced) == 2


def test_a_node_that_stands_still_for_too_long_is_ended_by_its_watchdog() -> None:
    record = record_of(plan_with(Fault("node_pause", 6 * S, 9 * S, 1)))
    assert [life[0] for life in record.bitten] == [1]
    assert not record.fenced


def test_a_node_that_stands_still_for_a_while_goes_on() -> None:
    record = record_of(plan_with(Fault("node_pause", 6 * S, 4 * S, 1)))
    assert not record.gone


@pytest.mark.parametrize("lost", [0, 1])
def test_of_two_halves_the_one_that_clients_reach_goes_on(lost: int) -> None:
    record = record_of(plan_with(
        Fault("clients_lost", 5 * S, 20 * S, lost), Fault("split", 7 * S, 17 * S, amount=1)))
    assert {fence.life[0] for fence in record.fenced} == {lost}
    assert {fence.cause for fence in record.fenced} == {"quorum"}


def without_storage_and_reached(node: int) -> ClusterPlan:
    """Clients reach one side only, which loses its storage as the split begins, long before that is decided."""
    plan = plan_with(Fault("clients_lost", 5 * S, 20 * S, 1 - node), Fault("split", 7 * S, 14 * S, amount=1),
                     Fault("all_blackhole", 7 * S, 13 * S, node))
    return dataclasses.replace(
        plan, heartbeat=TIMES | {"deadline_ns": 10 * S, "dead_ns": 11 * S, "split_ns": 6 * S})


def test_storage_ranks_above_clients() -> None:
    """The side without storage cannot win by being reached."""
    for node in (0, 1):
        assert {fence.life[0] for fence in record_of(without_storage_and_reached(node)).fenced} == {node}


def test_clients_before_data_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        quorum, "_rank", lambda group: (True, max(view.score for view in group), 0, len(group), -group[0].node))
    kinds = [violation.kind for violation in run_plan(without_storage_and_reached(1)).violations]
    assert "unsafe-side" in kinds


def test_poison_ends_its_victim_and_the_others_know_at_once_if_the_fence_was_acknowledged() -> None:
    poison = Fault("poison", 6 * S, 0, 1, 0, 0)
    record = record_of(plan_with(poison, holds=True))
    assert [(fence.life[0], fence.cause) for fence in record.fenced] == [(1, "poison")]
    dead = [told.t_ns for told in record.told if told.kind == "PeerDead" and told.node == 0]
    assert dead
    assert dead[0] - record.fenced[0].t_ns < S // 2 + TIMES["fence_ns"]
    reset = record_of(plan_with(poison, holds=False))
    dead = [told.t_ns for told in reset.told if told.kind == "PeerDead" and told.node == 0]
    assert dead[0] - reset.fenced[0].t_ns > TIMES["dead_ns"] - 2 * S


# --- the others, where theory says that they are safe, and where not


def of_others(personality: str, heartbeat: Mapping[str, object], *faults: Fault, **changes: Any) -> ClusterPlan:
    plan = plan_with(*faults, **changes)
    return dataclasses.replace(
        plan, personality=personality, heartbeat={**heartbeat, "fence_ns": S // 10}, reboot_ns=60 * S)  # type: ignore[arg-type]


def landing_of_a_heartbeat(plan: ClusterPlan, node: int, after_ns: int) -> int:
    """When the first heartbeat of a node's first life that lands after an instant does so."""
    found: list[int] = []

    def look(run: Run) -> None:
        world = run.world
        found.extend(at for block, at in world._landed.items() if world._sent[block][0] == (node, 1))

    run_plan(plan, look)
    return min(at for at in found if at > after_ns)


def test_a_block_that_others_see_long_before_its_writer_hears_of_it_breaks_o2cb_and_not_ours() -> None:
    """S2 of the theory: the answer is held, then storage is lost altogether. A deadline must count from the issue."""
    patient = SETTINGS | {"noop_out_interval": 30.0, "noop_out_timeout": 30.0, "timeout": 60.0, "checker_timeout": 60.0}
    timers = {"heartbeat_threshold": 5, "idle_timeout_ms": 60_000}
    exact = {"tpgts": (1,), "node_ppm": (0, 0), "jitter_ns": 0}

    def cluster_with(*faults: Fault) -> ClusterPlan:
        return dataclasses.replace(of_others("o2cb", timers, *faults, settings=patient), **exact)  # type: ignore[arg-type]

    landed_ns = landing_of_a_heartbeat(cluster_with(Fault("net_slow", 12 * S, S)), 1, 12 * S)
    held = Fault("hold_back", landed_ns + 100_000, 5 * S, 1)  # its writer would hear of it 0.2 ms after it landed
    faults = (held, Fault("blackhole", held.ends_ns, 15 * S, 1))
    assert record_of(cluster_with(*faults)).counts["not-stopped that S2 predicts"] == 1
    ours = dataclasses.replace(plan_with(*faults, settings=patient), **exact)  # type: ignore[arg-type]
    record = record_of(ours)
    assert [fence.life[0] for fence in record.fenced] == [1]
    assert record.counts["told PeerDead"]


@pytest.mark.parametrize(("msgwait", "found"), [(11, False), (3, True)])
def test_a_pill_counts_as_taken_once_its_victim_must_have_fenced_itself(msgwait: int, found: bool) -> None:
    """SBD's msgwait has to be longer than W + I + 2 l: the victim may be unable to read the pill."""
    timers = {"watchdog": 5, "msgwait": msgwait, "pacemaker": False}
    faults = (Fault("all_blackhole", 8 * S, 25 * S, 1), Fault("split", 8 * S, 25 * S, amount=1))
    result = run_plan(of_others("sbd", timers, *faults))
    assert ("not-stopped" in [violation.kind for violation in result.violations]) == found
    assert found or not result.violations
