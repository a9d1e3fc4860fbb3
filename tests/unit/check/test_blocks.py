"""The block check on random histories: clean ones pass, and one planted fault of each kind is found and named."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpio.check.blocks import AgreementCheck, BlockFault, Finding, RegisterCheck, join
from mpio.check.history import IoRecord, check_history, runs
from mpio.check.stamp import Defect

BLOCK = 512
WORKERS = 3
STRIPE = 6  # blocks of each worker


@dataclass
class Store:
    """A simulated LU whose I/Os take effect at some instant between invocation and end."""

    rng: random.Random
    records: list[IoRecord] = field(default_factory=list)
    blocks: list[int] = field(default_factory=lambda: [int(Defect.BLANK)] * (WORKERS * STRIPE))
    actions: list[tuple[int, int, object]] = field(default_factory=list)
    next_id: int = 0

    def at(self, t_ns: int, action: object) -> None:
        self.actions.append((t_ns, len(self.actions), action))

    def write(self, start: int, end: int, lba: int, count: int, seq: int, outcome: str = "ok", *,
              effect: int | None = -1) -> None:
        """`effect`: when it lands; None for never; -1 for some time within."""
        self.next_id += 1
        self.records.append(IoRecord(self.next_id, "write", lba * BLOCK, count * BLOCK, start, end,
                                     outcome, None, seq, lba // STRIPE))  # type: ignore[arg-type]
        if effect is not None:
            when = self.rng.randint(start, end) if effect < 0 else effect

            def land() -> None:
                self.blocks[lba:lba + count] = [seq] * count
            self.at(when, land)

    def read(self, start: int, end: int, lba: int, count: int, path: str | None = None) -> None:
        self.next_id += 1
        number = self.next_id
        seen = [0] * count

        def look(index: int) -> None:
            seen[index] = self.blocks[lba + index]

        for index in range(count):
            self.at(self.rng.randint(start, end), lambda index=index: look(index))
        self.at(end, lambda: self.records.append(IoRecord(
            number, "read", lba * BLOCK, count * BLOCK, start, end, "ok", seen=runs(seen), path=path)))

    def run(self) -> list[IoRecord]:
        for _, _, action in sorted(self.actions, key=lambda item: item[:2]):
            action()  # type: ignore[operator]
        return sorted(self.records, key=lambda record: record.start_ns)


def random_store(seed: int, *, unknowns: bool = True) -> tuple[Store, int]:
    """A store with a clean random history in the works, and the instant at which all is quiet."""
    rng = random.Random(seed)
    store = Store(rng)
    ends = []
    for worker in range(WORKERS):
        t, seq = 0, 1
        store.write(t, t + 5, worker * STRIPE, STRIPE, seq)
        t += 10
        for _ in range(rng.randint(0, 15)):
            count = rng.randint(1, STRIPE)
            lba = worker * STRIPE + rng.randint(0, STRIPE - count)
            length = rng.randint(1, 8)
            if rng.random() < 0.5:
                seq += 1
                if unknowns and rng.random() < 0.2:
                    effect = rng.choice((None, -1))
                    store.write(t, t + length, lba, count, seq, "unknown", effect=effect)
                else:
                    store.write(t, t + length, lba, count, seq)
            else:
                store.read(t, t + length, lba, count)
            t += length + rng.randint(1, 3)
        ends.append(t)
    for _ in range(rng.randint(0, 10)):
        count = rng.randint(1, WORKERS * STRIPE)
        start = rng.randint(10, max(ends))
        store.read(start, start + rng.randint(1, 20), rng.randint(0, WORKERS * STRIPE - count), count)
    return store, max(ends) + 30


def judge(store: Store) -> list[Finding]:
    return check_history(store.run(), 0, WORKERS * STRIPE, BLOCK)


def kinds_by_block(findings: list[Finding]) -> dict[int, set[BlockFault]]:
    found: dict[int, set[BlockFault]] = {}
    for finding in findings:
        for lba in range(finding.lba, finding.lba + finding.blocks):
            found.setdefault(lba, set()).add(finding.kind)
    return found


SEEDS = st.integers(0, 2**32)


@given(SEEDS)
def test_clean_histories_pass(seed: int) -> None:
    store, end = random_store(seed)
    store.read(end, end + 1, 0, WORKERS * STRIPE, "1")
    store.read(end + 2, end + 3, 0, WORKERS * STRIPE, "2")
    assert judge(store) == []


@given(SEEDS, st.integers(0, WORKERS * STRIPE - 1), st.booleans())
def test_a_lost_write_is_found_and_named(seed: int, lba: int, seen_before: bool) -> None:
    store, end = random_store(seed, unknowns=False)
    if seen_before:
        store.read(end - 4, end - 3, lba, 1)
    store.write(end, end + 1, lba, 1, 1000, effect=None)
    store.read(end + 5, end + 6, 0, WORKERS * STRIPE, "1")
    store.read(end + 7, end + 8, 0, WORKERS * STRIPE, "2")
    findings = judge(store)
    assert kinds_by_block(findings) == {lba: {BlockFault.LOST}}
    assert findings[0].path == "1, 2"
    assert findings[0].expected == "sequence 1000 or later"
    assert "in 2 reads" in findings[0].found


@given(SEEDS, st.integers(0, WORKERS * STRIPE - 1), st.booleans())
def test_a_stale_read_is_found_and_named(seed: int, lba: int, seen_before: bool) -> None:
    store, end = random_store(seed, unknowns=False)
    store.write(end, end + 1, lba, 1, 1000, effect=end + 10)  # lands late, so that the first read finds the old one
    if seen_before:
        store.at(end + 2, lambda: store.records.append(IoRecord(
            99_999, "read", lba * BLOCK, BLOCK, end + 2, end + 3, "ok", seen=((1000, 1),))))
    store.read(end + 5, end + 6, 0, WORKERS * STRIPE)
    store.read(end + 11, end + 12, 0, WORKERS * STRIPE)
    assert kinds_by_block(judge(store)) == {lba: {BlockFault.STALE}}


@given(SEEDS, st.integers(0, WORKERS * STRIPE - 1))
def test_a_value_that_comes_back_is_a_ghost(seed: int, lba: int) -> None:
    store, end = random_store(seed, unknowns=False)
    store.write(end, end + 1, lba, 1, 1000)
    store.write(end + 3, end + 4, lba, 1, 1001)
    store.read(end + 5, end + 6, lba, 1)
    store.at(end + 7, lambda: store.blocks.__setitem__(lba, 1000))  # a copy of the first write lands again
    store.read(end + 8, end + 9, 0, WORKERS * STRIPE, "1")
    store.read(end + 10, end + 11, 0, WORKERS * STRIPE, "2")
    assert kinds_by_block(judge(store)) == {lba: {BlockFault.GHOST}}


@given(SEEDS, st.integers(0, WORKERS * STRIPE - 1))
def test_a_write_of_unknown_outcome_that_lands_over_a_later_one_is_a_ghost(seed: int, lba: int) -> None:
    store, end = random_store(seed)
    store.write(end, end + 1, lba, 1, 1000, "unknown", effect=end + 6)
    store.write(end + 3, end + 4, lba, 1, 1001)
    store.read(end + 8, end + 9, 0, WORKERS * STRIPE)
    assert kinds_by_block(judge(store)) == {lba: {BlockFault.GHOST}}


@given(SEEDS, st.integers(0, WORKERS * STRIPE - 1))
def test_a_flip_back_of_an_unknown_outcome_is_a_ghost(seed: int, lba: int) -> None:
    store, end = random_store(seed, unknowns=False)
    store.write(end, end + 1, lba, 1, 1000)
    store.write(end + 3, end + 4, lba, 1, 1001, "unknown")
    store.read(end + 5, end + 6, lba, 1)
    store.at(end + 7, lambda: store.blocks.__setitem__(lba, 1000))
    store.read(end + 8, end + 9, 0, WORKERS * STRIPE)
    assert kinds_by_block(judge(store)) == {lba: {BlockFault.GHOST}}


@given(SEEDS)
def test_an_unknown_outcome_may_show_late(seed: int) -> None:
    store, end = random_store(seed, unknowns=False)
    store.write(end, end + 1, 2, 2, 1000, "unknown", effect=end + 9)
    store.read(end + 3, end + 4, 0, WORKERS * STRIPE)
    store.read(end + 10, end + 12, 0, WORKERS * STRIPE)
    assert judge(store) == []


@pytest.mark.parametrize(("defect", "kind"), [
    (Defect.TORN, BlockFault.TORN), (Defect.MISDIRECTED, BlockFault.MISDIRECTED),
    (Defect.UNSTAMPED, BlockFault.CORRUPT), (Defect.BLANK, BlockFault.CORRUPT), (Defect.FOREIGN, BlockFault.GHOST),
    (12345, BlockFault.CORRUPT),
])
@settings(max_examples=30)
@given(seed=SEEDS, lba=st.integers(0, WORKERS * STRIPE - 1))
def test_damaged_blocks_are_found_and_named(seed: int, lba: int, defect: int, kind: BlockFault) -> None:
    store, end = random_store(seed)
    store.read(end, end + 1, lba, 1)
    store.at(end + 2, lambda: store.blocks.__setitem__(lba, int(defect)))
    store.read(end + 3, end + 4, 0, WORKERS * STRIPE)
    assert kinds_by_block(judge(store)) == {lba: {kind}}


def test_a_first_write_that_never_landed_is_lost_not_corrupt() -> None:
    check = RegisterCheck(100, 4)
    check.write_invoked(100, 4, 1)
    check.write_ended(100, 4, 1, acknowledged=True)
    token = check.read_invoked(100, 4)
    wrong = check.read_ended(token, 100, [1, Defect.BLANK, Defect.FOREIGN, 1], t_ns=5)
    assert wrong == [101, 102]
    assert [(finding.lba, finding.blocks, finding.kind) for finding in check.findings()] == [(101, 2, BlockFault.LOST)]
    assert "LBA 101 to 102" in str(check.findings()[0])


def test_before_any_write_every_content_is_legal() -> None:
    check = RegisterCheck(0, 5)
    token = check.read_invoked(0, 5)
    found = [Defect.BLANK, Defect.FOREIGN, Defect.UNSTAMPED, Defect.TORN, Defect.MISDIRECTED]
    assert check.read_ended(token, 0, found, t_ns=1) == []


def test_a_block_may_look_torn_only_while_it_is_written() -> None:
    check = RegisterCheck(0, 1)
    check.write_invoked(0, 1, 1)
    check.write_ended(0, 1, 1, acknowledged=True)
    check.write_invoked(0, 1, 2)
    token = check.read_invoked(0, 1)
    assert check.read_ended(token, 0, [Defect.TORN], t_ns=1) == []
    check.write_ended(0, 1, 2, acknowledged=True)
    token = check.read_invoked(0, 1)
    assert check.read_ended(token, 0, [Defect.TORN], t_ns=2) == [0]


def test_what_was_not_read_back_is_known() -> None:
    check = RegisterCheck(0, 8)
    check.write_invoked(0, 8, 1)
    check.write_ended(0, 8, 1, acknowledged=True)
    assert check.unread_blocks == 8
    check.read_ended(check.read_invoked(0, 6), 0, [1] * 6, t_ns=1)
    assert check.unread_blocks == 2


def test_reads_that_disagree_are_found() -> None:
    check = AgreementCheck()
    check.read_ended(10, [1, 2, 3], t_ns=1, path="1")
    check.read_ended(10, [1, 2, 3], t_ns=2, path="2")
    assert check.findings() == []
    check.read_ended(10, [1, 9, 8], t_ns=3, path="2")
    (finding,) = check.findings()
    assert (finding.lba, finding.blocks, finding.kind, finding.path) == (11, 2, BlockFault.CHANGED, "2")
    assert check.faulty_blocks == 2


def test_only_neighbours_of_one_kind_are_joined() -> None:
    def finding(lba: int, kind: BlockFault = BlockFault.LOST, expected: str = "x") -> Finding:
        return Finding(lba, 1, kind, expected, "y", None, 1, 0)

    joined = join([finding(1), finding(2), finding(4), finding(5, BlockFault.STALE), finding(6, BlockFault.STALE, "z")])
    assert [(item.lba, item.blocks) for item in joined] == [(1, 2), (4, 1), (5, 1), (6, 1)]


def test_a_retried_write_that_lands_again_is_a_ghost_though_the_newest_was_not_read() -> None:
    store = Store(random.Random(1))
    for seq in (1, 2, 3):
        store.write(10 * seq, 10 * seq + 1, 0, 1, seq)
    store.read(22, 23, 0, 1)  # 2 is read; 3 is not, before 1 lands a second time
    store.at(40, lambda: store.blocks.__setitem__(0, 1))
    store.read(50, 51, 0, 1)
    assert kinds_by_block(judge(store)) == {0: {BlockFault.GHOST}}
