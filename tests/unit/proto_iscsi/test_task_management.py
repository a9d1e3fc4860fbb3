"""Aborts, resets, and what happens to tasks that are not answered in time."""

import pytest
from tests.unit.proto_iscsi.initiator_kit import LUN, MS, READ, SETTINGS, Done, Peer, S, no_data, outcome, read, write

from mpio.errors import LocalProtocolError
from mpio.model.task import Outcome, Task, lun_bytes
from mpio.proto.iscsi import ConnectionState, TaskFunction, pdu
from mpio.proto.iscsi import initiator_events as ev
from mpio.proto.iscsi.pdu import Opcode, RequestHeader
from mpio.proto.scsi.sense import Sense

TIMED = SETTINGS.replace(abort_timeout=2.0, lu_reset_timeout=3.0)


def requests(peer: Peer) -> list[RequestHeader]:
    return [header for header, _ in peer.take() if header.opcode & 0x3F == Opcode.TASK_MANAGEMENT_REQUEST]


def timed_out(peer: Peer) -> tuple[Task, RequestHeader]:
    """A task whose ABORT TASK has just been sent, at 1 s."""
    task = peer.submit(read(512, timeout_ns=S))
    peer.take()
    assert peer.connection.next_deadline() == S
    peer.at(S)
    [abort] = requests(peer)
    return task, abort


def test_abort_task_is_sent_after_the_timeout() -> None:
    peer = Peer(TIMED)
    task, abort = timed_out(peer)
    assert (abort.opcode, abort.flags, abort.lun, abort.word20) == (0x42, 0x81, LUN, task.itt)
    assert (abort.cmd_sn, abort.word(32)) == (2, task.cmd_sn), "immediate: the CmdSN is not used up"
    assert peer.events() == [ev.TaskTimedOut(0x28)]
    assert task.outcome == Outcome.PENDING


def test_abort_complete() -> None:
    peer = Peer(TIMED)
    task, abort = timed_out(peer)
    peer.managed(abort.itt, 0)
    assert task.outcome == Outcome.ABORTED
    assert peer.events()[1:] == [ev.TaskAborted(0)]
    assert peer.connection.in_flight == 0
    peer.at(3 * S)  # the timer may ring once more in vain
    assert peer.connection.next_deadline() is None
    assert peer.sent() == []


def test_a_status_that_comes_before_the_abort_is_answered_counts() -> None:
    peer = Peer(TIMED)
    task, abort = timed_out(peer)
    peer.data_in(task, bytes(512))
    assert outcome(task) == Outcome.COMPLETED
    task.reset()
    again = peer.submit(task)
    peer.take()
    peer.managed(abort.itt, 1)
    assert again.outcome == Outcome.PENDING
    assert peer.connection.state is ConnectionState.FULL_FEATURE
    peer.data_in(again, bytes(512))
    assert outcome(again) == Outcome.COMPLETED


def test_an_abort_of_a_finished_task_does_not_end_its_next_life() -> None:
    peer = Peer(TIMED)
    task, abort = timed_out(peer)
    peer.data_in(task, bytes(512))
    task.reset()
    peer.submit(task)
    peer.take()
    peer.managed(abort.itt, 0)
    assert task.outcome == Outcome.PENDING


def test_task_does_not_exist_waits_for_the_status() -> None:
    peer = Peer(TIMED)
    task, abort = timed_out(peer)
    peer.managed(abort.itt, 1)
    assert task.outcome == Outcome.PENDING
    assert requests(peer) == []
    peer.data_in(task, bytes(512))
    assert outcome(task) == Outcome.COMPLETED


def test_task_does_not_exist_and_no_status_comes() -> None:
    peer = Peer(TIMED)
    task, abort = timed_out(peer)
    peer.managed(abort.itt, 1)
    peer.at(2 * S)
    assert task.outcome == Outcome.ABORTED
    assert requests(peer) == []  # a reset would end the tasks of every other path


