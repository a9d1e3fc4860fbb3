"""Flat files of one setting a line: iscsid.conf and its node records, sysctl.conf, sanlock.conf, ha.cf, ietd.conf.

Each dialect follows the code that reads it: open-iscsi usr/idbm.c idbm_recinfo_config(), procps src/sysctl.c
parse_setting_line(), sanlock src/main.c read_config_file(), heartbeat's config.c parse_config(), and the
iSCSI Enterprise Target's usr/plain.c. Shell assignments are a grammar of their own, see `shell`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from mpio.config import shell
from mpio.config.line_document import LineDocument, read
from mpio.config.reading import BLANKS, Block, Line, Reading, Syntax

_NOT_BLANK = re.compile(r"[^ \t\r\v\f]+")


@dataclass(frozen=True, slots=True)
class Dialect:
    """A flat format: one function reads its lines, the rest says how to write one.

    Attributes:
        bytes_max: the reader's line buffer, 0 if it has no limit.
        separator: between key and value in a new line.
        last_line_counts: whether a last line without a newline is read.
        fold: the form in which keys are compared.
    """

    name: str
    read_line: Callable[[Reading, Line, Block], None]
    marks: str = "#"
    comments_indented: bool = True
    separator: str = " = "
    bytes_max: int = 0
    last_line_counts: bool = True
    fold: Callable[[str], str] = str
    crlf: str = ""
    sealed: str = ""

    def scan(self, reading: Reading) -> None:
        """One block, and sections where a line begins one."""
        size = len(reading.text)
        root = Block((), 0, 0, size, size)
        reading.blocks.append(root)
        for line in reading.lines(self.bytes_max):
            if not line.ended and not self.last_line_counts:
                root.end = reading.blocks[-1].end = line.start
                if line.text.strip(BLANKS):
                    hint = "end it with a newline"
                    reading.trouble(line.number, f"{self.name} ignores a last line without a newline", hint)
            else:
                self.read_line(reading, line, reading.blocks[-1])

    def canonical(self, key: str) -> str:
        """The form in which keys are compared."""
        return self.fold(key)

    def value(self, value: str, written: str | None) -> str:  # noqa: ARG002
        """Values are written bare in all of these."""
        return value

    def setting(self, key: str, value: str) -> str:
        """A new line."""
        return f"{key}{self.separator}{value}"

    def frame(self, name: str) -> tuple[str, str, str] | None:  # noqa: ARG002
        """Sections of these files are not made by setting a value."""
        return None


def _stripped(text: str) -> tuple[int, int]:
    """Columns of what is left of a text without blanks at both ends."""
    start = len(text) - len(text.lstrip(BLANKS))
    return start, max(len(text.rstrip(BLANKS)), start)


def _read_iscsid(reading: Reading, line: Line, block: Block) -> None:
    """`name = value`: open-iscsi skips one character after the name, so a blank must stand before the `=`."""
    text = line.text
    start, end = _stripped(text)
    if start == end or text[start] == "#":
        return
    name = re.compile(r"[^= \t\r\v\f]*").match(text, start, end)
    assert name is not None
    equals = name.end() + 1
    while equals < end and text[equals] in BLANKS:
        equals += 1
    if name.end() == end or equals >= end:
        reading.trouble(line.number, f"{name[0]!r:.60} has no value", "iscsid ignores the line")
    elif text[equals] != "=":
        if text[name.end()] == "=":
            hint = f"iscsid ignores the line; write {name[0]} = {text[equals:end].strip(BLANKS)}"
            reading.trouble(line.number, "there is no blank before '='", hint)
        else:
            reading.trouble(line.number, f"expected '=' after {name[0]!r:.60}", "iscsid ignores the line")
    else:
        value = equals + 1 + len(text[equals + 1 : end]) - len(text[equals + 1 : end].lstrip(BLANKS))
        if value >= end:
            reading.trouble(line.number, f"{name[0]!r:.60} has no value", "iscsid ignores the line")
        else:
            reading.line_slot(line, block.section, name[0], value, end)


_BEGIN_RECORD = re.compile(r"^# BEGIN RECORD\b", re.MULTILINE)


def _read_record(reading: Reading, line: Line, block: Block) -> None:
    """As iscsid.conf. Output of iscsiadm may hold several records; then each is a section `record[n]`."""
    if _BEGIN_RECORD.match(line.text):
        number = len(reading.blocks) - 1
        if not number and not _BEGIN_RECORD.search(reading.text, line.past):
            block.body, block.end = line.past, len(reading.text)
            return
        begun = Block((f"record[{number}]",), line.start, line.past, len(reading.text), len(reading.text))
        block.end = block.past = line.start
        reading.blocks.append(begun)
    elif line.text.startswith("# END RECORD"):
        block.end = line.start
    else:
        _read_iscsid(reading, line, block)


def _read_sysctl(reading: Reading, line: Line, block: Block) -> None:
    """`-key = value`; dots and slashes both separate, and the first one in a key decides which of the two does."""
    start, end = _stripped(line.text)
    text = line.text
    if start == end or text[start] in "#;" or line.past - line.start - start < 2:
        return
    equals = text.find("=", start, end)
    if equals < 0:
        if text[start] != "-":  # -key keeps a key from a glob
            reading.trouble(line.number, "expected key = value", "sysctl ignores the line")
        return
    key = text[start + (text[start] == "-") : equals].rstrip(BLANKS)
    if not key:
        reading.trouble(line.number, "expected a key before '='", "sysctl ignores the line")
        return
    value = equals + 1 + _stripped(text[equals + 1 : end])[0]
    reading.line_slot(line, block.section, sysctl_key(key), min(value, end), end)


def sysctl_key(key: str) -> str:
    """The key with dots as separators, as sysctl(8) prints it."""
    separator = next((char for char in key if char in "./"), ".")
    return key if separator == "." else key.translate(str.maketrans("./", "/."))


def _read_sanlock(reading: Reading, line: Line, block: Block) -> None:
    """`key = value`: the key begins the line, the value is one word and what follows it is ignored."""
    text = line.text
    if not text.strip(BLANKS) or text.startswith("#"):
        return
    key = re.compile(r"[^ =\t]*").match(text)
    assert key is not None
    equals = text.find("=")
    word = _NOT_BLANK.search(text, equals + 1) if equals >= 0 else None
    if not key[0]:
        reading.trouble(line.number, "a blank stands before the key", "sanlock ignores the line")
    elif word is None:
        reading.trouble(line.number, "expected key = value", "sanlock ignores the line")
    else:
        reading.line_slot(line, block.section, key[0], *word.span())


def _read_ha_cf(reading: Reading, line: Line, block: Block) -> None:
    """`directive value...`: blanks and commas separate, `#` begins a comment anywhere."""
    text = line.text.partition("#")[0]
    directive = _NOT_BLANK.search(text)
    if directive is None:
        return
    rest = text[directive.end() :]
    value = rest.strip(BLANKS + ",")
    if value:
        start = directive.end() + rest.index(value)
        reading.line_slot(line, block.section, directive[0], start, start + len(value))
    else:
        reading.trouble(line.number, f"{directive[0]!r:.60} has no value", "heartbeat ignores the line")


def _read_ietd(reading: Reading, line: Line, block: Block) -> None:
    """`Name value...`, the names in any case; those after a `Target` line are that target's."""
    text = line.text
    start, end = _stripped(text)
    if start == end or text[start] == "#":
        return
    name = _NOT_BLANK.match(text, start)
    assert name is not None
    value = name.end() + _stripped(text[name.end() : end])[0]
    if value >= end:
        reading.trouble(line.number, f"{name[0]!r:.60} has no value", "ietd ignores the line")
        return
    if name[0].lower() == "target":
        block.end = block.past = line.start
        section = (f"Target[{len(reading.blocks) - 1}]",)
        block = Block(section, line.start, line.past, len(reading.text), len(reading.text), "\t")
        reading.blocks.append(block)
    reading.line_slot(line, block.section, name[0], value, end)


ISCSID = Dialect("iscsid.conf", _read_iscsid, bytes_max=2047, last_line_counts=False)
NODE_RECORD = Dialect("a node record", _read_record, bytes_max=2047, last_line_counts=False)
SYSCTL = Dialect("sysctl.conf", _read_sysctl, marks="#;", fold=sysctl_key)
SANLOCK = Dialect("sanlock.conf", _read_sanlock, bytes_max=127)
HA_CF = Dialect("ha.cf", _read_ha_cf, separator=" ")
IETD = Dialect("ietd.conf", _read_ietd, separator=" ", bytes_max=4095, last_line_counts=False, fold=str.lower)
SYSCONFIG = shell.Shell("a sysconfig file")
SBD_SYSCONFIG = shell.Shell("SBD's sysconfig file", by_systemd=True)


def parse(file: str, data: bytes, dialect: Syntax) -> LineDocument:
    """Parse a flat file. Never raises."""
    return read(file, data, dialect)
