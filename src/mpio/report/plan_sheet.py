"""From what the planner answered to a timing sheet: a plan, a conflict, an assessment.

Owns: which scenarios and deadlines are shown, in which order and words. All numbers are the planner's.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from mpio.config.document import Problem
from mpio.model.cluster import Cluster
from mpio.model.stack import LinuxStack
from mpio.planner.budget import Budget
from mpio.planner.cluster import Act, deadlines, defaults
from mpio.planner.constraints import FOREVER_NS
from mpio.planner.goals import Assessment, Conflict, Constraint, Goals, Plan, setting
from mpio.planner.goals import Finding as PlannerFinding
from mpio.planner.promise import PATH_FAILURES, storage
from mpio.planner.rules import rules_of_thumb
from mpio.report.sheet import Asked, Check, Deadline, Finding, Rule, Rung, Setting, Sheet, State, Verdict
from mpio.units import format_duration, seconds

SCENARIO_WORDS: Mapping[str, str] = {
    "silent_loss": "path goes silent, both directions",
    "one_way_loss": "path goes silent, one direction",
    "link_down": "link down",
    "idle_loss": "idle path goes silent, then I/O",
    "idle_detected": "idle path goes silent, until noticed",
    "idle_noticed": "idle path goes silent, until failed",
    "short_outage": "short outage of a path",
    "reset_back": "connection reset, service back at once",
    "reset_closed": "connection reset, portal closed",
    "lun_hang": "LUN hangs, pings answered",
    "pings_off": "path goes silent, pings are off",
    "all_down": "all paths down, until I/O fails",
    "ride_out": "all paths down and back",
    "serial": "paths fail one after another",
    "logout_request": "target asks for a logout",
    "iscsid_restart": "iscsid is restarted",
    "session_return": "path back, until logged in",
    "path_return": "path back, until used again",
    "failback": "failback to the preferred group",
}
_AFTERWARDS = ("path_return", "failback", "session_return", "idle_noticed", "idle_detected")
"""Spans that no request waits for."""

_SEVERITIES: Mapping[str, str] = {"critical": "error", "high": "error", "medium": "warning", "low": "note"}
_GOAL_OPTIONS: Mapping[str, str] = {
    "max_stall_s": "--max-stall", "ride_out_s": "--ride-out", "takeover_s": "--takeover", "cluster": "--cluster",
    "io_latency_max_s": "--io-latency-max", "serial_failures": "--serial-failures", "hung_lun": "--hung-lun",
    "paths": "--paths",
}


def plan_sheet(plan: Plan) -> Sheet:
    """Settings that meet their goals."""
    rungs = _rungs(plan.budgets, plan.goals)
    lines = _deadlines(plan.clusters, plan.stack, plan.goals)
    worst = _longest(rungs)
    words = f"One path failure stalls I/O for at most {worst}" if worst else "No path failure is planned for"
    words += _tolerated(lines)
    return Sheet(
        kind="plan", verdict="ok", headline="PLAN", sentence=f"{words}.", asked=_asked(plan.goals), rungs=rungs,
        deadlines=lines, checks=tuple(map(_check, plan.constraints)),
        rules=_rules(plan.stack, plan.clusters, plan.goals), settings=tuple(_planned(plan)),
        findings=tuple(Finding("note", note) for note in plan.notes),
    )


def conflict_sheet(conflict: Conflict, goals: Goals) -> Sheet:
    """Goals that can't hold together."""
    return Sheet(
        kind="conflict", verdict="findings", headline="CONFLICT", sentence=_sentence(conflict.words),
        asked=_asked(goals),
        conflict=tuple(_goal_words(goals, name) for name in conflict.goals), ways_out=_ways_out(conflict),
    )


