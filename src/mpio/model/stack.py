"""What decides a Linux host's stall: the values that are in force in iscsid, SCSI and multipathd, and of the target.

Names are those of iscsid.conf and multipath.conf without their prefixes; times are seconds, as there. The defaults are
what the two packages ship (open-iscsi etc/iscsid.conf, multipath-tools libmultipath/defaults.h), and Linux' own.
mpio's own engine has `model.settings.Settings`; this is for the kernel's.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

NoPathRetry = Literal["fail", "queue"] | int
Failback = Literal["immediate", "manual", "followover"] | int
Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LinuxStack:
    """One LUN's settings as they are in force on one host.

    Attributes:
        multipath: whether multipathd manages the LUN; only then does `fast_io_fail_tmo` reach iSCSI.
        fast_io_fail_tmo: None is `off`; `off` and 0 are not applied on iSCSI (multipath-tools sysfs_set_session_tmo).
        max_polling_interval, checker_timeout: None is what multipathd derives: 4 polling_interval, the SCSI timeout.
        no_path_retry: unset behaves as `fail`.
        hz: CONFIG_HZ, which decides how late the kernel's timers are.
    """

    # --- iscsid.conf, node record
    noop_out_interval: int = 5
    noop_out_timeout: int = 5
    replacement_timeout: int = 120  # 0: fail at once; < 0: wait for ever
    login_timeout: int = 15
    logout_timeout: int = 15
    abort_timeout: int = 15
    lu_reset_timeout: int = 30
    tgt_reset_timeout: int = 30
    default_time2wait: int = 2
    # --- multipath.conf
    multipath: bool = True
    fast_io_fail_tmo: int | None = 5
    dev_loss_tmo: int | None = None
    polling_interval: int = 5
    max_polling_interval: int | None = None
    checker_timeout: int | None = None
    no_path_retry: NoPathRetry = "fail"
    failback: Failback = "manual"
    path_grouping_policy: str = "failover"
    path_selector: str = "service-time 0"
    # --- SCSI: /sys/block/sdX/device/timeout, /sys/class/scsi_disk/*/max_retries
    timeout: int = 30
    max_retries: int = 5
    # --- what the host runs
    hz: int = 250
    kernel: Version = (6, 1)
    multipath_tools: Version = (0, 9, 4)

    @property
    def polling_interval_max(self) -> int:
        """max_polling_interval with multipathd's default filled in."""
        return 4 * self.polling_interval if self.max_polling_interval is None else self.max_polling_interval

    @property
    def checker_timeout_in_force(self) -> int:
        """checker_timeout, or the SCSI timeout that takes its place."""
        return self.timeout if self.checker_timeout is None else self.checker_timeout

    def replace(self, **changes: object) -> "LinuxStack":
        """A copy with some values changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class TargetTimers:
    """The target's own NOP-In, which moves the initiator's ping deadline while only one direction is cut.

    Attributes:
        nopin_interval: seconds between pings (LIO nopin_timeout, 15); 0 if the target never pings.
        nopin_response: seconds until it drops a silent initiator (LIO nopin_response_timeout, 30).
        login_exchange: seconds of one TCP connect and login when all is well.
    """

    nopin_interval: float = 15
    nopin_response: float = 30
    login_exchange: float = 0.1
