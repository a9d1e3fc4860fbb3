"""What people get wrong with heartbeats: one clear line each, and nothing lost."""

import json
import os
from pathlib import Path

import pytest
from tests.command import mpio
from tests.heartbeat_nodes import cluster
from tests.peers import MpioTarget

from mpio.heartbeat.formats import o2cb, own

RUN = ("--node", 0, "--nodes", "0,1", "--no-realtime")


@pytest.fixture
def region(tmp_path: Path) -> Path:
    path = tmp_path / "region"
    assert mpio("heartbeat", "create", path, "--slots", 4).code == 0
    return path


def test_a_device_that_is_too_small(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(bytes(4096))
    done = mpio("heartbeat", "create", path)
    assert done.code == 2
    assert "expected at least 131584 bytes for 255 slots of own in sectors of 512, found 4096" in done.err
    assert done.err.count("\n") == 1
    assert path.read_bytes() == bytes(4096)


@pytest.mark.parametrize("what", ["text", "own", "sbd", "o2cb"])
def test_what_is_there_is_overwritten_only_if_that_is_said(tmp_path: Path, what: str) -> None:
    path = tmp_path / "device"
    if what == "text":
        path.write_bytes(b"somebody's file\n" + bytes(1 << 20))
    else:
        assert mpio("heartbeat", "create", path, "--personality", what).code == 0
    if what == "o2cb":
        with path.open("r+b") as file:
            file.write(o2cb.render(o2cb.Block(1, 0, 1, 62_000)))
    before = path.read_bytes()
    done = mpio("heartbeat", "create", path)
    assert done.code == 2
    assert "--yes overwrites it" in done.err
    assert path.read_bytes() == before
    assert mpio("heartbeat", "create", path, "--yes").code == 0
    assert path.read_bytes()[:8] == own.MAGIC


@pytest.mark.parametrize("command", [("status",), ("watch",), ("run", *RUN), ("message", 0, "poison", "--yes")])
def test_foreign_data_is_not_taken_for_a_region_nor_written(tmp_path: Path, command: tuple[object, ...]) -> None:
    path = tmp_path / "device"
    path.write_bytes(os.urandom(4096) + bytes(1 << 20))
    before = path.read_bytes()
    verb, *options = command
    arguments = [verb, path, *options]
    done = mpio("heartbeat", *arguments)
    assert done.code == 2
    assert "expected a heartbeat region, found data of an unknown kind" in done.err
    assert "mpio heartbeat create" in done.err
    assert path.read_bytes() == before


def test_a_damaged_header_is_told_and_nobody_joins(region: Path) -> None:
    with region.open("r+b") as file:
        file.seek(60)
        file.write(b"!")
    for command in (("status", region), ("run", region, *RUN)):
        done = mpio("heartbeat", *command)
        assert done.code == 2
        assert "damaged" in done.err
        assert "checksum" in done.err


@pytest.mark.parametrize(("options", "words"), [
    (("--node", 4, "--nodes", "3,4"), "expected numbers from 0 to 3, as the region has 4 slots"),
    (("--node", 2, "--nodes", "0,1"), "--nodes: expected this node, 2, among all nodes"),
    (("--node", 0), "--nodes: expected the numbers of all nodes, or a --peer"),
    (("--node", 0, "--nodes", "0,x"), "--nodes: expected numbers from 0 to 254"),
    (("--node", 0, "--nodes", "0,0"), "--nodes: expected each node once"),
    (("--node", 0, "--peer", "1"), "--peer: expected N=HOST:PORT"),
    (("--node", 0, "--peer", "1=host"), "--peer: expected HOST:PORT"),
    (("--node", 0, "--peer", "1=127.0.0.1:7701"), "--listen: expected where this node listens"),
    (("--node", 0, "--peer", "0=127.0.0.1:7701"), "--peer: 0 is this node"),
    (("--node", 0, "--peer", "1=192.0.2.1:7701", "--listen", "127.0.0.1:7"), "--key-file: needed"),
    (("--node", 0, "--nodes", "0-2", "--peer", "1=127.0.0.1:7", "--listen", "127.0.0.1:8"),
     "--peer: expected one for each of nodes 1, 2, found 1"),
    (("--node", 0, "--nodes", "0,1", "--listen", "127.0.0.1:8"), "--listen: goes with --peer"),
    ((*RUN, "--threshold", 31), "--threshold: goes with o2cb"),
    ((*RUN, "--personality", "sbd"), "expected a heartbeat region of kind sbd, found a region of mpio"),
    ((*RUN, "--fence", "panic"), "--fence: expected report, exec:CMD or watchdog[:DEVICE], found 'panic'"),
    ((*RUN, "--fence", "exec:no-such-command"), "--fence exec: expected a command that can be run"),
    ((*RUN, "--fence", "watchdog:/dev/null"), "/dev/null: expected a watchdog device"),
    ((*RUN, "--drain", "30s"), "dead timeout: expected at least (deadline 60 s + fence 1 s + drain 30 s)"),
    ((*RUN, "--ping", "h", "--ping", "h"), "--ping: ping list: expected at least one host and each once"),
    ((*RUN, "--journal", "/no/such/directory/j"), "--journal: /no/such/directory/j: No such file or directory"),
    ((*RUN, "--block-size", "4096"), "the region has sectors of 512 bytes, and the device blocks of 4096"),
])
def test_orders_that_do_not_go_together(region: Path, options: tuple[object, ...], words: str) -> None:
    before = region.read_bytes()
    done = mpio("heartbeat", "run", region, *options)
    assert done.code == 2
    assert words in done.err
    assert "Traceback" not in done.err
    assert region.read_bytes() == before


@pytest.mark.parametrize(("options", "words"), [
    (("--deadline", "10s", "--dead", "11s"), "dead timeout: expected at least (deadline 10 s + fence 1 s + drain 2 s)"),
    (("--deadline", "3s"), "deadline: expected at least 4 periods of 2 s, found 3 s"),
    (("--watchdog", 5), "--watchdog: goes with --personality sbd, not with own"),
    (("--personality", "o2cb", "--period", "1s"), "--period: goes with --personality own, not with o2cb"),
    (("--region", "100"), "--region: expected an offset in whole blocks of 512 bytes, found 100"),
    (("--portal", "127.0.0.1"), "--portal: goes with an iscsi:// URL only"),
])
def test_regions_that_can_not_be(tmp_path: Path, options: tuple[object, ...], words: str) -> None:
    path = tmp_path / "device"
    path.write_bytes(bytes(1 << 20))
    done = mpio("heartbeat", "create", path, *options)
    assert done.code == 2
    assert words in done.err
    assert path.read_bytes() == bytes(1 << 20)


def test_a_file_that_could_not_become_a_region_is_not_left_behind(tmp_path: Path) -> None:
    assert mpio("heartbeat", "create", tmp_path / "device", "--region", "100").code == 2
    assert list(tmp_path.iterdir()) == []
    assert mpio("heartbeat", "status", tmp_path / "device").err == (
        f"mpio: {tmp_path / 'device'}: can't be opened: No such file or directory\n")


def test_messages_that_can_not_be(tmp_path: Path, region: Path) -> None:
    own_word = mpio("heartbeat", "message", region, 1, "reset")
    assert (own_word.code, own_word.err) == (
        2, "mpio: WORD: expected poison or clear in a region of mpio, found 'reset'\n")
    nobody = mpio("heartbeat", "message", region, 1, "poison", "--yes")
    assert "node 1 is not there: its slot is empty, or says that it has left" in nobody.err
    sbd = tmp_path / "sbd"
    assert mpio("heartbeat", "create", sbd, "--personality", "sbd").code == 0
    unsafe = mpio("heartbeat", "create", tmp_path / "unsafe", "--personality", "sbd", "--watchdog", 15, "--msgwait", 15)
    assert (unsafe.code, "msgwait: expected at least watchdog 15" in unsafe.err) == (0, True)
    unknown = mpio("heartbeat", "message", sbd, "alpha", "test")
    assert "expected a node that has a slot (none), found 'alpha'" in unknown.err
    waiting = mpio("heartbeat", "message", sbd, "alpha", "reset", "--yes", "--wait", "1s")
    assert "a node of SBD answers a test only; after another word, take it for dead once msgwait, 10 s" in waiting.err


def test_nodes_of_o2cb_with_different_thresholds_say_so(tmp_path: Path) -> None:
    region = tmp_path / "region"
    assert mpio("heartbeat", "create", region, "--personality", "o2cb").code == 0
    with cluster(tmp_path, region) as nodes:
        one = nodes.start(0, "--personality", "o2cb", "--threshold", 7)
        nodes.start(1, "--personality", "o2cb", "--threshold", 31)
        found = one.wait_for("PeerMismatched", node=1)
        assert (found["expected"], found["found"]) == ("threshold 7", "threshold 31")


def test_times_in_a_slot_that_are_not_those_of_the_region(region: Path) -> None:
    header = own.parse_header(region.read_bytes()[:512])
    assert isinstance(header, own.Header)
    other = own.Timing(10**9, 20 * 10**9, 30 * 10**9)
    with region.open("r+b") as file:
        file.seek(own.slot_sector(2) * 512)
        file.write(own.render_slot(own.Slot(header.region, 2, 5, 1, other)))
    done = mpio("heartbeat", "status", region, "--for", 0)
    assert done.code == 1
    assert "goes by other times than the region says: period 1 s, deadline 20 s, dead 30 s" in done.out


def test_a_slot_that_can_not_be_read_is_told_and_the_others_are_shown(tmp_path: Path) -> None:
    with MpioTarget(tmp_path, "1=ram:1MiB", options=["--control", str(tmp_path / "control")]) as target:
        url = target.url(1)
        assert mpio("heartbeat", "create", url, "--slots", 4).code == 0
        lba = own.slot_sector(1)
        error = mpio("target", "ctl", "--socket", tmp_path / "control", "add", "error", "sense=3/11/00", f"lba={lba}",
                     "opcode=read")
        assert error.code == 0, error.err
        done = mpio("heartbeat", "status", url, "--for", 0, "--json")
        assert done.code == 1, done.err
        (row,) = json.loads(done.out)["nodes"]
        assert (row["node"], row["state"]) == (1, "unreadable")
        with cluster(tmp_path, url) as nodes:
            one = nodes.start(1)
            failed = one.wait_for("HeartbeatFailed")
            assert failed["cause"].startswith("read of the own slot: ")
            one.process.terminate()
            assert one.wait() == 0


def test_nobody_becomes_a_member_beside_a_slot_that_can_not_be_read(tmp_path: Path) -> None:
    times = ("--period=0.1", "--deadline=1", "--dead=1.7", "--fence-latency=0.1", "--drain=0")
    with MpioTarget(tmp_path, "1=ram:1MiB", options=["--control", str(tmp_path / "control")]) as target:
        url = target.url(1)
        assert mpio("heartbeat", "create", url, "--slots", 4, *times).code == 0
        mpio("target", "ctl", "--socket", tmp_path / "control", "add", "error", "sense=3/11/00",
             f"lba={own.slot_sector(1)}", "opcode=read")
        done = mpio("heartbeat", "run", url, *RUN, *times[3:])
        assert done.code == 2
        assert "node 0 was not let in: slot of node 1 cannot be read" in done.err
