"""What becomes of requests while no path is usable: `no_path_retry`, and the bound on what may wait."""

from enum import Enum

from mpio.model.settings import Settings
from mpio.units import seconds


class NoPath(Enum):
    """The states of the clock."""

    OFF = "paths are usable"
    QUEUEING = "requests wait for a path"
    EXPIRED = "requests fail"


class NoPathRetry:
    """The clock that runs from the moment when the last path has failed: `fail`, `queue`, or N x polling_interval.

    Attributes:
        state: see NoPath. deadline: when QUEUEING becomes EXPIRED; None if never, or if it does not run.
    """

    def __init__(self, settings: Settings) -> None:
        self._retry = settings.no_path_retry
        self._polling_ns = seconds(settings.polling_interval)
        self.state = NoPath.OFF
        self.deadline: int | None = None

    @property
    def policy(self) -> str:
        """`fail`, `queue`, or '60 polls'."""
        return self._retry if isinstance(self._retry, str) else f"{self._retry} polls"

    @property
    def patience_ns(self) -> int | None:
        """How long a request may wait for what may never come: 0, N polls, or None for ever."""
        if self._retry == "queue":
            return None
        return 0 if isinstance(self._retry, str) else self._retry * self._polling_ns

    def begin(self, now: int) -> bool:
        """No path is usable and none is about to return: start the clock. False if it runs or has run out already."""
        if self.state is not NoPath.OFF:
            return False
        patience_ns = self.patience_ns
        self.state = NoPath.QUEUEING
        self.deadline = None if patience_ns is None else now + patience_ns
        return True

    def expire(self, now: int) -> bool:
        """Whether the clock has just run out."""
        if self.state is NoPath.QUEUEING and self.deadline is not None and now >= self.deadline:
            self.state = NoPath.EXPIRED
            self.deadline = None
            return True
        return False

    def end(self) -> None:
        """A path is usable again, or about to be."""
        self.state = NoPath.OFF
        self.deadline = None
