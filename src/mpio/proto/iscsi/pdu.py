"""iSCSI PDUs: opcodes, flags, and the 48-byte basic header segment (BHS) of each PDU (RFC 7143 §11).

One layout fits all requests and another all responses; what differs between opcodes is only what the words mean:

    request   opcode flags byte2 byte3 lengths lun[8] itt word20 cmd_sn exp_stat_sn specific[16]
    response  opcode flags byte2 byte3 lengths lun[8] itt word20 stat_sn exp_cmd_sn max_cmd_sn word36 word40 word44

`lengths` is TotalAHSLength (high byte, in words) and DataSegmentLength (low 24 bits). The functions named after PDUs
build a BHS; they are not on the path of single I/Os, where the connections use the layouts directly.
"""

from enum import IntEnum
from struct import Struct
from typing import Any, Final, NamedTuple

from mpio.errors import RemoteProtocolError
from mpio.model.task import Buffer

BHS_BYTES: Final = 48
NO_TAG: Final = 0xFFFFFFFF  # "none", for initiator and target transfer tags (§11.2.1.8)
NO_LUN = bytes(8)
LENGTH_MASK: Final = 0xFFFFFF
DEFAULT_DATA_SEGMENT: Final = 8192  # MaxRecvDataSegmentLength during login, and where the peer declares none (§13.12)

SERIAL_MASK: Final = 0xFFFFFFFF
SERIAL_HALF: Final = 0x80000000


class Opcode(IntEnum):
    """PDU types (§11.2.1.2), without the I bit."""

    NOP_OUT = 0x00
    SCSI_COMMAND = 0x01
    TASK_MANAGEMENT_REQUEST = 0x02
    LOGIN_REQUEST = 0x03
    TEXT_REQUEST = 0x04
    SCSI_DATA_OUT = 0x05
    LOGOUT_REQUEST = 0x06
    SNACK_REQUEST = 0x10
    NOP_IN = 0x20
    SCSI_RESPONSE = 0x21
    TASK_MANAGEMENT_RESPONSE = 0x22
    LOGIN_RESPONSE = 0x23
    TEXT_RESPONSE = 0x24
    SCSI_DATA_IN = 0x25
    LOGOUT_RESPONSE = 0x26
    R2T = 0x31
    ASYNC_MESSAGE = 0x32
    REJECT = 0x3F


IMMEDIATE: Final = 0x40  # I bit of byte 0
OPCODE_MASK: Final = 0x3F

# Byte 1, common
FINAL: Final = 0x80
CONTINUE: Final = 0x40
# SCSI Command
READ: Final = 0x40
WRITE: Final = 0x20
ATTRIBUTE_SIMPLE: Final = 0x01
ATTRIBUTE_ORDERED: Final = 0x02
# SCSI Response and Data-In
OVERFLOW: Final = 0x04
UNDERFLOW: Final = 0x02
DATA_IN_ACKNOWLEDGE: Final = 0x40
DATA_IN_STATUS: Final = 0x01
# Login
TRANSIT: Final = 0x80


class Stage(IntEnum):
    """Login stages, CSG and NSG (§11.12.3)."""

    SECURITY = 0
    OPERATIONAL = 1
    FULL_FEATURE = 3


class TaskFunction(IntEnum):
    """Task management functions (§11.5.1, RFC 7144 §4)."""

    ABORT_TASK = 1
    ABORT_TASK_SET = 2
    CLEAR_ACA = 3
    CLEAR_TASK_SET = 4
    LOGICAL_UNIT_RESET = 5
    TARGET_WARM_RESET = 6
    TARGET_COLD_RESET = 7
    TASK_REASSIGN = 8
    QUERY_TASK = 9
    QUERY_TASK_SET = 10
    I_T_NEXUS_RESET = 11
    QUERY_ASYNC_EVENT = 12


class TaskResponse(IntEnum):
    """Answers to task management functions (§11.6.1)."""

    FUNCTION_COMPLETE = 0
    TASK_DOES_NOT_EXIST = 1
    LUN_DOES_NOT_EXIST = 2
    TASK_STILL_ALLEGIANT = 3
    REASSIGNMENT_NOT_SUPPORTED = 4
    NOT_SUPPORTED = 5
    AUTHORIZATION_FAILED = 6
    FUNCTION_SUCCEEDED = 7
    REJECTED = 255


