"""Both roles joined in memory: whatever was negotiated and however TCP cuts the stream, data arrive whole."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.unit.proto_iscsi_login.login_kit import CHAP, INITIATOR, ISID, PORTAL, SEED_I, SEED_T, TARGET, Node, settings

from mpio.model.settings import Settings
from mpio.model.task import Buffer, Outcome, Task
from mpio.proto.iscsi import InitiatorConnection, LoginParams
from mpio.proto.iscsi.target import TargetConnection
from mpio.proto.iscsi.target_login import Admission, TargetParams
from mpio.proto.iscsi.target_state import State
from mpio.proto.iscsi.target_task import TargetTask

DISK_BYTES = 1 << 18
LUN = bytes(8)


class Disk(Node):
    """Reads and writes at the offset in CDB bytes 2-5, as long as the transfer says."""

    def __init__(self, admission: Admission | None = None) -> None:
        super().__init__(admission or Admission())
        self.content = bytearray(DISK_BYTES)
        self.answer = self._execute

    def _execute(self, task: TargetTask) -> None:
        offset = int.from_bytes(task.cdb[2:6], "big")
        end = offset + task.expected_length
        if task.is_write:
            self.content[offset:end] = task.data
            task.connection.complete(task, 0)
        else:
            task.connection.complete(task, 0, bytes(self.content[offset:end]))


@dataclass
class Wires:
    """An initiator and a target, and bytes on their way between them in pieces of `step`."""

    initiator: InitiatorConnection
    target: TargetConnection
    step: int

    def run(self) -> None:
        moved = True
        while moved:
            moved = False
            for stream, receive in (
                (self.initiator.data_to_send(), self.target.receive),
                (self.target.data_to_send(), self.initiator.receive),
            ):
                data = b"".join(bytes(piece) for piece in stream)
                moved = moved or bool(data)
                for at in range(0, len(data), self.step):
                    receive(data[at : at + self.step], 0)


def connect(node: Node, ours: Settings, step: int = 1 << 20, **theirs: object) -> Wires:
    params = LoginParams(INITIATOR, TARGET, ISID, ours, initial_cmd_sn=0xFFFFFFF0, challenge_seed=SEED_I)
    one = InitiatorConnection(params)
    other = TargetConnection(TargetParams(PORTAL, challenge_seed=SEED_T, **theirs), node, 0)  # type: ignore[arg-type]
    wires = Wires(one, other, step)
    one.start(0)
    wires.run()
    assert other.state is State.FULL_FEATURE
    assert one.negotiated == other.negotiated
    return wires


def cdb(offset: int) -> bytes:
    return bytes(2) + offset.to_bytes(4, "big") + bytes(10)


def write(wires: Wires, offset: int, data: Buffer, done: list[Task]) -> None:
    wires.initiator.submit(Task(LUN, cdb(offset), done.append, data_out=data), 0)


def read(wires: Wires, offset: int, size: int, done: list[Task]) -> memoryview:
    buffer = memoryview(bytearray(size))
    wires.initiator.submit(Task(LUN, cdb(offset), done.append, read_buffer=buffer), 0)
    return buffer


SIDE = st.fixed_dictionaries({
    "initial_r2t": st.booleans(),
    "immediate_data": st.booleans(),
    "max_burst_length": st.sampled_from([4096, 5000, 16384, 262144]),
    "first_burst_length": st.sampled_from([512, 1000, 4096]),
    "max_recv_data_segment_length": st.sampled_from([512, 1001, 8192, 65536, 262144]),
})  # fmt: skip
DIGEST = st.sampled_from(["None", "CRC32C"])
SIZES = st.one_of(st.integers(1, 600), st.integers(1, 70_000), st.sampled_from([512, 4096, 8192, 65536, 131072]))
TRANSFERS = st.lists(st.tuples(st.integers(0, 65536), SIZES), min_size=1, max_size=5)


@hypothesis_settings(max_examples=120, deadline=None)
@given(SIDE, SIDE, DIGEST, DIGEST, TRANSFERS, st.integers(1, 70_000))
def test_data_arrive_whole(
    ours: dict[str, object],
    theirs: dict[str, object],
    header_digest: str,
    data_digest: str,
    transfers: list[tuple[int, int]],
    step: int,
) -> None:
    node = Disk()
    total = sum(size for _, size in transfers)
    configured = settings(**ours, header_digest=header_digest, data_digest=data_digest)
    wires = connect(node, configured, max(step, total // 2000), **theirs)
    expected = bytearray(DISK_BYTES)
    for number, (offset, size) in enumerate(transfers):
        done: list[Task] = []
        data = bytes((number * 31 + n * 7) & 0xFF for n in range(size))
        expected[offset : offset + size] = data
        write(wires, offset, data, done)
        wires.run()
        assert [(task.outcome, task.status, task.residual) for task in done] == [(Outcome.COMPLETED, 0, 0)]
    assert node.content == expected
    done = []
    buffers = [read(wires, offset, size, done) for offset, size in transfers]
    wires.run()
    assert [(task.outcome, task.status, task.residual) for task in done] == [(Outcome.COMPLETED, 0, 0)] * len(transfers)
    for buffer, (offset, size) in zip(buffers, transfers, strict=True):
        assert buffer == expected[offset : offset + size]
    assert wires.target.in_flight == 0


@pytest.mark.parametrize("size", [1, 511, 512, 8191, 8192, 8193, 65535, 65536, 65537, 262144])
@pytest.mark.parametrize("initial_r2t", [False, True])
@pytest.mark.parametrize("immediate_data", [False, True])
def test_every_way_of_write_data(size: int, initial_r2t: bool, immediate_data: bool) -> None:
    node = Disk()
    configured = settings(
        initial_r2t=initial_r2t, immediate_data=immediate_data, first_burst_length=16384, max_burst_length=65536
    )
    wires = connect(node, configured, max_recv_data_segment_length=8192)
    done: list[Task] = []
    data = bytes(n * 13 & 0xFF for n in range(size))
    write(wires, 0, data, done)
    wires.run()
    assert done[0].status == 0
    assert node.content[:size] == data


def test_many_commands_in_flight_past_the_window() -> None:
    """300 commands with a window of 16: the initiator queues or waits, nothing is lost or done twice."""
    node = Disk()
    wires = connect(node, settings(), queue_depth=16)
    done: list[Task] = []
    for number in range(300):
        write(wires, number * 512, bytes([number & 0xFF]) * 512, done)
    wires.run()
    assert len(done) == len(node.tasks) == 300
    assert all(task.outcome is Outcome.COMPLETED and task.status == 0 for task in done)
    assert node.content[: 300 * 512] == b"".join(bytes([n & 0xFF]) * 512 for n in range(300))


def test_the_old_session_is_gone_when_the_new_one_answers() -> None:
    """Session reinstatement: half a write on the old connection is never executed (RFC 7143 §6.3.5)."""

    class Registry(Disk):
        live: TargetConnection | None = None

        def open_session(self, connection: TargetConnection, params: object) -> int:
            if self.live is not None:
                self.live.close("session reinstatement")
            self.live = connection
            return super().open_session(connection, params)  # type: ignore[arg-type]

    node = Registry()
    old = connect(node, settings(initial_r2t=True, immediate_data=False))
    done: list[Task] = []
    write(old, 0, b"old " * 1024, done)
    old.target.receive(b"".join(old.initiator.data_to_send()), 0)
    old.initiator.receive(b"".join(old.target.data_to_send()), 0)  # the R2T
    late = b"".join(bytes(piece) for piece in old.initiator.data_to_send())
    assert len(late) > 4096
    new = connect(node, settings())
    write(new, 0, b"new " * 1024, done)
    new.run()
    old.target.receive(late, 0)
    assert old.target.data_to_send() == []
    assert node.content[:4096] == b"new " * 1024
    old.initiator.receive_eof(0)
    assert [task.outcome for task in done] == [Outcome.COMPLETED, Outcome.IN_DOUBT]


def test_chap_and_digests_on_the_wire() -> None:
    configured = settings(
        username="user", password="a secret of 16 b", username_in="disk", password_in="another secret!!",
        header_digest="CRC32C", data_digest="CRC32C",
    )  # fmt: skip
    node = Disk(Admission(chap=CHAP, alias="the disk"))
    wires = connect(node, configured, step=7)
    assert wires.initiator.negotiated is not None
    assert wires.initiator.negotiated.target_alias == "the disk"
    done: list[Task] = []
    write(wires, 3, b"hello", done)
    wires.run()
    buffer = read(wires, 3, 5, done)
    wires.run()
    assert bytes(buffer) == b"hello"
    assert len(done) == 2
