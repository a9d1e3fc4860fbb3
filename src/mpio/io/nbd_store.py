"""A block store behind an NBD server, such as nbdkit or qemu-nbd: one connection, several requests in flight.

A lost connection is opened again for the next request, unless writes were on their way. What became of those nobody
knows, and they might still land on top of later ones, so the store then stays broken. If writes were acknowledged and
not flushed, the first flush after a new connection fails: the server may have lost them.
"""

import asyncio
import contextlib
import select
import socket
import time
from collections.abc import Callable

from mpio.errors import InputError, RemoteProtocolError
from mpio.model.task import Buffer
from mpio.proto.nbd.client import Answer, Export, Extents, NbdClient, Ready, Refused
from mpio.proto.nbd.uri import NbdUri
from mpio.proto.nbd.wire import STATE_HOLE, Command, ExportFlag, NbdError
from mpio.proto.scsi.sense import READ_ERROR, SPACE_ALLOCATION_FAILED, WRITE_ERROR, WRITE_PROTECTED, Sense
from mpio.target.allocation import BlockStatus
from mpio.target.store import StoreError, write_zeroes
from mpio.target.task_queue import Done

CONNECT_S = 5.0
ANSWER_S = 30.0  # a server that says nothing for so long while somebody waits is given up
RETRY_NS = 1_000_000_000  # between two attempts to connect again
ZEROES_MAX = 1 << 30  # in one request
STATUS_MAX = 1 << 30
_RECEIVE_BYTES = 1 << 18
_BUFFERS_MAX = 512

_LOST = Sense(0x4, 0x44, 0x00)  # internal target failure
_SENSE = {NbdError.ENOSPC: SPACE_ALLOCATION_FAILED, NbdError.EPERM: WRITE_PROTECTED}


class _Piece:
    """One request of an I/O; longer ones than the server takes are cut."""

    __slots__ = ("command", "done")

    def __init__(self, command: Command, done: Callable[[Answer | StoreError], None]) -> None:
        self.command = command
        self.done = done


