"""What a run's nodes have to show, as facts for the judges, and the claims of all nodes as one list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpio.check.bounds import measure
from mpio.check.claims import Facts, judge_all
from mpio.check.heartbeats import ClusterFacts, judge_cluster
from mpio.check.stall import FaultStall, FaultTrace, fault_traces, of_node
from mpio.check.verdict import Claim, Result
from mpio.drill.cluster import HeartbeatCluster
from mpio.drill.node import Node
from mpio.drill.personality import FENCE_NS
from mpio.drill.scenario import Scenario
from mpio.events import Event
from mpio.units import NS_PER_S

_WORST_FIRST = (Result.FAIL, Result.UNKNOWN, Result.PASS)


@dataclass(frozen=True, slots=True)
class Course:
    """How the run went.

    Attributes:
        events: all of the journal. end_ns: when the run ended.
        recovered_ns: when all paths were back; None if that never came.
        incomplete: why the run did not come to its end, or "".
    """

    events: Sequence[Event]
    end_ns: int
    recovered_ns: int | None
    incomplete: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What one node has to show: its facts, and its stalls, those that its halt cut short among them."""

    node: Node
    facts: Facts
    stalls: Sequence[FaultStall]


def judged(node: Node, scenario: Scenario, course: Course, *, read_only: bool, traces: bool = True) -> Judged:
    """The facts of one node. Without `traces`, faults are left out (they are what a crash was in)."""
    workload, claims = node.workload, scenario.claims
    events = of_node(course.events, node.number)
    end_ns = node.halted_ns if node.halted else course.end_ns
    grace_ns = node.bounds(()).single.worst_ns or 0
    faults = fault_traces(events, end_ns, grace_ns) if traces else []
    bounds = node.bounds(faults)
    stalls = [] if workload is None else measure(faults, workload.times, bounds)
    counts = {} if workload is None else dict(workload.counts)
    recovered_ns = course.recovered_ns
    return Judged(node, Facts(
        events=_until(events, end_ns) if node.halted else events,
        stalls=[stall for stall in stalls if _saw_the_end(node, stall.trace)],
        cut_short=[trace for trace in faults if not _saw_the_end(node, trace)],
        findings=[] if workload is None else workload.findings(),
        faulty_blocks=0 if workload is None else workload.faulty_blocks,
        blocks_checked=0 if workload is None else workload.blocks_checked,
        unread_blocks=0 if workload is None else workload.unread_blocks,
        verified=node.verified,
        region_blocks=0 if workload is None else workload.blocks,
        read_only=read_only,
        counts=counts,
        errors=[] if workload is None else workload.first_errors,
        # What was under way on a node when it was halted is not for it to end
        unfinished=0 if node.halted else sum(
            count for name, count in counts.items() if name.endswith(" unfinished")),
        ended_after_heal=_ended_after(node, recovered_ns, course.end_ns),
        max_stall=claims.max_stall,
        max_reinstate=claims.max_reinstate,
        reinstate_bound_ns=bounds.reinstate.worst_ns,
        errors_allowed=claims.errors == "allowed",
        false_failovers_allowed=claims.false_failovers == "allowed",
        complete=not course.incomplete,
        incomplete=course.incomplete,
    ), stalls)


def _ended_after(node: Node, recovered_ns: int | None, end_ns: int) -> int:
    """How many I/Os ended after the recovery; for a node that was halted, at all."""
    if node.workload is None:
        return 0
    if node.halted:
        return len(node.workload.times)
    return 0 if recovered_ns is None else node.workload.times.ended_between(recovered_ns, end_ns)


def _until(events: Sequence[Event], end_ns: int) -> list[Event]:
    """What a halted node did: its paths' end is its own end's doing."""
    return [event for event in events if event.t_ns < end_ns]


def _saw_the_end(node: Node, trace: FaultTrace) -> bool:
    """Whether the node was there until a fault was over. If not, the fault is for the claims about fences."""
    return not node.halted or trace.end_ns < node.halted_ns


def claims_of_all(nodes: Sequence[Judged]) -> list[Claim]:
    """Each claim once: it has the worst result of any node, and says whose."""
    if len(nodes) == 1:
        return judge_all(nodes[0].facts)
    by_name: dict[str, list[tuple[int, Claim]]] = {}
    for item in nodes:
        for claim in judge_all(item.facts):
            by_name.setdefault(claim.name, []).append((item.node.number, claim))
    return [_joined(name, claims) for name, claims in by_name.items()]


def _joined(name: str, claims: Sequence[tuple[int, Claim]]) -> Claim:
    result = next(result for result in _WORST_FIRST if any(claim.result is result for _, claim in claims))
    told = [(node, claim) for node, claim in claims if claim.result is result]
    if len({claim.detail for _, claim in told}) == 1 and len(told) == len(claims):
        detail = told[0][1].detail
    else:
        detail = "; ".join(f"node {node}: {claim.detail}" for node, claim in told)
    evidence = [value for _, claim in told for value in claim.evidence]
    return Claim(name, result, detail, tuple(evidence))


def cluster_claims(cluster: HeartbeatCluster, scenario: Scenario, nodes: Sequence[Judged], course: Course,
                   ) -> list[Claim]:
    """What is claimed of the nodes as a cluster."""
    spec, kind = scenario.cluster, cluster.personality
    return judge_cluster(ClusterFacts(
        events=course.events,
        nodes=[item.node.number for item in nodes],
        paths=scenario.path_count,
        traces={item.node.number: [*item.facts.traces, *item.facts.cut_short] for item in nodes},
        deadline_ns=kind.deadline_ns,
        dead_ns=kind.dead_ns,
        sample_ns=kind.sample_ns,
        fence_ns=FENCE_NS,
        period_ns=kind.period_ns,
        split_ns=kind.split_ns,
        stall_ns=nodes[0].node.bounds(()).single.worst_ns,
        margins=cluster.margins(),
        min_margin=scenario.claims.min_margin,
        has_service=spec.service,
        writes=cluster.log.writes,
        service_found=cluster.log.wrong,
        began_ns=cluster.start_ns,
        ended_ns=cluster.end_ns or course.end_ns,
        complete=not course.incomplete,
    ))


def summed_counts(nodes: Sequence[Judged]) -> dict[str, int]:
    """I/Os by "op outcome", of all nodes."""
    counts: dict[str, int] = {}
    for item in nodes:
        for name, count in item.facts.counts.items():
            counts[name] = counts.get(name, 0) + count
    return counts


def latency_metrics(nodes: Sequence[Node]) -> dict[str, int]:
    """Median, 99th percentile and worst of all I/Os; empty without any."""
    latencies = sorted(value for node in nodes if node.workload is not None
                       for value in node.workload.times.latencies_ns())
    if not latencies:
        return {}
    return {"median": latencies[len(latencies) // 2], "p99": latencies[len(latencies) * 99 // 100],
            "worst": latencies[-1]}


def rates(nodes: Sequence[Node], span_ns: int) -> Mapping[str, float | None]:
    """I/Os and bytes a second of all nodes."""
    seconds = span_ns / NS_PER_S
    workloads = [node.workload for node in nodes if node.workload is not None]
    if seconds <= 0 or not workloads:
        return {"iops": None, "bytes_per_s": None}
    return {"iops": sum(len(workload.times) for workload in workloads) / seconds,
            "bytes_per_s": sum(workload.bytes_done for workload in workloads) / seconds}
