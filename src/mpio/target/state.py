"""What one logical unit is and remembers: its store, name, mode settings, reservations, and unit attentions.

Owns the state that command handlers work on. Which command may run when is `unit.py`'s business.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from mpio.proto.scsi.copy import CopyResult
from mpio.proto.scsi.inquiry import BlockLimits
from mpio.proto.scsi.sense import Sense
from mpio.target.allocation import BlockStatus
from mpio.target.nexus import Nexus, NexusKey, PortGroup
from mpio.target.reservation import PersistentReservations
from mpio.target.reservation_record import ReservationKeeper, decode
from mpio.target.store import BlockStore

BLOCK_SIZES = (512, 4096)
PHYSICAL_BYTES_MAX = 1 << 16
_GRAIN_BYTES = 4096  # what stores allocate: pages, and the blocks of file systems
TRANSFER_BYTES_MAX = 8 << 20  # one command's data are one copy in memory
WRITE_SAME_BYTES_MAX = TRANSFER_BYTES_MAX  # done while everybody waits
UNMAP_BLOCKS_MAX = 1 << 20
UNMAP_DESCRIPTORS_MAX = 256
COMPARE_AND_WRITE_MAX = 255
ATTENTIONS_MAX = 16  # distinct unit attentions queued for a nexus; one more adds nothing to what it has to re-read

VENDOR = "MPIO"
PRODUCT = "Virtual disk"
REVISION = "0001"
_NAA_HEAD = bytes.fromhex("602006d0")  # NAA 6, then a locally administered company id


@dataclass(frozen=True, slots=True)
class Device:
    """What a logical unit has to know of the target it is in.

    Attributes:
        name: the iSCSI target name. groups: all port groups, of other nodes too. explicit_alua: SET TPG is allowed.
        luns: the 8-byte LUNs there are now. unit_named: the unit with an NAA name, if there is one.
        groups_changed: called after SET TPG, with the nexus it came by; tells everybody else.
        abort: called by PREEMPT AND ABORT with the unit and the nexuses whose tasks have to end.
    """

    name: str
    groups: Sequence[PortGroup]
    explicit_alua: bool
    luns: Callable[[], Sequence[bytes]]
    unit_named: Callable[[bytes], "UnitState | None"]
    groups_changed: Callable[[Nexus], None]
    abort: Callable[["UnitState", Sequence[NexusKey]], None]


def derive_naa(target_name: str, number: int, store: str = "") -> bytes:
    """A 16-byte NAA-6 name that stays the same for a target name, LUN and, where it is told, store."""
    parts = [target_name, str(number), *([store] if store else [])]
    return _NAA_HEAD + hashlib.sha256("\0".join(parts).encode()).digest()[:12]


class UnitOptions(TypedDict, total=False):
    """What a logical unit may be like; see UnitState."""

    block_size: int
    naa: bytes | None
    read_only: bool
    thin: bool
    removable: bool
    physical_block_size: int | None
    keeper: ReservationKeeper | None


class UnitState:
    """State of a logical unit.

    Args:
        device: the target around it. number: its LUN. store: its blocks.
        block_size: 512 or 4096.
        naa: its 16-byte NAA-6 name; by default made of target name and LUN. Nodes that serve one store give the same.
        read_only: refuse writes, whatever the store allows. removable: the medium can be ejected and loaded.
        thin: blocks can be deallocated; a thick unit keeps them all.
        physical_block_size: of the medium beneath, as the unit tells it; by default that of a logical block.
        keeper: keeps persistent reservations over restarts; without one that is not offered.

    Raises:
        ValueError: the store is not a whole number of blocks, an argument is out of range, or what the keeper has
            can't be read.
        StoreError: the keeper can't load.
    """

    def __init__(
        self, device: Device, number: int, store: BlockStore, *, block_size: int = 512, naa: bytes | None = None,
        read_only: bool = False, thin: bool = True, removable: bool = False, physical_block_size: int | None = None,
        keeper: ReservationKeeper | None = None,
    ) -> None:
        if block_size not in BLOCK_SIZES:
            raise ValueError(f"expected a block size of 512 or 4096 bytes, found {block_size}")
        if store.size_bytes < block_size or store.size_bytes % block_size:
            raise ValueError(f"{store.size_bytes} bytes are not a whole number of blocks of {block_size}")
        physical = physical_block_size or block_size
        if not block_size <= physical <= PHYSICAL_BYTES_MAX or physical & physical - 1:
            raise ValueError(f"expected a physical block of {block_size} to {PHYSICAL_BYTES_MAX}, found {physical}")
        if naa is not None and (len(naa) != 16 or naa[0] >> 4 != 6):
            raise ValueError(f"expected an NAA name of 16 bytes that starts with 6, found {naa.hex()}")
        self.device = device
        self.number = number
        self.store = store
        self.block_size = block_size
        self.physical_exponent = (physical // block_size).bit_length() - 1
        self.blocks = store.size_bytes // block_size
        self.naa = naa or derive_naa(device.name, number)
        self.write_protected = read_only or not store.writable
        self.software_write_protect = False  # SWP of the control mode page
        self.descriptor_sense = False  # D_SENSE of the control mode page
        self.write_through = False  # WCE of the caching mode page is off, though the store has a cache
        self.thin = thin
        self.allocation: Callable[[int, int], tuple[BlockStatus, int]] | None = getattr(store, "allocation", None)
        self.anchor: Callable[[int, int], None] | None = getattr(store, "anchor", None) if thin else None
        self.removable = removable
        self.medium_present = True
        self.prevented_by: dict[Nexus, None] = {}  # who had PREVENT ALLOW MEDIUM REMOVAL forbid it
        self.keeper = keeper
        self.reservations = self._kept_reservations()
        self.reserved_by: Nexus | None = None  # RESERVE(6)
        self.limits = BlockLimits(
            compare_and_write_max=COMPARE_AND_WRITE_MAX, optimal_granularity=_GRAIN_BYTES // block_size,
            transfer_max=TRANSFER_BYTES_MAX // block_size, transfer_optimal=0,
            unmap_max=UNMAP_BLOCKS_MAX if thin else 0, unmap_descriptors_max=UNMAP_DESCRIPTORS_MAX if thin else 0,
            # One block is no constraint; QEMU 7.2 fails an assertion if it is told so of 4-KiB blocks
            unmap_granularity=_GRAIN_BYTES // block_size if thin and block_size < _GRAIN_BYTES else 0,
            write_same_max=WRITE_SAME_BYTES_MAX // block_size,
            atomic_max=TRANSFER_BYTES_MAX // block_size if getattr(store, "atomic", False) else 0,
        )
        self.attentions: dict[Nexus, deque[Sense]] = {}
        """Unit attentions by attached nexus, oldest first."""
        self.copies: dict[Nexus, dict[int, CopyResult]] = {}
        """What became of the last copies that each nexus asked for, by list identifier."""
        self.watched: set[Nexus] = set()
        """Nexuses on which a command may meet an obstacle: attention, reservation, ALUA state. All others go fast."""

    def _kept_reservations(self) -> PersistentReservations:
        text = self.keeper.load() if self.keeper is not None else None
        try:
            state = PersistentReservations() if text is None else decode(text)
        except ValueError as error:
            raise ValueError(f"the reservations that were kept for it can't be read: {error}") from None
        state.can_persist = self.keeper is not None
        return state

    @property
    def serial(self) -> str:
        """Unit serial number: the part of the NAA name that is its own."""
        return self.naa.hex()[8:]

    @property
    def is_write_protected(self) -> bool:
        """Whether the medium can't be written now."""
        return self.write_protected or self.software_write_protect

    def attach(self, nexus: Nexus, attention: Sense) -> None:
        """A nexus begins; its first command meets `attention`."""
        self.attentions[nexus] = deque((attention,))
        self.watched.add(nexus)

    def detach(self, nexus: Nexus) -> None:
        """A nexus is lost: RESERVE(6) goes with it, registrations stay."""
        self.attentions.pop(nexus, None)
        self.watched.discard(nexus)
        self.prevented_by.pop(nexus, None)
        self.copies.pop(nexus, None)
        if self.reserved_by is nexus:
            self.reserved_by = None

    def watch_all(self) -> None:
        """Something changed that may concern any nexus: look again before the next command of each."""
        self.watched.update(self.attentions)

    def attention(self, sense: Sense, *, but: Nexus | None = None, only: NexusKey | None = None) -> None:
        """Queue a unit attention for all attached nexuses, or all but one, or those of one key."""
        for nexus, queue in self.attentions.items():
            if nexus is but or (only is not None and nexus.key != only):
                continue
            if sense not in queue and len(queue) < ATTENTIONS_MAX:
                queue.append(sense)
            self.watched.add(nexus)
