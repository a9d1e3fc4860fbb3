"""SBD: its sysconfig file, the options in SBD_OPTS, and the header that `sbd create` wrote to the disk.

Sources: ClusterLabs/sbd src/sbd-inquisitor.c (what is read, and how), src/sbd.sysconfig.in, src/sbd-md.c, sbd(8).
Times are read by Pacemaker's crm_get_msec(), so that a unit may follow; fractions of a second are cut off.
"""

from mpio.config.files import Kind
from mpio.config.schema.key import Default, Key, Schema, Type

_CODE = "sbd src/sbd-inquisitor.c"
_CONF = "sbd src/sbd.sysconfig.in"
_MAN = "sbd(8)"
_BOOLEAN = ("yes", "no", "true", "false", "on", "off", "y", "n", "1", "0")
_OPTIONS = ("SBD_OPTS",)
_INT_MAX = 2**31 - 1
_S390 = (Default("15", distribution="s390x"),)


def _header(name: str, meaning: str, default: str, *, others: tuple[Default, ...] = ()) -> Key:
    return Key(
        f"Timeout ({name})", meaning, unit="s", low=1, high=_INT_MAX, default=default, others=others,
        feeds=f"sbd.{name}", sections=("disk",), source="sbd src/sbd-md.c",
    )


def _option(letter: str, meaning: str, default: str | None, *, unit: str = "s") -> Key:
    return Key(
        f"-{letter}", meaning, unit=unit, low=0, high=_INT_MAX, default=default, sections=_OPTIONS, source=_MAN,
    )


def _switch(letter: str, meaning: str) -> Key:
    return Key(f"-{letter}", meaning, Type.TEXT, sections=_OPTIONS, source=_MAN)


