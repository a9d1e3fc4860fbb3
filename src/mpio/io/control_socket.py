"""The control socket of a target: JSON lines over a local socket that only its owner can open.

One request a line, one answer a line, in order. Permission to connect is permission to do everything: the socket file
is made with mode 0600.
"""

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mpio.errors import InputError
from mpio.target.control import VERSION

LINE_BYTES_MAX = 1 << 20
CLIENTS_MAX = 16
_PATH_BYTES_MAX = 107  # of a Unix socket's address, without the zero at its end


class ControlServer:
    """Answers requests at a path until `close`.

    Args:
        handle: answers one request, any JSON value; never raises.
    """

    def __init__(self, handle: Callable[[object], Mapping[str, Any]]) -> None:
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._writers: dict[asyncio.StreamWriter, None] = {}

    async def listen(self, path: Path) -> None:
        """Open the socket; one that a dead target left behind is replaced. Raises InputError."""
        sock = _bind(path)
        self._path = path
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=LINE_BYTES_MAX)

    def close(self) -> None:
        """End all conversations, and take the socket away."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= CLIENTS_MAX:
            writer.transport.abort()
            return
        self._writers[writer] = None
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError):  # gone, or a line without end
            writer.transport.abort()
        finally:
            del self._writers[writer]
            writer.close()

    def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            return {"version": VERSION, "ok": False, "error": f"expected a line of JSON: {error}"}
        return self._handle(request)


def _bind(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > _PATH_BYTES_MAX:
        raise InputError(str(path), f"expected a path of at most {_PATH_BYTES_MAX} bytes for a socket")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # there is no moment at which others can open it
    try:
        _clear_away(path)
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise InputError(str(path), f"can't be a control socket: {error.strerror or error}") from None
    finally:
        os.umask(mask)
    sock.setblocking(False)
    return sock


def _clear_away(path: Path) -> None:
    """Remove the socket of a target that is not there any more. Raises OSError for anything else that is in the way."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(None, "a file of that name is there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise FileExistsError(None, "another target uses it")


async def ask(path: Path, request: Mapping[str, Any], timeout_s: float = 10.0) -> Any:
    """Ask the target at a path for something; returns the result. Raises InputError if it says no, or is not there."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 26)
            try:
                writer.write(json.dumps(request).encode() + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        answer = json.loads(line)
    except TimeoutError:
        raise InputError(str(path), f"the target does not answer within {timeout_s:g} s") from None
    except OSError as error:
        raise InputError(str(path), f"no target listens there: {error.strerror or error}") from None
    except ValueError:
        raise InputError(str(path), "expected the control socket of a target, found something else") from None
    if not isinstance(answer, dict) or not answer.get("ok"):
        raise InputError("", str(answer.get("error")) if isinstance(answer, dict) else "no answer")
    return answer.get("result")
