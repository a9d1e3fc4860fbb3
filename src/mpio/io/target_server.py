"""The software target on real sockets: listens on its portals and gives each connection to a protocol engine.

What is served is the node's business (`target.node`); what is understood, the protocol engine's (`proto.iscsi.target`).
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable
from dataclasses import replace

from mpio.errors import InputError
from mpio.io import net
from mpio.io.channel import Channel
from mpio.io.net import SYSTEM, Listener, Network
from mpio.model.address import Portal
from mpio.proto.iscsi.target import TargetConnection
from mpio.proto.iscsi.target_login import LoginAcceptor, TargetParams
from mpio.proto.iscsi.target_state import ConnectionEnded, State, TargetEvent

CONNECTIONS_MAX = 256


class TargetServer:
    """Serves a node on its portals until `close`.

    Args:
        node: decides who may log in, and gets the sessions.
        params: template for each connection; portal, group and challenge are filled in.
        connections_max: at a time.
        clock: time in ns.
        network: where the portals are.
        token_bytes: random bytes, for CHAP challenges.
    """

    def __init__(
        self, node: LoginAcceptor, params: TargetParams, clock: Callable[[], int], *, network: Network = SYSTEM,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes, connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._node = node
        self._params = params
        self._clock = clock
        self._network = network
        self._token_bytes = token_bytes
        self._connections_max = connections_max
        self._groups: dict[Portal, int] = {}  # portal group tags, also of portals that are offline
        self._listeners: dict[Portal, Listener] = {}
        self._channels: dict[Channel[TargetEvent], tuple[TargetConnection, Portal]] = {}

    def listen(self, portal: Portal, tpgt: int) -> Portal:
        """Open one portal and return its address, with the port that was picked for 0. Raises InputError."""
        sock = self._network.listen(portal)
        bound = net.local_portal(sock)
        self._groups[bound] = tpgt
        self._listeners[bound] = sock
        asyncio.get_running_loop().add_reader(sock.fileno(), self._accept, sock, bound)
        return bound

    def portals(self) -> dict[Portal, bool]:
        """Where it listens, or would if that portal were not offline; and whether it does."""
        return {portal: portal in self._listeners for portal in self._groups}

    def set_offline(self, portal: Portal) -> None:
        """Close a portal and the connections that came in there. Harmless if it is. Raises ValueError for no portal."""
        self._check(portal)
        sock = self._listeners.pop(portal, None)
        if sock is not None:
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()
        self._drop(portal, "the portal was taken offline")

    def set_online(self, portal: Portal) -> None:
        """Listen again. Harmless if it does. Raises ValueError for no portal, InputError if the address is taken."""
        self._check(portal)
        if portal not in self._listeners:
            self.listen(portal, self._groups[portal])

    def _check(self, portal: Portal) -> None:
        if portal not in self._groups:
            raise ValueError(f"there is no portal {portal}; expected {', '.join(map(str, self._groups))}")

    def close(self) -> None:
        """Stop listening and end all connections."""
        loop = asyncio.get_running_loop()
        for sock in self._listeners.values():
            loop.remove_reader(sock.fileno())
            sock.close()
        self._listeners.clear()
        self._drop(None, "the target is shutting down")

    def _drop(self, portal: Portal | None, cause: str) -> None:
        """End the connections that came in by a portal, or all."""
        for channel, (connection, came_by) in list(self._channels.items()):
            if portal is None or came_by == portal:
                connection.close(cause)
                channel.close()
                self._channels.pop(channel, None)

    def _make_room(self) -> bool:
        """Close the oldest connection that has not logged in, or only looks around. Whether there was one.

        So connections that never log in can't keep those out that do.
        """
        for wanted in (_is_half_open, _is_discovery):
            for channel, (connection, _) in self._channels.items():
                if wanted(connection):
                    connection.close("too many connections: the oldest that has no session makes room")
                    channel.close()
                    self._channels.pop(channel, None)
                    return True
        return False

    def _accept(self, listener: Listener, portal: Portal) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return  # the peer was gone before we looked, or no descriptors are left: both pass
        if len(self._channels) >= self._connections_max and not self._make_room():
            sock.close()  # rather than left waiting, so that the backlog does not fill
            return
        net.tune(sock)
        # The address that the connection came in on is what discovery must name (RFC 7143 §4.3)
        params = replace(
            self._params, portal=net.local_portal(sock), tpgt=self._groups[portal],
            challenge_seed=self._token_bytes(32),
        )
        connection = TargetConnection(params, self._node, self._clock())

        def on_event(event: TargetEvent) -> None:
            if isinstance(event, ConnectionEnded):
                channel.finish()

        channel: Channel[TargetEvent] = Channel(sock, connection, self._clock, on_event)
        self._channels[channel] = connection, portal
        channel.on_close = lambda: self._channels.pop(channel, None)
        channel.pump()


def _is_half_open(connection: TargetConnection) -> bool:
    return connection.state is State.LOGIN


def _is_discovery(connection: TargetConnection) -> bool:
    return connection.negotiated is not None and connection.negotiated.is_discovery


def check_exposure(portal: Portal, *, guarded: bool) -> None:
    """Refuse to serve beyond loopback without CHAP or a list of allowed initiators. Raises InputError."""
    with contextlib.suppress(OSError):
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(portal.host, portal.port)}
        if guarded or all(address.startswith("127.") or address == "::1" for address in addresses):
            return
        raise InputError(
            "--portal",
            f"{portal} is not loopback: anybody who can reach it could overwrite the LUNs. Give --chap FILE or --allow "
            "INITIATOR-NAME, or listen on 127.0.0.1",
        )
