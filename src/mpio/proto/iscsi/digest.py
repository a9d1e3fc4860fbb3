"""CRC32C digests of headers and data (RFC 7143 §13.1).

The checksum goes on the wire with its least significant byte first, unlike every other field of the protocol.
"""

from google_crc32c import extend, value

from mpio.model.task import Buffer

DIGEST_BYTES = 4


def digest(data: Buffer, padding: bytes = b"") -> bytes:
    """The 4 digest bytes of `data` followed by `padding`, as they stand on the wire."""
    # The library takes nothing but `bytes`: views are copied.
    crc = value(data if isinstance(data, bytes) else bytes(data))
    if padding:
        crc = extend(crc, padding)
    return int(crc).to_bytes(DIGEST_BYTES, "little")
