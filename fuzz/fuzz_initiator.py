"""Coverage-guided fuzzing of the initiator's connection: `python fuzz/fuzz_initiator.py [-runs=N] [CORPUS]`.

The first byte chooses how far the session has come, the next two where the stream is cut. Whatever bytes follow are
parsed, or the connection ends and says why; anything raised is a finding. So is a task that does not end exactly once,
a GOOD without all its data, and output after the end.
"""

import sys

import atheris

with atheris.instrument_imports(include=["mpio"]):
    from mpio.model.settings import FAST
    from mpio.model.task import Outcome, Task, lun_bytes
    from mpio.proto.iscsi import ConnectionState, InitiatorConnection, LoginParams, TaskFunction, pdu

LUN = lun_bytes(1)
ISID = b"\x80\0\0\0\0\1"
SECOND = 1_000_000_000
SETTINGS = FAST.replace(max_recv_data_segment_length=65536)
CHAP = SETTINGS.replace(username="user", password="secret of 16 byte", password_in="another secret!!")  # noqa: S106
KEYS = "TargetPortalGroupTag=1\0MaxRecvDataSegmentLength=512\0"
TRANSFER = "InitialR2T=Yes\0FirstBurstLength=512\0MaxBurstLength=1024\0"

STAGES = ("idle", "login", "chap", "normal", "header digest", "data digest", "discovery", "aborting", "logout")


def login_answer(text: str) -> bytes:
    """A Login Response that ends the login; the command window is open, StatSN starts at 0."""
    data = text.encode()
    return pdu.login_response(0x87, ISID, 1, 1, 0, 1, 64, 0, len(data)) + data + bytes(-len(data) & 3)


def connect(stage: str) -> InitiatorConnection:
    """A connection that has come as far as the stage says."""
    digests = {"header digest": ("CRC32C", "None"), "data digest": ("None", "CRC32C")}.get(stage, ("None", "None"))
    settings = CHAP if stage == "chap" else SETTINGS.replace(
        header_digest=f"{digests[0]},None" if digests[0] != "None" else "None",
        data_digest=f"{digests[1]},None" if digests[1] != "None" else "None",
    )
    target = None if stage == "discovery" else "iqn.2024-01.example:t"
    connection = InitiatorConnection(LoginParams("iqn.2024-01.example:i", target, ISID, settings, 1, bytes(32)))
    if stage == "idle":
        return connection
    connection.start(0)
    connection.data_to_send()
    if stage in ("login", "chap"):
        return connection
    answers = f"{KEYS}HeaderDigest={digests[0]}\0DataDigest={digests[1]}\0" + (TRANSFER if target else "")
    connection.receive(login_answer(answers), 0)
    if connection.state is not ConnectionState.FULL_FEATURE:
        raise AssertionError(f"login: {connection.end_cause}")
    return connection


def submit(connection: InitiatorConnection, stage: str) -> tuple[list[Task], list[Task]]:
    """Tasks of each kind, and the list in which each is put at its end."""
    ended: list[Task] = []
    tasks = [
        Task(LUN, bytes(10), ended.append, read_buffer=memoryview(bytearray(64)), timeout_ns=SECOND),
        Task(LUN, bytes(10), ended.append, data_out=bytes(2000), timeout_ns=SECOND),
        Task(LUN, bytes(6), ended.append),
        Task(LUN, bytes(10), ended.append, read_buffer=memoryview(bytearray(40_000))),
    ]
    for task in tasks:
        connection.submit(task, 0)
    if stage == "discovery":
        connection.send_targets("All", 0)
    connection.data_to_send()
    if stage == "aborting":
        connection.handle_timer(SECOND)
        connection.manage(TaskFunction.LOGICAL_UNIT_RESET, LUN, lambda _: None, SECOND)
    elif stage == "logout":
        connection.logout(0)
    return tasks, ended


def test_one_input(data: bytes) -> None:
    if len(data) < 3:
        return
    stage = STAGES[data[0] % len(STAGES)]
    connection = connect(stage)
    tasks: list[Task] = []
    ended: list[Task] = []
    if connection.state is ConnectionState.FULL_FEATURE:
        tasks, ended = submit(connection, stage)
    step = int.from_bytes(data[1:3], "big") or 1
    now = 0
    for at in range(3, len(data), step):
        connection.receive(data[at : at + step], now)
        connection.data_to_send()
        now += SECOND // 8
        if data[0] & 0x80:
            connection.handle_timer(now)
    if connection.state is ConnectionState.ENDED:
        assert connection.end_cause
        assert connection.next_event() is not None
        assert connection.data_to_send() == []
        assert connection.next_deadline() is None
    connection.receive_eof(now)
    assert sorted(map(id, ended)) == sorted(map(id, tasks))
    for task in ended:
        assert task.outcome != Outcome.PENDING
        if task.outcome == Outcome.COMPLETED and task.status == 0:
            assert task.received >= len(task.read_buffer or task.data_out or b"") - max(task.residual, 0)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
