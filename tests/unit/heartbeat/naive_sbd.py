"""sbd's servant and inquisitor once more, written down as simply as their description; see `naive_o2cb`.

Header, slot and mailbox are read in one piece when a servant starts, as `mpio.heartbeat.sbd` does it too.
"""

from collections.abc import Generator

from mpio.events import Kind
from mpio.heartbeat.machine import (
    Action,
    Cause,
    Connected,
    Disconnected,
    Extend,
    Fence,
    Happened,
    Input,
    Leave,
    NodeState,
    Read,
    ReadDone,
    Status,
    Write,
    WriteDone,
)
from mpio.model.cluster import Sbd as Timers

SECOND = 1_000_000_000
SECTOR = 512
EMPTY, TEST, RESET, OFF, EXIT, CRASHDUMP = range(6)

Steps = Generator[int, ReadDone | WriteDone | None, None]
"""A servant: gives until when it sleeps or waits, takes what came; None is that the time has passed."""


class ServantEnds(Exception):
    """A servant that cannot go on."""


class NaiveSbd:
    """One node with one disk."""

    def __init__(self, node: int, names: dict[int, str], timers: Timers, header: bytes) -> None:
        self.node, self.names, self.timers, self.header = node, names, timers, header
        self.out: list[Action] = []
        self.now = 0
        self.mode = "joining"
        self.tag = 0
        self.awaited = 0
        self.servant: Steps | None = None
        self.servant_until = 0
        self.started_at: int | None = None
        self.live_at: int | None = None
        self.fed_at: int | None = None
        self.inquisitor_at = 0
        self.uuid = b""
        self.connected: list[int] = []
        self.unanswered = 0
        self.unanswered_max = 0

    # the servant

    def serve(self) -> Steps:
        mailbox = 2 * (self.node + 1) * SECTOR
        data = yield from self.read(0, mailbox + SECTOR)
        self.check(data[:SECTOR], data[mailbox - SECTOR:mailbox])
        if self.mode == "joining":
            if data[mailbox:] != bytes(SECTOR) and (yield from self.clear()):
                raise ServantEnds
        elif (yield from self.obey(data[mailbox:])):
            raise ServantEnds
        while True:
            yield self.now + self.timers.loop * SECOND
            header = yield from self.read(0, SECTOR)
            self.check(header, None)
            slot = yield from self.read(mailbox - SECTOR, SECTOR)
            self.check(None, slot)
            mail = yield from self.read(mailbox, SECTOR)
            yield from self.obey(mail)
            self.live_at = self.now
            self.mode = "running"
            self.inquire()

    def check(self, header: bytes | None, slot: bytes | None) -> None:
        if header is not None:
            if header[:32] != self.header[:32] or (self.uuid and header != self.header[:32] + self.uuid):
                raise ServantEnds
            self.uuid = header[32:]
        if slot is not None and slot != (b"\1" + self.names[self.node].encode()).ljust(SECTOR, b"\0"):
            if self.mode == "joining":
                self.mode = "refused"
            raise ServantEnds

    def obey(self, mail: bytes) -> Generator[int, ReadDone | WriteDone | None, bool]:
        """Whether it could not be cleared."""
        if mail[0] in (RESET, OFF, CRASHDUMP):
            self.fence(Cause.POISON)
            raise ServantEnds
        if mail[0] == EXIT:
            self.mode = "left"
            raise ServantEnds
        return mail[0] != EMPTY and (yield from self.clear())

    def read(self, offset: int, length: int) -> Generator[int, ReadDone | WriteDone | None, bytes]:
        self.tag += 1
        self.awaited = self.tag
        self.out.append(Read(self.tag, offset, length))
        answer = yield self.now + self.timers.io_timeout * SECOND
        if not isinstance(answer, ReadDone) or answer.data is None:
            raise ServantEnds
        return answer.data

    def clear(self) -> Generator[int, ReadDone | WriteDone | None, bool]:
        self.tag += 1
        self.awaited = self.tag
        self.out.append(Write(self.tag, 2 * (self.node + 1) * SECTOR, bytes(SECTOR)))
        answer = yield self.now + self.timers.io_timeout * SECOND
        return not isinstance(answer, WriteDone) or bool(answer.error)

    def advance(self, answer: ReadDone | WriteDone | None) -> None:
        assert self.servant is not None
        self.awaited = 0
        try:
            self.servant_until = self.servant.send(answer)
        except ServantEnds:
            self.servant = None
            if self.mode in ("joining", "running"):
                self.inquire()

    # the inquisitor

    def inquire(self) -> None:
        self.inquisitor_at = self.now + self.timers.loop * SECOND
        if self.live_at is not None:
            age = (self.now - self.live_at) // SECOND
            heard = 1 + len(self.connected)
            is_healthy = self.timers.pacemaker and len(self.names) > 1 and 2 * heard > len(self.names)
            if age < self.timers.io_timeout + self.timers.loop or is_healthy:
                self.fed_at = self.now
                self.out.append(Extend(self.now + self.timers.watchdog * SECOND))
        if self.servant is None and (
            self.started_at is None or (self.now - self.started_at) // SECOND > self.timers.restart_delay
        ):
            self.started_at = self.now
            self.servant = self.serve()
            self.servant_until = next(self.servant)

    def fence(self, cause: Cause) -> None:
        self.mode = "fenced"
        self.out.append(Fence(cause, ""))

    def bark(self) -> None:
        """The watchdog."""
        if self.mode != "running" or self.fed_at is None:
            return
        if self.now >= self.fed_at + self.timers.watchdog * SECOND:
            self.fence(Cause.STORAGE)

    # the interface

    def start(self, now: int) -> list[Action]:
        self.now = now
        self.inquire()
        return self.taken()

    def handle(self, item: Input, now: int) -> list[Action]:
        self.now = now
        self.bark()
        match item:
            case ReadDone() | WriteDone():
                self.unanswered -= 1
                if item.tag == self.awaited and self.mode in ("joining", "running"):
                    self.advance(item)
            case Connected() if item.peer not in self.connected:
                self.connected.append(item.peer)
            case Disconnected() if item.peer in self.connected:
                self.connected.remove(item.peer)
            case Leave():
                self.mode = "left" if self.mode in ("joining", "running") else self.mode
            case _:
                pass
        return self.taken()

    def handle_timer(self, now: int) -> list[Action]:
        self.now = now
        self.bark()
        if self.mode in ("joining", "running") and self.servant is not None and now >= self.servant_until:
            self.advance(None)
        if self.mode in ("joining", "running") and now >= self.inquisitor_at:
            self.inquire()
        return self.taken()

    def next_deadline(self) -> int | None:
        if self.mode not in ("joining", "running"):
            return None
        due = [self.inquisitor_at]
        if self.servant is not None:
            due.append(self.servant_until)
        if self.fed_at is not None:
            due.append(self.fed_at + self.timers.watchdog * SECOND)
        return min(due)

    def status(self, now: int) -> Status:
        return Status(self.node, NodeState.IDLE, 0, None, now, True, 0, ())

    def tell(self, kind: Kind) -> None:
        self.out.append(Happened(kind, {}))

    def taken(self) -> list[Action]:
        out, self.out = self.out, []
        self.unanswered += sum(isinstance(action, Read | Write) for action in out)
        self.unanswered_max = max(self.unanswered_max, self.unanswered)
        return out
