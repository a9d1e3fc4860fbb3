"""What is wrong with a file's settings, against the schema: each problem in one line, with what to write instead.

Codecs say what cannot be read; this says which keys do not exist, which values the program would not take as they
look, and which settings do nothing. Settings that are right one by one but not together are the planner's business,
but for a few pairs that a program itself changes.
"""

import itertools
import re
from collections.abc import Iterable, Iterator

from mpio.config.document import Document, Entry, Problem
from mpio.config.files import Kind
from mpio.config.schema import SCHEMAS, Key, Schema, Type, find, named, nearest, section_path
from mpio.config.schema.key import DIGITS_MAX, UNIT_WORDS, shown
from mpio.config.special import SPECIAL, initiators_key

PROBLEMS_MAX = 200
_VERY_NEAR = 0.86
_REPEATED_MAX = 50  # each is one search of the document
_ENCODING_LINES_MAX = 5
_SENSIBLE_S_MAX = 1000  # timers of seconds that reach this look like milliseconds
_SENSIBLE_MS_MIN = 100  # timers of milliseconds that stay below this look like seconds
_NUMBER_AND_UNIT = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]+|%)", re.ASCII)
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?", re.ASCII)
_LEADING_NUMBER = re.compile(r"\s*([+-]?[0-9]+)", re.ASCII)
_MILLISECONDS = {
    "ms": 1, "msec": 1, "msecs": 1, "millisecond": 1, "milliseconds": 1, "s": 1000, "sec": 1000, "secs": 1000,
    "second": 1000, "seconds": 1000, "m": 60_000, "min": 60_000, "mins": 60_000, "minute": 60_000,
    "minutes": 60_000, "h": 3_600_000, "hour": 3_600_000, "hours": 3_600_000,
}


def validate(document: Document, kind: Kind) -> tuple[Problem, ...]:
    """The problems of a document's settings, in the order of its lines. The codec's own are in `document.problems`."""
    found = [*_encoding(document), *_duplicates(document, kind)]
    strange_sections: set[str] = set()
    for entry in document.entries():
        if len(found) > PROBLEMS_MAX:
            break
        key = find(kind, entry.section, entry.key)
        if key is not None:
            found += _entry(document.file, entry, key, SCHEMAS[kind])
        else:
            found += _unknown(document.file, entry, kind, strange_sections)
    if kind in SPECIAL:
        found += itertools.islice(SPECIAL[kind](document), PROBLEMS_MAX)
    found.sort(key=lambda problem: problem.line)
    if len(found) > PROBLEMS_MAX:
        more = Problem(document.file, 0, "warning", f"more than {PROBLEMS_MAX} problems: the rest is not shown")
        return (*found[:PROBLEMS_MAX], more)
    return tuple(found)


def check_value(key: Key, text: str, schema: Schema) -> tuple[str, str, str] | None:
    """What is wrong with a value: severity, message, hint; None if nothing is.

    For values from other places than files too, such as options.
    """
    if not text and schema.own_prefix:
        return None
    if not text and key.type is not Type.TEXT:
        return "error", f"{key.name} has no value; expected {key.expected()}", ""
    try:
        value = key.read(text, fold_case=schema.fold_values)
    except ValueError:
        return _misread(key, text, schema)
    if isinstance(value, int | float) and not isinstance(value, bool) and text not in dict(key.words):
        return _out_of_range(key, value, schema) or _other_unit(key, value)
    return None


# --- the file as a whole


