"""Sense data: fixed and descriptor format (SPC-4 §4.5), and the conditions this project meets, by name.

A condition is written `key/asc/ascq` in hex, as in `06/29/00`.
"""

import struct
from dataclasses import dataclass, field, replace
from enum import IntEnum
from types import MappingProxyType

from mpio.model.task import Buffer


class SenseKey(IntEnum):
    """Sense keys (SPC-4 table 48)."""

    NO_SENSE = 0x0
    RECOVERED_ERROR = 0x1
    NOT_READY = 0x2
    MEDIUM_ERROR = 0x3
    HARDWARE_ERROR = 0x4
    ILLEGAL_REQUEST = 0x5
    UNIT_ATTENTION = 0x6
    DATA_PROTECT = 0x7
    BLANK_CHECK = 0x8
    VENDOR_SPECIFIC = 0x9
    COPY_ABORTED = 0xA
    ABORTED_COMMAND = 0xB
    RESERVED = 0xC
    VOLUME_OVERFLOW = 0xD
    MISCOMPARE = 0xE
    COMPLETED = 0xF


_FIXED_BYTES = 18
_SPECIFIC_DESCRIPTOR = 0x02
_SPECIFIC_VALID = 0x80
_COMMAND = 0x40  # the pointer is into the CDB, not into the parameter list
_INVALID_IN_CDB = 0x24
_INFORMATION_32_MAX = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Sense:
    """One sense condition.

    Attributes:
        key, asc, ascq: the condition.
        information: the INFORMATION field if it is valid: an LBA or an offset, as the command says.
        deferred: it belongs to an earlier command, not to the one it came with.
        field_pointer: with ILLEGAL REQUEST, the byte of the CDB or parameter list that is wrong, if that is told. Two
            conditions that differ only in this are equal.
    """

    key: int
    asc: int
    ascq: int
    information: int | None = None
    deferred: bool = False
    field_pointer: int | None = field(default=None, compare=False)

    def at(self, byte: int) -> "Sense":
        """The same condition, pointing at the byte that is wrong."""
        return replace(self, field_pointer=byte)

    def build(self, *, descriptor: bool = False) -> bytes:
        """The bytes on the wire; descriptor format also where INFORMATION needs more than 32 bits."""
        wide = self.information is not None and self.information > _INFORMATION_32_MAX
        if descriptor or wide:
            body = b"" if self.information is None else struct.pack(">BBBxQ", 0, 0x0A, 0x80, self.information)
            if self.field_pointer is not None:
                body += struct.pack(">BB2x3sx", _SPECIFIC_DESCRIPTOR, 6, self._specific())
            head = bytes((0x72 + self.deferred, self.key, self.asc, self.ascq, 0, 0, 0, len(body)))
            return head + body
        valid = 0 if self.information is None else 0x80
        return struct.pack(
            ">BxBIB4xBBB3s", valid | 0x70 + self.deferred, self.key, self.information or 0, _FIXED_BYTES - 8,
            self.asc, self.ascq, 0, self._specific(),
        )

    def _specific(self) -> bytes:
        """The three sense key specific bytes: a field pointer, or nothing (SPC-4 §4.5.2.4.2)."""
        if self.field_pointer is None:
            return bytes(3)
        in_cdb = _COMMAND if self.asc == _INVALID_IN_CDB else 0
        return struct.pack(">BH", _SPECIFIC_VALID | in_cdb, self.field_pointer)

    @classmethod
    def parse(cls, data: Buffer) -> "Sense | None":
        """Read either format; None if the bytes are not sense data. Fields that were cut off count as zero."""
        if not data:
            return None
        response_code = data[0] & 0x7F
        deferred = bool(response_code & 1)
        if response_code in (0x70, 0x71):
            if len(data) < 3:
                return None
            padded = bytes(data[:_FIXED_BYTES]).ljust(_FIXED_BYTES, b"\0")
            information = int.from_bytes(padded[3:7], "big") if data[0] & 0x80 else None
            return cls(padded[2] & 0xF, padded[12], padded[13], information, deferred, _pointer(padded[2], padded[15:]))
        if response_code in (0x72, 0x73):
            if len(data) < 4:
                return None
            information = _information(_descriptor(data, 0, 12))
            pointer = _pointer(data[1], _descriptor(data, _SPECIFIC_DESCRIPTOR, 8)[4:7])
            return cls(data[1] & 0xF, data[2], data[3], information, deferred, pointer)
        return None

    @property
    def code(self) -> tuple[int, int, int]:
        """(key, asc, ascq), as tables use it."""
        return self.key, self.asc, self.ascq

    def __str__(self) -> str:
        """In words, with the code: 'illegal request: logical unit not supported (05/25/00)'."""
        key = SenseKey(self.key).name.replace("_", " ").lower()
        text = TEXTS.get(self.code)
        code = f"{self.key:02X}/{self.asc:02X}/{self.ascq:02X}"
        return f"{key}: {text} ({code})" if text else f"{key} ({code})"


