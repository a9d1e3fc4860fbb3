"""sanlock.conf: nearly all that bears on time is a multiple of io_timeout.

Sources: sanlock src/main.c:read_config_file, src/sanlock.conf, src/timeouts.h, sanlock(8).
"""

from mpio.config.files import Kind
from mpio.config.schema.key import Default, Key, Schema, Type

_CONF = "sanlock src/main.c:read_config_file"
_INT_MAX = 2**31 - 1
_ON_OFF = ("1", "0")


def _switch(name: str, meaning: str, default: str) -> Key:
    return Key(name, meaning, Type.BOOLEAN, choices=_ON_OFF, default=default, source=_CONF)


def _priority(name: str, meaning: str, default: str) -> Key:
    return Key(name, meaning, unit="syslog level", low=0, high=7, default=default, source=_CONF)


SANLOCK = Schema(
    kind=Kind.SANLOCK, title="sanlock.conf", places=("/etc/sanlock/sanlock.conf",), program="sanlock",
    package="sanlock",
    about=(
        "Of the daemon. A lockspace keeps the io_timeout that its host joined with, and peers use the owner's. "
        "Options of the command line beat the file."
    ),
    keys=(
        Key(
            "io_timeout", "N: leases are renewed every 2 N, holders killed at 8 N, others take over after 8 N + 60.",
            unit="s", low=1, high=_INT_MAX, default="10", since=(3, 9), feeds="sanlock.io_timeout",
            note="Earlier releases only have the option -o, and lvmlockd its own -o.",
            source=f"{_CONF}, sanlock src/timeouts.h",
        ),
        Key(
            "watchdog_fire_timeout", "After how long unfed the watchdog resets the host; the same on all hosts.",
            unit="s", low=1, high=_INT_MAX, default="60", since=(3, 9), feeds="sanlock.watchdog_fire_timeout",
            source=_CONF,
        ),
        Key("kill_grace_seconds", "Time between the polite end of a lease holder and SIGKILL; less with a short "
            "watchdog_fire_timeout.", unit="s", low=0, high=60, default="40", since=(3, 9), source=_CONF),
        Key("use_watchdog", "Whether a lost lease ends in a reset; without it nothing guarantees that.",
            Type.BOOLEAN, choices=_ON_OFF, default="1",
            others=(Default("0", distribution="debian", shipped=True, note="by -w 0 in /etc/default/sanlock"),),
            source=_CONF),
        Key("renewal_read_extend_sec", "How much longer a renewal's late read is waited for; unset is io_timeout.",
            unit="s", low=0, high=_INT_MAX, source=_CONF),
        Key("renewal_history_size", "How many renewals `sanlock client renewal` can show.", unit="renewals", low=0,
            high=_INT_MAX, default="180", source=_CONF),
        Key("write_init_io_timeout", "Bound of each write while a lease area is made.", unit="s", low=0,
            high=_INT_MAX, default="60", source=_CONF),
        Key("sh_retries", "How often a shared lease is tried again.", unit="tries", low=0, high=_INT_MAX,
            default="8", source=_CONF),
        Key("max_worker_threads", "Worker threads.", low=1, high=_INT_MAX, default="8", since=(3, 8, 3), source=_CONF),
        Key("max_sectors_kb", "Largest request: ignore, align, or KiB.", Type.TEXT, since=(3, 7, 0), source=_CONF),
        _switch("high_priority", "Real-time priority.", "1"),
        Key("mlock_level", "What is locked into memory: 0 nothing, 1 what is, 2 all that comes.", low=0, high=2,
            default="1", source=_CONF),
        _switch("use_aio", "Asynchronous I/O.", "1"),
        _switch("quiet_fail", "Whether ordinary failures go unlogged.", "1"),
        _switch("debug_renew", "Log each renewal.", "0"),
        _switch("debug_clients", "Log clients.", "0"),
        _switch("paxos_debug_all", "Log every step of an acquisition.", "0"),
        Key("debug_io", "Log I/O: submit, complete.", Type.TEXT, source=_CONF),
        Key("debug_cmd", "Log commands: +NAME, -NAME, +all, -all.", Type.TEXT, repeats=True, source=_CONF),
        _priority("logfile_priority", "What goes to the log file.", "4"),
        _priority("syslog_priority", "What goes to syslog.", "3"),
        _priority("names_log_priority", "At which level names of resources are logged.", "6"),
        _switch("logfile_use_utc", "Whether the log file has UTC.", "0"),
        Key("uname", "User to run as.", Type.TEXT, default="sanlock", source=_CONF),
        Key("gname", "Group to run as.", Type.TEXT, default="sanlock", source=_CONF),
        Key("our_host_name", "This host's name in leases; unset is a random one.", Type.TEXT, source=_CONF),
    ),
    unknown="sanlock ignores it without a word", leading_digits=True, invalid="sanlock reads it as 0",
)
