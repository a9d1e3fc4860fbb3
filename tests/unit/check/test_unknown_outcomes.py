"""Unknown outcomes as Jepsen reads them, beside a search through all orders; and a medium that loses its cache."""

import random
from dataclasses import dataclass
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.check.blocks import BlockFault, Finding, RegisterCheck
from mpio.check.history import IoRecord, check_history
from mpio.check.stamp import Defect
from mpio.check.volatile import VolatileCheck

FOREVER = 10**9
BLOCK = 512


@dataclass(frozen=True)
class Op:
    """One I/O on the one block: value is what a write puts there, or what a read returned."""

    is_write: bool
    start: int
    end: int
    value: int
    unknown: bool = False


def random_ops(rng: random.Random) -> list[Op]:
    """One writer and one reader on a block, on a medium on which unknown writes land when they like, or never.

    With some probability one read returns something else, so that about half of the histories can't be.
    """
    effects: list[tuple[int, int]] = []
    ops: list[Op] = []
    t = 0
    for value in range(1, rng.randint(2, 5)):
        start, end = t, t + rng.randint(1, 6)
        unknown = rng.random() < 0.4
        if not unknown:
            effects.append((rng.randint(start, end), value))
        elif rng.random() < 0.7:
            effects.append((rng.randint(start, end + 25), value))
        ops.append(Op(is_write=True, start=2 * start, end=2 * end, value=value, unknown=unknown))
        t = end + rng.randint(1, 4)
    t = rng.randint(0, 5)
    effects.sort()
    values = [0, *(op.value for op in ops)]
    for _ in range(rng.randint(2, 5)):
        start, end = t, t + rng.randint(1, 6)
        when = rng.randint(start, end)
        value = next((value for at, value in reversed(effects) if at <= when), 0)
        if rng.random() < 0.15:
            value = rng.choice(values)
        ops.append(Op(is_write=False, start=2 * start + 1, end=2 * end + 1, value=value))
        t = end + rng.randint(1, 6)
    return ops


def is_possible(ops: list[Op]) -> bool:
    """Whether any order of the I/Os explains what was read: the definition of linearizability, by search."""
    @cache
    def search(done: int, value: int) -> bool:
        left = [index for index in range(len(ops)) if not done >> index & 1]
        if all(ops[index].unknown for index in left):
            return True
        before = min(FOREVER if ops[index].unknown else ops[index].end for index in left)
        for index in left:
            op = ops[index]
            if op.start > before:
                continue  # something that must come first had ended before this one began
            if (op.is_write or op.value == value) and search(done | 1 << index, op.value):
                return True
        return False

    return search(0, 0)


def judge(ops: list[Op], *, late: bool = True) -> list[Finding]:
    records = [
        IoRecord(number, "write" if op.is_write else "read", 0, BLOCK, op.start, op.end,
                 "unknown" if op.unknown else "ok", seq=op.value if op.is_write else None,
                 seen=None if op.is_write else ((op.value or int(Defect.BLANK), 1),))
        for number, op in enumerate(ops)]
    return check_history(records, 0, 1, BLOCK, late_unknowns_legal=late)


def test_nothing_possible_is_accused_and_most_that_is_impossible_is_found() -> None:
    """The check is linear and keeps no set of possible orders; what it lets pass is rare, and known here."""
    rng = random.Random(99)
    found = missed = possible = 0
    for _ in range(12_000):
        ops = random_ops(rng)
        findings = judge(ops)
        if is_possible(ops):
            possible += 1
            assert findings == [], ops
        elif findings:
            found += 1
        else:
            missed += 1
    assert possible > 1000
    assert found > 500
    assert found >= 0.95 * (found + missed), (found, missed)


def test_an_unknown_write_may_land_late_but_only_once() -> None:
    check = RegisterCheck(0, 1, late_unknowns_legal=True)

    def write(sequence: int, *, known: bool = True) -> None:
        check.write_invoked(0, 1, sequence)
        check.write_ended(0, 1, sequence, acknowledged=known)

    def read(value: int) -> list[int]:
        return check.read_ended(check.read_invoked(0, 1), 0, [value], t_ns=1)

    write(1)
    write(2, known=False)
    write(3)
    assert read(3) == []
    assert read(2) == []  # landed late
    assert check.late_unknowns == 1
    assert read(2) == []
    assert read(3) == [0]  # it had been replaced by 2
    assert [finding.kind for finding in check.findings()] == [BlockFault.GHOST]
    write(4)
    assert read(4) == []
    assert read(2) == [0]  # a second time
    assert [finding.kind for finding in check.findings()] == [BlockFault.GHOST, BlockFault.GHOST]


def test_the_default_calls_a_late_landing_a_ghost() -> None:
    ops = [Op(True, 0, 1, 1, unknown=True), Op(True, 2, 3, 2), Op(False, 4, 5, 1)]
    assert [finding.kind for finding in judge(ops, late=False)] == [BlockFault.GHOST]
    assert judge(ops) == []


@pytest.mark.parametrize("late", [False, True])
def test_a_write_that_had_no_effect_is_a_phantom_if_it_shows(late: bool) -> None:
    check = RegisterCheck(0, 2, late_unknowns_legal=late)
    check.write_invoked(0, 2, 1)
    check.write_ended(0, 2, 1, acknowledged=True)
    check.write_invoked(0, 2, 2)
    check.write_ended(0, 2, 2, acknowledged=False, void=True)
    assert check.read_ended(check.read_invoked(0, 2), 0, [1, 2], t_ns=1) == [1]
    assert [(finding.lba, finding.kind) for finding in check.findings()] == [(1, BlockFault.PHANTOM)]


