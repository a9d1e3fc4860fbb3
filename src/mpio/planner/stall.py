"""How long I/O can stall in mpio's own engine when a path fails, from its settings alone.

A stall is that of a request that is under way when the fault comes, counted from the fault to its end by another path
(or by the same one after a total outage). Every bound is a sum of terms; each has a best and a worst value and says
which setting or which fact it comes from. They hold for a process that is not itself stopped or starved, and for one
fault at a time: a second one begins a new sum. Facts of Linux' own stack are in other terms and not planned here.
"""

from typing import Literal

from mpio.engine.fencing import fence_methods
from mpio.model.settings import Settings
from mpio.planner.budget import Budget, Term, total
from mpio.units import NS_PER_S, seconds

Failure = Literal["blackhole", "reset", "reject", "hang", "outage"]
"""`blackhole`: nothing passes and nobody is told. `reset`: the connection ends at once (RST, FIN) and stays away.
`reject`: whoever sends is answered by a reset, so that an end that waits for an answer learns nothing until it pings.
`hang`: the target answers pings but not the command. `outage`: every path is lost, and all come back after a while."""

REISSUE_NS = NS_PER_S // 10
"""To notice a timer or an answer, to decide, to send the request again and to get its answer: a few turns of the event
loop and two or three round trips, which take well under a millisecond on an idle machine. 100 ms leave room for a
busy one and for a disk's own latency; more would hide a fault."""
LOGIN_NS = NS_PER_S // 20
"""TCP connect, login and the questions about identity: some fifteen round trips, 50 ms at 3 ms each."""
RECONNECT_JITTER = 0.25
"""A pause before a reconnect is lengthened by up to this share (io.path)."""


def stall_bound(
    settings: Settings, failure: Failure = "blackhole", *, writes: bool = True, outage_ns: int = 0,
    fence_ns: int | None = None,
) -> Budget:
    """The longest stall of a request that a failure of its path can cause.

    Args:
        settings: of the map.
        failure: what happens to the path, or with `outage` to all of them.
        writes: whether the I/O has writes; only they wait for a fence.
        outage_ns: for `outage`, how long it lasts.
        fence_ns: what the fence takes, if known better than by `fence_timeout` for each of its methods.
    """
    if failure == "outage":
        return _outage(settings, outage_ns, _fence(settings, fence_ns) if writes else [])
    detection = _detection(settings, failure)
    terms = [*detection, _recovery(settings, failure, sum(term.value_ns for term in detection))]
    if writes:
        terms += _fence(settings, fence_ns)
    return _budget(failure, settings, [*terms, _reissue()])


def reinstate_bound(settings: Settings, failure: Failure = "blackhole") -> Budget:
    """How long after the end of a fault, or its detection if that is later, its path is in use again at the latest.

    A path whose session has outlived a `hang` is back with its next check.
    """
    by_login = _budget("outage", settings, [*_reconnect(settings), _login()])
    if failure != "hang":
        return by_login
    pause_ns = seconds(settings.polling_interval)
    by_check = _budget("outage", settings, [
        Term("until the next check", 0, pause_ns, "polling_interval"), _reissue()])
    return max(by_login, by_check, key=lambda budget: budget.worst_ns or 0)


def _detection(settings: Settings, failure: Failure) -> list[Term]:
    """Until the connection is known to be lost."""
    if failure == "reset":
        return []
    by_timeout = _by_command_timeout(settings)
    if failure == "hang":
        return by_timeout
    if failure == "reject":
        return [_next_words(settings)]
    by_ping = [
        Term("silence before the ping", 0, seconds(settings.noop_out_interval), "noop_out_interval"),
        Term("silence after the ping", seconds(settings.noop_out_timeout), seconds(settings.noop_out_timeout),
             "noop_out_timeout"),
    ]
    if settings.noop_out_timeout == 0:
        return by_timeout
    if settings.timeout == 0:
        return by_ping
    return min(by_ping, by_timeout, key=lambda terms: sum(term.value_ns for term in terms))


def _next_words(settings: Settings) -> Term:
    """Until something is sent in any case: the next ping, or the ABORT TASK of a command that has timed out."""
    sources = [name for name in ("noop_out_interval", "timeout") if getattr(settings, name)]
    source = min(sources, key=lambda name: float(getattr(settings, name)), default="timeout")
    return Term("until it sends again, and is reset", 0, seconds(getattr(settings, source)), source)


