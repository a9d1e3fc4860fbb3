"""The filter `delayed-execution`."""

from dataclasses import dataclass

from mpio.target.filters.base import Filter
from mpio.target.filters.opcodes import WRITES
from mpio.target.filters.parameters import DURATION, FLAG, parameter
from mpio.target.filters.request import Onward, Reply, Request
from mpio.target.store import StoreError


@dataclass(kw_only=True)
class DelayedExecution(Filter):
    """Commands are carried out late, as by an array whose queue is stuck: nothing happens before their time comes.

    A command that is ended meanwhile, by an abort, a reset or a new login of its session, is not carried out at all,
    as the standards ask. With `rogue` its write lands all the same, over whatever was written since: the accident that
    fencing is there to prevent, in a target that does not keep the rules. An initiator that repeated the write on
    another path, and wrote those blocks again, has lost data.
    """

    name = "delayed-execution"
    example = """
time = "3s"
rogue = true
opcode = "write"
count = 1
"""

    time_ns: int = parameter(DURATION, "how long each command waits", "1s")
    rogue: bool = parameter(FLAG, "plain writes land even after they were ended", False)

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        data = bytes(request.data) if self.rogue and request.opcode in WRITES else b""

        def due() -> None:
            if request.is_alive:
                onward(reply)
            elif data:
                _land(request, data)

        self.target.later(self.time_ns, due)


def _land(request: Request, data: bytes) -> None:
    """Write what nobody waits for any more; a store that can't has nobody to tell."""
    span, unit = request.span, request.unit
    if unit is None or span is None or span[1] != len(data) or not unit.store.writable:
        return
    try:
        unit.store.write(span[0], data)
    except StoreError:
        return
