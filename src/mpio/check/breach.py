"""A rule that a run broke, as the checkers of effects, order, liveness, queues and identity report it."""

from dataclasses import dataclass

BREACHES_MAX = 1_000  # kept in detail; beyond it they are counted only


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken rule: its name, when, and what was seen. Names are fixed words, so that tests can name them."""

    rule: str
    t_ns: int
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail}"


class Breaches:
    """A bounded list of breaches.

    Attributes:
        kept: the first ones. count: how many there were.
    """

    def __init__(self) -> None:
        self.kept: list[Breach] = []
        self.count = 0

    def add(self, rule: str, t_ns: int, detail: str) -> None:
        """One more."""
        self.count += 1
        if len(self.kept) < BREACHES_MAX:
            self.kept.append(Breach(rule, t_ns, detail))
