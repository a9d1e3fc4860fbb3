"""Settings as files: every value with its reason, users' files changed where they must be and nowhere else."""

import difflib
import shlex
import subprocess
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.config.document import Document
from mpio.config.files import Kind, parse
from mpio.config.render import Rendered, key_of, place_of, render_files
from mpio.config.render_commands import render_commands
from mpio.config.schema import SCHEMAS
from mpio.errors import InputError
from mpio.planner.cluster import KINDS
from mpio.planner.goals import Goals, Plan, setting
from mpio.planner.solve import solve

NOW = (0, 9, 7)
EARLIER = (0, 9, 4)
STACK = {
    "noop_out_interval": 5, "noop_out_timeout": 6, "replacement_timeout": 20, "login_timeout": 7, "fast_io_fail_tmo": 8,
    "polling_interval": 4, "max_polling_interval": 16, "no_path_retry": 12, "failback": 10, "max_retries": 1,
    "path_selector": "service-time 0", "checker_timeout": 9, "timeout": 33,
}
CLUSTERS = {
    "o2cb.heartbeat_threshold": 46, "o2cb.idle_timeout_ms": 60_000, "sbd.watchdog": 25, "sbd.msgwait": 50,
    "sbd.io_timeout": 20, "sbd.pacemaker": True, "corosync.token_ms": 5000, "corosync.stonith_timeout": 71,
    "corosync.monitor_timeout": 60, "sanlock.io_timeout": 20, "heartbeat.deadtime": 30.0, "heartbeat.warntime": 1.5,
    "ncs.tolerance": 32, "rac.misscount": 45, "rac.asm_hbeatiowait": 120, "mmp.fail_intervals": 26, "qdisk.tko": 27,
    "qdisk.cman_timeout": 54, "sbd.delay_start": 67, "corosync.pcmk_delay_max": 30,
}
USERS: Mapping[Kind, tuple[str, str]] = {
    Kind.ISCSID: ("etc/iscsi/iscsid.conf",
                  "# mine\nnode.conn[0].timeo.noop_out_interval = 10\nnode.session.queue_depth = 32\n"),
    Kind.MULTIPATH: ("etc/multipath.conf",
                     'defaults {\n\tpolling_interval 10\n}\nblacklist {\n\tdevnode "^sd[a]$"\n}\n'),
    Kind.O2CB: ("etc/default/o2cb", 'O2CB_ENABLED=true\nO2CB_HEARTBEAT_THRESHOLD="31"\n'),
    Kind.SBD: ("etc/sysconfig/sbd", 'SBD_DEVICE="/dev/a;/dev/b"\nSBD_OPTS="-W -I 3"\n'),
    Kind.COROSYNC: ("etc/corosync/corosync.conf",
                    "totem {\n\tversion: 2\n\ttoken: 1000\n}\nquorum {\n\ttwo_node: 1\n}\n"),
    Kind.SANLOCK: ("etc/sanlock/sanlock.conf", "use_watchdog = 1\n"),
    Kind.HA_CF: ("etc/ha.d/ha.cf", "keepalive 2\ndeadtime 10\nnode a\nnode b\n"),
    Kind.SYSCTL: ("etc/sysctl.conf", "kernel.panic = 0\nvm.swappiness = 10\n"),
}


def reasons(settings: Mapping[str, object]) -> dict[str, str]:
    return {name: f"why {name}" for name in settings}


def users() -> dict[Kind, list[Document]]:
    return {kind: [parse(name, text.encode(), kind)] for kind, (name, text) in USERS.items()}


def rendered(
    settings: Mapping[str, object], documents: Mapping[Kind, Sequence[Document]] | None = None,
    version: tuple[int, ...] = NOW, sysctl: Mapping[str, int] | None = None,
) -> dict[str, Rendered]:
    arguments = (settings, reasons({**settings, **(sysctl or {})}))
    files = (*render_files(*arguments, sysctl or {}, documents or {}, version),
             *render_commands(*arguments, documents or {}, version))
    assert len({item.path for item in files}) == len(files)
    return {item.path: item for item in files}


def read(item: Rendered, kind: Kind) -> Document:
    document = parse(item.path, item.data, kind)
    assert not document.problems
    return document


