"""What the swarm is made of: time, processes, routines, cables and TCP over them, the disk, the draw of plans."""

import random
from collections import Counter
from collections.abc import Callable

import pytest

from mpio.sim.swarm.disk import SwarmDisk
from mpio.sim.swarm.draw import draw_plan
from mpio.sim.swarm.link import RETRY_FIRST_NS, SYN_RETRY_NS, Cable, End, LaneSpec
from mpio.sim.swarm.plan import KINDS
from mpio.sim.swarm.schedule import STEPS_MAX, Process, Runaway, Schedule, Timer
from mpio.sim.swarm.strand import Promise, Routine, Strand, sleep, wait
from mpio.target.store import StoreError

MS = 1_000_000
S = 1_000_000_000


def never() -> bool:
    return False


# --- time


def test_calls_come_in_order_of_time_and_of_asking() -> None:
    schedule, seen = Schedule(), list[str]()
    for when, name in ((5, "c"), (3, "a"), (5, "d"), (3, "b"), (-1, "now")):
        schedule.at(when, seen.append, name)
    schedule.run(4, never)
    assert (seen, schedule.now) == (["now", "a", "b"], 4)
    schedule.run(10, lambda: seen[-1] == "c")
    assert (seen[-1], schedule.now) == ("c", 5)


def test_what_goes_round_without_time_is_a_runaway() -> None:
    schedule = Schedule()

    def again() -> None:
        schedule.at(0, again)

    again()
    with pytest.raises(Runaway, match=f"{STEPS_MAX} calls"):
        schedule.run(1, never)


@pytest.mark.parametrize("ppm", [-10_000, -50, 0, 50, 10_000])
def test_a_clock_shows_at_least_the_time_that_was_waited_for(ppm: int) -> None:
    schedule = Schedule()
    process = Process(schedule, ppm)
    shown: list[tuple[int, int]] = []
    rng = random.Random(ppm)
    for _ in range(200):
        local = rng.randrange(10 * S)
        process.at(local, lambda local=local: shown.append((local, process.clock())))
    schedule.run(11 * S, never)
    assert len(shown) == 200
    assert all(0 <= clock - local <= 1 for local, clock in shown)


def test_a_paused_process_handles_its_input_first_and_then_its_timers() -> None:
    schedule, seen = Schedule(), list[str]()
    process = Process(schedule)
    process.at(2, seen.append, "timer")
    schedule.at(3, process.call, seen.append, "input")
    process.pause()
    process.pause()
    schedule.run(5, never)
    process.resume()
    assert seen == []
    process.resume()
    assert seen == ["input", "timer"]
    process.at(7, seen.append, "dead")
    process.kill()
    schedule.run(9, never)
    assert seen == ["input", "timer"]


def test_a_timer_rings_once_for_its_earliest_deadline() -> None:
    schedule, rung = Schedule(), list[int]()
    timer = Timer(Process(schedule), lambda: rung.append(schedule.now))
    for deadline in (50, 30, 40, None):
        timer.arm(deadline)
    schedule.run(100, never)
    assert rung == [30]
    timer.arm(120)
    schedule.run(200, never)
    assert rung == [30, 120]


def test_routines_wait_time_out_and_are_interrupted() -> None:
    schedule, seen = Schedule(), list[str]()
    process = Process(schedule)
    promise: Promise[str] = Promise()

    def first() -> Routine[None]:
        try:
            yield from wait(Promise[None](), 10)
        except TimeoutError:
            seen.append(f"timeout {schedule.now}")
        seen.append((yield from wait(promise)))
        try:
            yield from sleep(1000)
        except ValueError:
            seen.append(f"interrupted {schedule.now}")

    def second() -> Routine[None]:
        try:
            yield from sleep(5000)
        finally:
            seen.append("cancelled")

    strand, other = Strand(process, first()), Strand(process, second())
    schedule.at(20, promise.keep, "kept")
    schedule.at(30, strand.interrupt, ValueError())
    schedule.at(40, other.cancel)
    schedule.run(10_000, never)
    assert seen == ["timeout 10", "kept", "interrupted 30", "cancelled"]
    assert strand.ended
    assert other.ended


# --- cables


