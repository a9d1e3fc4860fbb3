"""The filter `alua-flap`."""

from dataclasses import dataclass, field

from mpio.model.identity import AluaState
from mpio.target.filters.base import TIME_LIMITS, Filter, Surroundings, Timer
from mpio.target.filters.parameters import DURATION, INTEGER, TEXTS, parameter, shown

STATES = {
    "optimized": AluaState.ACTIVE_OPTIMIZED, "non-optimized": AluaState.ACTIVE_NON_OPTIMIZED,
    "standby": AluaState.STANDBY, "unavailable": AluaState.UNAVAILABLE, "offline": AluaState.OFFLINE,
    "transitioning": AluaState.TRANSITIONING,
}
"""Asymmetric access states by the words that people use."""


def parse_state(value: object) -> AluaState:
    """Raises ValueError."""
    state = STATES.get(str(value).lower().removeprefix("active/"))
    if state is None:
        raise ValueError(f"expected {', '.join(STATES)}; found {shown(value)}")
    return state


_STATES = (lambda value: tuple(parse_state(word) for word in TEXTS[0](value)), "states")


@dataclass(kw_only=True)
class AluaFlap(Filter):
    """A port group goes through a list of asymmetric access states, round and round, each for a while.

    Each change is an implicit transition: every session gets a unit attention (06/2A/06), and multipath has to
    move to another group and back. `count` limits the changes; at the end the group is put back into the state that it
    had before.
    """

    name = "alua-flap"
    limited_by = TIME_LIMITS
    example = """
target-group = 2
states = ["standby", "optimized"]
every = "2s"
"""

    target_group: int = parameter(INTEGER, "tag of the portal group", 1)
    states: tuple[AluaState, ...] = parameter(_STATES, "one after the other", "non-optimized,optimized")
    every_ns: int = parameter(DURATION, "how long each state stays", "5s")

    timer: Timer | None = field(default=None, init=False)
    before: AluaState | None = field(default=None, init=False)

    def check(self) -> None:
        """See Filter."""
        if not self.every_ns:
            raise ValueError("every: expected a duration above 0")

    def join(self, target: Surroundings) -> None:
        """See Filter."""
        if self.target_group not in target.device.groups:
            raise ValueError(f"target-group: there is no portal group {self.target_group}")
        others = (other for other in target.filters.values() if isinstance(other, AluaFlap))
        if any(other.target_group == self.target_group for other in others):  # each would put back the other's states
            raise ValueError(f"target-group: another filter moves portal group {self.target_group} already")
        super().join(target)

    def started(self) -> None:
        """See Filter."""
        self.before = self.target.device.groups[self.target_group].state
        self._change()

    def _change(self) -> None:
        if self.limits.strike():
            state = self.states[(self.limits.struck - 1) % len(self.states)]
            self.target.set_group_state(self.target_group, state)
            self.timer = self.target.later(self.every_ns, self._change)
        else:
            self.stopped()

    def stopped(self) -> None:
        """See Filter."""
        if self.timer is not None:
            self.timer.cancel()
        if self.before is not None and self.target_group in self.target.device.groups:
            self.target.set_group_state(self.target_group, self.before)
            self.before = None
