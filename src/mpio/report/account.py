"""What `mpio simulate` shows: the account of a campaign, from which terminal, HTML and JSON are made.

Owns: how runs become figures, which run is the worst, the verdict over all, and the JSON form (docs/json.md). Text is
cleaned when it enters, so that no file's content can play tricks on a terminal or a page.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mpio.check.verdict import Result
from mpio.report.shape import clean
from mpio.sim.campaign import CampaignResult, FaultOutcome, RunOutcome, Subject

VERSION = 1
NAME_MAX = 60
MEDIAN, P99 = 0.5, 0.99
_ROUNDING = 1e-9  # 0.99 * 100 is a little more than 99


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of some stalls, in ascending order, beside what was promised for them.

    `bound_ns` is the greatest of their bounds, None if one of them has none; `share` the most that one took of its own.
    """

    stalls_ns: tuple[int, ...]
    best_ns: int | None
    bound_ns: int | None
    share: float | None

    @classmethod
    def of(cls, faults: Sequence[FaultOutcome]) -> "Spread":
        """Of these faults; those that no I/O met say nothing."""
        met = [fault for fault in faults if fault.ios]
        bounds = [fault.bound_ns for fault in met]
        bests = [fault.best_ns for fault in met]
        shares = [fault.share for fault in met if fault.share is not None]
        return cls(
            tuple(sorted(fault.stall_ns for fault in met)),
            min((best for best in bests if best is not None), default=None),
            None if None in bounds else max((bound for bound in bounds if bound is not None), default=None),
            max(shares, default=None))

    def quantile_ns(self, share: float) -> int | None:
        """The smallest stall that so large a share of them do not exceed; None without any."""
        if not self.stalls_ns:
            return None
        return self.stalls_ns[max(0, math.ceil(share * len(self.stalls_ns) - _ROUNDING) - 1)]

    @property
    def median_ns(self) -> int | None:
        """Half of them are no longer."""
        return self.quantile_ns(MEDIAN)

    @property
    def p99_ns(self) -> int | None:
        """99 of 100 are no longer."""
        return self.quantile_ns(P99)

    @property
    def worst_ns(self) -> int | None:
        """The longest."""
        return self.stalls_ns[-1] if self.stalls_ns else None

    def as_json(self) -> dict[str, object]:
        """Without the single stalls."""
        return {"faults": len(self.stalls_ns), "median_ns": self.median_ns, "p99_ns": self.p99_ns,
                "worst_ns": self.worst_ns, "best_bound_ns": self.best_ns, "bound_ns": self.bound_ns,
                "share_of_bound": None if self.share is None else round(self.share, 4)}


@dataclass(frozen=True, slots=True)
class Complaint:
    """A claim that did not hold in some runs, or could not be judged: in how many, and the first of them."""

    claim: str
    result: Result
    runs: int
    seed: int
    detail: str


@dataclass(frozen=True, slots=True)
class Row:
    """One subject.

    Attributes:
        verdicts: runs by verdict. spread: of all its stalls. by_fault: of each fault of the scenario.
        false_failovers: runs in which a path was given up that no fault was on.
        failed_ios, unknown_ios: that the application saw. bad_blocks: by kind.
        worst: the run that a person should look at; None without runs.
        simulated_ns: of all runs.
    """

    subject: Subject
    verdict: Result
    verdicts: dict[Result, int]
    spread: Spread
    by_fault: tuple[tuple[str, Spread], ...]
    complaints: tuple[Complaint, ...]
    false_failovers: int
    ios: int
    failed_ios: int
    unknown_ios: int
    bad_blocks: dict[str, int]
    worst: RunOutcome | None
    simulated_ns: int

    @property
    def runs(self) -> int:
        """How many were done."""
        return sum(self.verdicts.values())

    def as_json(self) -> dict[str, object]:
        """The shape in docs/json.md."""
        return {
            "settings": self.subject.name, "origin": self.subject.origin, "verdict": str(self.verdict),
            "runs": self.runs, **{str(result): self.verdicts[result] for result in Result},
            "stall": self.spread.as_json(),
            "by_fault": [{"fault": name, **spread.as_json()} for name, spread in self.by_fault],
            "complaints": [{"claim": item.claim, "result": str(item.result), "runs": item.runs, "seed": item.seed,
                            "detail": item.detail} for item in self.complaints],
            "false_failovers": self.false_failovers, "ios": self.ios, "failed_ios": self.failed_ios,
            "unknown_ios": self.unknown_ios, "bad_blocks": self.bad_blocks,
            "worst": None if self.worst is None else {
                "seed": self.worst.seed, "verdict": str(self.worst.verdict), "stall_ns": self.worst.worst_stall_ns,
                "digest": self.worst.digest},
            "simulated_ns": self.simulated_ns,
        }


