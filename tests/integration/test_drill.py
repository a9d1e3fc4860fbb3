"""Real drills on loopback: child processes, relays, sockets. A few seconds each."""

import asyncio
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mpio.check.blocks import BlockFault
from mpio.check.history import IoRecord, check_history
from mpio.check.verdict import Result
from mpio.drill.parse import load_scenario, parse_scenario
from mpio.drill.runner import DrillRequest, DrillResult, run_drill
from mpio.report import read_run, write_report

MPIO = [sys.executable, "-m", "mpio.cli.main"]
REGION = 4 << 20
SHORT = """
[scenario]
settle = "500ms"
[workload]
region = "4MiB"
rate = 400
"""
ONE_CUT = SHORT + """
[[step]]
action = "inject"
path = 1
at = "500ms"
[[step]]
action = "heal"
path = 1
after = "failed"
delay = "500ms"
[[step]]
action = "wait"
after = "reinstated"
duration = "500ms"
"""


def drill(tmp_path: Path, text: str, **request: Any) -> DrillResult:
    return asyncio.run(run_drill(DrillRequest(parse_scenario(text), tmp_path / "run", seed=7, **request)))


def not_passed(result: DrillResult) -> list[str]:
    return [f"{claim.result} {claim.name}: {claim.detail}" for claim in result.claims if claim.result != "pass"]


