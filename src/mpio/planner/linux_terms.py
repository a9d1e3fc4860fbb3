"""The pieces that Linux' stalls are made of, as lists of terms: detection, recovery, reconnect, check, queue.

Each function is one step and names its sources. Every timer comes with a term of its own for its lateness, whose name
begins with LATENESS; the sum of the others is the nominal value that manuals and folk formulas speak of.
"""

from mpio.config.recovery import recovery
from mpio.model.stack import LinuxStack, TargetTimers, Version
from mpio.planner.budget import Budget, Term
from mpio.planner.timers import lateness_ns, syn_gap_s
from mpio.units import NS_PER_S, seconds

Terms = list[Term]

LATENESS = "lateness of "
REISSUE_NS = 150 * NS_PER_S // 1000
"""From the last timer to the answer by another path: a kernel work item, dm's requeue, round trips. Measured on a slow
emulated machine 0.03 to 0.43 s, median 0.06; with the timers' own lateness beside it no stall took more than 0.11."""
REFUSED_DELAY_S = 3
"""iscsid's pause after a connect that failed at once (usr/initiator.c ISCSI_CONN_ERR_REOPEN_DELAY)."""
ARP_DELAY_S = 3
"""Until connect() to a dead neighbour on the link fails (net/ipv4/arp.c: three probes a second apart)."""
POLL_S = 1
"""iscsid looks after a connect under way once a second (usr/initiator.c session_conn_poll)."""
ISCSID_CLOCK_S = 1
"""iscsid counts whole seconds of a truncated clock: a timer fires up to a second early or late (usr/actor.c)."""
LOOP_S = 1
"""multipathd looks after its paths once a second (multipathd/main.c checkerloop)."""
LOOP_WORK_NS = NS_PER_S // 100
"""What a turn of that loop takes beyond its second of sleep; queues are counted in turns, not in seconds."""

_IN_KERNEL_STOP_SINCE: Version = (5, 6)
_PATCHED_INTERVAL: dict[Version, Version] = {(0, 10): (0, 10, 4), (0, 11): (0, 11, 2)}
_PING_DEFAULT_S = 5
_LOGIN_TIMEOUT_COMPILED_S = 30


def exactly(name: str, value_s: float, source: str) -> Term:
    """A span that always passes whole."""
    return Term(name, seconds(value_s), seconds(value_s), source)


def up_to(name: str, value_s: float, source: str) -> Term:
    """A span that may not pass at all."""
    return Term(name, 0, seconds(value_s), source)


def late(stack: LinuxStack, setting: str, delay_s: float, times: int = 1) -> Term:
    """The lateness of a kernel timer that runs so many times."""
    return Term(LATENESS + setting, 0, times * lateness_ns(delay_s, stack.hz, stack.kernel), _wheel(stack))


def _wheel(stack: LinuxStack) -> str:
    return f"kernel/time/timer.c, {stack.hz} Hz"


def reissue() -> Term:
    """Until the request is answered by a path that works, or the error is with the application."""
    return Term("re-issue and answer", 0, REISSUE_NS, "measured allowance: planner.linux_terms.REISSUE_NS")


def nominal_ns(budget: Budget) -> int:
    """The worst case without lateness and allowance: the sum of the settings themselves."""
    return sum(term.value_ns for term in budget.terms if not is_noise(term))


def is_noise(term: Term) -> bool:
    """Whether a term is no setting's value but what timers and machines add."""
    return term.name.startswith(LATENESS) or term.name == reissue().name


def best_ns(terms: Terms) -> int:
    """The least that these terms come to."""
    return sum(term.best_ns for term in terms)


def worst_ns(terms: Terms) -> int:
    """The most that these terms come to."""
    return sum(term.value_ns for term in terms)


def sooner(first: Terms, second: Terms) -> Terms:
    """Whichever of two ends comes first: its worst is the smaller one, its best the smaller of both."""
    chosen, other = sorted((first, second), key=worst_ns)
    return lowered(chosen, best_ns(chosen) - best_ns(other))


def lowered(terms: Terms, by_ns: int) -> Terms:
    """The same terms with a best that is smaller by so much in all, taken off from the last ones."""
    result = []
    for term in reversed(terms):
        taken = min(max(by_ns, 0), term.best_ns)
        by_ns -= taken
        result.append(Term(term.name, term.best_ns - taken, term.value_ns, term.source))
    return result[::-1]


