"""What a file's settings are told: nothing for right ones, one clear line for each mistake."""

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.config.soup import files

from mpio.config.files import Kind, codec_for, parse
from mpio.config.schema import SCHEMAS, Key, Type, find
from mpio.config.validate import PROBLEMS_MAX, check_value, validate

_NUMBERED = defaultdict(tuple, {Kind.COROSYNC: ("node", "interface"), Kind.MULTIPATH: ("device",)})
CORPUS = Path(__file__).resolve().parents[2] / "golden" / "config"


def problems(kind: Kind, text: str | bytes) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    return [f"{problem.severity} {problem}" for problem in validate(parse("f", data, kind), kind)]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in (Kind.SBD_DUMP, Kind.OCFS2)])
def test_a_file_that_says_every_default_is_right(kind: Kind) -> None:
    document = parse("f", b"Target iqn.x\n" if kind is Kind.IETD else b"", kind)
    written = 0
    for key in SCHEMAS[kind].keys:
        parts = [part for part in key.sections[0].split("/") if part]
        section = tuple(f"{part}[0]" if part in _NUMBERED[kind] else part for part in parts)
        if key.default in (None, "") or key.deprecated or "*" in key.name or key.name.startswith("-"):
            continue
        document = document.set(section, key.name, str(key.default))
        written += 1
    assert written > 3
    assert not document.problems
    assert validate(document, kind) == ()


def test_the_only_unknown_key_of_the_corpus_is_the_misspelt_one() -> None:
    unknown, read = [], 0
    for path in sorted(CORPUS.rglob("*")):
        if path.is_file() and path.suffix not in (".py", ".toml", ".md", ".pyc"):
            data = path.read_bytes()
            kind = codec_for(str(path), data[:8192])
            if kind is not None:
                read += 1
                unknown += [str(found) for found in validate(parse(path.name, data, kind), kind)
                            if "there is no setting" in str(found) or "is not read" in str(found)]
    assert read >= 20
    assert [line.partition(";")[0] for line in unknown] == [
        "windows-multipath.conf:5: there is no setting poling_interval"
    ]


