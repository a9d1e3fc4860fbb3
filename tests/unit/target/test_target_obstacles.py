"""What stands in the way of a command: unit attentions, reservations, ALUA states, and in which order."""

import itertools

import pytest
from tests.unit.target.target_kit import Kit

from mpio.model.identity import AluaState
from mpio.model.task import Status
from mpio.proto.scsi import cdb, reservation, sense
from mpio.proto.scsi.reservation import OutAction, ReservationType
from mpio.proto.scsi.sense import Sense
from mpio.target.commands import COMMANDS, Reach
from mpio.target.nexus import Nexus
from mpio.target.reservation import REGISTRATIONS_MAX
from mpio.target.state import ATTENTIONS_MAX

READ, WRITE = cdb.read(0, 1), cdb.write(0, 1)
BLOCK = bytes(512)
FIELD = sense.INVALID_FIELD_IN_CDB


def pr_out(kit: Kit, nexus: Nexus, action: OutAction, key: int, other: int = 0, type_: int = 0) -> int:
    data = reservation.parameters(key=key, service_action_key=other)
    return kit.run(nexus, cdb.persistent_reserve_out(action, type_), data).status


def registered(kit: Kit, nexus: Nexus, key: int) -> None:
    assert pr_out(kit, nexus, OutAction.REGISTER, 0, key) == Status.GOOD


# --- unit attentions


def test_each_nexus_meets_its_own_attentions_in_order() -> None:
    kit = Kit(settled=False)
    kit.state(1, AluaState.ACTIVE_NON_OPTIMIZED)
    for nexus in (kit.a1, kit.a2, kit.b1):
        assert kit.sense(nexus, WRITE, BLOCK) == sense.POWER_ON_OR_RESET
        assert kit.sense(nexus, WRITE, BLOCK) == sense.ALUA_STATE_CHANGED
        kit.good(nexus, WRITE, BLOCK)


def test_inquiry_and_report_luns_do_not_meet_attentions() -> None:
    kit = Kit(settled=False)
    kit.good(kit.a1, cdb.inquiry(96))
    kit.good(kit.a1, cdb.report_luns(64))
    assert kit.sense(kit.a1, bytes(6)) == sense.POWER_ON_OR_RESET


def test_the_queue_is_bounded_and_has_no_doubles() -> None:
    kit = Kit()
    for _ in range(3):
        kit.unit.attention(sense.CAPACITY_CHANGED)
    for code in range(100):
        kit.unit.attention(Sense(6, 0x3F, code))
    assert len(kit.unit.attentions[kit.a1]) == ATTENTIONS_MAX
    assert kit.sense(kit.a1, bytes(6)) == sense.CAPACITY_CHANGED
    assert kit.sense(kit.a1, bytes(6)) == Sense(6, 0x3F, 0)


def test_a_reset_tells_everybody_and_takes_settings_back() -> None:
    kit = Kit()
    kit.good(kit.a1, cdb.reserve_6())
    kit.unit.software_write_protect = kit.unit.descriptor_sense = True
    kit.unit.reset()
    for nexus in (kit.a1, kit.a2, kit.b1):
        assert kit.sense(nexus, bytes(6)) == sense.LU_RESET
        kit.good(nexus, WRITE, BLOCK)


def test_order_reset_then_conflict_then_others_then_state_then_fields_then_protection() -> None:
    kit = Kit(read_only=True)
    registered(kit, kit.a1, 1)
    assert pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=ReservationType.EXCLUSIVE_ACCESS) == Status.GOOD
    kit.unit.attention(sense.LU_RESET, only=kit.b1.key)
    kit.state(1, AluaState.UNAVAILABLE)
    bad_write = bytes((0x2A, 0xE0)) + bytes(4) + b"\0\xff\xff\0"
    assert kit.sense(kit.b1, bad_write) == sense.LU_RESET
    assert kit.run(kit.b1, bad_write).status == Status.RESERVATION_CONFLICT
    assert kit.sense(kit.a1, bytes(6)) == sense.ALUA_STATE_CHANGED
    assert kit.sense(kit.a1, bad_write) == sense.PORT_UNAVAILABLE
    kit.device.groups[1].state = AluaState.ACTIVE_OPTIMIZED
    assert pr_out(kit, kit.a1, OutAction.CLEAR, 1) == Status.GOOD
    assert kit.sense(kit.b1, bad_write) == sense.ALUA_STATE_CHANGED
    assert kit.sense(kit.b1, bad_write) == FIELD
    assert kit.sense(kit.b1, WRITE, BLOCK) == sense.WRITE_PROTECTED
    assert kit.sense(kit.b1, b"\x28\xe0" + bytes(8)) == FIELD


