"""multipath.conf and its drop-ins: a document that keeps each byte, read as multipathd reads it.

The rules are those of multipath-tools libmpathutil/parser.c (the same from 0.4.9 to 0.14):

- A line is what one fgets() of 1023 bytes gives; a longer one is several. It ends at the first NUL or carriage return.
- `#` and `!` begin a comment outside quotes; bytes that are not ASCII are blanks there. `""` within quotes is one `"`.
- Only the first word and the first value of a line count. So `defaults { key 1 }` on one line opens a section, sets
  nothing, and leaves it open.
- An unknown word before `{` opens nothing, so that its `}` closes the section around it; to a key `{` is a value.
- The last entry of a key wins, in one section block or in several of the same name.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mpio.config.document import Entry, Problem, Section

LINE_BYTES_MAX = 1023  # MAXBUF - 1 of libmpathutil/parser.h

# Which words open a section, by the section they stand in (libmultipath/dict.c, init_keywords).
_NESTED = {
    (): ("defaults", "blacklist", "blacklist_exceptions", "devices", "overrides", "multipaths"),
    ("blacklist",): ("device",),
    ("blacklist_exceptions",): ("device",),
    ("devices",): ("device",),
    ("overrides",): ("protocol",),
    ("multipaths",): ("multipath",),
}
_SECTION_WORDS = frozenset(word for words in _NESTED.values() for word in words) - {"protocol"}  # also a key
_OPEN_WITHOUT_BRACE = _SECTION_WORDS - {"overrides"}  # is_sublevel_keyword() of parser.c
_WITHOUT_OPTIONS: tuple[Section, ...] = ((), ("devices",), ("multipaths",))  # hold sections only
_BLANK = rb" \t\n\v\f\r\x80-\xff"
_BARE = re.compile(rb'[^\0"{}!#' + _BLANK + rb"]+")
_IN_QUOTES = re.compile(rb'(?:[^"]|"")*')
_BLANKS = re.compile(rb"[" + _BLANK + rb"]*")
_NUMBERED = re.compile(r"(\w+)\[(0|[1-9][0-9]{0,8})\]")


@dataclass(frozen=True, slots=True)
class _Token:
    """A word, a brace, a quotation mark, or all between two of these; its place in the line's bytes."""

    text: bytes
    start: int
    end: int
    is_quote: bool = False


@dataclass(frozen=True, slots=True)
class _Line:
    """One line as multipathd reads it. `section` is where it stands; of an opening one, what it opens."""

    raw: bytes
    number: int
    kind: Literal["blank", "open", "close", "option", "ignored"]
    section: Section
    key: str = ""
    value: str = ""
    value_start: int = 0
    value_end: int = 0

    @property
    def indent(self) -> bytes:
        return self.raw[: len(self.raw) - len(self.raw.lstrip(b" \t"))]

    @property
    def comment(self) -> bytes | None:
        """The words of a comment line."""
        text = self.raw.strip(b" \t\r\n")
        return text[1:].strip() if self.kind == "blank" and text[:1] in (b"#", b"!") else None