@dataclass(frozen=True, slots=True)
class Account:
    """The whole: one row a subject, in the order in which they were asked for. `lost`: why runs are missing."""

    scenario: str
    description: str
    rows: tuple[Row, ...]
    verdict: Result
    missing: int
    lost: str

    @property
    def worst(self) -> tuple[int, RunOutcome] | None:
        """The run to look at first, with the index of its row."""
        worsts = [(index, row.worst) for index, row in enumerate(self.rows) if row.worst is not None]
        return max(worsts, key=lambda item: _badness(item[1]), default=None)

    def as_json(self) -> dict[str, Any]:
        """The shape in docs/json.md."""
        return {"version": VERSION, "scenario": self.scenario, "verdict": str(self.verdict), "missing": self.missing,
                "lost": self.lost, "settings": [row.as_json() for row in self.rows]}


def account(result: CampaignResult) -> Account:
    """The account of a campaign."""
    about = result.campaign.scenario.about
    rows = tuple(_row(subject, result.of(index)) for index, subject in enumerate(result.campaign.subjects))
    verdict = _overall([outcome.verdict for outcome in result.outcomes])
    if result.missing and verdict is Result.PASS:
        verdict = Result.UNKNOWN
    return Account(clean(about.name, NAME_MAX), clean(about.description), rows, verdict, result.missing,
                   clean(result.lost))


def _row(subject: Subject, outcomes: Sequence[RunOutcome]) -> Row:
    faults = [fault for outcome in outcomes for fault in outcome.faults]
    by_fault: dict[str, list[FaultOutcome]] = {}
    for fault in faults:
        by_fault.setdefault(clean(f"{fault.fault} on path {fault.path}"), []).append(fault)
    ios = Counter[str]()
    bad_blocks = Counter[str]()
    for outcome in outcomes:
        for name, count in outcome.ios.items():
            ios[name.rpartition(" ")[2]] += count
        bad_blocks.update(outcome.bad_blocks)
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    return Row(
        Subject(clean(subject.name, NAME_MAX), subject.settings, clean(subject.origin)), _overall(verdicts),
        {result: verdicts[result] for result in Result}, Spread.of(faults),
        tuple((name, Spread.of(of_kind)) for name, of_kind in by_fault.items()), _complaints(outcomes),
        sum(outcome.false_failover for outcome in outcomes), ios.total(), ios["fail"], ios["unknown"],
        dict(sorted(bad_blocks.items())), max(outcomes, key=_badness, default=None),
        sum(outcome.simulated_ns for outcome in outcomes))


def _complaints(outcomes: Sequence[RunOutcome]) -> tuple[Complaint, ...]:
    """Each claim once for each way of not holding, the most frequent first."""
    found: dict[tuple[str, Result], list[tuple[int, str]]] = {}
    for outcome in outcomes:
        if outcome.error:
            found.setdefault(("run complete", Result.UNKNOWN), []).append((outcome.seed, outcome.error))
        for result, claims in ((Result.FAIL, outcome.broken), (Result.UNKNOWN, outcome.undecided)):
            for name, detail in claims:
                found.setdefault((name, result), []).append((outcome.seed, detail))
    complaints = [Complaint(clean(name), result, len(where), where[0][0], clean(where[0][1]))
                  for (name, result), where in found.items()]
    return tuple(sorted(complaints, key=lambda item: (item.result is not Result.FAIL, -item.runs)))


def _badness(outcome: RunOutcome) -> tuple[int, float, int, int]:
    """Failed before undecided before passed; then the longest stall; then the first seed."""
    order = {Result.FAIL: 2, Result.UNKNOWN: 1, Result.PASS: 0}
    return (order[outcome.verdict], outcome.worst_stall_ns, len(outcome.broken), -outcome.seed)


def _overall(verdicts: Iterable[Result]) -> Result:
    """The worst of all; without any, unknown."""
    there = list(verdicts)
    return next((result for result in (Result.FAIL, Result.UNKNOWN, Result.PASS) if result in there), Result.UNKNOWN)
