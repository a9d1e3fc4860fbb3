"""Documents made of lines: what the codecs of all line-oriented files share.

An edit splices the text, so it cannot touch what it was not asked to. Then the text is read again and compared: an edit
that the file's own rules would misread raises ValueError instead.

Where additions go is chosen so that those of different keys commute, byte for byte: a line goes behind the last setting
of its section, but within the unbroken run of settings that ends there, before those with a greater key; a section goes
behind the last one of its parent whose name is not greater.
"""

import dataclasses
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from mpio.config.document import Entry, Problem, Section
from mpio.config.reading import Block, Reading, Slot, Syntax, decoded, encoded, look_at_bytes

SIZE_BYTES_MAX = 16 << 20
PROBLEMS_MAX = 100
_COMMENT_COLUMNS = 100


def read(file: str, data: bytes, syntax: Syntax) -> "LineDocument":
    """Parse a file. Never raises: what is not understood becomes a `Problem`."""
    text = decoded(data)
    if len(data) > SIZE_BYTES_MAX:
        reading = Reading(text)
        reading.trouble(0, f"expected at most {SIZE_BYTES_MAX} bytes, found {len(data)}", "nothing of it is used")
        return LineDocument(file, reading, syntax, sealed="too large to be edited")
    newline = "\r\n" if text.count("\n") == text.count("\r\n") > 0 else "\n"
    return LineDocument(file, _scanned(text, syntax), syntax, newline, syntax.sealed)


def _scanned(text: str, syntax: Syntax) -> Reading:
    reading = Reading(text)
    look_at_bytes(reading, syntax.crlf)
    syntax.scan(reading)
    return reading


def base_name(section: str) -> str:
    """A section's name without its number: `node` of `node[0]`."""
    return section.partition("[")[0]


