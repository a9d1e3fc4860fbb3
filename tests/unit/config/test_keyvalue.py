"""Flat files: each dialect reads a line as its program does."""

import pytest

from mpio.config import keyvalue
from mpio.config.files import Kind, parse


@pytest.mark.parametrize(
    ("kind", "line", "key", "value"),
    [
        (Kind.ISCSID, "node.startup = manual", "node.startup", "manual"),
        (Kind.ISCSID, "  node.startup\t=\tmanual  ", "node.startup", "manual"),
        (Kind.ISCSID, "node.startup =manual", "node.startup", "manual"),
        (Kind.ISCSID, "a = b = c # d", "a", "b = c # d"),
        (Kind.NODE_RECORD, "iface.net_ifacename = <empty>", "iface.net_ifacename", "<empty>"),
        (Kind.SYSCTL, "kernel.panic=30", "kernel.panic", "30"),
        (Kind.SYSCTL, " -kernel/panic = 30 ", "kernel.panic", "30"),
        (Kind.SYSCTL, "net/ipv4/conf/eth0.100/rp_filter = 2", "net.ipv4.conf.eth0/100.rp_filter", "2"),
        (Kind.SYSCTL, "net.ipv4.conf.eth0/100.rp_filter = 2", "net.ipv4.conf.eth0/100.rp_filter", "2"),
        (Kind.SYSCTL, "kernel.core_pattern =", "kernel.core_pattern", ""),
        (Kind.SANLOCK, "io_timeout = 10 seconds", "io_timeout", "10"),
        (Kind.SANLOCK, "io_timeout=10", "io_timeout", "10"),
        (Kind.SANLOCK, "io_timeout in seconds = 10", "io_timeout", "10"),
        (Kind.HA_CF, "deadtime 30", "deadtime", "30"),
        (Kind.HA_CF, "\tbcast eth0, eth1 # both", "bcast", "eth0, eth1"),
        (Kind.IETD, "  MaxConnections   1 ", "MaxConnections", "1"),
    ],
)
def test_a_setting(kind: Kind, line: str, key: str, value: str) -> None:
    document = parse("f", f"{line}\n".encode(), kind)
    assert [(entry.key, entry.value, entry.line) for entry in document.entries()] == [(key, value, 1)]
    assert not document.problems


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        (Kind.ISCSID, "a=1", "there is no blank before '='; iscsid ignores the line; write a = 1"),
        (Kind.ISCSID, "node.startup: manual", "expected '=' after 'node.startup:'; iscsid ignores the line"),
        (Kind.ISCSID, "node.startup", "'node.startup' has no value; iscsid ignores the line"),
        (Kind.ISCSID, "node.startup =", "'node.startup' has no value; iscsid ignores the line"),
        (Kind.SYSCTL, "kernel.panic 30", "expected key = value; sysctl ignores the line"),
        (Kind.SYSCTL, "= 30", "expected a key before '='; sysctl ignores the line"),
        (Kind.SANLOCK, " io_timeout = 10", "a blank stands before the key; sanlock ignores the line"),
        (Kind.SANLOCK, "io_timeout 10", "expected key = value; sanlock ignores the line"),
        (Kind.HA_CF, "watchdog # none", "'watchdog' has no value; heartbeat ignores the line"),
        (Kind.IETD, "Target", "'Target' has no value; ietd ignores the line"),
    ],
)  # fmt: skip
def test_a_line_that_is_not_understood(kind: Kind, line: str, message: str) -> None:
    document = parse("f", f"\n{line}\n".encode(), kind)
    assert not document.entries()
    assert [str(problem) for problem in document.problems] == [f"f:2: {message}"]


@pytest.mark.parametrize("kind", [Kind.ISCSID, Kind.NODE_RECORD, Kind.IETD])
def test_a_last_line_without_a_newline_is_not_read_by_open_iscsi(kind: Kind) -> None:
    document = parse("f", b"a = 1\nb = 2", kind)
    assert [entry.key for entry in document.entries()] == ["a"]
    assert "a last line without a newline; end it with a newline" in str(document.problems[0])
    assert document.set((), "c", "3").render().endswith(b"c 3\nb = 2" if kind == Kind.IETD else b"c = 3\nb = 2")


def test_the_last_of_several_counts_and_is_the_one_that_changes() -> None:
    document = parse("f", b"a = 1\nb = 2\na = 3\n", Kind.ISCSID)
    assert document.set((), "a", "4").render() == b"a = 1\nb = 2\na = 4\n"


def test_a_setting_of_sysctl_is_found_under_both_spellings() -> None:
    document = parse("f", b"kernel/panic = 30\n", Kind.SYSCTL)
    assert document.get((), "kernel.panic") == document.get((), "kernel/panic") is not None
    assert document.set((), "kernel.panic", "60").render() == b"kernel/panic = 60\n"
    assert keyvalue.sysctl_key("net/ipv4/conf/eth0.1/x") == "net.ipv4.conf.eth0/1.x"


def test_a_node_record_takes_additions_before_its_end() -> None:
    document = parse("f", b"# BEGIN RECORD 2.1\nnode.name = x\n# END RECORD\n", Kind.NODE_RECORD)
    assert document.set((), "node.tpgt", "1").render() == (
        b"# BEGIN RECORD 2.1\nnode.name = x\nnode.tpgt = 1\n# END RECORD\n"
    )


def test_several_records_in_one_output_are_sections() -> None:
    record = "# BEGIN RECORD 2.1\nnode.name = {}\n# END RECORD\n\n"
    document = parse("f", (record.format("x") + record.format("y")).encode(), Kind.NODE_RECORD)
    names = [(entry.section, entry.value) for entry in document.entries()]
    assert names == [(("record[0]",), "x"), (("record[1]",), "y")]
    edited = document.set(("record[0]",), "node.tpgt", "1")
    assert edited.render().decode().splitlines()[1:4] == ["node.name = x", "node.tpgt = 1", "# END RECORD"]


def test_settings_behind_a_target_of_ietd_are_that_target_s() -> None:
    data = b"IncomingUser a b\nTarget iqn.x\n\tLun 0 Path=/x\ntarget iqn.y\n\tlun 0 Path=/y\n"
    document = parse("f", data, Kind.IETD)
    places = [(entry.section, entry.key) for entry in document.entries()]
    assert places == [
        ((), "IncomingUser"), (("Target[0]",), "Target"), (("Target[0]",), "Lun"), (("Target[1]",), "target"),
        (("Target[1]",), "lun"),
    ]  # fmt: skip
    edited = document.set(("Target[0]",), "NOPInterval", "5").set((), "iSNSServer", "192.0.2.1")
    assert edited.render().decode().splitlines() == [
        "IncomingUser a b", "iSNSServer 192.0.2.1", "Target iqn.x", "\tLun 0 Path=/x", "\tNOPInterval 5",
        "target iqn.y", "\tlun 0 Path=/y",
    ]  # fmt: skip
