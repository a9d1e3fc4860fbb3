"""One sentence for each setting of a plan: why it has its value."""

import dataclasses
from collections.abc import Mapping
from dataclasses import replace

from mpio.model.cluster import Cluster, Corosync, LinuxHa, Mmp, Ncs, O2cb, Qdisk, Rac, Sanlock, Sbd
from mpio.model.stack import LinuxStack
from mpio.planner import promise
from mpio.planner.cluster import Storage, defaults, kind_of, tolerated_ns
from mpio.planner.goals import PREFIXES, Goals
from mpio.units import NS_PER_S, format_duration

_ALWAYS = (
    "noop_out_interval", "noop_out_timeout", "replacement_timeout", "fast_io_fail_tmo", "polling_interval",
    "max_polling_interval", "no_path_retry", "login_timeout",
)
"""Settings of the stack that each plan decides; others only where it departs from what is shipped."""


def reasons(
    goals: Goals, stack: LinuxStack, clusters: tuple[Cluster, ...], sysctl: Mapping[str, int]
) -> dict[str, str]:
    """By setting, those of the stack first, then the clusters', then the kernel's."""
    shipped = LinuxStack()
    of_stack = _of_stack(goals, stack)
    names = [*_ALWAYS, *(name for name in of_stack if name not in _ALWAYS
                         and getattr(stack, name) != getattr(shipped, name))]
    found = {name: of_stack[name] for name in names}
    found |= _of_clusters(goals, stack, clusters)
    found |= {name: _SYSCTL[name] for name in sysctl}
    for name, value in goals.fixed.items():
        found[name] = f"Fixed at {'off' if value is None else value}."
    return found


def _of_stack(goals: Goals, stack: LinuxStack) -> dict[str, str]:
    silence_ns = promise.silence_ns(stack)
    pings = "no pings: a silent path is found by the timeouts of its commands" if silence_ns is None else (
        f"a silent path is given up {format_duration(silence_ns)} after its last byte")
    recovery_ns, login_ns = promise.recovery_ns(stack), promise.relogin_ns(goals, stack)
    waits = "I/O waits for ever for a lost session" if recovery_ns is None else (
        f"I/O waits {format_duration(recovery_ns)} for a lost session, then takes another path")
    compared = "less" if recovery_ns is None or recovery_ns >= login_ns else "more"
    resets = f"a reset session is back after {format_duration(login_ns)} at most, which is {compared}"
    stall = format_duration(promise.storage(goals, stack).stall_ns or 0)
    return {
        "noop_out_interval": f"With noop_out_timeout: {pings}; the longest stall of a path failure is {stall}.",
        "noop_out_timeout": f"With noop_out_interval: {pings}{_latency(goals)}.",
        "replacement_timeout": "The same as fast_io_fail_tmo, so that the value is in force before multipathd sets it.",
        "fast_io_fail_tmo": f"{waits}; {resets}. multipathd writes it over replacement_timeout.",
        "polling_interval": "When a path that is back is used again; it has no part in the stall of I/O in flight.",
        "max_polling_interval": _max_polling(stack, goals),
        "no_path_retry": _queue(goals, stack),
        "login_timeout": "How long one attempt to log in lasts; longer makes the return of a silent path later.",
        "logout_timeout": "A target that asks for a logout and then is silent must not stall I/O for longer than a "
                          "lost path.",
        "timeout": _timeout(goals, stack),
        "abort_timeout": "How long a hung command's ABORT TASK is waited for before the session is dropped.",
        "max_retries": "A command that hangs is sent again on the same path so often; each time costs two to three "
                       "command timeouts.",
        "dev_loss_tmo": "iSCSI ignores it.",
    }


def _latency(goals: Goals) -> str:
    if not goals.io_latency_max_s:
        return ""
    return f", later than a healthy target's longest silence of {goals.io_latency_max_s:g} s"


def _max_polling(stack: LinuxStack, goals: Goals) -> str:
    if stack.max_polling_interval is None:
        return "As multipathd has it, 4 polling_interval: how long an idle path's failure may go unseen."
    if stack.max_polling_interval == stack.polling_interval:
        return "This multipathd checks a failed path at the interval of a good one, so both are the same."
    return "A repaired path must be seen before SBD's watchdog fires." if goals.cluster == "sbd" else "As it was."


def _queue(goals: Goals, stack: LinuxStack) -> str:
    if goals.cluster == "ncs":
        return "Novell Cluster Services must see an error: writes that wait could be done after another node took over."
    if stack.no_path_retry == "queue":
        return "I/O waits for a path for ever."
    if stack.no_path_retry == "fail":
        if goals.ride_out_s is None:
            return "No outage of all paths is to be ridden out, so I/O without a path fails at once."
        return "The wait for the session alone rides out the outage."
    waits = format_duration(stack.no_path_retry * stack.polling_interval * NS_PER_S)
    if goals.ride_out_s is None:
        return f"I/O without a path waits {waits}, as long as the lease lasts."
    gone = promise.longest(*(item.budget for item in promise.outages(goals, stack)))
    back = format_duration(gone.worst_ns or 0)
    return (f"I/O without a path waits {waits} on top of the wait for the session: an outage of {goals.ride_out_s:g} s "
            f"is over for I/O after {back}.")


