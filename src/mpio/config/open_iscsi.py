"""Which of its settings iscsid obeys: those of the node record, a copy of iscsid.conf made when the target was found.

Sources: open-iscsi usr/idbm.c (records, numbers), usr/initiator.c:__session_conn_create (zeros), README.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mpio.config.document import Document, Entry, Problem, Section
from mpio.config.files import Kind
from mpio.config.origin import Candidate, Effective, Host, Origin, at, decide
from mpio.config.schema.iscsid import NODE_RECORD
from mpio.config.schema.key import Key

_KEYS: Mapping[str, Key] = {key.feeds: key for key in NODE_RECORD.keys if key.feeds}
_COMPILED_FOR_ZERO = ("login_timeout", "logout_timeout")


@dataclass(frozen=True, slots=True)
class _Record:
    """One node record: one path's settings."""

    document: Document
    section: Section
    entries: Mapping[str, Sequence[Entry]]  # by key, in the order of the file

    def value(self, key: Key) -> int:
        found = self.entries.get(key.name)
        return integer(found[-1].value) if found else int(key.default or 0)

    def slowness(self) -> tuple[float, float, int]:
        """What to compare records by: how late a silent path is noticed and given up."""
        interval, timeout = (self.value(_KEYS[name]) for name in ("noop_out_interval", "noop_out_timeout"))
        wait = self.value(_KEYS["replacement_timeout"])
        pings = interval + timeout if interval or timeout else math.inf
        return pings, math.inf if wait < 0 else wait, self.value(_KEYS["login_timeout"])


def in_force(host: Host) -> tuple[dict[str, Effective], list[Problem]]:
    """Settings of iscsid and its records by their names in `LinuxStack`.

    Records of several paths may differ: then all settings come from the one with the longest stall, with a warning.
    """
    records, problems = _records(host)
    record = max(records, key=_Record.slowness, default=None)
    values = {name: decide(host, name, list(_candidates(host, key, record))) for name, key in _KEYS.items()}
    for name in _COMPILED_FOR_ZERO:
        if values[name].value == 0:
            compiled = int(_KEYS[name].default or 0)
            values[name] = values[name].derive(compiled, f"0 is not possible, iscsid takes {compiled}")
    for name, other in (("noop_out_interval", "noop_out_timeout"), ("noop_out_timeout", "noop_out_interval")):
        if values[name].value == 0 and values[other].value != 0:
            compiled = int(_KEYS[name].default or 0)
            words = f"0 switches pings off only if {other} is 0 too, iscsid takes {compiled}"
            values[name] = values[name].derive(compiled, words)
    if record:
        problems += [problem for other in records if other is not record for problem in _differences(record, other)]
    return values, problems


def integer(text: str) -> int:
    """A number as strtoul() and a 32-bit int have it: 5 for `5s`, 0 for `off`, -1 for what is too large."""
    match = re.match(r"[ \t\v\f\r]*([+-]?)0*([0-9]*)", text)
    assert match is not None
    number = int(match[2][:21] or "0")
    number = 2**64 - 1 if number >= 2**64 else -number if match[1] == "-" else number
    return (number + 2**31) % 2**32 - 2**31


def _candidates(host: Host, key: Key, record: _Record | None) -> Iterator[Candidate]:
    later = "a later line of the same key wins"
    if record:
        for entry in reversed(record.entries.get(key.name, ())):
            yield Candidate(integer(entry.value), at(record.document, entry, "node record"), later)
        compiled = Origin("built-in default", words="iscsid, for a node record without the key")
        yield Candidate(int(key.default or 0), compiled, "the node record sets it")
    why = "iscsid obeys the node record; this only goes into records made from now on" if record else later
    documents = host.documents.get(Kind.ISCSID, ())
    for document in reversed(documents):
        for entry in reversed(document.entries()):
            if entry.key == key.name:
                yield Candidate(integer(entry.value), at(document, entry), why)
    shipped = None if documents else next((other for other in key.others if other.shipped), None)
    if shipped and shipped.value is not None and not shipped.distribution:
        origin = Origin("built-in default", words="iscsid.conf as it is shipped")
        yield Candidate(int(shipped.value), origin, why)
    elif not record:
        yield Candidate(int(key.default or 0), Origin("built-in default", words="iscsid"), "a file sets it")


def _records(host: Host) -> tuple[list[_Record], list[Problem]]:
    """The node records of the target, or of all targets if it is not given."""
    records, names, problems = [], set(), []
    for document in host.documents.get(Kind.NODE_RECORD, ()):
        by_section: dict[Section, dict[str, list[Entry]]] = {}
        for entry in document.entries():
            by_section.setdefault(entry.section, {}).setdefault(entry.key, []).append(entry)
        for section, entries in by_section.items():
            name = entries["node.name"][-1].value if "node.name" in entries else ""
            if not host.target or not name or name == host.target:
                records.append(_Record(document, section, entries))
                names.add(name)
    if len(names) > 1:
        problems.append(
            Problem(
                records[0].document.file, 0, "warning", f"node records of {len(names)} targets: the slowest one counts",
                "give the records of one target only",
            )
        )
    return records, problems


def _differences(chosen: _Record, other: _Record) -> Iterator[Problem]:
    for key in _KEYS.values():
        ours, theirs = chosen.value(key), other.value(key)
        if ours != theirs:
            entries = other.entries.get(key.name)
            line = entries[-1].line if entries else 0
            words = f"{key.name} is {theirs} here and {ours} in {chosen.document.file}, whose path is slower and counts"
            yield Problem(other.document.file, line, "warning", words, "give all paths the same timers")