def _by_command_timeout(settings: Settings) -> list[Term]:
    """A command's own timeout, then the task management that tries to end it before the session is given up."""
    timeout_ns = seconds(settings.timeout)
    return [
        Term("command timeout", timeout_ns, timeout_ns, "timeout"),
        Term("ABORT TASK without an answer", 0, seconds(settings.abort_timeout), "abort_timeout"),
        Term("LOGICAL UNIT RESET without an answer", 0, seconds(settings.lu_reset_timeout), "lu_reset_timeout"),
    ]


def _recovery(settings: Settings, failure: Failure, detected_ns: int) -> Term:
    """How long a lost session is waited for.

    Not at all if its checker has failed the path before; a hung command that can be aborted does not lose its session.
    """
    wait_ns = seconds(settings.recovery_timeout)
    source = "fast_io_fail_tmo" if settings.fast_io_fail_tmo is not None else "replacement_timeout"
    may_be_failed = failure == "hang" or seconds(settings.checker_timeout) <= detected_ns
    return Term("wait for the session to come back", 0 if may_be_failed else wait_ns, wait_ns, source)


def _fence(settings: Settings, fence_ns: int | None) -> list[Term]:
    """Until no copy of a write can land any more; the best fence is one short login."""
    methods = fence_methods(settings)
    if not methods:
        return []
    if fence_ns is None:
        fence_ns = len(methods) * seconds(settings.fence_timeout)
    return [Term(f"fence of a write ({', '.join(methods)})", 0, fence_ns, "fence_timeout")]


def _reissue() -> Term:
    return Term("re-issue by another path", 0, REISSUE_NS, "allowance: planner.stall.REISSUE_NS")


def _login() -> Term:
    return Term("connect, login, proof of identity", 0, LOGIN_NS, "allowance: planner.stall.LOGIN_NS")


def _reconnect(settings: Settings) -> list[Term]:
    """From the moment when the network is whole again: an attempt that was under way may have lost what it needs."""
    return [
        Term("login attempt under way", 0, seconds(settings.login_timeout), "login_timeout"),
        Term("pause before the next attempt", 0, round(
            seconds(max(settings.reconnect_delay, settings.reconnect_delay_max)) * (1 + RECONNECT_JITTER)),
            f"reconnect_delay_max, {RECONNECT_JITTER:.0%} jitter"),
    ]


def _outage(settings: Settings, outage_ns: int, fence: list[Term]) -> Budget:
    """All paths are lost for a while. What counts is the later of the end of the outage and its discovery.

    The path that is back first fences those that are not yet.
    """
    detection = _detection(settings, "blackhole")
    detected_ns = sum(term.value_ns for term in detection)
    terms = [Term("outage", outage_ns, outage_ns, "the outage itself")]
    if detected_ns > outage_ns:
        terms.append(Term("until it is noticed", 0, detected_ns - outage_ns, " + ".join(t.source for t in detection)))
    terms += [*_reconnect(settings), _login(), *fence, _reissue()]
    budget = _budget("outage", settings, terms)
    patience_ns = _patience_ns(settings)
    wait_ns = seconds(settings.recovery_timeout)
    if patience_ns is None or wait_ns < 0 or budget.worst_ns is None:
        return budget
    by_session_ns = sum(term.best_ns for term in detection) + wait_ns
    soonest_ns = min(by_session_ns, seconds(settings.checker_timeout)) + patience_ns
    fails_after_ns = soonest_ns if soonest_ns < budget.worst_ns else None
    return Budget("outage", budget.terms, budget.best_ns, budget.worst_ns, fails_after_ns)


def _patience_ns(settings: Settings) -> int | None:
    """How long `no_path_retry` lets requests wait after the last path has failed; None for ever."""
    if settings.no_path_retry == "queue":
        return None
    return 0 if settings.no_path_retry == "fail" else int(settings.no_path_retry) * seconds(settings.polling_interval)


def _budget(failure: Failure, settings: Settings, terms: list[Term]) -> Budget:
    endless = settings.recovery_timeout < 0 or _unnoticed(settings, failure)
    return total(failure, terms, endless=failure != "outage" and endless)


def _unnoticed(settings: Settings, failure: Failure) -> bool:
    """Whether no timer ever finds it."""
    if failure == "reset" or settings.timeout:
        return False
    return failure == "hang" or settings.noop_out_timeout == 0
