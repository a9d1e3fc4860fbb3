"""What every codec has in common: a document that keeps each byte, the settings in it, and what is wrong with it.

Syntax never rejects anything: a line that cannot be understood stays as it is and becomes a `Problem`. Whether a key
is known and a value makes sense is the schema's business, not the codec's. No codec reads files; `io` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Section = tuple[str, ...]
"""Where a setting stands: () in a flat file, ("defaults",) or ("devices", "device[0]") in a nested one. Sections that
may be repeated are numbered from 0 in the order of the file; all others of one name count as one section."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting as it is written: its place, its value without quotes and blanks around it, its line from 1."""

    section: Section
    key: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a person should know about a file, in one line.

    Attributes:
        file: its name as the person gave it. line: from 1, or 0 for the file as a whole.
        severity: `error`: not understood or refused by the program; `warning`: understood, and not what it looks like.
        message: what was found and expected. hint: what to do, or "".
    """

    file: str
    line: int
    severity: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class Document(Protocol):
    """A parsed file. Immutable: an edit gives a new document.

    Laws: `parse(name, data).render() == data` for any bytes; an edit changes only the lines it must; edits of different
    keys commute; what `set` wrote `get` finds.
    """

    @property
    def file(self) -> str:
        """The file's name as the person gave it."""
        ...

    @property
    def problems(self) -> Sequence[Problem]:
        """What the codec itself could not understand, in the order of the file."""
        ...

    def render(self) -> bytes:
        """The file's bytes."""
        ...

    def entries(self) -> Sequence[Entry]:
        """All settings in the order of the file, overruled ones too; comments are not settings."""
        ...

    def get(self, section: Section, key: str) -> Entry | None:
        """The entry that is in force by the file's own rule (mostly the last), or None."""
        ...

    def set(self, section: Section, key: str, value: str, comment: str = "") -> "Document":
        """Change the entry in force, or add one at the end of its section (made if need be).

        `comment` goes on a line of its own above a line that is added or changed, unless it is there already.
        Raises ValueError for a key or value that the syntax cannot carry.
        """
        ...

    def remove(self, section: Section, key: str) -> "Document":
        """Without any entry of this key."""
        ...
