"""Which codec reads which file: by its usual place below any prefix, by the name of a captured copy, by its content."""

import re
from collections.abc import Callable
from enum import StrEnum

from mpio.config import corosync, keyvalue, multipath, ocfs2, sbd_dump
from mpio.config.document import Document
from mpio.config.reading import Syntax, decoded


class Kind(StrEnum):
    """A kind of file that the planner reads."""

    ISCSID = "iscsid"
    NODE_RECORD = "node_record"
    MULTIPATH = "multipath"
    O2CB = "o2cb"
    OCFS2 = "ocfs2"
    SBD = "sbd"
    SBD_DUMP = "sbd_dump"
    COROSYNC = "corosync"
    SANLOCK = "sanlock"
    HA_CF = "ha_cf"
    SYSCTL = "sysctl"
    IETD = "ietd"


_BACKUP = re.compile(r"(~|\.(bak|old|orig|save|swp|rpmsave|rpmnew|rpmorig|dpkg-\w+|ucf-\w+))$")
_START, _END = r"(?:^|[^a-z0-9])", r"(?:$|[^a-z0-9])"
_NAMES: tuple[tuple[str, Kind], ...] = (
    (r"(?:^|/)iscsi/nodes/.", Kind.NODE_RECORD),
    (r"(?:^|/)multipath/conf\.d/[^/]+\.conf$", Kind.MULTIPATH),
    (r"(?:^|/)sysctl\.d/[^/]+\.conf$", Kind.SYSCTL),
    (r"(?:^|/)ocfs2/cluster\.conf$", Kind.OCFS2),
    (r"(?:^|/)(?:sysconfig|default)/o2cb$", Kind.O2CB),
    (r"(?:^|/)(?:sysconfig|default)/sbd$", Kind.SBD),
    # below: names of copies, such as before-etc-iscsid.conf.txt
    (rf"{_START}(?:sysconfig|default)[^a-z0-9/]o2cb{_END}[^/]*$|(?:^|/)o2cb$", Kind.O2CB),
    (rf"{_START}(?:sysconfig|default)[^a-z0-9/]sbd{_END}[^/]*$|(?:^|/)sbd$", Kind.SBD),
    (rf"{_START}sbd[^/]*[^a-z0-9/]dump{_END}[^/]*$", Kind.SBD_DUMP),
    (rf"{_START}iscsid\.conf{_END}[^/]*$", Kind.ISCSID),
    (rf"{_START}multipath\.conf{_END}[^/]*$", Kind.MULTIPATH),
    (rf"{_START}corosync\.conf{_END}[^/]*$", Kind.COROSYNC),
    (rf"{_START}sanlock\.conf{_END}[^/]*$", Kind.SANLOCK),
    (rf"{_START}ha\.cf{_END}[^/]*$", Kind.HA_CF),
    (rf"{_START}sysctl\.conf{_END}[^/]*$", Kind.SYSCTL),
    (rf"{_START}ietd\.conf{_END}[^/]*$", Kind.IETD),
)
_CONTENTS: tuple[tuple[str, Kind], ...] = (
    (r"# BEGIN RECORD\b", Kind.NODE_RECORD),
    (r"==\s?Dumping header on disk |Timeout \(watchdog\) *:", Kind.SBD_DUMP),
    (r"[ \t]*(?:totem|quorum|nodelist)[ \t]*\{[ \t]*$", Kind.COROSYNC),
    (r"[ \t]*(?:defaults|blacklist|blacklist_exceptions|devices|overrides|multipaths)\s*\{", Kind.MULTIPATH),
    (r"(?:cluster|node|heartbeat):[ \t]*$", Kind.OCFS2),
    (r"[ \t]*(?:export[ \t]+)?O2CB_[A-Z_]+=", Kind.O2CB),
    (r"[ \t]*(?:export[ \t]+)?SBD_[A-Z_]+=", Kind.SBD),
    (r"Target[ \t]+(?:iqn|eui|naa)\.", Kind.IETD),
    (r"node\.name *= ", Kind.NODE_RECORD),
    (r"[ \t]*(?:node\.(?:startup|leading_login|session\.|conn\[)|iscsid\.|discovery\.)\S* *=", Kind.ISCSID),
    (r"[ \t]*-?(?:kernel|vm|net|fs|dev)[./][\w./*-]+ *=", Kind.SYSCTL),
    (r"[ \t]*(?:keepalive|warntime|deadtime|initdead)[ \t]+\d", Kind.HA_CF),
    (r"(?:use_watchdog|watchdog_fire_timeout|renewal_\w+|io_timeout)[ \t]*=", Kind.SANLOCK),
)
_BY_NAME = tuple((re.compile(pattern), kind) for pattern, kind in _NAMES)
_BY_CONTENT = tuple((re.compile(rf"^(?:{pattern})", re.MULTILINE), kind) for pattern, kind in _CONTENTS)


def codec_for(path: str, head: bytes) -> Kind | None:
    """The kind of a file, from its path and its first kilobytes; None if it is none of ours, a backup or a script."""
    name = path.replace("\\", "/").lower()
    text = decoded(head).lstrip("\ufeff")
    if _BACKUP.search(name) or text.startswith("#!"):  # /etc/init.d/sbd
        return None
    if text.lstrip().startswith("<"):  # /etc/cluster/cluster.conf is XML, and not OCFS2's
        return None
    by_name = (kind for pattern, kind in _BY_NAME if pattern.search(name))
    by_content = (kind for pattern, kind in _BY_CONTENT if pattern.search(text))
    return next(by_name, None) or next(by_content, None)


def parse(file: str, data: bytes, kind: Kind) -> Document:
    """Read a file of a known kind. Never raises: what is not understood is in the document's `problems`."""
    if kind in _DIALECTS:
        return keyvalue.parse(file, data, _DIALECTS[kind])
    return _PARSERS[kind](file, data)


_DIALECTS: dict[Kind, Syntax] = {
    Kind.ISCSID: keyvalue.ISCSID,
    Kind.NODE_RECORD: keyvalue.NODE_RECORD,
    Kind.O2CB: keyvalue.SYSCONFIG,
    Kind.SBD: keyvalue.SBD_SYSCONFIG,
    Kind.SANLOCK: keyvalue.SANLOCK,
    Kind.HA_CF: keyvalue.HA_CF,
    Kind.SYSCTL: keyvalue.SYSCTL,
    Kind.IETD: keyvalue.IETD,
}
_PARSERS: dict[Kind, Callable[[str, bytes], Document]] = {
    Kind.MULTIPATH: multipath.parse,
    Kind.OCFS2: ocfs2.parse,
    Kind.SBD_DUMP: sbd_dump.parse,
    Kind.COROSYNC: corosync.parse,
}
