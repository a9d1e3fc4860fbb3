"""Persistent reservations on the wire: PERSISTENT RESERVE IN data and OUT parameter lists (SPC-4 §6.15, §6.16)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from mpio.errors import RemoteProtocolError
from mpio.model.task import Buffer


class ReservationType(IntEnum):
    """Reservation types (SPC-4 table 199)."""

    WRITE_EXCLUSIVE = 1
    EXCLUSIVE_ACCESS = 3
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 6
    WRITE_EXCLUSIVE_ALL_REGISTRANTS = 7
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 8


class InAction(IntEnum):
    """Service actions of PERSISTENT RESERVE IN."""

    READ_KEYS = 0
    READ_RESERVATION = 1
    REPORT_CAPABILITIES = 2
    READ_FULL_STATUS = 3


class OutAction(IntEnum):
    """Service actions of PERSISTENT RESERVE OUT."""

    REGISTER = 0
    RESERVE = 1
    RELEASE = 2
    CLEAR = 3
    PREEMPT = 4
    PREEMPT_AND_ABORT = 5
    REGISTER_AND_IGNORE = 6


PARAMETER_LIST_BYTES = 24
_SPEC_I_PT = 0x08
_ALL_TG_PT = 0x04
_APTPL = 0x01
_PARAMETERS = struct.Struct(">QQ4xB3x")


def parameters(*, key: int, service_action_key: int, aptpl: bool = False) -> bytes:
    """The 24-byte parameter list of PERSISTENT RESERVE OUT."""
    return _PARAMETERS.pack(key, service_action_key, _APTPL if aptpl else 0)


@dataclass(frozen=True, slots=True)
class OutParameters:
    """A parameter list of PERSISTENT RESERVE OUT, as received."""

    key: int
    service_action_key: int
    spec_i_pt: bool
    all_tg_pt: bool
    aptpl: bool

    @classmethod
    def parse(cls, data: Buffer) -> "OutParameters":
        """Read exactly 24 bytes. Raises RemoteProtocolError for another length."""
        if len(data) != PARAMETER_LIST_BYTES:
            raise RemoteProtocolError(f"a list of {len(data)} bytes, not 24", clause="SPC-4 §6.16.3")
        key, action_key, flags = _PARAMETERS.unpack(data)
        return cls(key, action_key, bool(flags & _SPEC_I_PT), bool(flags & _ALL_TG_PT), bool(flags & _APTPL))


@dataclass(frozen=True, slots=True)
class Registration:
    """One registrant, for READ FULL STATUS. `initiator_port` is `<name>,i,0x<ISID>`."""

    key: int
    initiator_port: str
    relative_port: int
    holder: bool


def build_keys(generation: int, keys: Sequence[int]) -> bytes:
    """READ KEYS data."""
    return struct.pack(f">II{len(keys)}Q", generation, 8 * len(keys), *keys)


def parse_keys(data: Buffer) -> tuple[int, list[int]]:
    """Generation and keys of READ KEYS, as far as they were sent. Raises RemoteProtocolError."""
    generation, length = _head(data)
    end = min(len(data), 8 + length) & ~7
    return generation, [key for (key,) in struct.iter_unpack(">Q", bytes(data[8:end]))]


def build_reservation(generation: int, key: int | None, type_: int = 0) -> bytes:
    """READ RESERVATION data; no key, no reservation."""
    if key is None:
        return struct.pack(">II", generation, 0)
    return struct.pack(">IIQ5xB2x", generation, 16, key, type_)


def parse_reservation(data: Buffer) -> tuple[int, int, ReservationType] | None:
    """(generation, key, type) of READ RESERVATION, None without a reservation. Raises RemoteProtocolError."""
    generation, length = _head(data)
    if length == 0:
        return None
    if length < 16 or len(data) < 24:
        raise RemoteProtocolError("a reservation descriptor is cut off", clause="SPC-4 §6.15.3")
    try:
        type_ = ReservationType(data[21] & 0xF)
    except ValueError:
        raise RemoteProtocolError(f"reservation type {data[21] & 0xF}", clause="SPC-4 §6.15.3") from None
    return generation, struct.unpack_from(">Q", data, 8)[0], type_


def _head(data: Buffer) -> tuple[int, int]:
    if len(data) < 8:
        raise RemoteProtocolError(f"PERSISTENT RESERVE IN data of {len(data)} bytes", clause="SPC-4 §6.15")
    generation, length = struct.unpack_from(">II", data)
    return generation, length


def build_capabilities() -> bytes:
    """REPORT CAPABILITIES: all six types; no SPEC_I_PT, no ALL_TG_PT, nothing survives the loss of power."""
    types = 0x80 | 0x40 | 0x20 | 0x08 | 0x02
    return bytes((0, 8, 0, 0x80, types, 0x01, 0, 0))


def build_full_status(generation: int, registrations: Sequence[Registration], type_: int) -> bytes:
    """READ FULL STATUS data; `type_` is that of the reservation, shown for its holders."""
    body = b""
    for entry in registrations:
        transport = transport_id(entry.initiator_port)
        body += struct.pack(
            ">Q4xBB4xHI", entry.key, 0x01 if entry.holder else 0, type_ if entry.holder else 0,
            entry.relative_port, len(transport),
        ) + transport
    return struct.pack(">II", generation, len(body)) + body


def transport_id(initiator_port: str) -> bytes:
    """TransportID of an iSCSI initiator port (SPC-4 §7.6.4.6): at least 20 bytes, text padded to a multiple of 4."""
    text = initiator_port.encode()
    value = text.ljust(max(len(text) // 4 * 4 + 4, 20), b"\0")
    return struct.pack(">BxH", 0x45, len(value)) + value
