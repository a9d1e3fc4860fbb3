"""The cluster's settings for a storage with known stalls: what its recipe recommends, as far as it may.

A cluster fits if all of its conditions hold that fence, split or fail to fence, if its nodes take over in time, and if
what is fixed stays. Every timer that a longer stall needs is longer itself, so for each stall there are smallest
settings that stand it, and the longest stall that can be stood is found by halving.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace

from mpio.model.cluster import Cluster, Ncs
from mpio.model.stack import LinuxStack
from mpio.planner.cluster import (
    STACKS,
    Inequality,
    Stake,
    Storage,
    Verdict,
    defaults,
    inequalities,
    recommended,
    required,
    takeover_ns,
)
from mpio.planner.goals import Goals, changed
from mpio.units import NS_PER_S, seconds

HARD = frozenset({Stake.FENCE, Stake.SPLIT_BRAIN, Stake.FENCING})
"""A plan breaks none of these conditions; the others are rules that it keeps if nothing stands against it."""
STALL_MAX_NS = 86_400 * NS_PER_S


def greatest(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """The greatest number in a range of which something is true that is true of all smaller ones; None if of none."""
    if low > high:
        return None
    if holds(high):
        return high
    if not holds(low):
        return None
    high -= 1
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def is_broken(item: Inequality) -> bool:
    """Whether a condition is violated that a plan must keep, and that settings can mend at all."""
    return item.stake in HARD and not item.inherent and item.verdict is Verdict.VIOLATED


class Fitter:
    """Finds a cluster's settings for different storages, under the same goals.

    Args:
        goals: what is asked for.
        kept: settings that should stay as they are as far as they may; None for what the recipe recommends.
        fixed: settings that must stay, by name; those of the goals if not given.
    """

    def __init__(
        self, goals: Goals, kept: tuple[Cluster, ...] | None = None, fixed: Mapping[str, object] | None = None
    ) -> None:
        self._goals = goals
        self._kept = kept
        fixed = goals.fixed if fixed is None else fixed
        self._fixed = {name: value for name, value in fixed.items() if "." in name}
        self._present = defaults(goals.cluster, goals.nodes) if kept is None else kept

    @property
    def has_cluster(self) -> bool:
        """Whether there is any."""
        return bool(self._present)

    @property
    def forbids_queueing(self) -> bool:
        """Whether I/O without a path must fail (Novell Cluster Services)."""
        return any(isinstance(cluster, Ncs) for cluster in self._present)

    def carries(self, stall_ns: int) -> bool:
        """Whether some allowed settings stand a path failure with this stall; whatever is shorter they stand too."""
        if not self._present or (self._goals.takeover_s is None and not self._fixed):
            return stall_ns <= STALL_MAX_NS
        carried_s = self._carried_s
        if carried_s is None or stall_ns > (carried_s + 1) * NS_PER_S:
            return False
        return stall_ns <= carried_s * NS_PER_S or self._stands(stall_ns)

    @functools.cached_property
    def _carried_s(self) -> int | None:
        """The longest stall in whole seconds."""
        return greatest(0, STALL_MAX_NS // NS_PER_S, lambda stall_s: self._stands(stall_s * NS_PER_S))

    def _stands(self, stall_ns: int) -> bool:
        goals = self._goals
        storage = Storage(stall_ns=stall_ns, latency_ns=seconds(goals.io_latency_max_s),
                          holds_host=goals.holds_host, kernel=goals.kernel, hz=goals.hz)
        return self.fits(self._smallest(storage), storage)

    def fit(self, storage: Storage) -> tuple[Cluster, ...] | None:
        """The settings wanted, or those that stand the longest stall of all that are allowed; None if there are none.

        Nothing in the storage may last longer than they stand.
        """
        if not self._present:
            return ()
        if storage.longest_ns is None or storage.outage_ns is None:
            return None
        wanted = self._kept
        if wanted is None:
            wanted = self._with_fixed(recommended(self._goals.cluster, storage, self._goals.nodes))
        wanted = self._with_fixed(required(wanted, storage))
        if self.fits(wanted, storage):
            return wanted
        stall_ns = storage.stall_ns or 0

        def standing(extra_s: int) -> tuple[Cluster, ...]:
            return self._smallest(replace(storage, stall_ns=stall_ns + extra_s * NS_PER_S))

        extra_s = greatest(0, STALL_MAX_NS // NS_PER_S, lambda extra: self.fits(standing(extra), storage))
        return None if extra_s is None else standing(extra_s)

    def fits(self, clusters: tuple[Cluster, ...], storage: Storage) -> bool:
        """Whether these settings stand this storage and meet the goals."""
        if any(is_broken(item) for item in inequalities(clusters, storage)):
            return False
        if self._goals.takeover_s is None:
            return True
        taken_over_ns = takeover_ns(clusters, storage)
        return taken_over_ns is None or taken_over_ns <= seconds(self._goals.takeover_s)

    def _smallest(self, storage: Storage) -> tuple[Cluster, ...]:
        """With every timer as short as this storage allows."""
        shortest: tuple[Cluster, ...] = tuple(STACKS[type(item)].shortest(item) for item in self._present)
        return self._with_fixed(required(self._with_fixed(shortest), storage))

    def _with_fixed(self, clusters: tuple[Cluster, ...]) -> tuple[Cluster, ...]:
        return changed(_NO_STACK, clusters, self._fixed)[1]


_NO_STACK = LinuxStack()
