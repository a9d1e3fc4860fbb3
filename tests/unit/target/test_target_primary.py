"""What a unit says of itself: golden bytes, the initiator's probe, absent LUNs, mode pages."""

import random

import pytest
from tests.unit.target.target_kit import BLOCKS, NAME, Kit

from mpio.model.address import Portal
from mpio.model.identity import AluaState, PathIdentity
from mpio.model.task import Status, lun_bytes
from mpio.proto.scsi import cdb, sense
from mpio.proto.scsi.alua import build_set_list, parse_report
from mpio.proto.scsi.inquiry import StandardInquiry
from mpio.proto.scsi.luns import parse_luns
from mpio.proto.scsi.probe import probe
from mpio.proto.scsi.sense import Sense
from mpio.target.commands import COMMANDS, Command
from mpio.target.nexus import Nexus, PortGroup
from mpio.target.state import UnitOptions, derive_naa
from mpio.target.store import RamStore

NAA = derive_naa(NAME, 1)
SERIAL = NAA.hex()[8:]


def identity(kit: Kit, nexus: Nexus, lun: int = 1) -> PathIdentity:
    script = probe(lun, NAME, nexus.key.tpgt)
    request, allocation = next(script)
    while True:
        response = kit.run(nexus, request, lun=lun)
        try:
            request, allocation = script.send((response.status, response.sense, bytes(response.data[:allocation])))
        except StopIteration as end:
            found: PathIdentity = end.value
            return found


def test_the_probe_of_the_initiator() -> None:
    kit = Kit(block_size=4096, settled=False)
    assert identity(kit, kit.a2) == PathIdentity(
        wwid="3" + NAA.hex(), blocks=BLOCKS, block_size=4096, vendor="MPIO", product="Virtual disk", revision="0001",
        serial=SERIAL, target_name=NAME, tpgt=2, relative_port=2, port_group=2, tpgs=1,
        transfer_blocks_max=(8 << 20) // 4096, unmap_blocks_max=1 << 20, unmap_descriptors_max=256,
    )
    assert identity(kit, kit.a1).relative_port == 1


@pytest.mark.parametrize("state", [AluaState.STANDBY, AluaState.ACTIVE_NON_OPTIMIZED])
def test_the_probe_works_in_standby_too(state: AluaState) -> None:
    kit = Kit()
    kit.state(2, state)
    assert identity(kit, kit.a2).blocks == BLOCKS


def test_standard_inquiry() -> None:
    kit = Kit()
    data = kit.good(kit.a1, cdb.inquiry(255))
    assert data[:36].hex() == "000006125b181002" + b"MPIO    Virtual disk    0001".hex()
    assert kit.good(kit.a1, cdb.inquiry(5)) == data[:5]
    assert kit.sense(kit.a1, bytes.fromhex("120083ff0000")) == sense.INVALID_FIELD_IN_CDB
    assert Kit(explicit_alua=True).device.execute(kit.a1, lun_bytes(1), cdb.inquiry(36)).data[5] == 0x38


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (0x00, "00000009 00808386888fb0b1b2"),
        (0x80, "00800018" + SERIAL.encode().hex()),
        (0x83, "00830088" "01030010" + NAA.hex() + "02010020" + (b"MPIO    " + SERIAL.encode()).hex()
         + "5194000400000002" "5195000400000002" "53980020" + f"{NAME},t,0x0002".encode().ljust(32, b"\0").hex()
         + "53a80018" + NAME.encode().ljust(24, b"\0").hex()),
        (0x86, "0086003c 0007 0001" + "00" * 56),
        (0x88, "00880060" + "".join(
            f"0000000{tpgt}" "00000000" "00000024" "53980020" + f"{NAME},t,0x000{tpgt}".encode().ljust(32, b"\0").hex()
            for tpgt in (1, 2))),
        (0xB0, "00b0003c 01ff0008 00004000 00000000 00000000 00100000 00000100 00000008 00000000 0000000000004000"
          "00004000" + "00" * 16),
        (0xB1, "00b1003c 0001" + "00" * 58),
        (0xB2, "00b20004 00e60200"),
    ],
)
def test_vpd_pages(page: int, expected: str) -> None:
    kit = Kit()
    assert kit.good(kit.a2, cdb.inquiry(512, page)).hex() == expected.replace(" ", "")
    assert page in kit.good(kit.a1, cdb.inquiry(255, 0))[4:]


