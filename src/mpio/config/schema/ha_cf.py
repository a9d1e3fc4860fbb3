"""ha.cf of Linux-HA Heartbeat. Times are seconds, with a fraction or `ms` where wanted.

Sources: ha.cf(5) and the sample ha.cf of heartbeat 3.0.6, cluster-glue cl_get_msec() for times.
"""

from mpio.config.files import Kind
from mpio.config.schema.key import Key, Schema, Type

_MAN = "ha.cf(5)"
_BOOLEAN = ("on", "off", "yes", "no", "true", "false", "y", "n", "1", "0")
_MEDIA = "A way for heartbeats; two of them, over different networks."
_LOGGING = "Where the log goes."
_FIRST_RELEASE = "For clusters without Pacemaker."
_DAY = 86_400


def _time(name: str, meaning: str, default: str | None, *, feeds: str = "") -> Key:
    return Key(name, meaning, Type.TIME, unit="s", low=0, high=_DAY, default=default, feeds=feeds, source=_MAN)


def _text(name: str, meaning: str, *, repeats: bool = False, deprecated: str = "") -> Key:
    return Key(name, meaning, Type.TEXT, repeats=repeats, deprecated=deprecated, source=_MAN)


def _flag(name: str, meaning: str, default: str) -> Key:
    return Key(name, meaning, Type.BOOLEAN, choices=_BOOLEAN, default=default, source=_MAN)


HA_CF = Schema(
    kind=Kind.HA_CF, title="ha.cf", places=("/etc/ha.d/ha.cf",), program="heartbeat", package="heartbeat",
    about=(
        "Read from top to bottom: udpport and baud count only for the media after them. Heartbeat has no channel over "
        "disks, so a stall of storage matters through resources, and where it freezes the host."
    ),
    keys=(
        _time("keepalive", "Pause between heartbeats.", "2", feeds="heartbeat.keepalive"),
        _time("warntime", "Silence after which a late heartbeat is logged; half of deadtime.", "10",
              feeds="heartbeat.warntime"),
        _time("deadtime", "Silence after which a node counts as dead.", "30", feeds="heartbeat.deadtime"),
        _time("initdead", "The same just after the start; at least twice deadtime.", "120", feeds="heartbeat.initdead"),
        _time("deadping", "Silence after which a ping node counts as dead.", None),
        _time("conn_logd_time", "Pause before the logging daemon is asked for again.", "60"),
        Key("udpport", "UDP port of the media that follow.", low=1, high=65535, default="694", source=_MAN),
        Key("baud", "Speed of the serial lines that follow.", low=300, high=460_800, default="19200", source=_MAN),
        *(_text(name, _MEDIA, repeats=True) for name in ("bcast", "mcast", "mcast6", "ucast", "ucast6", "serial")),
        _text("node", "Nodes of the cluster, as `uname -n` has them.", repeats=True),
        _text("ping", "Hosts whose reach tells whether this node's network works; no cluster nodes.", repeats=True),
        _text("ping6", "The same by IPv6.", repeats=True),
        _text("ping_group", "A group of such hosts, up while one answers.", repeats=True),
        _text("hbaping", "The same for a Fibre Channel card.", repeats=True),
        _text("respawn", "A user and a program that is kept running.", repeats=True),
        _text("apiauth", "Who may talk to heartbeat.", repeats=True),
        Key("auto_failback", "Whether resources go back to their own node.", Type.CHOICE,
            choices=(*_BOOLEAN, "legacy"), default="legacy", source=_MAN),
        _text("nice_failback", _FIRST_RELEASE, deprecated="write auto_failback"),
        _text("watchdog", "Watchdog that resets this node when its own heartbeats stop."),
        _text("stonith", f"{_FIRST_RELEASE} Kind and configuration of the fence device.", repeats=True),
        _text("stonith_host", f"{_FIRST_RELEASE} Host, kind and parameters of a fence device.", repeats=True),
        *(
            Key(name, "Whether Pacemaker runs on top: respawn.", Type.CHOICE,
                choices=(*_BOOLEAN, "respawn", "manual"), default="off", source=_MAN)
            for name in ("pacemaker", "crm")
        ),
        _text("crm_daemon_dir", "Where Pacemaker's daemons are."),
        _flag("crmd_spawns_pengine", "Whether crmd starts pengine.", "on"),
        _text("autojoin", "Which nodes may join that are not listed: none, other or any."),
        _text("quorum_server", _FIRST_RELEASE), _text("cluster", "Name of the cluster."),
        _text("site", _FIRST_RELEASE), _text("weight", _FIRST_RELEASE),
        _flag("realtime", "Real-time scheduling.", "on"),
        Key("rtprio", "Its priority.", low=1, high=99, source=_MAN),
        Key("hopfudge", "How many hops more than nodes a packet may take.", low=1, high=255, default="1", source=_MAN),
        Key("debug", "How much is logged.", low=0, high=255, default="0", source=_MAN),
        Key("max_rexmit_delay", "Bound of a random wait before a retransmission is asked for.", unit="ms", low=0,
            high=2**31 - 1, default="250", source="heartbeat heartbeat/config.c"),
        Key("memreserve", "Memory to lock.", unit="KiB", low=0, high=2**31 - 1, default="6500",
            source="heartbeat heartbeat/config.c"),
        *(_text(name, _LOGGING) for name in ("logfile", "debugfile", "logfacility", "syslogmsgfmt")),
        _flag("use_logd", "Whether the logging daemon logs.", "off"),
        _flag("log_badpack", "Whether bad packets are logged.", "on"),
        _flag("use_apphbd", "Whether apphbd watches heartbeat.", "off"),
        _flag("coredumps", "Whether core dumps are wanted.", "on"),
        _text("coreroot", "Where they go."),
        _text("compression", "How large messages are compressed: zlib or bz2."),
        Key("compression_threshold", "From which size on.", unit="KiB", low=0, high=2**31 - 1, default="2",
            source=_MAN),
        _flag("traditional_compression", "Whether messages are compressed as a whole.", "off"),
        _text("msgfmt", "Form of messages: classic or netstring."),
        _text("hbgenmethod", "Where generation numbers come from: file or time."),
        _text("uuidfrom", "Where the node's identity comes from: file or nodename."),
        _flag("record_config_changes", "Whether Pacemaker's configuration changes are kept.", "on"),
        _flag("record_pengine_inputs", "Whether pengine's inputs are kept.", "on"),
        _flag("enable_config_writes", "Whether Pacemaker writes its configuration to disk.", "on"),
        _text("env", "A variable for child processes.", repeats=True),
        _text("opt", "An option of one medium.", repeats=True), _text("failfast", "Whether a lost child means reboot."),
    ),
    unknown="heartbeat refuses the file", unknown_is_error=True, invalid="heartbeat refuses the file",
    outside="heartbeat takes it as it is", fold_values=True,
)