# --- ALUA


ANSWERS = {
    AluaState.ACTIVE_OPTIMIZED: None, AluaState.ACTIVE_NON_OPTIMIZED: None, AluaState.LBA_DEPENDENT: None,
    AluaState.STANDBY: sense.PORT_STANDBY, AluaState.UNAVAILABLE: sense.PORT_UNAVAILABLE,
    AluaState.OFFLINE: sense.LU_OFFLINE, AluaState.TRANSITIONING: sense.TRANSITIONING,
}


@pytest.mark.parametrize("state", AluaState)
def test_states_let_through_what_the_table_says(state: AluaState) -> None:
    kit = Kit(explicit_alua=True)
    kit.state(1, state)
    assert kit.sense(kit.a1, bytes(6)) == sense.ALUA_STATE_CHANGED
    assert kit.sense(kit.a2, bytes(6)) == sense.ALUA_STATE_CHANGED
    for row in COMMANDS.values():
        request = bytes((row.opcode, row.action or 0)).ljust(16, b"\0")
        expected = ANSWERS[state]
        stopped = expected is not None and Sense.parse(kit.run(kit.a1, request).sense) == expected
        open_ = expected is None or row.reach is Reach.ALWAYS or (
            row.reach is Reach.STANDBY and state is AluaState.STANDBY)
        assert stopped is not open_, request.hex()
    kit.good(kit.a2, WRITE, BLOCK)


def test_reads_and_writes_stop_at_once_when_the_state_changes() -> None:
    kit = Kit()
    kit.good(kit.a1, READ)
    kit.state(1, AluaState.STANDBY)
    assert kit.sense(kit.a1, READ) == sense.ALUA_STATE_CHANGED
    assert kit.sense(kit.a1, READ) == sense.PORT_STANDBY
    kit.state(1, AluaState.ACTIVE_OPTIMIZED)
    assert kit.sense(kit.a1, READ) == sense.ALUA_STATE_CHANGED
    kit.good(kit.a1, READ)


def test_groups_that_can_not_be() -> None:
    kit = Kit()
    with pytest.raises(ValueError, match="no portal group 9"):
        kit.state(9, AluaState.STANDBY)
    with pytest.raises(ValueError, match="in use"):
        kit.device.add_group(kit.device.groups[1])


# --- reservations of SPC-2


def test_reserve_6_keeps_the_others_out() -> None:
    kit = Kit()
    kit.good(kit.a1, cdb.reserve_6())
    kit.good(kit.a1, cdb.reserve_6())
    for request in (READ, WRITE, bytes(6), cdb.mode_sense_6(), cdb.reserve_6(), cdb.persistent_reserve_in(0)):
        assert kit.run(kit.b1, request, BLOCK).status == Status.RESERVATION_CONFLICT
        assert kit.run(kit.a2, request, BLOCK).status == Status.RESERVATION_CONFLICT
    for request in (cdb.inquiry(96), cdb.report_luns(64), cdb.request_sense(), cdb.release_6()):
        kit.good(kit.b1, request)
    assert kit.run(kit.b1, READ).status == Status.RESERVATION_CONFLICT, "a stranger's RELEASE has no effect"
    kit.good(kit.a1, WRITE, BLOCK)
    kit.good(kit.a1, cdb.release_6())
    kit.good(kit.b1, WRITE, BLOCK)


def test_reserve_6_goes_with_its_nexus() -> None:
    kit = Kit()
    kit.good(kit.a1, cdb.reserve_6())
    kit.device.detach(kit.a1)
    kit.good(kit.b1, WRITE, BLOCK)


def test_persistent_registrations_exclude_reserve_6() -> None:
    kit = Kit()
    registered(kit, kit.a1, 1)
    assert kit.run(kit.b1, cdb.reserve_6()).status == Status.RESERVATION_CONFLICT
    assert kit.run(kit.b1, cdb.release_6()).status == Status.RESERVATION_CONFLICT
    assert Kit().sense(kit.a1, b"\x16\x01\0\0\0\0") == FIELD, "extents are not offered"


# --- persistent reservations: what each type lets whom do (SPC-4 table 66)

