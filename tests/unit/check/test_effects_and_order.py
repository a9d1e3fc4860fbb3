"""Effects on the medium, order of commands, journals and identity: clean stories pass, planted faults are named."""

from collections.abc import Callable

import pytest
from tests.unit.engine.engine_kit import Bench, S

from mpio.check.breach import BREACHES_MAX, Breach, Breaches
from mpio.check.effects import EffectCheck
from mpio.check.identity import IdentityCheck
from mpio.check.order import CommandOrder, check_journal
from mpio.events import Event, Kind, Value


def rules(breaches: list[Breach]) -> list[str]:
    return [breach.rule for breach in breaches]


# --- effects

def written(*, acknowledge: bool = True) -> EffectCheck:
    """Writes 1 and 2 of LBA 0 to 3 have landed in turn, and were acknowledged."""
    check = EffectCheck()
    for sequence in (1, 2):
        check.invoked(0, 4, sequence)
        check.landed(0, 4, sequence, 10 * sequence, "first")
        if acknowledge:
            check.acknowledged(0, 4, sequence, 10 * sequence + 1)
    return check


def test_writes_in_turn_break_nothing() -> None:
    check = written()
    check.invoked(2, 4, 3)
    check.landed(2, 2, 3, 30)  # in two steps, as of two R2Ts
    check.landed(4, 2, 3, 31)
    check.acknowledged(2, 4, 3, 32)
    assert check.breaches == []
    assert check.effects == 12


def test_a_retried_write_may_land_twice_before_it_is_acknowledged() -> None:
    check = written()
    check.invoked(0, 1, 3)
    check.landed(0, 1, 3, 30, "first")
    check.landed(0, 1, 3, 31, "second")
    check.acknowledged(0, 1, 3, 32)
    assert check.breaches == []


@pytest.mark.parametrize(("plant", "rule"), [
    (lambda check: check.landed(0, 1, 1, 50), "ghost"),
    (lambda check: check.landed(0, 1, 2, 50), "late-copy"),
    (lambda check: check.landed(0, 1, 9, 50), "misplaced"),
    (lambda check: check.landed(7, 1, 2, 50), "misplaced"),
    (lambda check: (check.invoked(0, 1, 3), check.acknowledged(0, 1, 3, 50)), "early"),
    (lambda check: (check.invoked(0, 1, 3), check.failed(0, 1, 3, void=True), check.landed(0, 1, 3, 50)), "phantom"),
    (lambda check: (check.invoked(0, 1, 3), check.fenced("first"), check.landed(0, 1, 3, 50, "first")), "unfenced"),
])
def test_planted_effects_are_named(plant: Callable[[EffectCheck], object], rule: str) -> None:
    check = written()
    plant(check)
    assert [(breach.rule, breach.t_ns) for breach in check.breaches] == [(rule, 50)]


def test_a_write_of_unknown_outcome_may_land_late_and_is_counted() -> None:
    check = written()
    check.invoked(0, 1, 3)
    check.failed(0, 1, 3, void=False)
    check.invoked(0, 1, 4)
    check.landed(0, 1, 4, 40, "second")
    check.acknowledged(0, 1, 4, 41)
    check.landed(0, 1, 3, 50, "first")
    assert check.breaches == []
    assert check.late_unknowns == 1


def test_a_lost_cache_is_no_early_acknowledgement() -> None:
    check = written()
    check.crashed({0: 1, 1: 0})
    check.invoked(0, 2, 3)
    check.landed(0, 2, 3, 60)
    check.acknowledged(0, 2, 3, 61)
    assert check.breaches == []


def test_breaches_are_bounded() -> None:
    breaches = Breaches()
    for number in range(BREACHES_MAX + 5):
        breaches.add("ghost", number, "again")
    assert len(breaches.kept) == BREACHES_MAX
    assert breaches.count == BREACHES_MAX + 5
    assert str(breaches.kept[0]) == "ghost: again"


# --- order of commands

def test_commands_are_taken_up_as_they_were_sent() -> None:
    check = CommandOrder()
    for session in ("a", "b"):
        for tag in range(4):
            check.sent(session, tag)
    for tag in (0, 1, 3):  # 2 was aborted before
        check.taken("a", tag, 5)
        check.taken("b", tag, 5)
    check.sent("a", 0)  # the tag comes round
    check.taken("a", 0, 6)
    check.ended("a")
    check.sent("a", 0)
    check.taken("a", 0, 7)
    assert check.breaches == []


