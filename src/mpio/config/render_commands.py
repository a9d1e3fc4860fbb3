"""Settings that are no file: scripts and rules for node records, SCSI timers, SBD's disk, Pacemaker and the rest.

Scripts are to be read before they are run; what destroys or interrupts something says so and does it only when told to.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from mpio.config.document import Document
from mpio.config.files import Kind
from mpio.config.render import MAX_RETRIES_SINCE, Rendered, key_of, spelled
from mpio.model.stack import Version

_SHELL = "#!/bin/sh\n# Written by mpio plan. Read it before you run it.\nset -eu\n"
_UDEV_MATCH = 'ACTION=="add|change", KERNELS=="session[0-9]*", SUBSYSTEM=='
_UDEV_PLACE = "etc/udev/rules.d/90-mpio-scsi.rules"
_SBD_CREATE = {"sbd.watchdog": "-1", "sbd.allocate": "-2", "sbd.loop": "-3", "sbd.msgwait": "-4"}
_PROPERTIES = {
    "corosync.stonith_timeout": "stonith-timeout", "corosync.stonith_watchdog_timeout": "stonith-watchdog-timeout",
}
_OPERATIONS = {"corosync.monitor_timeout": "monitor", "corosync.stop_timeout": "stop"}
_CSS = {"rac.misscount": "misscount", "rac.disktimeout": "disktimeout", "rac.reboottime": "reboottime"}
_MULTIHOST = {
    "mmp.interval_ms": "zfs_multihost_interval", "mmp.fail_intervals": "zfs_multihost_fail_intervals",
    "mmp.import_intervals": "zfs_multihost_import_intervals",
}
_NCS = {
    "ncs.heartbeat": "Heartbeat", "ncs.tolerance": "Tolerance", "ncs.master_watchdog": "Master Watchdog",
    "ncs.slave_watchdog": "Slave Watchdog",
}


def render_commands(
    settings: Mapping[str, object], reasons: Mapping[str, str], documents: Mapping[Kind, Sequence[Document]],
    multipath_tools: Version,
) -> tuple[Rendered, ...]:
    """What brings those settings into force that no file of `render_files` holds; arguments as there."""
    made = (
        _node_records(settings, reasons, documents.get(Kind.NODE_RECORD, ())),
        _udev(settings, reasons, multipath_tools),
        _sbd(settings, reasons, documents),
        _pacemaker(settings, reasons),
        _ncs(settings, reasons),
        _rac(settings, reasons),
        _zfs(settings, reasons),
        _qdisk(settings, reasons),
    )
    return tuple(item for item in made if item is not None)


def _script(path: str, body: list[str], about: str) -> Rendered:
    return Rendered(path, (_SHELL + "\n".join(body) + "\n").encode(), about, executable=True)


def _why(reasons: Mapping[str, str], name: str) -> list[str]:
    reason = " ".join(reasons.get(name, "").split())
    return [f"# {reason}"] if reason else []


def _node_records(
    settings: Mapping[str, object], reasons: Mapping[str, str], records: Sequence[Document]
) -> Rendered | None:
    """Node records are copies of iscsid.conf made at discovery: they have to be changed one by one."""
    body = []
    for name, value in settings.items():
        key = key_of(Kind.NODE_RECORD, name)
        text = None if key is None else spelled(key, value)
        if key is None or text is None:
            continue
        body += _why(reasons, name)
        for which in [_record(record) for record in records] or [""]:
            body.append(f"iscsiadm -m node{which} -o update -n {shlex.quote(key.name)} -v {shlex.quote(text)}")
    if not body:
        return None
    body = ["# A session takes these values at its next login. Log out and in again one path at a time, and look at",
            "# `multipath -ll` between. recovery_tmo in force: grep . /sys/class/iscsi_session/*/recovery_tmo", *body]
    return _script("node-records.sh", body, "changes the node records, which iscsid.conf no longer reaches")


def _record(document: Document) -> str:
    """The options that name one record, as it names itself."""
    found = {name: entry.value for name in ("node.name", "node.conn[0].address", "node.conn[0].port")
             if (entry := document.get((), name))}
    target, address = found.get("node.name"), found.get("node.conn[0].address")
    if not target:
        return ""
    if not address:
        return f" -T {shlex.quote(target)}"
    host = f"[{address}]" if ":" in address else address
    return f" -T {shlex.quote(target)} -p {shlex.quote(f'{host}:' + found.get('node.conn[0].port', '3260'))}"


def _udev(settings: Mapping[str, object], reasons: Mapping[str, str], multipath_tools: Version) -> Rendered | None:
    """SCSI timers are kept in sysfs only, so that a rule has to set them whenever a disk appears."""
    rules = []
    if settings.get("timeout") is not None:
        rules += [*_why(reasons, "timeout"),
                  f'{_UDEV_MATCH}"scsi", ATTR{{type}}=="0", ATTR{{timeout}}="{settings["timeout"]}"']
    if settings.get("max_retries") is not None and multipath_tools < MAX_RETRIES_SINCE:
        rules += [*_why(reasons, "max_retries"),
                  f'{_UDEV_MATCH}"scsi_disk", ATTR{{max_retries}}="{settings["max_retries"]}"']
    if not rules:
        return None
    data = "\n".join(["# Written by mpio plan: SCSI timers of iSCSI disks.", *rules]) + "\n"
    return Rendered(_UDEV_PLACE, data.encode(), "udev rule: after udevadm control --reload, udevadm trigger")


def _sbd(
    settings: Mapping[str, object], reasons: Mapping[str, str], documents: Mapping[Kind, Sequence[Document]]
) -> Rendered | None:
    """The timers in the header of each disk; none for SBD without a disk, whose sysconfig has them all."""
    configured = [document.get((), "SBD_DEVICE") for document in documents.get(Kind.SBD, ())]
    if configured and not any(entry and entry.value for entry in configured) and not documents.get(Kind.SBD_DUMP):
        return None
    options = [(flag, name) for name, flag in _SBD_CREATE.items() if settings.get(name) is not None]
    if not options:
        return None
    body = ["# sbd-header.sh DEVICE... : with the cluster stopped on every node.",
            "# `create` writes a new header and CLEARS ALL SLOTS of the device; allocate happens when the nodes start.",
            '[ $# -gt 0 ] || { echo "usage: $0 DEVICE..." >&2; exit 2; }']
    for _, name in options:
        body += _why(reasons, name)
    words = " ".join(f"{flag} {settings[name]}" for flag, name in options)
    body += ["for device; do", '    sbd -d "$device" dump || :', f'    sbd -d "$device" {words} create',
             '    sbd -d "$device" dump', "done"]
    return _script("sbd-header.sh", body, "writes SBD's timers into the header of each device, and clears its slots")


def _pacemaker(settings: Mapping[str, object], reasons: Mapping[str, str]) -> Rendered | None:
    body = []
    for name, option in _PROPERTIES.items():
        if settings.get(name) is not None:
            body += [*_why(reasons, name),
                     f"crm_attribute --type crm_config --name {option} --update {settings[name]}s"]
    for name, operation in _OPERATIONS.items():
        if settings.get(name) is not None:
            body += [*_why(reasons, name),
                     f"# of each resource that does I/O: op {operation} timeout={settings[name]}s, for example",
                     f"#   pcs resource update RESOURCE op {operation} timeout={settings[name]}s"]
    if settings.get("corosync.pcmk_delay_max"):
        body += [*_why(reasons, "corosync.pcmk_delay_max"),
                 f"# of the fence device: pcmk_delay_max={settings['corosync.pcmk_delay_max']}s"]
    if not body:
        return None
    return _script("pacemaker.sh", body, "Pacemaker's properties; timeouts of resources are named in it")


def _ncs(settings: Mapping[str, object], reasons: Mapping[str, str]) -> Rendered | None:
    body = list(_ncs_lines(settings, reasons))
    if not body:
        return None
    head = ["# Written by mpio plan: the cluster object's protocol properties, in iManager under Clusters, Properties,",
            "# Protocols. All nodes have to be restarted for them."]
    return Rendered("ncs-protocols.txt", ("\n".join([*head, *body]) + "\n").encode(),
                    "values to be entered in iManager: Cluster Services has no file for them")


def _ncs_lines(settings: Mapping[str, object], reasons: Mapping[str, str]) -> Iterator[str]:
    for name, label in _NCS.items():
        if settings.get(name) is not None:
            yield from _why(reasons, name)
            yield f"{label}: {settings[name]}"


def _rac(settings: Mapping[str, object], reasons: Mapping[str, str]) -> Rendered | None:
    body = []
    for name, key in _CSS.items():
        if settings.get(name) is not None:
            body += [*_why(reasons, name), f"crsctl set css {key} {settings[name]}"]
    if settings.get("rac.asm_hbeatiowait") is not None:
        body += [*_why(reasons, "rac.asm_hbeatiowait"), "# in each ASM instance, as SYSASM:",
                 f"""#   alter system set "_asm_hbeatiowait"={settings['rac.asm_hbeatiowait']} scope=spfile;"""]
    return _script("rac.sh", body, "Oracle Clusterware's timers, to be set as root on one node") if body else None