MISTAKES = [
    (Kind.ISCSID, "node.session.timeo.replacment_timeout = 5",
     ("warning f:1: there is no setting node.session.timeo.replacment_timeout; iscsid ignores it without a word; "
     "did you mean node.session.timeo.replacement_timeout?")),
    (Kind.ISCSID, "fast_io_fail_tmo = 5", "fast_io_fail_tmo is a setting of multipath.conf"),
    (Kind.ISCSID, "node.conn[0].timeo.noop_out_timeout = 5s",
     ("warning f:1: node.conn[0].timeo.noop_out_timeout: expected a whole number of seconds from 0, found '5s'; iscsid "
     "reads it as 5; the unit is seconds and is not written: write 5")),
    (Kind.ISCSID, "node.conn[0].timeo.login_timeout = 500ms", "iscsid reads it as 500; the unit is seconds"),
    (Kind.ISCSID, "node.conn[0].timeo.login_timeout = 15000", "15000 s, 250 min: the unit is seconds; write 15 if"),
    (Kind.ISCSID, "node.conn[0].timeo.login_timeout = off", "found 'off'; iscsid reads it as 0"),
    (Kind.ISCSID, "node.session.err_timeo.abort_timeout = -3", "found -3; it is taken as it is; write at least 0"),
    (Kind.ISCSID, "node.conn[0].timeo.noop_out_timeout = 9999999999", "found 9999999999; it is taken as it is"),
    (Kind.ISCSID, f"node.session.queue_depth = {'9' * 500}", "found a number of 500 digits"),
    (Kind.ISCSID, "node.startup = automatik", "iscsid ignores the line; did you mean automatic?"),
    (Kind.ISCSID, "node.leading_login = yes", "did you mean Yes?"),
    (Kind.ISCSID, "node.session.err_timeo.reset_timeout = 5", "is out of date: split into"),
    (Kind.ISCSID, "node.session.cmds_max = 100", "expected a power of two; the kernel rounds it down; write 64"),
    (Kind.ISCSID, "node.conn[0].timeo.noop_out_timeout = 0\nnode.conn[0].timeo.noop_out_interval = 5",
     "warning f:1: one of noop_out_interval and noop_out_timeout is 0: iscsid and the kernel then set both to 5"),
    (Kind.NODE_RECORD, "node.name = a\nnode.name = b", "f:1: node.name is set again in line 2, which is the one"),
    (Kind.MULTIPATH, "defaults {\npolling_intervall 5\n}",
     ("warning f:2: there is no setting polling_intervall; multipathd logs `invalid keyword` and goes on without it; "
     "did you mean polling_interval?")),
    (Kind.MULTIPATH, "defaults {\nfast_io_fail_tmo 5s\n}",
     ("error f:2: fast_io_fail_tmo: expected off or a whole number of seconds from 0, found '5s'; multipathd ignores "
     "the line and says so; the unit is seconds and is not written: write 5")),
    (Kind.MULTIPATH, "defaults {\nfast_io_fail_tmo 5000\n}", "5000 s, 83 min: the unit is seconds; write 5 if"),
    (Kind.MULTIPATH, "defaults {\nno_path_retry que\n}", "did you mean queue?"),
    (Kind.MULTIPATH, "defaults {\nno_path_retry -1\n}", "takes the nearest number that it allows; write at least 0"),
    (Kind.MULTIPATH, "defaults {\nmarginal_path_err_sample_time 60\n}", "allows; write at least 120"),
    (Kind.MULTIPATH, "defaults {\npolling_interval 0\n}", "divides by it, and 0 ends it; write at least 1"),
    (Kind.MULTIPATH, "defaults {\ndev_loss_tmo 60\n}", "dev_loss_tmo 60 has no effect: it is not for iSCSI"),
    (Kind.MULTIPATH, "defaults {\neh_deadline 10\n}", "eh_deadline 10 has no effect: iscsi_tcp has no host reset"),
    (Kind.MULTIPATH, "overrides {\nfast_io_fail_tmo off\n}", "fast_io_fail_tmo off is not applied on iSCSI"),
    (Kind.MULTIPATH, "devices {\ndevice {\npolling_interval 5\n}\n}",
     "f:3: polling_interval is not read in devices / device; it belongs in defaults"),
    (Kind.MULTIPATH, 'defaults {\nfeatures "1 queue_if_no_path"\n}', "write no_path_retry queue"),
    (Kind.MULTIPATH, 'defaults {\nfeatures "queue_if_no_path"\n}', 'write "1 queue_if_no_path"'),
    (Kind.MULTIPATH, 'defaults {\npath_selector "round-robin"\n}', 'write "round-robin 0"'),
    (Kind.MULTIPATH, "defaults {\npolling_interval 10\nmax_polling_interval 5\n}", "is more than max_"),
    (Kind.MULTIPATH, "defaults {\ngetuid_callout x\n}", "is out of date: not supported since 0.5.0"),
    (Kind.O2CB, "O2CB_HEARTBEAT_THRESHOLD=60",
     ("warning f:1: O2CB_HEARTBEAT_THRESHOLD counts iterations of 2 s: 60 means that a node fences itself after 118 s; "
     "for 60 s write 31, for 120 s write 61")),
    (Kind.O2CB, "O2CB_HEARTBEAT_THRESHOLD=60000", "for 60000 ms write 31"),
    (Kind.O2CB, "O2CB_HEARTBEAT_THRESHOLD=6", "`o2cb configure` accepts 7 and more"),
    (Kind.O2CB, "O2CB_HEARTBEAT_THRESHOLD=-7", "expected a whole number of iterations of 2 s from 3"),
    (Kind.O2CB, "O2CB_IDLE_TIMEOUT_MS=30", "write 30000 if seconds were meant"),
    (Kind.O2CB, "O2CB_KEEPALIVE_DELAY_MS=2s", "the unit is milliseconds and is not written: write 2000"),
    (Kind.O2CB, "O2CB_HEARTBEAT_MODE=global", "write heartbeat_mode in cluster.conf"),
    (Kind.O2CB, "O2CB_HEARTBEAT_TIMEOUT_MS=60000", "never read by any tool"),
    (Kind.OCFS2, "cluster:\n\tname = web\n\tnode_count = 2\n\nnode:\n\tcluster = web\n\tnumber = 0\n",
     "node_count is 2, and there are 1 nodes of the cluster"),
    (Kind.OCFS2, "node:\n\tnumber = 255\n", "expected a whole number from 0 to 254, found 255"),
    (Kind.OCFS2, "heartbeat:\n\tregion = abc\n", "region: expected 32 hexadecimal digits"),
    (Kind.OCFS2, "node:\n\tip_adress = 10.0.0.1\n", "error f:2: there is no setting ip_adress"),
    (Kind.SBD, "SBD_DELAYSTART=no", "did you mean SBD_DELAY_START?"),
    (Kind.SBD, "SBD_PACEMAKER=maybe", "sbd takes it for no"),
    (Kind.SBD, 'SBD_OPTS="-I 10s"', "-I expects a whole number of seconds, found '10s'"),
    (Kind.SBD, 'SBD_OPTS="-W -q"', "sbd has no option '-q'"),
    (Kind.SBD, "SBD_DEVICE=/dev/a\nSBD_WATCHDOG_TIMEOUT=30", "has no effect beside SBD_DEVICE"),
    (Kind.COROSYNC, "totem {\ntoken: 3s\n}", "corosync refuses the file; the unit is milliseconds"),
    (Kind.COROSYNC, "totem {\ntoken: 5\n}", "write 5000 if seconds were meant"),
    (Kind.COROSYNC, "totem {\ntoken: 60\n}", "token is 60 ms: the unit is milliseconds; write 60000 if seconds"),
    (Kind.COROSYNC, "quorum {\ntwo_node: yes\n}", "expected 1 or 0, found 'yes'"),
    (Kind.COROSYNC, "totm {\ntoken: 3000\n}", "token is not read in totm; it belongs in totem"),
    (Kind.COROSYNC, "totm {\na: 3000\n}", "corosync.conf has no section 'totm'; did you mean totem?"),
    (Kind.SANLOCK, "io_timeout = 10s", "sanlock reads it as 10"),
    (Kind.SANLOCK, "use_watchdog = 0", "nothing resets a host that lost its leases"),
    (Kind.SANLOCK, "watchdog_timeout = 60", "did you mean watchdog_fire_timeout?"),
    (Kind.HA_CF, "warntim 10", "error f:1: there is no setting warntim; heartbeat refuses the file"),
    (Kind.HA_CF, "deadtime 30000", "30000 s, 500 min: the unit is seconds; write 30 if"),
    (Kind.HA_CF, "deadtime half a minute", "expected a number of seconds from 0 to 86400, found 'half a minute'"),
    (Kind.SYSCTL, "kernel.panic = 30s", "the kernel refuses it; the unit is seconds"),
    (Kind.IETD, "Target iqn.x\n\treplacement_timeout 15",
     ("error f:2: replacement_timeout is the initiator's setting: in the target's file it has no effect; put it into "
     "the initiator's iscsid.conf as node.session.timeo.replacement_timeout")),
    (Kind.IETD, "Target iqn.x\n\tnode.conn[0].timeo.noop_out_timeout = 5", "in the target's file it has no effect"),
    (Kind.IETD, "Target iqn.x\n\tMaxConection 1", "did you mean MaxConnections?"),
]


