"""What the initiator tests share: a connection that is logged in, and a target that says what the test tells it to."""

import os
from collections.abc import Callable

from mpio.model.settings import Settings, profile
from mpio.model.task import Outcome, Task, lun_bytes
from mpio.proto.iscsi import InitiatorConnection, LoginParams, pdu
from mpio.proto.iscsi.initiator_events import ConnectionEvent, LoginCompleted
from mpio.proto.iscsi.pdu import Opcode, RequestHeader
from mpio.proto.iscsi.stream import PduSender

MS = 1_000_000
S = 1_000_000_000
LUN = lun_bytes(1)
READ = bytes.fromhex("28000000000000000800")
WRITE = bytes.fromhex("2a000000000000000800")
TEST_UNIT_READY = bytes(6)
SETTINGS = profile("fast").replace(noop_out_interval=0.0, noop_out_timeout=0.0)
ANSWER = {
    "TargetPortalGroupTag": "1", "HeaderDigest": "None", "DataDigest": "None", "MaxRecvDataSegmentLength": "65536",
    "InitialR2T": "No", "ImmediateData": "Yes", "MaxBurstLength": "262144", "FirstBurstLength": "65536",
}  # fmt: skip


TARGET = "iqn.2026-01.test:t"


def params(settings: Settings = SETTINGS, initial_cmd_sn: int = 1, target: str | None = TARGET) -> LoginParams:
    return LoginParams("iqn.2026-01.test:i", target, b"\x80\0\0\0\0\1", settings, initial_cmd_sn, bytes(range(32)))


class Peer:
    """A connection and the target at its other end, both in this process and without a network.

    `exp_cmd_sn` and `window` are what the next PDU will say; `stat_sn` goes up by itself.
    """

    def __init__(self, settings: Settings = SETTINGS, *, initial_cmd_sn: int = 1, window: int = 32,
                 target: str | None = TARGET, **answer: str) -> None:
        self.now = 0
        self.connection = InitiatorConnection(params(settings, initial_cmd_sn, target))
        self.connection.start(self.now)
        [(login, _)] = self.sent()
        self.exp_cmd_sn = login.cmd_sn
        self.window = window
        self.stat_sn = 0x7FFFFFFE  # on its way over the middle
        self.header_digest = self.data_digest = False
        keys = ANSWER | answer
        if target is None:  # keys of data transfer are not negotiated for discovery
            keys = {key: keys[key] for key in ("HeaderDigest", "DataDigest", "MaxRecvDataSegmentLength")}
        self.send(security_answer(login, self.status()))
        [(login, _)] = self.sent()
        text = "".join(f"{key}={value}\0" for key, value in keys.items()).encode()
        self.send(pdu.login_response(0x87, login.lun[:6], 1, login.itt, self.status(), *self.numbers(), 0, len(text)),
                  text)
        self.header_digest = keys["HeaderDigest"] == "CRC32C"
        self.data_digest = keys["DataDigest"] == "CRC32C"
        assert isinstance(self.event(), LoginCompleted)

    def numbers(self) -> tuple[int, int]:
        return self.exp_cmd_sn, pdu.serial_add(self.exp_cmd_sn, self.window - 1)

    def status(self) -> int:
        self.stat_sn = pdu.serial_add(self.stat_sn, 1)
        return pdu.serial_add(self.stat_sn, -1)

    def wire(self, header: bytes, data: bytes = b"") -> bytes:
        sender = PduSender()
        sender.header_digest, sender.data_digest = self.header_digest, self.data_digest
        if data:
            sender.put_data(header, data)
        else:
            sender.put(header)
        return b"".join(sender.drain())

    def send(self, header: bytes, data: bytes = b"") -> None:
        self.connection.receive(self.wire(header, data), self.now)

    def event(self) -> ConnectionEvent | None:
        return self.connection.next_event()

    def events(self) -> list[ConnectionEvent]:
        found = []
        while (event := self.event()) is not None:
            found.append(event)
        return found

    def sent(self) -> list[tuple[RequestHeader, bytes]]:
        return split(b"".join(self.connection.data_to_send()))

    def submit(self, task: Task) -> Task:
        self.connection.submit(task, self.now)
        return task

    def take(self) -> list[tuple[RequestHeader, bytes]]:
        """What was sent, commands counted as received."""
        sent = self.sent()
        self.exp_cmd_sn = pdu.serial_add(self.exp_cmd_sn, sum(h.opcode == Opcode.SCSI_COMMAND for h, _ in sent))
        return sent

    def data_in(self, task: Task, data: bytes, *, offset: int = 0, data_sn: int = 0, final: bool = True,
                status: int | None = 0, flags: int = 0, residual: int = 0) -> None:
        self.send(self.data_in_header(task, len(data), offset=offset, data_sn=data_sn, final=final, status=status,
                                      flags=flags, residual=residual), data)

    def data_in_header(self, task: Task, length: int, *, offset: int = 0, data_sn: int = 0, final: bool = True,
                       status: int | None = 0, flags: int = 0, residual: int = 0) -> bytes:
        flags |= (pdu.FINAL if final else 0) | (pdu.DATA_IN_STATUS if status is not None else 0)
        stat_sn = 0 if status is None else self.status()
        return pdu.data_in(flags, status or 0, task.itt, stat_sn, *self.numbers(), data_sn, offset, residual, length)

    def respond(self, task: Task, status: int = 0, *, flags: int = 0, residual: int = 0, sense: bytes = b"",
                response: int = 0) -> None:
        segment = pdu.sense_segment(sense)
        self.send(pdu.scsi_response(flags, status, task.itt, self.status(), *self.numbers(), 0, residual, len(segment),
                                    response), segment)

    def r2t(self, task: Task, offset: int, length: int, *, r2t_sn: int = 0, ttt: int = 0x55) -> None:
        self.send(pdu.r2t(LUN, task.itt, ttt, self.stat_sn, *self.numbers(), r2t_sn, offset, length))

    def managed(self, itt: int, response: int) -> None:
        self.send(pdu.task_management_response(response, itt, self.status(), *self.numbers()))

    def at(self, now: int) -> None:
        """Move the clock and let the timer run."""
        self.now = now
        self.connection.handle_timer(now)