def test_unknown_vpd_pages_are_refused() -> None:
    kit = Kit()
    for page in (0x01, 0x87, 0xB3, 0xFF):
        assert kit.sense(kit.a1, cdb.inquiry(255, page)) == sense.INVALID_FIELD_IN_CDB


def test_names_differ_by_target_and_lun_and_last() -> None:
    names = {derive_naa(target, lun) for target in ("iqn.a:1", "iqn.a:2") for lun in (1, 2)}
    assert len(names) == 4
    fixed = derive_naa("iqn.2026-01.dev.mpio:target", 1)
    assert fixed.hex() == "602006d0e5c0c4722ca1d1def65dfc79", "hosts know their disks by it"
    kit = Kit()
    given = bytes.fromhex("6001405aaaaaaaaaaaaaaaaaaaaaaaaa")
    kit.device.add_unit(5, RamStore(1 << 20), naa=given)
    assert identity(kit, kit.a1, 5).wwid == "3" + given.hex()


def test_capacity() -> None:
    kit = Kit(block_size=4096)
    assert kit.good(kit.a1, cdb.read_capacity_10()).hex() == "000000ff00001000"
    assert kit.good(kit.a1, cdb.read_capacity_16()).hex() == "00000000000000ff00001000" "0000c000" + "00" * 16
    assert len(kit.good(kit.a1, cdb.read_capacity_16(12))) == 12


def test_large_units() -> None:
    kit = Kit(store=RamStore(3 << 40))
    assert kit.good(kit.a1, cdb.read_capacity_10()).hex() == "ffffffff00000200"
    last = (3 << 40) // 512 - 1
    kit.good(kit.a1, cdb.write(last, 1), b"z" * 512)
    assert kit.good(kit.a1, cdb.read(last, 1)) == b"z" * 512
    assert kit.sense(kit.a1, cdb.read(last, 2)) == sense.LBA_OUT_OF_RANGE


# --- LUNs


def test_report_luns() -> None:
    kit = Kit()
    kit.device.add_unit(300, RamStore(512))
    kit.device.add_unit(0, RamStore(512))
    expected = [lun_bytes(0), lun_bytes(1), lun_bytes(300)]
    for lun in (0, 1, 77):
        assert parse_luns(kit.run(kit.a1, cdb.report_luns(4096), lun=lun).data) == expected
    assert len(kit.good(kit.a1, cdb.report_luns(16))) == 16
    assert kit.good(kit.a1, b"\xa0\0\x01" + cdb.report_luns(64)[3:])[:4] == bytes(4), "no well-known ones listed"
    assert kit.sense(kit.a1, b"\xa0\0\x03" + cdb.report_luns(64)[3:]) == sense.INVALID_FIELD_IN_CDB


def test_absent_luns() -> None:
    kit = Kit()
    data = kit.run(kit.a1, cdb.inquiry(96), lun=0).data
    assert data[0] == 0x7F
    assert StandardInquiry.parse(data).vendor == "MPIO"
    assert Sense.parse(kit.run(kit.a1, cdb.request_sense(), lun=0).data) == sense.LUN_NOT_SUPPORTED
    for request in (bytes(6), cdb.read(0, 1), cdb.write(0, 1), cdb.read_capacity_10(), cdb.persistent_reserve_in(0)):
        assert kit.sense(kit.a1, request, lun=0) == sense.LUN_NOT_SUPPORTED
    assert kit.run(kit.a1, cdb.inquiry(96, 0), lun=0).data.hex() == "7f00000100"


@pytest.mark.parametrize("lun", ["0001000000000000", "4001000000000000"])
def test_both_forms_of_a_lun(lun: str) -> None:
    kit = Kit()
    assert kit.device.execute(kit.a1, bytes.fromhex(lun), bytes(6)).status == Status.GOOD


@pytest.mark.parametrize("lun", ["0101000000000000", "0001000000000001", "c102000000000000", "8001000000000000"])
def test_other_forms_name_nothing(lun: str) -> None:
    kit = Kit()
    response = kit.device.execute(kit.a1, bytes.fromhex(lun), bytes(6))
    assert Sense.parse(response.sense) == sense.LUN_NOT_SUPPORTED


