"""What the cluster is for: units of shared data, each written by one node at a time, and taken over when a node dies.

A unit is one block. Who may write it is agreed outside of the heartbeat (by a lock manager, say), which is not what is
tested here: the register of owners is common to all nodes and always right. What is tested is *when* a node takes a
unit over: as soon as its heartbeat calls the owner dead or gone, and at the earliest then.
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from mpio.check.fencing import Life, Takeovers

if TYPE_CHECKING:
    from mpio.sim.cluster.node import Node

_ERROR_PAUSE_NS = 20_000_000
_LOOK_NS = 200_000_000
_MAGIC = b"UNIT"


def unit_block(unit: int, life: Life, sequence: int, block_size: int) -> bytes:
    """A block of shared data: whose it is and who wrote it."""
    return (_MAGIC + b"".join(number.to_bytes(8, "little") for number in (unit, *life, sequence))).ljust(block_size)


def parse_unit(data: bytes) -> tuple[int, Life, int]:
    """(unit, life that wrote it, sequence)."""
    unit, node, life, sequence = (int.from_bytes(data[4 + 8 * at:12 + 8 * at], "little") for at in range(4))
    return unit, (node, life), sequence


class Register:
    """Who owns what, and which lives are known to be over.

    Attributes:
        takeovers: the check. units: how many there are.
    """

    def __init__(self, units: int, takeovers: Takeovers) -> None:
        self.takeovers = takeovers
        self.units = units
        self._over: dict[Life, None] = {}

    def call_over(self, life: Life) -> None:
        """A life is said to be over: its units are free."""
        self._over[life] = None

    def call_over_before(self, life: Life) -> None:
        """A node knows that its own earlier lives are over."""
        for number in range(1, life[1]):
            self._over[life[0], number] = None

    def is_free(self, unit: int) -> bool:
        """Whether somebody may take it."""
        owner = self.takeovers.owner(unit)
        return owner is None or owner in self._over

    def owned(self, life: Life) -> list[int]:
        """What a life has."""
        return [unit for unit in range(self.units) if self.takeovers.owner(unit) == life]


class Work:
    """The application of one life of a node: a write to each of its units, one at a time, again and again.

    Attributes:
        stopping: it begins nothing new. done: writes that ended well. in_doubt: one failed that may still land.
    """

    def __init__(
        self, node: "Node", register: Register, rng: random.Random, *, first_block: int, block_size: int, think_ns: int,
    ) -> None:
        self.stopping = False
        self.done = 0
        self.in_doubt = False
        self._node = node
        self._register = register
        self._rng = rng
        self._first_block = first_block
        self._block_size = block_size
        self._think_ns = think_ns
        self._active: dict[int, None] = {}  # units that are being written, or wait for their next write
        self._out = 0
        self._sequence = 0
        self._will_look = False
        self._when_quiet: Callable[[], None] | None = None

    @property
    def life(self) -> Life:
        """Whose it is."""
        return self._node.number, self._node.life

    def look(self) -> None:
        """Something about the cluster has changed: take what is free, if this node may."""
        machine = self._node.machine
        if self.stopping or machine is None or not self._node.is_serving:
            return
        if not machine.status(self._node.process.clock()).quorum:
            self._look_later()
            return
        life = self.life
        self._register.call_over_before(life)
        for unit in range(self._register.units):
            if self._register.is_free(unit) and self._may_take(unit):
                self._register.takeovers.taken_over(unit, life)
        for unit in self._register.owned(life):
            if unit not in self._active:
                self._active[unit] = None
                self._write(unit)

    def _look_later(self) -> None:
        if not self._will_look:
            self._will_look = True
            self._node.process.later(_LOOK_NS, self._look_again)

    def _look_again(self) -> None:
        self._will_look = False
        self.look()

    def _may_take(self, unit: int) -> bool:
        """A unit that nobody ever had is for the node of its number first."""
        return self._register.takeovers.owner(unit) is not None or unit == self._node.number

    def _write(self, unit: int) -> None:
        if self.stopping or self._register.takeovers.owner(unit) != self.life:
            self._active.pop(unit, None)
            return
        self._sequence += 1
        self._out += 1
        data = unit_block(unit, self.life, self._sequence, self._block_size)
        self._node.host.write(
            (self._first_block + unit) * self._block_size, data,
            lambda error, may_land: self._ended(unit, error, may_land=may_land))

    def _ended(self, unit: int, error: str, *, may_land: bool) -> None:
        self._out -= 1
        self.in_doubt |= may_land
        pause_ns = self._rng.randrange(self._think_ns + 1)
        if error:
            pause_ns += _ERROR_PAUSE_NS
        else:
            self.done += 1
        if self.stopping:
            self._active.pop(unit, None)
            self._quiet()
        else:
            self._node.process.later(pause_ns, self._write, unit)

    def finish(self, done: Callable[[], None]) -> None:
        """Begin nothing new; call when what is under way has ended."""
        self.stopping = True
        self._when_quiet = done
        self._quiet()

    def stop(self) -> None:
        """The node is gone."""
        self.stopping = True
        self._when_quiet = None

    def _quiet(self) -> None:
        if not self._out and self._when_quiet is not None:
            when_quiet, self._when_quiet = self._when_quiet, None
            self._node.process.soon(when_quiet)
