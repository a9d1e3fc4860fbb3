"""What is known about one setting of one file, and about one kind of file: the tables' rows and heads.

Values are text here, as they stand in the file; `Key.read` gives them a type.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from mpio.config.files import Kind

Version = tuple[int, ...]
UNIT_WORDS = {"s": "seconds", "ms": "milliseconds"}
DIGITS_MAX = 24  # longer numbers are mistakes, and int() of a huge text is slow


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
        low, high: what the program accepts; None where it sets no bound. outside: what becomes of other numbers, ""
            for the same as with all keys of the file.
        words: further values with their meaning; numbers too where a number is special ("0": "fails at once").
        choices: all values of a BOOLEAN or CHOICE.
        sections: where it may stand, without numbers ("devices/device"); "" is outside of any section.
        default: what holds where no file says anything (upstream, today); None for unset.
        others: defaults of other versions, distributions and packaged files.
        since: the first version of the program that knows it, () for always or unknown.
        deprecated: since when and what to write instead. ignored: why it has no effect where iSCSI is all there is.
        note: what else to know.
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
    outside: str = ""
    words: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] = ()
    sections: tuple[str, ...] = ("",)
    default: str | None = None
    others: tuple[Default, ...] = ()
    since: Version = ()
    deprecated: str = ""
    ignored: str = ""
    note: str = ""
    repeats: bool = False
    secret: bool = False
    feeds: str = ""
    source: str = ""

    def read(self, text: str, *, fold_case: bool = False) -> int | float | bool | str:
        """The value: a number in the key's unit, True or False, or the text of a word. Raises ValueError."""
        folded = text.lower() if fold_case else text
        if self.type is Type.TEXT or (folded in dict(self.words) and not _INTEGER.fullmatch(text)):
            return text
        if self.type is Type.INTEGER:
            if _INTEGER.fullmatch(text) is None or len(text) > DIGITS_MAX:
                raise ValueError(f"expected {self.expected()}, found {shown(text)}")
            return int(text)
        if self.type is Type.TIME:
            match = _TIME.fullmatch(text)
            if match is None or len(text) > DIGITS_MAX:
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
        what += f" of {UNIT_WORDS.get(self.unit, self.unit)}" if self.unit else ""
        low = self.low if self.low is not None and self.low > -_BOUND_OF_THE_MACHINE else None
        high = self.high if self.high is not None and self.high < _BOUND_OF_THE_MACHINE else None
        what += f" from {low}" if low is not None else ""
        what += f" {'to' if low is not None else 'up to'} {high}" if high is not None else ""
        return _either((*(word for word, _ in self.words if _INTEGER.fullmatch(word) is None), what))


@dataclass(frozen=True, slots=True)
class Schema:
    """One kind of file: who reads it, its keys, and what becomes of a mistake in it.

    Attributes:
        kind: its name in `config.files.Kind`. title: the file's own name. places: where it lies.
        program: what reads it. package: whose version counts. about: a paragraph for the settings page.
        unknown: what becomes of an unknown key, with `unknown_is_error` if the program then refuses to run;
            "" where other programs' keys may stand in the file, so that nothing can be said.
        own_prefix: only keys that begin so can be unknown, and an empty value is as good as none: for shell scripts.
        invalid, invalid_word: what becomes of a value that is not of the key's type, and of a word that is none of
            its choices ("" for the same). leading_digits: numbers are read up to the
            first character that is no digit (strtoul, atoi), so that `5s` is 5 and `off` is 0.
        outside: what becomes of a number out of range.
        fold_keys, fold_values: whether keys, or yes, no and other words, may be in either case.
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
    invalid_word: str = ""
    leading_digits: bool = False
    outside: str = "it is taken as it is"
    fold_keys: bool = False
    fold_values: bool = False


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
_BOUND_OF_THE_MACHINE = 2**21  # larger bounds are those of integers, and say nothing to people
_TRUE = frozenset({"yes", "true", "on", "y", "1"})
