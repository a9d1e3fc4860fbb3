"""`mpio heartbeat measure` as a person runs it: on scratch files, on what is there, over a map, and wrongly."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.command import mpio
from tests.peers import MpioTarget, stopped
from tests.unit.report.synthetic import Fault, Plan, write_run

from mpio.cli.main import main
from mpio.model.address import Portal

SHORT = ("--duration", "1s", "--interval", "5ms", "--runs", 200)
MS = 1_000_000
Refused = Callable[..., str]


def measure(*arguments: object, code: int = 0, short: bool = True) -> dict[str, Any]:
    """Runs the command, in this process."""
    if short:
        arguments = (*arguments, *SHORT)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(["heartbeat", "measure", *map(str, arguments), "--json"])
    assert ended.value.code == code, out.getvalue() + err.getvalue()
    record: dict[str, Any] = json.loads(out.getvalue())
    return record


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs the command, in this process, and gives the one line that it says instead of doing anything."""

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["heartbeat", "measure", *map(str, (*arguments, *SHORT))])
        said = capsys.readouterr()
        assert ended.value.code == 2, said.out + said.err
        assert said.err.startswith("mpio: ")
        assert said.err.count("\n") == 1
        assert said.out == ""
        return said.err

    return run


# --- on files


def test_a_directory_gets_a_scratch_file_that_is_gone_at_the_end(tmp_path: Path) -> None:
    record = measure(tmp_path, "--stall", "20s")
    assert record["version"] == 1
    assert record["result"] == "ok"
    assert record["measured"]["heartbeats"] > 5
    assert [item["kind"] for item in record["advice"]] == ["own", "o2cb", "sbd", "sanlock"]
    assert list(tmp_path.iterdir()) == []


def test_thresholds_follow_from_the_stall_and_hold_in_the_trial(tmp_path: Path) -> None:
    record = measure(tmp_path, "--stall", "20s", "--personality", "o2cb")
    assert record["stall"] == {"stall_ns": 20 * 10**9, "sources": [
        {"stall_ns": 20 * 10**9, "words": "as given by --stall"}]}
    (advice,) = record["advice"]
    threshold = advice["recommended"]["settings"]["O2CB_HEARTBEAT_THRESHOLD"]
    needed_ns = 22 * 10**9 + advice["latency_ns"] + advice["jitter_ns"]
    assert 2 * (threshold - 2) * 10**9 < needed_ns <= 2 * (threshold - 1) * 10**9
    assert advice["trial"]["fenced"] == 0
    assert advice["trial"]["fenced_lower"] > 0


