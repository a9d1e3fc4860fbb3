"""multipath.conf: what multipathd may be told, and in which sections.

Sources: multipath-tools libmultipath/dict.c (names, sections, how values are read), libmultipath/defaults.h,
libmultipath/propsel.c, multipath.conf(5); versions from the first tag whose dict.c has the keyword.
"""

from mpio.config.files import Kind
from mpio.config.schema.key import Default, Key, Schema, Type

_INT_MAX = 2**31 - 1
_UINT_MAX = 2**32 - 1
_YES_NO = ("yes", "no", "1", "0")
_D, _V, _O, _P, _M = "defaults", "devices/device", "overrides", "overrides/protocol", "multipaths/multipath"
_DVO = (_D, _V, _O)
_DVOM = (_D, _V, _O, _M)
_DVOP = (_D, _V, _O, _P)
_MAN = "multipath.conf(5)"
_DEFAULTS = "multipath-tools libmultipath/defaults.h"
_DICT = "multipath-tools libmultipath/dict.c"


def _yes_no(
    name: str, meaning: str, default: str, sections: tuple[str, ...], *, since: tuple[int, ...] = (),
    others: tuple[Default, ...] = (), ignored: str = "", source: str = _MAN,
) -> Key:
    return Key(
        name, meaning, Type.BOOLEAN, choices=_YES_NO, default=default, sections=sections, since=since, others=others,
        ignored=ignored, source=source,
    )


def _off_or(
    name: str, meaning: str, unit: str, sections: tuple[str, ...], *, since: tuple[int, ...], low: int = 1
) -> Key:
    """A number from `low`, or `no`: set_off_int_undef() of dict.c."""
    return Key(
        name, meaning, unit=unit, low=low, high=_INT_MAX, words=(("no", "off"), ("0", "off")), default="no",
        sections=sections, since=since, source=_MAN,
    )


_DEAD = "multipathd ignores it and says so; the built-in value counts"

