"""Why goals can't hold together: a smallest set of them that can't, and what each would have to be.

The set is found by leaving out one goal after another and keeping out those without which the rest is still impossible
(a deletion filter). What remains is minimal, as goals only ever forbid: fewer of them are never harder.
"""

import dataclasses
import math
from collections.abc import Callable

from mpio.model.cluster import Cluster
from mpio.model.stack import LinuxStack
from mpio.planner import promise
from mpio.planner.cluster import Storage, takeover_ns
from mpio.planner.fit import Fitter, greatest
from mpio.planner.goals import Conflict, Goals, setting
from mpio.planner.search import Found, Search
from mpio.units import NS_PER_S

_LONGER_HELPS = frozenset({"max_stall_s", "takeover_s"})
_SHORTER_HELPS = frozenset({"ride_out_s", "io_latency_max_s"})


def conflict(goals: Goals, present: tuple[Cluster, ...] | None = None) -> Conflict:
    """Of goals that are known to be impossible together.

    Args:
        goals: what is asked for.
        present: the clusters that are there, if they are others than those of the goals' kind.
    """
    asked = _Asked(present)
    core = minimal(goals, lambda reduced: not asked.is_possible(reduced))
    words = _joined([goals.words(name) for name in core])
    sentence = f"impossible by itself: {words}" if len(core) == 1 else f"impossible together: {words}"
    return Conflict(core, sentence, tuple(_ways_out(asked, goals, core)))


def minimal(goals: Goals, is_impossible: Callable[[Goals], bool]) -> tuple[str, ...]:
    """The names of a set of goals that is impossible, while all that one leaves out of it is possible."""
    core = list(goals.stated())
    for name in goals.stated():
        others = [other for other in core if other != name]
        if is_impossible(_only(goals, others)):
            core = others
    return tuple(core)


def _only(goals: Goals, names: list[str]) -> Goals:
    return goals.without(*(name for name in goals.stated() if name not in names))


class _Asked:
    """Asks whether goals can be met, and by what."""

    def __init__(self, present: tuple[Cluster, ...] | None) -> None:
        self._present = present

    def is_possible(self, goals: Goals) -> bool:
        return self._search(goals).is_possible()

    def found(self, goals: Goals) -> Found | None:
        return self._search(goals).run()

    def _search(self, goals: Goals) -> Search:
        if self._present is None or goals.cluster == "none":
            return Search(goals, LinuxStack())
        return Search(goals, LinuxStack(), fitter=Fitter(goals, self._present))


def _ways_out(asked: _Asked, goals: Goals, core: tuple[str, ...]) -> list[str]:
    """For each goal of the conflict the nearest value with which all goals hold, or those of the conflict at least."""
    ways = []
    for name in core:
        rest = goals
        way = _way_out(asked, rest, name)
        if way is None:
            rest = _only(goals, list(core))
            way = _way_out(asked, rest, name)
            if way is not None:
                way += "; the other goals are in each other's way then"
        if way is not None:
            ways.append(way)
    if "max_stall_s" in core and (way := _without_nop_in(asked, goals)) is not None:
        ways.append(way)
    return ways


def _way_out(asked: _Asked, goals: Goals, name: str) -> str | None:
    if name in _LONGER_HELPS | _SHORTER_HELPS:
        return _nearest(asked, goals, name)
    found = asked.found(goals.without(name))
    if found is None:
        return None
    if name in goals.fixed:
        if "." in name and "cluster" not in goals.stated():
            return None
        return f"{name} {_text(setting(found.stack, found.clusters, name))} in place of {_text(goals.fixed[name])}"
    return {
        "cluster": f"no {goals.cluster} above this storage",
        "serial_failures": "count on one path failing at a time",
        "hung_lun": "leave out LUNs that hang while their target answers pings",
        "paths": "a second path",
    }[name]


def _nearest(asked: _Asked, goals: Goals, name: str) -> str | None:
    """The value in whole seconds that is nearest to the one asked for, among those with which all goals hold."""
    without = goals.without(name)
    found = asked.found(without)
    if found is None:
        return None
    value_s = getattr(goals, name)
    longer = name in _LONGER_HELPS
    start = math.ceil(value_s) if longer else math.floor(value_s)
    end = _comes_to(without, found, name) if longer else 0  # known to be possible

    def fails(distance: int) -> bool:
        value = start + distance if longer else start - distance
        changed = dataclasses.replace(goals, **{name: float(value)}) if value else without  # type: ignore[arg-type]
        return not asked.is_possible(changed)

    failing = greatest(0, abs(end - start) - 1, fails)
    distance = 0 if failing is None else failing + 1
    value = start + distance if longer else start - distance
    name = name.removesuffix("_s")
    return f"{name} {value} s in place of {value_s:g} s" if value else f"no {name} at all"


def _comes_to(goals: Goals, found: Found, name: str) -> int:
    """What settings make of a goal that they were not asked for, in whole seconds."""
    storage = promise.storage(goals, found.stack)
    value_ns = takeover_ns(found.clusters, storage) if name == "takeover_s" else _longest_ns(storage)
    assert value_ns is not None, "a goal that nothing is measured by is in no conflict"
    return -(-value_ns // NS_PER_S)


def _longest_ns(storage: Storage) -> int | None:
    """Of one path failure or several in turn; an outage of all paths is no matter of `max_stall_s`."""
    if storage.stall_ns is None or storage.serial_ns is None:
        return None
    return max(storage.stall_ns, storage.serial_ns)


def _without_nop_in(asked: _Asked, goals: Goals) -> str | None:
    """The target's own pings lengthen a one-way loss; what could be had without them."""
    if goals.target.nopin_interval == 0:
        return None
    quiet = dataclasses.replace(goals, target=dataclasses.replace(goals.target, nopin_interval=0))
    return None if not asked.is_possible(quiet) else "a target that does not ping by itself (LIO: nopin_timeout 0)"


def _joined(words: list[str]) -> str:
    return "; ".join(words)


def _text(value: object) -> str:
    return "off" if value is None else str(value)
