"""Bounds of a map's queues, and that it forgets no request, from its status at any instants.

Rules:

    bytes       more waits than `queue_bytes_max`
    depth       more commands on a path than its queue depth
    negative    a count below zero
    sums        the map's numbers are not those of its paths
    forgotten   a request has not ended, and is neither on a path nor waiting
    leak        no request is left, but something is counted still
"""

from mpio.check.breach import Breach, Breaches
from mpio.engine.status import MapStatus
from mpio.model.settings import Settings

REQUEST_BYTES_MIN = 512
"""What a request without data weighs in the queue (engine.map)."""


class QueueCheck:
    """Of one map. Tell it of every request that is submitted and of every end; let it look at any time.

    Attributes:
        outstanding: requests that have not ended. looks: how many instants were checked.
    """

    def __init__(self, settings: Settings) -> None:
        self.outstanding = 0
        self.looks = 0
        self._weight = 0  # of the outstanding ones
        self._largest = REQUEST_BYTES_MIN
        self._bytes_max = settings.queue_bytes_max
        self._depth = min(settings.queue_depth, settings.cmds_max)
        self._breaches = Breaches()

    @property
    def breaches(self) -> list[Breach]:
        """What was broken so far."""
        return self._breaches.kept

    def submitted(self, length: int) -> None:
        """A request of `length` bytes (0 for a flush) is handed to the map."""
        self.outstanding += 1
        self._weight += length or REQUEST_BYTES_MIN
        self._largest = max(self._largest, length)

    def ended(self, length: int) -> None:
        """It has ended, well or not."""
        self.outstanding -= 1
        self._weight -= length or REQUEST_BYTES_MIN

    def look(self, status: MapStatus) -> None:
        """Check the numbers of one instant."""
        self.looks += 1
        add, now = self._breaches.add, status.t_ns
        self._look_at_paths(status)
        # What was on a path when it failed joins the queue whatever its length: it had been let in before
        failed_over_bytes_max = len(status.paths) * self._depth * self._largest
        if status.queued_bytes > self._bytes_max + failed_over_bytes_max:
            add("bytes", now, f"{status.queued_bytes} bytes wait, queue_bytes_max is {self._bytes_max}")
        counted = status.queued_bytes + sum(path.in_flight_bytes for path in status.paths)
        if counted > self._weight:
            add("bytes", now, f"{counted} bytes wait or are in flight, of requests of {self._weight}")
        for name in ("in_flight", "queued", "queued_bytes", "in_doubt", "usable_paths", "failed", "outcome_unknown"):
            if getattr(status, name) < 0:
                add("negative", now, f"{name} is {getattr(status, name)}")
        held = status.in_flight + status.queued
        if self.outstanding > held:
            add("forgotten", now, f"{self.outstanding} requests have not ended, but only {held} are known")
        if self.outstanding == 0 and (held or status.queued_bytes or status.in_doubt):
            add("leak", now, f"no request is left, but {status.in_flight} are in flight, {status.queued} wait "
                             f"({status.queued_bytes} bytes), {status.in_doubt} are in doubt")

    def _look_at_paths(self, status: MapStatus) -> None:
        add, now = self._breaches.add, status.t_ns
        for path in status.paths:
            if path.in_flight > self._depth:
                add("depth", now, f"{path.name}: {path.in_flight} commands, the depth is {self._depth}")
            if min(path.in_flight, path.in_flight_bytes, path.waiting, path.in_doubt) < 0:
                add("negative", now, f"{path.name}: {path.in_flight} in flight of {path.in_flight_bytes} bytes, "
                                     f"{path.waiting} waiting, {path.in_doubt} in doubt")
        for name in ("in_flight", "in_doubt"):
            total = sum(getattr(path, name) for path in status.paths)
            if total != getattr(status, name):
                add("sums", now, f"{name} is {getattr(status, name)}, that of the paths {total}")
