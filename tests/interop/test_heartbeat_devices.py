"""Heartbeats on block devices, with blocks of 512 and of 4096 bytes, and nodes that Debian's sbd talks to."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.command import mpio, tool
from tests.heartbeat_nodes import cluster
from tests.peers import find

from mpio.errors import InputError
from mpio.io.heartbeat_store import FileBlocks

pytestmark = [
    pytest.mark.interop,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a loop device"),
]
SIZE = 4 << 20


@pytest.fixture(params=[512, 4096])
def device(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    backing = tmp_path / "disk"
    backing.write_bytes(bytes(SIZE))
    attached = subprocess.run(
        [find("losetup"), "--find", "--show", "--sector-size", str(request.param), str(backing)],
        capture_output=True, text=True, check=False)
    if attached.returncode:
        pytest.skip(f"no loop device: {attached.stderr.strip()}")
    path = Path(attached.stdout.strip())
    yield path
    subprocess.run([find("losetup"), "--detach", str(path)], check=True)


def test_nodes_on_a_device_use_its_blocks(tmp_path: Path, device: Path) -> None:
    sector = int(tool("blockdev", "--getss", device).out)
    made = mpio("heartbeat", "create", device, "--region", "1MiB", "--slots", 4, "--period=0.25", "--json")
    assert json.loads(made.out)["sector_bytes"] == sector
    before = device.read_bytes()[:1 << 20]
    with cluster(tmp_path, device) as nodes:
        zero, one = nodes.members("--region", "1MiB")
        shown = json.loads(mpio("heartbeat", "status", device, "--region", "1MiB", "--json").out)
        assert [row["state"] for row in shown["nodes"]] == ["beating", "beating"]
        one.process.terminate()
        assert one.wait() == 0
        zero.wait_for("PeerLeft", node=1)
        zero.process.terminate()
        assert zero.wait() == 0
    assert device.read_bytes()[:1 << 20] == before == bytes(1 << 20)


def test_smaller_blocks_than_the_device_has_are_refused(device: Path) -> None:
    if int(tool("blockdev", "--getss", device).out) == 512:
        assert FileBlocks(device, 4096).block_size == 4096
    else:
        with pytest.raises(InputError, match="has blocks of 4096 bytes, and 512 were asked for"):
            FileBlocks(device, 512)


def test_sbd_and_our_nodes_send_each_other_words(tmp_path: Path, device: Path) -> None:
    find("sbd")
    create = tool("sbd", "-d", device, "-1", "60", "-2", "0", "-3", "1", "-4", "1", "create")
    assert create.code == 0, create.err
    with cluster(tmp_path, device) as nodes:
        alpha = nodes.start(0, "--name", "alpha", "--fence", f"exec:touch {tmp_path}/fenced")
        alpha.wait_for("HeartbeatStateChanged", new="running")
        listed = [line.split("\t")[:3] for line in tool("sbd", "-d", device, "list").out.splitlines()]
        assert listed == [["0", "alpha", "clear"]]
        heard = mpio("heartbeat", "message", device, "ALPHA", "test", "--wait", "60s")
        assert (heard.code, heard.out) == (0, f"{device}: test for node 0, and it has answered\n")
        assert alpha.wait_for("MessageSeen")["command"] == "test"
        # a word of ours, where sbd looks for it; there it stays, for the node that it is for does not run
        assert tool("sbd", "-d", device, "allocate", "beta").code == 0
        assert mpio("heartbeat", "message", device, "beta", "off", "--yes", "--from", "alpha").code == 0
        words = [line.split("\t") for line in tool("sbd", "-d", device, "list").out.splitlines()]
        assert words[1] == ["1", "beta", "off", "alpha"]
        # and one of sbd's, for our node
        assert tool("sbd", "-d", device, "message", "alpha", "reset").code == 0
        assert alpha.wait_for("NodeFenced")["cause"] == "poison"
        assert alpha.wait() == 1
        assert (tmp_path / "fenced").exists()
