"""Corosync's token and Pacemaker's operations: what a stall does to resources, and when a silent node is out.

Corosync does no disk I/O while it passes its token, so a stall reaches it only if the host itself freezes. Resources
are hit by their monitor, then by their stop, and a stop that fails fences. Sources: corosync exec/totemconfig.c,
corosync.conf(5), Pacemaker Explained, resource-agents ocf:heartbeat:Filesystem.
"""

from dataclasses import replace

from mpio.model.cluster import Corosync
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, term
from mpio.planner.clusters.stack import Stack, survives, tolerated, whole_seconds
from mpio.planner.clusters.storage import Case, Storage
from mpio.units import NS_PER_S

TOKEN_MIN_NS = 3 * NS_PER_S
"""The default since October 2020; a shorter token is lost by ordinary pauses."""
MONITOR_MARGIN_NS = 10 * NS_PER_S
STOP_MARGIN_NS = 30 * NS_PER_S
"""What monitor and stop should have on top of the stall: less is tight."""
MONITOR_INTERVAL_NS = 20 * NS_PER_S
"""ocf:heartbeat:Filesystem's own; a monitor begins up to so much later than a stall."""
_NS_PER_MS = 1_000_000
_TOTEM = "corosync exec/totemconfig.c"
_STOP = "Pacemaker Explained: a stop that fails fences its node"


def effective_token_ns(cluster: Corosync) -> int:
    """The token in force: longer by token_coefficient for every node past the second."""
    return (cluster.token_ms + _coefficients_ms(cluster)) * _NS_PER_MS


def _coefficients_ms(cluster: Corosync) -> int:
    return max(0, cluster.nodes - 2) * cluster.token_coefficient_ms


def consensus_ns(cluster: Corosync) -> int:
    """As it is set, or 1.2 times the token in force."""
    if cluster.consensus_ms is not None:
        return cluster.consensus_ms * _NS_PER_MS
    return effective_token_ns(cluster) * 6 // 5


def retransmit_ns(cluster: Corosync, before_loss: int = 4) -> int:
    """token_retransmit: the share of the token that each retransmit gets, 0.2 of one kept back."""
    return effective_token_ns(cluster) * 5 // (5 * before_loss + 1)


def hold_ns(cluster: Corosync, tick_ns: int = 10 * _NS_PER_MS) -> int:
    """How long the ring's representative keeps the token: 0.8 of the retransmit time less one tick of the host."""
    return retransmit_ns(cluster) * 4 // 5 - tick_ns


def deadlines(cluster: Corosync, storage: Storage) -> tuple[Deadline, ...]:
    """In the order in which they pass for a stall; then what follows from a lost token."""
    token_ns = effective_token_ns(cluster)
    ring_ns = token_ns + consensus_ns(cluster)
    monitor_ns, stop_ns = cluster.monitor_timeout * NS_PER_S, cluster.stop_timeout * NS_PER_S
    least_ns = min(monitor_ns, stop_ns, *([token_ns] if storage.holds_host else []))
    pause_ns = token_ns * 4 // 5
    frozen = (Deadline(
        "corosync.pause", "pause warning", Act.WARNS, Since.STALL, pause_ns, pause_ns,
        "corosync logs that it was not scheduled: the host stalled, not the network", "corosync exec/main.c",
    ), Deadline(
        "corosync.frozen", "frozen host cast out", Act.FENCED, Since.STALL, token_ns, ring_ns,
        "corosync itself waits for the storage, and the others have its node fenced", _TOTEM,
    ))
    return (tolerated(
        "corosync", least_ns - storage.noise_ns, "no monitor or stop of a resource times out", "op timeouts",
    ), Deadline(
        "corosync.monitor", "monitor fails", Act.FAILS, Since.STALL, monitor_ns, monitor_ns + MONITOR_INTERVAL_NS,
        "the resource is stopped, to be started elsewhere; at the latest if its monitor had just run",
        "op monitor timeout, interval 20 s: ocf:heartbeat:Filesystem",
    ), Deadline(
        "corosync.stop", "stop fails", Act.FENCED, Since.STALL, monitor_ns + stop_ns,
        monitor_ns + MONITOR_INTERVAL_NS + stop_ns, "the stop ran into the same stall, and the node is fenced", _STOP,
    ), *(frozen if storage.holds_host else ()), Deadline(
        "corosync.link", "link down", Act.WARNS, Since.CONNECTION, token_ns // 2, token_ns // 2 + token_ns // 4,
        "knet uses the other link, if there is one", "knet_ping_timeout, knet_ping_interval: corosync.conf(5)",
    ), Deadline(
        "corosync.token", "token lost", Act.DEAD, Since.FAILURE, token_ns, ring_ns,
        "a ring is formed without the node, and the others have it fenced", _TOTEM,
    ))