@pytest.mark.parametrize(("kind", "text", "said"), MISTAKES, ids=[text[:60] for _, text, _ in MISTAKES])
def test_a_mistake_gets_one_clear_line(kind: Kind, text: str, said: str) -> None:
    found = problems(kind, text + "\n")
    assert [line for line in found if said in line], found
    assert len(found) <= 2


RIGHT = [
    (Kind.ISCSID, "node.session.timeo.replacement_timeout = -1"),
    (Kind.ISCSID, "node.session.timeo.replacement_timeout = 86400"),
    (Kind.ISCSID, "node.conn[0].timeo.noop_out_timeout = 0\nnode.conn[0].timeo.noop_out_interval = 0"),
    (Kind.MULTIPATH, "defaults {\nno_path_retry 12\nfailback immediate\nmax_retries off\n}"),
    (Kind.MULTIPATH, "blacklist {\ndevnode a\ndevnode b\n}"),
    (Kind.MULTIPATH, 'defaults {\nfeatures "3 pg_init_retries 50 retain_attached_hw_handler"\n}'),
    (Kind.O2CB, "O2CB_HEARTBEAT_THRESHOLD=61\nPATH=/bin\nO2CB_RECONNECT_DELAY_MS=''"),
    (Kind.SBD, 'SBD_OPTS="-W -I 10 -t5 -v -v"\nSBD_DELAY_START=90\nSBD_WATCHDOG_TIMEOUT=15s'),
    (Kind.COROSYNC, "totem {\ntoken: 5000\ntoken_coefficient: 0\n}\nnodelist {\nnode {\nring0_addr: a\n}\n}"),
    (Kind.HA_CF, "keepalive 500ms\ndeadtime 0.5m\nnode a\nnode b\nauto_failback ON"),
    (Kind.SYSCTL, "kernel/panic = 30\nvm.swappiness = lots\n-net.ipv4.conf.eth0.rp_filter = 2"),
]


