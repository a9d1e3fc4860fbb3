"""The wire of one path: how long bytes take, and what a fault does to them. Two lanes, one for each direction.

A link knows no bytes. The connections on it (`sim.tcp`) ask their lane when something sent now arrives, and are told
when a lane is whole again. Every fault of the drill's atlas (docs/cuts.md) is here, as TCP over a real network has it:
what a cut lost is sent again when the sender's back-off says so, not at the moment of the heal.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log
from typing import Protocol

from mpio.errors import InputError
from mpio.sim.loop import VirtualLoop
from mpio.units import NS_PER_S

RTO_NS = NS_PER_S // 5
"""Linux' smallest retransmission time-out (TCP_RTO_MIN); doubles from one attempt to the next."""
RTO_MAX_NS = 120 * NS_PER_S
DOUBLINGS_MAX = 20

TO_TARGET, TO_INITIATOR = "to_target", "to_initiator"
DIRECTIONS = (TO_TARGET, TO_INITIATOR)
INITIATOR, TARGET = "initiator", "target"
SIDES = (INITIATOR, TARGET)

Params = Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class Conditions:
    """How a link is without any fault, each way alike.

    Attributes:
        delay_ns: that everything takes at least. jitter_ns: mean of what comes on top of it (exponential).
        bytes_per_s: 0 for no limit.
        loss: chance that a segment is lost, and comes after TCP's back-off instead.
        split: chance that what is sent at once arrives in several pieces, cut anywhere.
    """

    delay_ns: int = 100_000
    jitter_ns: int = 20_000
    bytes_per_s: int = 1_250_000_000
    loss: float = 0.0
    split: float = 0.25


class Carried(Protocol):
    """A connection, as its link knows it."""

    def lane_healed(self, direction: str, *, held: bool) -> None:
        """This direction passes again; `held`: the network had kept what was sent into it."""

    def reset(self) -> None:
        """End it: both ends are told at once."""

    def sever(self, side: str) -> None:
        """Reset this end; nothing passes any more, and the other end is not told."""

    def severed_heal(self) -> None:
        """If it was severed, tell the end that was not."""


class Lane:
    """One direction of a link.

    Attributes:
        cut: nothing passes. holds: but it is kept by the network. rejects: each packet is answered by a reset.
        extra_ns: further delay. bytes_per_s: a tighter limit than the link's own, or 0.
        pause_rate, pause_ns: chance for a segment to find a pause, and its length.
    """

    def __init__(self, loop: VirtualLoop, conditions: Conditions, rng: random.Random) -> None:
        self._loop = loop
        self._conditions = conditions
        self._rng = rng
        self._free_ns = 0
        self._paused_until_ns = 0
        self._chance = rng
        self.whole()

    def whole(self) -> None:
        """No fault."""
        self.cut = self.holds = self.rejects = False
        self.extra_ns = self.bytes_per_s = self.pause_ns = 0
        self.pause_rate = 0.0
        self._paused_until_ns = 0

    def pause_at_random(self, rate: float, pause_ns: int, seed: int) -> None:
        """The fault `stall`."""
        self.pause_rate, self.pause_ns, self._chance = rate, pause_ns, random.Random(seed)

    def arrival_ns(self, length: int) -> int:
        """When a segment of so many bytes that is sent now arrives."""
        conditions, rng = self._conditions, self._rng
        start_ns = now = self._loop.now_ns
        rate = self.bytes_per_s or conditions.bytes_per_s
        if rate:
            start_ns = max(now, self._free_ns)
            self._free_ns = start_ns + length * NS_PER_S // rate
            start_ns = self._free_ns
        if self.pause_rate and self._chance.random() < self.pause_rate:
            self._paused_until_ns = max(start_ns, self._paused_until_ns) + self.pause_ns
        start_ns = max(start_ns, self._paused_until_ns)
        delay_ns = conditions.delay_ns + self.extra_ns
        if conditions.jitter_ns:
            delay_ns += int(-log(1.0 - rng.random()) * conditions.jitter_ns)  # as `expovariate(1)`, without the call
        if conditions.loss:
            lost = 0
            while lost < DOUBLINGS_MAX and rng.random() < conditions.loss:
                lost += 1
            delay_ns += back_off_ns(lost)
        return start_ns + delay_ns

    def pieces(self, data: bytes) -> list[bytes]:
        """What is sent at once, as it will arrive."""
        rng = self._rng
        if len(data) < 2 or rng.random() >= self._conditions.split:
            return [data]
        cuts = sorted({rng.randrange(1, len(data)) for _ in range(rng.randint(1, 3))})
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def back_off_ns(times: int) -> int:
    """How long it takes to send something again so many times: 0.2 · (2^times - 1) s, each pause 120 s at most."""
    return sum(min(RTO_NS << doubling, RTO_MAX_NS) for doubling in range(times))