class RejectReason(IntEnum):
    """Why a PDU was rejected (§11.17.1)."""

    DATA_DIGEST_ERROR = 0x02
    SNACK_REJECT = 0x03
    PROTOCOL_ERROR = 0x04
    COMMAND_NOT_SUPPORTED = 0x05
    TOO_MANY_IMMEDIATE = 0x06
    TASK_IN_PROGRESS = 0x07
    INVALID_DATA_ACK = 0x08
    INVALID_FIELD = 0x09
    LONG_OPERATION = 0x0A
    WAITING_FOR_LOGOUT = 0x0C


class AsyncEvent(IntEnum):
    """What an Async Message says (§11.9.1)."""

    SCSI = 0
    LOGOUT_REQUESTED = 1
    CONNECTION_DROPPED = 2
    SESSION_DROPPED = 3
    NEGOTIATION_REQUESTED = 4
    TASKS_ENDED = 5
    VENDOR = 255


class LogoutReason(IntEnum):
    """What is to be closed (§11.14.1)."""

    CLOSE_SESSION = 0
    CLOSE_CONNECTION = 1
    REMOVE_FOR_RECOVERY = 2


class LogoutResponse(IntEnum):
    """How a logout went (§11.15.1)."""

    CLOSED = 0
    CID_NOT_FOUND = 1
    RECOVERY_NOT_SUPPORTED = 2
    CLEANUP_FAILED = 3


# --- layouts

REQUEST = Struct(">BBBBI8sIIII16s")
RESPONSE = Struct(">BBBBI8sIIIIIIII")
assert REQUEST.size == RESPONSE.size == BHS_BYTES

Fields = tuple[Any, ...]
"""A BHS as its layout unpacks it: the values of a RequestHeader or ResponseHeader, without their names."""


class RequestHeader(NamedTuple):
    """BHS of a PDU from the initiator. `lengths`, `word20` and `specific` depend on the opcode."""

    opcode: int  # with the I bit
    flags: int
    byte2: int
    byte3: int
    lengths: int
    lun: bytes  # 8 bytes; ISID and TSIH in a Login Request
    itt: int
    word20: int  # EDTL, TTT, referenced task tag, or CID << 16
    cmd_sn: int
    exp_stat_sn: int
    specific: bytes  # 16 bytes: CDB, DataSN and offset, RefCmdSN …

    @property
    def data_length(self) -> int:
        """DataSegmentLength in bytes, without padding."""
        return self.lengths & LENGTH_MASK

    def word(self, offset: int) -> int:
        """The big-endian word at a BHS offset of 32, 36, 40 or 44."""
        return int.from_bytes(self.specific[offset - 32 : offset - 28], "big")


class ResponseHeader(NamedTuple):
    """BHS of a PDU from the target. The meaning of bytes 2 and 3 and of the numbered words depends on the opcode."""

    opcode: int
    flags: int
    byte2: int
    byte3: int
    lengths: int
    lun: bytes  # 8 bytes; ISID and TSIH in a Login Response
    itt: int
    word20: int  # TTT, SNACK tag
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    word36: int  # DataSN, R2TSN, ExpDataSN, login status << 16, async event …
    word40: int  # buffer offset …
    word44: int  # residual count, desired data transfer length

    @property
    def data_length(self) -> int:
        """DataSegmentLength in bytes, without padding."""
        return self.lengths & LENGTH_MASK


def parse_request(header: Buffer) -> RequestHeader:
    """The first 48 bytes as a request."""
    return RequestHeader._make(REQUEST.unpack_from(header))


def parse_response(header: Buffer) -> ResponseHeader:
    """The first 48 bytes as a response."""
    return ResponseHeader._make(RESPONSE.unpack_from(header))


# --- serial numbers (RFC 1982 with 32 bits, RFC 7143 §4.2.2.1)


def serial_before(a: int, b: int) -> bool:
    """Whether `a` comes before `b`, modulo 2^32."""
    return 0 < (b - a) & SERIAL_MASK < SERIAL_HALF


def serial_add(a: int, n: int) -> int:
    """`a + n` modulo 2^32; `n` may be negative."""
    return (a + n) & SERIAL_MASK


# --- requests


def nop_out(itt: int, ttt: int, lun: bytes, cmd_sn: int, exp_stat_sn: int, data_length: int = 0) -> bytes:
    """NOP-Out (§11.18), always immediate: a ping (ITT valid) or the answer to one (TTT and LUN copied)."""
    return REQUEST.pack(Opcode.NOP_OUT | IMMEDIATE, FINAL, 0, 0, data_length, lun, itt, ttt, cmd_sn, exp_stat_sn, b"")


