"""The reservation scripts against the target's own reservations, and against answers that it does not give."""

from collections.abc import Callable, Generator
from typing import TypeVar

import pytest

from mpio.errors import TargetError
from mpio.model.task import Status
from mpio.proto.scsi import excluding
from mpio.proto.scsi.cdb import Op
from mpio.proto.scsi.excluding import ATTENTIONS_MAX, Question, Reply
from mpio.proto.scsi.reservation import OutParameters, ReservationType, build_keys, build_reservation
from mpio.proto.scsi.sense import INVALID_OPCODE, POWER_ON_OR_RESET, Sense
from mpio.target.nexus import NexusKey
from mpio.target.reservation import Access, PersistentReservations

T = TypeVar("T")
_T = ReservationType
CONFLICT: Reply = (Status.RESERVATION_CONFLICT, b"", b"")
GOOD: Reply = (Status.GOOD, b"", b"")


class Unit:
    """The reservations of a unit, and nexuses by number."""

    def __init__(self) -> None:
        self.state = PersistentReservations()
        self.aborted: list[NexusKey] = []
        self.attentions: list[Sense] = []
        self.refuse: set[int] = set()  # service actions of PERSISTENT RESERVE OUT

    @staticmethod
    def nexus(number: int) -> NexusKey:
        return NexusKey("iqn.2026-01.example:host", bytes((0x80, 0, 0, 0, 0, number)), 1)

    def answer(self, number: int, question: Question) -> Reply:
        if self.attentions:
            return Status.CHECK_CONDITION, self.attentions.pop().build(), b""
        action = question.cdb[1]
        if question.cdb[0] == Op.PERSISTENT_RESERVE_IN:
            state = self.state
            data = (build_keys(state.generation, list(state.keys.values())) if action == 0 else
                    build_reservation(state.generation, state.reservation_key(), state.type or 0))
            return Status.GOOD, b"", data[:question.allocation]
        assert question.cdb[0] == Op.PERSISTENT_RESERVE_OUT
        assert question.data_out is not None
        if action in self.refuse:
            return Status.CHECK_CONDITION, INVALID_OPCODE.build(), b""
        outcome = self.state.out(self.nexus(number), action, question.cdb[2], OutParameters.parse(question.data_out))
        self.aborted += outcome.abort if action == 5 else []
        assert outcome.sense is None
        return CONFLICT if outcome.conflict else GOOD

    def play(self, number: int, script: Generator[Question, Reply, T]) -> T:
        return play(lambda question: self.answer(number, question), script)

    def may_write(self, number: int) -> bool:
        return not self.state.forbids(self.nexus(number), Access.WRITE)


def play(answer: Callable[[Question], Reply], script: Generator[Question, Reply, T]) -> T:
    question = next(script)
    for _ in range(100):
        try:
            question = script.send(answer(question))
        except StopIteration as end:
            result: T = end.value
            return result
    raise AssertionError("the script does not end")


def registered(*numbers: int) -> Unit:
    unit = Unit()
    for number in numbers:
        assert unit.play(number, excluding.register(100 + number))
    return unit


def test_an_excluded_nexus_loses_its_tasks_and_writes_no_more() -> None:
    unit = registered(1, 2, 3)
    unit.play(2, excluding.exclude(102, 101))
    assert unit.aborted == [unit.nexus(1)]
    assert [unit.may_write(number) for number in (1, 2, 3, 9)] == [False, True, True, False]
    assert unit.play(1, excluding.register(101))  # it has logged in again
    assert unit.may_write(1)
    unit.play(2, excluding.release(102))
    assert unit.state.type is None
    assert unit.may_write(9)


def test_a_nexus_that_is_shut_out_keeps_its_tasks() -> None:
    unit = registered(1, 2)
    unit.play(2, excluding.shut_out(102, 101))
    assert unit.aborted == []
    assert not unit.may_write(1)
    unit.play(2, excluding.shut_out(102, 101))  # a second time nobody is there any more
    assert not unit.may_write(1)


