"""`mpio simulate` as a stranger would use it: what comes out, that it repeats, and one clear line for what is wrong."""

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.command import Done, mpio

from mpio.cli.simulate import command
from mpio.model.settings import PROFILES

OK, FAILED, USAGE, UNKNOWN = 0, 1, 2, 3
LIMIT_S = 240.0
DOCS = Path(__file__).parents[2] / "docs"


def simulate(*arguments: object, environment: dict[str, str] | None = None) -> Done:
    done = mpio("simulate", *arguments, timeout_s=LIMIT_S, environment=environment)
    assert "Traceback" not in done.err
    return done


def as_json(*arguments: object, code: int = OK, environment: dict[str, str] | None = None) -> dict[str, Any]:
    done = simulate(*arguments, "--json", "--quiet", environment=environment)
    assert done.code == code, done.out + done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_stalls_beside_their_bound() -> None:
    done = simulate("reset", "--runs", 3, "--quiet")
    assert done.code == OK, done.err
    assert done.out.startswith("✓ PASS — 3 runs of reset, 12 faults, worst stall")
    assert "reset on path 2" in done.out
    assert "mpio simulate reset --runs 1 --seed" in done.out
    assert done.err == ""


def test_a_seed_repeats_a_run_whatever_the_hash_seed() -> None:
    first, second = (as_json("reset", "--runs", 2, "--seed", 40, "--jobs", jobs, environment={"PYTHONHASHSEED": seed})
                     for seed, jobs in (("1", 1), ("2", 2)))
    assert first == second
    assert first["settings"][0]["worst"]["digest"]


def test_the_worst_run_is_repeated_by_the_command_that_is_printed(tmp_path: Path) -> None:
    shape = as_json("--fault", "blackhole", "--lasts", "3s", "--profile", "fast", "--profile", "aggressive",
                    "--set", "noop_out_timeout=0.75", "--shake", "1500ms", "--runs", 3, "--seed", 10)
    words = shlex.split(shape["replay"])
    assert words[:2] == ["mpio", "simulate"]
    words[words.index("--out") + 1] = str(tmp_path / "worst")
    again = as_json(*words[2:])
    row = max(shape["settings"], key=lambda row: row["worst"]["stall_ns"])
    assert [row["worst"] for row in again["settings"]] == [row["worst"]]
    assert (tmp_path / "worst" / "report.html").exists()
    assert (tmp_path / "worst" / "repro.txt").read_text().strip() == again["replay"]


def test_a_single_run_is_shown_as_a_drill_is() -> None:
    done = simulate("reset", "--runs", 1, "--seed", 4, "--quiet")
    assert done.code == OK, done.err
    for expected in ("no data lost", "Fault 1  reset on path 1", "reinstated", "--seed 4"):
        assert expected in done.out


def test_the_comparison_that_people_quote(tmp_path: Path) -> None:
    done = simulate("--compare", "--runs", 1, "--html", tmp_path / "page.html", "--json")
    assert done.code == OK, done.err
    rows = {row["settings"]: row for row in json.loads(done.out)["settings"]}
    assert list(rows) == ["sles10", "linux", "plan", "fast"]
    assert rows["sles10"]["stall"]["worst_ns"] > 140e9
    assert rows["fast"]["stall"]["worst_ns"] < 1.2e9
    assert rows["plan"]["stall"]["worst_ns"] < 20e9
    for row in rows.values():
        assert row["stall"]["worst_ns"] <= row["stall"]["bound_ns"]
    page = (tmp_path / "page.html").read_text()
    assert "The worst run: sles10" in page
    assert "4 runs" in done.err


def test_a_host_s_own_files(tmp_path: Path) -> None:
    (tmp_path / "etc" / "iscsi").mkdir(parents=True)
    (tmp_path / "etc" / "iscsi" / "iscsid.conf").write_text(
        "node.conn[0].timeo.noop_out_interval = 2\nnode.conn[0].timeo.noop_out_timeout = 3\n")
    (tmp_path / "etc" / "multipath.conf").write_text("defaults {\n\tfast_io_fail_tmo 4\n\tno_path_retry 12\n}\n")
    shape = as_json("--from", tmp_path, "--fault", "blackhole", "--runs", 2)
    (row,) = shape["settings"]
    assert row["settings"] == "host"
    # 5 s of silence and 4 s of waiting; at most the ping's own pause and the fence come on top
    assert 9e9 - 2e9 <= row["stall"]["worst_ns"] <= row["stall"]["bound_ns"] == 9e9 + 5e9 + 1e8
    assert f"--from {tmp_path}" in shape["replay"]


