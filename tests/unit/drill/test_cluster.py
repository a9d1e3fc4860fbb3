"""Drills with several nodes, in a world of fakes and virtual time: who is fenced, who goes on, and what is claimed."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.drill.cluster_fakes import ClusterDisk, ClusterWorld
from tests.unit.drill.fakes import run_virtual, s

from mpio.check.verdict import Result
from mpio.drill.cluster import HeartbeatCluster
from mpio.drill.node import Node
from mpio.drill.parse import builtin, builtin_names, parse_scenario, with_nodes
from mpio.drill.runner import DrillRequest, DrillResult, run_drill
from mpio.drill.service import Service
from mpio.errors import InputError, MpioError
from mpio.events import Event, Kind

HEAD = """
[target]
size = "8MiB"
[workload]
region = "64KiB"
block_sizes = ["4KiB", "8KiB"]
rate = 40
workers = 2
readers = 1
[cluster]
nodes = {nodes}
heartbeat = "{kind}"
deadline = "4s"
dead_after = "6s"
watchdog = "6s"
msgwait = "14s"
threshold = {threshold}
"""
OUTAGE = """
[[step]]
action = "inject"
node = 2
at = "3s"
[[step]]
action = "wait"
after = "declared-dead"
timeout = "300s"
duration = "5s"
"""
ONE_CUT = """
[[step]]
action = "inject"
node = 1
path = 1
at = "3s"
[[step]]
action = "heal"
node = 1
path = 1
after = "failed"
delay = "2s"
[[step]]
action = "wait"
after = "reinstated"
duration = "2s"
"""


def text(steps: str, nodes: int = 2, kind: str = "own", threshold: int = 7, more: str = "") -> str:
    return HEAD.format(nodes=nodes, kind=kind, threshold=threshold) + more + steps


class Run:
    """A drill that has been run."""

    def __init__(self, tmp_path: Path, scenario: str, prepare: Any = None) -> None:
        self.world = ClusterWorld(prepare)
        request = DrillRequest(parse_scenario(scenario), tmp_path / "run", seed=1)
        self.result: DrillResult = run_virtual(run_drill(request, self.world))
        self.events = [Event.from_json(line)
                       for line in (self.result.directory / "journal.jsonl").read_text().splitlines()]

    def of(self, kind: Kind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]

    def claim(self, name: str) -> str:
        return next(claim.detail for claim in self.result.claims if claim.name == name)

    @property
    def failing(self) -> dict[str, str]:
        return {claim.name: f"{claim.result}: {claim.detail}" for claim in self.result.claims
                if claim.result is not Result.PASS}


@pytest.mark.parametrize("kind", ["own", "o2cb", "sbd"])
def test_a_single_cut_is_ridden_out_by_every_kind_of_heartbeat(tmp_path: Path, kind: str) -> None:
    run = Run(tmp_path, text(ONE_CUT, kind=kind))
    assert run.failing == {}
    assert not run.of(Kind.NODE_FENCED)
    assert {event.source for event in run.of(Kind.SERVICE_STARTED)} == {"node:1/service"}
    assert [event.fields for event in run.of(Kind.FAULT_INJECTED)] == [
        {"fault": "blackhole", "path": 1, "node": 1, "how": "fake blackhole", "expect": "failover"}]


@pytest.mark.parametrize(("kind", "deadline_s"), [("own", 4), ("o2cb", 12), ("sbd", 10)])
def test_a_node_without_paths_is_fenced_in_time_and_no_other(tmp_path: Path, kind: str, deadline_s: int) -> None:
    run = Run(tmp_path, text(OUTAGE, nodes=3, kind=kind))
    assert run.failing == {}
    (fence,), (halt,) = run.of(Kind.NODE_FENCED), run.of(Kind.NODE_HALTED)
    cut = run.of(Kind.FAULT_INJECTED)[0]
    assert fence.source == "node:2/heartbeat"
    assert s(deadline_s - 6) < fence.t_ns - cut.t_ns <= s(deadline_s)
    callers = [event for event in run.of(Kind.PEER_DEAD) if event.t_ns >= halt.t_ns]
    assert len(callers) == len(run.of(Kind.PEER_DEAD)) == 2
    assert run.world.disks[1].severed == 4  # both paths, before the map is closed and after
    assert "node 2: it had no path" in run.claim("no needless fence")
    # What it had written is read through a node that is still there
    assert "read back through each of 2 paths" in run.claim("verified through every path")


def test_a_deadline_below_the_stall_fences_and_the_verdict_says_so(tmp_path: Path) -> None:
    run = Run(tmp_path, text(ONE_CUT).replace('after = "failed"', 'after = "declared-dead"'), _first_path_only)
    assert "no needless fence" in run.failing
    assert "heartbeat margin" in run.failing
    detail = run.claim("no needless fence")
    assert "by blackhole on path 1 alone" in detail
    assert "so that the deadline of 4 s must be above" in detail
    assert run.result.verdict is Result.FAIL
    assert "no split brain" not in run.failing


def _first_path_only(disk: ClusterDisk) -> None:
    """All I/O goes to path 1 while it is up, and its loss is found late."""
    disk.detect_s = 5.0
    travel = type(disk)._travel

    async def by_the_first() -> None:
        disk.ios = -1 if disk.up[1] else 0  # `ios + 1` chooses among the usable paths
        await travel(disk)

    disk._travel = by_the_first  # type: ignore[method-assign]


def test_a_crash_is_noticed_and_the_service_moves(tmp_path: Path) -> None:
    run = Run(tmp_path, text("""
