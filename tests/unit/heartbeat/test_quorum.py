"""Who goes on after a network split."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.heartbeat.quorum import View, choose, hears_all, o2cb_survives


def sides(*groups: tuple[int, ...], scores: dict[int, int] | None = None, late: tuple[int, ...] = ()) -> list[View]:
    """Groups in which all hear each other, and nobody else."""
    return [View(node, tuple(other for other in group if other != node), (scores or {}).get(node, 0), node not in late)
            for group in groups for node in group]


def test_the_lowest_number_breaks_a_tie() -> None:
    assert choose(sides((0,), (1,))) == (0,)
    assert choose(sides((1, 2), (0, 3))) == (0, 3)


def test_the_larger_side_wins() -> None:
    assert choose(sides((0,), (1, 2))) == (1, 2)


def test_the_side_that_clients_reach_wins_over_the_larger() -> None:
    assert choose(sides((0, 1), (2,), scores={2: 1})) == (2,)


def test_storage_ranks_above_clients() -> None:
    assert choose(sides((0,), (1,), scores={1: 5}, late=(1,))) == (0,)


def test_late_nodes_give_no_weight_but_stay_with_their_side() -> None:
    assert choose(sides((0, 1, 2), (3, 4), late=(0, 1))) == (3, 4)
    assert choose(sides((0, 1, 2), (3,), late=(0, 1))) == (0, 1, 2)


def test_all_late_is_decided_too() -> None:
    assert choose(sides((0,), (1, 2), late=(0, 1, 2))) == (1, 2)


def test_hearing_one_way_only_is_not_hearing() -> None:
    views = [View(0, (1,)), View(1, ())]
    assert not hears_all(views)
    assert choose(views) == (0,)


def test_nobody_and_one_alone() -> None:
    assert choose([]) == ()
    assert choose([View(4, ())]) == (4,)
    assert hears_all([])
    assert hears_all([View(4, ())])


views_drawn = st.integers(1, 6).flatmap(lambda count: st.tuples(*(
    st.builds(View, st.just(node), st.lists(st.integers(0, count - 1), unique=True).map(tuple), st.integers(0, 2),
              st.booleans()) for node in range(count))))


@given(views_drawn, st.randoms(use_true_random=False))
def test_winners_hear_each_other_and_do_not_depend_on_order(views: tuple[View, ...], rng: object) -> None:
    winners = choose(views)
    assert winners
    assert list(winners) == sorted(winners)
    assert hears_all([view for view in views if view.node in winners])
    shuffled = list(views)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(shuffled) == winners
    for view in views:
        if view.node not in winners:
            together = [other for other in views if other.node in winners] + [view]
            assert not hears_all(together), "a larger group was there"


@pytest.mark.parametrize("count", range(1, 7))
def test_o2cb_never_lets_both_sides_of_a_split_live_and_of_two_sides_one_does(count: int) -> None:
    nodes = range(count)
    for size in range(count + 1):
        for chosen in itertools.combinations(nodes, size):
            rest = [node for node in nodes if node not in chosen]
            lives = [all(o2cb_survives(node, nodes, side) for node in side) for side in (chosen, rest) if side]
            agree = [o2cb_survives(node, nodes, side) for side in (chosen, rest) for node in side]
            assert sum(lives) == 1
            assert sum(agree) == max(len(side) for side, alive in zip(
                [side for side in (chosen, rest) if side], lives, strict=True) if alive)


@pytest.mark.parametrize(("heartbeating", "connected", "lives"), [
    ((0, 1), (), False), ((1,), (), True), ((1, 2), (), True), ((0, 1, 2), (2,), True), ((0, 1, 2), (), False),
    ((0, 1, 2, 3), (0,), True), ((0, 1, 2, 3), (2,), False), ((0, 1, 2, 3), (2, 3), True),
])
def test_o2cbs_rule_for_node_1(heartbeating: tuple[int, ...], connected: tuple[int, ...], lives: bool) -> None:
    assert o2cb_survives(1, heartbeating, connected) is lives