@dataclass(frozen=True, slots=True)
class LineDocument:
    """A `Document` over a reading of its text.

    Attributes:
        newline: how added lines end: as all lines did when the file was read.
        sealed: why it cannot be edited, or "".
    """

    file: str
    reading: Reading
    syntax: Syntax
    newline: str = "\n"
    sealed: str = ""

    @property
    def problems(self) -> Sequence[Problem]:
        """What could not be understood, in the order of the file: PROBLEMS_MAX of them, and one more for the rest."""
        found = sorted(self.reading.troubles, key=lambda trouble: trouble.line)
        shown = [Problem(self.file, t.line, t.severity, t.message, t.hint) for t in found[:PROBLEMS_MAX]]
        if len(found) > PROBLEMS_MAX:
            shown.append(Problem(self.file, 0, "warning", f"{len(found) - PROBLEMS_MAX} more problems are not shown"))
        return tuple(shown)

    def render(self) -> bytes:
        """The file's bytes."""
        return encoded(self._text)

    def entries(self) -> Sequence[Entry]:
        """All settings in the order of the file, overruled ones too."""
        return tuple(slot.entry for slot in self.reading.slots)

    def get(self, section: Section, key: str) -> Entry | None:
        """The entry in force: the last of its section and key."""
        slot = self._slot(section, key)
        return slot.entry if slot else None

    def set(self, section: Section, key: str, value: str, comment: str = "") -> "LineDocument":
        """Change the entry in force, or add one. Raises ValueError for what the syntax cannot carry."""
        self._check_editable(key, value, comment)
        slot = self._slot(section, key)
        if slot is None:
            line = self.syntax.setting(key, self.syntax.value(value, None))
            edited = self._with_line(section, key, line)
        elif slot.entry.value != value:
            written = self._text[slot.start : slot.end]
            edited = self._spliced(slot.start, slot.end, self.syntax.value(value, written))
        else:
            edited = self
        if comment:
            _check_read_back(self, edited, section, key, value)
            edited = edited._with_comment(section, key, comment)
        _check_read_back(self, edited, section, key, value)
        return edited

    def remove(self, section: Section, key: str) -> "LineDocument":
        """Without any entry of this key; comments stay. Raises ValueError if other lines would change their meaning."""
        self._check_editable(key, "", "")
        edited = self
        while slot := edited._slot(section, key):
            edited = edited._spliced(*(slot.cut or (slot.first, slot.past)), "")
        _check_read_back(self, edited, section, key, None)
        return edited

    @property
    def _text(self) -> str:
        return self.reading.text

    def _check_editable(self, key: str, value: str, comment: str) -> None:
        if self.sealed:
            raise ValueError(f"{self.file}: {self.sealed}")
        for what, text in (("key", key), ("value", value), ("comment", comment.replace("\n", " "))):
            if any(char in "\n\r\0" or "\ud800" <= char <= "\udfff" for char in text):
                raise ValueError(f"expected a {what} that is one line of text, found {text!r:.60}")

    def _slot(self, section: Section, key: str) -> Slot | None:
        key = self.syntax.canonical(key)
        for slot in reversed(self.reading.slots):
            if slot.entry.section == section and self.syntax.canonical(slot.entry.key) == key:
                return slot
        return None

    def _block(self, section: Section) -> Block | None:
        return next((block for block in reversed(self.reading.blocks) if block.section == section), None)

    def _spliced(self, start: int, end: int, text: str) -> "LineDocument":
        reading = _scanned(self._text[:start] + text + self._text[end:], self.syntax)
        return dataclasses.replace(self, reading=reading)

    def _inserted(self, offset: int, lines: Sequence[str]) -> "LineDocument":
        """With further lines at an offset where a line begins or the text ends."""
        start = "" if offset == 0 or self._text[offset - 1] == "\n" else self.newline
        return self._spliced(offset, offset, start + "".join(line + self.newline for line in lines))

    def _with_line(self, section: Section, key: str, line: str) -> "LineDocument":
        block = self._block(section)
        if block is None:
            return self._with_section(section, line)
        own = [
            slot for slot in self.reading.slots
            if slot.entry.section == section and block.body <= slot.first < block.end
        ]
        if own:
            return self._inserted(self._place(own, block, key), [self._indent(own[-1], block) + line])
        if section:
            return self._inserted(block.body, [block.indent + line])
        if self.syntax.frame(""):
            raise ValueError(f"{self.file}: {self.syntax.name} has its settings in sections, expected one for {key}")
        blank = [""] if self._line_above(block.end).strip() else []
        return self._inserted(block.end, [*blank, line])

    def _indent(self, neighbour: Slot, block: Block) -> str:
        """Blanks before a line beside another one of its section; in a flat file there are none."""
        line = self._text[neighbour.first : neighbour.start]
        return line[: len(line) - len(line.lstrip(" \t"))] if block.section else ""

    def _place(self, own: Sequence[Slot], block: Block, key: str) -> int:
        """Behind the last of a section's settings, or before those of the run ending there that have greater keys."""
        key = self.syntax.canonical(key)
        offset = own[-1].past
        while own and own[-1].past == offset:
            first = own[-1].first
            beside = [self.syntax.canonical(slot.entry.key) for slot in own if slot.first == first]
            if min(beside) < key:
                break
            offset = self._above_comments(first, block.body)
            own = own[: -len(beside)]
        return offset

    def _line_above(self, offset: int) -> str:
        return self._text[self._text.rfind("\n", 0, max(offset - 1, 0)) + 1 : offset]

    def _above_comments(self, offset: int, floor: int = 0) -> int:
        """Where the comment lines begin that stand directly above an offset, and not before another one."""
        while offset > floor and (above := self._line_above(offset)).lstrip(" \t")[:1] in tuple(self.syntax.marks):
            offset -= len(above)
        return offset

    def _with_comment(self, section: Section, key: str, comment: str) -> "LineDocument":
        slot, block = self._slot(section, key), self._block(section)
        assert slot is not None
        assert block is not None
        above = self._text[self._above_comments(slot.first) : slot.first].splitlines()
        present = {line.strip().lstrip(self.syntax.marks).strip() for line in above}
        wanted = [part for line in comment.split("\n") for part in textwrap.wrap(line, _COMMENT_COLUMNS)]
        indent = self._indent(slot, block) if self.syntax.comments_indented else ""
        lead = f"{indent}{self.syntax.marks[0]} "
        missing = [lead + line for line in wanted if line not in present]
        return self._inserted(slot.first, missing) if missing else self

    def _with_section(self, section: Section, line: str) -> "LineDocument":
        """With a new section, and those it stands in if need be, that holds one setting."""
        depth = len(section) - 1
        while (parent := self._block(section[:depth])) is None:
            depth -= 1
        lines = [line]
        for name in reversed(section[depth:]):
            frame = self.syntax.frame(base_name(name))
            if frame is None:
                raise ValueError(f"{self.file}: {self.syntax.name} has no section {name!r}")
            first, last, indent = frame
            lines = [first, *(indent + inner for inner in lines), *([last] if last else [])]
        return self._with_block(parent, base_name(section[depth]), [parent.indent + inner for inner in lines])

    def _with_block(self, parent: Block, name: str, lines: Sequence[str]) -> "LineDocument":
        """With a section's lines behind the last section of the same parent whose name is not greater."""
        beside = [
            block for block in self.reading.blocks
            if block.section and block.section[:-1] == parent.section and parent.first <= block.first < parent.past
        ]
        before = [block for block in beside if base_name(block.section[-1]) <= name]
        blank = [] if parent.section else [""]
        if before:
            return self._inserted(before[-1].past, [*blank, *lines])
        if beside:
            offset = self._above_comments(beside[0].first, parent.body)
            if offset == 0:  # these comments are about the file
                offset = beside[0].first
            return self._inserted(offset, [*lines, *blank])
        if not self._line_above(parent.end).strip():
            blank = []
        return self._inserted(parent.end, [*blank, *lines])


def _check_read_back(
    before: LineDocument, after: LineDocument, section: Section, key: str, value: str | None
) -> None:
    """The edit did what was asked and nothing else, in the eyes of the program that reads the file."""
    entry = after.get(section, key)
    if (entry.value if entry else None) != value:
        found = repr(entry.value)[:60] if entry else "nothing"
        raise ValueError(f"{before.file}: expected to set {key} to {value!r:.60}, which would be read as {found}")
    if _others(after, section, key) != _others(before, section, key):
        raise ValueError(f"{before.file}: changing {key} would change what other lines mean")


def _others(document: LineDocument, section: Section, key: str) -> list[tuple[Section, str, str]]:
    """All settings but one, as they are read."""
    canonical = document.syntax.canonical
    entries = [(entry.section, canonical(entry.key), entry.value) for entry in document.entries()]
    return [entry for entry in entries if entry[:2] != (section, canonical(key))]