def security_answer(login: RequestHeader, stat_sn: int = 0) -> bytes:
    """A Login Response that goes on to the operational stage without authentication."""
    text = b"AuthMethod=None\0"
    return pdu.login_response(0x81, login.lun[:6], 0, login.itt, stat_sn, login.cmd_sn, login.cmd_sn, 0,
                              len(text)) + text


def split(wire: bytes) -> list[tuple[RequestHeader, bytes]]:
    """The PDUs in the bytes, without digests."""
    found = []
    while wire:
        header = pdu.parse_request(wire)
        length = header.data_length
        found.append((header, wire[48 : 48 + length]))
        wire = wire[48 + (length + 3 & ~3) :]
    return found


class Done:
    """An on_done that remembers."""

    def __init__(self, then: Callable[[Task], None] | None = None) -> None:
        self.tasks: list[Task] = []
        self.then = then

    def __call__(self, task: Task) -> None:
        self.tasks.append(task)
        if self.then is not None:
            self.then(task)


def read(length: int = 4096, done: Callable[[Task], None] | None = None, timeout_ns: int = 0) -> Task:
    return Task(LUN, READ, done or Done(), read_buffer=memoryview(bytearray(length)), timeout_ns=timeout_ns)


def write(data: bytes, done: Callable[[Task], None] | None = None, timeout_ns: int = 0) -> Task:
    return Task(LUN, WRITE, done or Done(), data_out=data, timeout_ns=timeout_ns)


def contents(task: Task) -> bytes:
    """What is in its read buffer."""
    return bytes(task.read_buffer or b"")


def outcome(task: Task) -> Outcome:
    """Its outcome by now."""
    return task.outcome


def no_data(done: Callable[[Task], None] | None = None, timeout_ns: int = 0) -> Task:
    return Task(LUN, TEST_UNIT_READY, done or Done(), timeout_ns=timeout_ns)


def payload(length: int) -> bytes:
    return os.urandom(length)