def test_the_well_known_unit_of_report_luns() -> None:
    kit = Kit()
    lun = bytes.fromhex("c101000000000000")
    assert kit.device.execute(kit.a1, lun, cdb.inquiry(96)).data[0] == 0x1E
    assert parse_luns(kit.device.execute(kit.a1, lun, cdb.report_luns(64)).data) == [lun_bytes(1)]
    assert kit.device.execute(kit.a1, lun, bytes(6)).status == Status.GOOD


def test_units_come_and_go() -> None:
    kit = Kit()
    kit.device.add_unit(2, RamStore(512))
    assert kit.sense(kit.a1, bytes(6)) == sense.LUNS_CHANGED
    assert kit.sense(kit.a1, bytes(6), lun=2) == sense.POWER_ON_OR_RESET
    kit.run(kit.b1, cdb.report_luns(64))
    kit.good(kit.b1, bytes(6))  # REPORT LUNS has cleared it
    kit.device.remove_unit(2)
    assert kit.sense(kit.a1, bytes(6)) == sense.LUNS_CHANGED
    assert kit.sense(kit.a1, bytes(6), lun=2) == sense.LUN_NOT_SUPPORTED
    for number in (1, 1 << 14, -1):
        with pytest.raises(ValueError, match="LUN"):
            kit.device.add_unit(number, RamStore(512))
    with pytest.raises(ValueError, match="no LUN 2"):
        kit.device.remove_unit(2)


@pytest.mark.parametrize(("size", "block_size", "naa"), [(512, 520, None), (1000, 512, None), (512, 4096, None),
                                                         (512, 512, b"short"), (512, 512, bytes(16))])
def test_units_that_can_not_be(size: int, block_size: int, naa: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"block|NAA"):
        Kit().device.add_unit(2, RamStore(size), block_size=block_size, naa=naa)


# --- target port groups


def test_report_target_port_groups() -> None:
    kit = Kit()
    kit.state(2, AluaState.STANDBY)
    assert kit.sense(kit.a1, bytes(6)) == sense.ALUA_STATE_CHANGED
    short = "00cf0001 00000001 00000001 02cf0002 00020001 00000002".replace(" ", "")
    assert kit.good(kit.a1, cdb.report_target_port_groups(255)).hex() == "00000018" + short
    extended = kit.good(kit.a1, cdb.report_target_port_groups(255, extended=True))
    assert extended.hex() == "0000001c" "103c0000" + short
    assert kit.good(kit.a1, cdb.report_target_port_groups(6)).hex() == "0000001800cf"
    assert kit.sense(kit.a1, bytes.fromhex("a34a00000000000000ff0000")) == sense.INVALID_FIELD_IN_CDB


def test_set_target_port_groups() -> None:
    kit = Kit(explicit_alua=True)
    for tpgt in (1, 2):
        kit.device.groups[tpgt].portals.append(Portal("127.0.0.1", tpgt))
    kit.device.add_group(PortGroup(3))  # another node's
    wanted = build_set_list([(1, AluaState.STANDBY), (2, AluaState.ACTIVE_OPTIMIZED), (3, AluaState.ACTIVE_OPTIMIZED)])
    kit.good(kit.a2, cdb.set_target_port_groups(len(wanted)), wanted)
    kit.good(kit.a2, bytes(6))  # who asked is not told
    assert kit.sense(kit.a1, bytes(6)) == sense.ALUA_STATE_CHANGED
    assert kit.sense(kit.a1, bytes(6)) == sense.PORT_STANDBY
    report = parse_report(kit.good(kit.a1, cdb.report_target_port_groups(255)))
    assert [group.state for group in report.groups] == [
        AluaState.STANDBY, AluaState.ACTIVE_OPTIMIZED, AluaState.ACTIVE_OPTIMIZED]
    for bad in ([(9, AluaState.STANDBY)], [(3, AluaState.STANDBY)], [(1, AluaState.OFFLINE)],
                [(1, AluaState.ACTIVE_OPTIMIZED), (9, AluaState.STANDBY)]):
        data = build_set_list(bad)
        assert kit.sense(kit.a2, cdb.set_target_port_groups(len(data)), data) == sense.INVALID_FIELD_IN_LIST
    assert kit.device.groups[1].state is AluaState.STANDBY, "all of it or nothing"
    assert kit.sense(kit.a2, cdb.set_target_port_groups(7), bytes(7)) == sense.PARAMETER_LIST_LENGTH
    assert kit.sense(kit.a2, cdb.set_target_port_groups(8), bytes(4)) == sense.PARAMETER_LIST_LENGTH
    kit.good(kit.a2, cdb.set_target_port_groups(0))


