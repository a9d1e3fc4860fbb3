"""Debian's sbd reads what we write on a disk, and we read what it writes: header, slots, and messages both ways."""

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from tests.peers import find

from mpio.heartbeat.formats import sbd
from mpio.heartbeat.formats.sbd import Command, Header, Message, Slot
from mpio.heartbeat.machine import Action, Cause, Fence, Poison, Read, ReadDone, Write, WriteDone
from mpio.heartbeat.region import Found, Holds, Layout, blank, look, look_length
from mpio.heartbeat.sbd import Sbd, Settings
from mpio.model.cluster import Sbd as Timers
from mpio.units import NS_PER_S

pytestmark = [
    pytest.mark.interop,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a loop device: sbd takes nothing but block devices"),
]
SIZE = 4 << 20
HEADER = Header(watchdog=1, allocate=0, loop=1, msgwait=0, uuid=UUID("01234567-89ab-cdef-0123-456789abcdef").bytes)
"""Times of 0, so that sbd's commands do not wait."""


def done(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([find(command[0]), *command[1:]], capture_output=True, text=True, check=False, timeout=60)


class Disk:
    """A file as sbd's block device. We read and write the device too, past its cache as sbd does."""

    def __init__(self, device: str, sector: int) -> None:
        self.device, self.sector = device, sector
        self.layout = Layout(Holds.SBD, sector)

    def sbd(self, *words: str) -> str:
        finished = done("sbd", "-d", self.device, *words)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    def read(self, offset: int, length: int) -> bytes:
        descriptor = os.open(self.device, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def write(self, offset: int, data: bytes) -> None:
        descriptor = os.open(self.device, os.O_WRONLY | os.O_SYNC)
        try:
            assert os.pwrite(descriptor, data, offset) == len(data)
        finally:
            os.close(descriptor)

    def look(self) -> Found:
        return look(self.read(0, look_length(self.sector)), self.sector)

    def create(self, header: Header) -> None:
        for offset, data in blank(self.layout, header):
            self.write(offset, data)

    def message(self, node: int) -> Message:
        found = sbd.parse_message(self.read(self.layout.mailbox(node), self.sector))
        assert isinstance(found, Message)
        return found

    def slot(self, node: int) -> Slot:
        found = sbd.parse_slot(self.read(self.layout.slot(node), self.sector))
        assert isinstance(found, Slot)
        return found

    def listed(self) -> list[list[str]]:
        """What sbd says of each slot: number, name, message, sender."""
        return [line.split("\t") for line in self.sbd("list").splitlines()]


@pytest.fixture(params=[512, 4096])
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
    find("sbd")
    backing = tmp_path / "disk"
    backing.write_bytes(bytes(SIZE))
    attached = done("losetup", "--find", "--show", "--sector-size", str(request.param), str(backing))
    if attached.returncode:
        pytest.skip(f"no loop device: {attached.stderr.strip()}")
    device = attached.stdout.strip()
    yield Disk(device, request.param)
    assert done("losetup", "--detach", device).returncode == 0


def header_for(disk: Disk) -> Header:
    return Header(HEADER.watchdog, HEADER.allocate, HEADER.loop, HEADER.msgwait, disk.sector, HEADER.uuid)


def test_sbd_dumps_the_header_that_we_write(disk: Disk) -> None:
    disk.create(Header(15, 3, 2, 37, disk.sector, HEADER.uuid))
    shown = dict(re.findall(r"^(\S.*?) *: (.*)$", disk.sbd("dump"), re.MULTILINE))
    assert shown == {
        "Header version": "2.1", "UUID": str(UUID(bytes=HEADER.uuid)), "Number of slots": "255",
        "Sector size": str(disk.sector), "Timeout (watchdog)": "15", "Timeout (allocate)": "3", "Timeout (loop)": "2",
        "Timeout (msgwait)": "37",
    }
    assert disk.listed() == []


def test_we_read_the_header_that_sbd_writes(disk: Disk) -> None:
    assert disk.look().holds is Holds.EMPTY
    words = disk.sbd("-1", "15", "-2", "3", "-3", "2", "-4", "37", "create")
    uuid = re.search(r"uuid: (\S+)\)", words)
    assert uuid is not None
    found = disk.look()
    assert found.holds is Holds.SBD
    assert found.header == Header(15, 3, 2, 37, disk.sector, UUID(uuid[1]).bytes)


def test_both_make_the_same_disk(disk: Disk) -> None:
    disk.write(0, b"\xff" * SIZE)
    disk.sbd("-1", "9", "-4", "18", "create")
    theirs = disk.read(0, SIZE)
    header = sbd.parse_header(theirs[:disk.sector])
    assert isinstance(header, Header)
    disk.write(0, b"\xff" * SIZE)
    disk.create(header)
    assert disk.read(0, SIZE) == theirs


def test_sbd_lists_our_slots_and_messages_and_allocates_beside_them(disk: Disk) -> None:
    disk.create(header_for(disk))
    disk.write(disk.layout.slot(0), sbd.render_slot(Slot("alice"), disk.sector))
    disk.write(disk.layout.slot(254), sbd.render_slot(Slot("n" * 63), disk.sector))
    for command in (Command.TEST, Command.RESET, Command.OFF, Command.EXIT, Command.CRASHDUMP):
        disk.write(disk.layout.mailbox(254), sbd.render_message(Message(command, "alice"), disk.sector))
        assert disk.listed() == [["0", "alice", "clear", ""], ["254", "n" * 63, command.name.lower(), "alice"]]
    disk.sbd("allocate", "ALICE")  # the same node to sbd
    disk.sbd("allocate", "bob")
    assert [line[:2] for line in disk.listed()] == [["0", "alice"], ["1", "bob"], ["254", "n" * 63]]


def test_we_read_the_slots_that_sbd_allocates(disk: Disk) -> None:
    disk.create(header_for(disk))
    for name in ("alice", "bob", "carol.example.org"):
        disk.sbd("allocate", name)
    slots = [disk.slot(node) for node in range(4)]
    assert slots == [Slot("alice"), Slot("bob"), Slot("carol.example.org"), sbd.FREE]
    assert sbd.find_slot(slots, "BOB") == 1


@pytest.mark.parametrize("command", list(Command))
def test_we_read_the_messages_that_sbd_sends(disk: Disk, command: Command) -> None:
    disk.create(header_for(disk))
    disk.write(disk.layout.slot(1), sbd.render_slot(Slot("bob"), disk.sector))
    word = "clear" if command is Command.EMPTY else command.name.lower()
    disk.sbd("message", "bob", word)
    assert disk.message(1) == Message(command, platform.node()[:63])
    assert disk.message(0) == sbd.NOTHING


def test_sbd_clears_the_message_that_we_sent(disk: Disk) -> None:
    disk.create(header_for(disk))
    disk.write(disk.layout.slot(0), sbd.render_slot(Slot("bob"), disk.sector))
    disk.write(disk.layout.mailbox(0), sbd.render_message(Message(Command.TEST, "alice"), disk.sector))
    disk.sbd("message", "BOB", "clear")
    assert disk.message(0) == Message(Command.EMPTY, platform.node()[:63])
    assert disk.listed() == [["0", "bob", "clear", platform.node()[:63]]]


TIMERS = Timers(watchdog=5, msgwait=1, allocate=0)
"""With a msgwait for which a test can wait."""


class Node:
    """A machine on the real disk, in time of its own: every I/O takes a millisecond of that."""

    def __init__(self, disk: Disk, node: int, names: dict[int, str]) -> None:
        self.disk, self.now = disk, 0
        self.machine = Sbd(Settings(node, names, TIMERS, disk.layout))
        self.fences: list[Fence] = []
        self.do(self.machine.start(0))

    @property
    def state(self) -> str:
        return self.machine.status(self.now).state.value

    def do(self, actions: list[Action]) -> None:
        pending = list(actions)
        while pending:
            action = pending.pop(0)
            if isinstance(action, Read):
                self.now += 1_000_000
                data = self.disk.read(action.offset, action.length)
                pending += self.machine.handle(ReadDone(action.tag, data), self.now)
            elif isinstance(action, Write):
                self.now += 1_000_000
                self.disk.write(action.offset, action.data)
                pending += self.machine.handle(WriteDone(action.tag), self.now)
            elif isinstance(action, Fence):
                self.fences.append(action)

    def live(self, seconds: int) -> None:
        until = self.now + seconds * NS_PER_S
        while (due := self.machine.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.do(self.machine.handle_timer(self.now))
        self.now = max(self.now, until)


@pytest.fixture
def shared(disk: Disk) -> Disk:
    """A disk with slots for alice and bob, allocated by sbd; header and machine agree on its times."""
    disk.create(Header(TIMERS.watchdog, TIMERS.allocate, TIMERS.loop, TIMERS.msgwait, disk.sector, HEADER.uuid))
    disk.sbd("allocate", "alice")
    disk.sbd("allocate", "bob")
    return disk


@pytest.mark.parametrize("command", ["reset", "off", "crashdump"])
def test_a_node_of_ours_dies_by_a_message_of_sbd(shared: Disk, command: str) -> None:
    node = Node(shared, 1, {0: "alice", 1: "bob"})
    node.live(10)
    assert node.state == "running"
    shared.sbd("message", "bob", command)
    node.live(10)
    assert [fence.cause for fence in node.fences] == [Cause.POISON]
    assert node.fences[0].reason == f"{command} from {platform.node()[:63]}"


def test_a_node_of_ours_clears_a_test_message_and_leaves_at_an_exit(shared: Disk) -> None:
    node = Node(shared, 1, {0: "alice", 1: "bob"})
    node.live(5)
    shared.sbd("message", "bob", "test")
    node.live(5)
    assert shared.listed()[1] == ["1", "bob", "clear", ""]
    assert node.state == "running"
    shared.sbd("message", "bob", "exit")
    node.live(5)
    assert node.state == "left"
    assert not node.fences


def test_sbd_shows_the_pill_of_a_node_of_ours(shared: Disk) -> None:
    node = Node(shared, 0, {0: "alice", 1: "bob"})
    node.live(5)
    node.do(node.machine.handle(Poison(1), node.now))
    assert shared.listed() == [["0", "alice", "clear", ""], ["1", "bob", "reset", "alice"]]
