"""Prioritizers: how good a path is. `const` says 1; `alua` asks the target (SPC-4 §5.15, §6.37).

`detect_prio` turns `alua` on for a LU whose INQUIRY says that it has port groups, as multipath-tools does.
"""

from mpio.errors import RemoteProtocolError
from mpio.model.identity import PathIdentity, TargetPortGroup
from mpio.model.settings import Settings
from mpio.proto.scsi import alua, cdb

CONST_PRIORITY = 1
REPORT_BYTES = 4096
"""Allocation for the report: some 500 groups of one port, well above what any array has."""


def uses_alua(settings: Settings, identity: PathIdentity) -> bool:
    """Whether the path's priority comes from REPORT TARGET PORT GROUPS."""
    return settings.prio == "alua" or (settings.detect_prio and identity.tpgs != 0)


def report_command() -> bytes:
    """The command whose answer `own_group` reads."""
    return cdb.report_target_port_groups(REPORT_BYTES)


def own_group(data: bytes | memoryview, identity: PathIdentity) -> TargetPortGroup | None:
    """The port group of the path in a report, or None if the report can't be read or does not have it."""
    try:
        report = alua.parse_report(data)
    except RemoteProtocolError:
        return None
    if identity.port_group is None and identity.relative_port is None:
        return report.groups[0] if len(report.groups) == 1 else None
    return report.group_of(group_id=identity.port_group, relative_port=identity.relative_port)


def alua_priority(group: TargetPortGroup | None) -> int:
    """50 optimized, 10 non-optimized, 5 LBA dependent, 1 standby, 0 else; 80 more if preferred and not optimized."""
    return 0 if group is None else alua.priority(group.state, preferred=group.preferred)
