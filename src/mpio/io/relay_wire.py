"""One relayed TCP connection: two sockets, and a lane for each direction that can be cut, slowed or held back.

Owns the bytes in between and their bound. Knows nothing of who orders the faults (`relay.py`) or what the bytes mean.
Undisturbed, a lane is one `recv_into` of a shared buffer and one `send`; bytes are only kept when the sink does not
take them or when the rules say so, and reading stops at the rules' bound, so that TCP itself holds the sender back.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

READ_BYTES = 256 * 1024
HELD_BYTES_MAX = 16 * 1024 * 1024  # per lane, while bytes are delayed or held back
CHUNK_OVERHEAD_BYTES = 128  # what keeping one chunk costs besides its bytes, so that tiny segments are bounded too
BURST_S = 0.02  # a throttled lane sends at most this long's worth of bytes at once

_scratch = bytearray(READ_BYTES)  # all lanes run in one thread, and none keeps a view of it
_scratch_view = memoryview(_scratch)
_LINGER_NONE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s; close() sends RST and discards what is queued

TCP_ESTABLISHED, TCP_CLOSE = 1, 7  # enum of net/tcp_states.h, as TCP_INFO gives it


class End(StrEnum):
    """The two ends of a connection."""

    INITIATOR = "initiator"
    TARGET = "target"


class Direction(StrEnum):
    """The two lanes of a connection, named for where the bytes go."""

    TO_TARGET = "to_target"
    TO_INITIATOR = "to_initiator"


def tcp_state(sock: socket.socket) -> int:
    """The kernel's state of a TCP socket: the first byte of struct tcp_info."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def reset(sock: socket.socket) -> None:
    """Close with a RST, so that the peer sees ECONNRESET."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    sock.close()


@dataclass(slots=True)
class LaneRules:
    """What happens to the bytes of one direction. Shared by the lanes of a path, so that they share its bandwidth."""

    cut: bool = False  # nothing read, nothing delivered
    collects: bool = False  # with `cut`: goes on reading, and delivers even for a sender that has gone
    delay_s: float = 0.0
    pause_rate: float = 0.0  # chance of a pause per read of at most READ_BYTES
    pause_s: float = 0.0
    bytes_per_s: float = 0.0  # 0: as fast as the sockets take it
    chance: random.Random = field(default_factory=random.Random)
    free_at: float = 0.0  # loop time at which the throttled wire has sent what it was given

    @property
    def is_clear(self) -> bool:
        """Whether bytes pass undisturbed."""
        return not (self.cut or self.delay_s or self.pause_rate or self.bytes_per_s)

    @property
    def kept_bytes_max(self) -> int:
        """Reading stops when this many bytes are kept: any at all, unless keeping them is the point."""
        return HELD_BYTES_MAX if self.collects or self.delay_s or self.pause_rate else 1


class Lane:
    """One direction of one connection."""

    def __init__(self, connection: "Connection", source_end: End, source: socket.socket, sink: socket.socket) -> None:
        self._loop = connection.loop
        self._connection = connection
        self._source_end = source_end
        self._source = source
        self._sink: socket.socket | None = sink
        self._chunks: deque[tuple[float, memoryview]] = deque()  # (due in loop time, bytes), oldest first
        self._paused_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._reads = self._writes = False  # what is registered with the loop
        self._source_open = True
        self.kept_bytes = 0  # with CHUNK_OVERHEAD_BYTES per chunk
        self.ended = False  # the sink has been told that no more comes
        self.rules = LaneRules()
        self._is_clear = True

    def follow(self, rules: LaneRules) -> None:
        """Obey new rules from now on. What earlier rules had delayed is due at once, in order."""
        self.rules = rules
        self._is_clear = rules.is_clear
        self._paused_until = 0.0
        self._chunks = deque((0.0, chunk) for _, chunk in self._chunks)
        self._pump()

    def source_gone(self, *, keep_chunks: bool) -> None:
        """No more comes. What was read is delivered only if asked: a kernel discards it when its owner aborts."""
        self._watch_source(wanted=False)
        self._source_open = False
        if not keep_chunks:
            self._drop_chunks()
        else:
            self._pump()

    def sink_gone(self) -> None:
        """Nothing can be delivered any more. What still comes is read and dropped, unless the lane is cut."""
        self._watch_sink(wanted=False)
        self._sink = None
        self._drop_chunks()
        self._pump()

    def stop(self) -> None:
        """Let go of both sockets and of all bytes."""
        self._source_open = False
        self._watch_source(wanted=False)
        self._watch_sink(wanted=False)
        self._sink = None
        self._drop_chunks()

    def _readable(self) -> None:
        try:
            count = self._source.recv_into(_scratch)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._connection.lost(self._source_end)
            return
        if not count:
            self.source_gone(keep_chunks=True)
            return
        if self._sink is None:
            return
        sent = 0
        if self._is_clear and not self._chunks:
            try:
                sent = self._sink.send(_scratch_view[:count])
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self._connection.lost(other(self._source_end))
                return
            if sent == count:
                return
        self._keep(_scratch[sent:count])
        self._pump()

    def _keep(self, data: bytearray) -> None:
        rules = self.rules
        due = self._loop.time() + rules.delay_s
        if rules.pause_rate and rules.chance.random() < rules.pause_rate:
            self._paused_until = max(due, self._paused_until) + rules.pause_s
        self._chunks.append((max(due, self._paused_until), memoryview(data)))
        self.kept_bytes += len(data) + CHUNK_OVERHEAD_BYTES

    def _pump(self) -> None:
        """Deliver what is due and the sink takes; then register for whatever is being waited for."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        rules = self.rules
        wait_s, blocked = 0.0, False
        while self._chunks and self._sink is not None and not rules.cut and not blocked:
            due, chunk = self._chunks[0]
            now = self._loop.time()
            wait_s = max(due, rules.free_at) - now
            if wait_s > 0:
                self._timer = self._loop.call_later(wait_s, self._pump)
                break
            piece = chunk[: max(1, int(rules.bytes_per_s * BURST_S))] if rules.bytes_per_s else chunk
            try:
                sent = self._sink.send(piece)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._connection.lost(other(self._source_end))
                return
            blocked = sent < len(piece)
            self._delivered(due, chunk, sent, now)
        self._watch_sink(wanted=blocked)
        self._watch_source(wanted=self._wants_more())
        if not self._chunks and not self._source_open and not rules.cut:
            self._end()

    def _delivered(self, due: float, chunk: memoryview, sent: int, now: float) -> None:
        self.kept_bytes -= sent
        if self.rules.bytes_per_s:
            self.rules.free_at = max(self.rules.free_at, now) + sent / self.rules.bytes_per_s
        if sent == len(chunk):
            self._chunks.popleft()
            self.kept_bytes -= CHUNK_OVERHEAD_BYTES
        else:
            self._chunks[0] = (due, chunk[sent:])

    def _wants_more(self) -> bool:
        if not self._source_open:
            return False
        if self.rules.cut and not (self.rules.collects and self._sink is not None):
            return False
        return self.kept_bytes < self.rules.kept_bytes_max

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        if self._sink is not None:
            with contextlib.suppress(OSError):  # the sink has gone too; its own lane finds out
                self._sink.shutdown(socket.SHUT_WR)
        self._connection.lane_ended()

    def _drop_chunks(self) -> None:
        self._chunks.clear()
        self.kept_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch_source(self, *, wanted: bool) -> None:
        if wanted != self._reads:
            self._reads = wanted
            if wanted:
                self._loop.add_reader(self._source, self._readable)
            else:
                self._loop.remove_reader(self._source)

    def _watch_sink(self, *, wanted: bool) -> None:
        if wanted != self._writes and self._sink is not None:
            self._writes = wanted
            if wanted:
                self._loop.add_writer(self._sink, self._pump)
            else:
                self._loop.remove_writer(self._sink)


