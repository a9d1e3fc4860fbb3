"""EXTENDED COPY(LID1) parameter lists, RECEIVE COPY RESULTS, VPD page 8F (SPC-4 §6.4, §6.18, §7.8.17).

Of the descriptors only those that copy blocks from disk to disk: identification CSCD descriptors (E4h) and
block-to-block segments (02h).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from mpio.model.task import Buffer
from mpio.proto.scsi.inquiry import PAGE_THIRD_PARTY_COPY, Designator, build_page
from mpio.proto.scsi.sense import (
    PARAMETER_LIST_LENGTH,
    TOO_MANY_COPY_SEGMENTS,
    TOO_MANY_COPY_TARGETS,
    UNSUPPORTED_COPY_SEGMENT,
    UNSUPPORTED_COPY_TARGET,
    Sense,
)

HEADER_BYTES = 16
DEVICE_DESCRIPTOR = 0xE4
DEVICE_BYTES = 32
SEGMENT_DESCRIPTOR = 0x02
SEGMENT_BYTES = 28
DEVICES_MAX = 8
SEGMENTS_MAX = 64
LIST_BYTES_MAX = (DEVICES_MAX + 1) * DEVICE_BYTES + (SEGMENTS_MAX + 1) * SEGMENT_BYTES
SEGMENT_DATA_MAX = 16 << 20  # bytes of one segment: everybody else waits meanwhile
CONCURRENT_MAX = 1

_KEEP_NO_RESULT = 0x18  # LIST ID USAGE 11b
_HEADER = struct.Struct(">BBH4xII")
_SEGMENT = struct.Struct(">BBHHH2xHQQ")


class CopyAction(IntEnum):
    """Service actions of RECEIVE COPY RESULTS."""

    STATUS = 0
    OPERATING_PARAMETERS = 3


class CopyListError(Exception):
    """A parameter list that can't be taken. `sense` says why."""

    def __init__(self, sense: Sense) -> None:
        super().__init__(str(sense))
        self.sense = sense


@dataclass(frozen=True, slots=True)
class CopyDevice:
    """A copy source or destination: its designator, and the block size that the initiator takes it to have."""

    designator: Designator
    block_size: int


@dataclass(frozen=True, slots=True)
class CopySegment:
    """So many blocks from an LBA of one device of the list to one of another; `by_destination`: blocks are of that."""

    source: int
    destination: int
    blocks: int
    source_lba: int
    destination_lba: int
    by_destination: bool = False


@dataclass(frozen=True, slots=True)
class CopyList:
    """A parameter list of EXTENDED COPY."""

    list_id: int
    keeps_result: bool
    devices: tuple[CopyDevice, ...]
    segments: tuple[CopySegment, ...]

    def build(self) -> bytes:
        """The bytes on the wire."""
        devices = b"".join(_build_device(device) for device in self.devices)
        segments = b"".join(
            _SEGMENT.pack(SEGMENT_DESCRIPTOR, 2 * segment.by_destination, SEGMENT_BYTES - 4, segment.source,
                          segment.destination, segment.blocks, segment.source_lba, segment.destination_lba)
            for segment in self.segments
        )
        usage = 0 if self.keeps_result else _KEEP_NO_RESULT
        return _HEADER.pack(self.list_id, usage, len(devices), len(segments), 0) + devices + segments

    @classmethod
    def parse(cls, data: Buffer) -> "CopyList":
        """Read a list. Raises CopyListError."""
        if len(data) < HEADER_BYTES:
            raise CopyListError(PARAMETER_LIST_LENGTH)
        list_id, usage, device_bytes, segment_bytes, _ = _HEADER.unpack_from(data)
        end = HEADER_BYTES + device_bytes + segment_bytes
        if device_bytes + segment_bytes > LIST_BYTES_MAX or end > len(data):
            raise CopyListError(PARAMETER_LIST_LENGTH)
        body = bytes(data[HEADER_BYTES:end])
        devices = _split(body[:device_bytes], DEVICE_DESCRIPTOR, DEVICE_BYTES, UNSUPPORTED_COPY_TARGET)
        segments = _split(body[device_bytes:], SEGMENT_DESCRIPTOR, SEGMENT_BYTES, UNSUPPORTED_COPY_SEGMENT)
        if len(devices) > DEVICES_MAX:
            raise CopyListError(TOO_MANY_COPY_TARGETS)
        if len(segments) > SEGMENTS_MAX:
            raise CopyListError(TOO_MANY_COPY_SEGMENTS)
        return cls(
            list_id, usage & _KEEP_NO_RESULT != _KEEP_NO_RESULT, tuple(_parse_device(one) for one in devices),
            tuple(_parse_segment(one) for one in segments),
        )


