"""What each filter does to an initiator, over real protocol engines in virtual time."""

import pytest
from tests.unit.target.filter_kit import BLOCK, PORTALS, SETTINGS, Bench

from mpio.model.identity import AluaState
from mpio.model.settings import Settings
from mpio.model.task import Outcome, Status
from mpio.proto.iscsi import TaskFunction
from mpio.proto.iscsi import initiator_events as ev
from mpio.proto.scsi import cdb
from mpio.proto.scsi.inquiry import PAGE_IDENTIFICATION, PAGE_SERIAL
from mpio.proto.scsi.sense import (
    ALUA_STATE_CHANGED,
    CAPACITY_CHANGED,
    MODE_PARAMETERS_CHANGED,
    READ_ERROR,
    WRITE_PROTECTED,
)
from mpio.units import NS_PER_S

A, B, C = b"a" * BLOCK, b"b" * BLOCK, b"c" * BLOCK


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_delay_answers_late_what_was_done_at_once(bench: Bench) -> None:
    line = bench.line()
    bench.add("delay", time="2s", opcode="write")
    task = line.write(0, A)
    assert bench.store.read(0, BLOCK) == A
    bench.wait(1.9)
    assert task.outcome is Outcome.PENDING
    bench.wait(0.2)
    assert (task.outcome, task.status) == (Outcome.COMPLETED, Status.GOOD)
    assert line.read() == A, "reads are not delayed"


def test_hang_holds_commands_until_its_time_is_over_and_keeps_their_order(bench: Bench) -> None:
    line = bench.line()
    bench.add("hang", lasts="5s", lun=1)
    tasks = [line.write(0, data) for data in (A, B)]
    assert line.read(lun=2) == bytes(BLOCK)
    assert bench.store.read(0, BLOCK) == bytes(BLOCK)
    bench.wait(5.1)
    assert [task.status for task in tasks] == [Status.GOOD, Status.GOOD]
    assert line.read() == B


def test_what_is_aborted_while_it_hangs_never_happens(bench: Bench) -> None:
    line = bench.line()
    key = bench.add("hang")
    line.write(0, A)
    answers: list[int | None] = []
    line.one.manage(TaskFunction.LOGICAL_UNIT_RESET, b"\0\1" + bytes(6), answers.append, bench.now)
    bench.run()
    assert answers == [0]
    bench.node.filters.remove(key)
    bench.run()
    assert bench.store.read(0, BLOCK) == bytes(BLOCK)


def test_error_answers_with_the_sense_and_does_nothing(bench: Bench) -> None:
    line = bench.line()
    bench.add("error", sense="03/11/00", lba="4-7")
    assert line.sense(cdb.read(7, 1)) == READ_ERROR
    assert line.read(8) == bytes(BLOCK)
    task = line.write(4, A)
    assert task.status == Status.CHECK_CONDITION
    assert bench.store.read(4 * BLOCK, BLOCK) == bytes(BLOCK)


@pytest.mark.parametrize(("word", "status"), [("busy", Status.BUSY), ("task-set-full", Status.TASK_SET_FULL)])
def test_busy_turns_commands_away(bench: Bench, word: str, status: Status) -> None:
    line = bench.line()
    bench.add("busy", status=word, count=1)
    assert line.write(0, A).status == status
    assert bench.store.read(0, BLOCK) == bytes(BLOCK)
    assert line.write(0, A).status == Status.GOOD


def test_drop_response_does_it_and_never_answers(bench: Bench) -> None:
    line = bench.line()
    bench.add("drop-response", opcode="write", count=1)
    task = line.write(0, A)
    bench.wait(100)
    assert task.outcome is Outcome.PENDING
    assert line.read() == A


