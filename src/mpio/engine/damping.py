"""Flap damping: a path that fails too often must prove itself before it carries requests again.

Two rules of multipath.conf(5), each off unless all of its settings are given:

- `san_path_err_*`: more than `threshold` failures, of which one is forgotten every `forget_rate` good checks, hold the
  path for `recovery_time`.
- `marginal_path_*`: two failures within `double_failed_time` make the path, once it is back, be read ten times
  a second for `err_sample_time`; if more than `err_rate_threshold` permille of the reads fail it is held for
  `err_recheck_gap_time` and read again.

The map asks when a path comes back, says what it sees, and lets a held path go early if it is the last one.
"""

from enum import Enum, auto

from mpio.model.settings import Settings
from mpio.units import NS_PER_S, seconds

SAMPLE_INTERVAL_NS = NS_PER_S // 10
"""libmultipath io_err_stat.c: IO_ERR_STAT direct reads at 10 Hz."""


class Due(Enum):
    """What a deadline of the damping asks for."""

    NOTHING = auto()
    SAMPLE = auto()
    """Read the first block and tell the result."""
    RELEASE = auto()
    """The path has proven itself."""


class Damping:
    """The record of one path.

    Attributes:
        held: whether the path is being held. until_ns: for how long at least, None if it is not held.
        deadline: when `due` has something to say, or None.
    """

    __slots__ = (
        "_double_ns", "_errors", "_failed_at", "_failures", "_forget_left", "_forget_rate", "_gap_ns",
        "_rate_permille", "_recovery_ns", "_sample_ns", "_samples", "_sampling_until", "_suspect", "_threshold",
        "deadline", "held", "until_ns",
    )

    def __init__(self, settings: Settings) -> None:
        self._threshold = settings.san_path_err_threshold or 0
        self._forget_rate = settings.san_path_err_forget_rate or 0
        self._recovery_ns = seconds(settings.san_path_err_recovery_time or 0)
        if not (self._threshold and self._forget_rate and self._recovery_ns):
            self._threshold = 0
        self._double_ns = seconds(settings.marginal_path_double_failed_time or 0)
        self._sample_ns = seconds(settings.marginal_path_err_sample_time or 0)
        self._rate_permille = settings.marginal_path_err_rate_threshold
        self._gap_ns = seconds(settings.marginal_path_err_recheck_gap_time or 0)
        if not (self._sample_ns and self._gap_ns and self._rate_permille is not None):
            self._double_ns = 0
        self._failures = 0
        self._forget_left = self._forget_rate
        self._failed_at: int | None = None
        self._suspect = False
        self._sampling_until: int | None = None
        self._samples = 0
        self._errors = 0
        self.held = False
        self.until_ns: int | None = None
        self.deadline: int | None = None

    def failed(self, now: int) -> None:
        """The path went from good to bad."""
        self._failures += 1
        if self._double_ns and self._failed_at is not None and now - self._failed_at <= self._double_ns:
            self._suspect = True
        self._failed_at = now
        self._stop()

    def returned(self, now: int) -> str | None:
        """The path came back from bad, or from standby. Why it is to be held, or None."""
        if self._suspect:
            self._begin_sampling(now)
            return f"two failures within {self._double_ns / NS_PER_S:g} s"
        if self._threshold and self._failures > self._threshold:
            self._hold(now + self._recovery_ns)
            return f"{self._failures} failures, threshold {self._threshold}"
        return None

    def suspend(self) -> None:
        """The path has gone to standby, where it can prove nothing; once it is back from there it begins anew."""
        self._stop()

    def checked_good(self) -> None:
        """One good check of a path in use: every `forget_rate` of them make up for one failure."""
        if self._threshold and self._failures and not self.held:
            self._forget_left -= 1
            if self._forget_left <= 0:
                self._failures -= 1
                self._forget_left = self._forget_rate

    def sampled(self, *, good: bool) -> None:
        """The result of a sample read."""
        self._samples += 1
        self._errors += not good

    def due(self, now: int) -> Due:
        """What is to be done now; called when `deadline` is reached."""
        if self.deadline is None or now < self.deadline:
            return Due.NOTHING
        if self._sampling_until is not None:
            if now < self._sampling_until:
                self.deadline = min(now + SAMPLE_INTERVAL_NS, self._sampling_until)
                return Due.SAMPLE
            if self._too_many_errors():
                self._sampling_until = None
                self._hold(now + self._gap_ns)
                return Due.NOTHING
        elif self._suspect:  # the gap is over
            self._begin_sampling(now)
            return Due.SAMPLE
        self.release()
        return Due.RELEASE

    def release(self) -> None:
        """Let the path go and forget its failures, whether it has proven itself or is needed as the last one."""
        self._suspect = False
        self._failures = 0
        self._forget_left = self._forget_rate
        self._stop()

    def _too_many_errors(self) -> bool:
        assert self._rate_permille is not None
        return self._samples == 0 or 1000 * self._errors > self._rate_permille * self._samples

    def _begin_sampling(self, now: int) -> None:
        self._samples = self._errors = 0
        self._sampling_until = now + self._sample_ns
        self._hold(self._sampling_until)
        self.deadline = now

    def _hold(self, until_ns: int) -> None:
        self.held = True
        self.until_ns = self.deadline = until_ns

    def _stop(self) -> None:
        self.held = False
        self.until_ns = self.deadline = self._sampling_until = None
