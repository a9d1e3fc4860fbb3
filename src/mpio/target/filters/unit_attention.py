"""The filter `unit-attention`."""

from dataclasses import dataclass, field

from mpio.proto.scsi.sense import Sense
from mpio.target.filters.base import Filter
from mpio.target.filters.parameters import SENSE, TEXTS, parameter
from mpio.target.filters.request import Onward, Reply, Request

_SENSES = (lambda value: tuple(SENSE[0](word) for word in TEXTS[0](value)), "key/asc/ascq, or several")


@dataclass(kw_only=True)
class UnitAttention(Filter):
    """A storm of unit attentions: each command that is struck finds one queued for its session.

    The unit reports it in its usual order: INQUIRY, REPORT LUNS and REQUEST SENSE pass, everything else ends with
    CHECK CONDITION and is not carried out. An initiator tries again, looks at what changed, and must not count it as a
    failure of path or command. Without a `rate` or `count` no command ever comes through.
    """

    name = "unit-attention"
    example = """
sense = ["06/2A/09", "06/3F/0E"]
rate = 0.1
"""

    sense: tuple[Sense, ...] = parameter(_SENSES, "the conditions, in turn", "06/2A/01,06/2A/06,06/2A/09,06/3F/03")

    turn: int = field(default=0, init=False)

    def concerns(self, request: Request) -> bool:
        """See Filter."""
        return request.unit is not None

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        if request.unit is not None:
            request.unit.attention(self.sense[self.turn % len(self.sense)], only=request.nexus.key)
            self.turn += 1
        onward(reply)
