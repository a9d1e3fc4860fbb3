"""The client's end of an NBD connection: fixed newstyle handshake, then requests, several in flight.

Feed it with `receive`, send what `data_to_send` has, and take what has come of it from `next_event`. It asks for
structured replies and for the allocation map, and does without them where the server has none. No TLS.
"""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from struct import Struct, error

from mpio.errors import LocalProtocolError, RemoteProtocolError
from mpio.model.task import Buffer
from mpio.proto.nbd import wire
from mpio.proto.nbd.wire import Chunk, Command, ExportFlag, Info, NbdError, Option, OptionReply

PAYLOAD_MAX = 32 << 20  # where the server does not say (doc/proto.md, block size constraints)
_OPTION_REPLY_MAX = 1 << 16
_CHUNK_OVERHEAD = 1 << 16  # a chunk without data is no longer than that
_U16, _U32, _U64 = Struct(">H"), Struct(">I"), Struct(">Q")

Extents = tuple[tuple[int, int], ...]
"""(length in bytes, state) one after the other, from the offset of the request on."""


@dataclass(frozen=True, slots=True)
class Export:
    """What a server offers.

    Attributes:
        size: bytes. flags: what it can do. block_min: offsets and lengths are multiples of this.
        payload_max: the longest read or write.
        tells_allocation: whether BLOCK_STATUS works.
    """

    size: int
    flags: ExportFlag
    block_min: int = 1
    payload_max: int = PAYLOAD_MAX
    tells_allocation: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """The handshake is over: requests are welcome."""

    export: Export


@dataclass(frozen=True, slots=True)
class Refused:
    """The server will not serve this export. `reason` is for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A request is done. `error` is 0 or a number of NbdError, `data` what was read, `extents` of BLOCK_STATUS."""

    cookie: int
    error: int = 0
    data: bytes = b""
    extents: Extents = ()


Event = Ready | Refused | Answer


@dataclass(slots=True)
class _Request:
    command: Command
    offset: int
    length: int
    error: int = 0
    room: bytearray | None = None
    got: int = 0
    extents: list[tuple[int, int]] = field(default_factory=list)


