"""INQUIRY: standard data and the VPD pages 00, 80, 83, 86, 88, B0, B1 and B2 (SPC-4 §6.6, §7.8; SBC-3 §6.6).

Every page has `parse` for the initiator and `build` for the target. Parsers take what a target sent, cut off where the
allocation length cut it, and raise RemoteProtocolError only if what is there can't be read.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from mpio.errors import RemoteProtocolError
from mpio.model.task import Buffer

PAGE_SUPPORTED = 0x00
PAGE_SERIAL = 0x80
PAGE_IDENTIFICATION = 0x83
PAGE_EXTENDED_INQUIRY = 0x86
PAGE_SCSI_PORTS = 0x88
PAGE_THIRD_PARTY_COPY = 0x8F
PAGE_BLOCK_LIMITS = 0xB0
PAGE_CHARACTERISTICS = 0xB1
PAGE_PROVISIONING = 0xB2

STANDARD_BYTES = 96
VPD_HEADER_BYTES = 4
_VERSION_DESCRIPTORS = (0x00A0, 0x0960, 0x0460, 0x04C0)  # SAM-5, iSCSI, SPC-4, SBC-3
_VERSION_SPC4 = 0x06
_SBC_PAGE_BYTES = 0x3C


@dataclass(frozen=True, slots=True)
class StandardInquiry:
    """Standard INQUIRY data.

    Attributes:
        qualifier: 0 a device is here, 1 none is now but could be, 3 none can be.
        device_type: 0 disk, 1Fh unknown. tpgs: 0 no ALUA, 1 implicit, 2 explicit, 3 both.
        vendor, product, revision: text without the padding.
        removable: RMB. third_party_copy: 3PC, it knows EXTENDED COPY.
    """

    qualifier: int = 0
    device_type: int = 0
    tpgs: int = 0
    vendor: str = ""
    product: str = ""
    revision: str = ""
    removable: bool = False
    third_party_copy: bool = False

    def build(self) -> bytes:
        """96 bytes; multi-port, with command queueing, SPC-4."""
        access = self.tpgs << 4 | (0x08 if self.third_party_copy else 0)
        return struct.pack(
            ">BBBBBBBB8s16s4s22x4H30x", self.qualifier << 5 | self.device_type, 0x80 if self.removable else 0,
            _VERSION_SPC4, 0x02 | 0x10, STANDARD_BYTES - 5, access, 0x10, 0x02, _padded(self.vendor, 8),
            _padded(self.product, 16), _padded(self.revision, 4), *_VERSION_DESCRIPTORS,
        )

    @classmethod
    def parse(cls, data: Buffer) -> "StandardInquiry":
        """Read at least 5 bytes; texts that were cut off are empty. Raises RemoteProtocolError."""
        if len(data) < 5:
            raise RemoteProtocolError(f"INQUIRY data of {len(data)} bytes", clause="SPC-4 §6.6.2")
        head = bytes(data[:36]).ljust(36, b"\0")
        return cls(
            qualifier=head[0] >> 5, device_type=head[0] & 0x1F, tpgs=head[5] >> 4 & 3, vendor=_text(head[8:16]),
            product=_text(head[16:32]), revision=_text(head[32:36]), removable=bool(head[1] & 0x80),
            third_party_copy=bool(head[5] & 0x08),
        )


def _padded(text: str, width: int) -> bytes:
    return text.encode("ascii", "replace")[:width].ljust(width)


def _text(field: bytes) -> str:
    """An ASCII field without its padding; anything not printable shows as `?`."""
    return "".join(chr(b) if 0x20 <= b < 0x7F else "?" for b in field.rstrip(b"\0 ")).strip()


def build_page(page: int, body: bytes, device_type: int = 0) -> bytes:
    """A VPD page with its header."""
    return struct.pack(">BBH", device_type, page, len(body)) + body


def page_body(data: Buffer, page: int) -> bytes:
    """What follows the header of a VPD page, as far as it was sent. Raises RemoteProtocolError for another page."""
    if len(data) < VPD_HEADER_BYTES or data[1] != page:
        found = f"{data[1]:02X}h" if len(data) > 1 else "nothing"
        raise RemoteProtocolError(f"asked for VPD page {page:02X}h, got {found}", clause="SPC-4 §7.8.1")
    length = int.from_bytes(data[2:4], "big")
    return bytes(data[VPD_HEADER_BYTES : VPD_HEADER_BYTES + length])


def page_length(data: Buffer) -> int:
    """Length of the whole page with its header, whatever the allocation length cut off; 0 if even that is missing."""
    return VPD_HEADER_BYTES + int.from_bytes(data[2:4], "big") if len(data) >= VPD_HEADER_BYTES else 0


def build_supported_pages(pages: tuple[int, ...]) -> bytes:
    """Page 00: the pages there are, in ascending order, 00 among them."""
    return build_page(PAGE_SUPPORTED, bytes(sorted({PAGE_SUPPORTED, *pages})))


def parse_supported_pages(data: Buffer) -> frozenset[int]:
    """The pages that page 00 lists."""
    return frozenset(page_body(data, PAGE_SUPPORTED))


def build_serial(serial: str) -> bytes:
    """Page 80: unit serial number."""
    return build_page(PAGE_SERIAL, serial.encode("ascii", "replace"))


def parse_serial(data: Buffer) -> str:
    """The serial number without padding."""
    return _text(page_body(data, PAGE_SERIAL))


class Association(IntEnum):
    """What a designator names."""

    LOGICAL_UNIT = 0
    TARGET_PORT = 1
    TARGET_DEVICE = 2
    RESERVED = 3


class DesignatorType(IntEnum):
    """Designator types (SPC-4 §7.8.6.1)."""

    VENDOR = 0x0
    T10 = 0x1
    EUI64 = 0x2
    NAA = 0x3
    RELATIVE_PORT = 0x4
    PORT_GROUP = 0x5
    LU_GROUP = 0x6
    MD5 = 0x7
    NAME = 0x8


class CodeSet(IntEnum):
    """How a designator's bytes are meant."""

    BINARY = 1
    ASCII = 2
    UTF8 = 3


