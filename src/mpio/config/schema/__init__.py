"""Every setting of every file that mpio reads: type, unit, range, default by version and distribution, meaning, source.

One module per kind of file holds its table; this one finds keys in them. `docs/settings.md` is made from the tables.
"""

import difflib
import functools
import re
from collections.abc import Iterator, Mapping, Sequence

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
_NAME_MAX = 100  # longer ones are no misspelt keys, and comparing them is slow
_CONNECTION = re.compile(r"\bconn\[\d+\]")


def section_path(section: Section) -> str:
    """A place without its numbers, as `Key.sections` has it: ("devices", "device[0]") is "devices/device"."""
    return "/".join(_NUMBER.sub("", part) for part in section)


def named(kind: Kind, name: str) -> tuple[Key, ...]:
    """The keys of that name in any section of the file; more than one where sections give it different meanings."""
    schema = SCHEMAS[kind]
    plain = _plain(kind, name)
    exact, patterns = _index(kind)
    return exact.get(plain.lower() if schema.fold_keys else plain) or tuple(
        key for pattern, key in patterns if pattern.fullmatch(plain)
    )


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
    return ((schema.kind, key) for schema in SCHEMAS.values() for key in schema.keys if field and key.feeds == field)


@functools.lru_cache(maxsize=1024)
def nearest(name: str, known: tuple[str, ...], cutoff: float = 0.75) -> str | None:
    """The known name that `name` was most likely meant to be, or None: alike in spelling, as a whole or its last part.

    `cutoff` is how much alike, from 0 to 1.
    """
    wanted = name[:_NAME_MAX].lower()
    full = {word.lower(): word for word in reversed(known)}
    last = {word.lower().rpartition(".")[2]: word for word in reversed(known)}
    end = wanted.rpartition(".")[2]
    if wanted in last or end in last:
        return last.get(wanted, last.get(end))
    for words, text in ((full, wanted), (last, wanted), (last, end)):
        if close := difflib.get_close_matches(text, list(words), n=1, cutoff=cutoff):
            return words[close[0]]
    return None


def _plain(kind: Kind, name: str) -> str:
    if kind in (Kind.ISCSID, Kind.NODE_RECORD):
        return _CONNECTION.sub("conn[0]", name)
    return sysctl_key(name) if kind is Kind.SYSCTL else name


@functools.cache
def _index(kind: Kind) -> tuple[Mapping[str, tuple[Key, ...]], Sequence[tuple[re.Pattern[str], Key]]]:
    """The keys by name, and those whose names have a `*`."""
    schema = SCHEMAS[kind]
    exact: dict[str, tuple[Key, ...]] = {}
    for key in schema.keys:
        name = key.name.lower() if schema.fold_keys else key.name
        exact[name] = (*exact.get(name, ()), key)
    patterns = [
        (re.compile(re.escape(key.name).replace(r"\*", r"[^.]+")), key) for key in schema.keys if "*" in key.name
    ]
    return exact, patterns
