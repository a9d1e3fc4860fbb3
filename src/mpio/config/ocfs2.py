"""OCFS2's cluster.conf: stanzas of `key = value` lines, numbered by kind (`node[0]`, `node[1]`, `cluster[0]`).

Follows ocfs2-tools o2cb_ctl/jconfig.c: a stanza's name stands in column 0 before `:`, its attributes begin with a
blank, an empty line ends it, `#` begins a comment only in column 0, and a backslash before the end of a line carries
the value, with the newline, on to the next one.
"""

import re
from dataclasses import dataclass

from mpio.config.document import Entry
from mpio.config.line_document import LineDocument, read
from mpio.config.reading import Block, Line, Reading, Slot

_HEADER = re.compile(r"([A-Za-z0-9_]+):[ \t]*")
_ATTRIBUTE = re.compile(r"[ \t]+([A-Za-z0-9_]+)[ \t]*=[ \t]*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _ClusterConf:
    name: str = "cluster.conf"
    marks: str = "#"
    comments_indented: bool = False
    crlf: str = "o2cb refuses the file"
    sealed: str = ""

    def scan(self, reading: Reading) -> None:
        """Stanzas, one open at a time."""
        size = len(reading.text)
        reading.blocks.append(Block((), 0, 0, size, size))
        stanza: Block | None = None
        lines = iter(list(reading.lines()))
        for line in lines:
            if line.text.startswith("#"):
                continue
            if not line.text.strip(" \t"):
                stanza = None
            elif line.text[0] not in " \t":
                stanza = _stanza(reading, line)
            else:
                attribute = [line]
                while reading.text.startswith("\\\n", attribute[-1].past - 2):
                    following = next(lines, None)
                    if following is None:
                        break
                    attribute.append(following)
                _read_attribute(reading, attribute, stanza)
                if stanza:
                    stanza.end = stanza.past = attribute[-1].past

    def canonical(self, key: str) -> str:
        """Keys are compared as they are."""
        return key

    def value(self, value: str, written: str | None) -> str:  # noqa: ARG002
        """Values are written bare."""
        return value

    def setting(self, key: str, value: str) -> str:
        """A new line; attributes must be indented."""
        return f"{key} = {value}"

    def frame(self, name: str) -> tuple[str, str, str] | None:
        """Of a new stanza."""
        return f"{name}:", "", "\t"


def _stanza(reading: Reading, line: Line) -> Block | None:
    header = _HEADER.fullmatch(line.text)
    if header is None:
        reading.trouble(line.number, f"expected a stanza such as 'node:', found {line.text.strip()!r:.60}",
                        "attributes must be indented, and o2cb refuses the file")
        return None
    stanza = Block(reading.numbered((header[1],)), line.start, line.past, line.past, line.past, "\t")
    reading.blocks.append(stanza)
    return stanza


def _read_attribute(reading: Reading, lines: list[Line], stanza: Block | None) -> None:
    first = lines[0]
    match = _ATTRIBUTE.fullmatch(first.text)
    if match is None:
        reading.trouble(first.number, f"expected an attribute 'key = value', found {first.text.strip()!r:.60}",
                        "o2cb refuses the file")
    elif stanza is None:
        reading.trouble(first.number, f"attribute {match[1]!r} stands outside a stanza",
                        "an empty line ends a stanza; o2cb refuses the file")
    else:
        parts = [match[2], *(line.text for line in lines[1:])]
        value = "\n".join([*(part[:-1] for part in parts[:-1]), parts[-1]])
        if value != value.rstrip(" \t"):
            reading.trouble(first.number, f"blanks at the end become part of {match[1]}", "remove them", "warning")
        entry = Entry(stanza.section, match[1], value.rstrip(" \t"), first.number)
        end = lines[-1].start + len(lines[-1].text)
        reading.slots.append(Slot(entry, first.start + match.start(2), end, first.start, lines[-1].past))


def parse(file: str, data: bytes) -> LineDocument:
    """Parse a cluster.conf. Never raises."""
    return read(file, data, _ClusterConf())
