"""`mpio plan` as a stranger would use it: goals, files, what comes out, and one clear line for whatever is wrong."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.command import Done, mpio

from mpio.cli.plan import command

OK, FINDINGS, USAGE = 0, 1, 2
LIMIT_S = 30.0
DOCS = Path(__file__).parents[2] / "docs"

ISCSID = """# the site's own
node.startup = automatic
node.conn[0].timeo.noop_out_interval = 10
node.conn[0].timeo.noop_out_timeout = 15
node.session.timeo.replacement_timeout = 120
"""
MULTIPATH = """defaults {
	user_friendly_names yes
	polling_interval 5
}
overrides {
	fast_io_fail_tmo off
	no_path_retry 12
}
"""
O2CB = "O2CB_ENABLED=true\nO2CB_BOOTCLUSTER=web\nO2CB_HEARTBEAT_THRESHOLD=31\n"


def plan(*arguments: object) -> Done:
    done = mpio("plan", *arguments, timeout_s=LIMIT_S)
    assert "Traceback" not in done.err
    return done


def as_json(*arguments: object, code: int = OK) -> dict[str, Any]:
    done = plan(*arguments, "--json")
    assert done.code == code, done.out + done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host whose nodes are fenced by one path failure: 10 + 15 + 120 s against 60 s."""
    for name, text in (("iscsi/iscsid.conf", ISCSID), ("multipath.conf", MULTIPATH), ("sysconfig/o2cb", O2CB)):
        path = tmp_path / "host" / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "host"


def values(shape: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["value"] for row in shape["settings"]}


# --- goals to settings


def test_goals_get_settings_that_meet_them() -> None:
    shape = as_json("--max-stall", "20s", "--cluster", "ocfs2")
    binding = [item for item in shape["scenarios"] if item["binds"]]
    assert len(binding) >= 5
    assert all(item["worst_ns"] <= 20_000_000_000 and item["past"] == [] for item in binding)
    assert all(check["slack_ns"] >= 0 for check in shape["checks"])
    assert {"noop_out_interval", "fast_io_fail_tmo", "o2cb.heartbeat_threshold"} <= set(values(shape))
    assert all(row["reason"] for row in shape["settings"])


def test_the_terminal_shows_ladder_settings_and_slack() -> None:
    done = plan("--max-stall", "20s", "--cluster", "sbd", "--nodes", "3")
    assert done.code == OK
    for words in ("PLAN", "path goes silent, one direction", "A 20 s", "noop_out_interval", "sbd.watchdog", " left "):
        assert words in done.out
    assert done.err == ""


@pytest.mark.parametrize("cluster", ["none", "ocfs2", "sbd", "sanlock", "pacemaker", "ncs", "heartbeat", "rac", "zfs",
                                     "qdisk"])
def test_every_cluster_has_a_plan(cluster: str) -> None:
    shape = as_json("--max-stall", "25s", "--cluster", cluster)
    assert shape["kind"] == "plan"
    assert shape["verdict"] == "ok"


def test_goals_that_exclude_each_other_are_named() -> None:
    shape = as_json("--max-stall", "20s", "--io-latency-max", "30s", code=FINDINGS)
    assert shape["kind"] == "conflict"
    assert any("--max-stall" in goal for goal in shape["conflict"])
    assert any("--io-latency-max" in goal for goal in shape["conflict"])
    assert shape["ways_out"]


def test_what_is_set_stays() -> None:
    shape = as_json("--max-stall", "30s", "--set", "noop_out_interval=3", "--set", "fast_io_fail_tmo=6s")
    assert values(shape)["noop_out_interval"] == "3"
    assert values(shape)["fast_io_fail_tmo"] == "6"


