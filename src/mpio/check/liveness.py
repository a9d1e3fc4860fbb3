"""Liveness: once enough is healed, everything that waits ends, and what is new works, within the planner's bound.

The run has two phases: in the first anything may fail; then a core of paths is healed, the rest stays as it is, and
the clock of this check starts.
"""

from collections.abc import Iterable, Mapping

from mpio.check.breach import Breach, Breaches
from mpio.check.history import IoRecord
from mpio.model.settings import Settings
from mpio.planner.stall import reinstate_bound, stall_bound
from mpio.units import format_duration


def liveness_bound_ns(settings: Settings, *, writes: bool, hang: bool = False) -> int | None:
    """How long after healing the last I/O of the time before may take; None where it may be for ever.

    A fault may have come just before the healing and be noticed after it; then its path's own return, or the failover
    to one that is healed, is on the way: what a failure may stall, and after it what a path needs to return.

    Args:
        settings: of the map.
        writes: whether the I/O has writes.
        hang: whether commands may have been left without an answer on a connection that lives.
    """
    stall = stall_bound(settings, "blackhole", writes=writes).worst_ns
    if stall is not None and hang and settings.timeout > 0:
        hung = stall_bound(settings, "hang", writes=writes).worst_ns
        stall = None if hung is None else max(stall, hung)
    back = reinstate_bound(settings).worst_ns
    return None if stall is None or back is None else stall + back


def check_liveness(
    records: Iterable[IoRecord], healed_ns: int, bound_ns: int, end_ns: int, *, up_ns: Mapping[str, int | None],
) -> list[Breach]:
    """What did not end, or did not work, in time after the healing.

    Rules: `stuck` an I/O had not ended; `late` it ended after the bound; `failing` one that was invoked when the bound
    had passed did not work; `not-back` a path of the core was not up; `idle` nothing was invoked after the bound, so
    that nothing is shown; `short` the run ended before the bound.

    Args:
        records: of the whole run.
        healed_ns: when the core was whole.
        bound_ns: see `liveness_bound_ns`.
        end_ns: when the run ended: at the earliest `bound_ns` after the healing.
        up_ns: for each path of the core when it was up to stay, None for one that was not.
    """
    breaches = Breaches()
    due_ns = healed_ns + bound_ns
    if end_ns < due_ns:
        breaches.add("short", end_ns, f"the run ended {format_duration(due_ns - end_ns)} too early to tell")
        return breaches.kept
    shown = 0
    for record in records:
        begin_ns = max(record.start_ns, healed_ns)
        what = f"{record.op} {record.id}"
        if record.end_ns is None:
            if end_ns - begin_ns > bound_ns:
                waited = format_duration(end_ns - begin_ns)
                breaches.add("stuck", end_ns, f"{what} had not ended {waited} after the healing or its begin")
        elif record.end_ns - begin_ns > bound_ns:
            took, bound = format_duration(record.end_ns - begin_ns), format_duration(bound_ns)
            breaches.add("late", record.end_ns, f"{what} took {took}, the bound is {bound}")
        elif record.start_ns >= due_ns:
            shown += 1
            if record.outcome != "ok":
                breaches.add("failing", record.end_ns, f"{what}: {record.outcome}: {record.error or 'no reason'}")
    for name, since_ns in up_ns.items():
        if since_ns is None or since_ns > due_ns:
            when = "not up at the end" if since_ns is None else f"up {format_duration(since_ns - healed_ns)} after it"
            breaches.add("not-back", end_ns, f"{name}: {when}, the bound is {format_duration(bound_ns)}")
    if not shown and not breaches.count:
        breaches.add("idle", end_ns, "no I/O was invoked after the bound")
    return breaches.kept