_TIMING = (
    Key(
        "polling_interval",
        "Seconds between two checks of a path at first, after a change, and of a failed one.",
        unit="s", low=1, high=_UINT_MAX - 1, sections=(_D,), default="5", feeds="polling_interval",
        outside="from 0.10 on multipathd divides by it, and 0 ends it",
        source=f"{_MAN}, multipath-tools multipathd/main.c:checkerloop",
    ),
    Key(
        "max_polling_interval",
        "Seconds between two checks of a path that stays healthy: the interval doubles up to this.",
        unit="s", low=0, high=_UINT_MAX, sections=(_D,), since=(0, 5, 0), feeds="max_polling_interval",
        words=(("0", "as unset"),),
        others=(Default(None, note="which is four times polling_interval; set alone, it makes that a quarter of it"),),
        source=f"{_MAN}, multipath-tools libmultipath/config.c",
    ),
    Key(
        "checker_timeout",
        "How long a path check, or a prioritizer's command, may take.",
        unit="s", low=0, high=_INT_MAX, sections=(_D,), since=(0, 5, 0), feeds="checker_timeout",
        words=(("0", "as unset"),),
        others=(Default(None, note="which is the device's SCSI timeout, 30 if that cannot be read"),), source=_MAN,
    ),
    Key(
        "fast_io_fail_tmo",
        "How long I/O waits for a lost path before it fails; on iSCSI it becomes the session's recovery_tmo.",
        unit="s", low=0, high=_INT_MAX, sections=_DVOP, default="5", feeds="fast_io_fail_tmo",
        words=(("off", "never fails fast"), ("0", "fails at once")),
        others=(Default(None, before=(0, 5, 0)),), since=(0, 4, 9),
        note="`off` and `0` are not applied on iSCSI, where the record's replacement_timeout then counts; nor is a "
        "value from dev_loss_tmo up. Per protocol since 0.9.0.",
        source=f"{_DEFAULTS}, multipath-tools libmultipath/discovery.c:sysfs_set_session_tmo",
    ),
    Key(
        "dev_loss_tmo",
        "How long after a path's loss its device is removed.",
        unit="s", low=0, high=_UINT_MAX, sections=_DVOP, words=(("infinity", "never removed"),), since=(0, 4, 9),
        ignored="it is not for iSCSI, but fast_io_fail_tmo must be less to be applied", feeds="dev_loss_tmo",
        source="multipath-tools libmultipath/discovery.c:sysfs_set_session_tmo",
    ),
    Key(
        "eh_deadline", "Bound of the SCSI error handler of a host.",
        unit="s", low=0, high=_INT_MAX, sections=_DVOP, words=(("off", "none"), ("0", "reset the host at once")),
        since=(0, 8, 6), ignored="iscsi_tcp has no host reset, so the kernel refuses it",
        source="linux drivers/scsi/scsi_sysfs.c:store_shost_eh_deadline",
    ),
    Key(
        "max_retries", "How often the SCSI layer repeats a command of a path's device.",
        unit="retries", low=0, high=5, sections=(_D,), words=(("off", "without bound"),), since=(0, 9, 7),
        others=(Default(None, note="which leaves the kernel's 5"),), feeds="max_retries", source=_MAN,
    ),
    Key(
        "no_path_retry",
        "What I/O does when no path is left: fail, or wait for so many polls, or for ever.",
        unit="polls", low=0, high=_INT_MAX, sections=_DVOM, feeds="no_path_retry",
        words=(("fail", "fails at once, as unset"), ("0", "the same as fail"), ("queue", "waits for ever")),
        others=(
            Default(None, note="which leaves the map's features as they are, mostly fail; built-in entries of most "
                    "arrays set it and beat `defaults`"),
        ),
        source=f"{_MAN}, multipath-tools libmultipath/propsel.c:select_no_path_retry",
    ),
    Key(
        "queue_without_daemon", "Whether maps go on queueing when multipathd has ended.", Type.BOOLEAN,
        choices=(*_YES_NO, "forced"), sections=(_D,), default="no", since=(0, 4, 9),
        others=(Default("yes", before=(0, 5, 0)),), source=_MAN,
    ),
    Key(
        "failback", "When I/O goes back to a better path group that has returned.",
        unit="s", low=0, high=_INT_MAX, sections=_DVOM, default="manual", feeds="failback",
        words=(
            ("immediate", "at once"), ("manual", "never by itself"),
            ("followover", "when the first path of the group comes back"),
        ),
        source=_MAN,
    ),
    Key(
        "path_checker", "How a path is checked.", Type.CHOICE, sections=_DVO, default="tur",
        others=(Default("directio", before=(0, 5, 0)),),
        choices=("tur", "directio", "readsector0", "rdac", "emc_clariion", "hp_sw", "cciss_tur", "none"),
        note="detect_checker sets tur for ALUA devices and rdac for RDAC ones, whatever stands here. Until 0.15.0 "
        "all but tur and directio make multipathd wait.",
        source=_MAN,
    ),
    Key(
        "checker", "Old name of path_checker.", Type.TEXT, sections=_DVO, deprecated="write path_checker",
        source=_DICT,
    ),
    _yes_no(
        "detect_checker", "Whether the checker is chosen from what the device is, over path_checker.", "yes", _DVO,
        since=(0, 7, 0),
    ),
    _yes_no("force_sync", "Whether only one checker runs at a time.", "no", (_D,), since=(0, 6, 0)),
    _yes_no(
        "strict_timing", "Whether the check loop takes 1 s, rather than 1 s and the time of its work.", "no", (_D,),
        since=(0, 6, 1),
    ),
    Key(
        "log_checker_err", "Whether a path that stays down is logged at each check.", Type.CHOICE,
        choices=("always", "once"), sections=(_D,), default="always", since=(0, 5, 0), source=_MAN,
    ),
    Key(
        "features", "Features of the kernel's multipath target: their number of words, then the words.",
        Type.TEXT, sections=_DVOM, default="0",
        words=(
            ("1 queue_if_no_path", "deprecated: no_path_retry queue, if that is unset everywhere"),
            ("2 pg_init_retries N", "retries of a group switch"),
            ("2 pg_init_delay_msecs N", "pause between them, 2000 ms"),
        ),
        source=f"{_MAN}, multipath-tools libmultipath/propsel.c:reconcile_features_with_options",
    ),
    _off_or(
        "ghost_delay", "How long a map with standby paths only waits for an active one at its creation.", "s", _DVOM,
        since=(0, 7, 5),
    ),
    Key(
        "uxsock_timeout", "How long a multipathd command waits for its answer.", unit="ms", low=4000, high=_INT_MAX,
        sections=(_D,), default="4000", since=(0, 6, 0), source=_DICT,
    ),
    Key(
        "missing_uev_wait_timeout", "How long a new map waits for its udev event before it may be reloaded.",
        unit="s", low=0, high=_INT_MAX, sections=(_D,), default="30", since=(0, 6, 0), source=_MAN,
    ),
    Key(
        "retrigger_tries", "How often udev is asked again about a path without WWID.", unit="tries", low=0,
        high=_INT_MAX, sections=(_D,), default="3", since=(0, 6, 0), source=_MAN,
    ),
    Key(
        "retrigger_delay", "Pause between these.", unit="s", low=0, high=_INT_MAX, sections=(_D,), default="10",
        since=(0, 6, 0), source=_MAN,
    ),
    Key(
        "remove_retries", "How often a busy map's removal is tried again.", unit="tries", low=0, high=_INT_MAX,
        sections=(_D,), default="0", since=(0, 7, 0), source=_MAN,
    ),
    Key(
        "pg_timeout", "Bound of a group switch.", Type.TEXT, sections=(_D, _V, _M),
        deprecated="not supported since 0.5.0; ignored", since=(0, 4, 8), source=_MAN,
    ),
)

