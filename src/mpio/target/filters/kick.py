"""The filter `kick`."""

from dataclasses import dataclass, field

from mpio.errors import LocalProtocolError
from mpio.target.filters.base import Filter, Timer
from mpio.target.filters.parameters import DURATION, choice, parameter
from mpio.target.filters.request import Occasion, Onward, Reply, Request

_LOGOUT_WITHIN_S = 5


@dataclass(kw_only=True)
class Kick(Filter):
    """Sessions are thrown out: when a command is struck, or with `every`, all that fit, by the clock.

    `how = "drop"` closes the TCP connection: the command that was struck is not carried out, and nothing that is in
    flight is answered. `how = "logout"` asks for a logout by an asynchronous message (event 1) and goes on serving. An
    initiator logs in again; commands in flight go over other paths, or wait.
    """

    name = "kick"
    example = """
every = "30s"
initiator = "iqn.2026-01.example:*"
"""

    how: str = parameter(choice("drop", "logout"), "in which way", "drop")
    every_ns: int | None = parameter(DURATION, "all sessions that fit, so often, in place of single commands", None)

    timer: Timer | None = field(default=None, init=False)

    def check(self) -> None:
        """See Filter."""
        if self.every_ns == 0:
            raise ValueError("every: expected a duration above 0")

    def started(self) -> None:
        """See Filter."""
        if self.every_ns:
            self.timer = self.target.later(self.every_ns, self._round)

    def stopped(self) -> None:
        """See Filter."""
        if self.timer is not None:
            self.timer.cancel()

    def concerns(self, request: Request) -> bool:
        """See Filter."""
        return self.every_ns is None

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        self._kick(request)
        onward(reply)

    def _round(self) -> None:
        for occasion in self.target.occasions():
            if self.limits.fits_session(occasion) and self.limits.strike():
                self._kick(occasion)
        self.timer = self.target.later(self.every_ns or 0, self._round)

    def _kick(self, occasion: Occasion) -> None:
        if self.how == "drop":
            occasion.connection.close("thrown out by the filter kick")
            return
        try:
            occasion.connection.request_logout(_LOGOUT_WITHIN_S)
        except LocalProtocolError:
            return  # it is on its way out already
