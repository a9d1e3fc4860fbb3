"""Whole PDUs as annotated hex, with their clause of RFC 7143. Written by hand, not by the builders."""

from dataclasses import dataclass, field

from mpio.proto.iscsi import pdu


@dataclass(frozen=True)
class Golden:
    """A PDU on the wire, what it says, and the builder's call that makes its BHS.

    `text` is hex with `#` comments, one group of fields a line.
    """

    name: str
    clause: str
    text: str
    built: bytes
    fields: dict[str, int | bytes]
    data: bytes = b""
    header_digest: bool = False
    data_digest: bool = False
    ahs: bool = False
    is_request: bool = field(default=True)

    @property
    def wire(self) -> bytes:
        return bytes.fromhex("".join(line.partition("#")[0] for line in self.text.splitlines()))


LUN1 = bytes.fromhex("0001000000000000")
READ10 = bytes.fromhex("28000000000000000200")

REQUESTS = [
    Golden(
        "nop-out ping", "§11.18", """
        40 80 0000              # NOP-Out, immediate; F
        00 000000               # no AHS, no data
        0000000000000000        # LUN: only with a TTT
        00000007 ffffffff       # ITT, no TTT
        00000010 00000021       # CmdSN, ExpStatSN
        00000000 00000000 00000000 00000000
        """,
        pdu.nop_out(7, pdu.NO_TAG, pdu.NO_LUN, 0x10, 0x21),
        {"opcode": 0x40, "flags": 0x80, "itt": 7, "word20": pdu.NO_TAG, "cmd_sn": 0x10, "exp_stat_sn": 0x21},
    ),
    Golden(
        "nop-out answer with data", "§11.18.1", """
        40 80 0000
        00 000005               # five bytes of ping data
        0001000000000000        # the LUN of the NOP-In
        ffffffff 0000abcd       # no ITT, TTT copied
        00000010 00000021
        00000000 00000000 00000000 00000000
        68656c6c6f 000000       # hello, padded to 8
        """,
        pdu.nop_out(pdu.NO_TAG, 0xABCD, LUN1, 0x10, 0x21, 5),
        {"itt": pdu.NO_TAG, "word20": 0xABCD, "lun": LUN1, "lengths": 5},
        data=b"hello",
    ),
    Golden(
        "scsi command READ(10) with header digest", "§11.3, §13.1", """
        01 c0 0000              # SCSI Command; F R, untagged
        00 000000
        0000000000000000        # LUN 0
        14000000 00000400       # ITT, expected data transfer length 1024
        00000014 00000018       # CmdSN, ExpStatSN
        28000000 00000000 02000000 00000000   # CDB, padded to 16
        563a96d9                # CRC32C d9963a56, least significant byte first
        """,
        pdu.scsi_command(0xC0, pdu.NO_LUN, 0x14000000, 1024, 0x14, 0x18, READ10),
        {"opcode": 1, "flags": 0xC0, "itt": 0x14000000, "word20": 1024, "cmd_sn": 0x14, "exp_stat_sn": 0x18,
         "specific": READ10 + bytes(6)},
        header_digest=True,
    ),
    Golden(
        "scsi command WRITE(10) with immediate data", "§11.3, §11.3.4", """
        01 21 0000              # W, simple; F clear: unsolicited Data-Out follow
        00 000003               # three bytes of immediate data
        0001000000000000
        00000002 00000400       # ITT, expected length
        00000015 00000019
        2a000000 00000000 02000000 00000000
        616263 00               # abc
        """,
        pdu.scsi_command(0x21, LUN1, 2, 1024, 0x15, 0x19, bytes.fromhex("2a000000000000000200"), 3),
        {"opcode": 1, "flags": 0x21, "lengths": 3, "lun": LUN1},
        data=b"abc",
    ),
    Golden(
        "scsi command with an extended CDB header", "§11.2.2, §11.2.2.4", """
        01 c1 0000
        05 000000               # TotalAHSLength: five words
        0001000000000000
        00000003 00000200
        00000016 0000001a
        7f000000 00000018 00090000 00000000   # a 32-byte CDB: its first 16 bytes
        0011 01 00              # AHSLength 17, type 1 (extended CDB), reserved
        00000000 00000000 00000000 00000001   # CDB bytes 16 to 31
        """,
        pdu.scsi_command(0xC1, LUN1, 3, 512, 0x16, 0x1A, bytes.fromhex("7f000000000000180009000000000000")),
        {"lengths": 0x05000000, "itt": 3},
        ahs=True,
    ),
    Golden(
        "task management ABORT TASK", "§11.5", """
        42 81 0000              # immediate; function 1
        00 000000
        0001000000000000
        00000009 00000002       # ITT, referenced task tag
        00000017 0000001b
        00000015 00000000 00000000 00000000   # RefCmdSN
        """,
        pdu.task_management_request(1, LUN1, 9, 2, 0x17, 0x1B, 0x15),
        {"opcode": 0x42, "flags": 0x81, "word20": 2},
    ),
    Golden(
        "login, operational to full feature", "§11.12", """
        43 87 00 00             # T, CSG 1, NSG 3; version 0 to 0
        00 000008
        800000000001 0000       # ISID (random form), TSIH 0
        00000001 00000000       # ITT, CID 0
        36c64eb3 00000000       # CmdSN, which is not used up
        00000000 00000000 00000000 00000000
        413d310042 3d3200       # A=1, B=2
        """,
        pdu.login_request(0x87, bytes.fromhex("800000000001"), 0, 1, 0, 0x36C64EB3, 0, 8),
        {"opcode": 0x43, "flags": 0x87, "lun": bytes.fromhex("8000000000010000"), "cmd_sn": 0x36C64EB3},
        data=b"A=1\0B=2\0",
    ),
    Golden(
        "text SendTargets", "§11.10", """
        44 80 0000
        00 000010
        0000000000000000
        00000004 ffffffff
        00000001 00000002
        00000000 00000000 00000000 00000000
        53656e6454617267657473 3d 416c6c 00   # SendTargets=All
        """,
        pdu.text_request(0x80, 4, pdu.NO_TAG, 1, 2, 16),
        {"opcode": 0x44, "flags": 0x80, "itt": 4, "word20": pdu.NO_TAG},
        data=b"SendTargets=All\0",
    ),
    Golden(
        "data-out with data digest", "§11.7, §13.1", """
        05 80 0000              # F: the last of its sequence
        00 000020
        0001000000000000
        00000002 00000005       # ITT, TTT of the R2T
        00000000 0000001c       # no CmdSN; ExpStatSN
        00000000 00000001 00000200 00000000   # DataSN 1, buffer offset 512
        000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
        4e79dd46                # CRC32C 46dd794e
        """,
        pdu.data_out(True, LUN1, 2, 5, 0x1C, 1, 512, 32),
        {"opcode": 5, "word20": 5, "exp_stat_sn": 0x1C,
         "specific": bytes.fromhex("00000000 00000001 00000200 00000000")},
        data=bytes(range(32)),
        data_digest=True,
    ),
    Golden(
        "logout, close session", "§11.14", """
        46 80 0000
        00 000000
        0000000000000000
        00000008 00000000
        00000019 0000001d
        00000000 00000000 00000000 00000000
        """,
        pdu.logout_request(0, 8, 0, 0x19, 0x1D),
        {"opcode": 0x46, "flags": 0x80, "itt": 8},
    ),
    Golden(
        "snack, status", "§11.16", """
        10 81 0000
        00 000000
        0000000000000000
        ffffffff ffffffff
        00000000 0000001d
        00000000 00000000 0000001d 00000001   # BegRun, RunLength
        """,
        pdu.snack_request(1, pdu.NO_LUN, pdu.NO_TAG, pdu.NO_TAG, 0x1D, 0x1D, 1),
        {"opcode": 0x10, "flags": 0x81, "exp_stat_sn": 0x1D},
    ),
]

