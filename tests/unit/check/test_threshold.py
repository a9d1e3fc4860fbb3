"""Thresholds from measured latencies: the least that carries them, tried from both sides."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpio.check import threshold
from mpio.check.threshold import KINDS, Advice, Kind, advise, count_fences, heartbeats, lowered, setting, try_out
from mpio.heartbeat.tail import Distribution, Tail, estimate
from mpio.heartbeat.timing import Timing
from mpio.model.cluster import Cluster, O2cb, Sanlock, Sbd
from mpio.planner.cluster import Storage, recommended, smallest
from mpio.units import NS_PER_S, seconds

MS = 1_000_000


def sample(count: int = 20_000, sigma: float = 0.7, seed: int = 1) -> list[int]:
    """Latencies of a busy disk: a median of 2 ms, one in a hundred beyond 10."""
    rng = random.Random(seed)
    return [round(2 * MS * rng.lognormvariate(0, sigma)) for _ in range(count)]


SAMPLE = sample()


def advice(kind: Kind, stall_s: float, latencies: Sequence[int] = SAMPLE, jitter_ns: int = 2 * MS) -> Advice:
    return advise(kind, estimate(latencies, heartbeats(kind, 10)), seconds(stall_s), jitter_ns)


@pytest.mark.parametrize("stall_s", [20, 30, 150])
@pytest.mark.parametrize("kind", KINDS)
def test_the_least_setting_never_fences_and_a_fifth_lower_does(kind: Kind, stall_s: int) -> None:
    """Ten thousand runs of the measured latencies, a failover in each."""
    found = advice(kind, stall_s)
    assert found.bound_by == "measurement"
    trial = try_out(found, Distribution(SAMPLE, found.tail.fit), threshold.RUNS, random.Random(1).random)
    assert trial.runs == 10_000
    assert trial.fenced == 0
    assert trial.lower is not None
    assert trial.fenced_lower > 100


@pytest.mark.parametrize("kind", KINDS)
def test_latency_that_decides_is_carried_too(kind: Kind) -> None:
    """Storage whose slow moments take seconds, and a failover: what is recommended has room for both at once."""
    rng = random.Random(3)
    slow = [round(rng.expovariate(1 / 300) * MS) + MS for _ in range(5000)]
    found = advice(kind, 20, slow)
    assert found.tail.level_ns > 3 * NS_PER_S
    assert found.least.deadline_ns > advice(kind, 20).least.deadline_ns
    assert count_fences(found.least.subject, found.stall_ns, Distribution(slow, found.tail.fit), 3000,
                        random.Random(1).random) == 0


def test_the_reference_table_of_worked_examples() -> None:
    """o2cb minimum T 13, 18, 78 and sanlock minimum N 4, 6, 26 for stalls of 20, 30 and 150 s."""
    tiny = [MS] * 100
    thresholds = [advice("o2cb", stall, tiny).least.subject for stall in (20, 30, 150)]
    assert [item.heartbeat_threshold for item in thresholds if isinstance(item, O2cb)] == [13, 18, 78]
    timeouts = [advice("sanlock", stall, tiny).least.subject for stall in (20, 30, 150)]
    assert [item.io_timeout for item in timeouts if isinstance(item, Sanlock)] == [4, 6, 26]
    room = [advice("o2cb", stall, tiny).with_room.subject for stall in (20, 30, 150)]
    assert [item.heartbeat_threshold for item in room if isinstance(item, O2cb)] == [31, 32, 114]


@pytest.mark.parametrize(("kind", "planners"), [("o2cb", "ocfs2"), ("sbd", "sbd"), ("sanlock", "sanlock")])
@pytest.mark.parametrize("stall_s", [0, 5, 25, 100])
def test_it_is_the_planners_arithmetic(kind: Kind, planners: str, stall_s: int) -> None:
    found = advice(kind, stall_s)
    storage = Storage(stall_ns=seconds(stall_s), latency_ns=found.tail.level_ns, jitter_ns=2 * MS)
    assert found.least.subject == smallest(planners, storage)[0]
    room = recommended(planners, storage)[0]
    if isinstance(room, O2cb):
        assert isinstance(found.with_room.subject, O2cb)
        assert found.with_room.subject.heartbeat_threshold == max(31, room.heartbeat_threshold)
    else:
        assert found.with_room.subject == room


@given(st.sampled_from(KINDS), st.floats(0, 300), st.integers(0, 5000), st.integers(0, 500))
@settings(max_examples=150)
def test_laws_of_every_advice(kind: Kind, stall_s: float, level_ms: int, jitter_ms: int) -> None:
    tail = Tail(100, level_ms * MS, 1.0, None, level_ms * MS, None, level_ms * MS, "too few", short=True)
    found = advise(kind, tail, seconds(stall_s), jitter_ms * MS)
    assert found.least.margin_ns >= 0
    assert found.with_room.margin_ns >= found.least.margin_ns
    assert found.with_room.deadline_ns >= max(found.least.deadline_ns, found.shipped.deadline_ns)
    assert found.least.margin_ns == found.least.tolerated_ns - found.stall_ns
    assert found.shipped.colour in ("green", "amber", "red")
    longer = advise(kind, tail, seconds(stall_s) + 10 * NS_PER_S, jitter_ms * MS)
    assert longer.least.deadline_ns >= found.least.deadline_ns


def test_what_programs_take_at_least_is_said() -> None:
    found = advice("o2cb", 0)
    assert found.bound_by == "program"
    assert found.least.subject == O2cb(heartbeat_threshold=7)
    assert found.least.colour == "green"
    assert advice("own", 0).least.deadline_ns == 8 * NS_PER_S  # four periods


@pytest.mark.parametrize(("subject", "lower"), [
    (O2cb(heartbeat_threshold=31), O2cb(heartbeat_threshold=25)),  # 60 s, 48 s
    (O2cb(heartbeat_threshold=13), O2cb(heartbeat_threshold=10)),  # 24 s, 18 of 19.2 s
    (O2cb(heartbeat_threshold=2), None),
    (Sbd(watchdog=24), Sbd(watchdog=19, msgwait=38)), (Sbd(watchdog=1), None),
    (Sanlock(io_timeout=10), Sanlock(io_timeout=8)), (Sanlock(io_timeout=1), None),
    (Timing.of(20 * NS_PER_S), Timing.of(16 * NS_PER_S)), (Timing.of(8 * NS_PER_S), None),
])
def test_a_fifth_lower_is_at_least_a_fifth_lower(
    subject: Timing | O2cb | Sbd | Sanlock, lower: Timing | O2cb | Sbd | Sanlock | None
) -> None:
    assert lowered(subject) == lower


@pytest.mark.parametrize(("cluster", "stall_s", "colour"), [
    (O2cb(heartbeat_threshold=31), 20, "green"), (O2cb(heartbeat_threshold=31), 50, "amber"),
    (O2cb(heartbeat_threshold=31), 59, "red"), (O2cb(heartbeat_threshold=7), 20, "red"),
    (Sbd(watchdog=5, msgwait=10), 5, "red"), (Sanlock(), 20, "green"),
])
def test_colours_of_margins(cluster: Cluster, stall_s: int, colour: str) -> None:
    assert isinstance(cluster, O2cb | Sbd | Sanlock)
    assert setting((cluster, None), Storage(stall_ns=seconds(stall_s))).colour == colour


def test_overshoots_follow_from_the_fit_or_are_an_upper_bound() -> None:
    fitted = advice("o2cb", 0)
    assert fitted.tail.fit is not None
    assert not fitted.at_most
    allowed_ns = fitted.least.deadline_ns - 2 * NS_PER_S - 2 * MS
    assert fitted.overshoots == pytest.approx(fitted.tail.fit.beyond(allowed_ns) * heartbeats("o2cb", 1))
    plain = advice("o2cb", 0, [MS] * 300)
    assert plain.at_most
    assert plain.overshoots == pytest.approx(3 / 300 * heartbeats("o2cb", 1))


def test_heartbeats_of_a_node_year() -> None:
    assert heartbeats("o2cb", 1) == pytest.approx(1.58e7, rel=0.01)
    assert heartbeats("sanlock", 2) == 2 * 365 * 86_400 / 20
    assert heartbeats("sbd", 1) == 3 * 365 * 86_400


def test_the_same_draws_give_the_same_trial() -> None:
    found = advice("sbd", 20)
    first, second = (try_out(found, Distribution(SAMPLE, found.tail.fit), 300, random.Random(7).random)
                     for _ in range(2))
    assert first == second
