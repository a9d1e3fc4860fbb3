"""No wires of our own: the portals as they are. Nothing can be cut; for steady runs, and cuts made by other hands."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from mpio.drill.fabric import Fault, require_supported
from mpio.model.address import Portal


class DirectFabric:
    """Existing portals, one per path."""

    supported: frozenset[str] = frozenset()

    def __init__(self, portals: Sequence[Portal]) -> None:
        self.portals = list(portals)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def inject(self, path: int, fault: Fault) -> str:
        """Refuse. Raises UnsupportedFault."""
        require_supported(fault, self.supported, f"a direct connection (path {path})")
        raise AssertionError("a direct fabric supports no fault")

    async def heal(self, path: int) -> str:
        """There is never anything to heal."""
        return f"path {path} has no fault"
