"""Fences: how the map makes sure that a write whose answer was lost can't land any more before it is sent again.

The methods, as design and RFC 7143 order them: `reinstate` logs in with the same ISID to the same portal group, which
ends the old session's tasks (RFC 7143 §6.3.5); `preempt` is PERSISTENT RESERVE OUT / PREEMPT AND ABORT of the nexus's
key (SPC-4 §5.13.11.2.6); `lun_reset` is LOGICAL UNIT RESET, which ends everybody's tasks on the LU. The latter two
end the tasks that the target has taken up, but not what is still on its way to it: that is kept out by a reservation
for registrants only, so that both need a target with persistent reservations (`proto.scsi.excluding`).

Which of them can work on a path depends on what the target has said, so that it is known before it is needed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mpio.engine.path import Path
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


@dataclass(frozen=True, slots=True)
class Drop:
    """Asks the shell to end a path's session, which leads elsewhere. The shell answers with `path_lost`."""

    path_id: int
    cause: str


Action = Fence | Drop
"""What the engine asks of the shell besides sending."""


@dataclass(frozen=True, slots=True)
class FencePlan:
    """How a path's nexus can be fenced.

    Attributes:
        methods: that can work, in the order to try.
        obstacles: (method, why it can't work) of the others that the settings allow.
    """

    methods: tuple[str, ...] = ()
    obstacles: tuple[tuple[str, str], ...] = ()

    @property
    def why_not(self) -> str:
        """Why there is no method at all."""
        return "; ".join(f"{method}: {why}" for method, why in self.obstacles) or "no method is allowed"


def fence_methods(settings: Settings) -> tuple[str, ...]:
    """The methods that `fence` allows; none with `fence none`. Raises ValueError if the one it names can't be used."""
    if settings.fence == "none":
        return ()
    if settings.fence == "auto":
        methods = ["reinstate"]
        if settings.reservation_key is not None or settings.exclusive:
            methods.append("preempt")
        if settings.exclusive:
            methods.append("lun_reset")
        return tuple(methods)
    if settings.fence == "preempt" and settings.reservation_key is None and not settings.exclusive:
        raise ValueError("fence preempt: shuts out every host that is not registered, so it needs reservation_key, "
                         "or exclusive")
    if settings.fence == "lun_reset" and not settings.exclusive:
        raise ValueError("fence lun_reset: ends the tasks of every host that uses the LU, so it needs exclusive")
    return (settings.fence,)


def plan_fence(methods: Iterable[str], path: Path, peers: Iterable[Path]) -> FencePlan:
    """Which of the methods can fence this path through any of its peers, the other paths that are to be asked."""
    peers = list(peers)
    possible, obstacles = [], []
    for method in methods:
        reasons = [_obstacle(method, path, peer) for peer in peers]
        if None in reasons:
            possible.append(method)
        else:
            obstacles.append((method, next((why for why in reasons if why), "there is no other path")))
    return FencePlan(tuple(possible), tuple(obstacles))


def _obstacle(method: str, path: Path, peer: Path) -> str | None:
    """Why the method can't fence a path through a peer; None if it can."""
    own, other = path.identity, peer.identity
    if own is None:
        return "the path has not logged in yet"
    if other is None:
        return f"{peer.name} has not logged in yet"
    if method == "reinstate" and (own.target_name, own.tpgt) != (other.target_name, other.tpgt):
        return f"no other path leads to portal group {own.tpgt} of {own.target_name}"
    if method != "reinstate":
        for side in (path, peer):
            if not side.registered:
                return f"no reservation key is registered through {side.name}"
    return None