def test_states_are_not_for_initiators_to_set_by_default() -> None:
    kit = Kit()
    data = build_set_list([(1, AluaState.STANDBY)])
    assert kit.sense(kit.a1, cdb.set_target_port_groups(8), data) == sense.INVALID_FIELD_IN_CDB


# --- mode pages and the rest


PAGES = "010a" + "00" * 10 + "0812" + "00" * 18 + "0a0a" + "00" * 10 + "1c0a" + "00" * 10


def test_mode_sense() -> None:
    kit = Kit()
    assert kit.good(kit.a1, cdb.mode_sense_6()).hex() == "3b001000" + PAGES
    assert kit.good(kit.a1, cdb.mode_sense_6(0x08)).hex() == "17001000" "0812" + "00" * 18
    assert kit.good(kit.a1, bytes.fromhex("1a0008004000")).hex()[:24] == "1f00100800000100" "00000200"
    assert kit.good(kit.a1, bytes.fromhex("5a08080000000000ff00")).hex()[:16] == "001a001000000000"
    assert kit.good(kit.a1, bytes.fromhex("5a10080000000000ff00")).hex()[:48] == (
        "002a001001000010" "0000000000000100" "0000000000000200")
    assert kit.good(kit.a1, cdb.mode_sense_6(0x4A)).hex() == "0f001000" "0a0a04000800" + "00" * 6, "changeable"
    assert kit.sense(kit.a1, cdb.mode_sense_6(0xCA)) == sense.SAVING_NOT_SUPPORTED
    assert kit.sense(kit.a1, cdb.mode_sense_6(0x05)) == sense.INVALID_FIELD_IN_CDB
    assert kit.sense(kit.a1, bytes.fromhex("1a083f01ff00")) == sense.INVALID_FIELD_IN_CDB


def select(d_sense: int = 0, swp: int = 0, length: int = 10) -> bytes:
    return bytes(4) + bytes((0x0A, length, d_sense, 0, swp)) + bytes(7)


def test_mode_select_changes_what_can_be_changed_and_tells_the_others() -> None:
    kit = Kit()
    kit.good(kit.a1, bytes.fromhex("151000001000"), select(swp=8))
    assert kit.sense(kit.b1, bytes(6)) == sense.MODE_PARAMETERS_CHANGED
    assert kit.sense(kit.a1, cdb.write(0, 1), bytes(512)) == sense.WRITE_PROTECTED
    assert kit.good(kit.a1, cdb.mode_sense_6(0x0A))[2] & 0x80
    kit.good(kit.a1, bytes.fromhex("55100000000000001400"), bytes(4) + select(d_sense=4))
    assert kit.run(kit.a1, cdb.read(BLOCKS, 1)).sense.hex() == "7205210000000000"
    kit.good(kit.a1, bytes.fromhex("151000000000"))


@pytest.mark.parametrize(
    ("request_", "data", "expected"),
    [
        ("150000001000", select(swp=8), sense.INVALID_FIELD_IN_CDB),
        ("151100001000", select(swp=8), sense.INVALID_FIELD_IN_CDB),
        ("151000001000", select(swp=8)[:12], sense.PARAMETER_LIST_LENGTH),
        ("151000000200", bytes(2), sense.PARAMETER_LIST_LENGTH),
        ("151000000800", select(swp=8)[:8], sense.PARAMETER_LIST_LENGTH),
        ("151000000500", select()[:5], sense.INVALID_FIELD_IN_LIST),
        ("151000001000", select(swp=0x18), sense.INVALID_FIELD_IN_LIST),
        ("151000001000", select(length=9), sense.INVALID_FIELD_IN_LIST),
        ("151000001000", bytes(4) + b"\x05\x0a" + bytes(10), sense.INVALID_FIELD_IN_LIST),
        ("151000000c00", b"\0\0\0\x08" + bytes(8), sense.INVALID_FIELD_IN_LIST),
        ("151000000800", b"\0\0\0\x08" + bytes(4), sense.PARAMETER_LIST_LENGTH),
    ],
)
def test_mode_select_that_is_refused_changes_nothing(request_: str, data: bytes, expected: Sense) -> None:
    kit = Kit()
    assert kit.sense(kit.a1, bytes.fromhex(request_), data) == expected
    kit.good(kit.a1, cdb.write(0, 1), bytes(512))
    kit.good(kit.b1, bytes(6))


