"""How long a lost session is waited for: replacement_timeout, or the fast_io_fail_tmo that multipathd writes over it.

`recovery_tmo` of the kernel's session is written by iscsid at each login (open-iscsi usr/initiator_common.c:
iscsi_session_set_params) and by multipathd for each path of a map (multipath-tools libmultipath/discovery.c:
sysfs_set_scsi_tmo, sysfs_set_session_tmo), which says nothing at its usual log level when it does not.
"""

from dataclasses import dataclass

from mpio.model.stack import LinuxStack, Version

SYSFS_WINS_SINCE: Version = (4, 2)
"""Kernels that keep a recovery_tmo written to sysfs at the next login (scsi_transport_iscsi.c:iscsi_if_set_param)."""
ISCSI_SINCE: Version = (0, 5, 0)
"""The first multipath-tools that set recovery_tmo."""

_MINIMUM_ALWAYS_BEFORE: Version = (0, 8, 5)
"""Up to 0.8.4 the minimum that follows from no_path_retry stood in for a dev_loss_tmo that was not set;"""
_MINIMUM_FOR_UNSET_SINCE: Version = (0, 9, 6)
"""and it does so again from here on."""
_PADDED_SINCE: Version = (0, 9, 9)
"""The minimum is 5 s and a second per minute longer than the queue."""
_DEV_LOSS_TMO_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long I/O waits for a lost session.

    Attributes:
        best_s, worst_s: equal but for kernels that forget multipathd's value; None waits for ever.
        source: the setting that decides. skipped: why fast_io_fail_tmo does not, or "".
    """

    best_s: int | None
    worst_s: int | None
    source: str
    skipped: str = ""


def recovery(stack: LinuxStack) -> Recovery:
    """The recovery_tmo in force, and where it comes from."""
    waits = None if stack.replacement_timeout < 0 else stack.replacement_timeout
    skipped = fast_io_fail_skipped(stack)
    if skipped:
        return Recovery(waits, waits, "replacement_timeout", skipped)
    fast = stack.fast_io_fail_tmo
    assert fast is not None  # `off` is skipped
    if stack.kernel < SYSFS_WINS_SINCE:
        return Recovery(
            fast if waits is None else min(fast, waits), None if waits is None else max(fast, waits),
            "fast_io_fail_tmo, or replacement_timeout since the last login (kernel before 4.2)")
    return Recovery(fast, fast, "fast_io_fail_tmo")


def fast_io_fail_skipped(stack: LinuxStack) -> str:
    """Why multipathd leaves recovery_tmo alone, in words; empty if it sets it."""
    fast = stack.fast_io_fail_tmo
    if not stack.multipath:
        return "no multipathd manages this LUN"
    if stack.multipath_tools < ISCSI_SINCE:
        return "multipath-tools before 0.5.0 does not set it on iSCSI"
    if fast is None or fast <= 0:
        return f"fast_io_fail_tmo {'off' if fast is None else fast} is not possible on iSCSI"
    limit = _dev_loss_tmo(stack)
    if limit is not None and fast >= limit:
        return f"fast_io_fail_tmo {fast} is not smaller than dev_loss_tmo, which is {limit} here"
    return ""


def _dev_loss_tmo(stack: LinuxStack) -> int | None:
    """The dev_loss_tmo that fast_io_fail_tmo is compared with; None if there is no comparison.

    It is raised to what no_path_retry needs. iSCSI itself ignores it.
    """
    least = _dev_loss_tmo_min(stack)
    if stack.dev_loss_tmo is not None:
        return max(stack.dev_loss_tmo, least)
    fills_in = not _MINIMUM_ALWAYS_BEFORE <= stack.multipath_tools < _MINIMUM_FOR_UNSET_SINCE
    return least if fills_in and least else None


def _dev_loss_tmo_min(stack: LinuxStack) -> int:
    if stack.no_path_retry == "queue":
        return _DEV_LOSS_TMO_MAX
    if stack.no_path_retry == "fail" or stack.no_path_retry <= 0:
        return 0
    queue_s = stack.no_path_retry * stack.polling_interval
    padding_s = queue_s // 60 + 5 if stack.multipath_tools >= _PADDED_SINCE else 0
    return min(queue_s + padding_s, _DEV_LOSS_TMO_MAX)