class NbdClient:
    """See the module. `export` is the name asked for."""

    def __init__(self, export: str = "") -> None:
        self._name = export.encode()
        self._requests: dict[int, _Request] = {}
        self._next_cookie = 1
        self._events: deque[Event] = deque()
        self._out: list[Buffer] = []
        self._in = bytearray()
        self._export: Export | None = None
        self._context: int | None = None
        self._refused = False
        self._session = self._run()
        self._need = next(self._session)

    # --- bytes

    def receive(self, data: Buffer) -> None:
        """Take bytes. Raises RemoteProtocolError if the server broke the protocol; then it is of no more use."""
        self._in += data
        at = 0
        view = memoryview(self._in)
        try:
            while len(view) - at >= self._need and not self._refused:
                piece = bytes(view[at : at + self._need])
                at += self._need
                self._need = self._session.send(piece)
        except (error, UnicodeDecodeError) as problem:
            raise RemoteProtocolError(f"the NBD server sent what can't be read: {problem}") from None
        finally:
            view.release()
            del self._in[:at]

    def data_to_send(self) -> list[Buffer]:
        """Everything that is ready to be sent, handed over once."""
        out, self._out = self._out, []
        return out

    def next_event(self) -> Event | None:
        """The next thing that happened, or None."""
        return self._events.popleft() if self._events else None

    # --- requests

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return len(self._requests)

    def submit(
        self, command: Command, offset: int = 0, length: int = 0, data: Buffer = b"", *, fua: bool = False
    ) -> int:
        """Ask for something; returns the cookie that its Answer will have. `data` must not change until then."""
        if self._export is None:
            raise LocalProtocolError("the handshake has not ended")
        cookie = self._next_cookie
        self._next_cookie += 1
        self._requests[cookie] = _Request(command, offset, length)
        flags = wire.FLAG_FUA if fua else 0
        self._out.append(wire.REQUEST.pack(wire.REQUEST_MAGIC, flags, command, cookie, offset, length))
        if data:
            self._out.append(data)
        return cookie

    def disconnect(self) -> None:
        """Say goodbye; there is no answer."""
        if self._export is not None:
            self._out.append(wire.REQUEST.pack(wire.REQUEST_MAGIC, 0, Command.DISCONNECT, 0, 0, 0))

    # --- what comes in; each generator asks for so many bytes and gets them

    def _run(self) -> Generator[int, bytes, None]:
        magic, option_magic, flags = wire.GREETING.unpack((yield wire.GREETING.size))
        if magic != wire.MAGIC:
            raise RemoteProtocolError("this is no NBD server")
        if option_magic != wire.OPTION_MAGIC or not flags & wire.FIXED_NEWSTYLE:
            raise RemoteProtocolError("the NBD server does not know the fixed newstyle handshake")
        self._out.append(_U32.pack(flags & (wire.FIXED_NEWSTYLE | wire.NO_ZEROES)))
        if (yield from self._ask(Option.STRUCTURED_REPLY)) == OptionReply.ACK:
            query = wire.BASE_ALLOCATION.encode()
            yield from self._ask(
                Option.SET_META_CONTEXT,
                _counted(self._name) + _U32.pack(1) + _counted(query),
            )
        yield from self._go()
        while True:
            (magic,) = _U32.unpack((yield _U32.size))
            if magic == wire.SIMPLE_REPLY_MAGIC:
                yield from self._simple_reply()
            elif magic == wire.CHUNK_MAGIC:
                yield from self._chunk()
            else:
                raise RemoteProtocolError(f"an NBD reply begins with {magic:#x}")

    def _send_option(self, option: Option, data: bytes) -> None:
        self._out.append(wire.OPTION.pack(wire.OPTION_MAGIC, option, len(data)) + data)

    def _option_reply(self, option: Option) -> Generator[int, bytes, tuple[int, bytes]]:
        magic, of, kind, length = wire.OPTION_REPLY.unpack((yield wire.OPTION_REPLY.size))
        if magic != wire.OPTION_REPLY_MAGIC or of != option or length > _OPTION_REPLY_MAX:
            raise RemoteProtocolError("an NBD option reply that does not belong to what was asked")
        return kind, (yield length) if length else b""

    def _ask(self, option: Option, data: bytes = b"") -> Generator[int, bytes, int]:
        """Ask for something that can be done without; returns the type of the last reply."""
        self._send_option(option, data)
        while True:
            kind, body = yield from self._option_reply(option)
            if kind != OptionReply.META_CONTEXT:
                return kind
            if body[4:].decode() == wire.BASE_ALLOCATION:
                (self._context,) = _U32.unpack_from(body)

    def _go(self) -> Generator[int, bytes, None]:
        self._send_option(Option.GO, _counted(self._name) + _U16.pack(1) + _U16.pack(Info.BLOCK_SIZE))
        size, flags, block_min, payload_max = 0, ExportFlag(0), 1, PAYLOAD_MAX
        while True:
            kind, body = yield from self._option_reply(Option.GO)
            if kind == OptionReply.ACK:
                break
            if kind == OptionReply.INFO:
                (what,) = _U16.unpack_from(body)
                if what == Info.EXPORT:
                    size, number = _EXPORT_INFO.unpack_from(body, 2)
                    flags = ExportFlag(number)
                elif what == Info.BLOCK_SIZE:
                    block_min, _, payload_max = _BLOCK_INFO.unpack_from(body, 2)
            elif kind & OptionReply.ERROR:
                self._refused = True
                self._events.append(Refused(_refusal(kind, body)))
                yield 1
                return
        if not block_min or payload_max < block_min:
            raise RemoteProtocolError(f"an NBD export with blocks of {block_min} to {payload_max} bytes")
        self._export = Export(
            size, flags, block_min, min(payload_max, PAYLOAD_MAX), tells_allocation=self._context is not None
        )
        self._events.append(Ready(self._export))

    def _request(self, cookie: int) -> _Request:
        request = self._requests.get(cookie)
        if request is None:
            raise RemoteProtocolError(f"an NBD reply to a request that was not made, {cookie}")
        return request

    def _simple_reply(self) -> Generator[int, bytes, None]:
        number, cookie = _SIMPLE_REST.unpack((yield _SIMPLE_REST.size))
        request = self._request(cookie)
        data = b""
        if not number and request.command is Command.READ:
            data = yield request.length
        del self._requests[cookie]
        self._events.append(Answer(cookie, number, data))

    def _chunk(self) -> Generator[int, bytes, None]:
        flags, kind, cookie, length = _CHUNK_REST.unpack((yield _CHUNK_REST.size))
        request = self._request(cookie)
        if length > request.length * (request.command is Command.READ) + _CHUNK_OVERHEAD:
            raise RemoteProtocolError(f"an NBD chunk of {length} bytes")
        if kind == Chunk.OFFSET_DATA and request.command is Command.READ and length > 8:
            (offset,) = _U64.unpack((yield 8))
            _fill(request, offset, (yield length - 8))
        else:
            self._take(request, kind, (yield length) if length else b"")
        if flags & wire.CHUNK_DONE:
            del self._requests[cookie]
            if request.command is Command.READ and not request.error and request.got != request.length:
                raise RemoteProtocolError(f"an NBD read of {request.length} bytes got {request.got}")
            self._events.append(Answer(cookie, request.error, bytes(request.room or b""), tuple(request.extents)))

    def _take(self, request: _Request, kind: int, body: bytes) -> None:
        """A chunk without data."""
        if kind & Chunk.ERROR:
            request.error = _U32.unpack_from(body)[0] or NbdError.EIO
        elif kind == Chunk.OFFSET_HOLE and request.command is Command.READ:
            offset, length = _HOLE.unpack(body)
            _fill(request, offset, None, length)
        elif kind == Chunk.BLOCK_STATUS and request.command is Command.BLOCK_STATUS:
            if _U32.unpack_from(body)[0] == self._context:
                request.extents += list(_EXTENT.iter_unpack(body[4:]))
        elif kind != Chunk.NONE:
            raise RemoteProtocolError(f"an NBD chunk of type {kind} in answer to {request.command.name}")


