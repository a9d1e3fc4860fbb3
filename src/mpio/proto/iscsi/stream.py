"""The byte stream of a connection, cut into PDUs on receipt and joined from PDUs for sending. Both roles use it.

Receiving: bytes are read into one staging buffer, large enough for many PDUs, and whole PDUs are handed over as their
unpacked BHS and a view of their data. A large data segment that has only begun to arrive may land in a buffer of the
owner's instead, so that it is not copied a second time.

Sending: small PDUs are joined into one buffer, large data are passed on as views.
"""

from collections.abc import Callable
from mmap import MAP_PRIVATE, mmap
from struct import Struct
from typing import Final

from mpio.errors import LocalProtocolError, RemoteProtocolError
from mpio.model.task import Buffer
from mpio.proto.iscsi.digest import DIGEST_BYTES, digest
from mpio.proto.iscsi.pdu import BHS_BYTES, DEFAULT_DATA_SEGMENT, LENGTH_MASK, PADDING, Fields

STAGING_BYTES: Final = 512 << 10
ROOM_MIN_BYTES: Final = 128 << 10  # a read is offered no less, but after small segments: a half PDU costs another
LANDING_MIN_BYTES: Final = 16 << 10  # below this, one more copy is cheaper than one more read
LARGE_BYTES: Final = 128 << 10  # after segments of this size, more like it are expected: only the beginning is read
PEEK_BYTES: Final = 4 << 10  # to staging, so that the rest can land
BATCH_BYTES: Final = 36 << 10  # of small segments at once: what they set off is sent before the peer runs dry
COPY_MAX_BYTES: Final = 8 << 10  # data up to this are joined with their header for sending

_NO_DATA = memoryview(b"")