def test_drop_nop_lets_a_connection_look_dead(bench: Bench) -> None:
    settings = Settings(noop_out_interval=1.0, noop_out_timeout=1.0)
    one, two = bench.line(settings=settings), bench.line(2, settings=settings)
    bench.wait(10)
    assert one.is_up()
    bench.add("drop-nop", portal=str(PORTALS[0]))
    assert one.read() == bytes(BLOCK), "commands are answered"
    bench.wait(10)
    assert not one.is_up()
    assert any(isinstance(event, ev.PingTimedOut) for event in one.events)
    assert two.is_up()


@pytest.mark.parametrize("digest", ["header", "data"])
def test_wrong_digest_is_noticed_and_no_data_are_taken(bench: Bench, digest: str) -> None:
    settings = SETTINGS.replace(header_digest="CRC32C", data_digest="CRC32C")
    line, plain = bench.line(settings=settings), bench.line(2, settings=SETTINGS.replace(data_digest="None"))
    bench.add("wrong-digest", digest=digest, opcode="read", count=2)
    assert plain.read() == bytes(BLOCK), "where no digest was agreed on, nothing is wrong"
    task = line.do(cdb.read(0, 1), read=BLOCK)
    assert task.outcome is Outcome.IN_DOUBT
    assert f"{digest} digest" in str(line.events[-1])


def test_corrupt_damages_what_is_read(bench: Bench) -> None:
    line = bench.line()
    line.write(0, A)
    bench.add("corrupt", at=3, count=1)
    damaged = line.read()
    assert [at for at in range(BLOCK) if damaged[at] != A[at]] == [3]
    assert line.read() == A


def test_corrupt_damages_what_is_written(bench: Bench) -> None:
    line = bench.line()
    bench.add("corrupt", on="write", at=BLOCK, count=1)
    assert line.write(0, A).status == Status.GOOD
    damaged = line.read()
    assert [at for at in range(BLOCK) if damaged[at] != A[at]] == [BLOCK - 1]
    line.write(0, A)
    assert line.read() == A


def test_stale_read_shows_each_block_as_it_was_once(bench: Bench) -> None:
    line = bench.line()
    line.write(0, A * 2)
    key = bench.add("stale-read", count=1)
    line.write(0, A * 2)
    assert bench.struck(key) == 0, "a write that changes nothing leaves nothing to lag behind"
    line.write(0, B * 2)
    assert bench.store.read(0, 2 * BLOCK) == B * 2
    assert line.read(1) == A
    assert line.read(0, 2) == A + B
    assert line.read(0, 2) == B * 2
    line.write(0, C)
    assert line.read() == C


def test_stale_read_of_one_portal(bench: Bench) -> None:
    one, two = bench.line(1), bench.line(2)
    bench.add("stale-read", pick="reads", group=2)
    one.write(0, A)
    assert one.read() == A
    assert two.read() == bytes(BLOCK)
    assert two.read() == A


def test_stale_read_remembers_no_more_than_it_is_told(bench: Bench) -> None:
    line = bench.line()
    bench.add("stale-read", remember=BLOCK)
    line.write(0, A * 2)
    assert line.read(0, 2) == A + bytes(BLOCK)


@pytest.mark.parametrize(("keep", "kept"), [(0.0, 0), (0.5, BLOCK), (1.0, 2 * BLOCK - 1)])
def test_torn_write_stops_among_the_bytes_that_change(bench: Bench, keep: float, kept: int) -> None:
    line = bench.line()
    line.write(0, A * 3)
    bench.add("torn-write", keep=keep, count=1)
    assert line.write(0, A + B * 2).status == Status.GOOD
    assert line.read(0, 3) == A + (B * 2)[:kept] + (A * 2)[kept:]


def test_lost_write_is_acknowledged_and_not_there(bench: Bench) -> None:
    line = bench.line()
    bench.add("lost-write", skip=1, count=1)
    for lba in range(3):
        assert line.write(lba, A).status == Status.GOOD
    assert line.read(0, 3) == A + bytes(BLOCK) + A


