"""What the login and target tests share: a node that says yes, machines joined without sockets, PDUs cut from bytes."""

from collections.abc import Callable
from dataclasses import dataclass, field

from mpio.model.address import Portal
from mpio.model.settings import Settings
from mpio.model.task import Buffer
from mpio.proto.iscsi import pdu
from mpio.proto.iscsi.chap import ChapConfig
from mpio.proto.iscsi.login import InitiatorLogin, LoginParams
from mpio.proto.iscsi.negotiation import SessionParams
from mpio.proto.iscsi.target import TargetConnection
from mpio.proto.iscsi.target_login import Admission, TargetLogin, TargetParams
from mpio.proto.iscsi.target_task import TargetTask

PORTAL = Portal("127.0.0.1")
INITIATOR = "iqn.2024-01.example:host"
TARGET = "iqn.2024-01.example:disk"
ISID = b"\x80\x12\x34\x56\x00\x01"
SEED_I, SEED_T = bytes(range(16)), bytes(range(100, 132))
LUN = bytes(8)


@dataclass
class Node:
    """A LoginAcceptor with one disk of zeros; keeps what it was asked."""

    admission: Admission = field(default_factory=Admission)
    tsih: int = 7
    targets: list[tuple[str, list[tuple[Portal, int]]]] = field(default_factory=list)
    sessions: list[SessionParams] = field(default_factory=list)
    tasks: list[TargetTask] = field(default_factory=list)
    managed: list[tuple[int, bytes, TargetTask | None, Callable[[int], None]]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    answer: Callable[[TargetTask], None] | None = None  # None: tasks stay open

    def admit(self, initiator_name: str, target_name: str | None, portal: Portal) -> Admission:
        return self.admission

    def open_session(self, connection: TargetConnection, params: SessionParams) -> int:
        self.sessions.append(params)
        connection.on_command = self._command
        connection.on_task_management = lambda *args: self.managed.append(args)
        connection.on_closed = lambda _, cause: self.closed.append(cause)
        return self.tsih

    def send_targets(
        self, initiator_name: str, target_name: str | None, portal: Portal
    ) -> list[tuple[str, list[tuple[Portal, int]]]]:
        return [item for item in self.targets if target_name in (None, item[0])]

    def _command(self, task: TargetTask) -> None:
        self.tasks.append(task)
        if self.answer is not None:
            self.answer(task)


def settings(**changes: object) -> Settings:
    return Settings().replace(**changes)


def initiator(configured: Settings, target: str | None = TARGET, segment_max: int = 8192) -> InitiatorLogin:
    params = LoginParams(INITIATOR, target, ISID, configured, initial_cmd_sn=5, challenge_seed=SEED_I)
    return InitiatorLogin(params, segment_max)


def past_security(configured: Settings) -> InitiatorLogin:
    """An initiator without CHAP in the operational stage."""
    login = initiator(configured)
    assert login.request().flags == 0x81
    login.receive(0x81, 0, 0, b"TargetPortalGroupTag=1\0AuthMethod=None\0")
    return login


def target(node: Node | None = None, segment_max: int = 8192, **changes: object) -> TargetLogin:
    node = node or Node()
    params = TargetParams(PORTAL, challenge_seed=SEED_T, **changes)  # type: ignore[arg-type]

    def open_session(session: SessionParams) -> int:
        node.sessions.append(session)
        return node.tsih

    return TargetLogin(params, node, open_session, segment_max)


def join(one: InitiatorLogin, other: TargetLogin) -> list[str]:
    """Run both machines against each other; returns the exchange as lines of flags and text. May raise."""
    lines = []
    while not one.done and one.redirect is None:
        step = one.request()
        lines.append(f"> {step.flags:02x} {step.text.decode()}")
        reply = other.receive(step.flags, 0, ISID, 0, step.text)
        lines.append(f"< {reply.flags:02x} {reply.status:04x} {reply.text.decode()}")
        one.receive(reply.flags, reply.tsih, reply.status, reply.text)
    return lines


CHAP = ChapConfig("user", "a secret of 16 b", "disk", "another secret!!")


# --- connections


@dataclass(frozen=True)
class Pdu:
    header: pdu.ResponseHeader
    data: bytes

    @property
    def opcode(self) -> int:
        return self.header.opcode


def cut(buffers: list[Buffer]) -> list[Pdu]:
    """The PDUs in the bytes, without digests."""
    stream = b"".join(buffers)
    found = []
    while stream:
        header = pdu.parse_response(stream)
        length = header.data_length
        found.append(Pdu(header, stream[48 : 48 + length]))
        stream = stream[48 + length + (-length & 3) :]
    return found


def padded(header: bytes, data: bytes = b"") -> bytes:
    return header + data + bytes(-len(data) & 3)


def login_pdu(text: str, flags: int = 0x87, cmd_sn: int = 5, tsih: int = 0) -> bytes:
    data = text.replace("|", "\0").encode()
    return padded(pdu.login_request(flags, ISID, tsih, 1, 3, cmd_sn, 0, len(data)), data)


NAMES = f"InitiatorName={INITIATOR}|TargetName={TARGET}|SessionType=Normal|"
FULL = NAMES + (
    "InitialR2T=No|ImmediateData=Yes|MaxBurstLength=16384|FirstBurstLength=8192|MaxRecvDataSegmentLength=4096|"
)


class Session:
    """A target connection that is logged in, and an initiator's counters for it."""

    def __init__(self, node: Node | None = None, text: str = FULL, **changes: object) -> None:
        self.node = node or Node()
        params = TargetParams(PORTAL, challenge_seed=SEED_T, **changes)  # type: ignore[arg-type]
        self.target = TargetConnection(params, self.node, 0)
        self.cmd_sn = 5
        (answer,) = self.send(login_pdu(text))
        assert answer.opcode == pdu.Opcode.LOGIN_RESPONSE
        assert answer.header.word36 == 0, answer
        assert answer.header.flags == 0x87

    def send(self, data: bytes, now: int = 0) -> list[Pdu]:
        self.target.receive(data, now)
        return cut(self.target.data_to_send())

    def command(
        self,
        itt: int,
        *,
        read: int = 0,
        write: int = 0,
        data: bytes = b"",
        final: bool = True,
        immediate: bool = False,
        cmd_sn: int | None = None,
        lun: bytes = LUN,
    ) -> bytes:
        flags = (0x80 if final else 0) | (0x40 if read else 0) | (0x20 if write else 0) | 1
        if cmd_sn is None:
            cmd_sn = self.cmd_sn
            self.cmd_sn += not immediate
        header = bytearray(
            pdu.scsi_command(flags, lun, itt, read or write, cmd_sn & 0xFFFFFFFF, 0, bytes(16), len(data))
        )
        header[0] |= 0x40 * immediate
        return padded(bytes(header), data)

    def data_out(self, itt: int, ttt: int, data_sn: int, offset: int, data: bytes, *, final: bool) -> bytes:
        return padded(pdu.data_out(final, LUN, itt, ttt, 0, data_sn, offset, len(data)), data)

    def manage(self, function: int, itt: int, rtt: int = pdu.NO_TAG, lun: bytes = LUN, ref_cmd_sn: int = 0) -> bytes:
        return pdu.task_management_request(function, lun, itt, rtt, self.cmd_sn, 0, ref_cmd_sn)
