"""The form that every stack's arithmetic has, so that `planner.cluster` can ask any of them the same questions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from mpio.planner.budget import Term
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, term
from mpio.planner.clusters.storage import Case, Storage

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Stack(Generic[C]):
    """One cluster stack.

    Attributes:
        name: what stands before the dot in the names of its settings.
        deadlines: when it acts, in the order in which that comes.
        inequalities: its conditions. required: with every timer that is too short raised to the smallest that holds.
        shortest: with the timers that a stall decides at the least that its programs take.
        heartbeat_name, heartbeat_ns: the heartbeat's timeout, as rules of thumb mean it; None if storage has no part
            in it.
    """

    name: str
    deadlines: Callable[[C, Storage], tuple[Deadline, ...]]
    inequalities: Callable[[C, Storage], tuple[Inequality, ...]]
    required: Callable[[C, Storage], C]
    shortest: Callable[[C], C]
    heartbeat_name: str
    heartbeat_ns: Callable[[C, Storage], int | None]


def survives(
    stack: str, case: Case, storage: Storage, limit: Term, source: str, *, code: str = "", stake: Stake = Stake.FENCE,
    claim: str = "nobody is fenced by", extra: tuple[Term, ...] = (), margin_ns: int = 0, strict: bool = False,
) -> Inequality:
    """The condition that a stall of this kind, with what passes around it, stays within a limit."""
    left = [term("stall", case.stall_ns, "the storage's budget"), *extra, *storage.noise]
    return condition(code or case.code, stack, stake, f"{claim} {case.name}", left, [limit], source,
                     margin_ns=margin_ns, strict=strict)


def tolerated(stack: str, limit_ns: int, words: str, source: str) -> Deadline:
    """The longest stall that nothing follows from; 0 if even none is too long."""
    limit_ns = max(0, limit_ns)
    return Deadline(f"{stack}.tolerated", "longest stall tolerated", Act.TOLERATED, Since.STALL, limit_ns, limit_ns,
                    words, source)


def whole_seconds(ns: int) -> int:
    """Nanoseconds as seconds, rounded up: most timers count nothing finer."""
    return -(-ns // 1_000_000_000)
