"""A multipathed disk for Python programs: `async with open_map([...]) as disk`.

    async with mpio.open_map(["iscsi://192.0.2.1/iqn.2024-01.example:disk/1",
                              "iscsi://198.51.100.1/iqn.2024-01.example:disk/1"]) as disk:
        await disk.write(0, bytes(4096))
        data = await disk.read(0, 4096)

Offsets and lengths are bytes, in whole blocks of the LU. A failed request raises a `MapIoError`: `OutcomeUnknown` says
that a write may or may not land; anything else says that it had no effect that could still come.
"""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Self

from mpio.engine.fencing import Action, Fence
from mpio.engine.map import MapStatus, MultipathMap, Request
from mpio.errors import ConnectionLost, IdentityMismatch, InputError, LoginRejected, TargetError
from mpio.events import Event, Journal
from mpio.io.exclusion import Exclusion
from mpio.io.map_driver import MapDriver
from mpio.io.net import SYSTEM, Network
from mpio.io.path import PathContext, PathRunner
from mpio.model.address import TargetAddress
from mpio.model.settings import FAST, Settings
from mpio.model.task import Buffer, lun_bytes
from mpio.proto.scsi import cdb
from mpio.proto.scsi.sense import Sense, SenseKey

PATHS_MAX = 32
ATTENTIONS_MAX = 5  # unit attentions in a row
EVENTS_PENDING_MAX = 10_000  # records that one slow reader of `events()` may fall behind by