[[step]]
action = "crash"
node = 1
at = "4s"
[[step]]
action = "wait"
after = "declared-dead"
duration = "5s"
"""))
    assert run.failing == {}
    assert [event.fields["term"] for event in run.of(Kind.SERVICE_STARTED)] == [1, 2]
    assert not run.of(Kind.NODE_FENCED)
    assert "on node 1, node 2" in run.claim("the service went on")
    metrics = json.loads((run.result.directory / "metrics.json").read_text())
    one, two = metrics["heartbeats"]["nodes"]
    assert (one["halted"], two["halted"]) == ("crashed", "")
    assert one["margins_ns"][-1] is None
    assert max(value for value in two["margins_ns"] if value is not None) <= s(4)
    assert {path["node"] for path in metrics["paths"]} == {1, 2}


def test_a_poisoned_node_is_fenced_and_acknowledges(tmp_path: Path) -> None:
    run = Run(tmp_path, text("""
[[step]]
action = "poison"
node = 1
at = "4s"
[[step]]
action = "wait"
after = "declared-dead"
duration = "2s"
"""))
    assert run.failing == {}
    (fence,) = run.of(Kind.NODE_FENCED)
    assert (fence.source, fence.fields["cause"]) == ("node:1/heartbeat", "poison")
    (acknowledged,) = run.of(Kind.POISON_ACKNOWLEDGED)
    assert acknowledged.t_ns >= run.of(Kind.NODE_HALTED)[0].t_ns


def test_the_service_goes_where_clients_are_and_back_stays(tmp_path: Path) -> None:
    run = Run(tmp_path, text("""
[[step]]
action = "inject"
network = "client"
node = 1
at = "6s"
[[step]]
action = "heal"
network = "client"
node = 1
delay = "8s"
[[step]]
action = "wait"
duration = "8s"
"""))
    assert run.failing == {}
    assert [event.source for event in run.of(Kind.SERVICE_STARTED)] == ["node:1/service", "node:2/service"]
    assert run.of(Kind.FAULT_INJECTED)[0].fields["network"] == "client"
    assert run.result.stalls == ()


def test_a_split_is_won_by_the_side_that_clients_reach(tmp_path: Path) -> None:
    run = Run(tmp_path, text("""