def test_every_setting_reaches_a_file_with_its_reason() -> None:
    everything = b"\n".join(item.data for item in rendered({**STACK, **CLUSTERS}, sysctl={"kernel.panic": 30}).values())
    for name in (*STACK, *CLUSTERS, "kernel.panic"):
        assert f"# why {name}".encode() in everything or f"why {name}".encode() in everything, name


@pytest.mark.parametrize("cluster", sorted(KINDS))
def test_nothing_of_a_plan_is_lost(cluster: str) -> None:
    plan = solve(Goals(max_stall_s=25, cluster=cluster, hung_lun=True))
    assert isinstance(plan, Plan)
    settings = {name: setting(plan.stack, plan.clusters, name) for name in plan.reasons if name not in plan.sysctl}
    for version in (NOW, EARLIER):
        files = (*render_files(settings, plan.reasons, plan.sysctl, {}, version),
                 *render_commands(settings, plan.reasons, {}, version))
        text = " ".join(b"\n".join(item.data for item in files).decode().replace("#", " ").split())
        for name, reason in plan.reasons.items():
            if settings.get(name, 0) is not None:  # None is left to the program
                assert " ".join(reason.split()) in text, name


@pytest.mark.parametrize(
    ("path", "kind", "section", "key", "value"),
    [
        ("etc/iscsi/iscsid.conf.lines", Kind.ISCSID, (), "node.conn[0].timeo.noop_out_interval", "5"),
        ("etc/iscsi/iscsid.conf.lines", Kind.ISCSID, (), "node.session.timeo.replacement_timeout", "20"),
        ("etc/multipath/conf.d/mpio.conf", Kind.MULTIPATH, ("overrides",), "fast_io_fail_tmo", "8"),
        ("etc/multipath/conf.d/mpio.conf", Kind.MULTIPATH, ("overrides",), "no_path_retry", "12"),
        ("etc/multipath/conf.d/mpio.conf", Kind.MULTIPATH, ("overrides",), "path_selector", "service-time 0"),
        ("etc/multipath/conf.d/mpio.conf", Kind.MULTIPATH, ("defaults",), "polling_interval", "4"),
        ("etc/multipath/conf.d/mpio.conf", Kind.MULTIPATH, ("defaults",), "max_retries", "1"),
        ("etc/sysconfig/o2cb.lines", Kind.O2CB, (), "O2CB_HEARTBEAT_THRESHOLD", "46"),
        ("etc/sysconfig/sbd.lines", Kind.SBD, (), "SBD_OPTS", "-I 20"),
        ("etc/sysconfig/sbd.lines", Kind.SBD, (), "SBD_PACEMAKER", "yes"),
        ("etc/corosync/corosync.conf.lines", Kind.COROSYNC, ("totem",), "token", "5000"),
        ("etc/sanlock/sanlock.conf.lines", Kind.SANLOCK, (), "io_timeout", "20"),
        ("etc/ha.d/ha.cf.lines", Kind.HA_CF, (), "deadtime", "30"),
        ("etc/ha.d/ha.cf.lines", Kind.HA_CF, (), "warntime", "1500ms"),
        ("etc/sysctl.d/90-mpio.conf", Kind.SYSCTL, (), "kernel.panic", "30"),
    ],
)
def test_values_are_where_the_program_looks(
    path: str, kind: Kind, section: tuple[str, ...], key: str, value: str
) -> None:
    entry = read(rendered({**STACK, **CLUSTERS}, sysctl={"kernel.panic": 30})[path], kind).get(section, key)
    assert entry is not None
    assert entry.value == value


def test_users_files_change_where_they_must_and_nowhere_else() -> None:
    files = rendered({**STACK, **CLUSTERS}, users(), sysctl={"kernel.panic": 30})
    for kind, (name, text) in USERS.items():
        item = files[name]
        assert item.before is not None
        old, new = text.splitlines(), item.data.decode().splitlines()
        gone = [line[2:] for line in difflib.ndiff(old, new) if line.startswith("- ")]
        keys = {key.name for key in SCHEMAS[kind].keys if key.feeds} | {"SBD_OPTS", "kernel.panic"}
        assert all(any(key in line for key in keys) for line in gone), (name, gone)
        lines = iter(new)
        assert all(line in lines for line in old if line not in gone), "the rest stays, in its order"


def test_values_that_are_right_already_leave_the_file_alone() -> None:
    before = users()
    settings = {"o2cb.heartbeat_threshold": 31, "noop_out_interval": 10}
    assert not render_files(settings, {}, {"kernel.panic": 0}, before, NOW)


