"""REPORT LUNS (SPC-4 §6.33): the 8-byte LUNs of a target."""

import struct
from collections.abc import Sequence

from mpio.errors import RemoteProtocolError
from mpio.model.task import Buffer

_HEADER_BYTES = 8
_LUN_BYTES = 8


def build_luns(luns: Sequence[bytes]) -> bytes:
    """The parameter data for LUNs of 8 bytes each, as `model.task.lun_bytes` makes them."""
    return struct.pack(">I4x", _LUN_BYTES * len(luns)) + b"".join(luns)


def parse_luns(data: Buffer) -> list[bytes]:
    """The LUNs that were sent, if the list was cut off those before the cut. Raises RemoteProtocolError."""
    if len(data) < _HEADER_BYTES:
        raise RemoteProtocolError(f"REPORT LUNS data of {len(data)} bytes", clause="SPC-4 §6.33")
    (length,) = struct.unpack_from(">I", data)
    end = min(len(data), _HEADER_BYTES + length)
    return [bytes(data[at : at + _LUN_BYTES]) for at in range(_HEADER_BYTES, end - _LUN_BYTES + 1, _LUN_BYTES)]


def luns_length(data: Buffer) -> int:
    """How many bytes the whole list has, whatever the allocation length cut off."""
    return _HEADER_BYTES + struct.unpack_from(">I", data)[0] if len(data) >= _HEADER_BYTES else 0