SBD = Schema(
    kind=Kind.SBD, title="sbd sysconfig", places=("/etc/sysconfig/sbd", "/etc/default/sbd"), program="sbd",
    package="sbd",
    about=(
        "How the daemon runs on this node. With a disk, the timeouts in the disk's header count, not "
        "SBD_WATCHDOG_TIMEOUT; `sbd -d DEVICE dump` shows them."
    ),
    keys=(
        Key("SBD_DEVICE", "The disks, one to three, with `;` between them; none for diskless SBD.", Type.TEXT,
            default="", feeds="sbd.devices", source=_CONF),
        Key("SBD_PACEMAKER", "Whether a healthy cluster lets the node live on without its disk.", Type.BOOLEAN,
            choices=_BOOLEAN, default="yes", feeds="sbd.pacemaker", source=_CONF),
        Key("SBD_STARTMODE", "Whether sbd starts on a node that was fenced.", Type.CHOICE,
            choices=("always", "clean"), default="always", source=_CONF),
        Key(
            "SBD_DELAY_START", "How long the start waits, so that a node doesn't join before it counts as fenced.",
            Type.TIME, unit="s", default="no",
            words=(
                ("no", "no wait"), ("yes", "msgwait of the header"), ("1", "as yes, not one second"),
                *((word, "as no") for word in ("0", "false", "off", "n")),
                *((word, "as yes") for word in ("true", "on", "y")),
            ),
            source=_CONF,
        ),
        Key("SBD_WATCHDOG_DEV", "The watchdog; /dev/null for none.", Type.TEXT, default="/dev/watchdog",
            source=_CONF),
        Key(
            "SBD_WATCHDOG_TIMEOUT", "After how long unfed the watchdog resets the node.", Type.TIME, unit="s", low=1,
            high=_INT_MAX, default="5", others=_S390, feeds="sbd.watchdog",
            note="With a disk, the header's watchdog timeout counts instead.", source=_CONF,
        ),
        Key("SBD_TIMEOUT_ACTION", "What to do when the node has to go: flush or noflush, and reboot, off or crashdump.",
            Type.TEXT, default="flush,reboot", source=_CONF),
        Key("SBD_MOVE_TO_ROOT_CGROUP", "Whether sbd leaves a slice without real-time budget.", Type.CHOICE,
            choices=("auto", *_BOOLEAN), default="auto", source=_CONF),
        Key("SBD_SYNC_RESOURCE_STARTUP", "Whether Pacemaker waits for sbd.", Type.BOOLEAN, choices=_BOOLEAN,
            default="yes", source=_CONF),
        Key("SBD_PIDFILE", "Where the process id goes.", Type.TEXT, default="/run/sbd.pid", source=_CODE),
        Key("SBD_OPTS", "Further options of the daemon, see below.", Type.TEXT, default="", source=_CONF),
        Key("SBD_WATCHDOG", "Whether a watchdog is used.", Type.BOOLEAN, choices=_BOOLEAN, default="yes",
            deprecated="read for compatibility; SBD_WATCHDOG_DEV=/dev/null means no", source=_CODE),
        _option("I", "How long one read or write of the disk may take.", "3"),
        _option("t", "Pause before a disk's servant that failed early is started again.", "5"),
        _option("F", "How often a servant is restarted within that time; 0 for without bound.", "1", unit="times"),
        _option("s", "How long the start waits for the disks.", "120"),
        _option("5", "Above which latency a warning is logged; unset is three fifths of the watchdog timeout.", None),
        _option("C", "How long a crash dump may take, as a watchdog timeout; 0 for none.", "0"),
        _option("1", "Watchdog timeout, without a disk only.", "5"),
        _option("2", "Time for allocating a slot.", "2"),
        _option("3", "Pause between two reads of the disk, without a header only.", "1"),
        _option("4", "Msgwait, without a header only.", "10"),
        _option("S", "Start mode: 1 for clean.", "0", unit=""),
        Key("-r", "As SBD_TIMEOUT_ACTION.", Type.TEXT, sections=_OPTIONS, source=_MAN),
        Key("-d", "A disk, besides SBD_DEVICE.", Type.TEXT, sections=_OPTIONS, repeats=True, source=_MAN),
        Key("-w", "As SBD_WATCHDOG_DEV.", Type.TEXT, sections=_OPTIONS, source=_MAN),
        Key("-n", "The node's name.", Type.TEXT, sections=_OPTIONS, source=_MAN),
        Key("-p", "As SBD_PIDFILE.", Type.TEXT, sections=_OPTIONS, source=_MAN),
        _switch("W", "Use the watchdog; given twice, don't."), _switch("P", "Ask Pacemaker; given twice, don't."),
        _switch("c", "Ask the cluster stack; given twice, don't."), _switch("v", "Log more."),
        _switch("R", "No real-time priority."), _switch("T", "Leave the watchdog's timeout alone."),
        _switch("Z", "For tests: trace what would reset the node."), _switch("D", "For compatibility; does nothing."),
        _switch("z", "Leave the disk's I/O priority alone."), _switch("h", "Show help."),
    ),
    unknown="sbd ignores it", own_prefix="SBD_", invalid="sbd takes it for 0",
    invalid_word="sbd takes it for no, or keeps its default",
    outside="sbd takes it as it is", fold_values=True,
)

SBD_DUMP = Schema(
    kind=Kind.SBD_DUMP, title="sbd dump", places=("sbd -d DEVICE dump",), program="sbd", package="sbd",
    about=(
        "The disk's header. It is the same on all disks, and only `sbd create`, with every daemon stopped, changes it: "
        "`sbd -d DEVICE -1 WATCHDOG -4 MSGWAIT create`."
    ),
    keys=(
        _header("watchdog", "After how long unfed the watchdog resets a node.", "5", others=_S390),
        _header("allocate", "Time for allocating a slot.", "2"),
        _header("loop", "Pause between two reads of the disk.", "1"),
        _header("msgwait", "How long a sender waits before its message counts as obeyed; twice the watchdog.", "10",
                others=(Default("30", distribution="s390x"),)),
        Key("disk", "The device.", Type.TEXT, sections=("disk",), source="sbd src/sbd-md.c"),
        Key("Header version", "Version of the format.", Type.TEXT, sections=("disk",), source="sbd src/sbd-md.c"),
        Key("UUID", "Identity of the header.", Type.TEXT, sections=("disk",), source="sbd src/sbd-md.c"),
        Key("Number of slots", "Most nodes.", low=1, high=255, default="255", sections=("disk",),
            source="sbd src/sbd-md.c"),
        Key("Sector size", "Logical block size of the disk.", unit="bytes", low=512, high=65536,
            sections=("disk",), source="sbd src/sbd-md.c"),
    ),
    unknown="it is no line of `sbd dump`",
)
