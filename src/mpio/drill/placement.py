"""Where a service should run: on a node whose storage is safe, and there on the one that clients reach best. Pure.

Every node decides for itself, from its own heartbeat and what it sees of the others'. That is only a wish: who may
really begin is decided by the service's record on the LUN and by the heartbeat (`drill.service`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mpio.heartbeat.machine import NodeState, PeerState, Status


@dataclass(frozen=True, slots=True)
class Candidate:
    """One node: its reachability, and whether it is a member whose heartbeats are in time."""

    node: int
    score: int
    safe: bool


def candidates(status: Status, late_ns: int) -> list[Candidate]:
    """This node and the others as it sees them; a heartbeat older than `late_ns` is late."""
    own_age_ns = None if status.margin_ns is None else status.budget_ns - status.margin_ns
    scored = all(peer.score is not None for peer in status.peers)  # o2cb's and SBD's blocks have no room for it
    found = [Candidate(status.node, status.score if scored else 0,
                       status.state is NodeState.RUNNING and own_age_ns is not None and own_age_ns <= late_ns)]
    for peer in status.peers:
        if peer.state is PeerState.LIVE:
            safe = peer.age_ns is not None and peer.age_ns <= late_ns
            found.append(Candidate(peer.node, peer.score or 0, safe))
    return sorted(found, key=lambda candidate: candidate.node)


def choose(found: Sequence[Candidate], owner: int | None) -> int | None:
    """The node that the service should be on; None if none is fit.

    Safe storage ranks above all. Among the safe, the best reached; on a par the present owner, then the lowest number.
    While nobody is safe the service stays where it is: moving it would need the storage that is late.
    """
    fit = [candidate for candidate in found if candidate.safe]
    if not fit:
        return owner
    best = max(candidate.score for candidate in fit)
    level = [candidate.node for candidate in fit if candidate.score == best]
    return owner if owner in level else level[0]