# --- a medium that loses its cache

class Medium:
    """Four blocks behind a cache, with the check told of everything."""

    def __init__(self, *, torn: bool = False) -> None:
        self.check = VolatileCheck(0, 4, torn_at_crash=torn)
        self.sequence = 0

    def write(self, *, durable: bool = False, acknowledged: bool = True) -> int:
        self.sequence += 1
        self.check.write_invoked(0, 4, self.sequence)
        self.check.write_ended(0, 4, self.sequence, acknowledged=acknowledged, durable=durable)
        return self.sequence

    def flush(self) -> None:
        self.check.flush_ended(self.check.flush_invoked(), acknowledged=True)

    def read(self, *values: int) -> list[int]:
        return self.check.read_ended(self.check.read_invoked(0, 4), 0, values, t_ns=1)


def test_what_was_not_flushed_may_be_lost_at_a_crash_and_only_then() -> None:
    medium = Medium()
    medium.write()
    medium.flush()
    medium.write()
    medium.check.crashed()
    assert medium.read(1, 2, 1, 2) == []
    assert medium.check.findings() == []
    without = Medium()
    without.write()
    without.flush()
    without.write()
    assert without.read(1, 2, 1, 2) == [0, 2]
    assert {finding.kind for finding in without.check.findings()} == {BlockFault.LOST}


@pytest.mark.parametrize("how", ["flush", "fua"])
def test_what_was_flushed_must_survive(how: str) -> None:
    medium = Medium()
    medium.write()
    medium.write(durable=how == "fua")
    if how == "flush":
        medium.flush()
    medium.check.crashed()
    assert medium.read(1, 2, 2, 2) == [0]
    assert [finding.kind for finding in medium.check.findings()] == [BlockFault.LOST]


def test_a_flush_covers_what_was_acknowledged_before_it_began() -> None:
    medium = Medium()
    medium.write()
    token = medium.check.flush_invoked()
    medium.write()
    medium.check.flush_ended(token, acknowledged=True)
    medium.check.crashed()
    assert medium.read(1, 2, Defect.BLANK, 1) == [2]


def test_answers_that_a_crash_fell_into_prove_nothing() -> None:
    medium = Medium()
    medium.write(durable=True)
    flush = medium.check.flush_invoked()
    medium.check.write_invoked(0, 4, 2)
    token = medium.check.read_invoked(0, 4)
    medium.check.crashed()
    medium.check.write_ended(0, 4, 2, acknowledged=True, durable=True)
    medium.check.flush_ended(flush, acknowledged=True)
    assert medium.check.read_ended(token, 0, [2, 1, 1, 3], t_ns=1) == [3]  # 3 was never sent
    assert medium.read(1, 2, 1, 2) == []


def test_a_read_that_began_before_any_write_may_find_nothing_however_late_it_ends() -> None:
    medium = Medium()
    token = medium.check.read_invoked(0, 4)
    medium.check.crashed()
    medium.write(durable=True)
    assert medium.check.read_ended(token, 0, [Defect.BLANK, Defect.BLANK, 1, 1], t_ns=1) == []
    assert medium.read(1, 1, 1, Defect.BLANK) == [3]


def test_blocks_may_be_torn_by_a_crash_until_they_are_written_again() -> None:
    medium = Medium(torn=True)
    medium.write(durable=True)
    medium.write()
    medium.check.crashed()
    assert medium.read(1, Defect.TORN, 2, 1) == []
    medium.sequence = 2
    medium.write()
    assert medium.read(3, 3, Defect.TORN, 3) == [2]
    assert [finding.kind for finding in medium.check.findings()] == [BlockFault.TORN]
    strict = Medium()
    strict.write(durable=True)
    strict.write()
    strict.check.crashed()
    assert strict.read(1, Defect.TORN, 2, 1) == [1]


@given(st.integers(0, 2**32))
def test_a_cache_that_keeps_its_word_is_never_accused(seed: int) -> None:
    rng = random.Random(seed)
    check = VolatileCheck(0, 3, torn_at_crash=True)
    stable, cache_ = [int(Defect.BLANK)] * 3, [int(Defect.BLANK)] * 3
    sequence = 0
    for _ in range(rng.randint(1, 40)):
        step = rng.random()
        lba = rng.randint(0, 2)
        if step < 0.4:
            sequence += 1
            durable, acknowledged = rng.random() < 0.2, rng.random() < 0.9
            check.write_invoked(lba, 1, sequence)
            cache_[lba] = sequence
            if durable:
                stable[lba] = sequence
            check.write_ended(lba, 1, sequence, acknowledged=acknowledged, durable=durable)
        elif step < 0.55:
            token = check.flush_invoked()
            stable = list(cache_)
            check.flush_ended(token, acknowledged=True)
        elif step < 0.65:
            for block in range(3):  # a cache writes back when it likes
                if cache_[block] != stable[block] and rng.random() < 0.6:
                    stable[block] = rng.choice((cache_[block], int(Defect.TORN)))
            cache_ = list(stable)
            check.crashed()
        else:
            check.read_ended(check.read_invoked(0, 3), 0, cache_, t_ns=1)
    assert check.findings() == []
