"""The kernel's heartbeat once more, written down as simply as its description: one thread, some timers, no cleverness.

It says what `mpio.heartbeat.o2cb` has to do, and shares nothing with it but the interface and the codecs.
"""

import zlib
from collections.abc import Generator
from dataclasses import dataclass

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
    Received,
    Send,
    Status,
    Write,
    WriteDone,
)
from mpio.heartbeat.negotiation import Message, Word, parse, render

SECOND = 1_000_000_000
SECTOR = 512


def block(sequence: int, node: int, generation: int, dead_ms: int) -> bytes:
    """A heartbeat block, byte by byte."""
    head = sequence.to_bytes(8, "little") + bytes([node, 0, 0, 0])
    tail = generation.to_bytes(8, "little") + dead_ms.to_bytes(4, "little") + bytes(SECTOR - 28)
    crc = zlib.crc32(head + bytes(4) + tail, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return head + crc.to_bytes(4, "little") + tail


def is_whole(data: bytes) -> bool:
    crc = zlib.crc32(data[:12] + bytes(4) + data[16:], 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc == int.from_bytes(data[12:16], "little")


@dataclass
class Seen:
    """What a node remembers of a peer's slot."""

    time: int = 0
    generation: int = 0
    changes: int = 0
    misses: int = 0
    is_live: bool = False
    is_connected: bool = False
    hold_until: int | None = None


class NaiveO2cb:
    """One node."""

    def __init__(self, node: int, nodes: tuple[int, ...], generation: int, threshold: int, epoch_s: int,
                 idle_s: int = 30) -> None:
        self.node, self.nodes, self.generation = node, nodes, generation
        self.threshold, self.epoch_s, self.idle_s = threshold, epoch_s, idle_s
        self.now = 0
        self.mode = "joining"
        self.tag = 0
        self.out: list[Action] = []
        self.peers = {peer: Seen() for peer in nodes if peer != node}
        self.fence_at: int | None = None
        self.nego_at: int | None = None
        self.wake_at: int | None = None
        self.last_error = ""
        self.asked: list[int] = []
        self.written = b""
        self.mismatched = False
        self.thread: Generator[None, ReadDone | WriteDone | None, None] | None = None

    # the thread

    def run(self) -> Generator[None, ReadDone | WriteDone | None, None]:
        steady, tries = 3, 9
        while True:
            began = self.now
            good, changed = False, False
            self.send_io(Read, min(self.nodes) * SECTOR, (max(self.nodes) - min(self.nodes) + 1) * SECTOR)
            read = yield
            assert isinstance(read, ReadDone)
            error = read.error
            if read.data is not None:
                slots = {node: read.data[(node - min(self.nodes)) * SECTOR:][:SECTOR] for node in self.nodes}
                own_slot_ok = self.check_own(slots[self.node])
                self.write(self.generation)
                for peer in self.peers:
                    changed |= self.check(peer, slots[peer])
                written = yield
                assert isinstance(written, WriteDone)
                error = written.error
                good = own_slot_ok and not error
            self.last_error = error
            if self.mode == "joining":
                steady -= good and not changed
                tries -= 1
                if steady == 0:
                    self.mode = "running"
                elif tries == 0:
                    self.mode = "refused"
                    self.tell(Kind.JOIN_REFUSED)
                    return
            if self.mode == "running" and good:
                self.arm()
            if self.mode == "leaving":
                break
            self.wake_at = max(self.now, began + 2 * SECOND)
            yield
            if self.mode == "leaving":
                break
        self.write(0)
        yield
        self.mode = "left"

    def write(self, generation: int) -> None:
        sequence = self.epoch_s + self.now // SECOND or 1
        self.written = block(sequence, self.node, generation, 2000 * self.threshold)
        self.send_io(Write, self.node * SECTOR, self.written)

    def check_own(self, found: bytes) -> bool:
        if not self.written:
            return False
        same = is_whole(found) and found[:12] == self.written[:12] and found[16:28] == self.written[16:28]
        if not same and not self.mismatched:
            self.tell(Kind.SLOT_TAKEN)
        self.mismatched = not same
        return same

    def check(self, peer: int, found: bytes) -> bool:
        """Whether the peer came to life or died."""
        seen = self.peers[peer]
        other_life = False
        generation = int.from_bytes(found[16:24], "little")
        if not is_whole(found):
            if not seen.is_live:
                return False
            seen.misses += 1
        else:
            if int.from_bytes(found[:8], "little") != seen.time:
                seen.changes += 1
            else:
                seen.misses += 1
            seen.time = int.from_bytes(found[:8], "little")
            other_life = generation != seen.generation
            seen.generation = generation
        if not seen.is_live:
            if seen.changes < 2 or generation == 0:
                return False
            seen.is_live, seen.misses = True, 0
            self.tell(Kind.PEER_LIVE, peer)
            if not seen.is_connected:
                seen.hold_until = self.now + self.idle_s * SECOND + 2 * SECOND * (self.threshold + 2)
            return True
        if other_life or seen.misses >= self.threshold:
            seen.is_live, seen.hold_until = False, None
            self.tell(Kind.PEER_LEFT if other_life and not generation else Kind.PEER_DEAD, peer)
            if not other_life or not generation:
                seen.changes = 0
            return True
        if seen.changes:
            seen.changes = seen.misses = 0
        return False

    # the timers

    def arm(self) -> None:
        self.fence_at = self.now + 2 * SECOND * (self.threshold - 1)
        self.nego_at = self.now + SECOND * (self.threshold - 1)
        self.asked = []
        self.out.append(Extend(self.fence_at))

    def negotiate(self) -> None:
        self.nego_at = None
        if self.last_error:
            return
        live = [peer for peer, seen in self.peers.items() if seen.is_live]
        master = min([self.node, *live])
        if master != self.node:
            self.out.append(Send(master, render(Message(Word.ASKS, self.generation))))
        elif all(peer in self.asked for peer in live):
            self.tell(Kind.HEARTBEAT_NEGOTIATED, self.node)
            self.arm()
            for peer in live:
                self.out.append(Send(peer, render(Message(Word.APPROVES, self.generation))))
        else:
            self.nego_at = self.now + SECOND

    def decide(self) -> None:
        """All that was waited for is over: who is connected among those that heartbeat?"""
        live = sorted([self.node, *(peer for peer, seen in self.peers.items() if seen.is_live)])
        heard = [node for node in live if node == self.node or self.peers[node].is_connected]
        if len(live) == 1:
            return
        if len(live) % 2:
            lost = len(heard) < (len(live) + 1) / 2
        else:
            lost = len(heard) < len(live) / 2 or (len(heard) == len(live) / 2 and live[0] not in heard)
        if lost:
            self.fence(Cause.QUORUM)

    def fence(self, cause: Cause) -> None:
        self.mode = "fenced"
        self.out.append(Fence(cause, ""))

    def timers(self) -> None:
        if self.mode not in ("running", "leaving"):
            return
        if self.fence_at is not None and self.now >= self.fence_at:
            self.fence(Cause.SLOT if self.mismatched else Cause.STORAGE)
        if self.mode == "running" and self.nego_at is not None and self.now >= self.nego_at:
            self.negotiate()
        holds = [seen for seen in self.peers.values() if seen.hold_until is not None]
        if self.mode == "running" and holds and all(self.now >= (seen.hold_until or 0) for seen in holds):
            for seen in holds:
                seen.hold_until = None
            self.decide()

    # the interface

    def start(self, now: int) -> list[Action]:
        self.now = now
        self.thread = self.run()
        next(self.thread)
        return self.taken()

    def handle(self, item: Input, now: int) -> list[Action]:
        self.now = now
        self.timers()
        alive = self.mode in ("joining", "running", "leaving")
        match item:
            case ReadDone() | WriteDone() if item.tag == self.tag and alive:
                self.resume(item)
            case Received() if self.mode == "running":
                message = parse(item.data)
                assert message is not None
                if message.word is Word.ASKS:
                    self.asked.append(item.sender)
                elif self.fence_at is not None:
                    self.tell(Kind.HEARTBEAT_NEGOTIATED, item.sender)
                    self.arm()
            case Connected():
                self.peers[item.peer].is_connected, self.peers[item.peer].hold_until = True, None
            case Disconnected() if self.peers[item.peer].is_connected:
                seen = self.peers[item.peer]
                seen.is_connected = False
                if seen.is_live and self.mode in ("joining", "running"):
                    seen.hold_until = now + 2 * SECOND * (self.threshold + 2)
            case Leave() if self.mode in ("joining", "running"):
                if self.mode == "joining" and not self.written:
                    self.mode = "left"
                else:
                    self.mode = "leaving"
                    if self.wake_at is not None:
                        self.wake_at = None
                        self.resume(None)
            case _:
                pass
        return self.taken()

    def handle_timer(self, now: int) -> list[Action]:
        self.now = now
        self.timers()
        if self.mode in ("joining", "running") and self.wake_at is not None and now >= self.wake_at:
            self.wake_at = None
            self.resume(None)
        return self.taken()

    def next_deadline(self) -> int | None:
        if self.mode not in ("joining", "running", "leaving"):
            return None
        due = [self.fence_at]
        if self.mode != "leaving":
            due += [self.wake_at, self.nego_at]
            holds = [seen.hold_until for seen in self.peers.values() if seen.hold_until is not None]
            due.append(max(holds, default=None))
        return min((at for at in due if at is not None), default=None)

    def status(self, now: int) -> Status:
        return Status(self.node, NodeState.IDLE, self.generation, None, now, True, 0, ())

    def resume(self, answer: ReadDone | WriteDone | None) -> None:
        assert self.thread is not None
        try:
            self.thread.send(answer)
        except StopIteration:
            self.thread = None

    def send_io(self, kind: type[Read] | type[Write], offset: int, what: int | bytes) -> None:
        self.tag += 1
        self.out.append(kind(self.tag, offset, what))  # type: ignore[arg-type]

    def tell(self, kind: Kind, node: int = -1) -> None:
        self.out.append(Happened(kind, {"node": node}))

    def taken(self) -> list[Action]:
        out, self.out = self.out, []
        return out
