"""The run directory: what a drill leaves behind, written as it happens.

    scenario.toml  as run        journal.jsonl  every event      history.jsonl  every I/O
    verdict.json   the claims    metrics.json   figures          repro.txt      the command that runs it again

`report.html` is made from these by `mpio report`. Shapes: docs/drill.md.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol, TextIO

from mpio.check.history import LINES_MAX, IoRecord
from mpio.errors import InputError
from mpio.events import Event

_HISTORY_BUFFER_BYTES = 1 << 16
_SERIAL_MAX = 1_000


class RunRecord(Protocol):
    """Where a run is written down: `RunDirectory`, or what takes its place."""

    path: Path

    @property
    def history_lines(self) -> int:
        """I/Os written."""

    @property
    def history_left_out(self) -> int:
        """I/Os counted only."""

    def journal(self, event: Event) -> None:
        """Append an event."""

    def history(self, record: IoRecord) -> None:
        """Append an I/O."""

    def write_text(self, name: str, text: str) -> None:
        """Write a file."""

    def write_json(self, name: str, value: Mapping[str, object]) -> None:
        """Write a file as JSON."""

    def close(self) -> None:
        """There is no more to come."""


class RunDirectory:
    """An open run directory. The directory must not exist yet, or be empty.

    Raises:
        InputError: if it can't be made or is in use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history_lines = 0
        self.history_left_out = 0
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise InputError(str(path), "expected a new or an empty directory for the run, found files in it")
            self._journal: TextIO = (path / "journal.jsonl").open("w", encoding="utf-8")
            self._history: TextIO = (path / "history.jsonl").open("w", encoding="utf-8",
                                                                  buffering=_HISTORY_BUFFER_BYTES)
        except OSError as error:
            raise InputError(str(path), f"the run directory can't be made: {error.strerror or error}") from None

    def journal(self, event: Event) -> None:
        """Append an event; on disk at once, so that a crash leaves what led to it."""
        if not self._journal.closed:
            self._journal.write(event.to_json() + "\n")
            self._journal.flush()

    def history(self, record: IoRecord) -> None:
        """Append an I/O. Beyond LINES_MAX they are counted only."""
        if self.history_lines < LINES_MAX:
            self._history.write(record.to_json() + "\n")
            self.history_lines += 1
        else:
            self.history_left_out += 1

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the directory, whole or not at all."""
        draft = self.path / f".{name}.new"
        draft.write_text(text, encoding="utf-8")
        draft.replace(self.path / name)

    def write_json(self, name: str, value: Mapping[str, object]) -> None:
        """As `write_text`, with JSON."""
        self.write_text(name, json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n")

    def close(self) -> None:
        """Flush and close the streams."""
        self._journal.close()
        self._history.close()


def new_run_path(base: Path, name: str, now: datetime) -> Path:
    """A path under `base` that is not taken yet: `20260102-030405-default`, with a serial number if need be."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:60] or "drill"
    stem = f"{now:%Y%m%d-%H%M%S}-{safe}"
    for serial in range(1, _SERIAL_MAX):
        path = base / (stem if serial == 1 else f"{stem}-{serial}")
        if not path.exists():
            return path
    raise InputError(str(base), f"expected a free name for the run, found {_SERIAL_MAX} that start with {stem}")