def _pointer(key: int, specific: bytes) -> int | None:
    """The field pointer in sense key specific bytes, if there is one; with other sense keys they mean other things."""
    valid = key & 0xF == SenseKey.ILLEGAL_REQUEST and len(specific) >= 3 and specific[0] & _SPECIFIC_VALID
    return int.from_bytes(specific[1:3], "big") if valid else None


def _information(descriptor: bytes) -> int | None:
    return int.from_bytes(descriptor[4:12], "big") if descriptor and descriptor[2] & 0x80 else None


def _descriptor(data: Buffer, type_: int, length: int) -> bytes:
    """The first descriptor of a type in descriptor-format sense, `length` bytes; nothing if it is not there whole."""
    if len(data) < 8:
        return b""
    at, end = 8, min(len(data), 8 + data[7])
    while at + 2 <= end:
        if data[at] == type_ and at + length <= end:
            return bytes(data[at : at + length])
        at += 2 + data[at + 1]
    return b""


NO_SENSE = Sense(0x0, 0x00, 0x00)
BECOMING_READY = Sense(0x2, 0x04, 0x01)
NEEDS_START = Sense(0x2, 0x04, 0x02)
TRANSITIONING = Sense(0x2, 0x04, 0x0A)
PORT_STANDBY = Sense(0x2, 0x04, 0x0B)
PORT_UNAVAILABLE = Sense(0x2, 0x04, 0x0C)
LU_OFFLINE = Sense(0x2, 0x04, 0x12)
MEDIUM_NOT_PRESENT = Sense(0x2, 0x3A, 0x00)
WRITE_ERROR = Sense(0x3, 0x0C, 0x00)
READ_ERROR = Sense(0x3, 0x11, 0x00)
PARAMETER_LIST_LENGTH = Sense(0x5, 0x1A, 0x00)
INVALID_OPCODE = Sense(0x5, 0x20, 0x00)
LBA_OUT_OF_RANGE = Sense(0x5, 0x21, 0x00)
INVALID_FIELD_IN_CDB = Sense(0x5, 0x24, 0x00)
LUN_NOT_SUPPORTED = Sense(0x5, 0x25, 0x00)
INVALID_FIELD_IN_LIST = Sense(0x5, 0x26, 0x00)
INVALID_RELEASE = Sense(0x5, 0x26, 0x04)
TOO_MANY_COPY_TARGETS = Sense(0x5, 0x26, 0x06)
UNSUPPORTED_COPY_TARGET = Sense(0x5, 0x26, 0x07)
TOO_MANY_COPY_SEGMENTS = Sense(0x5, 0x26, 0x08)
UNSUPPORTED_COPY_SEGMENT = Sense(0x5, 0x26, 0x09)
SAVING_NOT_SUPPORTED = Sense(0x5, 0x39, 0x00)
REMOVAL_PREVENTED = Sense(0x5, 0x53, 0x02)
INVALID_COMMAND_INFORMATION = Sense(0x5, 0x0E, 0x03)
INSUFFICIENT_REGISTRATION_RESOURCES = Sense(0x5, 0x55, 0x04)
MEDIUM_MAY_HAVE_CHANGED = Sense(0x6, 0x28, 0x00)
POWER_ON_OR_RESET = Sense(0x6, 0x29, 0x00)
LU_RESET = Sense(0x6, 0x29, 0x03)
NEXUS_LOSS = Sense(0x6, 0x29, 0x07)
MODE_PARAMETERS_CHANGED = Sense(0x6, 0x2A, 0x01)
RESERVATIONS_PREEMPTED = Sense(0x6, 0x2A, 0x03)
RESERVATIONS_RELEASED = Sense(0x6, 0x2A, 0x04)
REGISTRATIONS_PREEMPTED = Sense(0x6, 0x2A, 0x05)
ALUA_STATE_CHANGED = Sense(0x6, 0x2A, 0x06)
IMPLICIT_TRANSITION_FAILED = Sense(0x6, 0x2A, 0x07)
CAPACITY_CHANGED = Sense(0x6, 0x2A, 0x09)
CLEARED_BY_OTHER_INITIATOR = Sense(0x6, 0x2F, 0x00)
INQUIRY_CHANGED = Sense(0x6, 0x3F, 0x03)
LUNS_CHANGED = Sense(0x6, 0x3F, 0x0E)
WRITE_PROTECTED = Sense(0x7, 0x27, 0x00)
SPACE_ALLOCATION_FAILED = Sense(0x7, 0x27, 0x07)
COPY_ABORTED = Sense(0xA, 0x00, 0x00)
COPY_DEVICE_FAILED = Sense(0xA, 0x0D, 0x01)
COPY_DEVICE_UNREACHABLE = Sense(0xA, 0x0D, 0x02)
MISCOMPARE = Sense(0xE, 0x1D, 0x00)