def test_a_write_that_was_refused_is_not_undone(bench: Bench) -> None:
    line, other = bench.line(), bench.line(2, isid=2)
    line.write(0, A)
    assert other.do(cdb.reserve_6()).status == Status.GOOD
    bench.add("lost-write")
    bench.add("torn-write")
    assert line.write(0, B).status == Status.RESERVATION_CONFLICT
    assert bench.store.read(0, BLOCK) == A


def test_delayed_execution_does_nothing_before_its_time(bench: Bench) -> None:
    line = bench.line()
    bench.add("delayed-execution", time="3s", opcode="write")
    task = line.write(0, A)
    bench.wait(2.9)
    assert line.read() == bytes(BLOCK)
    bench.wait(0.2)
    assert task.status == Status.GOOD
    assert line.read() == A


@pytest.mark.parametrize("rogue", [False, True])
def test_a_write_whose_session_was_replaced_lands_only_at_a_rogue(bench: Bench, rogue: bool) -> None:
    line = bench.line()
    bench.add("delayed-execution", time="3s", opcode="write", count=1, rogue=rogue)
    line.write(0, A)
    again = bench.line()  # the same nexus logs in again, which ends the old session and its tasks
    again.write(0, B)
    assert again.read() == B
    bench.wait(3.1)
    assert again.read() == (A if rogue else B)


def test_read_only_refuses_changes_and_says_so_beforehand(bench: Bench) -> None:
    line = bench.line()
    bench.add("read-only")
    task = line.write(0, A)
    assert task.status == Status.CHECK_CONDITION
    assert line.sense(cdb.write_same(0, 1)) == WRITE_PROTECTED
    assert line.good(cdb.mode_sense_6(), read=255)[2] & 0x80
    assert line.read() == bytes(BLOCK)


def test_throttle_lets_so_many_commands_a_second_through(bench: Bench) -> None:
    line = bench.line()
    bench.add("throttle", iops=10, opcode="read")
    tasks = [line.do(cdb.read(0, 1), read=BLOCK) for _ in range(20)]
    for second in (0.45, 0.5, 1.0):
        bench.wait(second)
    assert [task.outcome for task in tasks] == [Outcome.COMPLETED] * 20
    bench.add("throttle", opcode="write", **{"bytes-per-second": 10 * BLOCK})
    tasks = [line.write(0, A * 5) for _ in range(3)]
    bench.wait(0.6)
    assert [task.outcome for task in tasks] == [Outcome.COMPLETED, Outcome.COMPLETED, Outcome.PENDING]


def test_throttle_is_exact(bench: Bench) -> None:
    line = bench.line()
    bench.add("throttle", iops=10, opcode="read")
    tasks = [line.do(cdb.read(0, 1), read=BLOCK) for _ in range(20)]
    bench.wait(0.95)
    assert sum(task.outcome is Outcome.COMPLETED for task in tasks) == 10


def test_alua_flap_goes_through_its_states_and_back(bench: Bench) -> None:
    line = bench.line(2)
    group = bench.node.device.groups[2]
    key = bench.add("alua-flap", **{"target-group": 2, "states": "standby,non-optimized", "every": "2s"})
    seen = []
    for _ in range(4):
        seen.append(group.state)
        bench.wait(2)
    assert seen == [AluaState.STANDBY, AluaState.ACTIVE_NON_OPTIMIZED] * 2
    assert line.sense() == ALUA_STATE_CHANGED
    bench.node.filters.remove(key)
    assert group.state is AluaState.ACTIVE_OPTIMIZED
    bench.wait(10)
    assert group.state is AluaState.ACTIVE_OPTIMIZED


def test_two_alua_flaps_of_one_group_are_one_too_many(bench: Bench) -> None:
    bench.add("alua-flap", after="1s")
    bench.add("alua-flap", **{"target-group": 2})
    with pytest.raises(ValueError, match="another filter moves portal group 1 already"):
        bench.add("alua-flap")


