"""How long I/O can stall on Linux' own stack (open-iscsi, dm-multipath, multipathd), from its settings alone.

`predict` answers for one scenario with a sum of named terms, best and worst. Unless a scenario says otherwise a stall
is that of a request on the affected path, counted from the fault to its answer by another path. What the pieces are
and where they come from is in `linux_terms`; docs/stall.md derives the sums.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from mpio.model.stack import LinuxStack, TargetTimers
from mpio.planner.budget import Budget, Term, total
from mpio.planner.linux_terms import (
    ARP_DELAY_S,
    LOOP_S,
    REFUSED_DELAY_S,
    Terms,
    best_ns,
    checked,
    exactly,
    first_relogin,
    hung,
    late,
    lowered,
    next_relogin,
    nop_in,
    pings,
    queued,
    recovered,
    reissue,
    remaining,
    silence,
    sooner,
    syn_pause,
    unanswered,
    up_to,
    worst_ns,
)
from mpio.planner.timers import retransmission_ns
from mpio.units import NS_PER_S, seconds


class Scenario(StrEnum):
    """What happens, and which span is meant."""

    SILENT_LOSS = "silent_loss"  # nothing passes in either direction, I/O in flight
    ONE_WAY_LOSS = "one_way_loss"  # what the initiator sends is lost (a blackhole route), I/O in flight
    LINK_DOWN = "link_down"  # carrier lost at either end: nothing in the stack listens to it
    IDLE_DETECTED = "idle_detected"  # silent loss of an idle path, until its session is FAILED
    IDLE_LOSS = "idle_loss"  # silent loss of an idle path; the first request comes `issued_after_s` later
    IDLE_NOTICED = "idle_noticed"  # silent loss of an idle path, until dm-multipath has it as failed
    SHORT_OUTAGE = "short_outage"  # one path passes nothing for `outage_s`
    RESET_BACK = "reset_back"  # RST or FIN, the portal answers again at once
    RESET_CLOSED = "reset_closed"  # RST or FIN, the portal stays closed
    LUN_HANG = "lun_hang"  # commands get no answer, pings do; `hang` says how it ends
    PINGS_OFF = "pings_off"  # silent loss with noop_out_interval and noop_out_timeout 0
    ALL_DOWN = "all_down"  # every path is lost, by `loss`, for `outage_s` or for good: then until I/O fails
    SERIAL = "serial"  # all paths but the last are lost one after another under the same request
    LOGOUT_REQUEST = "logout_request"  # the target asks for a logout
    ISCSID_RESTART = "iscsid_restart"  # drops every session at once
    SESSION_RETURN = "session_return"  # from the end of the fault to the login, by `comeback`
    PATH_RETURN = "path_return"  # from the end of the fault until the path is reinstated, by `comeback`
    FAILBACK = "failback"  # from then on until the preferred group is used again


class Loss(StrEnum):
    """How the paths of an outage are lost."""

    SILENT = "silent"
    ONE_WAY = "one_way"
    RESET = "reset"


class Hang(StrEnum):
    """How far the handling of a hung LUN goes."""

    FIRST_ABORT = "first_abort"  # until the first ABORT TASK is answered; the command is sent again on the same path
    ERROR = "error"  # until dm-multipath sees the error: after max_retries more such rounds
    TMF_DEAD = "tmf_dead"  # the ABORT TASK gets no answer either, and the session is dropped
    CHECKER = "checker"  # until multipathd's checker has failed the path, which spares later requests only


class Comeback(StrEnum):
    """What iscsid's connects meet while a path is lost."""

    SILENT = "silent"  # no answer
    REFUSED = "refused"  # an error at once: closed port, no route, a blackhole route
    UNREACHABLE = "unreachable"  # no neighbour on the link: EHOSTUNREACH after three ARP probes


@dataclass(frozen=True, slots=True)
class _Case:
    stack: LinuxStack
    target: TargetTimers
    scenario: Scenario
    paths: int
    outage_ns: int | None
    issued_after_ns: int
    loss: Loss
    hang: Hang
    comeback: Comeback | None


