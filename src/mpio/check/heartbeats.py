"""What a run of several nodes with heartbeats claims: who was fenced and why, that nobody wrote twice, what was left.

Each judge is a function from `ClusterFacts` to one claim, as those of `check.claims` are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mpio.check.stall import FaultTrace, Outage, node_of, outages
from mpio.check.verdict import Claim, MissingData, claim, judge_each
from mpio.events import Event, Kind
from mpio.units import NS_PER_S, format_duration

LATE_NS = NS_PER_S
"""By how much a machine that is busy with other things may be late with a timer in real time."""


@dataclass(frozen=True, slots=True)
class Margins:
    """The time that one node had left until its self-fence, looked at again and again; None while it held no lease."""

    start_ns: int
    interval_ns: int
    values_ns: Sequence[int | None]

    def least(self, quiet: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
        """The smallest one and when, but for the times in `quiet`; None if there is none."""
        found = [(value, at) for number, value in enumerate(self.values_ns) if value is not None
                 for at in [self.start_ns + number * self.interval_ns]
                 if not any(begin <= at <= end for begin, end in quiet)]
        return min(found, default=None)


@dataclass(frozen=True, slots=True)
class ServiceWrite:
    """One write of the service: which node made it, in which of its terms of office, and when it was under way."""

    node: int
    term: int
    start_ns: int
    end_ns: int | None


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the judges look at. Instants are of the run's one clock.

    Attributes:
        events: the whole journal. nodes: their numbers. paths: of each node.
        traces: faults of each node's paths.
        deadline_ns: from the last good heartbeat to the self-fence. dead_ns: from the last change to "dead".
        sample_ns: from one look at the others to the next. fence_ns: until a fence must hold.
        period_ns: from one heartbeat to the next.
        split_ns: from a split of the cluster network until a node is fenced, at most.
        stall_ns: the longest stall of a single failure, None where that is not bounded.
        margins: of each node. min_margin: share of the deadline that must be left.
        has_service: whether one was to run. writes: what it wrote, in the order of beginning.
        service_found: what was found wrong with its data at the end, or "".
        began_ns, ended_ns: the time in which heartbeats were to run.
    """

    events: Sequence[Event]
    nodes: Sequence[int]
    paths: int
    traces: Mapping[int, Sequence[FaultTrace]]
    deadline_ns: int
    dead_ns: int
    sample_ns: int
    fence_ns: int
    period_ns: int
    split_ns: int
    stall_ns: int | None
    margins: Mapping[int, Margins]
    min_margin: float
    has_service: bool
    writes: Sequence[ServiceWrite]
    service_found: str
    began_ns: int
    ended_ns: int
    complete: bool

    def of_kind(self, kind: Kind) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if event.kind is kind]

    def outages(self, node: int) -> list[Outage]:
        """When the node had no path."""
        return outages(self.traces[node], range(1, self.paths + 1))


def judge_cluster(facts: ClusterFacts) -> list[Claim]:
    """Every claim that a run with heartbeats makes."""
    judges: list[tuple[str, Callable[[ClusterFacts], Claim]]] = [
        ("no needless fence", _needless), ("fenced where it had to be", _missed), ("no split brain", _split_brain),
        ("dead nodes were noticed", _noticed), ("heartbeat margin", _margin)]
    if facts.has_service:
        judges.append(("the service went on", _service))
    return judge_each(facts, judges)


# --- causes of fences


def _network_faults(facts: ClusterFacts, network: str, kind: str = "") -> list[tuple[int, int, int]]:
    """From when until when which node's wire of this network had a fault (that begins with `kind`)."""
    open_since: dict[int, int] = {}
    windows = []
    for event in facts.events:
        node = event.fields.get("node")
        if event.fields.get("network") != network or not isinstance(node, int):
            continue
        if event.kind is Kind.FAULT_INJECTED and str(event.fields.get("fault", "")).startswith(kind):
            open_since[node] = event.t_ns
        elif event.kind is Kind.FAULT_HEALED and node in open_since:
            windows.append((open_since.pop(node), event.t_ns, node))
    return windows + [(since, facts.ended_ns, node) for node, since in open_since.items()]