@dataclass(frozen=True, slots=True)
class MultipathConf:
    """A parsed multipath.conf; see `config.document.Document` for its laws.

    Sections: ("defaults",), ("overrides",), ("overrides", "protocol[0]"), ("devices", "device[0]"),
    ("multipaths", "multipath[0]"), ("blacklist",), ("blacklist", "device[0]") and so on, numbered through the file.
    """

    file: str
    problems: Sequence[Problem]
    _lines: tuple[_Line, ...]
    _open: Section  # sections that the end of the file leaves open

    def render(self) -> bytes:
        """The file's bytes."""
        return b"".join(line.raw for line in self._lines)

    def entries(self) -> Sequence[Entry]:
        """All settings that multipathd looks at, in the order of the file; the schema says which it knows."""
        return [Entry(line.section, line.key, line.value, line.number) for line in self._lines if line.kind == "option"]

    def sections(self) -> Sequence[tuple[Section, int]]:
        """Every block of the file in order, empty ones too: what it is and the line that opens it."""
        return [(line.section, line.number) for line in self._lines if line.kind == "open"]

    def get(self, section: Section, key: str) -> Entry | None:
        """The last entry of the key in the section, or None."""
        at = self._find(section, key)
        if at is None:
            return None
        line = self._lines[at]
        return Entry(line.section, line.key, line.value, line.number)

    def set(self, section: Section, key: str, value: str, comment: str = "") -> "MultipathConf":
        """Change the last entry, or add one at the end of the section's last block. Raises ValueError."""
        _check_key(section, key)
        token = _encode_value(value)
        remark = _encode_comment(comment)
        at = self._find(section, key)
        if at is None:
            return self._add(section, [_option(key, token)], remark)
        line = self._lines[at]
        if line.value == value:
            return self
        if line.raw[line.value_start : line.value_start + 1] == b'"' and not token.startswith(b'"'):
            token = b'"' + token + b'"'
        after = line.raw[line.value_end :]
        if after and not re.match(rb"[\0#!" + _BLANK + rb"]", after):
            token += b" "  # what follows, which nobody reads, must not become part of the value
        before = line.raw[: line.value_start]
        if not re.search(rb'["' + _BLANK + rb"]$", before) and not token.startswith(b'"'):
            before += b" "  # a brace may stand right behind the key; a word may not
        return self._replace(at, at + 1, [before + token + after], remark, line.indent)

    def remove(self, section: Section, key: str) -> "MultipathConf":
        """Without the lines of this key."""
        kept = [
            line.raw
            for line in self._lines
            if not (line.kind == "option" and line.section == section and line.key == key)
        ]
        return parse(self.file, b"".join(kept))

    def _find(self, section: Section, key: str) -> int | None:
        for at in range(len(self._lines) - 1, -1, -1):
            line = self._lines[at]
            if line.kind == "option" and line.key == key and line.section == section:
                return at
        return None

    def _add(self, section: Section, body: list[bytes], remark: bytes) -> "MultipathConf":
        """Lines at the end of a section's last block, the block made if there is none."""
        opened = [at for at, line in enumerate(self._lines) if line.kind == "open" and line.section == section]
        if not opened:
            return self._add_block(section, body, remark)
        at, end = opened[-1], len(self._lines)
        for later in range(at + 1, len(self._lines)):
            if self._lines[later].kind == "close" and self._lines[later].section == section:
                end = later
                break
        indent = self._lines[at].indent + b"\t"
        for line in self._lines[at + 1 : end]:
            if line.kind in ("option", "open") and line.section[: len(section)] == section:
                indent = line.indent
                break
        tail = [] if end < len(self._lines) else self._missing_braces(len(section))
        return self._replace(end, end, [*tail, *(indent + line for line in body)], remark, indent, len(tail))

    def _add_block(self, section: Section, body: list[bytes], remark: bytes) -> "MultipathConf":
        word = section[-1].partition("[")[0].encode()
        block = [word + b" {", *([b"\t# " + remark] if remark else []), *(b"\t" + line for line in body), b"}"]
        if len(section) == 1:
            end = len(self._lines)
            return self._replace(end, end, [*self._missing_braces(0), *block], b"", b"")
        present = sum(line.kind == "open" and _same_kind(line.section, section) for line in self._lines)
        if section[-1] != f"{word.decode()}[{present}]":
            raise ValueError(f"{self.file} has {present} {word.decode()} sections: the next is [{present}]")
        return self._add(section[:-1], block, b"")

    def _missing_braces(self, depth: int) -> list[bytes]:
        """What closes the sections left open at the end of the file that are deeper than `depth`."""
        return [b"\t" * level + b"}" for level in range(len(self._open) - 1, depth - 1, -1)]

    def _replace(
        self, start: int, end: int, new: list[bytes], remark: bytes, indent: bytes, skip: int = 0
    ) -> "MultipathConf":
        """Other lines in place of [start, end), a comment above the one at `skip`; checks that each can be read."""
        eol = b"\r\n" if self._lines and self._lines[0].raw.endswith(b"\r\n") else b"\n"
        before = [line.raw for line in self._lines[:start]]
        if before and not before[-1].endswith(b"\n"):
            before[-1] += eol
        if remark and not (start and skip == 0 and self._lines[start - 1].comment == remark):
            new = [*new[:skip], indent + b"# " + remark, *new[skip:]]
        unended = start < end == len(self._lines) and not self._lines[-1].raw.endswith(b"\n")
        new = [line if line.endswith(b"\n") else line + eol for line in new[:-1]] + [
            new[-1] if unended or new[-1].endswith(b"\n") else new[-1] + eol
        ]
        if max(map(len, new)) > LINE_BYTES_MAX:
            raise ValueError(f"multipathd reads no line of more than {LINE_BYTES_MAX} bytes")
        return parse(self.file, b"".join([*before, *new, *(line.raw for line in self._lines[end:])]))