def scsi_command(flags: int, lun: bytes, itt: int, expected_length: int, cmd_sn: int, exp_stat_sn: int, cdb: bytes,
                 data_length: int = 0) -> bytes:
    """SCSI Command (§11.3). `flags`: FINAL, READ, WRITE and the task attribute. `cdb`: at most 16 bytes."""
    return REQUEST.pack(Opcode.SCSI_COMMAND, flags, 0, 0, data_length, lun, itt, expected_length, cmd_sn, exp_stat_sn,
                        cdb)


def task_management_request(function: int, lun: bytes, itt: int, referenced_tag: int, cmd_sn: int, exp_stat_sn: int,
                            ref_cmd_sn: int = 0) -> bytes:
    """Task Management Function Request (§11.5), immediate."""
    return REQUEST.pack(Opcode.TASK_MANAGEMENT_REQUEST | IMMEDIATE, FINAL | function, 0, 0, 0, lun, itt,
                        referenced_tag, cmd_sn, exp_stat_sn, ref_cmd_sn.to_bytes(4, "big"))


def login_request(flags: int, isid: bytes, tsih: int, itt: int, cid: int, cmd_sn: int, exp_stat_sn: int,
                  data_length: int) -> bytes:
    """Login Request (§11.12). `flags`: TRANSIT, CONTINUE, CSG << 2, NSG. Version is 0."""
    return REQUEST.pack(Opcode.LOGIN_REQUEST | IMMEDIATE, flags, 0, 0, data_length, isid + tsih.to_bytes(2, "big"),
                        itt, cid << 16, cmd_sn, exp_stat_sn, b"")


def text_request(flags: int, itt: int, ttt: int, cmd_sn: int, exp_stat_sn: int, data_length: int,
                 lun: bytes = NO_LUN) -> bytes:
    """Text Request (§11.10), immediate. `flags`: FINAL, CONTINUE."""
    return REQUEST.pack(Opcode.TEXT_REQUEST | IMMEDIATE, flags, 0, 0, data_length, lun, itt, ttt, cmd_sn, exp_stat_sn,
                        b"")


def data_out(final: bool, lun: bytes, itt: int, ttt: int, exp_stat_sn: int, data_sn: int, offset: int,
             data_length: int) -> bytes:
    """SCSI Data-Out (§11.7). `lun` with a valid TTT only; it carries no CmdSN."""
    return RESPONSE.pack(Opcode.SCSI_DATA_OUT, FINAL if final else 0, 0, 0, data_length, lun, itt, ttt, 0, exp_stat_sn,
                         0, data_sn, offset, 0)


def logout_request(reason: int, itt: int, cid: int, cmd_sn: int, exp_stat_sn: int) -> bytes:
    """Logout Request (§11.14), immediate."""
    return REQUEST.pack(Opcode.LOGOUT_REQUEST | IMMEDIATE, FINAL | reason, 0, 0, 0, NO_LUN, itt, cid << 16, cmd_sn,
                        exp_stat_sn, b"")


def snack_request(kind: int, lun: bytes, itt: int, ttt: int, exp_stat_sn: int, begin: int, run_length: int) -> bytes:
    """SNACK Request (§11.16)."""
    return RESPONSE.pack(Opcode.SNACK_REQUEST, FINAL | kind, 0, 0, 0, lun, itt, ttt, 0, exp_stat_sn, 0, 0, begin,
                         run_length)


# --- responses


def nop_in(lun: bytes, itt: int, ttt: int, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int,
           data_length: int = 0) -> bytes:
    """NOP-In (§11.19): the answer to a ping (ITT copied), a ping (TTT valid), or only the window (neither)."""
    return RESPONSE.pack(Opcode.NOP_IN, FINAL, 0, 0, data_length, lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn,
                         0, 0, 0)


def scsi_response(flags: int, status: int, itt: int, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int, exp_data_sn: int,
                  residual: int, data_length: int = 0, response: int = 0) -> bytes:
    """SCSI Response (§11.4). `flags`: OVERFLOW or UNDERFLOW or 0; the data segment is what `sense_segment` makes."""
    return RESPONSE.pack(Opcode.SCSI_RESPONSE, FINAL | flags, response, status, data_length, NO_LUN, itt, 0, stat_sn,
                         exp_cmd_sn, max_cmd_sn, exp_data_sn, 0, residual)


