"""The demo service: something that only one node may do at a time, and that goes where clients reach it best.

It keeps two blocks on the LUN. The *record* says who holds the service, in which term of office, and whether it was
given back; the *counter* is what the service is about: its holder counts up. A node may take a term if the last one was
given back, or if its holder is dead by the heartbeat. Whoever takes one reads the counter first: a count that was
acknowledged in an earlier term and is missing, or one that comes after it was counted on, is a split brain.

    record, counter (little-endian): 8 magic  4 node  4 given back  8 term  8 count  4 CRC-32
"""

import asyncio
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mpio.check.heartbeats import ServiceWrite
from mpio.drill.placement import candidates, choose
from mpio.drill.workload import WorkDisk
from mpio.errors import MpioError
from mpio.events import Journal, Kind
from mpio.heartbeat.machine import NodeState, PeerState, Status
from mpio.units import NS_PER_S

SOURCE = "service"
COUNTER_BYTES = 32 << 10  # from the record to the counter
WRITES_MAX = 100_000
_BLOCK = struct.Struct("<8sIIQQ")
_MAGIC = b"MPIOSRV1"
WISHES = 3
"""A node acts on a wish only when it had it so many times in a row: the views of nodes differ for a moment."""


@dataclass(frozen=True, slots=True)
class Block:
    """What a block of the service says. Term 0: nobody has ever held it."""

    node: int = 0
    given_back: bool = True
    term: int = 0
    count: int = 0

    def to_bytes(self, block_size: int) -> bytes:
        """As it is on the LUN."""
        body = _BLOCK.pack(_MAGIC, self.node, self.given_back, self.term, self.count)
        return (body + zlib.crc32(body).to_bytes(4, "little")).ljust(block_size, b"\0")

    @classmethod
    def parse(cls, data: bytes) -> "Block | None":
        """What bytes say; None if they are no block of ours."""
        body = data[:_BLOCK.size]
        if zlib.crc32(body) != int.from_bytes(data[_BLOCK.size:_BLOCK.size + 4], "little"):
            return None
        magic, node, given_back, term, count = _BLOCK.unpack(body)
        return cls(node, bool(given_back), term, count) if magic == _MAGIC else None


@dataclass(slots=True)
class ServiceLog:
    """What the service did, on all nodes: for the judges.

    Attributes:
        writes: of the counter. acknowledged: the highest count that was. wrong: what was found wrong with it.
    """

    writes: list[ServiceWrite] = field(default_factory=list)
    acknowledged: int = 0
    wrong: str = ""

    def begun(self, node: int, term: int, now: int) -> int | None:
        """A write begins; its number, None past the limit."""
        if len(self.writes) >= WRITES_MAX:
            return None
        self.writes.append(ServiceWrite(node, term, now, None))
        return len(self.writes) - 1

    def ended(self, number: int | None, count: int, now: int) -> None:
        """It is acknowledged."""
        self.acknowledged = max(self.acknowledged, count)
        if number is not None:
            self.writes[number] = replace(self.writes[number], end_ns=now)


