"""What a path says about the logical unit behind it. Two paths belong to one map only if their identities agree."""

from dataclasses import dataclass
from enum import IntEnum


class AluaState(IntEnum):
    """Asymmetric access states with their values on the wire (SPC-4 §5.15.2)."""

    ACTIVE_OPTIMIZED = 0x0
    ACTIVE_NON_OPTIMIZED = 0x1
    STANDBY = 0x2
    UNAVAILABLE = 0x3
    LBA_DEPENDENT = 0x4
    OFFLINE = 0xE
    TRANSITIONING = 0xF


@dataclass(frozen=True, slots=True)
class TargetPortGroup:
    """One group of REPORT TARGET PORT GROUPS: its id, state, preference, and relative port ids."""

    group_id: int
    state: AluaState
    preferred: bool
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PathIdentity:
    """What was read from the LU through one path right after login.

    Attributes:
        wwid: as udev and multipath would derive it from VPD 0x83, e.g. `36001405…`.
        blocks: number of logical blocks. block_size: bytes, 512 or 4096.
        vendor, product, revision, serial: trimmed text of INQUIRY and VPD 0x80.
        target_name: the iSCSI node name logged in to. tpgt: its target portal group tag.
        relative_port, port_group: of the port in use, from VPD 0x83 types 4 and 5; None if not reported.
        tpgs: TPGS field of INQUIRY: 0 none, 1 implicit, 2 explicit, 3 both.
        transfer_blocks_max: MAXIMUM TRANSFER LENGTH of VPD 0xB0, 0 if not limited.
        unmap_blocks_max, unmap_descriptors_max: limits of UNMAP; 0 if not supported.
        write_protected: WP of the mode parameter header.
    """

    wwid: str
    blocks: int
    block_size: int
    vendor: str = ""
    product: str = ""
    revision: str = ""
    serial: str = ""
    target_name: str = ""
    tpgt: int = 0
    relative_port: int | None = None
    port_group: int | None = None
    tpgs: int = 0
    transfer_blocks_max: int = 0
    unmap_blocks_max: int = 0
    unmap_descriptors_max: int = 0
    write_protected: bool = False

    @property
    def size_bytes(self) -> int:
        """Capacity in bytes."""
        return self.blocks * self.block_size
