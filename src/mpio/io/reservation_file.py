"""The file that keeps the persistent reservations of one logical unit over restarts and crashes of the target."""

import contextlib
import os
from pathlib import Path

from mpio.proto.scsi.sense import WRITE_ERROR
from mpio.target.store import StoreError


class ReservationFile:
    """See ReservationKeeper. A new text replaces the old one at once or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> str | None:
        """The text, None if there is no file. Raises StoreError."""
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path}: {error}", WRITE_ERROR) from None

    def save(self, text: str | None) -> None:
        """Write the file, or remove it; on stable storage when this returns. Raises StoreError."""
        try:
            if text is None:
                self.path.unlink(missing_ok=True)
            else:
                self._replace(text.encode())
            self._sync_directory()
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}", WRITE_ERROR) from None

    def _replace(self, content: bytes) -> None:
        new = self.path.with_suffix(".new")
        try:
            with new.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()
            raise

    def _sync_directory(self) -> None:
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
