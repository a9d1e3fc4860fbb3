"""The fast models: the reference's figures, the planner's bounds, and the machines with their real blocks."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.heartbeat.world import LATENCY_NS, World
from tests.unit.heartbeat.world import Stall as WorldStall

from mpio.check.threshold import Kind, advise, heartbeats, lowered
from mpio.heartbeat import o2cb, own
from mpio.heartbeat.machine import Heartbeat
from mpio.heartbeat.region import Holds, Layout
from mpio.heartbeat.tail import Distribution, estimate
from mpio.heartbeat.timing import Timing
from mpio.heartbeat.trial import Stall, Subject, fences, period_ns
from mpio.model.cluster import O2cb, Sanlock, Sbd
from mpio.planner.cluster import Storage, tolerated_ns
from mpio.units import NS_PER_S, seconds

MS = 1_000_000
PHASES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99)


def begins(subject: Subject, latency_ns: int) -> list[int]:
    """When stalls begin: all over a round, and around the instants at which requests begin and end."""
    if isinstance(subject, Sbd):
        round_ns = period_ns(subject) + 3 * latency_ns
        first_ns = period_ns(subject) + 3 * round_ns
        edges = [first_ns + count * latency_ns + step for count in range(4) for step in (-1, 0, 1, latency_ns // 2)]
        return [*edges, *range(first_ns, first_ns + round_ns, round_ns // 20)]
    round_ns = period_ns(subject)
    first_ns = 3 * round_ns
    edges = [first_ns + at + step for at in (0, latency_ns) for step in (-1, 0, 1)]
    return [*edges, *range(first_ns, first_ns + round_ns, round_ns // 40)]


def survives(subject: Subject, stall_ns: int, latency_ns: int = MS) -> bool:
    """One stall that begins anywhere."""
    return not any(fences(subject, Stall(begin_ns, begin_ns + stall_ns), 5, lambda: latency_ns, phase)
                   for begin_ns in begins(subject, latency_ns)
                   for phase in (PHASES if isinstance(subject, Sbd) else (0.0,)))


@pytest.mark.parametrize(("threshold", "limit_s"), [(7, 9.95), (31, 58.0), (61, 118.0)])
def test_the_largest_stall_that_o2cb_survives(threshold: int, limit_s: float) -> None:
    assert survives(O2cb(heartbeat_threshold=threshold), seconds(limit_s - 0.01))
    assert not survives(O2cb(heartbeat_threshold=threshold), seconds(limit_s + 0.1))


@pytest.mark.parametrize(("timeout", "limit_s"), [(5, 30), (10, 59.75), (20, 119.75)])
def test_the_largest_stall_that_sanlock_survives(timeout: int, limit_s: float) -> None:
    assert survives(Sanlock(io_timeout=timeout), seconds(limit_s - 0.25))
    assert not survives(Sanlock(io_timeout=timeout), seconds(limit_s + 0.26))


@pytest.mark.parametrize(("stall_s", "watchdog"), [(5, 5), (10, 9.5), (12, 14.5), (17, 16.5), (30, 32.5), (60, 62.5)])
def test_the_smallest_watchdog_with_which_sbd_survives(stall_s: int, watchdog: float) -> None:
    """The reference's steps are halves of a second, and SBD's own are whole ones."""
    found = next(value for value in range(1, 100) if survives(Sbd(watchdog=value), seconds(stall_s)))
    assert watchdog <= found <= watchdog + 0.5


def test_a_servant_that_outlives_the_stall_needs_no_watchdog_for_it() -> None:
    assert survives(Sbd(watchdog=5, io_timeout=25), 20 * NS_PER_S)
    assert not survives(Sbd(watchdog=5, io_timeout=3), 20 * NS_PER_S)


@pytest.mark.parametrize("deadline_s", [12, 30, 60])
def test_our_own_deadline_counts_from_the_issue(deadline_s: int) -> None:
    """D >= P + S + x, to the nanosecond."""
    timing = Timing.of(seconds(deadline_s))
    longest_ns = timing.deadline_ns - timing.period_ns - MS
    assert survives(timing, longest_ns)
    assert not survives(timing, longest_ns + MS)


@given(
    st.one_of(
        st.integers(3, 100).map(lambda threshold: O2cb(heartbeat_threshold=threshold)),
        st.integers(1, 30).map(lambda timeout: Sanlock(io_timeout=timeout)),
        st.builds(Sbd, watchdog=st.integers(1, 60), io_timeout=st.integers(2, 20), restart_delay=st.integers(1, 8)),
    ),
    st.floats(0, 1), st.floats(0, 1), st.floats(0, 1, exclude_max=True), st.integers(MS, 40 * MS),
)
@settings(max_examples=300)
def test_whatever_the_planner_says_is_tolerated_fences_nobody(
    subject: O2cb | Sanlock | Sbd, share: float, begin: float, phase: float, latency_ns: int,
) -> None:
    limit_ns = tolerated_ns([subject], Storage(stall_ns=0, latency_ns=latency_ns))
    assert limit_ns is not None
    period = period_ns(subject)
    begin_ns = round((3 + begin) * period)
    stall = Stall(begin_ns, begin_ns + round(share * limit_ns))
    assert not fences(subject, stall, 5, lambda: latency_ns, phase)


@given(st.sampled_from([Timing(), O2cb(), Sbd(), Sanlock()]), st.integers(0, 2**30))
@settings(max_examples=40)
def test_storage_that_does_not_come_back_in_time_fences_whoever_it_is(subject: Subject, seed: int) -> None:
    rng = random.Random(seed)
    begin_ns = round((2 + rng.random()) * period_ns(subject))
    stall = Stall(begin_ns, begin_ns + 200 * NS_PER_S)
    assert fences(subject, stall, 5, lambda: rng.randrange(MS, 20 * MS), rng.random())


@given(st.sampled_from([Timing(), O2cb(), Sanlock(io_timeout=5)]), st.integers(0, 2**30), st.integers(0, 200))
@settings(max_examples=100)
def test_a_longer_stall_does_no_less(subject: Subject, seed: int, stall_s: int) -> None:
    """Not so with SBD: it depends on when its servant is started anew."""
    begin_ns = round((2 + random.Random(seed).random()) * period_ns(subject))
    short, longer = (fences(subject, Stall(begin_ns, begin_ns + value * NS_PER_S), 5, lambda: MS, 0.0)
                     for value in (stall_s, stall_s + 30))
    assert longer or not short


def test_without_a_stall_only_latency_can_fence() -> None:
    quiet = Stall(0, 0)
    for subject in (Timing(), O2cb(heartbeat_threshold=7), Sbd(), Sanlock(io_timeout=1)):
        assert not fences(subject, quiet, 200, lambda: 20 * MS, 0.3)
    slow = iter([MS] * 5 + [13 * NS_PER_S] + [MS] * 50)
    assert fences(O2cb(heartbeat_threshold=7), quiet, 20, lambda: next(slow), 0.0)


def test_a_stall_adds_to_the_latency_that_it_meets() -> None:
    stall = Stall(100, 200)
    assert stall.end_of(0, 100) == 100  # over before
    assert stall.end_of(90, 30) == 220  # met on the way: a hundred later
    assert stall.end_of(150, 30) == 230  # begins when the stall ends
    assert stall.end_of(200, 30) == 230


# --- beside the machines


def own_machine(timing: Timing) -> Callable[[int], Heartbeat]:
    layout = Layout(Holds.OWN, 512, 8)
    return lambda node: own.Own(own.Settings(
        node, (0, 1), 1000 + node, bytes(range(16)), timing, layout, f"node{node}", network=True))


def o2cb_machine(cluster: O2cb) -> Callable[[int], Heartbeat]:
    layout = Layout(Holds.O2CB, 512, 8)
    return lambda node: o2cb.O2cb(o2cb.Settings(node, (0, 1), 100 + node, cluster, layout, 1_700_000_000))


def machine_fences(make: Callable[[int], Heartbeat], begin_ns: int, stall_ns: int,
                   latency: Callable[[], int] = lambda: LATENCY_NS) -> bool:
    world = World(stalls=[WorldStall(1, begin_ns / NS_PER_S, (begin_ns + stall_ns) / NS_PER_S)],
                  latency=lambda _node, _at: latency())
    for node in (0, 1):
        world.add(node, make(node))
    world.run((begin_ns + stall_ns) / NS_PER_S + 20)
    assert list(world.fenced) in ([], [1])
    return bool(world.fenced)


@pytest.mark.parametrize("subject", [
    Timing.of(20 * NS_PER_S), Timing.of(60 * NS_PER_S), O2cb(heartbeat_threshold=7), O2cb(heartbeat_threshold=31)])
def test_the_machines_do_the_same(subject: Timing | O2cb) -> None:
    """Stalls around the limit. Where a stall of 10 ms more or less decides, phases differ by a few requests' time."""
    make = own_machine(subject) if isinstance(subject, Timing) else o2cb_machine(subject)
    deadline_ns = subject.deadline_ns if isinstance(subject, Timing) else 2 * NS_PER_S * (
        subject.heartbeat_threshold - 1)
    limit_ns = deadline_ns - period_ns(subject)
    rng = random.Random(5)
    compared = fenced = 0
    for _ in range(60):
        begin_ns = 60 * NS_PER_S + rng.randrange(2 * NS_PER_S)
        stall_ns = limit_ns + rng.randrange(-NS_PER_S, 3 * NS_PER_S)
        # Rounds of the machines begin where they joined, so the model is asked for the phases around this one
        said = machine_fences(make, begin_ns, stall_ns)
        models = [fences(subject, Stall(at, at + stall_ns), 5, lambda: 3 * LATENCY_NS, 0.0)
                  for at in range(4 * NS_PER_S, 6 * NS_PER_S, 50 * MS)]
        if all(models) or not any(models):
            compared += 1
            assert said == models[0], (begin_ns, stall_ns)
        fenced += said
    assert compared >= 15
    assert 0 < fenced < 60