_FLAPPING = (
    _off_or(
        "san_path_err_threshold", "How many failures make a path be held back.", "failures", _DVOM, since=(0, 7, 0)),
    _off_or(
        "san_path_err_forget_rate", "After how many good checks one failure is forgotten.", "checks", _DVOM,
        since=(0, 7, 0),
    ),
    _off_or("san_path_err_recovery_time", "How long such a path is held back.", "s", _DVOM, since=(0, 7, 0)),
    _off_or(
        "marginal_path_double_failed_time", "Two failures within this time start sampling a path's errors.", "s",
        _DVOM, since=(0, 7, 4),
    ),
    _off_or(
        "marginal_path_err_sample_time", "How long its errors are sampled.", "s", _DVOM, since=(0, 7, 4),
        low=120,
    ),
    _off_or(
        "marginal_path_err_rate_threshold", "Above how many errors in 1000 it is held back.", "permille", _DVOM,
        since=(0, 7, 4),
    ),
    _off_or(
        "marginal_path_err_recheck_gap_time", "How long it is then held back.", "s", _DVOM, since=(0, 7, 4),
    ),
    Key(
        "marginal_pathgroups", "Whether paths that are held back form a group of last resort.", Type.CHOICE,
        choices=("off", "on", "fpin", *_YES_NO), sections=(_D,), default="off", since=(0, 8, 3), source=_MAN,
    ),
    Key(
        "delay_watch_checks", "How many checks a returned path is watched.", unit="checks", low=0, high=_INT_MAX,
        words=(("no", "off"),), sections=_DVOM, default="no", since=(0, 6, 0),
        deprecated="turned into san_path_err_threshold 1; write the san_path_err_* keys", source=_MAN,
    ),
    Key(
        "delay_wait_checks", "How many checks it is held back after it failed while watched.", unit="checks", low=0,
        high=_INT_MAX, words=(("no", "off"),), sections=_DVOM, default="no", since=(0, 6, 0),
        deprecated="turned into san_path_err_recovery_time; write the san_path_err_* keys", source=_MAN,
    ),
)