def predict(
    stack: LinuxStack, target: TargetTimers, scenario: Scenario, *, paths: int = 2, outage_s: float | None = None,
    issued_after_s: float = 0, loss: Loss = Loss.SILENT, hang: Hang = Hang.ERROR, comeback: Comeback | None = None,
) -> Budget:
    """The span that a scenario means, in this stack.

    Args:
        stack, target: what is in force.
        scenario: see there; the following only count where it names them.
        paths: of the map, for SERIAL.
        outage_s: how long the fault lasts, for SHORT_OUTAGE (needed) and ALL_DOWN (None: for good).
        issued_after_s: when the first request on an idle path comes, for IDLE_LOSS, counted from the loss.
        loss: how the paths are lost, for SHORT_OUTAGE and ALL_DOWN.
        hang: for LUN_HANG.
        comeback: for SESSION_RETURN, PATH_RETURN and outages; None is the slowest that goes with the loss.

    Returns:
        The budget. `worst_ns` is None if I/O waits for ever (recovery_tmo off, no_path_retry queue, failback manual).
        `fails_after_ns` is when requests can fail with an error instead; for ALL_DOWN for good it is the best case of
        the budget itself.

    Raises:
        ValueError: SHORT_OUTAGE without outage_s, fewer than two paths for SERIAL, a negative time.
    """
    if outage_s is not None and outage_s < 0 or issued_after_s < 0:
        raise ValueError("outage_s, issued_after_s: expected 0 or more seconds")
    if scenario is Scenario.SHORT_OUTAGE and outage_s is None:
        raise ValueError("outage_s: expected for short_outage")
    if scenario is Scenario.SERIAL and paths < 2:
        raise ValueError("paths: expected two or more for serial")
    outage_ns = None if outage_s is None else seconds(outage_s)
    case = _Case(stack, target, scenario, paths, outage_ns, seconds(issued_after_s), loss, hang, comeback)
    return _MODELS[scenario](case)


# --- one path

def _until_other_path(case: _Case, detection: Terms) -> Budget:
    """Detection, recovery, re-issue: without another path the request then fails."""
    return _ended(case, detection, recovered(case.stack))


def _ended(case: _Case, before: Terms, after: Terms | None) -> Budget:
    terms = [*before, *(after or []), reissue()]
    budget = total(case.scenario, terms, endless=after is None)
    if case.stack.multipath or after is None:
        return budget
    return Budget(budget.failure, budget.terms, budget.best_ns, budget.worst_ns, budget.best_ns)


def _silent_loss(case: _Case) -> Budget:
    return _until_other_path(case, silence(case.stack))


def _one_way_loss(case: _Case) -> Budget:
    """The target drops the connection too, when its own ping stays unanswered; its FIN still arrives."""
    detection = [*nop_in(case.stack, case.target), *silence(case.stack)]
    if case.target.nopin_interval > 0:
        detection = lowered(detection, best_ns(detection) - seconds(case.target.nopin_response))
    return _until_other_path(case, detection)


def _pings_off(case: _Case) -> Budget:
    return _until_other_path(case, unanswered(case.stack))


def _idle_detected(case: _Case) -> Budget:
    return total(case.scenario, silence(case.stack, idle=True))


def _idle_loss(case: _Case) -> Budget:
    after = recovered(case.stack)
    detection = [*nop_in(case.stack, case.target)] if case.loss is Loss.ONE_WAY else []
    detection += silence(case.stack, idle=True)
    if pings(case.stack) is None:  # the request's own timeout is the only detection
        return _ended(case, silence(case.stack), after)
    if after is None:
        return _ended(case, remaining(detection, case.issued_after_ns), None)
    return _ended(case, remaining([*detection, *after], case.issued_after_ns), [])


def _idle_noticed(case: _Case) -> Budget:
    """A check that falls into the wait for the session looks again each second; else the next one finds it gone.

    A checker that times out before the session is lost fails the path earlier.
    """
    stack = case.stack
    after = recovered(stack)
    checker = [
        up_to("next check of the path", stack.polling_interval_max, "max_polling_interval"),
        exactly("checker timeout", stack.checker_timeout_in_force, "checker_timeout"),
        up_to("whole seconds of the checker", 2, "libmultipath/checkers/tur.c"),
    ]
    if after is None or pings(stack) is None:
        return total(case.scenario, checker)
    by_session = [*silence(stack, idle=True), *after]
    waiting_ns = seconds(stack.polling_interval_max) - worst_ns(by_session)
    by_session = [
        *by_session,
        Term("next check of the path", 0, max(waiting_ns, 0), "max_polling_interval"),
        up_to("multipathd's loop", LOOP_S, "multipathd/main.c checkerloop"),
    ]
    if worst_ns(checker) <= best_ns(silence(stack, idle=True)):
        return total(case.scenario, checker)
    return total(case.scenario, lowered(by_session, best_ns(by_session) - best_ns(checker)))


def _reset_back(case: _Case) -> Budget:
    """The same path again, unless the wait for the session ends before the login: then another one."""
    return total(case.scenario, _relogin_or_failover(case))


def _relogin_or_failover(case: _Case) -> Terms:
    relogin = [*first_relogin(case.stack, case.target), reissue()]
    after = recovered(case.stack)
    return relogin if after is None else sooner(relogin, [*after, reissue()])


