"""Every setting of a map and its sessions, under the names that iscsid.conf and multipath.conf use.

Times are seconds, as in those files, but fractions are allowed. A value means here what it means there; where Linux
has no such setting, the comment says so. Sources: open-iscsi etc/iscsid.conf and usr/initiator.c, multipath.conf(5)
and multipath-tools libmultipath/defaults.h.
"""

import contextlib
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Literal, get_args, get_origin

from mpio.units import NS_PER_S, parse_duration

GroupingPolicy = Literal["failover", "multibus", "group_by_prio", "group_by_serial", "group_by_node_name"]
Selector = Literal["round-robin", "queue-length", "service-time"]
Prioritizer = Literal["const", "alua"]
Checker = Literal["tur", "readsector0", "directio"]
Fence = Literal["auto", "reinstate", "preempt", "lun_reset", "none"]
DigestPolicy = Literal["None", "CRC32C", "None,CRC32C", "CRC32C,None"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "path_grouping_policy": get_args(GroupingPolicy),
    "path_selector": get_args(Selector),
    "prio": get_args(Prioritizer),
    "path_checker": get_args(Checker),
    "fence": get_args(Fence),
    "header_digest": get_args(DigestPolicy),
    "data_digest": get_args(DigestPolicy),
}
_CHAP_ALGORITHMS = ("SHA3-256", "SHA256", "SHA1", "MD5")
_SECONDS_MAX = 86_400 * 7
_INTEGER_MAX = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one map. The defaults are the `linux` profile's: what open-iscsi and multipath-tools ship."""

    # --- iscsid.conf: node.conn[0].timeo.*, node.session.timeo.*, node.session.err_timeo.*
    noop_out_interval: float = 5.0  # silence before a ping; 0 with noop_out_timeout 0 turns pings off
    noop_out_timeout: float = 5.0  # silence after the ping before the connection is given up
    replacement_timeout: float = 120.0  # how long I/O waits for a lost session; 0 fails at once, < 0 waits for ever
    login_timeout: float = 15.0
    logout_timeout: float = 15.0
    abort_timeout: float = 15.0
    lu_reset_timeout: float = 30.0
    login_redirect_max: int = 8
    # --- iscsid.conf: node.session.*
    cmds_max: int = 128
    queue_depth: int = 32  # commands per LUN and path at a time
    initial_r2t: bool = False
    immediate_data: bool = True
    first_burst_length: int = 262_144
    max_burst_length: int = 16_776_192
    max_recv_data_segment_length: int = 262_144
    max_outstanding_r2t: int = 1
    default_time2wait: int = 2
    default_time2retain: int = 0
    tcp_window_size: int | None = None  # receive buffer, bytes; None: the kernel's choice
    header_digest: DigestPolicy = "None"
    data_digest: DigestPolicy = "None"
    # --- iscsid.conf: node.session.auth.*; `_in` is what the target must prove
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    username_in: str | None = None
    password_in: str | None = field(default=None, repr=False)
    chap_algs: tuple[str, ...] = _CHAP_ALGORITHMS
    discovery_username: str | None = None
    discovery_password: str | None = field(default=None, repr=False)
    initiator_name: str = "iqn.2026-01.dev.mpio:initiator"

    # --- multipath.conf
    path_grouping_policy: GroupingPolicy = "failover"
    path_selector: Selector = "service-time"
    prio: Prioritizer = "const"
    detect_prio: bool = True  # use alua where the target reports port groups
    path_checker: Checker = "tur"
    polling_interval: float = 5.0
    max_polling_interval: float | None = None  # None: 4 x polling_interval
    checker_timeout: float = 30.0
    no_path_retry: Literal["fail", "queue"] | int = "fail"
    failback: Literal["immediate", "manual", "followover"] | float = "manual"
    fast_io_fail_tmo: float | None = 5.0  # takes the place of replacement_timeout; None is `off`
    san_path_err_threshold: int | None = None
    san_path_err_forget_rate: int | None = None
    san_path_err_recovery_time: float | None = None
    marginal_path_double_failed_time: float | None = None
    marginal_path_err_sample_time: float | None = None
    marginal_path_err_rate_threshold: int | None = None  # permille
    marginal_path_err_recheck_gap_time: float | None = None
    marginal_pathgroups: bool = False
    reservation_key: int | None = None
    max_sectors_kb: int | None = None  # largest request in KiB; larger ones are split
    alias: str | None = None
    rr_min_io_rq: int = 1

    # --- SCSI, /sys/block/sdX/device/*
    timeout: float = 30.0  # per command, then ABORT TASK, LOGICAL UNIT RESET, session drop
    max_retries: int = 5  # on the same path, for conditions that pass

    # --- mpio only
    fence: Fence = "auto"  # how an in-doubt write is fenced before it is sent again; `none` is what Linux does
    fence_timeout: float = 5.0  # per attempt
    exclusive: bool = False  # no other host uses the LU, so that fences may reserve and reset it
    reconnect_delay: float = 2.0  # first pause before a reconnect (open-iscsi: DefaultTime2Wait)
    reconnect_delay_max: float = 3.0  # open-iscsi: 3 s after a refused connect
    queue_bytes_max: int = 1 << 30  # bound of all queued requests of the map

    def __post_init__(self) -> None:
        for name in _TYPES:
            _check(name, getattr(self, name))
        if (self.noop_out_interval == 0) != (self.noop_out_timeout == 0):
            raise ValueError("noop_out_interval and noop_out_timeout: either both are 0 or none is")
        if self.first_burst_length > self.max_burst_length:
            raise ValueError("first_burst_length: expected at most max_burst_length (RFC 7143 §13.14)")
        if self.max_polling_interval is not None and self.max_polling_interval < self.polling_interval:
            raise ValueError("max_polling_interval: expected at least polling_interval")

    @property
    def recovery_timeout(self) -> float:
        """Seconds that I/O waits for a lost session: fast_io_fail_tmo where set, else replacement_timeout."""
        return self.replacement_timeout if self.fast_io_fail_tmo is None else self.fast_io_fail_tmo

    @property
    def polling_interval_max(self) -> float:
        """max_polling_interval with its default filled in."""
        return 4 * self.polling_interval if self.max_polling_interval is None else self.max_polling_interval

    def replace(self, **changes: object) -> "Settings":
        """A copy with some settings changed. Raises ValueError for an unknown name or a value out of range."""
        known = {item.name for item in dataclasses.fields(self)}
        for name in changes:
            if name not in known:
                raise ValueError(f"{name}: there is no such setting")
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


