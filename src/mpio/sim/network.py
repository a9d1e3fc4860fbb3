"""A network in memory: listeners by address, one link to each host, and TCP's way of making a connection.

It is an `io.net.Network`, so that sessions and target servers run on it as they do on the kernel's.
"""

import asyncio
import errno
import itertools
import os

from mpio.errors import InputError
from mpio.io import net
from mpio.model.address import Portal
from mpio.sim.link import INITIATOR, TARGET, TO_INITIATOR, TO_TARGET, Conditions, Link
from mpio.sim.loop import VirtualLoop
from mpio.sim.tcp import Address, Connection, Listener

SYN_PAUSES_S = (1, 2, 4, 8, 16, 32)
"""Between one SYN and the next that is sent in its place; the kernel gives up after them (tcp_syn_retries 6)."""
_FIRST_PORT = 32_768


class SimNetwork:
    """See the module.

    Args:
        loop: whose time it lives in.
        seed: of everything that chance decides.
        conditions: of links, unless they have their own.
    """

    def __init__(self, loop: VirtualLoop, seed: str, conditions: Conditions | None = None) -> None:
        self.links: dict[str, Link] = {}
        self._loop = loop
        self._seed = seed
        self._conditions = conditions or Conditions()
        self._routes: dict[str, str] = {}  # where another name of a host leads
        self._listeners: dict[Address, Listener] = {}
        self._ports = itertools.count(_FIRST_PORT)
        self._numbers = itertools.count()

    def add_link(self, host: str, conditions: Conditions | None = None) -> Link:
        """A wire to a host. What has none is unreachable."""
        link = Link(self._loop, host, conditions or self._conditions, self._seed)
        self.links[host] = link
        return link

    def add_route(self, name: str, host: str) -> Link:
        """One more wire to a host that has one, as another machine has it: under a name of its own."""
        self._routes[name] = host
        return self.add_link(name, self.links[host].conditions)

    def listen(self, portal: Portal) -> Listener:
        """See `io.net.Network`."""
        local = (portal.host, portal.port or next(self._ports))
        listener = self._listeners.get(local)
        if listener is not None and not listener.closed:
            raise InputError("portal", f"can't listen on {portal}: {os.strerror(errno.EADDRINUSE).lower()}")
        listener = self._listeners[local] = Listener(self._loop, local)
        return listener

    async def connect(
        self, portal: Portal, timeout_s: float, *, source: str | None = None, interface: str | None = None,
        window_bytes: int | None = None,
    ) -> net.Stream:
        """See `io.net.Network`."""
        del window_bytes
        try:
            async with asyncio.timeout(timeout_s):
                return await self._connect(portal, source)
        except OSError as error:
            raise net.failure(portal, error, timeout_s, source, interface) from None

    async def _connect(self, portal: Portal, source: str | None) -> net.Stream:
        link = self.links.get(portal.host)
        if link is None:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        local, peer = (source or "initiator", next(self._ports)), (
            self._routes.get(portal.host, portal.host), portal.port)
        for pause_s in SYN_PAUSES_S:
            if link.unreachable:
                raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
            sent_s = self._loop.time()
            listener = await self._knock(link, peer)
            if listener is not None:
                connection = Connection(self._loop, link, next(self._numbers), local, peer)
                listener.connected(connection.streams[TARGET])
                return connection.streams[INITIATOR]
            await asyncio.sleep(max(0.0, sent_s + pause_s - self._loop.time()))
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    async def _knock(self, link: Link, peer: Address) -> Listener | None:
        """Send one SYN. Who listens, once the answer is here; None if either is lost. Raises ConnectionRefusedError."""
        to_target, to_initiator = link.lanes[TO_TARGET], link.lanes[TO_INITIATOR]
        if to_target.cut:
            return None
        await self._until(to_target.arrival_ns(0))
        listener = self._listeners.get(peer)
        refused = link.refuses or to_target.rejects or listener is None or listener.closed
        if to_initiator.cut or (to_initiator.rejects and not refused) or (listener is not None and listener.is_full):
            return None
        await self._until(to_initiator.arrival_ns(0))
        if refused or listener is None or listener.closed:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return listener

    async def _until(self, when_ns: int) -> None:
        await asyncio.sleep((when_ns - self._loop.now_ns) / 1e9)
