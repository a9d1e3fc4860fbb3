"""What `sbd -d DEVICE dump` prints: the header of each SBD disk (ClusterLabs sbd src/sbd-md.c), as a section `disk[n]`.

Keys are those that sbd prints, such as "Timeout (watchdog)"; "disk" is the device. The disk holds these values, not the
text, so it cannot be edited.
"""

import re
from dataclasses import dataclass

from mpio.config.line_document import LineDocument, read
from mpio.config.reading import BLANKS, Block, Reading

_DISK = re.compile(r"==\s?Dumping header on disk (\S+)")
_FAILED = re.compile(r"==\s?Header on disk (\S+) NOT dumped")
_OTHERS = re.compile(r"==\s?(?:Header on disk \S+ is dumped|disk \S+ unreadable!)")
_SETTING = re.compile(r"\s*([A-Z][\w ()]*?)\s*:\s*(\S.*?)\s*")


@dataclass(frozen=True, slots=True)
class _Dump:
    name: str = "the output of sbd dump"
    marks: str = "#"
    comments_indented: bool = True
    crlf: str = ""
    sealed: str = "the values are on the disk, where sbd create writes them"

    def scan(self, reading: Reading) -> None:
        """One section for each disk; output of a single disk may lack the line that names it."""
        size = len(reading.text)
        reading.blocks.append(Block((), 0, 0, size, size))
        for line in reading.lines():
            disks = len(reading.blocks) - 1
            if not line.text.strip(BLANKS):
                continue
            if match := _DISK.match(line.text):
                section = (f"disk[{disks}]",)
                reading.blocks.append(Block(section, line.start, line.past, size, size))
                reading.line_slot(line, section, "disk", *match.span(1))
            elif match := _FAILED.match(line.text):
                reading.trouble(line.number, f"sbd could not read the header of {match[1]}")
            elif match := _SETTING.fullmatch(line.text):
                if not disks:
                    reading.blocks.append(Block(("disk[0]",), line.start, line.start, size, size))
                reading.line_slot(line, reading.blocks[-1].section, match[1], *match.span(2))
            elif not _OTHERS.match(line.text):
                reading.trouble(line.number, f"expected 'name : value', found {line.text.strip()!r:.60}")

    def canonical(self, key: str) -> str:
        """Keys are compared as they are."""
        return key

    def value(self, value: str, written: str | None) -> str:  # noqa: ARG002
        """Never asked for: the document is sealed."""
        return value

    def setting(self, key: str, value: str) -> str:
        """As sbd prints it."""
        return f"{key:<18} : {value}"

    def frame(self, name: str) -> tuple[str, str, str] | None:  # noqa: ARG002
        """Disks are not made by setting a value."""
        return None


def parse(file: str, data: bytes) -> LineDocument:
    """Parse the output of `sbd dump`. Never raises."""
    return read(file, data, _Dump())
