"""Every setting of every file that mpio reads: type, unit, range, default by version and distribution, meaning, source.

One module per kind of file holds its table; this one finds keys in them. `docs/settings.md` is made from the tables.
"""

import difflib
import re
from collections.abc import Iterator, Mapping

from mpio.config.document import Section
from mpio.config.files import Kind
from mpio.config.keyvalue import sysctl_key
from mpio.config.schema import corosync, ha_cf, ietd, iscsid, multipath, o2cb, ocfs2, sanlock, sbd, sysctl
from mpio.config.schema.key import Default, Key, Schema, Type, Version

__all__ = [
    "SCHEMAS", "Default", "Key", "Schema", "Type", "Version", "default", "feeding", "find", "named", "nearest",
    "section_path",
]

SCHEMAS: Mapping[Kind, Schema] = {
    schema.kind: schema
    for schema in (
        iscsid.ISCSID, iscsid.NODE_RECORD, multipath.MULTIPATH, o2cb.O2CB, ocfs2.OCFS2, sbd.SBD, sbd.SBD_DUMP,
        corosync.COROSYNC, sanlock.SANLOCK, ha_cf.HA_CF, sysctl.SYSCTL, ietd.IETD,
    )
}
"""By the kind of file, in the order of the settings page."""

_NUMBER = re.compile(r"\[\d+\]$")
_CONNECTION = re.compile(r"\bconn\[\d+\]")


def section_path(section: Section) -> str:
    """A place without its numbers, as `Key.sections` has it: ("devices", "device[0]") is "devices/device"."""
    return "/".join(_NUMBER.sub("", part) for part in section)


def named(kind: Kind, name: str) -> tuple[Key, ...]:
    """The keys of that name in any section of the file; more than one where sections give it different meanings."""
    schema = SCHEMAS[kind]
    plain = _plain(kind, name)
    return tuple(key for key in schema.keys if key.matches(plain, fold_case=schema.fold_case))


def find(kind: Kind, section: Section, name: str) -> Key | None:
    """The key of that name in that place, or None."""
    path = section_path(section)
    return next((key for key in named(kind, name) if path in key.sections), None)


def default(
    kind: Kind, name: str, *, section: Section = (), version: Version = (), distribution: str = "",
    shipped: bool = False,
) -> str | None:
    """What holds where no file says anything, as it would be written; None for unset. Raises KeyError.

    `version` is the program's, () for today's. With `shipped` it is what the packaged file says instead, where that
    differs from what is compiled in.
    """
    key = find(kind, section, name) if section else next(iter(named(kind, name)), None)
    if key is None:
        raise KeyError(name)
    for other in key.others:
        if other.distribution not in ("", distribution) or other.shipped > shipped:
            continue
        if not other.before and not other.shipped and not other.distribution:
            continue  # says what unset means
        if not other.before or (version and version < other.before):
            return other.value
    return key.default


def feeding(field: str) -> Iterator[tuple[Kind, Key]]:
    """The keys that decide a field of `LinuxStack`, or one of a cluster such as "o2cb.heartbeat_threshold"."""
    return ((schema.kind, key) for schema in SCHEMAS.values() for key in schema.keys if key.feeds == field)


def nearest(name: str, known: "set[str] | tuple[str, ...]") -> str | None:
    """The known name that `name` was most likely meant to be, or None: one near in spelling, or with the same end."""
    lower = {word.lower(): word for word in sorted(known)}
    wanted = name.lower()
    ends = [word for word in lower if word.rpartition(".")[2] == wanted.rpartition(".")[2]]
    close = difflib.get_close_matches(wanted, list(lower), n=1, cutoff=0.75)
    best = close or ends or difflib.get_close_matches(wanted, [word.rpartition(".")[2] for word in lower], 1, 0.8)
    if not best:
        return None
    return lower.get(best[0]) or next(word for low, word in lower.items() if low.rpartition(".")[2] == best[0])


def _plain(kind: Kind, name: str) -> str:
    if kind in (Kind.ISCSID, Kind.NODE_RECORD):
        return _CONNECTION.sub("conn[0]", name)
    return sysctl_key(name) if kind is Kind.SYSCTL else name
