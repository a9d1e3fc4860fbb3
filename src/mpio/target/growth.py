"""A logical unit gets larger while it is in use, as when an array's volume is extended."""

from typing import Protocol, runtime_checkable

from mpio.proto.scsi.sense import CAPACITY_CHANGED
from mpio.target.state import UnitState


@runtime_checkable
class GrowingStore(Protocol):
    """What a block store has on top if it can get larger."""

    def grow(self, size_bytes: int) -> None:
        """Have so many bytes, no fewer than now; the new ones are zero. Raises ValueError or StoreError."""


def grow(unit: UnitState, size_bytes: int) -> None:
    """Make a unit larger; every session is told (06/2A/09). Raises ValueError, or StoreError as the store does."""
    now = unit.blocks * unit.block_size
    if size_bytes <= now or size_bytes % unit.block_size:
        raise ValueError(f"expected more than {now} bytes, in whole blocks of {unit.block_size}; found {size_bytes}")
    if not isinstance(unit.store, GrowingStore):
        raise ValueError(f"the store of LUN {unit.number} can't grow")
    unit.store.grow(size_bytes)
    unit.blocks = size_bytes // unit.block_size
    unit.attention(CAPACITY_CHANGED)
