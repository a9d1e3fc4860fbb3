"""What a Linux stack promises under given goals: its stalls as numbers that goals and clusters can be held against.

Which scenarios count for which goal is decided here and nowhere else; their sums are in `planner.linux`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpio.config.recovery import fast_io_fail_skipped
from mpio.model.stack import LinuxStack
from mpio.planner.budget import Budget
from mpio.planner.cluster import Storage
from mpio.planner.goals import Goals
from mpio.planner.linux import Comeback, Hang, Loss, Scenario, predict
from mpio.planner.linux_terms import first_relogin, pings, recovered, worst_ns
from mpio.units import NS_PER_S, seconds

PATH_FAILURES = (
    Scenario.SILENT_LOSS, Scenario.ONE_WAY_LOSS, Scenario.LINK_DOWN, Scenario.IDLE_LOSS, Scenario.RESET_BACK,
    Scenario.RESET_CLOSED, Scenario.LOGOUT_REQUEST,
)
"""What `max_stall_s` and the clusters speak of. A hung LUN is no path failure, and counts if it is asked for."""

_LONGEST = (Scenario.ONE_WAY_LOSS, Scenario.LOGOUT_REQUEST)
"""Those of `PATH_FAILURES` that none of the others outlasts: the rest are parts of a one-way loss."""
_ENDS_BY_ITSELF = (Scenario.RESET_BACK, Scenario.LOGOUT_REQUEST)
"""What passes without another path."""

Way = tuple[str, Loss, Comeback | None]
RESETS: tuple[Way, ...] = (
    ("reset", Loss.RESET, Comeback.SILENT), ("reset_unreachable", Loss.RESET, Comeback.UNREACHABLE),
)
"""Ways to lose all paths that have nothing to do with pings: their names, the loss, and what connects meet meanwhile.
A reset after which they are refused is over sooner than these."""
WAYS: tuple[Way, ...] = (("silent", Loss.SILENT, None), ("one_way", Loss.ONE_WAY, None), *RESETS)
"""All ways to lose all paths."""


@dataclass(frozen=True, slots=True)
class Outage:
    """One way in which all paths may be gone for a while.

    Attributes:
        name: how they are lost. budget: until I/O goes on.
        patience_ns: how long I/O waits at the least before it fails; None for ever.
    """

    name: str
    budget: Budget
    patience_ns: int | None

    @property
    def slack_ns(self) -> int | None:
        """What patience is left when I/O goes on; negative if it fails before; None if it never fails."""
        assert self.budget.worst_ns is not None
        return None if self.patience_ns is None else self.patience_ns - self.budget.worst_ns


def stalls(goals: Goals, stack: LinuxStack) -> Mapping[Scenario, Budget]:
    """Each failure of one path that counts, by scenario; those that are parts of another one are left out."""
    found = {name: predict(stack, goals.target, name) for name in (_LONGEST if goals.paths > 1 else _ENDS_BY_ITSELF)}
    if goals.hung_lun and goals.paths > 1:
        found[Scenario.LUN_HANG] = hung_lun(goals, stack)
    return found


def hung_lun(goals: Goals, stack: LinuxStack) -> Budget:
    """A LUN that gives no answer while its target does, whichever way the error handling ends."""
    hangs = (Hang.ERROR, Hang.TMF_DEAD)
    return longest(*(predict(stack, goals.target, Scenario.LUN_HANG, hang=hang) for hang in hangs))


def longest(*budgets: Budget) -> Budget:
    """The one with the greatest worst case."""
    return max(budgets, key=lambda item: (item.worst_ns is None, item.worst_ns or 0))


def serial(goals: Goals, stack: LinuxStack) -> Budget | None:
    """All paths but the last lost one after another; None if the goals don't ask for it."""
    if not goals.serial_failures or goals.paths < 2:
        return None
    return predict(stack, goals.target, Scenario.SERIAL, paths=goals.paths, loss=Loss.ONE_WAY)