class PduReceiver:
    """Cuts received bytes into PDUs.

    Args:
        layout: `pdu.RESPONSE` or `pdu.REQUEST`: how each BHS is unpacked.
        on_pdu: called with the unpacked BHS and the data segment without padding. The view is only good during
            the call.
        landing: called with the BHS of a PDU whose data segment has only begun to arrive: a writable view of exactly
            DataSegmentLength bytes to receive it into, or None. Called at most once for a PDU.
        on_landed: called with the BHS in place of `on_pdu` once that view is filled.
        on_data_digest_error: called with the BHS in place of either if the data digest is wrong.

    Attributes:
        data_limit: largest data segment to accept: the MaxRecvDataSegmentLength that this side declared.
        header_digest, data_digest: whether the next PDU has them. A callback may change all three.

    Any callback, and so `receive_done`, may raise RemoteProtocolError; nothing more can be received then.
    """

    def __init__(
        self,
        layout: Struct,
        on_pdu: Callable[[Fields, memoryview], None],
        landing: Callable[[Fields], memoryview | None],
        on_landed: Callable[[Fields], None],
        on_data_digest_error: Callable[[Fields], None],
    ) -> None:
        self._unpack = layout.unpack_from
        self._on_pdu = on_pdu
        self._landing = landing
        self._on_landed = on_landed
        self._on_data_digest_error = on_data_digest_error
        self.data_limit = DEFAULT_DATA_SEGMENT
        self.header_digest = False
        self.data_digest = False
        # Pages that nothing was received into take up no memory: of a connection that says little there are many
        self._view = memoryview(mmap(-1, STAGING_BYTES, MAP_PRIVATE))
        self._start = 0  # first byte in staging that is not consumed
        self._end = 0  # first free byte in staging
        self._asked = False  # the owner was asked for a landing of the PDU at _start
        self._stopped = False
        self._peek = False  # a large PDU has just ended, and nothing of the next one is in staging
        self._small = False  # the last data segment was: more like it are expected
        # A data segment that is received outside of staging: what is still to be filled, and then its trailer.
        self._unfilled: memoryview | None = None
        self._landed: _Landed | None = None

    def stop(self) -> None:
        """Drop everything that was received, and all that is still to come. May be called from a callback."""
        self._stopped = True
        self._unfilled = None
        self._landed = None
        self._start = self._end = 0

    def receive_buffer(self) -> memoryview:
        """Where the next bytes are to be read into; never empty."""
        if self._unfilled is not None:
            return self._unfilled
        if self._peek:
            return self._view[:PEEK_BYTES]
        return self._view[self._end : self._end + BATCH_BYTES] if self._small else self._view[self._end :]

    def receive_done(self, count: int) -> None:
        """`count` bytes were put at the start of what `receive_buffer` gave. Raises RemoteProtocolError."""
        if count <= 0:
            raise LocalProtocolError(f"expected at least one byte received, found {count}")
        if self._stopped:
            return
        self._peek = False
        if self._unfilled is not None:
            rest = self._unfilled[count:]
            if rest:
                self._unfilled = rest
                return
            self._unfilled = None
        else:
            self._end += count
        if self._landed is None or self._finish_landed():
            self._parse()
        self._compact()

    def receive(self, data: Buffer) -> None:
        """Take bytes that are already in memory. Raises RemoteProtocolError."""
        view = memoryview(data)
        while view and not self._stopped:
            room = self.receive_buffer()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            view = view[count:]
            self.receive_done(count)

    def _parse(self) -> None:
        """Hand over every whole PDU in staging."""
        view, unpack, on_pdu = self._view, self._unpack, self._on_pdu
        start, end = self._start, self._end
        while end - start >= BHS_BYTES:
            header = unpack(view, start)
            lengths = header[4]
            data_at = start + BHS_BYTES
            if lengths > LENGTH_MASK:  # additional header segments are skipped
                data_at += lengths >> 24 << 2
            if self.header_digest:
                data_at += DIGEST_BYTES
                if data_at > end:
                    break
                self._check_header(start, data_at)
            length = lengths & LENGTH_MASK
            if not length:
                if data_at > end:
                    break
                start = self._start = data_at
                on_pdu(header, _NO_DATA)
            else:
                if length > self.data_limit:
                    raise RemoteProtocolError(f"a data segment of {length} bytes, more than {self.data_limit}",
                                              clause="RFC 7143 §13.12")
                data_end = data_at + length
                pdu_end = data_end + (-length & 3)
                if self.data_digest:
                    pdu_end += DIGEST_BYTES
                if pdu_end > end:
                    if data_at <= end and self._begin_landing(header, data_at, length, pdu_end):
                        if self._landed is not None and not self._finish_landed():
                            return
                        start, end = self._start, self._end
                        continue
                    break
                start = self._start = pdu_end
                self._small = length < LANDING_MIN_BYTES
                if self.data_digest and not self._data_intact(view[data_at:data_end], pdu_end):
                    self._on_data_digest_error(header)
                else:
                    on_pdu(header, view[data_at:data_end])
                if length >= LARGE_BYTES:
                    self._peek = True
            self._asked = False
            if self._stopped:
                return

    def _check_header(self, start: int, digest_end: int) -> None:
        at = digest_end - DIGEST_BYTES
        if digest(self._view[start:at]) != self._view[at:digest_end]:
            # Neither the lengths nor anything else in it can be trusted: the position in the stream is lost.
            raise RemoteProtocolError("wrong header digest", clause="RFC 7143 §7.8")

    def _data_intact(self, data: memoryview, pdu_end: int) -> bool:
        """Whether the digest that ends at `pdu_end` in staging is that of data and padding."""
        at = pdu_end - DIGEST_BYTES
        padding = bytes(self._view[at - (-len(data) % 4) : at])
        return digest(data, padding) == self._view[at:pdu_end]

    # --- data segments outside of staging

    def _begin_landing(self, header: Fields, data_at: int, length: int, pdu_end: int) -> bool:
        """Let the rest of the PDU at the end of staging go elsewhere, if the owner wants it or it does not fit."""
        too_large = pdu_end - self._start > STAGING_BYTES
        if self._asked or (pdu_end - self._end < LANDING_MIN_BYTES and not too_large):
            self._asked = True
            return False
        self._asked = True
        target = self._landing(header)
        if self._stopped:
            return True
        is_owners = target is not None
        if target is None:
            if not too_large:
                return False
            target = memoryview(bytearray(length))
        elif len(target) != length:
            raise LocalProtocolError(f"a landing of {len(target)} bytes for a data segment of {length}")
        here = min(self._end - data_at, length)
        target[:here] = self._view[data_at : data_at + here]
        self._start = data_at + here
        trailer = -length % 4 + (DIGEST_BYTES if self.data_digest else 0)
        self._landed = _Landed(header, target, is_owners, trailer)
        self._unfilled = target[here:] if here < length else None
        return True

    def _finish_landed(self) -> bool:
        """Hand over the landed PDU if it is complete with padding and digest; whether it is."""
        landed = self._landed
        if landed is None or self._unfilled is not None or self._end - self._start < landed.trailer:
            return False
        self._landed = None
        self._asked = False
        self._small = False
        self._peek = len(landed.data) >= LARGE_BYTES
        self._start += landed.trailer
        if self.data_digest and not self._data_intact(landed.data, self._start):
            self._on_data_digest_error(landed.header)
        elif landed.is_owners:
            self._on_landed(landed.header)
        else:
            self._on_pdu(landed.header, landed.data)
        return not self._stopped

    def _compact(self) -> None:
        """Make room in staging: what is left is less than one PDU."""
        left = self._end - self._start
        if left == 0:
            self._start = self._end = 0
            return
        self._peek = False
        if STAGING_BYTES - self._end < ROOM_MIN_BYTES and self._start:
            self._view[:left] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, left