_NO_EFFECT = "kernels from 4.6 on do not look at it, and multipathd does not from 0.15.0 on"
_PATHS = (
    Key(
        "path_grouping_policy", "How paths are put into groups; one group is used at a time.", Type.CHOICE,
        choices=(
            "failover", "multibus", "group_by_serial", "group_by_prio", "group_by_node_name", "group_by_tpg",
        ),
        sections=_DVOM, default="failover", feeds="path_grouping_policy", source=_MAN,
    ),
    Key(
        "path_selector", "How a path of the group is chosen; the number after it counts its arguments.", Type.TEXT,
        sections=_DVOM, default="service-time 0", others=(Default("round-robin 0", before=(0, 5, 0)),),
        words=(
            ("service-time 0", "the path that would be done first"),
            ("queue-length 0", "the path with the fewest requests"),
            ("round-robin 0", "one after another, so that one dead path soon stops all of a workload"),
            ("historical-service-time 0", "as service-time, by what was measured; kernel 5.8"),
        ),
        feeds="path_selector", source=f"{_DEFAULTS}, {_MAN}",
    ),
    _yes_no("detect_pgpolicy", "Whether ALUA devices get group_by_prio.", "yes", _DVO, since=(0, 9, 6)),
    _yes_no(
        "detect_pgpolicy_use_tpg", "Whether they get group_by_tpg instead.", "no", _DVO, since=(0, 9, 6)),
    Key(
        "prio", "What ranks path groups.", Type.CHOICE, sections=_DVOM, default="const",
        choices=(
            "const", "sysfs", "alua", "ana", "emc", "hds", "hp_sw", "ontap", "rdac", "datacore", "iet", "random",
            "weightedpath", "path_latency",
        ),
        note="detect_prio sets sysfs or alua where the device supports it.", source=_MAN,
    ),
    Key("prio_args", "Arguments of the prioritizer.", Type.TEXT, sections=_DVOM, default="", since=(0, 4, 9),
        source=_MAN),
    _yes_no(
        "detect_prio", "Whether the prioritizer is chosen from what the device is, over prio.", "yes", _DVO,
        since=(0, 5, 0), others=(Default("no", before=(0, 6, 2)),),
    ),
    _yes_no(
        "retain_attached_hw_handler", "Whether the kernel's hardware handler is kept.", "yes", _DVO, since=(0, 5, 0),
        others=(Default("no", before=(0, 6, 2)),), ignored="kernels from 4.3 on always keep it",
    ),
    Key("hardware_handler", "Kernel module for the array.", Type.TEXT, sections=(_V,), default="0",
        ignored="kernels from 4.3 on attach it by themselves", source=_MAN),
    Key("rr_min_io", "Requests to a path before the next one is chosen (bio-based).", unit="requests", low=0,
        high=_INT_MAX, sections=_DVOM, default="1000", ignored=_NO_EFFECT, source=_MAN),
    Key("rr_min_io_rq", "Requests to a path before the next one is chosen.", unit="requests", low=0, high=_INT_MAX,
        sections=_DVOM, default="1", since=(0, 5, 0), ignored=_NO_EFFECT, source=_MAN),
    Key("rr_weight", "Whether rr_min_io counts are multiplied by the priority.", Type.CHOICE,
        choices=("uniform", "priorities"), sections=_DVOM, default="uniform", ignored=_NO_EFFECT, source=_MAN),
    Key("max_sectors_kb", "Largest request of the map's paths.", unit="KiB", low=0, high=_INT_MAX, sections=_DVOM,
        since=(0, 7, 0), source=_MAN),
    Key("max_fds", "Open files of multipathd.", low=0, high=_INT_MAX, words=(("max", "as many as the system allows"),),
        sections=(_D,), default="max", source=_MAN),
)

