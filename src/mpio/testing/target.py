"""`mpio target` as a child process of a test: on free ports of loopback, without root, gone when the test is over.

All calls wait, and work in tests with and without an event loop.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mpio.drill.target_process import die_with_parent
from mpio.model.address import Portal

DEFAULT_LUN = "1=ram:64MiB"
NAME = "iqn.2026-01.dev.mpio:test"
_READY_S = 30.0
_STOP_S = 5.0
_ANSWER_S = 10.0


class TargetError(Exception):
    """The target did not start, or did not do what it was asked; the message is its own."""


class Target:
    """A software iSCSI target that serves while the context lasts.

    Args:
        luns: as `mpio target --lun` takes them: `1=ram:64MiB`, `2=file:PATH,bs=4096`, `3=nbd://…`.
        portals: how many to listen on. separate_groups: each is a portal group of its own; else all are one.
        options: further options of `mpio target`, such as `["--chap", FILE]` or `["--filter", "delay time=50ms"]`.

    Attributes:
        portals: where it listens, with the ports that were picked; a restart keeps them.
        name: its iSCSI name.
    """

    def __init__(
        self, *luns: str, portals: int = 1, separate_groups: bool = False, options: Sequence[str] = (), name: str = NAME
    ) -> None:
        self.name = name
        self.portals = [Portal("127.0.0.1", 0)] * portals
        self._luns = luns or (DEFAULT_LUN,)
        self._separate_groups = separate_groups
        self._options = list(options)
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- where it is

    def url(self, path: int = 1, lun: int = 1, *, user: str = "") -> str:
        """The URL of a LUN by the portal of a path, from 1; `user` may be `name%secret`."""
        at = f"{user}@" if user else ""
        return f"iscsi://{at}{self.portals[path - 1]}/{self.name}/{lun}"

    @property
    def urls(self) -> list[str]:
        """LUN 1 by every portal."""
        return [self.url(path) for path in range(1, len(self.portals) + 1)]

    @property
    def control_socket(self) -> Path:
        """Where `mpio target ctl --socket` finds it."""
        return self._here() / "control"

    @property
    def log(self) -> str:
        """What it said on standard error."""
        file = self._here() / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    # --- what it does wrong

    def add(self, name: str, **parameters: object) -> str:
        """Add a filter, as docs/filters.md says, and return its id: `add("delay", time="50ms", opcode="write")`."""
        words = {key.replace("_", "-"): value for key, value in parameters.items()}
        return str(self.ask("add", name=name, **words))

    def remove(self, id: str) -> None:  # noqa: A002 - as `mpio target ctl` calls it
        """Remove a filter; what it holds back goes on."""
        self.ask("remove", id=id)

    @contextlib.contextmanager
    def misbehaving(self, name: str, **parameters: object) -> Iterator[str]:
        """A filter that is there while this lasts."""
        added = self.add(name, **parameters)
        try:
            yield added
        finally:
            self.remove(added)

    def ask(self, do: str, **arguments: object) -> Any:
        """Any order of `mpio target ctl`: `ask("alua", group=1, state="standby")`. Raises TargetError if it says no."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_ANSWER_S)
            try:
                sock.connect(str(self.control_socket))
                sock.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
                with sock.makefile("rb") as stream:
                    line = stream.readline()
            except OSError as error:
                raise TargetError(f"{do}: no answer: {error}") from None
        answer = json.loads(line or b'{"ok": false, "error": "it closed the connection"}')
        if not answer["ok"]:
            raise TargetError(f"{do}: {answer['error']}")
        return answer.get("result")

    # --- its life

    def start(self) -> None:
        """Start it and wait until it serves; by itself only after `kill` or `stop`. Raises TargetError."""
        if self._process is not None:
            raise TargetError("it runs already")
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="mpio-target-"))
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"}, preexec_fn=die_with_parent(),  # noqa: PLW1509 - one prctl call
            )
        word, _, details = self._first_line().partition(" ")
        if word != "ready":
            self.kill()
            raise TargetError(f"mpio target did not start: {self.log.strip()[-500:] or 'it said nothing'}")
        self.portals = [Portal(portal["host"], portal["port"]) for portal in json.loads(details)["portals"]]

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "mpio.cli.main", "target", "--name", self.name,
                   "--control", str(self.control_socket)]
        for number, portal in enumerate(self.portals, start=1):
            command += ["--portal", f"{portal},{number if self._separate_groups else 1}"]
        for lun in self._luns:
            command += ["--lun", lun]
        return [*command, *self._options]

    def _first_line(self) -> str:
        """What it says when it is ready; empty if it ends, or takes too long."""
        assert self._process is not None
        assert self._process.stdout is not None
        said = b""
        deadline = time.monotonic() + _READY_S
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not said.endswith(b"\n"):
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    return ""
                piece = os.read(self._process.stdout.fileno(), 65536)
                if not piece:
                    return ""
                said += piece
        return said.decode()

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash does. `start` brings it back on the same ports."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order (SIGTERM). `start` brings it back on the same ports."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for sent in (signal.SIGCONT, number):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(sent)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The process does not run while this lasts: nothing is answered, no connection is closed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            if self._process is not None:
                self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, and remove what it left."""
        self.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _here(self) -> Path:
        if self._directory is None:
            raise TargetError("it has not been started")
        return self._directory
