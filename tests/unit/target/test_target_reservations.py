"""Persistent reservations: the standard's table command by command, moving and persisting, and random interleavings.

The model at the end is written from the text of SPC-4 §5.13, apart from the implementation.
"""

import random
from collections.abc import Iterator

import pytest
from tests.unit.target.target_kit import Kit

from mpio.model.task import Status
from mpio.proto.scsi import cdb, reservation, sense
from mpio.proto.scsi.reservation import OutAction, ReservationType
from mpio.proto.scsi.sense import Sense
from mpio.target.commands import COMMANDS
from mpio.target.nexus import Nexus, NexusKey
from mpio.target.reservation import PersistentReservations
from mpio.target.reservation_record import decode, encode
from mpio.target.store import StoreError

T = ReservationType
GOOD, CONFLICT = Status.GOOD, Status.RESERVATION_CONFLICT
BLOCK = bytes(512)


class Memory:
    """A keeper that forgets nothing, and fails when told to."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.fails = False

    def load(self) -> str | None:
        return self.text

    def save(self, text: str | None) -> None:
        if self.fails:
            raise StoreError("the disk is full", sense.WRITE_ERROR)
        self.text = text


def pr_out(kit: Kit, nexus: Nexus, action: int, key: int, other: int = 0, type_: int = 0, *, aptpl: bool = False,
           all_target_ports: bool = False) -> int:
    data = reservation.parameters(key=key, service_action_key=other, aptpl=aptpl, all_target_ports=all_target_ports)
    return kit.run(nexus, cdb.persistent_reserve_out(action, type_, len(data)), data).status


def move(
    kit: Kit, nexus: Nexus, key: int, to: NexusKey, new: int, *, unregister: bool = False
) -> tuple[int, Sense | None]:
    data = reservation.move_parameters(key=key, service_action_key=new, relative_port=to.tpgt, unregister=unregister,
                                       initiator_port=to.initiator_port)
    response = kit.run(nexus, cdb.persistent_reserve_out(OutAction.REGISTER_AND_MOVE, 0, len(data)), data)
    return response.status, Sense.parse(response.sense)


def registered(kit: Kit) -> list[tuple[NexusKey, int]]:
    return list(kit.unit.reservations.keys.items())


# --- the table: SPC-4 table 66 and SBC-3 table 13. Whether one who is not registered passes write exclusive, and
# exclusive access; registrants without the reservation are treated alike if the type is for the holder alone.

A, C = True, False
TABLE: dict[str, tuple[bool, bool]] = {
    "00": (A, A), "03": (A, A), "12": (A, A), "a0": (A, A), "25": (A, A), "9e10": (A, A), "a30a": (A, A),
    "5e00": (A, A), "5e01": (A, A), "5e02": (A, A), "5e03": (A, A),
    "1b00000001": (A, A), "1b00000000": (C, C), "1b00000002": (C, C), "1b00000003": (C, C), "1b00000011": (C, C),
    "1e00000000": (A, A), "1e00000001": (C, C),
    "08": (A, C), "28": (A, C), "a8": (A, C), "88": (A, C), "2f": (A, C), "af": (A, C), "8f": (A, C), "34": (A, C),
    "90": (A, C), "9e12": (A, C), "37": (A, C), "b7": (A, C), "1a": (A, C), "5a": (A, C), "a30c": (A, C),
    "a30d": (A, C), "8400": (A, C), "8403": (A, C),
    "0a": (C, C), "2a": (C, C), "aa": (C, C), "8a": (C, C), "2e": (C, C), "ae": (C, C), "8e": (C, C), "41": (C, C),
    "93": (C, C), "42": (C, C), "89": (C, C), "8b": (C, C), "9c": (C, C), "35": (C, C), "91": (C, C), "15": (C, C),
    "55": (C, C), "8300": (C, C), "a40a": (C, C),
}  # fmt: skip
BY_THEMSELVES = {(0x16, None), (0x17, None), *((0x5F, action) for action in OutAction)}  # tables of their own


def test_the_table_has_every_command() -> None:
    listed = set()
    for row in TABLE:
        opcode, action = int(row[:2], 16), int(row[2:4] or "0", 16) & 0x1F
        listed.add((opcode, action) if (opcode, action) in COMMANDS else (opcode, None))
    assert listed | BY_THEMSELVES == set(COMMANDS)


@pytest.mark.parametrize("type_", T)
def test_each_type_and_command(type_: T) -> None:
    write_exclusive = "WRITE" in type_.name
    for row, (passes_write_exclusive, passes_exclusive_access) in TABLE.items():
        kit = Kit(removable=True, explicit_alua=True)
        assert pr_out(kit, kit.a1, OutAction.REGISTER, 0, 1) == GOOD
        assert pr_out(kit, kit.b1, OutAction.REGISTER, 0, 2) == GOOD
        assert pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=type_) == GOOD
        request = bytes.fromhex(row).ljust(16, b"\0")

        def passes(nexus: Nexus, kit: Kit = kit, request: bytes = request) -> bool:
            return kit.run(nexus, request, BLOCK).status != CONFLICT

        stranger = passes_write_exclusive if write_exclusive else passes_exclusive_access
        assert passes(kit.a2) is stranger, row
        assert passes(kit.b1) is ("REGISTRANTS" in type_.name or stranger), row
        assert passes(kit.a1), row


def test_nothing_is_forbidden_without_a_reservation() -> None:
    kit = Kit(removable=True)
    pr_out(kit, kit.a1, OutAction.REGISTER, 0, 1)
    for row in TABLE:
        assert kit.run(kit.b1, bytes.fromhex(row).ljust(16, b"\0"), BLOCK).status != CONFLICT


# --- more than one nexus at a time


def test_all_target_ports() -> None:
    kit = Kit()
    assert pr_out(kit, kit.a1, OutAction.REGISTER, 0, 1, all_target_ports=True) == GOOD
    other_port = kit.a1.key._replace(tpgt=2)
    assert registered(kit) == [(kit.a1.key, 1), (other_port, 1)]
    assert pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=T.WRITE_EXCLUSIVE_REGISTRANTS_ONLY) == GOOD
    assert pr_out(kit, kit.a1, OutAction.REGISTER_AND_IGNORE, 0, 3, all_target_ports=True) == GOOD
    assert registered(kit) == [(kit.a1.key, 3), (other_port, 3)]
    assert pr_out(kit, kit.a1, OutAction.REGISTER, 3, 0, all_target_ports=True) == GOOD
    assert registered(kit) == []
    assert kit.unit.reservations.type is None


def test_initiator_ports_in_the_list() -> None:
    kit = Kit()
    c = NexusKey("iqn.2026-01.example:c", b"\x80\0\0\0\0\x09", 1)
    ports = (kit.b1.key.initiator_port, c.initiator_port)
    data = reservation.parameters(key=0, service_action_key=5, initiator_ports=ports)
    request = cdb.persistent_reserve_out(OutAction.REGISTER, 0, len(data))
    kit.good(kit.a1, request, data)
    assert registered(kit) == [(kit.a1.key, 5), (kit.b1.key, 5), (c, 5)]
    assert kit.run(kit.a1, request, data).status == CONFLICT
    again = reservation.parameters(key=5, service_action_key=6, initiator_ports=ports)
    assert kit.sense(kit.a1, request, again) == sense.INVALID_FIELD_IN_LIST, "only from who is not registered"
    ignoring = cdb.persistent_reserve_out(OutAction.REGISTER_AND_IGNORE, 0, len(data))
    assert kit.sense(kit.a2, ignoring, data) == sense.INVALID_FIELD_IN_LIST
    for bad, problem in (
        (data[:-1], sense.PARAMETER_LIST_LENGTH), (data + bytes(4), sense.PARAMETER_LIST_LENGTH),
        (data[:28] + b"\x00" + data[29:], sense.INVALID_FIELD_IN_LIST),
        (data[:28] + b"\x05" + data[29:], sense.INVALID_FIELD_IN_LIST),
        (data.replace(b",i,0x80", b",i,0xzz", 1), sense.INVALID_FIELD_IN_LIST),
        (data.replace(b",i,0x80", b",j,0x80", 1), sense.INVALID_FIELD_IN_LIST),
    ):  # fmt: skip
        assert kit.sense(kit.a2, cdb.persistent_reserve_out(0, 0, len(bad)), bad) == problem
    assert len(registered(kit)) == 3


@pytest.mark.parametrize("type_", [T.WRITE_EXCLUSIVE, T.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY])
@pytest.mark.parametrize("unregister", [False, True])
def test_the_reservation_moves(type_: T, unregister: bool) -> None:
    kit = Kit()
    pr_out(kit, kit.a1, OutAction.REGISTER, 0, 1)
    pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=type_)
    assert move(kit, kit.a1, 1, kit.b1.key, 2, unregister=unregister) == (GOOD, None)
    assert registered(kit) == [*([] if unregister else [(kit.a1.key, 1)]), (kit.b1.key, 2)]
    state = kit.unit.reservations
    assert (state.type, state.holder, state.generation) == (type_, kit.b1.key, 2)
    kit.good(kit.b1, cdb.write(0, 1), BLOCK)
    writes = type_ is T.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY and not unregister
    assert (kit.run(kit.a1, cdb.write(0, 1), BLOCK).status == GOOD) is writes


def test_moves_that_can_not_be() -> None:
    kit = Kit()
    for key, nexus in ((1, kit.a1), (2, kit.b1)):
        pr_out(kit, nexus, OutAction.REGISTER, 0, key)
    field_in_list = (Status.CHECK_CONDITION, sense.INVALID_FIELD_IN_LIST)
    assert move(kit, kit.a1, 1, kit.b1.key, 5) == (Status.CHECK_CONDITION, sense.INVALID_FIELD_IN_CDB), "none is held"
    pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=1)
    assert move(kit, kit.a1, 9, kit.b1.key, 5)[0] == CONFLICT
    assert move(kit, kit.a2, 0, kit.b1.key, 5)[0] == CONFLICT, "not registered"
    assert move(kit, kit.b1, 2, kit.a1.key, 5) == (Status.CHECK_CONDITION, sense.INVALID_FIELD_IN_CDB), "not the holder"
    assert move(kit, kit.a1, 1, kit.b1.key, 0) == field_in_list
    assert move(kit, kit.a1, 1, kit.a1.key, 5) == field_in_list
    assert move(kit, kit.a1, 1, kit.b1.key._replace(tpgt=9), 5) == field_in_list
    pr_out(kit, kit.a1, OutAction.RELEASE, 1, type_=1)
    pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=T.WRITE_EXCLUSIVE_ALL_REGISTRANTS)
    assert move(kit, kit.a1, 1, kit.b1.key, 5)[0] == CONFLICT
    assert registered(kit) == [(kit.a1.key, 1), (kit.b1.key, 2)]


# --- over restarts


@pytest.mark.parametrize("type_", T)
def test_reservations_that_were_asked_to_last_do(type_: T) -> None:
    memory = Memory()
    kit = Kit(keeper=memory)
    pr_out(kit, kit.a1, OutAction.REGISTER, 0, 1, aptpl=True)
    pr_out(kit, kit.b1, OutAction.REGISTER, 0, 2, aptpl=True)
    pr_out(kit, kit.a1, OutAction.RESERVE, 1, type_=type_)
    assert kit.good(kit.a1, cdb.persistent_reserve_in(2)).hex() == "00080d81ea010000"
    again = Kit(keeper=memory)
    assert registered(again) == registered(kit)
    assert reservation.parse_reservation(again.good(again.a2, cdb.persistent_reserve_in(1))) == (
        0, 0 if "ALL" in type_.name else 1, type_)
    assert again.run(again.a2, cdb.write(0, 1), BLOCK).status == CONFLICT
    again.good(again.a1, cdb.write(0, 1), BLOCK)
    assert pr_out(again, again.a1, OutAction.CLEAR, 1) == GOOD
    assert registered(Kit(keeper=memory)) == []


def test_reservations_that_were_not_asked_to_last_do_not() -> None:
    memory = Memory()
    kit = Kit(keeper=memory)
    pr_out(kit, kit.a1, OutAction.REGISTER, 0, 1)
    assert memory.text is None
    pr_out(kit, kit.a1, OutAction.REGISTER_AND_IGNORE, 0, 1, aptpl=True)
    assert registered(Kit(keeper=memory)) == [(kit.a1.key, 1)]
    pr_out(kit, kit.a1, OutAction.REGISTER, 1, 2)
    assert memory.text is None, "the last one to say counts"


def test_what_could_not_be_kept_has_not_happened() -> None:
    memory = Memory()
    kit = Kit(keeper=memory)
    pr_out(kit, kit.a1, OutAction.REGISTER, 0, 1, aptpl=True)
    pr_out(kit, kit.b1, OutAction.REGISTER, 0, 2, aptpl=True)
    memory.fails = True
    before = encode(kit.unit.reservations)
    for action in (OutAction.RESERVE, OutAction.PREEMPT, OutAction.CLEAR, OutAction.REGISTER):
        data = reservation.parameters(key=1, service_action_key=2, aptpl=True)
        assert kit.sense(kit.a1, cdb.persistent_reserve_out(action, 1), data) == sense.WRITE_ERROR
    assert encode(kit.unit.reservations) == before
    kit.good(kit.b1, cdb.write(0, 1), BLOCK)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", '{"version": 2}', '{"version": 1, "type": 1, "holder": null, "registrations": []}',
     '{"version": 1, "type": 2, "holder": null, "registrations": []}',
     '{"version": 1, "type": null, "holder": 0, "registrations": []}',
     '{"version": 1, "type": null, "holder": null, "registrations": [{"initiator": "a", "isid": "00", "key": "1"}]}',
     ('{"version": 1, "type": 1, "holder": null, "registrations": '
      '[{"initiator": "a", "isid": "00", "tpgt": 1, "key": "1"}]}')],
)
def test_a_damaged_record_is_an_error(text: str) -> None:
    memory = Memory()
    memory.text = text
    with pytest.raises(ValueError, match="the reservations that were kept for it"):
        Kit(keeper=memory)


# --- random interleavings against a model


class Model:
    """SPC-4 §5.13 in its own words: registrations, one reservation, who is told what."""

    def __init__(self) -> None:
        self.key: dict[str, int] = {}
        self.type: int | None = None
        self.owner: str | None = None
        self.told: list[tuple[str, Sense]] = []

    def holders(self) -> list[str]:
        if self.type is None:
            return []
        return list(self.key) if self.type in (7, 8) else [name for name in self.key if name == self.owner]

    def may(self, who: str, *, write: bool) -> bool:
        if self.type is None or who in self.holders() or (self.type in (5, 6) and who in self.key):
            return True
        return not write and self.type in (1, 5, 7)

    def release_all(self) -> None:
        self.type = self.owner = None

    def tell(self, whom: list[str], what: Sense) -> None:
        self.told += [(name, what) for name in whom]

    def step(self, who: str, action: OutAction, key: int, other: int, type_: int) -> int:
        if action is OutAction.REGISTER and key != self.key.get(who, 0):
            return CONFLICT
        if action in (OutAction.REGISTER, OutAction.REGISTER_AND_IGNORE):
            if other:
                self.key[who] = other
            elif who in self.key:
                self.unregister(who)
            return GOOD
        if key != self.key.get(who):
            return CONFLICT
        return {OutAction.RESERVE: self.reserve, OutAction.RELEASE: self.release, OutAction.CLEAR: self.clear}.get(
            action, self.preempt)(who, other, type_)

    def unregister(self, who: str) -> None:
        held_alone = self.holders() == [who]
        del self.key[who]
        if held_alone:
            if self.type in (5, 6):
                self.tell(list(self.key), sense.RESERVATIONS_RELEASED)
            self.release_all()

    def reserve(self, who: str, _other: int, type_: int) -> int:
        if self.type is None:
            self.type, self.owner = type_, who
            return GOOD
        return GOOD if who in self.holders() and type_ == self.type else CONFLICT

    def release(self, who: str, _other: int, type_: int) -> int:
        if who not in self.holders():
            return GOOD
        if type_ != self.type:
            return Status.CHECK_CONDITION
        if self.type >= 5:
            self.tell([name for name in self.key if name != who], sense.RESERVATIONS_RELEASED)
        self.release_all()
        return GOOD

    def clear(self, who: str, _other: int, _type: int) -> int:
        self.tell([name for name in self.key if name != who], sense.RESERVATIONS_PREEMPTED)
        self.key.clear()
        self.release_all()
        return GOOD

    def preempt(self, who: str, other: int, type_: int) -> int:
        everybody = self.type in (7, 8)
        if other == 0 and not everybody:
            return Status.CHECK_CONDITION
        if everybody:
            takes = other == 0
            gone = [name for name in self.key if (name != who if takes else self.key[name] == other)]
        else:
            takes = self.type is not None and self.owner is not None and self.key[self.owner] == other
            gone = [name for name in self.key if self.key[name] == other and not (takes and name == who)]
        if not gone and not takes:
            return CONFLICT
        for name in gone:
            del self.key[name]
        self.tell([name for name in gone if name != who], sense.REGISTRATIONS_PREEMPTED)
        if takes:
            if type_ != self.type:
                self.tell([name for name in self.key if name != who], sense.RESERVATIONS_RELEASED)
            self.type, self.owner = type_, who
        elif everybody and not self.key:
            self.release_all()
        return GOOD


def steps(rng: random.Random) -> Iterator[tuple[str, OutAction, int, int, int]]:
    """PERSISTENT RESERVE OUT commands of three nexuses with few keys, so that they meet; mostly registrations first."""
    actions = [action for action in OutAction if action is not OutAction.REGISTER_AND_MOVE]
    for number in range(24):
        action = OutAction.REGISTER_AND_IGNORE if number < 2 else rng.choice(actions)
        yield rng.choice(("a1", "b1", "a2")), action, rng.randrange(4), rng.randrange(4), rng.choice((1, 3, 5, 6, 7, 8))


@pytest.mark.parametrize("batch", range(10))
def test_a_thousand_random_interleavings(batch: int) -> None:
    for seed in range(100 * batch, 100 * batch + 100):
        rng = random.Random(seed)
        kit, model = Kit(), Model()
        nexuses = {"a1": kit.a1, "b1": kit.b1, "a2": kit.a2}
        done = []
        for who, action, guess, other, type_ in steps(rng):
            key = model.key.get(who, 0) if rng.random() < 0.8 else guess  # mostly the right one
            done.append((who, action.name, key, other, type_))
            assert pr_out(kit, nexuses[who], action, key, other, type_) == model.step(who, action, key, other, type_), (
                seed, done)
            for name, nexus in nexuses.items():
                told = [what for whom, what in model.told if whom == name]
                found = []
                while (response := kit.run(nexus, bytes(6))).status != GOOD:
                    found.append(Sense.parse(response.sense))
                assert found == told, (seed, done)
                for write in (False, True):
                    request = cdb.write(0, 1) if write else cdb.read(0, 1)
                    passed = kit.run(nexus, request, BLOCK).status == GOOD
                    assert passed is model.may(name, write=write), (seed, done, name)
            model.told.clear()
            assert {name: kit.unit.reservations.keys.get(nexus.key, 0) for name, nexus in nexuses.items()} == {
                name: model.key.get(name, 0) for name in nexuses}, (seed, done)
            copy: PersistentReservations = decode(encode(kit.unit.reservations))
            assert (copy.keys, copy.type, copy.holder) == (
                kit.unit.reservations.keys, kit.unit.reservations.type, kit.unit.reservations.holder)
