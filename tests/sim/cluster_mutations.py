"""Deliberate bugs, planted in the heartbeat one at a time while the swarm of clusters runs.

Each is a way in which somebody could break it with the best intentions. `MUTATIONS` has them by name, each with the
number of seeds, from 0 on, within which the swarm has to find it.
"""

from collections.abc import Callable
from typing import Any

from tests.sim.mutations import Mutation, Mutator, mutator

from mpio.heartbeat import quorum
from mpio.heartbeat import split as split_module
from mpio.heartbeat.formats import own
from mpio.heartbeat.machine import Cause, Extend, NodeState
from mpio.heartbeat.negotiation import Negotiation
from mpio.heartbeat.observer import Peer
from mpio.heartbeat.own import Own
from mpio.heartbeat.split import Split

MUTATIONS: dict[str, Mutation] = {}
mutation: Mutator = mutator(MUTATIONS)

Method = Callable[..., Any]


# --- deadlines


@mutation(5, Own, "_extend")
def deadline_from_completion(sound: Method) -> Method:
    """The deadline counts from when a heartbeat is known to be good, not from its issue."""
    return lambda self, _base, now: sound(self, now, now)


@mutation(20, Own, "_fail_round")
def error_extends(sound: Method) -> Method:
    """A heartbeat that failed at once still shows that the storage answers."""
    def fail_round(self: Own, round_: Any, cause: str, now: int) -> None:
        sound(self, round_, cause, now)
        if self._base is not None and self.state in (NodeState.RUNNING, NodeState.HUNG):
            self._base = now
            self._actions.append(Extend(now + self._timing.deadline_ns))

    return fail_round


@mutation(30, Own, "_expire")
def watchdog_left_to_it(_sound: Method) -> Method:
    """The self-fence is the watchdog's job."""
    return lambda _self, _now: None


@mutation(60, Peer, "_equal")
def dead_too_soon(_sound: Method) -> Method:
    """A peer that is silent for most of its deadline is dead: why wait for its fence and what it has sent?"""
    def equal(self: Peer, issued: int) -> Any:
        self.samples += 1
        if not self.alive or issued - self.since < self._timing.deadline_ns * 3 // 4:
            return []
        return self._dead("silent")

    return equal


@mutation(120, Own, "_is_own")
def any_own_block_will_do(_sound: Method) -> Method:
    """A block of this generation in the own slot is proof enough, of whatever sequence."""
    return lambda self, found, _sequence: isinstance(found, own.Slot) and found.generation == self.generation


# --- who is dead


@mutation(30, Peer, "_new_life")
def generation_ignored(sound: Method) -> Method:
    """A slot that changes is alive, whatever generation it shows."""
    def new_life(self: Peer, found: own.Slot, now: int, changes: int) -> Any:
        if not self.generation:
            return sound(self, found, now, changes)
        self.generation = found.generation
        return self._changed(found, now)

    return new_life


@mutation(30, Own, "_fence")
def acknowledged_before_it_holds(sound: Method) -> Method:
    """The fence is acknowledged when it is ordered."""
    def fence(self: Own, cause: Cause, reason: str) -> None:
        sound(self, cause, reason)
        self._held(self._observed_at)

    return fence


@mutation(150, Peer, "_equal")
def own_stall_blamed_on_others(_sound: Method) -> Method:
    """A peer is dead when its last change was seen long ago, wherever this node has been meanwhile."""
    def equal(self: Peer, issued: int) -> Any:
        if not self.alive or self.changed_at is None or issued - self.changed_at < self.dead_ns:
            return []
        return self._dead("silent")

    return equal


@mutation(500, Negotiation, "_advance")
def approved_by_half(_sound: Method) -> Method:
    """It is enough if half of the nodes hang."""
    def advance(self: Negotiation, now: int) -> bool:
        for node in self._nodes[len(self._nodes) // 2:]:
            self._answers[node] = self._poll
        return bool(_sound(self, now))

    return advance


# --- pills


@mutation(60, Own, "_poisoned")
def pills_ignored(_sound: Method) -> Method:
    """Nobody's pill is taken."""
    return lambda _self, _found: False


@mutation(100, Own, "_poisoned")
def pill_of_another_life(sound: Method) -> Method:
    """A pill for this number is meant for this node, of whatever generation."""
    def poisoned(self: Own, found: dict[int, Any]) -> bool:
        for slot in found.values():
            if isinstance(slot, own.Slot) and any(pill.node == self.node for pill in slot.poison):
                self._fence(Cause.POISON, "poisoned")
                return True
        return bool(sound(self, found))

    return poisoned


# --- splits


@mutation(60, Split, "judge")
def tie_broken_both_ways(_sound: Method) -> Method:
    """Every node decides for itself, and for its own side."""
    def judge(self: Split, mine: quorum.View, peers: dict[int, Peer], now: int) -> tuple[int, ...]:
        views = [mine, *(split_module._view(peer, now) for peer in split_module._members(peers))]
        if quorum.hears_all(views):
            self._since = None
            return ()
        if self._since is None:
            self._since = now
        if now - self._since < self._timing.split_ns:
            return ()
        mine_too = [view.node for view in quorum._grown(mine, views)]
        return tuple(view.node for view in views if view.node not in mine_too)

    return judge


@mutation(100, quorum, "_rank")
def clients_do_not_matter(sound: Method) -> Method:
    """The larger side wins, whoever reaches it."""
    return lambda group: (sound(group)[0], 0, *sound(group)[2:])


@mutation(500, Split, "hear")
def split_not_noticed(_sound: Method) -> Method:
    """Nodes that are alive on disk are enough of a cluster."""
    return lambda _self, _peers: []


@mutation(60, Split, "judge")
def split_never_decided(_sound: Method) -> Method:
    """A split heals sooner or later."""
    return lambda _self, _mine, _peers, _now: ()
