"""Nodes in processes of their own over one region: they see each other join, leave, die, hang and be poisoned."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.command import mpio
from tests.heartbeat_nodes import cluster, slot_of
from tests.peers import MpioTarget

from mpio.io.heartbeat_clock import boottime_ns
from mpio.units import NS_PER_S

DEADLINE_S, DEAD_S = 10, 11
TIMES = ("--period=0.25", f"--deadline={DEADLINE_S}", f"--dead={DEAD_S}", "--fence-latency=0.5", "--drain=0")
NODE_TIMES = ("--fence-latency=0.5", "--drain=0")


@pytest.fixture
def region(tmp_path: Path) -> Path:
    path = tmp_path / "region"
    made = mpio("heartbeat", "create", path, "--slots", 8, *TIMES)
    assert made.code == 0, made.err
    return path


def test_nodes_join_are_shown_and_leave(tmp_path: Path, region: Path) -> None:
    with cluster(tmp_path, region) as nodes:
        zero, one = nodes.members(*NODE_TIMES, "--name", "db")
        shown = mpio("heartbeat", "status", region, "--json")
        assert shown.code == 0
        rows = json.loads(shown.out)["nodes"]
        assert [(row["node"], row["name"], row["state"], row["connected"]) for row in rows] == [
            (0, "db", "beating", [1]), (1, "db", "beating", [0])]
        assert all(0 < row["self_fence_in_ns"] <= DEADLINE_S * NS_PER_S for row in rows)
        one.process.send_signal(signal.SIGTERM)
        assert one.wait() == 0
        zero.wait_for("PeerLeft", node=1)
        assert not zero.events("PeerDead")
        text = mpio("heartbeat", "status", region).out
        assert "node 1 db: left" in text
        assert "next to fence itself, if nothing more comes: node 0, in " in text
        first = slot_of(region, 0).generation
        zero.process.send_signal(signal.SIGINT)
        assert zero.wait() == 0
        again = nodes.start(0, *NODE_TIMES)
        again.wait_for("HeartbeatStateChanged", new="running")
        assert slot_of(region, 0).generation not in (0, first)


def test_a_killed_node_is_dead_when_its_dead_timeout_is_over_and_not_before(tmp_path: Path, region: Path) -> None:
    with cluster(tmp_path, region) as nodes:
        zero, one = nodes.members(*NODE_TIMES)
        sequence = slot_of(region, 1).sequence
        before_ns = boottime_ns()
        while slot_of(region, 1).sequence == sequence:  # its last heartbeat is not older than the look before this
            before_ns = boottime_ns()
            time.sleep(0.001)
        one.process.kill()
        dead = zero.wait_for("PeerDead", node=1)
        assert dead["t_ns"] - before_ns >= DEAD_S * NS_PER_S
        assert not zero.events("NodeFenced")
        assert mpio("heartbeat", "status", region).out.count("beating") == 1
        # the same number in another life: the slot it left behind must be seen to be unused first
        again = nodes.start(1, *NODE_TIMES)
        again.wait_for("HeartbeatStateChanged", new="running")
        zero.wait_for("PeerConnected", node=1)
        assert [event["generation"] for event in zero.events("PeerLive", node=1)] == [
            dead["generation"], slot_of(region, 1).generation]


def test_a_stopped_node_finds_that_it_is_too_late_and_does_not_come_back(tmp_path: Path, region: Path) -> None:
    with cluster(tmp_path, region) as nodes:
        zero, one = nodes.members(*NODE_TIMES)
        one.process.send_signal(signal.SIGSTOP)
        dead = zero.wait_for("PeerDead", node=1)
        one.process.send_signal(signal.SIGCONT)
        fenced = one.wait_for("NodeFenced", node=1)
        assert fenced["cause"] == "storage"
        assert fenced["t_ns"] > dead["t_ns"]
        assert one.wait() == 1
        assert "FENCE: this node must stop now (storage)" in one.err.read_text()
        assert not [event for event in zero.events("PeerLive", node=1) if event["t_ns"] > dead["t_ns"]]
        assert not slot_of(region, 1).held  # a report has stopped nothing, so nothing is acknowledged


def test_a_pill_is_acknowledged_once_the_fence_holds(tmp_path: Path, region: Path) -> None:
    fence = f"exec:sh -c 'sleep 0.3; echo $MPIO_NODE $MPIO_FENCE_CAUSE > {tmp_path}/fenced'"
    with cluster(tmp_path, region) as nodes:
        zero, one = nodes.members(*NODE_TIMES, "--fence", fence)
        unsure = mpio("heartbeat", "message", region, 1, "poison")
        assert (unsure.code, unsure.err) == (2, "mpio: poison: ends a node; say --yes if that is meant\n")
        sent = mpio("heartbeat", "message", region, 1, "poison", "--yes", "--wait", "60s", "--json")
        assert sent.code == 0, sent.err
        assert json.loads(sent.out)["answered"] is True
        assert (tmp_path / "fenced").read_text() == "1 poison\n"
        assert one.wait() == 1
        dead = zero.wait_for("PeerDead", node=1)
        assert dead["t_ns"] - one.wait_for("NodeFenced")["t_ns"] >= 0.3 * NS_PER_S
        assert slot_of(region, 1).held
        assert mpio("heartbeat", "message", region, 1, "clear").code == 0
        assert zero.process.poll() is None


def test_what_a_node_prints_as_json_is_its_journal_and_a_status(tmp_path: Path, region: Path) -> None:
    command = [sys.executable, "-m", "mpio.cli.main", "heartbeat", "run", str(region), "--node=0", "--nodes=0,1",
               "--no-realtime", *NODE_TIMES, "--json", "--journal", str(tmp_path / "journal")]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as node:
        try:
            assert node.stdout is not None
            lines = [next(line for line in node.stdout if json.loads(line).get("new") == "running")]
            node.send_signal(signal.SIGTERM)
            lines += node.stdout
            assert node.wait() == 0
        finally:
            node.kill()
    *events, status = map(json.loads, lines)
    journal = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    assert journal[-len(events):] == events
    assert [event["seq"] for event in journal] == list(range(1, len(journal) + 1))
    assert {event["source"] for event in journal} == {"node:0/heartbeat"}
    assert (status["version"], status["node"], status["state"], status["margin_ns"]) == (1, 0, "left", None)
    assert [peer["node"] for peer in status["peers"]] == [1]


def test_two_nodes_with_one_number(tmp_path: Path, region: Path) -> None:
    with cluster(tmp_path, region) as nodes:
        one = nodes.members(*NODE_TIMES)[1]
        generation = slot_of(region, 1).generation
        refused = mpio("heartbeat", "run", region, "--node", 1, "--nodes", "0,1", *NODE_TIMES, "--no-realtime")
        assert refused.code == 2
        assert "another node with number 1" in refused.err
        assert slot_of(region, 1).generation == generation
        assert one.process.poll() is None


def test_a_watch_says_that_a_margin_gets_small_and_that_it_was_only_a_pause(tmp_path: Path) -> None:
    region = tmp_path / "region"
    assert mpio("heartbeat", "create", region, "--period=0.25", "--deadline=60").code == 0
    with cluster(tmp_path, region) as nodes:
        nodes.members()
        command = [sys.executable, "-m", "mpio.cli.main", "heartbeat", "watch", str(region), "--percent=3", "--json"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as watch:
            try:
                assert watch.stdout is not None
                lines = map(json.loads, watch.stdout)
                assert next(line for line in lines if line["node"] == 1 and line["what"] == "is beating")
                nodes.nodes[1].process.send_signal(signal.SIGSTOP)
                late = next(line for line in lines if line["level"] == "warning" and line["node"] == 1)
                assert late["percent"] >= 3
                assert late["margin_ns"] == 60 * NS_PER_S - late["age_ns"]
                nodes.nodes[1].process.send_signal(signal.SIGCONT)
                again = next(line for line in lines if line["node"] == 1 and "heartbeats again" in line["what"])
                assert again["age_ns"] >= late["age_ns"]
                watch.send_signal(signal.SIGTERM)
                summary = [line for line in lines if "warnings" in line][-1]
                assert watch.wait() == 1
            finally:
                watch.kill()
    rows = {row["node"]: row for row in summary["nodes"]}
    assert rows[1]["longest_ns"] >= late["age_ns"]
    assert rows[1]["least_margin_ns"] == 60 * NS_PER_S - rows[1]["longest_ns"]
    assert rows[0]["heartbeats"] > 0


def test_nodes_over_maps_of_a_target(tmp_path: Path) -> None:
    with MpioTarget(tmp_path, "1=ram:1MiB") as target:
        url, options = target.url(1), ["--portal", target.portals[1], *NODE_TIMES]
        assert mpio("heartbeat", "create", url, "--slots", 8, *TIMES).code == 0
        with cluster(tmp_path, url) as nodes:
            zero, one = nodes.members(*options)
            text = mpio("heartbeat", "status", url).out
            assert text.count("beating") == 2
            assert text.startswith(f"{url}: own, 8 slots of 512 bytes")
            one.process.send_signal(signal.SIGTERM)
            assert one.wait() == 0
            zero.wait_for("PeerLeft", node=1)


def test_o2cb_and_sbd_regions_have_nodes_too(tmp_path: Path) -> None:
    for personality, options in (("o2cb", ["--threshold=7"]), ("sbd", [])):
        directory = tmp_path / personality
        directory.mkdir()
        region = directory / "region"
        assert mpio("heartbeat", "create", region, "--personality", personality).code == 0
        with cluster(directory, region) as nodes:
            zero = nodes.start(0, "--personality", personality, "--name", "alpha", *options)
            one = nodes.start(1, "--personality", personality, "--name", "beta", *options)
            for node in (zero, one):
                node.wait_for("HeartbeatStateChanged", new="running")
            if personality == "o2cb":
                rows = json.loads(mpio("heartbeat", "status", region, "--json").out)["nodes"]
                assert [(row["node"], row["state"], row["deadline_ns"]) for row in rows] == [
                    (0, "beating", 12 * NS_PER_S), (1, "beating", 12 * NS_PER_S)]
            one.process.send_signal(signal.SIGTERM)
            assert one.wait() == 0
            zero.process.send_signal(signal.SIGTERM)
            assert zero.wait() == 0
    shown = mpio("heartbeat", "status", tmp_path / "sbd" / "region").out
    assert "node 0 alpha: named, no message" in shown
