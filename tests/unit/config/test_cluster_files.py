"""What the files of each cluster stack set it to."""

import pytest

from mpio.config.cluster_files import CLUSTERS, in_force
from mpio.config.files import Kind, parse
from mpio.config.origin import Effective, Host
from mpio.model.cluster import Cluster, Corosync, LinuxHa, Ncs, O2cb, Sanlock, Sbd
from mpio.planner.goals import PREFIXES

DUMP = """==Dumping header on disk /dev/sda
Header version     : 2.1
Timeout (watchdog) : {watchdog}
Timeout (allocate) : 2
Timeout (loop)     : 1
Timeout (msgwait)  : {msgwait}
==Header on disk /dev/sda is dumped
"""


def host(files: dict[Kind, str | tuple[str, str]], **known: object) -> Host:
    documents = {}
    for kind, given in files.items():
        name, text = given if isinstance(given, tuple) else (str(kind), given)
        documents[kind] = [parse(name, text.encode(), kind)]
    return Host(documents, **known)  # type: ignore[arg-type]


def cluster(files: dict[Kind, str | tuple[str, str]], **known: object) -> Cluster:
    clusters = in_force(host(files, **known))[1]
    assert len(clusters) == 1
    return clusters[0]


def value(files: dict[Kind, str | tuple[str, str]], name: str, **known: object) -> Effective:
    return in_force(host(files, **known))[0][name]


def test_prefixes_are_those_of_goals() -> None:
    assert {prefix: form for prefix, form in CLUSTERS.items() if form in PREFIXES} == {
        prefix: form for form, prefix in PREFIXES.items()
    }


def test_without_files_there_is_no_cluster() -> None:
    assert in_force(Host()) == ({}, (), [])


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Kind.O2CB, "", O2cb()),
        (Kind.O2CB, "O2CB_HEARTBEAT_THRESHOLD=61\nO2CB_IDLE_TIMEOUT_MS='60000'\n", O2cb(61, 60_000)),
        (Kind.O2CB, "O2CB_HEARTBEAT_THRESHOLD=2\n", O2cb()),  # the kernel takes more than 2 only
        (Kind.O2CB, "O2CB_HEARTBEAT_THRESHOLD=120s\n", O2cb()),
        (Kind.O2CB, "O2CB_HEARTBEAT_THRESHOLD=7\nO2CB_HEARTBEAT_THRESHOLD=31\n", O2cb()),
        (Kind.O2CB, "O2CB_IDLE_TIMEOUT_MS=100\n", O2cb(idle_timeout_ms=100)),  # `configure` alone wants 5000
        (Kind.COROSYNC, "totem {\n token: 5000\n consensus: 7200\n}\n", Corosync(token_ms=5000, consensus_ms=7200)),
        (Kind.COROSYNC, "nodelist {\n" + 3 * " node {\n  ring0_addr: a\n }\n" + "}\n", Corosync(nodes=3)),
        (
            Kind.COROSYNC,
            "quorum {\n device {\n  model: net\n  sync_timeout: 40000\n }\n}\n",
            Corosync(qdevice=True, qdevice_sync_timeout_ms=40_000),
        ),
        (Kind.SANLOCK, "io_timeout = 20\n", Sanlock(io_timeout=20)),
        (Kind.SANLOCK, "io_timeout = 20s\n", Sanlock(io_timeout=20)),
        (Kind.SANLOCK, "io_timeout = ten\n", Sanlock()),
        (Kind.HA_CF, "keepalive 500ms\ndeadtime 15\nwarntime 5.5\n", LinuxHa(keepalive=0.5, warntime=5.5, deadtime=15)),
    ],
)
def test_settings_of_flat_files(kind: Kind, text: str, expected: Cluster) -> None:
    assert cluster({kind: text}) == expected


def test_origins_are_lines() -> None:
    found = value({Kind.O2CB: "# T\nO2CB_HEARTBEAT_THRESHOLD=7\nO2CB_HEARTBEAT_THRESHOLD=46\n"},
                  "o2cb.heartbeat_threshold")  # fmt: skip
    assert (found.value, str(found.origin)) == (46, "o2cb:3")
    assert [(lost[0], str(lost[1])) for lost in found.overruled] == [(7, "o2cb:2"), (31, "built-in default (o2cb)")]


def test_old_kernels_do_not_negotiate() -> None:
    assert cluster({Kind.O2CB: ""}, kernel=(4, 6)) == O2cb(negotiate=False)
    assert cluster({Kind.O2CB: ""}, kernel=(4, 7)) == O2cb(negotiate=True)