T = ReservationType
READS = (READ, cdb.verify(0, 1), cdb.mode_sense_6(), bytes.fromhex("a30c00000000000000ff0000"))
WRITES = (WRITE, cdb.unmap(0), cdb.write_same(0, 1), cdb.compare_and_write(0, 0), cdb.synchronize_cache())
ALWAYS = (bytes(6), cdb.inquiry(96), cdb.report_luns(64), cdb.request_sense(), cdb.read_capacity_10(),
          cdb.read_capacity_16(), cdb.persistent_reserve_in(0), cdb.report_target_port_groups(64))


@pytest.mark.parametrize(
    ("type_", "registrant_reads", "registrant_writes", "stranger_reads"),
    [
        (T.WRITE_EXCLUSIVE, True, False, True),
        (T.EXCLUSIVE_ACCESS, False, False, False),
        (T.WRITE_EXCLUSIVE_REGISTRANTS_ONLY, True, True, True),
        (T.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY, True, True, False),
        (T.WRITE_EXCLUSIVE_ALL_REGISTRANTS, True, True, True),
        (T.EXCLUSIVE_ACCESS_ALL_REGISTRANTS, True, True, False),
    ],
)
def test_types(type_: T, registrant_reads: bool, registrant_writes: bool, stranger_reads: bool) -> None:
    kit = Kit()
    registered(kit, kit.a1, 1)
    registered(kit, kit.b1, 2)
    assert pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=type_) == Status.GOOD

    def may(nexus: Nexus, requests: tuple[bytes, ...]) -> bool:
        answers = {kit.run(nexus, request, BLOCK).status == Status.RESERVATION_CONFLICT for request in requests}
        assert len(answers) == 1, "all commands of one class are treated alike"
        return not answers.pop()

    assert may(kit.a1, READS)
    assert may(kit.a1, WRITES)
    assert may(kit.b1, READS) is registrant_reads
    assert may(kit.b1, WRITES) is registrant_writes
    assert may(kit.a2, READS) is stranger_reads, "another port of the same initiator is a stranger too"
    assert may(kit.a2, WRITES) is False
    for nexus in (kit.a1, kit.b1, kit.a2):
        assert may(nexus, ALWAYS)


def test_register_rules() -> None:
    kit = Kit()
    conflict = Status.RESERVATION_CONFLICT
    assert pr_out(kit, kit.a1, OutAction.REGISTER, 5, 1) == conflict, "not registered: the key is 0"
    registered(kit, kit.a1, 1)
    assert pr_out(kit, kit.a1, OutAction.REGISTER, 0, 2) == conflict
    assert pr_out(kit, kit.a1, OutAction.REGISTER, 1, 2) == Status.GOOD
    assert pr_out(kit, kit.a1, OutAction.REGISTER_AND_IGNORE, 77, 3) == Status.GOOD
    for action in (OutAction.RESERVE, OutAction.RELEASE, OutAction.CLEAR, OutAction.PREEMPT):
        assert pr_out(kit, kit.a1, action, 1, 3, 1) == conflict, "wrong key"
        assert pr_out(kit, kit.b1, action, 0, 3, 1) == Status.RESERVATION_CONFLICT, "not registered"
    assert reservation.parse_keys(kit.good(kit.b1, cdb.persistent_reserve_in(0))) == (3, [3])
    assert pr_out(kit, kit.a1, OutAction.REGISTER_AND_IGNORE, 0, 0) == Status.GOOD
    assert reservation.parse_keys(kit.good(kit.b1, cdb.persistent_reserve_in(0))) == (4, [])


def test_lists_that_can_not_be() -> None:
    kit = Kit()
    data = reservation.parameters(key=0, service_action_key=1, aptpl=True)
    assert kit.sense(kit.a1, cdb.persistent_reserve_out(OutAction.REGISTER), data) == sense.INVALID_FIELD_IN_LIST
    data = reservation.parameters(key=0, service_action_key=1)
    assert kit.sense(kit.a1, cdb.persistent_reserve_out(0, 0, 23), data[:23]) == sense.PARAMETER_LIST_LENGTH
    assert kit.sense(kit.a1, cdb.persistent_reserve_out(0), data[:20]) == sense.PARAMETER_LIST_LENGTH


