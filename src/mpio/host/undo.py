"""A file that says how to undo what was changed on this host, written before each change.

One JSON object per line: `{"id": 1, "namespace": NAME}` (end its processes, delete it) or
`{"id": 2, "command": [...]}`, and `{"done": 2}` once undone.
Whoever finds the file of a dead process, at any time, can undo from it: newest first.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from mpio.errors import FabricError
from mpio.host import netns

STATE_DIR = Path("/run/mpio")
SUFFIX = ".undo"
FILE_MAX_BYTES = 64 << 20


class UndoLog:
    """What is to be undone, in memory and on file."""

    def __init__(self, path: Path) -> None:
        """Go on with the file if it exists. Damaged lines, as of a machine that went down, are passed over."""
        self.path = path
        self._pending: dict[int, dict[str, object]] = {}
        self._last = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._load()

    def __len__(self) -> int:
        return len(self._pending)

    def will_make_namespace(self, name: str) -> int:
        """Say that a namespace is about to be made; returns the number to undo it by."""
        return self._add({"namespace": name})

    def will_need(self, command: Sequence[str]) -> int:
        """Say that a change is about to be made which this command undoes; returns the number to undo it by."""
        return self._add({"command": list(command)})

    def forget(self, number: int) -> None:
        """Take an entry for done: the change was not made after all."""
        if self._pending.pop(number, None) is not None:
            self._write({"done": number})

    def undo(self, number: int) -> None:
        """Undo one change. Raises FabricError, and keeps the entry, if that fails."""
        entry = self._pending.get(number)
        if entry is None:
            return
        if isinstance(name := entry.get("namespace"), str):
            netns.remove(name)
        elif isinstance(command := entry.get("command"), list):
            netns.run(command)
        self.forget(number)

    def undo_all(self) -> list[str]:
        """Undo what is left, newest first, and delete the file. Returns what went wrong; nothing stops it.

        A command that fails is counted as undone: what it would have acted on goes with its namespace.
        """
        failures = []
        for number in sorted(self._pending, reverse=True):
            try:
                self.undo(number)
            except (FabricError, OSError, ValueError) as error:
                failures.append(str(error))
        namespaces = [entry for entry in self._pending.values() if "namespace" in entry]
        if not namespaces:
            self.path.unlink(missing_ok=True)
        return failures

    def _add(self, entry: dict[str, object]) -> int:
        self._last += 1
        self._pending[self._last] = entry
        self._write({"id": self._last} | entry)
        return self._last

    def _write(self, record: dict[str, object]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _load(self) -> None:
        with self.path.open("rb") as file:
            content = file.read(FILE_MAX_BYTES)
        for line in content.splitlines():
            try:
                record = json.loads(line)
                if "done" in record:
                    self._pending.pop(int(record["done"]), None)
                else:
                    self._last = max(self._last, int(record["id"]))
                    self._pending[int(record["id"])] = record
            except (ValueError, TypeError, KeyError):
                continue


def cleanup_leftovers(directory: Path = STATE_DIR) -> list[str]:
    """Undo what dead processes have left behind, and remove their namespaces. Returns what was removed or failed."""
    report = []
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        pid = path.name.split("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            failures = UndoLog(path).undo_all()
            report.append(f"{path}: undone" + "".join(f"; {failure}" for failure in failures))
    for name in netns.names():
        maker = netns.owner(name)
        if maker is not None and not _is_alive(maker):
            try:
                netns.remove(name)
                report.append(f"namespace {name}: removed")
            except FabricError as error:
                report.append(f"namespace {name}: {error}")
    return report


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