def _reason(facts: ClusterFacts, fence: Event) -> str:
    """Why the fence had to be, or "" if nothing the drill did asks for it."""
    node, at, cause = node_of(fence.source), fence.t_ns, fence.fields.get("cause")
    late_ns = facts.deadline_ns + LATE_NS
    if cause == "storage" and any(outage.start_ns <= at <= outage.end_ns + late_ns for outage in facts.outages(node)):
        return "it had no path"
    if cause == "poison" and any(event.fields.get("node") == node and event.t_ns <= at
                                 for event in facts.of_kind(Kind.POISON_SENT)):
        return "it was poisoned"
    if cause == "quorum" and any(begin <= at <= end + facts.dead_ns + late_ns
                                 for begin, end, _ in _network_faults(facts, "cluster")):
        return "the cluster network was split"
    return ""


def _needless(facts: ClusterFacts) -> Claim:
    fences = facts.of_kind(Kind.NODE_FENCED)
    wrong = [fence for fence in fences if not _reason(facts, fence)]
    if wrong:
        return claim(passed=False, detail="; ".join(_needless_words(facts, fence) for fence in wrong),
                     evidence=[fence.seq for fence in wrong])
    if not facts.complete and not fences:
        raise MissingData("the run was broken off; until then nobody was fenced")
    told = "; ".join(f"node {node_of(fence.source)}: {_reason(facts, fence)}" for fence in fences)
    return claim(passed=True, detail=told or "nobody was fenced", evidence=[fence.seq for fence in fences])


def _needless_words(facts: ClusterFacts, fence: Event) -> str:
    node = node_of(fence.source)
    traces = [trace for trace in facts.traces[node] if trace.start_ns <= fence.t_ns <= trace.end_ns]
    cut = " and ".join(str(trace) for trace in traces)
    told = f"node {node}: {fence.fields.get('reason')}" + (f", by {cut} alone" if cut else ", without any fault")
    if facts.stall_ns is not None and traces and fence.fields.get("cause") == "storage":
        needed_ns = facts.stall_ns + facts.period_ns
        told += (f"; a failover may take {format_duration(facts.stall_ns)}, so that the deadline of "
                 f"{format_duration(facts.deadline_ns)} must be above {format_duration(needed_ns)}")
    return told


def _must_be_fenced(facts: ClusterFacts) -> list[tuple[int, int, str]]:
    """(node, at the latest, why): what had to bring a fence."""
    due = []
    crashed = {node_of(event.source) for event in facts.of_kind(Kind.NODE_CRASHED)}
    halted = _halts(facts)
    outages_of = {node: facts.outages(node) for node in facts.nodes}
    for node in facts.nodes:
        for outage in outages_of[node]:
            if node in halted and halted[node].t_ns < outage.start_ns:
                continue
            by_ns = outage.start_ns + facts.deadline_ns + facts.fence_ns + LATE_NS
            # All others hang as well: then they agree to wait
            spared = all(any(_overlap(outage, other) for other in outages_of[peer]) for peer in facts.nodes
                         if peer != node and peer not in crashed)
            if outage.first_heal_ns > by_ns and not spared and node not in crashed:
                due.append((node, by_ns, "it had no path"))
    for event in facts.of_kind(Kind.POISON_SENT):
        victim, sender = event.fields.get("node"), node_of(event.source)
        if not isinstance(victim, int) or victim in crashed:
            continue
        by_ns = event.t_ns + facts.deadline_ns + facts.fence_ns + LATE_NS
        in_vain = (sender in halted and halted[sender].t_ns <= by_ns) or any(
            outage.start_ns <= by_ns and event.t_ns <= outage.end_ns for outage in outages_of[sender])
        too_late = victim in halted and halted[victim].t_ns <= event.t_ns
        if not in_vain and not too_late:  # else the pill may never have got to the disk
            due.append((victim, by_ns, "it was poisoned"))
    return due


def _overlap(one: Outage, other: Outage) -> bool:
    return one.start_ns <= other.end_ns and other.start_ns <= one.end_ns


