"""What is known about one setting of one file, and about one kind of file: the tables' rows and heads.

Values are text here, as they stand in the file; `Key.read` gives them a type.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from mpio.config.files import Kind

Version = tuple[int, ...]


class Type(StrEnum):
    """What a value is, apart from the words that a key allows besides."""

    INTEGER = "integer"
    TIME = "time"  # a number, perhaps with a fraction and a unit of its own (ha.cf: 1500ms)
    BOOLEAN = "yes or no"
    CHOICE = "one of"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Default:
    """A default other than today's upstream one.

    Attributes:
        value: as it would be written, None for unset. before: the first version that no longer has it.
        distribution: whose package has it ("" for all). shipped: it is what the packaged file says, which counts
            where that file was copied from; otherwise it is compiled in. note: more, for people.
    """

    value: str | None
    before: Version = ()
    distribution: str = ""
    shipped: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """One setting.

    Attributes:
        name: as it is written. `conn[0]` stands for any connection, `*` for any run of characters.
        meaning: what it does, in one sentence.
        type, unit: unit is "s", "ms", "bytes", "polls", "iterations of 2 s", … or "" for none.
        low, high: what the program accepts; None where it sets no bound.
        words: further values with their meaning; numbers too where a number is special ("0": "fails at once").
        choices: all values of a BOOLEAN or CHOICE.
        sections: where it may stand, without numbers ("devices/device"); "" is outside of any section.
        default: what holds where no file says anything (upstream, today); None for unset.
        others: defaults of other versions, distributions and packaged files.
        since: the first version of the program that knows it, () for always or unknown.
        deprecated: since when and what to write instead. ignored: where it has no effect.
        repeats: whether it may be given several times. secret: never shown.
        feeds: which field it decides: of `LinuxStack` ("noop_out_interval") or of a cluster ("o2cb.idle_timeout_ms").
        source: file of the program's sources, or man page.
    """

    name: str
    meaning: str
    type: Type = Type.INTEGER
    unit: str = ""
    low: int | None = None
    high: int | None = None
    words: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] = ()
    sections: tuple[str, ...] = ("",)
    default: str | None = None
    others: tuple[Default, ...] = ()
    since: Version = ()
    deprecated: str = ""
    ignored: str = ""
    repeats: bool = False
    secret: bool = False
    feeds: str = ""
    source: str = ""

    def matches(self, name: str, *, fold_case: bool = False) -> bool:
        """Whether this is the key of that name."""
        pattern = re.escape(self.name).replace(r"\*", ".+")
        return re.fullmatch(pattern, name, re.IGNORECASE if fold_case else 0) is not None

    def read(self, text: str, *, fold_case: bool = False) -> int | float | bool | str:
        """The value: a number in the key's unit, True or False, or the text of a word. Raises ValueError."""
        folded = text.lower() if fold_case else text
        if self.type is Type.TEXT or (folded in dict(self.words) and not _INTEGER.fullmatch(text)):
            return text
        if self.type is Type.INTEGER:
            if _INTEGER.fullmatch(text) is None or len(text) > _DIGITS_MAX:
                raise ValueError(f"expected {self.expected()}, found {shown(text)}")
            return int(text)
        if self.type is Type.TIME:
            match = _TIME.fullmatch(text)
            if match is None or len(text) > _DIGITS_MAX:
                raise ValueError(f"expected {self.expected()}, found {shown(text)}")
            return float(match[1]) * _TIME_UNITS[match[2].lower()] / _TIME_UNITS[self.unit]
        if folded not in {choice.lower() if fold_case else choice for choice in self.choices}:
            raise ValueError(f"expected {self.expected()}, found {shown(text)}")
        return folded.lower() in _TRUE if self.type is Type.BOOLEAN else folded

    def expected(self) -> str:
        """What may be written, in words: 'fail, queue or a whole number of polls from 1'."""
        if self.type in (Type.BOOLEAN, Type.CHOICE):
            return _either(self.choices)
        if self.type is Type.TEXT:
            return "text"
        what = "a whole number" if self.type is Type.INTEGER else "a number"
        what += f" of {_UNIT_WORDS.get(self.unit, self.unit)}" if self.unit else ""
        if self.low is not None and self.high is not None:
            what += f" from {self.low} to {self.high}"
        elif self.low is not None or self.high is not None:
            what += f" from {self.low}" if self.low is not None else f" up to {self.high}"
        return _either((*(word for word, _ in self.words if _INTEGER.fullmatch(word) is None), what))


@dataclass(frozen=True, slots=True)
class Schema:
    """One kind of file: who reads it, its keys, and what becomes of a mistake in it.

    Attributes:
        kind: its name in `config.files.Kind`. title: the file's own name. places: where it lies.
        program: what reads it. package: whose version counts. about: a paragraph for the settings page.
        unknown: what becomes of an unknown key, with `unknown_is_error` if the program then refuses to run;
            "" where other programs' keys may stand in the file, so that nothing can be said.
        own_prefix: only keys that begin so can be unknown, for files that are shell scripts.
        invalid: what becomes of a value that is not of the key's type. leading_digits: numbers are read up to the
            first character that is no digit (strtoul, atoi), so that `5s` is 5 and `off` is 0.
        outside: what becomes of a number out of range.
        fold_case: whether keys, yes, no and choices may be in either case.
    """

    kind: Kind
    title: str
    places: tuple[str, ...]
    program: str
    package: str
    about: str
    keys: tuple[Key, ...]
    unknown: str = "it is ignored"
    unknown_is_error: bool = False
    own_prefix: str = ""
    invalid: str = "the line is ignored"
    leading_digits: bool = False
    outside: str = "it is taken as it is"
    fold_case: bool = False


def shown(text: str) -> str:
    """A value for a message: quoted, without control characters, not longer than a line bears."""
    return ascii(text[:40]) if len(text) <= 40 else ascii(text[:40])[:-1] + "…'"


def _either(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_TIME = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(ms|msec|us|usec|s|sec|m|min|h|hr|)", re.ASCII | re.IGNORECASE)
_TIME_UNITS = {
    "": 1, "s": 1, "sec": 1, "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "usec": 1e-6, "m": 60, "min": 60, "h": 3600,
    "hr": 3600,
}
_UNIT_WORDS = {"s": "seconds", "ms": "milliseconds"}
_TRUE = frozenset({"yes", "true", "on", "y", "1"})
_DIGITS_MAX = 24
