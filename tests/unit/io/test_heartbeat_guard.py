"""What stops a node: words, a command, a watchdog. The watchdog is fed for the node's time, and no longer."""

import asyncio
import errno
import fcntl
import struct
from pathlib import Path

import pytest

from mpio.errors import InputError
from mpio.heartbeat.machine import Cause, Fence
from mpio.io import heartbeat_guard
from mpio.io.heartbeat_guard import CommandGuard, LinuxWatchdog, ReportingGuard, WatchdogGuard
from mpio.sim.loop import VirtualLoop
from mpio.units import NS_PER_S

FENCE = Fence(Cause.STORAGE, "no good heartbeat for 60 s")


def test_a_report_says_it_and_stops_nothing() -> None:
    said: list[str] = []
    assert asyncio.run(ReportingGuard(said.append).fence(FENCE)) is False
    assert said == ["FENCE: this node must stop now (storage): no good heartbeat for 60 s"]


def test_a_command_that_succeeds_holds(tmp_path: Path) -> None:
    said: list[str] = []
    line = f"sh -c 'echo $MPIO_NODE $MPIO_FENCE_CAUSE: $MPIO_FENCE_REASON > {tmp_path}/fenced'"
    assert asyncio.run(CommandGuard(line, said.append, {"MPIO_NODE": "3"}).fence(FENCE)) is True
    assert (tmp_path / "fenced").read_text() == "3 storage: no good heartbeat for 60 s\n"


def test_a_command_that_fails_does_not_hold() -> None:
    said: list[str] = []
    assert asyncio.run(CommandGuard("sh -c 'exit 3'", said.append, {}).fence(FENCE)) is False
    assert said[-1] == "the fence command failed with exit code 3: this node may still be writing"


def test_a_command_that_takes_long_is_told_and_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(heartbeat_guard, "COMMAND_S", 0.01)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if "has not ended" in text:
            (tmp_path / "go").touch()

    line = f"sh -c 'until test -e {tmp_path}/go; do sleep 0.01; done'"
    assert asyncio.run(CommandGuard(line, say, {}).fence(FENCE)) is True
    assert said[1] == "the fence command has not ended within 0.01 s; until it does, nothing is stopped"


@pytest.mark.parametrize("line", ["", "  ", "no-such-command-here --now", "sh -c 'unclosed"])
def test_a_command_that_is_none_is_found_at_once(line: str) -> None:
    with pytest.raises(InputError, match="--fence exec"):
        CommandGuard(line, print, {})


class Dog:
    """A watchdog on the loop's clock that notes when it was fed and until when it holds still."""

    def __init__(self, timeout_s: int, *, can_shorten: bool = True, stops: bool = True) -> None:
        self.timeout_s = timeout_s
        self.can_shorten = can_shorten
        self.stops = stops
        self.fed: list[int] = []
        self.fires_ns = 0
        self.disarmed = False
        self.broken = False

    def _now(self) -> int:
        return round(asyncio.get_running_loop().time() * NS_PER_S)

    def feed(self) -> None:
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        self.fed.append(self._now())
        self.fires_ns = self._now() + self.timeout_s * NS_PER_S

    def shorten(self) -> bool:
        if self.can_shorten:
            self.fires_ns = self._now() + NS_PER_S
        return self.can_shorten

    def disarm(self) -> bool:
        self.disarmed = True
        return self.stops


def in_virtual_time(main) -> list[str]:  # type: ignore[no-untyped-def]
    said: list[str] = []
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main(said))
    return said


def clock() -> int:
    return round(asyncio.get_running_loop().time() * NS_PER_S)


def test_before_the_first_lease_the_watchdog_is_fed_for_ever() -> None:
    async def main(said: list[str]) -> None:
        dog = Dog(10)
        WatchdogGuard(dog, said.append, clock)
        await asyncio.sleep(1000)
        assert dog.fires_ns > 1000 * NS_PER_S

    in_virtual_time(main)


@pytest.mark.parametrize("until_s", [10, 11, 12, 17, 20, 23, 59, 60])
def test_without_another_word_it_fires_when_the_lease_ends_and_not_much_before(until_s: int) -> None:
    async def main(said: list[str]) -> None:
        dog = Dog(10)
        guard = WatchdogGuard(dog, said.append, clock)
        guard.extend(until_s * NS_PER_S)
        await asyncio.sleep(500)
        assert until_s * NS_PER_S - NS_PER_S // 2 <= dog.fires_ns <= until_s * NS_PER_S

    in_virtual_time(main)


def test_a_lease_that_is_extended_in_time_keeps_it_still() -> None:
    async def main(said: list[str]) -> None:
        dog = Dog(10)
        guard = WatchdogGuard(dog, said.append, clock)
        for _ in range(100):
            guard.extend(clock() + 30 * NS_PER_S)
            await asyncio.sleep(7)
            assert clock() < dog.fires_ns <= clock() + 30 * NS_PER_S
        guard.release()
        assert dog.disarmed

    assert in_virtual_time(main) == []


