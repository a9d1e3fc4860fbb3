"""What a drill claims, judged one by one from the run's facts.

Each judge is a function from `Facts` to one claim. Facts that are missing make a claim unknown, never passed.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mpio.check.blocks import BlockFault, Finding
from mpio.check.stall import FaultStall, FaultTrace, false_failovers
from mpio.check.verdict import Claim, MissingData, claim, judge_each
from mpio.events import Event
from mpio.units import format_duration

_SHOWN_MAX = 5  # examples in the words of a claim; all of them are in the evidence


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the judges look at. Instants are of the run's one clock.

    Attributes:
        verified: for each path the number of blocks that were read through it at the end, or why they were not.
        region_blocks: how many there are.
        counts: I/Os by "op outcome".
        unfinished: I/Os that had not ended when the run did.
        max_stall, max_reinstate: a limit in ns, or `bound` or `any`.
        reinstate_bound_ns: the computed one, None where there is none.
        last_heal_ns: when the last fault was over; None without faults.
        ended_after_heal: I/Os that ended well after that.
        cut_short: faults that the node itself did not see the end of.
        complete: False if the run did not come to its end; `incomplete` says why.
    """

    events: Sequence[Event]
    stalls: Sequence[FaultStall]
    findings: Sequence[Finding]
    faulty_blocks: int
    blocks_checked: int
    unread_blocks: int
    verified: Mapping[int, int | str]
    region_blocks: int
    read_only: bool
    counts: Mapping[str, int]
    errors: Sequence[str]
    unfinished: int
    ended_after_heal: int
    max_stall: int | str
    max_reinstate: int | str
    reinstate_bound_ns: int | None
    errors_allowed: bool
    false_failovers_allowed: bool
    complete: bool
    incomplete: str = ""
    cut_short: Sequence[FaultTrace] = ()

    @property
    def traces(self) -> list[FaultTrace]:
        """The faults alone."""
        return [stall.trace for stall in self.stalls]


def judge_all(facts: Facts) -> list[Claim]:
    """Every claim that this run makes; those about faults only where there were some."""
    judges: list[tuple[str, Callable[[Facts], Claim]]] = [
        ("run complete", _complete), ("no data lost", _no_data_lost), ("verified through every path", _verified)]
    if facts.stalls:
        judges += [("stall within the bound", _stall), ("every fault had its effect", _effect),
                   ("paths reinstated", _reinstated)]
    judges += [("no I/O errors", _errors), ("no false failover", _no_false_failover), ("progress", _progress)]
    return judge_each(facts, judges)


def _complete(facts: Facts) -> Claim:
    if not facts.complete:
        raise MissingData(f"the run did not come to its end: {facts.incomplete}")
    return claim(passed=True, detail="every step was done, and the region was read back")


def _no_data_lost(facts: Facts) -> Claim:
    if facts.faulty_blocks:
        kinds = Counter[str]()
        for finding in facts.findings:
            kinds[finding.kind] += finding.blocks
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        examples = "; ".join(str(finding) for finding in facts.findings[:_SHOWN_MAX])
        evidence = [f"{finding.kind} LBA {finding.lba}+{finding.blocks}" for finding in facts.findings[:100]]
        return claim(passed=False, detail=f"{listed} of {facts.region_blocks} blocks. {examples}", evidence=evidence)
    if not facts.blocks_checked:
        raise MissingData("no block was read back")
    kinds_text = BlockFault.CHANGED if facts.read_only else ", ".join(
        kind for kind in BlockFault if kind is not BlockFault.CHANGED)
    if facts.unread_blocks:
        raise MissingData(f"{facts.unread_blocks} blocks with acknowledged writes could not be read back")
    if not facts.complete and not facts.read_only:
        raise MissingData(f"{facts.blocks_checked} blocks were right, but the final check is missing")
    return claim(passed=True, detail=f"{facts.blocks_checked} block reads checked, 0 blocks {kinds_text}")


def _verified(facts: Facts) -> Claim:
    missing = [f"path {path}: {found if isinstance(found, str) else f'only {found} blocks'}"
               for path, found in facts.verified.items() if found != facts.region_blocks]
    if missing or not facts.verified:
        raise MissingData("not read back at the end: " + ("; ".join(missing) or "any path"))
    return claim(passed=True, detail=f"{facts.region_blocks} blocks read back through each of "
                                     f"{len(facts.verified)} paths")


def _stall(facts: Facts) -> Claim:
    if facts.max_stall == "any":
        worst = max(facts.stalls, key=lambda stall: stall.worst_stall_ns)
        return claim(passed=True, detail=f"no limit asked for; worst {_stall_text(worst, None)}")
    over, unknown, within = [], [], []
    for stall in facts.stalls:
        limit = facts.max_stall if isinstance(facts.max_stall, int) else stall.bound_ns
        if limit is None and stall.trace.expect == "ride-through":
            continue  # nothing is to fail over, so that nothing bounds it but the command timeout
        if not stall.ios or limit is None:
            unknown.append(f"{stall.trace}: " + ("no I/O was under way" if limit is not None else "no bound is known"))
        elif stall.worst_stall_ns > limit:
            over.append(stall)
        else:
            within.append(stall)
    if over:
        return claim(passed=False, evidence=[stall.trace.marks[0].seq for stall in over],
                     detail="; ".join(_stall_text(stall, facts.max_stall) for stall in over[:_SHOWN_MAX]))
    if unknown:
        raise MissingData("; ".join(unknown[:_SHOWN_MAX]))
    if not within:
        return claim(passed=True, detail="no fault was to take a path away")
    worst = max(within, key=lambda stall: stall.worst_stall_ns)
    return claim(passed=True, detail=f"worst of {len(within)} faults: {_stall_text(worst, facts.max_stall)}",
                 evidence=[worst.trace.marks[0].seq])


