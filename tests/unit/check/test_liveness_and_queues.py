"""Liveness after healing, and the bounds of queues: clean runs pass, planted faults are named."""

import dataclasses
from typing import Any

import pytest
from tests.unit.engine.engine_kit import Bench

from mpio.check.breach import Breach
from mpio.check.history import IoRecord
from mpio.check.liveness import check_liveness, liveness_bound_ns
from mpio.check.queueing import QueueCheck
from mpio.engine.status import MapStatus
from mpio.model.settings import FAST, LINUX, SLES10
from mpio.planner.stall import reinstate_bound, stall_bound
from mpio.units import seconds

HEALED, BOUND, END = 100, 50, 400


def io(number: int, start: int, end: int | None, outcome: str = "ok") -> IoRecord:
    return IoRecord(number, "write", 0, 512, start, end, outcome, None, number)  # type: ignore[arg-type]


GOOD = [io(1, 10, 90), io(2, 20, 149), io(3, 95, 120), io(4, 120, 170), io(5, 200, 201), io(6, 390, None)]


def live(records: list[IoRecord], up: dict[str, int | None] | None = None, end: int = END) -> list[str]:
    found: list[Breach] = check_liveness(records, HEALED, BOUND, end, up_ns={"p1": 130} if up is None else up)
    return [breach.rule for breach in found]


def test_a_run_that_recovers_in_time_passes() -> None:
    assert live(GOOD) == []


@pytest.mark.parametrize(("changed", "rule"), [
    (io(2, 20, 151), "late"), (io(4, 120, 171), "late"), (io(2, 20, None), "stuck"),
    (io(5, 200, 201, "fail"), "failing"), (io(5, 160, 161, "unknown"), "failing"),
])
def test_io_that_does_not_recover_is_named(changed: IoRecord, rule: str) -> None:
    records = [changed if record.id == changed.id else record for record in GOOD] + [io(7, 300, 301)]
    assert live(records) == [rule]


def test_io_may_fail_until_the_bound_has_passed() -> None:
    assert live([*GOOD, io(7, 10, 140, "unknown"), io(8, 149, 160, "fail")]) == []


def test_paths_must_be_back() -> None:
    assert live(GOOD, {"p1": 150, "p2": 0}) == []
    assert live(GOOD, {"p1": 151}) == ["not-back"]
    assert live(GOOD, {"p1": None}) == ["not-back"]


def test_what_was_not_watched_long_enough_shows_nothing() -> None:
    assert live(GOOD[:4]) == ["idle"]
    assert live(GOOD, end=149) == ["short"]


@pytest.mark.parametrize("writes", [True, False])
def test_the_bound_is_a_failure_and_a_return(writes: bool) -> None:
    stall, back = stall_bound(FAST, writes=writes).worst_ns, reinstate_bound(FAST).worst_ns
    assert stall is not None
    assert back is not None
    assert liveness_bound_ns(FAST, writes=writes) == stall + back
    hang = liveness_bound_ns(FAST, writes=writes, hang=True)
    assert hang is not None
    assert hang > seconds(FAST.timeout)
    assert liveness_bound_ns(LINUX, writes=writes, hang=True) is not None


def test_who_waits_for_ever_has_no_bound() -> None:
    assert liveness_bound_ns(SLES10.replace(replacement_timeout=-1), writes=True) is None


# --- queues

class Watched(Bench):
    """A bench whose requests the queue check is told of."""

    def __init__(self, paths: int = 2, **changes: Any) -> None:
        super().__init__(paths, **changes)
        self.queue = QueueCheck(self.map.settings)
        self.told = 0

    def write(self, offset: int = 0, length: int = 4096, *, fua: bool = False) -> None:
        self.queue.submitted(length)
        super().write(offset, length, fua=fua)

    def status(self) -> MapStatus:
        for request in self.done[self.told:]:
            self.queue.ended(request.length)
        self.told = len(self.done)
        return self.map.status(self.now)

    def rules(self, **changes: Any) -> list[str]:
        self.queue.look(dataclasses.replace(self.status(), **changes))
        return [breach.rule for breach in self.queue.breaches]


def test_a_map_keeps_its_bounds_through_a_failure_of_all_paths() -> None:
    bench = Watched(queue_depth=4, queue_bytes_max=64 << 10, no_path_retry="queue")
    for number in range(40):
        bench.write(4096 * number)
        bench.queue.look(bench.status())
    for path_id in (1, 2):
        bench.lose(path_id)
        bench.queue.look(bench.status())
    for path_id in (1, 2):
        bench.up(path_id)
        bench.queue.look(bench.status())
    bench.good()
    assert bench.rules() == []
    assert bench.queue.outstanding == 0
    assert bench.queue.looks == 45
    assert "QueueFull" in bench.errors()


def test_split_requests_are_no_leak() -> None:
    bench = Watched(max_sectors_kb=4, queue_depth=2)
    bench.write(0, 64 << 10)
    assert bench.rules() == []
    bench.good()
    assert bench.rules() == []


@pytest.mark.parametrize(("changes", "rule"), [
    ({"queued_bytes": 1 << 40}, "bytes"), ({"in_flight": 0, "queued": 0}, "forgotten"),
    ({"outcome_unknown": -1}, "negative"), ({"in_doubt": 3}, "sums"),
])
def test_planted_numbers_are_named(changes: dict[str, int], rule: str) -> None:
    bench = Watched(queue_depth=2)
    bench.write()
    assert bench.rules() == []
    assert rule in bench.rules(**changes)


def test_too_many_commands_on_a_path_are_named() -> None:
    bench = Watched(queue_depth=2)
    path = bench.status().paths[0]
    crowded = dataclasses.replace(path, in_flight=3)
    assert "depth" in bench.rules(paths=(crowded,), in_flight=3)
    negative = dataclasses.replace(path, in_flight_bytes=-1)
    assert "negative" in bench.rules(paths=(negative,), in_flight=0)


def test_what_is_counted_without_a_request_is_a_leak() -> None:
    bench = Watched()
    assert bench.rules() == []
    assert bench.rules(queued_bytes=512) == ["bytes", "leak"]
