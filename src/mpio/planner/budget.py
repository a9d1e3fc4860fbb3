"""A bound as a sum of named terms, each with its least and greatest value and where it comes from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """One summand: its least and its greatest value, and the setting or fact that it comes from."""

    name: str
    best_ns: int
    value_ns: int
    source: str


@dataclass(frozen=True, slots=True)
class Budget:
    """The terms of one bound, in the order in which they pass.

    Attributes:
        failure: what has happened. terms: without those that are 0 in any case.
        best_ns, worst_ns: the sums; `worst_ns` is None if a setting makes I/O wait for ever.
        fails_after_ns: when `no_path_retry` lets requests fail before that, counted from the fault; None if it can't.
    """

    failure: str
    terms: tuple[Term, ...]
    best_ns: int
    worst_ns: int | None
    fails_after_ns: int | None = None

    def as_json(self) -> dict[str, object]:
        """As `metrics.json` has it: terms with name, value_ns (the worst) and source; worst_ns, best_ns."""
        return {
            "terms": [
                {"name": term.name, "value_ns": term.value_ns, "best_ns": term.best_ns, "source": term.source}
                for term in self.terms
            ],
            "best_ns": self.best_ns,
            "worst_ns": self.worst_ns,
            "fails_after_ns": self.fails_after_ns,
        }


def total(failure: str, terms: "list[Term] | tuple[Term, ...]", *, endless: bool = False) -> Budget:
    """The budget of these terms; those that are 0 in any case are left out."""
    kept = tuple(term for term in terms if term.value_ns > 0)
    return Budget(
        failure, kept, best_ns=sum(term.best_ns for term in kept),
        worst_ns=None if endless else sum(term.value_ns for term in kept),
    )