class Socket:
    """Collects what comes."""

    def __init__(self, schedule: Schedule, end: End) -> None:
        self.schedule = schedule
        self.end = end
        self.data = b""
        self.at: list[int] = []
        self.cause = ""
        self.writables = 0
        end.adopt(self)

    def receive(self, data: bytes) -> None:
        self.data += data
        self.at.append(self.schedule.now)

    def lost(self, cause: str) -> None:
        self.cause = cause

    def writable(self) -> None:
        self.writables += 1


class Net:
    """A cable, a listener, and one connection over it."""

    def __init__(self, *, pieces: int = 0, connect: bool = True) -> None:
        self.schedule = Schedule()
        self.listening = True
        self.host, self.target = Process(self.schedule), Process(self.schedule)
        self.cable = Cable(self.schedule, LaneSpec(MS, 0, pieces), random.Random(1), 0, self)
        self.answers: list[End | str] = []
        if connect:
            self.connect()
            self.run(3 * MS)
            assert isinstance(self.answers[0], End)
            self.near = Socket(self.schedule, self.answers[0])

    def connect(self) -> None:
        self.cable.connect(self.host, self.answers.append)

    def accept(self, end_of: Callable[[Process], End], portal: int) -> None:
        self.far = Socket(self.schedule, end_of(self.target))

    def run(self, duration_ns: int) -> None:
        self.schedule.run(self.schedule.now + duration_ns, never)


def test_bytes_arrive_in_order_in_pieces_or_whole() -> None:
    for pieces in (0, 1000):
        net = Net(pieces=pieces)
        sent = b"".join(bytes((number,)) * 50 for number in range(20))
        for at in range(0, len(sent), 100):
            net.near.end.out.send(sent[at:at + 100])
        net.run(S)
        assert net.far.data == sent
        assert (len(net.far.at) > 10) == bool(pieces)


def test_what_is_lost_is_sent_again_as_tcp_does() -> None:
    net = Net()
    start = net.schedule.now
    net.cable.out.losing += 1
    net.near.end.out.send(b"one")
    net.run(500 * MS)
    net.near.end.out.send(b"two")
    net.cable.out.losing -= 1
    net.run(S)
    assert net.far.data == b"onetwo"
    assert set(net.far.at) == {start + MS + 3 * RETRY_FIRST_NS}


def test_who_gave_up_sends_nothing_again_and_its_reset_may_be_lost() -> None:
    net = Net()
    net.cable.out.losing += 1
    net.near.end.out.send(b"gone")
    net.run(MS)
    net.near.end.close(abort=True)
    net.run(S)
    net.cable.out.losing -= 1
    net.run(10 * S)
    assert (net.far.data, net.far.cause) == (b"", "")
    net.far.end.out.send(b"anybody there?")
    net.run(S)
    assert net.far.cause == "connection reset by peer"


def test_what_is_held_comes_out_in_order_even_from_who_gave_up() -> None:
    net = Net()
    net.cable.out.holding += 1
    net.near.end.out.send(b"late")
    net.run(S)
    net.near.end.close(abort=True)
    net.run(S)
    assert net.far.data == b""
    net.cable.out.release()
    net.run(S)
    assert (net.far.data, net.far.cause) == (b"late", "connection reset by peer")


def test_what_is_lost_and_held_in_turn_stays_in_order() -> None:
    net = Net()
    for at, (losing, holding) in enumerate([(1, 0), (0, 1), (1, 1), (0, 1), (1, 1), (0, 0), (1, 0), (0, 0)]):
        lane = net.cable.out
        lane.losing = losing
        if lane.holding and not holding:
            lane.release()
        elif holding and not lane.holding:
            lane.holding = 1
        net.near.end.out.send(bytes((at,)))
        net.run(70 * MS)
    net.run(100 * S)
    assert net.far.data == bytes(range(8))


def test_an_orderly_end_comes_after_all_that_was_sent() -> None:
    net = Net()
    net.cable.out.losing += 1
    net.near.end.out.send(b"last words")
    net.near.end.close(abort=False)
    net.run(S)
    net.cable.out.losing -= 1
    net.run(5 * S)
    assert (net.far.data, net.far.cause) == (b"last words", "closed by the peer")


