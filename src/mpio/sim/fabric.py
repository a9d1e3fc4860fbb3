"""The wires of a simulated drill: every fault of the atlas, on links in memory, and a target that hangs."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from mpio.drill.fabric import Fault, require_supported
from mpio.drill.node import node_suffix
from mpio.errors import InputError
from mpio.model.address import Portal
from mpio.sim import link
from mpio.sim.network import SimNetwork
from mpio.sim.target import Place, SimTarget

HANG = "hang"


PATHS_MAX = 16


class SimFabric:
    """A `drill.fabric.Fabric`. Path n is the link to the n-th portal's host.

    A portal that comes again is that of the next node, which reaches it by another address over a wire of its own.
    """

    supported = frozenset((*link.KINDS, HANG))

    def __init__(self, network: SimNetwork, target: SimTarget, portals: Sequence[Portal]) -> None:
        self._hosts = [portal.host for portal in portals]
        self._paths = len(dict.fromkeys(self._hosts))  # of each node
        self.portals = [self._own(network, index, portal) for index, portal in enumerate(portals)]
        self._network = network
        self._target = target
        self._hung: dict[int, Place] = {}

    def _own(self, network: SimNetwork, index: int, portal: Portal) -> Portal:
        node, path = divmod(index, self._paths)
        if node == 0:
            return portal
        name = f"192.0.2.{PATHS_MAX * node + path + 1}"
        network.add_route(name, portal.host)
        return Portal(name, portal.port)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for path in range(len(self.portals)):
            await self.heal(path)

    async def inject(self, path: int, fault: Fault) -> str:
        """See `Fabric.inject`."""
        params = require_supported(fault, self.supported, "the simulation")
        wire = self._wire(path)
        if fault.kind == HANG:
            if path in self._hung or wire.fault is not None:
                raise InputError("fault", f"path {path} already has a fault; heal it first")
            place = self._hung[path] = self._place(path)
            if self._target.node is not None:
                self._target.node.hang(place, management=params["management"] == "hangs")
        elif path in self._hung and fault.kind != "reset":
            raise InputError("fault", f"path {path} already has a fault; heal it first")
        else:
            wire.inject(fault.kind, params)
        return f"link to {self.portals[path]}: {Fault(fault.kind, params)}"

    async def heal(self, path: int) -> str:
        """See `Fabric.heal`."""
        wire = self._wire(path)
        place = self._hung.pop(path, None)
        if place is not None and self._target.node is not None:
            self._target.node.heal(place)
        wire.heal()
        return f"link to {self.portals[path]}: clear"

    def _place(self, path: int) -> Place:
        alone = len(self._hosts) == self._paths
        return self._hosts[path], "" if alone else node_suffix(path // self._paths + 1)

    def _wire(self, path: int) -> link.Link:
        if not 0 <= path < len(self.portals):
            raise InputError("path", f"expected 0 to {len(self.portals) - 1}, found {path}")
        return self._network.links[self.portals[path].host]