def test_what_was_planted_is_found_and_failing_is_exit_code_1(tmp_path: Path) -> None:
    scenario = tmp_path / "planted.toml"
    scenario.write_text("[scenario]\nname = 'planted'\n[target]\nplant = 'lost:20'\n"
                        "[[step]]\naction = 'inject'\nfault = 'reset'\npath = 1\nat = '1s'\n")
    shape = as_json(scenario, "--runs", 2, code=FAILED)
    (row,) = shape["settings"]
    assert row["fail"] == 2
    assert row["bad_blocks"]["lost"] >= 2
    assert "no data lost" in [item["claim"] for item in row["complaints"]]


def test_more_paths_and_another_workload() -> None:
    shape = as_json("--fault", "reset", "--on", "1,3", "--paths", 4, "--portal-groups", "separate",
                    "--workload", "workers=3", "--workload", "rate=40", "--set", "fence=none", "--runs", 1)
    assert [item["fault"] for item in shape["settings"][0]["by_fault"]] == ["reset on path 1", "reset on path 3"]
    assert "--paths 4" in shape["replay"]
    assert "--set fence=none" in shape["replay"]


def test_nodes_with_heartbeats() -> None:
    shape = as_json("--nodes", 2, "--heartbeat", "sbd", "--runs", 1)
    assert (shape["scenario"], shape["verdict"]) == ("heartbeat", "pass")
    assert "--nodes 2 --heartbeat sbd" in shape["replay"]
    again = as_json(*shlex.split(shape["replay"])[2:-2])
    assert again["settings"][0]["worst"] == shape["settings"][0]["worst"]


@pytest.mark.parametrize(("arguments", "expected"), [
    (["heartbeat", "--nodes", "1", "--heartbeat", "o2cb"], r"--heartbeat: a single node has none"),
    (["heartbeat", "--nodes", "9"], r"--nodes.*9 is not in the range"),
    (["heartbeat-split", "--nodes", "1"], r"--nodes: step \d+ of the scenario"),
    (["nonsense"], r"scenario: expected a file or one of .*; found 'nonsense'"),
    (["--fault", "blackhoel"], r"--fault: expected one of .*did you mean 'blackhole'"),
    (["--fault", "delay:ms"], r"--fault: expected KIND:NAME=VALUE"),
    (["--fault", "delay:ms=-1"], r"--fault:\d+: .*params: ms: expected a number from 0"),
    (["--fault", "reset", "--on", "one"], r"--on: expected path numbers such as 1 or 1,2, or all; found 'one'"),
    (["--fault", "reset", "--on", "3"], r"--fault:\d+: \[\[step\]\] 1 path: expected paths up to 2, found 3"),
    (["default", "--fault", "reset"], r"--fault: is a scenario of its own, and so is 'default'"),
    (["--lasts", "3s"], r"--lasts: is about --fault, and none is given"),
    (["--paths", "1"], r"with these options, \[\[step\]\] 3 path: expected paths up to 1, found 2"),
    (["--paths", "0"], r"--paths.*0 is not in the range"),
    (["--workload", "rate"], r"--workload: expected KEY=VALUE such as rate=100, found 'rate'"),
    (["--workload", "speed=3"], r"--workload: there is no key 'speed'"),
    (["--workload", "workers=0"], r"--workload: workers: expected a whole number from 1 to 64, found 0"),
    (["--workload", "region=3000"], r"--workload: region: expected a size from 65536"),
    (["--set", "noop_out_timeout=0"], r"--set: noop_out_interval and noop_out_timeout: either both are 0"),
    (["--from", "/nowhere/at/all"], r"/nowhere/at/all: "),
    (["--device", "LIO-ORG:disk"], r"--device: is about a host's files"),
    (["--profile", "plan", "--max-stall", "1ms"], r"--max-stall 1ms: can't be planned for 2 paths"),
    (["--jobs", "2", "--dask", "tcp://127.0.0.1:1"], r"--jobs: is about processes of this machine"),
    (["--runs", "1", "reset", "--html", "/nowhere/at/all.html"], r"/nowhere/at/all.html: can't be written"),
])  # fmt: skip
def test_one_clear_line_for_what_is_wrong(arguments: list[str], expected: str) -> None:
    done = simulate(*arguments, "--quiet")
    assert done.code == USAGE, done.out + done.err
    (line,) = done.err.strip().splitlines()
    assert re.match(f"mpio: .*{expected}", line), line