class Cached(RamStore):
    """A store that says it has a cache, and counts flushes."""

    def __init__(self) -> None:
        super().__init__(BLOCKS * 512)
        self.volatile, self.flushes = True, 0

    def flush(self) -> None:
        self.flushes += 1


def test_without_the_write_cache_every_write_reaches_the_disk() -> None:
    store = Cached()
    kit = Kit(store=store)
    off = bytes(4) + b"\x08\x12" + bytes(18)
    assert kit.good(kit.a1, cdb.mode_sense_6(0x08))[6] == 0x04
    assert kit.good(kit.a1, cdb.mode_sense_6(0x48))[6] == 0x04, "can be changed"
    kit.good(kit.a1, cdb.write(0, 1), bytes(512))
    assert store.flushes == 0
    kit.good(kit.a1, bytes.fromhex("151000001800"), off)
    assert store.flushes == 1, "what was written before is to be safe too"
    assert kit.good(kit.a1, cdb.mode_sense_6(0x08))[6] == 0
    assert kit.good(kit.a1, cdb.mode_sense_6(0x88))[6] == 0x04, "the default stays"
    assert kit.sense(kit.b1, bytes(6)) == sense.MODE_PARAMETERS_CHANGED
    for nexus in (kit.a1, kit.b1):
        for _ in range(3):
            flushes = store.flushes
            kit.good(nexus, cdb.write(0, 1), bytes(512))
            assert store.flushes == flushes + 1
    kit.unit.reset()
    for nexus in (kit.a1, kit.b1):
        assert kit.sense(nexus, bytes(6)) == sense.LU_RESET
        kit.good(nexus, cdb.write(0, 1), bytes(512))
    assert store.flushes == 7
    other = Kit()
    assert other.good(other.a1, cdb.mode_sense_6(0x48))[6] == 0, "nothing to be turned off"
    on = off[:6] + b"\4" + off[7:]
    assert other.sense(other.a1, bytes.fromhex("151000001800"), on) == sense.INVALID_FIELD_IN_LIST


def test_sanitize_is_refused() -> None:
    kit = Kit()
    kit.good(kit.a1, cdb.write(0, 1), b"s" * 512)
    for action in range(32):
        assert kit.sense(kit.a1, bytes((0x48, action)) + bytes(8)) == sense.INVALID_OPCODE
    assert kit.store.read(0, 512) == b"s" * 512


def test_supported_task_management_functions() -> None:
    kit = Kit()
    assert kit.good(kit.a1, bytes.fromhex("a30d00000000000000ff0000")).hex() == "da000000"
    assert kit.good(kit.a1, bytes.fromhex("a30d80000000000000ff0000")).hex() == "da00000c" + "00" * 12


def test_wrong_fields_are_pointed_at() -> None:
    kit = Kit()
    options = bytes.fromhex("a30c0600000000ff00ff0000")  # reporting options 6
    assert kit.run(kit.a1, options).sense.hex() == "700005000000000a" "00000000" "2400" "00" "c00002"
    kit.unit.descriptor_sense = True
    assert kit.run(kit.a1, options).sense.hex() == "7205240000000008" "02060000c0000200"
    assert kit.run(kit.a1, b"\x9e\x1f" + bytes(14)).sense[-3:] == b"\0\x01\0"


def test_any_command_is_answered_as_sam_says() -> None:
    """Known and unknown commands with random bits, on thick, thin and removable units, with random data."""
    rng = random.Random(9)
    known = list(COMMANDS)
    kits = [Kit(explicit_alua=True, **options) for options in KINDS]
    for _ in range(6000):
        kit = rng.choice(kits)
        opcode, action = rng.choice(known) if rng.random() < 0.95 else (rng.randrange(256), None)
        request = bytearray(rng.choice((bytes(16), rng.randbytes(16))))
        for _ in range(rng.randrange(4)):
            request[rng.randrange(16)] = rng.choice((0, 1, 4, 8, 16, 24, 255))
        request[0] = opcode
        if action is not None:
            request[1] = request[1] & 0xE0 | action
        nexus = rng.choice((kit.a1, kit.b1, kit.a2))
        data = rng.choice((b"", bytes(512), bytes(24), rng.randbytes(rng.randrange(600))))
        response = kit.run(nexus, bytes(request), data)
        assert (response.status == Status.CHECK_CONDITION) is bool(response.sense), request.hex()
        assert not (response.status and response.data), request.hex()
        if response.sense:
            assert Sense.parse(response.sense) is not None