[[step]]
action = "inject"
network = "client"
node = 1
at = "4s"
[[step]]
action = "inject"
network = "cluster"
node = 1
delay = "5s"
[[step]]
action = "wait"
after = "declared-dead"
duration = "3s"
"""))
    assert run.failing == {}
    (fence,) = run.of(Kind.NODE_FENCED)
    assert (fence.source, fence.fields["cause"]) == ("node:1/heartbeat", "quorum")
    assert "node 1: the cluster network was split" in run.claim("no needless fence")


def test_networks_that_share_the_storage_s_wires_fall_with_them(tmp_path: Path) -> None:
    run = Run(tmp_path, text(ONE_CUT, more='cluster_network = "storage"\nclient_network = "cluster"\n'))
    told = [(event.fields.get("path"), event.fields.get("network")) for event in run.of(Kind.FAULT_INJECTED)]
    assert told == [(1, None), (None, "cluster"), (None, "client")]
    assert [event.kind for event in run.of(Kind.FAULT_HEALED)] == [Kind.FAULT_HEALED] * 3


def test_all_nodes_without_storage_wait_for_it(tmp_path: Path) -> None:
    run = Run(tmp_path, text("""
[[step]]
action = "inject"
at = "3s"
[[step]]
action = "heal"
delay = "20s"
[[step]]
action = "wait"
after = "reinstated"
duration = "3s"
"""))
    assert not run.of(Kind.NODE_FENCED)
    assert run.of(Kind.HEARTBEAT_NEGOTIATED)
    assert run.failing == {}


def test_what_dead_nodes_wrote_is_read_by_somebody_else(tmp_path: Path) -> None:
    run = Run(tmp_path, text("""
