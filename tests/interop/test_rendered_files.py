"""Rendered files in the eyes of the programs that read them: multipath, corosync, iscsiadm, sbd, the shell."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.command import Done
from tests.multipath_tools import dump as multipath_dump
from tests.peers import ALL_SBIN, Missing, find

from mpio.config.document import Document
from mpio.config.files import Kind, parse
from mpio.config.render import Rendered, render_files
from mpio.config.render_commands import render_commands
from mpio.planner.goals import Goals, Plan, setting
from mpio.planner.solve import solve

pytestmark = pytest.mark.interop
TOOLS = (0, 9, 4)  # Debian 12's multipath-tools
STOCK_CLUSTER = """totem {
	version: 2
	cluster_name: test
	transport: knet
	crypto_cipher: none
	crypto_hash: none
}
nodelist {
	node {
		ring0_addr: 127.0.0.1
		name: a
		nodeid: 1
	}
	node {
		ring0_addr: 127.0.0.2
		name: b
		nodeid: 2
	}
}
quorum {
	provider: corosync_votequorum
}
logging {
	to_syslog: no
	to_stderr: yes
}
"""
GOALS = {
    "ocfs2": Goals(max_stall_s=20, cluster="ocfs2"),
    "sbd": Goals(max_stall_s=30, cluster="sbd", nodes=3),
    "sanlock": Goals(ride_out_s=40, cluster="sanlock"),
    "no limit": Goals(ride_out_s=120),
    "short": Goals(max_stall_s=8, hung_lun=False),
}


def planned(name: str) -> tuple[Mapping[str, object], Mapping[str, str]]:
    """The settings of a plan, and their reasons."""
    plan = solve(GOALS[name])
    assert isinstance(plan, Plan)
    return ({key: setting(plan.stack, plan.clusters, key) for key in plan.reasons if key not in plan.sysctl},
            plan.reasons)


def with_etc(etc: Path, *command: str) -> Done:
    """Run a command in a mount namespace of its own that has this directory in place of /etc."""
    words = [find("unshare"), "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-ec",
             'mount --bind "$0" /etc; exec "$@"', str(etc), find(command[0]), *command[1:]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "PATH": ALL_SBIN}, stdin=subprocess.DEVNULL)
    if re.search("unshare: |mount: .*(permission denied|not permitted)", done.stderr):
        raise Missing(f"a mount namespace can't be made: {done.stderr.strip()}")
    return Done(done.returncode, done.stdout, done.stderr)


def write(top: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return top


# --- multipath -t


def in_force(files: Mapping[str, bytes]) -> dict[tuple[str, str], str]:
    """The defaults and overrides that multipath has read of files below etc/; it must not complain."""
    found = multipath_dump({name.removeprefix("etc/"): data for name, data in files.items()})
    assert not found.said
    return {(section, key): value for section in ("defaults", "overrides")
            for key, value in found.sections.get(section, {}).items()}


def of_multipath(settings: Mapping[str, object]) -> dict[tuple[str, str], str]:
    """Where multipath's own dump must show each setting."""
    overrides = ("fast_io_fail_tmo", "no_path_retry", "failback", "path_selector", "path_grouping_policy")
    defaults = ("polling_interval", "max_polling_interval", "checker_timeout")
    return {(section, name): "off" if settings[name] is None else str(settings[name])
            for section, names in (("overrides", overrides), ("defaults", defaults)) for name in names
            if settings.get(name) is not None}


@pytest.mark.parametrize("name", GOALS)
def test_multipath_reads_a_drop_in_as_it_was_meant(name: str) -> None:
    settings, reasons = planned(name)
    rendered = render_files(settings, reasons, {}, {}, TOOLS)
    files = {item.path: item.data for item in rendered if "multipath" in item.path}
    files["etc/multipath.conf"] = b"defaults {\n\tpolling_interval 30\n}\noverrides {\n\tno_path_retry fail\n}\n"
    expected = of_multipath(settings)
    assert len(expected) >= 3
    assert {key: value for key, value in in_force(files).items() if key in expected} == expected


def test_multipath_reads_an_edit_of_somebodys_own_files() -> None:
    site = "overrides {\n\tno_path_retry 6\n}\ndefaults {\n\tpolling_interval 10\n}\n"
    texts = {
        "etc/multipath.conf": '# site\ndefaults {\n\tuser_friendly_names "yes" # names\n\tpolling_interval\t\t20\n}\n'
        'devices {\n\tdevice {\n\t\tvendor "LIO-ORG"\n\t\tproduct ".*"\n\t\tno_path_retry queue\n\t}\n}\n',
        "etc/multipath/conf.d/10-site.conf": site,
    }
    documents: list[Document] = [parse(name, text.encode(), Kind.MULTIPATH) for name, text in texts.items()]
    settings, reasons = planned("ocfs2")
    files = {name: text.encode() for name, text in texts.items()}
    edited = [item for item in render_files(settings, reasons, {}, {Kind.MULTIPATH: documents}, TOOLS) if item.before]
    assert edited
    expected = of_multipath(settings)
    found = in_force(files | {item.path: item.data for item in edited})
    assert {key: value for key, value in found.items() if key in expected} == expected
    assert found["defaults", "user_friendly_names"] == "yes"


