"""Removable media: eject, load, who may prevent it, and what works without a medium."""

import pytest
from tests.unit.target.target_kit import Kit

from mpio.model.task import Status
from mpio.proto.scsi import cdb, sense
from mpio.target.commands import COMMANDS

START, STOP, LOAD, EJECT = (bytes((0x1B, 0, 0, 0, how, 0)) for how in (1, 0, 3, 2))
PREVENT, ALLOW = (bytes((0x1E, 0, 0, 0, how, 0)) for how in (1, 0))
READ, WRITE = cdb.read(0, 1), cdb.write(0, 1)
BLOCK = bytes(512)


def removable() -> Kit:
    return Kit(removable=True)


def test_a_fixed_medium_stays() -> None:
    kit = Kit()
    kit.good(kit.a1, START)
    for refused in (STOP, LOAD, EJECT):
        found = kit.sense(kit.a1, refused)
        assert (found, found.field_pointer) == (sense.INVALID_FIELD_IN_CDB, 4)
    kit.good(kit.a1, PREVENT)
    assert not kit.good(kit.a1, cdb.inquiry(36))[1] & 0x80


def test_power_conditions_and_stopping_change_nothing() -> None:
    kit = removable()
    assert kit.good(kit.a1, cdb.inquiry(36))[1] & 0x80
    for condition in range(1, 16):
        kit.good(kit.a1, bytes((0x1B, 0, 0, 0, condition << 4 | 2, 0)))
        kit.good(kit.a1, READ)
    kit.good(kit.a1, STOP)
    kit.good(kit.a1, READ)


def test_eject_and_load() -> None:
    kit = removable()
    for nexus in (kit.a1, kit.b1):
        kit.good(nexus, WRITE, BLOCK)
    kit.good(kit.a1, EJECT)
    kit.good(kit.a1, EJECT)
    for nexus in (kit.a1, kit.b1):
        for request in (READ, WRITE, bytes(6), cdb.read_capacity_16(), cdb.synchronize_cache()):
            assert kit.sense(nexus, request, BLOCK) == sense.MEDIUM_NOT_PRESENT
    kit.good(kit.b1, LOAD)
    kit.good(kit.b1, READ)
    assert kit.sense(kit.a1, READ) == sense.MEDIUM_MAY_HAVE_CHANGED
    kit.good(kit.a1, READ)


def test_what_needs_no_medium_works_without_it() -> None:
    kit = removable()
    kit.good(kit.a1, EJECT)
    for row in COMMANDS.values():
        request = bytes((row.opcode, row.action or 0)).ljust(16, b"\0")
        if row.opcode in (0x1B, 0x16, 0x17):
            continue
        response = kit.run(kit.a1, request)
        absent = response.sense[2:3] == b"\x02" and response.sense[12] == 0x3A
        assert absent is row.medium, request.hex()


def test_one_that_prevents_is_enough() -> None:
    kit = removable()
    for nexus in (kit.a1, kit.b1):
        kit.good(nexus, PREVENT)
    kit.good(kit.a1, ALLOW)
    for nexus in (kit.a1, kit.b1):
        for request in (EJECT, LOAD):
            assert kit.sense(nexus, request) == sense.REMOVAL_PREVENTED
    kit.good(kit.b1, ALLOW)
    kit.good(kit.a1, EJECT)


@pytest.mark.parametrize("end", ["nexus loss", "reset"])
def test_prevention_ends_with_the_nexus_and_by_reset(end: str) -> None:
    kit = removable()
    kit.good(kit.b1, PREVENT)
    if end == "reset":
        kit.unit.reset()
        assert kit.sense(kit.a1, bytes(6)) == sense.LU_RESET
    else:
        kit.device.detach(kit.b1)
    kit.good(kit.a1, EJECT)
    kit.unit.reset()
    assert kit.sense(kit.a1, READ) == sense.LU_RESET
    assert kit.sense(kit.a1, READ) == sense.MEDIUM_NOT_PRESENT, "a reset does not load"


def test_reservations_see_what_is_in_the_cdb() -> None:
    kit = removable()
    kit.good(kit.a1, cdb.persistent_reserve_out(0), bytes(15) + b"\x01" + bytes(8))
    kit.good(kit.a1, cdb.persistent_reserve_out(1, 1), bytes(7) + b"\x01" + bytes(16))
    for request in (START, ALLOW):
        kit.good(kit.b1, request)
    for request in (STOP, LOAD, EJECT, PREVENT, bytes((0x1B, 0, 0, 0, 0x11, 0))):
        assert kit.run(kit.b1, request).status == Status.RESERVATION_CONFLICT
