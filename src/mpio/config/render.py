"""Settings as files: edits of a person's own files, or drop-ins and lines to add where there are none.

Each value carries a comment that says why. A file that the person has given is edited, and nothing in it changes but
the lines that must; a file that has a directory for drop-ins (multipath, sysctl) gets one; of any other only the lines
are written, under its name and `.lines`, as taking the file's place would lose what else it says.
What is no file but a command is in `render_commands`. Knows nothing of how the values came about.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mpio.config.document import Document, Section
from mpio.config.files import Kind, parse
from mpio.config.schema import SCHEMAS, Key
from mpio.errors import InputError
from mpio.model.stack import Version

LINES_SUFFIX = ".lines"
MAX_RETRIES_SINCE: Version = (0, 9, 7)
"""The first multipath-tools that has max_retries; before, it is a matter of sysfs."""

_KINDS = (Kind.ISCSID, Kind.MULTIPATH, Kind.O2CB, Kind.SBD, Kind.COROSYNC, Kind.SANLOCK, Kind.HA_CF)
_PLACES: Mapping[Kind, str] = {
    Kind.ISCSID: "etc/iscsi/iscsid.conf", Kind.MULTIPATH: "etc/multipath.conf", Kind.O2CB: "etc/sysconfig/o2cb",
    Kind.SBD: "etc/sysconfig/sbd", Kind.COROSYNC: "etc/corosync/corosync.conf",
    Kind.SANLOCK: "etc/sanlock/sanlock.conf", Kind.HA_CF: "etc/ha.d/ha.cf", Kind.SYSCTL: "etc/sysctl.conf",
    Kind.OCFS2: "etc/ocfs2/cluster.conf", Kind.IETD: "etc/iet/ietd.conf",
}
_DROP_INS: Mapping[Kind, str] = {
    Kind.MULTIPATH: "etc/multipath/conf.d/mpio.conf", Kind.SYSCTL: "etc/sysctl.d/90-mpio.conf",
}
_DROP_IN_DIRECTORIES: Mapping[Kind, str] = {Kind.MULTIPATH: "conf.d", Kind.SYSCTL: "sysctl.d"}
_DEBIAN_PLACES: Mapping[Kind, str] = {Kind.O2CB: "etc/default/o2cb", Kind.SBD: "etc/default/sbd"}
_PROTOCOL = "scsi:iscsi"
_SBD_OPTIONS = "SBD_OPTS"
_SBD_NAMES: Mapping[str, str] = {"sbd.delay_start": "SBD_DELAY_START"}
"""Settings that a key decides by words too, so that the schema does not give them to it."""
_SBD_FLAGS: Mapping[str, tuple[str, int]] = {"sbd.io_timeout": ("-I", 3), "sbd.restart_delay": ("-t", 5)}
"""Of the daemon's options those that no key of its sysconfig stands for, with their defaults."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One file.

    Attributes:
        path: below the root of the host, without a leading slash. data: its bytes.
        about: what to do with it, in one sentence.
        before: the person's file that it is an edit of, or None.
        executable: whether it is a script.
    """

    path: str
    data: bytes
    about: str
    before: Document | None = None
    executable: bool = False


@dataclass(frozen=True, slots=True)
class _Line:
    """One setting where it belongs; `value` None takes it out. `reason` is one line."""

    section: Section
    key: str
    value: str | None
    reason: str


def render_files(
    settings: Mapping[str, object], reasons: Mapping[str, str], sysctl: Mapping[str, int],
    documents: Mapping[Kind, Sequence[Document]], multipath_tools: Version,
) -> tuple[Rendered, ...]:
    """The files that bring these settings into force.

    Args:
        settings: by name, as of `LinuxStack` or with a cluster's prefix ("o2cb.heartbeat_threshold").
        reasons: one sentence for each, by name; the same for sysctls.
        sysctl: kernel settings, by name with dots.
        documents: the person's own files, in the order in which the programs read them.
        multipath_tools: the version that will read the file.

    Raises:
        InputError: for a file of the person's that cannot carry the edit.
    """
    files = []
    for kind in _KINDS:
        lines = [line for name, value in settings.items() for line in _lines(kind, name, value, reasons.get(name, ""))
                 if (name, kind) != ("max_retries", Kind.MULTIPATH) or multipath_tools >= MAX_RETRIES_SINCE]
        if kind is Kind.SBD:
            lines += _sbd_options(settings, reasons, documents.get(kind, ()))
        files += _render(kind, lines, documents.get(kind, ()))
    lines = [_Line((), name, str(value), reasons.get(name, "")) for name, value in sysctl.items()]
    return (*files, *_render(Kind.SYSCTL, lines, documents.get(Kind.SYSCTL, ())))


def key_of(kind: Kind, name: str) -> Key | None:
    """The key of a kind of file that decides a setting; None if that file does not have it."""
    if kind is Kind.SBD and name in _SBD_NAMES:
        return next(key for key in SCHEMAS[kind].keys if key.name == _SBD_NAMES[name])
    return next((key for key in SCHEMAS[kind].keys
                 if key.feeds == name and not key.deprecated and key.name != "SBD_DEVICE"
                 and key.sections != (_SBD_OPTIONS,)), None)


def spelled(key: Key, value: object) -> str | None:
    """A value as the file has it; None for one that is to be left to the program."""
    words = dict(key.words)
    if value is None:
        return "off" if "off" in words else None
    if isinstance(value, bool):
        return next((word for word in key.choices if (word.lower() in ("yes", "true", "on", "1")) is value), None)
    if isinstance(value, float) and not value.is_integer():
        return f"{round(value * 1000)}ms" if key.unit == "s" else f"{value:g}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _lines(kind: Kind, name: str, value: object, reason: str) -> Iterable[_Line]:
    key = key_of(kind, name)
    if key is not None:
        yield _Line(_section(key), key.name, spelled(key, value), " ".join(reason.split()))


def _sbd_options(
    settings: Mapping[str, object], reasons: Mapping[str, str], documents: Sequence[Document]
) -> Iterable[_Line]:
    """SBD_OPTS with the flags that the settings need, and whatever else it had."""
    flags = {flag: str(settings[name]) for name, (flag, default) in _SBD_FLAGS.items()
             if settings.get(name, default) != default}
    if not flags:
        return
    found = next((entry.value for document in documents if (entry := document.get((), _SBD_OPTIONS))), "")
    words = re.sub(rf"(?:^|\s)({'|'.join(flags)})\s*\d+", "", found).split()
    reason = " ".join(reasons.get(name, "") for name, (flag, _) in _SBD_FLAGS.items() if flag in flags)
    yield _Line((), _SBD_OPTIONS, " ".join([*words, *(f"{flag} {value}" for flag, value in flags.items())]),
                " ".join(reason.split()))


def _section(key: Key) -> Section:
    """Where a setting goes: in multipath.conf into `overrides` if it may, as built-in entries beat `defaults`."""
    if "overrides" in key.sections:
        return ("overrides",)
    place = key.sections[0]
    return tuple(place.split("/")) if place else ()


def _render(kind: Kind, lines: Sequence[_Line], documents: Sequence[Document]) -> list[Rendered]:
    if not any(line.value is not None for line in lines) and not documents:
        return []
    if not documents:
        return [_new(kind, [line for line in lines if line.value is not None])]
    edited = list(documents)
    for line in lines:
        _edit(kind, line, edited)
    return [
        Rendered(place_of(kind, before), after.render(), "your file with these settings: compare, then put it in place",
                 before)
        for before, after in zip(documents, edited, strict=True) if after.render() != before.render()
    ]


def _edit(kind: Kind, line: _Line, documents: list[Document]) -> None:
    """Change a setting in the last file that has it, or add it to the first, and wherever else it would be beaten."""
    holders = [index for index, document in enumerate(documents) if document.get(line.section, line.key)]
    places = [(holders[-1] if holders else 0, line.section)]
    if kind is Kind.MULTIPATH and line.section == ("overrides",):
        places += [(index, section) for index, document in enumerate(documents)
                   for section in _overruling(document, line)]
    for index, section in places:
        try:
            documents[index] = _edited(documents[index], section, line)
        except ValueError as error:
            raise InputError(documents[index].file, f"can't be edited: {error}") from None


def _edited(document: Document, section: Section, line: _Line) -> Document:
    entry = document.get(section, line.key)
    if line.value is None:
        return document.remove(section, line.key) if entry else document
    if entry is not None and entry.value == line.value:
        return document
    return document.set(section, line.key, line.value, line.reason)


def _overruling(document: Document, line: _Line) -> list[Section]:
    """Sections of multipath.conf that beat `overrides` for this setting: those of the iSCSI protocol."""
    protocols = {entry.section for entry in document.entries()
                 if entry.section[:1] == ("overrides",) and entry.section[1:] and entry.key == "type"
                 and entry.value == _PROTOCOL}
    return [section for section in sorted(protocols) if document.get(section, line.key)]


def _new(kind: Kind, lines: Sequence[_Line]) -> Rendered:
    if kind in _DROP_INS:
        path, about = _DROP_INS[kind], "a file of its own that the program reads besides the others"
        head = "# Written by mpio plan."
    else:
        path = _PLACES[kind] + LINES_SUFFIX
        about = f"lines for /{_PLACES[kind]}, in place of those that it has for the same keys"
        head = f"# Written by mpio plan: put these lines into /{_PLACES[kind]}, in place of those for the same keys."
    document = parse(_DROP_INS.get(kind, _PLACES[kind]), f"{head}\n".encode(), kind)
    for line in lines:
        assert line.value is not None
        document = document.set(line.section, line.key, line.value, line.reason)
    return Rendered(path, document.render(), about)


def place_of(kind: Kind, document: Document) -> str:
    """Where a file of this kind belongs on a host, judged by the name under which it was given.

    Node records and dumps have no place of their own: theirs is that name.
    """
    parts = document.file.replace("\\", "/").split("/")
    directory = _DROP_IN_DIRECTORIES.get(kind)
    if directory is not None and len(parts) > 1 and parts[-2] == directory:
        return f"{_DROP_INS[kind].rpartition('/')[0]}/{parts[-1]}"
    if kind in _DEBIAN_PLACES and "default" in document.file:
        return _DEBIAN_PLACES[kind]
    return _PLACES.get(kind, document.file)