def test_who_has_excluded_others_can_be_excluded() -> None:
    unit = registered(1, 2, 3)
    unit.play(1, excluding.exclude(101, 103))
    unit.play(2, excluding.exclude(102, 101))
    assert [unit.may_write(number) for number in (1, 2, 3)] == [False, True, False]


def test_an_exclusion_outlives_everybody_else_s_registration() -> None:
    """Whoever took the reservation: it ends with the last that is registered."""
    unit = registered(1, 2, 8, 9)
    unit.play(9, excluding.exclude(109, 108))
    unit.play(2, excluding.exclude(102, 101))
    unit.play(9, excluding.unregister(109))
    assert [unit.may_write(number) for number in (1, 2, 8, 9)] == [False, True, False, False]
    unit.play(2, excluding.unregister(102))
    assert unit.state.keys == {}
    assert unit.state.type is None


@pytest.mark.parametrize("kind", [7, 8])
def test_a_reservation_of_another_host_that_all_registrants_hold_will_do(kind: int) -> None:
    unit = registered(1, 2, 9)
    unit.state.out(unit.nexus(9), 1, kind, OutParameters(109, 0, False, False, False))
    unit.play(2, excluding.exclude(102, 101))
    assert unit.aborted == [unit.nexus(1)]
    assert not unit.may_write(1)


@pytest.mark.parametrize("kind", [1, 3, 5, 6])
@pytest.mark.parametrize("script", [excluding.exclude, excluding.shut_out])
def test_any_other_reservation_of_another_host_will_not(
    kind: int, script: Callable[[int, int], excluding.Script],
) -> None:
    unit = registered(1, 2, 9)
    unit.state.out(unit.nexus(9), 1, kind, OutParameters(109, 0, False, False, False))
    with pytest.raises(TargetError, match=f"({_T(kind).name.lower().replace('_', ' ')})"):
        unit.play(2, script(102, 101))
    assert unit.aborted == []
    assert unit.nexus(1) in unit.state.keys


def test_nothing_is_proven_by_a_victim_that_is_not_there() -> None:
    unit = registered(2)
    with pytest.raises(TargetError, match="PREEMPT AND ABORT: status 18h"):
        unit.play(2, excluding.exclude(102, 101))


def test_who_is_not_registered_shuts_nobody_out() -> None:
    unit = registered(1)
    with pytest.raises(TargetError):
        unit.play(2, excluding.shut_out(102, 101))
    assert unit.may_write(1)


def test_a_target_without_reservations_is_known_at_the_registration() -> None:
    unit = Unit()
    unit.refuse = {6}
    assert unit.play(1, excluding.register(101)) is False
    unit.refuse = {5}
    assert unit.play(1, excluding.register(101)) is True
    unit.play(2, excluding.register(102))
    with pytest.raises(TargetError, match=r"PREEMPT AND ABORT: .*05/20/00"):
        unit.play(2, excluding.exclude(102, 101))


def test_unit_attentions_are_eaten_but_not_for_ever() -> None:
    unit = registered(1, 2)
    unit.attentions = [POWER_ON_OR_RESET] * (ATTENTIONS_MAX - 1)
    unit.play(2, excluding.exclude(102, 101))
    assert unit.aborted
    unit.attentions = [POWER_ON_OR_RESET] * (2 * ATTENTIONS_MAX)
    with pytest.raises(TargetError, match="06/29"):
        unit.play(2, excluding.release(102))


@pytest.mark.parametrize("data", [b"", b"\0\0\0\1\0\0\0\x10" + bytes(4), bytes(7) + b"\x10" + bytes(16)])
def test_a_reservation_that_can_not_be_read_is_none(data: bytes) -> None:
    def answer(question: Question) -> Reply:
        return CONFLICT if question.cdb[0] == Op.PERSISTENT_RESERVE_OUT else (Status.GOOD, b"", data)

    with pytest.raises(TargetError, match="reservation"):
        play(answer, excluding.exclude(1, 2))


def test_a_busy_target_has_registered_nobody() -> None:
    with pytest.raises(TargetError, match="status 08h"):
        play(lambda _: (Status.BUSY, b"", b""), excluding.register(1))