def test_reserve_again_and_release() -> None:
    kit = Kit()
    registered(kit, kit.a1, 1)
    registered(kit, kit.b1, 2)
    assert pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=5) == Status.GOOD
    assert pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=5) == Status.GOOD
    assert pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=6) == Status.RESERVATION_CONFLICT
    assert pr_out(kit, kit.b1, OutAction.RESERVE, 2, type_=5) == Status.RESERVATION_CONFLICT
    assert pr_out(kit, kit.b1, OutAction.RELEASE, 2, type_=5) == Status.GOOD, "not the holder: no effect"
    assert reservation.parse_reservation(kit.good(kit.a2, cdb.persistent_reserve_in(1))) == (2, 1, T(5))
    data = reservation.parameters(key=1, service_action_key=0)
    assert kit.sense(kit.a1, cdb.persistent_reserve_out(2, 6), data) == sense.INVALID_RELEASE
    assert kit.sense(kit.a1, cdb.persistent_reserve_out(1, 2), data) == FIELD
    assert kit.sense(kit.a1, cdb.persistent_reserve_out(1, 0x15), data) == FIELD, "only the scope of a whole LU"
    assert pr_out(kit, kit.a1, OutAction.RELEASE, 1, type_=5) == Status.GOOD
    kit.good(kit.a1, bytes(6))
    assert kit.sense(kit.b1, bytes(6)) == sense.RESERVATIONS_RELEASED
    assert reservation.parse_reservation(kit.good(kit.a2, cdb.persistent_reserve_in(1))) is None


@pytest.mark.parametrize(
    ("type_", "told", "stays"), [(1, False, False), (3, False, False), (5, True, False), (6, True, False),
                                 (7, False, True), (8, False, True)]
)
def test_a_holder_that_unregisters(type_: int, told: bool, stays: bool) -> None:
    kit = Kit()
    registered(kit, kit.a1, 1)
    registered(kit, kit.b1, 2)
    pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=type_)
    assert pr_out(kit, kit.a1, OutAction.REGISTER, 1, 0) == Status.GOOD
    kit.good(kit.a1, bytes(6))
    if told:
        assert kit.sense(kit.b1, bytes(6)) == sense.RESERVATIONS_RELEASED
    kit.good(kit.b1, bytes(6))
    assert (kit.unit.reservations.type is not None) is stays
    pr_out(kit, kit.b1, OutAction.REGISTER, 2, 0)
    assert kit.unit.reservations.type is None


def test_clear() -> None:
    kit = Kit()
    registered(kit, kit.a1, 1)
    registered(kit, kit.b1, 2)
    pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=3)
    assert pr_out(kit, kit.b1, OutAction.CLEAR, 2) == Status.GOOD
    assert kit.sense(kit.a1, WRITE, BLOCK) == sense.RESERVATIONS_PREEMPTED
    kit.good(kit.a1, WRITE, BLOCK)
    kit.good(kit.b1, bytes(6))
    assert kit.unit.reservations.keys == {}


@pytest.mark.parametrize("action", [OutAction.PREEMPT, OutAction.PREEMPT_AND_ABORT])
def test_preempt_of_the_holder(action: OutAction) -> None:
    kit = Kit()
    aborted: list[object] = []
    kit.device.on_abort = lambda unit, keys: aborted.append((unit, list(keys)))
    registered(kit, kit.a1, 1)
    registered(kit, kit.b1, 2)
    registered(kit, kit.a2, 3)
    pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=5)
    assert pr_out(kit, kit.b1, action, 2, 1, 6) == Status.GOOD
    assert reservation.parse_reservation(kit.good(kit.b1, cdb.persistent_reserve_in(1))) == (4, 2, T(6))
    assert kit.run(kit.a1, WRITE, BLOCK).status == Status.RESERVATION_CONFLICT
    assert kit.sense(kit.a1, bytes(6)) == sense.REGISTRATIONS_PREEMPTED
    assert kit.sense(kit.a2, WRITE, BLOCK) == sense.RESERVATIONS_RELEASED, "the type has changed"
    kit.good(kit.a2, WRITE, BLOCK)
    assert aborted == ([(kit.unit, [kit.a1.key])] if action is OutAction.PREEMPT_AND_ABORT else [])


def test_preempt_of_one_that_holds_nothing() -> None:
    kit = Kit()
    registered(kit, kit.a1, 1)
    registered(kit, kit.b1, 2)
    pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=5)
    assert pr_out(kit, kit.a1, OutAction.PREEMPT, 1, 2, 5) == Status.GOOD
    assert list(kit.unit.reservations.keys) == [kit.a1.key]
    assert kit.unit.reservations.holds(kit.a1.key)
    assert pr_out(kit, kit.a1, OutAction.PREEMPT, 1, 99, 5) == Status.RESERVATION_CONFLICT
    data = reservation.parameters(key=1, service_action_key=0)
    assert kit.sense(kit.a1, cdb.persistent_reserve_out(4, 5), data) == sense.INVALID_FIELD_IN_LIST