[[step]]
action = "crash"
node = 1
at = "5s"
[[step]]
action = "crash"
node = 2
delay = "200ms"
[[step]]
action = "wait"
duration = "2s"
"""))
    assert run.failing == {}
    assert len(run.world.disks) == 3
    assert "read back through each of 2 paths" in run.claim("verified through every path")


def test_one_node_s_journal_is_as_ever(tmp_path: Path) -> None:
    run = Run(tmp_path, text(ONE_CUT, nodes=1).replace("node = 1\n", ""))
    assert run.failing == {}
    assert not any(event.source.startswith("node:") or "node" in event.fields for event in run.events)
    assert "heartbeats" not in json.loads((run.result.directory / "metrics.json").read_text())


def test_nodes_that_do_not_join_are_an_error(tmp_path: Path) -> None:
    def broken(disk: ClusterDisk) -> None:
        async def fail(offset: int, length: int) -> bytes:
            if offset >= 192 << 10:  # past the regions of two nodes and the service: heartbeats
                raise MpioError("the medium is bad here")
            return await ClusterDisk.read(disk, offset, length)  # type: ignore[return-value]
        disk.read = fail  # type: ignore[method-assign]

    world = ClusterWorld(broken)
    request = DrillRequest(parse_scenario(text(ONE_CUT)), tmp_path / "run", seed=1)
    result = run_virtual(run_drill(request, world))
    assert result.verdict is Result.UNKNOWN
    complete = next(claim for claim in result.claims if claim.name == "run complete")
    assert "did not become a member of the cluster" in complete.detail


@pytest.mark.parametrize(("change", "words"), [
    ({"msgwait": "8s", "heartbeat": "sbd"}, "msgwait: expected at least watchdog"),
    ({"dead_after": "4s"}, "dead timeout: expected at least"),
    ({"period": "2s"}, "expected at least 4 periods"),
])
def test_times_that_are_not_safe_together_are_refused(tmp_path: Path, change: dict[str, str], words: str) -> None:
    scenario = text(ONE_CUT)
    for name, value in change.items():
        lines = [line for line in scenario.splitlines() if not line.startswith(f"{name} =")]
        lines.insert(lines.index("[cluster]") + 1, f'{name} = "{value}"')
        scenario = "\n".join(lines)
    with pytest.raises(InputError, match=words):
        Run(tmp_path, scenario)


def test_an_existing_lun_is_not_written_unasked(tmp_path: Path) -> None:
    urls = ["iscsi://192.0.2.1/iqn.2026-01.dev.mpio:x/1", "iscsi://192.0.2.2/iqn.2026-01.dev.mpio:x/1"]
    scenario = parse_scenario(text(""))
    with pytest.raises(InputError, match="nodes write heartbeats to the LU"):
        run_virtual(run_drill(DrillRequest(scenario, tmp_path / "a", urls=urls), ClusterWorld()))
    with pytest.raises(InputError, match="expected room for 2 regions"):
        run_virtual(run_drill(DrillRequest(scenario, tmp_path / "b", urls=urls, scratch=(0, 4 << 20), yes=True),
                              ClusterWorld()))
    world = ClusterWorld()
    world.store[:] = b"\xaa" * len(world.store)
    request = DrillRequest(scenario, tmp_path / "c", urls=urls, scratch=(1 << 20, 5 << 20), yes=True, seed=1)
    assert run_virtual(run_drill(request, world)).verdict is Result.PASS
    assert world.store[:1 << 20] == b"\xaa" * (1 << 20)
    assert world.store[6 << 20:] == b"\xaa" * (2 << 20)


def test_built_in_scenarios_with_more_nodes() -> None:
    for name in builtin_names():
        if name.startswith("heartbeat"):
            assert with_nodes(builtin(name), 3).cluster.nodes == 3
    with pytest.raises(InputError, match="step 1 of the scenario needs nodes with heartbeats"):
        with_nodes(builtin("heartbeat-split"), 1)
    with pytest.raises(InputError, match="within the LU"):
        with_nodes(builtin("default"), 8)


@pytest.mark.parametrize(("kind", "nodes", "loser"), [
    ("own", 2, 2),  # on a par, the lowest number goes on
    ("own", 3, 1),  # the larger side
    ("o2cb", 2, 2),
    ("sbd", 2, 2),  # the lowest shoots first
])
def test_a_split_alone_is_decided_by_each_kind_in_its_way(tmp_path: Path, kind: str, nodes: int, loser: int) -> None:
    cut = 1 if nodes > 2 else 2
    run = Run(tmp_path, text(f"""
[[step]]
action = "inject"
network = "cluster"
node = {cut}
at = "4s"
[[step]]
action = "wait"
duration = "80s"
""", nodes=nodes, kind=kind))
    assert [event.source for event in run.of(Kind.NODE_FENCED)] == [f"node:{loser}/heartbeat"]
    assert run.of(Kind.NODE_FENCED)[0].fields["cause"] in ("quorum", "poison")
    assert run.failing == {}


def test_a_fence_that_is_acknowledged_before_it_holds_is_found(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lie(*_: object) -> None:
        return

    monkeypatch.setattr(HeartbeatCluster, "_halt", lie)
    run = Run(tmp_path, text(OUTAGE))
    assert "called node 2 dead while that one could still write" in run.failing["no split brain"]
    assert "node 2 was not fenced" in run.failing["fenced where it had to be"]


def test_a_service_that_is_taken_from_the_living_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "_is_gone", lambda *_: True)
    run = Run(tmp_path, text(OUTAGE.replace("node = 2", "node = 1")))
    assert "began term 2 of the service while a write of node 1 could still land" in run.failing["no split brain"]


def test_a_fence_that_comes_late_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    halt = HeartbeatCluster._halt

    async def slow(cluster: HeartbeatCluster, node: Node, how: str) -> None:
        await asyncio.sleep(4)
        await halt(cluster, node, how)

    monkeypatch.setattr(HeartbeatCluster, "_halt", slow)
    run = Run(tmp_path, text(OUTAGE))
    assert "node 2 was fenced 1.9" in run.failing["fenced where it had to be"]