@pytest.mark.parametrize("response", [2, 5, 6, 255])
def test_a_refused_abort_leads_to_a_reset_at_once(response: int) -> None:
    peer = Peer(TIMED)
    task, abort = timed_out(peer)
    peer.managed(abort.itt, response)
    [reset] = requests(peer)
    assert reset.flags == 0x85
    peer.managed(reset.itt, 0)
    assert task.outcome == Outcome.ABORTED
    assert peer.events()[1:] == [ev.TaskAborted(response), ev.LunReset(0)]


def test_a_rejected_abort_leads_to_a_reset() -> None:
    peer = Peer(TIMED)
    peer.submit(read(512, timeout_ns=S))
    peer.take()
    peer.at(S)
    header = b"".join(peer.connection.data_to_send())
    peer.send(pdu.reject(6, peer.status(), *peer.numbers()), header)
    [reset] = requests(peer)
    assert reset.flags == 0x85


def test_the_whole_ladder_without_any_answer() -> None:
    peer = Peer(TIMED)
    task, _ = timed_out(peer)
    assert peer.connection.next_deadline() == 3 * S
    peer.at(3 * S)
    [reset] = requests(peer)
    assert reset.flags == 0x85
    assert peer.connection.next_deadline() == 6 * S
    peer.at(6 * S)
    assert task.outcome == Outcome.IN_DOUBT
    assert peer.events()[-1] == ev.Lost("LOGICAL UNIT RESET was not answered in time")


def test_a_failed_reset_ends_the_connection() -> None:
    peer = Peer(TIMED)
    task, _ = timed_out(peer)
    peer.at(3 * S)
    [reset] = requests(peer)
    peer.managed(reset.itt, 5)
    assert task.outcome == Outcome.IN_DOUBT
    assert peer.connection.state is ConnectionState.ENDED


def test_a_late_answer_to_the_abort_is_no_error() -> None:
    peer = Peer(TIMED)
    task, abort = timed_out(peer)
    peer.at(3 * S)
    [reset] = requests(peer)
    peer.managed(abort.itt, 0)
    assert task.outcome == Outcome.ABORTED
    peer.managed(reset.itt, 0)
    assert peer.connection.state is ConnectionState.FULL_FEATURE


def test_a_reset_ends_all_earlier_tasks_of_the_lun_and_no_others() -> None:
    peer = Peer(TIMED)
    slow = peer.submit(read(512, timeout_ns=S))
    same, other = peer.submit(no_data()), peer.submit(Task(lun_bytes(2), bytes(6), Done()))
    peer.take()
    peer.at(S)
    peer.at(3 * S)
    *_, reset = requests(peer)
    later = peer.submit(no_data())
    peer.take()
    peer.managed(reset.itt, 0)
    assert [task.outcome for task in (slow, same, other, later)] == [
        Outcome.ABORTED, Outcome.ABORTED, Outcome.PENDING, Outcome.PENDING]


def test_many_timeouts_on_one_lun_need_one_reset() -> None:
    peer = Peer(TIMED)
    tasks = [peer.submit(read(512, timeout_ns=S)) for _ in range(4)]
    peer.take()
    peer.at(S)
    assert len(requests(peer)) == 4
    peer.at(3 * S)
    [reset] = requests(peer)
    peer.managed(reset.itt, 0)
    assert {task.outcome for task in tasks} == {Outcome.ABORTED}


def test_an_aborted_write_still_answers_r2t() -> None:
    peer = Peer(TIMED, InitialR2T="Yes", ImmediateData="No")
    task = peer.submit(write(b"data", timeout_ns=S))
    peer.take()
    peer.at(S)
    [abort] = requests(peer)
    peer.r2t(task, 0, 4)
    assert [part for _, part in peer.sent()] == [b"data"]
    peer.managed(abort.itt, 0)
    assert task.outcome == Outcome.ABORTED


def test_a_pdu_for_an_aborted_task_is_an_error() -> None:
    peer = Peer(TIMED)
    task, abort = timed_out(peer)
    peer.managed(abort.itt, 0)
    peer.data_in(task, bytes(512))
    assert peer.connection.state is ConnectionState.ENDED
    assert task.outcome == Outcome.ABORTED


