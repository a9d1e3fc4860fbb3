"""The nearest change that makes settings safe.

Nearest is: no kind of path failure stalls longer than before; the fewest settings; of these the fewest that move away
from what is shipped; of these the least sum of ratios between old and new. A new value is itself the nearest to the old
one that is safe. Up to three settings of the storage are looked through completely, each set with the cluster as it is
and with the cluster's timers raised to what they need; if more must change, the answer only has no change too many.
"""

import dataclasses
import itertools
import math
from collections.abc import Collection, Mapping

from mpio.model.cluster import Cluster
from mpio.model.stack import LinuxStack
from mpio.planner import promise
from mpio.planner.cluster import Storage, defaults, kind_of, required
from mpio.planner.fit import Fitter
from mpio.planner.goals import Change, Goals, qualified, setting
from mpio.planner.reasons import reasons
from mpio.planner.search import Found, Search

KNOBS = (
    "fast_io_fail_tmo", "replacement_timeout", "noop_out_interval", "noop_out_timeout", "no_path_retry",
    "login_timeout", "polling_interval", "max_polling_interval", "timeout", "abort_timeout", "max_retries",
    "logout_timeout",
)
"""The settings of the storage that may change."""
COMPLETE_UP_TO = 3
_ENDLESS = 10**6


def nearest_safe(goals: Goals, stack: LinuxStack, clusters: tuple[Cluster, ...]) -> dict[str, Change]:
    """The changes by setting; empty if none helps, or if none is needed."""
    return _Nearest(goals, stack, clusters).changes()


class _Nearest:
    def __init__(self, goals: Goals, stack: LinuxStack, clusters: tuple[Cluster, ...]) -> None:
        self._goals, self._stack, self._clusters = goals, stack, clusters
        self._values = {
            qualified(owner, field.name): getattr(owner, field.name)
            for owner in (stack, *clusters) for field in dataclasses.fields(owner)
        }
        self._shipped = _shipped(clusters)
        self._stalls_before = self._stalls_of(stack)
        as_it_is = {name: value for name, value in self._values.items() if "." in name}
        self._fitters = [(Fitter(goals, clusters, as_it_is), 0)]
        if clusters:
            self._fitters.append((Fitter(goals, clusters, {}), self._certain()))

    def changes(self) -> dict[str, Change]:
        whole = self._found(KNOBS, self._fitters[-1][0])
        if whole is None:
            return {}
        best = min((whole, self._thinned(whole)), key=self._cost)
        for fitter, certain in self._fitters:
            for count in range(COMPLETE_UP_TO + 1):
                for knobs in itertools.combinations(KNOBS, count):
                    if count + certain > len(self._different(best)) and not self._cost(best)[0]:
                        break
                    found = self._found(knobs, fitter)
                    if found is not None and self._cost(found) < self._cost(best):
                        best = found
        return self._explained(best)

    def _certain(self) -> int:
        """How many of the cluster's settings must change even above a storage that never stalls."""
        try:
            quiet = required(self._clusters, Storage(stall_ns=0, kernel=self._stack.kernel, hz=self._stack.hz))
        except ValueError:
            return 0
        return len(self._different(Found(self._stack, quiet)))

    def _found(self, knobs: Collection[str], fitter: Fitter) -> Found | None:
        """Safe settings in which only these and, if the fitter may, the cluster's differ."""
        fixed = {field.name: getattr(self._stack, field.name) for field in dataclasses.fields(LinuxStack)
                 if field.name not in knobs}
        return Search(self._goals, self._stack, fixed, fitter).run()

    def _thinned(self, found: Found) -> Found:
        """With no change that could be left out."""
        knobs = [name for name in self._different(found) if "." not in name]
        for name in tuple(knobs):
            fewer = self._found([other for other in knobs if other != name], self._fitters[-1][0])
            if fewer is not None:
                found = fewer
                knobs = [name for name in knobs if name in self._different(found)]
        return found

    def _different(self, found: Found) -> list[str]:
        return [name for name, value in self._values.items() if setting(found.stack, found.clusters, name) != value]

    def _cost(self, found: Found) -> tuple[bool, int, int, float]:
        changed = self._different(found)
        stalls = zip(self._stalls_of(found.stack), self._stalls_before, strict=True)
        grows = any(new > old for new, old in stalls)
        away, ratios = 0, 0.0
        for name in changed:
            old = self._number(name, self._values[name])
            new = self._number(name, setting(found.stack, found.clusters, name))
            shipped = self._number(name, self._shipped[name])
            away += abs(new - shipped) > abs(old - shipped)
            ratios += abs(math.log((new + 1) / (old + 1)))
        return grows, len(changed), away, ratios

    def _stalls_of(self, stack: LinuxStack) -> list[float]:
        worst = [budget.worst_ns for budget in promise.stalls(self._goals, stack).values()]
        return [math.inf if value is None else value for value in worst]

    def _number(self, name: str, value: object) -> float:
        """A value on a scale; words stand for what they come to."""
        if isinstance(value, int | float):
            return max(value, 0) if value != -1 else _ENDLESS
        if name == "fast_io_fail_tmo":
            waits_ns = promise.recovery_ns(self._stack)
            return _ENDLESS if waits_ns is None else waits_ns / 1e9
        if name == "max_polling_interval":
            return self._stack.polling_interval_max
        return 0 if value == "fail" else _ENDLESS

    def _explained(self, found: Found) -> dict[str, Change]:
        why = reasons(self._goals, found.stack, found.clusters, {})
        return {
            name: Change(self._values[name], setting(found.stack, found.clusters, name),
                         why.get(name, "Follows from the other changes."))
            for name in self._different(found)
        }


def _shipped(clusters: tuple[Cluster, ...]) -> Mapping[str, object]:
    owners = [LinuxStack(), *(next(item for item in defaults(kind_of(present)) if type(item) is type(present))
                              for present in clusters)]
    return {qualified(owner, field.name): getattr(owner, field.name)
            for owner in owners for field in dataclasses.fields(owner)}
