"""The verdict over a run: every fence had a cause that theory knows, and every fence that had to come came in time."""

from mpio.check.breach import Breach, Breaches
from mpio.check.fencing import Trouble, due_ns, is_explained, merged
from mpio.events import Kind
from mpio.heartbeat.machine import Cause
from mpio.sim.cluster.plan import Fault
from mpio.sim.cluster.splits import check_splits
from mpio.sim.cluster.theory import StorageTheory, network_times
from mpio.sim.cluster.world import Fenced, World

_NETWORK_TRACE_PERIODS = 10  # heartbeats until everybody has seen on disk whom the others hear


def judge(
    world: World, faults: list[Fault], theory: StorageTheory, troubles: list[list[Trouble]],
) -> list[Breach]:
    """All breaches, those found on the way as well. `troubles`: of the theory, by node."""
    found = Breaches()
    for fence in world.record.fenced:
        why = _unexplained(world, fence, faults, troubles[fence.life[0]])
        if why:
            node, life = fence.life
            found.add("unexplained", fence.t_ns, f"node {node} (life {life}) was fenced ({fence.cause}: "
                                                 f"{fence.reason}) {why}")
    for bitten, t_ns in world.record.bitten.items():
        if not any(trouble.begin_ns <= t_ns <= trouble.end_ns for trouble in _pauses(faults, bitten[0])):
            found.add("watchdog", t_ns, f"node {bitten[0]} (life {bitten[1]}) did not fence itself, its watchdog did")
    for node in range(world.plan.nodes):
        for deaf in theory.deaf_times(node):
            _check_due(world, node, deaf, troubles, found)
    _check_pills(world, troubles, found)
    if world.rules.has_beats:
        _check_noticed(world, found)
        check_splits(world, faults, troubles, found)
    taken = [breach for breach in world.takeovers.breaches.kept if not _is_predicted(world, faults, breach)]
    return found.kept + world.breaches.kept + taken


def _is_predicted(world: World, faults: list[Fault], breach: Breach) -> bool:
    """Whether theory says that this heartbeat lets two nodes write, which only one does that counts from completions.

    Either a heartbeat was on the medium long before its writer heard of it (S2). Or OCFS2's nodes agreed to wait, of
    whom one did not hang any more: it had asked before, nobody takes that back, and it never promises to wait itself.
    Or the disk lost a heartbeat that it had acknowledged: OCFS2 finds that out with the next one, and counts from it.
    Or the observer itself hung: OCFS2 counts samples, and takes two in a row where it has no time to sleep.
    """
    rules, terms = world.rules, world.rules.terms
    if rules.counts_from_issue or not rules.has_beats:
        return False
    if breach.rule == "risen":  # OCFS2 arms nothing while a node joins, and lets a life live again
        world.record.counts["risen that joining without a deadline allows"] += 1
        return True
    late_ns = max(world.record.acks.values(), default=0)
    if terms.longest(terms.deadline_ns + late_ns) + terms.fence_ns + terms.period_ns // 2 > terms.deadline_ns + (
            terms.period_ns):
        world.record.counts[f"{breach.rule} that S2 predicts"] += 1
        return True
    if any(told.kind == Kind.HEARTBEAT_RESUMED and 0 <= breach.t_ns - told.t_ns < rules.dead_ns
           for told in world.record.told):
        world.record.counts[f"{breach.rule} that an observer's own stall allows"] += 1
        return True
    since_ns = breach.t_ns - terms.longest(terms.deadline_ns) - terms.fence_ns
    if any(t_ns > since_ns for t_ns in world.record.negotiated.values()):
        world.record.counts[f"{breach.rule} that negotiation allows"] += 1
        return True
    if any(fault.kind == "disk_lies" and fault.at_ns < breach.t_ns < fault.ends_ns + rules.dead_ns for fault in faults):
        world.record.counts[f"{breach.rule} that an unverified heartbeat allows"] += 1
        return True
    return False


def _pauses(faults: list[Fault], node: int) -> list[Trouble]:
    return [Trouble(fault.at_ns, fault.ends_ns) for fault in faults
            if fault.kind == "node_pause" and fault.node == node]


