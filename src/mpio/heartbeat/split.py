"""A network split as one node sees it: whether there is quorum, and, for the node that decides, who loses.

Every member's heartbeat tells whom it hears. While a member that lives on disk is not heard there is no quorum: nothing
may be done that needs the others. The member with the lowest number decides, and nobody else: it waits until the split
has lasted and every timely member has told its view anew, then poisons the losers, itself last. Its verdict stands
until they are dead. If it dies itself, the next lowest takes its place once it has seen that.
"""

from collections.abc import Mapping, Sequence

from mpio.events import Kind
from mpio.heartbeat import quorum
from mpio.heartbeat.machine import Happened, PeerState
from mpio.heartbeat.observer import LIVE_CHANGES, Peer
from mpio.heartbeat.timing import Timing


class Split:
    """Attributes: `quorum`; `winners` and `losers` of the verdict, empty without one."""

    def __init__(self, timing: Timing) -> None:
        self.quorum = True
        self.winners: tuple[int, ...] = ()
        self.losers: tuple[int, ...] = ()
        self._timing = timing
        self._since: int | None = None
        self._changes: dict[int, int] = {}

    def hear(self, peers: Mapping[int, Peer]) -> list[Happened]:
        """Whether there is quorum now."""
        unheard = [peer.node for peer in _members(peers) if not peer.connected]
        if bool(unheard) is not self.quorum:
            return []
        self.quorum = not unheard
        if unheard:
            return [Happened(Kind.QUORUM_LOST, {"cause": f"live on disk, but not heard: {listed(unheard)}"})]
        return [Happened(Kind.QUORUM_GAINED, {"cause": "every live node is heard"})]

    def judge(self, mine: quorum.View, peers: Mapping[int, Peer], now: int) -> tuple[int, ...]:
        """The losers, if this node is the one to decide and the time has come."""
        others = _members(peers)
        views = [mine, *(_view(peer, now) for peer in others)]
        if quorum.hears_all(views) or (self.losers and not self._pending(mine.node, others)):
            self._since, self.winners, self.losers = None, (), ()
            return ()
        if self._since is None:
            self._since, self._changes = now, {}
        if not self.losers and self._is_time(mine, others, now):
            self.winners = quorum.choose(views)
            self.losers = tuple(view.node for view in views if view.node not in self.winners)
        return self.losers

    def _pending(self, node: int, others: Sequence[Peer]) -> bool:
        return any(loser == node or any(loser == peer.node for peer in others) for loser in self.losers)

    def _is_time(self, mine: quorum.View, others: Sequence[Peer], now: int) -> bool:
        assert self._since is not None
        if not mine.safe or any(peer.node < mine.node for peer in others) or now - self._since < self._timing.split_ns:
            for peer in others:
                self._changes.setdefault(peer.node, peer.changes)
            return False
        return all(
            peer.changes - self._changes.setdefault(peer.node, peer.changes) >= LIVE_CHANGES or peer.is_late(now)
            for peer in others)


def listed(nodes: Sequence[int]) -> str:
    """Nodes for people."""
    return ("node " if len(nodes) == 1 else "nodes ") + ", ".join(map(str, nodes))


def _members(peers: Mapping[int, Peer]) -> list[Peer]:
    return [peer for peer in peers.values()
            if peer.state is PeerState.LIVE and peer.slot is not None and peer.slot.member]


def _view(peer: Peer, now: int) -> quorum.View:
    assert peer.slot is not None
    return quorum.View(peer.node, peer.slot.connected, peer.slot.score, not peer.is_late(now))