def next_attempt_ns(since_ns: int, now: int) -> int:
    """When something that was first lost at `since_ns` is sent again for the first time after `now`."""
    times = 1
    while since_ns + back_off_ns(times) <= now:
        times += 1
    return since_ns + back_off_ns(times)


class Link:
    """The wire of one path.

    Attributes:
        name: for messages. conditions: without any fault. lanes: by direction.
        fault: the kind that is in force, if any.
        refuses: new connections get a reset. unreachable: the initiator has no interface to send by.
    """

    def __init__(self, loop: VirtualLoop, name: str, conditions: Conditions, seed: str) -> None:
        self.name = name
        self.conditions = conditions
        self.lanes = {
            direction: Lane(loop, conditions, random.Random(f"{seed}:{name}:{direction}")) for direction in DIRECTIONS}
        self.fault: str | None = None
        self.refuses = False
        self.unreachable = False
        self.connections: dict[int, Carried] = {}

    @property
    def passes_both_ways(self) -> bool:
        """Whether neither lane is cut."""
        return not any(lane.cut for lane in self.lanes.values())

    def inject(self, kind: str, params: Params) -> None:
        """Put a fault in force; `params` complete. Raises InputError for one that it doesn't know, or a second one."""
        if kind == "reset":
            self._reset_all()
            return
        if self.fault is not None:
            raise InputError("fault", f"{self.name} already has the fault {self.fault!r}; heal it first")
        if kind not in _INJECT:
            raise InputError("fault", f"expected one of {', '.join(KINDS)}; found {kind!r}")
        self.fault = kind
        _INJECT[kind](self, params)

    def heal(self) -> None:
        """Lift the fault."""
        self.fault = None
        self.refuses = self.unreachable = False
        for direction, lane in self.lanes.items():
            was_cut, held = lane.cut, lane.holds
            lane.whole()
            if was_cut:
                for connection in list(self.connections.values()):
                    connection.lane_healed(direction, held=held)
        for connection in list(self.connections.values()):
            connection.severed_heal()

    def _ways(self, params: Params) -> list[Lane]:
        return [lane for direction, lane in self.lanes.items() if params["direction"] in ("both", direction)]

    def _reset_all(self) -> None:
        for connection in list(self.connections.values()):
            connection.reset()

    def cut(self, params: Params) -> None:
        """Nothing passes in the given directions."""
        for lane in self._ways(params):
            lane.cut = True

    def link_down(self, params: Params) -> None:
        """The interface at one end is down: at the initiator's, it has no route either."""
        for lane in self.lanes.values():
            lane.cut = True
        self.unreachable = params["side"] == INITIATOR

    def reject(self, params: Params) -> None:
        """Each packet in the given directions is answered by a reset."""
        for lane in self._ways(params):
            lane.rejects = True

    def refuse(self, params: Params) -> None:
        """All connections are reset, new ones refused."""
        del params
        self.refuses = True
        self._reset_all()

    def half_open(self, params: Params) -> None:
        """One end of every connection is reset, and the other is not told."""
        for connection in list(self.connections.values()):
            connection.sever(str(params["side"]))

    def hold(self, params: Params) -> None:
        """Nothing passes, but what the initiator sends is kept, and delivered come what may."""
        del params
        for lane in self.lanes.values():
            lane.cut = True
        self.lanes[TO_TARGET].holds = True

    def delay(self, params: Params) -> None:
        """Everything takes longer in the given directions."""
        for lane in self._ways(params):
            lane.extra_ns = round(float(params["ms"]) * 1e6)

    def stall(self, params: Params) -> None:
        """Now and then a segment has to wait, and all behind it."""
        for lane in self._ways(params):
            lane.pause_at_random(float(params["rate"]), round(float(params["pause_ms"]) * 1e6), int(params["seed"]))

    def throttle(self, params: Params) -> None:
        """A slow link in the given directions."""
        for lane in self._ways(params):
            lane.bytes_per_s = max(1, int(params["bytes_per_s"]))


_INJECT: Mapping[str, Callable[[Link, Params], None]] = {
    "blackhole": Link.cut, "drop": Link.cut, "link_down": Link.link_down, "reject": Link.reject,
    "refuse": Link.refuse, "half_open": Link.half_open, "hold": Link.hold, "delay": Link.delay,
    "stall": Link.stall, "throttle": Link.throttle,
}
KINDS = tuple(sorted((*_INJECT, "reset")))
"""Of faults that a link can have."""
