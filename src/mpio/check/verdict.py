"""Claims and the verdict over them: pass, fail, or unknown, never rounded.

A claim is judged by a function over the run's data. A judge that crashes, or that lacks data, leaves its claim
unknown: it never passes. The verdict is the worst of all: fail before unknown before pass; no claims at all is unknown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import TypeVar

from mpio.events import Value

Facts = TypeVar("Facts")


class Result(StrEnum):
    """Of a claim or of a run."""

    PASS = "pass"  # noqa: S105 - not a password
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that a run shows or refutes. `evidence` names journal sequence numbers, I/Os or blocks."""

    name: str
    result: Result
    detail: str
    evidence: tuple[Value, ...] = field(default=())

    def as_json(self) -> dict[str, object]:
        """The shape in verdict.json."""
        return {"name": self.name, "result": str(self.result), "detail": self.detail, "evidence": list(self.evidence)}


class MissingData(Exception):
    """Raised by a judge that cannot tell: the message says what it would need."""


def judge(name: str, judge_it: Callable[[], Claim]) -> Claim:
    """Run one judge; a crash or missing data is the result unknown, with the reason."""
    try:
        return judge_it()
    except MissingData as missing:
        return Claim(name, Result.UNKNOWN, str(missing))
    except Exception as crash:  # noqa: BLE001 - a checker that fails must not pass, and must not hide the others
        return Claim(name, Result.UNKNOWN, f"the check itself failed: {type(crash).__name__}: {crash}")


def judge_each(facts: Facts, judges: Sequence[tuple[str, Callable[[Facts], Claim]]]) -> list[Claim]:
    """The claim of every judge, under its name."""
    return [judge(name, partial(_judge_by, name, by, facts)) for name, by in judges]


def _judge_by(name: str, by: Callable[[Facts], Claim], facts: Facts) -> Claim:
    return replace(by(facts), name=name)


def claim(*, passed: bool, detail: str, evidence: Sequence[Value] = ()) -> Claim:
    """What a judge says that could tell; its name comes with `judge_each`."""
    return Claim("", Result.PASS if passed else Result.FAIL, detail, tuple(evidence))


def overall(claims: Sequence[Claim]) -> Result:
    """The verdict over all claims."""
    results = {claim.result for claim in claims}
    if Result.FAIL in results:
        return Result.FAIL
    return Result.PASS if results == {Result.PASS} else Result.UNKNOWN
