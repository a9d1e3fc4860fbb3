"""Sense data in both formats, and what initiators do with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.model.task import Status, Task
from mpio.proto.scsi import sense
from mpio.proto.scsi.disposition import BY_SENSE, BY_STATUS, Disposition, dispose, dispose_sense
from mpio.proto.scsi.sense import Sense, SenseKey

senses = st.builds(
    Sense, st.integers(0, 15), st.integers(0, 255), st.integers(0, 255),
    st.none() | st.integers(0, 2**64 - 1), st.booleans(),
)


@given(senses, st.booleans())
def test_round_trip(condition: Sense, descriptor: bool) -> None:
    assert Sense.parse(condition.build(descriptor=descriptor)) == condition


@given(senses, st.booleans(), st.integers(0, 0xFFFF))
def test_field_pointers(condition: Sense, descriptor: bool, byte: int) -> None:
    pointing = condition.at(byte)
    assert pointing == condition
    found = Sense.parse(pointing.build(descriptor=descriptor))
    assert found == condition
    assert found.field_pointer == (byte if condition.key == SenseKey.ILLEGAL_REQUEST else None)


@given(st.binary(max_size=64))
def test_any_bytes_are_sense_or_none(data: bytes) -> None:
    found = Sense.parse(data)
    if found is not None:
        assert str(found)
        assert isinstance(dispose_sense(found), Disposition)


@pytest.mark.parametrize(
    ("condition", "descriptor", "expected"),
    [
        (sense.LUN_NOT_SUPPORTED, False, "700005000000000a00000000250000000000"),
        (sense.LUN_NOT_SUPPORTED, True, "7205250000000000"),
        (Sense(0xE, 0x1D, 0, information=77), False, "f0000e0000004d0a000000001d0000000000"),
        (Sense(0xE, 0x1D, 0, information=77), True, "720e1d000000000c000a80000000000000" + "00004d"),
        (Sense(3, 0x11, 0, information=1 << 40), False, "720311000000000c000a800000000100" + "00000000"),
        (Sense(3, 0x0C, 0, deferred=True), False, "710003000000000a000000000c0000000000"),
    ],
)
def test_bytes_on_the_wire(condition: Sense, descriptor: bool, expected: str) -> None:
    assert condition.build(descriptor=descriptor).hex() == expected


@pytest.mark.parametrize("data", ["", "70", "7000", "6f0005", "720525", "00" * 18])
def test_what_is_not_sense(data: str) -> None:
    assert Sense.parse(bytes.fromhex(data)) is None


def test_fields_that_were_cut_off_count_as_zero() -> None:
    assert Sense.parse(bytes.fromhex("700006")) == Sense(6, 0, 0)


def test_descriptors_that_run_over_the_end_are_left_alone() -> None:
    assert Sense.parse(bytes.fromhex("7206290000000010 02ff")) == Sense(6, 0x29, 0)


def test_words() -> None:
    assert str(sense.LUN_NOT_SUPPORTED) == "illegal request: logical unit not supported (05/25/00)"
    assert str(Sense(0xB, 0x77, 0x66)) == "aborted command (0B/77/66)"


D = Disposition


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (sense.POWER_ON_OR_RESET, D.RETRY_SAME),
        (sense.NEXUS_LOSS, D.RETRY_SAME),
        (sense.ALUA_STATE_CHANGED, D.RETRY_SAME),
        (sense.CAPACITY_CHANGED, D.RETRY_SAME),
        (sense.BECOMING_READY, D.RETRY_DELAYED),
        (sense.TRANSITIONING, D.RETRY_DELAYED),
        (sense.PORT_STANDBY, D.RETRY_OTHER),
        (sense.PORT_UNAVAILABLE, D.RETRY_OTHER),
        (sense.LU_OFFLINE, D.RETRY_OTHER),
        (sense.LUN_NOT_SUPPORTED, D.RETRY_OTHER),
        (Sense(4, 0x44, 0), D.RETRY_OTHER),
        (Sense(4, 0x09, 0), D.FAIL),
        (sense.READ_ERROR, D.FAIL),
        (sense.WRITE_ERROR, D.FAIL),
        (sense.INVALID_OPCODE, D.FAIL),
        (sense.LBA_OUT_OF_RANGE, D.FAIL),
        (sense.WRITE_PROTECTED, D.FAIL),
        (sense.MISCOMPARE, D.FAIL),
        (sense.SPACE_ALLOCATION_FAILED, D.SPACE),
        (Sense(0xB, 0x47, 0x05), D.RETRY_SAME),
        (Sense(1, 0x17, 0), D.DONE),
        (Sense(3, 0x0C, 0, deferred=True), D.RETRY_SAME),
        (None, D.RETRY_SAME),
    ],
)
def test_dispositions_by_sense(condition: Sense | None, expected: Disposition) -> None:
    data = condition.build() if condition is not None else b""
    assert dispose(answered(Status.CHECK_CONDITION, data)) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (Status.GOOD, D.DONE), (Status.CONDITION_MET, D.DONE), (Status.BUSY, D.RETRY_DELAYED),
        (Status.TASK_SET_FULL, D.RETRY_DELAYED), (Status.RESERVATION_CONFLICT, D.RESERVATION_CONFLICT),
        (Status.TASK_ABORTED, D.RETRY_SAME), (Status.ACA_ACTIVE, D.RETRY_DELAYED), (0x7E, D.RETRY_OTHER),
    ],
)
def test_dispositions_by_status_ignore_sense(status: int, expected: Disposition) -> None:
    assert dispose(answered(status, sense.LUN_NOT_SUPPORTED.build())) is expected


def test_every_status_and_every_named_condition_is_placed() -> None:
    assert set(BY_STATUS) == set(Status) - {Status.CHECK_CONDITION}
    for key, asc, ascq in BY_SENSE:
        assert SenseKey(key)
        assert (key, asc, ascq) in sense.TEXTS


def answered(status: int, data: bytes = b"") -> Task:
    task = Task(bytes(8), bytes(6), lambda _task: None)
    task.status = status
    task.sense = data
    return task
