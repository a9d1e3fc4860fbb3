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
