"""Search for the settings of a plan: exact, over whole seconds, by what each value makes longer or shorter.

The domain: pings of 1 to 300 s (none only where one of them is fixed at 0), a recovery of 1 to 3600 s, polls of 1 to
30 s, logins of what is wished or 15, 10, 5 or 3 s, any queue. The order of wishes is that of `solve`.

Why it misses nothing: a longer ping or recovery never makes a stall shorter, and stalls are all that `max_stall_s` and
a cluster see of them. A longer recovery or queue only lets I/O wait longer, and no outage ends later for it. So along
each of these what is feasible is an interval, whose ends are found by halving or by subtraction. Polling and login,
where longer cuts both ways, have few values, which are tried one by one.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mpio.model.cluster import Cluster, Sanlock, Sbd
from mpio.model.stack import LinuxStack
from mpio.planner import promise
from mpio.planner.fit import Fitter, greatest
from mpio.planner.goals import Goals
from mpio.planner.linux_terms import has_interval_fault, pings
from mpio.planner.timers import lateness_ns
from mpio.units import NS_PER_S, seconds

PING_MAX_S = 300
RECOVERY_MAX_S = 3600
POLLING_MAX_S = 30
LOGIN_TIMEOUTS_S = (15, 10, 5, 3)
_PINGS_S = 10
"""noop_out_interval + noop_out_timeout as shipped, where the wishes have none."""
_ENDLESS_NS = 10**9 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Found:
    """Settings that meet the goals."""

    stack: LinuxStack
    clusters: tuple[Cluster, ...]


class Search:
    """One search for settings that meet goals and come near to what is wished; `run` does it.

    Args:
        goals: what is asked for.
        wished: the stack's values to stay near to.
        fixed: settings of the stack that must stay, by name; those of the goals if not given.
        fitter: finds the cluster's settings; by the goals if not given.
    """

    def __init__(
        self, goals: Goals, wished: LinuxStack, fixed: Mapping[str, object] | None = None,
        fitter: Fitter | None = None,
    ) -> None:
        self._goals = goals
        fixed = goals.fixed if fixed is None else fixed
        self._fixed = frozenset(name for name in fixed if "." not in name)
        host = {"hz": goals.hz, "kernel": goals.kernel, "multipath_tools": goals.multipath_tools}
        self._wished = wished.replace(**host | {name: fixed[name] for name in self._fixed})
        if goals.hung_lun and self._is_free("max_retries"):
            self._wished = self._wished.replace(max_retries=0)  # each retry hangs for as long again
        waits_ns = promise.recovery_ns(self._wished)
        self._recovery_s = RECOVERY_MAX_S if waits_ns is None else max(1, waits_ns // NS_PER_S)
        self._fitter = Fitter(goals) if fitter is None else fitter
        self._stall_max_ns = None if goals.max_stall_s is None else seconds(goals.max_stall_s)
        self._pairs_of_sum: dict[int, list[tuple[int, int]]] = {}
        self._slacks_ns: dict[tuple[LinuxStack, tuple[str, ...]], int] = {}

    def is_possible(self) -> bool:
        """Whether there are any such settings: if so, then with the shortest pings, which make no goal harder."""
        if not self._fitter.carries(0) or (self._stall_max_ns is not None and self._goals.paths == 1):
            return False
        return self._is_possible(self._sums(1), 1)

    def _is_possible(self, sums: Sequence[int], recovery_s: int) -> bool:
        return bool(sums) and any(self._with_recovery(pair, recovery_s) is not None for pair in self._pairs(sums[-1]))

    def run(self) -> Found | None:
        """The best settings in the order of wishes, or None if there are none."""
        if not self.is_possible():
            return None
        login_s = -(-promise.relogin_ns(self._goals, self._wished) // NS_PER_S)
        for recovery_s in dict.fromkeys((login_s, 1)):
            sums = self._sums(recovery_s)
            for sum_s in sums if self._is_possible(sums, recovery_s) else ():
                stack = self._best(sum_s, recovery_s)
                if stack is not None:
                    return self._finished(stack)
        raise AssertionError("there were settings with the shortest pings")

    # --- pings

    @functools.cached_property
    def _given_pair(self) -> tuple[int, int] | None:
        """noop_out_interval and noop_out_timeout if there is no choice: both are fixed, or one of them at 0."""
        interval, timeout = self._given("noop_out_interval"), self._given("noop_out_timeout")
        if interval is not None and timeout is not None:
            return interval, timeout
        return (0, 0) if 0 in (interval, timeout) else None

    def _sums(self, recovery_s: int) -> Sequence[int]:
        """noop_out_interval + noop_out_timeout: the wished sum first, then shorter ones.

        A sum that stalls too long with this recovery does so with any longer one.
        """
        latency_s = int(self._goals.io_latency_max_s)
        if self._given_pair is not None:
            interval, timeout = self._given_pair
            in_force = pings(self._wished.replace(noop_out_interval=interval, noop_out_timeout=timeout))
            return () if in_force is not None and sum(in_force) <= latency_s else (interval + timeout,)
        low = max(latency_s + 1, (self._given("noop_out_interval") or 1) + (self._given("noop_out_timeout") or 1))
        high = max(low, min(sum(pings(self._wished) or (_PINGS_S,)), 2 * PING_MAX_S))
        top = greatest(low, high, lambda sum_s: any(
            self._stands(self._eager(pair, recovery_s)) for pair in self._pairs(sum_s)))
        return () if top is None else range(top, low - 1, -1)

    def _pairs(self, sum_s: int) -> list[tuple[int, int]]:
        """Pairs of this sum: the most equal ones first, the timeout the longer, but shorter than a command's.

        Of those that differ in nothing but that only the first: what else there is, is how late their timers are.
        """
        if self._given_pair is not None:
            return [self._given_pair]
        if sum_s in self._pairs_of_sum:
            return self._pairs_of_sum[sum_s]
        interval, timeout = self._given("noop_out_interval"), self._given("noop_out_timeout")
        command = self._given("timeout")

        def rank(pair: tuple[int, int]) -> tuple[bool, int, int]:
            return command is not None and pair[1] >= command, abs(pair[1] - pair[0]), pair[0]

        found: dict[tuple[int, bool, int], tuple[int, int]] = {}
        for pair in sorted(
            ((first, sum_s - first) for first in range(max(1, sum_s - PING_MAX_S), min(PING_MAX_S, sum_s - 1) + 1)
             if interval in (None, first) and timeout in (None, sum_s - first)), key=rank,
        ):
            late_ns = sum(lateness_ns(value, self._wished.hz, self._wished.kernel) for value in pair)
            hangs = pair[1] if self._goals.hung_lun else 0  # a command's timeout is longer than the ping's
            found.setdefault((late_ns, rank(pair)[0], hangs), pair)
        self._pairs_of_sum[sum_s] = list(found.values())
        return self._pairs_of_sum[sum_s]

    # --- recovery

    def _best(self, sum_s: int, least_s: int) -> LinuxStack | None:
        """With the recovery nearest to the wished one that any pings of this sum allow."""
        nearest: tuple[int, LinuxStack] | None = None
        for pair in self._pairs(sum_s):
            found = self._with_recovery(pair, least_s)
            if found is None:
                continue
            recovery_s, stack = found
            away_s = abs(recovery_s - max(self._recovery_s, least_s))
            if away_s == 0:
                return stack
            if nearest is None or away_s < nearest[0]:
                nearest = away_s, stack
        return None if nearest is None else nearest[1]

    def _with_recovery(self, pair: tuple[int, int], least_s: int) -> tuple[int, LinuxStack] | None:
        """The recovery nearest to the wished one that stalls no longer than allowed and lasts through the outage."""
        def eager(recovery_s: int) -> LinuxStack:
            return self._eager(pair, recovery_s)

        def lasts(recovery_s: int) -> bool:
            waits_ns = promise.recovery_ns(eager(recovery_s))
            return waits_ns is None or waits_ns >= least_s * NS_PER_S

        if not (self._is_free("fast_io_fail_tmo") or self._is_free("replacement_timeout")):
            stack = self._completed(eager(least_s)) if self._stands(eager(least_s)) and lasts(least_s) else None
            return None if stack is None else (self._recovery_s, stack)
        start = greatest(least_s, max(least_s, self._recovery_s), lambda value: self._stands(eager(value)))
        if start is None or not lasts(start):
            return None
        stack = self._completed(eager(start))
        if stack is not None:
            return start, stack
        if not self._is_queue_given():
            return None  # the outage itself is too long for the cluster
        top = greatest(start, RECOVERY_MAX_S, lambda value: self._stands(eager(value)))
        assert top is not None
        needed = [self._recovery_for_outage(eager, interval, start, top) for interval in self._telling_intervals]
        for recovery_s in sorted(value for value in needed if value is not None):
            stack = self._completed(eager(recovery_s))
            if stack is not None:
                return recovery_s, stack
        return None

    def _recovery_for_outage(
        self, eager: Callable[[int], LinuxStack], interval: int, start: int, top: int
    ) -> int | None:
        """The shortest recovery from `start` to `top` that lasts through the outage with the given queue."""
        def is_too_short(recovery_s: int) -> bool:
            polled = self._polled(eager(recovery_s), interval, self._logins()[-1])
            return not self._lasts(self._with_given_queue(polled))

        too_short = greatest(start, top, is_too_short)
        return start if too_short is None else None if too_short == top else too_short + 1

    # --- polling, login, queue

    def _completed(self, stack: LinuxStack) -> LinuxStack | None:
        """With the best polling, login and queue that carry the outage."""
        intervals, logins = self._intervals(), self._logins()
        found = self._whole(self._polled(stack, intervals[0], logins[0]))
        if found is not None:
            return found.stack
        telling = (self._polled(stack, interval, logins[-1]) for interval in self._telling_intervals)
        if all(self._whole(polled) is None for polled in telling):
            return None
        for interval in intervals:
            if self._whole(self._polled(stack, interval, logins[-1])) is None:
                continue
            for login in logins:
                found = self._whole(self._polled(stack, interval, login))
                if found is not None:
                    return found.stack
        return None

    def _intervals(self) -> list[int]:
        """Values of polling_interval, the nearest to the wished one first; others matter in an outage only."""
        wished = self._wished.polling_interval
        if not self._is_free("polling_interval") or self._goals.ride_out_s is None:
            return [wished]
        return sorted(range(1, POLLING_MAX_S + 1), key=lambda value: abs(value - wished))

    @functools.cached_property
    def _telling_intervals(self) -> list[int]:
        """Values of polling_interval of which one carries the outage if any does.

        A path that is back is found two checks later at most, an unnoticed outage without any; a queue lasts
        no_path_retry of them. So patience less outage rises or falls along all values, except with no_path_retry 1.
        """
        intervals = sorted(self._intervals())
        if not self._is_queue_given():
            return intervals[:1]
        if self._wished.no_path_retry == 1:
            return intervals
        top = greatest(0, len(intervals) - 1, lambda index: self._is_carried(intervals[index]))
        return [] if top is None else [intervals[0], intervals[top]]

    def _is_carried(self, interval: int) -> bool:
        """Whether the cluster stands the outage with these polls, let alone whether I/O does."""
        if not self._fitter.has_cluster or self._goals.ride_out_s is None:
            return True
        quick = self._eager((1, 1), 1)
        stack = self._with_given_queue(self._polled(quick, interval, self._logins()[-1]))
        storage = replace(promise.storage(self._goals, stack), fails_after_ns=None)
        return self._fitter.fit(replace(storage, polling_interval_max_ns=interval * NS_PER_S)) is not None

    def _logins(self) -> list[int]:
        """Values of login_timeout, the longest first: a shorter one never makes an outage longer."""
        wished = self._wished.login_timeout
        if not self._is_free("login_timeout") or self._goals.ride_out_s is None:
            return [wished]
        return [wished, *(value for value in LOGIN_TIMEOUTS_S if value < wished)]

    def _polled(self, stack: LinuxStack, interval: int, login: int) -> LinuxStack:
        stack = stack.replace(polling_interval=interval, login_timeout=login)
        if self._is_free("max_polling_interval"):
            if has_interval_fault(stack.multipath_tools):
                stack = stack.replace(max_polling_interval=interval)
            elif stack.max_polling_interval is not None and stack.max_polling_interval < interval:
                stack = stack.replace(max_polling_interval=None)
        return stack

    def _whole(self, stack: LinuxStack) -> Found | None:
        """With a queue and a cluster, if there are any that carry the outage."""
        queued = self._queued(stack)
        if queued is None:
            return None
        storage = promise.storage(self._goals, queued)
        if self._is_free("max_polling_interval"):  # as short as it can be; `_finished` makes it longer
            storage = replace(storage, polling_interval_max_ns=queued.polling_interval * NS_PER_S)
        clusters = self._fitter.fit(storage)
        return None if clusters is None else Found(queued, clusters)

    def _is_queue_given(self) -> bool:
        """Whether there is no choice of no_path_retry: it is fixed, forbidden, or nobody is there to apply it."""
        return not self._is_free("no_path_retry") or self._fitter.forbids_queueing or not self._wished.multipath

    def _with_given_queue(self, stack: LinuxStack) -> LinuxStack:
        """With the fixed no_path_retry, the only one that the cluster allows, or the wished one."""
        forbidden = self._is_free("no_path_retry") and self._fitter.forbids_queueing
        return stack.replace(no_path_retry="fail" if forbidden else self._wished.no_path_retry)

    def _queued(self, stack: LinuxStack) -> LinuxStack | None:
        """With the given no_path_retry if it lasts through the outage, else the smallest that does."""
        queued = self._with_given_queue(stack)
        if self._lasts(queued) and self._is_sound(queued):
            return queued
        if self._is_queue_given():
            return None
        short_ns = -self._slack_ns(stack.replace(no_path_retry="fail"))
        count = max(1, -(-short_ns // (stack.polling_interval * NS_PER_S)))
        fast = stack.fast_io_fail_tmo or 0
        for retries in range(count, count + fast + 2):  # multipathd compares fast_io_fail_tmo with the queue's length
            queued = stack.replace(no_path_retry=retries)
            if self._is_sound(queued):
                return queued
        return None

    def _is_sound(self, stack: LinuxStack) -> bool:
        """Whether the queue leaves fast_io_fail_tmo in force, or does no harm with what is in force then."""
        return promise.is_fast_io_fail_in_force(stack) or (self._stands(stack) and self._lasts(stack))

    def _lasts(self, stack: LinuxStack) -> bool:
        """Whether I/O outlasts the outage. Resets are asked for first, as pings have no part in them."""
        return self._slack_ns(stack, promise.RESETS) >= 0 and self._slack_ns(stack) >= 0

    def _slack_ns(self, stack: LinuxStack, ways: tuple[promise.Way, ...] = promise.WAYS) -> int:
        """What is left of I/O's patience when the outage is over; negative if I/O fails.

        The queue is a summand of that patience, and nothing else depends on it.
        """
        waits_ns, queue_ns = promise.recovery_ns(stack), promise.queue_ns(stack)
        if self._goals.ride_out_s is None or waits_ns is None or queue_ns is None:
            return _ENDLESS_NS
        bare = stack.replace(no_path_retry="fail", fast_io_fail_tmo=None, replacement_timeout=waits_ns // NS_PER_S)
        if ways is promise.RESETS:
            bare = bare.replace(noop_out_interval=1, noop_out_timeout=1, timeout=1)
        key = bare, tuple(way[0] for way in ways)
        if key not in self._slacks_ns:
            slack = [item.slack_ns for item in promise.outages(self._goals, bare, ways)]
            self._slacks_ns[key] = min(value for value in slack if value is not None)
        return self._slacks_ns[key] + queue_ns

    # --- one failing path

    def _eager(self, pair: tuple[int, int], recovery_s: int) -> LinuxStack:
        """With these, and as quick to give up as it can be in all that is not fixed."""
        quick = {"timeout": max(1, pair[1] + 1), "abort_timeout": 1, "logout_timeout": 1, "max_retries": 0}
        quick |= {"noop_out_interval": pair[0], "noop_out_timeout": pair[1]}
        quick |= {"fast_io_fail_tmo": recovery_s, "replacement_timeout": recovery_s}
        return self._wished.replace(**{name: value for name, value in quick.items() if self._is_free(name)})

    def _stands(self, stack: LinuxStack) -> bool:
        """Whether no path failure stalls longer than goals and cluster allow."""
        worst_ns = self._stall_ns(stack)
        if worst_ns is None:
            return self._stall_max_ns is None and not self._fitter.has_cluster
        return (self._stall_max_ns is None or worst_ns <= self._stall_max_ns) and self._fitter.carries(worst_ns)

    def _stall_ns(self, stack: LinuxStack) -> int | None:
        budgets = [*promise.stalls(self._goals, stack).values()]
        if (in_turn := promise.serial(self._goals, stack)) is not None:
            budgets.append(in_turn)
        return promise.longest(*budgets).worst_ns

    # --- the rest

    def _finished(self, stack: LinuxStack) -> Found:
        """With everything that was taken shorter than wished as long again as it may be, and the cluster for that."""
        for name in ("timeout", "abort_timeout", "max_retries"):
            stack = self._lengthened(stack, name)
        is_waited_for = self._fitter.has_cluster and self._goals.paths > 1
        stack = self._lengthened(stack, "logout_timeout", self._stall_ns(stack) if is_waited_for else None)
        found = self._whole(stack)
        assert found is not None, "what was feasible is so with a stall within the limit"
        stack, clusters = found.stack, found.clusters
        for cluster in clusters:
            if isinstance(cluster, Sbd) and self._is_free("max_polling_interval"):
                longest = max(stack.polling_interval, cluster.watchdog - 1)
                if stack.polling_interval_max > longest:
                    stack = stack.replace(max_polling_interval=longest)
            if isinstance(cluster, Sanlock) and not self._is_queue_given():
                stack = self._queued_for_lease(stack, cluster)
        return Found(stack, clusters)

    def _lengthened(self, stack: LinuxStack, name: str, limit_ns: int | None = None) -> LinuxStack:
        """With the wished value, or the longest below it, by which nothing stalls longer than allowed, or than this."""
        if not self._is_free(name):
            return stack

        def with_value(value: int) -> LinuxStack:
            return stack.replace(**{name: value})

        def may_be(value: int) -> bool:
            if not self._stands(with_value(value)):
                return False
            if limit_ns is not None and (self._stall_ns(with_value(value)) or 0) > limit_ns:
                return False
            return pings(stack) is not None or self._whole(with_value(value)) is not None

        low = getattr(stack, name)
        value = greatest(low, max(low, getattr(self._wished, name)), may_be)
        return stack if value is None else with_value(value)

    def _queued_for_lease(self, stack: LinuxStack, cluster: Sanlock) -> LinuxStack:
        """I/O waits for as long as the lease lasts and no longer, as vdsm sets it: 8 io_timeout."""
        if stack.no_path_retry == "queue":
            return stack
        count = 8 * cluster.io_timeout // stack.polling_interval
        known = 0 if stack.no_path_retry == "fail" else stack.no_path_retry
        longer = stack.replace(no_path_retry=max(count, known))
        return longer if promise.is_fast_io_fail_in_force(longer) else stack

    def _is_free(self, name: str) -> bool:
        return name not in self._fixed

    def _given(self, name: str) -> int | None:
        return None if self._is_free(name) else getattr(self._wished, name)
