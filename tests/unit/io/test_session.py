"""A session on loopback, beside what the map does with it."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mpio.errors import ConnectionLost
from mpio.events import Journal
from mpio.io.session import Route, Session, open_session
from mpio.io.target_server import TargetServer
from mpio.model.address import Portal
from mpio.model.settings import FAST
from mpio.model.task import lun_bytes
from mpio.proto.iscsi import LoginParams
from mpio.proto.iscsi.target_login import TargetParams
from mpio.target.node import TargetNode
from mpio.target.store import RamStore

NAME = "iqn.2026-01.test:session"
LUN = lun_bytes(1)
LIMIT_S = 30


async def with_session(scene: Callable[[Session], Coroutine[Any, Any, None]]) -> None:
    node = TargetNode(NAME)
    node.add_lun(1, RamStore(1 << 20))
    server = TargetServer(node, TargetParams(portal=Portal("127.0.0.1")), time.monotonic_ns)
    portal = server.listen(Portal("127.0.0.1", 0), 1)
    node.add_portal(1, portal)
    params = LoginParams("iqn.2026-01.test:host", NAME, bytes((0x80, 0, 0, 0, 0, 1)), FAST, 1, bytes(16))
    try:
        session = await open_session(Route(portal), params, FAST, time.monotonic_ns, Journal(), "test")
        await asyncio.wait_for(scene(session), LIMIT_S)
    finally:
        server.close()


@pytest.mark.parametrize("ask", [
    lambda session: session.command(LUN, bytes(6)), lambda session: session.reset_lun(LUN),
], ids=["command", "reset"])
def test_nothing_can_be_asked_of_a_session_that_is_being_logged_out(ask: Callable[[Session], Any]) -> None:
    """The target may ask for a logout at any time; whoever fences through it must hear it as a nexus error."""

    async def scene(session: Session) -> None:
        session.connection.logout(time.monotonic_ns())
        with pytest.raises(ConnectionLost, match="logout"):
            await ask(session)
        session.close("done")

    asyncio.run(with_session(scene))


def test_a_logout_that_is_under_way_is_joined() -> None:
    async def scene(session: Session) -> None:
        session.connection.logout(time.monotonic_ns())
        await session.logout()
        assert session.lost.done()

    asyncio.run(with_session(scene))