def inequalities(cluster: Corosync, storage: Storage) -> tuple[Inequality, ...]:
    """For each kind of stall N1 (monitor, then stop), PC-08, PC-07, SY-02; then PC-03 and PC-04."""
    token = term("token", effective_token_ns(cluster), "corosync.token_ms")
    least = condition(
        "PC-03", "corosync", Stake.FENCE, "the token outlasts ordinary pauses of host and network",
        [term("least", TOKEN_MIN_NS, "corosync.conf(5): the default since 2020")], [token], "corosync commit 8221f780",
    )
    agrees = condition(
        "PC-04", "corosync", Stake.FENCE, "the nodes can agree on a new ring",
        [term("1.2 token", token.value_ns * 6 // 5, "corosync.token_ms")],
        [term("consensus", consensus_ns(cluster), "corosync.consensus_ms")], "corosync.conf(5)",
    )
    return (*(item for case in storage.cases for item in _of_case(cluster, storage, case)), least,
            *([agrees] if cluster.nodes > 2 else []))


def _of_case(cluster: Corosync, storage: Storage, case: Case) -> tuple[Inequality, ...]:
    monitor = term("monitor timeout", cluster.monitor_timeout * NS_PER_S, "corosync.monitor_timeout")
    stop = term("stop timeout", cluster.stop_timeout * NS_PER_S, "corosync.stop_timeout")
    suffix = "" if case.code == "N1" else f" {case.code}"
    frozen = survives(
        "corosync", case, storage, term("token", effective_token_ns(cluster), "corosync.token_ms"),
        "derived: root, swap or logs are on the same storage", code=f"SY-02{suffix}",
        claim="no host is frozen for longer than the token lasts by", strict=True,
    )
    return (condition(
        case.code, "corosync", Stake.FENCE, f"no monitor and stop in a row time out by {case.name}",
        [term("stall", case.stall_ns, "the storage's budget"), *storage.noise], [monitor, stop], _STOP, strict=True,
    ), survives(
        "corosync", case, storage, stop, _STOP, code=f"PC-08{suffix}", claim="no stop is made to fail by",
        margin_ns=STOP_MARGIN_NS, strict=True,
    ), survives(
        "corosync", case, storage, monitor, "ocf:heartbeat:Filesystem", code=f"PC-07{suffix}", stake=Stake.SERVICE,
        claim="no resource is moved by", margin_ns=MONITOR_MARGIN_NS, strict=True,
    ), *([frozen] if storage.holds_host else []))


def required(cluster: Corosync, storage: Storage) -> Corosync:
    """The timeouts of resources and the token raised to the smallest values that hold."""
    stall_ns = storage.finite_ns("corosync.stop_timeout") + storage.noise_ns
    over = stall_ns // NS_PER_S + 1
    token_ms = max(cluster.token_ms, TOKEN_MIN_NS // _NS_PER_MS - _coefficients_ms(cluster))
    if storage.holds_host:
        token_ms = max(token_ms, stall_ns // _NS_PER_MS + 1 - _coefficients_ms(cluster))
    raised = replace(cluster, token_ms=token_ms, monitor_timeout=max(cluster.monitor_timeout, over),
                     stop_timeout=max(cluster.stop_timeout, over))
    if raised.nodes > 2 and 5 * consensus_ns(raised) < 6 * effective_token_ns(raised):
        raised = replace(raised, consensus_ms=None)  # what corosync makes of an unset one is right
    return raised


def recommended(storage: Storage, nodes: int) -> Corosync:
    """The defaults, with at least S + 10 s for a monitor and S + 30 s for a stop, and a token of whole seconds."""
    needed = required(Corosync(nodes=nodes), storage)
    stall_ns = storage.finite_ns("corosync.stop_timeout") + storage.noise_ns
    return replace(
        needed, token_ms=1000 * -(-needed.token_ms // 1000),
        monitor_timeout=max(needed.monitor_timeout, whole_seconds(stall_ns + MONITOR_MARGIN_NS)),
        stop_timeout=max(needed.stop_timeout, whole_seconds(stall_ns + STOP_MARGIN_NS)),
    )


STACK: Stack[Corosync] = Stack(
    "corosync", deadlines, inequalities, required,
    shortest=lambda cluster: replace(cluster, monitor_timeout=1, stop_timeout=1, stonith_timeout=1),
    heartbeat_name="Corosync's token",
    heartbeat_ns=lambda cluster, storage: effective_token_ns(cluster) if storage.holds_host else None,
)