def _reset_closed(case: _Case) -> Budget:
    return _until_other_path(case, [])


def _logout_request(case: _Case) -> Budget:
    """The session ends with the target's answer to the logout, or without it after logout_timeout."""
    logout = up_to("logout without an answer", case.stack.logout_timeout, "logout_timeout")
    return total(case.scenario, [logout, *_relogin_or_failover(case)])


def _lun_hang(case: _Case) -> Budget:
    stack = case.stack
    if case.hang is Hang.CHECKER:
        return total(case.scenario, [
            up_to("next check of the path", stack.polling_interval_max, "max_polling_interval"),
            exactly("checker timeout", stack.checker_timeout_in_force, "checker_timeout"),
            up_to("whole seconds of the checker", 2, "libmultipath/checkers/tur.c"),
        ])
    if case.hang is Hang.TMF_DEAD:
        abort = [exactly("ABORT TASK without an answer", stack.abort_timeout, "abort_timeout"),
                 late(stack, "abort_timeout", stack.abort_timeout)]
        return _until_other_path(case, [*hung(stack), *abort])
    rounds = [hung(stack)]
    if case.hang is Hang.ERROR:
        if stack.max_retries < 0:
            return total(case.scenario, hung(stack), endless=True)
        rounds += [
            [Term(f"{term.name}, retry {turn}", term.best_ns, term.value_ns, f"{term.source}, max_retries")
             if not term.name.startswith("lateness") else term for term in hung(stack)]
            for turn in range(1, stack.max_retries + 1)
        ]
    return total(case.scenario, [*(term for terms in rounds for term in terms), reissue()])


def _serial(case: _Case) -> Budget:
    """At worst each path is lost just as the request comes to it; at best all were lost at once and time out together.

    One path is left at the end.
    """
    first = [*silence(case.stack)]
    after = recovered(case.stack)
    if after is None:
        return total(case.scenario, first, endless=True)
    one = [*first, *after, reissue()]
    terms = [
        Term(f"path {path}: {term.name}" if not term.name.startswith("lateness") else term.name,
             term.best_ns if path == 1 else 0, term.value_ns, term.source)
        for path in range(1, case.paths) for term in one
    ]
    return total(case.scenario, terms)


# --- outages that end, and all paths at once

def _detection(case: _Case) -> Terms:
    """From the loss to the end of the connection."""
    if case.loss is Loss.RESET:
        return []
    return [*(nop_in(case.stack, case.target) if case.loss is Loss.ONE_WAY else []), *silence(case.stack)]


def _pause(case: _Case) -> tuple[float, str]:
    """The longest pause between two connects, and its source."""
    pauses: Mapping[Comeback, tuple[float, str]] = {
        Comeback.REFUSED: (REFUSED_DELAY_S, "usr/initiator.c ISCSI_CONN_ERR_REOPEN_DELAY"),
        Comeback.UNREACHABLE: (REFUSED_DELAY_S + ARP_DELAY_S, "net/ipv4/arp.c, ISCSI_CONN_ERR_REOPEN_DELAY"),
        Comeback.SILENT: syn_pause(case.stack),
    }
    if case.comeback is not None:
        return pauses[case.comeback]
    return pauses[Comeback.REFUSED] if case.loss is Loss.RESET else max(pauses.values())


def _comeback(case: _Case) -> Terms:
    return next_relogin(*_pause(case), case.target)


def _session_return(case: _Case) -> Budget:
    return total(case.scenario, _comeback(case))


def _path_return(case: _Case) -> Budget:
    return total(case.scenario, [*_comeback(case), *checked(case.stack)])


def _failback(case: _Case) -> Budget:
    """Counted from `reinstated`; a number of seconds is counted in turns of multipathd's loop, one more than given."""
    policy = case.stack.failback
    if policy == "manual":
        return total(case.scenario, [], endless=True)
    if isinstance(policy, str):
        return total(case.scenario, [])
    return total(case.scenario, [
        exactly("deferred failback", policy, "failback"), up_to("multipathd's loop", LOOP_S, "multipathd/main.c")])


