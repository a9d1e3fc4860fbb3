"""The cluster network of heartbeats: small authenticated datagrams between nodes, and who of them is connected.

A datagram that a node takes for true was sealed by somebody who has the key, was meant for this node in its present
life (it names the session number that this node drew when it started), and was not seen before. So nothing that was
recorded earlier can be played back: neither to a node that has started anew, nor in the name of one.

The layout, numbers big-endian: magic `mpHN`, version (1 byte), kind (1), sender (2), receiver (2), zero (2), session of
the sender (8), session of the receiver as far as the sender knows it (8, else 0), sequence number (8), payload,
HMAC-SHA-256 of all that, cut to 16 bytes (RFC 2104 §5).
"""

import hashlib
import hmac
import socket
import struct
from asyncio import AbstractEventLoop, TimerHandle, get_running_loop
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

from mpio.errors import InputError
from mpio.model.address import Portal
from mpio.units import NS_PER_S

PAYLOAD_BYTES_MAX = 1024
WINDOW = 64  # datagrams that may overtake each other
SESSIONS_KEPT = 256  # of a peer's earlier lives, which are not believed again
DATAGRAMS_A_WAKE = 64  # then others have their turn
_MAGIC = b"mpHN"
_VERSION = 1
_HEAD = struct.Struct(">4sBBHHHQQQ")
_MAC_BYTES = 16
DATAGRAM_BYTES_MAX = _HEAD.size + PAYLOAD_BYTES_MAX + _MAC_BYTES


class _Kind(IntEnum):
    HELLO = 1  # "I am here": keeps a connection alive, and tells session numbers
    DATA = 2


class Datagrams(Protocol):
    """Carries datagrams between nodes, maybe: they can be lost, doubled, late or forged."""

    def open(self, receive: Callable[[bytes], None]) -> None:
        """Hand in what comes, from now on."""

    def send(self, peer: int, data: bytes) -> None:
        """Send, as far as that is possible now. Never raises, never waits."""

    def close(self) -> None:
        """Nothing comes or goes any more."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A peer's payload."""

    peer: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Linked:
    """A peer can be talked to in both directions, or no longer."""

    peer: int
    up: bool


News = Arrived | Linked


@dataclass(slots=True)
class _Peer:
    number: int
    session: int = 0  # 0: nothing was ever heard
    up: bool = False
    heard_ns: int = 0
    seq_max: int = 0
    seen: int = 0  # a bit for each of the WINDOW numbers up to seq_max
    retired: deque[int] = field(default_factory=lambda: deque(maxlen=SESSIONS_KEPT))

    def is_new(self, seq: int) -> bool:
        """Whether this number was not seen yet; notes it."""
        if seq > self.seq_max:
            self.seen = ((self.seen << (seq - self.seq_max)) | 1) & ((1 << WINDOW) - 1) if (
                seq - self.seq_max < WINDOW) else 1
            self.seq_max = seq
            return True
        bit = 1 << (self.seq_max - seq)
        if self.seq_max - seq >= WINDOW or self.seen & bit:
            return False
        self.seen |= bit
        return True

    def begin(self, session: int) -> None:
        """Another life of the peer."""
        if self.session:
            self.retired.append(self.session)
        self.session, self.seq_max, self.seen = session, 0, 0


class PeerLinks:
    """Who is connected: pure, with the time given by the caller.

    Args:
        node: this one's number. peers: the others'. key: shared by all; b"" leaves only a check for damage.
        session: non-zero, drawn anew at each start. idle_ns: a peer that is silent for so long is disconnected.

    Attributes:
        outbox: what is to be sent: (peer, datagram). rejected: datagrams that were not believed.
    """

    def __init__(self, node: int, peers: Sequence[int], key: bytes, session: int, idle_ns: int) -> None:
        self._node = node
        self._key = key
        self._session = session
        self._idle_ns = idle_ns
        self._seq = 0
        self._peers = {number: _Peer(number) for number in peers}
        self.outbox: list[tuple[int, bytes]] = []
        self.rejected = 0

    def connected(self) -> list[int]:
        """The peers that are connected now."""
        return [number for number, peer in self._peers.items() if peer.up]

    def send(self, peer: int, data: bytes) -> None:
        """Put a payload into the outbox. To a peer that is not connected it is dropped: nobody could believe it."""
        if len(data) > PAYLOAD_BYTES_MAX:
            raise ValueError(f"a payload has at most {PAYLOAD_BYTES_MAX} bytes, found {len(data)}")
        if self._peers[peer].up:
            self._put(self._peers[peer], _Kind.DATA, data)

    def greet(self) -> None:
        """Say hello to everybody; once a keep-alive period."""
        for peer in self._peers.values():
            self._put(peer, _Kind.HELLO)

    def handle_timer(self, now: int) -> list[News]:
        """Whom silence has disconnected by now."""
        news: list[News] = []
        for peer in self._peers.values():
            if peer.up and now - peer.heard_ns >= self._idle_ns:
                peer.up = False
                news.append(Linked(peer.number, up=False))
        return news

    def handle(self, data: bytes, now: int) -> list[News]:
        """One datagram, from anybody."""
        opened = self._open(data)
        if opened is None:
            self.rejected += 1
            return []
        peer, kind, session, echo, seq, payload = opened
        if echo != self._session:
            # An earlier life of ours is meant, or none yet: tell the present one, and believe nothing else of it
            self._put(peer, _Kind.HELLO, echo=session)
            return []
        news: list[News] = []
        if session != peer.session:
            if session in peer.retired:
                self.rejected += 1
                return []
            if peer.up:
                peer.up = False
                news.append(Linked(peer.number, up=False))
            peer.begin(session)
        if not peer.is_new(seq):
            self.rejected += 1
            return news
        peer.heard_ns = now
        if not peer.up:
            peer.up = True
            news.append(Linked(peer.number, up=True))
            self._put(peer, _Kind.HELLO)  # so that it need not wait for our next turn
        if kind == _Kind.DATA:
            news.append(Arrived(peer.number, payload))
        return news

    def _put(self, peer: _Peer, kind: _Kind, data: bytes = b"", *, echo: int | None = None) -> None:
        self._seq += 1
        known = peer.session if echo is None else echo
        head = _HEAD.pack(_MAGIC, _VERSION, kind, self._node, peer.number, 0, self._session, known, self._seq)
        self.outbox.append((peer.number, head + data + self._seal(head + data)))

    def _seal(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, hashlib.sha256)[:_MAC_BYTES]

    def _open(self, data: bytes) -> tuple[_Peer, int, int, int, int, bytes] | None:
        if not _HEAD.size + _MAC_BYTES <= len(data) <= DATAGRAM_BYTES_MAX:
            return None
        body = data[:-_MAC_BYTES]
        magic, version, kind, sender, receiver, zero, session, echo, seq = _HEAD.unpack_from(body)
        peer = self._peers.get(sender)
        if (
            magic != _MAGIC or version != _VERSION or zero or peer is None or receiver != self._node
            or kind not in (_Kind.HELLO, _Kind.DATA) or not session or not seq
        ):
            return None
        if not hmac.compare_digest(self._seal(body), data[-_MAC_BYTES:]):
            return None
        return peer, kind, session, echo, seq, body[_HEAD.size:]


