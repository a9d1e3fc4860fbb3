"""Failback: when to go back to a better group while the one in use still works (multipath.conf(5) `failback`)."""

from mpio.engine.grouping import PathGroup
from mpio.engine.path import Path
from mpio.model.settings import Settings
from mpio.units import seconds


class Failback:
    """Decides on a switch to a better group.

    Attributes:
        deadline: when a deferred switch is due, or None.
    """

    def __init__(self, settings: Settings) -> None:
        self._policy = settings.failback
        self._delay_ns = 0 if isinstance(settings.failback, str) else seconds(settings.failback)
        self.deadline: int | None = None

    def better_group(self, best: PathGroup, returned: Path | None, now: int) -> bool:
        """Whether to switch to `best` now. `returned` is the path that has just come up, if this is why it is asked.

        With a delay the answer is no until the delay has run out; each path that returns starts it again.
        """
        if self._policy == "manual":
            return False
        if self._policy == "immediate":
            return True
        if self._policy == "followover":  # only with the first path of the group to come back
            return returned is not None and best.usable == [returned]
        if self._delay_ns == 0:
            return True
        if self.deadline is None or returned is not None:
            self.deadline = now + self._delay_ns
        if now < self.deadline:
            return False
        self.deadline = None
        return True

    def cancel(self) -> None:
        """No better group any more, or a path has failed: a deferred switch is off."""
        self.deadline = None
