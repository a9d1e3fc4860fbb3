"""The programs that a file is for are the judges of what its codec reads: sh, sysctl, corosync, iscsiadm, sbd."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.peers import find
from tests.unit.config.soup import soup

from mpio.config.document import Document
from mpio.config.files import Kind, parse

pytestmark = pytest.mark.interop
few = hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a mount namespace and a loop device")


def run(*command: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    words = [find(command[0]), *command[1:]]
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(words, input=data, capture_output=True, check=False, timeout=60, env=environment)


def in_force(document: Document) -> dict[str, bytes]:
    """Values by key, of a file without sections."""
    return {entry.key: entry.value.encode("utf-8", "surrogateescape") for entry in document.entries()}


def lines_with_errors(document: Document) -> list[int]:
    return [problem.line for problem in document.problems if problem.severity == "error"]


@few
@given(data=soup(Kind.O2CB))
def test_the_shell_sets_what_is_read_of_a_sysconfig_file(data: bytes, tmp_path: Path) -> None:
    document = parse("f", data, Kind.O2CB)
    if lines_with_errors(document):
        return
    file = tmp_path / "sysconfig"
    file.write_bytes(data)
    done = run("sh", "-c", 'set -a; . "$0"; env -0', str(file))
    assert done.returncode == 0
    variables = dict(item.split(b"=", 1) for item in done.stdout.split(b"\0") if item)
    for key, value in in_force(document).items():
        assert variables[key.encode()] == value


@pytest.mark.parametrize("value", ["31", "a b", '"no"', "it's", "$HOME `id`", "back\\slash", "", "a;b#c", "caf\u00e9"])
@pytest.mark.parametrize("written", [b"A=1\n", b'A="1" # x\n', b"B=2; A='1'\n", b""])
def test_the_shell_finds_what_is_set_in_a_sysconfig_file(written: bytes, value: str, tmp_path: Path) -> None:
    file = tmp_path / "sysconfig"
    file.write_bytes(parse("f", written, Kind.O2CB).set((), "A", value, "why it is so").render())
    assert run("sh", "-c", '. "$0"; printf %s "$A"', str(file)).stdout == value.encode()


_SYSCTL_LINES = st.sampled_from([
    "kernel.panic = 30", "kernel/panic=5", "  -vm.swappiness\t=\t10  ", "net/ipv4/conf/lo/rp_filter = 2 ",
    "# vm.swappiness = 1", ";x", "kernel.panic", "no equals here", "", "vm.swappiness=1 2", "-vm.overcommit_ratio",
])  # fmt: skip


@few
@given(lines=st.lists(_SYSCTL_LINES, max_size=8), ended=st.booleans())
def test_sysctl_takes_what_is_read_of_its_file(lines: list[str], ended: bool, tmp_path: Path) -> None:
    data = ("\n".join(lines) + "\n" * ended).encode()
    document = parse("f", data, Kind.SYSCTL)
    file = tmp_path / "sysctl.conf"
    file.write_bytes(data)
    done = run("sysctl", "--dry-run", "-p", str(file))
    taken = dict(line.split(" = ", 1) for line in done.stdout.decode().splitlines())
    assert taken == {key: value.decode() for key, value in in_force(document).items()}
    refused = [int(number) for number in re.findall(r"sysctl\.conf\((\d+)\): invalid", done.stderr.decode())]
    assert refused == lines_with_errors(document)


_COROSYNC_SYNTAX = ("Line is", "Extra", "Missing", "Unexpected", "Key name")


@few
@given(data=soup(Kind.COROSYNC))
def test_corosync_stops_at_the_first_error_that_is_reported(data: bytes, tmp_path: Path) -> None:
    # names that corosync does not know, so that it has nothing but the syntax to say, and that are long enough for it
    data = re.sub(rb"\w+", rb"xy_\g<0>", data.replace(b"\0", b""))
    file = tmp_path / "corosync.conf"
    file.write_bytes(data)
    words = run("corosync", "-t", "-c", str(file)).stderr.decode(errors="replace")
    said = re.search(r"parser error: \S+:(\d+): (.*)", words)
    if said and not said[2].startswith(_COROSYNC_SYNTAX):
        return  # a key that it cannot store
    reported = [problem for problem in parse("f", data, Kind.COROSYNC).problems if "refuses" in problem.hint]
    others = [problem.line for problem in reported if "never closed" not in problem.message]
    if said is None:
        assert not reported
    elif said[2].startswith("Missing closing"):
        assert reported
        assert not others
    else:
        assert others[0] == int(said[1])


_RECORD = """mount -t tmpfs none /etc/iscsi
mkdir -p "/etc/iscsi/nodes/iqn.x:t/127.0.0.1,3260,1"
echo InitiatorName=iqn.x:y > /etc/iscsi/initiatorname.iscsi
cat > "/etc/iscsi/nodes/iqn.x:t/127.0.0.1,3260,1/default"
exec iscsiadm -m node -T iqn.x:t -p 127.0.0.1:3260,1 -o show"""
_RECORD_HEAD = (
    b"node.name = iqn.x:t\nnode.tpgt = 1\nnode.conn[0].address = 127.0.0.1\nnode.conn[0].port = 3260\n"
    b"iface.iscsi_ifacename = default\niface.transport_name = tcp\n"
)
_RECORD_LINES = st.sampled_from([
    "node.startup = automatic", "node.startup=automatic", "#node.startup = automatic", "",
    "node.session.queue_depth= 64", " node.session.queue_depth =64", "node.session.queue_depth== 16",
    "\tnode.session.cmds_max\t=\t256\r", "node.session.cmds_max", "node.session.cmds_max =",
    "node.session.timeo.replacement_timeout = 20", "node.conn[0].timeo.noop_out_timeout = 8",
    "node.conn[0].timeo.noop_out_timeout : 9",
])  # fmt: skip


@as_root
@few
@given(lines=st.lists(_RECORD_LINES, max_size=8), ended=st.booleans())
def test_iscsiadm_takes_what_is_read_of_a_node_record(lines: list[str], ended: bool) -> None:
    find("iscsiadm")
    data = _RECORD_HEAD + ("\n".join(lines) + "\n" * ended).encode()
    done = run("unshare", "-m", "sh", "-ec", _RECORD, data=data)
    assert b"# BEGIN RECORD" in done.stdout, done.stderr
    shown, document = parse("shown", done.stdout, Kind.NODE_RECORD), parse("record", data, Kind.NODE_RECORD)
    for entry in document.entries():
        if document.get((), entry.key) == entry and not entry.key.startswith("iface."):
            in_program = shown.get((), entry.key)
            assert in_program is not None
            assert in_program.value == entry.value
    warned = [int(number) for number in re.findall(r"line (\d+)", done.stderr.decode())]
    assert warned == lines_with_errors(document)


@as_root
def test_the_header_that_sbd_writes_is_read_from_its_dump(tmp_path: Path) -> None:
    find("sbd")
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4 << 20))
    attached = run("losetup", "--find", "--show", str(disk))
    if attached.returncode:
        pytest.skip("no loop device can be had here")
    device = attached.stdout.decode().strip()
    try:
        assert run("sbd", "-d", device, "-1", "15", "-2", "2", "-3", "1", "-4", "31", "create").returncode == 0
        document = parse("dump", run("sbd", "-d", device, "dump").stdout, Kind.SBD_DUMP)
    finally:
        run("losetup", "--detach", device)
    assert not document.problems
    values = {entry.key: entry.value for entry in document.entries()}
    assert values["disk"] == device
    assert values["Sector size"] == "512"
    timeouts = [values[f"Timeout ({name})"] for name in ("watchdog", "allocate", "loop", "msgwait")]
    assert timeouts == ["15", "2", "1", "31"]