class Disk:
    """A map of one or more paths to one LU. Made by `open_map`; use it as an async context manager.

    Attributes:
        map: the engine, for callers that want its callback interface (`submit_read` and so on).
        journal: everything that happened. clock: the time base of its records, in ns.
        size_bytes, block_size: of the LU, once open.
    """

    def __init__(
        self,
        addresses: Sequence[TargetAddress],
        settings: Settings,
        journal: Journal,
        *,
        name: str,
        clock: Callable[[], int],
        rng: random.Random,
        network: Network = SYSTEM,
    ) -> None:
        self.addresses = list(addresses)
        self.settings = settings
        self.journal = journal
        self.clock = clock
        self.map = MultipathMap(settings, journal, name)
        self.size_bytes = 0
        self.block_size = 0
        self._rng = rng
        self._network = network
        self._runners: list[PathRunner] = []
        self._exclusion: Exclusion | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._driver = MapDriver(self.map, clock, self._carry_out)

    # --- opening and closing

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _open(self) -> None:
        self._exclusion = Exclusion(self.settings, self._rng)
        context = PathContext(
            self.map, self.settings, self.journal, self._driver.tick, self._rng, self._driver.pump, self._exclusion,
            self._network)
        isid_head = bytes((0x80, *self._rng.randbytes(3)))  # random format, RFC 7143 §11.12.5
        for path_id, address in enumerate(self.addresses, start=1):
            isid = isid_head + path_id.to_bytes(2, "big")
            runner = PathRunner(context, path_id, address, isid)
            self.map.add_path(path_id, str(address), self.clock())
            self._runners.append(runner)
        peers = {runner.path_id: runner for runner in self._runners}
        for runner in self._runners:
            runner.peers = peers
            self._tasks.append(asyncio.create_task(runner.run(), name=runner.name))
        errors = await asyncio.gather(*(runner.first_attempt for runner in self._runners))
        failed = [error for error in errors if error is not None]
        for error in failed:
            # A path that leads elsewhere, or whose login is refused for good, is a mistake to be told, not ridden out.
            if isinstance(error, IdentityMismatch | TargetError) or (
                isinstance(error, LoginRejected) and error.is_final
            ):
                raise error
        if len(failed) == len(self._runners):
            raise failed[0]
        identity = next(runner.identity for runner in self._runners if runner.identity is not None)
        self.size_bytes = identity.size_bytes
        self.block_size = identity.block_size

    async def close(self) -> None:
        """Log out of every path. Requests that are not done end with an error."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            ended, _ = await asyncio.wait(self._tasks)
            self._tasks.clear()
            for task in ended:
                if not task.cancelled():
                    task.result()  # raises what went wrong in it
        if self._exclusion is not None:
            self._exclusion.close()
        self.map.close(self.clock())  # first, or it takes a path that logs out for one that was lost
        await asyncio.gather(*(runner.stop() for runner in self._runners))
        self._driver.stop()

    # --- I/O

    async def read(self, offset: int, length: int) -> bytearray:
        """Read `length` bytes. Raises MapIoError."""
        buffer = bytearray(length)
        await self.read_into(offset, buffer)
        return buffer

    async def read_into(self, offset: int, buffer: bytearray | memoryview) -> None:
        """Fill the buffer from `offset` on. The buffer must not be resized before this returns. Raises MapIoError."""
        view = memoryview(buffer)
        await self._run(lambda done: self.map.submit_read(offset, view, done, self.clock()))

    async def write(self, offset: int, data: Buffer, *, fua: bool = False) -> None:
        """Write; `fua` means that it is on stable storage when this returns. Raises MapIoError."""
        await self._run(lambda done: self.map.submit_write(offset, data, done, self.clock(), fua=fua))

    async def flush(self) -> None:
        """Everything written before is on stable storage when this returns. Raises MapIoError."""
        await self._run(lambda done: self.map.submit_flush(done, self.clock()))

    async def discard(self, offset: int, length: int) -> None:
        """Tell the target that the blocks are not needed (UNMAP). Raises MapIoError."""
        await self._run(lambda done: self.map.submit_discard(offset, length, done, self.clock()))

    async def _run(self, submit: Callable[[Callable[[Request], None]], None]) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(request: Request) -> None:
            if future.cancelled():
                return
            if request.error is None:
                future.set_result(None)
            else:
                future.set_exception(request.error)

        submit(done)
        self._driver.arm()
        await future

    async def read_path(self, path_id: int, offset: int, length: int) -> bytes:
        """Read through exactly one path, for verification. Raises ConnectionLost or TargetError."""
        runner = self._runners[path_id - 1]
        if runner.session is None:
            raise ConnectionLost(f"path {path_id} is not logged in")
        command = cdb.read(offset // self.block_size, length // self.block_size)
        for _ in range(ATTENTIONS_MAX):
            reply = await runner.session.command(lun_bytes(runner.address.lun), command, length)
            sense = Sense.parse(reply.sense)
            if sense is None or sense.key != SenseKey.UNIT_ATTENTION:
                break  # else: news for this nexus, such as a reset by another path; the command was not carried out
        if reply.status != 0 or len(reply.data) != length:
            raise TargetError(
                f"read of {length} bytes at {offset} through path {path_id}: status {reply.status:#04x}",
                status=reply.status,
                sense=reply.sense,
            )
        return reply.data

    # --- what is going on

    def status(self) -> MapStatus:
        """The map, its groups and paths, now."""
        return self.map.status(self.clock())

    async def events(self) -> AsyncIterator[Event]:
        """Events of the journal as they come, from now on. A reader that falls far behind loses the oldest."""
        pending: asyncio.Queue[Event] = asyncio.Queue(EVENTS_PENDING_MAX)

        def sink(event: Event) -> None:
            if pending.full():
                pending.get_nowait()
            pending.put_nowait(event)

        self.journal.sinks.append(sink)
        try:
            while True:
                yield await pending.get()
        finally:
            self.journal.sinks.remove(sink)

    def _carry_out(self, action: Action) -> None:
        runner = self._runners[action.path_id - 1]
        if isinstance(action, Fence):
            runner.request_fence(action)
        else:
            runner.drop(action.cause)


def open_map(
    targets: Sequence[str | TargetAddress],
    settings: Settings = FAST,
    *,
    journal: Journal | None = None,
    name: str | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
    rng: random.Random | None = None,
    network: Network = SYSTEM,
) -> Disk:
    """A disk over one or more paths; `async with` opens and closes it.

    Args:
        targets: one address a path, as `iscsi://` URLs or parsed.
        settings: see `mpio.profile`; the `fast` profile by default.
        journal: where events go; a new one by default.
        name: of the map in the journal; the settings' alias, or "disk".
        clock: monotonic time in ns.
        rng: for ISIDs, initial sequence numbers, challenges and jitter.
        network: where the portals are.

    Raises:
        InputError: for a bad URL, a wrong number of paths, or settings that do not go together.
            Opening raises MpioError if no path can be had, or if one leads to another LU than the others.
    """
    addresses = []
    for number, target in enumerate(targets, start=1):
        try:
            addresses.append(TargetAddress.parse(target) if isinstance(target, str) else target)
        except ValueError as error:
            raise InputError(f"path {number}", str(error)) from None
    if not 1 <= len(addresses) <= PATHS_MAX:
        raise InputError("paths", f"expected 1 to {PATHS_MAX} target addresses, found {len(addresses)}")
    for address in addresses:
        _check_credentials(settings, address)
    try:
        return Disk(
            addresses,
            settings,
            journal if journal is not None else Journal(),
            name=name or settings.alias or "disk",
            clock=clock,
            rng=rng if rng is not None else random.Random(secrets.randbits(128)),
            network=network,
        )
    except ValueError as error:  # settings that do not go together
        raise InputError("settings", str(error)) from None


def _check_credentials(settings: Settings, address: TargetAddress) -> None:
    """Refuse what would be left out without a word: CHAP of the target alone does not exist (RFC 7143 §12.1.3)."""
    username = address.username or settings.username
    for name in ("password", "username_in", "password_in"):
        if username is None and getattr(settings, name) is not None:
            raise InputError(name, f"needs username: without one, no CHAP is offered to {address.portal}")
    if settings.username_in is not None and settings.password_in is None:
        raise InputError("username_in", "needs password_in, the secret that the target must know")