def test_options_of_the_daemon_join_those_that_are_there() -> None:
    item = rendered(CLUSTERS, users())["etc/sysconfig/sbd"]
    entry = read(item, Kind.SBD).get((), "SBD_OPTS")
    assert entry is not None
    assert entry.value.split() == ["-W", "-I", "20"]


def test_the_last_file_that_has_a_key_is_the_one_to_change() -> None:
    texts = {"etc/multipath.conf": "overrides {\n\tno_path_retry 5\n\tfast_io_fail_tmo 5\n}\n",
             "etc/multipath/conf.d/site.conf": "overrides {\n\tno_path_retry queue\n}\n"}
    documents = {Kind.MULTIPATH: [parse(name, text.encode(), Kind.MULTIPATH) for name, text in texts.items()]}
    files = rendered({"no_path_retry": 12, "fast_io_fail_tmo": 7}, documents)
    assert b"no_path_retry 12" in files["etc/multipath/conf.d/site.conf"].data
    assert b"no_path_retry 5" in files["etc/multipath.conf"].data
    assert b"fast_io_fail_tmo 7" in files["etc/multipath.conf"].data


def test_the_iscsi_protocol_section_is_changed_too() -> None:
    text = ('overrides {\n\tprotocol {\n\t\ttype "scsi:fcp"\n\t\tfast_io_fail_tmo 9\n\t}\n'
            '\tprotocol {\n\t\ttype "scsi:iscsi"\n\t\tfast_io_fail_tmo 30\n\t}\n}\n')
    documents = {Kind.MULTIPATH: [parse("etc/multipath.conf", text.encode(), Kind.MULTIPATH)]}
    document = read(rendered({"fast_io_fail_tmo": 5}, documents)["etc/multipath.conf"], Kind.MULTIPATH)
    values = {entry.section: entry.value for entry in document.entries() if entry.key == "fast_io_fail_tmo"}
    assert values == {("overrides",): "5", ("overrides", "protocol[0]"): "9", ("overrides", "protocol[1]"): "5"}


def test_max_retries_is_a_udev_rule_where_multipath_does_not_know_it() -> None:
    files = rendered(STACK, version=EARLIER)
    assert b'ATTR{max_retries}="1"' in files["etc/udev/rules.d/90-mpio-scsi.rules"].data
    assert b"max_retries" not in files["etc/multipath/conf.d/mpio.conf"].data
    assert b"max_retries" not in rendered(STACK)["etc/udev/rules.d/90-mpio-scsi.rules"].data


def test_derived_values_are_left_to_the_program() -> None:
    text = b"defaults {\n\tmax_polling_interval 60\n\tpolling_interval 5\n}\n"
    documents = {Kind.MULTIPATH: [parse("etc/multipath.conf", text, Kind.MULTIPATH)]}
    item = rendered({"max_polling_interval": None}, documents)["etc/multipath.conf"]
    assert item.data == b"defaults {\n\tpolling_interval 5\n}\n"
    assert not rendered({"max_polling_interval": None})
    assert b"fast_io_fail_tmo off" in rendered({"fast_io_fail_tmo": None})["etc/multipath/conf.d/mpio.conf"].data


RECORD = """# BEGIN RECORD 2.1.8
node.name = iqn.2024-01.example:d'isk
node.conn[0].address = {address}
node.conn[0].port = 3261
node.conn[0].timeo.noop_out_interval = 5
# END RECORD
"""


@pytest.mark.parametrize(
    ("address", "portal"), [("192.0.2.1", "192.0.2.1:3261"), ("2001:db8::1", "[2001:db8::1]:3261")]
)
def test_each_node_record_is_named(address: str, portal: str) -> None:
    record = parse("nodes/x", RECORD.format(address=address).encode(), Kind.NODE_RECORD)
    item = rendered({"noop_out_interval": 3}, {Kind.NODE_RECORD: [record]})["node-records.sh"]
    commands = [line for line in item.data.decode().splitlines() if line.startswith("iscsiadm")]
    assert [shlex.split(line) for line in commands] == [
        ["iscsiadm", "-m", "node", "-T", "iqn.2024-01.example:d'isk", "-p", portal, "-o", "update",
         "-n", "node.conn[0].timeo.noop_out_interval", "-v", "3"],
    ]
    assert item.executable


