"""Which bound of the planner holds for which fault of a run, where faults follow each other or come together.

The planner bounds one failure at a time. Here a fault, or a time without any path, is one item with the planner's
bound for it. A path whose writes nothing can fence makes them wait for itself: to them that is an outage. An I/O that
one item still delays when the next one begins may be sent into that one: then it ends when the next one's bound has
passed since *its* beginning, or, if it came to it late, a re-issue after the first bound. The bound of a fault is the
longest such chain that touches its window.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mpio.check.stall import FaultStall, FaultTrace, IoTimes, Outage, outages
from mpio.model.settings import Settings
from mpio.planner.budget import Budget, Term
from mpio.planner.stall import REISSUE_NS, Failure, reinstate_bound, stall_bound

_ENDS_AT_ONCE = ("reset", "refuse", "half_open", "target KILL")  # a kernel says that it is over


@dataclass(frozen=True, slots=True)
class Limit:
    """The bound of one fault: at the least, at the most, the terms of the sum, and until when I/O may be delayed."""

    best_ns: int
    worst_ns: int
    terms: tuple[Term, ...]
    delays_until_ns: int


@dataclass(frozen=True, slots=True)
class _Item:
    start_ns: int
    budget: Budget
    over_ns: int | None = None  # when it was over in fact, if that is known


class Bounds:
    """The bounds for the faults of one run.

    Args:
        settings: of the map.
        traces: all faults of the run.
        paths: all paths of the map.
        writes: whether the workload writes.
        unfenced: paths that no method could fence, though one is wanted.
    """

    def __init__(
        self, settings: Settings, traces: Sequence[FaultTrace], paths: Sequence[int], *, writes: bool,
        unfenced: Collection[int] = (),
    ) -> None:
        self._settings = settings
        self._writes = writes
        self._unfenced = unfenced if writes and settings.fence != "none" else ()
        hangs = any(_failure(trace) == "hang" for trace in traces)
        self.reinstate = reinstate_bound(settings, "hang" if hangs else "blackhole")
        self.single = stall_bound(settings, writes=writes)
        self._after_outage_ns = stall_bound(settings, "reset", writes=writes).worst_ns or 0  # fence and re-issue
        self._items = sorted(self._make_items(traces, outages(traces, paths)), key=lambda item: item.start_ns)

    def _make_items(self, traces: Sequence[FaultTrace], without_path: Sequence[Outage]) -> list[_Item]:
        items = [
            _Item(outage.start_ns, stall_bound(self._settings, "outage", writes=self._writes,
                                               outage_ns=outage.first_heal_ns - outage.start_ns), outage.end_ns)
            for outage in without_path]
        for trace in traces:
            if trace.expect == "ride-through" or any(
                    outage.start_ns <= trace.start_ns <= outage.end_ns for outage in without_path):
                continue  # bounded by nothing but the command timeout; or part of the outage
            items.append(_Item(trace.start_ns, self._budget(trace)))
        return items

    def _budget(self, trace: FaultTrace) -> Budget:
        if trace.path not in self._unfenced:
            return stall_bound(self._settings, _failure(trace), writes=self._writes)
        lasts_ns = (trace.end_ns if trace.healed_ns is None else trace.healed_ns) - trace.start_ns
        return stall_bound(self._settings, "outage", writes=False, outage_ns=lasts_ns)  # its own login is the fence

    def stall(self, trace: FaultTrace) -> Limit | None:
        """The bound of the stall in the window of a fault; None where I/O may wait for ever."""
        worst: Limit | None = None
        for index, item in enumerate(self._items):
            if item.start_ns > trace.end_ns:
                break
            limit = self._chain(index)
            if limit is None:
                return None
            if limit.delays_until_ns >= trace.start_ns and (worst is None or limit.worst_ns > worst.worst_ns):
                worst = limit
        return worst

    def _chain(self, index: int) -> Limit | None:
        """The item with those after it that an I/O it delays may run into."""
        first = self._items[index]
        if first.budget.worst_ns is None:
            return None
        until_ns = first.start_ns + first.budget.worst_ns
        terms = first.budget.terms
        delayed_until_ns = until_ns if first.over_ns is None else min(until_ns, first.over_ns + self._after_outage_ns)
        for item in self._items[index + 1:]:
            if item.start_ns > delayed_until_ns:
                break
            if item.budget.worst_ns is None:
                return None
            if item.start_ns + item.budget.worst_ns > until_ns + REISSUE_NS:
                until_ns = item.start_ns + item.budget.worst_ns
                terms = item.budget.terms
                if item.start_ns > first.start_ns:
                    pause_ns = item.start_ns - first.start_ns
                    terms = (Term("until the next fault", 0, pause_ns, "the drill's steps"), *terms)
            else:
                until_ns += REISSUE_NS
                terms = (*terms, Term("re-issue once more", 0, REISSUE_NS, "another fault: planner.stall.REISSUE_NS"))
            delayed_until_ns = until_ns
        return Limit(first.budget.best_ns, until_ns - first.start_ns, terms, delayed_until_ns)


def _failure(trace: FaultTrace) -> Failure:
    """What the fault is to the initiator's end of the path."""
    kind, *params = trace.fault.split()
    if kind == "hang":
        return "hang"
    unheard = {"half_open": "side=target", "reject": "direction=to_initiator"}.get(kind)
    if unheard in params:
        return "blackhole"
    if kind == "reject":
        return "reject"
    return "reset" if trace.fault.startswith(_ENDS_AT_ONCE) else "blackhole"


def measure(traces: Sequence[FaultTrace], times: IoTimes, bounds: Bounds) -> list[FaultStall]:
    """The worst stall of each fault, beside its bound."""
    stalls = []
    for trace in traces:
        limit = None if trace.expect == "ride-through" else bounds.stall(trace)
        stalls.append(FaultStall(
            trace,
            worst_stall_ns=times.worst_stall_ns(trace.start_ns, trace.end_ns),
            longest_gap_ns=times.longest_gap_ns(trace.start_ns, trace.end_ns),
            ios=times.overlapping(trace.start_ns, trace.end_ns),
            best_ns=None if limit is None else limit.best_ns,
            bound_ns=None if limit is None else limit.worst_ns,
            terms=() if limit is None else tuple(
                {"name": term.name, "value_ns": term.value_ns, "source": term.source} for term in limit.terms),
        ))
    return stalls
