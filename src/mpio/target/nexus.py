"""The two ends of an I_T nexus as the target sees them: the initiator port, and the target port with its ALUA group."""

from dataclasses import dataclass, field
from typing import NamedTuple

from mpio.model.address import Portal
from mpio.model.identity import AluaState, TargetPortGroup
from mpio.proto.scsi.alua import StatusCode


class NexusKey(NamedTuple):
    """What names an I_T nexus within one target, over sessions and restarts; registrations belong to it."""

    initiator: str
    isid: bytes
    tpgt: int

    @property
    def initiator_port(self) -> str:
        """SCSI name of the initiator port (RFC 7143 §4.2.7)."""
        return f"{self.initiator},i,0x{self.isid.hex()}"


@dataclass(eq=False, slots=True)
class PortGroup:
    """Portals that share a group tag: one SCSI target port, here alone in its ALUA group.

    Attributes:
        tpgt: the iSCSI portal group tag. portals: where it listens; none for a group that another node serves.
        group_id, relative_port: what RTPG and VPD 83 call it.
        state, preferred, status: its asymmetric access state and who set it last.
    """

    tpgt: int
    portals: list[Portal] = field(default_factory=list)
    group_id: int = 0
    relative_port: int = 0
    state: AluaState = AluaState.ACTIVE_OPTIMIZED
    preferred: bool = False
    status: StatusCode = StatusCode.NONE

    def __post_init__(self) -> None:
        if not 1 <= self.tpgt <= 0xFFFF:
            raise ValueError(f"expected a target portal group tag from 1 to 65535, found {self.tpgt}")
        self.group_id = self.group_id or self.tpgt
        self.relative_port = self.relative_port or self.tpgt

    def descriptor(self) -> TargetPortGroup:
        """The group as RTPG reports it."""
        return TargetPortGroup(self.group_id, self.state, self.preferred, (self.relative_port,))


class Nexus:
    """One live I_T nexus: a session. Compared and hashed by identity, so that a new session is another nexus."""

    __slots__ = ("group", "key")

    def __init__(self, key: NexusKey, group: PortGroup) -> None:
        self.key = key
        self.group = group

    def __repr__(self) -> str:
        return f"<Nexus {self.key.initiator_port} to group {self.key.tpgt}>"
