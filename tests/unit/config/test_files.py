"""Which codec reads which file, and that each of them reads, finds, changes and writes."""

import pytest

from mpio.config.document import Section
from mpio.config.files import Kind, codec_for, parse

SMALL: dict[Kind, tuple[bytes, Section, str, str]] = {
    Kind.ISCSID: (b"node.startup = manual\nnode.conn[0].timeo.noop_out_interval = 5\n",
                  (), "node.conn[0].timeo.noop_out_interval", "5"),
    Kind.NODE_RECORD: (b"# BEGIN RECORD 2.1.8\nnode.name = iqn.x\nnode.tpgt = 41\n# END RECORD\n",
                       (), "node.tpgt", "41"),
    Kind.O2CB: (b'O2CB_ENABLED=true\nO2CB_HEARTBEAT_THRESHOLD="31"\n', (), "O2CB_HEARTBEAT_THRESHOLD", "31"),
    Kind.OCFS2: (b"cluster:\n\tname = web\n\nnode:\n\tnumber = 0\n", ("node[0]",), "number", "0"),
    Kind.SBD: (b"SBD_DEVICE='/dev/a;/dev/b'\n", (), "SBD_DEVICE", "/dev/a;/dev/b"),
    Kind.COROSYNC: (b"totem {\n    token: 5000\n}\n", ("totem",), "token", "5000"),
    Kind.SANLOCK: (b"use_watchdog = 1\n", (), "use_watchdog", "1"),
    Kind.HA_CF: (b"deadtime 30 # s\nnode a b\n", (), "deadtime", "30"),
    Kind.SYSCTL: (b"kernel/panic=30\n", (), "kernel.panic", "30"),
    Kind.IETD: (b"Target iqn.x\n\tMaxConnections 1\n", ("Target[0]",), "maxconnections", "1"),
    Kind.MULTIPATH: (b"defaults {\n\tpolling_interval 5\n}\n", ("defaults",), "polling_interval", "5"),
}


@pytest.mark.parametrize("kind", SMALL)
def test_every_kind_reads_finds_changes_and_writes(kind: Kind) -> None:
    data, section, key, value = SMALL[kind]
    document = parse("f", data, kind)
    assert document.render() == data
    assert not document.problems
    entry = document.get(section, key)
    assert entry is not None
    assert entry.value == value
    changed = document.set(section, key, "7")
    assert changed.render() == data.replace(value.encode(), b"7", 1)
    assert document.render() == data


def test_nothing_is_recognised_without_a_reason() -> None:
    assert codec_for("journal.txt", b"Nov 12 kernel: connection1:0: detected conn error (1022)\n") is None


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/etc/iscsi/iscsid.conf", Kind.ISCSID),
        ("host7/etc/iscsi/iscsid.conf", Kind.ISCSID),
        ("before-etc-iscsid.conf.txt", Kind.ISCSID),
        ("sos_commands/etc_iscsi_iscsid.conf", Kind.ISCSID),
        ("/var/lib/iscsi/nodes/iqn.x/192.0.2.1,3260,1/default", Kind.NODE_RECORD),
        ("a/etc/iscsi/nodes/iqn.x/192.0.2.1,3260", Kind.NODE_RECORD),
        ("/etc/multipath.conf", Kind.MULTIPATH),
        ("/etc/multipath/conf.d/vendor.conf", Kind.MULTIPATH),
        ("multipath.conf.generic", Kind.MULTIPATH),
        ("/etc/sysconfig/o2cb", Kind.O2CB),
        ("x/etc/default/o2cb", Kind.O2CB),
        ("etc-sysconfig-o2cb.txt", Kind.O2CB),
        ("/etc/ocfs2/cluster.conf", Kind.OCFS2),
        ("/etc/sysconfig/sbd", Kind.SBD),
        ("/etc/default/sbd", Kind.SBD),
        ("node1-sbd-dump.txt", Kind.SBD_DUMP),
        ("sos_commands/sbd_-d_.dev.sdb_dump", Kind.SBD_DUMP),
        ("/etc/corosync/corosync.conf", Kind.COROSYNC),
        ("/etc/sanlock/sanlock.conf", Kind.SANLOCK),
        ("/etc/ha.d/ha.cf", Kind.HA_CF),
        ("/etc/sysctl.conf", Kind.SYSCTL),
        ("/etc/sysctl.d/99-cluster.conf", Kind.SYSCTL),
        ("/etc/iet/ietd.conf", Kind.IETD),
        ("/etc/ietd.conf", Kind.IETD),
        ("C:\\case\\etc\\multipath.conf", Kind.MULTIPATH),
        ("/etc/multipath.conf.rpmsave", None),
        ("/etc/multipath.conf~", None),
        ("/etc/iscsi/iscsid.conf.dpkg-old", None),
        ("/etc/multipath/conf.d/vendor.conf.bak", None),
        ("/etc/cluster/cluster.conf", None),
        ("/etc/sysconfig/network", None),
        ("mysanlock.conferences", None),
        ("/etc/iscsi/initiatorname.iscsi", None),
    ],
)
def test_a_file_is_known_by_its_name(path: str, kind: Kind | None) -> None:
    assert codec_for(path, b"") == kind


@pytest.mark.parametrize("kind", SMALL)
def test_a_file_is_known_by_its_content(kind: Kind) -> None:
    assert codec_for("some.txt", SMALL[kind][0]) == kind
    assert codec_for("some.txt", b"# a comment\r\n\r\n" + SMALL[kind][0]) == kind


def test_another_program_s_file_of_the_same_name_is_not_read() -> None:
    assert codec_for("/etc/ocfs2/cluster.conf", b'<?xml version="1.0"?>\n<cluster/>') is None
    assert codec_for("/etc/init.d/sbd", b"#!/bin/bash\nSBD_BIN=/usr/sbin/sbd\n") is None
    assert codec_for("multipath.conf", b"{% if x %}\ndefaults {\n") == Kind.MULTIPATH
