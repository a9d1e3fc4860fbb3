"""What a codec of a line-oriented file finds in a text, and the rules it finds it by.

Owns: bytes to text and back without loss, physical lines, where each setting and section stands. Knows nothing of
editing, see `line_document`, and nothing of what a key means.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from mpio.config.document import Entry, Section

BLANKS = " \t\r\v\f"  # what C's isspace() knows, but for the newline


@dataclass(frozen=True, slots=True)
class Line:
    """One physical line: number from 1, offsets into the text, `text` without its line ending."""

    number: int
    start: int
    past: int
    text: str
    ended: bool  # whether a line ending follows; only the last line may lack one


@dataclass(frozen=True, slots=True)
class Slot:
    """A setting and where it stands: offsets of its value as written, of its lines, and of what `remove` cuts."""

    entry: Entry
    start: int
    end: int
    first: int
    past: int
    cut: tuple[int, int] | None = None  # None: its lines


@dataclass(slots=True)
class Block:
    """A section as it stands in the text.

    Attributes:
        first, past: offsets of its first line and of what follows its last one.
        body: where a first setting goes. end: where its last one ends at the latest, as before a closing brace.
        indent: blanks before the settings in it.
    """

    section: Section
    first: int
    body: int
    end: int
    past: int
    indent: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A problem of a text that does not know its file's name yet."""

    line: int
    severity: str
    message: str
    hint: str = ""


@dataclass(slots=True)
class Reading:
    """What a syntax found in a text, in the order of the file. There is always a block of the section ()."""

    text: str
    slots: list[Slot] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    _counts: dict[Section, int] = field(default_factory=dict)

    def numbered(self, section: Section) -> Section:
        """The place of the next section of a name that may be repeated: ("node",) becomes ("node[0]",), and so on."""
        number = self._counts.get(section, 0)
        self._counts[section] = number + 1
        return (*section[:-1], f"{section[-1]}[{number}]")

    def lines(self, bytes_max: int = 0) -> Iterator[Line]:
        """The lines that a C program would see whole: one with a NUL ends early there, and is reported instead.

        `bytes_max` is the program's line buffer without its closing NUL; longer lines are reported too.
        """
        for line in physical_lines(self.text):
            if "\0" in line.text:
                self.trouble(line.number, "the line has NUL bytes", "nothing of it is used")
            elif bytes_max and len(encoded(self.text[line.start : line.past])) > bytes_max:
                self.trouble(line.number, f"the line is longer than the {bytes_max} bytes that are read at a time")
            else:
                yield line

    def trouble(self, line: int, message: str, hint: str = "", severity: str = "error") -> None:
        """Report what is wrong with a line."""
        self.troubles.append(Trouble(line, severity, message, hint))

    def line_slot(self, line: Line, section: Section, key: str, start: int, end: int) -> None:
        """Add a setting that has a line of its own; `start` and `end` are columns of its value in `line.text`."""
        entry = Entry(section, key, line.text[start:end], line.number)
        self.slots.append(Slot(entry, line.start + start, line.start + end, line.start, line.past))


class Syntax(Protocol):
    """The rules of one file format, as the program that reads it applies them.

    Attributes:
        name: what a file of this format is called in messages.
        marks: the characters that begin a comment at the start of a line; the first one is used for new comments.
        comments_indented: whether blanks may stand before a comment.
        crlf: what becomes of a carriage return before the newline, or "" where it is a blank like others.
        sealed: why such a file cannot be edited, or "".
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def marks(self) -> str: ...  # noqa: D102

    @property
    def comments_indented(self) -> bool: ...  # noqa: D102

    @property
    def crlf(self) -> str: ...  # noqa: D102

    @property
    def sealed(self) -> str: ...  # noqa: D102

    def scan(self, reading: Reading) -> None:
        """Fill in slots, blocks and troubles of `reading.text`. Never raises."""
        ...

    def canonical(self, key: str) -> str:
        """The form in which keys are compared."""
        ...

    def value(self, value: str, written: str | None) -> str:
        """How to write a value, in the style of what stood there, if anything did."""
        ...

    def setting(self, key: str, value: str) -> str:
        """A line for a new setting, without indent and line ending; `value` comes from `value()`."""
        ...

    def frame(self, name: str) -> tuple[str, str, str] | None:
        """Of a new section: its first line, its last one or "", and the further indent between; None: it has none."""
        ...


def physical_lines(text: str) -> Iterator[Line]:
    """The lines of a text; the ending may be LF or CR LF, and may be missing at the end."""
    start = number = 0
    while start < len(text):
        number += 1
        newline = text.find("\n", start)
        past = newline + 1 if newline >= 0 else len(text)
        end = newline if newline >= 0 else past
        if newline > start and text[newline - 1] == "\r":
            end -= 1
        yield Line(number, start, past, text[start:end], newline >= 0)
        start = past


def decoded(data: bytes) -> str:
    """Bytes as text; those that are not UTF-8 become lone surrogates, which `encoded` turns back."""
    return data.decode("utf-8", "surrogateescape")


def encoded(text: str) -> bytes:
    """The bytes that `decoded` made a text of."""
    return text.encode("utf-8", "surrogateescape")


def look_at_bytes(reading: Reading, crlf: str) -> None:
    """Report what is odd about a file's encoding and line endings. `crlf`: as of a `Syntax`."""
    text = reading.text
    if text[:2] in ("\udcff\udcfe", "\udcfe\udcff"):
        reading.trouble(1, "the file looks like UTF-16", "save it as UTF-8")
    elif text.startswith("\ufeff"):
        reading.trouble(1, "a byte order mark becomes part of the first word", "remove it")
    ending = text.find("\r\n")
    if crlf and ending >= 0:
        number = text.count("\n", 0, ending) + 1
        reading.trouble(number, f"lines end in CR LF: {crlf}", "convert the file with dos2unix")
    if text.isascii():
        return
    for line in physical_lines(text):
        odd = next((column for column, char in enumerate(line.text) if "\udc80" <= char <= "\udcff"), -1)
        if odd >= 0:
            byte = ord(line.text[odd]) - 0xDC00
            reading.trouble(line.number, f"byte 0x{byte:02x} in column {odd + 1} is not UTF-8", severity="warning")
