"""INQUIRY data and VPD pages: golden bytes, round trips, and arbitrary bytes from a peer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.errors import RemoteProtocolError
from mpio.proto.scsi import inquiry as inq
from mpio.proto.scsi import wwid
from mpio.proto.scsi.inquiry import Association, BlockLimits, Designator, DesignatorType, Provisioning, StandardInquiry

text = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=4)


def test_standard_data_on_the_wire() -> None:
    data = StandardInquiry(tpgs=1, vendor="MPIO", product="disk", revision="0001").build()
    assert data[:8].hex() == "000006125b101002"
    assert data[8:36] == b"MPIO    disk            0001"
    assert data[58:66].hex() == "00a00960046004c0"
    assert len(data) == 96 == data[4] + 5


@given(
    st.builds(StandardInquiry, st.sampled_from([0, 1, 3]), st.sampled_from([0, 5, 0x1F]), st.integers(0, 3), text, text,
              text, st.booleans())
)
def test_standard_data_round_trip(standard: StandardInquiry) -> None:
    assert StandardInquiry.parse(standard.build()) == standard


def test_an_absent_unit_is_7f() -> None:
    assert StandardInquiry(3, 0x1F).build()[0] == 0x7F


@given(st.binary(max_size=120))
def test_any_standard_data_is_read_or_refused(data: bytes) -> None:
    if len(data) < 5:
        with pytest.raises(RemoteProtocolError):
            StandardInquiry.parse(data)
    else:
        assert StandardInquiry.parse(data).vendor.isascii()


def test_block_limits_on_the_wire() -> None:
    page = BlockLimits(255, 8, 0x4000, 0, 0x100000, 256, 8, 0x10000).build()
    assert page.hex() == (
        "00b0003c" "01ff0008" "00004000" "00000000" "00000000" "00100000" "00000100" "00000008" "00000000"
        "0000000000010000" + "00" * 20
    )


limits = st.builds(
    BlockLimits, st.integers(0, 255), st.integers(0, 0xFFFF), *[st.integers(0, 2**32 - 1)] * 5,
    st.integers(0, 2**64 - 1),
)


@given(limits)
def test_block_limits_round_trip(page: BlockLimits) -> None:
    assert BlockLimits.parse(page.build()) == page


def test_short_block_limits_have_no_unmap() -> None:
    page = BlockLimits(transfer_max=100, unmap_max=7).build()
    short = page[:2] + (12).to_bytes(2, "big") + page[4:16]
    assert BlockLimits.parse(short) == BlockLimits(transfer_max=100)


@given(st.builds(Provisioning, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 2)))
def test_provisioning_round_trip(page: Provisioning) -> None:
    assert Provisioning.parse(page.build()) == page


def test_fixed_pages_on_the_wire() -> None:
    assert inq.build_supported_pages((0xB0, 0x83)).hex() == "000000030083b0"
    assert inq.build_serial("abc").hex() == "00800003616263"
    assert inq.build_extended_inquiry().hex() == "0086003c" + "0007" + "0001" + "00" * 56
    assert inq.build_characteristics().hex() == "00b1003c0001" + "00" * 58
    assert Provisioning(unmap=True, write_same=True, reads_zero=True, type_=2).build().hex() == "00b2000400e40200"


def test_serial_and_pages_read_back() -> None:
    assert inq.parse_serial(inq.build_serial("  x9 ")) == "x9"
    assert inq.parse_supported_pages(inq.build_supported_pages((0x80, 0x83))) == {0, 0x80, 0x83}
    with pytest.raises(RemoteProtocolError, match="asked for VPD page 80h, got 83h"):
        inq.parse_serial(inq.build_identification(()))


def test_identification_on_the_wire() -> None:
    page = inq.build_identification((
        inq.naa_designator(bytes.fromhex("6001405aaaaaaaaaaaaaaaaaaaaaaaaa")),
        inq.t10_designator("MPIO", "1"),
        inq.port_designator(DesignatorType.RELATIVE_PORT, 7),
        inq.port_designator(DesignatorType.PORT_GROUP, 0x102),
        inq.name_designator(Association.TARGET_PORT, "iqn.a:b,t,0x0001"),
        inq.name_designator(Association.TARGET_DEVICE, "iqn.a:b"),
    ))
    assert page.hex() == (
        "00830055"
        "01030010" "6001405aaaaaaaaaaaaaaaaaaaaaaaaa"
        "02010009" + b"MPIO    1".hex() +
        "51940004" "00000007"
        "51950004" "00000102"
        "53980014" + b"iqn.a:b,t,0x0001\0\0\0\0".hex() +
        "53a80008" + b"iqn.a:b\0".hex()
    )
    found = inq.parse_identification(page)
    assert inq.port_number(found, DesignatorType.RELATIVE_PORT) == 7
    assert inq.port_number(found, DesignatorType.PORT_GROUP) == 0x102
    assert wwid.from_designators(found) == "36001405aaaaaaaaaaaaaaaaaaaaaaaaa"


@given(st.binary(max_size=300))
def test_any_identification_page_is_read_or_refused(body: bytes) -> None:
    found = inq.parse_identification(inq.build_page(0x83, body))
    name = wwid.from_designators(found)
    assert name is None or 1 < len(name) <= wwid.WWID_CHARS_MAX
    inq.port_number(found, DesignatorType.PORT_GROUP)


def lu(type_: int, value: bytes, association: int = 0) -> Designator:
    return Designator(type_, association, 1, value)


NAA6 = lu(3, bytes.fromhex("6001405aaaaaaaaaaaaaaaaaaaaaaaaa"))
NAA5 = lu(3, bytes.fromhex("5000c500155c2db3"))
NAA2 = lu(3, bytes.fromhex("2001000000000001"))
NAA3 = lu(3, bytes.fromhex("3000000100000001"))
EUI = lu(2, bytes.fromhex("0025385b61500512"))
NAME = lu(8, b"iqn.2026-01.example:lu\0\0")
T10 = lu(1, b"ATA     Some  disk   serial\0")


@pytest.mark.parametrize(
    ("designators", "expected"),
    [
        ([NAA6], "36001405aaaaaaaaaaaaaaaaaaaaaaaaa"),
        ([NAA5], "35000c500155c2db3"),
        ([EUI], "20025385b61500512"),
        ([lu(2, bytes(range(12)))], "2000102030405060708090a0b"),
        ([NAME], "82026-01.example:lu"),
        ([lu(8, b"naa.6001405a")], "36001405a"),
        ([lu(8, b"eui.0025385b")], "20025385b"),
        ([T10], "1ATA_Some_disk_serial"),
        ([NAA3, T10, NAME, EUI, NAA2, NAA5, NAA6], "36001405aaaaaaaaaaaaaaaaaaaaaaaaa"),
        ([NAA3, T10, NAME, EUI, NAA2, NAA5], "35000c500155c2db3"),
        ([NAA3, T10, NAME, EUI, NAA2], "32001000000000001"),
        ([NAA3, T10, NAME, EUI], "20025385b61500512"),
        ([NAA3, T10, NAME], "82026-01.example:lu"),
        ([NAA3, T10], "1ATA_Some_disk_serial"),
        ([NAA3], "33000000100000001"),
        ([NAA5, lu(3, bytes.fromhex("5000c500155c2db4"))], "35000c500155c2db3"),
        ([lu(3, NAA6.value, association=1), NAA5], "35000c500155c2db3"),
        ([lu(3, NAA6.value, association=3)], None),
        ([lu(3, NAA6.value[:8])], None),
        ([lu(3, NAA5.value * 2)], None),
        ([lu(3, bytes(8))], None),
        ([lu(2, bytes(7))], None),
        ([lu(8, b"foo.bar")], None),
        ([lu(1, b"SHORT")], None),
        ([lu(0, b"vendor specific")], None),
        ([], None),
    ],
)
def test_wwid_as_multipath_tools_derives_it(designators: list[Designator], expected: str | None) -> None:
    assert wwid.from_designators(designators) == expected


def test_wwid_of_tgt() -> None:
    """tgt 1.0.85 sends a T10, a NAA-3 and a NAA-6 designator; the NAA-6 is the name."""
    found = [lu(1, b"IET     00010001" + bytes(24)), lu(3, bytes.fromhex("3000000100000001")),
             lu(3, bytes.fromhex("60000000000000000e00000000010001"))]
    assert wwid.from_designators(found) == "360000000000000000e00000000010001"


def test_wwid_of_the_serial_number() -> None:
    assert wwid.from_serial("QEMU", "QEMU HARDDISK", "drive-1") == "SQEMU_QEMU_HARDDISK_drive-1"
    assert wwid.from_serial("QEMU", "QEMU HARDDISK", "") is None


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (DesignatorType.T10, bytes(16)),
        (DesignatorType.T10, b" " * 16),
        (DesignatorType.NAME, b"iqn."),
        (DesignatorType.NAME, b"naa.\0\0\0\0"),
    ],
)
def test_a_designator_that_says_nothing_names_no_lu(type_: DesignatorType, value: bytes) -> None:
    """Else every LU with such a one would have the same name, and two could be joined under one map."""
    empty = Designator(type_=type_, association=Association.LOGICAL_UNIT, code_set=1, value=value)
    assert wwid.from_designators([empty]) is None