def test_json_has_the_shape_that_is_documented() -> None:
    def keys(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: keys(item) for name, item in value.items() if name != "asked"}
        return [keys(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None

    example = re.search(r"### `mpio plan`.*?```json\n(.*?)```", (DOCS / "json.md").read_text(), re.DOTALL)
    assert example
    documented = json.loads(example[1])
    assert keys(as_json("--max-stall", "20s", "--cluster", "ocfs2")) == keys(documented)


# --- settings to what they imply


def test_files_that_fence_are_found_out_and_mended(host: Path) -> None:
    shape = as_json("--from", host, code=FINDINGS)
    assert shape["kind"] == "assessment"
    assert shape["headline"] == "NOT SAFE"
    assert any(item["past"] for item in shape["scenarios"] if item["scenario"] == "silent_loss")
    violated = [check for check in shape["checks"] if check["state"] == "violated"]
    assert any(check["name"].startswith("o2cb.") for check in violated)
    changed = [row for row in shape["settings"] if row["old"] is not None]
    assert changed
    assert all(row["reason"] for row in changed)


def test_every_value_says_where_it_comes_from(host: Path) -> None:
    rows = {row["name"]: row for row in as_json("--from", host, code=FINDINGS)["settings"]}
    assert rows["noop_out_interval"]["origin"].endswith("etc/iscsi/iscsid.conf:3")
    assert "multipath.conf:6" in rows["fast_io_fail_tmo"]["origin"]
    assert "o2cb:3" in rows["o2cb.heartbeat_threshold"]["origin"]
    assert "default" in rows["abort_timeout"]["origin"]


def test_the_nearest_safe_change_is_safe(host: Path, tmp_path: Path) -> None:
    done = plan("--from", host, "--write", tmp_path / "out")
    assert done.code == FINDINGS
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file() and (host / path.relative_to(tmp_path / "out")).is_file():
            (host / path.relative_to(tmp_path / "out")).write_bytes(path.read_bytes())
    after = as_json("--from", host)
    assert after["headline"] == "SAFE"
    assert after["files"] == []


def test_the_patch_is_one_that_patch_takes(host: Path) -> None:
    done = plan("--from", host, "--diff")
    assert done.code == FINDINGS
    assert done.out.startswith("--- ")
    assert f"--- {host}" in done.out
    subprocess.run(["git", "apply", "--numstat", "-p0", "--unsafe-paths"], input=done.out, text=True, check=True,
                   capture_output=True)
    removed = [line[1:] for line in done.out.splitlines() if re.match("-[^-]", line)]
    assert all(line in (ISCSID + MULTIPATH + O2CB).splitlines() for line in removed)


def test_what_if(host: Path) -> None:
    assert as_json("--from", host, "--set", "O2CB_HEARTBEAT_THRESHOLD=121")["headline"] == "SAFE"
    alone = as_json("--set", "noop_out_interval=1", "--set", "noop_out_timeout=1")
    assert alone["kind"] == "assessment"
    silent = next(item for item in alone["scenarios"] if item["scenario"] == "silent_loss")
    assert 7_000_000_000 <= silent["worst_ns"] < 8_000_000_000


def test_goals_can_be_held_against_files(host: Path) -> None:
    shape = as_json("--from", host, "--set", "o2cb.heartbeat_threshold=121", "--max-stall", "20s", code=FINDINGS)
    assert any(row["old"] is not None and row["name"] != "o2cb.heartbeat_threshold" for row in shape["settings"])


def test_errors_in_files_are_findings_with_their_line(host: Path) -> None:
    (host / "etc/multipath.conf").write_text(MULTIPATH.replace("no_path_retry", "no_path_rety"))
    (host / "etc/sysconfig/o2cb").write_text(O2CB.replace("31", "121"))
    (host / "etc/iscsi/iscsid.conf").write_bytes(ISCSID.encode() + b"# \xff\xfe\nnode.session.queue_depth = many\n")
    said = json.dumps(as_json("--from", host, code=FINDINGS)["findings"])
    assert "multipath.conf:7" in said
    assert "no_path_retry" in said
    assert "iscsid.conf:7" in said


# --- files


def test_written_files_hold_the_plan(tmp_path: Path) -> None:
    out = tmp_path / "plan"
    done = plan("--max-stall", "20s", "--cluster", "ocfs2", "--write", out)
    assert done.code == OK
    assert f"wrote 6 files to {out}" in done.err or "files to" in done.err
    read_me = (out / "README.txt").read_text()
    for path in (path for path in out.rglob("*") if path.is_file() and path.name != "README.txt"):
        assert str(path.relative_to(out)) in read_me
    drop_in = (out / "etc/multipath/conf.d/mpio.conf").read_text()
    assert "fast_io_fail_tmo" in drop_in
    assert (out / "node-records.sh").stat().st_mode & 0o111


def test_a_directory_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = plan("--max-stall", "20s", "--write", tmp_path)
    assert done.code == USAGE
    assert "is there already" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_page(tmp_path: Path) -> None:
    done = plan("--max-stall", "20s", "--cluster", "ocfs2", "--html", tmp_path / "plan.html", "--json")
    assert done.code == OK
    html = (tmp_path / "plan.html").read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert json.loads(done.out)["sentence"] in html


# --- whatever is wrong


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "/nonexistent"), "/nonexistent: can't be read: No such file or directory"),
        (("--from", "/etc/passwd"), "/etc/passwd: expected one of the configuration files"),
        (("--max-stall", "soon"), "expected a duration such as '300ms' or '25s', found 'soon'"),
        (("--max-stall", "-5s"), "expected a duration"),
        (("--max-stall", "0"), "--max-stall: expected more than 0 to 86400 s"),
        (("--max-stall", "9999h"), "--max-stall: expected more than 0 to 86400 s"),
        (("--set", "noop_out_intervall=5"), "did you mean noop_out_interval?"),
        (("--set", "noop_out_interval=5 m/s"), "noop_out_interval: "),
        (("--set", "noop_out_interval=-1"), "noop_out_interval: expected a whole number of seconds from 0"),
        (("--set", "noop_out_interval=1", "--set", "noop_out_interval=2"), "is given twice"),
        (("--set", "o2cb.heartbeat_threshold=31", "--max-stall", "9s"), "a plan for cluster none has no such setting"),
        (("--cluster", "vms"), "'vms'"),
        (("--nodes", "0"), "--nodes"),
        (("--kernel", "new"), "--kernel: expected a version such as 6.1 or 0.9.4, found 'new'"),
        (("--from", "/etc", "--device", "NETAPP"), "--device: expected VENDOR:PRODUCT"),
        (("--device", "NETAPP:LUN"), "--device: is about files that are there"),
        (("--explain", "fast_io_fial_tmo"), "fast_io_fail_tmo"),
        (("--html", "/nonexistent/x.html"), "/nonexistent/x.html: can't be written"),
        (("--write", "/proc/plan"), "/proc/plan: can't be written"),
        (("--frobnicate",), "--frobnicate"),
        (("stray",), "stray"),
    ],
)
def test_bad_input_gets_one_line(arguments: tuple[str, ...], words: str) -> None:
    done = plan(*arguments)
    assert done.code == USAGE, done.out + done.err
    assert done.err.startswith("mpio: ")
    assert done.err.count("\n") == 1
    assert len(done.err) < 500
    assert words in done.err