def assessment_sheet(
    assessment: Assessment, goals: Goals, origins: Mapping[str, str], problems: Sequence[Problem],
    files: Sequence[str] = (),
) -> Sheet:
    """What settings imply.

    Args:
        assessment: the planner's answer.
        goals: those that were asked for, and the circumstances.
        origins: by setting, where its value comes from, in words.
        problems: of the files.
        files: what was given to be read.
    """
    rungs, lines = _rungs(assessment.budgets, goals), _deadlines(assessment.clusters, assessment.stack, goals)
    conflict = assessment.conflict
    told = {item.name for item in assessment.constraints}  # with its numbers, so that it need not be said again
    tight = {item.rule for item in assessment.findings} & told
    findings = (*(_finding(item) for item in assessment.findings if item.rule not in told), *map(_problem, problems))
    return Sheet(
        kind="assessment", verdict=_verdict(assessment, findings), headline=_HEADLINES[assessment.verdict],
        sentence=_assessed(assessment, rungs, lines),
        asked=(*(Asked("--from", name) for name in files), *_asked(goals)), rungs=rungs, deadlines=lines,
        checks=tuple(_check(item, is_tight=item.name in tight) for item in assessment.constraints),
        rules=_rules(assessment.stack, assessment.clusters, goals),
        settings=tuple(_assessed_settings(assessment, origins)),
        findings=findings,
        conflict=() if conflict is None else tuple(_goal_words(goals, name) for name in conflict.goals),
        ways_out=() if conflict is None else _ways_out(conflict),
    )


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


_HEADLINES = {"safe": "SAFE", "fences": "NOT SAFE", "cannot tell": "NOT JUDGED"}


def _verdict(assessment: Assessment, findings: Iterable[Finding]) -> Verdict:
    """What was asked without a goal or a cluster is answered, as nothing had to be judged."""
    if assessment.verdict == "fences" or any(item.severity == "error" for item in findings):
        return "findings"
    return "ok"


def _assessed(assessment: Assessment, rungs: Sequence[Rung], lines: Sequence[Deadline]) -> str:
    worst = _longest(rungs) or "not known"
    words = f"With these settings one path failure stalls I/O for at most {worst}{_tolerated(lines)}"
    violated = [item for item in assessment.constraints if item.slack_ns < 0]
    if assessment.verdict == "fences" and violated:
        are = "is" if len(violated) == 1 else "are"
        words += f"; {len(violated)} of {len(assessment.constraints)} conditions {are} violated"
    if assessment.nearest_safe:
        count = len(assessment.nearest_safe)
        words += f"; {count} change{'s' if count > 1 else ''} would mend it"
    if assessment.verdict == "cannot tell":
        words += "; there is no cluster and no goal to judge it by"
    return f"{words}."


def _rungs(budgets: Mapping[str, Budget], goals: Goals) -> tuple[Rung, ...]:
    """In the order of `SCENARIO_WORDS`: what must be stood first, what is only told last."""
    asked_for = [("serial", goals.serial_failures), ("lun_hang", goals.hung_lun)]
    binding = {*PATH_FAILURES, *(name for name, is_asked in asked_for if is_asked)}
    known = [name for name in SCENARIO_WORDS if name in budgets and not _never(name, budgets[name])]
    names = [*known, *(name for name in budgets if name not in SCENARIO_WORDS)]
    rungs = [Rung(name, SCENARIO_WORDS.get(name, name.replace("_", " ")), budgets[name], binds=name in binding)
             for name in names]
    return tuple(sorted(rungs, key=lambda rung: (not rung.binds, rung.name in _AFTERWARDS)))


def _tolerated(lines: Iterable[Deadline]) -> str:
    tolerated = [line.at_ns for line in lines if line.kind == "cluster"]
    return f"; the cluster tolerates {format_duration(min(tolerated))}" if tolerated else ""


def _never(name: str, budget: Budget) -> bool:
    """Whether the span is of something that does not happen by itself: failback that is manual."""
    return name == "failback" and budget.worst_ns is None


def _longest(rungs: Iterable[Rung]) -> str:
    """The longest stall of what binds, in words; "" if nothing does."""
    worst = [rung.budget.worst_ns for rung in rungs if rung.binds]
    if not worst:
        return ""
    finite = [value for value in worst if value is not None]
    return "for ever" if len(finite) < len(worst) else format_duration(max(finite))


