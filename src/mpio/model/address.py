"""Portals and target addresses, in the URL form that libiscsi and QEMU use.

    iscsi://[user[%secret]@]host[:port]/target-name/lun

IPv6 hosts stand in brackets. User, secret and name may be percent-encoded (`%` before the secret is the separator).
"""

from dataclasses import dataclass, field
from urllib.parse import unquote

DEFAULT_PORT = 3260
NAME_MAX_BYTES = 223  # RFC 7143 §4.2.7.1
LUN_MAX = 0x3FFF  # flat addressing, SAM-5


@dataclass(frozen=True, slots=True)
class Portal:
    """Where a target listens: TCP host and port."""

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Portal":
        """Parse `host`, `host:port`, `[ipv6]` or `[ipv6]:port`. Raises ValueError."""
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise ValueError(f"expected [ipv6]:port, found {text!r}")
            port = rest[1:]
        else:
            host, _, port = text.partition(":")
            if ":" in port:
                raise ValueError(f"an IPv6 address stands in brackets, [{text}]:3260; found {text!r}")
        if not host or any(c.isspace() or c in "/@%" for c in host):
            raise ValueError(f"expected host[:port], found {text!r}")
        if not port and (text.endswith(":")):
            raise ValueError(f"the port is missing after the colon in {text!r}")
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"expected a port from 1 to 65535, found {port!r} in {text!r}")
        return cls(host, int(port) if port else DEFAULT_PORT)


@dataclass(frozen=True, slots=True)
class TargetAddress:
    """A logical unit behind one portal, with the CHAP user and secret if the URL has them.

    `source` and `interface` bind the path's connections to a local address or a network interface.
    """

    portal: Portal
    target_name: str
    lun: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    source: str | None = None
    interface: str | None = None

    def __str__(self) -> str:
        """The URL without the secret."""
        user = f"{self.username}@" if self.username else ""
        return f"iscsi://{user}{self.portal}/{self.target_name}/{self.lun}"

    @classmethod
    def parse(cls, url: str) -> "TargetAddress":
        """Parse `iscsi://[user[%secret]@]host[:port]/target-name/lun`. Raises ValueError, never naming the secret."""
        scheme, separator, rest = url.partition("://")
        if not separator or scheme != "iscsi":
            raise ValueError(f"expected iscsi://host[:port]/target-name/lun, found {_without_secret(url)!r}")
        authority, _, path = rest.partition("/")
        user_part, at, portal_text = authority.rpartition("@")
        username: str | None = None
        password: str | None = None
        if at:
            name, percent, secret = user_part.partition("%")
            username, password = unquote(name), unquote(secret) if percent else None
            if not username:
                raise ValueError("the user name before '@' is empty")
        portal = Portal.parse(portal_text)
        name_text, slash, lun_text = path.rpartition("/")
        if not slash or not name_text:
            raise ValueError(f"expected /target-name/lun after the portal, found {'/' + path!r}")
        if not (lun_text.isascii() and lun_text.isdigit() and len(lun_text) <= 5 and int(lun_text) <= LUN_MAX):
            raise ValueError(f"expected a LUN from 0 to {LUN_MAX}, found {lun_text!r}")
        return cls(portal, check_iscsi_name(unquote(name_text)), int(lun_text), username, password)


def _without_secret(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"…@{tail}" if at and head else url


def check_iscsi_name(name: str) -> str:
    """Return the name in lower case if it is a legal iSCSI name (RFC 7143 §4.2.7). Raises ValueError."""
    lowered = name.lower()
    if not lowered.startswith(("iqn.", "eui.", "naa.")):
        raise ValueError(f"an iSCSI name starts with iqn., eui. or naa.; found {name[:80]!r}")
    if len(lowered.encode()) > NAME_MAX_BYTES:
        raise ValueError(f"an iSCSI name has at most {NAME_MAX_BYTES} bytes, found {len(lowered.encode())}")
    if any(c.isspace() or ord(c) < 0x21 or c in "/\x7f" for c in lowered):
        raise ValueError(f"an iSCSI name has no blanks, slashes or control characters: {name[:80]!r}")
    return lowered