def _stall_text(stall: FaultStall, max_stall: int | str | None) -> str:
    limit = max_stall if isinstance(max_stall, int) else stall.bound_ns
    text = f"{stall.trace}: {format_duration(stall.worst_stall_ns)}"
    return text if limit is None else f"{text} (bound {format_duration(limit)})"


def _effect(facts: Facts) -> Claim:
    wrong, detected, rode = [], 0, 0
    for trace in facts.traces:
        was_detected = trace.at("detected") is not None
        if trace.expect == "failover" and not was_detected:
            wrong.append((trace, "was not detected"))
        elif trace.expect == "ride-through" and was_detected:
            wrong.append((trace, "took the path away, but was to be ridden through"))
        detected += was_detected
        rode += not was_detected
    if wrong and not facts.complete:
        raise MissingData(f"the run was broken off; until then, {wrong[0][0]} {wrong[0][1]}")
    if wrong:
        return claim(passed=False, detail="; ".join(f"{trace} {what}" for trace, what in wrong[:_SHOWN_MAX]),
                     evidence=[trace.marks[0].seq for trace, _ in wrong])
    return claim(passed=True, detail=f"{detected} detected" + (f", {rode} ridden through" if rode else ""))


def _reinstated(facts: Facts) -> Claim:
    limit = facts.max_reinstate if isinstance(facts.max_reinstate, int) else facts.reinstate_bound_ns
    late, worst_ns, count = [], 0, 0
    last_by_path = {trace.path: trace for trace in facts.traces}
    for trace in facts.traces:
        if trace.at("detected") is None or trace.healed_ns is None:
            if trace is last_by_path[trace.path] and trace.healed_ns is None:
                raise MissingData(f"{trace} was never healed")
            continue
        back_ns = trace.at("reinstated")
        if back_ns is None:
            if trace is last_by_path[trace.path]:
                late.append((trace, "did not come back"))
            continue  # the path's next fault came first
        # A fault that was over before it was noticed costs its detection all the same
        took_ns = max(0, back_ns - max(trace.healed_ns, trace.at("detected") or 0))
        count += 1
        worst_ns = max(worst_ns, took_ns)
        if facts.max_reinstate != "any" and limit is not None and took_ns > limit:
            took, bound = format_duration(took_ns), format_duration(limit)
            late.append((trace, f"came back {took} after the heal (bound {bound})"))
    if late and not facts.complete:
        raise MissingData(f"the run was broken off; until then, {late[0][0]} {late[0][1]}")
    if late:
        return claim(passed=False, detail="; ".join(f"{trace} {what}" for trace, what in late[:_SHOWN_MAX]),
                     evidence=[trace.marks[0].seq for trace, _ in late])
    if facts.max_reinstate == "bound" and limit is None:
        raise MissingData("no bound is known")
    bound = f" (bound {format_duration(limit)})" if limit is not None and facts.max_reinstate != "any" else ""
    return claim(passed=True, detail=f"{count} returns, the slowest {format_duration(worst_ns)} after its heal{bound}")


def _errors(facts: Facts) -> Claim:
    bad = {name: count for name, count in facts.counts.items()
           if count and not name.endswith((" ok", " unfinished")) and not name.startswith("verification")}
    if not bad:
        return claim(passed=True, detail=f"{sum(facts.counts.values())} I/Os, none failed")
    listed = ", ".join(f"{count} {name}" for name, count in sorted(bad.items()))
    first = f"; first: {facts.errors[0]}" if facts.errors else ""
    return claim(passed=facts.errors_allowed, detail=f"{listed}{first}{' (allowed)' if facts.errors_allowed else ''}",
                 evidence=list(facts.errors[:100]))


def _no_false_failover(facts: Facts) -> Claim:
    wrong = false_failovers(facts.events, [*facts.traces, *facts.cut_short])
    if not wrong:
        return claim(passed=True, detail="no path was given up but those that a fault was on")
    listed = "; ".join(f"{event.source} {event.kind}: {event.fields.get('cause', '')}" for event in wrong[:_SHOWN_MAX])
    return claim(passed=facts.false_failovers_allowed, detail=f"{len(wrong)} without a fault: {listed}",
                 evidence=[event.seq for event in wrong[:100]])


def _progress(facts: Facts) -> Claim:
    done = sum(count for name, count in facts.counts.items() if name.endswith(" ok"))
    if not done:
        if not facts.complete:
            raise MissingData("the run was broken off before any I/O ended")
        return claim(passed=False, detail="no I/O ended well")
    if facts.unfinished:
        if not facts.complete:
            raise MissingData(f"{facts.unfinished} I/Os were under way when the run was broken off")
        return claim(passed=False, detail=f"{facts.unfinished} I/Os had not ended when the run did")
    if facts.stalls and not facts.ended_after_heal:
        if not facts.complete:
            raise MissingData("the run was broken off before the last fault was healed")
        return claim(passed=False, detail="no I/O ended after the last fault was healed")
    return claim(passed=True, detail=f"{done} I/Os ended well")