def remaining(terms: Terms, elapsed_ns: int) -> Terms:
    """What is left of these terms, in order, for one who comes when so much has passed."""
    best_left = worst_left = elapsed_ns
    result = []
    for term in terms:
        best_taken, worst_taken = min(best_left, term.best_ns), min(worst_left, term.value_ns)
        best_left, worst_left = best_left - best_taken, worst_left - worst_taken
        value_ns = term.value_ns - worst_taken
        result.append(Term(term.name, min(term.best_ns - best_taken, value_ns), value_ns, term.source))
    return result


def pings(stack: LinuxStack) -> tuple[int, int] | None:
    """noop_out_interval and noop_out_timeout in force, or None without pings.

    If only one is 0, iscsid and the kernel set it to 5 (usr/initiator.c:__session_conn_create, libiscsi.c).
    """
    interval, timeout = max(stack.noop_out_interval, 0), max(stack.noop_out_timeout, 0)
    return (interval or _PING_DEFAULT_S, timeout or _PING_DEFAULT_S) if interval or timeout else None


def silence(stack: LinuxStack, *, idle: bool = False) -> Terms:
    """From the loss to the ping's timeout, `detected conn error (1022)`.

    The deadline counts from the last byte received (libiscsi.c:iscsi_has_ping_timed_out). With I/O in flight that is
    the moment of the loss; on an idle connection it lies up to one interval before.
    """
    in_force = pings(stack)
    if in_force is None:
        return unanswered(stack)
    interval, timeout = in_force
    name = "silence before the ping"
    return [
        (up_to if idle else exactly)(name, interval, "noop_out_interval"),
        exactly("silence after the ping", timeout, "noop_out_timeout"),
        late(stack, "noop_out_interval", interval), late(stack, "noop_out_timeout", timeout),
    ]


def nop_in(stack: LinuxStack, target: TargetTimers) -> Terms:
    """While only what the initiator sends is lost: the target's own ping still arrives and begins the silence anew.

    Once only: the next NOP-In waits for the answer to the first (LIO iscsi_target_util.c:iscsit_handle_nopin_timeout).
    It must come before the deadline, so the shift is at most the target's interval and at most the silence itself.
    """
    if pings(stack) is None or target.nopin_interval <= 0:
        return []
    quiet = silence(stack)
    nominal = sum(term.value_ns for term in quiet if not is_noise(term))
    shift = min(seconds(target.nopin_interval), worst_ns(quiet))
    return [
        Term("the target's NOP-In begins the silence anew", 0, min(shift, nominal), "target: nopin_interval"),
        Term(LATENESS + "the silence that it comes in", 0, max(shift - nominal, 0), _wheel(stack)),
    ]


def unanswered(stack: LinuxStack) -> Terms:
    """Without pings: a command runs into its timeout, once or twice, then its ABORT TASK is waited for.

    The first expiry is taken for progress if the command's own transmission came after it was queued
    (libiscsi.c:iscsi_eh_cmd_timed_out).
    """
    return [
        Term("command timeouts before the abort", seconds(stack.timeout), 2 * seconds(stack.timeout), "timeout"),
        late(stack, "timeout", stack.timeout, 2), *aborted(stack),
    ]


def aborted(stack: LinuxStack) -> Terms:
    """An ABORT TASK without an answer; then the session is dropped, 1021 (libiscsi.c:iscsi_eh_abort)."""
    return [
        exactly("ABORT TASK without an answer", stack.abort_timeout, "abort_timeout"),
        late(stack, "abort_timeout", stack.abort_timeout),
    ]


def hung(stack: LinuxStack, rounds: int = 1) -> Terms:
    """A command without an answer on a connection whose pings are answered, until it is aborted so many times.

    Each time two or three expiries of its timer: progress is assumed once, then a ping probes the connection
    (libiscsi.c:iscsi_eh_cmd_timed_out).
    """
    timeout_ns = seconds(stack.timeout)
    source = "timeout" if rounds == 1 else f"timeout, {rounds} times: max_retries"
    return [
        Term("command timeouts before the abort", 2 * rounds * timeout_ns, 3 * rounds * timeout_ns, source),
        late(stack, "timeout", stack.timeout, 3 * rounds),
    ]


