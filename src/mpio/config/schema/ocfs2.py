"""cluster.conf of OCFS2: the nodes, and where they heartbeat.

Sources: ocfs2.cluster.conf(5), ocfs2-tools o2cb_ctl/jconfig.c and libo2cb.
"""

from mpio.config.files import Kind
from mpio.config.schema.key import Key, Schema, Type

_MAN = "ocfs2.cluster.conf(5)"

OCFS2 = Schema(
    kind=Kind.OCFS2, title="OCFS2 cluster.conf", places=("/etc/ocfs2/cluster.conf",), program="o2cb",
    package="ocfs2-tools", about="The same on every node.",
    keys=(
        Key("name", "Name of the cluster (up to 16 letters and digits), or of the node (its host name without domain).",
            Type.TEXT, sections=("cluster", "node"), source=_MAN),
        Key("node_count", "How many node stanzas the cluster has.", low=1, high=255, sections=("cluster",),
            source=_MAN),
        Key("heartbeat_mode", "Whether each mounted volume heartbeats, or regions that the cluster names.",
            Type.CHOICE, choices=("local", "global"), sections=("cluster",), default="local", source=_MAN),
        Key("cluster", "The cluster that the stanza belongs to.", Type.TEXT, sections=("node", "heartbeat"),
            source=_MAN),
        Key("number", "The node's number; the lowest wins a split of two.", low=0, high=254, sections=("node",),
            source=_MAN),
        Key("ip_address", "The node's IPv4 address for the cluster's own traffic.", Type.TEXT, sections=("node",),
            source=_MAN),
        Key("ip_port", "TCP port of that.", low=1, high=65535, sections=("node",), default="7777", source=_MAN),
        Key("region", "UUID of a volume to heartbeat on in global mode: 32 hexadecimal digits.", Type.TEXT,
            sections=("heartbeat",), source=_MAN),
    ),
    unknown="o2cb_ctl refuses the file", unknown_is_error=True, invalid="o2cb_ctl refuses it",
    outside="o2cb_ctl refuses it",
)
