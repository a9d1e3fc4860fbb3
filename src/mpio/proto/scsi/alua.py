"""Asymmetric logical unit access: REPORT and SET TARGET PORT GROUPS, and priorities (SPC-4 §5.15, §6.37, §6.45)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from mpio.errors import RemoteProtocolError
from mpio.model.identity import AluaState, TargetPortGroup
from mpio.model.task import Buffer

SUPPORTED_STATES = 0x80 | 0x40 | 0x08 | 0x04 | 0x02 | 0x01  # T, O, U, S, AN, AO
_EXTENDED_FORMAT = 0x10
_GROUP_HEAD = struct.Struct(">BBHxBxB")  # PREF and state, supported, group, status, port count
_GROUPS_MAX = 1024  # more is a hostile list

_PRIORITY = {
    AluaState.ACTIVE_OPTIMIZED: 50,
    AluaState.ACTIVE_NON_OPTIMIZED: 10,
    AluaState.LBA_DEPENDENT: 5,
    AluaState.STANDBY: 1,
}
_PREFERRED_BONUS = 80


class StatusCode(IntEnum):
    """What last changed the state of a group."""

    NONE = 0
    SET_BY_COMMAND = 1
    SET_BY_TARGET = 2


def priority(state: AluaState, *, preferred: bool) -> int:
    """What multipath-tools' `alua` prioritizer gives (libmultipath/prioritizers/alua.c): 50, 10, 5, 1, 0.

    A preferred group gets 80 more, unless it is active/optimized already.
    """
    base = _PRIORITY.get(state, 0)
    return base + _PREFERRED_BONUS if preferred and state is not AluaState.ACTIVE_OPTIMIZED else base


@dataclass(frozen=True, slots=True)
class PortGroupReport:
    """The reply of REPORT TARGET PORT GROUPS. `transition_time_s` is 0 if not told (short header)."""

    groups: tuple[TargetPortGroup, ...]
    transition_time_s: int = 0

    def group_of(self, *, group_id: int | None = None, relative_port: int | None = None) -> TargetPortGroup | None:
        """The group with this id, else the one that lists the port."""
        for group in self.groups:
            if group_id is not None:
                if group.group_id == group_id:
                    return group
            elif relative_port in group.ports:
                return group
        return None


def build_report(
    groups: Sequence[tuple[TargetPortGroup, StatusCode]], *, transition_time_s: int | None = None,
) -> bytes:
    """The parameter data of REPORT TARGET PORT GROUPS; with a transition time in the extended format."""
    body = b"" if transition_time_s is None else struct.pack(">BB2x", _EXTENDED_FORMAT, transition_time_s)
    for group, status in groups:
        head = (0x80 if group.preferred else 0) | group.state
        body += _GROUP_HEAD.pack(head, SUPPORTED_STATES, group.group_id, status, len(group.ports))
        body += b"".join(struct.pack(">2xH", port) for port in group.ports)
    return struct.pack(">I", len(body)) + body


def report_length(data: Buffer) -> int:
    """How many bytes the whole report has, whatever the allocation length cut off."""
    return 4 + struct.unpack_from(">I", data)[0] if len(data) >= 4 else 0


def parse_report(data: Buffer) -> PortGroupReport:
    """Read REPORT TARGET PORT GROUPS, either format. Raises RemoteProtocolError if a group is cut off or repeated."""
    if len(data) < 4:
        raise RemoteProtocolError(f"a port group report of {len(data)} bytes", clause="SPC-4 §6.37")
    end = min(len(data), report_length(data))
    at, transition_time_s = 4, 0
    if end >= 8 and data[4] & 0x70 == _EXTENDED_FORMAT:  # in the short format, byte 4 bits 6-4 are reserved
        at, transition_time_s = 8, data[5]
    groups: dict[int, TargetPortGroup] = {}
    while at < end:
        if at + _GROUP_HEAD.size > end or at + _GROUP_HEAD.size + 4 * data[at + 7] > end:
            raise RemoteProtocolError("a port group report ends inside a group", clause="SPC-4 §6.37")
        head, _, group_id, _, count = _GROUP_HEAD.unpack_from(data, at)
        at += _GROUP_HEAD.size
        ports = tuple(port for (port,) in struct.iter_unpack(">2xH", data[at : at + 4 * count]))
        at += 4 * count
        if group_id in groups or len(groups) == _GROUPS_MAX:
            raise RemoteProtocolError(f"port group {group_id} reported twice, or too many", clause="SPC-4 §6.37")
        groups[group_id] = TargetPortGroup(group_id, _state(head & 0xF), bool(head & 0x80), ports)
    return PortGroupReport(tuple(groups.values()), transition_time_s)


def _state(code: int) -> AluaState:
    """The state of a code; a code that SPC-4 reserves counts as unavailable, since nothing is known to work there."""
    try:
        return AluaState(code)
    except ValueError:
        return AluaState.UNAVAILABLE


def build_set_list(states: Sequence[tuple[int, AluaState]]) -> bytes:
    """The parameter list of SET TARGET PORT GROUPS for (group id, state) pairs."""
    return bytes(4) + b"".join(struct.pack(">BxH", state, group_id) for group_id, state in states)


def parse_set_list(data: Buffer) -> list[tuple[int, int]]:
    """The (group id, state code) pairs of a SET TARGET PORT GROUPS list. Raises RemoteProtocolError."""
    if len(data) < 4 or len(data) % 4:
        raise RemoteProtocolError(f"a list of {len(data)} bytes", clause="SPC-4 §6.45")
    return [(group_id, head & 0xF) for head, group_id in struct.iter_unpack(">BxH", data[4:])]
