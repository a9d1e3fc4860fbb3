"""o2cb's sysconfig file: the cluster that starts at boot, and the timeouts of OCFS2's own heartbeat.

Sources: ocfs2-tools vendor/common/o2cb.init.sh (names, what `configure` accepts), o2cb.sysconfig(5),
linux fs/ocfs2/cluster/heartbeat.h and tcp.h (defaults).
"""

from mpio.config.files import Kind
from mpio.config.schema.key import Default, Key, Schema, Type

_INIT = "ocfs2-tools vendor/common/o2cb.init.sh"
_MAN = "o2cb.sysconfig(5)"
_UINT_MAX = 2**32 - 1

O2CB = Schema(
    kind=Kind.O2CB, title="o2cb sysconfig", places=("/etc/sysconfig/o2cb", "/etc/default/o2cb"), program="o2cb",
    package="ocfs2-tools",
    about=(
        "Read when the cluster stack starts, and the same on every node: peers whose timeouts differ do not connect. "
        "/etc/default/o2cb counts only where there is no /etc/sysconfig/o2cb. With O2CB_STACK=pcmk or cman the four "
        "timeouts do nothing."
    ),
    keys=(
        Key("O2CB_ENABLED", "Whether the driver is loaded at boot.", Type.BOOLEAN, choices=("true", "false"),
            default="false", source=_INIT),
        Key("O2CB_STACK", "The cluster stack.", Type.CHOICE, choices=("o2cb", "pcmk", "cman"), default="o2cb",
            source=_MAN),
        Key("O2CB_BOOTCLUSTER", "The cluster to start at boot, as cluster.conf calls it.", Type.TEXT,
            others=(Default("ocfs2", distribution="debian", shipped=True),), source=_MAN),
        Key(
            "O2CB_HEARTBEAT_THRESHOLD",
            "T: after 2 (T - 1) seconds without a disk heartbeat of its own a node resets itself; others take it for "
            "dead after 2 T to 2 T + 2.",
            unit="iterations of 2 s", low=3, high=_UINT_MAX // 2000, default="31",
            others=(Default("7", before=(1, 2, 5), note="until 2007, SLES 10 included: 12 s"),),
            feeds="o2cb.heartbeat_threshold",
            note="A write to configfs while a region is active does nothing; `o2cb configure` wants at least 7. "
            "Tools that don't know the kernel's file name leave 31 in force.",
            source=f"{_MAN}, linux fs/ocfs2/cluster/heartbeat.h",
        ),
        Key(
            "O2CB_IDLE_TIMEOUT_MS", "Silence between two nodes after which their connection counts as dead.",
            unit="ms", low=5000, high=_UINT_MAX, default="30000", others=(Default("10000", before=(1, 2, 5)),),
            feeds="o2cb.idle_timeout_ms", source=_MAN,
        ),
        Key(
            "O2CB_KEEPALIVE_DELAY_MS", "Silence after which a keepalive is sent; less than the idle timeout.",
            unit="ms", low=1000, high=_UINT_MAX, default="2000", others=(Default("5000", before=(1, 2, 5)),),
            feeds="o2cb.keepalive_delay_ms", source=_MAN,
        ),
        Key(
            "O2CB_RECONNECT_DELAY_MS", "Pause between attempts to connect.", unit="ms", low=2000, high=_UINT_MAX,
            default="2000", feeds="o2cb.reconnect_delay_ms", source=_MAN,
        ),
        Key("O2CB_HEARTBEAT_MODE", "Local or global heartbeat.", Type.TEXT,
            deprecated="not read by today's tools: write heartbeat_mode in cluster.conf", source=_INIT),
        Key("O2CB_HEARTBEAT_TIMEOUT_MS", "The heartbeat timeout in milliseconds.", Type.TEXT,
            deprecated="proposed in 2007 and never read by any tool: write O2CB_HEARTBEAT_THRESHOLD",
            source="OCFS2 design note HeartbeatTimeout"),
    ),
    unknown="o2cb ignores it", own_prefix="O2CB_", invalid="the kernel refuses it and keeps what it had",
    invalid_word="it counts as not set",
    outside="`o2cb configure` refuses it, and so may the kernel",
)