def _encoding(document: Document) -> Iterator[Problem]:
    if any("UTF-" in problem.message for problem in document.problems):
        return  # the codec has said it
    data = document.render()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or data.count(b"\0") > len(data) // 4 > 0:
        yield Problem(document.file, 0, "error", "this is UTF-16; programs read these files byte by byte",
                      "save it as UTF-8")
        return
    wrong = [number for number, line in enumerate(data.split(b"\n"), start=1) if not _is_utf8(line)]
    for number in wrong[:_ENCODING_LINES_MAX]:
        yield Problem(document.file, number, "warning", "this line has bytes that are not UTF-8",
                      "the file may be Latin-1; bytes are kept as they are")
    if len(wrong) > _ENCODING_LINES_MAX:
        yield Problem(document.file, wrong[_ENCODING_LINES_MAX], "warning",
                      f"so have {len(wrong) - _ENCODING_LINES_MAX} lines from here on")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _duplicates(document: Document, kind: Kind) -> Iterator[Problem]:
    lines: dict[tuple[object, str], list[Entry]] = {}
    for entry in document.entries():
        key = find(kind, entry.section, entry.key)
        if key is not None and not key.repeats:
            name = entry.key.lower() if SCHEMAS[kind].fold_keys else entry.key
            lines.setdefault((entry.section, name), []).append(entry)
    repeated = (entries for entries in lines.values() if len(entries) > 1)
    for entries in itertools.islice(repeated, _REPEATED_MAX):
        in_force = document.get(entries[0].section, entries[0].key)
        for entry in entries[:PROBLEMS_MAX]:
            if in_force is not None and entry.line != in_force.line:
                same = "to the same value " if entry.value == in_force.value else ""
                yield Problem(document.file, entry.line, "warning", f"{_name(entry)} is set again {same}in line "
                              f"{in_force.line}, which is the one that counts")


# --- keys


def _unknown(file: str, entry: Entry, kind: Kind, strange_sections: set[str]) -> Iterator[Problem]:
    schema = SCHEMAS[kind]
    path = section_path(entry.section)
    elsewhere = named(kind, entry.key)
    known_sections = {section for key in schema.keys for section in key.sections}
    if kind is Kind.IETD and not elsewhere and (theirs := initiators_key(entry.key)) is not None:
        yield Problem(file, entry.line, "error", f"{_name(entry)} is the initiator's setting: in the target's "
                      "file it has no effect", f"put it into the initiator's iscsid.conf as {theirs.name}")
    elif elsewhere:
        places = sorted({section for key in elsewhere for section in key.sections})
        yield Problem(file, entry.line, "warning", f"{_name(entry)} is not read {_inside(path)}",
                      f"it belongs {' or '.join(_inside(place) for place in places)}")
    elif path not in known_sections:
        if path not in strange_sections:
            strange_sections.add(path)
            hint = nearest(path, tuple(sorted(known_sections - {""})))
            yield Problem(file, entry.line, _severity(schema), f"{schema.title} has no section {shown(path)}",
                          f"did you mean {hint}?" if hint else "")
    elif schema.unknown and entry.key.startswith(schema.own_prefix):
        yield Problem(file, entry.line, _severity(schema), f"there is no setting {_name(entry)}; {schema.unknown}",
                      _advice(entry.key, kind, path))


def _advice(name: str, kind: Kind, path: str) -> str:
    """The key that was probably meant: one very near, else that of another file, else one not so near."""
    here = tuple(key.name for key in SCHEMAS[kind].keys if path in key.sections)
    if hint := nearest(name, here, _VERY_NEAR):
        return f"did you mean {hint}?"
    for schema in SCHEMAS.values():
        if named(schema.kind, name):
            return f"{_printable(name)} is a setting of {schema.title}"
    hint = nearest(name, here)
    return f"did you mean {hint}?" if hint else ""


def _severity(schema: Schema) -> str:
    return "error" if schema.unknown_is_error else "warning"


def _inside(path: str) -> str:
    return f"in {path.replace('/', ' / ')}" if path else "outside of any section"


def _name(entry: Entry) -> str:
    return _printable(entry.key)


def _printable(name: str) -> str:
    return ascii(name[:80])[1:-1]


# --- values


