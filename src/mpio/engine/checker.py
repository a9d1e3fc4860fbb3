"""Path checkers: what a check sends, what its answer says, and when the next one is due.

Results are those of multipath-tools (libmultipath/checkers/tur.c, directio.c, readsector0.c). In user space over
iSCSI directio and readsector0 are the same: a read of the first block.
"""

from enum import Enum

from mpio.model.settings import Checker, Settings
from mpio.model.task import Outcome, Status, Task
from mpio.proto.scsi import cdb
from mpio.proto.scsi.sense import Sense, SenseKey
from mpio.units import NS_PER_S, seconds

RETRIES_MAX = 5
"""Unit attentions that one check eats (tur.c: 5 retries)."""
PENDING_INTERVAL_NS = NS_PER_S
"""A check that says nothing is repeated after a second (multipathd: `checker pending`), or sooner if polling is."""


class CheckResult(Enum):
    """What a check says about the path."""

    UP = "reports path is up"
    GHOST = "reports path is in standby"
    PENDING = "reports path is in transition or busy"
    """Nothing is known: the state stays."""
    DOWN = "reports path is down"
    DISCONNECTED = "reports that the LU is not there any more"
    RETRY = "unit attention"
    """Ask again at once."""


def check_command(checker: Checker, block_size: int) -> tuple[bytes, int]:
    """The command of a check, and how many bytes come in."""
    return (cdb.test_unit_ready(), 0) if checker == "tur" else (cdb.read(0, 1), block_size)


def judge(task: Task) -> CheckResult:
    """What the end of a check says. A task that the connection took down with it says nothing: its loss is told."""
    if task.outcome == Outcome.CLEARED:
        return CheckResult.RETRY
    if task.outcome != Outcome.COMPLETED:
        return CheckResult.DOWN if task.outcome == Outcome.ABORTED else CheckResult.PENDING
    if task.status == Status.GOOD:
        return CheckResult.UP if task.residual == 0 else CheckResult.DOWN
    if task.status == Status.RESERVATION_CONFLICT:
        return CheckResult.UP  # tur.c: the path works, somebody else's reservation answers
    if task.status in (Status.BUSY, Status.TASK_SET_FULL, Status.ACA_ACTIVE, Status.TASK_ABORTED):
        return CheckResult.PENDING
    sense = Sense.parse(task.sense)
    if sense is None:
        return CheckResult.DOWN
    if sense.key == SenseKey.UNIT_ATTENTION or sense.deferred:
        return CheckResult.RETRY
    return _BY_SENSE.get(sense.code, CheckResult.DOWN)


_BY_SENSE = {
    (0x0, 0x00, 0x00): CheckResult.UP,  # tur.c: no sense, up
    (0x2, 0x04, 0x0A): CheckResult.PENDING,
    (0x2, 0x04, 0x0B): CheckResult.GHOST,
    (0x5, 0x25, 0x00): CheckResult.DISCONNECTED,
}


class Polling:
    """How long until the next check: `polling_interval`, doubled by each good one up to `max_polling_interval`.

    Back to `polling_interval` after any change, and always for a path that is not good (multipathd main.c).
    """

    def __init__(self, settings: Settings) -> None:
        self.interval_ns = seconds(settings.polling_interval)
        self.max_ns = seconds(settings.polling_interval_max)
        self.pending_ns = min(PENDING_INTERVAL_NS, self.interval_ns)
        self.timeout_ns = seconds(settings.checker_timeout)

    def after(self, interval_ns: int, result: CheckResult, *, changed: bool) -> int:
        """The interval after `interval_ns` (0 at the start), given the result and whether it changed the state."""
        if changed or interval_ns == 0 or result in (CheckResult.DOWN, CheckResult.DISCONNECTED):
            return self.interval_ns
        return min(2 * interval_ns, self.max_ns)
