"""The timers of cluster stacks that a storage stall can run into: what each node is set to.

One class per stack, under the stack's own names and in its own units (O2CB counts iterations of two seconds, corosync
milliseconds). Only what bears on storage stalls is here; what the numbers imply is in `planner.cluster`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class O2cb:
    """OCFS2's in-kernel disk heartbeat (o2cb sysconfig, O2CB_*)."""

    heartbeat_threshold: int = 31  # iterations of 2 s; the node fences itself after 2 (T - 1) s
    idle_timeout_ms: int = 30_000
    keepalive_delay_ms: int = 2_000
    reconnect_delay_ms: int = 2_000
    negotiate: bool = True  # kernel 4.7 and later: nobody fences while every node hangs


@dataclass(frozen=True, slots=True)
class Sbd:
    """SBD on a shared disk: the device's header and the daemon's options, in seconds."""

    watchdog: int = 5
    msgwait: int = 10
    allocate: int = 2
    loop: int = 1
    io_timeout: int = 3  # -I
    restart_delay: int = 5  # -t
    devices: int = 1
    pacemaker: bool = True  # SBD_PACEMAKER: rides out a lost disk while the cluster is healthy
    delay_start: int = 0  # SBD_DELAY_START in seconds; 0 is no


@dataclass(frozen=True, slots=True)
class Corosync:
    """totem and quorum of corosync.conf, and Pacemaker's properties that follow from them."""

    token_ms: int = 3_000
    token_coefficient_ms: int = 650
    consensus_ms: int | None = None  # None: 1.2 times the effective token
    nodes: int = 2
    stonith_timeout: int = 60  # s
    stonith_watchdog_timeout: int = 0  # s
    monitor_timeout: int = 40  # s, of ocf:heartbeat:Filesystem
    stop_timeout: int = 60  # s
    pcmk_delay_max: int = 0  # s, of the fence device
    qdevice: bool = False
    qdevice_sync_timeout_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class Sanlock:
    """sanlock and wdmd: everything is a multiple of io_timeout (s)."""

    io_timeout: int = 10
    watchdog_fire_timeout: int = 60


@dataclass(frozen=True, slots=True)
class Ncs:
    """Novell/OES Cluster Services, seconds."""

    heartbeat: int = 1
    tolerance: int = 8
    master_watchdog: int = 1
    slave_watchdog: int = 8


@dataclass(frozen=True, slots=True)
class LinuxHa:
    """Linux-HA Heartbeat's ha.cf, seconds. It has no disk channel: only frozen hosts and resources matter."""

    keepalive: float = 2
    warntime: float = 10
    deadtime: float = 30
    initdead: float = 120


@dataclass(frozen=True, slots=True)
class Rac:
    """Oracle Clusterware and ASM, seconds."""

    misscount: int = 30
    disktimeout: int = 200
    reboottime: int = 3
    asm_hbeatiowait: int = 120


@dataclass(frozen=True, slots=True)
class Mmp:
    """ZFS's activity check (zpool property multihost=on)."""

    interval_ms: int = 1_000  # zfs_multihost_interval
    fail_intervals: int = 10  # zfs_multihost_fail_intervals; 0: the pool is never suspended
    import_intervals: int = 20  # zfs_multihost_import_intervals


@dataclass(frozen=True, slots=True)
class Qdisk:
    """The quorum disk of Red Hat Cluster Suite 5 and 6, seconds."""

    interval: int = 1
    tko: int = 10  # missed intervals until a node is evicted
    cman_timeout: int = 20


Cluster = O2cb | Sbd | Corosync | Sanlock | Ncs | LinuxHa | Rac | Mmp | Qdisk
