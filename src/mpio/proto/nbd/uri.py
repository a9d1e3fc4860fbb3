"""NBD URIs: `nbd://host[:port]/[export]` and `nbd+unix:///[export]?socket=PATH`.

Source: doc/uri.md of the NetworkBlockDevice project.
"""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from mpio.model.address import Portal
from mpio.proto.nbd.wire import DEFAULT_PORT, EXPORT_NAME_MAX

_SCHEMES = ("nbd", "nbd+unix")


@dataclass(frozen=True, slots=True)
class NbdUri:
    """An export: where its server listens, by TCP or on a socket file, and its name (empty: the default one)."""

    portal: Portal | None
    socket: str
    export: str

    def __str__(self) -> str:
        if self.portal is not None:
            return f"nbd://{self.portal}/{self.export}"
        return f"nbd+unix:///{self.export}?socket={self.socket}"


def parse_uri(text: str) -> NbdUri:
    """Parse a URI. Raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme in ("nbds", "nbds+unix"):
        raise ValueError(f"NBD over TLS is not offered; found {text[:80]!r}")
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"expected nbd://host[:port]/export or nbd+unix:///export?socket=PATH, found {text[:80]!r}")
    export = unquote(parts.path.removeprefix("/"), errors="strict")
    if len(export.encode()) > EXPORT_NAME_MAX:
        raise ValueError(f"expected an export name of at most {EXPORT_NAME_MAX} bytes")
    if parts.scheme == "nbd+unix":
        sockets = parse_qs(parts.query).get("socket", [])
        if len(sockets) != 1 or parts.netloc:
            raise ValueError(f"expected nbd+unix:///export?socket=PATH, found {text[:80]!r}")
        return NbdUri(None, sockets[0], export)
    if parts.username is not None or not parts.hostname:
        raise ValueError(f"expected nbd://host[:port]/export, found {text[:80]!r}")
    return NbdUri(Portal(parts.hostname, parts.port or DEFAULT_PORT), "", export)