class _Landed:
    """A PDU whose data segment is received outside of staging."""

    __slots__ = ("data", "header", "is_owners", "trailer")

    def __init__(self, header: Fields, data: memoryview, is_owners: bool, trailer: int) -> None:
        self.header = header
        self.data = data
        self.is_owners = is_owners  # else the receiver's own
        self.trailer = trailer  # bytes of padding and digest that follow in staging


class PduSender:
    """Joins PDUs for sending.

    Attributes:
        wake: called when output goes from empty to not empty.
        header_digest, data_digest: whether PDUs from now on get them.
        spoil_header, spoil_data: the next digest of that kind is to be wrong: a fault that a target plants.
    """

    def __init__(self) -> None:
        self.wake: Callable[[], None] | None = None
        self.header_digest = False
        self.data_digest = False
        self.spoil_header = False
        self.spoil_data = False
        self._pieces: list[Buffer] = []
        self._tail = bytearray()  # small PDUs, after all pieces
        self._idle = True

    def put(self, header: bytes) -> None:
        """Queue a PDU without data segment: its BHS."""
        self._tail += header
        if self.header_digest:
            self._tail += digest(header)
            if self.spoil_header:
                self.spoil_header = self._spoil()
        if self._idle:
            self._rouse()

    def put_data(self, header: bytes, data: Buffer) -> None:
        """Queue a PDU with a data segment, whose length the BHS states. Large data must not change until sent."""
        length = len(data)
        self._tail += header
        if self.header_digest:
            self._tail += digest(header)
            if self.spoil_header:
                self.spoil_header = self._spoil()
        if length <= COPY_MAX_BYTES:
            self._tail += data
        else:
            self._pieces += (self._tail, data)
            self._tail = bytearray()
        padding = PADDING[length & 3]
        self._tail += padding
        if self.data_digest and length:
            self._tail += digest(data, padding)
            if self.spoil_data:
                self.spoil_data = self._spoil()
        if self._idle:
            self._rouse()

    def _spoil(self) -> bool:
        """Make the digest that was put last a wrong one; that was the one."""
        self._tail[-1] ^= 0xFF
        return False

    def drain(self) -> list[Buffer]:
        """Everything that is queued, in order; the queue is empty afterwards."""
        pieces = self._pieces
        if self._tail:
            pieces.append(self._tail)
            self._tail = bytearray()
        self._pieces = []
        self._idle = True
        return pieces

    def clear(self) -> None:
        """Forget what is queued."""
        self._pieces = []
        self._tail = bytearray()
        self._idle = True

    def _rouse(self) -> None:
        self._idle = False
        if self.wake is not None:
            self.wake()