def test_a_forgotten_connection_passes_nothing_and_nobody_is_told() -> None:
    net = Net()
    net.cable.cut_all()
    net.near.end.out.send(b"x")
    net.far.end.out.send(b"y")
    net.run(100 * S)
    assert (net.near.data, net.near.cause, net.far.data, net.far.cause) == (b"", "", b"", "")


def test_a_reset_is_told_to_both() -> None:
    net = Net()
    net.cable.reset_all()
    assert (net.near.cause, net.far.cause) == ("connection reset by peer", "connection reset by peer")


def test_the_send_buffer_fills_and_drains() -> None:
    net = Net()
    net.cable.out.losing += 1
    room = [net.near.end.has_room]
    net.near.end.out.send(bytes(1 << 20))
    room.append(net.near.end.has_room)
    assert room == [True, False]
    net.cable.out.losing -= 1
    net.run(S)
    assert (net.near.writables, len(net.far.data)) == (1, 1 << 20)


def test_connects_are_refused_or_tried_again() -> None:
    net = Net(connect=False)
    net.cable.refusing += 1
    net.connect()
    net.run(S)
    assert net.answers == ["connection refused"]
    net.cable.refusing -= 1
    net.cable.back.losing += 1
    net.connect()
    net.run(SYN_RETRY_NS // 2)
    net.cable.back.losing -= 1
    net.run(SYN_RETRY_NS // 4)
    assert len(net.answers) == 1
    net.run(SYN_RETRY_NS)
    assert isinstance(net.answers[1], End)
    net.listening = False
    net.connect()
    net.run(S)
    assert net.answers[2] == "connection refused"


def test_loss_delay_and_bandwidth_slow_things_down() -> None:
    for name, amount, least in (("loss", 999, RETRY_FIRST_NS), ("extra_ns", 40 * MS, 40 * MS),
                                ("ns_per_byte", 1000, 2 * MS)):
        net = Net()
        start = net.schedule.now
        setattr(net.cable.out, name, amount)
        net.near.end.out.send(bytes(2000))
        net.run(1000 * S)
        assert net.far.at[0] - start >= MS + least, name


# --- disk


def test_a_write_back_cache_may_lose_what_was_not_flushed() -> None:
    kept = set()
    for seed in range(20):
        disk = SwarmDisk(2, 512, volatile=True, rng=random.Random(seed))
        disk.write(0, b"a" * 1024)
        disk.flush()
        disk.write(0, b"b" * 512)
        fallen = disk.lose_power()
        assert disk.read(512, 512) == b"a" * 512
        assert fallen == ({} if disk.read(0, 1) == b"b" else {0: b"a" * 512})
        kept.add(disk.read(0, 512)[:1])
    assert kept == {b"a", b"b"}


def test_without_a_cache_nothing_is_lost() -> None:
    disk = SwarmDisk(2, 512, volatile=False, rng=random.Random(1))
    disk.write(0, b"b" * 1024)
    assert disk.lose_power() == {}
    assert disk.read(0, 1024) == b"b" * 1024


def test_torn_and_failed_writes_keep_blocks_whole() -> None:
    lengths = set()
    for seed in range(40):
        disk = SwarmDisk(4, 512, volatile=False, rng=random.Random(seed))
        if seed % 2:
            disk.tear(0, b"x" * 2048)
        else:
            disk.failing += 1
            with pytest.raises(StoreError):
                disk.write(0, b"x" * 2048)
            with pytest.raises(StoreError):
                disk.read(0, 512)
            disk.failing -= 1
        data = disk.read(0, 2048)
        lengths.add(data.count(b"x"))
        assert data == data.rstrip(b"\0").ljust(2048, b"\0")
    assert lengths == {0, 512, 1024, 1536, 2048}


# --- plans


def test_every_kind_of_fault_is_drawn_within_bounds() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(300):
        plan = draw_plan(seed)
        kinds.update(fault.kind for fault in plan.faults)
        for fault in plan.faults:
            assert 0 <= fault.at_ns <= fault.ends_ns < plan.heal_ns
            assert fault.host < plan.hosts
            assert fault.portal < len(plan.tpgts)
        for host in range(plan.hosts):
            plan.settings_of(host)
    assert set(kinds) == set(KINDS)
