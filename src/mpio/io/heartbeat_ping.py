"""Which hosts of a ping list answer now.

An answer is that a TCP connection is accepted or refused: both come from the host itself. No ICMP is sent, which would
need privileges; a host whose firewall drops what it does not offer needs a port that it does offer.
"""

import asyncio
import contextlib
import errno
from collections.abc import Callable, Sequence

from mpio.model.address import Portal
from mpio.units import NS_PER_S

ECHO_PORT = 7  # that hardly anybody offers: a refusal is an answer as well
HOSTS_MAX = 32


async def answers(host: Portal, timeout_s: float) -> bool:
    """Whether the host accepts or refuses a connection in time."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host.host, host.port)
    except ConnectionRefusedError:
        return True
    except OSError as error:  # TimeoutError too, and names that can't be found
        return error.errno == errno.ECONNRESET
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


class Pinger:
    """Asks all hosts once a period, and tells who answered.

    Args:
        hosts: the ping list. period_ns: how often. timeout_ns: for each host; all are asked side by side.
        tell: gets each host and whether it answered, after each round.
    """

    def __init__(
        self, hosts: Sequence[Portal], period_ns: int, timeout_ns: int, tell: Callable[[Portal, bool], None]
    ) -> None:
        self._hosts = hosts
        self._period_s = period_ns / NS_PER_S
        self._timeout_s = timeout_ns / NS_PER_S
        self._tell = tell

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            found = await asyncio.gather(*(answers(host, self._timeout_s) for host in self._hosts))
            for host, answered in zip(self._hosts, found, strict=True):
                self._tell(host, answered)
            await asyncio.sleep(self._period_s)
