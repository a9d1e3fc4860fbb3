"""The filter `busy`."""

from dataclasses import dataclass

from mpio.model.task import Status
from mpio.target.filters.base import Filter
from mpio.target.filters.parameters import choice, parameter
from mpio.target.filters.request import Onward, Reply, Request
from mpio.target.response import Response

_STATUS = {"busy": Status.BUSY, "task-set-full": Status.TASK_SET_FULL}


@dataclass(kw_only=True)
class Busy(Filter):
    """Commands are turned away with BUSY or TASK SET FULL, and not carried out.

    An initiator tries again after a while, and with TASK SET FULL keeps fewer commands in flight; no path is at fault.
    QEMU gives up after some tries.
    """

    name = "busy"
    example = """
status = "task-set-full"
rate = 0.2
"""

    status: str = parameter(choice(*_STATUS), "the SCSI status", "busy")

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        reply(Response(_STATUS[self.status]))