class Connection:
    """A connection from the initiator, and the one made to the target on its behalf."""

    def __init__(self, initiator: socket.socket, target: socket.socket, on_end: Callable[["Connection"], None]) -> None:
        """Take over two connected non-blocking sockets. `on_end` is called once, when both are closed."""
        self.loop = asyncio.get_running_loop()
        self._sockets = {End.INITIATOR: initiator, End.TARGET: target}
        self._gone: set[End] = set()
        self._late = False  # bytes of an initiator that has gone are delivered all the same
        self._on_end = on_end
        self.lanes = {
            Direction.TO_TARGET: Lane(self, End.INITIATOR, initiator, target),
            Direction.TO_INITIATOR: Lane(self, End.TARGET, target, initiator),
        }

    @property
    def kept_bytes(self) -> int:
        """How many bytes are kept in both lanes, with their overhead."""
        return sum(lane.kept_bytes for lane in self.lanes.values())

    def follow(self, rules: dict[Direction, LaneRules]) -> None:
        """Obey new rules; where they lift a cut, first act on what happened at the ends meanwhile."""
        self._late = self._late or rules[Direction.TO_TARGET].collects
        for end, sock in self._sockets.items():
            healed = self._lane_from(end).rules.cut and not rules[_direction_from(end)].cut
            delivers_all = self._late and end is End.INITIATOR
            if healed and end not in self._gone and not delivers_all and tcp_state(sock) == TCP_CLOSE:
                self._gone.add(end)
        if self._gone and not (self._late and self._gone == {End.INITIATOR}):
            self.abort()
            return
        for direction, lane in self.lanes.items():
            if not self._over:
                lane.follow(rules[direction])

    def drop_end(self, end: End) -> None:
        """Reset one end and leave the other without any word of it, as when a stateful box in between forgets."""
        for lane in self.lanes.values():
            lane.follow(LaneRules(cut=True))
        self._gone.add(end)
        self._lane_from(end).source_gone(keep_chunks=False)
        self._lane_from(other(end)).sink_gone()
        reset(self._sockets[end])

    def lost(self, end: End) -> None:
        """The socket of an end reported an error: it was reset. The other end hears of it unless its lane is cut."""
        if self._over:
            return
        lane = self._lane_from(end)
        late = self._late and end is End.INITIATOR
        if not late and not lane.rules.cut:
            self.abort()
            return
        if end in self._gone:
            return
        self._gone.add(end)
        self._lane_from(other(end)).sink_gone()
        lane.source_gone(keep_chunks=late)
        self._sockets[end].close()

    def lane_ended(self) -> None:
        """A lane has delivered its last byte; close when both have."""
        if all(lane.ended for lane in self.lanes.values()):
            self._close(socket.socket.close)

    def abort(self) -> None:
        """Reset both ends."""
        self._close(reset)

    @property
    def _over(self) -> bool:
        return not self._sockets

    def _close(self, close: Callable[[socket.socket], None]) -> None:
        if self._over:
            return
        for lane in self.lanes.values():
            lane.stop()
        for sock in self._sockets.values():
            close(sock)
        self._sockets = {}
        self._on_end(self)

    def _lane_from(self, end: End) -> Lane:
        return self.lanes[_direction_from(end)]


def other(end: End) -> End:
    """The opposite end."""
    return End.TARGET if end is End.INITIATOR else End.INITIATOR


def _direction_from(end: End) -> Direction:
    return Direction.TO_TARGET if end is End.INITIATOR else Direction.TO_INITIATOR
