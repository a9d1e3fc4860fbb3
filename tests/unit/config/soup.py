"""Files that are half right: lines of each format's own words, mixed with blanks, quotes, braces and stray bytes."""

from hypothesis import strategies as st

from mpio.config.document import Section
from mpio.config.files import Kind

KEYS: dict[Kind, tuple[tuple[Section, str], ...]] = {
    Kind.ISCSID: (((), "node.startup"), ((), "iscsid.x"), ((), "a"), ((), "z.9")),
    Kind.NODE_RECORD: (((), "node.name"), ((), "node.tpgt"), ((), "a"), (("record[0]",), "b"), (("record[1]",), "a")),
    Kind.O2CB: (((), "O2CB_ENABLED"), ((), "A"), ((), "B"), ((), "_z9")),
    Kind.SBD: (((), "SBD_DEVICE"), ((), "A"), ((), "B")),
    Kind.SYSCTL: (((), "kernel.panic"), ((), "net/ipv4/conf/eth0.1/rp_filter"), ((), "a"), ((), "vm.x")),
    Kind.SANLOCK: (((), "io_timeout"), ((), "use_watchdog"), ((), "a")),
    Kind.HA_CF: (((), "deadtime"), ((), "node"), ((), "a")),
    Kind.IETD: (((), "IncomingUser"), (("Target[0]",), "Lun"), (("Target[1]",), "MaxSessions"), ((), "a")),
    Kind.COROSYNC: ((("totem",), "token"), (("totem", "interface[0]"), "a"), (("quorum", "device"), "timeout"),
                    (("nodelist", "node[0]"), "a"), (("nodelist", "node[1]"), "b"), ((), "a"), (("totem",), "a"),
                    (("quorum",), "z")),
    Kind.OCFS2: ((("cluster[0]",), "name"), (("node[0]",), "number"), (("node[1]",), "a"),
                 (("heartbeat[0]",), "region"), (("node[0]",), "a")),
}

_LINES: dict[Kind, tuple[str, ...]] = {
    Kind.ISCSID: ("node.startup = manual", "iscsid.x=1", "a = 1", "z.9  =  x y", "a =", "node.startup", "b ==2",
                  "#a = 1"),
    Kind.NODE_RECORD: ("# BEGIN RECORD 2.1.8", "# END RECORD", "node.name = iqn.x", "node.tpgt = 1", "a = 1", "b = 2"),
    Kind.O2CB: ("O2CB_ENABLED=true", "A=1 B=2", "export A='x y'", 'B="a\\"b" # c', "A=x\\", "if true; then", "A=$B",
                "export A", "A='open", "_z9=", "A=1;A=2", '"', "'"),
    Kind.SBD: ('SBD_DEVICE="/dev/a;/dev/b"', "A=1", ". /etc/x", "B='", "'", "A=\\"),
    Kind.SYSCTL: ("kernel.panic = 30", "-net/ipv4/conf/eth0.1/rp_filter=0", "a=", "vm.x", "; c", "-vm.*",
                  "kernel/panic=1"),
    Kind.SANLOCK: ("io_timeout = 10", "use_watchdog=0 x", " a = 1", "a =", "a x = 3"),
    Kind.HA_CF: ("deadtime 30", "node a b # c", "a", "a\t, 1,", "deadtime\t500ms"),
    Kind.IETD: ("IncomingUser a b", "Target iqn.x:y", "\tLun 0 Path=/x", "maxsessions 4", "Target", "  # c"),
    Kind.COROSYNC: ("totem {", "}", "  token: 5000", "interface {", "quorum{", "device {", "nodelist {", "node {",
                    "a: b", "x", "{", "a: {", "token:", "z : 1"),
    Kind.OCFS2: ("cluster:", "node:", "heartbeat:", "\tname = web", "\tnumber=0", " a = x\\", "a = 1", "\t# c",
                 "node: x", "\tregion = ", "\tz"),
}
_COMMON = ("", "", " ", "# comment", "\t# comment", "\u00e9", "\udce9", "x\0y", "\ufeff", "\r", "\\")
_ENDINGS = ("\n", "\n", "\n", "\n", "\n", "\r\n", "")


@st.composite
def soup(draw: st.DrawFn, kind: Kind) -> bytes:
    """Lines of one kind in any order."""
    parts = draw(st.lists(st.tuples(st.sampled_from(_LINES[kind] + _COMMON), st.sampled_from(_ENDINGS)), max_size=12))
    return "".join(line + ending for line, ending in parts).encode("utf-8", "surrogateescape")


def files(kind: Kind) -> st.SearchStrategy[bytes]:
    """Any bytes, mostly such as look like a file of this kind."""
    return st.one_of(soup(kind), soup(kind), st.binary(max_size=60))


VALUES = st.one_of(
    st.sampled_from(["0", "31", "5000", "500ms", "/dev/a;/dev/b", "x y", 'a"b', "it's", "$HOME", "a#b", "",
                     "\u00e9", "yes\\"]),
    st.text(max_size=8),
)
