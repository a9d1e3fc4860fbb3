"""Units, journal and transition tables."""

from enum import Enum, auto

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.errors import LocalProtocolError
from mpio.events import Event, Journal, Kind
from mpio.table import Transitions
from mpio.units import format_duration, format_size, parse_duration, parse_size, seconds


@pytest.mark.parametrize(
    ("text", "ns"),
    [("25s", 25 * 10**9), ("300ms", 3 * 10**8), ("1.5", 15 * 10**8), ("2m", 120 * 10**9), (" 10 min ", 600 * 10**9)],
)
def test_durations(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "size"), [("4KiB", 4096), ("64M", 64 << 20), ("1MB", 10**6), ("512", 512), ("3TiB", 3 << 40)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 parsec", "1e3", "9" * 30, "٣s", "1s2"])
def test_bad_quantities_say_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)
    with pytest.raises(ValueError, match="expected a size"):
        parse_size(text)


@given(st.integers(0, 2**60))
def test_formatted_whole_sizes_parse_back(size: int) -> None:
    text = format_size(size)
    if "." not in text:
        assert parse_size(text) == size


def test_format_duration() -> None:
    shown = [format_duration(n) for n in (0, 45_000, 812_345_678, 1_234_000_000)]
    assert shown == ["0 ns", "45 µs", "812 ms", "1.234 s"]
    assert seconds(0.25) == 250_000_000


field_values = st.one_of(st.text(), st.integers(-(2**53), 2**53), st.booleans(), st.none())


@given(st.integers(0, 2**62), st.sampled_from(Kind), st.dictionaries(st.sampled_from("abcdef"), field_values))
def test_journal_lines_round_trip(t_ns: int, kind: Kind, fields: dict[str, str | int | None]) -> None:
    journal = Journal()
    journal.record(t_ns, "map:x/path:1", kind, **fields)
    (event,) = journal
    assert Event.from_json(event.to_json()) == event


def test_journal_is_bounded_and_says_what_it_dropped() -> None:
    journal = Journal(records_max=3)
    seen: list[int] = []
    journal.sinks.append(lambda event: seen.append(event.seq))
    for n in range(5):
        journal.record(n, "x", Kind.LOGGED_OUT)
    assert [event.seq for event in journal] == [3, 4, 5]
    assert journal.dropped == 2
    assert seen == [1, 2, 3, 4, 5]


@given(st.text())
def test_bad_journal_lines_are_value_or_key_errors(line: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        Event.from_json(line)


class Door(Enum):
    SHUT = auto()
    OPEN = auto()


class Push(Enum):
    PULL = auto()
    KICK = auto()


def test_table_is_total_reachable_and_strict() -> None:
    rows: dict[Door, dict[Push, Door | None]] = {
        Door.SHUT: {Push.PULL: Door.OPEN, Push.KICK: None},
        Door.OPEN: {Push.PULL: Door.OPEN, Push.KICK: Door.SHUT},
    }
    table = Transitions("door", Door, Push, rows)
    assert table.next(Door.SHUT, Push.PULL) is Door.OPEN
    assert not table.allows(Door.SHUT, Push.KICK)
    with pytest.raises(LocalProtocolError, match="KICK is not allowed in state SHUT"):
        table.next(Door.SHUT, Push.KICK)
    assert '"SHUT" -> "OPEN" [label="PULL"]' in table.dot()
    with pytest.raises(ValueError, match="no entry"):
        Transitions("door", Door, Push, {Door.SHUT: rows[Door.SHUT]})
    with pytest.raises(ValueError, match="can't be reached"):
        Transitions("door", Door, Push, rows | {Door.SHUT: {Push.PULL: None, Push.KICK: None}})
