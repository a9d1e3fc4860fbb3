"""A bystander's view: ages from its own reads only, and no blame for what it could not see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.heartbeat.bystander import Bystander, Change, Look, SlotView, decode
from mpio.heartbeat.formats import o2cb, own, sbd
from mpio.heartbeat.region import Holds, Layout
from mpio.units import NS_PER_S

REGION = bytes(range(16))
TIMING = own.Timing(2 * NS_PER_S, 60 * NS_PER_S, 66 * NS_PER_S)
LAYOUT = Layout(Holds.OWN, 512, 3)
EMPTY = bytes(512)
INTERVAL = NS_PER_S // 2


def slot(sequence: int, generation: int = 7, node: int = 1, *, held: bool = False, region: bytes = REGION) -> bytes:
    return own.render_slot(own.Slot(region, node, generation, sequence, TIMING, held=held, name="db"))


class Looks:
    """A bystander that looks once an interval at slot 1; slots 0 and 2 are empty."""

    def __init__(self) -> None:
        self.bystander = Bystander(LAYOUT, INTERVAL, REGION)
        self.now = 0

    def see(self, data: bytes | str, after: int = INTERVAL) -> list[Change]:
        self.now += after
        return self.bystander.see([EMPTY, data, EMPTY], self.now)

    def view(self) -> SlotView:
        (view,) = self.bystander.views(self.now)
        return view


def test_a_slot_that_was_in_use_before_the_first_look_is_at_least_so_old() -> None:
    looks = Looks()
    assert [(change.old, change.new) for change in looks.see(slot(1))] == [(Look.EMPTY, Look.SILENT)]
    for _ in range(4):
        assert looks.see(slot(1)) == []
    view = looks.view()
    assert (view.look, view.age_ns, view.is_at_least) == (Look.SILENT, 4 * INTERVAL, True)
    assert view.margin_ns == 60 * NS_PER_S - 4 * INTERVAL


def test_two_changes_make_it_beat_and_each_tells_the_gap() -> None:
    looks = Looks()
    looks.see(slot(1))
    (first,) = looks.see(slot(2))
    assert (first.gap_ns, first.new) == (None, Look.SILENT)
    looks.see(slot(2))
    (second,) = looks.see(slot(3))
    assert (second.old, second.new) == (Look.SILENT, Look.BEATING)
    assert (second.gap_ns, second.is_measured) == (2 * INTERVAL, True)
    looks.see(slot(3))
    view = looks.view()
    assert (view.age_ns, view.is_at_least, view.dead_in_ns) == (INTERVAL, False, 66 * NS_PER_S - INTERVAL)
    assert view.beat.name == "db"


def test_a_gap_in_ones_own_reads_is_nobodys_pause() -> None:
    looks = Looks()
    for sequence in range(3):
        looks.see(slot(sequence + 1))
    (late,) = looks.see(slot(4), after=10 * INTERVAL)
    assert (late.gap_ns, late.is_measured) == (10 * INTERVAL, False)
    (good,) = looks.see(slot(5))
    assert good.is_measured
    looks.see("Input/output error")
    assert looks.view() == SlotView(1, Look.UNREADABLE, good.beat, trouble="Input/output error")
    looks.see("Input/output error")
    looks.see(slot(5))
    looks.see(slot(5))
    (after,) = looks.see(slot(6))  # what was not seen in between changes nothing: it was still the same after that
    assert (after.gap_ns, after.is_measured) == (5 * INTERVAL, True)
    looks.see("Input/output error")
    looks.see("Input/output error")
    (after,) = looks.see(slot(7))
    assert not after.is_measured


def test_a_slot_that_stays_the_same_is_dead_and_one_late_write_does_not_bring_it_back() -> None:
    looks = Looks()
    for sequence in range(3):
        looks.see(slot(sequence + 1))
    while looks.now < 70 * NS_PER_S:
        looks.see(slot(3))
    assert looks.view().look is Look.DEAD
    (change,) = looks.see(slot(4))
    assert change.new is Look.SILENT
    looks.see(slot(5))
    assert looks.view().look is Look.BEATING


def test_lives_leaving_and_fences() -> None:
    looks = Looks()
    for sequence in range(3):
        looks.see(slot(sequence + 1))
    (change,) = looks.see(slot(1, generation=8))
    assert (change.restarted, change.new, change.gap_ns) == (True, Look.SILENT, None)
    (change,) = looks.see(slot(2, generation=8))
    assert change.new is Look.BEATING
    (change,) = looks.see(slot(3, generation=8, held=True))
    assert change.new is Look.HELD
    (change,) = looks.see(slot(4, generation=0))
    assert (change.new, change.restarted) == (Look.LEFT, False)
    (change,) = looks.see(EMPTY)
    assert change.new is Look.EMPTY
    assert looks.bystander.views(looks.now) == []


@pytest.mark.parametrize(("data", "words"), [
    (b"x" * 512, "expected a sector of mpio"),
    (slot(1, node=2), "a heartbeat of node 2 in the slot of node 1"),
    (slot(1, region=bytes(16)), "a heartbeat for another region"),
    (slot(1)[:100] + b"!" + slot(1)[101:], "checksum"),
])
def test_damage_is_told(data: bytes, words: str) -> None:
    looks = Looks()
    (change,) = looks.see(data)
    assert change.new is Look.DAMAGED
    assert words in looks.view().trouble
    assert looks.see(slot(1))[0].new is Look.SILENT


def test_slots_of_o2cb() -> None:
    layout = Layout(Holds.O2CB, 512, 2)
    block = o2cb.render(o2cb.Block(5, 1, 9, 62_000))
    beat = decode(layout, 1, block)
    assert not isinstance(beat, tuple)
    assert beat is not None
    assert (beat.deadline_ns, beat.dead_ns, beat.period_ns) == (60 * NS_PER_S, 62 * NS_PER_S, 2 * NS_PER_S)
    assert decode(layout, 1, EMPTY) is None
    assert decode(layout, 0, block) == (Look.DAMAGED, "a heartbeat of node 1 in the slot of node 0")


def test_slots_of_sbd_have_names_and_messages_and_no_ages() -> None:
    layout = Layout(Holds.SBD, 512, 1)
    owner = sbd.render_slot(sbd.Slot("alpha"))
    bystander = Bystander(layout, INTERVAL)
    (change,) = bystander.see([owner + sbd.render_message(sbd.NOTHING)], 1)
    assert change.new is Look.NAMED
    (change,) = bystander.see([owner + sbd.render_message(sbd.Message(sbd.Command.RESET, "beta"))], 2)
    assert change.beat.message == sbd.Message(sbd.Command.RESET, "beta")
    assert bystander.see([owner + sbd.render_message(sbd.Message(sbd.Command.RESET, "beta"))], 3) == []
    (view,) = bystander.views(4)
    assert (view.look, view.age_ns, view.margin_ns) == (Look.NAMED, None, None)


SECTORS = st.one_of(
    st.binary(min_size=512, max_size=512),
    st.just("Input/output error"),
    st.just(EMPTY),
    st.builds(slot, st.integers(0, 3), st.integers(0, 2), st.integers(0, 2), held=st.booleans()),
)


@given(st.lists(st.tuples(SECTORS, st.integers(1, 100 * NS_PER_S)), max_size=30))
def test_whatever_is_there_is_told_and_no_age_is_made_up(looks: list[tuple[bytes | str, int]]) -> None:
    seen = Looks()
    begin: int | None = None
    for data, after in looks:
        before = {view.node: view.look for view in seen.bystander.views(seen.now)}.get(1, Look.EMPTY)
        changes = seen.see(data, after)
        begin = seen.now if begin is None else begin
        now = {view.node: view.look for view in seen.bystander.views(seen.now)}.get(1, Look.EMPTY)
        alive = (Look.SILENT, Look.BEATING, Look.DEAD)  # age alone makes DEAD, which is no change of the slot
        assert changes or before is now or (before in alive and now in alive)
        for view in seen.bystander.views(seen.now):
            assert view.age_ns is None or 0 <= view.age_ns <= seen.now - begin
        for change in changes:
            assert change.gap_ns is None or 0 < change.gap_ns <= seen.now - begin


@given(st.sampled_from([Holds.O2CB, Holds.SBD, Holds.OWN]), st.binary(min_size=1024, max_size=1024))
def test_any_bytes_are_something(holds: Holds, data: bytes) -> None:
    layout = Layout(holds, 512, 2)
    bystander = Bystander(layout, INTERVAL)
    sectors = [data if holds is Holds.SBD else data[:512], data if holds is Holds.SBD else data[512:]]
    bystander.see(sectors, 1)
    for view in bystander.views(2):
        assert (view.look is Look.DAMAGED) == bool(view.trouble)
