"""Corosync's token and Pacemaker's operations: what a stall does to resources, and when a silent node is out.

Corosync does no disk I/O while it passes its token, so a stall reaches it only if the host itself freezes. Resources
are hit by their monitor, then by their stop, and a stop that fails fences. Sources: corosync exec/totemconfig.c,
corosync.conf(5), Pacemaker Explained, resource-agents ocf:heartbeat:Filesystem.
"""

from dataclasses import replace

from mpio.model.cluster import Corosync
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, stall_term, term
from mpio.planner.clusters.storage import Storage
from mpio.units import NS_PER_S

STACK = "corosync"
TOKEN_MIN_NS = 3 * NS_PER_S
"""The default since October 2020; less than that is lost too easily."""
MONITOR_MARGIN_NS = 10 * NS_PER_S
STOP_MARGIN_NS = 30 * NS_PER_S
"""What rules PC-07 and PC-08 want on top of the stall."""
_NS_PER_MS = 1_000_000
_TOTEM = "corosync exec/totemconfig.c"
_CHAIN = "Pacemaker Explained: a stop that fails fences the node"


def effective_token_ns(cluster: Corosync) -> int:
    """Token as it is in force: longer by token_coefficient for every node past the second."""
    return (cluster.token_ms + max(0, cluster.nodes - 2) * cluster.token_coefficient_ms) * _NS_PER_MS


def consensus_ns(cluster: Corosync) -> int:
    """As set, or 1.2 times the effective token."""
    if cluster.consensus_ms is not None:
        return cluster.consensus_ms * _NS_PER_MS
    return effective_token_ns(cluster) * 6 // 5


def retransmit_ns(cluster: Corosync, before_loss: int = 4) -> int:
    """token_retransmit: the token's share for each of the retransmits, and a fifth of one more."""
    return effective_token_ns(cluster) * 5 // (5 * before_loss + 1)


def hold_ns(cluster: Corosync, tick_ns: int = 10 * _NS_PER_MS) -> int:
    """How long the ring's representative holds the token: 0.8 of the retransmit time less a tick."""
    return retransmit_ns(cluster) * 4 // 5 - tick_ns


def knet_ping_timeout_ns(cluster: Corosync, pong_count: int = 2) -> int:
    """When knet takes a link for down."""
    return effective_token_ns(cluster) // pong_count


def knet_ping_interval_ns(cluster: Corosync) -> int:
    """How often knet tries a link."""
    return effective_token_ns(cluster) // 4


def pause_warning_ns(cluster: Corosync) -> int:
    """A host that was not scheduled for so long is logged: its stall, not the network's."""
    return effective_token_ns(cluster) * 4 // 5


def deadlines(cluster: Corosync, storage: Storage) -> tuple[Deadline, ...]:
    """In the order in which they pass."""
    token_ns, agreed_ns = effective_token_ns(cluster), consensus_ns(cluster)
    monitor_ns, stop_ns = cluster.monitor_timeout * NS_PER_S, cluster.stop_timeout * NS_PER_S
    found = [Deadline(
        "corosync.tolerated", "longest stall tolerated", Act.TOLERATED, Since.STALL, monitor_ns, monitor_ns,
        "no operation of a resource times out", "op monitor timeout",
    ), Deadline(
        "corosync.monitor", "monitor fails", Act.FAILS, Since.STALL, monitor_ns, monitor_ns + 20 * NS_PER_S,
        "the resource is stopped, to be started elsewhere; later if its monitor was not under way (interval 20 s)",
        "op monitor timeout: ocf:heartbeat:Filesystem",
    ), Deadline(
        "corosync.stop", "stop fails", Act.FENCED, Since.STALL, monitor_ns + stop_ns,
        monitor_ns + 20 * NS_PER_S + stop_ns, "the stop ran into the same stall, and the node is fenced", _CHAIN,
    ), Deadline(
        "corosync.token", "token lost", Act.DEAD, Since.FAILURE, token_ns, token_ns + agreed_ns,
        "the ring is formed without the node; the others have it fenced", _TOTEM,
    )]
    if storage.holds_host:
        found.append(Deadline(
            "corosync.frozen", "frozen host", Act.FENCED, Since.STALL, token_ns, token_ns + agreed_ns,
            "corosync itself waits for the storage; the others have the node fenced", _TOTEM,
        ))
    return tuple(found)