@pytest.mark.parametrize(("tags", "rule"), [((1, 0), "overtaken"), ((0, 0), "twice"), ((5,), "unsent")])
def test_planted_disorder_is_named(tags: tuple[int, ...], rule: str) -> None:
    check = CommandOrder()
    for tag in range(3):
        check.sent("a", tag)
    for tag in tags:
        check.taken("a", tag, 5)
    assert rules(check.breaches) == [rule]


def test_a_command_of_an_ended_session_must_not_be_taken_up() -> None:
    check = CommandOrder()
    check.sent("a", 1)
    check.ended("a")
    check.taken("a", 1, 9)
    assert rules(check.breaches) == ["unsent"]


# --- journals

Record = tuple[Kind, dict[str, Value]]


def story(*records: Record, path: str = "map:m/path:1") -> list[Event]:
    return [Event(number, number, path, kind, fields)
            for number, (kind, fields) in enumerate(records, start=1)]


LOGIN: Record = (Kind.LOGIN_COMPLETED, {"tsih": 1})
LOST: Record = (Kind.CONNECTION_LOST, {"cause": "reset"})


def change(old: str, new: str) -> Record:
    return Kind.PATH_STATE_CHANGED, {"old": old, "new": new, "cause": "c"}


def fence(kind: Kind, method: str, by: str = "map:m/path:2") -> Record:
    return kind, {"method": method, "by": by}


WHOLE: list[Record] = [
    LOGIN, change("down", "up"), LOST, change("up", "blocked"), change("blocked", "failed"),
    fence(Kind.FENCE_STARTED, "reinstate"), fence(Kind.FENCE_COMPLETED, "reinstate"),
    (Kind.IO_REROUTED, {"count": 1, "cause": "fenced by reinstate"}), LOGIN, change("failed", "up"),
    (Kind.PATH_REINSTATED, {}),
]


def test_a_story_that_can_have_been() -> None:
    assert check_journal(story(*WHOLE)) == []


@pytest.mark.parametrize(("number", "rule"), [(0, "no-login"), (1, "chain"), (8, "no-login"), (6, "no-fence")])
def test_a_story_of_which_a_record_is_missing(number: int, rule: str) -> None:
    records = [record for index, record in enumerate(WHOLE) if index != number]
    assert rule in rules(check_journal(story(*records)))


def test_impossible_steps_are_named() -> None:
    assert rules(check_journal(story(LOGIN, change("down", "faulty")))) == ["step"]
    started = fence(Kind.FENCE_STARTED, "reinstate", by="map:m/path:1")
    assert rules(check_journal(story(started))) == ["self-fence"]
    assert rules(check_journal(story(fence(Kind.FENCE_COMPLETED, "preempt")))) == ["no-fence"]
    assert check_journal(story(fence(Kind.FENCE_COMPLETED, "relogin"))) == []


def test_time_does_not_run_backwards() -> None:
    events = story(*WHOLE)
    events[3] = Event(1, 4, events[3].source, events[3].kind, events[3].fields)
    assert rules(check_journal(events)) == ["time"]


def test_a_journal_that_has_lost_its_beginning() -> None:
    events = story(*WHOLE)[3:]
    assert check_journal(events, dropped=True) == []
    assert check_journal(events) != []


def test_the_journal_of_a_map_that_loses_and_regains_paths() -> None:
    bench = Bench(3, no_path_retry=5, fast_io_fail_tmo=1.0)
    for path_id in (1, 2, 3, 2):
        bench.write()
        bench.lose(path_id)
        bench.run(2 * S)
        while bench.fence() is not None:
            bench.map.fence_done(path_id, "reinstate", bench.now)
        bench.up(path_id)
    # The shell's own records are not the engine's: logins are what a bench can't show
    assert set(rules(check_journal(bench.journal))) == {"no-login", "no-fence"}
    kinds = {event.kind for event in bench.journal}
    assert {Kind.PATH_STATE_CHANGED, Kind.PATH_REINSTATED, Kind.IO_REROUTED} <= kinds


# --- identity

def test_two_units_under_one_map_are_found() -> None:
    check = IdentityCheck()
    check.served("m", "p1", "unit 1", 1)
    check.served("m", "p2", "unit 1", 2)
    check.served("other", "p1", "unit 2", 3)
    assert check.breaches == []
    check.served("m", "p2", "unit 2", 4)
    assert rules(check.breaches) == ["two-units"]
    assert "p2 leads to unit 2, p1 to unit 1" in check.breaches[0].detail


def test_a_disk_that_changes_its_shape_is_found() -> None:
    check = IdentityCheck()
    check.seen("m", 1000, 512, 1)
    check.seen("m", 1000, 512, 2)
    assert check.breaches == []
    check.seen("m", 500, 4096, 3)
    assert rules(check.breaches) == ["two-disks"]
