"""Path selectors over 0 to 8 paths."""

from collections import Counter

import pytest

from mpio.engine.damping import Damping
from mpio.engine.path import Path
from mpio.engine.selector import PathSelector, QueueLength, RoundRobin, ServiceTime, make_selector
from mpio.model.settings import Settings

COUNTS = (0, 1, 2, 4, 8)


def paths(count: int, depth: int = 4) -> list[Path]:
    return [Path(i, f"p{i}", i, depth=depth, damping=Damping(Settings()), now=0) for i in range(count)]


def take(selector: PathSelector, group: list[Path], length: int = 4096) -> Path | None:
    path = selector.choose(group, length)
    if path is not None:
        path.in_flight += 1
        path.in_flight_bytes += length
    return path


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", ["round-robin", "queue-length", "service-time"])
def test_fills_all_paths_evenly_up_to_their_depth(name: str, count: int) -> None:
    selector = make_selector(Settings().replace(path_selector=name))
    group = paths(count)
    for filled in range(4):
        taken = [take(selector, group) for _ in range(count)]
        assert all(path is not None for path in taken)
        assert [path.in_flight for path in group] == [filled + 1] * count
    assert take(selector, group) is None


@pytest.mark.parametrize("count", COUNTS[1:])
@pytest.mark.parametrize("name", ["round-robin", "queue-length", "service-time"])
def test_a_full_path_is_passed_over(name: str, count: int) -> None:
    selector = make_selector(Settings().replace(path_selector=name))
    group = paths(count)
    group[0].in_flight = group[0].depth
    for _ in range(4 * (count - 1)):
        assert take(selector, group) is not group[0]
    assert take(selector, group) is None


@pytest.mark.parametrize("count", COUNTS[1:])
@pytest.mark.parametrize("repeat", [1, 3])
def test_round_robin_turns(count: int, repeat: int) -> None:
    selector = RoundRobin(repeat)
    group = paths(count, depth=1000)
    order = [selector.choose(group, 512) for _ in range(2 * count * repeat)]
    assert order == [path for _ in range(2) for path in group for _ in range(repeat)]


@pytest.mark.parametrize("count", COUNTS[1:])
def test_idle_ties_go_round(count: int) -> None:
    for selector in (QueueLength(), ServiceTime()):
        group = paths(count)
        used = Counter(path.path_id for _ in range(4 * count) if (path := selector.choose(group, 512)))
        assert set(used.values()) == {4}


def test_queue_length_counts_commands_service_time_bytes() -> None:
    small, large = paths(2, depth=100)
    small.in_flight, small.in_flight_bytes = 3, 3 * 512
    large.in_flight, large.in_flight_bytes = 1, 1 << 20
    assert QueueLength().choose([small, large], 512) is large
    assert ServiceTime().choose([small, large], 512) is small
    small.in_flight_bytes = large.in_flight_bytes
    assert ServiceTime().choose([small, large], 512) is large


def test_selector_survives_a_group_that_shrinks() -> None:
    for name in ("round-robin", "queue-length", "service-time"):
        selector = make_selector(Settings().replace(path_selector=name))
        group = paths(8, depth=1000)
        for _ in range(13):
            selector.choose(group, 512)
        for size in (3, 1, 0):
            chosen = selector.choose(group[:size], 512)
            assert (chosen in group[:size]) if size else chosen is None