@pytest.mark.parametrize(("kind", "text"), RIGHT, ids=[text[:60] for _, text in RIGHT])
def test_what_is_right_is_left_alone(kind: Kind, text: str) -> None:
    assert problems(kind, text + "\n") == []


@given(st.integers(7, 999))
def test_iterations_that_look_like_seconds_are_told_what_they_mean(count: int) -> None:
    found = problems(Kind.O2CB, f"O2CB_HEARTBEAT_THRESHOLD={count}\n")
    suspicious = count >= 20 and count % 10 == 0
    assert len(found) == suspicious
    if suspicious:
        assert f"fences itself after {2 * (count - 1)} s" in found[0]
        assert f"for {count} s write {count // 2 + 1}," in found[0]


def test_bytes_that_are_no_text_are_named() -> None:
    assert "f:2: this line has bytes that are not UTF-8" in problems(Kind.MULTIPATH, b"defaults {\n# caf\xe9\n}\n")[0]
    assert "UTF-16" in problems(Kind.MULTIPATH, "defaults {\n}\n".encode("utf-16"))[0]


def test_secrets_are_never_shown() -> None:
    text = "".join(f"{key.name} = topsecret\n" * 2 for key in SCHEMAS[Kind.ISCSID].keys if key.secret)
    assert text
    assert "topsecret" not in "".join(problems(Kind.ISCSID, text))


def test_a_hopeless_file_gets_a_bounded_answer() -> None:
    text = "".join(f"node.session.wrong_{index} = {'9' * 100}\n" for index in range(20_000))
    found = problems(Kind.ISCSID, text)
    assert len(found) == PROBLEMS_MAX + 1
    assert "the rest is not shown" in found[-1]


@settings(max_examples=60)
@given(st.sampled_from([kind for kind in Kind if kind not in (Kind.MULTIPATH, Kind.SBD_DUMP)]).flatmap(
    lambda kind: st.tuples(st.just(kind), files(kind))))
def test_any_file_gets_one_line_for_each_problem(given_file: tuple[Kind, bytes]) -> None:
    kind, data = given_file
    for problem in validate(parse("f", data, kind), kind):
        assert problem.severity in ("error", "warning")
        assert str(problem).isprintable()
        assert 0 <= problem.line <= data.count(b"\n") + 1


@given(st.sampled_from([(schema, key) for schema in SCHEMAS.values() for key in schema.keys]), st.text(max_size=60))
def test_any_value_is_judged_in_one_printable_line(row: tuple[object, Key], text: str) -> None:
    schema = next(schema for schema in SCHEMAS.values() if schema == row[0])
    wrong = check_value(row[1], text, schema)
    if wrong is not None:
        assert " ".join(wrong).isprintable()
        assert row[1].type is not Type.TEXT


def test_values_from_elsewhere_are_judged_too() -> None:
    key = find(Kind.MULTIPATH, ("defaults",), "fast_io_fail_tmo")
    assert key is not None
    assert check_value(key, "5", SCHEMAS[Kind.MULTIPATH]) is None
    wrong = check_value(key, "soon", SCHEMAS[Kind.MULTIPATH])
    assert wrong is not None
    assert wrong[0] == "error"