TEXTS = MappingProxyType({
    (0x2, 0x04, 0x00): "logical unit not ready, cause not reportable",
    (0x2, 0x04, 0x01): "logical unit is in process of becoming ready",
    (0x2, 0x04, 0x02): "logical unit not ready, initializing command required",
    (0x2, 0x04, 0x03): "logical unit not ready, manual intervention required",
    (0x2, 0x04, 0x0A): "logical unit not accessible, asymmetric access state transition",
    (0x2, 0x04, 0x0B): "logical unit not accessible, target port in standby state",
    (0x2, 0x04, 0x0C): "logical unit not accessible, target port in unavailable state",
    (0x2, 0x04, 0x12): "logical unit not ready, offline",
    (0x2, 0x04, 0x1B): "logical unit not ready, sanitize in progress",
    (0x2, 0x3A, 0x00): "medium not present",
    (0x3, 0x0C, 0x00): "write error",
    (0x3, 0x11, 0x00): "unrecovered read error",
    (0x4, 0x44, 0x00): "internal target failure",
    (0x5, 0x0E, 0x03): "invalid field in command information unit",
    (0x5, 0x1A, 0x00): "parameter list length error",
    (0x5, 0x20, 0x00): "invalid command operation code",
    (0x5, 0x21, 0x00): "logical block address out of range",
    (0x5, 0x24, 0x00): "invalid field in CDB",
    (0x5, 0x25, 0x00): "logical unit not supported",
    (0x5, 0x26, 0x00): "invalid field in parameter list",
    (0x5, 0x26, 0x04): "invalid release of persistent reservation",
    (0x5, 0x26, 0x06): "too many target descriptors",
    (0x5, 0x26, 0x07): "unsupported target descriptor type code",
    (0x5, 0x26, 0x08): "too many segment descriptors",
    (0x5, 0x26, 0x09): "unsupported segment descriptor type code",
    (0x5, 0x39, 0x00): "saving parameters not supported",
    (0x5, 0x53, 0x02): "medium removal prevented",
    (0x5, 0x55, 0x04): "insufficient registration resources",
    (0x5, 0x67, 0x0A): "set target port groups command failed",
    (0x6, 0x28, 0x00): "not ready to ready change, medium may have changed",
    (0x6, 0x29, 0x00): "power on, reset, or bus device reset occurred",
    (0x6, 0x29, 0x01): "power on occurred",
    (0x6, 0x29, 0x02): "SCSI bus reset occurred",
    (0x6, 0x29, 0x03): "bus device reset function occurred",
    (0x6, 0x29, 0x04): "device internal reset",
    (0x6, 0x29, 0x07): "I_T nexus loss occurred",
    (0x6, 0x2A, 0x01): "mode parameters changed",
    (0x6, 0x2A, 0x03): "reservations preempted",
    (0x6, 0x2A, 0x04): "reservations released",
    (0x6, 0x2A, 0x05): "registrations preempted",
    (0x6, 0x2A, 0x06): "asymmetric access state changed",
    (0x6, 0x2A, 0x07): "implicit asymmetric access state transition failed",
    (0x6, 0x2A, 0x09): "capacity data has changed",
    (0x6, 0x2F, 0x00): "commands cleared by another initiator",
    (0x6, 0x38, 0x07): "thin provisioning soft threshold reached",
    (0x6, 0x3F, 0x03): "INQUIRY data has changed",
    (0x6, 0x3F, 0x0E): "reported LUNs data has changed",
    (0x7, 0x27, 0x00): "write protected",
    (0x7, 0x27, 0x07): "space allocation failed write protect",
    (0xA, 0x00, 0x00): "no additional sense information",
    (0xA, 0x0D, 0x01): "third party device failure",
    (0xA, 0x0D, 0x02): "copy target device not reachable",
    (0xB, 0x00, 0x00): "no additional sense information",
    (0xB, 0x0C, 0x0C): "write error, unexpected unsolicited data",
    (0xB, 0x0C, 0x0D): "write error, not enough unsolicited data",
    (0xB, 0x47, 0x05): "protocol service CRC error",
    (0xB, 0x4B, 0x00): "data phase error",
    (0xE, 0x1D, 0x00): "miscompare during verify operation",
})
"""Texts of SPC-4 annex F by (key, asc, ascq), for messages."""