_POSITIVE = {"polling_interval", "login_timeout", "logout_timeout", "abort_timeout", "lu_reset_timeout",
             "checker_timeout", "fence_timeout", "cmds_max", "queue_depth", "max_outstanding_r2t",
             "queue_bytes_max", "max_sectors_kb"}
_DATA_SEGMENT_RANGE = (512, 2**24 - 1)
_DATA_LENGTHS = {"first_burst_length", "max_burst_length", "max_recv_data_segment_length"}


def _types(annotation: object) -> tuple[type, ...]:
    """The Python types of what a field's annotation allows."""
    if get_origin(annotation) is tuple:
        return (tuple,)
    if get_origin(annotation) is Literal:
        return tuple({type(word) for word in get_args(annotation)})
    if parts := get_args(annotation):
        return tuple(kind for part in parts for kind in _types(part))
    assert isinstance(annotation, type)
    return (int, float) if annotation is float else (annotation,)


_TYPES: Mapping[str, tuple[type, ...]] = {item.name: _types(item.type) for item in dataclasses.fields(Settings)}
_TYPE_WORDS = {bool: "yes or no", int: "a number", float: "a number", str: "text", tuple: "a list of names",
               NoneType: "off"}


def _check_type(name: str, value: object) -> None:
    expected = _TYPES[name]
    if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
        words = dict.fromkeys(_TYPE_WORDS[kind] for kind in expected)
        found = "" if "password" in name else f", found {value!r:.60}"
        raise ValueError(f"{name}: expected {' or '.join(words)}{found}")