def test_scripts_are_shell(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("scripts")
    scripts = [item for item in rendered({**STACK, **CLUSTERS}).values() if item.executable]
    assert {item.path for item in scripts} == {"node-records.sh", "sbd-header.sh", "pacemaker.sh", "rac.sh"}
    for item in scripts:
        path = directory / item.path
        path.write_bytes(item.data)
        subprocess.run(["sh", "-n", str(path)], check=True)


def test_sbd_without_a_disk_has_no_header() -> None:
    settings = {"sbd.watchdog": 21}
    with_disk = parse("etc/default/sbd", b'SBD_DEVICE="/dev/a"\n', Kind.SBD)
    without = parse("etc/default/sbd", b"SBD_DEVICE=\n", Kind.SBD)
    assert "sbd-header.sh" in rendered(settings)
    assert "sbd-header.sh" in rendered(settings, {Kind.SBD: [with_disk]})
    files = rendered(settings, {Kind.SBD: [without]})
    assert set(files) == {"etc/default/sbd"}
    assert b"SBD_WATCHDOG_TIMEOUT=21" in files["etc/default/sbd"].data


def test_a_reason_never_becomes_a_setting() -> None:
    evil = "first\nnode.startup = manual\n}\n$(reboot)"
    settings = {**STACK, **CLUSTERS}
    files = (*render_files(settings, dict.fromkeys(settings, evil), {}, {}, NOW),
             *render_commands(settings, dict.fromkeys(settings, evil), {}, NOW))
    for item in files:
        for line in item.data.decode().splitlines():
            if "reboot" in line:
                assert line.strip().startswith("#"), item.path
        assert b"\nnode.startup" not in item.data


def test_a_file_that_cannot_be_edited_is_bad_input() -> None:
    odd = parse("etc/multipath.conf", b'defaults {\n\tpolling_interval 5\n', Kind.MULTIPATH)
    huge = parse("etc/iscsi/iscsid.conf", b"#" * (17 << 20), Kind.ISCSID)
    rendered({"polling_interval": 7}, {Kind.MULTIPATH: [odd]})
    with pytest.raises(InputError, match=r"etc/iscsi/iscsid\.conf: can't be edited"):
        rendered({"noop_out_interval": 7}, {Kind.ISCSID: [huge]})


@pytest.mark.parametrize(
    ("kind", "name", "place"),
    [
        (Kind.MULTIPATH, "archive/etc/multipath/conf.d/a.conf", "etc/multipath/conf.d/a.conf"),
        (Kind.MULTIPATH, "before-etc-multipath.conf.txt", "etc/multipath.conf"),
        (Kind.SYSCTL, "x/etc/sysctl.d/50-y.conf", "etc/sysctl.d/50-y.conf"),
        (Kind.SYSCTL, "/etc/sysctl.conf", "etc/sysctl.conf"),
        (Kind.O2CB, "/etc/default/o2cb", "etc/default/o2cb"),
        (Kind.O2CB, "o2cb", "etc/sysconfig/o2cb"),
    ],
)
def test_places(kind: Kind, name: str, place: str) -> None:
    assert place_of(kind, parse(name, b"", kind)) == place


NUMBERS = {name: value for name, value in {**STACK, **CLUSTERS}.items() if isinstance(value, int) and value is not True}


@given(st.dictionaries(st.sampled_from(sorted(NUMBERS)), st.integers(10, 9999)))
def test_what_was_written_is_read_again_and_needs_no_second_edit(settings: dict[str, int]) -> None:
    for documents in ({}, users()):
        first = render_files(settings, reasons(settings), {}, documents, NOW)
        after = {item.before.file: item.data for item in first if item.before is not None}
        edited = {kind: [parse(old.file, after.get(old.file, old.render()), kind) for old in olds]
                  for kind, olds in documents.items()}
        again = render_files(settings, reasons(settings), {}, edited, NOW)
        assert not [item.path for item in again if item.before is not None]
        for item in first:
            kind = next(kind for kind in Kind if str(kind) in item.path.replace("ha.cf", "ha_cf"))
            document = parse(item.path, item.data, kind)
            values = {entry.key: entry.value for entry in document.entries()}
            for name, value in settings.items():
                key = key_of(kind, name)
                if key is not None and (name != "max_retries" or kind is Kind.MULTIPATH):
                    assert values[key.name] == str(value)
