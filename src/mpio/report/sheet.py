"""What `mpio plan` shows, whatever it was asked: one timing sheet, from which terminal, HTML and JSON are made.

Owns: that shape, what counts as past a deadline, and the JSON form (docs/json.md). Text is cleaned when it enters, so
that no file's content can play tricks on a terminal or a page. Knows nothing of how the numbers came about: the
builder `plan_sheet` fills a sheet from what the planner answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from mpio.planner.budget import Budget
from mpio.report.shape import clean
from mpio.units import NS_PER_S

VERSION = 1
Verdict = Literal["ok", "findings"]
State = Literal["ok", "tight", "violated"]
Judgement = Literal["too weak", "right", "too strong"]
_ROOM_ABOVE = 1.15  # of the axis beyond the longest thing that it has to show


class _Clean:
    """Cleans the text of a dataclass."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if isinstance(value, str):
                object.__setattr__(self, item.name, clean(value))
            elif isinstance(value, tuple) and value and isinstance(value[0], str):
                object.__setattr__(self, item.name, tuple(map(clean, value)))


@dataclass(frozen=True, slots=True)
class Deadline(_Clean):
    """A moment of a stall that matters.

    `goal` and `cluster` must not be passed: what was asked for, and what a cluster stack tolerates. An `event` only
    says what happens then (a node fences itself, others take over).
    """

    name: str
    at_ns: int
    words: str
    kind: Literal["goal", "cluster", "event"]


@dataclass(frozen=True, slots=True)
class Rung(_Clean):
    """One scenario of the ladder.

    Attributes:
        name: stable, for programs. words: for people.
        budget: its best and worst case, term by term.
        binds: whether the deadlines are about it; what is shown for information only does not bind.
    """

    name: str
    words: str
    budget: Budget
    binds: bool

    def passes(self, deadline: Deadline) -> bool:
        """Whether its worst case goes past the deadline."""
        worst_ns = self.budget.worst_ns
        return self.binds and deadline.kind != "event" and (worst_ns is None or worst_ns > deadline.at_ns)


@dataclass(frozen=True, slots=True)
class Check(_Clean):
    """One inequality, left at most right, and how it stands. A side that is None has no end."""

    name: str
    state: State
    words: str
    left_ns: int | None
    right_ns: int | None
    source: str = ""
    goal: str = ""

    @property
    def slack_ns(self) -> int | None:
        """What is left; negative where it is violated; None where a side has no end."""
        return None if self.left_ns is None or self.right_ns is None else self.right_ns - self.left_ns


@dataclass(frozen=True, slots=True)
class Rule(_Clean):
    """A rule of thumb beside the exact bound: what it asks for, what is set, and from where on it would be safe.

    Attributes:
        name: stable. words: the rule. setting: what it is about.
        judgement: of what it asks for, whatever is set. kept: whether what is set keeps it.
        wanted_ns: what it asks for. found_ns: what is set, None for ever. exact_ns: the smallest safe value, None if
            none is. why: one sentence about the judgement.
    """

    name: str
    words: str
    setting: str
    judgement: Judgement
    kept: bool
    wanted_ns: int
    found_ns: int | None
    exact_ns: int | None
    why: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Setting(_Clean):
    """One value of the answer. `old` is what it was, where that is known and another; `origin` where that came from."""

    name: str
    value: str
    reason: str
    file: str = ""
    old: str | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Finding(_Clean):
    """Something a person should know, with what to do about it."""

    severity: Literal["error", "warning", "note"]
    words: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Asked(_Clean):
    """A goal or a file that was given."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Sheet(_Clean):
    """The whole answer.

    Attributes:
        kind: `plan`: settings for goals; `conflict`: goals that can't hold together; `assessment`: what given settings
            imply.
        verdict: `ok`, or `findings`: a conflict, a fence, a missed goal, an error in a file.
        headline, sentence: the answer in two words, and in one sentence.
        asked: the goals or files that it answers.
        conflict: the goals that can't hold together. ways_out: what to give up for what.
    """

    kind: Literal["plan", "conflict", "assessment"]
    verdict: Verdict
    headline: str
    sentence: str
    asked: tuple[Asked, ...] = ()
    rungs: tuple[Rung, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    checks: tuple[Check, ...] = ()
    rules: tuple[Rule, ...] = ()
    settings: tuple[Setting, ...] = ()
    findings: tuple[Finding, ...] = ()
    conflict: tuple[str, ...] = ()
    ways_out: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The object that docs/json.md describes."""
        return {
            "version": VERSION,
            "kind": self.kind,
            "verdict": self.verdict,
            "headline": self.headline,
            "sentence": self.sentence,
            "asked": {item.name: item.value for item in self.asked},
            "scenarios": [
                {"scenario": rung.name, "words": rung.words, "binds": rung.binds,
                 "past": [line.name for line in self.deadlines if rung.passes(line)], **rung.budget.as_json()}
                for rung in self.rungs
            ],
            "deadlines": [{"name": line.name, "kind": line.kind, "at_ns": line.at_ns, "words": line.words}
                          for line in self.deadlines],
            "checks": [_check_json(check) for check in self.checks],
            "rules": [_rule_json(rule) for rule in self.rules],
            "settings": [
                {"name": row.name, "file": row.file, "value": row.value, "old": row.old, "origin": row.origin,
                 "reason": row.reason} for row in self.settings
            ],
            "findings": [{"severity": item.severity, "words": item.words, "hint": item.hint} for item in self.findings],
            "conflict": list(self.conflict),
            "ways_out": list(self.ways_out),
        }


def _check_json(check: Check) -> dict[str, object]:
    return {"name": check.name, "state": check.state, "words": check.words, "left_ns": check.left_ns,
            "right_ns": check.right_ns, "slack_ns": check.slack_ns, "source": check.source, "goal": check.goal}


def _rule_json(rule: Rule) -> dict[str, object]:
    return {"name": rule.name, "words": rule.words, "setting": rule.setting, "judgement": rule.judgement,
            "kept": rule.kept, "wanted_ns": rule.wanted_ns, "found_ns": rule.found_ns, "exact_ns": rule.exact_ns,
            "why": rule.why, "source": rule.source}


def axis_end_ns(rungs: Sequence[Rung], deadlines: Sequence[Deadline]) -> int:
    """Where the ladder's linear axis ends: past every deadline, and past every scenario that binds.

    What is longer and binds nothing runs off the axis and is told by its number: minutes of a hung LUN would squeeze
    the seconds that matter into nothing.
    """
    lengths = [line.at_ns for line in deadlines]
    lengths += [rung.budget.worst_ns or rung.budget.best_ns for rung in rungs if rung.binds]
    if not lengths:
        lengths = sorted(rung.budget.worst_ns or rung.budget.best_ns for rung in rungs)[:max(1, len(rungs) * 3 // 4)]
    return round(max([NS_PER_S, *lengths]) * _ROOM_ABOVE)