def inequalities(cluster: Corosync, storage: Storage) -> tuple[Inequality, ...]:
    """N1 of a resource's monitor and stop and PC-07, PC-08; of a frozen host; PC-03 and PC-04."""
    monitor = term("monitor timeout", cluster.monitor_timeout * NS_PER_S, "corosync.monitor_timeout")
    stop = term("stop timeout", cluster.stop_timeout * NS_PER_S, "corosync.stop_timeout")
    token = term("token", effective_token_ns(cluster), "corosync.token_ms")
    found: list[Inequality] = []
    for id, name, stall_ns in _stalls(storage):
        around = [*stall_term(stall_ns), term("latency", storage.latency_ns, "measured")]
        endless = stall_ns is None
        suffix = "" if id == "N1" else f" ({id})"
        found += [
            condition(id, STACK, Stake.FENCE, f"{name} fences nobody", around, [monitor, stop], _CHAIN,
                      endless_left=endless, strict=True),
            condition(f"PC-08{suffix}", STACK, Stake.FENCE, f"a resource can be stopped during {name}", around, [stop],
                      _CHAIN, endless_left=endless, margin_ns=STOP_MARGIN_NS, strict=True),
            condition(f"PC-07{suffix}", STACK, Stake.SERVICE, f"{name} moves no resource", around, [monitor],
                      "ocf:heartbeat:Filesystem", endless_left=endless, margin_ns=MONITOR_MARGIN_NS, strict=True),
        ]
        if storage.holds_host:
            found.append(condition(
                f"SY-02{suffix}", STACK, Stake.FENCE, f"{name} does not freeze the host for longer than the token lasts",
                around, [token], "derived: root, swap or logs on the same storage", endless_left=endless, strict=True,
            ))
    found.append(condition(
        "PC-03", STACK, Stake.FENCE, "the token outlasts ordinary pauses of host and network",
        [term("least", TOKEN_MIN_NS, "corosync.conf(5): default since 2020")], [token], "corosync commit 8221f780",
    ))
    if cluster.nodes >= 3:
        found.append(condition(
            "PC-04", STACK, Stake.FENCE, "the nodes can agree on a new ring",
            [term("1.2 token", token.value_ns * 6 // 5, "corosync.token_ms")],
            [term("consensus", consensus_ns(cluster), "corosync.consensus_ms")], "corosync.conf(5)",
        ))
    return tuple(found)


def _stalls(storage: Storage) -> list[tuple[str, str, int | None]]:
    """The stalls to be survived: id, name, length."""
    found: list[tuple[str, str, int | None]] = [("N1", "one path failure", storage.stall_ns)]
    if storage.serial_ns != 0:
        found.append(("N3", "paths that fail one after another", storage.serial_ns))
    if storage.outage_ns != 0:
        found.append(("APD", "an outage of the whole array", storage.outage_ns))
    return found


def required(cluster: Corosync, storage: Storage) -> Corosync:
    """This with the timeouts of resources and the token raised to the smallest values that hold."""
    lengths = [stall_ns for _, _, stall_ns in _stalls(storage)]
    finite = [stall_ns for stall_ns in lengths if stall_ns is not None]
    if len(finite) < len(lengths):
        raise ValueError("no operation timeout outlasts a stall without end")
    over = (max(finite) + storage.latency_ns) // NS_PER_S + 1
    token_ms = max(cluster.token_ms, TOKEN_MIN_NS // _NS_PER_MS - max(0, cluster.nodes - 2)
                   * cluster.token_coefficient_ms)
    if storage.holds_host:
        token_ms = max(token_ms, over * 1000)
    raised = replace(cluster, monitor_timeout=max(cluster.monitor_timeout, over),
                     stop_timeout=max(cluster.stop_timeout, over), token_ms=token_ms)
    least_ms = -(-effective_token_ns(raised) * 6 // 5 // _NS_PER_MS)
    if raised.consensus_ms is not None and raised.nodes >= 3 and raised.consensus_ms < least_ms:
        raised = replace(raised, consensus_ms=None)
    return raised


def recommended(storage: Storage, nodes: int) -> Corosync:
    """The defaults, with monitor > S + 10 s and stop > S + 30 s; the token only if the host's own disk can stall."""
    needed = required(Corosync(nodes=nodes), storage)
    longest_ns = max(stall_ns or 0 for _, _, stall_ns in _stalls(storage)) + storage.latency_ns
    return replace(
        needed,
        monitor_timeout=max(needed.monitor_timeout, -(-(longest_ns + MONITOR_MARGIN_NS) // NS_PER_S)),
        stop_timeout=max(needed.stop_timeout, -(-(longest_ns + STOP_MARGIN_NS) // NS_PER_S)),
    )