def _timeout(goals: Goals, stack: LinuxStack) -> str:
    if goals.hung_lun:
        return "A hung command is aborted after two to three of these."
    return f"Longer than noop_out_timeout ({stack.noop_out_timeout} s): a lost path must not be taken for a hung LUN."


def _of_clusters(goals: Goals, stack: LinuxStack, clusters: tuple[Cluster, ...]) -> dict[str, str]:
    """Of each timer that storage decides, and of what departs from the defaults."""
    storage = promise.storage(goals, stack)
    shipped = {type(item): item for cluster in clusters for item in defaults(kind_of(cluster), goals.nodes)}
    found = {}
    for cluster in clusters:
        words = _WORDS.get(type(cluster), {})
        counted = storage if negotiated(cluster, storage) is None else replace(storage, outage_ns=0)
        longest = format_duration(counted.longest_ns or 0)
        for field in dataclasses.fields(cluster):
            value, default = getattr(cluster, field.name), getattr(shipped[type(cluster)], field.name)
            if field.name in words:
                found[f"{PREFIXES[type(cluster)]}.{field.name}"] = words[field.name].format(stall=longest, value=value)
            elif value != default:
                found[f"{PREFIXES[type(cluster)]}.{field.name}"] = _DEPARTURES.get(
                    field.name, f"Follows from the others; shipped is {default}.")
    return found


_DEPARTURES: Mapping[str, str] = {
    "token_ms": "A token in force of less than 3 s is lost too easily.",
    "consensus_ms": "Unset it is 1.2 times the token in force, which is the least that works.",
    "stonith_watchdog_timeout": "0 with a disk; without one twice the watchdog, after which a lost node is dead.",
    "idle_timeout_ms": "Longer than two keepalives: a network blip must not start a fencing.",
}
"""For settings that a plan leaves alone if it can."""


def negotiated(cluster: Cluster, storage: Storage) -> str | None:
    """What to know of an outage that is longer than the cluster's own limit, and carried by negotiation; else None."""
    tolerated = tolerated_ns([cluster], storage)
    outage_ns = storage.outage_ns
    if not isinstance(cluster, O2cb) or tolerated is None or not outage_ns or outage_ns <= tolerated:
        return None
    return (f"An outage of the whole array may last longer than the {format_duration(tolerated)} that O2CB tolerates: "
            "all nodes hang and agree to wait. A node that alone loses all its paths for longer is fenced.")


_WORDS: Mapping[type, Mapping[str, str]] = {
    O2cb: {"heartbeat_threshold": "Iterations of 2 s: a node fences itself 2 (T - 1) s after its last heartbeat, and a "
                                  "heartbeat may stall for {stall}."},
    Sbd: {
        "watchdog": "A node whose disk does not answer is reset after this and 3 to 4 s; a read may stall for {stall}.",
        "msgwait": "Twice the watchdog: who was sent a poison pill is dead before the sender believes it.",
        "delay_start": "A node that was fenced joins only after the fencing has ended: token, consensus, msgwait.",
    },
    Corosync: {
        "monitor_timeout": "A resource on this storage may stall for {stall} without being taken for failed.",
        "stop_timeout": "A stop may meet the same stall of {stall}, and a stop that fails fences the node.",
        "stonith_timeout": "Fencing must have the time to end: 1.2 msgwait, 60 s at least, and a new ring.",
    },
    Sanlock: {"io_timeout": "A renewal may stall for 6 of these less 2 s; the longest stall is {stall}."},
    Ncs: {
        "tolerance": "A node may be silent for a stall of {stall} and one heartbeat.",
        "slave_watchdog": "The master may be silent for a stall of {stall} and one heartbeat.",
    },
    LinuxHa: {
        "deadtime": "Twice the longest gap between two heartbeats of a host that waits for its storage: {stall}.",
        "warntime": "Half of deadtime.",
        "initdead": "Twice deadtime: a node that boots is not taken for dead.",
    },
    Rac: {
        "misscount": "Less reboottime it must outlast {stall}, even while the cluster reconfigures.",
        "disktimeout": "A voting file may stall for {stall}.",
        "asm_hbeatiowait": "ASM waits for its own heartbeat write; it may stall for {stall}.",
    },
    Mmp: {
        "fail_intervals": "The pool goes on when its heartbeat stalls for {stall}.",
        "import_intervals": "Twice fail_intervals: who imports the pool looks for longer than it may be silent.",
    },
    Qdisk: {
        "tko": "Missed intervals until a node is evicted; a write may stall for {stall}.",
        "cman_timeout": "Twice interval x tko: the disk decides before the network does.",
    },
}

_SYSCTL: Mapping[str, str] = {
    "kernel.panic": "A node that panics must reboot: the others wait for its locks until it is gone.",
    "kernel.panic_on_oops": "A node with a broken kernel must not go on holding locks.",
    "kernel.hung_task_panic": "A task may wait for the storage for minutes here, which is no reason to panic.",
}