def test_each_subject_has_its_period() -> None:
    assert [period_ns(item) for item in (Timing(), O2cb(), Sbd(), replace(Sanlock(), io_timeout=10))] == [
        2 * NS_PER_S, 2 * NS_PER_S, NS_PER_S, 20 * NS_PER_S]


@pytest.mark.parametrize(("kind", "runs"), [("o2cb", 100), ("own", 50)])
def test_recommended_thresholds_hold_in_the_machines_too(kind: Kind, runs: int) -> None:
    """Latencies drawn from a sample, a failover of at most 20 s at any phase: none fences; a fifth lower, many do."""
    rng = random.Random(11)
    sample = [round(2 * MS * rng.lognormvariate(0, 0.7)) for _ in range(20_000)]
    tail = estimate(sample, heartbeats(kind, 10))
    latencies = Distribution(sample, tail.fit)
    least = advise(kind, tail, 20 * NS_PER_S, 0).least.subject
    requests = 2 if kind == "o2cb" else 3  # of a round, and the sample is of rounds
    for subject, few, many in ((least, 0, 0), (lowered(least), runs // 4, runs)):
        assert isinstance(subject, Timing | O2cb)
        make = own_machine(subject) if isinstance(subject, Timing) else o2cb_machine(subject)
        fenced = 0
        for run in range(runs):
            begin_ns = 60 * NS_PER_S + rng.randrange(2 * NS_PER_S)
            stall_ns = 20 * NS_PER_S if run % 2 == 0 else rng.randrange(20 * NS_PER_S)
            fenced += machine_fences(make, begin_ns, stall_ns, lambda: latencies.at(rng.random()) // requests)
        assert few <= fenced <= many
