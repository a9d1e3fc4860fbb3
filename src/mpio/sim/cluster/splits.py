"""What must come of a network split: one side goes on, and it is the right one.

`two-halves`: two members that cannot hear each other both think that they may go on. `nobody-left`: all members were
fenced for the same split, though one of them decided for all. `undecided`: with nothing else wrong, both sides still
run when the decision is overdue. `unsafe-side`: a node whose storage works was fenced for the sake of others of whom
none has any. `wrong-side`: with nothing else wrong, the side that goes on is not the one that clients reach, else the
larger one, else the one with the lowest number.
"""

from collections.abc import Sequence

from mpio.check.breach import Breaches
from mpio.check.fencing import Trouble
from mpio.heartbeat.machine import Cause
from mpio.sim.cluster.plan import ClusterPlan, Fault
from mpio.sim.cluster.world import World

DECISION_PERIODS = 8  # everybody's view has to be on disk, and seen; a pill has to be written, and found
SAFE_PERIODS = 7  # a heartbeat is late after three; a decision and its pill take some more
_HARMLESS = ("clients_lost",)


def check_splits(
    world: World, faults: list[Fault], troubles: Sequence[Sequence[Trouble]], found: Breaches,
) -> None:
    """Judge all splits of a run."""
    if world.rules.one_decides:
        _check_somebody_left(world, found)
    _check_data_first(world, troubles, found)
    for fault in faults:
        if fault.kind == "split" and _is_alone(world.plan, fault, faults):
            _check_alone(world, fault, faults, found)


class HalvesWatch:
    """Looks now and then whether two halves go on."""

    def __init__(self, world: World, troubles: Sequence[Sequence[Trouble]], found: Breaches) -> None:
        self._world = world
        self._troubles = troubles
        self._found = found
        self._apart_since: dict[tuple[int, int], int] = {}

    def look(self) -> None:
        """Look at every pair."""
        world = self._world
        now = world.schedule.now
        network = world.network
        told_ns = 2 * (network.spec.idle_ns + network.spec.hello_ns) + 2 * network.extra_ns + 100_000_000
        for one in range(len(world.nodes)):
            for other in range(one):
                if network.passes(one, other) or network.passes(other, one):
                    self._apart_since.pop((one, other), None)
                    continue
                since = self._apart_since.setdefault((one, other), now)
                if now - since > told_ns and self._goes_on(one, since) and self._goes_on(other, since):
                    self._found.add("two-halves", now, f"nodes {other} and {one}, apart since {since / 1e9:.3f} s, "
                                                       "both think that they have quorum")

    def _goes_on(self, number: int, since_ns: int) -> bool:
        """Whether it thinks that it may, though it could see better: on disk, since before they were apart."""
        node = self._world.nodes[number]
        before_ns = since_ns - 3 * self._world.rules.terms.period_ns
        if not node.is_serving or node.work.stopping or node.machine is None or (
                self._world.record.served[number, node.life] > before_ns):
            return False
        if any(trouble.begin_ns < self._world.schedule.now and trouble.end_ns > before_ns
               for trouble in self._troubles[number]):
            return False
        return node.machine.status(node.process.clock()).quorum


def _check_somebody_left(world: World, found: Breaches) -> None:
    record = world.record
    lost = {fence.life: fence.t_ns for fence in record.fenced if fence.cause is Cause.QUORUM}
    for life, t_ns in lost.items():
        members = [other for other, served_ns in record.served.items()
                   if served_ns < t_ns and record.gone.get(other, (t_ns + 1, ""))[0] >= t_ns]
        within_ns = world.rules.dead_ns
        if len(members) > 1 and all(other in lost and abs(lost[other] - t_ns) < within_ns for other in members):
            found.add("nobody-left", t_ns, f"all members were fenced for one split, with node {life[0]}")
            return


def _check_data_first(world: World, troubles: Sequence[Sequence[Trouble]], found: Breaches) -> None:
    """Data before service: whoever wins a split has to have had a heartbeat lately."""
    record, terms = world.record, world.rules.terms
    long_ns = SAFE_PERIODS * terms.longest(terms.period_ns) + 4 * terms.cycle_ns
    quorum_fences = [fence for fence in record.fenced if fence.cause is Cause.QUORUM]
    lost = {fence.life: None for fence in quorum_fences}
    for fence in quorum_fences:
        t_ns = fence.t_ns
        winners = {life: beat_ns for life, beat_ns in fence.beats if life not in lost and (
            record.gone.get(life, (t_ns + 1, ""))[0] > t_ns and life in record.served)}
        is_well = not any(trouble.begin_ns < t_ns < trouble.end_ns for trouble in troubles[fence.life[0]])
        if winners and is_well and all(beat_ns < t_ns - long_ns for beat_ns in winners.values()):
            found.add("unsafe-side", t_ns, f"node {fence.life[0]} lost a split to nodes without storage: "
                                           f"{[node for node, _ in winners]}")


def _is_alone(plan: ClusterPlan, split: Fault, faults: list[Fault]) -> bool:
    """Whether nothing else goes wrong while this split is decided: all members are well, and scores stand."""
    if split.at_ns < 4_000_000_000:
        return False
    for fault in faults:
        if fault is split:
            continue
        if fault.kind not in _HARMLESS:
            return False
        if not (fault.at_ns < split.at_ns - 1_000_000_000 and fault.ends_ns > split.ends_ns) and not (
                fault.at_ns > split.ends_ns):
            return False
    return not plan.shared


def _check_alone(world: World, split: Fault, faults: list[Fault], found: Breaches) -> None:
    plan, rules, spec = world.plan, world.rules, world.plan.network
    due_ns = (split.at_ns + 2 * (spec.idle_ns + spec.hello_ns + spec.delay_ns + spec.jitter_ns) + rules.split_ns +
              rules.terms.longest(DECISION_PERIODS * rules.terms.period_ns) + 8 * rules.terms.cycle_ns +
              rules.terms.fence_ns)
    members = [life for life, served_ns in world.record.served.items() if served_ns < split.at_ns - 1_000_000_000]
    if split.ends_ns < due_ns or len(members) < plan.nodes:
        return
    left = [node for node, life in sorted(members) if world.record.gone.get((node, life), (due_ns + 1, ""))[0] > due_ns]
    sides = [[node for node in range(plan.nodes) if (split.amount >> node & 1) == side] for side in (0, 1)]
    if not all(sides):
        return
    world.record.counts["split that had to be decided"] += 1
    clients = [fault for fault in faults if fault.kind == "clients_lost"] if rules.one_decides else []
    right = max(sides, key=lambda side: _rank(side, clients, split))
    if all(any(node in left for node in side) for side in sides):
        found.add("undecided", due_ns, f"nodes {sides[0]} and {sides[1]} cannot hear each other since "
                                       f"{split.at_ns / 1e9:.3f} s, and {left} run")
    elif left != right:
        found.add("wrong-side", due_ns, f"{left} run after the split of {sides[0]} from {sides[1]}; expected {right}")


def _rank(side: list[int], clients_lost: list[Fault], split: Fault) -> tuple[bool, int, int]:
    lost = [fault.node for fault in clients_lost if fault.at_ns < split.at_ns < fault.ends_ns]
    return any(node not in lost for node in side), len(side), -side[0]