def _missed(facts: ClusterFacts) -> Claim:
    halted = _halts(facts)
    late, kept = [], []
    for node, by_ns, why in _must_be_fenced(facts):
        if by_ns > facts.ended_ns and node not in halted:
            raise MissingData(f"node {node} was not fenced by the end, but it still had time")
        if node not in halted:
            late.append(f"node {node} was not fenced, though {why}")
        elif halted[node].t_ns > by_ns:
            late.append(f"node {node} was fenced {format_duration(halted[node].t_ns - by_ns)} late, though {why}")
        else:
            kept.append(f"node {node}, {format_duration(by_ns - halted[node].t_ns)} before its time was up")
    for begin_ns, end_ns, node in _network_faults(facts, "cluster", "blackhole"):
        by_ns = begin_ns + facts.split_ns + facts.fence_ns + LATE_NS
        decided = [halt for halt in halted.values() if begin_ns <= halt.t_ns <= by_ns]
        there = [other for other in facts.nodes if other not in halted or halted[other].t_ns > begin_ns]
        if end_ns >= by_ns and node in there and len(there) > 1 and not decided:
            apart = format_duration(end_ns - begin_ns)
            late.append(f"nodes did not hear each other for {apart}, and nobody was fenced")
        elif decided:
            kept.append("a split was decided")
    evidence = [event.seq for event in halted.values()]
    if late:
        return claim(passed=False, detail="; ".join(late), evidence=evidence)
    if not kept:
        return claim(passed=True, detail="no fault asked for a fence")
    return claim(passed=True, detail="; ".join(kept), evidence=evidence)


# --- what fences are for


def _halts(facts: ClusterFacts) -> dict[int, Event]:
    """The instant from which on nothing of a node could reach the LUN."""
    return {node_of(event.source): event for event in facts.of_kind(Kind.NODE_HALTED)}


def _split_brain(facts: ClusterFacts) -> Claim:
    halted = _halts(facts)
    wrong: list[tuple[int | None, str]] = []
    for event in facts.of_kind(Kind.PEER_DEAD):
        victim = event.fields.get("node")
        if isinstance(victim, int) and (victim not in halted or halted[victim].t_ns > event.t_ns):
            told = f"node {node_of(event.source)} called node {victim} dead while that one could still write"
            wrong.append((event.seq, told))
    wrong += [(None, words) for words in _two_at_once(facts.writes, halted)]
    if facts.service_found:
        wrong.append((None, facts.service_found))
    if wrong:
        return claim(passed=False, detail="; ".join(words for _, words in wrong[:5]),
                     evidence=[seq for seq, _ in wrong if seq is not None])
    if not facts.complete:
        raise MissingData("the run was broken off; until then no two nodes wrote the same")
    dead = len(facts.of_kind(Kind.PEER_DEAD))
    calls = {0: "no node was called dead", 1: "one call that a node is dead, made after its end"}.get(
        dead, f"{dead} calls that a node is dead, all made after its end")
    writes = f"; {len(facts.writes)} writes of the service, by one node at a time" if facts.writes else ""
    return claim(passed=True, detail=calls + writes)


def _two_at_once(writes: Sequence[ServiceWrite], halted: Mapping[int, Event]) -> list[str]:
    """Terms of office of the service that overlap: a write that could land after the next term began to write."""
    last_by_term: dict[int, int | None] = {}
    first_by_term: dict[int, ServiceWrite] = {}
    nodes: dict[int, set[int]] = {}
    for write in writes:
        first_by_term.setdefault(write.term, write)
        nodes.setdefault(write.term, set()).add(write.node)
        end_ns = write.end_ns if write.end_ns is not None else (
            halted[write.node].t_ns if write.node in halted else None)
        known = last_by_term.get(write.term, end_ns)
        last_by_term[write.term] = None if end_ns is None or known is None else max(known, end_ns)
    found = [f"nodes {' and '.join(map(str, sorted(who)))} both held term {term} of the service"
             for term, who in nodes.items() if len(who) > 1]
    for one, other in pairwise(sorted(first_by_term)):
        last_ns, next_write = last_by_term[one], first_by_term[other]
        if last_ns is None or last_ns > next_write.start_ns:
            found.append(f"node {next_write.node} began term {other} of the service while a write of node "
                         f"{first_by_term[one].node} could still land")
    return found