def test_a_lease_that_comes_late_is_taken_up_again() -> None:
    async def main(said: list[str]) -> None:
        dog = Dog(10)
        guard = WatchdogGuard(dog, said.append, clock)
        guard.extend(12 * NS_PER_S)
        await asyncio.sleep(5)  # nothing more to feed: 5 + 10 > 12
        count = len(dog.fed)
        await asyncio.sleep(3)
        assert len(dog.fed) == count
        guard.extend(40 * NS_PER_S)
        await asyncio.sleep(100)
        assert 39 * NS_PER_S < dog.fires_ns <= 40 * NS_PER_S

    in_virtual_time(main)


@pytest.mark.parametrize(("can_shorten", "fires_s"), [(True, 3), (False, 10)])
def test_a_poisoned_node_is_reset_soon(can_shorten: bool, fires_s: int) -> None:
    async def main(said: list[str]) -> None:
        dog = Dog(10, can_shorten=can_shorten)
        guard = WatchdogGuard(dog, said.append, clock)
        guard.extend(60 * NS_PER_S)
        await asyncio.sleep(2)
        assert await guard.fence(Fence(Cause.POISON, "asked")) is False
        assert dog.fires_ns == fires_s * NS_PER_S
        guard.extend(100 * NS_PER_S)
        await asyncio.sleep(100)
        assert dog.fires_ns == fires_s * NS_PER_S  # and nothing feeds it again
        assert not dog.disarmed

    said = in_virtual_time(main)
    assert said[-1] == "the watchdog has not reset this machine: it may still be writing"


def test_a_fence_at_the_deadline_does_not_give_the_watchdog_more_time() -> None:
    async def main(said: list[str]) -> None:
        dog = Dog(10)
        guard = WatchdogGuard(dog, said.append, clock)
        guard.extend(20 * NS_PER_S)
        await asyncio.sleep(20)
        before = dog.fires_ns
        assert await guard.fence(FENCE) is False
        assert dog.fires_ns == before <= 20 * NS_PER_S

    in_virtual_time(main)


def test_a_watchdog_that_can_not_be_fed_or_stopped_is_told() -> None:
    async def main(said: list[str]) -> None:
        dog = Dog(10, stops=False)
        guard = WatchdogGuard(dog, said.append, clock)
        dog.broken = True
        await asyncio.sleep(5)
        guard.release()

    assert in_virtual_time(main) == [
        "the watchdog can't be fed: Input/output error",
        "the watchdog can't be stopped (nowayout): it will reset this machine unless others feed it",
    ]


def test_what_is_no_watchdog_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no watchdog"):
        LinuxWatchdog(tmp_path / "watchdog", 10)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected a watchdog device"):
        LinuxWatchdog(tmp_path / "file", 10)


class Driver:
    """What a driver makes of ioctls, numbers as in linux/watchdog.h."""

    def __init__(self, options: int = 0x8180, least_s: int = 1) -> None:
        self.options = options
        self.least_s = least_s
        self.calls: list[tuple[int, int]] = []

    def ioctl(self, _fd: int, request: int, argument: bytes) -> bytes:
        kind, number = request >> 8 & 0xFF, request & 0xFF
        assert kind == ord("W")
        assert request >> 16 & 0x3FFF == len(argument)
        value = int.from_bytes(argument[:4], "little")
        self.calls.append((number, value))
        if number == 0:
            return struct.pack("II32s", self.options, 1, b"a driver")
        if number == 6:
            if value < self.least_s:
                raise OSError(errno.EINVAL, "Invalid argument")
            return (value + value % 2).to_bytes(4, "little")  # this one counts in steps of two
        assert number == 5
        return argument


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    found = Driver()
    monkeypatch.setattr(fcntl, "ioctl", found.ioctl)
    return found


def test_a_device_of_linux_from_opening_to_closing(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "watchdog"
    path.touch()
    watchdog = LinuxWatchdog(path, 9)
    assert watchdog.timeout_s == 10  # what the driver says that it took
    watchdog.feed()
    assert watchdog.shorten()
    assert [number for number, _ in driver.calls] == [0, 6, 5, 6]
    assert driver.calls[-1] == (6, 1)
    assert watchdog.disarm()
    assert path.read_bytes() == b"V"  # the magic character


def test_a_device_that_can_not_be_stopped(driver: Driver, tmp_path: Path) -> None:
    driver.options = 0
    path = tmp_path / "watchdog"
    path.touch()
    assert not LinuxWatchdog(path, 10).disarm()
    assert path.read_bytes() == b""


def test_a_device_that_does_not_take_the_timeout(driver: Driver, tmp_path: Path) -> None:
    driver.least_s = 60
    path = tmp_path / "watchdog"
    path.touch()
    with pytest.raises(InputError, match="does not take a timeout of 10 s: Invalid argument"):
        LinuxWatchdog(path, 10)
    assert path.read_bytes() == b"V"  # and is not left running