_PROTOCOL_ISCSI = 0x5


@dataclass(frozen=True, slots=True)
class Designator:
    """One entry of page 83. `type_` and `code_set` are plain integers, since a peer may send any value."""

    type_: int
    association: int
    code_set: int
    value: bytes

    def build(self) -> bytes:
        """Header and value; port and device designators say that the protocol is iSCSI."""
        piv = self.association in (Association.TARGET_PORT, Association.TARGET_DEVICE)
        protocol = _PROTOCOL_ISCSI << 4 if piv else 0
        head = bytes((protocol | self.code_set, (0x80 if piv else 0) | self.association << 4 | self.type_, 0))
        return head + bytes((len(self.value),)) + self.value


def naa_designator(value: bytes) -> Designator:
    """The name of an LU in NAA format (8 or 16 bytes)."""
    return Designator(DesignatorType.NAA, Association.LOGICAL_UNIT, CodeSet.BINARY, value)


def t10_designator(vendor: str, rest: str) -> Designator:
    """T10 vendor identification of an LU: 8 bytes of vendor, then anything."""
    value = _padded(vendor, 8) + rest.encode("ascii", "replace")
    return Designator(DesignatorType.T10, Association.LOGICAL_UNIT, CodeSet.ASCII, value[:255])


def port_designator(type_: DesignatorType, number: int) -> Designator:
    """Relative target port (type 4) or target port group (type 5) of the port that the command came in on."""
    return Designator(type_, Association.TARGET_PORT, CodeSet.BINARY, struct.pack(">2xH", number))