def stopped(stack: LinuxStack) -> Terms:
    """Old kernels begin to count the recovery only when iscsid has stopped the connection."""
    if stack.kernel >= _IN_KERNEL_STOP_SINCE:
        return []
    return [up_to("iscsid stops the connection", ISCSID_CLOCK_S, "kernel before 5.6: usr/initiator.c")]


def recovered(stack: LinuxStack) -> Terms | None:
    """From the loss of the session to the error that makes dm-multipath fail the path; None if that never comes."""
    waits = recovery(stack)
    if waits.best_s is None or waits.worst_s is None:
        return None
    return [
        *stopped(stack),
        Term("wait for the session to come back", seconds(waits.best_s), seconds(waits.worst_s), waits.source),
        late(stack, "the recovery timer", waits.worst_s),
    ]


def first_relogin(stack: LinuxStack, target: TargetTimers) -> Terms:
    """From the loss of a session to its next login, if the portal answers at once."""
    wait_s = stack.default_time2wait
    return [
        Term("first pause before a reconnect", seconds(max(wait_s - ISCSID_CLOCK_S, 0)), seconds(wait_s),
             "default_time2wait; iscsid counts whole seconds"),
        *_connect(target),
    ]


def next_relogin(pause_s: float, why: str, target: TargetTimers) -> Terms:
    """From the moment when the network is whole again to the login, while iscsid has been trying."""
    return [up_to("pause between two attempts", pause_s, why), *_connect(target)]


def _connect(target: TargetTimers) -> Terms:
    return [
        up_to("iscsid sees the connection", POLL_S, "usr/initiator.c session_conn_poll"),
        up_to("login", target.login_exchange, "target: login_exchange"),
        up_to(LATENESS + "iscsid's timers", ISCSID_CLOCK_S, "usr/actor.c: whole seconds"),
    ]


def syn_pause(stack: LinuxStack) -> tuple[float, str]:
    """The pause between two SYNs to a portal that drops them, and its source."""
    attempt_s = stack.login_timeout or _LOGIN_TIMEOUT_COMPILED_S
    return syn_gap_s(attempt_s, stack.kernel), "login_timeout; net/ipv4/tcp_timer.c"


def checked(stack: LinuxStack) -> Terms:
    """From the login to `reinstated`, for a path that dm-multipath has failed.

    A failed path is checked each polling_interval; 0.10.0 to 0.10.3 and 0.11.0 to 0.11.1 left it at the interval of a
    good one if the kernel saw the failure first. A checker that was under way when the session was lost keeps its
    result until it is asked again, after the session is back, and that `down` costs another interval (tur.c:
    libcheck_check, up to 0.14.3 at least; measured with 0.9.4 in 41 of 42 such runs).
    """
    grown = has_interval_fault(stack.multipath_tools)
    interval, source = (stack.polling_interval_max, "max_polling_interval") if grown \
        else (stack.polling_interval, "polling_interval")
    return [
        up_to("next check of the path", interval, source),
        up_to("multipathd's loop", LOOP_S, "multipathd/main.c checkerloop"),
        up_to("a checker's old answer costs one more check", stack.polling_interval + LOOP_S,
              "polling_interval; libmultipath/checkers/tur.c libcheck_check"),
    ]


def has_interval_fault(version: Version) -> bool:
    """Whether this multipathd checks a path that the kernel failed only after the interval of a good one."""
    mended = _PATCHED_INTERVAL.get(version[:2])
    return mended is not None and version < mended


def queued(stack: LinuxStack) -> Terms | None:
    """From the failure of the last path until queued I/O fails; None if it waits for ever.

    N checks are N·polling_interval + 1 turns of a loop that takes a second and its work
    (libmultipath/structs_vec.c:enter_recovery_mode, multipathd/main.c:retry_count_tick).
    """
    retries = stack.no_path_retry
    if not stack.multipath or retries == "fail":
        return []
    if retries == "queue":
        return None
    turns = retries * stack.polling_interval + LOOP_S
    return [
        exactly("queue without a path", retries * stack.polling_interval, "no_path_retry x polling_interval"),
        up_to("multipathd's loop", LOOP_S, "libmultipath/structs_vec.c enter_recovery_mode"),
        Term(LATENESS + "multipathd's loop", 0, turns * LOOP_WORK_NS, "allowance: planner.linux_terms.LOOP_WORK_NS"),
    ]