_EXPORT_INFO = Struct(">QH")
_BLOCK_INFO = Struct(">III")
_SIMPLE_REST = Struct(">IQ")
_CHUNK_REST = Struct(">HHQI")
_HOLE = Struct(">QI")
_EXTENT = Struct(">II")

_REFUSALS = {
    OptionReply.UNSUPPORTED: "the server is too old (it has no NBD_OPT_GO)",
    OptionReply.POLICY: "the server does not allow it",
    OptionReply.TLS_REQUIRED: "the server wants TLS, which is not offered",
    OptionReply.UNKNOWN: "the server has no such export",
}


def _refusal(kind: int, body: bytes) -> str:
    words = _REFUSALS.get(OptionReply(kind)) if kind in _REFUSALS else f"the server refuses it with error {kind:#x}"
    said = body.decode(errors="replace").strip()
    return f"{words}: {said[:200]}" if said else str(words)


def _counted(data: bytes) -> bytes:
    return _U32.pack(len(data)) + data


def _fill(request: _Request, offset: int, data: bytes | None, length: int = 0) -> None:
    """Put data, or zeroes, where they belong in what is read."""
    length = len(data) if data is not None else length
    at = offset - request.offset
    if at < 0 or at + length > request.length:
        raise RemoteProtocolError(f"NBD data for bytes {offset} to {offset + length}, which were not asked for")
    if request.room is None:
        request.room = bytearray(request.length)
    if data is not None:
        request.room[at : at + length] = data
    request.got += length
