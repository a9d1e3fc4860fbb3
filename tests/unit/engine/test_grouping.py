"""Grouping policies over 0 to 8 paths."""

from dataclasses import replace
from typing import get_args

import pytest
from tests.unit.engine.engine_kit import IDENTITY

from mpio.engine.damping import Damping
from mpio.engine.grouping import group_paths
from mpio.engine.path import Path, PathState
from mpio.model.settings import GroupingPolicy, Settings


def make(count: int, *, priorities: tuple[int, ...] = (50, 10)) -> list[Path]:
    """Paths that are up; priority, serial and target name alternate."""
    paths = []
    for i in range(count):
        path = Path(i, f"p{i}", i, depth=8, damping=Damping(Settings()), now=0)
        path.state, path.submit = PathState.UP, lambda task, now: None
        path.priority = priorities[i % len(priorities)]
        path.identity = replace(IDENTITY, serial=f"S{i % 2}", target_name=f"iqn.t{i // 2}")
        paths.append(path)
    return paths


def shape(policy: GroupingPolicy, paths: list[Path], **more: bool) -> list[list[int]]:
    return [[path.path_id for path in group.paths] for group in group_paths(policy, paths, **more)]


@pytest.mark.parametrize(("policy", "count", "expected"), [
    ("failover", 0, []), ("failover", 1, [[0]]), ("failover", 2, [[0], [1]]), ("failover", 4, [[0], [2], [1], [3]]),
    ("failover", 8, [[0], [2], [4], [6], [1], [3], [5], [7]]),
    ("multibus", 0, []), ("multibus", 1, [[0]]), ("multibus", 2, [[0, 1]]), ("multibus", 4, [[0, 1, 2, 3]]),
    ("multibus", 8, [[0, 1, 2, 3, 4, 5, 6, 7]]),
    ("group_by_prio", 0, []), ("group_by_prio", 1, [[0]]), ("group_by_prio", 2, [[0], [1]]),
    ("group_by_prio", 4, [[0, 2], [1, 3]]), ("group_by_prio", 8, [[0, 2, 4, 6], [1, 3, 5, 7]]),
    ("group_by_serial", 0, []), ("group_by_serial", 1, [[0]]), ("group_by_serial", 2, [[0], [1]]),
    ("group_by_serial", 4, [[0, 2], [1, 3]]), ("group_by_serial", 8, [[0, 2, 4, 6], [1, 3, 5, 7]]),
    ("group_by_node_name", 0, []), ("group_by_node_name", 1, [[0]]), ("group_by_node_name", 2, [[0, 1]]),
    ("group_by_node_name", 4, [[0, 1], [2, 3]]), ("group_by_node_name", 8, [[0, 1], [2, 3], [4, 5], [6, 7]]),
])
def test_policy(policy: GroupingPolicy, count: int, expected: list[list[int]]) -> None:
    assert shape(policy, make(count)) == expected


def test_best_priority_first_whatever_the_order() -> None:
    assert shape("group_by_prio", make(4, priorities=(1, 50, 10, 130))) == [[3], [1], [2], [0]]


def test_priority_is_the_mean_of_the_usable() -> None:
    paths = make(4)
    paths[0].state = PathState.FAULTY
    (group,) = group_paths("multibus", paths)
    assert group.priority == (10 + 50 + 10) / 3
    assert group.usable == paths[1:]


def test_a_group_without_usable_paths_ranks_behind() -> None:
    paths = make(2)
    paths[0].state = PathState.GHOST
    assert shape("failover", paths) == [[1], [0]]


def test_more_usable_paths_win_among_equals() -> None:
    paths = make(3, priorities=(1,))
    assert shape("group_by_serial", paths) == [[0, 2], [1]]
    paths[0].state = paths[2].state = PathState.FAILED
    assert shape("group_by_serial", paths) == [[1], [0, 2]]


def test_delayed_paths_stand_apart_only_if_asked() -> None:
    paths = make(3, priorities=(50,))
    paths[0].state = PathState.DELAYED
    assert shape("multibus", paths) == [[0, 1, 2]]
    groups = group_paths("multibus", paths, marginal_pathgroups=True)
    assert [(group.marginal, [path.path_id for path in group.usable]) for group in groups] == [
        (False, [1, 2]), (True, [0])]


def test_paths_without_identity_are_kept() -> None:
    paths = [Path(i, f"p{i}", i, depth=8, damping=Damping(Settings()), now=0) for i in range(2)]
    for policy in get_args(GroupingPolicy):
        assert sum(len(group.paths) for group in group_paths(policy, paths)) == 2
