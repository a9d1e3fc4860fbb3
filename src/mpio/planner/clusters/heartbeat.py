"""Linux-HA Heartbeat (ha.cf): no disk channel, so storage reaches it only through a host that freezes.

Sources: ha.cf(5) and its sample, the tuning recipe of its users: deadtime twice the longest gap, warntime half of it,
initdead twice deadtime.
"""

from dataclasses import replace

from mpio.model.cluster import LinuxHa
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, stall_term, term
from mpio.planner.clusters.storage import Storage
from mpio.units import NS_PER_S, seconds

STACK = "heartbeat"
INITDEAD_MIN = 120
_HA_CF = "ha.cf(5)"


def longest_gap_ns(cluster: LinuxHa, storage: Storage) -> int | None:
    """The longest silence of a living host: one interval, and the stall if the host can freeze with its storage."""
    quiet_ns = seconds(cluster.keepalive) + storage.latency_ns + storage.jitter_ns
    if not storage.holds_host:
        return quiet_ns
    longest_ns, outage_ns = storage.longest_ns, storage.outage_ns
    return None if longest_ns is None or outage_ns is None else quiet_ns + max(longest_ns, outage_ns)


def deadlines(cluster: LinuxHa, storage: Storage) -> tuple[Deadline, ...]:
    """In the order in which they pass; counted from a stall only if the host can freeze with its storage."""
    warn_ns, dead_ns = seconds(cluster.warntime), seconds(cluster.deadtime)
    phase_ns = seconds(cluster.keepalive) + storage.latency_ns + storage.jitter_ns
    since = Since.HEARTBEAT if storage.holds_host else Since.FAILURE
    return (Deadline(
        "heartbeat.warning", "late heartbeat", Act.WARNS, since, warn_ns, warn_ns, "a line in the log", _HA_CF, phase_ns,
    ), Deadline(
        "heartbeat.dead", "declared dead", Act.FENCED if storage.holds_host else Act.DEAD, since, dead_ns, dead_ns,
        "the other node fences it where it can, and takes its resources", _HA_CF, phase_ns,
    ))


def inequalities(cluster: LinuxHa, storage: Storage) -> tuple[Inequality, ...]:
    """N1 if the host can freeze; LH-01 in its three parts."""
    dead = term("deadtime", seconds(cluster.deadtime), "heartbeat.deadtime")
    keepalive = term("keepalive", seconds(cluster.keepalive), "heartbeat.keepalive")
    found: list[Inequality] = []
    if storage.holds_host:
        for id, name, stall_ns in (("N1", "one path failure", storage.stall_ns),
                                   ("N3", "paths that fail one after another", storage.serial_ns),
                                   ("APD", "an outage of the whole array", storage.outage_ns)):
            if stall_ns == 0 and id != "N1":
                continue
            found.append(condition(
                id, STACK, Stake.FENCE, f"{name} makes no host look dead",
                [*stall_term(stall_ns), keepalive, term("latency", storage.latency_ns, "measured"),
                 term("jitter", storage.jitter_ns, "measured")], [dead], _HA_CF, endless_left=stall_ns is None,
                margin_ns=dead.value_ns // 4,
            ))
    gap_ns = longest_gap_ns(cluster, storage)
    return (*found, condition(
        "LH-01", STACK, Stake.ADVICE, "deadtime is twice the longest gap",
        [] if gap_ns is None else [term("2 longest gaps", 2 * gap_ns, "heartbeat.keepalive")], [dead],
        "tuning recipe", endless_left=gap_ns is None,
    ), condition(
        "LH-01w", STACK, Stake.ADVICE, "deadtime is twice warntime",
        [term("2 warntime", seconds(2 * cluster.warntime), "heartbeat.warntime")], [dead], "tuning recipe",
    ), condition(
        "LH-01i", STACK, Stake.FENCE, "a node that boots is not taken for dead",
        [term("2 deadtime", 2 * dead.value_ns, "heartbeat.deadtime")],
        [term("initdead", seconds(cluster.initdead), "heartbeat.initdead")], _HA_CF,
    ))


def required(cluster: LinuxHa, storage: Storage) -> LinuxHa:
    """This with deadtime raised to twice the longest gap and to twice warntime, and initdead to twice deadtime."""
    gap_ns = longest_gap_ns(cluster, storage)
    if gap_ns is None:
        raise ValueError("no deadtime outlasts a stall without end")
    deadtime = max(cluster.deadtime, -(-2 * gap_ns // NS_PER_S), 2 * cluster.warntime)
    return replace(cluster, deadtime=deadtime, initdead=max(cluster.initdead, 2 * deadtime))


def recommended(storage: Storage) -> LinuxHa:
    """The recipe with the stall as gap even if root is elsewhere: what waits for storage is often more than one thinks."""
    frozen = replace(storage, holds_host=True)
    needed = required(LinuxHa(), frozen)
    return replace(needed, warntime=needed.deadtime / 2, initdead=max(INITDEAD_MIN, 2 * needed.deadtime))