def _deadlines(clusters: Sequence[Cluster], stack: LinuxStack, goals: Goals) -> tuple[Deadline, ...]:
    lines = []
    if goals.max_stall_s is not None:
        lines.append(Deadline("max_stall", seconds(goals.max_stall_s), "--max-stall: no path failure may stall longer",
                              "goal"))
    for item in deadlines(clusters, storage(goals, stack)):
        moment = item.of_stall_ns
        words = f"{item.id.partition('.')[0]}: {item.name}"
        if item.act is Act.TOLERATED:
            lines.append(Deadline(item.id, item.earliest_ns, words, "cluster"))
        elif moment is not None and item.act in (Act.FENCED, Act.FAILS, Act.DEAD):
            lines.append(Deadline(item.id, moment[1], f"{words}, at the latest", "event"))
    return tuple(sorted(lines, key=lambda line: line.at_ns))


def _check(item: Constraint, *, is_tight: bool = False) -> Check:
    state: State = "violated" if item.slack_ns < 0 else "tight" if is_tight else "ok"
    return Check(item.name, state, item.words, _finite(item.left_ns), _finite(item.right_ns), item.source, item.goal)


def _finite(ns: int) -> int | None:
    return None if ns >= FOREVER_NS else ns


def _rules(stack: LinuxStack, clusters: Sequence[Cluster], goals: Goals) -> tuple[Rule, ...]:
    found = rules_of_thumb(stack, clusters, storage(goals, stack), paths=goals.paths)
    return tuple(Rule(item.id, item.rule, item.setting, item.judgement.value, item.kept, item.wanted_ns, item.found_ns,
                      item.exact_ns, item.why, item.source) for item in found)


def _planned(plan: Plan) -> Iterable[Setting]:
    stock = defaults(plan.goals.cluster, plan.goals.nodes)
    for name, reason in plan.reasons.items():
        if name in plan.sysctl:
            yield Setting(name, str(plan.sysctl[name]), reason)
            continue
        value, old = setting(plan.stack, plan.clusters, name), setting(LinuxStack(), stock, name)
        yield Setting(name, value_text(name, value), reason,
                      old=value_text(name, old) if old != value else None)


def _assessed_settings(assessment: Assessment, origins: Mapping[str, str]) -> Iterable[Setting]:
    for name, change in assessment.nearest_safe.items():
        yield Setting(name, value_text(name, change.new), change.why, old=value_text(name, change.old),
                      origin=origins.get(name, ""))
    for name, origin in origins.items():
        if name not in assessment.nearest_safe:
            value = setting(assessment.stack, assessment.clusters, name)
            yield Setting(name, value_text(name, value), "", origin=origin)


def value_text(name: str, value: object) -> str:
    """A value as the files have it, near enough for people."""
    if value is None:
        return "off" if name in ("fast_io_fail_tmo", "max_retries") else "unset"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _finding(item: PlannerFinding) -> Finding:
    severity = _SEVERITIES[item.severity]
    return Finding(severity, f"{item.rule}: {item.words}")  # type: ignore[arg-type]


def _problem(problem: Problem) -> Finding:
    where = f"{problem.file}:{problem.line}" if problem.line else problem.file
    return Finding("error" if problem.severity == "error" else "warning", f"{where}: {problem.message}", problem.hint)


def _goal_words(goals: Goals, name: str) -> str:
    option = _GOAL_OPTIONS.get(name, f"--set {name}")
    return f"{option}: {goals.words(name)}"


def _ways_out(conflict: Conflict) -> tuple[str, ...]:
    """With goals under the names of their options."""
    options = {name.removesuffix("_s"): option for name, option in _GOAL_OPTIONS.items()}
    goal = re.compile(rf"^(no )?({'|'.join(options)})\b")
    return tuple(goal.sub(lambda match: f"{match[1] or ''}{options[match[2]]}", way) for way in conflict.ways_out)


def _asked(goals: Goals) -> tuple[Asked, ...]:
    """The goals as they were given on the command line."""
    rows = []
    for name in goals.stated():
        if name in goals.fixed:
            rows.append(Asked(f"--set {name}", value_text(name, goals.fixed[name])))
            continue
        value = getattr(goals, name)
        text = "yes" if value is True else f"{value:g} s" if name.endswith("_s") else str(value)
        rows.append(Asked(_GOAL_OPTIONS[name], text))
    if goals.paths == 1 and "paths" not in goals.stated():
        rows.append(Asked(_GOAL_OPTIONS["paths"], "1"))
    return tuple(rows)


