"""Real drills of several nodes on loopback: heartbeats over maps and relays, in real time."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mpio.check.verdict import Result
from mpio.drill.parse import parse_scenario
from mpio.drill.runner import DrillRequest, DrillResult, run_drill
from mpio.events import Event, Kind
from mpio.report import read_run, write_report

MPIO = [sys.executable, "-m", "mpio.cli.main"]
HEAD = """
[scenario]
settle = "200ms"
[workload]
region = "1MiB"
rate = 100
[settings]
path_grouping_policy = "failover"
noop_out_interval = {interval}
noop_out_timeout = {timeout}
checker_timeout = 30
[cluster]
nodes = 2
deadline = "{deadline}"
dead_after = "{dead_after}"
"""
CUT = """
[[step]]
action = "inject"
node = 1
path = 1
at = "1s"
"""


def drill(tmp_path: Path, text: str) -> tuple[DrillResult, list[Event]]:
    result = asyncio.run(run_drill(DrillRequest(parse_scenario(text), tmp_path / "run", seed=7)))
    journal = (result.directory / "journal.jsonl").read_text().splitlines()
    return result, [Event.from_json(line) for line in journal]


def broken(result: DrillResult) -> dict[str, str]:
    return {claim.name: claim.detail for claim in result.claims if claim.result is not Result.PASS}


def test_heartbeats_ride_a_failover_through(tmp_path: Path) -> None:
    head = HEAD.format(interval=0.5, timeout=0.5, deadline="30s", dead_after="33s")
    result, events = drill(tmp_path, head + CUT + """
[[step]]
action = "heal"
node = 1
path = 1
after = "failed"
delay = "500ms"
[[step]]
action = "wait"
after = "reinstated"
duration = "500ms"
""")
    assert broken(result) == {}
    assert not [event for event in events if event.kind in (Kind.NODE_FENCED, Kind.PEER_DEAD)]
    one, two = result.metrics["heartbeats"]["nodes"]
    margins = [margin for node in (one, two) for margin in node["margins_ns"] if margin is not None]
    assert margins
    assert 0 < min(margins) <= max(margins) <= 30 * 10**9
    assert (one["state"], two["state"]) == ("left", "left")


def test_a_deadline_below_the_failover_fences_and_fails(tmp_path: Path) -> None:
    head = HEAD.format(interval=10, timeout=20, deadline="3s", dead_after="5s")
    result, events = drill(tmp_path, head + CUT + """
[[step]]
action = "wait"
after = "declared-dead"
timeout = "30s"
duration = "1s"
""")
    assert result.verdict is Result.FAIL
    wrong = broken(result)
    assert "by blackhole on path 1 alone" in wrong.pop("no needless fence")
    wrong.pop("heartbeat margin")
    assert wrong == {}
    (fence,) = [event for event in events if event.kind is Kind.NODE_FENCED]
    (halt,) = [event for event in events if event.kind is Kind.NODE_HALTED]
    (dead,) = [event for event in events if event.kind is Kind.PEER_DEAD]
    assert fence.source == "node:1/heartbeat"
    assert fence.t_ns <= halt.t_ns <= dead.t_ns
    html = write_report(result.directory, read_run(result.directory)).read_text()
    assert "time left until a node fences itself" in html


@pytest.mark.parametrize(("words", "told"), [
    (["--nodes", "9"], "9 is not in the range"),
    (["default", "--nodes", "8"], "within the LU"),
    (["heartbeat-split", "--nodes", "1"], "needs nodes with heartbeats"),
    (["--nodes", "2", "iscsi://127.0.0.1:1/iqn.2026-01.dev.mpio:x/1", "--portal", "127.0.0.1:2"],
     "say which region of it may be overwritten"),
    (["--nodes", "2", "--cuts", "netns"], "netns has wires for one node only"),
])
def test_what_does_not_go_is_one_line(tmp_path: Path, words: list[str], told: str) -> None:
    done = subprocess.run([*MPIO, "drill", *words, "--out", str(tmp_path / "out"), "--quiet"], capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3  # a usage error has the usage before it
    assert "Traceback" not in done.stderr


def test_the_command_line_s_nodes_are_in_the_scenario_as_run(tmp_path: Path) -> None:
    scenario = tmp_path / "plain.toml"
    scenario.write_text('[workload]\nregion = "1MiB"\nrate = 50\n[cluster]\nheartbeat = "none"\n')
    done = subprocess.run([*MPIO, "drill", str(scenario), "--nodes", "3", "--out", str(tmp_path), "--json", "--quiet"],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert "node 3" in next(claim["detail"] for claim in verdict["claims"] if claim["name"] == "progress")
    text = (Path(verdict["directory"]) / "scenario.toml").read_text()
    assert parse_scenario(text).cluster.nodes == 3
