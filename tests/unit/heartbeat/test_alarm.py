"""Margins that get small: told at a part of the time, in steps, once it goes on, and never twice for nothing."""

import pytest

from mpio.heartbeat.alarm import Alarms, Level, Note
from mpio.heartbeat.bystander import Bystander
from mpio.heartbeat.formats import own, sbd
from mpio.heartbeat.region import Holds, Layout
from mpio.units import NS_PER_S

TIMING = own.Timing(2 * NS_PER_S, 60 * NS_PER_S, 66 * NS_PER_S)
INTERVAL = NS_PER_S // 2


def slot(sequence: int, generation: int = 7, *, held: bool = False) -> bytes:
    return own.render_slot(own.Slot(bytes(16), 0, generation, sequence, TIMING, held=held, name="db"))


class Watch:
    def __init__(self, percent: float) -> None:
        self.alarms = Alarms(percent)
        self.bystander = Bystander(Layout(Holds.OWN, 512, 1), INTERVAL)
        self.now = 0

    def look(self, data: bytes | str, after: int = INTERVAL) -> list[Note]:
        self.now += after
        changes = self.bystander.see([data], self.now)
        return self.alarms.look(self.bystander.views(self.now), changes)

    def beat(self) -> int:
        """Beats from now on; returns the next sequence."""
        for sequence in range(1, 4):
            self.look(slot(sequence))
        return 4

    def pause(self, sequence: int, seconds: float) -> list[Note]:
        notes = []
        end = self.now + round(seconds * NS_PER_S)
        while self.now < end:
            notes += self.look(slot(sequence))
        return notes


def test_one_pause_from_its_first_warning_to_its_end() -> None:
    watch = Watch(50)
    following = watch.beat()
    notes = watch.pause(following - 1, 52)
    assert [round(note.percent or 0) for note in notes] == [50, 60, 70, 80]
    assert all(note.level is Level.WARNING for note in notes)
    assert notes[0].words == "last heartbeat 30 s ago: 50 % of 60 s, fences itself in 30 s"
    assert notes[0].margin_ns == 30 * NS_PER_S
    (again,) = watch.look(slot(following))
    assert (again.level, again.words) == (Level.NOTICE, "heartbeats again after 52.5 s, 88 % of 60 s")
    tally = watch.alarms.tallies()[0]
    longest_ns = 52 * NS_PER_S + INTERVAL
    assert (tally.name, tally.longest_ns, tally.least_margin_ns) == ("db", longest_ns, 60 * NS_PER_S - longest_ns)


def test_a_pause_until_death() -> None:
    watch = Watch(85)
    following = watch.beat()
    notes = watch.pause(following - 1, 100)
    assert [(round(note.percent or 0), note.words.partition(": ")[2]) for note in notes] == [
        (85, "85 % of 60 s, fences itself in 9 s"),
        (95, "95 % of 60 s, fences itself in 3 s"),
        (100, "100 % of 60 s, it has fenced itself by now"),
        (100, "the others call it dead"),
    ]
    assert watch.pause(following - 1, 100) == []


def test_no_word_while_all_is_well() -> None:
    watch = Watch(50)
    following = watch.beat()
    notes = []
    for sequence in range(following, following + 100):
        notes += watch.pause(sequence, 2)
    assert notes == []
    assert watch.alarms.tallies()[0].heartbeats >= 100
    assert watch.alarms.tallies()[0].longest_ns == 2 * NS_PER_S


def test_ones_own_blindness_is_not_the_nodes_pause() -> None:
    watch = Watch(50)
    following = watch.beat()
    assert watch.look(slot(following), after=50 * NS_PER_S) == []
    assert watch.alarms.tallies()[0].longest_ns < 2 * NS_PER_S


def test_a_pause_whose_end_was_not_seen_is_told_as_what_it_may_have_been() -> None:
    watch = Watch(50)
    following = watch.beat()
    assert len(watch.pause(following - 1, 30)) == 1
    (again,) = watch.look(slot(following), after=20 * NS_PER_S)
    assert again.words == "heartbeats again after no more than 50 s, 83 % of 60 s"
    assert watch.alarms.tallies()[0].longest_ns == 30 * NS_PER_S


def test_a_node_that_was_never_seen_to_beat_is_not_warned_of() -> None:
    watch = Watch(50)
    assert [note.words for note in watch.pause(1, 200)] == ["its slot is in use; not seen to change yet"]


@pytest.mark.parametrize(("data", "level", "words"), [
    (slot(9, generation=0), Level.NOTICE, ["has left"]),
    (slot(9, generation=8), Level.NOTICE, ["has started anew", "its slot is in use; not seen to change yet"]),
    (slot(9, held=True), Level.WARNING, ["has fenced itself"]),
    (b"?" * 512, Level.WARNING, ["its slot is damaged"]),
    ("Input/output error", Level.WARNING, ["its slot can't be read"]),
    (bytes(512), Level.NOTICE, ["its slot was cleared"]),
])
def test_what_else_can_become_of_a_slot(data: bytes | str, level: Level, words: list[str]) -> None:
    watch = Watch(50)
    watch.beat()
    notes = watch.look(data)
    assert [note.words for note in notes] == words
    assert notes[-1].level is level
    assert watch.look(data) == []


def test_messages_of_sbd() -> None:
    alarms, bystander = Alarms(50), Bystander(Layout(Holds.SBD, 512, 1), INTERVAL)
    owner = sbd.render_slot(sbd.Slot("alpha"))
    told = []
    for now, message in enumerate([sbd.NOTHING, sbd.Message(sbd.Command.TEST, "b"), sbd.NOTHING,
                                   sbd.Message(sbd.Command.OFF, "b"), sbd.Message(sbd.Command.OFF, "b")]):
        changes = bystander.see([owner + sbd.render_message(message)], now)
        told += alarms.look(bystander.views(now), changes)
    assert [(note.level, note.words) for note in told] == [
        (Level.NOTICE, "no message in its slot"), (Level.NOTICE, "message test from b"),
        (Level.NOTICE, "no message in its slot"), (Level.WARNING, "message off from b"),
    ]
