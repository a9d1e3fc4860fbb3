"""SBD's disk: known bytes, and any bytes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.heartbeat.formats import sbd
from mpio.heartbeat.formats.broken import Broken, Why
from mpio.heartbeat.formats.sbd import Command, Header, Message, Slot

SECTORS = (512, 1024, 2048, 4096)
UUID = bytes.fromhex("8ef22316c364408aaf2900316b98b909")
U32 = st.integers(0, (1 << 32) - 1)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=63).filter(
    lambda name: len(name.encode()) <= 63)
# What `sbd create`, `sbd allocate alice` and `sbd message alice reset` of sbd 1.5.2 put on a disk.
HEADER = bytes.fromhex(
    "5342445f5342445f02ff0000000002000000000500000002000000010000000a"
    "018ef22316c364408aaf2900316b98b909").ljust(512, b"\0")
SLOT = b"\1alice".ljust(512, b"\0")
MAILBOX = b"\2vm".ljust(512, b"\0")


@st.composite
def headers(draw: st.DrawFn) -> Header:
    minor = draw(st.integers(0, 255))
    uuid = draw(st.binary(min_size=16, max_size=16)) if minor else bytes(16)
    return Header(draw(U32), draw(U32), draw(U32), draw(U32), draw(st.sampled_from(SECTORS)), uuid,
                  draw(st.integers(1, 255)), minor)


def test_bytes_are_those_that_sbd_writes() -> None:
    assert sbd.render_header(Header(uuid=UUID)) == HEADER
    assert sbd.parse_header(HEADER) == Header(5, 2, 1, 10, 512, UUID)
    assert sbd.render_slot(Slot("alice")) == SLOT
    assert sbd.parse_slot(SLOT) == Slot("alice")
    assert sbd.render_message(Message(Command.RESET, "vm")) == MAILBOX
    assert sbd.parse_message(MAILBOX) == Message(Command.RESET, "vm")


@pytest.mark.parametrize(("node", "slot", "mailbox"), [(0, 1, 2), (1, 3, 4), (254, 509, 510)])
def test_slots_and_mailboxes_take_turns(node: int, slot: int, mailbox: int) -> None:
    assert sbd.slot_sector(node) == slot
    assert sbd.mailbox_sector(node) == mailbox


@given(header=headers())
def test_a_header_that_is_rendered_is_parsed(header: Header) -> None:
    assert sbd.parse_header(sbd.render_header(header)) == header


@given(name=names, in_use=st.booleans(), command=st.sampled_from(Command), sector=st.sampled_from(SECTORS))
def test_what_is_rendered_is_parsed(name: str, in_use: bool, command: Command, sector: int) -> None:
    slot, message = Slot(name, in_use), Message(command, name)
    assert sbd.parse_slot(sbd.render_slot(slot, sector)) == slot
    assert sbd.parse_message(sbd.render_message(message, sector)) == message


@given(data=st.one_of(
    st.binary(max_size=600), st.binary(min_size=512, max_size=512),
    st.binary(max_size=50).map(lambda rest: (sbd.MAGIC + rest).ljust(512, b"\0")),
    st.binary(max_size=50).map(lambda rest: (sbd.MAGIC + b"\2" + rest).ljust(512, b"\0")),
))
def test_any_bytes_are_a_value_or_a_finding(data: bytes) -> None:
    header, slot, message = sbd.parse_header(data), sbd.parse_slot(data), sbd.parse_message(data)
    if isinstance(header, Header):
        assert sbd.parse_header(sbd.render_header(header)) == header
    if isinstance(slot, Slot):
        assert sbd.render_slot(slot)[1:65].rstrip(b"\0") == data[1:65].partition(b"\0")[0]
    if isinstance(message, Message):
        assert data[0] == message.command
    assert (len(data) == 512) == (not (isinstance(slot, Broken) and slot.why is Why.SIZE))


@pytest.mark.parametrize(("data", "why", "words"), [
    (bytes(512), Why.EMPTY, "nothing but zeros"),
    (b"XFSB".ljust(512, b"\0"), Why.MAGIC, "begins with b'SBD_SBD_', found b'XFSB"),
    (HEADER[:8] + b"\3" + HEADER[9:], Why.VERSION, "expected version 2 of SBD's format, found version 3"),
    (HEADER.ljust(4096, b"\0"), Why.FIELD, "sectors of 512 bytes on a disk with 4096"),
    (HEADER[:9] + b"\0" + HEADER[10:], Why.FIELD, "0 slots"),
    (HEADER[:100], Why.SIZE, "found 100 bytes"),
])
def test_a_header_that_is_none_says_why(data: bytes, why: Why, words: str) -> None:
    found = sbd.parse_header(data)
    assert isinstance(found, Broken)
    assert found.why is why
    assert words in found.words


def test_a_header_before_minor_version_1_has_no_uuid() -> None:
    old = HEADER[:32] + b"\0" + UUID + HEADER[49:]
    assert sbd.parse_header(old) == Header(uuid=bytes(16), minor_version=0)


def test_a_name_without_an_end_is_no_name() -> None:
    unended = b"\1" + b"x" * 64
    for found in (sbd.parse_slot(unended.ljust(512, b"\0")), sbd.parse_message(unended.ljust(512, b"\0"))):
        assert isinstance(found, Broken)
        assert found.why is Why.FIELD


@pytest.mark.parametrize("command", [6, 127, 128, 255])
def test_an_unknown_command_is_no_message(command: int) -> None:
    found = sbd.parse_message(bytes([command]) + MAILBOX[1:])
    assert isinstance(found, Broken)
    assert found.words == f"expected a command from 0 to 5 in a mailbox of SBD, found {command}"


def test_a_slot_is_found_by_name_in_any_case() -> None:
    slots = [Slot("alice", in_use=False), sbd.FREE, Slot("Bob"), Slot("bob"), Slot("ALICE")]
    assert sbd.find_slot(slots, "alice") == 4
    assert sbd.find_slot(slots, "BOB") == 2
    assert sbd.find_slot(slots, "carol") is None
    assert not sbd.same_node("\xc4", "\xe4")  # strcasecmp in the C locale knows ASCII only


@pytest.mark.parametrize("change", [
    {"slots": 0}, {"slots": 256}, {"watchdog": -1}, {"msgwait": 1 << 32}, {"sector": 513}, {"uuid": b"short"},
    {"minor_version": 256},
])
def test_a_header_that_does_not_fit_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        sbd.render_header(replace(Header(), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x" * 64, "\xe4" * 32, "a\0b"])
def test_a_name_that_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"name: expected|bytes of the name: expected 0 to 63"):
        sbd.render_slot(Slot(name))
