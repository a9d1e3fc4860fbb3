"""What a SCSI answer means for a multipath initiator: which retry can help, if any.

Owns the one table from status and sense to `Disposition`. Each row names where the rule comes from. Conditions that no
row names follow their sense key. Nothing here decides how often a retry is tried.
"""

from enum import Enum, auto
from types import MappingProxyType

from mpio.model.task import Status, Task
from mpio.proto.scsi.sense import Sense, SenseKey


class Disposition(Enum):
    """What to do with a task that the target has answered."""

    DONE = auto()
    """It worked."""
    RETRY_SAME = auto()
    """The condition is gone once reported (unit attention, aborted command): send it again by the same path."""
    RETRY_DELAYED = auto()
    """The target asks for a pause (BUSY, TASK SET FULL, transition): send it again later, same path."""
    RETRY_OTHER = auto()
    """This path can't serve it, another one may."""
    FAIL = auto()
    """No path would answer otherwise (medium, illegal request, protection): tell the application."""
    RESERVATION_CONFLICT = auto()
    """Somebody else holds a reservation: tell the application, never retry."""
    SPACE = auto()
    """Thin provisioning ran out of space (07/27/07): not a path error; fails or waits for an administrator."""


_D = Disposition

BY_STATUS = MappingProxyType({
    Status.GOOD: _D.DONE,
    Status.CONDITION_MET: _D.DONE,  # SAM-5 §5.3.1: PRE-FETCH found room for all
    Status.BUSY: _D.RETRY_DELAYED,  # SAM-5 §5.3.1
    Status.TASK_SET_FULL: _D.RETRY_DELAYED,  # SAM-5 §5.3.1
    Status.ACA_ACTIVE: _D.RETRY_DELAYED,  # SAM-5 §5.3.1: another task's condition has yet to be cleared
    Status.RESERVATION_CONFLICT: _D.RESERVATION_CONFLICT,  # SAM-5 §5.3.1
    Status.TASK_ABORTED: _D.RETRY_SAME,  # SAM-5 §5.3.1: by another nexus's task management
})

BY_SENSE = MappingProxyType({
    (0x2, 0x04, 0x00): _D.RETRY_OTHER,  # cause not reportable: multipath-tools' checkers call it down
    (0x2, 0x04, 0x01): _D.RETRY_DELAYED,  # linux scsi_check_sense: becoming ready, retried
    (0x2, 0x04, 0x02): _D.RETRY_OTHER,  # stopped here; the LU may be started behind another port
    (0x2, 0x04, 0x03): _D.RETRY_OTHER,  # manual intervention
    (0x2, 0x04, 0x0A): _D.RETRY_DELAYED,  # linux alua_check_sense; SPC-4 §5.15.2.6
    (0x2, 0x04, 0x0B): _D.RETRY_OTHER,  # SPC-4 §5.15.2.4 standby
    (0x2, 0x04, 0x0C): _D.RETRY_OTHER,  # SPC-4 §5.15.2.5 unavailable
    (0x2, 0x04, 0x12): _D.RETRY_OTHER,  # SPC-4 §5.15.2.8 offline
    (0x2, 0x04, 0x1B): _D.FAIL,  # sanitize works on the medium, behind every path
    (0x2, 0x3A, 0x00): _D.FAIL,  # no medium behind any path
    (0x4, 0x44, 0x00): _D.RETRY_OTHER,  # internal target failure: this controller's, perhaps not its partner's
    (0x5, 0x25, 0x00): _D.RETRY_OTHER,  # multipath-tools TUR checker: disconnected
    (0x7, 0x27, 0x07): _D.SPACE,  # linux scsi_check_sense: DID_ALLOC_FAILURE, BLK_STS_NOSPC
    (0x6, 0x2A, 0x03): _D.RETRY_SAME,  # SPC-4 §5.13: the retry tells whether this nexus is still allowed
    (0x6, 0x2A, 0x04): _D.RETRY_SAME,
    (0x6, 0x2A, 0x05): _D.RETRY_SAME,
})

BY_KEY = MappingProxyType({
    SenseKey.NO_SENSE: _D.DONE,  # linux scsi_check_sense: success
    SenseKey.RECOVERED_ERROR: _D.DONE,  # SPC-4 §4.5.6: the command completed
    SenseKey.NOT_READY: _D.RETRY_OTHER,
    SenseKey.MEDIUM_ERROR: _D.FAIL,  # the same medium behind every path; linux blk_path_error: BLK_STS_MEDIUM
    SenseKey.HARDWARE_ERROR: _D.FAIL,  # linux scsi_check_sense: DID_TARGET_FAILURE
    SenseKey.ILLEGAL_REQUEST: _D.FAIL,
    SenseKey.UNIT_ATTENTION: _D.RETRY_SAME,  # SAM-5 §5.14: reported once, the command was not done
    SenseKey.DATA_PROTECT: _D.FAIL,
    SenseKey.BLANK_CHECK: _D.FAIL,
    SenseKey.VENDOR_SPECIFIC: _D.RETRY_OTHER,
    SenseKey.COPY_ABORTED: _D.FAIL,
    SenseKey.ABORTED_COMMAND: _D.RETRY_SAME,  # linux scsi_check_sense: retried
    SenseKey.RESERVED: _D.RETRY_OTHER,
    SenseKey.VOLUME_OVERFLOW: _D.FAIL,
    SenseKey.MISCOMPARE: _D.FAIL,  # the answer to a comparison
    SenseKey.COMPLETED: _D.DONE,  # SPC-4 §4.5.6
})


def dispose_sense(sense: Sense | None) -> Disposition:
    """The disposition of CHECK CONDITION with this sense; None stands for sense that is missing or not readable."""
    if sense is None or sense.deferred:
        return Disposition.RETRY_SAME  # says nothing about this command but that it was not done
    found = BY_SENSE.get(sense.code)
    return BY_KEY[SenseKey(sense.key)] if found is None else found


def dispose(task: Task) -> Disposition:
    """The disposition of a task that the target has answered (outcome COMPLETED). Sense counts only with status 02h."""
    status = task.status
    if status == 0:
        return Disposition.DONE
    if status == Status.CHECK_CONDITION:
        return dispose_sense(Sense.parse(task.sense))
    return BY_STATUS.get(status, Disposition.RETRY_OTHER)  # type: ignore[call-overload, no-any-return]
