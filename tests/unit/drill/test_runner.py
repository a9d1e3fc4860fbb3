"""The runner in a world of fakes, in virtual time: what passes, what fails and why, and what is always undone."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.drill.fakes import FakeDisk, FakeWorld, run_virtual, s

from mpio.check.blocks import BlockFault
from mpio.check.history import IoRecord, check_history
from mpio.check.verdict import Result
from mpio.drill.parse import builtin, parse_scenario
from mpio.drill.runner import DrillRequest, DrillResult, run_drill
from mpio.errors import InputError
from mpio.events import Event, Kind

SMALL = """
[workload]
region = "64KiB"
block_sizes = ["4KiB", "8KiB"]
rate = 100
"""
ONE_CUT = SMALL + """
[[step]]
action = "inject"
path = 1
at = "2s"
[[step]]
action = "heal"
path = 1
delay = "3s"
[[step]]
action = "wait"
after = "reinstated"
duration = "1s"
"""


def drill(tmp_path: Path, text: str = ONE_CUT, prepare: Any = None, **request: Any) -> DrillResult:
    world = request.pop("world", None) or FakeWorld(prepare)
    return run_virtual(run_drill(DrillRequest(parse_scenario(text), tmp_path / "run", seed=1, **request), world))


def results(result: DrillResult) -> dict[str, Result]:
    return {claim.name: claim.result for claim in result.claims}


def claim(result: DrillResult, name: str) -> str:
    return next(claim.detail for claim in result.claims if claim.name == name)


def failing(result: DrillResult) -> set[str]:
    return {name for name, found in results(result).items() if found is not Result.PASS}


def test_a_cut_that_is_ridden_out_passes(tmp_path: Path) -> None:
    result = drill(tmp_path)
    assert result.verdict is Result.PASS, [claim for claim in result.claims if claim.result is not Result.PASS]
    (stall,) = result.stalls
    assert s(0.7) < stall.worst_stall_ns <= s(0.76)
    assert stall.bound_ns == s(1.1)
    timeline = {mark.what: mark.t_ns - stall.trace.start_ns for mark in stall.trace.marks}
    assert timeline == {"cut": 0, "detected": s(0.75), "failed": s(0.75), "rerouted": s(0.75), "healed": s(3),
                        "reconnected": s(3.2), "reinstated": s(3.2)}


def test_the_run_directory_tells_it_all(tmp_path: Path) -> None:
    result = drill(tmp_path, command=["mpio", "drill", "x.toml", "iscsi://u%hush@h/iqn.x:y/1"])
    names = {path.name for path in result.directory.iterdir()}
    assert names == {"scenario.toml", "journal.jsonl", "history.jsonl", "verdict.json", "metrics.json", "repro.txt"}
    verdict = json.loads((result.directory / "verdict.json").read_text())
    assert verdict["verdict"] == "pass"
    assert verdict["counts"] == result.counts
    events = [Event.from_json(line) for line in (result.directory / "journal.jsonl").read_text().splitlines()]
    assert events[0].kind is Kind.RUN_STARTED
    assert events[-1].kind is Kind.RUN_ENDED
    assert [event.fields["phase"] for event in events if event.kind is Kind.PHASE_ENTERED] == [
        "fill", "faults", "recovery", "verification"]
    history = [IoRecord.from_json(line) for line in (result.directory / "history.jsonl").read_text().splitlines()]
    assert len(history) == json.loads((result.directory / "metrics.json").read_text())["history_lines"]
    assert check_history(history, 0, 128, 512) == []
    repro = (result.directory / "repro.txt").read_text()
    assert "hush" not in repro
    assert repro.endswith("--seed 1\n")


def test_the_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    first = drill(tmp_path / "a")
    second = drill(tmp_path / "b")
    for name in ("history.jsonl", "journal.jsonl", "verdict.json"):
        assert (first.directory / name).read_text() == (second.directory / name).read_text()


@pytest.mark.parametrize("number", [1, 7, 40, 150])
def test_a_lost_write_is_always_found(tmp_path: Path, number: int) -> None:
    result = drill(tmp_path, prepare=lambda disk: disk.drop.add(number))
    assert result.verdict is Result.FAIL
    assert {finding.kind for finding in result.findings} == {BlockFault.LOST}
    assert "lost block: LBA" in claim(result, "no data lost")
    blocks = json.loads((result.directory / "verdict.json").read_text())["blocks"]
    assert blocks[0]["kind"] == "lost"
    history = [IoRecord.from_json(line) for line in (result.directory / "history.jsonl").read_text().splitlines()]
    replayed = check_history(history, 0, 128, 512)
    assert [(f.lba, f.blocks, f.kind) for f in replayed] == [(f.lba, f.blocks, f.kind) for f in result.findings]


def slow(disk: FakeDisk) -> None:
    disk.detect_s = 1.5


def never_back(disk: FakeDisk) -> None:
    disk.return_never = True


def late(disk: FakeDisk) -> None:
    disk.return_s = 5.0


def unnoticed(disk: FakeDisk) -> None:
    disk.detect_s = 100.0


def errors(disk: FakeDisk) -> None:
    disk.errors = 250


def unknowns(disk: FakeDisk) -> None:
    disk.unknown |= {40, 60, 61}


@pytest.mark.parametrize(("prepare", "names", "words"), [
    (slow, {"stall within the bound"}, "bound 1.1 s"),
    (late, {"paths reinstated"}, "came back 5 s after the heal (bound 3.3 s)"),
    (never_back, {"paths reinstated", "verified through every path"}, "did not come back"),
    (unnoticed, {"every fault had its effect", "stall within the bound"}, "was not detected"),
    (errors, {"no I/O errors"}, "no path is usable"),
    (unknowns, {"no I/O errors"}, "3 write unknown"),
])
def test_what_goes_wrong_fails_its_claim(tmp_path: Path, prepare: Any, names: set[str], words: str) -> None:
    result = drill(tmp_path, prepare=prepare)
    assert result.verdict is Result.FAIL
    assert failing(result) == names
    assert any(words in claim.detail for claim in result.claims)


def test_claims_may_allow_it(tmp_path: Path) -> None:
    text = ONE_CUT + "[claims]\nerrors = 'allowed'\nmax_stall = '2s'\nmax_reinstate = 'any'\n"

    def prepare(disk: FakeDisk) -> None:
        errors(disk)
        slow(disk)
        late(disk)
    assert drill(tmp_path, text, prepare).verdict is Result.PASS


def test_a_path_lost_without_a_fault_is_a_false_failover(tmp_path: Path) -> None:
    def prepare(disk: FakeDisk) -> None:
        asyncio.get_running_loop().call_later(1.0, lambda: asyncio.ensure_future(disk.lose(2)))
        asyncio.get_running_loop().call_later(1.1, lambda: disk.set_cut(2, cut=False))
    result = drill(tmp_path, SMALL + "[scenario]\nduration = '3s'\n", prepare)
    assert failing(result) == {"no false failover"}
    assert "map:drill/path:2 ConnectionLost: silent" in claim(result, "no false failover")


def test_a_quiet_run_passes_and_makes_no_claims_about_faults(tmp_path: Path) -> None:
    result = drill(tmp_path, SMALL + "[scenario]\nduration = '5s'\n")
    assert result.verdict is Result.PASS
    assert "stall within the bound" not in results(result)
    assert result.metrics["seconds"] >= 5


def test_a_total_outage_is_bounded_by_its_length(tmp_path: Path) -> None:
    steps = ("[[step]]\naction = 'inject'\nat = '1s'\n[[step]]\naction = 'heal'\ndelay = '4s'\n"
             "[[step]]\naction = 'wait'\nafter = 'reinstated'\n")
    result = drill(tmp_path, SMALL + steps)
    assert result.verdict is Result.PASS, result.claims
    for stall in result.stalls:
        assert s(4) < stall.worst_stall_ns < s(4.5)
        assert stall.bound_ns is not None
        assert s(4) < stall.bound_ns < s(8.5)


def test_the_target_process_can_be_stopped(tmp_path: Path) -> None:
    steps = ("[[step]]\naction = 'target'\nat = '1s'\n[[step]]\naction = 'target'\nsignal = 'CONT'\ndelay = '2s'\n"
             "[[step]]\naction = 'wait'\nafter = 'reinstated'\n")
    world = FakeWorld()
    result = drill(tmp_path, SMALL + steps, world=world)
    assert result.verdict is Result.PASS, result.claims
    assert [stall.trace.fault for stall in result.stalls] == ["target STOP", "target STOP"]
    assert world.log == ["target started", "target STOP", "target CONT", "fabric left with 0 faults", "target closed"]


def test_what_the_scenario_left_broken_is_mended(tmp_path: Path) -> None:
    world = FakeWorld()
    steps = "[[step]]\naction = 'inject'\npath = 2\n[[step]]\naction = 'wait'\nduration = '2s'\n"
    result = drill(tmp_path, SMALL + steps, world=world)
    assert result.verdict is Result.PASS, result.claims
    assert "fabric left with 0 faults" in world.log


@pytest.mark.parametrize("after_s", [0.0005, 0.5, 2.5, 6.0])
def test_an_interrupted_run_is_undone_and_unknown(tmp_path: Path, after_s: float) -> None:
    world = FakeWorld()
    scenario = parse_scenario(ONE_CUT)

    async def interrupted() -> None:
        task = asyncio.ensure_future(run_drill(DrillRequest(scenario, tmp_path / "run"), world))
        await asyncio.sleep(after_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(interrupted())
    assert world.log[-1] == "target closed"
    assert "fabric left with 0 faults" in world.log
    verdict = json.loads((tmp_path / "run" / "verdict.json").read_text())
    assert verdict["verdict"] == "unknown"
    assert {claim["result"] for claim in verdict["claims"]} <= {"pass", "unknown"}
    assert "it was interrupted" in verdict["claims"][0]["detail"]
    json.loads((tmp_path / "run" / "metrics.json").read_text())


def test_a_path_that_cannot_be_read_at_the_end_is_unknown(tmp_path: Path) -> None:
    def prepare(disk: FakeDisk) -> None:
        disk.up[2] = False
    result = drill(tmp_path, SMALL + "[scenario]\nduration = '1s'\n", prepare)
    assert results(result)["verified through every path"] is Result.UNKNOWN
    assert result.verdict is Result.UNKNOWN


def test_a_check_that_crashes_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")
    monkeypatch.setattr("mpio.drill.judging.measure", crash)
    result = drill(tmp_path)
    assert result.verdict in (Result.UNKNOWN, Result.FAIL)
    assert "a check itself failed: ZeroDivisionError: oops" in claim(result, "run complete")


# --- existing targets

URLS = ["iscsi://192.0.2.1/iqn.2026-01.example:a/1", "iscsi://192.0.2.2/iqn.2026-01.example:a/1"]


def test_an_existing_target_is_only_read(tmp_path: Path) -> None:
    def prepare(disk: FakeDisk) -> None:
        disk.store[:] = bytes(range(256)) * (len(disk.store) // 256)
    world = FakeWorld(prepare)
    result = drill(tmp_path, urls=URLS, world=world)
    assert result.verdict is Result.PASS, result.claims
    assert world.disk_.writes == 0
    assert "write ok" not in result.counts
    assert "target started" not in world.log
    assert "changed" in claim(result, "no data lost")


def test_reads_that_disagree_fail(tmp_path: Path) -> None:
    def prepare(disk: FakeDisk) -> None:
        change = slice(5 * 512, 5 * 512 + 9)
        asyncio.get_running_loop().call_later(3.0, lambda: disk.store.__setitem__(change, b"something"))
    result = drill(tmp_path, prepare=prepare, urls=URLS)
    assert result.verdict is Result.FAIL
    assert {(finding.lba, finding.kind) for finding in result.findings} == {(5, BlockFault.CHANGED)}


def test_a_scratch_region_is_all_that_is_written(tmp_path: Path) -> None:
    def prepare(disk: FakeDisk) -> None:
        disk.store[:] = b"x" * len(disk.store)
    world = FakeWorld(prepare)
    result = drill(tmp_path, urls=URLS, world=world, scratch=(8192, 65536), yes=True)
    assert result.verdict is Result.PASS, result.claims
    assert world.disk_.store[:8192] == b"x" * 8192
    assert world.disk_.store[8192 + 65536:] == b"x" * (len(world.disk_.store) - 65536 - 8192)
    assert b"xxxxxxxx" not in world.disk_.store[8192:8192 + 65536]


@pytest.mark.parametrize(("request_", "message"), [
    ({"urls": URLS, "scratch": (0, 65536)}, "will be overwritten"),
    ({"scratch": (0, 65536), "yes": True}, "is for existing targets"),
    ({"urls": ["nonsense"]}, "path 1: expected iscsi://"),
    ({"urls": URLS[:1], "text": ONE_CUT.replace("path = 1", "path = 2")}, "step 1 is about path 2, and there is 1"),
    ({"urls": URLS, "text": "[[step]]\naction = 'target'\n"}, "acts on the built-in target's process"),
    ({"urls": URLS, "scratch": (0, 1 << 30), "yes": True}, "expected a region within the LU of 1048576 bytes"),
    ({"text": "[workload]\nregion = '2MiB'\n"}, "expected a region within the LU"),
])
def test_requests_that_cannot_be(tmp_path: Path, request_: dict[str, Any], message: str) -> None:
    text = request_.pop("text", ONE_CUT)
    with pytest.raises(InputError) as caught:
        drill(tmp_path, text, **request_)
    assert message in str(caught.value)


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").touch()
    with pytest.raises(InputError, match="expected a new or an empty directory"):
        drill(tmp_path)


def test_the_default_scenario(tmp_path: Path) -> None:
    scenario = builtin("default")
    scenario = dataclasses.replace(scenario, workload=dataclasses.replace(scenario.workload, region=1 << 19))
    result = run_virtual(run_drill(DrillRequest(scenario, tmp_path / "run", seed=3), FakeWorld()))
    assert result.verdict is Result.PASS, result.claims
    assert 15 < result.metrics["seconds"] < 30
    assert [stall.trace.path for stall in result.stalls] == [1, 2]