def _zfs(settings: Mapping[str, object], reasons: Mapping[str, str]) -> Rendered | None:
    body = []
    for name, key in _MULTIHOST.items():
        if settings.get(name) is not None:
            body += [*_why(reasons, name), f"options zfs {key}={settings[name]}"]
    if not body:
        return None
    data = "\n".join(["# Written by mpio plan: equal on every host that may import the pool.", *body]) + "\n"
    return Rendered("etc/modprobe.d/90-mpio-zfs.conf", data.encode(),
                    "module options of ZFS; they are also in /sys/module/zfs/parameters")


def _qdisk(settings: Mapping[str, object], reasons: Mapping[str, str]) -> Rendered | None:
    body = []
    for name, where in (("qdisk.interval", "quorumd interval="), ("qdisk.tko", "quorumd tko=")):
        if settings.get(name) is not None:
            body += [*_why(reasons, name), f'{where}"{settings[name]}"']
    if settings.get("qdisk.cman_timeout") is not None:
        milliseconds = 1000 * int(str(settings["qdisk.cman_timeout"]))
        body += [*_why(reasons, "qdisk.cman_timeout"), f'totem token="{milliseconds}"']
    if not body:
        return None
    head = ["# Written by mpio plan: attributes for /etc/cluster/cluster.conf of CMAN, equal on all nodes."]
    return Rendered("qdisk.txt", ("\n".join([*head, *body]) + "\n").encode(), "attributes for CMAN's cluster.conf")