def test_a_task_that_waits_too_long_for_the_window_was_not_sent() -> None:
    peer = Peer(TIMED, window=0)
    task = peer.submit(read(512, timeout_ns=S))
    peer.at(S)
    assert task.outcome == Outcome.NOT_SENT
    assert peer.sent() == []
    assert peer.connection.next_deadline() is None


def test_different_timeouts() -> None:
    peer = Peer(TIMED)
    done = Done()
    for timeout in (5 * S, 200 * MS, S, 0):
        peer.submit(Task(LUN, READ, done, read_buffer=memoryview(bytearray(8)), timeout_ns=timeout))
    peer.take()
    assert peer.connection.next_deadline() == 200 * MS
    peer.at(200 * MS)
    assert len(requests(peer)) == 1
    assert peer.connection.next_deadline() == S
    peer.at(S)
    assert len(requests(peer)) == 1


# --- requests of the caller


def test_managed_by_the_caller() -> None:
    peer = Peer(TIMED)
    answers: list[int | None] = []
    first, second = peer.submit(no_data()), peer.submit(no_data())
    peer.take()
    peer.connection.manage(TaskFunction.ABORT_TASK, LUN, answers.append, 0, first)
    [abort] = requests(peer)
    assert abort.word20 == first.itt
    peer.managed(abort.itt, 0)
    assert (answers, first.outcome, second.outcome) == ([0], Outcome.ABORTED, Outcome.PENDING)
    peer.connection.manage(TaskFunction.LOGICAL_UNIT_RESET, LUN, answers.append, 0)
    [reset] = requests(peer)
    peer.managed(reset.itt, 0)
    assert (answers, second.outcome) == ([0, 0], Outcome.ABORTED)
    assert peer.events() == [], "what the caller asked for is told to the caller"


@pytest.mark.parametrize("function", [TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET])
def test_a_target_reset_ends_all(function: TaskFunction) -> None:
    peer = Peer(TIMED)
    tasks = [peer.submit(no_data()), peer.submit(Task(lun_bytes(2), bytes(6), Done()))]
    peer.take()
    peer.connection.manage(function, bytes(8), lambda _: None, 0)
    [request] = requests(peer)
    peer.managed(request.itt, 0)
    assert {task.outcome for task in tasks} == {Outcome.ABORTED}


def test_a_query_ends_nothing() -> None:
    peer = Peer(TIMED)
    task = peer.submit(no_data())
    peer.take()
    answers: list[int | None] = []
    peer.connection.manage(TaskFunction.QUERY_TASK, LUN, answers.append, 0, task)
    [request] = requests(peer)
    peer.managed(request.itt, 7)
    assert (answers, task.outcome) == ([7], Outcome.PENDING)


def test_aborting_what_was_not_sent_needs_no_target() -> None:
    peer = Peer(TIMED, window=0)
    task = peer.submit(no_data())
    answers: list[int | None] = []
    peer.connection.manage(TaskFunction.ABORT_TASK, LUN, answers.append, 0, task)
    assert (answers, task.outcome) == ([0], Outcome.NOT_SENT)
    with pytest.raises(LocalProtocolError):
        peer.connection.manage(TaskFunction.ABORT_TASK, LUN, answers.append, 0, task)


def test_unanswered_request_of_the_caller() -> None:
    peer = Peer(TIMED)
    answers: list[int | None] = []
    peer.connection.manage(TaskFunction.LOGICAL_UNIT_RESET, LUN, answers.append, 0)
    assert peer.connection.next_deadline() == 3 * S
    peer.at(3 * S)
    assert answers == [None]
    assert peer.connection.state is ConnectionState.ENDED


def test_an_answer_to_no_request() -> None:
    peer = Peer(TIMED)
    peer.managed(77, 0)
    assert peer.connection.state is ConnectionState.ENDED


# --- ended by somebody else

RESET = Sense(0x6, 0x29, 0x03)


