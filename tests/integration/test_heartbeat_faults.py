"""What befalls nodes: storage that hangs for long or for a moment, a path that is gone, a network that is cut."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.command import mpio
from tests.heartbeat_nodes import cluster, free_ports, slot_of
from tests.peers import MpioTarget
from tests.udp_relay import UdpRelay

TIMES = ("--period=0.25", "--deadline=10", "--dead=11", "--fence-latency=0.5", "--drain=0")
NODE_TIMES = TIMES[3:]


def test_storage_that_hangs_too_long_fences_the_node_and_a_shorter_pause_does_not(tmp_path: Path) -> None:
    control = tmp_path / "control"
    with MpioTarget(tmp_path, "1=ram:1MiB", options=["--control", str(control)]) as target:
        url = target.url(1)
        assert mpio("heartbeat", "create", url, "--slots", 4, *TIMES).code == 0
        with cluster(tmp_path, url) as nodes:
            zero = nodes.members(*NODE_TIMES, "--fence", f"exec:touch {tmp_path}/fenced")[0]

            def order(*words: object) -> str:
                done = mpio("target", "ctl", "--socket", control, *words)
                assert done.code == 0, done.err
                return done.out.strip()

            # both hang for more than half of their time: each asks, learns that all hang, and nobody is fenced
            pause = order("add", "hang", "opcode=medium")
            late = zero.wait_for("HeartbeatLate")
            assert late["margin_ns"] <= 5 * 10**9
            order("remove", pause)
            zero.wait_for("HeartbeatResumed")
            assert not zero.events("NodeFenced")
            # now one hangs alone: it is asked for the other's sake, and stopped when its time is over
            nodes.nodes[1].process.send_signal(signal.SIGTERM)
            assert nodes.nodes[1].wait() == 0
            zero.wait_for("PeerLeft", node=1)
            before = len(zero.events("HeartbeatLate"))
            order("add", "error", "sense=3/0c/00", "opcode=write")
            fenced = zero.wait_for("NodeFenced")
            assert fenced["cause"] == "storage"
            lates = zero.events("HeartbeatLate")
            assert len(lates) > before
            assert fenced["t_ns"] >= lates[-1]["t_ns"] + lates[-1]["margin_ns"]
            assert zero.wait() == 1
            assert (tmp_path / "fenced").exists()


def test_a_path_that_is_gone_is_nobodys_end(tmp_path: Path) -> None:
    control = tmp_path / "control"
    with MpioTarget(tmp_path, "1=ram:1MiB", options=["--control", str(control)]) as target:
        url = target.url(1)
        assert mpio("heartbeat", "create", url, "--slots", 4, *TIMES).code == 0
        with cluster(tmp_path, url) as nodes:
            zero, one = nodes.members(*NODE_TIMES, "--portal", target.portals[1])
            assert mpio("target", "ctl", "--socket", control, "offline", target.portals[0]).code == 0
            shown = mpio("heartbeat", "status", target.url(2), "--for", "12s")  # longer than the deadline
            assert shown.out.count("beating") == 2
            for node in (zero, one):
                assert node.process.poll() is None
                assert not node.events("NodeFenced")


def test_in_a_split_those_go_on_whom_clients_can_reach(tmp_path: Path) -> None:
    region, key = tmp_path / "region", tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    assert mpio("heartbeat", "create", region, "--slots", 4, *TIMES).code == 0
    ports = free_ports(2)
    wires = [UdpRelay(port) for port in ports]
    with socket.create_server(("127.0.0.1", 0)) as server, cluster(tmp_path, region) as nodes:
        try:
            nodes.ports = [wire.port for wire in wires]
            reached = f"127.0.0.1:{server.getsockname()[1]}"
            hosts = ["no-such-host.invalid:7", reached]  # who reaches whom: only node 1 has clients
            for number, host in enumerate(hosts):
                fence = f"exec:touch {tmp_path}/fenced-{number}"
                nodes.start(number, *NODE_TIMES, "--key-file", key, "--ping", host, "--dampen", "0s",
                            "--listen", f"127.0.0.1:{ports[number]}", "--fence", fence)
            zero, one = nodes.nodes
            for node in (zero, one):
                node.wait_for("HeartbeatStateChanged", new="running")
            one.wait_for("ReachabilityChanged", new=1)
            for wire in wires:
                wire.cut = True
            fenced = zero.wait_for("NodeFenced")
            assert fenced["cause"] == "quorum"
            assert zero.wait() == 1
            dead = one.wait_for("PeerDead", node=0)
            assert dead["t_ns"] >= fenced["t_ns"]
            one.wait_for("QuorumGained")
            assert (tmp_path / "fenced-0").exists()
            assert not (tmp_path / "fenced-1").exists()
            assert slot_of(region, 0).held
            assert one.process.poll() is None
        finally:
            for wire in wires:
                wire.close()


def test_a_reader_who_stops_reading_does_not_stop_the_heart(tmp_path: Path) -> None:
    region = tmp_path / "region"
    assert mpio("heartbeat", "create", region, "--slots", 4, *TIMES).code == 0
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    command = [sys.executable, "-m", "mpio.cli.main", "heartbeat", "run", str(region), "--node=0", "--nodes=0,1",
               "--no-realtime", *NODE_TIMES, f"--fence=exec:touch {tmp_path}/fenced"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer) as node:
        try:
            status = '"beating"'
            while status not in mpio("heartbeat", "status", region, "--json").out:
                assert node.poll() is None
            assert mpio("heartbeat", "message", region, 0, "poison", "--yes", "--wait", "60s").code == 0
            assert (tmp_path / "fenced").exists()
            assert slot_of(region, 0).held
            assert node.wait(60) == 1
        finally:
            node.kill()
            os.close(reader)
            os.close(writer)
