"""Stalls by the loss of one path for good, or by one that only seems lost: a hung LUN, a logout that is asked for."""

from mpio.planner.budget import Budget, Term, total
from mpio.planner.linux_case import Case, Hang, Loss
from mpio.planner.linux_terms import (
    LOOP_S,
    Terms,
    aborted,
    best_ns,
    exactly,
    first_relogin,
    hung,
    is_noise,
    lowered,
    nop_in,
    pings,
    recovered,
    reissue,
    remaining,
    silence,
    sooner,
    unanswered,
    up_to,
    worst_ns,
)
from mpio.units import seconds


def detection(case: Case, loss: Loss) -> Terms:
    """From the loss to the end of the connection, with I/O in flight.

    In a one-way loss the target drops the connection too when its own ping gets no answer, and its FIN arrives: that
    may come before the initiator's deadline, if that is a long one, but does not have to.
    """
    if loss is Loss.RESET:
        return []
    quiet = silence(case.stack)
    if loss is Loss.SILENT or case.target.nopin_interval <= 0:
        return quiet
    terms = [*nop_in(case.stack, case.target), *quiet]
    return lowered(terms, best_ns(terms) - seconds(case.target.nopin_response))


def silent_loss(case: Case) -> Budget:
    """R + P + F."""
    return _until_failover(case, detection(case, Loss.SILENT))


def one_way_loss(case: Case) -> Budget:
    """X + R + P + F, where X is how late the target's own NOP-In can begin the silence anew."""
    return _until_failover(case, detection(case, Loss.ONE_WAY))


def reset_closed(case: Case) -> Budget:
    """F: a reset is seen at once."""
    return _until_failover(case, [])


def pings_off(case: Case) -> Budget:
    """Only the command's own timeout finds out."""
    return _until_failover(case, unanswered(case.stack))


def serial(case: Case) -> Budget:
    """At worst each path is lost just as the request comes to it; at best all were lost at once and time out together.

    The last path works.
    """
    after = recovered(case.stack)
    one = [*detection(case, case.loss), *(after or []), reissue()]
    later = [
        Term(term.name if is_noise(term) else f"path {path}: {term.name}", 0, term.value_ns, term.source)
        for path in range(2, case.paths) for term in one
    ]
    return total(case.scenario, [*one, *later], endless=after is None)


def idle_detected(case: Case) -> Budget:
    """P to R + P: the connection's own pings go on without I/O."""
    return total(case.scenario, silence(case.stack, idle=True))


def idle_loss(case: Case) -> Budget:
    """What is left of detection and recovery when the first request comes; without pings it starts them itself."""
    after = recovered(case.stack)
    if pings(case.stack) is None:
        return _until_failover(case, unanswered(case.stack))
    begun = nop_in(case.stack, case.target) if case.loss is Loss.ONE_WAY else []
    begun = remaining([*begun, *silence(case.stack, idle=True), *(after or [])], case.issued_after_ns)
    return _ended(case, begun, endless=after is None)


def idle_noticed(case: Case) -> Budget:
    """Without I/O dm-multipath learns from multipathd's checks.

    A check that falls into the wait for the session looks again each second; else the next one finds the device
    offline. Only a checker that times out before the session is lost fails the path earlier: while the session is
    waited for, multipathd only waits too (libmultipath/discovery.c:path_sysfs_state).
    """
    stack = case.stack
    by_checker, after = _by_checker(case), recovered(stack)
    if pings(stack) is None:
        return total(case.scenario, by_checker)
    quiet = silence(stack, idle=True)
    if worst_ns(by_checker) <= best_ns(quiet):
        return total(case.scenario, by_checker)
    terms = [*quiet, *(after or [])]
    terms = [
        *terms,
        Term("next check of the path", 0, max(seconds(stack.polling_interval_max) - worst_ns(terms), 0),
             "max_polling_interval"),
        up_to("multipathd's loop", LOOP_S, "multipathd/main.c checkerloop"),
    ]
    if best_ns(by_checker) < worst_ns(quiet):
        terms = lowered(terms, best_ns(terms) - best_ns(by_checker))
    return total(case.scenario, terms, endless=after is None)


def reset_back(case: Case) -> Budget:
    """The same path again, or another one if the wait for the session ends before the login."""
    return total(case.scenario, _relogin_or_failover(case))


def logout_request(case: Case) -> Budget:
    """The session ends with the target's answer to the logout, or without it after logout_timeout."""
    logout = up_to("logout without an answer", case.stack.logout_timeout, "logout_timeout")
    return total(case.scenario, [logout, *_relogin_or_failover(case)])


def lun_hang(case: Case) -> Budget:
    """Commands get no answer but pings do, so that the session lives on."""
    stack = case.stack
    if case.hang is Hang.CHECKER:
        return total(case.scenario, _by_checker(case))
    if case.hang is Hang.TMF_DEAD:
        return _until_failover(case, [*hung(stack), *aborted(stack)])
    if case.hang is Hang.FIRST_ABORT:
        return total(case.scenario, [*hung(stack), reissue()])
    rounds = 1 + max(stack.max_retries, 0)
    return total(case.scenario, [*hung(stack, rounds), reissue()], endless=stack.max_retries < 0)


def _until_failover(case: Case, before: Terms) -> Budget:
    """Detection, the wait for the session, another path."""
    after = recovered(case.stack)
    return _ended(case, [*before, *(after or [])], endless=after is None)


def _ended(case: Case, terms: Terms, *, endless: bool) -> Budget:
    """The request is answered by another path; without multipathd there is none, and it fails."""
    budget = total(case.scenario, [*terms, reissue()], endless=endless)
    fails_ns = None if case.stack.multipath or endless else budget.best_ns
    return Budget(budget.failure, budget.terms, budget.best_ns, budget.worst_ns, fails_ns)


def _by_checker(case: Case) -> Terms:
    """A checker's own timeout is counted in whole seconds of multipathd's loop."""
    return [
        up_to("next check of the path", case.stack.polling_interval_max, "max_polling_interval"),
        exactly("checker timeout", case.stack.checker_timeout_in_force, "checker_timeout"),
        up_to("whole seconds of the checker", 2, "libmultipath/checkers/tur.c"),
    ]


def _relogin_or_failover(case: Case) -> Terms:
    relogin = [*first_relogin(case.stack, case.target), reissue()]
    after = recovered(case.stack)
    return relogin if after is None else sooner(relogin, [*after, reissue()])
