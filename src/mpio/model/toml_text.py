"""TOML that a person wrote: read, with the lines of its keys, so that a mistake can be shown where it is."""

import re
import tomllib
from typing import Any

from mpio.errors import InputError


def read_toml(text: str, file: str) -> dict[str, Any]:
    """The document. Raises InputError naming `file` and the line."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        at_line = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        where = f"{file}:{at_line[1]}" if at_line else file
        raise InputError(where, f"expected TOML: {str(error)[:at_line.start() if at_line else 200]}") from None


class Places:
    """On which line each key of a file stands: (section, index among its like, key) -> line."""

    _HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_-]+)\s*\]")
    _KEY = re.compile(r"\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*[=.]")

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._lines: dict[tuple[str, int, str], int] = {}
        self._repeated: dict[str, None] = {}
        section, counts = "", dict[str, int]()
        for number, line in enumerate(text.splitlines(), start=1):
            header = self._HEADER.match(line)
            if header:
                section = header[2]
                if header[1] == "[[":
                    self._repeated[section] = None
                counts[section] = counts.get(section, -1) + 1
                self._lines.setdefault((section, counts[section], ""), number)
            elif key := self._KEY.match(line):
                self._lines.setdefault((section, counts.get(section, 0), key[1]), number)

    def error(self, section: str, index: int, key: str, message: str) -> InputError:
        """An InputError that names file, line, section and key, as far as they are known."""
        line = (self._lines.get((section, index, key)) or self._lines.get((section, index, ""))
                or self._lines.get(("", 0, section)))
        name = f"[[{section}]] {index + 1}" if section in self._repeated else f"[{section}]" if section else ""
        head = " ".join(part for part in (name, key) if part)
        return InputError(f"{self.file}:{line}" if line else self.file, f"{head}: {message}" if head else message)