def _entry(file: str, entry: Entry, key: Key, schema: Schema) -> Iterator[Problem]:
    name = _name(entry)
    if key.deprecated:
        if entry.value not in _usual(key):
            yield Problem(file, entry.line, "warning", f"{name} is out of date: {key.deprecated}")
        return
    if key.secret:
        return
    wrong = check_value(key, entry.value, schema)
    if wrong is not None:
        severity, message, hint = wrong
        yield Problem(file, entry.line, severity, message.replace(key.name, name, 1), hint)
    elif key.ignored and entry.value not in _usual(key):
        yield Problem(file, entry.line, "warning", f"{name} {entry.value:.40} has no effect: {key.ignored}")


def _usual(key: Key) -> Iterable[str | None]:
    return (key.default, *(other.value for other in key.others))


def _misread(key: Key, text: str, schema: Schema) -> tuple[str, str, str]:
    """The message for a value that is not of the key's type, or too long a number."""
    if _PLAIN_NUMBER.fullmatch(text) and len(text) > DIGITS_MAX:
        found = f"{key.name}: expected {key.expected()}, found a number of {len(text)} digits"
        return "error", found, ""
    found = f"{key.name}: expected {key.expected()}, found {shown(text)}"
    if key.type in (Type.BOOLEAN, Type.CHOICE):
        hint = nearest(text, tuple(key.choices))
        return "error", f"{found}; {schema.invalid_word or schema.invalid}", f"did you mean {hint}?" if hint else ""
    words = nearest(text, tuple(word for word, _ in key.words if not _PLAIN_NUMBER.fullmatch(word)))
    if words:
        return "error", f"{found}; {_effect(text, schema)}", f"did you mean {words}?"
    severity = "warning" if schema.leading_digits and _LEADING_NUMBER.match(text) else "error"
    match = _NUMBER_AND_UNIT.fullmatch(text.strip())
    hint = ""
    if match is not None and key.unit in ("s", "ms") and match[2].lower() in _MILLISECONDS and len(text) <= DIGITS_MAX:
        wanted = float(match[1]) * _MILLISECONDS[match[2].lower()] / _MILLISECONDS[key.unit]
        instead = f"write {wanted:.0f}" if wanted == round(wanted) else f"{text.strip()} cannot be written"
        hint = f"the unit is {UNIT_WORDS[key.unit]} and is not written: {instead}"
    return severity, f"{found}; {_effect(text, schema)}", hint


def _effect(text: str, schema: Schema) -> str:
    """What the program makes of a value that is not a number."""
    if not schema.leading_digits:
        return schema.invalid
    match = _LEADING_NUMBER.match(text)
    return f"{schema.program} reads it as {match[1] if match and len(match[1]) <= DIGITS_MAX else 0}"


def _out_of_range(key: Key, value: float, schema: Schema) -> tuple[str, str, str] | None:
    low, high = key.low, key.high
    if (low is None or value >= low) and (high is None or value <= high):
        return None
    if low is not None and value < low:
        hint = f"write at least {low}"
        if key.unit == "ms" and value > 0 and value * 1000 >= low:
            hint = f"write {value * 1000:.0f} if seconds were meant"
    else:
        hint = f"write at most {high}"
    return "error", f"{key.name}: expected {key.expected()}, found {value:.24g}; {key.outside or schema.outside}", hint


def _other_unit(key: Key, value: float) -> tuple[str, str, str] | None:
    """Milliseconds where seconds are meant, and the other way round, for timers whose defaults are far from that."""
    if key.default is None or not _PLAIN_NUMBER.fullmatch(key.default):
        return None
    usual = float(key.default)
    if key.unit == "s" and usual < _SENSIBLE_S_MAX <= value and value % 500 == 0:
        return (
            "warning", f"{key.name} is {value:.0f} s, {value / 60:.0f} min: the unit is seconds",
            f"write {value / 1000:g} if milliseconds were meant",
        )
    if key.unit == "ms" and 0 < value < _SENSIBLE_MS_MIN < usual // 10:
        return (
            "warning", f"{key.name} is {value:.0f} ms: the unit is milliseconds",
            f"write {value * 1000:.0f} if seconds were meant",
        )
    return None
