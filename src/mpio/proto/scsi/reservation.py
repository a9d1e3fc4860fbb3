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
    REGISTER_AND_MOVE = 7


PARAMETER_LIST_BYTES = 24
_SPEC_I_PT = 0x08
_ALL_TG_PT = 0x04
_APTPL = 0x01
_UNREG = 0x02
_PARAMETERS = struct.Struct(">QQ4xB3x")
_MOVE = struct.Struct(">QQxBHI")
_TRANSPORT_IDS_MAX = 64  # more initiator ports in one list are not what a cluster has
_ISCSI = 0x05


def parameters(
    *, key: int, service_action_key: int, aptpl: bool = False, all_target_ports: bool = False,
    initiator_ports: Sequence[str] = (),
) -> bytes:
    """The parameter list of PERSISTENT RESERVE OUT; 24 bytes without initiator ports to be registered as well."""
    flags = (_APTPL if aptpl else 0) | (_ALL_TG_PT if all_target_ports else 0) | (_SPEC_I_PT if initiator_ports else 0)
    head = _PARAMETERS.pack(key, service_action_key, flags)
    if not initiator_ports:
        return head
    body = b"".join(transport_id(port) for port in initiator_ports)
    return head + struct.pack(">I", len(body)) + body


def move_parameters(
    *, key: int, service_action_key: int, relative_port: int, initiator_port: str, unregister: bool = False,
    aptpl: bool = False,
) -> bytes:
    """The parameter list of REGISTER AND MOVE."""
    body = transport_id(initiator_port)
    flags = (_UNREG if unregister else 0) | (_APTPL if aptpl else 0)
    return _MOVE.pack(key, service_action_key, flags, relative_port, len(body)) + body


@dataclass(frozen=True, slots=True)
class OutParameters:
    """A parameter list of PERSISTENT RESERVE OUT, as received.

    Attributes:
        key, service_action_key: that of the asker, and the new one or that of the victims.
        spec_i_pt, all_tg_pt: more initiator ports, and all target ports, are meant. aptpl: kept without power.
        initiator_ports: the ports of a list with SPEC_I_PT, as (name, ISID).
    """

    key: int
    service_action_key: int
    spec_i_pt: bool
    all_tg_pt: bool
    aptpl: bool
    initiator_ports: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def parse(cls, data: Buffer) -> "OutParameters":
        """Read 24 bytes, and TransportIDs only where SPEC_I_PT is set. Raises RemoteProtocolError."""
        if len(data) < PARAMETER_LIST_BYTES:
            raise RemoteProtocolError(f"a list of {len(data)} bytes, not 24", clause="SPC-4 §6.16.3")
        key, action_key, flags = _PARAMETERS.unpack_from(data)
        rest = bytes(data[PARAMETER_LIST_BYTES:])
        spec_i_pt = bool(flags & _SPEC_I_PT)
        if bool(rest) is not spec_i_pt or (spec_i_pt and int.from_bytes(rest[:4], "big") != len(rest) - 4):
            raise RemoteProtocolError(f"a list of {len(data)} bytes", clause="SPC-4 §6.16.3")
        ports = _transport_ids(rest[4:])
        return cls(key, action_key, spec_i_pt, bool(flags & _ALL_TG_PT), bool(flags & _APTPL), ports)


@dataclass(frozen=True, slots=True)
class MoveParameters:
    """A parameter list of REGISTER AND MOVE, as received; the destination is (name, ISID) at a relative port."""

    key: int
    service_action_key: int
    unregister: bool
    aptpl: bool
    relative_port: int
    initiator_port: tuple[str, bytes]

    @classmethod
    def parse(cls, data: Buffer) -> "MoveParameters":
        """Read a list. Raises RemoteProtocolError."""
        if len(data) < _MOVE.size:
            raise RemoteProtocolError(f"a list of {len(data)} bytes", clause="SPC-4 §6.16.4")
        key, action_key, flags, relative_port, length = _MOVE.unpack_from(data)
        if length != len(data) - _MOVE.size:
            raise RemoteProtocolError("a TransportID of another length than told", clause="SPC-4 §6.16.4")
        ports = _transport_ids(bytes(data[_MOVE.size :]))
        if len(ports) != 1:
            raise RemoteProtocolError(f"{len(ports)} destinations, not one", clause="SPC-4 §6.16.4")
        return cls(key, action_key, bool(flags & _UNREG), bool(flags & _APTPL), relative_port, ports[0])


class BadTransportIdError(RemoteProtocolError):
    """A TransportID that does not name an iSCSI initiator port: the list is well-formed, its content is not."""

    def __init__(self, message: str) -> None:
        super().__init__(message, clause="SPC-4 §7.6.4.6")


def _transport_ids(data: bytes) -> tuple[tuple[str, bytes], ...]:
    """The initiator ports in a row of TransportIDs. Raises RemoteProtocolError."""
    ports = []
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        if at + 4 > len(data) or end > len(data):
            raise RemoteProtocolError("a TransportID is cut off", clause="SPC-4 §7.6.4")
        if data[at] & 0x0F != _ISCSI or data[at] >> 6 != 1:
            raise BadTransportIdError("expected an iSCSI initiator port with its ISID")
        name, separator, isid = data[at + 4 : end].rstrip(b"\0").decode("utf-8", "replace").partition(",i,0x")
        try:
            ports.append((name, bytes.fromhex(isid)))
        except ValueError:
            raise BadTransportIdError(f"the ISID {isid[:20]!r} is not hexadecimal") from None
        if not separator or not name or len(ports[-1][1]) != _ISID_BYTES or len(ports) > _TRANSPORT_IDS_MAX:
            raise BadTransportIdError("expected a name and an ISID of 6 bytes, at most 64 times")
        at = end
    return tuple(ports)


_ISID_BYTES = 6


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


def build_capabilities(*, can_persist: bool, persists: bool) -> bytes:
    """REPORT CAPABILITIES: all six types, SPEC_I_PT, ALL_TG_PT; whether APTPL is offered, and is on."""
    types = 0x80 | 0x40 | 0x20 | 0x08 | 0x02
    capable = _SPEC_I_PT | _ALL_TG_PT | (_APTPL if can_persist else 0)
    return bytes((0, 8, capable, 0x80 | (_APTPL if persists else 0), types, 0x01, 0, 0))


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