def children_of(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def wait_until(condition: Any, timeout_s: float = 15.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def journal_says(tmp_path: Path, words: str) -> bool:
    return any(words in journal.read_text() for journal in tmp_path.glob("out/*/journal.jsonl"))


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_blackhole_is_ridden_out_within_the_bound_and_reported(tmp_path: Path) -> None:
    result = drill(tmp_path, ONE_CUT)
    assert result.verdict is Result.PASS, not_passed(result)
    (stall,) = result.stalls
    assert stall.bound_ns is not None
    assert 500_000_000 < stall.worst_stall_ns <= stall.bound_ns
    assert [mark.what for mark in stall.trace.marks if mark.what != "fenced"] == [
        "cut", "detected", "failed", "rerouted", "healed", "reconnected", "reinstated"]
    run = read_run(result.directory)
    assert run.verdict == "pass"
    assert run.notes == ()
    assert write_report(result.directory).stat().st_size > 10_000
    assert children_of(os.getpid()) == []


@pytest.mark.parametrize(("plant", "kinds"), [
    ("lost:60", {BlockFault.LOST}),  # at the 60th write or later: in the workload, after the fill of 32 writes
    ("lost:5", {BlockFault.LOST}),
    ("stale:60", {BlockFault.STALE}),
    ("torn:60", {BlockFault.TORN, BlockFault.LOST}),  # what follows the tear within the write is lost
])
def test_a_planted_fault_is_found_and_its_blocks_named(tmp_path: Path, plant: str, kinds: set[BlockFault]) -> None:
    text = SHORT.replace("[workload]", f"duration = '2s'\n[target]\nplant = '{plant}'\n[workload]")
    result = drill(tmp_path, text)
    assert result.verdict is Result.FAIL
    found = {finding.kind for finding in result.findings}
    assert found <= kinds
    assert min(kinds, key=list(BlockFault).index) in found or BlockFault.TORN in found
    (bad,) = [claim for claim in result.claims if claim.result != "pass"]
    assert bad.name == "no data lost"
    assert f"block: LBA {result.findings[0].lba}" in bad.detail
    blocks = json.loads((result.directory / "verdict.json").read_text())["blocks"]
    assert all(block["expected"] and block["found"] and 0 <= block["lba"] < REGION // 512 for block in blocks)
    lines = (result.directory / "history.jsonl").read_text().splitlines()
    replayed = check_history([IoRecord.from_json(line) for line in lines], 0, REGION // 512, 512)
    assert {finding.kind for finding in replayed} == found


@pytest.mark.parametrize(("fence", "verdict"), [("auto", Result.PASS), ("none", Result.FAIL)])
def test_old_copies_of_writes_do_not_land_if_they_are_fenced(tmp_path: Path, fence: str, verdict: Result) -> None:
    scenario = load_scenario("hold")
    scenario = dataclasses.replace(scenario, settings=scenario.settings.replace(fence=fence))
    result = asyncio.run(run_drill(DrillRequest(scenario, tmp_path / "run", seed=7)))
    assert result.verdict is verdict, not_passed(result)
    if verdict is Result.FAIL:
        assert {finding.kind for finding in result.findings} <= {BlockFault.GHOST, BlockFault.LOST}


@pytest.mark.parametrize("name", ["reset", "total-outage-queue", "target-restart"])
def test_builtin_scenarios_pass(tmp_path: Path, name: str) -> None:
    result = asyncio.run(run_drill(DrillRequest(load_scenario(name), tmp_path / "run")))
    assert result.verdict is Result.PASS, not_passed(result)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root, iproute2 and nftables")
def test_a_drill_in_network_namespaces(tmp_path: Path) -> None:
    result = drill(tmp_path, ONE_CUT.replace("[workload]", "[cuts]\nkind = 'netns'\n[workload]"))
    assert result.verdict is Result.PASS, not_passed(result)


# --- existing targets

@contextmanager
def target(tmp_path: Path) -> Iterator[list[str]]:
    """A target of somebody else: the URLs of its two paths, and its LU as a file `lun`."""
    (tmp_path / "lun").write_bytes(os.urandom(8 << 20))
    process = subprocess.Popen(
        [*MPIO, "target", "--portal", "127.0.0.1:0", "--portal", "127.0.0.1:0", "--name", "iqn.2026-01.example:theirs",
         "--lun", f"3=file:{tmp_path / 'lun'}"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline().removeprefix("ready "))
        yield [f"iscsi://{portal['host']}:{portal['port']}/{ready['target']}/3" for portal in ready["portals"]]
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_an_existing_lun_is_only_read(tmp_path: Path) -> None:
    with target(tmp_path) as urls:
        before = (tmp_path / "lun").read_bytes()
        result = drill(tmp_path, ONE_CUT, urls=urls)
        assert result.verdict is Result.PASS, not_passed(result)
        assert not any(name.startswith("write") for name in result.counts)
    assert (tmp_path / "lun").read_bytes() == before


def test_only_the_scratch_region_is_written(tmp_path: Path) -> None:
    with target(tmp_path) as urls:
        before = (tmp_path / "lun").read_bytes()
        result = drill(tmp_path, ONE_CUT, urls=urls, scratch=(1 << 20, 2 << 20), yes=True)
        assert result.verdict is Result.PASS, not_passed(result)
    after = (tmp_path / "lun").read_bytes()
    assert (after[:1 << 20], after[3 << 20:]) == (before[:1 << 20], before[3 << 20:])
    assert result.findings == ()
    assert after[1 << 20:3 << 20] != before[1 << 20:3 << 20]


# --- the command

def test_bad_scenarios_are_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[scenario]\n\n[workload]\nwrokers = 3\n")
    done = subprocess.run([*MPIO, "drill", str(path), "--out", str(tmp_path)], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == f"mpio: {path}:4: [workload] wrokers: there is no such key (did you mean 'workers'?)\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_drill_is_undone_and_unknown(tmp_path: Path, number: int) -> None:
    path = tmp_path / "long.toml"
    path.write_text(SHORT.replace("[workload]", "duration = '1m'\n[workload]"))
    process = subprocess.Popen([*MPIO, "drill", str(path), "--quiet", "--out", str(tmp_path / "out")],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert wait_until(lambda: journal_says(tmp_path, '"faults"'))
    children = children_of(process.pid)
    assert len(children) == 2
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=20)
    assert stderr == ""
    assert "CANNOT TELL" in stdout
    assert process.returncode == 3
    assert all(map(is_gone, children))
    (verdict,) = tmp_path.glob("out/*/verdict.json")
    assert json.loads(verdict.read_text())["verdict"] == "unknown"


def test_a_killed_drill_leaves_nothing_running(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text(ONE_CUT.replace("500ms\"\n[[step]]\naction = \"heal\"", "500ms\"\n[[step]]\naction = \"target\"\n"
                                    "[[step]]\naction = \"wait\"\nduration = \"1m\"\n[[step]]\naction = \"heal\""))
    process = subprocess.Popen([*MPIO, "drill", str(path), "--quiet", "--out", str(tmp_path / "out")],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert wait_until(lambda: journal_says(tmp_path, "target STOP"))
    children = children_of(process.pid)
    process.kill()
    process.wait(timeout=10)
    assert len(children) == 2
    assert wait_until(lambda: all(map(is_gone, children)))


@pytest.mark.parametrize(("name", "verdict"), [("delay", Result.PASS), ("lost-write", Result.FAIL)])
def test_a_step_gives_the_target_an_order(tmp_path: Path, name: str, verdict: Result) -> None:
    text = SHORT + f"""
        [[step]]
        action = "order"
        at = "300ms"
        order = {{ do = "add", name = "{name}", id = "bad", opcode = "write", count = 3 }}
        [[step]]
        action = "order"
        delay = "500ms"
        order = {{ do = "remove", id = "bad" }}
    """.replace('"delay", id', '"delay", time = "20ms", id')
    result = drill(tmp_path, text)
    assert result.verdict is verdict, not_passed(result)
    journal = (tmp_path / "run" / "journal.jsonl").read_text()
    assert f"order add {name} bad" in journal
    assert children_of(os.getpid()) == []


def test_an_order_that_the_target_refuses_ends_the_drill(tmp_path: Path) -> None:
    result = drill(tmp_path, SHORT + '[[step]]\naction = "order"\norder = { do = "remove", id = "gone" }\n')
    assert result.verdict is Result.UNKNOWN
    assert "there is no filter 'gone'" in " ".join(not_passed(result))
    assert children_of(os.getpid()) == []