def task_management_response(response: int, itt: int, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int) -> bytes:
    """Task Management Function Response (§11.6)."""
    return RESPONSE.pack(Opcode.TASK_MANAGEMENT_RESPONSE, FINAL, response, 0, 0, NO_LUN, itt, 0, stat_sn, exp_cmd_sn,
                         max_cmd_sn, 0, 0, 0)


def login_response(flags: int, isid: bytes, tsih: int, itt: int, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int,
                   status: int, data_length: int) -> bytes:
    """Login Response (§11.13). `status` is class << 8 | detail."""
    return RESPONSE.pack(Opcode.LOGIN_RESPONSE, flags, 0, 0, data_length, isid + tsih.to_bytes(2, "big"), itt, 0,
                         stat_sn, exp_cmd_sn, max_cmd_sn, status << 16, 0, 0)


def text_response(flags: int, itt: int, ttt: int, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int,
                  data_length: int) -> bytes:
    """Text Response (§11.11). `flags`: FINAL, CONTINUE."""
    return RESPONSE.pack(Opcode.TEXT_RESPONSE, flags, 0, 0, data_length, NO_LUN, itt, ttt, stat_sn, exp_cmd_sn,
                         max_cmd_sn, 0, 0, 0)


def data_in(flags: int, status: int, itt: int, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int, data_sn: int,
            offset: int, residual: int, data_length: int) -> bytes:
    """SCSI Data-In (§11.7). `flags`: FINAL, DATA_IN_STATUS, OVERFLOW, UNDERFLOW; without status, StatSN is 0."""
    return RESPONSE.pack(Opcode.SCSI_DATA_IN, flags, 0, status, data_length, NO_LUN, itt, NO_TAG, stat_sn, exp_cmd_sn,
                         max_cmd_sn, data_sn, offset, residual)


def logout_response(response: int, itt: int, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int, time2wait: int = 0,
                    time2retain: int = 0) -> bytes:
    """Logout Response (§11.15). Times are seconds."""
    return RESPONSE.pack(Opcode.LOGOUT_RESPONSE, FINAL, response, 0, 0, NO_LUN, itt, 0, stat_sn, exp_cmd_sn,
                         max_cmd_sn, 0, time2wait << 16 | time2retain, 0)


def r2t(lun: bytes, itt: int, ttt: int, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int, r2t_sn: int, offset: int,
        length: int) -> bytes:
    """Ready To Transfer (§11.8). StatSN is the next one and is not used up."""
    return RESPONSE.pack(Opcode.R2T, FINAL, 0, 0, 0, lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn, r2t_sn, offset,
                         length)


def async_message(event: int, lun: bytes, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int, parameter1: int = 0,
                  parameter2: int = 0, parameter3: int = 0, vendor_code: int = 0, data_length: int = 0) -> bytes:
    """Asynchronous Message (§11.9)."""
    return RESPONSE.pack(Opcode.ASYNC_MESSAGE, FINAL, 0, 0, data_length, lun, NO_TAG, 0, stat_sn, exp_cmd_sn,
                         max_cmd_sn, event << 24 | vendor_code << 16 | parameter1, parameter2 << 16 | parameter3, 0)


def reject(reason: int, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int, data_sn: int = 0,
           data_length: int = BHS_BYTES) -> bytes:
    """Reject (§11.17); its data segment is the header of the PDU that is rejected."""
    return RESPONSE.pack(Opcode.REJECT, FINAL, reason, 0, data_length, NO_LUN, NO_TAG, 0, stat_sn, exp_cmd_sn,
                         max_cmd_sn, data_sn, 0, 0)


# --- data segments


def sense_segment(sense: bytes) -> bytes:
    """The data segment of a SCSI Response that carries sense: SenseLength, then the sense (§11.4.7)."""
    return len(sense).to_bytes(2, "big") + sense if sense else b""


def sense_of(segment: Buffer) -> bytes:
    """The sense in the data segment of a SCSI Response; b"" if there is none. Raises RemoteProtocolError."""
    if len(segment) == 0:
        return b""
    length = int.from_bytes(segment[:2], "big")
    if len(segment) < 2 + length:
        raise RemoteProtocolError(f"SenseLength is {length} in a data segment of {len(segment)} bytes",
                                  clause="RFC 7143 §11.4.7.1")
    return bytes(segment[2 : 2 + length])


PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
"""What a data segment is padded with, by its length modulo 4 (§11.2.3)."""
