"""Fences: how the map makes sure that a write whose answer was lost can't land any more before it is sent again.

The methods, as design and RFC 7143 order them: `reinstate` logs in with the same ISID to the same portal group, which
ends the old session's tasks (RFC 7143 §6.3.5); `preempt` is PERSISTENT RESERVE OUT / PREEMPT AND ABORT of the nexus's
key (SPC-4 §5.13.11.2.6); `lun_reset` is LOGICAL UNIT RESET, which ends everybody's tasks on the LU.
"""

from dataclasses import dataclass

from mpio.model.settings import Settings


@dataclass(frozen=True, slots=True)
class Fence:
    """Asks the shell to fence a path's lost nexus, by the first of the methods that works.

    The shell answers every Fence once, with `fence_done` or `fence_failed`, also if the path is back meanwhile.

    Attributes:
        path_id: the path whose nexus is to be fenced. methods: in the order to try.
        through: paths that have a session, best first.
    """

    path_id: int
    methods: tuple[str, ...]
    through: tuple[int, ...]


Action = Fence
"""What the engine asks of the shell besides sending."""


def fence_methods(settings: Settings) -> tuple[str, ...]:
    """The methods that `fence` allows; none with `fence none`. Raises ValueError if the one it names can't be used."""
    if settings.fence == "none":
        return ()
    if settings.fence == "auto":
        methods = ["reinstate"]
        if settings.reservation_key is not None:
            methods.append("preempt")
        if settings.exclusive:
            methods.append("lun_reset")
        return tuple(methods)
    if settings.fence == "preempt" and settings.reservation_key is None:
        raise ValueError("fence preempt: needs reservation_key")
    if settings.fence == "lun_reset" and not settings.exclusive:
        raise ValueError("fence lun_reset: ends the tasks of every host that uses the LU, so it needs exclusive")
    return (settings.fence,)