def parse_setting(name: str, text: str) -> object:
    """The value of a setting from text: as in the files it comes from, or a duration with its unit. Raises ValueError.

    Only the form is checked here; `Settings` checks the value.
    """
    if name not in _TYPES:
        raise ValueError(f"{name}: there is no such setting")
    expected = _TYPES[name]
    if NoneType in expected and text == "off":
        return None
    if bool in expected and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if tuple in expected:
        return tuple(text.split(","))
    for kind, convert in ((int, int), (int, _from_hexadecimal), (float, float)):
        if kind in expected:
            with contextlib.suppress(ValueError):
                return convert(text)
    if str not in expected and float in expected:
        try:
            return parse_duration(text) / NS_PER_S
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return text


def _from_hexadecimal(text: str) -> int:
    if not text.startswith("0x"):
        raise ValueError(text)
    return int(text, 16)


_BOOLEANS = {"yes": True, "true": True, "no": False, "false": False}


def _check(name: str, value: object) -> None:
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise ValueError(f"{name}: expected one of {', '.join(_CHOICES[name])}; found {value!r}")
    elif name == "no_path_retry":
        if value not in ("fail", "queue") and not (isinstance(value, int) and 0 < value < 10**6):
            raise ValueError(f"no_path_retry: expected fail, queue or a count of polls from 1; found {value!r}")
    elif name == "failback":
        if value not in ("immediate", "manual", "followover") and not _is_seconds(value):
            raise ValueError(f"failback: expected immediate, manual, followover or seconds; found {value!r}")
        return
    _check_type(name, value)
    if isinstance(value, tuple):
        if not value or not set(value) <= set(_CHAP_ALGORITHMS):
            raise ValueError(f"{name}: expected some of {', '.join(_CHAP_ALGORITHMS)}; found {value!r:.60}")
    elif name in _DATA_LENGTHS:
        low, high = _DATA_SEGMENT_RANGE
        if not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{name}: expected {low} to {high} bytes, found {value!r}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if value != value or (value < 0 and name != "replacement_timeout"):
            raise ValueError(f"{name}: expected a number from 0, found {value!r:.60}")
        if float in _TYPES[name] and not -math.inf < value <= _SECONDS_MAX:
            raise ValueError(f"{name}: expected at most {_SECONDS_MAX} s, found {value!r:.60}")
        if value > _INTEGER_MAX:
            raise ValueError(f"{name}: expected at most {_INTEGER_MAX}, found {value!r:.60}")
        if name in _POSITIVE and value <= 0:
            raise ValueError(f"{name}: expected more than 0, found {value!r}")


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _SECONDS_MAX


LINUX = Settings(path_grouping_policy="failover", failback="manual")
FAST = Settings(
    noop_out_interval=0.25, noop_out_timeout=0.5, fast_io_fail_tmo=0.0, login_timeout=2.0, logout_timeout=1.0,
    abort_timeout=1.0, lu_reset_timeout=1.0, timeout=5.0, fence_timeout=0.25, reconnect_delay=0.1,
    reconnect_delay_max=1.0, polling_interval=1.0, max_polling_interval=2.0, checker_timeout=1.0,
    no_path_retry=60, failback="immediate", path_grouping_policy="group_by_prio", default_time2wait=0,
    tcp_window_size=524_288,
)
SLES10 = Settings(
    noop_out_interval=10.0, noop_out_timeout=15.0, replacement_timeout=120.0, fast_io_fail_tmo=None,
    path_selector="round-robin", path_grouping_policy="failover", polling_interval=5.0, no_path_retry="queue",
)
AGGRESSIVE = Settings(
    noop_out_interval=1.0, noop_out_timeout=1.0, replacement_timeout=1.0, fast_io_fail_tmo=1.0, login_timeout=5.0,
    polling_interval=1.0, max_polling_interval=4.0, checker_timeout=5.0, no_path_retry=5, failback="immediate",
)

PROFILES: Mapping[str, Settings] = {"fast": FAST, "linux": LINUX, "sles10": SLES10, "aggressive": AGGRESSIVE}
"""Settings by profile name. `fast` is the default of every verb."""


def profile(name: str) -> Settings:
    """The settings of a profile. Raises ValueError with the known names."""
    if name not in PROFILES:
        raise ValueError(f"expected a profile of {', '.join(PROFILES)}; found {name!r}")
    return PROFILES[name]