def _unexplained(world: World, fence: Fenced, faults: list[Fault], troubles: list[Trouble]) -> str:
    """Why a fence is not what theory predicts; empty if it is."""
    terms = world.rules.terms
    if fence.cause is Cause.STORAGE:
        if is_explained(fence.t_ns, troubles, terms):
            return ""
        return "though its storage answered for long enough"
    if fence.cause is Cause.QUORUM:
        trace_ns = world.plan.network.idle_ns + world.rules.split_ns + world.rules.dead_ns + (
            _NETWORK_TRACE_PERIODS * terms.period_ns)
        times = network_times(world.plan, faults, trace_ns)
        if any(time.begin_ns <= fence.t_ns <= time.end_ns for time in times):
            return ""
        return "though the nodes heard each other"
    if fence.cause is Cause.POISON:
        if any(t_ns <= fence.t_ns for t_ns in world.record.poisoned.get(fence.life, ())):
            return ""
        return "though nobody has sent this life poison"
    if is_explained(fence.t_ns, troubles, terms):  # a write that failed is one that is not found afterwards
        return ""
    return "though no other node has its number, and nothing it wrote was lost"


def _check_due(
    world: World, node: int, deaf: Trouble, troubles: list[list[Trouble]], found: Breaches,
) -> None:
    """A node whose storage is gone for long enough has to be fenced by then, unless nobody's storage works."""
    begin_ns = deaf.begin_ns
    due = due_ns(begin_ns, world.rules.terms)
    if deaf.end_ns <= due:
        return
    life = next((life for life, served_ns in world.record.served.items()
                 if life[0] == node and served_ns < begin_ns and world.record.gone.get(life, (due, ""))[0] > begin_ns),
                None)
    if life is None or world.record.leaving.get(life, due) < due:
        return
    if all(_touches(merged(others), begin_ns, due) for others in _others(troubles, node)):
        return
    world.record.counts["fence that had to come"] += 1
    gone = world.record.gone.get(life)
    if gone is None or gone[0] > due:
        found.add("overdue", due, f"node {node} (life {life[1]}) has had no storage since {begin_ns / 1e9:.3f} s, "
                                  f"and {'still runs' if gone is None else f'ran until {gone[0] / 1e9:.3f} s'}")


def _check_pills(world: World, troubles: list[list[Trouble]], found: Breaches) -> None:
    """Whoever is poisoned finds the pill with its next good heartbeat, or has none until its deadline.

    Who never became a member has nothing to stop, and is refused.
    """
    terms = world.rules.terms
    for life, sent in world.record.poisoned.items():
        if life not in world.record.served:
            continue
        written_ns = sent[0] + terms.longest(terms.period_ns) + 3 * terms.cycle_ns
        due = due_ns(written_ns, terms) + terms.longest(terms.period_ns)
        gone = world.record.gone.get(life, (world.schedule.now + 1, ""))[0]
        sender = world.record.senders[life]
        is_sound = not _touches(troubles[sender[0]], sent[0] - terms.period_ns, written_ns) and (
            world.record.gone.get(sender, (written_ns, ""))[0] >= written_ns)
        if is_sound and due < min(gone, world.schedule.now) and world.record.leaving.get(life, due) >= due:
            found.add("overdue", due, f"node {life[0]} (life {life[1]}) was sent poison at {sent[0] / 1e9:.3f} s, and "
                                      "still runs")


def _check_noticed(world: World, found: Breaches) -> None:
    """Whoever was a member all the while has to know of every life that has ended: it was dead, restarted, or left."""
    record, now = world.record, world.schedule.now
    patience_ns = world.rules.terms.longest(world.rules.dead_ns) + 4 * world.rules.terms.period_ns
    for victim, (gone_ns, _) in record.gone.items():
        if victim not in record.served or not record.is_well:
            continue
        for observer, served_ns in record.served.items():
            if observer[0] == victim[0] or served_ns >= record.served[victim] or observer in record.gone or (
                    observer in record.leaving):
                continue
            if victim not in record.noticed.get(observer, ()) and now > gone_ns + patience_ns:
                found.add("unnoticed", now, f"node {observer[0]} never said that node {victim[0]} (life {victim[1]}) "
                                            f"is over, which it is since {gone_ns / 1e9:.3f} s")


def _others(troubles: list[list[Trouble]], node: int) -> list[list[Trouble]]:
    return [found for number, found in enumerate(troubles) if number != node]


def _touches(troubles: list[Trouble], begin_ns: int, end_ns: int) -> bool:
    return any(trouble.begin_ns < end_ns and trouble.end_ns > begin_ns for trouble in troubles)
