"""The filter `stale-read`."""

from dataclasses import dataclass, field

from mpio.target.filters.base import Filter
from mpio.target.filters.images import image_before
from mpio.target.filters.opcodes import READS, WRITES
from mpio.target.filters.parameters import SIZE, choice, parameter
from mpio.target.filters.request import Onward, Reply, Request
from mpio.target.response import Response


@dataclass(kw_only=True)
class StaleRead(Filter):
    """A read finds what was there before the last write, once for each block that was written: a cache that lags.

    The write is on the medium; a second read finds it. With `pick = "writes"` the limits say whose blocks lag behind,
    for whoever reads them; with `pick = "reads"` any write is remembered, and the limits say who reads what is old,
    such as everybody on one portal. No initiator can notice without knowing what it wrote.
    """

    name = "stale-read"
    example = """
skip = 100
count = 1
"""

    pick: str = parameter(choice("writes", "reads"), "what the limits are about", "writes")
    remember_bytes: int = parameter(SIZE, "how much old data is kept; the oldest goes first", "1MiB")

    old: dict[tuple[int, int], bytes] = field(default_factory=dict, init=False)
    """What (LUN, LBA) held before, oldest first."""

    def concerns(self, request: Request) -> bool:
        """See Filter."""
        return self._is_change(request) if self.pick == "writes" else self._is_lagging(request)

    def watches(self, request: Request) -> bool:
        """See Filter: the other end of it."""
        return self._is_lagging(request) if self.pick == "writes" else self._is_change(request)

    def _is_change(self, request: Request) -> bool:
        return request.opcode in WRITES and image_before(request) is not None

    def _is_lagging(self, request: Request) -> bool:
        if not self.old or request.opcode not in READS or request.span is None:
            return False
        lba, blocks = request.ranges[0]
        return any((request.lun, at) in self.old for at in range(lba, lba + blocks))

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        if request.opcode in READS:
            onward(lambda response: reply(self._aged(request, response)))
            return
        before = image_before(request)

        def remember(response: Response) -> None:
            if response.status == 0 and before is not None:
                self._remember(request, before)
            reply(response)

        onward(remember)

    def watch(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        self.handle(request, onward, reply)

    def _remember(self, request: Request, before: bytes) -> None:
        unit = request.unit
        if unit is None:
            return
        lba = request.ranges[0][0]
        for at in range(0, len(before), unit.block_size):
            self.old.pop((unit.number, lba), None)
            self.old[unit.number, lba] = before[at : at + unit.block_size]
            lba += 1
        kept = self.remember_bytes // unit.block_size
        while len(self.old) > kept:
            del self.old[next(iter(self.old))]

    def _aged(self, request: Request, response: Response) -> Response:
        unit = request.unit
        if response.status != 0 or unit is None:
            return response
        data = bytearray(response.data)
        lba = request.ranges[0][0]
        for at in range(0, len(data), unit.block_size):
            old = self.old.pop((unit.number, lba + at // unit.block_size), None)
            if old is not None:
                data[at : at + len(old)] = old
        return response._replace(data=bytes(data))

    def stopped(self) -> None:
        """See Filter."""
        self.old.clear()
