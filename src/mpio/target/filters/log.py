"""The filter `log`."""

from dataclasses import dataclass
from typing import Any

from mpio.model.task import Status
from mpio.proto.scsi.sense import Sense
from mpio.target.filters.base import Filter
from mpio.target.filters.opcodes import name_of
from mpio.target.filters.request import Onward, Reply, Request
from mpio.target.response import Response


@dataclass(kw_only=True)
class Log(Filter):
    """Commands and their answers are written down, and go their way.

    One JSON object each, when the answer passes by: when it came, how long it took, initiator, portal, LUN, command,
    CDB, blocks, status, sense. `mpio target ctl log` shows the last thousand; the target started with
    `--log FILE` writes them all. What stands behind this filter in the list has had its say in the answer; a command
    that is never answered is not in the log.
    """

    name = "log"
    example = """
initiator = "iqn.2026-01.example:host"
opcode = ["write", "PERSISTENT_RESERVE_OUT"]
"""

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        came_ns = self.target.now()

        def passes(response: Response) -> None:
            self.target.log(self._record(request, response, came_ns))
            reply(response)

        onward(passes)

    def _record(self, request: Request, response: Response, came_ns: int) -> dict[str, Any]:
        now = self.target.now()
        record: dict[str, Any] = {
            "t_ns": came_ns, "took_ns": now - came_ns, "initiator": request.initiator,
            "portal": str(request.portal), "lun": request.lun, "command": name_of(request.opcode),
            "cdb": bytes(request.task.cdb).hex(), "ranges": [list(item) for item in request.ranges],
            "status": _status(response.status),
        }
        sense = Sense.parse(response.sense)
        if sense is not None:
            record["sense"] = str(sense)
        return record


def _status(status: int) -> str:
    try:
        return Status(status).name
    except ValueError:
        return f"{status:#04x}"
