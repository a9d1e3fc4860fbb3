"""Whether multipath.conf keeps a host's disks from multipathd: `blacklist` and `blacklist_exceptions`.

Follows multipath-tools libmultipath/blacklist.c: of each kind (device node, device, protocol, WWID) an exception beats
the list. What depends on a single disk, its udev properties and its name beyond sd*, is not looked at.
"""

from collections.abc import Iterator, Sequence

from mpio.config import posix_regex
from mpio.config.document import Document, Entry
from mpio.config.origin import Host, Origin, at
from mpio.model.stack import Version

_PROTOCOL = "scsi:iscsi"
_NODES = ("sda", "sdb", "sdz")
_INVERTS_SINCE: Version = (0, 8, 5)  # a leading `!` turns a pattern round


def covers(host: Host, documents: Sequence[Document]) -> Origin | None:
    """Where a list stands that names the host's disks, or None."""
    for kind in ("devnode", "device", "protocol", "wwid"):
        named = next(_naming(host, documents, "blacklist", kind), None)
        if named and next(_naming(host, documents, "blacklist_exceptions", kind), None) is None:
            return named
    return None


def _naming(host: Host, documents: Sequence[Document], section: str, kind: str) -> Iterator[Origin]:
    for document in documents:
        devices: dict[str, dict[str, Entry]] = {}
        for entry in document.entries():
            if entry.section == (section,) and entry.key == kind and _names(host, kind, entry.value):
                yield at(document, entry)
            elif kind == "device" and len(entry.section) == 2 and entry.section[0] == section:
                devices.setdefault(entry.section[1], {})[entry.key] = entry
        for pair in devices.values():
            if pair.keys() & {"vendor", "product"} and _names_device(host, pair):
                yield at(document, next(iter(pair.values())))


def _names(host: Host, kind: str, pattern: str) -> bool:
    texts = {"devnode": _NODES, "protocol": (_PROTOCOL,), "wwid": (host.wwid,) * bool(host.wwid)}.get(kind, ())
    return bool(texts) and all(_matches(host, pattern, text) for text in texts)


def _names_device(host: Host, pair: dict[str, Entry]) -> bool:
    if host.device is None:
        return False
    texts = {"vendor": host.device.vendor, "product": host.device.product}
    return all(_matches(host, pair[key].value, text) for key, text in texts.items() if key in pair)


def _matches(host: Host, pattern: str, text: str) -> bool:
    if pattern.startswith("!") and host.multipath_tools >= _INVERTS_SINCE:
        return not posix_regex.found(pattern[1:], text)
    return posix_regex.found(pattern.removeprefix("\\") if pattern.startswith("\\!") else pattern, text)
