"""Stalls by outages that end, of one path or of all, and how a path comes back after one."""

import dataclasses
from collections.abc import Mapping

from mpio.planner.budget import Budget, Term, total
from mpio.planner.linux_case import Case, Comeback, Loss
from mpio.planner.linux_path import detection
from mpio.planner.linux_terms import (
    ARP_DELAY_S,
    LOOP_S,
    REFUSED_DELAY_S,
    Terms,
    best_ns,
    checked,
    exactly,
    first_relogin,
    lowered,
    next_relogin,
    queued,
    recovered,
    reissue,
    remaining,
    sooner,
    syn_pause,
    up_to,
    worst_ns,
)
from mpio.planner.timers import retransmission_ns
from mpio.units import seconds, to_seconds


def short_outage(case: Case) -> Budget:
    """One path: until it works again, but no longer than until another one takes over."""
    assert case.outage_ns is not None
    terms = [*_outage(case, case.outage_ns, failed_is_checked=False), reissue()]
    after = recovered(case.stack)
    if after is not None:
        terms = sooner(terms, [*detection(case, case.loss), *after, reissue()])
    return total(case.scenario, terms)


def all_down(case: Case) -> Budget:
    """For good: until I/O fails. For a while: until one path is back, and whether I/O can fail before."""
    after, queue = recovered(case.stack), queued(case.stack)
    endless = after is None or queue is None
    until_error = [*detection(case, case.loss), *(after or []), *(queue or [])]
    soonest_ns = best_ns(until_error)
    if case.outage_ns is None:
        budget = total(case.scenario, [*until_error, reissue()], endless=endless)
        fails = not endless
    else:
        budget = total(case.scenario, [*_outage(case, case.outage_ns, failed_is_checked=True), reissue()])
        assert budget.worst_ns is not None
        fails = not endless and soonest_ns < budget.worst_ns
    return Budget(budget.failure, budget.terms, budget.best_ns, budget.worst_ns, soonest_ns if fails else None)


def iscsid_restart(case: Case) -> Budget:
    """Every session is reset and logs in again at once; with a shorter wait for them, every path fails."""
    return all_down(dataclasses.replace(case, loss=Loss.RESET, outage_ns=0))


def session_return(case: Case) -> Budget:
    """From the end of a fault to the login."""
    return total(case.scenario, _comeback(case))


def path_return(case: Case) -> Budget:
    """From the end of a fault until the path, which dm-multipath has failed, is reinstated."""
    return total(case.scenario, [*_comeback(case), *checked(case.stack)])


def failback(case: Case) -> Budget:
    """Counted from `reinstated`; seconds are turns of multipathd's loop, one more than given."""
    policy = case.stack.failback
    if policy == "manual":
        return total(case.scenario, [], endless=True)
    if isinstance(policy, str):
        return total(case.scenario, [])
    return total(case.scenario, [
        exactly("deferred failback", policy, "failback"),
        up_to("multipathd's loop", LOOP_S, "multipathd/main.c deferred_failback_tick"),
    ])


def _outage(case: Case, outage_ns: int, *, failed_is_checked: bool) -> Terms:
    """Until a path works again that passed nothing for a while: the worst of the ends that are possible.

    Either nobody notices, and TCP resumes with its next retransmission. Or the connection is dropped: late, so that
    the first login already finds the network whole; or early, so that logins fail until it is. `failed_is_checked`:
    a path that dm-multipath has failed before its login is not used before a check.
    """
    found = detection(case, case.loss)
    soonest_ns, latest_ns = best_ns(found), worst_ns(found)
    relogin = first_relogin(case.stack, case.target)
    resumes_ns = retransmission_ns(outage_ns)
    outage = exactly("outage", to_seconds(outage_ns), "the outage itself")
    ends: list[Terms] = []
    if case.loss is not Loss.RESET and outage_ns <= latest_ns:
        soonest_resume_ns = resumes_ns[0] if case.loss is Loss.SILENT else outage_ns  # a local drop is retried sooner
        ends.append([outage, Term("next retransmission", soonest_resume_ns - outage_ns, resumes_ns[1] - outage_ns,
                                  "net/ipv4/tcp_timer.c: up to twice the outage")])
    dropped = case.loss is Loss.RESET or max(resumes_ns[1], outage_ns) > soonest_ns
    after = recovered(case.stack) if failed_is_checked else None
    if dropped and outage_ns <= latest_ns + seconds(case.stack.default_time2wait):
        ends.append([outage, *remaining([*found, *relogin], outage_ns),
                     *_check(case, after, worst_ns(relogin))])
    if dropped and outage_ns > soonest_ns + best_ns(relogin):
        comeback = _comeback(case)
        ends.append([outage, *comeback, *_check(case, after, outage_ns + worst_ns(comeback) - soonest_ns)])
    terms = max(ends, key=worst_ns)
    return lowered(terms, best_ns(terms) - min(best_ns(end) for end in ends))


def _check(case: Case, after: Terms | None, login_ns: int) -> Terms:
    """The check of a path that can have failed by the time of its login, counted from the loss of its session."""
    return checked(case.stack) if after is not None and best_ns(after) < login_ns else []


def _comeback(case: Case) -> Terms:
    """From the moment when the network is whole again to the login."""
    pauses: Mapping[Comeback, tuple[float, str]] = {
        Comeback.REFUSED: (REFUSED_DELAY_S, "usr/initiator.c ISCSI_CONN_ERR_REOPEN_DELAY"),
        Comeback.UNREACHABLE: (REFUSED_DELAY_S + ARP_DELAY_S, "net/ipv4/arp.c, ISCSI_CONN_ERR_REOPEN_DELAY"),
        Comeback.SILENT: syn_pause(case.stack),
    }
    if case.comeback is not None:
        pause_s, source = pauses[case.comeback]
    elif case.loss is Loss.RESET:
        pause_s, source = pauses[Comeback.REFUSED]
    else:
        pause_s, source = max(pauses.values())
    return next_relogin(pause_s, source, case.target)