# --- corosync -t


def corosync_takes(text: bytes, directory: Path) -> bool:
    (directory / "corosync.conf").write_bytes(text)
    done = subprocess.run([find("corosync"), "-t", "-c", str(directory / "corosync.conf")], capture_output=True,
                          text=True, timeout=60, check=False)
    return done.returncode == 0


def test_corosync_takes_an_edited_file(tmp_path: Path) -> None:
    before = parse("etc/corosync/corosync.conf", STOCK_CLUSTER.encode(), Kind.COROSYNC)
    settings = {"corosync.token_ms": 11_000, "corosync.token_coefficient_ms": 0, "corosync.consensus_ms": 13_300}
    item = next(iter(render_files(settings, dict.fromkeys(settings, "because"), {}, {Kind.COROSYNC: [before]}, TOOLS)))
    assert b"token: 11000" in item.data
    assert corosync_takes(STOCK_CLUSTER.encode(), tmp_path)
    assert corosync_takes(item.data, tmp_path)
    assert not corosync_takes(item.data.replace(b"11000", b"soon"), tmp_path)


# --- iscsiadm


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: iscsiadm insists")
def test_iscsiadm_changes_the_records(tmp_path: Path) -> None:
    find("iscsiadm")
    settings, reasons = planned("short")
    script = next(item for item in render_commands(settings, reasons, {}, TOOLS) if item.path == "node-records.sh")
    etc = tmp_path / "etc"
    name = b"InitiatorName=iqn.2024-01.example:i\n"
    write(tmp_path, {"etc/iscsi/iscsid.conf": b"", "etc/iscsi/initiatorname.iscsi": name, "change.sh": script.data})
    commands = (
        "for port in 3260 3261; do iscsiadm -m node -o new -T iqn.2024-01.example:t -p 192.0.2.1:$port; done;"
        f"sh -e {tmp_path}/change.sh; iscsiadm -m node -T iqn.2024-01.example:t -o show"
    )
    done = with_etc(etc, "sh", "-ec", commands)
    assert done.code == 0, done.err
    wanted = {match[1]: match[2] for match in re.finditer(r"-n '?([^' ]+)'? -v (\S+)", script.data.decode())}
    assert "node.conn[0].timeo.noop_out_interval" in wanted
    for key, value in wanted.items():
        assert re.findall(rf"^{re.escape(key)} = (\S+)$", done.out, re.MULTILINE) == [value, value], key


# --- sbd


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[str]:
    if os.geteuid() != 0 or shutil.which("losetup", path=ALL_SBIN) is None:
        pytest.skip("needs root and losetup")
    (tmp_path / "disk").write_bytes(bytes(4 << 20))
    made = subprocess.run([find("losetup"), "--find", "--show", str(tmp_path / "disk")], capture_output=True, text=True,
                          check=False)
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    yield made.stdout.strip()
    subprocess.run([find("losetup"), "--detach", made.stdout.strip()], check=True)


@pytest.mark.root
def test_sbd_has_the_header_that_was_meant(loop_device: str, tmp_path: Path) -> None:
    sbd = find("sbd")
    settings, reasons = planned("sbd")
    script = next(item for item in render_commands(settings, reasons, {}, TOOLS) if item.path == "sbd-header.sh")
    write(tmp_path, {"header.sh": script.data})
    subprocess.run(["sh", "-e", str(tmp_path / "header.sh"), loop_device], check=True, capture_output=True, timeout=60,
                   env={**os.environ, "PATH": ALL_SBIN})
    dump = subprocess.run([sbd, "-d", loop_device, "dump"], check=True, capture_output=True, text=True).stdout
    found = {name: int(value) for name, value in re.findall(r"Timeout \((\w+)\) *: (\d+)", dump)}
    for name in ("watchdog", "msgwait"):
        assert found[name] == settings[f"sbd.{name}"]


# --- files that are shell


def test_the_shell_reads_sysconfig_files(tmp_path: Path) -> None:
    settings = {"o2cb.heartbeat_threshold": 46, "sbd.io_timeout": 20, "sbd.pacemaker": False}
    texts = {Kind.O2CB: b'O2CB_ENABLED=true\nO2CB_HEARTBEAT_THRESHOLD="31" # iterations\n',
             Kind.SBD: b"SBD_OPTS='-W'\nSBD_PACEMAKER=yes"}
    documents = {kind: [parse(f"etc/sysconfig/{kind}", text, kind)] for kind, text in texts.items()}
    why = dict.fromkeys(settings, "it's `why` $(not)")
    files: tuple[Rendered, ...] = render_files(settings, why, {}, documents, TOOLS)
    write(tmp_path, {item.path: item.data for item in files})
    names = "$O2CB_ENABLED $O2CB_HEARTBEAT_THRESHOLD $SBD_OPTS $SBD_PACEMAKER"
    done = subprocess.run(["sh", "-euc", f'. etc/sysconfig/o2cb; . etc/sysconfig/sbd; echo "{names}"'], cwd=tmp_path,
                          capture_output=True, text=True, check=True)
    assert done.stdout == "true 46 -W -I 20 no\n"
