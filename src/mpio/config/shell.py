"""Assignments in a shell's syntax: /etc/sysconfig/* and /etc/default/*, which init scripts source and systemd reads.

Plain assignments are understood, with quotes, backslashes, `export` and several on a line. Whatever would have to be
run to know its value (expansions, commands, arrays) is reported and left alone. Grammar: POSIX XCU 2.2, 2.3, 2.10.
"""

import re
from dataclasses import dataclass

from mpio.config.document import Entry
from mpio.config.reading import BLANKS, Block, Reading, Slot

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_EXPORT = re.compile(r"(?:export|readonly)(?=[ \t])")
_EXPORTED_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?=[ \t\r\n;#]|$)")
_BARE = re.compile(r"[A-Za-z0-9_./:,@%+=-]*")
_END_OF_WORD = " \t\n;"
_NOT_RUN = "what it does is not known here"
_NOT_ASSIGNED = "$`&|()<>*?[~{"  # expansions, commands, redirections, globs


class _UnclosedError(Exception):
    """A quote is open at the end of the file."""


class _NotAssignmentError(Exception):
    """More than assignments stands on the line; arguments are the message and a hint."""


@dataclass(frozen=True, slots=True)
class _Word:
    """One assignment: offsets of its name, of its value as written, and the value without quotes."""

    first: int
    start: int
    end: int
    value: str


@dataclass(frozen=True, slots=True)
class Shell:
    """The syntax of a file of shell assignments. `by_systemd`: systemd reads it too, which knows plain lines only."""

    name: str
    by_systemd: bool = False
    marks: str = "#"
    comments_indented: bool = True
    crlf: str = "the shell takes the carriage return as part of the value"
    sealed: str = ""

    def scan(self, reading: Reading) -> None:
        """One block that ends where a quote is never closed: the shell uses nothing from there on."""
        text = reading.text
        root = Block((), 0, 0, len(text), len(text))
        reading.blocks.append(root)
        offset, number = 0, 1
        while offset < len(text):
            try:
                words, past = _statement(text, offset)
            except _NotAssignmentError as error:
                past = text.find("\n", offset) + 1 or len(text)
                reading.trouble(number, *error.args)
                words = []
            except _UnclosedError:
                reading.trouble(number, "a quote or backslash is never closed", "the shell uses nothing from here on")
                root.end = offset
                return
            self._add(reading, words, offset, past, number)
            number += text.count("\n", offset, past)
            offset = past

    def _add(self, reading: Reading, words: list[_Word], first: int, past: int, number: int) -> None:
        text = reading.text
        if self.by_systemd and words and text[first:past].strip(BLANKS + "\n") != text[words[0].first : words[0].end]:
            reading.trouble(number, "systemd reads this line otherwise than a shell does",
                            "write one NAME=value on a line of its own, without a comment", "warning")
        for index, word in enumerate(words):
            line = number + text.count("\n", first, word.first)
            entry = Entry((), text[word.first : word.start - 1], word.value, line)
            cut = None
            if index + 1 < len(words):
                cut = (word.first, words[index + 1].first)
            elif index:
                cut = (words[index - 1].end, word.end)
            reading.slots.append(Slot(entry, word.start, word.end, first, past, cut))

    def canonical(self, key: str) -> str:
        """Names are compared as they are."""
        return key

    def value(self, value: str, written: str | None) -> str:
        """In the quotes that stood there, or bare where the shell allows it, else in double quotes."""
        written = written or ""
        if written.startswith("'") and "'" not in value:
            return f"'{value}'"
        if _BARE.fullmatch(value) and not written.startswith(('"', "'")):
            return value
        return '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'

    def setting(self, key: str, value: str) -> str:
        """A new line."""
        return f"{key}={value}"

    def frame(self, name: str) -> tuple[str, str, str] | None:  # noqa: ARG002
        """There are no sections."""
        return None


def _statement(text: str, offset: int) -> tuple[list[_Word], int]:
    """The assignments of one logical line and the offset of the next one."""
    words: list[_Word] = []
    exported = False
    while offset < len(text):
        char = text[offset]
        if char == "\n":
            return words, offset + 1
        if char in " \t;" or text.startswith("\r\n", offset):
            exported = exported and char != ";"
            offset += 1
        elif text.startswith("\\\n", offset):
            offset += 2
            if not words and not exported:
                return words, offset  # nothing is carried on
        elif char == "#":
            return words, text.find("\n", offset) + 1 or len(text)
        elif match := _EXPORT.match(text, offset):
            exported, offset = True, match.end()
        elif match := _NAME.match(text, offset):
            value, end = _word(text, match.end())
            words.append(_Word(offset, match.end(), end, value))
            offset = end
        elif exported and (match := _EXPORTED_NAME.match(text, offset)):
            offset = match.end()
        else:
            line = text[offset:].split("\n", 1)[0]
            blanks = re.match(r"\w+[ \t]*=", line)
            hint = "no blanks may stand around '='" if blanks else _NOT_RUN
            raise _NotAssignmentError(f"expected NAME=value, found {line.strip()!r:.40}", hint)
    return words, offset


def _word(text: str, offset: int) -> tuple[str, int]:
    """A value without its quotes, and the offset behind it."""
    parts: list[str] = []
    while offset < len(text) and text[offset] not in _END_OF_WORD and not text.startswith("\r\n", offset):
        char = text[offset]
        if char == "'":
            end = text.find("'", offset + 1)
            if end < 0:
                raise _UnclosedError
            parts.append(text[offset + 1 : end])
            offset = end + 1
        elif char == '"':
            part, offset = _double_quoted(text, offset + 1)
            parts.append(part)
        elif char == "\\":
            if offset + 1 == len(text):
                raise _UnclosedError
            if text[offset + 1] == "\r":
                raise _NotAssignmentError("a backslash stands before a carriage return", "nothing of the line is used")
            parts.append(text[offset + 1].strip("\n"))
            offset += 2
        elif char in _NOT_ASSIGNED or char == "\0":
            raise _NotAssignmentError(f"the value depends on what the shell makes of {char!r}", _NOT_RUN)
        else:
            parts.append(char)
            offset += 1
    value = "".join(parts)
    if "\0" in value:
        raise _NotAssignmentError("the value has NUL bytes", "nothing of the line is used")
    return value, offset


def _double_quoted(text: str, offset: int) -> tuple[str, int]:
    """What stands between double quotes, from behind the first to behind the second one."""
    parts: list[str] = []
    while offset < len(text):
        char = text[offset]
        if char == '"':
            return "".join(parts), offset + 1
        if char in "$`":
            raise _NotAssignmentError(f"the value depends on what the shell makes of {char!r}", _NOT_RUN)
        if char == "\\" and text[offset + 1 : offset + 2] in tuple('$`"\\\n'):
            parts.append(text[offset + 1].strip("\n"))
            offset += 1
        else:
            parts.append(char)
        offset += 1
    raise _UnclosedError