def _noticed(facts: ClusterFacts) -> Claim:
    halted = _halts(facts)
    calls = facts.of_kind(Kind.PEER_DEAD)
    late, longest_ns = [], 0
    for node, halt in halted.items():
        by_ns = halt.t_ns + facts.dead_ns + 2 * facts.sample_ns + LATE_NS
        for observer in facts.nodes:
            if observer in halted:
                continue
            seen = next((call.t_ns for call in calls if node_of(call.source) == observer
                         and call.fields.get("node") == node), None)
            if seen is None and by_ns > facts.ended_ns:
                raise MissingData(f"node {observer} had not called node {node} dead by the end, but it still had time")
            if seen is None or seen > by_ns:
                late.append(f"node {observer} did not call node {node} dead within "
                            f"{format_duration(by_ns - halt.t_ns)} of its end")
            else:
                longest_ns = max(longest_ns, seen - halt.t_ns)
    if late:
        return claim(passed=False, detail="; ".join(late))
    if not halted:
        return claim(passed=True, detail="no node ended before its time")
    return claim(passed=True, detail=f"{len(halted)} ended; the others knew within {format_duration(longest_ns)}",
                 evidence=[event.seq for event in halted.values()])


def _margin(facts: ClusterFacts) -> Claim:
    seen: list[tuple[int, int, int]] = []
    for node in facts.nodes:
        quiet = _without_limit(facts, node)
        found = facts.margins[node].least(quiet) if node in facts.margins else None
        if found is not None:
            seen.append((*found, node))
        # What was seen now and then may have missed the least; the node itself knows it
        for event in facts.of_kind(Kind.HEARTBEAT_RESUMED):
            margin = event.fields.get("margin_ns")
            if node_of(event.source) == node and isinstance(margin, int) and not any(
                    begin <= event.t_ns <= end for begin, end in quiet):
                seen.append((margin, event.t_ns, node))
        seen += [(0, event.t_ns, node) for event in facts.of_kind(Kind.NODE_FENCED)
                 if node_of(event.source) == node and not _reason(facts, event)]
    if not seen:
        raise MissingData("no margin was ever seen")
    margin_ns, at_ns, node = min(seen)
    left = format_duration(margin_ns) if margin_ns > 0 else "nothing"
    detail = (f"at the least {left} of {format_duration(facts.deadline_ns)} was left "
              f"({max(margin_ns, 0) / facts.deadline_ns:.0%}), on node {node}, "
              f"{format_duration(at_ns - facts.began_ns)} after the heartbeats began")
    return claim(passed=margin_ns >= facts.min_margin * facts.deadline_ns, detail=detail)


def _without_limit(facts: ClusterFacts, node: int) -> list[tuple[int, int]]:
    """When a node's margin may go to nothing: it has no path, or not for long."""
    quiet = [(outage.start_ns, outage.end_ns + facts.deadline_ns) for outage in facts.outages(node)]
    return quiet + [(event.t_ns, facts.ended_ns) for event in facts.of_kind(Kind.NODE_FENCED)
                    if node_of(event.source) == node and _reason(facts, event)]


def _service(facts: ClusterFacts) -> Claim:
    ends = [write.end_ns for write in facts.writes if write.end_ns is not None]
    if not ends:
        raise MissingData("the service never wrote")
    moments = sorted([*ends, facts.ended_ns])
    gap_ns, gap_at = max(((after - before, before) for before, after in pairwise(moments)), default=(0, ends[0]))
    # At the worst: its node is fenced, called dead, and another one wishes, claims, reads back, and meets a stall
    limit_ns = (facts.dead_ns + facts.deadline_ns + 8 * facts.period_ns + (facts.stall_ns or 0) + 4 * LATE_NS
                + _outage_of_all_ns(facts))
    terms = {write.term: write.node for write in facts.writes}
    places = ", ".join(f"node {node}" for _, node in sorted(terms.items()))
    detail = (f"on {places}; {len(ends)} writes, the longest pause {format_duration(gap_ns)}, "
              f"{format_duration(gap_at - facts.began_ns)} after the heartbeats began")
    running = [node for node in facts.nodes if node not in _halts(facts)]
    return claim(passed=gap_ns <= limit_ns or not running, detail=f"{detail}; at most {format_duration(limit_ns)}")


def _outage_of_all_ns(facts: ClusterFacts) -> int:
    """The longest time for which no node had a path."""
    one, *others = facts.nodes
    common = [(outage.start_ns, outage.end_ns) for outage in facts.outages(one)]
    for node in others:
        common = [(max(begin, outage.start_ns), min(end, outage.end_ns)) for begin, end in common
                  for outage in facts.outages(node)]
    return max((end - begin for begin, end in common if end > begin), default=0)
