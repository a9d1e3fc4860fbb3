"""A condition of the form `needed ≤ allowed` with its terms, and what follows if it does not hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

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
            missing = "no value is enough" if slack_ns is None else f"{format_duration(-slack_ns)} short"
            return f"{self.stake}: {self.formula} does not hold, {missing}"
        spare = "" if slack_ns is None else f", {format_duration(slack_ns)} to spare"
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


def term(name: str, ns: int, source: str) -> Term:
    """A summand that has one value."""
    return Term(name, ns, ns, source)


def stall_term(stall_ns: int | None, name: str = "stall") -> tuple[Term, ...]:
    """The stall as a summand; none if it is for ever, which `condition` is told separately."""
    return () if stall_ns is None else (term(name, stall_ns, "the storage's budget"),)


def condition(
    id: str, stack: str, stake: Stake, claim: str, left: Sequence[Term], right: Sequence[Term], source: str, *,
    endless_left: bool = False, endless_right: bool = False, margin_ns: int = 0, strict: bool = False,
    inherent: bool = False,
) -> Inequality:
    """An inequality with its sides summed up; summands of 0 are left out of it."""
    left = tuple(part for part in left if part.value_ns)
    right = tuple(part for part in right if part.value_ns)
    return Inequality(
        id, stack, stake, claim, left, right,
        None if endless_left else sum(part.value_ns for part in left),
        None if endless_right else sum(part.value_ns for part in right),
        source, margin_ns, strict, inherent,
    )


def _side(terms: tuple[Term, ...], total_ns: int | None) -> str:
    if total_ns is None:
        return " + ".join([*(part.name for part in terms), "for ever"])
    if not terms:
        return "0 s"
    named = " + ".join(f"{part.name} {format_duration(part.value_ns)}" for part in terms)
    return named if len(terms) == 1 else f"{named} = {format_duration(total_ns)}"


def _terms_json(terms: tuple[Term, ...]) -> list[dict[str, object]]:
    return [{"name": part.name, "value_ns": part.value_ns, "source": part.source} for part in terms]