class NbdStore:
    """See BlockStore and DeferringStore.

    Args:
        uri: the export. read_only: never write.

    Attributes:
        alignment: offsets and lengths have to be multiples of this.

    Raises:
        InputError: no connection, or the server does not serve it.
    """

    defers = True

    def __init__(self, uri: NbdUri, *, read_only: bool = False) -> None:
        self.uri = uri
        self._pieces: dict[int, _Piece] = {}
        self._sock: socket.socket | None = None
        self._client = NbdClient(uri.export)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsent: list[Buffer] = []
        self._sending = False  # a call of `_send` is due
        self._blocked = False
        self._dirty = False  # something was acknowledged that no flush has covered
        self._flush_fails = False  # the next one: such data were with a server that is gone
        self._flush_error: StoreError | None = None
        self._broken: StoreError | None = None
        self._tried_ns = 0
        try:
            self._export = self._connect()
        except StoreError as error:
            raise InputError(str(uri), str(error)) from None
        if not self._export.size:
            self.close()
            raise InputError(str(uri), "is empty")
        self.size_bytes = self._export.size
        self.alignment = self._export.block_min
        self.writable = not (read_only or self._export.flags & ExportFlag.READ_ONLY)
        self.volatile = self.writable and bool(self._export.flags & ExportFlag.SEND_FLUSH)

    # --- now

    def read(self, offset: int, length: int) -> bytes:
        """The bytes. Raises StoreError."""
        return self._wait(lambda done: self.begin_read(offset, length, done) is not None)

    def write(self, offset: int, data: Buffer) -> None:
        """Write all of it. Raises StoreError."""
        if data:
            self._wait(lambda done: self.begin_write(offset, data, done, fua=False))

    def flush(self) -> None:
        """Bring everything written so far to stable storage. Raises StoreError."""
        self._wait(self.begin_flush)

    def discard(self, offset: int, length: int) -> None:
        """Zero the range, and give the space back if the server can. Raises StoreError."""
        if not self._export.flags & ExportFlag.SEND_WRITE_ZEROES:
            write_zeroes(self, offset, length)
            return
        pieces = [(at, min(ZEROES_MAX, offset + length - at)) for at in range(offset, offset + length, ZEROES_MAX)]
        self._wait(lambda done: self._submit(Command.WRITE_ZEROES, pieces, self._unflushed(done)))

    def allocation(self, offset: int, length: int) -> tuple[BlockStatus, int]:
        """See ThinStore. A server that does not tell has it all mapped. Raises StoreError."""
        if not self._export.tells_allocation:
            return BlockStatus.MAPPED, length
        found: list[Extents] = []

        def begin(done: Done) -> bool:
            def take(answer: Answer | StoreError) -> None:
                if isinstance(answer, Answer) and not answer.error:
                    found.append(answer.extents)
                done(self._outcome(Command.BLOCK_STATUS, answer))

            self._request(Command.BLOCK_STATUS, offset, min(length, STATUS_MAX), take)
            return False

        self._wait(begin)
        extents = found[0]
        if not extents:
            return BlockStatus.MAPPED, length
        hole = extents[0][1] & STATE_HOLE
        run = 0
        for count, state in extents:
            if state & STATE_HOLE != hole:
                break
            run += count
        return BlockStatus.DEALLOCATED if hole else BlockStatus.MAPPED, max(min(run, length), 1)

    def close(self) -> None:
        """Say goodbye, and close the connection."""
        if self._sock is None:
            return
        with contextlib.suppress(StoreError):
            self.drain()
        with contextlib.suppress(OSError):
            if self._sock is not None:
                self._client.disconnect()
                self._unsent += self._client.data_to_send()
                self._push()
        self._disconnect("closed")

    def _wait(self, begin: Callable[[Done], bool]) -> bytes:
        """Begin something, and stay until it is done."""
        results: list[Buffer | StoreError] = []
        if begin(results.append):
            return b""
        while not results:
            self._pump(ANSWER_S)
        (result,) = results
        if isinstance(result, StoreError):
            raise result
        return bytes(result)

    # --- begun now, done later

    def begin_read(self, offset: int, length: int, done: Done) -> bytes | None:
        """See DeferringStore."""
        if not length:
            return b""
        self._submit(Command.READ, self._cut(offset, length), done)
        return None

    def begin_write(self, offset: int, data: Buffer, done: Done, *, fua: bool) -> bool:
        """See DeferringStore."""
        can_fua = bool(self._export.flags & ExportFlag.SEND_FUA)

        def flush(result: Buffer | StoreError) -> None:
            if isinstance(result, StoreError):
                done(result)
            else:
                self._begin_flush_for(done)

        then = done if fua and can_fua else self._unflushed(flush if fua else done)
        self._submit(Command.WRITE, self._cut(offset, len(data)), then, memoryview(data), fua=fua and can_fua)
        return False

    def _unflushed(self, done: Done) -> Done:
        """`done` for a write that the next flush has to cover. Only now: a flush that is on its way does not."""

        def then(result: Buffer | StoreError) -> None:
            self._dirty = self._dirty or not isinstance(result, StoreError)
            done(result)

        return then

    def begin_flush(self, done: Done) -> bool:
        """See DeferringStore. What the server could not flush once it may have dropped: then this fails for ever."""
        if self._flush_error is not None:
            raise self._flush_error
        self._connected()
        if self._flush_fails:
            self._flush_fails = False
            raise StoreError(f"{self.uri}: the server was gone, and what was not flushed may be lost", WRITE_ERROR)
        if not self._export.flags & ExportFlag.SEND_FLUSH:
            return True
        self._dirty = False

        def finish(result: Buffer | StoreError) -> None:
            if isinstance(result, StoreError):
                self._dirty = True
                if result.sense != _LOST:
                    self._flush_error = result
            done(result)

        self._submit(Command.FLUSH, [(0, 0)], finish)
        return False

    def _begin_flush_for(self, done: Done) -> None:
        try:
            if self.begin_flush(done):
                done(b"")
        except StoreError as error:
            done(error)

    def drain(self) -> None:
        """See DeferringStore."""
        if self._broken is not None:
            raise self._broken
        while self._pieces:
            self._pump(ANSWER_S)
            if self._broken is not None:
                raise self._broken

    def _cut(self, offset: int, length: int) -> list[tuple[int, int]]:
        step = self._export.payload_max // self.alignment * self.alignment
        if length <= step:
            return [(offset, length)]
        return [(at, min(step, offset + length - at)) for at in range(offset, offset + length, step)]

    def _submit(
        self, command: Command, pieces: list[tuple[int, int]], done: Done, data: memoryview | None = None, *,
        fua: bool = False,
    ) -> bool:
        """Make the requests of one I/O; `done` is called when all are answered. Always False: it is not done yet."""
        self._connected()
        if len(pieces) == 1:
            offset, length = pieces[0]
            self._request(command, offset, length, lambda answer: done(self._outcome(command, answer)), data, fua=fua)
            return False
        results: list[bytes | StoreError] = [b""] * len(pieces)
        left = len(pieces)

        def take(index: int, answer: Answer | StoreError) -> None:
            nonlocal left
            results[index] = self._outcome(command, answer)
            left -= 1
            if not left:
                errors = [result for result in results if isinstance(result, StoreError)]
                done(errors[0] if errors else b"".join(result for result in results if isinstance(result, bytes)))

        at = 0
        for index, (offset, length) in enumerate(pieces):
            part = data[at : at + length] if data is not None else None
            at += length

            def answered(answer: Answer | StoreError, index: int = index) -> None:
                take(index, answer)

            self._request(command, offset, length, answered, part, fua=fua)
        return False

    def _outcome(self, command: Command, answer: Answer | StoreError) -> bytes | StoreError:
        if isinstance(answer, StoreError):
            return answer
        if not answer.error:
            return answer.data
        default = READ_ERROR if command in (Command.READ, Command.BLOCK_STATUS) else WRITE_ERROR
        sense = next((sense for number, sense in _SENSE.items() if number == answer.error), default)
        return StoreError(f"{self.uri}: the server answers {command.name} with error {answer.error}", sense)

    def _request(
        self, command: Command, offset: int, length: int, done: Callable[[Answer | StoreError], None],
        data: memoryview | None = None, *, fua: bool = False,
    ) -> None:
        cookie = self._client.submit(command, offset, length, data if data is not None else b"", fua=fua)
        self._pieces[cookie] = _Piece(command, done)
        if not self._sending and not self._blocked:
            self._watch()
            if self._loop is not None:
                self._sending = True
                self._loop.call_soon(self._send_soon)  # with whatever else this turn of the loop brings

    # --- the connection

    def _connected(self) -> None:
        """There is a connection, or StoreError."""
        if self._sock is not None:
            return
        if self._broken is not None:
            raise self._broken
        now = time.monotonic_ns()
        if now - self._tried_ns < RETRY_NS:
            raise StoreError(f"{self.uri}: no connection", _LOST)
        self._tried_ns = now
        self._client = NbdClient(self.uri.export)
        export = self._connect()
        if export != self._export:
            self._disconnect("another export")
            self._broken = StoreError(f"{self.uri}: the server has another export now: {export}", _LOST)
            raise self._broken
        self._flush_fails, self._dirty = self._flush_fails or self._dirty, False

    def _connect(self) -> Export:
        """Connect, and shake hands. Raises StoreError."""
        try:
            if self.uri.portal is not None:
                address = (self.uri.portal.host, self.uri.portal.port)
                self._sock = socket.create_connection(address, CONNECT_S)
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            else:
                self._sock = socket.socket(socket.AF_UNIX)
                self._sock.settimeout(CONNECT_S)
                self._sock.connect(self.uri.socket)
            self._sock.setblocking(False)
        except OSError as error:
            self._disconnect("no connection")
            raise StoreError(f"can't connect: {error.strerror or error}", _LOST) from None
        while True:
            self._pump(CONNECT_S)
            event = self._client.next_event()
            if isinstance(event, Ready):
                return event.export
            if isinstance(event, Refused):
                self._disconnect(event.reason)
                raise StoreError(event.reason, _LOST)
            if self._sock is None:
                raise StoreError("the server went away, or said nothing, in the handshake", _LOST)

    def _disconnect(self, why: str) -> None:
        """The connection is gone: fail what was on its way; with a write among it, the store is broken."""
        if self._sock is None:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
        self._sock.close()
        self._sock, self._loop, self._blocked = None, None, False
        self._unsent.clear()
        pieces, self._pieces = self._pieces, {}
        error = StoreError(f"{self.uri}: {why}", _LOST)
        if any(piece.command in (Command.WRITE, Command.WRITE_ZEROES) for piece in pieces.values()):
            self._broken = StoreError(f"{self.uri}: {why} with writes on their way, which may still land", _LOST)
            error = self._broken
        for piece in pieces.values():
            piece.done(error)

    def _watch(self) -> None:
        """Let the event loop read, if one runs."""
        if self._loop is None and self._sock is not None:
            with contextlib.suppress(RuntimeError):  # none does: whoever waits, pumps
                self._loop = asyncio.get_running_loop()
                self._loop.add_reader(self._sock, self._readable)

    def _send_soon(self) -> None:
        self._sending = False
        if self._sock is not None:
            try:
                self._push()
            except OSError as error:
                self._disconnect(error.strerror or str(error))

    def _push(self) -> None:
        """Send what can be sent. Raises OSError."""
        assert self._sock is not None
        self._unsent += self._client.data_to_send()
        while self._unsent:
            try:
                count = self._sock.sendmsg(self._unsent[:_BUFFERS_MAX])
            except BlockingIOError:
                break
            while count:
                first = memoryview(self._unsent[0])
                if count < len(first):
                    self._unsent[0] = first[count:]
                    break
                count -= len(first)
                del self._unsent[0]
        blocked = bool(self._unsent)
        if blocked is not self._blocked and self._loop is not None:
            self._blocked = blocked
            if blocked:
                self._loop.add_writer(self._sock, self._send_soon)
            else:
                self._loop.remove_writer(self._sock)

    def _readable(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
            if data:
                self._client.receive(data)
                self._hand_out()
                return
        except BlockingIOError:
            return
        except (OSError, RemoteProtocolError) as error:
            self._disconnect(str(error))
            return
        self._disconnect("the server closed the connection")

    def _hand_out(self) -> None:
        while self._pieces and (event := self._client.next_event()) is not None:
            if isinstance(event, Answer):
                self._pieces.pop(event.cookie).done(event)

    def _pump(self, timeout_s: float) -> None:
        """Send, and wait for one read. The connection is given up if nothing moves for so long."""
        if self._sock is None:
            return
        poll = select.poll()
        try:
            self._push()
            poll.register(self._sock, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            if not poll.poll(timeout_s * 1000):
                self._disconnect(f"the server said nothing for {timeout_s:g} s")
                return
        except OSError as error:
            self._disconnect(error.strerror or str(error))
            return
        self._readable()