def test_malformed_scenario_files_name_their_line(tmp_path: Path) -> None:
    scenario = tmp_path / "bad.toml"
    scenario.write_text("[scenario]\nname = 'bad'\n\n[[step]]\naction = 'inject'\npath = 7\n")
    done = simulate(scenario, "--quiet")
    assert done.code == USAGE
    assert done.err.strip() == f"mpio: {scenario}:6: [[step]] 1 path: expected paths up to 2, found 7"


def test_an_existing_run_directory_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("x")
    done = simulate("reset", "--runs", 1, "--out", tmp_path / "mine", "--quiet")
    assert done.code == USAGE
    assert "expected a new or an empty directory" in done.err
    assert (tmp_path / "mine" / "precious").read_text() == "x"


def test_an_interrupt_leaves_what_was_done() -> None:
    ours, its = pty.openpty()  # a terminal is told how far it is
    process = subprocess.Popen(
        [sys.executable, "-m", "mpio.cli.main", "simulate", "reset", "--runs", "100000", "--jobs", "1"],
        stdout=subprocess.PIPE, stderr=its, text=True, env=os.environ | {"TERM": "xterm", "COLUMNS": "100"})
    os.close(its)
    limit = threading.Timer(LIMIT_S, process.kill)
    limit.start()
    err, pressed = b"", False
    with os.fdopen(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
        while True:  # until EIO: nobody has the other end any more
            err += terminal.read(4096)
            if not pressed and re.search(rb"[1-9]\d*/100000", err):
                process.send_signal(signal.SIGINT)
                pressed = True
    out, _ = process.communicate()
    limit.cancel()
    assert process.returncode == UNKNOWN, err
    assert b"Traceback" not in err
    assert out.startswith("? CANNOT TELL")
    assert re.search(r"! interrupted; [\d\s]+ runs not done", out)


SHORT_DRILL = """
[scenario]
name = "short"
settle = "200ms"
[workload]
region = "1MiB"
[[step]]
action = "inject"
fault = "reset"
path = 1
at = "200ms"
[[step]]
action = "wait"
after = "reinstated"
duration = "100ms"
"""


def test_a_drill_ends_with_what_other_settings_would_have_made_of_it(tmp_path: Path) -> None:
    (tmp_path / "short.toml").write_text(SHORT_DRILL)
    done = mpio("drill", tmp_path / "short.toml", "--set", "timeout=7", "--out", tmp_path / "runs", "--quiet",
                timeout_s=LIMIT_S)
    assert done.code == OK, done.out + done.err
    assert not done.left
    told = done.out[done.out.index("The same faults with other settings"):]
    assert re.findall(r"^  (\S.*?)  +(?:up to|not at all)", told, re.MULTILINE) == [
        "fast, changed", "sles10", "linux", "fast"]
    (found,) = tmp_path.glob("runs/*/compare.json")
    shape = json.loads(found.read_text())
    assert shape["own"] == "fast, changed"
    assert {row["settings"]: row["runs"] for row in shape["settings"]}["sles10"] == 2
    assert "The same faults with other settings" in (found.parent / "report.html").read_text()


def test_a_drill_without_the_comparison(tmp_path: Path) -> None:
    (tmp_path / "short.toml").write_text(SHORT_DRILL)
    done = mpio("drill", tmp_path / "short.toml", "--no-compare", "--out", tmp_path / "runs", "--quiet",
                timeout_s=LIMIT_S)
    assert done.code == OK, done.out + done.err
    assert "other settings" not in done.out
    assert not list(tmp_path.glob("runs/*/compare.json"))


def test_the_page_names_every_option_and_the_profiles() -> None:
    page = (DOCS / "simulate.md").read_text()
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
    assert len(options) > 20
    missing = [option for option in options if f"`{option}" not in page]
    assert not missing
    assert all(f"`{name}`" in page for name in PROFILES)