def test_preempt_of_all_registrants() -> None:
    kit = Kit()
    for key, nexus in enumerate((kit.a1, kit.b1, kit.a2), start=1):
        registered(kit, nexus, key)
    pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=7)
    assert reservation.parse_reservation(kit.good(kit.a1, cdb.persistent_reserve_in(1))) == (3, 0, T(7))
    assert pr_out(kit, kit.b1, OutAction.PREEMPT, 2, 3, 7) == Status.GOOD
    assert kit.unit.reservations.type is T(7), "one registrant less, and still reserved"
    assert pr_out(kit, kit.b1, OutAction.PREEMPT, 2, 0, 1) == Status.GOOD
    assert list(kit.unit.reservations.keys) == [kit.b1.key]
    assert kit.unit.reservations.type is T(1)


def test_preempt_by_the_holder_of_its_own_key_changes_the_type() -> None:
    kit = Kit()
    registered(kit, kit.a1, 1)
    registered(kit, kit.b1, 1)
    pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=1)
    assert pr_out(kit, kit.a1, OutAction.PREEMPT, 1, 1, 5) == Status.GOOD
    assert list(kit.unit.reservations.keys) == [kit.a1.key]
    assert kit.unit.reservations.type is T(5)


def test_full_status_and_capabilities() -> None:
    kit = Kit()
    registered(kit, kit.a1, 1)
    registered(kit, kit.a2, 2)
    pr_out(kit, kit.a2, OutAction.RESERVE, 2, type_=5)
    data = kit.good(kit.b1, cdb.persistent_reserve_in(3))
    assert data[4:8] == (len(data) - 8).to_bytes(4, "big")
    assert b"iqn.2026-01.example:a,i,0x800000000001\0" in data
    assert data.count(bytes((0x01, 0x05))) == 1, "one holder"
    assert kit.good(kit.b1, cdb.persistent_reserve_in(2)).hex() == "00080c80ea010000"
    for action in range(4, 32):
        assert kit.sense(kit.b1, cdb.persistent_reserve_in(action)) == FIELD


def test_registrations_survive_the_session_and_a_reset() -> None:
    kit = Kit()
    registered(kit, kit.a1, 1)
    pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=3)
    kit.device.detach(kit.a1)
    kit.unit.reset()
    assert kit.sense(kit.b1, bytes(6)) == sense.LU_RESET
    assert kit.run(kit.b1, READ).status == Status.RESERVATION_CONFLICT
    again = kit.nexus(kit.a1.key.initiator, 1)
    assert kit.sense(again, READ) == sense.POWER_ON_OR_RESET
    kit.good(again, READ)


def test_registrations_are_bounded() -> None:
    kit = Kit()
    parameters = reservation.OutParameters.parse(reservation.parameters(key=0, service_action_key=1))
    for number in range(REGISTRATIONS_MAX):
        key = kit.a1.key._replace(isid=number.to_bytes(6, "big"))
        assert kit.unit.reservations.out(key, OutAction.REGISTER, 0, parameters).sense is None
    data = reservation.parameters(key=0, service_action_key=1)
    found = kit.sense(kit.b1, cdb.persistent_reserve_out(OutAction.REGISTER), data)
    assert found == sense.INSUFFICIENT_REGISTRATION_RESOURCES


def test_nobody_writes_past_a_reservation_however_it_came_about() -> None:
    """All orders of a few steps: a write passes if and only if the state allows it, also on the hot path."""
    steps = ("reserve", "release", "preempt", "clear", "write")
    for order in itertools.permutations(steps):
        kit = Kit()
        registered(kit, kit.a1, 1)
        registered(kit, kit.b1, 2)
        for step in order:
            if step == "reserve":
                pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=1)
            elif step == "release":
                pr_out(kit, kit.a1, OutAction.RELEASE, 1, type_=1)
            elif step == "preempt":
                pr_out(kit, kit.b1, OutAction.PREEMPT, 2, 1, 1)
            elif step == "clear":
                pr_out(kit, kit.b1, OutAction.CLEAR, 2)
            for nexus in (kit.a1, kit.b1, kit.a2):
                while (response := kit.run(nexus, WRITE, BLOCK)).status == Status.CHECK_CONDITION:
                    pass
                state = kit.unit.reservations
                allowed = state.type is None or state.holder == nexus.key
                assert (response.status == Status.GOOD) is allowed, (order, step)