def _split(data: bytes, type_: int, size: int, unsupported: Sense) -> list[bytes]:
    """Cut a list into its descriptors, which are all of the one type there is here."""
    found = []
    for at in range(0, len(data), size):
        if data[at] != type_:
            raise CopyListError(unsupported)
        if at + size > len(data):
            raise CopyListError(PARAMETER_LIST_LENGTH)
        found.append(data[at : at + size])
    return found


def _build_device(device: CopyDevice) -> bytes:
    value = device.designator.build()[:24].ljust(24, b"\0")
    return struct.pack(">BBH24sI", DEVICE_DESCRIPTOR, 0, 0, value, device.block_size)


def _parse_device(data: bytes) -> CopyDevice:
    designator = Designator(data[5] & 0xF, data[5] >> 4 & 3, data[4] & 0xF, data[8 : 8 + min(data[7], 20)])
    return CopyDevice(designator, int.from_bytes(data[29:32], "big"))


def _parse_segment(data: bytes) -> CopySegment:
    _, flags, _, source, destination, blocks, source_lba, destination_lba = _SEGMENT.unpack(data)
    return CopySegment(source, destination, blocks, source_lba, destination_lba, bool(flags & 0x02))


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What became of a copy: all of it done or not, segments that were gone through, bytes that were written."""

    done: bool
    segments: int
    copied_bytes: int

    def build(self) -> bytes:
        """RECEIVE COPY RESULTS, copy status."""
        return struct.pack(">IBHBI", 8, 1 if self.done else 2, self.segments, 1, self.copied_bytes >> 10)  # in KiB


def build_operating_parameters(held: int) -> bytes:
    """RECEIVE COPY RESULTS, operating parameters; results of so many copies are kept for each nexus."""
    types = bytes((SEGMENT_DESCRIPTOR, DEVICE_DESCRIPTOR))
    body = struct.pack(
        ">B3xHHIIIII2xHBBBB3xB", 1, DEVICES_MAX, SEGMENTS_MAX, LIST_BYTES_MAX, SEGMENT_DATA_MAX, 0, 12 * held, 0,
        CONCURRENT_MAX, CONCURRENT_MAX, 9, 0, 0, len(types),
    ) + types
    return struct.pack(">I", len(body)) + body


def build_page_8f(commands: Sequence[tuple[int, Sequence[int]]]) -> bytes:
    """VPD page 8F with the copy commands there are, each with its service actions."""
    listed = b"".join(bytes((opcode, len(actions), *actions)) for opcode, actions in commands)
    body = _third_party(0x0001, bytes((len(listed),)) + listed)
    body += _third_party(0x0004, struct.pack(">4xHHII12x", DEVICES_MAX, SEGMENTS_MAX, LIST_BYTES_MAX, 0))
    body += _third_party(0x0008, bytes((2, SEGMENT_DESCRIPTOR, DEVICE_DESCRIPTOR)))
    body += _third_party(0x000C, struct.pack(">H", 0))
    body += _third_party(
        0x8001, struct.pack(">IIIBB18x", CONCURRENT_MAX, CONCURRENT_MAX, SEGMENT_DATA_MAX, 9, 0)
    )
    return build_page(PAGE_THIRD_PARTY_COPY, body)


def _third_party(type_: int, value: bytes) -> bytes:
    padded = value.ljust(-(-len(value) // 4) * 4, b"\0")
    return struct.pack(">HH", type_, len(padded)) + padded
