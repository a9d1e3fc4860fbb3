"""corosync.conf: nested sections of `key: value` lines.

Follows corosync exec/coroparse.c parse_section(): a line with `{` opens a section, else one with `:` is a setting, else
`}` alone closes; `#` begins a comment only as a line's first word. Corosync refuses a file with any error as a whole.
Sections that may be repeated (corosync.conf(5)) are numbered; others of one name count as one, the last value wins.
"""

from dataclasses import dataclass

from mpio.config.document import Section
from mpio.config.line_document import LineDocument, base_name, read
from mpio.config.reading import Block, Line, Reading, encoded

REPEATED = frozenset({"node", "interface", "logger_subsys", "logging_daemon", "uidgid", "service", "member"})
_BLANKS = " \t\udca0"  # 0xa0 is a blank to corosync, in Latin-1
_LINE_BYTES_MAX = 511
_PATH_BYTES_MAX = 255  # ICMAP_KEYNAME_MAXLEN


@dataclass(frozen=True, slots=True)
class _Corosync:
    name: str = "corosync.conf"
    marks: str = "#"
    comments_indented: bool = True
    crlf: str = ""
    sealed: str = ""

    def scan(self, reading: Reading) -> None:
        """A stack of open sections."""
        size = len(reading.text)
        root = Block((), 0, 0, size, size)
        reading.blocks.append(root)
        open_: list[tuple[Block, int]] = [(root, 0)]
        for line in reading.lines(_LINE_BYTES_MAX):
            text = line.text.strip(_BLANKS)
            block = open_[-1][0]
            if not text or text.startswith("#"):
                continue
            if "{" in text:
                if begun := _begun(reading, line, block):
                    open_.append((begun, line.number))
            elif ":" in text:
                _read_setting(reading, line, block.section)
            elif text == "}" and len(open_) > 1:
                block.end, block.past = line.start, line.past
                open_.pop()
            elif text == "}":
                reading.trouble(line.number, "this closing brace has no opening one", "corosync refuses the file")
            else:
                reading.trouble(line.number, f"expected key: value, name {{ or }}, found {text!r:.60}",
                                "corosync refuses the file")
        for block, number in open_[1:]:
            reading.trouble(number, f"section {block.section[-1]!r} is never closed", "corosync refuses the file")

    def canonical(self, key: str) -> str:
        """Keys are compared as they are."""
        return key

    def value(self, value: str, written: str | None) -> str:  # noqa: ARG002
        """Values are written bare."""
        return value

    def setting(self, key: str, value: str) -> str:
        """A new line."""
        return f"{key}: {value}"

    def frame(self, name: str) -> tuple[str, str, str] | None:
        """Of a new section."""
        return f"{name} {{", "}", "\t"


def _begun(reading: Reading, line: Line, parent: Block) -> Block | None:
    """The section that a line opens."""
    head, _, tail = line.text.partition("{")
    name = head.strip(_BLANKS).rstrip(_BLANKS + ":{")
    if not name or tail.strip(_BLANKS):
        what = "nothing may stand behind '{'" if name else "a section needs a name before '{'"
        reading.trouble(line.number, what, "corosync refuses the file")
        return None
    section: Section = (*parent.section, name)
    if len(encoded(".".join(map(base_name, section)))) >= _PATH_BYTES_MAX:
        reading.trouble(line.number, "the sections' names are too long together", "corosync refuses the file")
        return None
    if name in REPEATED:
        section = reading.numbered(section)
    size = len(reading.text)
    indent = head[: len(head) - len(head.lstrip(" \t"))] + "\t"
    block = Block(section, line.start, line.past, size, size, indent)
    reading.blocks.append(block)
    return block


def _read_setting(reading: Reading, line: Line, section: Section) -> None:
    head, _, tail = line.text.partition(":")
    key = head.strip(_BLANKS)
    if not key:
        reading.trouble(line.number, "a setting needs a name before ':'", "corosync refuses the file")
        return
    value = tail.strip(_BLANKS)
    start = len(head) + 1 + (len(tail) - len(tail.lstrip(_BLANKS)))
    if value:
        reading.line_slot(line, section, key, start, start + len(value))
    else:
        reading.line_slot(line, section, key, len(line.text), len(line.text))


def parse(file: str, data: bytes) -> LineDocument:
    """Parse a corosync.conf. Never raises."""
    return read(file, data, _Corosync())
