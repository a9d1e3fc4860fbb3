"""CHAP as iSCSI uses it: algorithms, binary values in text, challenges and responses (RFC 1994, RFC 7143 §12.1.3).

Knows nothing of login stages. Randomness comes in as a seed.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mpio.errors import RemoteProtocolError

CHALLENGE_BYTES_MAX = 1024  # decoded, §12.1.3
CHALLENGE_BYTES = 16  # what we send: tgt and old Windows initiators cap it there
SEED_BYTES_MIN = 16

ALGORITHMS: Mapping[str, int] = {"MD5": 5, "SHA1": 6, "SHA256": 7, "SHA3-256": 8}
"""CHAP_A numbers by the names that iscsid.conf uses (IANA, PPP Authentication Algorithms; RFC 7143 §13.11)."""

_HASHES: Mapping[int, Callable[..., Any]] = {
    5: hashlib.md5,
    6: hashlib.sha1,
    7: hashlib.sha256,
    8: hashlib.sha3_256,
}


@dataclass(frozen=True, slots=True)
class ChapConfig:
    """What a target asks of an initiator, and what it can prove in return.

    Attributes:
        username, password: what the initiator must know.
        mutual_username, mutual_password: what the target answers if the initiator asks; None: it can't.
        algorithms: CHAP_A numbers that are allowed.

    Raises:
        ValueError: if both secrets are the same, since then either side's answer could be used for the other (§12.1.3).
    """

    username: str
    password: str = field(repr=False)
    mutual_username: str | None = None
    mutual_password: str | None = field(default=None, repr=False)
    algorithms: tuple[int, ...] = tuple(ALGORITHMS.values())

    def __post_init__(self) -> None:
        if not self.username or not self.password:
            raise ValueError("CHAP: user name and secret must not be empty")
        if self.password == self.mutual_password:
            raise ValueError("CHAP: the secrets of the two directions must differ (RFC 7143 §12.1.3)")


def chap_response(algorithm: int, identifier: int, secret: str, challenge: bytes) -> bytes:
    """Hash of identifier, secret and decoded challenge. KeyError for an unknown algorithm."""
    digest: bytes = _HASHES[algorithm](bytes((identifier,)) + secret.encode() + challenge).digest()
    return digest


def chap_matches(algorithm: int, identifier: int, secret: str, challenge: bytes, response: bytes) -> bool:
    """Whether the peer's response is right; takes the same time wherever it is wrong."""
    return hmac.compare_digest(chap_response(algorithm, identifier, secret, challenge), response)


def make_challenge(seed: bytes, purpose: bytes) -> tuple[int, bytes]:
    """An identifier and a challenge that nobody can foresee who does not know the seed. ValueError if it is short."""
    if len(seed) < SEED_BYTES_MIN:
        raise ValueError(f"a challenge needs a seed of at least {SEED_BYTES_MIN} random bytes")
    digest = hashlib.sha256(purpose + seed).digest()
    return digest[-1], digest[:CHALLENGE_BYTES]


def encode_binary(value: bytes) -> str:
    """A binary value as hex text, which every peer reads."""
    return "0x" + value.hex()


def decode_binary(text: str, bytes_max: int = CHALLENGE_BYTES_MAX) -> bytes:
    """A binary value from `0x` hex (an odd digit count has a leading zero) or `0b` base64. RemoteProtocolError."""
    prefix, digits = text[:2].lower(), text[2:]
    if len(digits) > 2 * bytes_max + 2:
        raise RemoteProtocolError(f"a binary value of more than {bytes_max} bytes", clause="RFC 7143 §12.1.3")
    try:
        if prefix == "0x" and digits:
            value = binascii.unhexlify("0" + digits if len(digits) % 2 else digits)
        elif prefix == "0b" and digits:
            value = base64.b64decode(digits, validate=True)
        else:
            raise ValueError
    except ValueError:
        message = f"expected 0x hex or 0b base64, found {text[:20]!r}"
        raise RemoteProtocolError(message, clause="RFC 7143 §6.1") from None
    if len(value) > bytes_max:
        raise RemoteProtocolError(f"a binary value of more than {bytes_max} bytes", clause="RFC 7143 §12.1.3")
    return value
