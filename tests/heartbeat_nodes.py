"""Nodes of a heartbeat as processes: `mpio heartbeat run` over one region, and what their journals say."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mpio.heartbeat.formats import own

WAIT_S = 90.0  # for what must come; how soon is not what a test asks


def free_ports(count: int) -> list[int]:
    """UDP ports of loopback that nobody has now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


class Node:
    """One `mpio heartbeat run`."""

    def __init__(self, command: Sequence[object], directory: Path, number: int) -> None:
        self.number = number
        life = len(list(directory.glob(f"journal-{number}-*")))
        self.journal = directory / f"journal-{number}-{life}.jsonl"
        self.journal.touch()
        self.err = directory / f"err-{number}-{life}"
        with self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mpio.cli.main", "heartbeat", "run", *map(str, command), "--no-realtime",
                 "--node", str(number), "--journal", str(self.journal)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err,
            )

    def events(self, kind: str = "", **fields: object) -> list[dict[str, Any]]:
        """What its journal has so far, of this kind and with these fields."""
        wanted = {**({"kind": kind} if kind else {}), **fields}
        lines = self.journal.read_bytes().split(b"\n")[:-1]  # the last may be half written
        return [event for event in map(json.loads, lines) if wanted.items() <= event.items()]

    def wait_for(self, kind: str, **fields: object) -> dict[str, Any]:
        """The first such event, once it is there."""
        end = time.monotonic() + WAIT_S
        while True:
            is_over = self.process.poll() is not None or time.monotonic() > end
            if found := self.events(kind, **fields):
                return found[0]
            assert not is_over, (
                f"node {self.number}, exit {self.process.returncode}, no {kind} {fields} among {self.events()}, "
                f"and it said {self.err.read_text()!r}")
            time.sleep(0.02)

    def wait(self) -> int:
        """Until it has ended; its exit code."""
        return self.process.wait(WAIT_S)


class Cluster:
    """A region on a file, and its nodes."""

    def __init__(self, directory: Path, device: object, ports: Sequence[int]) -> None:
        self.directory = directory
        self.device = device
        self.ports = ports
        self.nodes: list[Node] = []

    def start(self, number: int, *options: object) -> Node:
        """One more node, with a network to all others."""
        peers = [f"--peer={other}=127.0.0.1:{port}" for other, port in enumerate(self.ports) if other != number]
        listen = f"127.0.0.1:{self.ports[number]}"
        node = Node([self.device, *peers, "--listen", listen, *options], self.directory, number)
        self.nodes.append(node)
        return node

    def members(self, *options: object) -> list[Node]:
        """All nodes, once they are members."""
        nodes = [self.start(number, *options) for number in range(len(self.ports))]
        for node in nodes:
            node.wait_for("HeartbeatStateChanged", new="running")
        return nodes


@contextmanager
def cluster(directory: Path, device: object, count: int = 2) -> Iterator[Cluster]:
    """So many nodes may be started; whatever still runs at the end is killed."""
    made = Cluster(directory, device, free_ports(count))
    try:
        yield made
    finally:
        for node in made.nodes:
            if node.process.poll() is None:
                node.process.kill()
                node.process.wait()


def slot_of(device: Path, node: int, sector: int = 512) -> own.Slot:
    """What a node's slot holds now."""
    fd = os.open(device, os.O_RDONLY)
    try:
        slot = own.parse_slot(os.pread(fd, sector, own.slot_sector(node) * sector))
    finally:
        os.close(fd)
    assert isinstance(slot, own.Slot), slot
    return slot