RESPONSES = [
    Golden(
        "nop-in ping", "§11.19", """
        20 80 0000
        00 000000
        0001000000000000
        ffffffff 00000001       # TTT: wants an answer
        00000030 00000020 0000009f   # StatSN (next, not used up), ExpCmdSN, MaxCmdSN
        00000000 00000000 00000000
        """,
        pdu.nop_in(LUN1, pdu.NO_TAG, 1, 0x30, 0x20, 0x9F),
        {"opcode": 0x20, "word20": 1, "stat_sn": 0x30, "exp_cmd_sn": 0x20, "max_cmd_sn": 0x9F},
    ),
    Golden(
        "scsi response CHECK CONDITION with sense", "§11.4, §11.4.7", """
        21 82 00 02             # U; command completed; CHECK CONDITION
        00 000014               # SenseLength and 18 bytes of sense
        0000000000000000
        00000002 00000000
        00000031 00000021 000000a0
        00000000 00000000 00000400   # ExpDataSN, bidi residual, residual 1024
        0012 700006 00000000 0a 00000000 2900 00000000   # 06/29/00
        """,
        pdu.scsi_response(pdu.UNDERFLOW, 2, 2, 0x31, 0x21, 0xA0, 0, 1024, 20),
        {"opcode": 0x21, "flags": 0x82, "byte2": 0, "byte3": 2, "word44": 1024},
        data=bytes.fromhex("0012 700006000000000a00000000290000000000"),
    ),
    Golden(
        "task management response", "§11.6", """
        22 80 00 00             # function complete
        00 000000
        0000000000000000
        00000009 00000000
        00000032 00000021 000000a0
        00000000 00000000 00000000
        """,
        pdu.task_management_response(0, 9, 0x32, 0x21, 0xA0),
        {"opcode": 0x22, "byte2": 0, "itt": 9},
    ),
    Golden(
        "login response, redirection", "§11.13, §11.13.5", """
        23 04 00 00             # T clear, CSG 1
        00 000018
        800000000001 0000
        00000001 00000000
        00000000 36c64eb3 36c64eb4
        0101 0000               # class 1, detail 1: moved temporarily
        00000000 00000000
        54617267657441646472657373 3d 3139322e302e322e31 00   # TargetAddress=192.0.2.1
        """,
        pdu.login_response(4, bytes.fromhex("800000000001"), 0, 1, 0, 0x36C64EB3, 0x36C64EB4, 0x0101, 24),
        {"opcode": 0x23, "word36": 0x01010000},
        data=b"TargetAddress=192.0.2.1\0",
    ),
    Golden(
        "text response that goes on", "§11.11", """
        24 40 0000              # F clear, C: the text goes on in the next
        00 000003
        0000000000000000
        00000004 0000000c       # TTT to ask for the rest with
        00000033 00000001 00000081
        00000000 00000000 00000000
        546172 00               # Tar
        """,
        pdu.text_response(0x40, 4, 12, 0x33, 1, 0x81, 3),
        {"opcode": 0x24, "flags": 0x40, "word20": 12},
        data=b"Tar",
    ),
    Golden(
        "data-in with status, both digests", "§11.7, §13.1", """
        25 83 00 00             # F U S; GOOD
        00 000020
        0000000000000000
        14000000 ffffffff
        00000034 00000022 000000a1
        00000000 00000000 000003e0   # DataSN 0, offset 0, residual 992
        7b3937b5                # CRC32C, computed bit by bit
        0000000000000000000000000000000000000000000000000000000000000000
        aa36918a                # CRC32C 8a9136aa
        """,
        pdu.data_in(0x83, 0, 0x14000000, 0x34, 0x22, 0xA1, 0, 0, 992, 32),
        {"opcode": 0x25, "flags": 0x83, "stat_sn": 0x34, "word36": 0, "word40": 0, "word44": 992},
        data=bytes(32),
        header_digest=True,
        data_digest=True,
    ),
    Golden(
        "logout response", "§11.15", """
        26 80 00 00
        00 000000
        0000000000000000
        00000008 00000000
        00000035 00000023 000000a2
        00000000 0002 0014 00000000   # Time2Wait 2, Time2Retain 20
        """,
        pdu.logout_response(0, 8, 0x35, 0x23, 0xA2, 2, 20),
        {"opcode": 0x26, "word40": 0x00020014},
    ),
    Golden(
        "r2t", "§11.8", """
        31 80 0000
        00 000000
        0001000000000000
        00000002 00000005
        00000036 00000023 000000a2
        00000001 00010000 00040000   # R2TSN 1, offset 64 KiB, 256 KiB wanted
        """,
        pdu.r2t(LUN1, 2, 5, 0x36, 0x23, 0xA2, 1, 65536, 262144),
        {"opcode": 0x31, "word20": 5, "word36": 1, "word40": 65536, "word44": 262144},
    ),
    Golden(
        "async message, logout requested", "§11.9", """
        32 80 0000
        00 000000
        0000000000000000
        ffffffff 00000000
        00000036 00000023 000000a2
        01 00 0000 0000 000a 00000000   # event 1, within 10 s
        """,
        pdu.async_message(1, pdu.NO_LUN, 0x36, 0x23, 0xA2, 0, 0, 10),
        {"opcode": 0x32, "word36": 0x01000000, "word40": 10},
    ),
    Golden(
        "reject", "§11.17", """
        3f 80 04 00             # protocol error
        00 000030
        0000000000000000
        ffffffff 00000000
        00000037 00000023 000000a2
        00000000 00000000 00000000
        10810000 00000000 00000000 00000000 ffffffff ffffffff
        00000000 0000001d 00000000 00000000 0000001d 00000001
        """,
        pdu.reject(4, 0x37, 0x23, 0xA2),
        {"opcode": 0x3F, "byte2": 4},
        data=pdu.snack_request(1, pdu.NO_LUN, pdu.NO_TAG, pdu.NO_TAG, 0x1D, 0x1D, 1),
    ),
]
