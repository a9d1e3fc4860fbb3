"""Lines to a file or a terminal, written by a thread of their own.

Who must not be late must not wait for a disk that hangs or for a reader that has stopped. Lines wait here instead; if
too many do, further ones are left out, and counted.
"""

import os
import threading
import time
from queue import Full, Queue

LINES_MAX = 10_000
CLOSE_S = 2.0  # that the last lines get to be written


class LineWriter:
    """Writes to a file descriptor, of which it keeps a copy for as long as something is being written.

    Attributes:
        left_out: lines that nobody will see.
    """

    def __init__(self, fd: int, lines_max: int = LINES_MAX) -> None:
        self.left_out = 0
        self._fd = os.dup(fd)
        self._lines: Queue[str | None] = Queue(lines_max)
        self._thread = threading.Thread(target=self._run, name="mpio-lines", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Have a line written, without its end; never waits."""
        try:
            self._lines.put_nowait(line)
        except Full:
            self.left_out += 1

    def close(self, timeout_s: float = CLOSE_S) -> bool:
        """Wait for what was handed in, but not for long. Whether all of it was written."""
        try:
            self._lines.put_nowait(None)
        except Full:
            return False
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self.left_out

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write((line + "\n").encode(errors="replace"))
        os.close(self._fd)

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data):]
            except BlockingIOError:  # somebody made it non-blocking, and it is full
                time.sleep(0.01)
            except OSError:  # a full disk, or a reader that is gone
                self.left_out += 1
                return