def outages(goals: Goals, stack: LinuxStack, ways: Sequence[Way] = WAYS) -> tuple[Outage, ...]:
    """These ways to lose all paths for as long as the goals want it to be ridden out; none if they don't."""
    if goals.ride_out_s is None:
        return ()
    found = []
    for name, loss, comeback in ways:
        for_good = predict(stack, goals.target, Scenario.ALL_DOWN, loss=loss)
        back = predict(stack, goals.target, Scenario.ALL_DOWN, loss=loss, comeback=comeback, outage_s=goals.ride_out_s)
        found.append(Outage(name, back, for_good.fails_after_ns))
    return tuple(found)


def relogin_ns(goals: Goals, stack: LinuxStack) -> int:
    """How long a reset session takes at most to log in again, if the portal answers."""
    return worst_ns(first_relogin(stack, goals.target))


def recovery_ns(stack: LinuxStack) -> int | None:
    """How long I/O surely waits for a lost session before its path is failed; None for ever."""
    terms = recovered(stack)
    return None if terms is None else sum(term.best_ns for term in terms)


def is_fast_io_fail_in_force(stack: LinuxStack) -> bool:
    """Whether fast_io_fail_tmo, if there is one, is what I/O waits; it may also be what replacement_timeout says."""
    fast = stack.fast_io_fail_tmo
    return (not stack.multipath or not fast or not fast_io_fail_skipped(stack)
            or recovery_ns(stack) == fast * NS_PER_S)


def silence_ns(stack: LinuxStack) -> int | None:
    """The longest silence that does not end a connection: both ping times in force; None without pings."""
    in_force = pings(stack)
    return None if in_force is None else sum(in_force) * NS_PER_S


def queue_ns(stack: LinuxStack) -> int | None:
    """How long I/O waits for a path when none is left; None for ever."""
    if not stack.multipath or stack.no_path_retry == "fail":
        return 0
    return None if stack.no_path_retry == "queue" else stack.no_path_retry * stack.polling_interval * NS_PER_S


def storage(goals: Goals, stack: LinuxStack) -> Storage:
    """The same as a cluster's heartbeat sees it."""
    worst = [item.worst_ns for item in stalls(goals, stack).values()]
    in_turn = serial(goals, stack)
    gone = outages(goals, stack)
    return Storage(
        stall_ns=_longest_ns(worst), serial_ns=0 if in_turn is None else in_turn.worst_ns,
        outage_ns=_longest_ns([item.budget.worst_ns for item in gone]) if gone else 0,
        fails_after_ns=min((item.patience_ns for item in gone if item.patience_ns is not None
                            and (item.slack_ns or 0) < 0), default=None),
        queue_ns=queue_ns(stack), latency_ns=seconds(goals.io_latency_max_s),
        polling_interval_max_ns=stack.polling_interval_max * NS_PER_S, holds_host=goals.holds_host,
        kernel=stack.kernel, hz=stack.hz,
    )


def _longest_ns(worst: list[int | None]) -> int | None:
    finite = [value for value in worst if value is not None]
    return max(finite) if len(finite) == len(worst) else None


def budgets(goals: Goals, stack: LinuxStack) -> dict[str, Budget]:
    """Every scenario that this stack can meet, by name; `ride_out` and `serial` if the goals ask for them."""
    def of(scenario: Scenario) -> Budget:
        return predict(stack, goals.target, scenario)

    known = [scenario for scenario in Scenario if scenario not in _BY_CIRCUMSTANCE]
    if pings(stack) is not None:
        known.remove(Scenario.PINGS_OFF)
    found = {scenario.value: of(scenario) for scenario in known}
    found[Scenario.LUN_HANG] = hung_lun(goals, stack)
    found[Scenario.ALL_DOWN] = predict(stack, goals.target, Scenario.ALL_DOWN, loss=Loss.ONE_WAY)
    if gone := outages(goals, stack):
        found["ride_out"] = longest(*(item.budget for item in gone))
    if (in_turn := serial(goals, stack)) is not None:
        found[Scenario.SERIAL] = in_turn
    return found


_BY_CIRCUMSTANCE = frozenset({Scenario.SHORT_OUTAGE, Scenario.SERIAL, Scenario.ALL_DOWN, Scenario.LUN_HANG})