_NAMES = (
    _yes_no("user_friendly_names", "Whether maps are called mpatha and so on, rather than by WWID.", "no", _DVOM,
            others=(Default("yes", shipped=True, distribution="rhel"), Default("yes", shipped=True,
                                                                             distribution="ubuntu"))),
    Key("alias_prefix", "What such names begin with.", Type.TEXT, sections=_DVO, default="mpath", since=(0, 5, 0),
        source=_MAN),
    Key(
        "find_multipaths", "Which devices become maps: all, those with two paths, those known before.", Type.CHOICE,
        choices=("strict", "off", "on", "greedy", "smart", *_YES_NO), sections=(_D,), default="strict",
        since=(0, 6, 0),
        others=(Default("no", before=(0, 7, 7)), Default("yes", shipped=True, distribution="rhel")), source=_MAN,
    ),
    Key(
        "find_multipaths_timeout", "With `smart`, how long a second path is waited for; negative: known arrays only.",
        unit="s", low=-_INT_MAX - 1, high=_INT_MAX, sections=(_D,), default="-10", since=(0, 7, 7), source=_MAN,
    ),
    Key(
        "flush_on_last_del", "Whether a map is flushed when its last path is deleted.", Type.CHOICE,
        choices=("always", "unused", "never", *_YES_NO), sections=_DVOM, default="unused",
        others=(Default("no", before=(0, 9, 9)),), source=_MAN,
    ),
    Key("deferred_remove", "Whether a busy map goes as soon as its last user does.", Type.BOOLEAN, choices=_YES_NO,
        default="no", sections=_DVOM, since=(0, 6, 0), source=_MAN),
    _yes_no("purge_disconnected", "Whether paths are deleted that the array no longer knows (sense 5/25/00).", "no",
            _DVOM, since=(0, 14, 0)),
    _yes_no("recheck_wwid", "Whether a path that comes back must still have its WWID.", "no", _DVO, since=(0, 8, 6)),
    Key("auto_resize", "Whether maps follow a new size of their paths.", Type.CHOICE,
        choices=("never", "grow_only", "grow_shrink"), sections=(_D,), default="never", since=(0, 9, 7), source=_MAN),
    _yes_no("skip_kpartx", "Whether maps of partitions are left out.", "no", _DVOM, since=(0, 6, 4)),
    Key("partition_delimiter", "What stands between a map's name and a partition's number.", Type.TEXT,
        sections=(_D,), since=(0, 6, 0), source=_MAN),
    Key(
        "reservation_key", "Key for persistent reservations: 16 hexadecimal digits, perhaps `:aptpl`, or `file`.",
        Type.TEXT, sections=(_D, _M), since=(0, 5, 0), words=(("file", "from the prkeys file"),), source=_MAN,
    ),
    _yes_no("all_tg_pt", "Whether a key is registered with all target ports at once.", "no", _DVO, since=(0, 7, 8)),
    Key("uid_attribute", "udev property that identifies a path.", Type.TEXT, sections=_DVO, default="ID_SERIAL",
        since=(0, 5, 0), source=_MAN),
    Key("uid_attrs", "The same by kind of device.", Type.TEXT, sections=(_D,), since=(0, 7, 0), source=_MAN),
    Key("enable_foreign", "Which multipath devices of others are shown.", Type.TEXT, sections=(_D,),
        default="NONE", since=(0, 8, 3), source=_MAN),
    _yes_no("allow_usb_devices", "Whether USB disks may be paths.", "no", (_D,), since=(0, 8, 5)),
    _yes_no("reassign_maps", "Whether tables of devices above are changed to use a new map.", "no", (_D,),
            others=(Default("yes", before=(0, 5, 0)),)),
    Key("verbosity", "How much is logged.", low=0, high=5, sections=(_D,), default="2", source=_MAN),
    *(
        Key(name, meaning, Type.TEXT, sections=(_D, _M), note="Not in the manual: udev rules decide.", source=_DICT)
        for name, meaning in (
            ("mode", "Mode of the device nodes."), ("uid", "Their owner."), ("gid", "Their group."),
        )
    ),
    Key("multipath_dir", "Where the plug-ins are.", Type.TEXT, sections=(_D,), source=_MAN, deprecated=_DEAD),
    Key("config_dir", "Where the drop-ins are.", Type.TEXT, sections=(_D,), source=_MAN,
        default="/etc/multipath/conf.d", since=(0, 6, 0), deprecated="since 0.9.0 " + _DEAD),
    *(
        Key(f"{name}_file", meaning, Type.TEXT, sections=(_D,), default=f"/etc/multipath/{name}", source=_MAN,
            deprecated="since 0.9.7 " + _DEAD)
        for name, meaning in (
            ("bindings", "Where names of maps are kept."), ("wwids", "Where known WWIDs are kept."),
            ("prkeys", "Where reservation keys are kept."),
        )
    ),
    Key("disable_changed_wwids", "Whether paths with another WWID are disabled.", Type.TEXT, sections=(_D,),
        since=(0, 6, 4), deprecated="always yes since 0.8.0; ignored", source=_MAN),
    Key("getuid_callout", "Program that identifies a path.", Type.TEXT, sections=_DVO,
        deprecated="not supported since 0.5.0; write uid_attribute", source=_MAN),
    *(
        Key(name, f"Old name of {now}.", Type.TEXT, sections=(_D,), deprecated=f"gone since 0.9.0; write {now}",
            source="multipath-tools 0.8 libmultipath/dict.c")
        for name, now in (
            ("default_selector", "path_selector"), ("default_path_grouping_policy", "path_grouping_policy"),
            ("default_uid_attribute", "uid_attribute"), ("default_getuid_callout", "uid_attribute"),
            ("default_features", "features"), ("default_path_checker", "path_checker"),
        )
    ),
    *(
        Key(name, f"Old name of {now}.", Type.TEXT, sections=_DVOM, deprecated=f"gone since 0.4.9; write {now}",
            source="multipath-tools 0.4.8 libmultipath/dict.c")
        for name, now in (("default_prio_callout", "prio"), ("prio_callout", "prio"), ("selector", "path_selector"))
    ),
    *(
        Key(name, "A path of early releases.", Type.TEXT, sections=(_D,), deprecated="gone since 0.5.0",
            source="multipath-tools 0.4.9 libmultipath/dict.c")
        for name in ("udev_dir", "multipath_tool")
    ),
    *(
        Key(name, meaning, Type.TEXT, sections=(_D, _V), deprecated="RHEL 6 and 7 only",
            source="RHEL 7 multipath.conf(5)")
        for name, meaning in (
            ("hwtable_regex_match", "Whether vendor and product of entries are compared as patterns."),
            ("hw_str_match", "Whether they are compared as they are."),
            ("new_bindings_in_boot", "Whether names are given in the initramfs."),
        )
    ),
    Key("unpriv_sgio", "Whether the map takes SCSI commands of any user.", Type.TEXT, sections=(_D, _V, _M),
        deprecated="RHEL 7 only", source="RHEL 7 multipath.conf(5)"),
)

