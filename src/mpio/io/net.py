"""TCP sockets: connect from a chosen source, and listen. All errors come out as ConnectFailed or InputError.

`Network` is the seam: `SYSTEM` is the kernel's, `mpio.sim` has one in memory. What is above it takes either.
"""

import asyncio
import os
import socket
from collections.abc import Iterable
from typing import Any, Protocol

from mpio.errors import ConnectFailed, InputError
from mpio.model.address import Portal
from mpio.model.task import Buffer

LISTEN_BACKLOG = 128


class Stream(Protocol):
    """What is used of a connected, non-blocking TCP socket."""

    def fileno(self) -> int:
        """Its number, for the event loop."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """Read what is there; 0 at the end. Raises OSError."""

    def send(self, data: Buffer, /) -> int:
        """Send what fits; returns how much that was. Raises OSError."""

    def sendmsg(self, buffers: Iterable[Buffer], /) -> int:
        """As `send`, from several buffers."""

    def setblocking(self, flag: bool, /) -> None:
        """Whether calls wait."""

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None:
        """Set an option, named as in socket(7) and tcp(7)."""

    def getsockname(self) -> Any:
        """The local address: host and port, and more with IPv6."""

    def getpeername(self) -> Any:
        """The peer's address, in the same shape. Raises OSError if the connection has ended."""

    def close(self) -> None:
        """Close it."""


class Listener(Protocol):
    """What is used of a listening, non-blocking TCP socket."""

    def fileno(self) -> int:
        """Its number, for the event loop."""

    def accept(self) -> tuple[Stream, Any]:
        """The next connection, and where it comes from. Raises OSError if there is none."""

    def getsockname(self) -> Any:
        """The local address: host and port, and more with IPv6."""

    def close(self) -> None:
        """Close it."""


class Network(Protocol):
    """Where connections are made and awaited."""

    async def connect(
        self, portal: Portal, timeout_s: float, *, source: str | None = None, interface: str | None = None,
        window_bytes: int | None = None,
    ) -> Stream:
        """Open a connection. Raises ConnectFailed. See `connect` below."""

    def listen(self, portal: Portal) -> Listener:
        """Listen; port 0 picks a free one. Raises InputError where the address can't be had."""


class _System:
    async def connect(
        self, portal: Portal, timeout_s: float, *, source: str | None = None, interface: str | None = None,
        window_bytes: int | None = None,
    ) -> Stream:
        return await connect(portal, timeout_s, source=source, interface=interface, window_bytes=window_bytes)

    def listen(self, portal: Portal) -> Listener:
        return listen(portal)


SYSTEM: Network = _System()
"""The kernel's network."""


def tune(sock: Stream) -> None:
    """Non-blocking, and without Nagle's delay: a small PDU must not wait for an acknowledgement."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def connect(
    portal: Portal,
    timeout_s: float,
    *,
    source: str | None = None,
    interface: str | None = None,
    window_bytes: int | None = None,
) -> socket.socket:
    """Open a TCP connection. Raises ConnectFailed.

    Args:
        portal: where to.
        timeout_s: for the name look-up and the connect together.
        source: local address to go out by.
        interface: network interface to go out by.
        window_bytes: receive buffer. A fixed one of some 512 KiB keeps what is on its way in the CPU's caches, where
            the kernel's own choice grows to megabytes; on a long fat link it would be too small.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            family, kind, protocol, _, address = await _resolve(portal)
            sock = socket.socket(family, kind, protocol)
            try:
                tune(sock)
                if window_bytes:  # before connecting: the window scale is settled there
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
                if interface:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
                if source:
                    sock.bind((source, 0))
                await loop.sock_connect(sock, address)
            except BaseException:
                sock.close()
                raise
            return sock
    except OSError as error:  # TimeoutError too
        raise failure(portal, error, timeout_s, source, interface) from None


def failure(
    portal: Portal, error: OSError, timeout_s: float, source: str | None, interface: str | None
) -> ConnectFailed:
    """What a failed attempt to connect is called."""
    if isinstance(error, TimeoutError):
        return ConnectFailed(f"no answer from {portal} within {timeout_s:g} s")
    via = "".join([f" from {source}" if source else "", f" through {interface}" if interface else ""])
    return ConnectFailed(f"can't connect to {portal}{via}: {_reason(error)}")


async def _resolve(portal: Portal) -> tuple[int, int, int, str, tuple[object, ...]]:
    try:  # an address needs no resolver, nor the thread that asyncio would ask one in
        return socket.getaddrinfo(portal.host, portal.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(portal.host, portal.port, type=socket.SOCK_STREAM)
        return found[0]


def listen(portal: Portal) -> socket.socket:
    """A listening socket; port 0 picks a free one. Raises InputError where the address can't be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            portal.host, portal.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError("portal", f"can't listen on {portal}: {_reason(error)}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(LISTEN_BACKLOG)
    except OSError as error:
        sock.close()
        raise InputError("portal", f"can't listen on {portal}: {_reason(error)}") from None
    sock.setblocking(False)
    return sock


def local_portal(sock: Stream | Listener) -> Portal:
    """The address a socket is bound to."""
    host, port = sock.getsockname()[:2]
    return Portal(host, port)


def is_within_this_machine(sock: Stream) -> bool:
    """Whether both ends of a connection have one address; with two, one machine looks like two."""
    try:
        return bool(sock.getpeername()[0] == sock.getsockname()[0])
    except OSError:  # it has ended already, which its first read will say
        return False


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    # asyncio words the error with the raw address tuple; the system's own words are for people
    return (os.strerror(error.errno) if error.errno else error.strerror or str(error)).lower()
