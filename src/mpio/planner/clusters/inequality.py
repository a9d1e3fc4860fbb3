"""A condition of the form `needed ≤ allowed` with its terms, and what follows if it does not hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import overload

from mpio.planner.budget import Term
from mpio.units import format_duration


class Verdict(StrEnum):
    """What the numbers say."""

    OK = "ok"
    TIGHT = "tight"  # holds, with less to spare than the stack's own rule asks for
    VIOLATED = "violated"


class Stake(StrEnum):
    """What is lost if a condition does not hold, the worst first."""

    FENCE = "a node that only waits for its storage is fenced"
    SPLIT_BRAIN = "a node may still write after the others took over"
    FENCING = "fencing does not work"
    SERVICE = "resources fail or move without need"
    ADVICE = "a vendor's rule is not kept"


@dataclass(frozen=True, slots=True)
class Inequality:
    """`left ≤ right`, or `left < right` if `strict`.

    Attributes:
        id: of the condition, as N1 or SB-03. stack: whose it is, as o2cb.
        left, right: the summands. left_ns, right_ns: their sums; None is for ever.
        margin_ns: less slack than this is tight.
        claim: what holds if this does. source: where it comes from.
        inherent: that no setting of this stack can mend it.
    """

    id: str
    stack: str
    stake: Stake
    claim: str
    left: tuple[Term, ...]
    right: tuple[Term, ...]
    left_ns: int | None
    right_ns: int | None
    source: str
    margin_ns: int = 0
    strict: bool = False
    inherent: bool = False

    @property
    def slack_ns(self) -> int | None:
        """What is left of the right side; negative if violated. None if a side is for ever: then see `verdict`."""
        return None if self.left_ns is None or self.right_ns is None else self.right_ns - self.left_ns

    @property
    def verdict(self) -> Verdict:
        """Whether it holds, and with the margin."""
        if self.right_ns is None:
            return Verdict.OK
        if self.left_ns is None:
            return Verdict.VIOLATED
        slack_ns = self.right_ns - self.left_ns
        if slack_ns < 0 or (self.strict and slack_ns == 0):
            return Verdict.VIOLATED
        return Verdict.TIGHT if slack_ns < self.margin_ns else Verdict.OK

    @property
    def formula(self) -> str:
        """Both sides with names and numbers."""
        sign = "<" if self.strict else "≤"
        return f"{_side(self.left, self.left_ns)} {sign} {_side(self.right, self.right_ns)}"

    @property
    def words(self) -> str:
        """One line: the claim or what is lost, the formula, and what is to spare or missing."""
        slack_ns = self.slack_ns
        if self.verdict is Verdict.VIOLATED:
            missing = f"{format_duration(-slack_ns)} short" if slack_ns else \
                "no limit is enough" if slack_ns is None else "nothing to spare"
            return f"{self.stake}: {self.formula} does not hold, {missing}"
        spare = "" if slack_ns is None else f", {format_duration(slack_ns) if slack_ns else 'nothing'} to spare"
        return f"{self.claim}: {self.formula}{spare}"

    def as_json(self) -> dict[str, object]:
        """Sides as lists of terms, sums, slack, verdict and the sentences."""
        return {
            "id": self.id, "stack": self.stack, "verdict": self.verdict.value, "stake": self.stake.name.lower(),
            "claim": self.claim, "left": _terms_json(self.left), "right": _terms_json(self.right),
            "left_ns": self.left_ns, "right_ns": self.right_ns, "slack_ns": self.slack_ns,
            "margin_ns": self.margin_ns, "strict": self.strict, "inherent": self.inherent,
            "words": self.words, "source": self.source,
        }


@overload
def term(name: str, ns: int, source: str) -> Term: ...
@overload
def term(name: str, ns: int | None, source: str) -> Term | None: ...
def term(name: str, ns: int | None, source: str) -> Term | None:
    """A summand that has one value; None if it is for ever."""
    return None if ns is None else Term(name, ns, ns, source)


def condition(
    code: str, stack: str, stake: Stake, claim: str, left: Sequence[Term | None], right: Sequence[Term | None],
    source: str, *, margin_ns: int = 0, strict: bool = False, inherent: bool = False,
) -> Inequality:
    """An inequality with its sides summed up. A summand None is for ever; one of 0 is left out."""
    return Inequality(
        code, stack, stake, claim, _kept(left), _kept(right), _total_ns(left), _total_ns(right), source, margin_ns,
        strict, inherent,
    )


def _kept(side: Sequence[Term | None]) -> tuple[Term, ...]:
    return tuple(part for part in side if part is not None and part.value_ns)


def _total_ns(side: Sequence[Term | None]) -> int | None:
    return None if None in side else sum(part.value_ns for part in side if part is not None)


def _side(terms: tuple[Term, ...], total_ns: int | None) -> str:
    if total_ns is None:
        return " + ".join(["a wait without end", *(part.name for part in terms)])
    if not terms:
        return "0 s"
    named = " + ".join(f"{part.name} {format_duration(part.value_ns)}" for part in terms)
    return named if len(terms) == 1 else f"{named} = {format_duration(total_ns)}"


def _terms_json(terms: tuple[Term, ...]) -> list[dict[str, object]]:
    return [{"name": part.name, "value_ns": part.value_ns, "source": part.source} for part in terms]