def test_alua_flap_ends_after_so_many_changes(bench: Bench) -> None:
    bench.add("alua-flap", states=["standby"], every="1s", count=1)
    seen = []
    for _ in range(3):
        seen.append(bench.node.device.groups[1].state)
        bench.wait(1)
    assert seen == [AluaState.STANDBY, AluaState.ACTIVE_OPTIMIZED, AluaState.ACTIVE_OPTIMIZED]


def test_unit_attentions_come_in_turn_and_inquiry_passes(bench: Bench) -> None:
    line, other = bench.line(), bench.line(2)
    bench.add("unit-attention", sense="06/2A/01,06/2A/09", count=3, group=1)
    line.good(cdb.inquiry(36), read=36)
    senses = [line.sense() for _ in range(4)]
    assert senses == [MODE_PARAMETERS_CHANGED, CAPACITY_CHANGED, MODE_PARAMETERS_CHANGED, None]
    assert other.sense() is None


def test_kick_drops_the_session_of_the_command_that_is_struck(bench: Bench) -> None:
    line, other = bench.line(), bench.line(2)
    bench.add("kick", opcode="write", count=1)
    task = line.write(0, A)
    assert task.outcome is Outcome.IN_DOUBT
    assert not line.is_up()
    assert other.is_up()
    assert bench.store.read(0, BLOCK) == bytes(BLOCK)


def test_kick_by_the_clock_asks_for_a_logout(bench: Bench) -> None:
    line, other = bench.line(), bench.line(2, name="iqn.2026-01.example:other")
    key = bench.add("kick", how="logout", every="5s", initiator="*:host")
    bench.wait(4)
    assert line.is_up()
    bench.wait(20)
    asked = [[event for event in one.events if isinstance(event, ev.AsyncMessage)] for one in (line, other)]
    assert [len(events) for events in asked] == [1, 0]
    assert asked[0][0].event == 1
    assert not line.is_up(), "it did as it was asked"
    assert other.is_up()
    assert bench.struck(key) == 1


def test_duplicate_wwid_gives_two_luns_one_name(bench: Bench) -> None:
    line = bench.line()
    pages = [PAGE_SERIAL, PAGE_IDENTIFICATION]

    def names() -> list[list[bytes]]:
        return [[line.good(cdb.inquiry(255, page), read=255, lun=lun) for page in pages] for lun in (1, 2)]

    assert names()[0] != names()[1]
    key = bench.add("duplicate-wwid", lun=2, **{"as-lun": 1})
    assert names()[0] == names()[1]
    bench.node.filters.remove(key)
    bench.add("duplicate-wwid", lun=2, wwid="6" + "ab" * 15 + "c")
    assert bytes.fromhex("6" + "ab" * 15 + "c") in names()[1][1]


def test_short_read_brings_less_and_says_so(bench: Bench) -> None:
    line = bench.line()
    line.write(0, A * 8)
    bench.add("short-read", count=1)
    task = line.do(cdb.read(0, 8), read=8 * BLOCK)
    assert (task.status, task.residual) == (Status.GOOD, 4 * BLOCK)
    assert bytes(task.read_buffer or b"") == A * 4 + bytes(4 * BLOCK)
    assert line.read(0, 8) == A * 8


def test_log_writes_down_commands_with_their_answers(bench: Bench) -> None:
    line = bench.line()
    bench.add("log", opcode="read")
    bench.add("delay", time="250ms", opcode="read")
    bench.add("error", sense="03/11/00", lba=9)
    line.do(cdb.read(9, 2), read=2 * BLOCK)
    bench.wait(1)
    (record,) = bench.node.filters.records
    assert record == {
        "t_ns": 1000 * NS_PER_S, "took_ns": NS_PER_S // 4, "initiator": "iqn.2026-01.example:host",
        "portal": str(PORTALS[0]), "lun": 1,
        "command": "READ_10", "cdb": cdb.read(9, 2).ljust(16, b"\0").hex(), "ranges": [[9, 2]],
        "status": "CHECK_CONDITION", "sense": "medium error: unrecovered read error (03/11/00)",
    }  # fmt: skip
