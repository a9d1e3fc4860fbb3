"""Why goals can't hold together: a smallest set of them that can't, and what each would have to be.

The set is found by leaving out one goal after another and keeping out those without which the rest is still impossible
(a deletion filter). What remains is minimal, as goals only ever forbid: fewer of them are never harder.
"""

import dataclasses
import math
from collections.abc import Callable

from mpio.model.stack import LinuxStack
from mpio.planner.fit import greatest
from mpio.planner.goals import Conflict, Goals, setting
from mpio.planner.search import Found, Search

_SECONDS_MAX = 86_400
_LONGER_HELPS = frozenset({"max_stall_s", "takeover_s"})
_SHORTER_HELPS = frozenset({"ride_out_s", "io_latency_max_s"})


def conflict(goals: Goals) -> Conflict:
    """Of goals that are known to be impossible together."""
    core = minimal(goals, lambda reduced: not _is_possible(reduced))
    words = _joined([goals.words(name) for name in core])
    sentence = f"impossible by itself: {words}" if len(core) == 1 else f"impossible together: {words}"
    return Conflict(core, sentence, tuple(_ways_out(goals, core)))


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


def _found(goals: Goals) -> Found | None:
    return Search(goals, LinuxStack()).run()


def _is_possible(goals: Goals) -> bool:
    return Search(goals, LinuxStack()).is_possible()


def _ways_out(goals: Goals, core: tuple[str, ...]) -> list[str]:
    """For each goal of the conflict the nearest value with which all goals hold, or those of the conflict at least."""
    ways = []
    for name in core:
        rest = goals
        way = _way_out(rest, name)
        if way is None:
            rest = _only(goals, list(core))
            way = _way_out(rest, name)
            if way is not None:
                way += "; the other goals are in each other's way then"
        if way is not None:
            ways.append(way)
    if "max_stall_s" in core and (way := _without_nop_in(goals)) is not None:
        ways.append(way)
    return ways


def _way_out(goals: Goals, name: str) -> str | None:
    if name in _LONGER_HELPS | _SHORTER_HELPS:
        return _nearest(goals, name)
    found = _found(goals.without(name))
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


def _nearest(goals: Goals, name: str) -> str | None:
    """The value in whole seconds that is nearest to the one asked for, among those with which all goals hold."""
    asked = getattr(goals, name)
    longer = name in _LONGER_HELPS
    low, high = (math.ceil(asked), _SECONDS_MAX) if longer else (0, math.floor(asked))
    sign = -1 if longer else 1

    def holds(number: int) -> bool:
        value = sign * number
        changed = goals.without(name)
        if value:
            changed = dataclasses.replace(changed, **{name: float(value)})  # type: ignore[arg-type]
        return _is_possible(changed)

    found = greatest(-high, -low, holds) if longer else greatest(low, high, holds)
    if found is None:
        return None
    if found == 0:
        return f"no {name.removesuffix('_s')} at all"
    return f"{name.removesuffix('_s')} {sign * found} s in place of {asked:g} s"


def _without_nop_in(goals: Goals) -> str | None:
    """The target's own pings lengthen a one-way loss; what could be had without them."""
    if goals.target.nopin_interval == 0:
        return None
    quiet = dataclasses.replace(goals, target=dataclasses.replace(goals.target, nopin_interval=0))
    return None if not _is_possible(quiet) else "a target that does not ping by itself (LIO: nopin_timeout 0)"


def _joined(words: list[str]) -> str:
    return "; ".join(words)


def _text(value: object) -> str:
    return "off" if value is None else str(value)