def told(peer: Peer, sense: Sense = RESET, *, lun: bytes = LUN) -> tuple[Task, Task, Task, list[RequestHeader]]:
    """Two tasks that are out, one more that meets the unit attention, and what was sent because of it."""
    old = [peer.submit(read(512, timeout_ns=60 * S)), peer.submit(write(bytes(512), timeout_ns=60 * S))]
    last = peer.submit(Task(lun, bytes(6), Done(), timeout_ns=60 * S))
    peer.take()
    peer.respond(last, 2, sense=sense.build())
    assert outcome(last) == Outcome.COMPLETED
    return old[0], old[1], last, requests(peer)


@pytest.mark.parametrize("code", [(0x29, 0x00), (0x29, 0x02), (0x29, 0x03), (0x29, 0x04), (0x29, 0x07), (0x2F, 0x00)])
def test_after_a_reset_by_somebody_else_the_tasks_before_are_asked_after_at_once(code: tuple[int, int]) -> None:
    peer = Peer(TIMED)
    first, second, _, aborts = told(peer, Sense(0x6, *code))
    assert [abort.word20 for abort in aborts] == [first.itt, second.itt]
    peer.managed(aborts[0].itt, 0)
    assert first.outcome == Outcome.CLEARED
    peer.managed(aborts[1].itt, 1)
    assert second.outcome == Outcome.PENDING, "its status may be on the way"
    peer.at(S)
    assert outcome(second) == Outcome.CLEARED
    assert peer.connection.state is ConnectionState.FULL_FEATURE
    assert peer.events() == [ev.TaskAborted(0), ev.TaskAborted(1)]
    assert (peer.connection.in_flight, requests(peer)) == (0, [])


@pytest.mark.parametrize("sense", [
    Sense(0x6, 0x29, 0x05), Sense(0x6, 0x2A, 0x01), Sense(0x6, 0x3F, 0x0E), Sense(0xB, 0x29, 0x03),
    Sense(0x5, 0x2F, 0x00)])
def test_other_conditions_say_nothing_of_other_tasks(sense: Sense) -> None:
    assert told(Peer(TIMED), sense)[3] == []


def test_a_reset_of_one_unit_ends_nothing_on_another() -> None:
    assert told(Peer(TIMED), lun=lun_bytes(2))[3] == []


def test_what_went_out_after_the_command_that_was_told_is_alive() -> None:
    peer = Peer(TIMED)
    told_first = peer.submit(no_data())
    later = peer.submit(read(512))
    peer.take()
    peer.respond(told_first, 2, sense=RESET.build())
    assert requests(peer) == []
    peer.data_in(later, bytes(512))
    assert outcome(later) == Outcome.COMPLETED


def test_a_status_that_was_on_the_way_counts_also_after_a_reset() -> None:
    peer = Peer(TIMED)
    first, second, _, aborts = told(peer)
    peer.managed(aborts[0].itt, 1)
    peer.data_in(first, bytes(512))
    peer.respond(second)
    peer.managed(aborts[1].itt, 1)
    assert (outcome(first), outcome(second)) == (Outcome.COMPLETED, Outcome.COMPLETED)


def test_a_target_that_can_not_say_is_not_reset_for_it() -> None:
    """That would end the tasks of whoever has just reset it, and so on."""
    peer = Peer(TIMED)
    first, _, _, aborts = told(peer)
    for abort in aborts:
        peer.managed(abort.itt, 5)
    assert requests(peer) == []
    assert first.outcome == Outcome.PENDING
    assert peer.connection.next_deadline() is not None
    peer.at(60 * S)  # its own timeout, as ever
    assert len(requests(peer)) == 2


def test_no_answer_to_the_question_is_escalated() -> None:
    peer = Peer(TIMED)
    first, second, _, _ = told(peer)
    peer.at(2 * S)
    [reset] = requests(peer)
    assert reset.flags == 0x85
    peer.managed(reset.itt, 0)
    assert (first.outcome, second.outcome) == (Outcome.ABORTED, Outcome.ABORTED)


def test_a_task_that_is_being_aborted_is_not_asked_after_twice() -> None:
    peer = Peer(TIMED)
    task, abort = timed_out(peer)
    last = peer.submit(no_data())
    peer.take()
    peer.respond(last, 2, sense=RESET.build())
    assert requests(peer) == []
    peer.managed(abort.itt, 0)
    assert task.outcome == Outcome.ABORTED