def test_files_of_two_hosts_are_refused(host: Path) -> None:
    other = host / "home/copy-of-multipath.conf"
    other.parent.mkdir()
    other.write_text(MULTIPATH)
    done = plan("--from", host, "--from", other)
    assert done.code == USAGE
    assert "name one host's files only" in done.err


def test_a_terminal_without_the_signs_gets_an_answer_too() -> None:
    done = mpio("plan", "--max-stall", "20s", timeout_s=LIMIT_S, environment={"PYTHONIOENCODING": "ascii"})
    assert done.code == OK
    assert done.out.startswith("? PLAN ")


@pytest.mark.parametrize("page", ["docs/plan.md", "docs/stall.md", "README.md"])
def test_documents_name_only_options_that_exist(page: str) -> None:
    text = (DOCS.parent / page).read_text()
    lines = [line for line in text.splitlines() if "mpio plan" in line or page == "docs/plan.md"]
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join(lines)))
    known = {option for parameter in command.params for option in parameter.opts}
    assert named <= known | {"--help"}
    if page == "docs/plan.md":
        assert known <= named


def test_a_setting_is_explained() -> None:
    done = plan("--explain", "fast_io_fail_tmo")
    assert done.code == OK
    for words in ("fast_io_fail_tmo", "multipath.conf", "replacement_timeout", "5"):
        assert words in done.out


def test_any_bytes_as_files_never_crash(tmp_path: Path) -> None:
    top = tmp_path / "etc"
    garbage = bytes(range(256)) * 8
    for name in ("iscsi/iscsid.conf", "multipath.conf", "sysconfig/o2cb", "sysconfig/sbd", "corosync/corosync.conf",
                 "ocfs2/cluster.conf", "sanlock/sanlock.conf", "ha.d/ha.cf", "sysctl.conf", "iet/ietd.conf"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(garbage)
    done = plan("--from", tmp_path, "--json")
    assert done.code in (FINDINGS, USAGE), done.err
    if done.code == FINDINGS:
        assert json.loads(done.out)["findings"]