def parse(file: str, data: bytes) -> MultipathConf:
    """Read a file's bytes; never raises. Lines that multipathd ignores become problems."""
    reader = _Reader(file)
    lines = [reader.read(number, raw) for number, raw in _physical_lines(data)]
    if reader.path:
        number = lines[-1].number
        reader.report(number, "warning", f"the file ends inside {' '.join(reader.path)}", "add the missing '}'")
    return MultipathConf(file, tuple(reader.problems), tuple(lines), reader.path)


class _Reader:
    """process_stream() of parser.c: which section a line stands in, and what it does there."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.path: Section = ()
        self.problems: list[Problem] = []
        self._counts: dict[Section, int] = {}

    def report(self, number: int, severity: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.file, number, severity, message, hint))

    def read(self, number: int, raw: bytes) -> _Line:
        if len(raw) == LINE_BYTES_MAX and not raw.endswith(b"\n"):
            self.report(number, "warning", f"more than {LINE_BYTES_MAX} bytes: the rest is read as another line")
        if b"\0" in raw:
            self.report(number, "warning", "a NUL byte: the rest of the line is not read")
        tokens = _tokens(raw)
        if not tokens:
            return _Line(raw, number, "blank", self.path)
        word = _text(tokens[0].text)
        if tokens[0].is_quote or word == "{":
            return self._ignored(raw, number, "a line begins with a keyword or '}', found " + _shown(raw))
        if word == "}":
            return self._close(raw, number, tokens)
        if word in _NESTED.get(self.path, ()):
            return self._open(raw, number, word, tokens)
        if word in _SECTION_WORDS:
            return self._ignored(raw, number, *self._no_section(word))
        if len(tokens) > 1 and tokens[1].text == b"{" and not tokens[1].is_quote:
            self.report(number, "error", *self._no_section(word))
            if self.path in _WITHOUT_OPTIONS:
                return _Line(raw, number, "ignored", self.path)
        return self._option(raw, number, word, tokens)

    def _no_section(self, word: str) -> tuple[str, str]:
        where = f"inside {self.path[-1]}" if self.path else "here"
        known = ", ".join(_NESTED.get(self.path, ())) or "none"
        hint = f"nothing is opened, so its '}}' closes the section around it; known {where}: {known}"
        return f"no section {word!r} {where}", hint

    def _ignored(self, raw: bytes, number: int, message: str, hint: str = "") -> _Line:
        self.report(number, "error", message, hint)
        return _Line(raw, number, "ignored", self.path)

    def _close(self, raw: bytes, number: int, tokens: list[_Token]) -> _Line:
        self._extra(number, tokens, 1)
        if not self.path:
            return self._ignored(raw, number, "'}' without a section to close")
        line = _Line(raw, number, "close", self.path)
        self.path = self.path[:-1]
        return line

    def _open(self, raw: bytes, number: int, word: str, tokens: list[_Token]) -> _Line:
        braced = len(tokens) > 1 and tokens[1].text == b"{" and not tokens[1].is_quote
        if len(tokens) == 1 and word not in _OPEN_WITHOUT_BRACE:
            return self._ignored(raw, number, f"expected '{{' after {word!r}: multipathd skips this line")
        if not braced:
            self.report(number, "warning", f"expected '{{' after {word!r}; the section opens all the same")
        else:
            self._extra(number, tokens, 2)
        if self.path:
            kind = (*self.path, word)
            self._counts[kind] = self._counts.get(kind, 0) + 1
            word = f"{word}[{self._counts[kind] - 1}]"
        self.path = (*self.path, word)
        return _Line(raw, number, "open", self.path)

    def _option(self, raw: bytes, number: int, word: str, tokens: list[_Token]) -> _Line:
        if self.path in _WITHOUT_OPTIONS:
            where = f"directly in {self.path[0]}" if self.path else "outside every section"
            known = ", ".join(_NESTED[self.path])
            return self._ignored(raw, number, f"{word!r} stands {where} and is not read", f"expected one of: {known}")
        if len(tokens) == 1:
            return self._ignored(raw, number, f"{word!r} has no value")
        value, used, closed = _value(tokens)
        if not closed:
            self.report(number, "warning", f"the value of {word!r} lacks its closing quotation mark")
        self._extra(number, tokens, used)
        end = tokens[used - 1].end
        return _Line(raw, number, "option", self.path, word, _text(value), tokens[1].start, end)

    def _extra(self, number: int, tokens: list[_Token], used: int) -> None:
        if len(tokens) > used:
            extra = '"' if tokens[used].is_quote else _text(tokens[used].text)
            self.report(number, "warning", f"all from {extra[:40]!r} on is not read", "one setting or brace a line")


def _value(tokens: list[_Token]) -> tuple[bytes, int, bool]:
    """set_value() of parser.c: the value, how many tokens end with it, and whether its quotation marks are closed."""
    if not tokens[1].is_quote:
        return tokens[1].text, 2, True
    if len(tokens) == 2:
        return b"", 2, False
    if tokens[2].is_quote:
        return b"", 3, True
    return tokens[2].text, min(len(tokens), 4), len(tokens) > 3


def _physical_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """What each fgets() would give, with the number of the line in the file from 1."""
    for number, line in enumerate(re.findall(rb"[^\n]*\n|[^\n]+", data), 1):
        for at in range(0, len(line), LINE_BYTES_MAX):
            yield number, line[at : at + LINE_BYTES_MAX]


def _tokens(raw: bytes) -> list[_Token]:
    """alloc_strvec() of parser.c after read_line() has cut the line at its first CR, LF or NUL."""
    head = re.match(rb"[\r\n]*[^\r\n\0]*", raw)
    text = head[0] if head else b""
    tokens: list[_Token] = []
    in_string = False
    at = _end(_BLANKS, text, 0)
    while at < len(text) and (in_string or text[at : at + 1] not in (b"#", b"!")):
        start, is_quote, word = at, False, b""
        if text[at : at + 1] == b'"' and not (in_string and text[at + 1 : at + 2] == b'"'):
            is_quote, at = True, at + 1
            in_string = not in_string
        elif in_string:
            at = _end(_IN_QUOTES, text, at)
            word = text[start:at].replace(b'""', b'"')
        elif text[at : at + 1] in (b"{", b"}"):
            at += 1
            word = text[start:at]
        else:
            at = _end(_BARE, text, at)
            word = text[start:at]
        tokens.append(_Token(word, start, at, is_quote))
        if not in_string:
            at = _end(_BLANKS, text, at)
    return tokens


def _end(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _shown(raw: bytes) -> str:
    return repr(raw.strip()[:40].decode("latin-1"))


def _same_kind(one: Section, other: Section) -> bool:
    """Whether two sections differ in their number only."""
    return one[:-1] == other[:-1] and one[-1].partition("[")[0] == other[-1].partition("[")[0]


def _check_key(section: Section, key: str) -> None:
    """Raises ValueError for a section that multipath.conf does not have or a key that its syntax cannot carry."""
    path: Section = ()
    for name in section:
        numbered = _NUMBERED.fullmatch(name)
        word = numbered[1] if numbered else name
        if word not in _NESTED.get(path, ()) or bool(numbered) is not bool(path):
            raise ValueError(f"multipath.conf has no section {'/'.join(section)!r}")
        path = (*path, name)
    if path in _WITHOUT_OPTIONS:
        raise ValueError(f"no setting stands directly in {'/'.join(path) or 'the file'}")
    if not _BARE.fullmatch(key.encode("utf-8", "surrogateescape")):
        raise ValueError(f"multipath.conf cannot carry the keyword {key[:40]!r}")
    if key in _SECTION_WORDS or key in _NESTED.get(path, ()):
        raise ValueError(f"{key!r} names a section, not a setting")


def _encode_value(value: str) -> bytes:
    """The value as it is written: bare where that reads the same, else in quotation marks."""
    raw = value.encode("utf-8", "surrogateescape")
    if re.search(rb"[\0\r\n]", raw):
        raise ValueError("a value of multipath.conf cannot contain a NUL or a line break")
    return raw if _BARE.fullmatch(raw) else b'"' + raw.replace(b'"', b'""') + b'"'


def _encode_comment(comment: str) -> bytes:
    raw = comment.strip().encode("utf-8", "surrogateescape")
    if re.search(rb"[\0\r\n]", raw):
        raise ValueError("a comment is one line")
    return raw


def _option(key: str, token: bytes) -> bytes:
    return key.encode() + b" " + token
