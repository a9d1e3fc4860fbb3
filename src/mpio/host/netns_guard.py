"""Dead man's switch: undo everything in an undo file when the process that started this one is gone.

Started as `python -m mpio.host.netns_guard FILE` with a pipe as standard input, whose other end only the parent holds.
The pipe ends when the parent does, however it ends. A parent that has undone all itself has deleted the file.
"""

import os
import signal
import sys
from pathlib import Path

from mpio.host.undo import UndoLog


def main() -> None:
    """Wait for the end of standard input, then undo what is left."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    path = Path(sys.argv[1])
    while os.read(sys.stdin.fileno(), 4096):
        pass
    if path.exists():
        for failure in UndoLog(path).undo_all():
            sys.stderr.write(f"undo: {failure}\n")


if __name__ == "__main__":
    main()