_LISTS = ("blacklist", "blacklist_exceptions")
_OF_LISTS = tuple(f"{name}/device" for name in _LISTS)
_PLACES = (
    Key("vendor", "Pattern that the device's vendor must match.", Type.TEXT, sections=(_V, *_OF_LISTS), source=_MAN),
    Key("product", "Pattern that its product must match.", Type.TEXT, sections=(_V, *_OF_LISTS), source=_MAN),
    Key("revision", "Pattern that its revision must match.", Type.TEXT, sections=(_V,), source=_MAN),
    Key("product_blacklist", "Products of the vendor that are no paths.", Type.TEXT, sections=(_V,), source=_MAN),
    Key("vpd_vendor", "Vendor-specific page to read.", Type.TEXT, sections=(_V,), since=(0, 8, 4), source=_MAN),
    Key("devnode", "Pattern of device names.", Type.TEXT, sections=_LISTS, repeats=True, source=_MAN),
    Key("wwid", "WWID of the map, or a pattern of WWIDs in a blacklist.", Type.TEXT, sections=(*_LISTS, _M),
        repeats=True, source=_MAN),
    Key("property", "Pattern of udev properties.", Type.TEXT, sections=_LISTS, repeats=True, since=(0, 5, 0),
        source=_MAN),
    Key("protocol", "Pattern of protocols.", Type.TEXT, sections=_LISTS, repeats=True, since=(0, 7, 8),
        source=_MAN),
    Key("type", "Protocol that the block is for; scsi:iscsi for iSCSI.", Type.TEXT, sections=(_P,),
        since=(0, 9, 0), source=_MAN),
    Key("alias", "Name of the map.", Type.TEXT, sections=(_M,), source=_MAN),
)

MULTIPATH = Schema(
    kind=Kind.MULTIPATH, title="multipath.conf", places=("/etc/multipath.conf", "/etc/multipath/conf.d/*.conf"),
    program="multipathd", package="multipath-tools",
    about=(
        "Sections from the strongest to the weakest: multipaths, overrides, devices (the user's, then the built-in "
        "hardware table), defaults. The built-in table beats `defaults`. `multipathd show config` prints what holds."
    ),
    keys=(*_TIMING, *_FLAPPING, *_PATHS, *_NAMES, *_PLACES),
    unknown="multipathd logs `invalid keyword` and goes on without it",
    invalid="multipathd ignores the line and says so", invalid_word="multipathd does not take it",
    outside="multipathd takes the nearest number that it allows",
)
