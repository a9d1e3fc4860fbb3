"""Text of Login and Text PDUs: `key=value` pairs, each closed by one NUL (RFC 7143 §6.1), and its way over many PDUs.

Owns: the codec, its limits, and continuation by the C bit (§6.2). Knows nothing of what a key means.
"""

import re
from collections.abc import Iterable

from mpio.errors import RemoteProtocolError

Pairs = list[tuple[str, str]]

TEXT_BYTES_MAX = 65_536  # all the PDUs of one text together; a whole login takes about 1 KiB
PAIRS_MAX = 256  # each may cost an answer, so they are bounded too
LOGIN_SEGMENT_MAX = 8192  # MaxRecvDataSegmentLength of both sides while they log in (§13.12)

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9.\-+@_#]{0,62}", re.ASCII)


def encode_text(pairs: Iterable[tuple[str, str]]) -> bytes:
    """The data segment for the pairs."""
    return "".join([f"{key}={value}\0" for key, value in pairs]).encode()


def decode_text(data: bytes, pairs_max: int = PAIRS_MAX) -> Pairs:
    """The pairs of a whole text in order, repeated keys kept. Raises RemoteProtocolError.

    A NUL that is missing at the very end, and superfluous ones, are forgiven: peers do both.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("text is not UTF-8", clause="RFC 7143 §6.1") from None
    pairs = []
    for item in text.split("\0"):
        if not item:
            continue
        key, separator, value = item.partition("=")
        if not separator or _KEY.fullmatch(key) is None:
            raise RemoteProtocolError(f"expected key=value, found {item[:80]!r}", clause="RFC 7143 §6.1")
        pairs.append((key, value))
        if len(pairs) > pairs_max:
            raise RemoteProtocolError(f"more than {pairs_max} keys in one text")
    return pairs


def unique(pairs: Pairs) -> dict[str, str]:
    """The pairs as a dict. Raises RemoteProtocolError if a key comes twice (§6.2: an error in a negotiation)."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RemoteProtocolError("a key is in the text twice", clause="RFC 7143 §6.3")
    return found


class TextAssembler:
    """Joins the data segments of a text that is continued over several PDUs. Pairs may be cut anywhere."""

    def __init__(self, bytes_max: int = TEXT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._parts = bytearray()

    def add(self, segment: bytes, *, more: bool) -> bytes | None:
        """Take a segment. Returns the whole text once `more` is False. Raises RemoteProtocolError if it is too long."""
        if len(self._parts) + len(segment) > self._bytes_max:
            raise RemoteProtocolError(f"text of more than {self._bytes_max} bytes")
        self._parts += segment
        if more:
            return None
        text = bytes(self._parts)
        self._parts.clear()
        return text


class TextSplitter:
    """Cuts a text into data segments that the peer can take."""

    def __init__(self, segment_max: int = LOGIN_SEGMENT_MAX) -> None:
        self.segment_max = segment_max
        self._rest = b""

    def put(self, text: bytes) -> None:
        """Set the text to be sent."""
        self._rest = text

    def take(self) -> tuple[bytes, bool]:
        """The next segment, and whether more follow (the C bit). An empty one if there is nothing left."""
        segment, self._rest = self._rest[: self.segment_max], self._rest[self.segment_max :]
        return segment, bool(self._rest)

    @property
    def pending(self) -> bool:
        """Whether something is left to be taken."""
        return bool(self._rest)
