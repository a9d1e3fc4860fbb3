"""What a simulated run leaves: a digest of all that happened, and files only if asked for."""

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path

from mpio.check.history import IoRecord
from mpio.drill.rundir import RunDirectory
from mpio.events import Event

_IO = struct.Struct("<qqqqq")
_NEVER = -1


class RunDigest:
    """A `drill.rundir.RunRecord` that hashes every event and every I/O, and writes them down where it is told to."""

    def __init__(self, directory: Path | None) -> None:
        self.path = directory or Path()
        self._files = None if directory is None else RunDirectory(directory)
        self._hash = hashlib.sha256()
        self._lines = 0
        self._events = 0

    @property
    def hex(self) -> str:
        """The digest so far."""
        return self._hash.hexdigest()

    @property
    def is_empty(self) -> bool:
        """Whether nothing has begun yet."""
        return self._events == 0

    @property
    def history_lines(self) -> int:
        """See `RunRecord`."""
        return self._lines if self._files is None else self._files.history_lines

    @property
    def history_left_out(self) -> int:
        """See `RunRecord`."""
        return 0 if self._files is None else self._files.history_left_out

    def journal(self, event: Event) -> None:
        """See `RunRecord`."""
        self._events += 1
        self._hash.update(event.to_json().encode())
        if self._files is not None:
            self._files.journal(event)

    def history(self, record: IoRecord) -> None:
        """See `RunRecord`."""
        self._lines += 1
        self._hash.update(_IO.pack(record.id, record.offset, record.length, record.start_ns,
                                   _NEVER if record.end_ns is None else record.end_ns))
        if self._files is not None:
            self._files.history(record)

    def write_text(self, name: str, text: str) -> None:
        """See `RunRecord`."""
        if self._files is not None:
            self._files.write_text(name, text)

    def write_json(self, name: str, value: Mapping[str, object]) -> None:
        """See `RunRecord`."""
        if self._files is not None:
            self._files.write_json(name, value)

    def close(self) -> None:
        """See `RunRecord`."""
        if self._files is not None:
            self._files.close()
