"""Rounds of heartbeat I/O in virtual time: what is timed, what is kept apart, and what ends a measurement."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from mpio.errors import InputError
from mpio.io import heartbeat_measure
from mpio.io.heartbeat_load import Load, LoadMaker
from mpio.io.heartbeat_measure import MAGIC, Measured, Measurement, Pattern
from mpio.io.heartbeat_store import ReadEnd, WriteEnd
from mpio.sim.loop import VirtualLoop
from mpio.units import NS_PER_S, seconds

MS = 1_000_000
SECTOR = 512
PATTERN = Pattern(((0, 4 * SECTOR),), 3 * SECTOR)
TOKEN = bytes(range(16))


def clock() -> int:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.now_ns


@dataclass
class Disk:
    """Blocks in memory; `delay` gives the time that request number n takes, in s, or None if it never ends."""

    name: str = "disk"
    size_bytes: int = 1 << 16
    block_size: int = SECTOR
    block_size_is_free: bool = True
    delay: Callable[[int], float | None] = lambda _number: 0.001
    error: Callable[[int], str] = lambda _number: ""
    requests: list[tuple[str, int, int]] = field(default_factory=list)
    most: int = 0

    def __post_init__(self) -> None:
        self.data = bytearray(self.size_bytes)
        self.out = 0

    def _begin(self, kind: str, offset: int, length: int, end: Callable[[str], None]) -> None:
        number = len(self.requests)
        self.requests.append((kind, offset, length))
        self.out += 1
        self.most = max(self.most, self.out)

        def ended() -> None:
            self.out -= 1
            end(self.error(number))

        delay = self.delay(number)
        if delay is not None:
            asyncio.get_running_loop().call_later(delay, ended)

    def read(self, offset: int, length: int, end: ReadEnd) -> None:
        self._begin("read", offset, length, lambda error: end(
            None if error else bytes(self.data[offset:offset + length]), error))

    def write(self, offset: int, data: bytes, end: WriteEnd) -> None:
        def ended(error: str) -> None:
            if not error:
                self.data[offset:offset + len(data)] = data
            end(error)

        self._begin("write", offset, len(data), ended)

    async def close(self) -> None:
        pass


def measure(disk: Disk, duration_s: float = 10, interval_s: float = 0.1, *, pattern: Pattern = PATTERN,
            during: Callable[[Measurement], None] = lambda _: None, **details: Callable[[], int]) -> Measured:
    async def main() -> Measured:
        measurement = Measurement(disk, pattern, TOKEN, clock=clock, **details)
        during(measurement)
        return await measurement.run(seconds(duration_s), seconds(interval_s), 30 * NS_PER_S)

    with VirtualLoop() as loop:
        return loop.run(main())


def test_a_round_is_a_read_and_a_write_and_takes_the_time_of_both() -> None:
    disk = Disk()
    found = measure(disk)
    assert disk.requests[:4] == [("read", 0, 2048), ("write", 1536, 512)] * 2
    assert len(found.rounds) == pytest.approx(100, abs=1)
    assert set(found.rounds) == {2 * MS}
    assert set(found.reads) == {MS}
    assert (found.errors, found.failovers, found.unended_ns) == (0, [], 0)
    assert found.elapsed_ns == pytest.approx(10 * NS_PER_S, rel=0.02)
    assert max(found.lateness) <= 1
    assert disk.data[1536:].startswith(MAGIC + TOKEN)
    assert disk.most == 1


def test_reads_of_a_pattern_come_one_after_the_other() -> None:
    disk = Disk(delay=lambda number: 0.001 * (1 + number % 3))
    found = measure(disk, 1, pattern=Pattern(((0, 512), (1024, 512), (4096, 512)), None))
    assert {kind for kind, _, _ in disk.requests} == {"read"}
    assert list(found.reads[:3]) == [MS, 2 * MS, 3 * MS]
    assert set(found.rounds) == {6 * MS}
    assert len(found.reads) == 3 * len(found.rounds)


def test_a_slow_round_puts_the_next_one_off_and_is_not_blamed_on_the_host() -> None:
    disk = Disk(delay=lambda number: 3.0 if number == 10 else 0.001)
    found = measure(disk)
    assert max(found.rounds) == 3 * NS_PER_S + MS
    assert len(found.rounds) == pytest.approx(70, abs=2)
    assert max(found.lateness) <= 1


def test_a_round_in_which_a_path_failed_is_a_failover() -> None:
    failures = [0]

    def delay(number: int) -> float:
        if number == 20:
            asyncio.get_running_loop().call_later(0.5, lambda: failures.__setitem__(0, 1))
            return 1.5
        return 0.001

    found = measure(Disk(delay=delay), failures=lambda: failures[0])
    assert [took_ns for _, took_ns in found.failovers] == [1501 * MS]
    assert max(found.rounds) == 2 * MS
    assert len(found.reads) == len(found.rounds) == len(found.lateness) == len(found.begun)


def test_another_writer_ends_it() -> None:
    disk = Disk()

    def intrude(_measurement: Measurement) -> None:
        asyncio.get_running_loop().call_later(2.05, lambda: disk.data.__setitem__(slice(1536, 1540), b"mine"))

    with pytest.raises(InputError, match="disk: the sector at 1536 of the region does not hold what was written there"):
        measure(disk, during=intrude)


def test_a_disk_that_only_fails_is_said_at_once() -> None:
    with pytest.raises(InputError, match="disk: 3 requests have failed and 0 heartbeats got through: bad sector"):
        measure(Disk(error=lambda _number: "bad sector"))


def test_some_errors_are_counted_and_the_rest_is_measured() -> None:
    found = measure(Disk(error=lambda number: "EIO" if number % 10 == 9 else ""))
    assert found.first_error == "EIO"
    assert found.errors == pytest.approx(20, abs=2)
    assert len(found.rounds) == pytest.approx(80, abs=2)


def test_more_errors_than_heartbeats_end_it() -> None:
    with pytest.raises(InputError, match="101 requests have failed and 5 heartbeats got through"):
        measure(Disk(error=lambda number: "EIO" if number >= 10 else ""), 100)


def test_a_write_that_failed_may_have_landed_or_not() -> None:
    disk = Disk(error=lambda number: "EIO" if number == 11 else "")
    assert len(measure(disk).rounds) == pytest.approx(99, abs=1)


def test_what_never_ends_is_counted_for_as_long_as_it_was_waited_for() -> None:
    found = measure(Disk(delay=lambda number: None if number == 41 else 0.001))
    assert len(found.rounds) == 20
    assert found.unended_ns == pytest.approx(38 * NS_PER_S, rel=0.01)  # 8 s to the end, 30 s of grace


def test_what_ends_in_the_grace_counts() -> None:
    found = measure(Disk(delay=lambda number: 20.0 if number == 41 else 0.001))
    assert max(found.rounds) == 20 * NS_PER_S + MS
    assert found.unended_ns == 0


def test_giving_up_does_not_wait_for_what_hangs() -> None:
    def interrupt(measurement: Measurement) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(5.0, measurement.stop)
        loop.call_later(7.0, measurement.give_up)

    found = measure(Disk(delay=lambda number: None if number == 41 else 0.001), 3600, during=interrupt)
    assert found.elapsed_ns == pytest.approx(7 * NS_PER_S, rel=0.01)
    assert found.unended_ns == pytest.approx(5 * NS_PER_S, rel=0.01)


def test_stopping_early_keeps_what_there_is() -> None:
    def interrupt(measurement: Measurement) -> None:
        asyncio.get_running_loop().call_later(1.01, measurement.stop)

    found = measure(Disk(), 3600, during=interrupt)
    assert len(found.rounds) == 11
    assert found.elapsed_ns < 2 * NS_PER_S


def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat_measure, "ROUNDS_MAX", 7)
    found = measure(Disk(), 3600)
    assert len(found.rounds) == 7
    assert found.full
    assert not measure(Disk(), 0.5).full


def test_rounds_of_a_drill_are_set_aside() -> None:
    found = measure(Disk(delay=lambda number: 1.0 if number == 20 else 0.001), 5)
    begun = list(found.begun)
    before = len(found.rounds)
    found.set_aside([(begun[10] + 5 * MS, begun[10] + 300 * MS), (begun[-1] + 50 * MS, begun[-1] + 60 * MS)])
    assert found.failovers == [(begun[10], NS_PER_S + MS)]
    assert len(found.rounds) == len(found.reads) == len(found.lateness) == len(found.begun) == before - 1
    assert max(found.rounds) == 2 * MS
    found.set_aside([])
    assert len(found.rounds) == before - 1


def load(disk: Disk, what: Load, until_s: float) -> LoadMaker:
    async def main() -> LoadMaker:
        maker = LoadMaker(disk, what, random.Random(1))
        maker.start()
        await asyncio.sleep(until_s)
        maker.stop()
        await asyncio.sleep(1)
        assert disk.out == 0
        return maker

    with VirtualLoop() as loop:
        return loop.run(main())


@pytest.mark.parametrize(("mode", "kinds"), [("read", {"read"}), ("write", {"write"}), ("mixed", {"read", "write"})])
def test_a_load_keeps_its_depth_in_its_area(mode: str, kinds: set[str]) -> None:
    disk = Disk()
    maker = load(disk, Load(mode, (4096, 8192), 2048, 4), 1.0)  # type: ignore[arg-type]
    assert {kind for kind, _, _ in disk.requests} == kinds
    assert {offset for _, offset, _ in disk.requests} == {4096, 6144, 8192, 10240}
    assert disk.most == 4
    assert maker.done == len(disk.requests) == pytest.approx(4000, rel=0.01)


def test_a_load_on_a_dead_disk_asks_slowly_and_tells() -> None:
    disk = Disk(error=lambda _number: "EIO")
    maker = load(disk, Load("read", (0, 4096), 512, 2), 1.0)
    assert (maker.done, maker.first_error) == (0, "EIO")
    assert maker.failed < 30
