"""What a filter is: something that stands between the initiators and the logical units, and misbehaves as told.

One file of this package holds one filter, with its docs in its docstring. Filters stack: each passes a command on, or
answers in place of all that is behind it. The one that was added first is nearest to the initiators.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from mpio.model.identity import AluaState
from mpio.target.device import TargetDevice
from mpio.target.filters.limits import Limits
from mpio.target.filters.request import Occasion, Onward, Reply, Request

SESSION_LIMITS = frozenset(("portal", "group", "initiator", "rate", "skip", "count", "after", "lasts", "seed"))
"""Of a filter that is about sessions, not commands."""

TIME_LIMITS = frozenset(("count", "after", "lasts"))
"""Of a filter that does things by the clock."""


class Timer(Protocol):
    """Something that is due later."""

    def cancel(self) -> None:
        """It shall not happen. Harmless if it has."""


class Surroundings(Protocol):
    """What a filter may do in its target."""

    @property
    def device(self) -> TargetDevice:
        """Its units and port groups."""

    @property
    def filters(self) -> Mapping[str, "Filter"]:
        """Those there are, by id."""

    def now(self) -> int:
        """The present time in ns."""

    def later(self, delay_ns: int, action: Callable[[], object]) -> Timer:
        """Do something in so many ns."""

    def occasions(self) -> Sequence[Occasion]:
        """The sessions there are."""

    def set_group_state(self, tpgt: int, state: AluaState) -> None:
        """Change the state of a port group. Raises ValueError if there is none."""

    def log(self, record: Mapping[str, Any]) -> None:
        """Write something down for people."""


@dataclass(kw_only=True)
class Filter:
    """Lets everything through; the base of all filters. Subclasses are dataclasses whose parameters are fields.

    Attributes:
        limits: what it strikes.
        target: what it is in, from `started` to `stopped`.
        is_on: whether its time has begun and not ended.
    """

    name: ClassVar[str]
    example: ClassVar[str]
    """A table of TOML that says something useful, without the name."""
    limited_by: ClassVar[frozenset[str] | None] = None
    """Names of the limits that apply; None: all."""
    hears_nops: ClassVar[bool] = False
    """Whether `answers_nop` is to be asked."""

    limits: Limits = field(default_factory=Limits)
    is_on: bool = field(default=False, init=False)

    def check(self) -> None:
        """Whether the parameters fit together. Raises ValueError."""

    def started(self) -> None:
        """Its time begins."""

    def stopped(self) -> None:
        """Its time is over, or it is removed: what it holds back goes on, what it changed is as before."""

    def concerns(self, request: Request) -> bool:
        """Whether a command is of the kind that this filter is about; others don't count."""
        return True

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """Do to a command that is struck what the filter is for.

        Args:
            request: the command.
            onward: passes it on; takes what is to be done with the answer.
            reply: answers it.
        """
        onward(reply)

    def watches(self, request: Request) -> bool:
        """Whether a command has to pass by `watch`, though it is not struck."""
        return False

    def watch(self, request: Request, onward: Onward, reply: Reply) -> None:
        """As `handle`, for a command that `watches` said yes to."""
        onward(reply)

    def answers_nop(self, occasion: Occasion) -> bool:
        """Whether a ping of the initiator on this session, which is struck, gets its answer."""
        return True

    @property
    def target(self) -> Surroundings:
        """What it is in."""
        return self._target

    def join(self, target: Surroundings) -> None:
        """It is added to a target. Raises ValueError if it does not fit there."""
        self._target = target