def test_a_new_file_is_scratch_too_and_a_load_is_made_in_it(tmp_path: Path) -> None:
    record = measure(tmp_path / "new", "--load", "mixed", "--load-depth", 2, "--personality", "own")
    assert "under a load of" in record["words"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_force_is_judged(tmp_path: Path) -> None:
    record = measure(tmp_path, "--stall", "20s", "--present", "O2CB_HEARTBEAT_THRESHOLD=7", "--personality", "o2cb",
                     code=1)
    assert record["result"] == "findings"
    assert record["present"][0]["colour"] == "red"
    assert record["present"][0]["margin_ns"] < -10 * 10**9


def test_without_a_failover_that_is_said(tmp_path: Path) -> None:
    record = measure(tmp_path, "--personality", "sbd")
    assert any("no failover is reckoned with" in note for note in record["notes"])


def test_the_page_for_people(tmp_path: Path) -> None:
    done = mpio("heartbeat", "measure", tmp_path, *SHORT, "--stall", "20s")
    assert done.code == 0, done.err
    for word in ("p99.9", "Reckoned with", "Thresholds", "OCFS2", "at least", "20 % lower", "with room"):
        assert word in done.out


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a file system in memory")
def test_memory_is_not_taken_for_a_disk() -> None:
    record = measure("/dev/shm", "--personality", "sbd")
    assert any("this file system is in memory" in note for note in record["notes"])


def test_a_sector_of_a_file_is_put_back(tmp_path: Path) -> None:
    path = tmp_path / "device"
    before = os.urandom(1 << 20)
    path.write_bytes(before)
    record = measure(path, "--region", "64KiB", "--yes", "--personality", "o2cb")
    assert record["measured"]["heartbeats"] > 5
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_reads_alone_need_no_leave_and_write_nothing(tmp_path: Path) -> None:
    path = tmp_path / "device"
    path.write_bytes(os.urandom(1 << 20))
    path.chmod(0o400)
    record = measure(path, "--read-only", "--personality", "o2cb")
    assert any("only reads were timed" in note for note in record["notes"])
    assert record["measured"]["latency_ns"] != {}


def test_sbd_only_reads_so_it_needs_no_leave(tmp_path: Path) -> None:
    path = tmp_path / "device"
    assert mpio("heartbeat", "create", path, "--personality", "sbd").code == 0
    before = path.read_bytes()
    assert measure(path, "--personality", "sbd")["advice"][0]["kind"] == "sbd"
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_measurement_tells_what_it_saw_and_puts_back(tmp_path: Path, number: int) -> None:
    path = tmp_path / "device"
    before = os.urandom(1 << 20)
    path.write_bytes(before)
    command = [sys.executable, "-m", "mpio.cli.main", "heartbeat", "measure", str(path), "--region", "64KiB", "--yes",
               "--duration", "1h", "--runs", "10", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stderr is not None
        assert "heartbeats" in process.stderr.readline()  # a line of progress
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["measured"]["heartbeats"] > 5
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# --- drills


def test_the_stalls_of_a_drill_count_and_its_bound_more(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Plan(faults=[Fault(1, 5.0, 11.0, 30_000), Fault(2, 15.0, 20.0, 774)]))
    (tmp_path / "scratch").mkdir()
    record = measure(tmp_path / "scratch", "--drill", run, "--personality", "o2cb")
    sources = record["stall"]["sources"]
    assert sources[0]["stall_ns"] == 37_500 * MS
    assert sources[0]["words"].startswith("a quarter more than the longest of 2 failovers in the drill run, 30 s")
    assert sources[1]["words"] == "the planner's bound in the drill run"
    assert record["stall"]["stall_ns"] == 37_500 * MS


@pytest.mark.parametrize(("content", "words"), [
    (None, "expected a run directory, found nothing"), ("", "expected the drill's JSON, found no such file"),
    ("{}", "version"),
])
def test_a_drill_that_is_none(tmp_path: Path, content: str | None, words: str, refused: Refused) -> None:
    run = tmp_path / "run"
    if content is not None:
        run.mkdir()
        if content:
            (run / "verdict.json").write_text(content)
    assert words in refused(tmp_path, "--drill", run)


def test_a_drill_without_faults_is_no_sample(tmp_path: Path, refused: Refused) -> None:
    run = write_run(tmp_path / "run", Plan(faults=[]))
    assert "expected a drill in which I/O met a fault, found none" in refused(tmp_path, "--drill", run)


def test_heartbeats_that_a_drill_beside_held_up_are_its_failovers(tmp_path: Path) -> None:
    """The drill ends while the measurement lasts; from the third second on its fault stalls everything."""
    run = write_run(tmp_path / "run", Plan(faults=[Fault(1, 5.0, 11.0, 1_000_000)]))
    journal = (run / "journal.jsonl").read_text()
    assert "1772366400.5" in journal
    (run / "journal.jsonl").write_text(journal.replace("1772366400.5", str(time.time() - 2.0)))
    (run / "verdict.json").rename(run / "later.json")
    ends = threading.Timer(1.0, lambda: (run / "later.json").rename(run / "verdict.json"))
    ends.start()
    (tmp_path / "scratch").mkdir()
    record = measure(tmp_path / "scratch", "--drill", run, "--personality", "o2cb", "--duration", "5s", short=False)
    ends.join()
    assert record["measured"]["heartbeats"] > 0
    assert record["measured"]["failovers"] > 0
    assert record["stall"]["sources"][0]["words"].startswith(
        "a quarter more than the longest of one failover in the drill")
    assert any("met a failover" in note for note in record["notes"])


def test_a_drill_that_does_not_end_costs_nothing_but_itself(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "verdict.json").unlink()
    (tmp_path / "scratch").mkdir()
    record = measure(tmp_path / "scratch", "--drill", run, "--personality", "o2cb")
    assert record["stall"]["sources"] == []
    assert any("this drill does not count" in note for note in record["notes"])


# --- maps


class Wire:
    """A portal in front of another; after so many bytes it lets nothing pass any more."""

    def __init__(self, portal: Portal, bytes_max: int) -> None:
        self._portal = portal
        self._left = bytes_max
        self._resources = contextlib.ExitStack()
        self._listener = self._resources.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._sockets = [self._listener]
        self.portal = Portal("127.0.0.1", self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._resources.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((self._portal.host, self._portal.port))
                for one, other in ((near, far), (far, near)):
                    self._sockets.append(self._resources.enter_context(one))
                    thread = threading.Thread(target=self._pass, args=(one, other))
                    self._threads.append(thread)
                    thread.start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                self._left -= len(data)
                if self._left > 0:
                    other.sendall(data)
            other.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MpioTarget]:
    with MpioTarget(tmp_path_factory.mktemp("target"), "1=ram:16MiB") as found:
        yield found


def test_a_lun_by_two_paths_with_the_planners_bound(target: MpioTarget) -> None:
    record = measure(target.urls[0], "--portal", target.portals[1], "--yes", "--personality", "o2cb", "--load", "read")
    (source,) = record["stall"]["sources"]
    assert source["words"].startswith("the planner's bound for this map, ")
    assert source["stall_ns"] > 0
    assert record["measured"]["failovers"] == 0


def test_one_path_has_no_bound(target: MpioTarget) -> None:
    record = measure(target.urls[0], "--yes", "--personality", "o2cb")
    assert record["stall"] == {"stall_ns": 0, "sources": []}


def test_a_failover_while_measuring_is_no_latency(target: MpioTarget) -> None:
    """Path 1 goes silent in a heartbeat, which goes on by path 2, and counts as a stall."""
    wire = Wire(target.portals[0], 300_000)  # some 30 heartbeats
    try:
        url = target.url().replace(str(target.portals[0]), str(wire.portal))
        done = mpio("heartbeat", "measure", url, "--portal", target.portals[1], "--yes", "--personality", "o2cb",
                    "--duration", "8s", "--interval", "1ms", "--runs", 100, "--json", "--stall", "100ms")
    finally:
        wire.close()
    assert done.code == 0, done.err
    record = json.loads(done.out)
    measured = record["measured"]
    assert measured["failovers"] >= 1
    longest_ns = measured["failover_longest_ns"]
    assert longest_ns > 200 * MS
    assert any("that met a failover here" in source["words"] and source["stall_ns"] == longest_ns * 5 // 4
               for source in record["stall"]["sources"])
    assert any("met a failover" in note for note in record["notes"])


def test_storage_that_hangs_at_the_end_costs_neither_the_figures_nor_the_sector(tmp_path: Path) -> None:
    with MpioTarget(tmp_path, "1=ram:16MiB") as target:
        command = [sys.executable, "-m", "mpio.cli.main", "heartbeat", "measure", target.urls[0], "--yes", "--duration",
                   "1h", "--interval", "20ms", "--runs", "10", "--json", "--set", "no_path_retry=queue"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              cwd=tmp_path) as process:
            assert process.stderr is not None
            assert "heartbeats" in process.stderr.readline()
            with stopped(target):
                time.sleep(1.0)  # so that a heartbeat is out
                process.send_signal(signal.SIGINT)
                while "is out yet" not in (line := process.stderr.readline()):
                    assert line
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    record = json.loads(out)
    assert record["measured"]["unended_ns"] > 10**9
    (undo,) = tmp_path.glob("mpio-heartbeat-sector-*.bin")
    assert record["trouble"].endswith(f"what it held is in {undo.name}")
    assert undo.read_bytes() == bytes(512)


def test_a_lun_is_not_written_without_leave(target: MpioTarget, refused: Refused) -> None:
    assert "--yes: is needed to write a sector of iscsi://" in refused(target.urls[0])


# --- wrong input


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "device"
    path.write_bytes(b"XFSB" + os.urandom((1 << 20) - 4))
    return path


@pytest.mark.parametrize(("options", "words"), [
    ((), "--yes: is needed to write a sector"),
    (("--yes",), "there is an XFS file system; say with --region where"),
    (("--yes", "--region", "2MiB"), "--region: ends at"),
    (("--yes", "--region", "100"), "--region: expected an offset in whole blocks of 512 bytes, found 100"),
    (("--yes", "--region", "1MiB"), "--region: ends at"),
    (("--yes", "--region", "64KiB", "--load", "write"), "--load: write overwrites what is on"),
    (("--yes", "--region", "64KiB", "--load", "write", "--load-area", "0:128KiB"), "--load-area: expected an area"),
    (("--yes", "--region", "64KiB", "--load", "write", "--load-area", "512KiB:1MiB"), "--load-area: ends at"),
    (("--read-only", "--load", "write"), "--load: write writes, and --read-only was asked for"),
    (("--read-only", "--load-area", "0:1MiB"), "--load-area: goes with --load"),
    (("--read-only", "--load", "read", "--load-request", "1000"), "--load-request: expected whole blocks"),
    (("--read-only", "--load", "read", "--load-area", "0:4KiB"), "--load-area: expected"),
    (("--read-only", "--present", "sbd.watchdog=5", "--personality", "o2cb"), "--present: sbd.watchdog"),
    (("--read-only", "--present", "ncs.tolerance=5"), "--present: ncs.tolerance: expected a setting of o2cb or sbd or"),
    (("--read-only", "--present", "nonsense"), "--present: expected KEY=VALUE"),
    (("--portal", "127.0.0.1"), "--portal: goes with an iscsi:// URL only"),
])
def test_wrong_options_are_one_clear_line_and_nothing_is_lost(
    device: Path, options: tuple[str, ...], words: str, refused: Refused
) -> None:
    before = device.read_bytes()
    assert words in refused(device, *options)
    assert device.read_bytes() == before
    assert list(device.parent.iterdir()) == [device]


@pytest.mark.parametrize(("options", "words"), [
    (("--duration", "1ms"), "--duration: expected at least 1s"),
    (("--interval", "1us"), "--interval: expected at least 1ms"),
    (("--region", "0"), "--region: goes with a device or a file that is there"),
    (("--load", "read", "--load-area", "0:1MiB"), "--load-area: goes with a device or a file that is there"),
    (("--load", "read", "--load-area", "1MiB"), "expected OFFSET:LENGTH such as 1GiB:64MiB"),
])
def test_wrong_options_for_a_scratch_file(
    tmp_path: Path, options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["heartbeat", "measure", str(tmp_path), *options])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert words in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("place", "words"), [
    ("/dev/no-such-disk", "expected a device, a file, a directory or an iscsi:// URL, found nothing"),
    ("/no/such/place", "a scratch file can't be made there: No such file or directory"),
    ("iscsi://", "DEVICE: "), ("/dev/null", "expected a file, a block device or an iscsi:// URL"),
    ("/proc", "a scratch file can't be made there"),
])
def test_places_that_are_none(place: str, words: str, refused: Refused) -> None:
    assert words in refused(place, "--yes")


def test_a_device_that_is_too_small(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "small"
    path.write_bytes(bytes(4096))
    assert "expected at least 8192 bytes from 0 on, found 4096" in refused(path, "--yes")
    assert path.read_bytes() == bytes(4096)


def test_nobody_who_heartbeats_is_disturbed(tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "region"
    assert mpio("heartbeat", "create", path, "--slots", 16, "--period", "1s", "--deadline", "10s").code == 0
    command = [sys.executable, "-m", "mpio.cli.main", "heartbeat", "run", str(path), "--node", "0", "--nodes", "0,1",
               "--no-realtime"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as node:
        try:
            before = path.read_bytes()
            while path.read_bytes() == before:
                time.sleep(0.05)
            assert "nodes are heartbeating in it" in refused(path, "--yes")
        finally:
            node.terminate()