KINDS: list[UnitOptions] = [
    {}, {"removable": True}, {"thin": False}, {"block_size": 4096}, {"physical_block_size": 4096}, {"read_only": True},
]


def test_read_only_units_say_so() -> None:
    kit = Kit(read_only=True)
    assert identity(kit, kit.a1).write_protected
    for request, data in ((cdb.write(0, 1), bytes(512)), (cdb.write_same(0, 1, unmap=True), bytes(512)),
                          (cdb.unmap(24), cdb.unmap_list([(0, 1)])), (cdb.compare_and_write(0, 1), bytes(1024))):
        assert kit.sense(kit.a1, request, data) == sense.WRITE_PROTECTED
    kit.good(kit.a1, cdb.read(0, 1))


def test_request_sense_returns_and_clears_the_attention() -> None:
    kit = Kit(settled=False)
    assert Sense.parse(kit.good(kit.a1, cdb.request_sense())) == sense.POWER_ON_OR_RESET
    assert Sense.parse(kit.good(kit.a1, cdb.request_sense())) == sense.NO_SENSE
    assert kit.good(kit.a1, cdb.request_sense(descriptor=True))[0] == 0x72
    kit.good(kit.a1, bytes(6))


def test_unknown_commands_and_service_actions() -> None:
    kit = Kit()
    assert kit.sense(kit.a1, b"\xff" + bytes(15)) == sense.INVALID_OPCODE
    assert kit.sense(kit.a1, b"\x04" + bytes(5)) == sense.INVALID_OPCODE
    for known in ("9e1f", "a31f", "5e1f", "5f1f"):
        assert kit.sense(kit.a1, bytes.fromhex(known)) == sense.INVALID_FIELD_IN_CDB


def test_supported_opcodes_are_those_of_the_table() -> None:
    kit = Kit(explicit_alua=True)
    data = kit.good(kit.a1, bytes.fromhex("a30c00000000 0000ffff 0000"))
    listed = {
        (data[at], int.from_bytes(data[at + 2 : at + 4], "big") if data[at + 5] & 1 else None)
        for at in range(4, len(data), 8)
    }
    assert listed == set(COMMANDS)
    timed = kit.good(kit.a1, bytes.fromhex("a30c80000000 0000ffff 0000"))
    assert len(timed) == 4 + 20 * len(COMMANDS)


@pytest.mark.parametrize("row", COMMANDS.values(), ids=lambda row: f"{row.opcode:02x}.{row.action}")
def test_every_row_of_the_table_is_well_formed(row: Command) -> None:
    lengths = {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}
    assert len(row.usage) == lengths[row.opcode >> 5]
    assert row.usage[0] == row.opcode
    kit = Kit(explicit_alua=True)
    option = "01" if row.action is None else "02"
    one = kit.good(kit.a1, bytes.fromhex(f"a30c{option}{row.opcode:02x}{row.action or 0:04x}000000ff0000"))
    assert one[1] == 0x03
    assert one[4] == row.opcode
    assert len(one) == 4 + len(row.usage)


@pytest.mark.parametrize(
    ("options", "expected"),
    [("0128 0000", "0003000a"), ("01ff 0000", "00010000"), ("029e 0010", "00030010"), ("029e 0001", "00010000"),
     ("0328 0000", "0003000a"), ("0328 0001", "00010000"), ("8128 0000", "0083000a")],
)
def test_one_opcode(options: str, expected: str) -> None:
    kit = Kit()
    assert kit.good(kit.a1, bytes.fromhex(f"a30c {options} 000000ff 0000"))[:4].hex() == expected
    for refused in ("019e 0010", "0228 0000", "0428 0000"):
        assert kit.sense(kit.a1, bytes.fromhex(f"a30c {refused} 000000ff 0000")) == sense.INVALID_FIELD_IN_CDB