class Service:
    """The service's part of one node.

    Args:
        node: its number. disk: its map. offset: of the service's blocks on the LU.
        status: of the node's heartbeat, now. period_ns: from one step to the next.
    """

    def __init__(self, node: int, disk: WorkDisk, offset: int, period_ns: int, status: Callable[[], Status],
                 log: ServiceLog, journal: Journal, clock: Callable[[], int]) -> None:
        self._node = node
        self._disk = disk
        self._offset = offset
        self._period_ns = period_ns
        self._status = status
        self._log = log
        self._journal = journal
        self._clock = clock
        self._held: Block | None = None
        self._wish: int | None = None
        self._wishes = 0
        self._stopping = False

    async def run(self) -> None:
        """Hold the service or wait for it, until `stop`; then give it back. Cancelled, it ends where it stands."""
        while not self._stopping:
            begun = self._clock()
            try:
                await self._step()
            except MpioError as error:
                self._lose(f"its storage failed: {error}")
            await asyncio.sleep(max(0, begun + self._period_ns - self._clock()) / NS_PER_S)
        try:
            await self.give_back()
        except MpioError as error:
            self._lose(f"its storage failed: {error}")

    def stop(self) -> None:
        """End after this step."""
        self._stopping = True

    async def give_back(self) -> None:
        """Give the service back, if this node holds it."""
        if self._held is not None:
            held, self._held = self._held, None
            await self._write(0, replace(held, given_back=True))
            self._tell(Kind.SERVICE_STOPPED, held.term, "given back")

    # --- a step

    async def _step(self) -> None:
        status = self._status()
        if status.state not in (NodeState.RUNNING, NodeState.HUNG) or (status.margin_ns or 0) <= 0:
            self._lose(f"the node is {status.state}")
        elif self._held is not None:
            await self._hold(self._held, status)
        else:
            await self._wait(status)

    async def _hold(self, held: Block, status: Status) -> None:
        if self._wants(status, held.node) not in (self._node, None):
            await self.give_back()
            return
        counted = replace(held, count=held.count + 1)
        self._held = counted
        number = self._log.begun(self._node, held.term, self._clock())
        await self._write(COUNTER_BYTES, counted)
        self._log.ended(number, counted.count, self._clock())

    async def _wait(self, status: Status) -> None:
        record = await self._read(0)
        owner = record.node if record.term else None
        if self._wants(status, owner) != self._node or not (record.given_back or self._is_gone(record.node, status)):
            return
        claim = Block(self._node, given_back=False, term=record.term + 1)
        await self._write(0, claim)
        await asyncio.sleep(2 * self._period_ns / NS_PER_S)
        if await self._read(0) != claim:
            return  # another node had the same wish, and was later
        counter = await self._read(COUNTER_BYTES)
        if counter.count < self._log.acknowledged:
            self._log.wrong = (f"node {self._node} found count {counter.count} when it took over the service, and "
                               f"{self._log.acknowledged} had been acknowledged")
        self._held = replace(claim, count=max(counter.count, self._log.acknowledged))
        self._tell(Kind.SERVICE_STARTED, claim.term, f"taken over from node {owner}" if owner else "nobody had it")

    def _wants(self, status: Status, owner: int | None) -> int | None:
        """Where the service should be, once that has been so for a while; until then nowhere in particular."""
        wish = choose(candidates(status, status.budget_ns // 2), owner)
        self._wishes = self._wishes + 1 if wish == self._wish else 1
        self._wish = wish
        return wish if self._wishes >= WISHES else None

    def _is_gone(self, node: int, status: Status) -> bool:
        """Whether the holder can't write any more. One's own earlier claim counts: its writes have ended."""
        if node == self._node:
            return True
        return any(peer.node == node and peer.state in (PeerState.DEAD, PeerState.LEFT) for peer in status.peers)

    def _lose(self, cause: str) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._tell(Kind.SERVICE_STOPPED, held.term, cause)

    # --- blocks

    async def _read(self, at: int) -> Block:
        block = Block.parse(bytes(await self._disk.read(self._offset + at, self._disk.block_size)))
        return Block() if block is None else block

    async def _write(self, at: int, block: Block) -> None:
        await self._disk.write(self._offset + at, block.to_bytes(self._disk.block_size))

    def _tell(self, kind: Kind, term: int, cause: str) -> None:
        self._journal.record(self._clock(), SOURCE, kind, term=term, cause=cause)


async def check_counter(disk: WorkDisk, offset: int, log: ServiceLog) -> None:
    """Whether the counter is at the end what was counted. Raises MpioError if it can't be read."""
    block = Block.parse(bytes(await disk.read(offset + COUNTER_BYTES, disk.block_size)))
    terms = [write.term for write in log.writes]
    if not terms:
        return
    if block is None or block.count < log.acknowledged or block.term != max(terms):
        found = "nothing" if block is None else f"count {block.count} of term {block.term}"
        log.wrong = (f"the service's counter holds {found} at the end, and {log.acknowledged} had been acknowledged, "
                     f"the last in term {max(terms)}")