class ClusterNetwork:
    """`PeerLinks` over datagrams, on the event loop.

    Args:
        links: who is who. datagrams: what carries. keepalive_ns: how often to say hello. clock: monotonic, ns.
    """

    def __init__(
        self, links: PeerLinks, datagrams: Datagrams, keepalive_ns: int, clock: Callable[[], int]
    ) -> None:
        self._links = links
        self._datagrams = datagrams
        self._keepalive_ns = keepalive_ns
        self._clock = clock
        self._loop: AbstractEventLoop | None = None
        self._timer: TimerHandle | None = None
        self._tell: Callable[[News], None] = lambda _news: None

    def open(self, tell: Callable[[News], None]) -> None:
        """Begin; `tell` gets the news on the event loop."""
        self._loop = get_running_loop()
        self._tell = tell
        self._datagrams.open(self._receive)
        self._tick()

    def send(self, peer: int, data: bytes) -> None:
        """Send a payload to a connected peer; it may get lost."""
        self._links.send(peer, data)
        self._flush()

    def connected(self) -> list[int]:
        """The peers that are connected now."""
        return self._links.connected()

    def close(self) -> None:
        """End without a word: that a node has left stands on the disk, and that is where it has to be seen first."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._datagrams.close()

    def _tick(self) -> None:
        assert self._loop is not None
        self._timer = self._loop.call_later(self._keepalive_ns / NS_PER_S, self._tick)
        self._links.greet()
        self._announce(self._links.handle_timer(self._clock()))

    def _receive(self, data: bytes) -> None:
        self._announce(self._links.handle(data, self._clock()))

    def _announce(self, news: list[News]) -> None:
        self._flush()
        for item in news:
            self._tell(item)

    def _flush(self) -> None:
        outbox, self._links.outbox = self._links.outbox, []
        for peer, data in outbox:
            self._datagrams.send(peer, data)


class UdpDatagrams:
    """UDP between addresses that are given by hand.

    Args:
        listen: this node's address; port 0 takes a free one. peers: everybody else's, by node number.

    Attributes:
        port: where it listens.

    Raises:
        InputError: an address can't be had.
    """

    def __init__(self, listen: Portal, peers: Mapping[int, Portal]) -> None:
        family, address = _resolve(listen, "--listen")
        self._addresses = {}
        for number, portal in peers.items():
            found, self._addresses[number] = _resolve(portal, f"--peer {number}")
            if found != family:
                raise InputError(f"--peer {number}", f"{portal} and --listen {listen} are not both IPv4 or both IPv6")
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.bind(address)
        except OSError as error:
            self._socket.close()
            reason = (error.strerror or str(error)).lower()
            raise InputError("--listen", f"can't listen on {listen}: {reason}") from None
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])
        self._receive: Callable[[bytes], None] | None = None

    def open(self, receive: Callable[[bytes], None]) -> None:
        """See Datagrams."""
        self._receive = receive
        get_running_loop().add_reader(self._socket.fileno(), self._readable)

    def send(self, peer: int, data: bytes) -> None:
        """See Datagrams."""
        try:
            self._socket.sendto(data, self._addresses[peer])
        except OSError:
            return  # full buffers, no route, nobody there: lost, as any datagram may be

    def close(self) -> None:
        """See Datagrams."""
        if self._receive is not None:
            get_running_loop().remove_reader(self._socket.fileno())
            self._receive = None
        self._socket.close()

    def _readable(self) -> None:
        for _ in range(DATAGRAMS_A_WAKE):
            try:
                data = self._socket.recv(DATAGRAM_BYTES_MAX + 1)
            except BlockingIOError:
                return
            except OSError:
                continue  # what an earlier datagram ran into
            if self._receive is None:
                return
            self._receive(data)


def _resolve(portal: Portal, where: str) -> tuple[int, Any]:
    try:
        found = socket.getaddrinfo(portal.host, portal.port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise InputError(where, f"can't find {portal.host}: {error.strerror or error}") from None
    family, _, _, _, address = found[0]
    return family, address