def name_designator(association: Association, name: str) -> Designator:
    """SCSI name string, NUL-terminated and padded to a multiple of 4 (SPC-4 §7.8.6.11)."""
    text = name.encode()
    value = text.ljust(len(text) // 4 * 4 + 4, b"\0")
    return Designator(DesignatorType.NAME, association, CodeSet.UTF8, value)


def build_identification(designators: tuple[Designator, ...]) -> bytes:
    """Page 83."""
    return build_page(PAGE_IDENTIFICATION, b"".join(d.build() for d in designators))


def parse_identification(data: Buffer) -> list[Designator]:
    """The designators of page 83 in order; one that runs over the end of the page ends the list."""
    body = page_body(data, PAGE_IDENTIFICATION)
    found = []
    at = 0
    while at + 4 <= len(body):
        end = at + 4 + body[at + 3]
        if end > len(body):
            break
        found.append(Designator(body[at + 1] & 0xF, body[at + 1] >> 4 & 3, body[at] & 0xF, body[at + 4 : end]))
        at = end
    return found


def port_number(designators: list[Designator], type_: DesignatorType) -> int | None:
    """The number in the first designator of type 4 or 5 of the port in use."""
    for d in designators:
        if d.type_ == type_ and d.association == Association.TARGET_PORT and len(d.value) >= 4:
            return int.from_bytes(d.value[2:4], "big")
    return None


def build_ports(ports: Sequence[tuple[int, str]]) -> bytes:
    """Page 88: every target port, as (relative port, SCSI name) (SPC-4 §7.8.15)."""
    body = b""
    for relative_port, name in ports:
        designator = name_designator(Association.TARGET_PORT, name).build()
        body += struct.pack(">2xH4x2xH", relative_port, len(designator)) + designator
    return build_page(PAGE_SCSI_PORTS, body)


def build_extended_inquiry() -> bytes:
    """Page 86: simple, ordered and head-of-queue task attributes; unit attentions are kept per I_T nexus."""
    return build_page(PAGE_EXTENDED_INQUIRY, struct.pack(">xBxB56x", 0x07, 0x01))


@dataclass(frozen=True, slots=True)
class BlockLimits:
    """Page B0. Counts are logical blocks; 0 means not limited, or for UNMAP and COMPARE AND WRITE not supported."""

    compare_and_write_max: int = 0
    optimal_granularity: int = 0
    transfer_max: int = 0
    transfer_optimal: int = 0
    unmap_max: int = 0
    unmap_descriptors_max: int = 0
    unmap_granularity: int = 0
    write_same_max: int = 0
    atomic_max: int = 0

    def build(self) -> bytes:
        """The page, 64 bytes; WRITE SAME of zero blocks is refused (WSNZ 1)."""
        body = struct.pack(
            ">BBHIIIIIIIQI16x", 0x01, self.compare_and_write_max, self.optimal_granularity, self.transfer_max,
            self.transfer_optimal, 0, self.unmap_max, self.unmap_descriptors_max, self.unmap_granularity, 0,
            self.write_same_max, self.atomic_max,
        )
        return build_page(PAGE_BLOCK_LIMITS, body)

    @classmethod
    def parse(cls, data: Buffer) -> "BlockLimits":
        """Read the page; fields beyond its end (SBC-2 had 12 bytes) are 0."""
        body = page_body(data, PAGE_BLOCK_LIMITS).ljust(_SBC_PAGE_BYTES, b"\0")
        return cls(*struct.unpack_from(">xBHII4xIII4xQI", body))


def build_characteristics() -> bytes:
    """Page B1: not rotating."""
    return build_page(PAGE_CHARACTERISTICS, struct.pack(">H58x", 1))


@dataclass(frozen=True, slots=True)
class Provisioning:
    """Page B2: which commands unmap, whether unmapped blocks read as zeroes, and whether room can be kept for them."""

    unmap: bool = False
    write_same: bool = False
    reads_zero: bool = False
    type_: int = 0
    """0 not reported or full, 1 resource, 2 thin."""
    anchors: bool = False

    def build(self) -> bytes:
        """The page, 8 bytes."""
        flags = 0x80 * self.unmap | 0x60 * self.write_same | 0x04 * self.reads_zero | 0x02 * self.anchors
        return build_page(PAGE_PROVISIONING, bytes((0, flags, self.type_, 0)))

    @classmethod
    def parse(cls, data: Buffer) -> "Provisioning":
        """Read the page; missing bytes are 0."""
        body = page_body(data, PAGE_PROVISIONING).ljust(4, b"\0")
        return cls(bool(body[1] & 0x80), bool(body[1] & 0x60), bool(body[1] & 0x1C), body[2] & 7,
                   bool(body[1] & 0x02))
