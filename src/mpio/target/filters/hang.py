"""The filter `hang`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from mpio.target.filters.base import Filter
from mpio.target.filters.request import Onward, Reply, Request

_SWEEP_AT = 1024  # held commands; from here on, those that were ended meanwhile are let go of


@dataclass(kw_only=True)
class Hang(Filter):
    """Commands stop here and wait until the filter is removed or its time (`lasts`) is over; then they go on, in order.

    An initiator sees a LUN that takes commands and answers none, while its pings are still answered: only a command
    timeout finds out. What it aborts meanwhile is not carried out.
    """

    name = "hang"
    example = """
portal = "127.0.0.1:3261"
after = "10s"
lasts = "20s"
"""

    held: list[tuple[Request, Callable[[], None]]] = field(default_factory=list, init=False)

    def handle(self, request: Request, onward: Onward, reply: Reply) -> None:
        """See Filter."""
        if len(self.held) >= _SWEEP_AT:
            self.held = [(held, go) for held, go in self.held if held.is_alive]
        self.held.append((request, lambda: onward(reply)))

    def stopped(self) -> None:
        """See Filter."""
        held, self.held = self.held, []
        for _, go in held:
            go()
