"""The cluster's settings for a storage with known stalls: what its recipe recommends, as far as it may.

A cluster fits if all of its conditions hold that fence, split or fail to fence, if its nodes take over in time, and if
what is fixed stays. Every timer that a longer stall needs is longer itself, so the question has one answer per stall:
the smallest settings that stand it; and the longest stall that can be stood is found by halving.
"""

from collections.abc import Callable
from dataclasses import replace

from mpio.model.cluster import Cluster
from mpio.model.stack import LinuxStack
from mpio.planner.cluster import (
    Inequality,
    Stake,
    Storage,
    Verdict,
    inequalities,
    recommended,
    required,
    smallest,
    takeover_ns,
)
from mpio.planner.goals import Goals, changed
from mpio.units import NS_PER_S, seconds

HARD = frozenset({Stake.FENCE, Stake.SPLIT_BRAIN, Stake.FENCING})
"""A plan breaks none of these conditions; the others are rules that it keeps if nothing stands against it."""
STALL_MAX_NS = 86_400 * NS_PER_S


def greatest(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """The greatest number of a range for which something holds that holds for all smaller ones; None if for none."""
    if low > high or not holds(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def least(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """The least number of a range for which something holds that holds for all greater ones; None if for none."""
    found = greatest(-high, -low, lambda number: holds(-number))
    return None if found is None else -found


def fit(goals: Goals, storage: Storage) -> tuple[Cluster, ...] | None:
    """The recommended settings, or those that stand the longest stall of all that are allowed; None if none are.

    No stall that is planned for may be longer than they stand.
    """
    if storage.longest_ns is None and goals.cluster != "none":
        return None
    try:
        wanted = _fixed(goals, recommended(goals.cluster, storage, goals.nodes))
        wanted = _fixed(goals, required(wanted, storage))
    except ValueError:  # the outage has no end
        return None
    if fits(goals, wanted, storage):
        return wanted
    stall_ns = storage.stall_ns or 0

    def standing(extra_s: int) -> tuple[Cluster, ...]:
        return _smallest(goals, replace(storage, stall_ns=stall_ns + extra_s * NS_PER_S))

    extra_s = greatest(0, STALL_MAX_NS // NS_PER_S, lambda extra: fits(goals, standing(extra), storage))
    return None if extra_s is None else standing(extra_s)


def carries_ns(goals: Goals) -> int | None:
    """The longest stall of one path failure that some allowed settings of the cluster stand; None if not even none.

    Without fixed settings of the cluster and a takeover in time there is no limit but `STALL_MAX_NS`.
    """
    if goals.cluster == "none" or (goals.takeover_s is None and not any("." in name for name in goals.fixed)):
        return STALL_MAX_NS

    def stands(stall_ns: int) -> bool:
        storage = Storage(stall_ns=stall_ns, latency_ns=seconds(goals.io_latency_max_s), holds_host=goals.holds_host,
                          kernel=goals.kernel, hz=goals.hz)
        return fits(goals, _smallest(goals, storage), storage)

    return greatest(0, STALL_MAX_NS, stands)


def fits(goals: Goals, clusters: tuple[Cluster, ...], storage: Storage) -> bool:
    """Whether these settings stand this storage and meet the goals."""
    if any(is_broken(item) for item in inequalities(clusters, storage)):
        return False
    if goals.takeover_s is None:
        return True
    taken_over_ns = takeover_ns(clusters, storage)
    return taken_over_ns is None or taken_over_ns <= seconds(goals.takeover_s)


def is_broken(item: Inequality) -> bool:
    """Whether a condition is violated that a plan must keep, and that settings can mend at all."""
    return item.stake in HARD and not item.inherent and item.verdict is Verdict.VIOLATED


def _smallest(goals: Goals, storage: Storage) -> tuple[Cluster, ...]:
    """With every timer as short as this storage allows."""
    nothing = Storage(stall_ns=0, kernel=storage.kernel, hz=storage.hz)
    base = _fixed(goals, smallest(goals.cluster, nothing, goals.nodes))
    return _fixed(goals, required(base, storage))


def _fixed(goals: Goals, clusters: tuple[Cluster, ...]) -> tuple[Cluster, ...]:
    return changed(_NO_STACK, clusters, {name: value for name, value in goals.fixed.items() if "." in name})[1]


_NO_STACK = LinuxStack()