def test_timeouts_of_o2cb_are_void_under_another_stack() -> None:
    found, clusters, problems = in_force(host({Kind.O2CB: "O2CB_STACK=pcmk\nO2CB_HEARTBEAT_THRESHOLD=61\n"}))
    assert clusters == ()
    assert found["o2cb.heartbeat_threshold"].value == 61
    assert [problem.line for problem in problems] == [1]


def test_sysconfig_counts_where_there_is_a_default_file_too() -> None:
    threshold = b"O2CB_HEARTBEAT_THRESHOLD="
    documents = [parse("etc/sysconfig/o2cb", threshold + b"61", Kind.O2CB),
                 parse("etc/default/o2cb", threshold + b"7", Kind.O2CB)]  # fmt: skip
    _, clusters, problems = in_force(Host({Kind.O2CB: documents}))
    assert clusters == (O2cb(61),)
    assert [problem.file for problem in problems] == ["etc/default/o2cb"]


def test_options_alone_make_a_cluster() -> None:
    assert in_force(Host(options={"ncs.tolerance": 30}))[1] == (Ncs(tolerance=30),)


# --- SBD


def test_the_disk_beats_the_sysconfig_file() -> None:
    files: dict[Kind, str | tuple[str, str]] = {
        Kind.SBD_DUMP: DUMP.format(watchdog=60, msgwait=120),
        Kind.SBD: 'SBD_DEVICE="/dev/sda"\nSBD_WATCHDOG_TIMEOUT=5\nSBD_OPTS="-I 10 -t7"\nSBD_PACEMAKER=no\n',
    }
    assert cluster(files) == Sbd(watchdog=60, msgwait=120, io_timeout=10, restart_delay=7, pacemaker=False)
    watchdog = value(files, "sbd.watchdog")
    assert str(watchdog.origin) == "sbd_dump:3 (disk)"
    assert (5, "sbd:2") in [(lost[0], str(lost[1])) for lost in watchdog.overruled]
    assert in_force(host(files))[2] == []


def test_without_a_disk_the_sysconfig_file_counts() -> None:
    assert cluster({Kind.SBD: "SBD_WATCHDOG_TIMEOUT=20\n"}) == Sbd(watchdog=20, devices=0)
    assert cluster({Kind.SBD: 'SBD_DEVICE=""\nSBD_WATCHDOG_TIMEOUT=1min\n'}) == Sbd(watchdog=60, devices=0)


def test_a_disk_that_is_not_known_is_assumed_to_be_as_created() -> None:
    found, clusters, problems = in_force(host({Kind.SBD: "SBD_DEVICE='/a;/b;/c'\nSBD_WATCHDOG_TIMEOUT=90\n"}))
    assert clusters == (Sbd(devices=3),)
    assert found["sbd.watchdog"].origin.kind == "built-in default"
    assert "sbd -d DEVICE dump" in problems[0].hint


def test_the_first_disk_counts_and_the_others_are_compared() -> None:
    text = DUMP.format(watchdog=30, msgwait=60) + DUMP.replace("sda", "sdb").format(watchdog=15, msgwait=60)
    found, clusters, problems = in_force(host({Kind.SBD_DUMP: text}))
    assert clusters == (Sbd(watchdog=30, msgwait=60, devices=2),)
    assert str(found["sbd.watchdog"].origin) == "sbd_dump:3 (disk)"
    assert [(problem.line, problem.severity) for problem in problems] == [(10, "error")]


@pytest.mark.parametrize(
    ("text", "delay"), [("no", 0), ("yes", 120), ("1", 120), ("30", 30), ("2min", 120), ("sometimes", 0)],
)
def test_the_delay_of_a_start(text: str, delay: int) -> None:
    files: dict[Kind, str | tuple[str, str]] = {
        Kind.SBD_DUMP: DUMP.format(watchdog=60, msgwait=120), Kind.SBD: f"SBD_DELAY_START={text}\n",
    }
    assert value(files, "sbd.delay_start").value == delay


@pytest.mark.parametrize("options", ["", "'", "-I", "-I x", "-v", "\\\"-I 9"])
def test_options_that_say_nothing_leave_the_default(options: str) -> None:
    assert value({Kind.SBD: f'SBD_OPTS="{options}"\n'}, "sbd.io_timeout").value == 3