def _outage(case: _Case, outage_ns: int, *, reinstate: bool) -> Terms:
    """Until a path works again that passes nothing for a while.

    Either nobody notices and TCP resumes with its next retransmission; or the session is dropped, and logs in again
    after the outage, or after its own late discovery if that comes later. `reinstate`: with every path lost, a path
    that dm-multipath has failed meanwhile must pass a check first.
    """
    detection = _detection(case)
    soonest_ns, latest_ns = best_ns(detection), worst_ns(detection)
    resumed = retransmission_ns(outage_ns)
    passed = exactly("outage", outage_ns / NS_PER_S, "the outage itself")
    ends: list[Terms] = []
    if case.loss is not Loss.RESET and outage_ns <= latest_ns:  # it may pass unnoticed
        backs_off = Term("next retransmission", max(resumed[0] - outage_ns, 0) if case.loss is Loss.SILENT else 0,
                         max(resumed[1] - outage_ns, 0), "net/ipv4/tcp_timer.c: back-off up to twice the outage")
        ends.append([passed, backs_off])
    if max(resumed[1], outage_ns) > soonest_ns or case.loss is Loss.RESET:  # the connection may be dropped
        after = recovered(case.stack) if reinstate else None
        if latest_ns >= outage_ns:
            found = Term("until it is noticed", max(soonest_ns - outage_ns, 0), latest_ns - outage_ns,
                         " + ".join(dict.fromkeys(term.source for term in detection)) or "at once")
            ends.append([passed, found, *_then_check(case, first_relogin(case.stack, case.target), after)])
        if outage_ns > soonest_ns:
            ends.append([passed, *_then_check(case, _comeback(case), after)])
    terms = max(ends, key=worst_ns)
    return [*lowered(terms, best_ns(terms) - min(best_ns(end) for end in ends)), reissue()]


def _then_check(case: _Case, relogin: Terms, after: Terms | None) -> Terms:
    """A login, and a check if the path can have failed before it."""
    return [*relogin, *checked(case.stack)] if after is not None else relogin


def _short_outage(case: _Case) -> Budget:
    """No longer than a path that stays away, as there is another one."""
    assert case.outage_ns is not None
    terms = _outage(case, case.outage_ns, reinstate=False)
    failover = recovered(case.stack)
    if failover is not None:
        terms = sooner(terms, [*_detection(case), *failover, reissue()])
    return total(case.scenario, terms)


def _all_down(case: _Case) -> Budget:
    """For good: until I/O fails. For a while: until a path is back, and whether I/O can fail before."""
    detection, after, queue = _detection(case), recovered(case.stack), queued(case.stack)
    endless = after is None or queue is None
    until_error = [*detection, *(after or []), *(queue or [])]
    if case.outage_ns is None:
        budget = total(case.scenario, [*until_error, reissue()], endless=endless)
        fails_ns = None if endless else budget.best_ns
    else:
        budget = total(case.scenario, _outage(case, case.outage_ns, reinstate=True))
        assert budget.worst_ns is not None
        fails_ns = None if endless or best_ns(until_error) >= budget.worst_ns else best_ns(until_error)
    return Budget(budget.failure, budget.terms, budget.best_ns, budget.worst_ns, fails_ns)


def _iscsid_restart(case: _Case) -> Budget:
    """Every session is dropped and logs in again; if the wait for them is shorter than that, every path fails."""
    stack = case.stack
    relogin = first_relogin(stack, case.target)
    after = recovered(stack)
    if after is None or best_ns(after) >= worst_ns(relogin):
        return total(case.scenario, [*relogin, reissue()])
    budget = total(case.scenario, [*relogin, *checked(stack), reissue()])
    queue = queued(stack)
    assert budget.worst_ns is not None
    fails_ns = None if queue is None else best_ns(after) + best_ns(queue)
    if fails_ns is not None and fails_ns >= budget.worst_ns:
        fails_ns = None
    return Budget(budget.failure, budget.terms, budget.best_ns, budget.worst_ns, fails_ns)


_MODELS: Mapping[Scenario, Callable[[_Case], Budget]] = {
    Scenario.SILENT_LOSS: _silent_loss,
    Scenario.ONE_WAY_LOSS: _one_way_loss,
    Scenario.LINK_DOWN: _silent_loss,
    Scenario.IDLE_DETECTED: _idle_detected,
    Scenario.IDLE_LOSS: _idle_loss,
    Scenario.IDLE_NOTICED: _idle_noticed,
    Scenario.SHORT_OUTAGE: _short_outage,
    Scenario.RESET_BACK: _reset_back,
    Scenario.RESET_CLOSED: _reset_closed,
    Scenario.LUN_HANG: _lun_hang,
    Scenario.PINGS_OFF: _pings_off,
    Scenario.ALL_DOWN: _all_down,
    Scenario.SERIAL: _serial,
    Scenario.LOGOUT_REQUEST: _logout_request,
    Scenario.ISCSID_RESTART: _iscsid_restart,
    Scenario.SESSION_RETURN: _session_return,
    Scenario.PATH_RETURN: _path_return,
    Scenario.FAILBACK: _failback,
}
