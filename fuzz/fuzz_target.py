"""Coverage-guided fuzzing of the target's connection: `python fuzz/fuzz_target.py [-runs=N] [CORPUS]`.

The first byte chooses how far the session has come, the next two where the stream is cut. Whatever bytes follow, the
connection has to answer or to end; anything raised is a finding, and so is a task whose write data are not whole.
"""

import sys
from collections.abc import Sequence

import atheris

with atheris.instrument_imports(include=["mpio"]):
    from mpio.model.address import Portal
    from mpio.proto.iscsi import pdu
    from mpio.proto.iscsi.chap import ChapConfig
    from mpio.proto.iscsi.negotiation import SessionParams
    from mpio.proto.iscsi.target import TargetConnection
    from mpio.proto.iscsi.target_login import Admission, TargetParams
    from mpio.proto.iscsi.target_task import TargetTask

PORTAL = Portal("127.0.0.1")
READ_BYTES_MAX = 1 << 16
KEYS = "InitiatorName=iqn.fuzz\0TargetName=iqn.t\0InitialR2T=No\0MaxBurstLength=4096\0FirstBurstLength=1024\0"


def login(text: str, flags: int) -> bytes:
    """A Login Request as the first bytes of a connection."""
    data = text.encode()
    return pdu.login_request(flags, bytes(6), 0, 1, 0, 1, 0, len(data)) + data + bytes(-len(data) & 3)


STAGES = [
    b"",
    login(KEYS + "AuthMethod=CHAP,None\0", 0x00),
    login(KEYS, 0x44),
    login(KEYS, 0x87),
    login(KEYS + "HeaderDigest=CRC32C\0", 0x87),
    login(KEYS + "DataDigest=CRC32C\0", 0x87),
    login("InitiatorName=iqn.fuzz\0SessionType=Discovery\0", 0x87),
]


class Node:
    """Lets everybody in and completes commands at once, or not at all."""

    def __init__(self, *, answers: bool, chap: ChapConfig | None) -> None:
        self._answers = answers
        self._chap = chap

    def admit(self, initiator_name: str, target_name: str | None, portal: Portal) -> Admission:  # noqa: ARG002
        """CHAP or nothing."""
        return Admission(chap=self._chap)

    def open_session(self, connection: TargetConnection, params: SessionParams) -> int:  # noqa: ARG002
        """Take the callbacks."""
        connection.on_command = self._execute
        connection.on_task_management = lambda _function, _lun, _task, respond: respond(0)
        return 1

    def send_targets(
        self, initiator_name: str, target_name: str | None, portal: Portal  # noqa: ARG002
    ) -> Sequence[tuple[str, Sequence[tuple[Portal, int]]]]:
        """More than fits one PDU."""
        return [(f"iqn.t{number}", [(portal, 1)]) for number in range(200)]

    def _execute(self, task: TargetTask) -> None:
        if task.is_write and len(task.data) != task.expected_length:
            raise AssertionError(f"{task} has {len(task.data)} of {task.expected_length} bytes")
        if self._answers:
            size = min(task.expected_length, READ_BYTES_MAX) if task.is_read else 0
            task.connection.complete(task, 0, bytes(size))


def test_one_input(data: bytes) -> None:
    if len(data) < 3:
        return
    chap = ChapConfig("user", "secret") if data[0] & 0x40 else None
    params = TargetParams(PORTAL, challenge_seed=bytes(16), queue_depth=8, gather_bytes_max=1 << 20)
    target = TargetConnection(params, Node(answers=data[0] < 0x80, chap=chap), 0)
    step = int.from_bytes(data[1:3], "big") or 1
    target.receive(STAGES[(data[0] & 0x3F) % len(STAGES)], 0)
    for at in range(3, len(data), step):
        target.receive(data[at : at + step], 0)
        target.data_to_send()
    assert target.in_flight <= params.queue_depth + params.immediate_max
    target.receive_eof(0)
    assert target.in_flight == 0


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
