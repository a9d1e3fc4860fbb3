"""Numbers and fixed headers of the NBD protocol. Everything is big-endian."""

from enum import IntEnum, IntFlag
from struct import Struct

DEFAULT_PORT = 10809

GREETING = Struct(">QQH")  # magic, option magic, handshake flags
MAGIC = int.from_bytes(b"NBDMAGIC", "big")
OPTION_MAGIC = int.from_bytes(b"IHAVEOPT", "big")
FIXED_NEWSTYLE = 1  # handshake flags, of both sides
NO_ZEROES = 2

OPTION = Struct(">QII")  # option magic, option, length
OPTION_REPLY = Struct(">QIII")  # reply magic, option, type, length
OPTION_REPLY_MAGIC = 0x3E889045565A9

REQUEST = Struct(">IHHQQI")  # magic, flags, command, cookie, offset, length
REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY = Struct(">IIQ")  # magic, error, cookie
SIMPLE_REPLY_MAGIC = 0x67446698
CHUNK = Struct(">IHHQI")  # magic, flags, type, cookie, length
CHUNK_MAGIC = 0x668E33EF
CHUNK_DONE = 1

BASE_ALLOCATION = "base:allocation"
STATE_HOLE = 1
EXPORT_NAME_MAX = 4096


class Option(IntEnum):
    """What the client asks for before it reads and writes."""

    ABORT = 2
    GO = 7
    STRUCTURED_REPLY = 8
    SET_META_CONTEXT = 10


class OptionReply(IntEnum):
    """Types of answers; errors have the highest bit."""

    ACK = 1
    INFO = 3
    META_CONTEXT = 4
    ERROR = 0x8000_0000
    UNSUPPORTED = 0x8000_0001
    POLICY = 0x8000_0002
    TLS_REQUIRED = 0x8000_0005
    UNKNOWN = 0x8000_0006


class Info(IntEnum):
    """What GO tells of an export."""

    EXPORT = 0
    BLOCK_SIZE = 3


class ExportFlag(IntFlag):
    """What an export can do."""

    HAS_FLAGS = 1
    READ_ONLY = 2
    SEND_FLUSH = 4
    SEND_FUA = 8
    SEND_TRIM = 32
    SEND_WRITE_ZEROES = 64


class Command(IntEnum):
    """What can be asked of an export."""

    READ = 0
    WRITE = 1
    DISCONNECT = 2
    FLUSH = 3
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


FLAG_FUA = 1  # of a command


class Chunk(IntEnum):
    """Types of structured reply chunks; errors have the highest bit."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    ERROR = 0x8000


class NbdError(IntEnum):
    """Error numbers on the wire; they are Linux's."""

    EPERM = 1
    EIO = 5
    ENOMEM = 12
    EINVAL = 22
    ENOSPC = 28
    EOVERFLOW = 75
    ENOTSUP = 95
    ESHUTDOWN = 108
