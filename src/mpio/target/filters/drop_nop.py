"""The filter `drop-nop`."""

from dataclasses import dataclass

from mpio.target.filters.base import SESSION_LIMITS, Filter
from mpio.target.filters.request import Occasion


@dataclass(kw_only=True)
class DropNop(Filter):
    """Pings (NOP-Out) of the initiator are not answered; commands are.

    An initiator takes the connection for dead after its NOP timeout, drops it and logs in again, for ever: a session
    that is fine for I/O and can't be kept.
    """

    name = "drop-nop"
    limited_by = SESSION_LIMITS
    hears_nops = True
    example = """
portal = "127.0.0.1:3260"
lasts = "30s"
"""

    def answers_nop(self, occasion: Occasion) -> bool:
        """See Filter."""
        return False
